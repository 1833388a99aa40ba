"""Makes a test of a moment in a recorded call: a short recording, masked, and a pytest file about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bridge.errors import ConfigError

from .cutting import Piece, cut_out, whole_before
from .editing import remade
from .facts import facts_of
from .header import SUFFIX
from .json_text import UNREADABLE, one_line
from .marks import Assertion, Mark, Wish, marks_of
from .masking import masked
from .moments import Walkthrough
from .printable import printable
from .replaying import replay
from .steps import Recording, Step

_DAY: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_LINE: Final = 100
"""Characters of a line of assertions."""


@dataclass(frozen=True, slots=True)
class MadeTest:
    """The two files of a test. `name` is what they are called (`20261128-cut-41s`), `recording` the lines of
    the piece, `assertions` what is expected of it; `wished` where that is what should have happened. `kept`
    names the values that stayed readable. `from_ms` is where the piece was cut, 0 for the whole beginning.
    """

    name: str
    recording: list[str]
    assertions: tuple[Assertion, ...]
    mark: Mark
    wished: bool
    masked: bool
    kept: tuple[str, ...]
    from_ms: int
    sha256: str

    def files(self, name: str = "") -> dict[str, str]:
        """Both files by name, the recording first. `name` takes the place of the usual one."""
        name = name or self.name
        text = "\n".join([*self.recording, ""])
        return {f"{name}{SUFFIX}": text, f"test_{_identifier(name)}.py": self.source(name)}

    def source(self, name: str) -> str:
        """The pytest file, for a recording of that name."""
        at_s = f"{self.mark.at_ms / 1000:.1f} s"
        state = "Without words, numbers and keys" if self.masked else "With everybody's words in it"
        cut = f", cut out at {self.from_ms / 1000:.1f} s" if self.from_ms else ""
        origin = f"The SHA-256 of the whole recording begins with {self.sha256[:16]}{cut}."
        mark = f'@pytest.mark.calls("{name}{SUFFIX}"{", compare=False" if self.wished else ""})'
        why = "What should have happened" if self.wished else "What happened"
        return "\n".join(
            [
                f'"""A recorded call at {at_s}: {_comment(self.mark.words)}.',
                "",
                f"{state}; edit freely.",
                origin,
                '"""',
                "",
                "import pytest",
                "",
                "",
                mark,
                f"def test_{_identifier(self.mark.kind)}_at_{self.mark.at_ms // 1000}s(recorded):",
                f"    # {why}.",
                *_chained(self.assertions),
                "",
            ]
        )


def make_test(
    call: Walkthrough,
    mark: Mark,
    wish: Wish | None = None,
    *,
    sha256: str = "",
    keep_words: bool = False,
    keep_sound: bool = False,
) -> MadeTest:
    """A test of that mark: that it happens, or with `wish` what should happen instead.

    `sha256` is that of the recording's file. Words, numbers and keys are masked unless `keep_words` is set,
    but for the arguments that the wish names. Raises ConfigError where the wish is about words that would be
    masked.
    """
    if wish is not None and wish.spoken and not keep_words:
        raise ConfigError("words are masked in the test: say --keep-words, if it may hold what was said")
    piece = _piece(call, mark, sha256, sound=keep_sound and keep_words)
    lines = piece.lines()
    values: dict[str, Any] = {}
    if not keep_words:
        values = _given(call, mark, wish)
        lines = masked(lines)
        lines = _with_arguments(lines, mark.call_id, values) if values else lines
    found = _found(lines, mark, piece.shift_ms)
    return MadeTest(
        _name(call.header.at, mark),
        lines,
        found.holds if wish is None else (wish.at(found),),
        mark,
        wish is not None,
        not keep_words,
        tuple(f"{name}={value}" for name, value in values.items()),
        piece.header.cut.from_ms if piece.header.cut else 0,
        sha256,
    )


def must_replay(lines: Sequence[str], until_ms: int) -> None:
    """Raises ConfigError where today's code decides otherwise until then: what a test pins is not what
    happened.
    """
    difference = replay(lines, until_ms=until_ms).difference
    if difference is not None:
        raise ConfigError(
            f"today's code decides otherwise at {difference.t_ms / 1000:.1f} s (`phonebridge replay` shows "
            "it): say --should what is right, or make the recording that differs with `replay --minimize`"
        )


