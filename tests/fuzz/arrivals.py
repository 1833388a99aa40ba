"""What nobody should send to the media stream before its call is let in: a carrier's frames, and every other
kind, with bytes changed, cut, doubled and put together anew.

python -m tests.fuzz.arrivals 50000
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from bridge.core import messages as m
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.server.pending_stream import START_S, PendingStream
from bridge.sockets.frames import Message
from bridge.sockets.keepalive import running_tick
from bridge.sockets.limits import CARRIER_LIMITS
from bridge.sockets.stream import StreamSocket
from tests.agents.virtual_time import run
from tests.fuzz.mutations import grown_bytes, mutate

_CARRIER = CarrierFrames(f"CA{7:032x}", f"AC{7:032x}", f"MZ{7:032x}")
_SOUND = _CARRIER.media(b"\xff" * 160, 100)


def wire(head: int, payload: bytes, key: bytes = b"\1\2\3\4") -> bytes:
    """A masked frame, from the figure in RFC 6455, 5.2."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    return bytes([head]) + length + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


_START = wire(0x81, _CARRIER.connected().encode()) + wire(0x81, _CARRIER.start({"token": "t"}).encode())
_SEEDS = [
    _START,
    _START + wire(0x81, _SOUND.encode()) * 20,
    _START + wire(0x81, _SOUND.encode()) * 300,
    _START + wire(0x81, _CARRIER.stop().encode()) + wire(0x88, b"\x03\xe8"),
    wire(0x81, _SOUND.encode()) * 3,
    wire(0x89, b"") * 60,
    wire(0x89, b"x" * 125) + wire(0x8A, b""),
    wire(0x01, b"{") + wire(0x00, b"") * 70 + wire(0x89, b"") + wire(0x80, b"}"),
    wire(0x82, b"\xff" * 300) + wire(0x81, "\N{BELL SYMBOL}".encode() * 40),
    wire(0x88, b"\x03\xe8bye") + wire(0x81, b"more"),
    wire(0x81, b"x" * 40_000) * 3,
]
_SPICE = [
    b"\0", b"\xff" * 8, b"\x81\xff" + b"\0\0\0\1" * 2, b"\x81\xfe\xff\xff", b"\x09\x80", b"\x89\xfe\x00\x7e",
    b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0" * 60, b"\x80\x80\0\0\0\0", b"\x89\x80\0\0\0\0" * 210,
    b"\x88\x80\0\0\0\0", b"\x88\x81\0\0\0\0\0", b"\x81\x05hello", b"\xc1\x80\0\0\0\0", b"\x83\x80\0\0\0\0",
    b"\x81\x81\0\0\0\0\xff", b"\x81\x80\0\0\0\0" * 12, b"GET / HTTP/1.1\r\n\r\n",
    b"\x81\xfe\xea\x60" + b"\0" * 60_004,
]  # fmt: skip


class Wire(asyncio.Transport):
    """A connection in memory. What comes waits in it while nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.socket: StreamSocket
        self.sent = bytearray()
        self.lost = self.closing = False
        self._unread: list[bytes] = []
        self._ends = False
        self.reading = True

    def says(self, data: bytes) -> None:
        self._unread.append(data)
        self._hand_in()

    def hangs_up(self) -> None:
        self._ends = True
        self._hand_in()

    def _hand_in(self) -> None:
        while self._unread and self.reading and not self.closing:
            self.socket.data_received(self._unread.pop(0))
        if self._ends and self.reading and not self._unread and not self.closing:
            self.socket.eof_received()
            self.close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.lost
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True
        asyncio.get_running_loop().call_soon(self._hand_in)

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self._lose)

    abort = close

    def _lose(self) -> None:
        self.lost = True
        self.socket.connection_lost(None)


@dataclass
class Result:
    """What came of a run. `kept_bytes` is what memory grew by after a first tenth."""

    inputs: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    kept_bytes: int = 0


def mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(_SEEDS))
    if chance.random() < 0.4:
        data[:0] = chance.choice((_START, chance.choice(_SEEDS)))
    for _ in range(chance.randint(0, 3)):
        mutate(data, chance, _SEEDS, _SPICE, lambda data, at: _frame_at(data, at, chance))
    return bytes(data)


def _frame_at(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = wire(chance.choice((0x81, 0x82, 0x89, 0x8A, 0x00, 0x01)), os.urandom(9))


def said(stream: bytes) -> list[Message]:
    """The messages of that stream, as another library reads them."""
    peer = ServerProtocol(state=OPEN, max_size=CARRIER_LIMITS.max_size_bytes)
    peer.receive_data(stream)
    messages: list[Message] = []
    pieces, text = b"", False
    for frame in peer.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            pieces, text = b"", frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            continue
        pieces += bytes(frame.data)
        if frame.fin:
            try:
                messages.append(pieces.decode() if text else pieces)
            except UnicodeDecodeError:
                break
    return messages


class Noting(PendingStream):
    """An arrival that writes down what it takes."""

    def __init__(self, socket: StreamSocket) -> None:
        self.heard: list[Message] = []
        super().__init__(socket)

    def _frame(self, frame: Message) -> None:
        if not self._settled.done():
            self.heard.append(frame)
        super()._frame(frame)


async def _one(chance: random.Random, result: Result) -> None:
    transport, stream = Wire(), mutated(chance)
    socket = transport.socket = StreamSocket(transport, server=True, limits=CARRIER_LIMITS)
    ends: list[int] = []
    cuts = sorted(chance.randint(0, len(stream)) for _ in range(chance.randint(0, 4)))
    reads = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    early = chance.random() < 0.2
    if early:
        transport.says(reads.pop(0))
    arrival = Noting(socket)
    let_in = chance.random() < 0.7

    async def endpoint() -> str:
        started = await arrival.started()
        if not isinstance(started, m.Started) or not let_in:
            socket.close(1008)
            return "refused" if started else "gone"
        await asyncio.sleep(chance.choice((0, 0, 0.2)))
        socket.start(arrival.heard.append, lambda code, _reason: ends.append(code))
        return "let in"

    task = asyncio.ensure_future(endpoint())
    for read in reads:
        if read:
            transport.says(read)
        if chance.random() < 0.5:
            await asyncio.sleep(chance.choice((0, 0, 0.01)))
    if chance.random() < 0.5:
        transport.hangs_up()
    became = await task
    await asyncio.sleep(0.3)  # for what was let in: as many turns as it takes
    if became == "let in":
        transport.hangs_up()
    await asyncio.sleep(START_S + CARRIER_LIMITS.close_timeout_s + 1)
    if not transport.lost:  # let in, and never heard of again
        raise AssertionError("a connection is left")
    expected = said(stream)
    assert arrival.heard == expected[: len(arrival.heard)]
    if became == "let in":
        assert len(ends) == 1
        if not socket.failed:
            assert arrival.heard == expected
    result.ends[f"{became}, {'we gave up' if socket.gave_up else 'closed'}"] += 1


def fuzz(inputs: int, seed: int = 13) -> Result:
    """So many streams, each on a connection of its own, in pieces. Raises if anything escapes into the loop,
    if another library would have read anything else, or if a task, a timer or a connection is left.
    """
    chance = random.Random(seed)
    result = Result()

    async def one(number: int) -> None:
        result.inputs = number
        await _one(chance, result)
        assert running_tick()._timer is None
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def main() -> None:
        result.kept_bytes = await grown_bytes(inputs, one)

    run(main(), longest_s=1e9)
    return result


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.stdout.write(f"{fuzz(int(sys.argv[1]))}\n")
