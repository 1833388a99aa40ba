"""One call on its real gate, in virtual time: a phone and a model that behave, and wires that do not.

The doubles at the far ends keep a real conversation going, so that what is mutated are this very call's
frames. `faults` collects what must never be; nothing here looks at what the core thinks, but for its ledger.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from bridge.carriers import Twilio
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.doubles.agents import Agent
from bridge.doubles.carrier_frames import Refused, parse
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.recording import Recorder, replay
from bridge.recording.header import Header
from bridge.runner import Runner
from bridge.sockets.dial import DialError
from bridge.sockets.frames import Message
from bridge.sockets.stream import OnClose, OnFrame
from bridge.upstreams import Dial, OpenAI
from tests.agents.virtual_time import VirtualLoop
from tests.upstreams.published import client_event

IDS: Final = ("item_id", "response_id", "call_id", "event_id", "id", "previous_item_id", "name", "streamSid")
"""Fields in which a peer speaks of something that both know."""
SPINNING: Final = 200
"""So often at one and the same millisecond nobody needs to be woken."""
GONE_S: Final = 120
"""What a call whose caller has gone has to be over, everything of it."""


class Wire:
    """A socket of ours, and whoever is at its other end. `fate` is what becomes of their next frame."""

    def __init__(self, call: FuzzedCall, door: str, peer: Phone | RealtimeServer) -> None:
        self.call, self.door, self.peer = call, door, peer
        self.outbox_bytes = 0
        self.gave_up = False
        self.fate = ""
        self.seen: dict[str, str] = {}
        """The last frame of each kind that came of them."""
        self.open = True
        self._late: list[str] = []
        self._says: OnFrame = lambda _frame: None
        self._ends: OnClose = lambda _code, _reason: None

    # --- what the gate sees of it ------------------------------------------------------------------------

    def start(self, on_frame: OnFrame, on_close: OnClose) -> None:
        self._says, self._ends = on_frame, on_close

    def send(self, frame: Message, *more: Message) -> None:
        for one in (frame, *more):
            self.call.sent(self.door, one)
            self.deliver(self.peer.receive(one, self.call.now_ms))

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.open:
            self.peer.gone(self.call.now_ms)
            self.call.loop.call_later(0.001, self.end, code, reason)

    # --- what happens on it ------------------------------------------------------------------------------

    def end(self, code: int, reason: str = "") -> None:
        """The socket is gone, whoever wanted it."""
        if self.open:
            self.open = False
            self.peer.gone(self.call.now_ms)
            self._ends(code, reason)

    def deliver(self, frames: list[str]) -> None:
        """What they say comes when whoever writes now is through; unless it was fated otherwise."""
        self.call.loop.call_soon(self._deliver, frames)

    def _deliver(self, frames: list[str]) -> None:
        for frame in frames:
            fate, self.fate = self.fate, ""
            if fate == "late":
                self._late.append(frame)
            elif fate != "lost":
                for _ in range(2 if fate == "twice" else 1):
                    self.says(frame)
                late, self._late = self._late, []
                for delayed in late:
                    self.says(delayed)
        if self.peer.close is not None:
            self.end(*self.peer.close)

    def says(self, frame: Message) -> None:
        """A frame comes in, whoever made it."""
        if not self.open:
            return
        if isinstance(frame, str) and len(self.seen) < 200:
            self.call.know(self, frame)
        self._says(frame)


class FuzzedCall:
    """The call. `pass_ms` lets time pass, `faults` is empty as long as all is well."""

    def __init__(
        self, config: m.CallConfig, agent: Agent, options: ServerOptions, phone: PhoneOptions
    ) -> None:
        self.loop = VirtualLoop()
        self.faults: list[str] = []
        self.ended: list[m.Ended] = []
        self.known: dict[str, deque[str]] = {}
        """Ids that are in use, by the field they stand in."""
        self.wanted: list[str] = []
        """Calls of tools that wait for a result."""
        self.next_dial: list[DialError] = []
        self.models: list[Wire] = []
        self._agent, self._options, self._phone = agent, options, phone
        self._streams = itertools.count(1)
        self._received: dict[tuple[int, str, int], int] = {}
        self._woken = (0, 0)
        self.loop.set_exception_handler(lambda _loop, context: self.faults.append(f"escaped: {context}"))
        self._log = _Log(self.faults)
        logging.getLogger("bridge").addHandler(self._log)
        self.carrier: Wire | None = None
        self.loop.run_until_complete(self._begin(config))

    async def _begin(self, config: m.CallConfig) -> None:
        self._recording = _Recording(config, self._woken_up)
        self.runner = Runner(
            Call(config),
            Twilio(),
            self._vendor,
            self._dial,
            observe=self._observe,
            recorder=self._recording,
        )
        self.runner.feed(m.Ringing())

    # --- what happens to it ------------------------------------------------------------------------------

    def attach(self) -> None:
        """The carrier opens its stream, and its token proves it; the second one is a newer one of the same
        call.
        """
        phone = Phone(stream_sid=f"MZ{next(self._streams):032x}", options=self._phone)
        self.carrier = Wire(self, "carrier", phone)
        hello = phone.start(self.now_ms)
        self.know(self.carrier, hello[-1])
        self.runner.attach(self.carrier, [*hello])
        self.runner.feed(m.Admitted())

    def pass_ms(self, ms: int) -> None:
        """Everybody lives so long."""
        self.loop.run_until_complete(self._live(self.loop.time() + ms / 1000))

    async def _live(self, until_s: float) -> None:
        while True:
            wires = [wire for wire in (self.carrier, *self.models) if wire is not None and wire.open]
            dues = [wire.peer.deadline_ms for wire in wires]
            due_s = min((due / 1000 for due in dues if due is not None), default=until_s)
            await asyncio.sleep(max(0.0, min(due_s, until_s) - self.loop.time()))
            for wire in wires:
                if wire.open and ((frames := wire.peer.wake(self.now_ms)) or wire.peer.close):
                    wire.deliver(frames)
            if self.loop.time() >= until_s:
                await asyncio.sleep(0)
                return

    @property
    def model(self) -> Wire | None:
        """The newest session whose socket is open."""
        return next((wire for wire in reversed(self.models) if wire.open), None)

    @property
    def phone(self) -> Phone:
        """The one at the newest stream."""
        assert self.carrier is not None
        assert isinstance(self.carrier.peer, Phone)
        return self.carrier.peer

    @property
    def over(self) -> bool:
        return bool(self.ended) or (self.carrier is not None and not self.carrier.open)

    @property
    def talks(self) -> bool:
        """There is a caller on the line."""
        return self.carrier is not None and not self.over

    @property
    def now_ms(self) -> int:
        return round(self.loop.time() * 1000)

    def finish(self) -> None:
        """The caller hangs up, if they are still there. Everything must be over soon, nothing be left, and
        the call's recording replay exactly.
        """
        if self.carrier is not None and self.carrier.open:
            self.carrier.deliver(self.phone.hang_up(self.now_ms))
        self.pass_ms(GONE_S * 1000)
        self.check()
        if not self.runner.closed.done():
            self.faults.append("the call never ended")
        if len(self.ended) != 1:
            self.faults.append(f"it ended so often: {self.ended}")
        if tasks := asyncio.all_tasks(self.loop):
            self.faults.append(f"tasks are left: {tasks}")
        logging.getLogger("bridge").removeHandler(self._log)
        self.loop.close()
        if not self.faults:
            replayed = replay(self._recording.lines)
            if replayed.difference is not None or not replayed.ended:
                self.faults.append(f"it replays otherwise: {replayed.difference}")

    # --- what must hold ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Between any two things that happen."""
        runner, ledger = self.runner, self.runner.call.playout.line.ledger
        # It is shut for good when the call is over, and open in between.
        if runner._pending or runner._feeding is not runner._over:
            self.faults.append("the gate was left open")
        if not self.ended and runner._armed_ms != runner.call.deadline_ms:
            self.faults.append("the clock is not set")
        if self.ended and runner.call.deadline_ms is not None:
            self.faults.append("it is over, and wants to be woken")
        if not 0 <= ledger.acked <= ledger.sent:
            self.faults.append(f"{ledger.acked} bytes heard of {ledger.sent}")

    def sent(self, door: str, frame: Message) -> None:
        """What we send is what the other side's documentation allows, whatever they sent us."""
        if self.ended:
            self.faults.append(f"after its end: {frame!r}")
        if door == "carrier":
            try:
                parse(frame, json.loads(frame)["streamSid"])
            except (Refused, ValueError, KeyError) as error:
                self.faults.append(f"no carrier takes {frame!r}: {error}")
            return
        kind = json.loads(frame)["type"]
        if self.carrier is None and kind != "session.update":
            self.faults.append(f"for a stranger: {kind}")
        if kind == "input_audio_buffer.append":
            return
        try:
            event = client_event(str(frame))
        except (AssertionError, ValueError) as error:
            self.faults.append(f"no vendor takes {frame!r}: {error}")
        else:
            self._remember("event_id", event.get("event_id"))

    def know(self, wire: Wire, frame: str) -> None:
        """Remember it, and the ids in it, for those who mutate."""
        try:
            tree = json.loads(frame)
        except ValueError:
            return
        kind = tree.get("type", tree.get("event")) if isinstance(tree, dict) else None
        if isinstance(kind, str):
            wire.seen[kind] = frame
            for name, value in _leaves(tree):
                if name in IDS:
                    self._remember(name, value)

    def _remember(self, name: str, value: Any) -> None:
        if isinstance(value, str) and value:
            kept = self.known.setdefault(name, deque(maxlen=6))
            if value not in kept:
                kept.append(value)

    # --- what the gate asks for and tells ----------------------------------------------------------------

    def _vendor(self, epoch: int) -> OpenAI:
        return _Watched(epoch, self._heard_of, self._settled)

    async def _dial(self, _dial: Dial) -> Wire:
        await asyncio.sleep(0.03)
        if self.next_dial:
            raise DialError(*self.next_dial.pop().args)  # one of its own: a traceback holds a whole call
        wire = Wire(self, "upstream", RealtimeServer(self._agent, self._options))
        self.models = [*(model for model in self.models if model.open), wire]
        assert isinstance(wire.peer, RealtimeServer)
        wire.deliver(wire.peer.open(self.now_ms))
        return wire

    def _observe(self, action: m.Action, _now_ms: int) -> None:
        if isinstance(action, m.Ended):
            self.ended.append(action)
        elif isinstance(action, m.ToolWanted):
            self.wanted.append(action.call_id)

    def _heard_of(self, event: m.AudioDelta) -> None:
        key = (event.epoch, event.item_id, event.part)
        self._received[key] = self._received.get(key, 0) + event.size_bytes

    def _settled(self, command: m.TruncateItem) -> None:
        received_ms = self._received.get((command.epoch, command.item_id, command.part), 0) // 8
        if type(command.heard_ms) is not int or not 0 <= command.heard_ms <= received_ms:
            self.faults.append(f"{command}, of which {received_ms} ms have come")

    def _woken_up(self, now_ms: int) -> None:
        at_ms, times = self._woken
        self._woken = (now_ms, times + 1 if at_ms == now_ms else 1)
        if self._woken[1] > SPINNING:
            raise AssertionError(f"woken {SPINNING} times at {now_ms} ms")  # or the loop would never end


