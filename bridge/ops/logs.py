"""What the process says while it runs: one JSON object a line, or a readable line where a person looks on.

Lines are made and written by a thread: logging on the loop that carries audio costs a queue, not for
a slow disk or a full pipe. The same line again within ten seconds is counted, not written; so is another of
the same kind, where a peer decides how many there are (`Seldom`). Secrets, tokens and phone numbers are taken
out of everything at the last moment, from any source.

Any logger of the standard library will do. What belongs to a call is logged with ``extra={"call_sid": …}``;
what user code logs belongs to its call anyway. Further fields go in as ``extra={"fields": {…}}``, or with
`note`.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import re
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, TextIO

import msgspec

from bridge.agents.user_code import CALL_SID
from bridge.core.messages import DetourEnded, Reason
from bridge.core.stats import Stats
from bridge.ops.otel_names import trace_id
from bridge.ops.redaction import Mask, words_of

REPEAT_S: Final = 10.0
QUEUE_LINES: Final = 10_000
MESSAGE_CHARS: Final = 4_000
STACK_CHARS: Final = 16_000
WORKER: Final = "worker"
_CLOSE_S: Final = 2.0
_REPEATS_KEPT: Final = 1_000
_UNPRINTABLE: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")

_COLOURS: Final = {"debug": "2", "info": "36", "warning": "33", "error": "31;1", "critical": "31;1;7"}


class Repeats:
    """How many lines of a kind were not logged after the one that was."""

    __slots__ = ("at_s", "count")

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        self.count = 0


class Seldom:
    """Logs the first line of a kind, and counts those that follow within ten seconds, whatever they say. For
    what a peer can send without end: a line that is only counted costs next to nothing.

    `Logs` writes the line once more after the ten seconds, with how many there were as `repeated`. To be used
    by one thread.
    """

    def __init__(self, logger: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._now = now
        self._kinds: dict[Hashable, Repeats] = {}  # the oldest first

    def log(
        self, kind: Hashable, level: int, message: str, *args: object, call_sid: str | None = None
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        now_s = self._now()
        repeats = self._kinds.get(kind)
        if repeats is not None and now_s - repeats.at_s < REPEAT_S:
            repeats.count += 1
            return
        self._kinds.pop(kind, None)
        while self._kinds and len(self._kinds) >= _REPEATS_KEPT:
            del self._kinds[next(iter(self._kinds))]
        repeats = self._kinds[kind] = Repeats(now_s)
        about = {"call_sid": call_sid, "repeats": repeats}
        self._logger.log(level, message, *args, extra=about, stacklevel=2)


class _Line(NamedTuple):
    at_s: float
    level: str
    logger: str
    call_sid: str | None
    message: str
    fields: Mapping[str, object]
    stack: str
    more: Repeats | None = None


class _Seen:
    """A line written, and how often it has come again since."""

    __slots__ = ("again", "at_s", "last")

    def __init__(self, at_s: float, last: _Line) -> None:
        self.at_s = at_s
        self.last = last
        self.again = 0


class Logs(logging.Handler):
    """Where all lines of the process go. Made and installed by `configure`; `close` writes what is left."""

    def __init__(
        self,
        stream: TextIO,
        *,
        readable: bool = False,
        colours: bool = False,
        hidden: Iterable[str] = (),
        now: Callable[[], float] = time.monotonic,
        worker: str = "",
        threaded: bool = True,
    ) -> None:
        super().__init__()
        self.dropped = 0
        self._worker = worker
        self.readable = readable
        self._stream = stream
        self._form = (lambda line, again: _readable(line, again, colours)) if readable else _json
        self._threaded = threaded
        self._hidden = set(hidden)
        self._mask = Mask(self._hidden)
        self._now = now
        self._seen: dict[tuple[object, ...], _Seen] = {}  # oldest first
        self._queue: queue.Queue[_Line | None] = queue.Queue(QUEUE_LINES)
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        if threaded:
            self._thread.start()

    def hide(self, words: Iterable[str]) -> None:
        """Leave these out too. May be called from any thread."""
        self._hidden |= set(words)
        self._mask = Mask(self._hidden)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001  arguments are anybody's, and so is their __str__
            message = f"{record.msg} (cannot be formatted: {error!r})"
        fields = getattr(record, "fields", {})
        stack = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        line = _Line(
            record.created,
            record.levelname.lower(),
            record.name,
            getattr(record, "call_sid", None) or CALL_SID.get() or None,
            _clipped(message, MESSAGE_CHARS),
            fields if isinstance(fields, Mapping) else {"fields": fields},
            stack if len(stack) <= STACK_CHARS else f"… {stack[-STACK_CHARS:]}",
            getattr(record, "repeats", None),
        )
        if not self._threaded:
            return self._at_once(line)
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def _at_once(self, line: _Line) -> None:
        """Without a thread, and without waiting for a reader that does not read."""
        if not self._stream.closed and select.select([], [self._stream], [], 0)[1]:
            self._write(line, 0)
            self._flush()
        else:
            self.dropped += 1

    def close(self) -> None:
        """Write what is left, two seconds long at most, and stop."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=_CLOSE_S)
            except queue.Full:  # our output is not read: drop the line
                pass
            else:
                self._thread.join(_CLOSE_S)
        super().close()

    # -- on the thread

    def _run(self) -> None:
        while True:
            try:
                line = self._queue.get(timeout=1.0 if self._seen else None)
            except queue.Empty:
                self._tell_repeats(self._now())
                continue
            now_s = self._now()
            self._tell_repeats(now_s if line is not None else now_s + REPEAT_S)
            if line is None:
                self._flush()
                return
            try:
                self._take(line, now_s)
            except Exception:  # noqa: BLE001  the fields are anybody's, the thread is everybody's
                self.dropped += 1
            if self.dropped:
                lost, self.dropped = self.dropped, 0
                self._write(_lost(lost), 0)
            # Several processes write to one stream: whole lines, so that none is cut by another's.
            if self._worker or self._queue.empty():
                self._flush()

    def _take(self, line: _Line, now_s: float) -> None:
        same = (line.level, line.logger, line.call_sid, line.message, words_of(line.fields), line.stack)
        seen = self._seen.get(same)
        if seen is not None:
            seen.again += 1
            seen.last = line
            return
        while len(self._seen) >= _REPEATS_KEPT:
            self._tell(self._seen.pop(next(iter(self._seen))))
        self._seen[same] = _Seen(now_s, line)
        self._write(line, 0)

    def _tell_repeats(self, now_s: float) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if now_s - self._seen[oldest].at_s < REPEAT_S:
                return
            self._tell(self._seen.pop(oldest))
        self._flush()

    def _tell(self, seen: _Seen) -> None:
        again = seen.again + (0 if seen.last.more is None else seen.last.more.count)
        if again:
            self._write(seen.last, again)

    def _write(self, line: _Line, again: int) -> None:
        masked = line._replace(
            call_sid=None if line.call_sid is None else self._mask.text(str(line.call_sid)),
            message=self._mask.text(line.message),
            fields={
                self._mask.text(words_of(name)): self._mask.value(value)
                for name, value in line.fields.items()
            },
            stack=self._mask.text(line.stack),
        )
        try:
            if self._worker:
                masked = masked._replace(fields={WORKER: self._worker, **masked.fields})
            self._stream.write(self._form(masked, again).encode(errors="replace").decode() + "\n")
        except (OSError, ValueError):  # there is no reader
            return

    def _flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def hide(words: Iterable[str]) -> None:
    """From now on these go nowhere either, in whatever form the process was given them later."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Logs):
            handler.hide(words)


def configure(
    level: str = "info",
    *,
    stream: TextIO | None = None,
    hidden: Iterable[str] = (),
    readable: bool | None = None,
    worker: str = "",
    threaded: bool = True,
) -> Logs:
    """Send all lines of this process to `stream`, stdout by default: ours from `level` on, others' from
    warning on. A terminal gets `readable` lines unless said otherwise; `hidden` go nowhere
    (`Settings.unspeakable()`). `worker` stands in each line of one process among several; without a thread
    (`threaded`) a line is written by whom it is logged, which only a process without calls may do.
    """
    stream = sys.stdout if stream is None else stream
    terminal = stream.isatty()
    logs = Logs(
        stream,
        readable=terminal if readable is None else readable,
        colours=terminal and "NO_COLOR" not in os.environ,
        hidden=hidden,
        worker=worker,
        threaded=threaded,
    )
    root = logging.getLogger()
    for former in list(root.handlers):
        if isinstance(former, Logs):
            root.removeHandler(former)
            former.close()
    root.addHandler(logs)
    root.setLevel(logging.WARNING)
    logging.getLogger("bridge").setLevel(level.upper())
    atexit.register(logs.close)
    return logs


def note(
    logger: logging.Logger, level: int, message: str, call_sid: str | None = None, /, **fields: object
) -> None:
    """One line with fields of its own."""
    if logger.isEnabledFor(level):
        logger.log(level, "%s", message, extra={"call_sid": call_sid, "fields": fields})


def summary(reason: Reason, stats: Stats, *, detail: str = "") -> dict[str, Any]:
    """The fields of `call.summary`: how the call ended in words, and what it was like. No caller's word, no
    secret and no number is in it. Times are milliseconds; None where it never came to that.
    """
    began_ms, ended_ms = stats.began_ms, stats.ended_ms
    return {
        "reason": reason.name.lower(),
        "ended": f"{reason.value} ({detail})" if detail else reason.value,
        "duration_ms": ended_ms,
        "talked_ms": _between(began_ms, ended_ms),
        "set_up_ms": _between(stats.started_ms, began_ms),
        "first_audio_ms": _between(stats.started_ms, stats.first_audio_ms),
        "answered_by": stats.answered_by,
        "message_left": stats.message,
        "turns": stats.turns,
        "responses": stats.responses,
        "turn_latency_ms": _spread(stats.turn_latencies_ms),
        "barge_ins": len(stats.interruptions_ms),
        "cut_ms": sum(stats.interruptions_ms),
        "cuts_not_told": sum(stats.cuts_untold.values()),
        "recoveries": stats.recoveries,
        "failovers": [*stats.failovers],
        "gap_ms": _spread(stats.gaps_ms),
        "tools": stats.tools,
        "detours": [_detour(ended) for ended in stats.detours],
        "frames_in": stats.frames_in,
        "frames_dropped": stats.frames_dropped,
        "frames_refused": dict(stats.frames_refused),
        "faults": dict(stats.faults),
        "heard_s": round(stats.heard_bytes / 8000, 3),
        "tokens": {name: count for name, count in msgspec.structs.asdict(stats.usage).items() if count},
        "responses_without_usage": stats.usage_missing,
        "transcribed_s": round(stats.transcribed_s, 3),
        "cost_usd": round(stats.cost_micro_usd / 1_000_000, 6),
        "cost_incomplete": stats.unconfirmed > 0,
    }


def _detour(ended: DetourEnded) -> dict[str, Any]:
    """What came of it; the target by its configured name."""
    result = ended.result
    return {
        "kind": ended.kind.value,
        "target": ended.name,
        "outcome": result.outcome.value,
        "rang_s": result.rang_ms / 1000,
        "talk_s": result.talk_ms / 1000,
    }


def _between(from_ms: int | None, to_ms: int | None) -> int | None:
    return None if from_ms is None or to_ms is None else to_ms - from_ms


def _spread(values_ms: list[int]) -> dict[str, int] | None:
    """Median, 95th percentile (nearest rank) and maximum; None of nothing."""
    if not values_ms:
        return None
    ordered = sorted(values_ms)
    return {
        "p50": ordered[(len(ordered) - 1) // 2],
        "p95": ordered[-(-len(ordered) * 95 // 100) - 1],
        "max": ordered[-1],
    }


def _lost(count: int) -> _Line:
    return _Line(time.time(), "warning", __name__, None, f"{count} lines were lost", {}, "")


def _clipped(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"


def _json(line: _Line, again: int) -> str:
    fields = {
        **line.fields,
        "at": datetime.fromtimestamp(line.at_s, UTC).isoformat(timespec="milliseconds"),
        "level": line.level,
        "call_sid": line.call_sid,
        "from": line.logger,
        "message": line.message,
    }
    if line.call_sid is not None:
        fields["trace_id"] = _trace_id(line.call_sid)
    if line.stack:
        fields["stack"] = line.stack
    if again:
        fields["repeated"] = again
    order = ("at", "level", WORKER, "call_sid", "trace_id", "from", "message", "repeated")
    first = {name: fields.pop(name) for name in order if name in fields}
    return _encode({**first, **fields})


@lru_cache(maxsize=1_000)
def _trace_id(call_sid: str) -> str:
    """That of the call's trace, whether it is kept or not."""
    return f"{trace_id(call_sid):032x}"


