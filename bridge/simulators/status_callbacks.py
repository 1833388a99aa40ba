"""Status callbacks: who is told what of a call, in which order, and what the network does to that order.

https://www.twilio.com/docs/voice/api/call-resource#statuscallback
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from .carrier import WebhookFailed
from .leg import Leg

EVENTS: Final = ("initiated", "ringing", "answered", "completed")
_EVENT_OF: Final = {"initiated": "initiated", "ringing": "ringing", "in-progress": "answered"}


@dataclass(eq=False)
class StatusCallback:
    """One subscription to the statuses of one leg. `events` as in `StatusCallbackEvent`; `completed` stands
    for every final status.
    """

    url: str
    events: frozenset[str] = frozenset({"completed"})
    method: str = "POST"
    sequence: int = 0
    """Numbers the events that were subscribed to, from 0."""

    def status(self, leg: Leg, status: str) -> None:
        """The leg has this status now."""
        event = _EVENT_OF.get(status, "completed")
        if status == "queued" or event not in self.events:
            return
        form = {
            "CallStatus": status,
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self.sequence),
            "Timestamp": format_datetime(datetime.now(UTC)),
        }
        self.sequence += 1
        if event in ("ringing", "answered") and leg.handset.direction == "outbound-api":
            form["StirStatus"] = "A"
        if event == "completed":
            minutes = -(-leg.duration_s // 60)
            form |= {"CallDuration": str(leg.duration_s), "Duration": str(minutes)}
            form |= {} if leg.sip_code is None else {"SipResponseCode": str(leg.sip_code)}
            form |= {} if leg.answered_by is None else {"AnsweredBy": leg.answered_by}
        leg.network.deliver(leg, self.url, form, method=self.method, event=event)


@dataclass
class Deliveries:
    """How callbacks reach the server: at once and in order, but for what is wished here."""

    lost: set[str] = field(default_factory=set)
    """Events that never arrive: `answered`, `completed`, …"""
    late_ms: dict[str, int] = field(default_factory=dict)
    """Events that arrive so much later; others overtake them."""
    doubled: set[str] = field(default_factory=set)
    """Events that arrive twice."""
    scattered_ms: int = 0
    """Every event is late by up to this, by the network's seed."""

    def arrivals_ms(self, event: str, rng: random.Random) -> list[int]:
        """After how many milliseconds the event arrives: once, twice or never."""
        if event in self.lost:
            return []
        late_ms = self.late_ms.get(event, 0) + (rng.randint(0, self.scattered_ms) if self.scattered_ms else 0)
        return [late_ms] * (2 if event in self.doubled else 1)


@dataclass(frozen=True)
class Letter:
    """A callback. A `bare` one has nothing beside its own fields."""

    leg: Leg
    url: str
    fields: Mapping[str, str]
    method: str = "POST"
    bare: bool = False

    async def send(self) -> None:
        """Undelivered is ignored."""
        leg = self.leg
        form = {**({} if self.bare else leg.handset.form()), **self.fields}
        with contextlib.suppress(WebhookFailed):
            await leg.handset.send(leg.network.reach(self.url), form, self.method)


class Postman:
    """Delivers a network's callbacks. Those of one leg keep their order unless they are late."""

    def __init__(self) -> None:
        self.under_way: set[asyncio.Task[None]] = set()
        self._last: dict[str, asyncio.Task[None]] = {}

    def send(self, letter: Letter, late_ms: int) -> None:
        """Deliver it, after what was sent about its leg before unless it is late."""
        before = None if late_ms else self._last.get(letter.leg.sid)
        task = asyncio.create_task(self._deliver(letter, late_ms, before))
        if not late_ms:
            self._last[letter.leg.sid] = task
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    @staticmethod
    async def _deliver(letter: Letter, late_ms: int, before: asyncio.Task[None] | None) -> None:
        leg = letter.leg
        if late_ms:
            await leg.network.clock.sleep(late_ms)
        with leg.network.clock.held():
            if before is not None:
                await asyncio.wait({before})
            leg.network.asked(leg, letter.url, letter.fields)
            await letter.send()

    async def all_delivered(self) -> None:
        """Until nothing is under way."""
        while self.under_way:
            await asyncio.wait(set(self.under_way))
