"""Listening to a live call: ``WS /console/calls/ID/audio``, binary messages.

One byte says whose sound it is, 0 the caller's and 1 what the caller hears of us; four bytes, big-endian, are
the milliseconds of the call's clock at which it begins; the rest is µ-law, 8 bytes a millisecond. What the
caller hears is taken from the ledger in real time: what is played now, not what was sent, and nothing that a
barge-in cut off. Where there is no sound nothing is sent.

While the caller presses a secret their channel is silent, as in recordings. Five may listen at once, with
BRIDGE_CONSOLE_LISTEN only; each beginning and end stands in the call's record, where a call that ends first
is its own end. The socket closes with 1000 when the call is over, 1008 when the session is, 1013 when it is
read too slowly or five listen already.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Protocol

from bridge.core import messages as m
from bridge.core.caller_audio import silence
from bridge.core.state import CallState
from bridge.runner import Runner
from bridge.server.calls import CallRegistry
from bridge.server.taps import Taps
from bridge.sockets.frames import POLICY_VIOLATION

from .viewer import TRY_AGAIN_LATER

logger = logging.getLogger("bridge.console")

MOST_LISTENERS: Final = 5
TICK_S: Final = 0.04
CALLER, HEARD = 0, 1
SLOW_BYTES: Final = 64 * 1024
"""Of sound that is not read: four seconds. What comes then is dropped."""
PATIENCE_S: Final = 5.0


class Socket(Protocol):
    """What a listener needs of one."""

    def send(self, frame: bytes) -> None: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    @property
    def outbox_bytes(self) -> int: ...


class HeardSound:
    """What goes to the caller, until they have heard it. `sent` takes what the runner sends, in order; `take`
    gives what was played since the last time.
    """

    def __init__(self, call: CallState) -> None:
        self._ledger = call.playout.line.ledger
        self._at = self._ledger.sent
        """The line's position behind what came last, in bytes."""
        self._told = self._at
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._played = bytearray()

    def sent(self, command: m.CarrierCommand) -> None:
        """Something went out to the carrier."""
        if isinstance(command, m.PlayAudio):
            self._cut()  # a clear that no command tells of, as where the carrier's stream is another one
            sound = b64decode(command.audio)
            self._waiting.append((self._at, sound))
            self._at += command.size_bytes
        elif isinstance(command, m.ClearPlayout):
            self._cut()

    def take(self, now_ms: int) -> bytes:
        """What the caller has heard since the last time; b"" for nothing."""
        self._cut()
        self._advance(self._ledger.position(now_ms))
        played = bytes(self._played)
        self._played.clear()
        return played

    def _cut(self) -> None:
        """Of what the last clear took, nothing was heard."""
        ledger = self._ledger
        if ledger.cut_to <= self._told:
            return
        self._advance(ledger.cut_from)
        while self._waiting and self._waiting[0][0] < ledger.cut_to:
            self._waiting.popleft()
        self._told = max(self._told, ledger.cut_to)

    def _advance(self, position: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] < position:
            start, sound = waiting[0]
            end = start + len(sound)
            self._played += sound[max(0, self._told - start) : position - start]
            if end > position:
                break
            waiting.popleft()
        self._told = max(self._told, position)


class Listener:
    """One operator who listens to one call."""

    __slots__ = ("_slow_from_s", "call_sid", "closed", "lasts", "socket", "who")

    def __init__(self, socket: Socket, call_sid: str, who: str, lasts: Callable[[], bool]) -> None:
        self.socket = socket
        self.call_sid = call_sid
        self.who = who
        self.lasts = lasts
        self.closed = False
        self._slow_from_s: float | None = None

    def send(self, frames: list[bytes], now_s: float) -> None:
        """Sound, unless it is read too slowly."""
        if self.closed:
            return
        if not self.lasts():
            self.close(POLICY_VIOLATION, "signed out")
        elif self.socket.outbox_bytes <= SLOW_BYTES:
            self._slow_from_s = None
            for frame in frames:
                self.socket.send(frame)
        elif self._slow_from_s is None:
            self._slow_from_s = now_s
        elif now_s - self._slow_from_s > PATIENCE_S:
            self.close(TRY_AGAIN_LATER, "it is read too slowly")

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.socket.close(code, reason)


