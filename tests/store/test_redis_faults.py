"""What becomes of calls when the Redis server fails: the rows of `docs/fleet.md`, each on a real server."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge.core.messages import CallSnapshot
from bridge.server.store import store_link
from bridge.server.store.claims import Fence, Lease, Owned, Process, RingAnswer, Spent, Status, StoreError
from bridge.server.store.redis_claims import RedisClaims
from bridge.server.store.redis_connection import connect
from bridge.server.store.sealing import Clear
from bridge.server.store.shared_claims import SharedClaims
from bridge.server.store.store_link import Unwatched
from tests.fault_proxy import DOWN, UP, FaultProxy
from tests.store.redis_server import RedisServer, free_port, needed

pytestmark = pytest.mark.redis

CA1, CA2 = f"CA{1:032x}", f"CA{2:032x}"
A, B = Process("a", "a1"), Process("b", "b1")
PASSWORD = "sesame"


class Watch(Unwatched):
    def __init__(self) -> None:
        self.failed: Counter[str] = Counter()
        self.restored = 0

    def store_failed(self, kind: str, /) -> None:
        self.failed[kind] += 1

    def store_restored(self) -> None:
        self.restored += 1


class Machine(SharedClaims):
    """A process of that name, at that server."""

    prefix = ""

    def __init__(self, process: Process, url: str) -> None:
        self.watch = Watch()
        self.ghosts: list[str] = []
        super().__init__(
            RedisClaims(connect(url), self.prefix),
            process,
            Clear(),
            status=lambda: Status(capacity=9),
            spent=lambda: Spent("today", {"": 1}),
            watch=self.watch,
        )
        self.lost = lambda call_sid, _owner: self.ghosts.append(call_sid)


def key(name: str) -> str:
    return f"{{{Machine.prefix}}}:{name}"


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may have a server in common."""
    monkeypatch.setattr(Machine, "prefix", f"pb-{secrets.token_hex(6)}")


@asynccontextmanager
async def machines(*wanted: tuple[Process, str]) -> AsyncIterator[list[Machine]]:
    made = [Machine(process, url) for process, url in wanted]
    try:
        for one in made:
            await one.open()
            await one.beat()
        yield made
    finally:
        for one in made:
            await one.close()


@pytest.fixture(autouse=True)
def _pings_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_link, "PING_EVERY_S", 0.05)


@pytest.fixture
def servers() -> Iterator[Callable[..., RedisServer]]:
    needed()
    if not RedisServer.can_start():
        pytest.skip("a server of the test's own is needed, and no redis-server is here")
    made: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        made.append(RedisServer(*options, port=free_port()).start())
        return made[-1]

    yield start
    for server in made:
        server.remove()


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def fall_away(machine: Machine) -> float:
    """Ask until it is away; how long that took."""
    began_s = time.monotonic()
    for _ in range(3):
        assert await machine.ring(CA2, "x", "acct") is None
    assert not machine.up
    return time.monotonic() - began_s


async def test_1_a_store_that_is_down_at_start(servers: Callable[..., RedisServer]) -> None:
    server = servers()
    server.kill()
    async with machines((A, server.tcp_url)) as (a,):
        assert not a.up
        assert a.watch.failed == {"connection": 1}
        assert await a.claim(CA1, "n1", account="acct") is None
        server.start()
        await until(lambda: a.up and a.held[CA1] > 0)


async def test_2_a_wrong_password_at_start_is_told_at_once(servers: Callable[..., RedisServer]) -> None:
    server = servers("--requirepass", PASSWORD)
    for credentials in ("", ":wrong@", "user:wrong@"):
        machine = Machine(A, server.tcp_url.replace("://", f"://{credentials}"))
        with pytest.raises(StoreError) as told:
            await machine.open()
        assert told.value.kind == "auth"
        assert "wrong" not in str(told.value)
        await machine.close()
    async with machines((A, server.tcp_url.replace("://", f"://:{PASSWORD}@"))) as (a,):
        assert a.up


async def test_3_the_password_is_changed_under_it(servers: Callable[..., RedisServer]) -> None:
    server = servers()
    async with machines((A, server.tcp_url)) as (a,), connect(server.url) as admin:
        await admin.config_set("requirepass", PASSWORD)
        await admin.client_kill_filter(_type="normal", skipme=True)
        await fall_away(a)
        assert a.watch.failed["auth"] >= 2
        await admin.config_set("requirepass", "")
        await until(lambda: a.up)


