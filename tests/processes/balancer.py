"""What stands before several servers of one address: a balancer of connections, in turn, past those that take
none. It knows nothing of HTTP and sends nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
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
        self._server: dict[asyncio.Task[None], str] = {}

    def put(self, *bases: str) -> None:
        """New connections go to these servers from now on."""
        self.pool = [urlsplit(base).netloc for base in bases]

    def cut(self, base: str) -> None:
        """Abort the connections to that server, on both sides."""
        for task, server in self._server.items():
            if server == urlsplit(base).netloc:
                task.cancel()

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
        task.add_done_callback(lambda done: self._server.pop(done, None))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """To the next server that takes the connection. What is sent through it then is nobody's business
        here: where that server dies, the connection does.
        """
        try:
            first = next(self._turn) % max(1, len(self.pool))
            for server in [*self.pool[first:], *self.pool[:first]]:
                host, _, port = server.partition(":")
                try:
                    there = await asyncio.open_connection(host, int(port), limit=MOST_BYTES)
                except OSError:
                    continue
                if (task := asyncio.current_task()) is not None:
                    self._server[task] = server
                with contextlib.suppress(OSError):
                    await _join((reader, writer), there)
                return
        finally:
            writer.transport.abort()


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
