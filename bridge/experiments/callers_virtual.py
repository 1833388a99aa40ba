"""A simulated caller and an agent in virtual time: no key, no network; each run of a seed is the same."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.agents.agent import Agent
from bridge.simulators.rehearsal import transcript

from ..codecs.caption import caption_of
from ..codecs.level import pcm_level_dbfs
from ..doubles.agents import Agent as ModelMind
from ..doubles.front_desk.agent import FrontDesk
from ..doubles.options import ServerOptions
from ..doubles.people.caller import CallerMachine, Decision
from ..doubles.people.caller_phone import CallerPhone, Line, heard_of, said_of
from ..doubles.people.caption_ear import CaptionEar
from ..doubles.phone import PhoneOptions
from ..doubles.realtime import RealtimeServer
from ..errors import BridgeError, ConfigError
from .callers_mind import Heard, Mind, mind_of
from .callers_run import CallFacts, lines_of, tools_of, transferred
from .callers_voice import CallerVoice, Speaker, speaker_for
from .heard import Claim
from .scenario import Network, Scenario

if TYPE_CHECKING:
    from bridge.testing.agent_call import AgentCall

MODEL_VOICE: Final = "espeak"
_NOT_HERE: Final = "calls in virtual time need pytest, as the plugin does: pip install pytest"
_DELAYS: Final = 2_000
_RISES_DB: Final = 9
_NOISE_FRAMES: Final = 200
"""Of 20 ms: longer than a turn of most callers has no pause."""
_LEAST_DBFS: Final = -40
CALLER_LEFT: Final = "the caller hung up"
WENT_ON: Final = "it went on"


@dataclass(slots=True)
class Stage:
    """What all virtual calls of a process share: the agent, the model's voice and mind."""

    agent: Agent
    model: ModelMind
    speaker: Speaker
    voices: dict[bytes, CallerVoice] = field(default_factory=dict)
    minds: dict[bytes, Mind | None] = field(default_factory=dict)

    @classmethod
    def of(cls, agent: Agent, model: ModelMind | None = None, voice: str = MODEL_VOICE) -> Stage:
        """With the front desk as the model, unless another mind is given."""
        speaker = speaker_for(voice)
        return cls(agent, model or FrontDesk(speaker.speech, caption_of), speaker)

    def voice_of(self, scenario: Scenario) -> CallerVoice:
        """The caller's, made once."""
        key = msgspec.json.encode((scenario.caller.voice, scenario.network.noise, scenario.place))
        if key not in self.voices:
            self.voices[key] = CallerVoice(scenario)
        return self.voices[key]

    def check(self, scenario: Scenario) -> None:
        """Raises ConfigError that names the file of a scenario whose voice, noise or mind cannot be had."""
        try:
            self.voice_of(scenario)
            self.mind_of(scenario)
        except ConfigError as error:
            where = scenario.file or f"the scenario {scenario.name!r}"
            raise ConfigError(f"{where}: {error} - at `$.caller` or `$.network`") from error

    def mind_of(self, scenario: Scenario) -> Mind | None:
        """The caller's, made once; None for one with lines."""
        key = msgspec.json.encode(scenario.caller)
        if key not in self.minds:
            self.minds[key] = mind_of(scenario.caller)
        return self.minds[key]


def play(stage: Stage, scenario: Scenario, seed: int, *, records: bool = False) -> CallFacts:
    """One call, from its start to its end. What the harness itself fails at is told in the facts. Raises
    ConfigError for what no run can change.
    """
    phone, caller = handset(stage, scenario, seed, partial(_thinks, stage, scenario, seed))
    try:
        call = _begun(stage, scenario, phone, records=records)
        try:
            ended = call.rehearsal.run(scenario.limits.seconds * 1000)
            out_of_time = ended is None
        finally:
            call.close()
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  of the user's agent, model, mind or voice
        return CallFacts(harness=f"{type(error).__name__}: {error}")
    facts = _facts(call, phone, caller)
    facts.out_of_time = out_of_time
    if out_of_time:
        facts.ended = WENT_ON
    return facts


def handset(
    stage: Stage, scenario: Scenario, seed: int, think: Callable[[CallerPhone, int], None]
) -> tuple[CallerPhone, CallerMachine]:
    """The phone with its caller, ready to ring."""
    dice = random.Random(seed)  # noqa: S311  the same calls each time
    network, voice = scenario.network, stage.voice_of(scenario)
    caller = CallerMachine(
        scenario.caller.lines,
        scenario.caller.habits.habits(),
        dice.random,
        ear=CaptionEar(stage.speaker.length_of),
        most_turns=scenario.limits.turns,
    )
    phone = CallerPhone(parameters=scenario.call.parameters, options=phone_options(network, seed))
    line = Line(loss=network.loss, chance=random.Random(seed + 1).random, noise=voice.noise)  # noqa: S311
    return phone.take(caller, voice, think, line), caller