async def test_4_and_11_it_dies_under_calls_and_comes_back_empty(servers: Callable[..., RedisServer]) -> None:
    server = servers()
    async with machines((A, server.tcp_url), (B, server.tcp_url)) as (a, b):
        calls = [f"CA{number:032x}" for number in range(20)]
        for number, call_sid in enumerate(calls):
            assert await a.claim(call_sid, f"n{number}", account="acct") is not None
        server.kill()
        await fall_away(a)
        a.turn(calls[0], CallSnapshot(tools=7))
        a.note(calls[1], "transfer:desk")
        a.end(calls[2], keep=False)
        server.start()
        await until(lambda: a.up and a.watch.restored == 20)
        beat = await a.beat()
        assert beat is not None
        assert beat.own_calls == 19
        known = await b.look(calls[0])
        assert known is not None
        assert b.conversation(calls[0], known) == CallSnapshot(tools=7)
        sent_on = await b.look(calls[1])
        assert sent_on is not None
        assert sent_on.intent == "transfer:desk"


async def test_5_it_is_two_seconds_slow(servers: Callable[..., RedisServer]) -> None:
    async with (
        FaultProxy(servers().port).serve() as proxy,
        machines((A, f"redis://127.0.0.1:{proxy.port}/0")) as (a,),
    ):
        proxy.delay_s = 2.0
        began_s = time.monotonic()
        assert await a.ring(CA1, "n1", "acct") is None
        assert await a.claim(CA1, "n1", account="acct") is None
        assert await a.after(CA2, "n1", "n2", "acct") is None
        assert 0.45 < time.monotonic() - began_s < 1.5
        began_s = time.monotonic()
        for _ in range(100):
            assert await a.ring(CA2, "n3", "acct") is None
        assert time.monotonic() - began_s < 0.1
        proxy.delay_s = 0.0


async def test_6_it_is_far_away(servers: Callable[..., RedisServer]) -> None:
    async with (
        FaultProxy(servers().port).serve() as proxy,
        machines((A, f"redis://127.0.0.1:{proxy.port}/0")) as (a,),
    ):
        proxy.delay_s = 0.04
        began_s = time.monotonic()
        found = await a.claim(CA1, "n1", account="acct")
        assert found is not None
        assert 0.08 <= time.monotonic() - began_s < 0.15
        proxy.delay_s = 0.0


async def test_7_and_8_a_machine_is_cut_off_from_it(servers: Callable[..., RedisServer]) -> None:
    server = servers()
    async with FaultProxy(server.port).serve() as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with machines((A, url), (B, server.tcp_url)) as (a, b), connect(server.url) as admin:
            await a.claim(CA1, "n1", account="acct")
            await a.claim(CA2, "n2", account="acct")
            a.turn(CA1, CallSnapshot(tools=1))
            await asyncio.sleep(0.1)
            proxy.stalled = {UP, DOWN}
            await fall_away(a)
            await admin.zadd(key("ms"), {"a": 1})  # its lease is over
            beat = await b.beat()
            assert beat is not None
            assert beat.fleet_calls == 0
            found = await b.after(CA1, "n1", "n9", "acct")
            assert found is not None
            assert found.intent == ""
            known = await b.look(CA1)
            assert known is not None
            assert b.conversation(CA1, known) == CallSnapshot(tools=1)
            took = await b.claim(CA1, "n9", account="acct", stream=2)
            assert took is not None
            assert took.owner == "a"
            proxy.stalled = set()
            await until(lambda: a.up and a.ghosts == [CA1])
            await a.beat()
            beat = await b.beat()
            assert beat is not None
            assert beat.fleet_calls == 2


