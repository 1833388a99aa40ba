"""Tells the carrier's request from a replay of an earlier one.

A signature has no date. What tells the two apart is what became of the call since: which of its streams were
given out, which have begun, and whether one lives.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.server.calls import CallRegistry
from bridge.server.gates import StreamTokens
from bridge.server.store.intents import LIVE_STATUSES, OVER_STATUSES, opens_a_stream
from bridge.server.stream_names import StreamNames


class Replays:
    """Knows a request that was answered before. Its signature and its ids have been checked."""

    def __init__(self, tokens: StreamTokens, names: StreamNames, registry: CallRegistry) -> None:
        self._tokens = tokens
        self._names = names
        self._exchange = registry
        self._used = registry.services.store.used
        self._intents = registry.services.control.intents

    def had_its_stream(self, call_sid: str) -> bool:
        """Whether a call's first stream was given out: in whatever process, before whatever crash. One that
        may still be opened does not count, for the carrier may ask twice.
        """
        if self._intents.has_begun(call_sid):
            return True
        return self._used.has(call_sid) and not self._tokens.is_waiting(call_sid, 1)

    def asked_about(self, names: Sequence[str], call_sid: str) -> int:
        """The number of the stream that is named, 0 for a name that is not this call's. Every action URL of
        ours has a name: a question without one, under TwiML of an earlier version, is about the first stream.
        """
        if not names:
            return 1
        return (self._names.number(names[0], call_sid) if len(names) == 1 else None) or 0

    async def fault(self, call_sid: str, stream: int, call_status: str, dial_status: str) -> str | None:
        """Why it is not the carrier that says that this stream is over, in words that may be logged; None
        when it is. Closes a stream that is dead. Takes two seconds at most.
        """
        if stream == 0:
            return "it names a stream of another call"
        if stream < self._intents.streams(call_sid):
            return "a later stream of the call has begun"
        if not await self._exchange.stream_is_over(call_sid):
            return "the stream lives"
        intent = self._intents.peek(call_sid)
        if not opens_a_stream(intent, dial_status) or call_status in OVER_STATUSES:
            return None  # it opens no stream
        if call_status not in LIVE_STATUSES:
            return "it does not say how the call is"
        if self._used.has(call_sid, stream + 1) and not self._tokens.is_waiting(call_sid, stream + 1):
            return "the stream after it was given out before"
        return None
