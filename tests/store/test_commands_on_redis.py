"""Commands over a real server: a machine that was paused obeys nothing old, and a store that was away is no
end of obeying.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest
from redis.asyncio import Redis

from bridge.server.store import redis_commands
from bridge.server.store.claims import StoreError
from bridge.server.store.commands import NoAnswer
from bridge.server.store.redis_commands import RedisCommands
from bridge.server.store.redis_connection import connect
from tests.store.redis_server import BINARY, RedisServer
from tests.store.test_commands import obeying

pytestmark = pytest.mark.redis


def way(url: str, prefix: str) -> RedisCommands:
    return RedisCommands(lambda socket_s: connect(url, socket_s=socket_s), prefix)


async def test_a_hundred_questions_at_once(redis_url: str) -> None:
    prefix = f"pb-{secrets.token_hex(6)}"
    asking, told = way(redis_url, prefix), list[bytes]()
    async with obeying(way(redis_url, prefix), "web-1", told):
        commands = [b"n%d" % number for number in range(60)]
        assert await asyncio.gather(*(asking.ask("web-1", one) for one in commands)) == [
            one.upper() for one in commands
        ]
    assert sorted(told) == sorted(commands)
    await asking.close()


async def test_two_machines_that_ask_each_other_at_once(redis_url: str) -> None:
    """Neither's answers wait for its own questions."""
    prefix = f"pb-{secrets.token_hex(6)}"
    one, two = way(redis_url, prefix), way(redis_url, prefix)
    told = list[bytes]()
    async with obeying(one, "web-1", told), obeying(two, "web-2", told):
        asked = [way_.ask(name, b"n") for _ in range(20) for way_, name in ((one, "web-2"), (two, "web-1"))]
        assert await asyncio.gather(*asked) == [b"N"] * 40


async def test_what_comes_too_late_is_not_obeyed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after SIGSTOP and SIGCONT: the command lay in the store meanwhile."""
    monkeypatch.setattr(redis_commands, "OLD_MS", 300)
    prefix = f"pb-{secrets.token_hex(6)}"
    asking, told = way(redis_url, prefix), list[bytes]()
    paused = asyncio.Event()

    class Paused(RedisCommands):
        async def _read(self, client: Redis, stream: str, last: bytes) -> tuple[list[Any], int]:
            await paused.wait()
            return await super()._read(client, stream, last)

    late = Paused(lambda socket_s: connect(redis_url, socket_s=socket_s), prefix)
    async with obeying(late, "web-1", told):
        with pytest.raises(NoAnswer):
            await asking.ask("web-1", b"hang up", 500)
        paused.set()
        await asyncio.sleep(0.2)
        assert told == []
        assert await asking.ask("web-1", b"now") == b"NOW"
    await asking.close()


@pytest.mark.skipif(BINARY is None, reason="no redis-server here")
async def test_it_obeys_again_when_the_store_is_back() -> None:
    server = RedisServer().start()
    asking, told = way(server.url, "pb"), list[bytes]()
    try:
        async with obeying(way(server.url, "pb"), "web-1", told):
            assert await asking.ask("web-1", b"one") == b"ONE"
            server.kill()
            with pytest.raises(StoreError):
                await asking.ask("web-1", b"two", 200)
            server.start()
            await asyncio.sleep(1.5)
            assert await asking.ask("web-1", b"three") == b"THREE"
        await asking.close()
    finally:
        server.remove()
