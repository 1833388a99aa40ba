"""Dialling an upstream over loopback: servers that answer, refuse, dawdle, vanish; TLS and proxies."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, basic_auth, serve
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.utils import accept_key

from bridge.sockets.dial import DialError, _Handshake, _refused, dial
from bridge.sockets.frames import FrameCodec
from tests.loops import Census, Owner, Run, both_loops, until


@asynccontextmanager
async def upstream(
    handler: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[str]:
    server: Server
    async with serve(handler, "127.0.0.1", 0, compression=None, **options) as server:
        scheme = "wss" if options.get("ssl") else "ws"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime?model=m"


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def nothing(connection: ServerConnection) -> None:
    await connection.wait_closed()


@both_loops
async def test_a_call_to_a_server_of_another_make() -> None:
    seen: list[Request | None] = []

    async def handler(connection: ServerConnection) -> None:
        seen.append(connection.request)
        await echo(connection)

    async with upstream(handler) as url:
        socket_ = await dial(url, {"Authorization": "Bearer invented"})
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        words = ["short", "µ" * 300, "x" * 100_000, b"\x00\xff"]
        for word in words:
            socket_.send(word)  # type: ignore[arg-type]
        await until(lambda: len(owner.heard) == len(words))
        assert owner.heard == words
        socket_.close(1000, "enough")
        await socket_.released()
        assert owner.ends == [(1000, "enough")]
    [request] = seen
    assert request is not None
    assert request.path == "/v1/realtime?model=m"
    assert request.headers["Authorization"] == "Bearer invented"
    assert "Sec-WebSocket-Extensions" not in request.headers


@both_loops
async def test_the_other_side_closes() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("session.created")
        await connection.close(4001, "session too old")

    async with upstream(handler) as url:
        socket_ = await dial(url, {})
        await asyncio.sleep(0.02)
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        assert owner.heard == ["session.created"]
        assert owner.ends == [(4001, "session too old")]
        await socket_.released()


@both_loops
async def test_nothing_of_the_library_is_left_behind_a_handshake() -> None:
    async with await raw_server(lambda head: [accepted(head)]) as server:
        census = Census("_Connect", "_Handshake", "ClientProtocol", "Assembler")
        gc.disable()
        try:
            socket_ = await dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
            assert census.new() == []
        finally:
            gc.enable()
        assert len(asyncio.all_tasks()) == 2  # this one, and the server's
        socket_.close()
        await socket_.released()


async def raw_server(answer: Callable[[bytes], list[bytes]]) -> asyncio.Server:
    """Sends exactly these writes after the request's head, each in a segment, and leaves when spoken to."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        for piece in answer(head):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        await reader.read(1)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    return await asyncio.start_server(accept, "127.0.0.1", 0)


def accepted(head: bytes) -> bytes:
    [key] = [
        line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    ]
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key.decode()).encode() + b"\r\n\r\n"
    )


@both_loops
@pytest.mark.parametrize("cut", [0, 1, 7, 90, 126, 127, 128, 129, 130, 131, 132, 140, 200])
async def test_frames_in_one_segment_with_the_answer_are_not_lost(cut: int) -> None:
    codec = FrameCodec(server=True, max_size_bytes=1 << 20)
    frames = codec.encode("session.created") + codec.encode("session.updated")

    def answer(head: bytes) -> list[bytes]:
        stream = accepted(head) + frames
        return [stream[:cut], stream[cut:]] if cut else [stream]

    async with await raw_server(answer) as server:
        port = server.sockets[0].getsockname()[1]
        socket_ = await dial(f"ws://127.0.0.1:{port}/", {})
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        await until(lambda: len(owner.heard) == 2)
        assert owner.heard == ["session.created", "session.updated"]
        socket_.close()
        await socket_.released()


@both_loops
async def test_a_frame_of_which_only_half_comes_with_the_answer() -> None:
    codec = FrameCodec(server=True, max_size_bytes=1 << 20)
    frame = codec.encode("x" * 300)

    async with await raw_server(lambda head: [accepted(head) + frame[:100], frame[100:]]) as server:
        socket_ = await dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        await until(lambda: owner.heard == ["x" * 300])
        socket_.close()
        await socket_.released()
        assert owner.ends == [(1006, "the peer left without a close frame")]


