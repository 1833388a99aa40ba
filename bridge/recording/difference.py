"""The first thing that a replay did otherwise, and how to say so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .steps import Output, Step

SHOWN_CHARACTERS: Final = 200
"""Of a line or a frame, in the words of a difference."""
_LONG_SOUND: Final = re.compile(r"[A-Za-z0-9+/]{48,}={0,2}")


@dataclass(frozen=True, slots=True)
class Playout:
    """What the ledger knew: bytes sent to the caller, acknowledged by marks, and played as far as known."""

    position_bytes: int
    sent_bytes: int
    acked_bytes: int
    bytes_per_ms: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replay first did something else than its recording.

    `expected` is what the recording has, `got` what the replay did; None where one of them has nothing more.
    `after` is what happened just before, in words. `around` are the lines next to it, by number. `error` is
    what the core or an adapter raised, where that is the difference.
    """

    line: int
    t_ms: int
    expected: str | None
    got: str | None
    playout: Playout
    after: str
    around: tuple[tuple[int, str], ...] = ()
    error: Exception | None = None


def describe(difference: Difference) -> str:
    """The difference in words, several lines of them: when, expected, got, the ledger then, lines around."""
    then = difference.playout
    per_ms = then.bytes_per_ms
    played = (
        f"{then.position_bytes:,} of {then.sent_bytes:,} bytes sent were played "
        f"({then.position_bytes // per_ms:,} of {then.sent_bytes // per_ms:,} ms), "
        f"{then.acked_bytes:,} acknowledged"
    )
    words = [
        f"line {difference.line}, {difference.t_ms:,} ms into the call, after {difference.after}",
        f"  expected  {difference.expected or 'nothing more'}",
        f"  got       {difference.got or 'nothing more'}",
        f"  ledger    {played}",
        "",
    ]
    for number, line in difference.around:
        words.append(f"{'>' if number == difference.line else ' '} {number:>6}  {shown(line)}")
    return "\n".join(words)


def around(lines: Sequence[str], number: int, context: int = 3) -> tuple[tuple[int, str], ...]:
    """The line of that number (1 is the first) with its neighbours."""
    first = max(1, number - context)
    return tuple(enumerate(lines[first - 1 : number + context], first))


def shown(text: str) -> str:
    """A frame or a line, short enough to be read."""
    text = _LONG_SOUND.sub(lambda found: f"<{len(found[0])} characters>", text)
    cut = len(text) - SHOWN_CHARACTERS
    return text if cut <= 0 else f"{text[:SHOWN_CHARACTERS]}… ({cut} more)"


def in_words(step: Step) -> str:
    """What happened, for the reader of a difference."""
    if step.event is not None:
        what = f"the event {step.event}"
    elif isinstance(step.frame, bytes):
        what = f"a binary frame of the {step.door}"
    else:
        what = f"{step.door} {step.frame}"
    place = f" (step {step.number} of the line)" if step.number > 1 else ""
    return shown(what) + place


def output_in_words(output: Output) -> str:
    """What the recording has of one action."""
    if output.action is not None:
        return shown(f"{output.door} {output.action}")
    frame = output.frame if isinstance(output.frame, str) else repr(output.frame)
    return shown(f"{output.door} {'drops ' if output.dropped else ''}{frame}")
