"""What is told of calls: `call.started`, `call.ended`, and on request turns, tools and recordings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from bridge.core import messages as m
from bridge.core.stats import Stats

ALWAYS: Final = ("call.started", "call.ended", "call.status")
ON_REQUEST: Final = ("call.turn", "tool.finished", "recording.ready")
MOST_BYTES: Final = 256 * 1024
"""Of a notice. A longer `call.ended` is sent without its transcript, and says `truncated`."""
MOST_ENTRIES: Final = 2_000
"""Of a transcript."""

Put = Callable[[str, str, str], None]
"""`Outbox.put`: the notice's id, the call, the body."""

_ENDS: Final = {
    m.Reason.CALLER_HUNG_UP: "caller_hung_up",
    m.Reason.WE_HUNG_UP: "hung_up",
    m.Reason.TRANSFERRED: "transferred",
    m.Reason.LIMIT: "limit",
}
"""How a call ended; every other reason is `failed`."""
_GOES_ON: Final = frozenset({m.Reason.HANDED_OVER, m.Reason.TAKEN_OVER})
"""Another process tells of the end."""


@dataclass(slots=True)
class _Call:
    """What is known of a call that goes on."""

    transcript: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    wanted: dict[str, tuple[str, float]] = field(default_factory=dict)
    complete: bool = True
    told: int = 0
    end: str = ""


class CallNotices:
    """An `Observer` of calls that puts notices into an outbox. `kinds` says which;
    `hook` is told of all. Without both it does nothing.

    Bodies are `{"type": …, "timestamp": ISO 8601, "data": {"call_sid": …, …}}`. `ended` is told of a call
    when its summary is there.
    """

    def __init__(
        self,
        put: Put,
        kinds: frozenset[str] = frozenset(ALWAYS),
        hook: Callable[[str, Mapping[str, Any]], None] | None = None,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._put = put
        self._now_s = now_s
        self._kinds = kinds
        self._hook = hook
        self._calls: dict[str, _Call] = {}

    def call_began(self, call_sid: str) -> None:
        if self._kinds or self._hook is not None:
            self._calls[call_sid] = _Call()
        self._tell("call.started", call_sid, "started", {})

    def call_did(self, call_sid: str, action: m.Action, now_ms: int) -> None:
        call = self._calls.get(call_sid)
        if call is None:
            return
        match action:
            case m.Turn():
                self._said(call_sid, call, {"at_ms": now_ms, "who": "caller", "text": action.text})
            case m.Spoken():
                cut = {"generated": action.generated, "cut_ms": action.heard_ms} if action.cut else {}
                entry = {"at_ms": now_ms, "who": "model", "text": action.heard, **cut}
                self._said(call_sid, call, entry)
            case m.Heard(text=text) if text:
                cut = {"cut_ms": action.heard_ms} if action.cut else {}
                self._said(call_sid, call, {"at_ms": now_ms, "who": "bridge", "text": text, **cut})
            case m.ToolWanted():
                if len(call.wanted) + len(call.tools) < MOST_ENTRIES:
                    call.wanted[action.call_id] = action.name, self._now_s()

    def tool_finished(self, call_sid: str, call_id: str) -> None:
        """A tool that the model had called came back with a result."""
        call = self._calls.get(call_sid)
        wanted = None if call is None else call.wanted.pop(call_id, None)
        if call is None or wanted is None:
            return
        took_ms = round((self._now_s() - wanted[1]) * 1_000)
        tool = {"name": wanted[0], "took_ms": took_ms}
        call.tools.append(tool)
        self._tell("tool.finished", call_sid, f"tool_{len(call.tools)}", tool)

    def call_ended(self, call_sid: str, ended: m.Ended, _stats: Stats) -> None:
        call = self._calls.get(call_sid)
        if call is not None:
            call.end = "" if ended.reason in _GOES_ON else _ENDS.get(ended.reason, "failed")

    def ended(self, call_sid: str, summary: Mapping[str, Any]) -> None:
        """The call is over and summed up."""
        call = self._calls.pop(call_sid, None)
        if call is None or not call.end:
            return
        told = {"transcript": call.transcript, "tools_called": call.tools, "complete": call.complete}
        self._tell("call.ended", call_sid, "ended", {**summary, "end": call.end, **told})

    def recorded(self, call_sid: str, name: str) -> None:
        """The file of this call's recording is whole."""
        self._tell("recording.ready", call_sid, f"recording_{name}", {"recording": name})

    def status(self, ref: str, state: str, told: Mapping[str, Any]) -> None:
        """A call out has come to this state."""
        self._tell("call.status", ref, f"status_{state}", told)

    def _said(self, call_sid: str, call: _Call, entry: dict[str, Any]) -> None:
        if len(call.transcript) < MOST_ENTRIES:
            call.transcript.append(entry)
        else:
            call.complete = False
        call.told += 1
        self._tell("call.turn", call_sid, f"turn_{call.told}", entry)

    def _tell(self, kind: str, about: str, what: str, told: Mapping[str, Any]) -> None:
        """`about` is the call's id, or of a call out that of its request."""
        data = {"call_sid": about, **told}
        if self._hook is not None:
            self._hook(about, _notice(kind, data))
        if kind not in self._kinds:
            return
        body = _written(_notice(kind, data))
        if len(body) > MOST_BYTES:
            shorter = {name: value for name, value in data.items() if name not in ("transcript", "text")}
            body = _written(_notice(kind, {**shorter, "truncated": True}))
        self._put(f"msg_{about}_{what}", about, body)


def _notice(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": kind, "timestamp": at, "data": data}


def _written(notice: Mapping[str, Any]) -> str:
    return json.dumps(notice, separators=(",", ":"))