@both_loops
async def test_a_server_that_vanishes() -> None:
    async def handler(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with upstream(handler) as url:
        socket_ = await dial(url, {})
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        await socket_.released()
        [(code, reason)] = owner.ends
        assert code == 1006
        assert reason


@both_loops
async def test_a_server_that_stops_reading_costs_a_bounded_outbox() -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(0.2)
        connection.transport.abort()

    async with upstream(deaf) as url:
        socket_ = await dial(url, {})
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        most = 0
        for _ in range(2000):
            socket_.send("x" * 10_000)
            most = max(most, socket_.outbox_bytes)
            await asyncio.sleep(0)
            if owner.ends:
                break
        assert owner.ends == [(1006, "outbox full")]
        assert most <= 1 << 20
        await socket_.released()


# --- dialling in vain


async def failure(url: str, **options: Any) -> DialError:
    with pytest.raises(DialError) as caught:
        await dial(url, {"Authorization": "Bearer invented-secret"}, **options)
    assert "invented-secret" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value


@both_loops
@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (
            401,
            {},
            {"error": {"code": "invalid_api_key", "message": "Incorrect key: sk-shown-in-part"}},
            ("invalid_api_key", "Unauthorized", 401, None),
        ),
        (
            429,
            {"Retry-After": "7"},
            {"error": {"type": "insufficient_quota", "code": None, "message": "You exceeded your quota."}},
            ("insufficient_quota", "You exceeded your quota.", 429, 7.0),
        ),
        (
            503,
            {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"},
            "busy",
            ("refused", "Service Unavailable", 503, 0),
        ),
        (503, {"Retry-After": "soon"}, ["?"], ("refused", "Service Unavailable", 503, None)),
        (200, {}, None, ("refused", "OK", 200, None)),
    ],
)
async def test_an_answer_that_is_no_101(
    status: int, headers: dict[str, str], body: Any, expected: tuple[str, str, int, float | None]
) -> None:
    def refuse(connection: ServerConnection, _request: Request) -> Response:
        response = connection.respond(status, json.dumps(body))
        for name, value in headers.items():
            response.headers[name] = value
        return response

    async with upstream(nothing, process_request=refuse) as url:
        error = await failure(url)
        assert (error.code, error.reason, error.status, error.retry_after_s) == expected


@both_loops
async def test_wrong_credentials() -> None:
    async with upstream(nothing, process_request=basic_auth(credentials=("a", "b"))) as url:
        error = await failure(url)
        assert error.status == 401
        assert str(error) == "Unauthorized (HTTP 401, refused)"


@both_loops
async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = await failure(f"ws://127.0.0.1:{port}/")
    assert (error.code, error.status) == ("unreachable", None)


