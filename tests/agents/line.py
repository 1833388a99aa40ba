"""A whole call in virtual time: the phone double, the bridge, an agent, and the Realtime double.

Everything between the two doubles is the bridge's own: runner, core, adapters, user side. Sockets are pairs
in memory, and the clock jumps, so a minute of call takes a moment and every run is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from bridge.agents.agent import Agent
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.loop import SameLoop
from bridge.carriers.twilio import Twilio
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.doubles.agents import Agent as Mind
from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import murmur, tone
from bridge.recording import Recorder
from bridge.runner import Runner
from bridge.simulators.servers import Simulation
from bridge.sockets.dial import OnClose, OnFrame
from bridge.sockets.frames import Message
from bridge.upstreams import Dial
from bridge.upstreams.openai import embedded

SID = f"CA{1:032x}"
SAID = re.compile(r'Say(?: exactly this and nothing else)?: "(.*)"', re.DOTALL)
LETTER_MS = 60


class Obedient:
    """A model that says what it is asked to say, answers the caller's turns with these `outputs` as long as
    there are some, and all else with `reply`.
    """

    def __init__(self, reply: str = "I see.", outputs: Sequence[Output | Sequence[Output]] = ()) -> None:
        self.reply = reply
        self.outputs = list(outputs)

    def answer(self, asked: Asked) -> Sequence[Output]:
        instructions = str(asked.request.get("instructions") or "")
        wish = SAID.search(instructions)
        if wish:
            return [speech(wish[1])]
        if asked.tool_output is not None:
            return [speech(f"It is {asked.tool_output}")]
        if self.outputs and asked.reason == "turn":
            first = self.outputs.pop(0)
            return first if isinstance(first, Sequence) else [first]
        return [speech(self.reply)]


def speech(text: str) -> Speech:
    """Words as the double says them: 60 ms a letter."""
    return Speech(murmur(text), text)


class MemorySocket:
    """One end of a pair. Frames arrive in the loop's next round, in order."""

    def __init__(self) -> None:
        self.outbox_bytes = 0
        self.gave_up = False
        self.other: MemorySocket = self
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Message] = []
        self._on_frame: OnFrame | None = None
        self._on_close: OnClose | None = None
        self._closed = False

    def start(self, on_frame: OnFrame, on_close: OnClose) -> None:
        self._on_frame, self._on_close = on_frame, on_close
        for frame in self._waiting:
            self._loop.call_soon(self._deliver, frame)
        self._waiting.clear()

    def send(self, frame: Message, *more: Message) -> None:
        if not self._closed:
            for one in (frame, *more):
                self._loop.call_soon(self.other._deliver, one)

    def close(self, code: int = 1000, reason: str = "") -> None:
        for end in (self, self.other):
            self._loop.call_soon(end._end, code, reason)

    def _deliver(self, frame: Message) -> None:
        if self._closed:
            return
        if self._on_frame is None:
            self._waiting.append(frame)
        else:
            self._on_frame(frame)

    def _end(self, code: int, reason: str) -> None:
        if not self._closed:
            self._closed = True
            if self._on_close is not None:
                self._on_close(code, reason)


def pair() -> tuple[MemorySocket, MemorySocket]:
    one, other = MemorySocket(), MemorySocket()
    one.other, other.other = other, one
    return one, other


