"""Claims in a Redis or Valkey server that machines share: each method is one script, one round trip.

Scripts are asked for by their digest. A server that does not know it, for it was restarted or failed over,
gets the text with the next attempt, in the same round trip. All keys begin with `{prefix}:` and so are in one
slot. Never used: KEYS, SCAN, FLUSH, MULTI, publish/subscribe for what must arrive, the client's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bridge.server.store.claims import (
    LEASE_MS,
    After,
    AfterAnswer,
    AfterRequest,
    Beat,
    Claim,
    ClaimAnswer,
    ClaimRequest,
    Fence,
    Known,
    Lease,
    Machine,
    Owned,
    Process,
    Ring,
    RingAnswer,
    Spent,
    Status,
    StoreError,
    Words,
    Written,
)
from bridge.server.store.redis_connection import Redis, close, exceptions, store_errors
from bridge.server.store.scripts import scripts

CLUSTER: Final = "BRIDGE_STORE is a node of a Redis Cluster, which is not supported: use a server of its own"


class RedisClaims:
    """`client` is `connect`'s; it is closed with this. `prefix` is BRIDGE_STORE_PREFIX."""

    def __init__(self, client: Redis, prefix: str = "pb") -> None:
        self.client = client
        self.prefix = f"{{{prefix}}}:"
        self._prepared = False

    # --- machines ----------------------------------------------------------------------------------------

    async def beat(
        self,
        process: Process,
        status: Status,
        day: str = "",
        calls: Mapping[str, Sequence[str]] | None = None,
        lease_ms: int = LEASE_MS,
    ) -> Beat:
        """See `Claims.beat`."""
        said = (
            *(status.calls, status.capacity, "1" if status.draining else ""),
            *(status.version, status.config, status.address),
        )
        listed = [one for call_sid, groups in (calls or {}).items() for one in (call_sid, " ".join(groups))]
        more = "1" if calls is not None else ""
        found = await self._run(
            "beat", ["ms"], process.machine, process.inst, lease_ms, day, more, *said, *listed
        )
        lease, taken_by, own_calls, fleet_calls, day_micro_usd, watched, now_ms, machines = found
        return Beat(
            Lease(_text(lease)),
            _text(taken_by),
            int(own_calls),
            int(fleet_calls),
            _machines(machines),
            int(day_micro_usd),
            watched == b"1",
            int(now_ms),
        )

    async def leave(self, process: Process) -> None:
        """See `Claims.leave`."""
        await self._run("leave", ["ms"], process.machine, process.inst)

    async def machines(self) -> tuple[Machine, ...]:
        """See `Claims.machines`."""
        return _machines(await self._run("machines", ["ms"]))

    # --- the door ----------------------------------------------------------------------------------------

    async def ring(self, call_sid: str, process: Process, nonce: str, account: str = "") -> Ring:
        """See `Claims.ring`."""
        keys = [f"c:{call_sid}", f"w:{call_sid}"]
        answer, given, machine = await self._run("ring", keys, process.machine, process.inst, nonce, account)
        return Ring(RingAnswer(_text(answer)), _text(given), _text(machine))

    async def claim(self, wanted: ClaimRequest) -> Claim:
        """See `Claims.claim`."""
        process, call_sid = wanted.process, wanted.call_sid
        keys = [f"c:{call_sid}", f"w:{call_sid}", f"k:{wanted.nonce}"]
        limits = [
            "" if one is None else one
            for limit in wanted.limits
            for one in (limit.group, limit.most_calls, limit.most_micro_usd)
        ]
        groups = " ".join(limit.group for limit in wanted.limits if limit.group)
        who = (call_sid, process.machine, process.inst, wanted.nonce, wanted.account)
        found = await self._run("claim", keys, *who, wanted.stream, wanted.day, groups, *limits)
        answer, epoch, owner, intent, group, machine, inst = (_text(one) for one in found)
        warm = Process(machine, inst) if machine else None
        return Claim(ClaimAnswer(answer), int(epoch), owner, intent, group, warm)

    # --- an owner's writes -------------------------------------------------------------------------------

    async def note(self, call: Owned) -> Written:
        """See `Claims.note`."""
        return await self._write("note", call, None, Spent(), keep=True)

    async def turn(self, call: Owned, conversation: bytes | None, spent: Spent) -> Written:
        """See `Claims.turn`."""
        return await self._write("turn", call, conversation, spent, keep=True)

    async def words(self, process: Process, calls: Sequence[Words]) -> frozenset[str]:
        """See `Claims.words`."""
        given = [x for one in calls for x in (one.call_sid, one.epoch, one.seq, one.conversation)]
        left = await self._run("words", [f"c:{one.call_sid}" for one in calls], process.inst, *given)
        return frozenset(map(_text, left))

    async def end(self, call: Owned, conversation: bytes | None, spent: Spent, *, keep: bool) -> Written:
        """See `Claims.end`."""
        return await self._write("end", call, conversation, spent, keep=keep)

    async def _write(
        self, name: str, call: Owned, conversation: bytes | None, spent: Spent, *, keep: bool
    ) -> Written:
        found = await self._run(
            name,
            [f"c:{call.call_sid}"],
            *(call.call_sid, call.process.machine, call.process.inst, call.epoch, call.seq, call.intent),
            *(call.nonce, call.account, call.stream, " ".join(call.groups)),
            *(conversation or b"", spent.day, "1" if keep else "", "1" if call.noted else ""),
            *(one for item in spent.micro_usd.items() for one in item),
        )
        return _written(found)

    # --- writes of others, and questions -----------------------------------------------------------------

    async def intend(
        self, call_sid: str, intent: str, *, epoch: int | None = None, returns: int = 0
    ) -> Written:
        """See `Claims.intend`."""
        named = "" if epoch is None else epoch
        return _written(await self._run("intend", [f"c:{call_sid}"], intent, named, returns))

    async def after(self, asked: AfterRequest) -> After:
        """See `Claims.after`."""
        found = await self._run(
            "after",
            [f"c:{asked.call_sid}", f"w:{asked.call_sid}"],
            *(asked.process.machine, asked.process.inst, asked.nonce, asked.fresh, asked.account),
            "1" if asked.draining else "",
        )
        answer, intent, resumes, waits, nonce, machine, epoch, owner = (_text(one) for one in found)
        counts = int(resumes), int(waits)
        return After(AfterAnswer(answer), intent, *counts, nonce, machine, int(epoch), owner)

    async def look(self, call_sid: str) -> Known | None:
        """See `Claims.look`."""
        *found, conversation = await self._run("look", [f"c:{call_sid}", f"t:{call_sid}"])
        at_ms, intent, streams, resumed, waits, returns, owner, epoch = (_text(one) for one in found)
        if not at_ms and conversation is None:
            return None
        return Known(
            intent=intent,
            streams=int(streams),
            resumed_ms=tuple(map(int, resumed.split())),
            waits=int(waits),
            returns=int(returns),
            owner=owner,
            epoch=int(epoch),
            at_ms=int(at_ms or 0),
            conversation=conversation,
        )

    async def check(self, process: Process, epochs: Mapping[str, int]) -> frozenset[str]:
        """See `Claims.check`."""
        if not epochs:
            return frozenset()
        calls = list(epochs)
        lost = await self._run("check", [f"c:{one}" for one in calls], process.inst, *epochs.values())
        return frozenset(calls[place - 1] for place in lost)

    async def pace(self, account: str, interval_ms: int, burst: int) -> int:
        """See `Claims.pace`."""
        return int(await self._run("pace", [f"p:{account}"], interval_ms, burst))

    async def put_record(self, key: str, writer: str, record: bytes, kept_ms: int) -> None:
        """See `Claims.put_record`."""
        await self._run("put", [key], writer, record, kept_ms)

    async def records(self, key: str) -> Mapping[str, bytes]:
        """See `Claims.records`."""
        with store_errors():
            found: Any = await self.client.hgetall(self.prefix + key)
        return {_text(writer): record for writer, record in found.items()}

    # --- the server --------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """See `Claims.ping`. The first time the scripts are loaded, and a cluster is refused."""
        if self._prepared:
            with store_errors():
                await self.client.ping()
            return
        with store_errors():
            async with self.client.pipeline(transaction=False) as pipe:
                pipe.info("server")
                for script in scripts().values():
                    pipe.script_load(script.text)
                server, *loaded = await pipe.execute(raise_on_error=False)
            for one in loaded:
                if isinstance(one, Exception):
                    raise one
        # INFO may be forbidden to this user.
        if isinstance(server, dict) and server.get("redis_mode") == "cluster":
            raise StoreError("cluster", CLUSTER)
        self._prepared = True

    async def close(self) -> None:
        """Let go of the connections."""
        await close(self.client)

    async def _run(self, name: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        script = scripts()[name]
        named = [self.prefix + key for key in keys]
        with store_errors():
            try:
                try:
                    return await self.client.evalsha(script.sha1, len(named), *named, self.prefix, *arguments)
                except exceptions.NoScriptError:
                    async with self.client.pipeline(transaction=False) as pipe:
                        pipe.script_load(script.text)
                        pipe.evalsha(script.sha1, len(named), *named, self.prefix, *arguments)
                        return (await pipe.execute())[-1]
            except exceptions.ResponseError as error:
                if isinstance(error, exceptions.ReadOnlyError) or "READONLY " in str(error):
                    # A failover: its name, or the sentinels, may lead to another server by now.
                    await self.client.connection_pool.disconnect(inuse_connections=False)
                raise


def _text(found: bytes) -> str:
    """Whatever stands there: it may have been put by hand."""
    return found.decode(errors="replace")


def _written(found: list[bytes]) -> Written:
    fence, epoch, owner, day_micro_usd = (_text(one) for one in found)
    return Written(Fence(fence), int(epoch), owner, int(day_micro_usd))


def _machines(found: list[list[bytes]]) -> tuple[Machine, ...]:
    machines = []
    for one in found:
        name, inst, calls, capacity, draining, version, config, address, lease_ms = (
            _text(part) for part in one
        )
        status = Status(int(calls), int(capacity), draining == "1", version, config, address)
        machines.append(Machine(Process(name, inst), status, int(lease_ms)))
    return tuple(sorted(machines, key=lambda machine: machine.process.machine))
