"""One call as a row of the list, read from the state that there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge.core.messages import Phase
from bridge.core.playout import UNTOLD
from bridge.core.state import CallState
from bridge.core.toolbox import ToolCall, failure
from bridge.core.vendor_errors import harmless
from bridge.server.routing.router import Router

from . import hidden
from .live import LiveCall
from .messages import Row, delta, encode

SLOW_MS: Final = 2_000
"""An answer later than this is trouble."""
_STATES: Final[Mapping[Phase, str]] = {
    Phase.SETUP: "ringing",
    Phase.LIVE: "live",
    Phase.DRAINING: "ending",
    Phase.AWAY: "away",
    Phase.ENDED: "ended",
}


def failed(call: ToolCall) -> bool:
    """Whether it has a result that says so."""
    return call.output is not None and failure(call.output) is not None


class RowReader:
    """Reads the rows of one call, again and again; `revision` grows with each that differs.

    `text` is the newest whole one as JSON and `change` the delta from the one before: encoded once, whoever
    looks.
    """

    __slots__ = (
        "_answered", "_failed", "_p50_ms", "_returned", "_unheard", "_values", "change", "live", "row",
        "text",
    )  # fmt: skip

    def __init__(self, live: LiveCall, router: Router, machine: str) -> None:
        self.live = live
        self._answered = 0
        self._p50_ms: int | None = None
        self._returned = self._failed = 0
        self._unheard = 0, 0
        routed = router.of(live.call_sid)
        self._values = self._changing()
        self.row = Row(
            live.call_sid,
            machine,
            "out" if routed.outbound else "in",
            hidden.number(routed.caller),
            hidden.number(routed.called),
            live.began_at,
            1,
            *self._values,
        )
        self.text, self.change = encode(self.row), ""

    @property
    def call_sid(self) -> str:
        """The call's."""
        return self.row.call

    @property
    def revision(self) -> int:
        """That of the newest row."""
        return self.row.revision

    def read(self) -> bool:
        """Whether anything has changed."""
        values = self._changing()
        if values == self._values:
            return False
        self._values, before = values, self.row
        self.row = Row(
            before.call,
            before.machine,
            before.direction,
            before.caller,
            before.called,
            before.began_at,
            before.revision + 1,
            *values,
        )
        self.text, self.change = encode(self.row), delta(before, self.row)
        return True

    def _changing(self) -> tuple[Any, ...]:
        """Those fields of a `Row` that may change, in its order."""
        live = self.live
        call, stats = live.call, live.call.stats
        answered, tools = stats.turn_latencies_ms, call.playout.conversation.tools
        if len(answered) != self._answered:
            self._answered = len(answered)
            self._p50_ms = sorted(answered)[len(answered) // 2]
        if len(stats.barge_ins) != self._unheard[0]:
            self._unheard = len(stats.barge_ins), sum(stats.interruptions_ms)
        returned = len(tools.calls) - len(tools.running)
        if returned != self._returned:
            self._returned = returned
            self._failed = sum(map(failed, tools.calls.values()))
        who, words = _last_words(call)
        ended = live.ended
        return (
            _state(call, ended=ended is not None),
            call.playout.agent.name,
            call.playout.config.model,
            live.ended_at,
            None if ended is None else ended.reason.value,
            "" if ended is None else ended.detail,
            who,
            words,
            stats.turns,
            self._p50_ms,
            len(stats.barge_ins),
            self._unheard[1],
            stats.tools,
            self._failed,
            len(tools.running),
            stats.cost_micro_usd if call.config.prices else None,
            call.caller_audio.muted,
            live.listeners[live.call_sid],
            self._trouble(),
        )

    def _trouble(self) -> list[str]:
        live = self.live
        call, stats = live.call, live.call.stats
        found = []
        if live.ended is None and call.phase is Phase.LIVE and not call.playout.ready:
            found.append("the model is away")
        since_ms = call.playout.owed.since_ms
        if since_ms is not None and live.ended is None and live.now_ms() - since_ms > SLOW_MS:
            found.append("the caller waits for an answer")
        if self._failed:
            found.append("a tool failed" if self._failed == 1 else f"{self._failed} tools failed")
        if stats.recoveries:
            found.append("the model was lost" + (f" {stats.recoveries} times" * (stats.recoveries > 1)))
        if vendors := call.dialling.vendors:
            found.append(f"gone on with {', '.join(plan.name for plan in vendors)}")
        if untold := sum(stats.cuts_untold.values()):
            found.append(f"{UNTOLD}: {untold}")
        if faults := [code for code in stats.faults if not harmless(code)]:
            found.append(f"errors of the model: {', '.join(faults[:3])[:120]}")
        if stats.frames_refused:
            found.append("frames that no protocol allows")
        if stats.frames_dropped:
            found.append(f"{stats.frames_dropped * 20} ms of the caller were lost on the way to the model")
        slowest_ms = max(stats.turn_latencies_ms[-3:], default=0)
        if slowest_ms > SLOW_MS:
            found.append(f"slow answers, {slowest_ms} ms")
        return found


def _state(call: CallState, *, ended: bool) -> str:
    if ended:
        return "ended"
    state = _STATES[call.phase]
    return "recovering" if state == "live" and not call.playout.ready else state


def _last_words(call: CallState) -> tuple[str, str]:
    """Of the newest item that has any: who said them, and their end, as far as they were heard."""
    for item in reversed(call.playout.conversation.items.values()):
        if item.kind != "message" or item.gone or item.role not in ("user", "assistant"):
            continue
        words = item.heard() if item.role == "assistant" else hidden.keys(item.text)
        if words:
            return "agent" if item.role == "assistant" else "caller", words[-Row.MOST_WORDS :]
    return "", ""
