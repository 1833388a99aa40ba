"""One simulated call as it was: what its judge reads. And a run, which is what the judge makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ..doubles.people.caller import HangUp, Line
from ..doubles.people.caller_phone import Said
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
