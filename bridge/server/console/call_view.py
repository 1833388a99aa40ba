"""The call in view: what a viewer who looks at it is told, as a whole and then as changes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

import msgspec

from bridge.core.messages import Usage
from bridge.core.toolbox import ToolCall
from bridge.core.turn_times import ToolTimes, TurnTimes

from . import hidden
from .happenings import Lanes, happening, told_of
from .live import LiveCall
from .messages import CallDelta, CallInView, Cost, Happening, Playing, Tool, Turn, encode
from .rows import RowReader, failed
from .words import Words

MOST_TOOLS: Final = 200
MOST_TURNS: Final = 500
OPEN_TURNS: Final = 2
"""The last ones, of which more may become known."""
MOST_PARAMETERS: Final = 50
MOST_PARAMETER: Final = 400
_CARRIERS: Final = frozenset(
    {"CallSid", "AccountSid", "ApiVersion", "From", "To", "Caller", "Called", "CallStatus", "Direction"}
)


def waterfall(times: TurnTimes) -> Turn | None:
    """A turn in its parts; None where the caller has not heard an answer."""
    felt_ms = times.felt_ms
    if felt_ms is None:
        return None
    parts, at_ms = [], 0
    for name, lasted_ms in times.parts().items():
        if lasted_ms:
            parts.append((name, at_ms, at_ms + lasted_ms))
        at_ms += lasted_ms
    return Turn(f"t{times.number}", times.last_word_ms, felt_ms, parts)


class CallView:
    """One call that is looked at, shared by all viewers. `revision` grows with each change. `tick` reads the
    state once, and encodes what has changed once.
    """

    __slots__ = (
        "_cost", "_events", "_lanes", "_playing", "_read", "_row", "_targets", "_tools", "_turn_at", "_turns",
        "_words", "fields", "live", "phone", "revision", "rows",
    )  # fmt: skip

    def __init__(
        self,
        live: LiveCall,
        rows: RowReader,
        fields: Mapping[str, str],
        targets: list[str],
        phone: str | None,
    ) -> None:
        self.live = live
        self.rows = rows
        self.fields = fields
        self.phone = phone
        self.revision = 1
        self._turns: dict[str, Turn] = {}
        self._turn_at = 0
        self._targets = targets
        self._words = Words(live)
        self._lanes = Lanes(self._words.line_of)
        self._tools: dict[str, Tool] = {}
        self._read = live.happened - len(live.ring)
        self._row = rows.row.revision
        self._events: list[Happening] = []
        self._playing: Playing | None = None
        self._cost = self._costs()
        self._update(first=True)

    def whole(self) -> str:
        """All of it, as JSON."""
        live = self.live
        ring = live.ring
        first = live.happened - len(ring)
        events = [happening(first + at, *one) for at, one in enumerate(list(ring))]
        parameters = {
            name[:MOST_PARAMETER]: hidden.HIDDEN if hidden.is_secret(name) else value[:MOST_PARAMETER]
            for name, value in islice(self.fields.items(), MOST_PARAMETERS)
            if name not in _CARRIERS
        }
        instructions = live.call.playout.config.instructions
        return encode(
            CallInView(
                call=live.call_sid,
                to=self.revision,
                at_ms=live.now_ms(),
                began_at=live.began_at,
                row=self.rows.row,
                words=list(self._words.lines.values()),
                turns=list(self._turns.values()),
                tools=list(self._tools.values()),
                lanes=list(self._lanes.lanes.values()),
                events=events,
                cost=self._cost,
                playing=self._playing,
                parameters=parameters,
                instructions=instructions[: hidden.MOST_CHARACTERS],
                targets=self._targets,
                phone=self.phone,
            )
        )

    def tick(self) -> str:
        """What has changed since the last time, as JSON; "" for nothing."""
        delta = self._update()
        return "" if delta is None else encode(delta)

    def _update(self, *, first: bool = False) -> CallDelta | None:
        live = self.live
        now_ms = live.now_ms()
        fresh = list(islice(live.ring, max(0, len(live.ring) - (live.happened - self._read)), None))
        number = live.happened - len(fresh)
        self._read = live.happened
        self.rows.read()
        words = self._words.update(now_ms, told_of(iter(fresh)), first=first)
        events = [] if first else [happening(number + at, *one) for at, one in enumerate(fresh)]
        for at_ms, action in fresh:
            self._lanes.take(at_ms, action)
        tools = self._changed_tools()
        turns = self._new_turns()
        playing, before = self._words.playing(now_ms), self._playing
        if playing is not None and playing.id:
            self._lanes.sounds(playing.id, now_ms, playing.heard_ms)
        lanes = self._lanes.news()
        cost = self._costs()
        row = self.rows.row if self.rows.row.revision != self._row else None
        self._row = self.rows.row.revision
        moved = playing != before
        priced = cost != self._cost
        self._playing, self._cost = playing, cost
        if not (words or events or tools or turns or lanes or moved or priced or row):
            return None
        self.revision += 1
        return CallDelta(
            call=live.call_sid,
            from_=self.revision - 1,
            to=self.revision,
            at_ms=now_ms,
            row=row,
            words=words,
            turns=turns,
            tools=tools,
            lanes=lanes,
            events=events,
            cost=cost if priced else None,
            playing=playing if moved else msgspec.UNSET,
        )

    def _changed_tools(self) -> list[Tool]:
        calls, changed = self.live.call.playout.conversation.tools.calls, []
        for call_id in list(calls)[-MOST_TOOLS:]:
            before, call = self._tools.get(call_id), calls[call_id]
            if before is not None and before.state != "running":
                continue
            tool = self._tool(call)
            if tool == before:
                continue
            self._tools[call_id] = tool
            changed.append(tool)
            if tool.state != "running":
                at_ms = self.live.now_ms() if tool.ms is None else (tool.at_ms or 0) + tool.ms
                self._lanes.tool_returned(call_id, at_ms, failed=tool.state == "failed")
        return changed

    def _tool_times(self, call_id: str) -> ToolTimes | None:
        stats = self.live.call.stats
        for turn in (*reversed(stats.turn_times), stats.opening):
            for one in turn.tools:
                if one.call_id == call_id:
                    return one
        return None

    def _tool(self, call: ToolCall) -> Tool:
        given, hidden_in = hidden.fields(call.arguments, "input")
        output, hidden_out = ("", []) if call.output is None else hidden.fields(call.output, "output")
        times = self._tool_times(call.call_id)
        wanted_ms = None if times is None else times.wanted_ms
        returned_ms = None if times is None else times.finished_ms
        took_ms = None if wanted_ms is None or returned_ms is None else max(0, returned_ms - wanted_ms)
        state = "running" if call.output is None else "failed" if failed(call) else "done"
        return Tool(
            call.call_id, call.name, wanted_ms, took_ms, state, given, output, [*hidden_in, *hidden_out]
        )

    def _new_turns(self) -> list[Turn]:
        """Those whose answer the caller hears by now, or whose parts are known better."""
        times, fresh = self.live.call.stats.turn_times, []
        for number in range(self._turn_at, len(times)):
            turn = waterfall(times[number])
            if turn is not None and self._turns.get(turn.id) != turn:
                self._turns[turn.id] = turn
                fresh.append(turn)
        self._turn_at = max(0, len(times) - OPEN_TURNS)
        while len(self._turns) > MOST_TURNS:
            del self._turns[next(iter(self._turns))]
        return fresh

    def _costs(self) -> Cost:
        call = self.live.call
        stats = call.stats
        tokens = {name: getattr(stats.usage, name) for name in Usage.__struct_fields__}
        return Cost(
            stats.cost_micro_usd if call.config.prices else None,
            {name: count for name, count in tokens.items() if count},
            stats.transcribed_s,
            call.config.limits.cost_micro_usd,
        )