async def replica_of(port: int, servers: Callable[..., RedisServer]) -> RedisServer:
    """Another server that has all that the one at that port has."""
    made = servers("--replicaof", "127.0.0.1", str(port), "--repl-diskless-sync-delay", "0")
    async with connect(made.url) as client, asyncio.timeout(20):
        while (await client.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return made


async def test_9_a_failover_that_lost_writes(servers: Callable[..., RedisServer]) -> None:
    """The server dies with a claim that no replica has."""
    first = servers()
    async with (
        FaultProxy(first.port).serve() as between,
        machines((A, first.tcp_url), (B, first.tcp_url)) as (a, b),
    ):
        second = await replica_of(between.port, servers)
        assert await b.claim(CA1, "n1", account="acct") is not None
        old = b._held[CA1].next(B)
        async with connect(second.url) as client:
            promoted = RedisClaims(client, Machine.prefix)
            async with asyncio.timeout(5):
                while await promoted.look(CA1) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            between.stalled = {DOWN}
            took = await a.claim(CA1, "n9", account="acct", stream=2)
            assert took is not None
            assert took.owner == "b"
            right = a._held[CA1].next(A)
            first.kill()
            await client.replicaof("NO", "ONE")
            lost = await promoted.look(CA1)
            assert lost is not None
            assert lost.owner == "b"
            fences = [
                (await promoted.turn(view, None, Spent())).fence
                for view in (old, right, b._held[CA1].next(B))
            ]
            assert fences == [Fence.OK, Fence.RESTORED, Fence.GHOST]


async def test_10_a_failover_to_a_replica_that_takes_no_writes(servers: Callable[..., RedisServer]) -> None:
    first = servers()
    second = await replica_of(first.port, servers)
    async with (
        FaultProxy(first.port).serve() as proxy,
        machines((A, f"redis://127.0.0.1:{proxy.port}/0")) as (a,),
    ):
        await a.claim(CA1, "n1", account="acct")
        proxy._target = second.port  # the name leads there now
        first.kill()
        await fall_away(a)
        await until(lambda: a.watch.failed["readonly"] > 0)
        assert not a.up
        connected = proxy.connections
        async with connect(second.url) as client:
            await client.replicaof("NO", "ONE")
        await until(lambda: a.up)
        assert proxy.connections > connected  # it asked anew where the server is
        assert a.held[CA1] > 0


async def test_12_a_script_of_another_keeps_it_busy(servers: Callable[..., RedisServer]) -> None:
    server = servers("--lua-time-limit", "100")
    async with (
        machines((A, server.tcp_url)) as (a,),
        connect(server.url, socket_s=30) as hog,
        connect(server.url) as admin,
    ):
        await a.claim(CA1, "n1", account="acct")
        task = asyncio.ensure_future(hog.eval("while true do end", 0))
        await asyncio.sleep(0.3)
        await fall_away(a)
        assert a.watch.failed["busy"] > 0
        await admin.script_kill()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: a.up)
        assert a.watch.restored == 0


async def test_13_it_is_full(servers: Callable[..., RedisServer]) -> None:
    server = servers("--maxmemory-policy", "noeviction")
    async with machines((A, server.tcp_url)) as (a,), connect(server.url) as admin:
        claim = await a.claim(CA1, "n1", account="acct")
        assert claim is not None
        a.turn(CA1, CallSnapshot(tools=1))
        await asyncio.sleep(0.1)
        await admin.config_set("maxmemory", 1)
        before = {key: await _content(admin, key) for key in await admin.keys("*")}
        epoch = claim.epoch
        owned = Owned(call_sid=CA1, process=A, epoch=epoch, seq=99, intent="ended", noted=True)
        spent = Spent("today", {"": 5})
        for write in (
            lambda: a.claims.end(owned, None, spent, keep=False),
            lambda: a.claims.turn(owned, b"words", spent),
            lambda: a.claims.note(owned),
            lambda: a.claims.beat(A, Status(), "today", {}),
            lambda: a.claims.intend(CA1, "ended"),
            lambda: a.claims.ring(CA2, A, "n2"),
        ):
            with pytest.raises(StoreError) as told:
                await write()  # type: ignore[no-untyped-call]
            assert told.value.kind == "oom"
        assert {key: await _content(admin, key) for key in await admin.keys("*")} == before
        known = await a.look(CA1)
        assert known is not None  # what is there can be read
        await fall_away(a)
        a.end(CA1, keep=False)
        await asyncio.sleep(0.3)
        assert not a.up
        await admin.config_set("maxmemory", 0)
        await until(lambda: a.up)
        await asyncio.sleep(0.1)
        gone = await a.look(CA1)
        assert gone is not None
        assert gone.conversation is None


async def _content(client: Any, key: bytes | str) -> object:
    kind = await client.type(key)
    if kind == b"hash":
        return await client.hgetall(key)
    if kind == b"set":
        return await client.smembers(key)
    if kind == b"zset":
        return await client.zrange(key, 0, -1, withscores=True)
    return await client.get(key)


@pytest.mark.parametrize("how", ["evicted", "expired"])
async def test_14_and_15_a_call_is_gone_under_its_owner(how: str, redis_url: str) -> None:
    async with machines((A, redis_url)) as (a,), connect(redis_url) as client:
        await a.claim(CA1, "n1", account="acct")
        await (client.delete(key("c:" + CA1)) if how == "evicted" else client.pexpire(key("c:" + CA1), 1))
        await asyncio.sleep(0.01)
        a.turn(CA1, CallSnapshot())
        await until(lambda: a.watch.restored == 1)
        assert 0 < await client.pttl(key("c:" + CA1)) <= 24 * 3_600_000
        assert 0 < await client.pttl(key("t:" + CA1)) <= 600_000
        ring = await a.ring(CA1, "n2", "acct")
        assert ring is not None
        assert ring.answer is RingAnswer.SPENT