def _piece(call: Walkthrough, mark: Mark, sha256: str, *, sound: bool) -> Piece:
    """The shortest piece in which the mark is what it is in the whole call."""
    if not call.began:
        return whole_before(call, mark.at_ms, recording=sha256, sound=sound)
    piece = cut_out(call, mark.from_ms, mark.at_ms, recording=sha256, sound=sound)
    if not piece.whole and _mark_in(piece.lines(), mark, piece.shift_ms) != mark.holds:
        return whole_before(call, mark.at_ms, recording=sha256, sound=sound)
    return piece


def _mark_in(lines: Sequence[str], mark: Mark, shift_ms: int) -> tuple[Assertion, ...] | None:
    """What pins the mark in this recording; None if it is not in it."""
    facts = facts_of(lines)
    if mark.kind == "silence" and facts.silences:  # one bound for all of a recording
        return (Assertion("silence", (max(one.ms for one in facts.silences),)),)
    same = [
        one
        for one in marks_of(facts)
        if (one.kind, one.at_ms, one.item_id) == (mark.kind, mark.at_ms - shift_ms, mark.item_id)
    ]
    return same[0].holds if same else None


def _found(lines: Sequence[str], mark: Mark, shift_ms: int) -> Mark:
    """The mark as it is in the recording that was made."""
    holds = _mark_in(lines, mark, shift_ms)
    if holds is None:
        raise ConfigError(f"{mark.words}: this cannot be shown in a recording without its words")
    return Mark(mark.kind, mark.at_ms, mark.from_ms, mark.words, holds, mark.item_id, mark.call_id)


def _given(call: Walkthrough, mark: Mark, wish: Wish | None) -> dict[str, Any]:
    """Of the arguments that a wish names, those that the model gave to the tool as they are wished."""
    if wish is None or wish.method != "tool_called":
        return {}
    for tool in call.facts.tools:
        if tool.call_id == mark.call_id:
            try:
                given = msgspec.json.decode(tool.arguments or "{}")
            except UNREADABLE:
                return {}
            same = isinstance(given, dict)
            return {name: value for name, value in wish.named.items() if same and given.get(name) == value}
    return {}


def _with_arguments(lines: list[str], call_id: str, values: Mapping[str, Any]) -> list[str]:
    """The recording with these arguments of one tool call in clear, and none beside them."""
    recording = Recording(lines)
    text = msgspec.json.encode(dict(values)).decode()
    return remade(recording.header, list(_filled(recording, call_id, text)))


def _filled(recording: Recording, call_id: str, arguments: str) -> Iterator[Step]:
    for step in recording.steps():
        frame = step.frame
        if isinstance(frame, str) and step.door == "upstream" and call_id in frame:
            tree = _fill(msgspec.json.decode(frame), call_id, arguments)
            filled = one_line(msgspec.json.encode(tree).decode())
            yield msgspec.structs.replace(step, frame=filled)
        else:
            yield step


def _fill(node: Any, call_id: str, arguments: str) -> Any:
    if isinstance(node, list):
        return [_fill(one, call_id, arguments) for one in node]
    if not isinstance(node, dict):
        return node
    made = {name: _fill(one, call_id, arguments) for name, one in node.items()}
    if made.get("call_id") == call_id and made.get("arguments"):
        made["arguments"] = arguments
    return made


# --- the file --------------------------------------------------------------------------------------------


def _name(at: str, mark: Mark) -> str:
    day = _DAY.match(at)
    return f"{''.join(day.groups()) if day else 'call'}-{mark.kind}-{mark.at_ms // 1000}s"


def _identifier(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _comment(words: str) -> str:
    """Words of a recording inside a docstring: no quotes, no escapes, one line."""
    return printable(words).replace("\\", "/").replace('"', "'")[:_LINE]


def _chained(assertions: Sequence[Assertion]) -> list[str]:
    expected = ".".join(one.code for one in assertions)
    line = f"    recorded.expect.{expected}"
    if len(line) <= _LINE:
        return [line]
    return ["    (", "        recorded.expect", *(f"        .{one.code}" for one in assertions), "    )"]
