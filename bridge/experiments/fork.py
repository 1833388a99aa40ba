"""A recorded call goes on otherwise: the same caller and the same words before, another agent from there on.

The call is cut at the last quiet moment before the one that was asked for. A new call begins with what was
said until then (`CallConfig.carried`), and the recorded caller goes on from there, by what they hear now.
Tools answer from the recording: nothing is done a second time.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import msgspec

from bridge.core.capabilities import Capabilities
from bridge.core.messages import CallSnapshot
from bridge.core.turn_times import TurnTimes
from bridge.doubles.agents import Agent as Mind
from bridge.doubles.tones import tone
from bridge.errors import ConfigError
from bridge.recording import replay
from bridge.recording.caller_script import Act, Anchor, CallerScript, Kind, canonical
from bridge.recording.cutting import begins_with
from bridge.recording.facts import Facts, facts_of
from bridge.recording.header import Forked, Header
from bridge.recording.json_text import encoded, object_of
from bridge.recording.moments import QuietMoment, Walkthrough, walk_through
from bridge.recording.recorded_tools import RecordedTools
from bridge.recording.script_reader import caller_script
from bridge.testing.scripted_call import ScriptedCall

from .budget import MICRO
from .shadow_caller import FRAME_MS, ShadowCaller
from .shadow_run import MOST_TIMES, SLACK_MS, USUAL, Arm, PhoneLine, ScriptEars, begun, play, words_of

BEGIN_MS: Final = 10_000
"""Within this caller and model can hear each other."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one turn of the caller's: what they heard then, the tools that were called, their wait."""

    heard: str
    tools: tuple[str, ...]
    felt_ms: int | None


@dataclass(frozen=True, slots=True)
class After:
    """One turn of the caller's after the fork: in the recorded call, and now. None where there was none."""

    caller: str
    then: Turn | None
    now: Turn | None


@dataclass(frozen=True, slots=True)
class ForkRun:
    """One continuation: the lines of its recording, its facts, and what it did otherwise. `whole` is False
    where it ended for want of money.
    """

    lines: list[str]
    facts: Facts
    turns: tuple[Turn, ...]
    whole: bool = True

    @property
    def tools(self) -> tuple[str, ...]:
        """All that it called, in order."""
        return tuple(tool for turn in self.turns for tool in turn.tools)


@dataclass(frozen=True, slots=True)
class Fork:
    """What came of a fork. `at_ms` is the quiet moment at which it goes on; `missing_turns` are the caller's
    turns before it whose words are not known to the model.
    """

    asked_ms: int
    at_ms: int
    steps: int
    items: int
    owed: bool
    missing_turns: int
    after: tuple[After, ...]
    runs: tuple[ForkRun, ...]

    @property
    def agree(self) -> str:
        """In how many of the runs the same tools were called: one answer is no proof."""
        [(_, most)] = Counter(run.tools for run in self.runs).most_common(1)
        return f"{most} of {len(self.runs)}"

    @property
    def cost_micro_usd(self) -> int:
        return sum(run.facts.cost_micro_usd for run in self.runs)


@dataclass(frozen=True, slots=True)
class Forking:
    """A recording, and the quiet moment at which it is to go on. `differs` says where today's code decides
    otherwise before it; "" where it does not, and only then a run says anything.
    """

    call: Walkthrough
    script: CallerScript
    moment: QuietMoment
    asked_ms: int
    differs: str = ""
    caller: tuple[Act, ...] | None = None
    """What another caller does from there on; None for the recorded one."""

    @classmethod
    def of(cls, lines: Sequence[str], asked_ms: int) -> Forking:
        """Raises ConfigError where there is no quiet moment by then, or the words are masked."""
        call, script = walk_through(lines, asked_ms), caller_script(lines)
        if script.masked:
            raise ConfigError("its words are masked, so no agent can answer them")
        if call.facts.turns and not any(act.kind is Kind.SAYS for act in script.acts):
            raise ConfigError("it does not say when the caller spoke: a call with this model wants its sound")
        moment = _quiet_before(call, script, asked_ms)
        return cls(call, script, moment, asked_ms, difference_before(lines, moment.t_ms))

    def at(self, asked_ms: int) -> Forking:
        """The same recording at an earlier moment. Raises ConfigError as `of` does."""
        moment = _quiet_before(self.call, self.script, asked_ms)
        return dataclasses.replace(self, moment=moment, asked_ms=asked_ms)

    @property
    def acts(self) -> tuple[Act, ...]:
        """What the caller does from there on. The first thing is counted from the moment itself."""
        if self.caller is not None:
            return self.caller
        acts = [act for act in self.script.acts if act.at_ms >= self.moment.t_ms]
        made = [act if act.sound or act.kind is not Kind.SAYS else sounding(act) for act in acts]
        if made:
            gap_ms = made[0].at_ms - self.moment.t_ms
            made[0] = dataclasses.replace(made[0], anchor=Anchor.PAUSE, ms=gap_ms)
        return tuple(made)

    @property
    def left_ms(self) -> int:
        """How long the recorded call went on from there."""
        return self.script.end_ms - self.moment.t_ms

    @property
    def left_usd(self) -> float:
        """What the rest of the recorded call cost, by its own prices."""
        return max(0, self.script.stats.cost_micro_usd - self.moment.carried.cost_micro_usd) / MICRO

    @property
    def tools(self) -> RecordedTools:
        """Later answers first: the same question again may have had another one."""
        before = sum(tool.at_ms < self.moment.t_ms for tool in self.call.facts.tools)
        later = self.script.tools[before:]
        asked = {(one.name, one.arguments) for one in later}
        earlier = [one for one in self.script.tools[:before] if (one.name, one.arguments) not in asked]
        return RecordedTools([*later, *earlier])

    @property
    def header(self) -> Header:
        """Of the call that goes on: another line, a new clock."""
        made = begins_with(self.call.header, self.moment, self.moment.t_ms)
        config = msgspec.structs.replace(made.config, echoes=None, capabilities=Capabilities(), failover=())
        return msgspec.structs.replace(made, config=config)

    def run(
        self, arm: Arm, mind: Mind, *, sound: bool = False, recording: str = "", model: str = ""
    ) -> ForkRun:
        """One continuation with a model of this machine, in virtual time. `recording` is the SHA-256 of the
        file it goes on from, `model` what the model is called.
        """
        script = dataclasses.replace(self.script, header=self.header)
        ears = ScriptEars()
        options = dataclasses.replace(USUAL, ears=ears)
        call = begun(script, arm, self.tools, mind, options, sound=sound)
        call.model.behaves(transcribe=words_of)
        call.rehearsal.start()
        call.until(lambda: call.rehearsal.call.stats.began_ms is not None, BEGIN_MS)
        caller = ShadowCaller(self.acts, PhoneLine(call), call.now_ms)
        play(call, caller, ears, self.left_ms * MOST_TIMES + SLACK_MS)
        call.close()
        forked = Forked(recording, self.asked_ms, self.moment.t_ms, model=model)
        lines = _headed(call, forked)
        facts = facts_of(lines)
        return ForkRun(lines, facts, tuple(turns_after(facts, 0)))

    def compared(self, runs: Sequence[ForkRun]) -> Fork:
        """What the first of these runs did otherwise, turn by turn."""
        moment, said = self.moment, words_said(self.acts)
        return fork_of(self.asked_ms, moment.t_ms, moment.index, moment.carried, said, self.call.facts, runs)


