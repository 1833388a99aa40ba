"""Ending a call and sending it on: by the carrier's REST API where there are credentials, by intent always.

Before the carrier's socket is closed on purpose the intent stands in the journal, so that `/after-stream` can
answer by it; then REST is tried, which is faster, and a moment later the socket closes whatever came of that.
So a goodbye never becomes a resumed call, and a leg is never touched before its `start`: without a stream
there is nothing to close, and the intent waits to be asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from bridge.core import messages as m
from bridge.core.messages import Reason
from bridge.server.routing.router import Router
from bridge.server.store import CallIntents
from bridge.server.store.intents import ENDED, HANDOVER, TRANSFER, Intents
from bridge.server.twilio_rest import CarrierRest, Outcome

logger = logging.getLogger(__name__)

PART_S: Final = 2.0
"""For REST, before the socket closes: all this time the caller hears nothing."""
HURRY_S: Final = 0.5
"""The same, when the process is asked to go at once."""

_CARRIER_ENDED_IT: Final = frozenset({Reason.CALLER_HUNG_UP, Reason.CARRIER_LOST})


async def _ours(_call_sid: str) -> bool:
    return True


class CallControl:
    """What is intended for each call, and how it is done. `is_ours` is asked before the carrier is: another
    machine may have the call by now. `leaves` says what a call waits for that leaves this machine. Lives on
    the loop that carries the audio.
    """

    def __init__(
        self,
        intents: CallIntents | None = None,
        rest: CarrierRest | None = None,
        *,
        router: Router | None = None,
    ) -> None:
        self.intents: CallIntents = Intents(None) if intents is None else intents  # an empty one is one, too
        self.before_close_s = PART_S
        self.is_ours: Callable[[str], Awaitable[bool]] = _ours
        self.leaves: Callable[[str, m.Ended], Awaitable[object] | None] = lambda _call_sid, _ended: None
        self.rest = rest
        self._router = Router.alone() if router is None else router

    def note(self, call_sid: str, intent: str) -> None:
        """The core says what it intends; an empty word takes that back."""
        if intent:
            self.intents.note(call_sid, intent)
        else:
            self.intents.began(call_sid)  # it had, or nothing could be taken back

    def ended(self, call_sid: str, ended: m.Ended) -> None:
        """The call is over: without an intent one is settled here, so that it is not taken for a crash.
        After the carrier's `stop` there is no caller to hand over.
        """
        intent = self.intents.peek(call_sid)
        if ended.reason is Reason.CALLER_HUNG_UP and intent in (None, HANDOVER):
            self.intents.note(call_sid, ENDED)
            return
        if intent is not None:
            return
        if ended.reason is Reason.BROKEN:
            # They have heard the apology. The same bug would only meet them again.
            fallback = self._router.of(call_sid).route.fallback
            self.intents.note(call_sid, TRANSFER + fallback if fallback else ENDED)

    def before_close(self, call_sid: str, account_sid: str, ended: m.Ended) -> Awaitable[object] | None:
        """What to await before the carrier's socket is closed: REST, a moment long; or that another machine
        can read what it has to know. None for nothing.
        """
        if (leaving := self.leaves(call_sid, ended)) is not None:
            return leaving
        rest, intent = self.rest, self.intents.peek(call_sid)
        if rest is None or not rest.available or intent is None or ended.reason in _CARRIER_ENDED_IT:
            return None
        if intent == ENDED:
            return self._in_time(call_sid, lambda: rest.hang_up(call_sid, account_sid or None))
        if intent.startswith(TRANSFER):
            name = intent.removeprefix(TRANSFER)
            return self._in_time(call_sid, lambda: rest.transfer(call_sid, name, account_sid or None))
        return None

    def follow(self, call_sid: str, account_sid: str, document: str) -> Awaitable[Outcome | None] | None:
        """What to await so that the call follows that TwiML in the place of its stream; None where only the
        end of the stream can end it.
        """
        rest = self.rest
        if rest is None or not rest.available:
            return None
        return self._in_time(call_sid, lambda: rest.follow(call_sid, document, account_sid or None))

    async def _in_time(self, call_sid: str, ask: Callable[[], Awaitable[Outcome]]) -> Outcome | None:
        try:
            async with asyncio.timeout(self.before_close_s):
                return await ask() if await self.is_ours(call_sid) else None
        except TimeoutError:
            logger.warning("no answer of the carrier's API in time", extra={"call_sid": call_sid})
            return None

    def close(self) -> None:
        """Let go of threads; the store has what is intended."""
        if self.rest is not None:
            self.rest.close()
