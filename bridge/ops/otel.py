"""OpenTelemetry: each call is a trace, made when it is over, on a thread of its own.

Nothing of this is on the way of a call's sound. The SDK is imported by `exporter` only, which the settings
ask for by naming a collector.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.stats import Stats
from bridge.errors import ConfigError

from . import otel_names as names
from .otel_spans import GOES_ON, Facts, Link, Made, Value, Words, call_spans, kept_because, turn_spans
from .redaction import Mask

logger = logging.getLogger("bridge.otel")

MISSING: Final = (
    "traces need the extra `otel`: pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
)
LONG_CALL_MS: Final = 600_000
"""From then on a call's turns are told while it lasts."""
FLUSH_S: Final = 60.0
MOST_WAITING: Final = 1_000
"""Calls that wait for a slow collector; what comes beyond is dropped and counted."""
MOST_LINKS: Final = 1_000
BATCH: Final = 512
CLOSE_S: Final = 2.0
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
"""W3C Trace Context, "traceparent Header Field Values"."""


@dataclass(slots=True)
class Batch:
    """Spans of one trace; `base_ns` is when 0 ms was, of the epoch."""

    trace_id: int
    base_ns: int
    make: Callable[[], Sequence[Made]]


class Sink(Protocol):
    """Where traces go. `put` returns at once, from any thread."""

    def samples(self, trace_id: int) -> bool: ...
    def put(self, batch: Batch) -> None: ...
    def enter(self, trace_id: int, span_id: int) -> None: ...


@dataclass(slots=True)
class _Live:
    call: Call
    base_ns: int
    told: int = 0
    words: dict[int, Words] = field(default_factory=dict)


class Tracing:
    """An `Observer` of all calls. `find` gives a call that lives here; `budget_ms` is what an answer may take
    before its call is kept whatever the sampler says; `content`: words and arguments go along.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        provider: str,
        budget_ms: int,
        content: bool = False,
        mask: Mask | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.find: Callable[[str], Call | None] = lambda _call_sid: None
        self._sink = sink
        self._provider = provider
        self._budget_ms = budget_ms
        self._content = content
        self._mask = mask or Mask()
        self._now_ns = now_ns
        self._calls: dict[str, _Live] = {}
        self._links: dict[str, Link] = {}

    # --- calls -------------------------------------------------------------------------------------------

    def call_began(self, call_sid: str, /) -> None:
        call = self.find(call_sid)
        if call is not None:
            self._calls[call_sid] = _Live(call, self._now_ns())

    def call_did(self, call_sid: str, action: m.Action, _now_ms: int, /) -> None:
        if not self._content or not isinstance(action, m.Turn | m.Spoken):
            return
        live = self._calls.get(call_sid)
        if live is not None:
            turn = live.call.stats.turn
            if isinstance(action, m.Spoken):
                recent = reversed(live.call.stats.turn_times[-3:])
                turn = next((one for one in recent if one.item_id == action.item_id), turn)
            words = live.words.setdefault(_before(live.call).turns + turn.number, Words())
            if isinstance(action, m.Turn):
                words.caller = f"{words.caller} {action.text}".strip()
            else:
                words.heard = f"{words.heard} {action.heard}".strip()

    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats, /) -> None:
        live, link = self._calls.pop(call_sid, None), self._links.pop(call_sid, None)
        if live is None or (stats.started_ms is None and ended.reason in _ELSEWHERE):
            return
        trace_id, kept = names.trace_id(call_sid), kept_because(stats, ended.reason, self._budget_ms)
        if kept or self._sink.samples(trace_id):

            def make() -> list[Made]:
                """Called on the sink's thread; the call changes no more."""
                return call_spans(self._facts(call_sid, live, link), ended.reason, live.told, kept)

            self._sink.put(Batch(trace_id, live.base_ns, make))

    def flush(self) -> None:
        """Tell of the turns of long calls that are over. Called on the sink's thread: such turns change no
        more, and the newest two are left alone.
        """
        for call_sid, live in list(self._calls.items()):
            closed = len(live.call.stats.turn_times) - 2
            trace_id, lasted_ms = names.trace_id(call_sid), (self._now_ns() - live.base_ns) // 1_000_000
            if lasted_ms < LONG_CALL_MS or closed <= live.told or not self._sink.samples(trace_id):
                continue
            made = list(turn_spans(self._facts(call_sid, live, None), live.told, closed))
            live.told = closed
            self._sink.put(Batch(trace_id, live.base_ns, lambda made=made: made))  # type: ignore[misc]

    def enter(self, call_sid: str, call_id: str = "") -> None:
        """In the context of user code: what it begins hangs below the call's span, or that of this tool."""
        live = self._calls.get(call_sid)
        process = "" if live is None else _process(live.call)
        span_id = names.tool_id(call_sid, call_id, process) if call_id else names.root_id(call_sid)
        self._sink.enter(names.trace_id(call_sid), span_id)

    # --- the webhook -------------------------------------------------------------------------------------

    def webhook(self, call_sid: str, traceparent: str) -> Callable[[int, bool], None]:
        """The carrier asks about a call; to be called with the status that it gets, and whether the call was
        refused.
        """
        began_ns, found = self._now_ns(), _TRACEPARENT.fullmatch(traceparent.strip())
        span_id = names.span_id(call_sid, "webhook", began_ns)
        own_id = names.trace_id(call_sid)
        trace_id = int(found[1], 16) if found else own_id
        above = int(found[2], 16) if found else 0
        if not trace_id or (found and not above):
            found, trace_id, above = None, own_id, 0
        sampled = bool(int(found[3], 16) & 1) if found else self._sink.samples(own_id)
        if found and len(self._links) < MOST_LINKS:
            self._links[call_sid] = Link(trace_id, span_id)

        def answered(status: int, refused: bool) -> None:
            if not (sampled or refused):
                return
            lasted_ms = (self._now_ns() - began_ns) // 1_000_000
            attributes: dict[str, Value] = {
                names.CONVERSATION: call_sid,
                names.HTTP_STATUS: status,
                names.REFUSED: refused,
            }
            parent_id = above or (None if refused else names.root_id(call_sid))
            made = Made(names.WEBHOOK, span_id, parent_id, 0, lasted_ms, "SERVER", attributes)
            if refused:
                self._links.pop(call_sid, None)
            self._sink.put(Batch(trace_id, began_ns, lambda: [made]))

        return answered

    # --- inside ------------------------------------------------------------------------------------------

    def _facts(self, call_sid: str, live: _Live, link: Link | None) -> Facts:
        call, before = live.call, _before(live.call)
        began_ms = before.began_at_s * 1_000 - live.base_ns // 1_000_000 if before.began_at_s else 0
        return Facts(
            call_sid,
            call.stats,
            agent=call.playout.agent.name,
            model=call.playout.config.model,
            provider=self._provider,
            direction="inbound" if call.config.outbound is None else "outbound",
            process=_process(call),
            turns_before=before.turns,
            began_ms=min(0, began_ms),
            resumed=call.config.carried is not None,
            link=link,
            words={number: self._masked(words) for number, words in list(live.words.items())},
            outputs={
                call_id: (self._mask.text(tool.arguments), self._mask.text(tool.output or ""))
                for call_id, tool in list(call.playout.conversation.tools.calls.items())
            },
            content=self._content,
        )

    def _masked(self, words: Words) -> Words:
        return Words(self._mask.text(words.caller), self._mask.text(words.heard))