def words_said(acts: Sequence[Act]) -> list[str]:
    """The words of each turn, "" where they are not known."""
    return [act.words or "" for act in acts if act.kind is Kind.SAYS and act.noticed]


def fork_of(
    asked_ms: int,
    at_ms: int,
    steps: int,
    carried: CallSnapshot,
    said: Sequence[str],
    then: Facts,
    runs: Sequence[ForkRun],
) -> Fork:
    """What the first of these runs did otherwise after `at_ms` than the recorded call."""
    known = sum(item.role == "user" and bool(item.text) for item in carried.items)
    turns = zip_longest(said, turns_after(then, at_ms), runs[0].turns)
    return Fork(
        asked_ms=asked_ms,
        at_ms=at_ms,
        steps=steps,
        items=len(carried.items),
        owed=carried.owed,
        missing_turns=max(0, carried.turns - known),
        after=tuple(After(words or "", *both) for words, *both in turns),
        runs=tuple(runs),
    )


def difference_before(lines: Sequence[str], at_ms: int) -> str:
    """Where today's code decides otherwise than the recording up to that moment; "" if it does not."""
    found = replay(lines, until_ms=at_ms).difference
    if found is None:
        return ""
    return f"{found.t_ms / 1000:.2f} s, line {found.line}: {found.got}"


def _quiet_before(call: Walkthrough, script: CallerScript, asked_ms: int) -> QuietMoment:
    """The last quiet moment by then at which the caller does not speak."""
    for moment in reversed(call.moments):
        if moment.t_ms <= asked_ms and not _speaking(script, moment.t_ms):
            return moment
    raise ConfigError(
        f"there is no quiet moment before {asked_ms / 1000:g} s: no speech, and nothing awaited"
    )


def _speaking(script: CallerScript, t_ms: int) -> bool:
    """Whether the caller speaks: voice detection notices it later."""
    return any(act.at_ms - FRAME_MS <= t_ms < act.end_ms for act in script.acts)


def sounding(act: Act) -> Act:
    """Sound in the place of speech whose sound was not recorded."""
    return dataclasses.replace(act, sound=tone(act.length_ms, 300))


def _headed(call: ScriptedCall, forked: Forked) -> list[str]:
    """The recording, with where it comes from in its header."""
    header = msgspec.json.decode(call.lines[0], type=Header)
    return [encoded(msgspec.structs.replace(header, forked=forked)), *call.lines[1:]]


def turns_after(facts: Facts, from_ms: int) -> list[Turn]:
    """What came of each turn that was over after that moment."""
    turns = [turn for turn in facts.turns if (turn.decided_ms or 0) > from_ms]
    ends = [*((turn.decided_ms or 0) for turn in turns[1:]), 1 << 60]
    return [_turn(facts, turn, end_ms) for turn, end_ms in zip(turns, ends, strict=False)]


def _turn(facts: Facts, turn: TurnTimes, end_ms: int) -> Turn:
    begin_ms = turn.decided_ms or 0
    tools = [tool for tool in facts.tools if begin_ms <= tool.at_ms < end_ms]
    heard = [one.heard for one in facts.spoken if begin_ms <= one.at_ms < end_ms and one.heard]
    return Turn(
        " ".join(heard), tuple(f"{tool.name}({_given(tool.arguments)})" for tool in tools), turn.felt_ms
    )


def _given(arguments: str) -> str:
    """A tool's arguments in short."""
    given = object_of(canonical(arguments))
    if given is None:
        return arguments
    return ", ".join(f"{name}={value!r}" for name, value in given.items())