@pytest.mark.parametrize("off_s", [-3_600.0, 3_600.0])
async def test_16_the_clock_of_a_machine_is_wrong(off_s: float, redis_url: str) -> None:
    """Scripts have the server's clock; what a process measures itself are differences."""
    async with machines((A, redis_url), (B, redis_url)) as (a, b):
        a._clock = lambda: time.monotonic() + off_s
        assert await a.beat() is not None
        claim = await a.claim(CA1, "n1", account="acct")
        assert claim is not None
        took = await b.claim(CA1, "n2", account="acct")
        assert took is not None
        assert took.epoch > claim.epoch
        back = await a.claim(CA1, "n3", account="acct")
        assert back is not None
        assert back.epoch > took.epoch


async def test_17_the_clock_of_the_server_steps_back(redis_url: str) -> None:
    """A claim's epoch is higher than the one before, whatever the clock says."""
    async with machines((A, redis_url)) as (a,), connect(redis_url) as client:
        ahead = (time.time_ns() // 1_000_000) + 3_600_000
        await client.hset(
            key("c:" + CA1), mapping={"owner": "b", "inst": "b1", "epoch": ahead, "acct": "acct"}
        )
        took = await a.claim(CA1, "n1", account="acct")
        assert took is not None
        assert took.epoch == ahead + 1


async def test_26_versions_run_side_by_side(redis_url: str) -> None:
    """Fields that this version does not know stay, and are passed over; a record of another version of the
    format counts as absent.
    """
    async with machines((A, redis_url)) as (a,), connect(redis_url) as client:
        await client.hset(key("m:old"), mapping={"inst": "o1", "mood": "fine"})
        await client.zadd(key("ms"), {"old": 10**13})
        await client.hset(key("c:" + CA1), mapping={"mood": "fine", "owner": "old", "inst": "o1", "epoch": 5})
        await client.set(key("t:" + CA1), b'{"items":[],"mood":"fine","tools":3}')
        beat = await a.beat()
        assert beat is not None
        assert [one.process.machine for one in beat.machines] == ["a", "old"]
        known = await a.look(CA1)
        assert known is not None
        assert a.conversation(CA1, known) == CallSnapshot(tools=3)
        await client.set(key("t:" + CA1), b"\x02 of another time")
        known = await a.look(CA1)
        assert known is not None
        assert a.conversation(CA1, known) is None
        claim = await a.claim(CA1, "n1", account="acct")
        assert claim is not None
        assert claim.owner == "old"
        assert await client.hget(key("c:" + CA1), "mood") == b"fine"


async def test_a_server_forgets_its_scripts(redis_url: str) -> None:
    async with machines((A, redis_url)) as (a,), connect(redis_url) as client:
        await client.script_flush()
        beat = await a.beat()
        assert beat is not None
        assert beat.lease is Lease.HELD
        assert a.watch.failed == {}


async def test_a_frozen_server_executes_late_what_nothing_waits_for(
    servers: Callable[..., RedisServer],
) -> None:
    server = servers()
    async with machines((A, server.tcp_url)) as (a,):
        await a.claim(CA1, "n1", account="acct")
        server.pause()
        a.turn(CA1, CallSnapshot(tools=1))
        await asyncio.sleep(0.4)
        a.turn(CA1, CallSnapshot(tools=2))
        await until(lambda: not a.up)
        server.resume()
        await until(lambda: a.up)
        await asyncio.sleep(0.2)
        known = await a.look(CA1)
        assert known is not None
        assert a.conversation(CA1, known) == CallSnapshot(tools=2)


async def test_a_node_of_a_cluster_is_refused(servers: Callable[..., RedisServer]) -> None:
    claims = RedisClaims(connect(servers("--cluster-enabled", "yes").tcp_url, socket_s=10))
    with pytest.raises(StoreError, match="Cluster, which is not supported") as told:
        await claims.ping()
    assert told.value.kind == "cluster"
    await claims.close()


async def test_answers_that_come_too_late_are_mixed_up_with_no_others(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_link, "MOST_FAILURES", 10**9)
    async with machines((A, redis_url)) as (a,):
        for number in range(200):
            given_up = [a.link.ask("check", 0, lambda: a.claims.check(A, {CA1: 1})) for _ in range(4)]
            assert await asyncio.gather(*given_up) == [None] * 4
            assert await a.pace(f"x{number}", 60_000, 1) in (0, None)  # a busy machine may be late here too
            assert await a.look(CA1) is None
        assert a.watch.failed["timeout"] >= 800


def test_without_the_setting_the_client_is_not_imported() -> None:
    program = (
        "import bridge.server.service, sys; sys.exit('redis' in sys.modules or 'cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
