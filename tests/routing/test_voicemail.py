"""A voicemail box: the caller hears a prompt and a beep, no model is dialled, the message is told once."""

from __future__ import annotations

import queue
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from bridge import Agent, ConfigError, Voicemail
from tests.field.test_turned_away import CALL, PUBLIC, SPOKEN, Bridge, bridge
from tests.routing.carrier import signed_post

RECORD = {
    "action": f"{PUBLIC}/voicemail",
    "method": "POST",
    "maxLength": "120",
    "recordingStatusCallback": f"{PUBLIC}/voicemail",
    "recordingStatusCallbackMethod": "POST",
}
LEFT = {
    "RecordingSid": f"RE{1:032x}",
    "RecordingUrl": f"https://api.example.com/2010-04-01/Recordings/RE{1:032x}",
    "RecordingDuration": "12",
}
"""What both requests say of the message."""


def test_the_document_and_nothing_of_a_model() -> None:
    with bridge(Voicemail("We are <closed> & asleep.")) as ours:
        assert ours.rings() == [
            ("Say", SPOKEN, "We are <closed> & asleep."),
            ("Record", RECORD, ""),
            ("Hangup", {}, ""),
        ]
        assert ours.calls == 0
        assert ours.rejects("voicemail") == 1


def test_a_sound_of_the_operators_and_another_length() -> None:
    with bridge(Voicemail("https://example.com/closed.mp3", max_s=30)) as ours:
        assert ours.rings() == [
            ("Play", {}, "https://example.com/closed.mp3"),
            ("Record", {**RECORD, "maxLength": "30"}, ""),
            ("Hangup", {}, ""),
        ]


@pytest.mark.parametrize("first", ["leg", "recording"])
def test_the_message_is_told_once_in_whatever_order_its_two_requests_come(first: str) -> None:
    told: queue.Queue[dict[str, Any]] = queue.Queue()
    with bridge(Voicemail("Speak."), agent={"on_voicemail": told.put}) as ours:
        ours.rings(To="+15550002222")
        requests = {
            "leg": {**LEFT, "CallStatus": "in-progress", "Digits": "hangup", "To": "+15550002222"},
            "recording": {**LEFT, "RecordingStatus": "completed"},
        }
        for which in (first, *requests, *requests):
            answer = _asked(ours, requests[which])
            assert answer == (204, "") if which == "recording" else (200, "Hangup"), which
        message = told.get(timeout=5)
        assert told.empty()
    assert message["recording_url"] == LEFT["RecordingUrl"]
    assert (message["seconds"], message["call_sid"]) == (12, CALL)
    assert message["to"] == "+15550002222", "the recording does not say so, and the call did"


def test_a_hook_that_raises_hurts_nobody() -> None:
    def raises(_message: object) -> None:
        raise RuntimeError("no disk")

    with bridge(Voicemail("Speak."), agent={"on_voicemail": raises}) as ours:
        ours.rings()
        assert _asked(ours, {**LEFT, "CallStatus": "completed"}) == (200, "Hangup")
        assert ours.rings(CallSid=f"CA{23:032x}")[1][0] == "Record"


@pytest.mark.parametrize(
    "wrong",
    [
        {"RecordingSid": "RE1"},
        {"RecordingSid": f"CA{1:032x}"},
        {"RecordingUrl": "http://example.com/x"},
        {"RecordingUrl": ""},
    ],
)
def test_what_is_no_recording_is_told_to_none(wrong: dict[str, str]) -> None:
    told: queue.Queue[object] = queue.Queue()
    with bridge(Voicemail("Speak."), agent={"on_voicemail": told.put}) as ours:
        _asked(ours, {**LEFT, **wrong, "CallStatus": "in-progress"})
    assert told.empty()


def test_nobody_but_the_carrier_says_that_a_message_was_left() -> None:
    told: queue.Queue[object] = queue.Queue()
    with bridge(Voicemail("Speak."), agent={"on_voicemail": told.put}) as ours:
        answer = ours.client.post("/voicemail", data={**LEFT, "CallSid": CALL})
        assert answer.status_code == 403
    assert told.empty()


def test_a_stream_that_has_come_for_it_already_is_sent_on_or_closed() -> None:
    with bridge(Voicemail("Speak."), insecure=True) as ours:
        assert ours.stream() == 1000


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ((" ",), "a prompt"),
        (("x" * 4_097,), "a prompt"),
        ((None,), "a prompt"),
        (("https://example.com/a b.mp3",), "one word"),
        (("Speak.", 4), "seconds"),
        (("Speak.", 3_601), "seconds"),
        (("Speak.", 60.0), "seconds"),
        (("Speak.", True), "seconds"),
    ],
)
def test_boxes_that_cannot_be(given: tuple[Any, ...], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Voicemail(*given)


def test_a_hook_that_is_none() -> None:
    with pytest.raises(ConfigError, match="on_voicemail"):
        Agent(on_voicemail="log it")  # type: ignore[arg-type]


def _asked(ours: Bridge, fields: dict[str, str]) -> tuple[int, str]:
    """The status, and the first verb if there is a document."""
    answer = signed_post(ours.client, "/voicemail", {"CallSid": CALL, **fields})
    verbs = [verb.tag for verb in ET.fromstring(answer.text)] if answer.text else [""]
    return answer.status_code, verbs[0]
