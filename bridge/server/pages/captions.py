"""What a page is told of its own call while the call goes on: words of both sides, tools, notes, the end.

Nothing is encoded and nothing waits on the audio path: a call that is watched appends plain dictionaries to a
bounded list, and the page's socket sends what is new when it has time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.server.store.intents import TRANSFER

MOST_WATCHED: Final = 32
MOST_EVENTS: Final = 5_000
MOST_SPOKEN: Final = 10_000
"""Characters, to know a `say` again whose words were told already."""

Event = dict[str, Any]


@dataclass(slots=True, eq=False)
class _Watched:
    events: list[Event] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    answered: int = 0
    spoken: str = ""
    over: bool = False

    def add(self, event: Event) -> None:
        if len(self.events) < MOST_EVENTS or event["kind"] == "ended":
            self.events.append(event)
            self.news.set()


class Captions:
    """An observer of calls that keeps the events of those that are watched. `stats(call_sid)` gives a living
    call's counts, None for any other.
    """

    def __init__(self, stats: Callable[[str], Stats | None]) -> None:
        self._stats = stats
        self._watched: dict[str, _Watched] = {}

    def watch(self, call_sid: str) -> None:
        """From now on. The oldest of more than 32 is forgotten."""
        self._watched[call_sid] = _Watched()
        while len(self._watched) > MOST_WATCHED:
            forgotten = self._watched.pop(next(iter(self._watched)))
            forgotten.over = True
            forgotten.news.set()

    def is_watched(self, call_sid: str) -> bool:
        return call_sid in self._watched

    async def follow(self, call_sid: str) -> AsyncIterator[Event]:
        """Every event of the call from its beginning, until it is over. Nothing for one that is not
        watched.
        """
        watched, told = self._watched.get(call_sid), 0
        while watched is not None:
            watched.news.clear()
            while told < len(watched.events):
                yield watched.events[told]
                told += 1
            if watched.over:
                return
            await watched.news.wait()

    # --- as an observer ----------------------------------------------------------------------------------

    def call_began(self, _call_sid: str, /) -> None:
        """Nothing to tell: the call is not answered yet."""

    def call_did(self, call_sid: str, action: m.Action, now_ms: int, /) -> None:
        watched = self._watched.get(call_sid)
        if watched is None:
            return
        stats = self._stats(call_sid)
        if stats is not None and len(stats.turn_latencies_ms) > watched.answered:
            watched.answered = len(stats.turn_latencies_ms)
            watched.add({"at_ms": now_ms, "kind": "answered", "after_ms": stats.turn_latencies_ms[-1]})
        if isinstance(action, m.Spoken):
            watched.spoken = (watched.spoken + action.heard)[-MOST_SPOKEN:]
        if isinstance(action, m.Heard) and watched.spoken.endswith(action.text):
            return  # a `say` of the model's, whose item was told already
        event = _told(action)
        if event is not None:
            watched.add({"at_ms": now_ms, **event})

    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats, /) -> None:
        watched = self._watched.get(call_sid)
        if watched is None or watched.over:
            return
        watched.over = True
        cut = [abs(one.received_ms - one.heard_ms) for one in stats.barge_ins]
        watched.add(
            {
                "at_ms": stats.ended_ms or 0,
                "kind": "ended",
                "why": ended.reason.value,
                "detail": ended.detail,
                "turns": stats.turns,
                "barge_ins": len(stats.interruptions_ms),
                "unheard_ms": sum(cut),
                "answered_in_ms": stats.turn_latencies_ms,
            }
        )


def _told(action: m.Action) -> Event | None:
    match action:
        case m.CallBegan():
            return {"kind": "began"}
        case m.CallerSpoke(speaking=speaking):
            return {"kind": "caller", "speaking": speaking}
        case m.Turn(text=text) if text:
            return {"kind": "turn", "text": text}
        case m.TranscriptDelta(item_id=item_id, text=text):
            return {"kind": "words", "item": item_id, "text": text}
        case m.Spoken(item_id=item_id, generated=words, heard=heard, heard_ms=heard_ms, cut=cut):
            return {
                "kind": "spoken",
                "item": item_id,
                "generated": words,
                "heard": heard,
                "heard_ms": heard_ms,
                "cut": cut,
            }
        case m.Heard(text=text, heard_ms=heard_ms, cut=cut) if text:
            return {"kind": "phrase", "heard": text, "heard_ms": heard_ms, "cut": cut}
        case m.ToolWanted(call_id=call_id, name=name, arguments=arguments):
            return {"kind": "tool", "call": call_id, "name": name, "arguments": arguments}
        case m.NoteIntent(intent=intent) if intent.startswith(TRANSFER):
            return {"kind": "transfer", "to": intent.removeprefix(TRANSFER)}
        case m.Noted(what=what, detail=detail):
            return {"kind": "noted", "what": what, "detail": detail}
    return None