class _Tapped:
    """A call that is listened to."""

    def __init__(self, runner: Runner, taps: Taps) -> None:
        self.runner = runner
        self.call = runner.call
        self.taps = taps
        self.heard = HeardSound(runner.call)
        self._caller = bytearray()
        self._caller_ms = 0
        taps.add(self._frame)
        runner.sent_tap = self.heard.sent

    def _frame(self, frame: m.CallerAudio) -> None:
        if not self._caller:
            self._caller_ms = self.runner.now_ms()
        secret = self.call.keys.secret
        self._caller += b64decode(silence(frame.size_bytes) if secret else frame.audio)

    def frames(self) -> list[bytes]:
        """What there is to hear since the last time."""
        now_ms, found = self.runner.now_ms(), []
        if self._caller:
            found.append(_frame(CALLER, self._caller_ms, bytes(self._caller)))
            self._caller.clear()
        heard = self.heard.take(now_ms)
        if heard:
            began_ms = now_ms - len(heard) // self.call.config.bytes_per_ms
            found.append(_frame(HEARD, max(0, began_ms), heard))
        return found

    def untap(self) -> None:
        self.taps.remove(self._frame)
        self.runner.sent_tap = None


class Listening:
    """All that listen in this process; `counts` says how many there are by call. `note(call_sid, who, what)`
    writes it down.
    """

    def __init__(
        self, registry: CallRegistry, counts: Counter[str], note: Callable[[str, str, str], None]
    ) -> None:
        self.counts = counts
        self._registry = registry
        self._note = note
        self._listeners: list[Listener] = []
        self._tapped: dict[str, _Tapped] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        return len(self._listeners) >= MOST_LISTENERS

    def begin(self, listener: Listener) -> bool:
        """From now on it hears the call; False where there is no such call."""
        call_sid = listener.call_sid
        if call_sid not in self._tapped:
            runner, taps = self._registry.runner(call_sid), self._registry.taps(call_sid)
            if runner is None or taps is None:
                return False
            self._tapped[call_sid] = _Tapped(runner, taps)
        self._listeners.append(listener)
        self.counts[call_sid] += 1
        self._note(call_sid, listener.who, "listens")
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="listening")
        return True

    def end(self, listener: Listener) -> None:
        """It hears no more. Idempotent."""
        listener.closed = True
        if listener not in self._listeners:
            return
        self._listeners.remove(listener)
        call_sid = listener.call_sid
        self.counts[call_sid] -= 1
        self._note(call_sid, listener.who, "listens no longer")
        if not self.counts[call_sid]:
            del self.counts[call_sid]
            self._tapped.pop(call_sid).untap()
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    def stop(self, who: str, call_sid: str | None = None) -> int:
        """Close what that session listens to, one call or all. Returns how many there were."""
        found = [one for one in self._listeners if one.who == who and call_sid in (None, one.call_sid)]
        for listener in found:
            listener.close(1000, "stopped")
            self.end(listener)
        return len(found)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            try:
                self.tick(loop.time())
            except Exception:
                logger.exception("listening: this tick is left out")
            due_s = max(due_s + TICK_S, loop.time())
            await asyncio.sleep(due_s - loop.time())

    def tick(self, now_s: float) -> None:
        """Send what was heard since the last one."""
        for call_sid, tapped in list(self._tapped.items()):
            frames = tapped.frames()
            over = self._registry.taps(call_sid) is not tapped.taps
            for listener in [one for one in self._listeners if one.call_sid == call_sid]:
                listener.send(frames, now_s)
                if over:
                    listener.close(1000, "the call is over")
                    self.end(listener)


def _frame(channel: int, at_ms: int, sound: bytes) -> bytes:
    return bytes((channel,)) + (at_ms & 0xFFFFFFFF).to_bytes(4, "big") + sound
