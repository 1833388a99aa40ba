"""A stream before it is a call: what it may send until its `start`, and what we say of one that sent more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bridge.core import messages as m
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.server.pending_stream import PendingStream
from bridge.sockets.frames import FrameCodec
from bridge.sockets.limits import CARRIER_LIMITS
from tests.loops import until
from tests.test_sockets import Bench, no_time_passes, on_loop, pieces

__all__ = ["no_time_passes"]

FRAMES = CarrierFrames(f"CA{7:032x}", f"AC{7:032x}", f"MZ{7:032x}")


def arrived() -> tuple[Bench, PendingStream]:
    bench = Bench(started=False, limits=CARRIER_LIMITS)
    return bench, PendingStream(bench.socket)


@on_loop
async def test_what_comes_behind_the_start_waits_for_the_call_and_is_not_counted() -> None:
    """A network that stalls as the stream begins delivers seconds of sound with it."""
    bench, arrival = arrived()
    sound = [FRAMES.media(b"\xff" * 160, 20 * number) for number in range(400)]
    bench.comes(FRAMES.connected(), FRAMES.start({"token": "t"}), *sound)
    started = await arrival.started()
    assert isinstance(started, m.Started)
    assert started.parameters == {"token": "t"}
    assert "start" in str(arrival.start)
    assert bench.owner.heard == []
    bench.socket.start(bench.owner.frame, bench.owner.closed)
    await until(lambda: not bench.socket.unread_bytes)
    assert bench.owner.heard == sound
    assert bench.owner.ends == []
    bench.drop()


FLOODS: dict[str, Callable[[FrameCodec], bytes]] = {
    "pings": lambda _peer: pieces(0x9, 40_000),
    "pings of 125 bytes": lambda _peer: pieces(0x9, 40_000, b"x" * 125),
    "pongs": lambda _peer: pieces(0xA, 40_000),
    "empty fragments": lambda _peer: pieces(0x0, 40_000),
    "fragments of one byte": lambda _peer: pieces(0x0, 40_000, b"x"),
    "texts of one byte": lambda peer: peer.encode("x") * 40_000,
    "empty texts": lambda peer: peer.encode("") * 40_000,
    "tiny binary frames": lambda peer: peer.encode(b"x") * 40_000,
    "close frames": lambda peer: peer.encode_close(1000) * 40_000,
    "a message of 60 KB, and again": lambda peer: peer.encode("x" * 60_000) * 10,
}


@pytest.mark.parametrize("whole", [True, False], ids=["in one write", "in pieces"])
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_before_the_start_ends_at_once(flood: str, whole: bool) -> None:
    bench, arrival = arrived()
    stream = FLOODS[flood](bench.peer)
    pings = 0
    for at in range(0, len(stream), len(stream) if whole else 1_000):
        bench.socket.data_received(stream[at : at + (len(stream) if whole else 1_000)])
        pings += bench.transport.drain().count(b"\x8a")
        await asyncio.sleep(0)
    why = await arrival.started()
    assert why == "" if flood == "close frames" else "let in" in str(why) or "no start" in str(why)
    bench.socket.close(1008)
    await until(lambda: not bench.socket.unread_bytes)
    assert pings <= 201
    bench.drop()


@on_loop
async def test_who_just_goes_away_is_not_worth_a_line() -> None:
    bench, arrival = arrived()
    bench.drop()
    assert await arrival.started() == ""
