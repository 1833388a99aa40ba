"""Connections that change processes, here within one: through the door of another server."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from bridge.server.workers.supervisor import Supervisor
from bridge.sockets import passing
from bridge.sockets.passing import Door
from bridge.sockets.uvicorn import UVICORN_PROTOCOLS

pytestmark = pytest.mark.runs_with(function=asyncio.run)


class Elsewhere:
    """Everything belongs behind that door."""

    def __init__(self, door: str) -> None:
        self.door = door
        self.asked: list[tuple[bytes, bytes]] = []

    def door_of(self, head: bytes, body: bytes) -> str | None:
        self.asked.append((head, body))
        return self.door


@asynccontextmanager
async def two_servers(folder: Path) -> AsyncIterator[tuple[int, Elsewhere]]:
    """The port of one that passes everything on to another, which passes everything back."""

    def application(name: str) -> Callable[[Any, Any, Any], Awaitable[None]]:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            body = (await receive())["body"]
            said = f"{name} {scope['method']} {scope['path']} {scope['client'][1]} {body.decode()}".encode()
            length = (b"content-length", str(len(said)).encode())
            await send({"type": "http.response.start", "status": 200, "headers": [length]})
            await send({"type": "http.response.body", "body": said})

        return answer

    servers, ports = [], []
    for name in ("one", "other"):
        config = uvicorn.Config(application(name), **UVICORN_PROTOCOLS, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        ports.append(listener.getsockname()[1])
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        servers.append(server)
    one, other = servers
    elsewhere = Elsewhere(str(folder / "other"))
    vars(one.server_state)["passing"] = elsewhere
    vars(other.server_state)["passing"] = Elsewhere(str(folder / "one"))
    tasks = set()

    async def adopt(came: socket.socket, read: bytes) -> None:
        kind: Any = other.config.http_protocol_class
        protocol = kind(config=other.config, server_state=other.server_state, app_state={})
        protocol.passed = read
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, came)

    door = Door(elsewhere.door, lambda came, read: tasks.add(asyncio.ensure_future(adopt(came, read))))
    try:
        yield ports[0], elsewhere
    finally:
        door.close()
        for server in servers:
            await server.shutdown()


async def test_a_connection_is_passed_on_once_with_all_that_was_read(tmp_path: Path) -> None:
    """Requests with and without a body, in one piece and in several, one after the other on a connection. The
    peer is the same, and no descriptor stays behind."""
    async with two_servers(tmp_path) as (port, elsewhere):
        before = len(os.listdir("/dev/fd"))  # noqa: PTH208
        for number in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            mine = writer.get_extra_info("sockname")[1]
            writer.write(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b" ")).split(b"\r\n")[0].startswith(b"HTTP/1.1")
            assert await answered(reader) == f"other GET /first {mine} "
            form = f"CallSid=CA{number}".encode()
            head = b"POST /second HTTP/1.1\r\nHost: x\r\ncontent-length: %d\r\n\r\n" % len(form)
            for piece in (head[:20], head[20:] + form[:3], form[3:]):
                writer.write(piece)
                await asyncio.sleep(0.01)
            assert await answered(reader) == f"other POST /second {mine} {form.decode()}"
            writer.close()
        assert len(elsewhere.asked) == 5, "what was passed on stays there"
        await asyncio.sleep(0.05)
        assert len(os.listdir("/dev/fd")) <= before + 1  # noqa: PTH208


async def answered(reader: asyncio.StreamReader) -> str:
    """The body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return (await reader.readexactly(int(length.split(b":")[1]))).decode()


async def test_a_door_that_is_gone_leaves_the_connection_where_it_is(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (port, elsewhere):
        elsewhere.door = str(tmp_path / "nowhere")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 2\r\n\r\nhi")
        assert (await answered(reader)).startswith("one POST / ")
        writer.close()


def no_more(*_args: Any) -> Any:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_without_a_descriptor_for_the_way_a_connection_is_served_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_servers(tmp_path) as (port, _elsewhere):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        monkeypatch.setattr(passing, "socket", SimpleNamespace(**{**vars(socket), "socket": no_more}))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 2\r\n\r\nhi")
        assert (await answered(reader)).startswith("one POST / ")
        writer.close()


async def test_without_a_descriptor_a_door_waits_and_does_not_spin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "AGAIN_S", 0.05)
    door, tries = Door(str(tmp_path / "full"), lambda _came, _read: None), 0
    listener: Any = door._listener

    def accept() -> Any:
        nonlocal tries
        tries += 1
        return no_more() if tries < 3 else listener.accept()

    stub: Any = SimpleNamespace(accept=accept, fileno=listener.fileno, close=listener.close)
    door._listener = stub
    with socket.socket(socket.AF_UNIX) as way:
        way.setblocking(False)
        way.connect(str(tmp_path / "full"))
        await asyncio.sleep(0.02)
        assert tries == 1
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(way, 1), 1) == b"a"
    assert tries == 4, "and once more, for there may be others"
    door.close()


async def test_what_a_sibling_that_stands_still_does_not_take_is_served_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With upgrades, and with what had come behind a request. The peer sees the end of its connection, and
    nothing is left at the door when the sibling wakes up."""
    monkeypatch.setattr(passing, "AWAKE_S", 0.1)
    taken: list[bytes] = []
    awake, opened, over = threading.Event(), threading.Event(), threading.Event()

    async def stand_still() -> None:
        door = Door(str(tmp_path / "still"), lambda _came, read: taken.append(read))
        opened.set()
        awake.wait(10)  # no turn of the loop until then
        await asyncio.sleep(0.1)
        door.close()
        over.set()

    sibling = threading.Thread(target=asyncio.run, args=(stand_still(),))
    sibling.start()
    opened.wait(10)
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    async with two_servers(tmp_path) as (port, elsewhere):
        elsewhere.door = str(tmp_path / "still")
        for request in (
            b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 2\r\n\r\nhi",
            b"GET / HTTP/1.1\r\nHost: x\r\nupgrade: nothing\r\nconnection: upgrade\r\n\r\n",
            b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            for _ in range(request.count(b"HTTP")):
                assert (await answered(reader)).startswith(f"one {request[:4].decode().strip()} /")
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 1) == b""
            writer.close()
        awake.set()
        await asyncio.to_thread(over.wait, 10)
    sibling.join()
    assert taken == []
    assert len(os.listdir("/dev/fd")) <= before  # noqa: PTH208


async def test_a_sibling_that_dies_with_a_connection_on_its_way_leaves_it_here(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (port, elsewhere):
        elsewhere.door = str(tmp_path / "dying")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(elsewhere.door)
            listener.listen()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.05)
        assert (await asyncio.wait_for(answered(reader), 0.4)).startswith("one GET / ")
        writer.close()


def test_only_its_owner_may_enter() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        folder = Supervisor(2, listener, drain_s=1).folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()