def phone_options(network: Network, seed: int) -> PhoneOptions:
    """The way there and back: `delay_ms` give or take `jitter_ms`."""
    if not network.delay_ms and not network.jitter_ms:
        return PhoneOptions()
    dice = random.Random(seed + 2)  # noqa: S311  the same ways each time
    least_ms, most_ms = max(0, network.delay_ms - network.jitter_ms), network.delay_ms + network.jitter_ms
    ways = [[dice.randint(least_ms, most_ms) for _ in range(_DELAYS)] for _ in range(2)]
    return PhoneOptions(delay_out_ms=ways[0], delay_back_ms=ways[1])


def decided(mind: Mind | None, scenario: Scenario, seed: int, caller: CallerMachine) -> Decision:
    """What the mind of this caller wants. Raises BridgeError."""
    if mind is None:
        raise BridgeError("a caller without lines has no mind")
    return mind.decide(Heard(scenario.caller.goal, scenario.caller.persona, list(caller.story), seed))


def _thinks(stage: Stage, scenario: Scenario, seed: int, phone: CallerPhone, now_ms: int) -> None:
    """The clock stands while a mind thinks; then its `think_ms` pass."""
    mind = stage.mind_of(scenario)
    decision = decided(mind, scenario, seed, phone.caller)
    phone.caller.decided(decision, now_ms, mind.think_ms if mind is not None else 0)


# --- the call -----------------------------------------------------------------------------------------------


class _Talk:
    """Whether 20 ms are speech, over whatever noise the line has: so many decibels above the level that a
    tenth of the last seconds stayed below.
    """

    def __init__(self) -> None:
        self._levels: deque[int] = deque(maxlen=_NOISE_FRAMES)

    def is_speech(self, buf: bytes, sample_rate: int) -> bool:  # noqa: ARG002  as webrtcvad has it
        level = pcm_level_dbfs(buf)
        self._levels.append(level)
        floor = sorted(self._levels)[len(self._levels) // 10]
        return level > max(_LEAST_DBFS, floor + _RISES_DB)


def _plugin() -> ModuleType:
    try:
        from bridge.testing import agent_call  # noqa: PLC0415  imports pytest
    except ModuleNotFoundError as error:
        raise ConfigError(_NOT_HERE) from error
    return agent_call


def _begun(stage: Stage, scenario: Scenario, phone: CallerPhone, *, records: bool) -> AgentCall:
    testing = _plugin()
    from bridge.testing.call import usual_config  # noqa: PLC0415  the same

    detector = _Talk() if scenario.network.noise is not None else None
    options = ServerOptions(delta_bytes=(1600,), detector=detector)
    # Keys are told to the model at once, as `serve` does it unless BRIDGE_DTMF says otherwise.
    base = usual_config(accepted_at_s=options.created_at_s, digits="interrupt")
    configs = testing.TimedTools(base, scenario.call.transfers)
    call: AgentCall = testing.AgentCall(
        stage.agent, configs, phone, options,
        fields=dict(scenario.call.parameters), mind=stage.model, recording={"sound": records},
    )  # fmt: skip
    call.model.behaves(transcribe=transcript)
    call.rehearsal.start()
    return call


# --- what came of it ----------------------------------------------------------------------------------------


def _facts(call: AgentCall, phone: CallerPhone, caller: CallerMachine) -> CallFacts:
    rehearsal = call.rehearsal
    phones = rehearsal.phones
    own = [one for one in phones if isinstance(one, CallerPhone)]
    ended = rehearsal.ended
    stats = rehearsal.call.stats
    return CallFacts(
        heard=heard_of(phones),
        caller_sound=said_of(phones),
        started_ms=phone.started_ms or 0,
        ended_ms=rehearsal.now_ms,
        said=[said for one in own for said in one.said],
        pressed="".join(digit for one in own for _, digit in one.pressed),
        story=caller.story,
        lines=lines_of(rehearsal.said),
        tools=tools_of(rehearsal.said),
        transfers=transferred(rehearsal.said),
        claims=claims_of(rehearsal.servers),
        ended=CALLER_LEFT if caller.left is not None else ended.reason.value if ended else "",
        unanswered=caller.unanswered,
        out_of_turns=caller.out_of_turns,
        left=caller.left,
        usd=round(stats.cost_micro_usd / 1_000_000, 6),
        guessed_words=caller.guessed_words,
        draws=caller.draws,
        lost_frames=sum(one.lost for one in own),
        recording=call.lines,
    )


def claims_of(servers: Sequence[RealtimeServer]) -> list[Claim]:
    """What the newest session believes was heard of each item of its own."""
    if not servers:
        return []
    server = servers[-1]
    found = []
    for item in server.conversation.ever.values():
        if item.role != "assistant" or not item.sent_bytes:
            continue
        sent_ms = item.sent_bytes // item.bytes_per_ms
        believed_ms = sent_ms if item.truncated_ms is None else item.truncated_ms
        claim_ms = 0 if item.id in server.deleted else believed_ms
        found.append(Claim(item.sound, claim_ms))  # all of it: more may be heard than is believed
    return found
