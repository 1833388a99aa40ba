"""Commands from one machine to another, over each way that there is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bridge.server.store.commands import Commands, EmbeddedCommands, NoAnswer
from bridge.server.store.redis_commands import RedisCommands
from bridge.server.store.socket_commands import Exchange, SocketCommands


async def embedded() -> Callable[[], Commands]:
    way = EmbeddedCommands()
    return lambda: way


async def fake() -> Callable[[], Commands]:
    import fakeredis

    server = fakeredis.FakeServer(version=(7, 0))
    return lambda: RedisCommands(lambda _s: fakeredis.FakeAsyncRedis(server=server, protocol=2))


class Line:
    """A supervisor and its workers, whose machines are web-1 and so on. What is said goes through JSON, and
    comes a turn of the loop later.
    """

    def __init__(self, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self.workers: dict[str, SocketCommands] = {}
        self._now_s = now_s
        self._exchange = Exchange(self._tell, self._worker_of)

    def worker(self) -> SocketCommands:
        name = str(len(self.workers) + 1)

        def tell(do: str, **fields: Any) -> None:
            message = json.loads(json.dumps({"do": do, **fields}))
            asyncio.get_running_loop().call_soon(self._exchange.hear, name, message)

        self.workers[name] = SocketCommands(tell, self._now_s)
        return self.workers[name]

    def _tell(self, worker: str, do: str, **fields: Any) -> None:
        message = json.loads(json.dumps({"do": do, **fields}))
        asyncio.get_running_loop().call_soon(self.workers[worker].hear, message)

    def _worker_of(self, machine: str) -> str | None:
        obeying = ((name, way._obeying) for name, way in self.workers.items())
        return next((name for name, obeyed in obeying if obeyed and obeyed[0] == machine), None)


async def on_socket() -> Callable[[], Commands]:
    return Line().worker


WAYS: dict[str, Callable[[], Awaitable[Callable[[], Commands]]]] = {
    "embedded": embedded,
    "socket": on_socket,
    "fakeredis": fake,
}


@contextlib.asynccontextmanager
async def obeying(way: Commands, machine: str, told: list[bytes]) -> AsyncIterator[None]:
    async def answer(command: bytes) -> bytes:
        told.append(command)
        if command == b"slow":
            await asyncio.sleep(30)
        return command.upper()

    task = asyncio.create_task(way.obey(machine, answer))
    await asyncio.sleep(0.05)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await way.close()


@pytest.mark.parametrize("kind", WAYS)
async def test_a_question_has_its_answer(kind: str) -> None:
    opened = await WAYS[kind]()
    told: list[bytes] = []
    asking = opened()
    async with obeying(opened(), "web-1", told):
        assert await asking.ask("web-1", b"one") == b"ONE"
        # Each answer goes to its own question, and a slow command holds nobody up.
        slow = asyncio.create_task(asking.ask("web-1", b"slow", 200))
        said = await asyncio.gather(*(asking.ask("web-1", b"n%d" % number) for number in range(20)))
        assert said == [b"N%d" % number for number in range(20)]
        with pytest.raises(NoAnswer):
            await slow
    assert len(told) == 22
    await asking.close()


@pytest.mark.parametrize("kind", WAYS)
async def test_a_machine_that_is_not_there(kind: str) -> None:
    asking = (await WAYS[kind]())()
    with pytest.raises(NoAnswer):
        await asking.ask("gone", b"one", 100)
    await asking.close()


@pytest.mark.parametrize("kind", WAYS)
async def test_what_is_too_long_is_no_command_and_no_answer(kind: str) -> None:
    opened = await WAYS[kind]()
    asking = opened()
    async with obeying(opened(), "web-1", []):
        with pytest.raises(ValueError, match="65537 bytes"):
            await asking.ask("web-1", b"x" * 65_537)
        assert await asking.ask("web-1", bytes(range(97, 123)) * 2_500) == bytes(range(65, 91)) * 2_500
    await asking.close()


async def test_a_worker_that_stood_still_does_not_obey_what_it_was_told_long_ago() -> None:
    """The clock goes on between question and hearing."""
    now_s, told = [0.0], list[bytes]()
    line = Line(lambda: now_s[0])
    asking = line.worker()
    async with obeying(line.worker(), "web-1", told):
        for paused_s, obeyed in ((4.9, True), (5.1, False)):
            asked = asyncio.create_task(asking.ask("web-1", b"one"))
            await asyncio.sleep(0)
            now_s[0] += paused_s
            if obeyed:
                assert await asked == b"ONE"
            else:
                with pytest.raises(NoAnswer):
                    await asked
    assert told == [b"one"]


async def test_a_worker_answers_by_no_other_name_and_a_long_answer_is_none() -> None:
    line = Line()
    asking, heard = line.worker(), list[dict[str, Any]]()
    obeyed = SocketCommands(lambda do, **fields: heard.append({"do": do, **fields}), lambda: 0.0)

    async def long(command: bytes) -> bytes:
        return command * 70_000

    task = asyncio.create_task(obeyed.obey("web-1", long))
    await asyncio.sleep(0)
    for machine in ("web-2", "web-1"):
        obeyed.hear({"do": "asked", "by": "1", "n": 7, "machine": machine, "command": "x", "at_s": 0.0})
        await asyncio.sleep(0.01)
    assert heard == [{"do": "answer", "by": "1", "n": 7, "answer": None}] * 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(NoAnswer):
        await asking.ask("web-1", b"x")
