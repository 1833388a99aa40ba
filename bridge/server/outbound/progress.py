"""How a call out moves: forward only, by the carrier's callbacks in whatever order they come.

https://www.twilio.com/docs/voice/api/call-resource#statuscallbackevent: the order of callbacks is not
promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from bridge.server.outbound.record import Outcome, Record, State

_STATES: Final = {
    "queued": State.PLACED,
    "initiated": State.PLACED,
    "ringing": State.RINGING,
    "in-progress": State.ANSWERED,
    "answered": State.ANSWERED,
    **dict.fromkeys(("completed", "busy", "no-answer", "failed", "canceled"), State.DONE),
}
_BY_CODE: Final = {
    **dict.fromkeys((486, 600), Outcome.BUSY),
    **dict.fromkeys((480, 487), Outcome.NO_ANSWER),
    **dict.fromkeys((603, 607, 608), Outcome.DECLINED),
    **dict.fromkeys((404, 484, 604), Outcome.INVALID),
}
"""RFC 3261 section 21, RFC 8197 (607) and RFC 8688 (608), by what they mean to the one who calls."""
_BY_STATUS: Final = {
    "completed": Outcome.COMPLETED,
    "busy": Outcome.BUSY,
    "no-answer": Outcome.NO_ANSWER,
    "canceled": Outcome.CANCELED,
}
MINUTE_S: Final = 60
_AGAIN_S: Final = {Outcome.BUSY: 10 * MINUTE_S, Outcome.NO_ANSWER: 60 * MINUTE_S}
TRUNK_CODES: Final = (503, 504)
TRUNK_RETRIES: Final = 2


def state_of(status: str) -> State | None:
    """The state that a `CallStatus` means; None for a word that the carrier does not have."""
    return _STATES.get(status)


def outcome_of(status: str, sip_code: int = 0) -> Outcome:
    """What a call's last status means. The carrier folds several codes into one status, so the code goes
    before it, but for a call that was answered and one that we took back.
    """
    if status in ("completed", "canceled"):
        return _BY_STATUS[status]
    return _BY_CODE.get(sip_code) or _BY_STATUS.get(status, Outcome.FAILED)


def again_after_s(record: Record, failures: int = 0) -> int | None:
    """How long to wait before that number is called again; None for never. `failures` is how often it failed
    before in the way it did now.
    """
    outcome = Outcome(record.outcome)
    if outcome is Outcome.FAILED and record.sip_code in TRUNK_CODES:
        return 5 * MINUTE_S if failures < TRUNK_RETRIES else None
    return _AGAIN_S.get(outcome)


def moved(record: Record, fields: Mapping[str, str], now_s: float) -> Record:
    """The record after a callback with these fields; the same object where it brings nothing new."""
    state = state_of(fields.get("CallStatus", ""))
    if state is None:
        return record
    new: dict[str, Any] = {}
    if not record.stir and len(fields.get("StirStatus", "")) == 1:
        new["stir"] = fields["StirStatus"]
    at_s = _moment(fields.get("Timestamp", ""), now_s)
    if state is State.RINGING and not record.rung_s:
        new["rung_s"] = at_s
    # The answer's webhook has no date, and our clock is not the carrier's.
    if state is State.ANSWERED and not record.answered_s and "Timestamp" in fields:
        new["answered_s"] = at_s
    if state is State.DONE and not record.done:
        new |= _ended(record, fields, at_s)
    if state > record.state:
        new["state"] = int(state)
    return msgspec.structs.replace(record, **new) if new else record


def _ended(record: Record, fields: Mapping[str, str], at_s: float) -> dict[str, Any]:
    sip_code, talk_s = _number(fields.get("SipResponseCode")), _number(fields.get("CallDuration"))
    outcome = outcome_of(fields["CallStatus"], sip_code)
    if record.canceled and outcome is Outcome.NO_ANSWER:
        outcome = Outcome.CANCELED  # 487 is also what the far end says of a request that was taken back
    ended: dict[str, Any] = {
        "ended_s": at_s,
        "outcome": outcome.value,
        "sip_code": sip_code,
        "talk_s": talk_s,
    }
    if fields.get("AnsweredBy") and not record.answered_by:
        ended["answered_by"] = fields["AnsweredBy"][:40]
    return ended


def merged(one: Record, other: Record) -> Record:
    """What two processes know of the same call: the further state, and the facts of both."""
    further, behind = (other, one) if other.state >= one.state else (one, other)
    usual = Record(ref="", to="", from_="", asked_s=0.0)
    missing = {
        name: getattr(behind, name)
        for name in Record.__struct_fields__
        if getattr(further, name) == getattr(usual, name) != getattr(behind, name) and name != "state"
    }
    return msgspec.structs.replace(further, **missing) if missing else further


def _moment(text: str, now_s: float) -> float:
    """The carrier's own time of a callback, RFC 2822: neither order nor delay of callbacks changes it."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return now_s


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 6 else 0
