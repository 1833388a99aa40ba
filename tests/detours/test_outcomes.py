"""What came of a transfer: every row of the table, of a target that is dialled and of one that was called
first.
"""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.messages import Afterwards, TransferMode
from bridge.core.messages import TransferOutcome as Outcome
from bridge.server.store.detours import DetourRecord
from bridge.server.transfer_outcome import of_dial, of_leg, of_queue, of_refusal

SINCE = 1_000_000
NOW = SINCE + 120_000
ASKED: dict[str, Any] = {"asked_at_ms": SINCE + 6_000, "answered_at_ms": SINCE + 6_000}
ACCEPTED: dict[str, Any] = {**ASKED, "key": "1", "accepted_at_ms": SINCE + 14_000}


def record(**more: Any) -> DetourRecord:
    return DetourRecord(detour_id="d1", call_sid="CA1", since_ms=SINCE, name="billing", **more)


def dialled(status: str, seconds: int = 0, bridged: str = "", call: str = "in-progress") -> dict[str, str]:
    found = {"CallStatus": call, "DialCallStatus": status, "DialCallDuration": str(seconds)}
    return {**found, "DialBridged": bridged} if bridged else found


NO_WHISPER: dict[str, Any] = {"accept": ""}
MACHINE: dict[str, Any] = {"answered_by": "machine_end_beep"}


@pytest.mark.parametrize(
    ("known", "fields", "outcome"),
    [
        ({}, dialled("busy", bridged="false"), Outcome.BUSY),
        ({}, dialled("no-answer"), Outcome.NO_ANSWER),
        ({}, dialled("failed"), Outcome.FAILED),
        ({}, {**dialled("failed"), "DialSipResponseCode": "404"}, Outcome.INVALID),
        ({}, {**dialled("failed"), "DialSipResponseCode": "486"}, Outcome.BUSY),
        ({}, {**dialled("failed"), "DialSipResponseCode": "480"}, Outcome.NO_ANSWER),
        ({"sip_code": 603}, dialled("busy"), Outcome.BUSY),
        ({"sip_code": 603}, dialled("no-answer"), Outcome.DECLINED),
        ({}, {**dialled("no-answer"), "DialSipResponseCode": "487"}, Outcome.NO_ANSWER),
        ({}, dialled("canceled"), Outcome.CANCELED),
        # somebody, or something, picked up
        ({**ASKED, "key": ""}, dialled("completed", 9), Outcome.VOICEMAIL),
        ({**ASKED, "key": ""}, dialled("completed", 9, "true"), Outcome.VOICEMAIL),
        ({**ASKED, **MACHINE}, dialled("completed", 9, "false"), Outcome.VOICEMAIL),
        ({**ASKED, "key": "2"}, dialled("completed", 9, "false"), Outcome.DECLINED),
        ({**ASKED, "key": "7"}, dialled("completed", 9, "true"), Outcome.DECLINED),
        ({**ASKED, "key": "2", **MACHINE}, dialled("completed", 9), Outcome.DECLINED),
        (ASKED, dialled("completed", 2, "false"), Outcome.DECLINED),
        ({}, dialled("completed", 90), Outcome.FAILED),
        ({}, dialled("completed", 90, "true"), Outcome.FAILED),
        # it accepted
        (ACCEPTED, dialled("completed", 102, "true"), Outcome.CONNECTED),
        (ACCEPTED, dialled("completed", 18, "true"), Outcome.CONNECTED),
        (ACCEPTED, dialled("completed", 18), Outcome.CONNECTED),
        (ACCEPTED, dialled("completed", 17, "true"), Outcome.DROPPED),
        (ACCEPTED, dialled("completed", 11, "true"), Outcome.DROPPED),
        (ACCEPTED, dialled("completed", 102, "false"), Outcome.DROPPED),
        ({**ACCEPTED, "after": Afterwards.RETURN}, dialled("completed", 102, "true"), Outcome.CONNECTED),
        ({**ACCEPTED, "after": Afterwards.RETURN}, dialled("completed", 12, "true"), Outcome.RETURNED),
        # nothing was asked
        (NO_WHISPER, dialled("completed", 90, "true"), Outcome.CONNECTED),
        (NO_WHISPER, dialled("completed", 90), Outcome.CONNECTED),
        (NO_WHISPER, dialled("answered", 10), Outcome.CONNECTED),
        (NO_WHISPER, dialled("completed", 9), Outcome.DROPPED),
        (NO_WHISPER, dialled("completed", 9, "true"), Outcome.DROPPED),
        (NO_WHISPER, dialled("completed", 90, "false"), Outcome.DECLINED),
        ({**NO_WHISPER, **MACHINE}, dialled("completed", 90, "false"), Outcome.VOICEMAIL),
        # the caller is gone
        ({}, dialled("canceled", call="completed"), Outcome.CALLER_LEFT),
        ({}, {"CallStatus": "completed"}, Outcome.CALLER_LEFT),
        (ASKED, dialled("completed", 9, "false", "completed"), Outcome.CALLER_LEFT),
        (ACCEPTED, dialled("completed", 11, "true", "completed"), Outcome.CONNECTED),
        (ACCEPTED, dialled("completed", 8, "false", "completed"), Outcome.CALLER_LEFT),
        # what no carrier has said so far
        ({}, {"CallStatus": "in-progress"}, Outcome.FAILED),
        ({}, dialled("surprise"), Outcome.FAILED),
    ],
)
def test_a_target_that_was_dialled(known: dict[str, Any], fields: dict[str, str], outcome: Outcome) -> None:
    found = of_dial(record(**known), fields, NOW)
    assert found.outcome is outcome
    assert found.accepted is ("accepted_at_ms" in known)
    assert found.rang_ms == (6_000 if "asked_at_ms" in known else 120_000)


