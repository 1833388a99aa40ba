"""Commands through Redis: a stream a machine, which it reads as they come, and a list an answer.

Redis, "XREAD": with BLOCK it waits for entries after an id. The ids are the server's clock, so one clock says
how old a command is. Publish/subscribe would lose what comes while a machine connects.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

from bridge.server.store.claims import StoreError
from bridge.server.store.commands import ANSWER_MS, MOST_BYTES, MOST_WAITING, OLD_MS, NoAnswer, Obey, bounded
from bridge.server.store.redis_connection import Redis, close, store_errors

logger = logging.getLogger(__name__)

BLOCK_MS: Final = 5_000
STREAM_KEPT_S: Final = 60
REPLY_KEPT_S: Final = 10
RETRY_S: Final = 1.0
MOST_AT_ONCE: Final = 32
"""Commands that are obeyed at the same time."""
MOST_CONNECTIONS: Final = 6
"""That wait for answers, or bring them: less than a client has, which gives up on a free one soon."""


class RedisCommands:
    """`open_client` makes a client whose socket waits for that many seconds: a read that blocks needs longer
    than any other, and a connection of its own. `prefix` is BRIDGE_STORE_PREFIX.
    """

    def __init__(self, open_client: Callable[[float], Redis], prefix: str = "pb") -> None:
        self._open = open_client
        self._prefix = f"{{{prefix}}}:"
        self._asking: Redis | None = None
        self._doing: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        # Two: machines that ask each other wait for answers, which must not wait for questions.
        self._questions = asyncio.Semaphore(MOST_CONNECTIONS)
        self._replies = asyncio.Semaphore(MOST_CONNECTIONS)

    async def ask(self, machine: str, command: bytes, within_ms: int = ANSWER_MS) -> bytes:
        """As `Commands` says."""
        if self._asking is None:
            self._asking = self._open(ANSWER_MS / 1000 + 2)
        reply = secrets.token_urlsafe(12)
        fields: dict[Any, Any] = {b"reply": reply.encode(), b"command": bounded(command)}
        async with self._questions:
            found = await self._answered(self._asking, machine, fields, reply, within_ms)
        if found is None:
            raise NoAnswer(machine)
        return found

    async def _answered(
        self, client: Redis, machine: str, fields: dict[Any, Any], reply: str, within_ms: int
    ) -> bytes | None:
        stream = self._stream(machine)
        with store_errors():
            await client.xadd(stream, fields, maxlen=MOST_WAITING, approximate=False)
            await client.expire(stream, STREAM_KEPT_S)
            found: Any = await client.blpop([self._reply(reply)], timeout=within_ms / 1000)
        return None if found is None else bytes(found[1])

    async def obey(self, machine: str, answer: Obey) -> None:
        """As `Commands` says. Goes on after the store was away; what was asked meanwhile, and is not too old,
        is still obeyed.
        """
        client = self._open(BLOCK_MS / 1000 + 2)
        stream, last = self._stream(machine), b""
        try:
            while True:
                try:
                    with store_errors():
                        if not last:
                            last = b"%d-0" % (await _now_ms(client))
                        read, now_ms = await self._read(client, stream, last)
                except StoreError:
                    await asyncio.sleep(RETRY_S)
                    continue
                for last, fields in read:
                    if now_ms - int(last.partition(b"-")[0]) <= OLD_MS:
                        await self._room.acquire()
                        self._begin(client, fields, answer)
        finally:
            for task in self._doing:
                task.cancel()
            await close(client)

    async def _read(self, client: Redis, stream: str, last: bytes) -> tuple[list[Any], int]:
        """The commands after `last`, as soon as there are any, and the server's clock then."""
        found: Any = await client.xread({stream: last}, count=MOST_WAITING, block=BLOCK_MS)
        return (found[0][1], await _now_ms(client)) if found else ([], 0)

    def _begin(self, client: Redis, fields: dict[bytes, bytes], answer: Obey) -> None:
        task = asyncio.create_task(self._do(client, fields, answer), name="command")
        self._doing.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._doing.discard(task)
        self._room.release()

    async def _do(self, client: Redis, fields: dict[bytes, bytes], answer: Obey) -> None:
        """A command without our fields is another's, and is left."""
        reply, command = fields.get(b"reply"), fields.get(b"command")
        if reply is None or command is None:
            return
        try:
            said = await answer(command)
        except Exception:
            logger.exception("a command failed")
            return
        if len(said) > MOST_BYTES:
            logger.error("the answer to a command has %d bytes and is not sent", len(said))
            return
        key = self._reply(reply.decode("latin-1"))
        try:
            async with self._replies:
                with store_errors():
                    await client.rpush(key, said)
                    await client.expire(key, REPLY_KEPT_S)
        except StoreError as error:
            logger.warning("the answer to a command was lost: %s", error)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._asking is not None:
            await close(self._asking)

    def _stream(self, machine: str) -> str:
        return f"{self._prefix}q:{machine}"

    def _reply(self, name: str) -> str:
        return f"{self._prefix}r:{name}"


async def _now_ms(client: Redis) -> int:
    seconds, micros = await client.time()
    return int(seconds) * 1000 + int(micros) // 1000
