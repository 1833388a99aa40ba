"""A recorded call goes on otherwise from any moment, to the millisecond: for questions about the bridge.

The same `Call` that has seen everything up to the moment goes on. What was sent and not played is in the new
phone, with its marks; the model's session is lost at that moment, as sessions are, and the core replaces it.
"""

from __future__ import annotations

import dataclasses
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.upstream_leg import Leg
from bridge.doubles.agents import Agent as Mind
from bridge.doubles.phone import Phone
from bridge.errors import ConfigError
from bridge.recording import Recorder, Recording
from bridge.recording.caller_script import Act, Anchor, CallerScript, Kind
from bridge.recording.editing import note
from bridge.recording.facts import Facts, facts_of
from bridge.recording.header import Forked
from bridge.recording.recorded_tools import RecordedTools
from bridge.recording.script_reader import caller_script
from bridge.recording.stage import Parts, Stage
from bridge.recording.steps import Step
from bridge.testing.scripted_call import UPSTREAM
from bridge.upstreams import REHEARSALS

from .fork import Fork, ForkRun, difference_before, fork_of, sounding, turns_after, words_said
from .shadow_caller import ShadowCaller
from .shadow_run import MOST_TIMES, SLACK_MS, USUAL, PhoneLine, RecordedCall, ScriptEars, play, words_of

LOST: Final = 1006
"""How the model's session ends at the moment."""


@dataclass(slots=True)
class _Sent:
    """What went to the carrier and may not have been played: sound by its place on the line, and marks."""

    size_bytes: int = 0
    sound: list[tuple[int, bytes]] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    def note(self, event: m.Event, actions: Sequence[m.Action]) -> None:
        """One step."""
        if isinstance(event, m.MarkReached):
            self.marks.pop(event.name, None)
        for action in actions:
            if isinstance(action, m.PlayAudio):
                self.sound.append((self.size_bytes, b64decode(action.audio)))
                self.size_bytes += action.size_bytes
            elif isinstance(action, m.SendMark):
                self.marks[action.name] = self.size_bytes
            elif isinstance(action, m.ClearPlayout):
                self.sound.clear()
                self.marks.clear()

    def left(self, position: int) -> Iterator[m.CarrierCommand]:
        """What the carrier has from there on, in order; marks whose echo is still to come among it."""
        left: list[tuple[int, int, m.CarrierCommand]] = []
        for start, sound in self.sound:
            rest = sound[max(0, position - start) :]
            if rest:
                left.append((start, 1, m.PlayAudio(b64encode(rest).decode(), len(rest))))
        left += [(place, 0, m.SendMark(name)) for name, place in self.marks.items()]
        return (command for *_, command in sorted(left, key=lambda one: one[:2]))


@dataclass(slots=True)
class ExactForking:
    """A recording, up to the moment at which it is to go on."""

    lines: list[str]
    at_ms: int
    script: CallerScript
    facts: Facts
    differs: str = ""
    """Where today's code decides otherwise before the moment."""

    @classmethod
    def of(cls, lines: Sequence[str], at_ms: int) -> ExactForking:
        """Raises ConfigError for a call whose model is not one that can be stood in for."""
        script = caller_script(lines)
        if script.header.upstream not in {UPSTREAM, *REHEARSALS}:
            raise ConfigError(f"--exact knows calls with {UPSTREAM}, and not with {script.header.upstream}")
        return cls([*lines], at_ms, script, facts_of(lines), difference_before(lines, at_ms))

    def at(self, at_ms: int) -> ExactForking:
        """The same recording at an earlier moment."""
        return dataclasses.replace(self, at_ms=at_ms)

    def run(self, mind: Mind, *, sound: bool = False, recording: str = "", model: str = "") -> ForkRun:
        """One continuation, as in `Forking.run`. Raises ConfigError where the call is not on then."""
        reached = _Reached(self, recording, model, sound=sound)
        call = reached.taken_up(mind)
        caller = ShadowCaller(self.acts, PhoneLine(call), self.at_ms)
        most_ms = self.at_ms + (self.script.end_ms - self.at_ms) * MOST_TIMES + SLACK_MS
        play(call, caller, reached.ears, most_ms)
        call.close()
        facts = facts_of(reached.lines)
        return ForkRun(reached.lines, facts, tuple(turns_after(facts, self.at_ms)))

    def compared(self, runs: Sequence[ForkRun]) -> Fork:
        """What the first of these runs did otherwise."""
        reached = _Reached(self, "", "", sound=False)
        carried, said = reached.call.carried(self.at_ms), words_said(self.acts)
        return fork_of(self.at_ms, self.at_ms, reached.steps, carried, said, self.facts, runs)

    @property
    def acts(self) -> tuple[Act, ...]:
        """What the caller does from the moment on; of what they are saying, the rest."""
        at_ms = self.at_ms
        acts = [_rest(act, at_ms) for act in self.script.acts if act.end_ms > at_ms or act.at_ms >= at_ms]
        acts = [act if act.sound or act.kind is not Kind.SAYS else sounding(act) for act in acts]
        if acts:
            acts[0] = dataclasses.replace(acts[0], anchor=Anchor.PAUSE, ms=acts[0].at_ms - at_ms)
        return tuple(acts)


