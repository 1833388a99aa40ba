"""Sockets: what a leg may rely on, whatever its peer, its owner and its transport do."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.server.service import listen
from bridge.sockets import stream as streams
from bridge.sockets.dial import StreamSocket
from bridge.sockets.frames import FrameCodec, Message
from bridge.sockets.keepalive import running_tick
from bridge.sockets.limits import UPSTREAM_LIMITS, Limits, Quota, bound_kernel
from tests.loops import Owner, until

TIGHT = Limits(max_size_bytes=4096, close_timeout_s=0.05, max_outbox_bytes=1000)


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn of the loop is over when its time is; not here, where the machine may stand still meanwhile."""
    monkeypatch.setattr(streams, "monotonic", lambda: 0.0)


class FakeTransport(asyncio.Transport):
    """A transport whose kernel takes nothing until told; over 64 bytes that wait, it pauses its writer."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: StreamSocket | None = None
        self.waiting = b""
        self.calls: list[str] = []
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert "write_eof" not in self.calls
        self.waiting += bytes(data)
        if len(self.waiting) > 64 and not self.paused:
            self.paused = True
            assert self.protocol is not None
            self.protocol.pause_writing()

    def drain(self) -> bytes:
        taken, self.waiting = self.waiting, b""
        if self.paused:
            self.paused = False
            assert self.protocol is not None
            self.protocol.resume_writing()
        return taken

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def is_closing(self) -> bool:
        return bool({"close", "abort"} & set(self.calls))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")
        if self.calls.count("abort") == 1:
            assert self.protocol is not None
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Bench:
    """A socket on a fake transport, its owner, and its peer's codec."""

    def __init__(self, *, server: bool = True, limits: Limits = TIGHT, started: bool = True) -> None:
        self.transport = FakeTransport()
        self.socket = self.transport.protocol = StreamSocket(self.transport, server=server, limits=limits)
        self.peer = FrameCodec(server=not server, max_size_bytes=1 << 20)
        self.owner = Owner()
        if started:
            self.socket.start(self.owner.frame, self.owner.closed)

    def comes(self, *frames: Message) -> None:
        self.socket.data_received(b"".join(self.peer.encode(frame) for frame in frames))

    def went(self) -> list[Message]:
        return self.peer.receive(self.transport.drain())

    async def settle(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)
        self.drop()

    def drop(self) -> None:
        """The connection goes, if it has not yet, so that the tick has nobody left."""
        if not self.socket._lost:
            self.socket.connection_lost(None)
        assert running_tick()._timer is None


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test whose transport is fake needs a loop, and no particular one."""

    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        async def main() -> None:
            await test(**fixtures)

        asyncio.run(main())

    return run


# --- frames in and out


@on_loop
async def test_frames_come_by_callback_and_writes_go_out_at_once() -> None:
    bench = Bench()
    bench.comes("one", b"\x02", "three")
    assert bench.owner.heard == ["one", b"\x02", "three"]
    bench.socket.send("four")
    bench.socket.send(b"\x05")
    assert bench.socket.outbox_bytes == len(bench.transport.waiting) == 6 + 3
    assert bench.went() == ["four", b"\x05"]
    bench.socket.send("six", b"\x07", "x" * 200)
    assert bench.went() == ["six", b"\x07", "x" * 200]
    bench.drop()
    assert bench.socket.outbox_bytes == 0


@pytest.mark.parametrize("server", [True, False])
@given(
    frames=st.lists(
        st.one_of(
            st.sampled_from((2, 125, 126, 300, 4_096, 4_097)).map(lambda size: "x" * size),
            st.just("\N{BELL SYMBOL}" * 100),
            st.just(b"y" * 200),
        ),
        max_size=4,
    ),
    broken=st.tuples(st.integers(0, 700), st.sampled_from((0, 0, 0, 0x01, 0x80, 0xFF))),
    whole_reads=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_a_socket_hears_what_its_codec_reads(
    server: bool, frames: list[Message], broken: tuple[int, int], whole_reads: bool
) -> None:
    """Most reads are one whole frame and are taken by a way of their own: not to be seen from outside."""

    async def main() -> None:
        bench = Bench(server=server)
        codec = FrameCodec(server=server, max_size_bytes=TIGHT.max_size_bytes)
        raw = [bytearray(bench.peer.encode(frame)) for frame in frames]
        at, flip = broken
        if raw and at < len(raw[-1]):
            raw[-1][at] ^= flip
        reads = [bytes(one) for one in raw] if whole_reads else [b"".join(raw)]
        expected: list[Message] = []
        for data in reads:
            expected += codec.receive(data)
            bench.socket.data_received(data)
        assert bench.owner.heard == expected
        assert bench.socket.ended == codec.ended
        assert [code for code, _ in bench.owner.ends] == [codec.close_code] * codec.ended
        bench.drop()

    asyncio.run(main())


@on_loop
async def test_what_comes_before_the_owner_is_kept_in_order() -> None:
    bench = Bench(started=False)
    whole = bench.peer.encode("early") + bench.peer.encode("late and in halves")
    bench.socket.data_received(whole[:-4])
    bench.socket.start(bench.owner.frame, bench.owner.closed)
    assert bench.owner.heard == ["early"]
    bench.socket.data_received(whole[-4:])
    assert bench.owner.heard == ["early", "late and in halves"]
    bench.drop()


@on_loop
async def test_an_end_before_the_owner_is_kept_too() -> None:
    bench = Bench(started=False)
    bench.comes("last words")
    bench.socket.data_received(bench.peer.encode_close(1001, "going"))
    bench.drop()
    assert bench.owner.ends == []
    bench.socket.start(bench.owner.frame, bench.owner.closed)
    assert bench.owner.heard == ["last words"]
    assert bench.owner.ends == [(1001, "going")]


@on_loop
async def test_a_peer_that_floods_a_socket_without_owner_is_made_to_wait() -> None:
    bench = Bench(started=False, limits=UPSTREAM_LIMITS)
    bench.comes("x" * 600_000)
    assert bench.transport.calls == []
    bench.comes("y" * 600_000)
    assert bench.transport.calls == ["pause_reading"]
    for _ in range(60):
        bench.socket.on_second()  # our own silence is no sign of death
    assert bench.transport.calls == ["pause_reading"]
    bench.socket.start(bench.owner.frame, bench.owner.closed)
    assert [len(frame) for frame in bench.owner.heard] == [600_000, 600_000]
    assert bench.transport.calls == ["pause_reading", "resume_reading"]
    bench.drop()


@on_loop
async def test_a_socket_is_handed_on_from_within_a_callback() -> None:
    bench = Bench(started=False)
    second = Owner()

    def first(frame: Message) -> None:
        bench.owner.frame(frame)
        bench.socket.start(second.frame, second.closed)

    bench.socket.start(first, bench.owner.closed)
    bench.comes("start", "media", "media")
    bench.socket.data_received(bench.peer.encode_close(1000))
    bench.drop()
    assert bench.owner.heard == ["start"]
    assert second.heard == ["media", "media"]
    assert (bench.owner.ends, second.ends) == ([], [(1000, "")])


@on_loop
async def test_pings_are_answered_before_what_came_with_them() -> None:
    bench = Bench()
    bench.socket.data_received(bench.peer.encode_ping() + bench.peer.encode("hello"))
    assert bench.transport.waiting == b"\x8a\x00"
    bench.drop()


# --- much at once

MANY = [f"frame {number}" for number in range(5_000)]


@on_loop
async def test_a_turn_of_the_loop_takes_some_frames_and_the_rest_have_one_of_their_own() -> None:
    """A network that stalled delivers thousands at once: none is lost, nothing is closed."""
    bench = Bench(limits=UPSTREAM_LIMITS)
    bench.comes(*MANY)
    assert bench.owner.heard == MANY[:64]
    assert bench.transport.calls == ["pause_reading"]
    await asyncio.sleep(0)
    assert len(bench.owner.heard) == 128
    await until(lambda: len(bench.owner.heard) == len(MANY))
    assert bench.owner.heard == MANY
    assert bench.owner.ends == []
    await asyncio.sleep(0)
    assert bench.transport.calls == ["pause_reading", "resume_reading"]
    bench.comes("the usual way again")
    assert bench.owner.heard[-1] == "the usual way again"
    bench.drop()


@on_loop
async def test_an_owner_that_takes_its_time_has_fewer_frames_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(streams, "monotonic", lambda: clock[0])
    bench = Bench(started=False, limits=UPSTREAM_LIMITS)
    rounds: list[int] = []

    def slow(frame: Message) -> None:
        bench.owner.frame(frame)
        clock[0] += 0.0009

    bench.socket.start(slow, bench.owner.closed)
    bench.comes(*MANY[:10])
    for _ in range(4):
        rounds.append(len(bench.owner.heard))
        await asyncio.sleep(0)
    assert rounds == [3, 6, 9, 10]
    bench.drop()


@on_loop
async def test_what_waits_is_heard_before_what_comes_later_and_the_end_is_told_last() -> None:
    bench = Bench(limits=UPSTREAM_LIMITS)
    bench.comes(*MANY[:100])
    bench.comes(*MANY[100:150])  # a transport that does not pause at once
    bench.socket.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    assert bench.owner.ends == []
    await bench.socket.released()
    assert bench.owner.heard == MANY[:150]
    assert bench.owner.ends == [(1006, "[Errno 104] Connection reset by peer")]
    bench.drop()


@on_loop
async def test_a_close_frame_behind_much_else_is_read_in_its_turn() -> None:
    bench = Bench(limits=UPSTREAM_LIMITS)
    raw = b"".join(bench.peer.encode(frame) for frame in MANY[:100])
    bench.socket.data_received(raw + bench.peer.encode_close(1001, "going") + raw)
    assert bench.owner.ends == []
    await until(lambda: bench.owner.ends != [])
    assert bench.owner.heard == MANY[:100]
    assert bench.owner.ends == [(1001, "going")]
    bench.drop()


@on_loop
async def test_an_owner_that_closes_in_the_middle_of_much_hears_no_more_and_the_peers_answer_counts() -> None:
    bench = Bench(started=False, limits=UPSTREAM_LIMITS)

    def once(frame: Message) -> None:
        bench.owner.frame(frame)
        bench.socket.close(1000, "enough")

    bench.socket.start(once, bench.owner.closed)
    raw = b"".join(bench.peer.encode(frame) for frame in MANY[:200])
    bench.socket.data_received(raw + bench.peer.encode_close(1000, "yes"))
    await until(lambda: bench.owner.ends != [])
    assert bench.owner.heard == MANY[:1]
    assert bench.owner.ends == [(1000, "yes")]
    bench.drop()


@on_loop
async def test_we_give_up_in_the_middle_of_much_and_the_rest_is_forgotten() -> None:
    bench = Bench(started=False)
    bench.socket.start(lambda _frame: bench.socket.send("x" * 900), bench.owner.closed)
    bench.comes(*MANY[:100])
    await asyncio.sleep(0)
    assert bench.socket.unread_bytes == 0
    await asyncio.sleep(0)
    assert bench.owner.ends == [(1006, "outbox full")]
    assert bench.socket.gave_up
    bench.drop()


@on_loop
async def test_a_read_that_may_not_be_the_last_of_this_turn_is() -> None:
    """libuv would read on at once, 32 times."""
    bench = Bench(server=False, limits=UPSTREAM_LIMITS)
    bench.comes("x" * 100_000)
    assert bench.transport.calls == ["pause_reading"]
    await asyncio.sleep(0)
    assert bench.transport.calls == ["pause_reading", "resume_reading"]
    bench.drop()


@on_loop
async def test_pings_without_end_are_answered_in_a_few_writes() -> None:
    bench = Bench(limits=UPSTREAM_LIMITS)
    pings = bench.peer.encode_ping() * 640
    bench.socket.data_received(pings)
    assert bench.transport.waiting == b"\x8a\x00" * 64
    for _ in range(10):
        await asyncio.sleep(0)
    assert bench.transport.waiting == b"\x8a\x00" * 640
    bench.drop()


@pytest.mark.parametrize("kind", ["ping", "pong", "ping of 125 bytes"])
async def test_control_frames_without_end_close_the_leg_and_say_why(kind: str) -> None:
    payload = b"x" * 125 if "125" in kind else b""

    bench = Bench(limits=UPSTREAM_LIMITS)
    flood = bench.peer._frame(0xA if kind == "pong" else 0x9, payload) * 201
    for second in range(5):
        assert bench.owner.ends == [], second
        bench.comes("sound")
        bench.socket.data_received(flood)
        for _ in range(5):
            await asyncio.sleep(0)
        bench.transport.drain()
        bench.socket.on_second()
    why = "over 200 control frames a second for 5 s"
    assert bench.owner.ends == [(1008, why)]
    assert bench.owner.heard == ["sound"] * 5
    assert bench.went() == []
    assert (bench.peer.close_code, bench.peer.close_reason) == (1008, why)
    assert bench.socket.gave_up
    bench.drop()


@on_loop
async def test_control_frames_for_four_seconds_or_as_many_as_allowed_close_nothing() -> None:
    bench = Bench(limits=UPSTREAM_LIMITS)
    for flood in (201, 201, 201, 201, 200, 201, 201, 201, 201, 0):
        bench.socket.data_received(bench.peer.encode_ping() * flood)
        for _ in range(5):
            await asyncio.sleep(0)
        bench.socket.on_second()
    assert bench.owner.ends == []
    bench.drop()


@on_loop
async def test_a_message_of_sixty_thousand_pieces_is_a_message() -> None:
    bench = Bench(limits=UPSTREAM_LIMITS)
    first, piece, last = (bench.peer._frame(opcode, b"x") for opcode in (1, 0, 0))
    stream = bytes([first[0] & 0x7F]) + first[1:] + (bytes([piece[0] & 0x7F]) + piece[1:]) * 60_000 + last
    bench.socket.data_received(stream)
    await until(lambda: not bench.socket.unread_bytes)
    assert bench.owner.heard == ["x" * 60_002]
    bench.drop()


# --- before the peer is trusted


def pieces(opcode: int, number: int, payload: bytes = b"") -> bytes:
    """Masked frames of one kind; data frames are the pieces of a message without end."""
    peer = FrameCodec(server=False, max_size_bytes=1 << 20)
    if opcode >= 8:
        return peer._frame(opcode, payload) * number
    first, more = peer._frame(1, payload), peer._frame(0, payload)
    return bytes([first[0] & 0x7F]) + first[1:] + (bytes([more[0] & 0x7F]) + more[1:]) * (number - 1)


@pytest.mark.parametrize("opcode", [0x0, 0x9, 0xA], ids=["empty fragments", "pings", "pongs"])
@pytest.mark.parametrize(
    ("reads", "why"),
    [
        ([51], "more than 50 frames in one read before it was let in"),
        ([50, 50, 50, 50, 1], "more than 200 frames before it was let in"),
    ],
    ids=["in one read", "in five"],
)
async def test_frames_of_every_kind_are_counted_until_the_peer_is_let_in(
    opcode: int, reads: list[int], why: str
) -> None:
    bench = Bench(started=False)
    bench.socket.start(bench.owner.frame, bench.owner.closed, Quota(200, 65_536, 50))
    stream = pieces(opcode, sum(reads))
    each = len(stream) // sum(reads)
    for number in reads[:-1]:
        bench.socket.data_received(stream[: number * each])
        stream = stream[number * each :]
        bench.went()
        assert bench.owner.ends == []
    bench.socket.data_received(stream)
    assert bench.owner.ends == [(1008, why)]
    assert bench.went() == []
    assert bench.peer.close_code == 1008
    assert bench.socket.gave_up
    bench.drop()


@on_loop
async def test_bytes_are_counted_until_the_peer_is_let_in_whole_frames_or_not() -> None:
    for last in (1_200, 3_000):  # a frame too many, the beginning of one
        bench = Bench(started=False)
        bench.socket.start(bench.owner.frame, bench.owner.closed, Quota(200, 10_000, 50))
        for _ in range(8):
            bench.comes("x" * 1_100)
        assert bench.owner.ends == []
        bench.socket.data_received(bench.peer.encode("x" * last)[:1_200])
        assert bench.owner.ends == [(1008, "too many bytes before it was let in")]
        assert len(bench.owner.heard) == 8
        bench.drop()


@on_loop
async def test_who_is_handed_on_without_a_quota_has_none() -> None:
    """What comes behind the frame that decides waits, and counts for nothing."""
    bench = Bench(started=False)

    def decides(frame: Message) -> None:
        bench.owner.frame(frame)
        if frame == "start":
            bench.socket.hold()

    bench.socket.start(decides, bench.owner.closed, Quota(3, 1_000, 3))
    bench.comes("connected", "start", *MANY[:300])
    await asyncio.sleep(0.01)
    bench.comes(*MANY[300:400])
    assert bench.owner.heard == ["connected", "start"]
    assert bench.owner.ends == []
    second = Owner()
    bench.socket.start(second.frame, second.closed)
    await until(lambda: not bench.socket.unread_bytes)
    assert second.heard == MANY[:400]
    bench.comes("the usual way")
    assert second.heard[-1] == "the usual way"
    bench.drop()
    assert (bench.owner.ends, len(second.ends)) == ([], 1)


@on_loop
async def test_a_socket_on_hold_takes_a_mebibyte_and_makes_its_peer_wait() -> None:
    """Empty frames count, too: what waits is counted as it came."""
    bench = Bench(started=False, limits=UPSTREAM_LIMITS)
    bench.socket.data_received(pieces(0, 100_000))
    assert bench.transport.calls == []
    bench.socket.data_received(pieces(0, 100_000))
    assert bench.transport.calls == ["pause_reading"]
    assert bench.socket.unread_bytes == 1_200_000
    bench.socket.connection_lost(None)
    await bench.socket.released()
    bench.drop()


# --- the end


@on_loop
async def test_the_peer_closes_a_server_answers_and_closes_the_connection() -> None:
    bench = Bench()
    bench.socket.data_received(bench.peer.encode("bye") + bench.peer.encode_close(1000, "done"))
    assert bench.owner.heard == ["bye"]
    assert bench.owner.ends == [(1000, "done")]
    assert bench.transport.calls == ["close"]
    assert bench.transport.waiting == b"\x88\x06\x03\xe8done"
    bench.socket.send("too late")
    bench.socket.close()
    assert bench.transport.waiting == b"\x88\x06\x03\xe8done"
    bench.drop()
    assert bench.owner.ends == [(1000, "done")]


@on_loop
async def test_the_peer_closes_a_client_answers_and_waits_for_the_server_but_not_long() -> None:
    bench = Bench(server=False)
    bench.socket.data_received(bench.peer.encode_close(1001, "restart"))
    assert bench.owner.ends == [(1001, "restart")]
    assert bench.went() == []
    assert bench.peer.close_code == 1001
    assert bench.transport.calls == []
    await asyncio.sleep(0.1)
    assert bench.transport.calls == ["abort"]
    await bench.settle()
    assert bench.owner.ends == [(1001, "restart")]


@pytest.mark.parametrize("server", [True, False])
async def test_we_close_and_the_peer_answers(server: bool) -> None:
    bench = Bench(server=server)
    bench.socket.send("goodbye")
    bench.socket.close(1000, "over")
    bench.socket.close(1011, "a second time is no matter")
    assert bench.went() == ["goodbye"]
    assert (bench.peer.close_code, bench.peer.close_reason) == (1000, "over")
    bench.comes("a frame that was on its way")
    assert bench.owner.ends == []
    bench.socket.data_received(bench.peer.farewell)
    assert bench.owner.ends == [(1000, "over")]
    assert bench.owner.heard == []
    assert bench.transport.calls == (["close"] if server else [])
    bench.drop()
    assert len(bench.owner.ends) == 1


@on_loop
async def test_we_close_and_the_peer_is_dead() -> None:
    bench = Bench()
    bench.socket.close()
    await asyncio.sleep(0.1)
    assert bench.owner.ends == [(1006, "the close handshake timed out")]
    assert bench.transport.calls == ["abort"]
    bench.drop()


@on_loop
async def test_the_peer_leaves_without_a_word() -> None:
    bench = Bench()
    assert bench.socket.eof_received() is None  # type: ignore[func-returns-value]
    bench.socket.send("into the void")
    assert bench.transport.waiting == b""
    bench.drop()
    assert bench.owner.ends == [(1006, "the peer left without a close frame")]


@on_loop
async def test_the_connection_breaks() -> None:
    bench = Bench()
    bench.socket.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    assert bench.owner.ends == [(1006, "[Errno 104] Connection reset by peer")]
    await bench.socket.released()
    bench.drop()


@on_loop
async def test_a_message_too_big_is_refused_and_the_rest_of_it_ignored() -> None:
    bench = Bench()
    stream = bench.peer.encode("fine") + bench.peer.encode("x" * 5000)
    for at in range(0, len(stream), 1000):
        bench.socket.data_received(stream[at : at + 1000])
    assert bench.owner.heard == ["fine"]
    assert bench.owner.ends == [(1009, "message over 4096 bytes")]
    assert bench.went() == []
    assert bench.peer.close_code == 1009
    # Half closed, not closed: unread bytes would turn a close into a reset, and lose the close frame.
    assert bench.transport.calls == ["write_eof"]
    await asyncio.sleep(0.1)
    assert bench.transport.calls == ["write_eof", "abort"]
    bench.drop()


@pytest.mark.parametrize("code", [1005, 1006, 1015, 999])
async def test_a_code_that_cannot_be_sent_is_the_owners_mistake(code: int) -> None:
    bench = Bench()
    with pytest.raises(ValueError):
        bench.socket.close(code)
    bench.socket.send("still open")
    assert bench.went() == ["still open"]
    bench.drop()


# --- owners that misbehave


@on_loop
async def test_an_owner_that_closes_hears_no_more_of_the_same_read() -> None:
    bench = Bench(started=False)

    def first(frame: Message) -> None:
        bench.owner.frame(frame)
        bench.socket.close(1008, "not you")

    bench.socket.start(first, bench.owner.closed)
    bench.comes("one", "two", "three")
    bench.comes("four")
    assert bench.owner.heard == ["one"]
    bench.drop()


@pytest.mark.parametrize("early", [True, False])
def test_an_owner_that_raises_costs_its_own_socket_only(
    early: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        bench = Bench(started=False)

        def broken(frame: Message) -> None:
            bench.owner.frame(frame)
            raise ZeroDivisionError

        if early:
            bench.comes("one", "two")
        bench.socket.start(broken, bench.owner.closed)
        if not early:
            bench.comes("one", "two")
        bench.comes("three")
        assert bench.owner.heard == ["one"]
        assert bench.owner.ends == [(1011, "internal error")]
        assert bench.went() == []
        assert bench.peer.close_code == 1011
        bench.drop()
        assert bench.owner.ends == [(1011, "internal error")]

    asyncio.run(main())
    [record] = caplog.records
    assert record.name == "bridge.sockets.stream"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_an_owner_that_raises_at_the_end_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        bench = Bench(started=False)

        def broken(_code: int, _reason: str) -> None:
            raise ZeroDivisionError

        bench.socket.start(bench.owner.frame, broken)
        bench.socket.data_received(bench.peer.encode_close(1000))
        bench.drop()

    asyncio.run(main())
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


# --- back-pressure


@on_loop
async def test_a_write_may_call_back_before_it_returns() -> None:
    bench = Bench()
    bench.socket.send("x" * 100)
    assert bench.transport.paused
    bench.socket.send("y")
    assert bench.went() == ["x" * 100, "y"]
    assert not bench.transport.paused
    bench.drop()


@on_loop
async def test_an_outbox_that_is_full_ends_the_socket_but_not_within_the_call() -> None:
    bench = Bench()
    for _ in range(9):
        bench.socket.send("x" * 98)
    bench.socket.send("x" * 98)
    assert bench.socket.outbox_bytes == 1000
    bench.socket.send("")
    assert bench.transport.calls == ["abort"]
    assert bench.owner.ends == []
    bench.socket.send("nobody takes this")
    bench.comes("nor hears that")
    await asyncio.sleep(0)
    assert bench.owner.ends == [(1006, "outbox full")]
    assert bench.owner.heard == []
    bench.drop()


@on_loop
async def test_one_large_frame_passes_an_empty_outbox() -> None:
    bench = Bench()
    bench.socket.send("x" * 5000)
    assert bench.went() == ["x" * 5000]
    bench.drop()


@on_loop
async def test_pongs_count_too_when_a_peer_pings_and_does_not_read() -> None:
    bench = Bench()
    for _ in range(600):
        bench.socket.data_received(bench.peer.encode_ping())
    assert len(bench.transport.waiting) == 1000
    await bench.settle()
    assert bench.owner.ends == [(1006, "outbox full")]


@on_loop
async def test_an_outbox_without_progress_ends_the_socket() -> None:
    bench = Bench()
    bench.socket.send("x" * 200)
    for _ in range(9):
        bench.comes("the peer still talks")
        bench.socket.on_second()
    assert bench.transport.calls == []
    bench.transport.waiting = bench.transport.waiting[50:]  # it took a little
    for _ in range(10):
        bench.comes("the peer still talks")
        bench.socket.on_second()
    assert bench.transport.calls == []
    bench.comes("and does not read")
    bench.socket.on_second()
    assert bench.transport.calls == ["abort"]
    await bench.settle()
    assert bench.owner.ends == [(1006, "the peer has not read for 10 s")]


# --- keepalive


@on_loop
async def test_an_idle_peer_is_pinged_and_any_byte_proves_it_lives() -> None:
    bench = Bench()
    for _ in range(4):
        bench.socket.on_second()
    assert bench.transport.waiting == b""
    bench.socket.on_second()
    assert bench.transport.drain() == b"\x89\x00"
    bench.socket.on_second()
    bench.socket.on_second()
    bench.socket.data_received(b"\x81")  # not even a whole frame
    for _ in range(4):
        bench.socket.on_second()
    assert bench.transport.waiting == b""
    assert bench.transport.calls == []
    bench.drop()


@on_loop
async def test_a_link_with_traffic_is_never_pinged() -> None:
    bench = Bench()
    for _ in range(60):
        bench.socket.on_second()
        bench.comes("media")
    assert bench.transport.waiting == b""
    bench.drop()


@on_loop
async def test_a_peer_that_says_nothing_to_a_ping_is_dead_after_eight_seconds() -> None:
    bench = Bench(server=False, limits=UPSTREAM_LIMITS)
    for _ in range(7):
        bench.socket.on_second()
    assert bench.transport.calls == []
    bench.socket.on_second()
    assert bench.transport.calls == ["abort"]
    await bench.settle()
    assert bench.owner.ends == [(1006, "keepalive: not a byte for 8 s")]


# --- the kernel


def test_the_kernel_is_bounded_and_accepted_sockets_inherit_it() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted_socket, _ = listening.accept()
        with accepted_socket:
            # The kernel doubles what it is asked for, to have room for its own bookkeeping.
            assert accepted_socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 65_536
            assert accepted_socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * 65_536
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                assert accepted_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


def test_a_socket_that_knows_no_such_bounds_is_left_as_it_is() -> None:
    left, right = socket.socketpair()
    with left, right:
        bound_kernel(left)