def _before(call: Call) -> m.CallSnapshot:
    """What the processes before this one had of the call."""
    return call.config.carried or m.CallSnapshot()


def _process(call: Call) -> str:
    return "" if call.config.carried is None else f"@{call.config.accepted_at_s}"


_ELSEWHERE: Final = frozenset({m.Reason.SHUTDOWN, *GOES_ON})
"""So ends a call that rang here and was had by another process."""


class Exporter:
    """A `Sink` for a collector: OTLP over HTTP, by the SDK, on a thread. `outcome(kind, count)` counts spans:
    exported, failed, dropped.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        instance: str = "",
        version: str = "",
        outcome: Callable[[str, int], None] = lambda _kind, _count: None,
    ) -> None:
        """Raises ConfigError where the extra is not installed."""
        try:
            from .otel_sdk import Sdk  # noqa: PLC0415  an extra, and slow to import
        except ImportError as error:
            raise ConfigError(MISSING) from error
        self._sdk = Sdk(endpoint, headers, instance, version)
        self._outcome = outcome
        self._queue: queue.Queue[Batch | None] = queue.Queue(MOST_WAITING)
        self._closed = threading.Event()
        self._failing = self._given_up = False
        self.tick: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="otel", daemon=True)

    def start(self) -> None:
        """Idempotent."""
        if not self._thread.is_alive() and not self._closed.is_set():
            self._thread.start()

    def samples(self, trace_id: int) -> bool:
        return self._sdk.samples(trace_id)

    def enter(self, trace_id: int, span_id: int) -> None:
        self._sdk.enter(trace_id, span_id, self.samples(trace_id))

    def put(self, batch: Batch) -> None:
        try:
            self._queue.put_nowait(batch)
        except queue.Full:
            self._outcome("dropped", 1)

    def probe(self) -> bool:
        """Whether the collector takes a request without a span. Blocks; ten seconds, by default."""
        return self._sdk.export([])

    def close(self) -> None:
        """Send what waits, two seconds long at most."""
        if self._closed.is_set():
            return
        self._closed.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            pass
        else:
            if self._thread.is_alive():
                self._thread.join(CLOSE_S)
        self._given_up = True
        self._sdk.close()

    # --- on the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        due_s = time.monotonic() + FLUSH_S
        while True:
            try:
                batch = self._queue.get(timeout=max(0.0, due_s - time.monotonic()))
            except queue.Empty:
                due_s = time.monotonic() + FLUSH_S
                self._safely(self.tick)
                continue
            if batch is None or self._given_up:
                return
            self._safely(lambda batch=batch: self._send(batch))  # type: ignore[misc]

    def _safely(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:
            logger.exception("a trace was lost")
            self._outcome("failed", 1)

    def _send(self, batch: Batch) -> None:
        spans = self._sdk.made(batch.trace_id, batch.base_ns, batch.make())
        for at in range(0, len(spans), BATCH):
            some = spans[at : at + BATCH]
            sent = self._sdk.export(some)
            self._outcome("exported" if sent else "failed", len(some))
            if sent == self._failing:
                self._failing = not sent
                if not sent:
                    logger.warning("the collector does not take traces; calls go on without")


def is_wanted(endpoint: str | None) -> bool:
    """Whether traces go anywhere. OpenTelemetry, "Environment Variable Specification"."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return endpoint is not None and not disabled and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"


def header_pairs(text: str) -> dict[str, str]:
    """`OTEL_EXPORTER_OTLP_HEADERS`: `name=value` pairs, comma-separated, percent-encoded as W3C Baggage."""
    from urllib.parse import unquote  # noqa: PLC0415

    pairs: Iterable[tuple[str, str, str]] = (one.partition("=") for one in text.split(",") if "=" in one)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
