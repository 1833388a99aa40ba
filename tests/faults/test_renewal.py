"""The vendor ends every session after an hour: the next one takes over before, and nobody notices.

In these calls the hour has 20 seconds: renewal is due at 6 s, forced at 12 s, tried again after 2 s.
"""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.doubles.agents import ToolCall
from bridge.doubles.options import ServerOptions

from .rig import NEVER, WORDS, Clerk, Rig, answer

BUSY = m.DialFailed(1, 503, "overloaded")
RENEWED = "session renewed: 1 -> 2"


def renewed(agent: Clerk | None = None, **config: Any) -> Rig:
    times = {"renew_ms": 6_000, "renew_forced_ms": 12_000, "renew_again_ms": 2_000}
    return Rig(agent, **{**times, **config})


def test_in_a_quiet_moment_nobody_notices() -> None:
    rig = renewed()
    rig.says(3_000)
    rig.says(8_000)
    rig.play(11_000)
    assert rig.story() == ["answer 1", "answer 2", "answer 3"]
    assert rig.notes == [RENEWED]
    assert rig.told() == [
        ("assistant", f"1 {WORDS}"),
        ("user", "(1400 ms of speech)"),
        ("assistant", f"2 {WORDS}"),
    ]
    assert rig.agent.greetings == [1]
    assert rig.call.stats.recoveries == 0


def test_the_callers_sound_goes_to_one_session_after_the_other_and_not_a_frame_is_lost() -> None:
    rig = renewed()
    rig.says(8_000)
    rig.play(11_000)
    heard = [sum(event.get("bytes", 0) for event in server.log) for server in rig.servers]
    assert sum(heard) == 160 * rig.call.caller_audio.frames
    assert all(heard)


def test_it_waits_for_a_caller_who_speaks_and_for_their_answer() -> None:
    rig = renewed()
    rig.says(5_800)
    rig.play(11_000)
    assert rig.story() == ["answer 1", "answer 2"]
    [renewed_ms] = [at_ms for at_ms, action in rig.said if isinstance(action, m.Noted)]
    assert renewed_ms == 8_623, "when the last word was heard"


def test_it_waits_for_a_tool() -> None:
    rig = renewed(Clerk({2: [answer(2, 300, last=False), ToolCall("look_up", {}, "call_a")]}))
    rig.says(4_500)
    rig.answers_tools(3_000)
    rig.play(14_000)
    assert rig.story() == ["answer 1", "answer 2", "filler", "answer 3"]
    assert rig.tools == ["look_up"]
    assert rig.notes == [RENEWED]


def test_a_model_that_never_stops_talking_is_cut_and_goes_on_where_it_was_heard() -> None:
    rig = renewed(Clerk({2: [answer(2, 15_000)]}))
    rig.says(4_000)
    rig.play(17_000)
    assert rig.story() == ["answer 1", "answer 2 (6708 ms)", "answer 3"]
    assert rig.told()[-1] == (
        "assistant",
        "2 alfa bravo charlie delta echo foxtrot golf"[:27].rpartition(" ")[0],
    )


def test_a_caller_who_never_stops_talking_is_heard_whole_by_the_next_one() -> None:
    rig = renewed(kept_audio_ms=30_000)
    rig.says(5_000, 9_000)
    rig.play(18_000)
    assert rig.story() == ["answer 1", "answer 2"]
    caller = rig.agent.asked[-1].caller
    assert caller is not None
    assert caller.sound.count(0x10) == 9_000 * 8


@pytest.mark.parametrize("failed", [BUSY, NEVER, ServerOptions(withhold=frozenset({"session.updated"}))])
def test_a_renewal_that_fails_is_tried_again_and_nobody_notices(failed: Any) -> None:
    rig = renewed(dials=[ServerOptions(), failed])
    rig.says(3_000)
    rig.says(9_000)
    rig.play(16_000)
    assert rig.story() == ["answer 1", "answer 2", "answer 3"]
    assert rig.notes[:2] == ["renewal failed: will be tried again", "session renewed: 1 -> 3"]


def test_a_renewal_that_always_fails_ends_in_a_session_that_expires_and_is_replaced() -> None:
    dials = [ServerOptions(expires_after_ms=14_000), *[BUSY] * 5]
    rig = renewed(dials=dials)
    rig.says(3_000)
    rig.says(12_500)
    rig.play(20_000)
    assert rig.story()[:2] == ["answer 1", "answer 2"]
    assert rig.story()[-1] == f"answer {len(rig.agent.asked)}"
    assert "the model was lost: session_expired" in rig.notes
    assert rig.ended is None


def test_the_first_session_is_lost_while_the_next_one_is_ready_and_takes_over_at_once() -> None:
    rig = renewed(Clerk({2: [answer(2, 5_000)]}))
    rig.says(4_500)
    rig.at(7_000, lambda: rig.from_server(rig.servers[0].drop(1006, rig.now_ms), 1))
    rig.play(12_000)
    assert rig.story() == ["answer 1", "answer 2 (1198 ms)", "answer 3"]
    assert rig.call.stats.gaps_ms == [0]


def test_the_next_session_breaks_before_it_takes_over() -> None:
    rig = renewed(Clerk({2: [answer(2, 4_000)]}))
    rig.says(4_500)
    rig.at(7_000, lambda: rig.from_server(rig.servers[1].drop(1006, rig.now_ms), 2))
    rig.says(12_000)
    rig.play(16_000)
    assert rig.story() == ["answer 1", "answer 2", "answer 3"]
    assert rig.notes[:2] == ["renewal failed: will be tried again", "session renewed: 1 -> 3"]


def test_a_whole_long_call_is_renewed_again_and_again() -> None:
    rig = renewed(server=ServerOptions(expires_after_ms=20_000))
    for turn in range(9):
        rig.says(4_000 + 7_000 * turn)
    rig.play(70_000)
    assert rig.story() == [f"answer {number}" for number in range(1, 11)]
    assert len(rig.servers) >= 8
    assert not [note for note in rig.notes if not note.startswith("session renewed")]