class LiveCall:
    """What a test does with the call, and what it can see of it."""

    words: list[str]

    def __init__(self, side: UserSide, runner: Runner, phone: Simulation, servers: list[Simulation]) -> None:
        self.side = side
        self.runner = runner
        self._phone = phone
        self._servers = servers
        self.events: list[m.Action] = []

    @property
    def phone(self) -> Phone:
        machine = self._phone.machine
        assert isinstance(machine, Phone)
        return machine

    @property
    def server(self) -> RealtimeServer:
        machine = self._servers[-1].machine
        assert isinstance(machine, RealtimeServer)
        return machine

    @property
    def now_ms(self) -> int:
        return self._phone.now_ms()

    def says(self, words: str) -> None:
        """The caller speaks; the server's transcription will find these words."""
        self.words.append(words)
        self._phone.send(self.phone.say(tone(LETTER_MS * len(words)), self.now_ms))

    def presses(self, digit: str) -> None:
        self._phone.send(self.phone.press(digit, self.now_ms))

    def hangs_up(self) -> None:
        self._phone.send(self.phone.hang_up(self.now_ms))

    def heard_ms(self) -> int:
        """How much of ours the caller has heard."""
        self.phone.wake(self.now_ms)
        return self.phone.played_bytes // 8

    def told(self, kind: str) -> list[dict[str, Any]]:
        """What the model was told, by type of client event."""
        return [event for event in self.server.log if event["type"] == kind]

    def only(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], object], within_s: float = 60) -> None:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110  the clock is virtual
                await asyncio.sleep(0.01)

    async def over(self, within_s: float = 120) -> m.Ended:
        await asyncio.wait_for(asyncio.shield(self.runner.closed), within_s)
        await asyncio.sleep(0)
        (ended,) = self.only(m.Ended)
        assert isinstance(ended, m.Ended)
        return ended


@contextlib.asynccontextmanager
async def live_call(
    agent: Agent,
    mind: Mind | None = None,
    *,
    base: m.CallConfig | None = None,
    transfers: tuple[str, ...] = (),
    fields: Mapping[str, str] | None = None,
    recorder: Callable[[m.CallConfig], Recorder] | None = None,
    **options: Any,
) -> AsyncIterator[LiveCall]:
    """A call that has just been answered. The caller is silent; the model is `Obedient` unless another mind
    is given."""
    words: list[str] = []

    def transcript(_item: object) -> str:
        return words.pop(0) if words else ""

    base = base or m.CallConfig(session=m.SessionConfig(transcription="gpt-transcribe"))
    base = msgspec.structs.replace(base, media_gap_ms=100_000_000)
    side = UserSide(agent, AgentConfigs(base, transfers), upstream="embedded", loops=[SameLoop()])
    config = await side.prepare(SID, fields or {})
    assert isinstance(config, m.CallConfig)
    servers: list[Simulation] = []

    async def dial(_dialled: Dial) -> MemorySocket:
        ours, theirs = pair()
        server = RealtimeServer(mind or Obedient(), ServerOptions(transcribe=transcript, **options))
        servers.append(Simulation(server, theirs))
        servers[-1].start(server.open)
        return ours

    def observe(action: m.Action, now_ms: int) -> None:
        call.events.append(action)
        side.call_did(SID, action, now_ms)

    runner = Runner(
        Call(config),
        Twilio(),
        lambda epoch: embedded(epoch, "ws://127.0.0.1"),
        dial,
        observe=observe,
        recorder=None if recorder is None else recorder(config),
    )
    ours, theirs = pair()
    phone = Phone(call_sid=SID, options=PhoneOptions())
    handset = Simulation(phone, theirs)
    call = LiveCall(side, runner, handset, servers)
    call.words = words
    side.attach(SID, runner, fields or {})  # type: ignore[arg-type]  # the runner has no tap yet
    runner.feed(m.Ringing())
    runner.attach(ours, [])
    handset.start(phone.start)
    runner.feed(m.Admitted())
    await asyncio.sleep(0.5)
    yield call
    if not runner.closed.done():
        runner.feed(m.ShutDown())
    await call.over()


def items(call: LiveCall) -> list[tuple[str, str]]:
    """The model's conversation: role (or type) and words of each item that stands in it."""
    return [(item.role or item.type, item.text) for item in call.server.items.values()]


def configured(call: LiveCall) -> dict[str, Any]:
    """The last session.update."""
    session: dict[str, Any] = call.told("session.update")[-1]["session"]
    return session


def arguments(**given: Any) -> str:
    return json.dumps(given)
