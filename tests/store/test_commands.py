"""Commands from one machine to another, over each way that there is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bridge.server.store.commands import Commands, EmbeddedCommands, NoAnswer
from bridge.server.store.redis_commands import RedisCommands


async def embedded() -> Callable[[], Commands]:
    way = EmbeddedCommands()
    return lambda: way


async def fake() -> Callable[[], Commands]:
    import fakeredis

    server = fakeredis.FakeServer(version=(7, 0))
    return lambda: RedisCommands(lambda _s: fakeredis.FakeAsyncRedis(server=server, protocol=2))


WAYS: dict[str, Callable[[], Awaitable[Callable[[], Commands]]]] = {"embedded": embedded, "fakeredis": fake}


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
