"""What became of a transfer, from the carrier's words and our own record of it.

The carrier's `completed` says that a person or a machine picked up. Twilio, "<Dial>": `DialBridged` says
whether the two legs were joined; it is not always there. So the key by which the target accepts, which is in
our own record, counts first.

https://www.twilio.com/docs/voice/twiml/dial#attributes-action-parameters
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bridge.core.messages import Afterwards, DetourResult
from bridge.core.messages import TransferOutcome as Outcome
from bridge.server.store.detours import DetourRecord
from bridge.server.store.intents import OVER_STATUSES

# RFC 3261, 21.4 and 21.6, RFC 8197, RFC 8688.
_BUSY: Final = frozenset({486, 600})
_NO_ANSWER: Final = frozenset({480, 487})
_DECLINED: Final = frozenset({603, 607, 608})
_INVALID: Final = frozenset({404, 484, 604})
# Twilio, errors of "Create a Call": a `To` that cannot be called.
_NO_SUCH_NUMBER: Final = frozenset({13224, 21201, 21211, 21214, 21217})
_PICKED_UP: Final = frozenset({"completed", "answered"})
_MACHINE: Final = ("machine", "fax")
_TALKED: Final = frozenset({Outcome.CONNECTED, Outcome.DROPPED, Outcome.RETURNED})
_QUEUE: Final = {"leave": Outcome.HELD, "bridged": Outcome.HELD, "hangup": Outcome.CALLER_LEFT}
_RAW: Final = ("DialCallStatus", "DialBridged", "DialCallDuration", "DialSipResponseCode", "QueueResult")


def of_dial(record: DetourRecord, fields: Mapping[str, str], now_ms: int) -> DetourResult:
    """What `<Dial action>` says when the target, or the room that the caller was in with it, is over."""
    status, bridged = fields.get("DialCallStatus", ""), fields.get("DialBridged", "")
    sip_code = _number(fields.get("DialSipResponseCode", "")) or record.sip_code
    left = fields.get("CallStatus") in OVER_STATUSES
    talk_ms = _talk_ms(record, fields, now_ms)
    if status in _PICKED_UP:
        outcome = _picked_up(record, bridged, talk_ms, left=left)
    else:
        outcome = Outcome.CALLER_LEFT if left else of_status(status, sip_code)
    return DetourResult(
        outcome,
        rang_ms=_rang_ms(record, now_ms),
        talk_ms=talk_ms if outcome in _TALKED else 0,
        sip_code=sip_code,
        accepted=record.accepted,
        raw={name: fields[name] for name in _RAW if name in fields},
    )


def of_leg(record: DetourRecord, now_ms: int) -> DetourResult:
    """What became of a leg that we placed and that is over before the caller was moved to it."""
    talk_ms = together_ms(record, now_ms)
    if talk_ms:
        outcome = Outcome.CONNECTED
    elif record.answered_at_ms or record.leg_status in _PICKED_UP:
        # It was answered: what it accepted, it has left again.
        outcome = Outcome.DROPPED if record.accepted else unaccepted(record)
    else:
        outcome = of_status(record.leg_status, record.sip_code)
    return DetourResult(
        outcome,
        rang_ms=_rang_ms(record, now_ms),
        talk_ms=talk_ms,
        sip_code=record.sip_code,
        accepted=record.accepted,
        raw={"CallStatus": record.leg_status},
    )


def of_refusal(code: int, why: str) -> DetourResult:
    """What it means that the carrier's API did not place leg B; `code` is the vendor's, 0 for none."""
    outcome = Outcome.INVALID if code in _NO_SUCH_NUMBER else Outcome.REST_FAILED
    return DetourResult(outcome, raw={"error": f"{code} {why}" if code else why})


def of_queue(fields: Mapping[str, str]) -> DetourResult:
    """What `<Enqueue action>` says of a caller who was on hold."""
    said = fields.get("QueueResult", "")
    outcome = _QUEUE.get(said, Outcome.FAILED)
    if fields.get("CallStatus") in OVER_STATUSES:
        outcome = Outcome.CALLER_LEFT
    return DetourResult(outcome, raw={"QueueResult": said})


def of_status(status: str, sip_code: int = 0) -> Outcome:
    """The outcome of a target that did not pick up, by its leg's status and the SIP code behind it."""
    if status == "busy" or (status == "failed" and sip_code in _BUSY):
        return Outcome.BUSY
    if sip_code in _DECLINED:
        return Outcome.DECLINED
    if sip_code in _INVALID:
        return Outcome.INVALID
    if status == "no-answer" or (status == "failed" and sip_code in _NO_ANSWER):
        return Outcome.NO_ANSWER
    return Outcome.CANCELED if status == "canceled" else Outcome.FAILED


def unaccepted(record: DetourRecord) -> Outcome:
    """What it means that the target picked up, was to press a key, and did not press that one."""
    if record.key:
        return Outcome.DECLINED
    if record.key == "" or record.answered_by.startswith(_MACHINE):
        return Outcome.VOICEMAIL
    # It hung up while it was asked; or the question was never fetched.
    return Outcome.DECLINED if record.asked_at_ms else Outcome.FAILED


def _picked_up(record: DetourRecord, bridged: str, talk_ms: int, *, left: bool) -> Outcome:
    long_enough = talk_ms >= record.min_talk_s * 1000
    if record.accept:
        joined = record.accepted and bridged != "false"
        otherwise = Outcome.DROPPED if record.accepted else unaccepted(record)
    else:
        # Nothing was asked: that they were joined is all there is to know.
        joined = bridged == "true" or (not bridged and long_enough)
        machine = record.answered_by.startswith(_MACHINE)
        otherwise = Outcome.VOICEMAIL if machine else Outcome.DROPPED if not bridged else Outcome.DECLINED
    if not joined:
        return Outcome.CALLER_LEFT if left else otherwise
    if left or long_enough:
        return Outcome.CONNECTED
    # Twilio, "hangupOnStar": the caller may end the talk by a key. Who ended it the carrier does not say.
    return Outcome.RETURNED if has_star(record) else Outcome.DROPPED


def has_star(record: DetourRecord) -> bool:
    """Whether the caller may leave the target by `*`, and be with the model again."""
    return not record.warm and record.after is Afterwards.RETURN


def _talk_ms(record: DetourRecord, fields: Mapping[str, str], now_ms: int) -> int:
    """How long the two were joined. The carrier's seconds include the whisper, and are absent for a room."""
    seconds = fields.get("DialCallDuration", "")
    if seconds.isascii() and seconds.isdecimal() and len(seconds) < 7 and not record.warm:
        asked_ms = record.asked_at_ms or record.accepted_at_ms
        return max(0, int(seconds) * 1000 - max(0, record.accepted_at_ms - asked_ms))
    return together_ms(record, now_ms)


def together_ms(record: DetourRecord, now_ms: int) -> int:
    """How long the two were joined, by our own record; 0 if they were not. The callback that says so of a
    room may be lost: a caller was there, if the room outlasted `min_talk_s` since they were sent to it.
    """
    until_ms = record.left_at_ms or now_ms
    if not record.warm:
        return max(0, until_ms - record.accepted_at_ms) if record.accepted else 0
    if record.joined_at_ms:
        return max(0, until_ms - record.joined_at_ms)
    sent_ms = until_ms - record.away_at_ms if record.accepted and record.away else 0
    return sent_ms if sent_ms >= record.min_talk_s * 1000 else 0


def _rang_ms(record: DetourRecord, now_ms: int) -> int:
    answered_ms = record.answered_at_ms or record.asked_at_ms or now_ms
    return max(0, answered_ms - record.since_ms)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 0
