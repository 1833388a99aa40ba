"""What a stranger may send, in bytes and in seconds, before anything is made of it. In virtual time."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from typing import Any

import pytest

from bridge.sockets.http_protocol import (
    BODY_BYTES,
    CHUNKS,
    HEAD_S,
    IDLE_S,
    LINGER_S,
    UNREAD_S,
    BoundedHttpProtocol,
)
from bridge.sockets.request_head import HEAD_BYTES, HEADER_LINES
from tests.agents.virtual_time import run
from tests.http_wire import Site, answering_after, settled, statuses

pytestmark = pytest.mark.runs_with(function=run)

GET = b"GET /there?is=more HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /media-stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def post(body: bytes, *lines: bytes, length: int | None = None) -> bytes:
    head = [
        b"POST /hook HTTP/1.1",
        b"Host: x",
        b"Content-Length: %d" % (len(body) if length is None else length),
    ]
    return b"\r\n".join([*head, *lines]) + b"\r\n\r\n" + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def head_of(size: int, line: int = 1_000) -> bytes:
    """A head of that many bytes."""
    lines = [b"GET / HTTP/1.1", b"Host: x"]
    left = size - sum(len(given) + 2 for given in lines) - 2
    while left > 0:
        length = left if left <= line + 10 else line
        lines.append(b"X: " + b"a" * (length - 5))
        left -= length
    return b"\r\n".join(lines) + b"\r\n\r\n"


def lines(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * count + b"\r\n"


PIPELINED = GET * 3
HEADS: dict[str, tuple[bytes, list[int]]] = {
    "a plain request": (GET, [200]),
    "an empty line before it": (b"\r\n" + GET, [200]),
    "a head of 16 KiB": (head_of(HEAD_BYTES), [200]),
    "a head of a byte more": (head_of(HEAD_BYTES + 1), [431]),
    "a header without end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, [431]),
    "a URL without end": (b"GET /" + b"a" * 40_000, [414]),
    "a hundred lines": (lines(HEADER_LINES), [200]),
    "a line more": (lines(HEADER_LINES + 1), [431]),
    "lines without end": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 1_000, [431]),
    "lines that are not at their end": (lines(HEADER_LINES + 2)[:-2], [431]),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500, [400]),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 30, [400]),
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", [400]),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", [400]),
    "no version": (b"GET /\r\n\r\n", [200]),
    "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", [400]),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [400],
    ),
    "a length beyond numbers": (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", [400]),
    "a folded header": (b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", [400]),
    "a tunnel": (b"CONNECT there:443 HTTP/1.1\r\nHost: there\r\n\r\n", [400]),
    "one behind another": (PIPELINED, [200, 200, 200]),
    "three and a half": (PIPELINED + GET[:20], [200, 200, 200]),
    "a wrong one behind a right one": (GET + b"\x00\x01", [200, 400]),
    "HEAD": (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    "a body of 64 KiB": (post(b"a" * BODY_BYTES), [200]),
    "a byte more": (post(b"", length=BODY_BYTES + 1), [413]),
    "chunks": (chunked(b"abc", b"d"), [200]),
    "chunks of 64 KiB": (chunked(*[b"a" * 1_024] * 64), [200]),
    "chunks of a byte more": (chunked(*[b"a" * 1_024] * 64, b"b"), [413]),
    "chunks without end": (chunked(b"a" * 60_000, b"a" * 60_000, end=b""), [413]),
    "a thousand chunks": (chunked(*[b"a"] * (CHUNKS - 1)), [200]),
    "tiny chunks": (chunked(*[b"a"] * 20_000), [413]),
    "a chunk with an extension without end": (chunked(b"a")[:-5] + b"1;x=" + b"y" * 90_000, [413]),
    "a chunk's size without end": (chunked(b"a")[:-5] + b"0" * 90_000, [413]),
    "trailers without end": (chunked(b"a", end=b"0\r\n" + b"X: a\r\n" * 20_000), [413]),
    "a chunk that is none": (chunked(b"a", end=b"x\r\n"), [400]),
    "something behind a body": (post(b"abc") + GET, [200]),
    "something behind chunks": (chunked(b"abc") + GET, [200]),
    "an upgrade that the application refuses": (UPGRADE, [403]),
    "an upgrade without a key": (UPGRADE.replace(b"Sec-WebSocket-Key", b"X"), [400]),
    "an upgrade by POST": (UPGRADE.replace(b"GET", b"POST"), [405]),
    "an upgrade with a long header": (UPGRADE[:-2] + b"X: " + b"a" * 9_000 + b"\r\n\r\n", [400]),
    "an upgrade to something else": (
        post(b"abc", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"),
        [200],
    ),
}  # fmt: skip


@pytest.mark.parametrize("sent", HEADS)
async def test_what_is_sent_and_what_is_answered(sent: str) -> None:
    """The same in one piece and in many; nothing is left of it, and nothing escapes."""
    data, expected = HEADS[sent]

    site = Site()
    for size in (len(data), 1_460, len(data) // 5, *([1] if len(data) < 1_000 else [])):
        wire = site.connect()
        for start in range(0, len(data), size):
            wire.says(data[start : start + size])
            await settled()
        assert statuses(wire.answered) == expected
        if expected[-1] >= 400:
            assert b"connection: close" in wire.answered.lower()
            assert wire.wrote_eof or not wire.open
            await asyncio.sleep(LINGER_S + 2)
            assert not wire.open
        else:
            wire.abort()
            await settled()
        assert len(site.strangers) == 0
        assert site.state.connections == set()
        assert site.state.tasks == set()


async def test_one_behind_another_is_kept_up_to_a_head_s_size() -> None:
    """More is dropped, and the connection ends with the answer: no request is answered twice or halfway."""

    few, many = HEAD_BYTES // len(GET), HEAD_BYTES // len(GET) + 2
    for count, answers in ((few, few), (many, 1)):
        wire = Site().connect()
        wire.says(GET * count)
        await asyncio.sleep(1)
        assert statuses(wire.answered) == [200] * answers
        assert wire.open is (count == few)


async def test_empty_lines_begin_no_request() -> None:
    site = Site()
    assert statuses(await site.answer(b"\r\n" * 20_000)) == [400]
    wire = site.connect()
    for _ in range(int(HEAD_S) + 2):
        wire.says(b"\r\n")
        await asyncio.sleep(1)
    assert not wire.open


async def test_the_application_sees_whole_requests_only() -> None:
    site = Site()
    wire = site.connect()
    body = post(b"CallSid=CA1")
    for byte in body[:-1]:
        wire.says(bytes([byte]))
        await settled()
    assert (site.asked, site.state.tasks) == ([], set())
    wire.says(body[-1:])
    await settled()
    [(scope, got)] = site.asked
    assert (got, scope["path"], scope["method"]) == (b"CallSid=CA1", "/hook", "POST")
    assert not wire.open


async def test_a_trailer_is_no_header() -> None:
    site = Site()
    await site.answer(chunked(b"abc", end=b"0\r\nX-Twilio-Signature: later\r\n\r\n"))
    [(scope, got)] = site.asked
    assert got == b"abc"
    assert [name for name, _ in scope["headers"]] == [b"host", b"transfer-encoding"]


async def test_who_asks_before_sending_a_body_is_told_to_go_on_unless_it_is_too_large() -> None:
    expect = b"Expect: 100-continue"

    site = Site()
    wire = site.connect()
    wire.says(post(b"", expect, length=3))
    await settled()
    assert wire.answered == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.says(b"abc")
    await settled()
    assert statuses(wire.answered) == [100, 200]
    assert statuses(await site.answer(post(b"abc", expect))) == [200]
    assert statuses(await site.answer(post(b"", expect, length=BODY_BYTES + 1))) == [413]


@pytest.mark.parametrize("seconds", [HEAD_S - 1, HEAD_S + 2])
@pytest.mark.parametrize("sent", [b"", b"POST /hook HT", GET[:-2], UPGRADE[:-20]])
async def test_a_head_has_ten_seconds(sent: bytes, seconds: float) -> None:
    """From the connection on, however steadily it trickles."""

    wire = Site().connect()
    for second in range(int(seconds)):
        wire.says(sent[second : second + 1] if second < len(sent) - 1 else b"")
        await asyncio.sleep(1)
    in_time = seconds < HEAD_S
    assert wire.open is in_time or wire.wrote_eof
    assert statuses(wire.answered) == ([408] if sent and not in_time else [])
    if not in_time:
        await asyncio.sleep(LINGER_S + 2)
        assert not wire.open


async def test_a_body_has_fifteen() -> None:
    site = Site()
    wire = site.connect()
    await asyncio.sleep(5)
    wire.says(post(b"", length=900))
    for _ in range(9):
        await asyncio.sleep(1)
        wire.says(b"a")
    assert wire.answered == b""
    await asyncio.sleep(2.5)
    assert statuses(wire.answered) == [408]
    await asyncio.sleep(LINGER_S + 1)
    assert not wire.open
    assert site.asked == []


async def test_a_connection_is_kept_for_95_seconds_longer_than_any_router_keeps_it() -> None:
    wire = Site().connect()
    for _ in range(2):
        wire.says(GET)
        await asyncio.sleep(IDLE_S - 1)
    assert statuses(wire.answered) == [200, 200]
    assert wire.open
    await asyncio.sleep(2.5)
    assert not wire.open
    assert statuses(wire.answered) == [200, 200]


async def test_the_next_request_of_a_kept_connection_has_ten_seconds_again() -> None:
    site = Site()
    wire = site.connect()
    wire.says(GET)
    await asyncio.sleep(60)
    wire.says(GET[:10])
    await asyncio.sleep(8)
    wire.says(GET[10:])
    await settled()
    assert statuses(wire.answered) == [200, 200]
    wire.says(GET[:10])
    await asyncio.sleep(HEAD_S + 1.5)
    assert statuses(wire.answered) == [200, 200, 408]


async def test_what_nobody_reads_is_given_up() -> None:
    """An answer that is not taken, when it is the last one and when others wait behind it."""

    site = Site()
    last = site.connect()
    last.stuck = True
    last.says(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    behind = site.connect()
    behind.says(GET)
    await settled()
    behind.protocol.pause_writing()
    behind.says(GET)
    await settled()
    assert len(site.strangers) == 2
    await asyncio.sleep(UNREAD_S + 2)
    assert (last.aborted, behind.aborted) == (True, True)
    await settled()
    assert site.state.tasks == set()


async def test_a_peer_that_has_said_all_and_still_reads_is_answered() -> None:
    site = Site()
    wire = site.connect()
    wire.says(GET)
    assert wire.protocol.eof_received()
    await settled()
    assert statuses(wire.answered) == [200]
    assert not wire.open
    assert not site.connect().protocol.eof_received()


async def test_an_answer_is_not_lost_over_what_comes_behind_it() -> None:
    """What comes behind a refusal is read for a while; then it is not even read."""

    wire = Site().connect()
    wire.says(b"GET /" + b"a" * 20_000)
    assert statuses(wire.answered) == [414]
    assert wire.open
    wire.says(b"a" * 50_000)
    assert wire.reading
    wire.says(b"a" * 50_000)
    assert not wire.reading
    await asyncio.sleep(LINGER_S + 1.5)
    assert wire.aborted


async def test_a_shutdown_waits_for_answers_and_for_nothing_else() -> None:
    gate = asyncio.Event()
    site = Site(answering_after(gate))
    wires = [site.connect() for _ in range(4)]
    for wire, said in zip(wires, (b"", GET[:10], post(b"", length=3), GET), strict=True):
        wire.says(said)
    for connection in list(site.state.connections):
        connection.shutdown()
    await settled()
    assert [wire.open for wire in wires] == [False, False, False, True]
    gate.set()
    await settled()
    assert statuses(wires[-1].answered) == [204]
    assert not wires[-1].open


def test_whatever_a_parser_does_the_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def clumsy(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(BoundedHttpProtocol, "_parse_head", clumsy)

    async def main() -> None:
        assert statuses(await Site().answer(GET)) == [400]

    run(main())
    assert [record.message for record in caplog.records if record.exc_info] == ["a request could not be read"]


def test_refusals_are_told_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        site = Site()
        waiting = site.connect()
        for _ in range(50):
            await site.answer(b"\x16\x03\x01")
        waiting.says(GET)
        await asyncio.sleep(12)
        waiting.abort()

    with caplog.at_level(logging.WARNING, logger="bridge.sockets.strangers"):
        run(main())
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == [
        "1 (Bad Request)",
        "49 (Bad Request)",
    ]


async def test_nothing_is_left_of_a_connection_without_the_collector() -> None:
    """However it ends: what waits for the garbage collector is memory that a stranger fills."""
    kinds = (BoundedHttpProtocol.__name__, "RequestResponseCycle", "HttpRequestParser", "Stranger")

    def alive() -> int:
        return sum(type(thing).__name__ in kinds for thing in gc.get_objects())

    site = Site()
    ways = [
        b"",
        GET,
        GET[:10],
        post(b"", length=9),
        post(b"abc"),
        chunked(b"a", end=b"x"),
        HEADS["ssh"][0],
    ]
    for number in range(2):
        gc.collect()
        gc.disable()
        before = alive()
        for way in ways:
            await site.answer(way)
        site.asked.clear()
        await settled()
        if number:  # the first time makes what is kept for ever
            assert alive() == before
        gc.enable()


async def test_random_cuts_change_nothing() -> None:
    chance = random.Random(13)
    data = GET + b"HEAD / HTTP/1.1\r\n\r\n" + GET + chunked(b"abc", b"defg" * 100)

    for _ in range(100):
        site = Site()
        cuts = sorted(chance.sample(range(1, len(data)), 6))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        wire = site.connect()
        for piece in pieces:
            wire.says(piece)
            if chance.random() < 0.5:
                await settled()
        await settled()
        assert statuses(wire.answered) == [200] * 4
        assert [body for _, body in site.asked] == [b"", b"", b"", b"abc" + b"defg" * 100]
