"""What is found under our keys and is not ours: put by hand, by another program, by a version to come."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import pytest
from redis.asyncio import Redis

from bridge.server.store.claims import Process, Status
from bridge.server.store.redis_claims import RedisClaims
from bridge.server.store.redis_connection import connect
from bridge.server.store.sealing import Clear
from bridge.server.store.shared_claims import SharedClaims

CALL, OTHER = "CA" + "c" * 32, "CA" + "d" * 32
NUMBERS = ("epoch", "seq", "streams", "at", "resumed", "waits", "returns")
WORDS = ("owner", "inst", "intent", "nonce", "acct", "groups", "answered", "given")
VALUES = (b"foo", b"", b"\xff\xfe", b"-1", b"nan", b"1e400", b"0x10", b"12.5", b"9" * 40)


def fake(server: fakeredis.FakeServer) -> Callable[[], Redis]:
    return lambda: fakeredis.FakeAsyncRedis(server=server, protocol=2)


@asynccontextmanager
async def machines(client: Callable[[], Redis], prefix: str = "pb") -> AsyncIterator[list[SharedClaims]]:
    made = [
        SharedClaims(
            RedisClaims(client(), prefix),
            Process(name, f"{name}1"),
            Clear(),
            status=lambda: Status(capacity=9),
        )
        for name in ("a", "b")
    ]
    for one in made:
        await one.open()
        await one.beat()
    try:
        yield made
    finally:
        for one in made:
            await one.close()


async def all_goes_on(one: SharedClaims, two: SharedClaims, plain: Any, prefix: str = "pb") -> None:
    """Nothing raises, the store is not away, and another call is written as ever."""
    for _ in range(2):
        assert await one.beat() is not None
        assert await two.beat() is not None
        one.note(CALL, secrets.token_hex(4))
        await two.ring(CALL, "n9", "acc")
        await two.look(CALL)
        await two.after(CALL, "n1", "n2", "acc")
        await two.records("d:x")
        assert await one.check() is not None
    one.note(OTHER, "handover")
    await asyncio.sleep(0.01)
    assert (one.up, two.up) == (True, True)
    assert await plain.hget(f"{{{prefix}}}:c:{OTHER}", "intent") == b"handover"


async def carried(one: SharedClaims) -> None:
    for call_sid, nonce in ((CALL, "n1"), (OTHER, "m1")):
        await one.ring(call_sid, nonce, "acc")
        claimed = await one.claim(call_sid, nonce, account="acc")
        assert claimed is not None
        assert claimed.answer.owned


@pytest.mark.parametrize("name", NUMBERS + WORDS)
async def test_no_value_in_a_call_s_record_stops_anything(name: str) -> None:
    server = fakeredis.FakeServer(version=(7, 0))
    plain: Any = fake(server)()
    async with machines(fake(server)) as (one, two):
        await carried(one)
        for value in VALUES:
            await plain.hset(f"{{pb}}:c:{CALL}", name, value)
            one.note(OTHER, "")
            await all_goes_on(one, two, plain)


@pytest.mark.redis
@pytest.mark.parametrize("name", [f"c:{CALL}", f"w:{CALL}", f"t:{CALL}", "ms", "m:a", "l:a1", "usd:", "k:n2"])
async def test_no_key_of_another_kind_does(redis_url: str, name: str) -> None:
    prefix = f"pb-{secrets.token_hex(6)}"
    key = f"{{{prefix}}}:{name}"
    plain: Any = connect(redis_url)
    async with machines(lambda: connect(redis_url), prefix) as (one, two):
        await carried(one)
        for put in (lambda: plain.rpush(key, b"\xff"), lambda: plain.set(key, b"\xff")):
            await plain.delete(key)
            await put()
            one.note(OTHER, "")
            await all_goes_on(one, two, plain, prefix)
    await plain.aclose()


async def test_nor_a_machine_that_is_none() -> None:
    server = fakeredis.FakeServer(version=(7, 0))
    plain: Any = fake(server)()
    wrong: dict[str, Any] = {"calls": "foo", "capacity": b"\xff", "version": b"\xff"}
    record: Any = {b"\xff": b"\xff"}
    async with machines(fake(server)) as (one, two):
        await carried(one)
        await plain.zadd("{pb}:ms", {b"\xff": 9e15, "endless": float("inf")})
        await plain.hset("{pb}:m:b", mapping=wrong)
        await plain.hset("{pb}:d:x", mapping=record)
        await all_goes_on(one, two, plain)


async def test_a_step_that_fails_in_a_way_of_its_own_is_a_step_that_failed() -> None:
    """It ends neither the writer nor the heartbeat nor a webhook."""

    async def broken() -> int:
        raise ZeroDivisionError

    async with machines(fake(fakeredis.FakeServer(version=(7, 0)))) as (one, _two):
        assert await one.link.ask("note", 250, broken) is None
        assert await one.beat() is not None
