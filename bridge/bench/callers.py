"""The callers of a load: one process, and of each phone no more than what the bridge can tell apart from a
real one. It sends a frame each 20 ms, plays what it hears, echoes marks when playout gets there, and clears.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import Final

from bridge.simulators.carrier import CarrierSimulator
from bridge.sockets.dial import Message, dial
from bridge.sockets.stream import StreamSocket

from ..doubles.carrier_frames import CarrierFrames, Clear, Mark, Media, Refused, parse
from ..errors import BridgeError
from .hearing import Hearing
from .tags import DOWN, UP, tagged
from .window import Window

FRAME_NS: Final = 20_000_000
NS_PER_BYTE: Final = 125_000
RAMP_PER_S: Final = 50
AT_ONCE: Final = 64
"""Frames that are sent before the sockets are looked at again."""
GIVEN_UP_NS: Final = 500_000_000
"""A generator so far behind does not catch up; it begins anew from now, and has said how late it was."""
_GOLDEN: Final = 0.618_034


class Caller:
    """One phone with an open stream."""

    __slots__ = (
        "_frames", "_hearing", "_loop", "_marks", "_play_end_ns", "_sent", "_team", "number", "phase_ns",
        "stream",
    )  # fmt: skip

    def __init__(self, team: Callers, number: int, stream: StreamSocket, frames: CarrierFrames) -> None:
        self.number = number
        self.phase_ns = int(number * _GOLDEN % 1 * FRAME_NS)
        self.stream = stream
        self._team = team
        self._frames = frames
        self._hearing = Hearing(DOWN, number)
        self._loop = asyncio.get_running_loop()
        self._sent = 0
        self._play_end_ns = 0
        self._marks: deque[tuple[int, str]] = deque()

    @property
    def heard(self) -> bool:
        """Whether it has heard anything of the model."""
        return self._hearing.heard

    def start(self, parameters: dict[str, str]) -> None:
        self.stream.send(self._frames.connected())
        self.stream.send(self._frames.start(parameters))
        self.stream.start(self._heard, lambda code, reason: self._team.ended(self, code, reason))

    def speak(self, now_ns: int) -> None:
        """The frame that is due."""
        sound = tagged(UP, self.number, self._sent, now_ns)
        self.stream.send(self._frames.media(sound, self._sent * 20))
        self._sent += 1

    def hang_up(self) -> None:
        self.stream.send(self._frames.stop())
        self.stream.close()

    def _heard(self, frame: Message) -> None:
        try:
            message = parse(frame, self._frames.stream_sid)
        except Refused as refused:
            self._team.refused[f"a frame that a carrier refuses: {refused.reason}"] += 1
            return
        now_ns = time.monotonic_ns()
        match message:
            case Media():
                sound = message.media.payload
                self._hearing.hear(sound, self._team.window)
                self._play_end_ns = max(self._play_end_ns, now_ns) + len(sound) * NS_PER_BYTE
            case Mark():
                self._marks.append((self._play_end_ns, message.mark.name))
                left_ns = self._play_end_ns - now_ns
                if left_ns <= 0:
                    self._echo()
                else:
                    self._loop.call_later(left_ns / 1e9, self._echo)
            case Clear():
                self._play_end_ns = now_ns
                while self._marks:
                    self.stream.send(self._frames.mark(self._marks.popleft()[1]))

    def _echo(self) -> None:
        now_ns = time.monotonic_ns() + 1_000_000  # timers may be a touch early
        while self._marks and self._marks[0][0] <= now_ns:
            self.stream.send(self._frames.mark(self._marks.popleft()[1]))


class Callers:
    """As many callers as are asked for; `window` is what counts, `refused` why there are not more, in
    words and how often.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.window = Window()
        self.live: dict[int, Caller] = {}
        self.refused: Counter[str] = Counter()
        self._url = url
        self._token = token
        self._numbers = 0
        self._ring: list[Caller] = []
        self._changed = False
        self._at = 0
        self._cycle_ns = 0
        self._loop = asyncio.get_running_loop()

    async def become(self, count: int) -> None:
        """Call, or hang up, until there are this many; fewer where calls were refused."""
        self.refused.clear()
        while len(self.live) > count:
            _, caller = self.live.popitem()
            caller.hang_up()
            self._changed = True
        calling = []
        for _ in range(count - len(self.live)):
            calling.append(asyncio.ensure_future(self._call(self._numbers)))
            self._numbers += 1
            await asyncio.sleep(1 / RAMP_PER_S)
        await asyncio.gather(*calling)

    async def _call(self, number: int) -> None:
        handset = CarrierSimulator(auth_token=self._token)
        frames = CarrierFrames(handset.call_sid, handset.account_sid, f"MZ{number:032x}")
        try:
            url, parameters = await handset.ring(self._url)
            stream = await dial(url, handset.stream_headers(url))
        except (BridgeError, OSError) as error:
            self.refused[str(error)] += 1
            return
        caller = self.live[number] = Caller(self, number, stream, frames)
        self._changed = True
        caller.start(parameters)

    @property
    def unheard(self) -> int:
        """How many of the live callers have not heard anything of the model yet."""
        return sum(not caller.heard for caller in self.live.values())

    def ended(self, caller: Caller, code: int, reason: str) -> None:
        """A stream is over; if it is one that we did not end, that is written down."""
        if self.live.pop(caller.number, None) is not None:
            self._changed = True
            self.refused[f"the server ended a call: {code} {reason}".strip()] += 1

    def run(self) -> None:
        """Send the frames that are due; comes back by itself for the next ones."""
        for _ in range(AT_ONCE):
            now_ns = time.monotonic_ns()
            if self._at == len(self._ring):
                self._begin_cycle(now_ns)
            due_ns = self._cycle_ns + (self._ring[self._at].phase_ns if self._ring else FRAME_NS)
            if due_ns > now_ns:
                # uvloop's timers know milliseconds only, and one of less than that is no timer at all.
                self._loop.call_later(max(0.001, (due_ns - now_ns) / 1e9), self.run)
                return
            if self._ring:
                caller = self._ring[self._at]
                self._at += 1
                if caller.number in self.live:
                    self.window.was_due(due_ns, now_ns)
                    self.window.leaves(now_ns)
                    caller.speak(now_ns)
        self._loop.call_soon(self.run)

    def _begin_cycle(self, now_ns: int) -> None:
        self._at = 0
        self._cycle_ns += FRAME_NS
        if now_ns - self._cycle_ns > GIVEN_UP_NS:
            self._cycle_ns = now_ns
        if self._changed:
            self._changed = False
            self._ring = sorted(self.live.values(), key=lambda caller: caller.phase_ns)
