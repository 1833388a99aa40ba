"""What the REST API tells of legs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from bridge.doubles.call_resource import CallFacts

from .leg import Leg
from .steps import FINAL

_TOLD: Final = {"initiated": "queued"}
"""`initiated` is an event, and no status of the resource."""


def facts_of(leg: Leg) -> CallFacts:
    """The leg as it is now."""
    handset, now_ms = leg.handset, leg.network.clock.now_ms
    now = datetime.now(UTC)

    def date(at_ms: int) -> str:
        return format_datetime(now - timedelta(milliseconds=now_ms - at_ms))

    over = leg.status in FINAL
    ended_ms = leg.ended_ms if leg.ended_ms is not None else now_ms
    return CallFacts(
        sid=leg.sid,
        account_sid=handset.account_sid,
        to=handset.called,
        from_=handset.caller,
        status=_TOLD.get(leg.status, leg.status),
        direction=handset.direction,
        date_created=date(leg.began_ms),
        parent_call_sid=handset.parent_call_sid,
        start_time=None if leg.answered_ms is None else date(leg.answered_ms),
        end_time=date(ended_ms) if over else None,
        duration_s=leg.duration_s if over else None,
        answered_by=leg.answered_by,
        queue_time_ms=leg.queue_ms,
    )


def listed(calls: Iterable[CallFacts], query: Mapping[str, str]) -> list[CallFacts]:
    """Those that a list's query asks for: To, From, ParentCallSid, Status and the days of StartTime."""
    wanted = {"to": "To", "from_": "From", "parent_call_sid": "ParentCallSid", "status": "Status"}
    return [
        call
        for call in calls
        if all(query.get(name, getattr(call, one)) == getattr(call, one) for one, name in wanted.items())
        and _began_within(call, query)
    ]


def _began_within(call: CallFacts, query: Mapping[str, str]) -> bool:
    began = parsedate_to_datetime(call.start_time or call.date_created).date().isoformat()
    at, before, after = (query.get(f"StartTime{sign}", "")[:10] for sign in ("", "<", ">"))
    return (not at or began == at) and (not before or began <= before) and (not after or began >= after)
