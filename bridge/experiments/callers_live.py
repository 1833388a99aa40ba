"""Simulated callers against a server over Media Streams, in real time: ours, or another's.

The model behind the server may be ours (`serving`): then tools, and what the model was told, are known.
Calls are dialled one after the other until each has its session, and go on beside each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.rehearsal import transcript
from bridge.simulators.servers import EmbeddedUpstream, Simulation

from ..doubles.options import ServerOptions
from ..doubles.people.caller import CallerMachine, HangUp, Say
from ..doubles.people.caller_phone import CallerPhone, heard_of, said_of
from ..doubles.realtime import RealtimeServer
from ..errors import BridgeError, BrokenInvariant, ConfigError
from .callers import Job
from .callers_run import CallFacts, Tool, arguments_of
from .callers_virtual import CALLER_LEFT, WENT_ON, Stage, claims_of, decided, handset
from .heard import loud_blocks, runs
from .scenario import Scenario
from .workers import in_daemon_thread, never, side_by_side

SESSION_S: Final = 2.0
"""A server that has not dialled the model by then does it later, or dials another."""
_POLL_S: Final = 0.01
_WARM_FRAMES: Final = 50
SERVER_LEFT: Final = "the server hung up"
_HUNG_UP: Final = frozenset({0, 1000, 1001, 1005})
"""Codes of a websocket that was closed on purpose; 0 is one that is still open."""


class Transcriber(Protocol):
    """Makes words out of what a phone has played, after each pause. May take its time."""

    def __call__(self, sound: bytes) -> str: ...


@dataclass(slots=True)
class Target:
    """A server: its webhook or stream, the carrier's token, and the model behind it where that is ours."""

    url: str
    token: str | None = None
    upstream: EmbeddedUpstream | None = None
    transcriber: Transcriber | None = None
    dialling: asyncio.Lock = field(default_factory=asyncio.Lock)


@contextlib.asynccontextmanager
async def serving(stage: Stage, port: int) -> AsyncIterator[EmbeddedUpstream]:
    """The model of a stage as a server, while the block runs."""
    options = ServerOptions(transcribe=transcript)
    upstream = EmbeddedUpstream(lambda: RealtimeServer(stage.model, options))
    async with upstream.serve(port):
        yield upstream


async def in_real_time(
    target: Target,
    stage: Stage,
    wanted: Sequence[Job],
    parallel: int,
    done: Callable[[Job, CallFacts], None],
    stopped: Callable[[], bool] = never,
) -> None:
    """These, so many at once, until it is `stopped`; `done` is told of each. What goes wrong in a call is in
    its facts.
    """
    await asyncio.to_thread(_prepare, stage, [job.scenario for job in wanted])
    places = asyncio.Semaphore(parallel)

    async def one(job: Job) -> None:
        async with places:
            done(job, await call(target, stage, job.scenario, job.seed))

    await side_by_side(map(one, wanted), stopped)


def _prepare(stage: Stage, scenarios: Sequence[Scenario]) -> None:
    """Make the sounds that are known beforehand: a caller who waits for a voice would be late."""
    for scenario in scenarios:
        stage.check(scenario)
        voice, habits = stage.voice_of(scenario), scenario.caller.habits
        said = [*(scenario.caller.lines or ())]
        said += [one.say for one in (habits.interrupts, habits.backchannel) if one is not None and one.say]
        said += ["mm-hm"] if habits.backchannel is not None else []
        for words in said:
            voice(Say(words))


async def call(target: Target, stage: Stage, scenario: Scenario, seed: int) -> CallFacts:
    """One call, from ringing to its end. Raises ConfigError for an address that cannot be called."""
    live = _Live(stage, scenario, seed)
    ringing = CarrierSimulator(auth_token=target.token, make=live.phone_of)
    try:
        async with target.dialling:
            before = len(target.upstream.sessions) if target.upstream is not None else 0
            line = await ringing.call(target.url)
            session = None if target.upstream is None else await _session(target.upstream, before)
    except ConfigError:
        raise
    except (BridgeError, OSError) as error:
        return CallFacts(harness=str(error))
    live.line = line
    out_of_time = False
    try:
        await asyncio.wait_for(asyncio.shield(line.closed), scenario.limits.seconds)
    except TimeoutError:
        out_of_time = True
        if live.thinks:
            live.failed = "the caller's mind had not decided when the time of the call was over"
    finally:
        if not line.closed.done():
            line.send(live.phone.hang_up(line.now_ms()))
        await asyncio.wait([line.closed], timeout=2)
        live.stop()
    if live.failed:
        return CallFacts(harness=live.failed)
    facts = live.facts(line, session)
    facts.out_of_time = out_of_time
    if out_of_time:
        facts.ended = WENT_ON
    if target.transcriber is not None:
        try:
            facts.lines = await asyncio.to_thread(_transcribed, target.transcriber, facts.heard)
        except (Exception, SystemExit) as error:  # noqa: BLE001  of the user's function, or an endpoint
            return CallFacts(harness=f"nothing was transcribed: {type(error).__name__}: {error}")
    return facts