def _encode(fields: dict[str, object]) -> str:
    try:
        raw = msgspec.json.encode(fields)
    except UnicodeEncodeError:  # half a surrogate, from a peer's JSON
        raw = msgspec.json.encode(_whole(fields))
    # JSON lets these stand as they are; a terminal obeys some, and some readers take others for line ends.
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", raw.decode())


def _whole(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def _readable(line: _Line, again: int, colours: bool) -> str:
    clock = datetime.fromtimestamp(line.at_s).astimezone().strftime("%H:%M:%S.%f")[:-3]
    level = f"{line.level:<7}"
    call = f" …{line.call_sid[-6:]}" if line.call_sid else ""
    if colours:
        level = f"\033[{_COLOURS.get(line.level, '0')}m{level}\033[0m"
        call = f"\033[2m{call}\033[0m" if call else ""
    # Colours are ours: a peer's words could paint over the line above.
    words = "".join(f" {name}={value}" for name, value in line.fields.items())
    text = _UNPRINTABLE.sub("�", f"{line.message}{words}".replace("\n", " "))
    times = f" (again, {again} times)" if again else ""
    stack = "\n" + _UNPRINTABLE.sub("�", line.stack.rstrip()) if line.stack else ""
    return f"{clock} {level}{call} {text}{times}{stack}"
