"""What one frame costs: decoded, encoded, and through a whole socket, on either side.

    python -m benchmarks.frames [--repeat 5] [--json]

A caller's frame is some 300 bytes of JSON. The socket is a real one on a transport that takes everything, so
what is missing is the loop and the kernel. `websockets` does the same work in the last lines, as a measure of
the machine. The best of the repetitions counts: noise only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import timeit
from collections.abc import Callable
from importlib.metadata import version

from websockets.client import ClientProtocol
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from bridge.sockets.frames import FrameCodec
from bridge.sockets.stream import CARRIER_LIMITS, UPSTREAM_LIMITS, StreamSocket

FRAME = '{"event":"media","media":{"payload":"' + "f" * 216 + '"},"streamSid":"MZ' + "0" * 27 + '"}'
NUMBER = 20_000


class Sink(asyncio.Transport):
    """Takes every byte at once."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def library_receives(peer: Protocol, stream: bytes) -> str:
    """The library's way from a read to a message."""
    peer.receive_data(stream)
    [frame] = peer.events_received()
    peer.data_to_send()
    return bytes(frame.data).decode()  # type: ignore[union-attr]


def library_sends(peer: Protocol) -> bytes:
    """The library's way from a message to a write."""
    peer.send_text(FRAME.encode())
    return b"".join(peer.data_to_send())


def works() -> dict[str, Callable[[], object]]:
    """Each piece of work, by its name; it is done once for one frame."""
    server = FrameCodec(server=True, max_size_bytes=1 << 16)
    client = FrameCodec(server=False, max_size_bytes=8 << 20)
    masked, plain = client.encode(FRAME), server.encode(FRAME)
    carrier = StreamSocket(Sink(), server=True, limits=CARRIER_LIMITS)
    upstream = StreamSocket(Sink(), server=False, limits=UPSTREAM_LIMITS)
    for one in (carrier, upstream):
        one.start(lambda _frame: None, lambda _code, _reason: None)
    their_server = ServerProtocol(state=OPEN)
    their_client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN)
    halves = masked[:150], masked[150:]
    return {
        "codec: decode, masked": lambda: server.receive(masked),
        "codec: decode, plain": lambda: client.receive(plain),
        "codec: decode, masked, two in a read (both)": lambda: server.receive(masked + masked),
        "codec: decode, masked, in two halves": lambda: (
            server.receive(halves[0]),
            server.receive(halves[1]),
        ),
        "codec: encode, plain": lambda: server.encode(FRAME),
        "codec: encode, masked": lambda: client.encode(FRAME),
        "carrier socket: receive": lambda: carrier.data_received(masked),
        "carrier socket: send": lambda: carrier.send(FRAME),
        "upstream socket: receive": lambda: upstream.data_received(plain),
        "upstream socket: send": lambda: upstream.send(FRAME),
        "websockets: decode, masked": lambda: library_receives(their_server, masked),
        "websockets: encode, masked": lambda: library_sends(their_client),
    }


async def measure(repeat: int) -> dict[str, float]:
    """Microseconds a frame, by name of the work."""
    return {
        name: round(min(timeit.repeat(work, number=NUMBER, repeat=repeat)) / NUMBER * 1e6, 3)
        for name, work in works().items()
    }


def main() -> None:
    """Measures, and prints a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.repeat))
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    versions = f"Python {platform.python_version()}, websockets {version('websockets')}"
    sys.stdout.write(f"{versions}, {len(FRAME)} bytes a frame\n")
    width = max(map(len, figures))
    for name, figure_us in figures.items():
        sys.stdout.write(f"{name:<{width}}  {figure_us:6.2f} µs\n")


if __name__ == "__main__":
    main()
