"""The caller of a recorded call as a script: what they said, pressed and when, told by what they had heard.

A turn belongs to the end of what the caller heard before it, or, where they spoke over the model, to how much
of it they had heard. So the same caller can meet another agent, whose answers are longer or come later. All
times are those of the ledger: the way to the caller and back is in them once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.stats import Stats

from .header import Header
from .json_text import UNREADABLE


class Anchor(StrEnum):
    """What an act's time is counted from."""

    GAP = "gap"
    """The end of what was heard; the answer was complete."""
    BARGE = "barge"
    """The ms of sound heard since the caller's act before."""
    BETWEEN = "between"
    """The end of what was heard, while more of the answer was to come."""
    PAUSE = "pause"
    """The end of the caller's act before, or the call's beginning: nothing was heard since."""


class Kind(StrEnum):
    """What the caller does."""

    SAYS = "says"
    PRESSES = "presses"
    HANGS_UP = "hangs up"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that the caller did, `ms` after what its anchor says.

    `sound` is µ-law, b"" in a recording without sound; `length_ms` is known in any case. `words` is None
    where they were not written down. `noticed`: the model's voice detection found a turn in it. `at_ms` and
    `end_ms` are those of the recorded call.
    """

    kind: Kind
    anchor: Anchor
    ms: int
    at_ms: int
    end_ms: int
    sound: bytes = b""
    words: str | None = None
    digits: str = ""
    noticed: bool = True
    item_id: str = ""

    @property
    def length_ms(self) -> int:
        return self.end_ms - self.at_ms


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """A tool call as it was recorded. `arguments` is canonical JSON. `output` is None where no result came;
    else it came after `ms`. `becomes`: another agent was in force from then on.
    """

    name: str
    arguments: str
    output: str | None = None
    respond: bool = True
    ms: int = 0
    becomes: m.Reconfigure | None = None


@dataclass(frozen=True, slots=True)
class CallerScript:
    """A caller, and the answers that tools gave. `generated` are the model's words, by item, in order;
    `stats` and `parameters` those of the recorded call.
    """

    header: Header
    acts: tuple[Act, ...]
    tools: tuple[ToolAnswer, ...]
    generated: tuple[str, ...]
    end_ms: int
    stats: Stats
    parameters: Mapping[str, str]

    @property
    def has_sound(self) -> bool:
        return self.header.sound

    @property
    def masked(self) -> bool:
        """Whether the words are masked: nothing of what was said is left."""
        words = [act.words or "" for act in self.acts] + [*self.generated]
        letters = {letter for text in words for letter in text if letter.isalpha()}
        return bool(letters) and letters <= {"x", "X"}


def canonical(arguments: str) -> str:
    """The arguments of a tool call as sorted JSON; text that is no JSON as it is."""
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True, ensure_ascii=False)
    except UNREADABLE:
        return arguments


def answered(call: Call, now_ms: int) -> bool:
    """Whether the answer is complete: none is owed, no response or tool runs, and the line has played out."""
    playout = call.playout
    busy = playout.owed.since_ms is not None or playout.conversation.tools.running
    return not busy and playout.gate.idle and playout.line.over(now_ms)