async def _session(upstream: EmbeddedUpstream, before: int) -> Simulation | None:
    """The session that this call's server has dialled; None where it has not."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SESSION_S
    while len(upstream.sessions) == before:
        if loop.time() > until_s:
            return None
        await asyncio.sleep(_POLL_S)
    return upstream.sessions[before]


class _Live:
    """A caller who is on the phone now: their mind, and the voice for what it wants said."""

    def __init__(self, stage: Stage, scenario: Scenario, seed: int) -> None:
        self._stage, self._scenario, self._seed = stage, scenario, seed
        self.phone: CallerPhone
        self.caller: CallerMachine
        self.line: Simulation | None = None
        self.failed = ""
        self._thinking: set[asyncio.Task[None]] = set()

    def phone_of(self, *given: Any, **_options: Any) -> CallerPhone:
        """The phone of this call's stream: the ids are the carrier's, the way there the scenario's."""
        made, self.caller = handset(self._stage, self._scenario, self._seed, self._think)
        call_sid, account_sid, stream_sid, parameters, speech = given
        parameters = {**parameters, **self._scenario.call.parameters}
        self.phone = CallerPhone(call_sid, account_sid, stream_sid, parameters, speech, made.options)
        return self.phone.take(**made.taken)

    @property
    def thinks(self) -> bool:
        """Whether the mind, or the voice, is at work."""
        return bool(self._thinking)

    def stop(self) -> None:
        """The call is over: nothing is thought any more."""
        for task in self._thinking:
            task.cancel()

    def _think(self, phone: CallerPhone, _now_ms: int) -> None:
        task = asyncio.get_running_loop().create_task(self._decide(phone))
        self._thinking.add(task)
        task.add_done_callback(self._thinking.discard)

    async def _decide(self, phone: CallerPhone) -> None:
        """Ask the mind on a thread; it takes at least its `think_ms`."""
        mind = self._stage.mind_of(self._scenario)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            decision = await in_daemon_thread(decided, mind, self._scenario, self._seed, self.caller)
            if isinstance(decision, Say):
                await in_daemon_thread(self._stage.voice_of(self._scenario), decision)
        except (Exception, SystemExit) as error:  # noqa: BLE001  of the user's voice
            self.failed = str(error) if isinstance(error, BridgeError) else f"{type(error).__name__}: {error}"
            decision = HangUp(None, "the caller's mind failed")
        took_ms = round((loop.time() - began_s) * 1000)
        now_ms = 0 if self.line is None else self.line.now_ms()
        phone.caller.decided(decision, now_ms, max(0, (mind.think_ms if mind else 0) - took_ms))

    def facts(self, line: Simulation, session: Simulation | None) -> CallFacts:
        """What is known of the call, which is over."""
        phone, caller = self.phone, self.caller
        server = None if session is None else session.machine
        if server is not None and not isinstance(server, RealtimeServer):
            raise BrokenInvariant("a session without a server")
        late = sorted(phone.late_ms[_WARM_FRAMES:])
        code, reason = line.closed.result() if line.closed.done() else (0, "")
        left = f"{SERVER_LEFT} ({code}{f' {reason}' if reason else ''})"
        return CallFacts(
            heard=heard_of([phone]),
            caller_sound=said_of([phone]),
            started_ms=phone.started_ms or 0,
            ended_ms=len(heard_of([phone])) // 8,
            said=phone.said,
            pressed="".join(digit for _, digit in phone.pressed),
            story=caller.story,
            lines=_heard_lines(caller) if server is not None else None,
            tools=None if server is None else _tools(server),
            claims=None if server is None else claims_of([server]),
            ended=CALLER_LEFT if caller.left is not None else left,
            broke_off=caller.left is None and code not in _HUNG_UP,
            unanswered=caller.unanswered,
            out_of_turns=caller.out_of_turns,
            left=caller.left,
            guessed_words=caller.guessed_words,
            draws=caller.draws,
            lost_frames=phone.lost,
            late_p99_ms=late[len(late) * 99 // 100] if late else 0,
        )


def _heard_lines(caller: CallerMachine) -> list[tuple[int, str]] | None:
    """The agent's words as the caller's ear made them out; None where it made out none."""
    found = [(line.at_ms, line.words) for line in caller.story if line.who == "agent" and line.words]
    return found or None


def _tools(server: RealtimeServer) -> list[Tool]:
    items = server.conversation.ever.values()
    outputs = {item.fields.get("call_id"): item.text for item in items if item.type == "function_call_output"}
    return [
        Tool(
            0,
            str(item.fields.get("name", "")),
            arguments_of(str(item.fields.get("arguments", ""))),
            outputs.get(item.fields.get("call_id")),
        )
        for item in items
        if item.type == "function_call" and item.status == "completed"
    ]


def _transcribed(transcriber: Transcriber, heard: bytes) -> list[tuple[int, str]]:
    """Each stretch of what was heard, in words."""
    stretches = runs(loud_blocks(heard), 700)
    return [(run.end_ms, transcriber(heard[run.start_ms * 8 : run.end_ms * 8])) for run in stretches]
