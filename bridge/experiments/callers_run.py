"""One simulated call as it was: what its judge reads. And a run, which is what the judge makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ..core import messages as m
from ..doubles.people.caller import HangUp, Line
from ..doubles.people.caller_phone import Said
from ..recording.json_text import object_of
from .heard import Claim


class Kind(StrEnum):
    """Why a run is red. Closed: nothing else is ever told."""

    TOOL_MISSING = "tool_missing"
    TOOL_ARGUMENTS = "tool_arguments"
    TOOL_FORBIDDEN = "tool_forbidden"
    WORDS_MISSING = "words_missing"
    WORDS_FORBIDDEN = "words_forbidden"
    TOLD_WRONG = "told_wrong"
    TOO_SLOW = "too_slow"
    NO_ANSWER = "no_answer"
    SILENCE = "silence"
    TALK_OVER = "talk_over"
    ENDED_WRONG = "ended_wrong"
    LIMIT = "limit"
    RUBRIC_NO = "rubric_no"
    RUBRIC_UNSURE = "rubric_unsure"
    HARNESS = "harness"


class Failure(NamedTuple):
    """What was wanted and what was got; `at_ms` is the moment of the call, None where there is none."""

    kind: Kind
    want: str
    got: str
    at_ms: int | None = None


class Tool(NamedTuple):
    """A tool that the model called; `output` is None where it is not known."""

    at_ms: int
    name: str
    arguments: Mapping[str, Any]
    output: str | None = None


@dataclass(slots=True, kw_only=True)
class CallFacts:
    """One call, over. Times are ms of its phone's clock. None stands for what cannot be known there: of a
    server whose model is not ours, tools and what the model was told.
    """

    heard: bytes = b""
    """What the phone played, from 0 ms on."""
    caller_sound: bytes = b""
    started_ms: int = 0
    ended_ms: int = 0
    said: Sequence[Said] = ()
    pressed: str = ""
    story: Sequence[Line] = ()
    lines: Sequence[tuple[int, str]] | None = None
    """What the caller heard of the agent's words."""
    tools: Sequence[Tool] | None = None
    transfers: Sequence[str] | None = None
    claims: Sequence[Claim] | None = None
    ended: str = ""
    """How it ended, in words; `the caller hung up` where they did."""
    broke_off: bool = False
    """Whether the other side was lost: its stream ended otherwise than by hanging up."""
    unanswered: Sequence[int] = ()
    out_of_turns: bool = False
    out_of_time: bool = False
    left: HangUp | None = None
    usd: float | None = None
    guessed_words: bool = False
    draws: Sequence[float] = ()
    lost_frames: int = 0
    late_p99_ms: int = 0
    recording: Sequence[str] = ()
    harness: str = ""
    """Why nothing is known of this call."""


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a scenario, judged. `files` are the names of what was written of it, by kind."""

    scenario: str
    run: int
    seed: int
    failures: list[Failure] = field(default_factory=list)
    measures: dict[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    conversation: list[Line] = field(default_factory=list)
    tools: list[Tool] | None = None
    ended: str = ""
    notes: list[str] = field(default_factory=list)
    draws: list[float] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def harness(self) -> bool:
        """Whether the run itself failed: it says nothing about the agent."""
        return any(one.kind is Kind.HARNESS for one in self.failures)


# --- what the bridge did, as the judge reads it ---------------------------------------------------------


def lines_of(said: Sequence[tuple[int, m.Action]]) -> list[tuple[int, str]]:
    """The words that were heard, by the ledger: of what the model said, and of sounds of our own."""
    found = []
    for at_ms, action in said:
        if isinstance(action, m.Spoken) and action.heard:
            found.append((at_ms, action.heard))
        elif isinstance(action, m.Heard) and action.text and action.heard_ms:
            found.append((at_ms, action.text))
    return found


def tools_of(said: Sequence[tuple[int, m.Action]]) -> list[Tool]:
    """What the model called, with what it was told of each."""
    outputs = {
        action.call_id: action.output
        for _, action in said
        if isinstance(action, m.CreateItem) and action.output is not None
    }
    return [
        Tool(at_ms, action.name, arguments_of(action.arguments), outputs.get(action.call_id))
        for at_ms, action in said
        if isinstance(action, m.ToolWanted)
    ]


def arguments_of(text: str) -> Mapping[str, Any]:
    """A tool's arguments; what is no object is under "" as it came."""
    found = object_of(text)
    return {"": text} if found is None else found


def transferred(said: Sequence[tuple[int, m.Action]]) -> list[str]:
    """The targets of transfers."""
    return [
        action.name
        for _, action in said
        if isinstance(action, m.DetourMoved) and action.kind is m.DetourKind.TRANSFER
    ]
