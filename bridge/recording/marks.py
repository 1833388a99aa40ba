"""What of a recorded call a test can be about: its marks, and what is to be expected at one of them."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from bridge.errors import ConfigError

from .facts import LONG_SILENCE_MS, CutFact, Facts, SilenceFact, SpokenFact, ToolFact

KINDS: Final = ("tool", "cut", "words", "latency", "silence", "end", "note")
"""The first of them where several marks are equally near."""
NEAR_MS: Final = 1_500
"""A mark is at most this far from the moment that was asked for."""
_STEP_MS: Final = 250
"""Marks whose distances differ by less are equally near."""


class Assertion(NamedTuple):
    """One call of a method of `Expect`."""

    method: str
    values: tuple[Any, ...] = ()
    named: Mapping[str, Any] = {}

    @property
    def code(self) -> str:
        """As it stands in a test: `truncated('item_1', 620)`."""
        shown = [_literal(value) for value in self.values]
        plain = all(name.isidentifier() and not keyword.iskeyword(name) for name in self.named)
        if plain:
            shown += [f"{name}={_literal(value)}" for name, value in self.named.items()]
        elif self.named:
            shown.append(f"**{_literal(dict(self.named))}")
        return f"{self.method}({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that happened at `at_ms`, and began at `from_ms`. `holds` is what a test expects that pins
    it, `item_id` the model's item that it is about.
    """

    kind: str
    at_ms: int
    from_ms: int
    words: str
    holds: tuple[Assertion, ...]
    item_id: str = ""
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What should have happened: at a mark of one of these `kinds`. `kept` are the arguments of a tool that
    stay readable in a masked recording; `spoken` wants the words to stay.
    """

    kinds: tuple[str, ...]
    method: str
    values: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    item: Literal["", "first", "last"] = ""
    spoken: bool = False

    def at(self, mark: Mark) -> Assertion:
        """The wish about that mark; `item` says where its item stands among the values."""
        first = (mark.item_id,) if self.item == "first" else ()
        last = (mark.item_id,) if self.item == "last" and mark.item_id else ()
        return Assertion(self.method, (*first, *self.values, *last), self.named)


def marks_of(facts: Facts) -> list[Mark]:
    """Every mark of the call, in order."""
    found = [*map(_tool, facts.tools), *_cuts(facts), *_latencies(facts), *map(_silence, facts.silences)]
    cut = {(one.item_id, one.at_ms) for one in facts.cuts}
    found += [_words(one) for one in facts.spoken if (one.item_id, one.at_ms) not in cut]
    found += [
        Mark("note", one.at_ms, one.at_ms, one.what, (Assertion("noted", (one.what,)),))
        for one in facts.notes
    ]
    if facts.ended is not None and facts.ended_ms is not None:
        reason = facts.ended.reason.value
        found.append(
            Mark(
                "end", facts.ended_ms, facts.ended_ms, f"the end: {reason}", (Assertion("ended", (reason,)),)
            )
        )
    return sorted(found, key=lambda mark: (mark.at_ms, KINDS.index(mark.kind)))


def near(marks: Sequence[Mark], at_ms: int | None, kinds: Sequence[str] = ()) -> list[Mark]:
    """The marks near that moment, of these kinds if any are named: the one that is meant first. Without a
    moment those of the whole call, in their order.
    """
    found = [mark for mark in marks if not kinds or mark.kind in kinds]
    if at_ms is None:
        return found
    found = [mark for mark in found if _distance(mark, at_ms) <= NEAR_MS]
    return sorted(
        found, key=lambda mark: (_distance(mark, at_ms) // _STEP_MS, KINDS.index(mark.kind), mark.at_ms)
    )


def nearest(
    marks: Sequence[Mark], at_ms: int | None, kinds: Sequence[str] = (), pick: int | None = None
) -> Mark:
    """The mark that is meant, or that of number `pick` among those near. Raises ConfigError where there is
    none.
    """
    found = near(marks, at_ms, kinds)
    if pick is not None and pick > len(found):
        where = "" if at_ms is None else f" near {at_ms / 1000:g} s"
        raise ConfigError(f"--pick {pick}: --list shows {len(found)}{where}")
    if found:
        return found[(pick or 1) - 1]
    if at_ms is None:
        raise ConfigError("nothing that such a test can be about is in the call")
    at = f"{at_ms / 1000:g} s"
    other = min(marks, key=lambda mark: _distance(mark, at_ms), default=None)
    where = "" if other is None else f"; the nearest of any kind is at {other.at_ms / 1000:.1f} s"
    raise ConfigError(f"nothing that such a test can be about is within {NEAR_MS / 1000:g} s of {at}{where}")


def _distance(mark: Mark, at_ms: int) -> int:
    return max(mark.from_ms - at_ms, at_ms - mark.at_ms, 0)


def _tool(tool: ToolFact) -> Mark:
    return Mark(
        "tool",
        tool.at_ms,
        tool.at_ms,
        f"the tool {tool.name} called",
        (Assertion("tool_called", (tool.name,)),),
        call_id=tool.call_id,
    )


def _cuts(facts: Facts) -> Iterator[Mark]:
    spoken = {(one.item_id, one.at_ms): one for one in facts.spoken}
    for cut in facts.cuts:
        yield _cut(cut, spoken.get((cut.item_id, cut.at_ms)))


def _cut(cut: CutFact, spoken: SpokenFact | None) -> Mark:
    if cut.heard_ms is None:
        words, first = f"{cut.item_id} deleted, unheard", Assertion("deleted", (cut.item_id,))
    else:
        named = {"part": cut.part} if cut.part else {}
        words = f"{cut.item_id} truncated to {cut.heard_ms} ms"
        first = Assertion("truncated", (cut.item_id, cut.heard_ms), named)
    heard = (Assertion("heard_text", (spoken.heard,)),) if spoken is not None and spoken.heard else ()
    return Mark("cut", cut.at_ms, cut.at_ms, words, (first, *heard), item_id=cut.item_id)


def _words(one: SpokenFact) -> Mark:
    pinned = [] if one.cut else [Assertion("uncut", (one.item_id,))]
    pinned += [Assertion("heard_text", (one.heard,))] if one.heard else []
    pinned = pinned or [Assertion("not_heard", (one.item_id,))]
    words = f"{one.item_id} heard to its end" if not one.cut else f"{one.item_id} cut"
    return Mark("words", one.at_ms, one.at_ms, words, tuple(pinned), item_id=one.item_id)


def _latencies(facts: Facts) -> Iterator[Mark]:
    for turn in facts.turns:
        if turn.felt_ms is not None and turn.last_word_ms is not None and turn.heard_ms is not None:
            yield Mark(
                "latency",
                turn.delta_ms or turn.heard_ms,
                turn.last_word_ms,
                f"an answer after {turn.felt_ms} ms",
                (Assertion("answered_in", (turn.felt_ms, *([turn.item_id] if turn.item_id else []))),),
                item_id=turn.item_id,
            )


def _silence(one: SilenceFact) -> Mark:
    return Mark(
        "silence", one.to_ms, one.from_ms, f"silence of {one.ms} ms", (Assertion("silence", (one.ms,)),)
    )


# --- wishes ----------------------------------------------------------------------------------------------


_NUMBER: Final = re.compile(r"\d{1,9}")
WISHES: Final = (
    "heard MS, no-cut, answered-in MS, silence MS (2000 or more), tool NAME [ARGUMENT=VALUE …], no-tool NAME"
    " or words TEXT"
)
"""What `--should` takes."""


def wish_of(text: str) -> Wish:
    """A wish in words, as `--should` takes it: one of `WISHES`. Raises ConfigError for anything else."""
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    match word:
        case "heard" if _NUMBER.fullmatch(rest):
            return Wish(("cut",), "truncated", (int(rest),), item="first")
        case "no-cut" if not rest:
            return Wish(("cut",), "not_cut", item="first")
        case "answered-in" if _NUMBER.fullmatch(rest):
            return Wish(("latency",), "answered_in", (int(rest),), item="last")
        case "silence" if _NUMBER.fullmatch(rest) and int(rest) >= LONG_SILENCE_MS:
            return Wish(("silence",), "silence", (int(rest),))
        case "tool" if rest:
            name, *arguments = _words_of(rest)
            return Wish((), "tool_called", (_bare(name),), dict(map(_argument, arguments)))
        case "no-tool" if rest and " " not in rest:
            return Wish(("tool",), "tool_not_called", (rest,))
        case "words" if rest:
            return Wish(("cut", "words"), "heard_text", (rest,), {"part": True}, spoken=True)
    raise ConfigError(f"--should wants {WISHES}, and not {text!r}")


def _words_of(text: str) -> list[str]:
    """Words apart at spaces; what stands in double quotes is one. Raises ConfigError for quotes that are not
    closed.
    """
    if text.count('"') % 2:
        raise ConfigError(f"a quote is not closed in {text!r}")
    return re.findall(r'(?:[^\s"]|"[^"]*")+', text)


def _bare(text: str) -> str:
    return text.replace('"', "")


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"an argument of a tool is NAME=VALUE, and not {text!r}")
    try:
        return _bare(name), json.loads(value, parse_constant=_no_number)
    except ValueError:
        return _bare(name), _bare(value)


def _no_number(name: str) -> None:
    """NaN and the infinities are words: JSON has no such numbers."""
    raise ValueError(name)


def _literal(value: Any) -> str:
    """The value in Python, strings in double quotes where that is as short."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_string(str(name))}: {_literal(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)


def _string(text: str) -> str:
    shown = repr(text)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in shown else shown