class _Recording(Recorder):
    """The real one, which also tells when the call is woken."""

    def __init__(self, config: m.CallConfig, woken: Callable[[int], None]) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append, Header(carrier="twilio", upstream="openai", config=config))
        self._woken = woken

    def happened(self, now_ms: int, event: m.Event) -> None:
        if type(event) is m.WakeUp:
            self._woken(now_ms)
        super().happened(now_ms, event)


class _Watched(OpenAI):
    """Tells what sound came of which item, and what of it we said was heard."""

    __slots__ = ()

    def __init__(
        self, epoch: int, sound: Callable[[m.AudioDelta], None], settled: Callable[[m.TruncateItem], None]
    ) -> None:
        super().__init__(epoch)
        read, make = self.parse, self.write

        def parsed(frame: Message) -> m.UpstreamEvent | None:
            event = read(frame)
            if type(event) is m.AudioDelta:
                sound(event)
            return event

        def written(command: m.UpstreamCommand) -> Message:
            if type(command) is m.TruncateItem:
                settled(command)
            return make(command)

        self.parse, self.write = parsed, written  # type: ignore[assignment]


class _Log(logging.Handler):
    """A line of error is a fault: a peer's nonsense is no error of ours."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._faults = faults
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(self.format(record))


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from _leaves(value, name)
    else:
        yield name, tree
