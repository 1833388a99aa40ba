"""One recorded caller on one call of today, in virtual time: an arm of the experiment, once."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from bridge.agents.agent import Agent
from bridge.agents.config import AgentConfigs
from bridge.agents.prices import Prices
from bridge.core import messages as m
from bridge.doubles.agents import Agent as Mind
from bridge.doubles.items import Item
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.recording import Header
from bridge.recording.caller_script import Act, Anchor, CallerScript, Kind, ToolAnswer, answered
from bridge.recording.recorded_tools import RecordedTools, Stub
from bridge.testing.agent_call import AgentCall
from bridge.testing.answered_from import answered_from
from bridge.testing.call import PLACED
from bridge.testing.scripted_call import ScriptedCall
from bridge.upstreams import REHEARSALS, UPSTREAMS

from .budget import Purse
from .shadow_caller import ShadowCaller
from .shadow_facts import Run, run_of

EMBEDDED: Final = "embedded"
HANG_UP: Final = "hang_up"
MOST_TIMES: Final = 3
SLACK_MS: Final = 60_000
"""A call lasts at most three times as long as its recording, and a minute."""
USUAL: Final = ServerOptions(delta_bytes=(1600,))
"""A model in a good mood, with a delta each 200 ms of sound."""
WRITES_MS: Final = 300
"""After an answer, until a caller in words goes on."""
MindOf = Callable[[int], Mind]
"""A seed to the mind of one run."""


def _no_stub(_name: str, _arguments: str) -> None:
    """Every tool is answered from the recording."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of the comparison. Without an agent it is the recorded configuration: prompt, tools, voice
    detection as they were.
    """

    name: str
    agent: Agent | None = None
    instructions: str = ""
    """Of agents that have none of their own."""
    stub: Stub = _no_stub
    live: bool = False
    """Whether the agent's own functions run, for real."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A model of this machine, whose time is virtual."""

    mind: MindOf
    options: ServerOptions = USUAL


