"""What stands before several servers of one address: a balancer, in turn, past those that are gone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias
from urllib.parse import urlsplit

MOST_BYTES = 1 << 16
End: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Balancer:
    """`pool` are the servers that new connections go to, as `host:port`; a connection stays where it is."""

    def __init__(self) -> None:
        self.pool: list[str] = []
        self.base = ""
        self._turn: Iterator[int] = itertools.count()
        self._open: set[asyncio.Task[None]] = set()

    def put(self, *bases: str) -> None:
        """New connections go to these servers from now on."""
        self.pool = [urlsplit(base).netloc for base in bases]

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Balancer]:
        """Listen on a free port while the block runs; `base` is its address."""
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=MOST_BYTES, backlog=512)
        self.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                request = await _request(reader)
                first = next(self._turn) % max(1, len(self.pool))
                for server in [*self.pool[first:], *self.pool[:first]]:
                    if await self._served(server, request, (reader, writer)):
                        return
        finally:
            writer.transport.abort()

    async def _served(self, server: str, request: bytes, here: End) -> bool:
        """False if it did not answer with a single byte: a process that is being killed still takes
        connections for a few milliseconds, and drops them. Then the next one is asked.
        """
        host, _, port = server.partition(":")
        try:
            there = await asyncio.open_connection(host, int(port))
        except ConnectionRefusedError:
            return False
        answer = b""
        try:
            with contextlib.suppress(OSError):
                there[1].write(request)
                answer = await there[0].read(MOST_BYTES)
            if answer:
                here[1].write(answer)
                await _join(here, there)
        finally:
            there[1].transport.abort()
        return bool(answer)


async def _request(reader: asyncio.StreamReader) -> bytes:
    """The first request of a connection, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *([0-9]+)", head, re.IGNORECASE)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def _join(one: End, other: End) -> None:
    """Both directions, until both are through or one was cut: then both connections are."""
    ways = [
        asyncio.create_task(_pump(one[0], other[1])),
        asyncio.create_task(_pump(other[0], one[1])),
    ]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (one, other):
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(MOST_BYTES):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