@both_loops
async def test_a_server_that_accepts_and_says_nothing() -> None:
    async with await raw_server(lambda _head: []) as server:
        error = await failure(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", open_timeout_s=0.05)
        assert (error.code, error.reason) == ("timeout", "no websocket within 0.05 s")


@both_loops
@pytest.mark.parametrize(
    "answer",
    [
        accepted(b"Sec-WebSocket-Key: another\r\n\r\n"),
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_handshake(answer: bytes) -> None:
    async with await raw_server(lambda _head: [answer]) as server:
        error = await failure(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        assert (error.code, error.status) == ("bad_handshake", None)


BEFORE_IT_WAS_ASKED = {
    "an ssh banner": (b"SSH-2.0-OpenSSH_9.2\r\n", ("bad_handshake", None)),
    "a 408": (b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", ("refused", 408)),
    "a 503 with a page": (
        b"HTTP/1.1 503 x\r\nContent-Length: 30000\r\n\r\n" + b"a" * 30_000,
        ("refused", 503),
    ),
    "a key that is refused": (
        b'HTTP/1.1 401 x\r\nContent-Length: 38\r\n\r\n{"error": {"code": "invalid_api_key"}}  ',
        ("invalid_api_key", 401),
    ),
    "a 101": (accepted(b"Sec-WebSocket-Key: another\r\n\r\n"), ("bad_handshake", None)),
    "binary": (bytes(range(256)) * 200, ("bad_handshake", None)),
    "a page too large": (
        b"HTTP/1.1 500 x\r\nContent-Length: 2000000000\r\n\r\n" + b"a" * (2 << 20),
        ("bad_handshake", None),
    ),
    "half of a line": (b"HTTP/1.1 50", ("timeout", None)),
    "nothing": (b"", ("timeout", None)),
}


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
@pytest.mark.parametrize("said", BEFORE_IT_WAS_ASKED)
def test_a_peer_that_speaks_before_it_was_asked(
    run: Run, said: str, leaves: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A race, made certain: its words are there when the connection is, and before our request has left."""
    words, expected = BEFORE_IT_WAS_ASKED[said]
    connected = _Handshake.connection_made

    def connected_to_a_talker(self: _Handshake, transport: asyncio.BaseTransport) -> None:
        connected(self, transport)
        for start in range(0, len(words), 65_536):
            self.data_received(words[start : start + 65_536])
        if leaves:
            self.eof_received()

    monkeypatch.setattr(_Handshake, "connection_made", connected_to_a_talker)

    async def main() -> None:
        async with await raw_server(lambda _head: []) as server:
            port = server.sockets[0].getsockname()[1]
            error = await failure(f"ws://127.0.0.1:{port}/", open_timeout_s=0.1)
            assert (error.code, error.status) == (
                ("bad_handshake", None) if leaves and expected[0] == "timeout" else expected
            )

    run(main())
    assert caplog.records == []


@both_loops
async def test_a_peer_that_closes_before_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = _Handshake.connection_made

    def connected_to_nobody(self: _Handshake, transport: asyncio.BaseTransport) -> None:
        connected(self, transport)
        self.transport.abort()

    monkeypatch.setattr(_Handshake, "connection_made", connected_to_nobody)

    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as server:
        error = await failure(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        assert (error.code, error.status) == ("bad_handshake", None)


def test_a_page_without_end_is_not_read_to_its_end(run: Run) -> None:
    async def main() -> None:
        sent = 0

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 500 x\r\nContent-Length: 2000000000\r\n\r\n")
            with suppress(ConnectionError):
                while sent < 2_000_000_000:
                    writer.write(b"a" * 65_536)
                    await writer.drain()
                    sent += 65_536
            writer.close()

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            error = await failure(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            assert (error.code, error.status) == ("bad_handshake", None)
        assert sent < 20_000_000

    run(main())


def test_an_answer_that_breaks_its_reader_is_a_refusal(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of the library's, or of ours, in what reads a peer's bytes costs this attempt alone."""

    def breaks(_self: ClientProtocol, _response: Response) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ClientProtocol, "process_response", breaks)

    async def main() -> None:
        async with await raw_server(lambda head: [accepted(head)]) as server:
            error = await failure(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            assert (error.code, error.status) == ("bad_handshake", None)

    run(main())
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0), ("1.5", 1.5), ("99999", 86_400.0), ("inf", 86_400.0), ("1e400", 86_400.0),
        ("1" * 4_000, 86_400.0), ("-inf", 0.0), ("-5", 0.0), ("nan", None), ("soon", None), ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0), ("Fri, 31 Dec 9999 23:59:59 -2359", 86_400.0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0), ("Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999", None), ("Mon, 99 Jan 2026 99:99:99 GMT", None),
    ],
)  # fmt: skip
def test_any_text_of_a_retry_after_is_a_time_within_a_day_or_none(text: str, seconds: float | None) -> None:
    refusal = _refused(Response(429, "x", Headers({"Retry-After": text})))
    assert (refusal.status, refusal.retry_after_s) == (429, seconds)
    assert DialError("refused", "", 429, float("nan")).retry_after_s is None


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ([("Retry-After", "3"), ("Retry-After", "99")], b"{}", ("refused", 3.0)),
        ([], b"[" * 200_000, ("refused", None)),
        ([], b'{"error":' * 100_000, ("refused", None)),
        ([], b'{"code": ["x"], "type": {"a": 1}}', ("refused", None)),
        ([], b'{"code": 4711}', ("4711", None)),
        ([], b'{"code": "' + b"x" * 500_000 + b'"}', ("x" * 100, None)),
        ([], b"\xff\xfe", ("refused", None)),
    ],
)
def test_a_refusal_that_is_made_to_break_its_reader(
    headers: list[tuple[str, str]], body: bytes, expected: tuple[str, float | None]
) -> None:
    refusal = _refused(Response(503, "x", Headers(headers), body))
    assert (refusal.code, refusal.retry_after_s) == expected