class ScriptEars:
    """The ears of the model's double: the words of a turn are those of the recording."""

    def __init__(self) -> None:
        self._said: list[str] = []

    def said(self, words: str | None) -> None:
        """The caller says this, from now on."""
        self._said.append(words or "")

    def configure(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Nothing depends on the tools."""

    def feed(self, pcmu: bytes) -> None:
        """The sound tells nothing that the recording does not."""

    def finish(self) -> _Known:
        """A turn is over: what was said since the last one."""
        words, self._said = " ".join(filter(None, self._said)), []
        return _Known(words)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class _Known:
    words: str

    def text(self) -> str:
        return self.words


class RecordedCall(ScriptedCall):
    """A call with the recorded configuration: its tools answer from the recording, and no code is run."""

    def __init__(self, tools: RecordedTools, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._tools = tools

    def _observe(self, action: m.Action, now_ms: int) -> None:
        if not isinstance(action, m.ToolWanted):
            return
        found = self._tools.answer(action.name, action.arguments)
        commands = commands_of(action, found)
        self.rehearsal.at(now_ms + found.ms, lambda: self._feed(commands))

    def _feed(self, commands: Sequence[m.Event]) -> None:
        for command in commands:
            self.rehearsal.feed(command)


def commands_of(wanted: m.ToolWanted, found: ToolAnswer) -> list[m.Event]:
    """What follows from a tool's answer where no agent's code runs."""
    commands: list[m.Event] = [] if found.becomes is None else [found.becomes]
    if wanted.name == HANG_UP:
        commands.append(m.HangUp())
    respond = found.respond and found.output is not None
    return [*commands, m.ToolFinished(wanted.call_id, found.output or "", respond)]


class PhoneLine:
    """The line as the phone double and the core know it."""

    def __init__(self, call: ScriptedCall) -> None:
        self._call = call

    def heard_ms(self, now_ms: int) -> float:  # noqa: ARG002  the phone's clock is that of the call
        self._call.settle()
        return self._call.phone.played_bytes / 8

    def queued_ms(self, now_ms: int) -> int:
        return self._call.phone.queued_ms(now_ms)

    def answered(self, now_ms: int) -> bool:
        return answered(self._call.rehearsal.call, now_ms)


def run_embedded(
    name: str, script: CallerScript, arm: Arm, model: Embedded, seed: int = 0, purse: Purse | None = None
) -> Run:
    """The recorded caller on a call of this arm, with a model of this machine. The call ends before its
    purse is empty.
    """
    purse = purse or Purse()
    tools, ears = RecordedTools(script.tools, arm.stub), ScriptEars()
    options = dataclasses.replace(model.options, ears=ears)
    call = begun(script, arm, tools, model.mind(seed), options)
    with contextlib.closing(call):
        call.model.behaves(transcribe=words_of)
        call.rehearsal.start()
        caller = ShadowCaller(script.acts, PhoneLine(call))
        play(call, caller, ears, script.end_ms * MOST_TIMES + SLACK_MS, purse)
    return run_of(name, arm.name, call, caller, tools)


def config_of(
    script: CallerScript, arm: Arm, vendor: str = EMBEDDED, prices: Path | None = None
) -> tuple[AgentConfigs, m.CallConfig]:
    """How agents become configurations here, on top of what the call was recorded with; and the recorded
    configuration, with a price for its model. Both are for that vendor alone. `prices` is a list besides the
    bundled one.
    """
    recorded = _at(script.header, vendor)
    own_model = arm.agent is not None and arm.agent.model not in (None, recorded.session.model)
    session = msgspec.structs.replace(recorded.session, extra={}, tools=(), instructions=arm.instructions)
    base = msgspec.structs.replace(recorded, session=session, prices={} if own_model else recorded.prices)
    configs = AgentConfigs(base, transfers_of(recorded), Prices.load(prices), vendor=UPSTREAMS[vendor].prices)
    rates = recorded.prices or configs.rates(recorded.session, dt.datetime.now(dt.UTC).date())
    return configs, msgspec.structs.replace(recorded, prices=rates)


def _at(header: Header, name: str) -> m.CallConfig:
    """The recorded configuration for a call with this vendor. What only another vendor knows is replaced."""
    vendor = UPSTREAMS[name]
    config = msgspec.structs.replace(header.config, capabilities=vendor.capabilities, failover=())
    if name in REHEARSALS or header.upstream in REHEARSALS or header.upstream == name:
        return config
    own = {"model": vendor.model, "voice": vendor.voice, "transcription": vendor.transcription}
    named = {field: value for field, value in own.items() if value}
    session = msgspec.structs.replace(config.session, **named)
    return msgspec.structs.replace(config, session=session, prices={})


def in_words(script: CallerScript) -> CallerScript:
    """The caller as one who writes: each turn is its words, after the answer, and takes no time. What was not
    written down is left out.
    """
    acts = [
        dataclasses.replace(act, anchor=Anchor.GAP, ms=WRITES_MS, end_ms=act.at_ms, sound=b"")
        for act in script.acts
        if act.kind is not Kind.SAYS or act.words
    ]
    return dataclasses.replace(script, acts=tuple(acts))


def written(act: Act, number: int) -> list[m.Event]:
    """A turn in words, and that it is to be answered."""
    return [m.AddText(act.words or ""), m.Respond(f"shadow:{number}")]


def transfers_of(config: m.CallConfig) -> Collection[str]:
    """The targets of transfers that the recorded model knew."""
    for tool in config.session.tools:
        if tool.get("name") == "transfer":
            target = tool.get("parameters", {}).get("properties", {}).get("target", {})
            return tuple(target.get("enum", ())) or tuple(filter(None, [target.get("const")]))
    return ()


def begun(
    script: CallerScript,
    arm: Arm,
    tools: RecordedTools,
    mind: Mind,
    options: ServerOptions,
    *,
    sound: bool = False,
) -> ScriptedCall:
    """A call of this arm, before the phone connects; `sound` is kept in its recording."""
    configs, recorded = config_of(script, arm)
    clock, kept = {"accepted_at_s": options.created_at_s}, {"sound": sound}
    phone = Phone(parameters=script.parameters, options=PhoneOptions())
    if arm.agent is None:
        config = msgspec.structs.replace(recorded, **clock)
        return RecordedCall(tools, config, phone, options, mind=mind, recording=kept)
    configs = dataclasses.replace(configs, base=msgspec.structs.replace(configs.base, **clock))
    agent = answered_from(arm.agent, tools.answer, configs.transfers, live=arm.live)
    fields = {**script.parameters, **(PLACED if recorded.outbound is not None else {})}
    return AgentCall(agent, configs, phone, options, fields=fields, mind=mind, recording=kept)


def words_of(item: Item) -> str | None:
    """The words of a turn, for the double's transcription; None where there are none."""
    return item.words.text() if item.words is not None else None


def play(
    call: ScriptedCall, caller: ShadowCaller, ears: ScriptEars, most_ms: int, purse: Purse | None = None
) -> None:
    """The call goes on until it is over, the caller has nothing left to do, it is that late, or the purse is
    empty.
    """
    rehearsal = call.rehearsal
    while not rehearsal.over and rehearsal.now_ms < most_ms:
        due_ms = min((due for due in (rehearsal.due_ms, caller.deadline_ms) if due is not None), default=None)
        if due_ms is None:
            return
        rehearsal.until(max(due_ms, rehearsal.now_ms))
        if purse is not None and not purse.paid(rehearsal.call.stats.cost_micro_usd):
            return
        for act in caller.wake(rehearsal.now_ms):
            _do(call, ears, act)


def _do(call: ScriptedCall, ears: ScriptEars, act: Act) -> None:
    if act.kind is Kind.SAYS and not act.sound:
        for event in written(act, call.now_ms):
            call.rehearsal.feed(event)
    elif act.kind is Kind.SAYS:
        ears.said(act.words)
        call.rehearsal.from_phone(call.phone.say(act.sound, call.now_ms))
    elif act.kind is Kind.PRESSES:
        if act.digits != m.HIDDEN_KEY:
            call.caller.presses(act.digits)
    elif not call.rehearsal.over:
        call.caller.hangs_up()
