"""The core asks what a session can do: what it does where a vendor lacks something that OpenAI has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.upstream_leg import UpstreamSession
from bridge.core.vendor_errors import Verdict, verdict


def live(capabilities: m.Capabilities, **config: Any) -> tuple[Call, list[m.Action]]:
    """A call that has begun, with a vendor that can do this."""
    made = msgspec.structs.replace(m.CallConfig(capabilities=capabilities, media_gap_ms=60_000), **config)
    call = Call(made)
    call.receive(m.Started("MZ1", "CA1", "AC1"), 0)
    call.receive(m.Admitted(), 0)
    did: list[m.Action] = []
    if not capabilities.server_first:
        did += call.receive(m.UpstreamOpened(1), 50)
    did += call.receive(m.SessionCreated(1), 100)
    call.receive(m.SessionUpdated(1), 200)
    return call, did


def test_where_the_server_waits_for_us_the_configuration_goes_first_and_once() -> None:
    _, did = live(m.Capabilities(server_first=False))
    assert [type(action) for action in did] == [m.ConfigureSession]


def test_history_may_travel_with_the_configuration() -> None:
    said = (m.SnapshotItem("user", "Opening hours?"), m.SnapshotItem("assistant", "We are open"))
    carried = m.CallSnapshot(items=said)
    call, did = live(m.Capabilities(server_first=False, history="configure"), carried=carried)
    (configured,) = (one for one in did if isinstance(one, m.ConfigureSession))
    assert configured.history[:2] == said
    assert configured.history[2].role == "system"
    assert not any(isinstance(one, m.CreateItem) for one in call.receive(m.WakeUp(), 300))


def test_a_request_whose_response_cannot_be_told_is_given_up_after_five_seconds_and_made_again() -> None:
    call, _ = live(m.Capabilities(tags=False), greeting="Hello.")
    gate = call.playout.gate
    assert gate.asked is not None
    did = [one for at_ms in (1_000, 5_300) for one in call.receive(m.WakeUp(), at_ms)]
    assert [one.tag for one in did if isinstance(one, m.CreateResponse)] == ["greeting"]
    call.receive(m.ResponseStarted("r1", "greeting"), 5_400)
    assert gate.asked is None
    assert gate.untold_due_ms > 10**9


def test_where_responses_come_with_our_tag_nothing_is_given_up() -> None:
    call, _ = live(m.Capabilities(), greeting="Hello.")
    assert not any(isinstance(one, m.CreateResponse) for one in call.receive(m.WakeUp(), 5_300))
    assert call.phase is m.Phase.LIVE


def test_a_transcript_that_is_not_final_is_no_turn_yet() -> None:
    call, _ = live(m.Capabilities(), session=m.SessionConfig(transcription="scribe"))
    call.receive(m.SpeechStarted("item_1", 0, 1), 1_000)
    call.receive(m.SpeechStopped("item_1", 0, 1), 2_000)
    call.receive(m.TurnCommitted("item_1", 1), 2_000)
    early = call.receive(m.CallerTranscribed("item_1", "Hello, my name", final=False, epoch=1), 2_100)
    assert not any(isinstance(one, m.Turn) for one in early)
    late = call.receive(m.CallerTranscribed("item_1", "Hello, my name is Ann.", epoch=1), 2_200)
    assert [one.text for one in late if isinstance(one, m.Turn)] == ["Hello, my name is Ann."]


@pytest.mark.parametrize(("code", "kind"), [("forbidden", ""), ("", "forbidden")])
def test_a_vendor_has_fatal_codes_of_its_own(code: str, kind: str) -> None:
    event = m.UpstreamFaulted(code, kind=kind)
    assert verdict(event) is None
    assert verdict(event, ("forbidden",)) is Verdict.FATAL


def test_a_session_is_renewed_before_its_vendor_ends_it() -> None:
    usual, short = m.CallConfig(), m.VendorPlan(capabilities=m.Capabilities(session_s=1_800))
    assert UpstreamSession(1).renewals_ms(usual, 0) == (3_000_000, 3_480_000)
    assert UpstreamSession(1, plan=short).renewals_ms(usual, 0) == (1_500_000, 1_740_000)


def test_a_session_that_answers_no_question_is_asked_none() -> None:
    for probes in (True, False):
        call, _ = live(m.Capabilities(probes=probes), greeting="Hello.")
        asked = [one for at_ms in range(300, 4_000, 100) for one in call.receive(m.WakeUp(), at_ms)]
        assert any(isinstance(one, m.Probe) for one in asked) is probes