@both_loops
@pytest.mark.parametrize("where", ["http://[::1", "wss://", "nonsense://x", "//[", "\x00"])
async def test_a_redirect_to_no_address_is_a_refusal_and_not_a_wrong_setting(where: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
    async with await raw_server(lambda _head: [answer.encode()]) as server:
        error = await failure(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        assert error.code != "bad_url"


@both_loops
@pytest.mark.parametrize("url", ["http://127.0.0.1/", "nonsense", "ws://", "ws://127.0.0.1:99999/"])
async def test_an_address_that_is_none(url: str) -> None:
    assert (await failure(url)).code in ("bad_url", "unreachable")


@both_loops
@pytest.mark.parametrize(("redirects", "dials", "reached"), [(1, 2, True), (2, 2, False), (99, 2, False)])
async def test_one_redirect_is_followed(redirects: int, dials: int, reached: bool) -> None:
    """Its target may be the same address again; a call would dial ten times for each of its attempts."""

    asked: list[str] = []

    def redirect(connection: ServerConnection, request: Request) -> Response | None:
        asked.append(request.path)
        if len(asked) > redirects:
            return None
        response = connection.respond(302, "")
        response.headers["Location"] = "/there"
        return response

    async with upstream(nothing, process_request=redirect) as url:
        if reached:
            (await dial(url, {})).close()
        else:
            assert (await failure(url)).status == 302
    assert len(asked) == dials


@both_loops
async def test_a_redirect_does_not_carry_our_headers_to_another_origin() -> None:
    called: list[str] = []

    async def stranger(connection: ServerConnection) -> None:
        called.append("here")
        await nothing(connection)

    async with upstream(stranger) as elsewhere:

        def redirect(connection: ServerConnection, _request: Request) -> Response:
            response = connection.respond(302, "")
            response.headers["Location"] = elsewhere
            return response

        async with upstream(nothing, process_request=redirect) as url:
            assert (await failure(url)).status == 302
    assert called == []


@both_loops
async def test_a_dial_that_is_cancelled_leaves_nothing() -> None:
    async with await raw_server(lambda _head: []) as server:
        task = asyncio.create_task(dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.02)


# --- TLS and proxies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, made on the spot."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    where = ["-keyout", str(path), "-out", f"{path}.crt", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *made.split(), *where], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@asynccontextmanager
async def connect_proxy(seen: list[bytes]) -> AsyncIterator[str]:
    """An HTTP proxy that knows CONNECT."""

    async def splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.split(b"\r\n")[0])
        host, _, port = head.split()[1].decode().rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(
            splice(reader, there_writer), splice(there_reader, writer), return_exceptions=True
        )

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.sleep(0.02)


@both_loops
@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("secure", [False, True])
async def test_the_same_call_over_tls_and_through_a_proxy(
    request: pytest.FixtureRequest, secure: bool, proxied: bool
) -> None:
    certificate: Path | None = request.getfixturevalue("certificate") if secure else None
    trust = ssl.create_default_context(cafile=str(certificate)) if certificate else None

    seen: list[bytes] = []
    options = {"ssl": server_tls(certificate)} if certificate else {}
    async with upstream(echo, **options) as url, connect_proxy(seen) as proxy:
        socket_ = await dial(url, {}, ssl=trust, proxy=proxy if proxied else None)
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        socket_.send("over")
        socket_.send("x" * 200_000)
        await until(lambda: len(owner.heard) == 2)
        socket_.close(1000, "and out")
        await socket_.released()
        assert owner.ends == [(1000, "and out")]
    assert len(seen) == proxied


@both_loops
async def test_a_certificate_nobody_vouches_for(certificate: Path) -> None:
    async with upstream(nothing, ssl=server_tls(certificate)) as url:
        assert (await failure(url)).code == "tls"


@both_loops
async def test_a_peer_that_vanishes_over_tls_is_freed_in_time(certificate: Path) -> None:
    trust = ssl.create_default_context(cafile=str(certificate))

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await freed.wait()
        connection.transport.abort()

    freed = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with upstream(deaf, ssl=server_tls(certificate)) as url:
        socket_ = await dial(url, {}, ssl=trust)
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        for _ in range(9):
            socket_.send("x" * 100_000)
        began = loop.time()
        socket_.close()
        await socket_.released()
        assert owner.ends == [(1006, "the close handshake timed out")]
        assert 0.4 < loop.time() - began < 1.0
        freed.set()


@both_loops
async def test_a_proxy_that_refuses() -> None:
    async with await raw_server(lambda _head: [b"HTTP/1.1 407 Who Are You\r\n\r\n"]) as server:
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await failure("ws://127.0.0.1:9/", proxy=proxy)).code == "proxy"
    error = await failure("ws://127.0.0.1:9/", proxy="gopher://user:invented-secret@127.0.0.1")
    assert error.code == "proxy"


@both_loops
async def test_messages_survive_their_slicing_by_the_network() -> None:
    codec = FrameCodec(server=True, max_size_bytes=1 << 20)
    words = ["a" * size for size in (1, 125, 126, 300, 70_000)]
    stream = b"".join(codec.encode(word) for word in words)
    pieces = [stream[at : at + 9000] for at in range(0, len(stream), 9000)]

    async with await raw_server(lambda head: [accepted(head), *pieces]) as server:
        socket_ = await dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
        owner = Owner()
        socket_.start(owner.frame, owner.closed)
        await until(lambda: len(owner.heard) == len(words))
        assert owner.heard == words
        socket_.close()
        await socket_.released()
