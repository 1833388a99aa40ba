"""`Claims` of the machine's supervisor, for its workers: each step is a message, and its answer another one.

How messages travel is the caller's business (`bridge/server/workers/lines.py`). Steps and answers are plain
values, as JSON has them; `answered` is the other end.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar, get_type_hints

import msgspec

from bridge.server.store.claims import (
    LEASE_MS,
    After,
    AfterRequest,
    Beat,
    Claim,
    ClaimRequest,
    Claims,
    Known,
    Machine,
    Owned,
    Process,
    Ring,
    Spent,
    Status,
    StoreError,
    Words,
    Written,
)

T = TypeVar("T")
Send = Callable[[str, Sequence[Any]], Awaitable[Any]]
"""A step's name and arguments; the answer as plain values. Raises StoreError."""


class SocketClaims:
    """`send` brings a step to the process that has the claims."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def _step(self, kind: type[T], op: str, *arguments: object) -> T:
        return _read(await self._send(op, msgspec.to_builtins(arguments)), kind)

    async def beat(
        self,
        process: Process,
        status: Status,
        day: str = "",
        calls: Mapping[str, Sequence[str]] | None = None,
        lease_ms: int = LEASE_MS,
    ) -> Beat:
        """See `Claims.beat`."""
        return await self._step(Beat, "beat", process, status, day, calls, lease_ms)

    async def leave(self, process: Process) -> None:
        """See `Claims.leave`."""
        await self._send("leave", msgspec.to_builtins((process,)))

    async def machines(self) -> tuple[Machine, ...]:
        """See `Claims.machines`."""
        return await self._step(tuple[Machine, ...], "machines")

    async def ring(self, call_sid: str, process: Process, nonce: str, account: str = "") -> Ring:
        """See `Claims.ring`."""
        return await self._step(Ring, "ring", call_sid, process, nonce, account)

    async def claim(self, wanted: ClaimRequest) -> Claim:
        """See `Claims.claim`."""
        return await self._step(Claim, "claim", wanted)

    async def note(self, call: Owned) -> Written:
        """See `Claims.note`."""
        return await self._step(Written, "note", call)

    async def turn(self, call: Owned, conversation: bytes | None, spent: Spent) -> Written:
        """See `Claims.turn`."""
        return await self._step(Written, "turn", call, conversation, spent)

    async def words(self, process: Process, calls: Sequence[Words]) -> frozenset[str]:
        """See `Claims.words`."""
        return await self._step(frozenset[str], "words", process, calls)

    async def end(self, call: Owned, conversation: bytes | None, spent: Spent, *, keep: bool) -> Written:
        """See `Claims.end`."""
        return await self._step(Written, "end", call, conversation, spent, keep)

    async def intend(
        self, call_sid: str, intent: str, *, epoch: int | None = None, returns: int = 0
    ) -> Written:
        """See `Claims.intend`."""
        return await self._step(Written, "intend", call_sid, intent, epoch, returns)

    async def after(self, asked: AfterRequest) -> After:
        """See `Claims.after`."""
        return await self._step(After, "after", asked)

    async def look(self, call_sid: str) -> Known | None:
        """See `Claims.look`."""
        found = await self._send("look", (call_sid,))
        return None if found is None else _read(found, Known)

    async def check(self, process: Process, epochs: Mapping[str, int]) -> frozenset[str]:
        """See `Claims.check`."""
        return await self._step(frozenset[str], "check", process, epochs)

    async def pace(self, account: str, interval_ms: int, burst: int) -> int:
        """See `Claims.pace`."""
        return await self._step(int, "pace", account, interval_ms, burst)

    async def put_record(self, key: str, writer: str, record: bytes, kept_ms: int) -> None:
        """See `Claims.put_record`."""
        await self._send("put_record", msgspec.to_builtins((key, writer, record, kept_ms)))

    async def records(self, key: str) -> Mapping[str, bytes]:
        """See `Claims.records`."""
        return await self._step(dict[str, bytes], "records", key)

    async def ping(self) -> None:
        """See `Claims.ping`."""
        await self._send("ping", ())

    async def close(self) -> None:
        """The line is its owner's to close."""


def _read(plain: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise StoreError("other", str(error)) from error


STEPS: Final = frozenset(name for name, _ in inspect.getmembers(SocketClaims, inspect.iscoroutinefunction))


def answered(claims: Claims, op: str, arguments: Sequence[Any]) -> Any:
    """Take that step, and return its answer as plain values. The claims have to be in memory, for nothing
    waits here. Raises StoreError for what is no step.
    """
    if op not in STEPS or op.startswith("_"):
        raise StoreError("other", f"{op} is no step")
    step: Coroutine[Any, Any, Any] = getattr(claims, op)(**_given(op, arguments))
    try:
        step.send(None)
    except StopIteration as done:
        return msgspec.to_builtins(done.value)
    step.close()
    raise StoreError("other", f"{op} waits for something")


def _given(op: str, arguments: Sequence[Any]) -> dict[str, Any]:
    kinds = _kinds(op)
    if len(arguments) > len(kinds):
        raise StoreError("other", f"{op} has fewer arguments")
    return {name: _read(plain, kind) for (name, kind), plain in zip(kinds, arguments, strict=False)}


@cache
def _kinds(op: str) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(getattr(Claims, op))
    return tuple((name, kind) for name, kind in hints.items() if name != "return")