def _rest(act: Act, at_ms: int) -> Act:
    if act.at_ms >= at_ms:
        return act
    return dataclasses.replace(act, at_ms=at_ms, sound=act.sound[(at_ms - act.at_ms) * 8 :])


class _Reached:
    """The call at the moment, and the recording of it until then."""

    def __init__(self, forking: ExactForking, recording: str, model: str, *, sound: bool) -> None:
        self.lines: list[str] = []
        self.ears = ScriptEars()
        self.steps = 0
        self._forking, self._sent = forking, _Sent()
        source = Recording(forking.lines)
        forked = Forked(recording, forking.at_ms, forking.at_ms, exact=True, model=model)
        header = msgspec.structs.replace(source.header, forked=forked, sound=sound and source.header.sound)
        self._recorder = Recorder(self.lines.append, header, header.sound, keys=True)
        self._stage = Stage(source.header, Parts())
        self._started = m.Started("", "", "")
        self._later: list[Step] = []
        for step in source.steps():
            if step.t_ms <= forking.at_ms:
                self._step(step)
            elif isinstance(step.event, m.ToolFinished):
                self._later.append(step)

    @property
    def call(self) -> Call:
        return self._stage.call

    def _step(self, step: Step) -> None:
        self.steps += 1
        note(self._recorder, step)
        done: list[m.Action] = []
        for event in self._stage.read(step):
            actions = self.call.receive(event, step.t_ms)
            self._sent.note(event, actions)
            if isinstance(event, m.Started):
                self._started = event
            done += actions
        for _ in self._stage.answers(step.outputs, done):
            pass  # adapters remember what they have written

    def taken_up(self, mind: Mind) -> RecordedCall:
        """The call on a phone of today, without its session."""
        at_ms, started, core = self._forking.at_ms, self._started, self.call
        if core.phase is not m.Phase.LIVE or core.up.state is not Leg.READY:
            raise ConfigError(f"at {at_ms / 1000:g} s caller and model do not hear each other")
        options = dataclasses.replace(USUAL, ears=self.ears)
        phone = Phone(started.call_id, started.account_id, started.stream_id)
        tools, config = RecordedTools(self._forking.script.tools), self._forking.script.header.config
        call = RecordedCall(tools, config, phone, options, mind=mind)
        call.model.behaves(transcribe=words_of)
        rehearsal = call.rehearsal
        rehearsal.take_up(core, at_ms, self._stage.carrier, self._recorder)
        self._fill(phone, call, at_ms)
        self._lose_the_session(call)
        for step in self._later:
            event: Any = step.event
            if event.call_id in core.playout.conversation.tools.running:
                rehearsal.at(step.t_ms, lambda event=event: rehearsal.feed(event))  # type: ignore[misc]
        return call

    def _fill(self, phone: Phone, call: RecordedCall, at_ms: int) -> None:
        position = self.call.playout.line.ledger.position(at_ms)
        for command in self._sent.left(position):
            frame = self._stage.carrier.write(command)
            call.rehearsal.from_phone(phone.receive(frame, at_ms))

    def _lose_the_session(self, call: RecordedCall) -> None:
        speaking = [act for act in self._forking.script.acts if act.at_ms < self._forking.at_ms < act.end_ms]
        for act in speaking:
            self.ears.said(act.words)
        if self.call.caller_audio.loud and not speaking:
            call.rehearsal.feed(m.CallerVoice(False, False))
        epochs = [self.call.up.epoch, *([self.call.spare.epoch] if self.call.spare is not None else [])]
        for epoch in epochs:
            call.rehearsal.feed(m.UpstreamClosed(LOST, "", epoch))
