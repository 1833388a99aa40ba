"""The check can fail: what is broken on purpose, one thing at a time, some recorded call shows.

A mutation is a piece of source and what takes its place. The mutant's code is put under the functions as they
stand, so that everybody who holds one of them gets the mutant, and is taken out again.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.recording import Replay, replay

FOLDER = Path(__file__).parent / "replays"


@dataclass(frozen=True)
class Mutation:
    """`old` stands once in the source of `module`. `shown_by` names the recording that catches it."""

    name: str
    module: str
    old: str
    new: str
    shown_by: str


MUTATIONS = [
    Mutation(
        "nine bytes are a millisecond",
        "core.ledger",
        "int(played_ms * self.bytes_per_ms)",
        "int(played_ms * 9)",
        "barge-in-one-item",
    ),
    Mutation(
        "a mark that a clear flushed is counted",
        "core.ledger",
        "        self._marks.clear()\n        self.check_due_ms",
        "        self.check_due_ms",
        "echoes-of-a-clear-meet-the-next-answer",
    ),
    Mutation(
        "what was heard is what the last mark says",
        "core.ledger",
        "return max(self.acked, min(position, self.sent))",
        "return self.acked",
        "barge-in-two-items",
    ),
    Mutation(
        "a line that fell silent is taken to have played on",
        "core.ledger",
        "if self.acked >= start or (through and self.position(now_ms) >= start):",
        "if not start:",
        "starved-line",
    ),
    Mutation(
        "an echo's whole way counts as lateness of the sound",
        "core.echo_delay",
        "if usual_ms is None or not count:",
        "if True: return self.recent_ms[-1] if count else 0.0\n        if not count:",
        "marks-late-by-60-plus-minus-30-ms",
    ),
    Mutation(
        "what probes tell is not believed",
        "core.ledger",
        "self._late.look(now_ms - probed_ms, ONE_ECHO)",
        "pass",
        "marks-late-by-60-plus-minus-30-ms",
    ),
    Mutation(
        "late deltas are played",
        "core.playout",
        "if item.cut or response_id in self.muted or",
        "if",
        "late-deltas",
    ),
    Mutation(
        "a part of a millisecond counts as heard",
        "core.playout",
        "item.cut, heard_ms = True, span.heard_bytes // self._config.bytes_per_ms",
        "item.cut, heard_ms = True, -(-span.heard_bytes // self._config.bytes_per_ms)",
        "barge-in-at-a-fraction-of-a-millisecond",
    ),
    Mutation(
        "heard is rounded, not cut off",
        "core.playout",
        "item.cut, heard_ms = True, span.heard_bytes // self._config.bytes_per_ms",
        "item.cut, heard_ms = True, round(span.heard_bytes / self._config.bytes_per_ms)",
        "barge-in-at-a-fraction-of-a-millisecond",
    ),
    Mutation(
        "the cancel comes before the clear",
        "core.playout",
        "self._out += model_commands.cancel(self.session, response_id)",
        "self._out[:0] = model_commands.cancel(self.session, response_id)",
        "vendor-does-not-interrupt",
    ),
    Mutation(
        "the model is told what was sent, not what was heard",
        "core.playout",
        "m.TruncateItem(span.item_id, span.part, heard_ms, epoch)",
        "m.TruncateItem(span.item_id, span.part, span.received_bytes // 8, epoch)",
        "barge-in-two-items",
    ),
    Mutation(
        "an item that nobody heard stays in the conversation",
        "core.playout",
        "m.DeleteItem(span.item_id, epoch) if untouched else truncate",
        "truncate",
        "barge-in-two-items",
    ),
    Mutation(
        "an item that was heard to its end is truncated too",
        "core.playout",
        "            if span.over and not span.short:",
        "            if False:",
        "spoke-right-after-the-last-word",
    ),
    Mutation(
        "a response is cancelled that the vendor has cancelled",
        "core.playout",
        "if ours or not (self.session.interrupts and self._config.auto_cancels):",
        "if True:",
        "late-deltas",
    ),
    Mutation(
        "the words of a cut item are not cut",
        "core.conversation",
        "if heard_bytes >= self.received_bytes:",
        "if True:",
        "barge-in-one-item",
    ),
    Mutation(
        "a disclosure is cut",
        "core.line",
        "            if span.protected:\n                continue\n",
        "",
        "disclosure-not-cut",
    ),
    Mutation(
        "a goodbye does not wait until it was heard",
        "core.ending",
        "    elif line.quiet:\n        last_word_heard(",
        "    elif True:\n        last_word_heard(",
        "goodbye-heard-to-its-end",
    ),
    Mutation(
        "a goodbye is not taken back",
        "core.speech",
        "if call.ending.reason in ending.TAKEN_BACK:",
        "if False:",
        "goodbye-taken-back",
    ),
    Mutation(
        "a tool runs that was cut off in the middle of its arguments",
        "core.toolbox",
        "if not event.complete or event.call_id in self.calls:",
        "if event.call_id in self.calls:",
        "tool-cut-off-by-the-caller",
    ),
    Mutation(
        "each tool of a batch is answered",
        "core.debts",
        "not self.payer and not self.running and",
        "not self.payer and",
        "two-tools-one-answer",
    ),
    Mutation(
        "a new session is not told the conversation",
        "core.history",
        "    call.out += call.playout.conversation.history(epoch)\n",
        "",
        "model-lost-mid-speech",
    ),
    Mutation(
        "the words of a session that is over still count",
        "core.call",
        "if epoch and epoch == up.epoch and up.state is not Leg.CLOSED and",
        "if epoch and",
        "session-renewed-in-a-quiet-moment",
    ),
    Mutation(
        "the caller waits in silence",
        "core.liveness",
        "if filler is not None:",
        "if filler is None:",
        "tool-filler",
    ),
    Mutation(
        "the adapter counts in bytes",
        "upstreams.realtime",
        '"audio_end_ms": heard_ms}',
        '"audio_end_ms": 8 * heard_ms}',
        "barge-in-one-item",
    ),
    Mutation(
        "a clear does not say which stream",
        "carriers.twilio",
        """self._clear = f'{{"event":"clear","streamSid":{sid}}}'""",
        """self._clear = '{"event":"clear"}'""",
        "barge-in-one-item",
    ),
]


def functions(holder: Any) -> Iterator[tuple[str, types.FunctionType]]:
    """Every function of a module or class by its path, those of classes and properties too."""
    for name, member in vars(holder).items():
        if isinstance(member, types.FunctionType):
            yield name, member
        elif isinstance(member, staticmethod | classmethod):
            yield name, member.__func__  # type: ignore[misc]
        elif isinstance(member, property) and isinstance(member.fget, types.FunctionType):
            yield name, member.fget
        elif inspect.isclass(member) and member.__module__ == getattr(holder, "__name__", ""):
            for inner, function in functions_of_class(member):
                yield f"{name}.{inner}", function


def functions_of_class(kind: type) -> Iterator[tuple[str, types.FunctionType]]:
    for name, member in vars(kind).items():
        if isinstance(member, types.FunctionType):
            yield name, member
        elif isinstance(member, property) and isinstance(member.fget, types.FunctionType):
            yield name, member.fget


@contextlib.contextmanager
def applied(mutation: Mutation) -> Iterator[int]:
    """The mutant, while the block runs. Gives how many functions it has changed."""
    module = importlib.import_module(f"bridge.{mutation.module}")
    source = inspect.getsource(module)
    assert source.count(mutation.old) == 1, f"{mutation.name}: its place in {mutation.module} has changed"
    mutant = types.ModuleType(module.__name__)
    mutant.__package__ = module.__package__
    mutant.__file__ = module.__file__
    exec(compile(source.replace(mutation.old, mutation.new), str(module.__file__), "exec"), vars(mutant))
    new = dict(functions(mutant))
    before = {}
    for name, function in functions(module):
        if shape(function.__code__) != shape(new[name].__code__):
            before[function] = function.__code__
            function.__code__ = new[name].__code__
    try:
        yield len(before)
    finally:
        for function, code in before.items():
            function.__code__ = code


def shape(code: types.CodeType) -> tuple[Any, ...]:
    """What a function does, wherever its source stands."""
    constants = [shape(one) if isinstance(one, types.CodeType) else one for one in code.co_consts]
    return code.co_code, constants, code.co_names


def replayed(name: str) -> Replay:
    text = (FOLDER / f"{name}.call.jsonl").read_text(encoding="utf-8")
    return replay(text.splitlines(), strict=True)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_recorded_call_shows_it(mutation: Mutation) -> None:
    assert replayed(mutation.shown_by).difference is None
    with applied(mutation) as changed:
        assert changed == 1
        difference = replayed(mutation.shown_by).difference
    assert difference is not None, f"{mutation.shown_by} replays, and nobody would have noticed"
    assert replayed(mutation.shown_by).difference is None, "the mutant was not taken out again"


def test_there_are_a_dozen_of_them() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 12