def test_the_whisper_is_no_part_of_the_talk() -> None:
    found = of_dial(record(**ACCEPTED), dialled("completed", 103, "true"), NOW)
    assert (found.talk_ms, found.sip_code) == (95_000, 0)
    assert found.raw == {"DialCallStatus": "completed", "DialCallDuration": "103", "DialBridged": "true"}
    assert of_dial(record(), dialled("busy", 5), NOW).talk_ms == 0


WARM: dict[str, Any] = {"mode": TransferMode.WARM, "leg_sid": "CAd1"}


@pytest.mark.parametrize(
    ("status", "known", "outcome"),
    [
        ("busy", {}, Outcome.BUSY),
        ("no-answer", {}, Outcome.NO_ANSWER),
        ("no-answer", {"sip_code": 487}, Outcome.NO_ANSWER),
        ("no-answer", {"sip_code": 603}, Outcome.DECLINED),
        ("failed", {}, Outcome.FAILED),
        ("failed", {"sip_code": 404}, Outcome.INVALID),
        ("failed", {"sip_code": 503}, Outcome.FAILED),
        ("canceled", {"sip_code": 487}, Outcome.CANCELED),
        ("completed", {**ASKED, "key": "2"}, Outcome.DECLINED),
        ("completed", ASKED, Outcome.DECLINED),
        ("completed", {**ASKED, "key": ""}, Outcome.VOICEMAIL),
        ("completed", {**ASKED, **MACHINE}, Outcome.VOICEMAIL),
        ("completed", {**ASKED, "answered_by": "human", "key": ""}, Outcome.VOICEMAIL),
        ("completed", ACCEPTED, Outcome.DROPPED),
    ],
)
def test_a_target_that_was_called_first(status: str, known: dict[str, Any], outcome: Outcome) -> None:
    assert of_leg(record(**WARM, **known, leg_status=status), NOW).outcome is outcome


IN_ROOM: dict[str, Any] = {**WARM, **ACCEPTED, "room_at_ms": SINCE + 14_500, "joined_at_ms": SINCE + 16_000}
LONELY: dict[str, Any] = {"joined_at_ms": 0, "away_at_ms": SINCE + 15_000}
"""Sent to the room, of which nothing was heard since."""


@pytest.mark.parametrize(
    ("known", "call", "outcome", "talk_ms"),
    [
        ({"left_at_ms": SINCE + 60_000}, "in-progress", Outcome.CONNECTED, 44_000),
        ({"left_at_ms": SINCE + 19_000}, "in-progress", Outcome.DROPPED, 3_000),
        ({"left_at_ms": SINCE + 19_000, "after": Afterwards.RETURN}, "in-progress", Outcome.DROPPED, 3_000),
        ({}, "in-progress", Outcome.CONNECTED, 104_000),
        ({}, "completed", Outcome.CONNECTED, 104_000),
        ({"joined_at_ms": 0}, "in-progress", Outcome.DROPPED, 0),
        # the callback that says so was lost
        (LONELY | {"left_at_ms": SINCE + 60_000}, "in-progress", Outcome.CONNECTED, 45_000),
        (LONELY | {"left_at_ms": SINCE + 60_000}, "completed", Outcome.CONNECTED, 45_000),
        (LONELY | {"left_at_ms": SINCE + 24_000}, "in-progress", Outcome.DROPPED, 0),
        (LONELY | {"left_at_ms": SINCE + 24_000, "min_talk_s": 5}, "in-progress", Outcome.CONNECTED, 9_000),
    ],
)
def test_a_room_with_the_target(known: dict[str, Any], call: str, outcome: Outcome, talk_ms: int) -> None:
    fields = {"CallStatus": call, "DialCallStatus": "answered"}
    found = of_dial(record(**{**IN_ROOM, **known}), fields, NOW)
    assert (found.outcome, found.talk_ms) == (outcome, talk_ms)


def test_a_leg_that_leaves_a_room_of_which_nothing_was_heard() -> None:
    def left(at_ms: int) -> Outcome:
        known = {**IN_ROOM, **LONELY, "left_at_ms": SINCE + at_ms}
        return of_leg(record(**known, leg_status="completed"), NOW).outcome

    assert (left(24_999), left(25_000)) == (Outcome.DROPPED, Outcome.CONNECTED)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0, Outcome.REST_FAILED), (20003, Outcome.REST_FAILED), (21211, Outcome.INVALID)],
)
def test_a_leg_that_was_not_placed(code: int, outcome: Outcome) -> None:
    assert of_refusal(code, "why").outcome is outcome


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("leave", Outcome.HELD),
        ("hangup", Outcome.CALLER_LEFT),
        ("error", Outcome.FAILED),
        ("system-error", Outcome.FAILED),
        ("queue-full", Outcome.FAILED),
        ("redirected", Outcome.FAILED),
    ],
)
def test_a_caller_on_hold(said: str, outcome: Outcome) -> None:
    assert of_queue({"QueueResult": said, "CallStatus": "in-progress"}).outcome is outcome
    over = of_queue({"QueueResult": said, "CallStatus": "completed"})
    assert over.outcome is Outcome.CALLER_LEFT
