"""What becomes of calls, as it is told: to the log, to the metrics, to the user's `on_end`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.core.upstream_leg import REFUSED
from bridge.ops import logs
from bridge.ops.metrics import Metrics

logger = logging.getLogger("bridge.call")

OnEnd = Callable[[str, Mapping[str, Any]], None]
_MOST_TOOLS: Final = 256


class Reports:
    """An `Observer` of all calls, and the last of them: `on_end(call_sid, summary)` is told of a call when
    all others have heard that it is over. Nothing here blocks.
    """

    def __init__(
        self,
        metrics: Metrics,
        *on_end: OnEnd,
        on_tool: Callable[[str, str], None] = lambda _call_sid, _call_id: None,
        quiet: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._on_end = on_end
        self._on_tool = on_tool
        self._quiet = quiet
        self._now = now
        self._wanted: dict[str, dict[str, float]] = {}
        self._seldom = logs.Seldom(logger, now)

    def call_began(self, call_sid: str) -> None:
        self._metrics.call_started()
        self._wanted[call_sid] = {}

    def call_did(self, call_sid: str, action: m.Action, _now_ms: int) -> None:
        about = {"call_sid": call_sid}
        match action:
            case m.Noted(what=m.OperatorActed.named):
                pass  # the console has logged it, with who it was
            case m.Noted():
                # One line says that no model can answer, not one a call.
                known = action.what in (REFUSED, "the model is out") and self._quiet()
                level = logging.DEBUG if known else logging.WARNING
                # The core notes a refused frame once a kind already, and the kinds are few.
                kind = (call_sid, action.what, action.detail if action.what == "frame refused" else "")
                self._seldom.log(kind, level, "%s: %s", action.what, action.detail, call_sid=call_sid)
            case m.CallBegan():
                logger.info("= caller and model hear each other", extra=about)
            case m.NoteIntent():
                logger.info("= intent: %s", action.intent or "none any more", extra=about)
            case m.DetourEnded():
                self._metrics.detour_ended(action)
            case m.ToolWanted():
                wanted = self._wanted.get(call_sid)
                if wanted is not None and len(wanted) < _MOST_TOOLS:
                    wanted[action.call_id] = self._now()

    def tool_finished(self, call_sid: str, call_id: str) -> None:
        """A tool that the model had called came back with a result."""
        self._on_tool(call_sid, call_id)
        since_s = self._wanted.get(call_sid, {}).pop(call_id, None)
        if since_s is not None:
            self._metrics.tool_finished(self._now() - since_s)

    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats) -> None:
        self._wanted.pop(call_sid, None)
        self._metrics.call_ended(ended.reason, stats)
        fields = logs.summary(ended.reason, stats, detail=ended.detail)
        logs.note(logger, logging.INFO, "call.summary", call_sid, **fields)
        for on_end in self._on_end:
            on_end(call_sid, {"call_sid": call_sid, **fields})
