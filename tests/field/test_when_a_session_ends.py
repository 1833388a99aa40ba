"""The vendor says when it ends a session: the next one takes over before that, however long it may last."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import Agent
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.doubles.options import ServerOptions
from bridge.testing.call import begin

from ..core.conftest import LiveCall, frame, only

NOW_S = 1_900_000_000


def dialled(call: LiveCall) -> list[int]:
    """When a session was dialled, the first one left out."""
    return [at_ms for at_ms, action in call.said if isinstance(action, m.DialUpstream)][1:]


def told(expires_at_s: int, **config: Any) -> LiveCall:
    """A call whose session was created at 1 s and says this of its end."""
    usual = {"probe_ms": 0, "accepted_at_s": NOW_S, "media_gap_ms": 10**9}
    call = LiveCall(Call(m.CallConfig(**{**usual, **config})))
    call.speaks(1_000, m.Started("MZ1", "CA1", "AC1"), m.Admitted())
    call.speaks(1_000, m.SessionCreated(1, "sess_1", expires_at_s), m.SessionUpdated())
    return call


@pytest.mark.parametrize(
    ("life_s", "renewed_s"),
    [(3_600, 3_000), (7_200, 6_600), (1_800, 1_494), (600, 498), (30, 24.9)],
    ids=["an hour", "two hours", "half an hour", "ten minutes", "half a minute"],
)
def test_the_next_one_is_dialled_in_time(life_s: int, renewed_s: float) -> None:
    call = told(NOW_S + 1 + life_s, limits=m.Limits(call_ms=10**9))
    call.until((life_s + 1) * 1_000)
    assert dialled(call)[0] == 1_000 + renewed_s * 1_000


def test_a_caller_who_never_stops_talking_is_heard_by_the_next_one_before_the_end() -> None:
    call = told(NOW_S + 301)
    call.speaks(200_000, m.SpeechStarted(), frame(1))
    call.speaks(251_000, m.SessionCreated(2, "sess_2", NOW_S + 560), m.SessionUpdated(2))
    call.until(289_500)
    [renewed] = [at_ms for at_ms, action in call.said if isinstance(action, m.Noted)]
    assert renewed == 1_000 + 300_000 - 12_000
    assert call.call.up.renew_due_ms == 560_000 - (560_000 - renewed) * 17 // 100


@pytest.mark.parametrize("expires_at_s", [0, -5, NOW_S - 60, NOW_S + 3, NOW_S + 10**6, 10**30])
def test_a_word_that_cannot_be_true_is_no_reason_to_hurry_or_to_wait(expires_at_s: int) -> None:
    call = told(expires_at_s, renew_ms=40_000)
    call.until(40_999)
    assert dialled(call) == []
    call.until(41_000)
    assert dialled(call) == [41_000]


def test_without_a_clock_of_ours_it_says_nothing() -> None:
    call = told(NOW_S + 60, accepted_at_s=0, renew_ms=40_000)
    call.until(41_000)
    assert dialled(call) == [41_000]


def test_a_server_that_ends_sessions_after_a_minute_never_loses_one() -> None:
    call = begin(
        Agent("Be brief.", greeting=""), model=ServerOptions(delta_bytes=(1600,), expires_after_ms=60_000)
    )
    call.at(110_000)
    notes = [f"{noted.what}: {noted.detail}" for noted in only(m.Noted, [a for _, a in call.rehearsal.said])]
    call.close()
    assert notes == ["session renewed: 1 -> 2", "session renewed: 2 -> 3"]
