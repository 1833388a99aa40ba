"""What a network can do to a connection, between a client and a server on loopback.

async with FaultProxy(port).serve() as proxy:  # clients dial proxy.port
    proxy.stalled = {"up"}                     # what they send no longer arrives
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

UP, DOWN = "up", "down"
"""From who dialled to the server, and back."""
_LINGER_0 = struct.pack("ii", 1, 0)


class FaultProxy:
    """Each attribute holds for connections that live and for those to come; a change of mind is heeded at
    once.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.connections = 0
        self.swallows = False
        """A black hole: connections are taken, and nothing comes of them."""
        self.says: bytes | None = None
        """Said to a client's request, in place of the server, which is not asked."""
        self.stalled: set[str] = set()
        """Ways on which nothing moves; it waits, as in a full socket."""
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.cut_after_bytes: int | None = None
        """So many more bytes towards who dialled, on all connections together, and then a reset."""
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[FaultProxy]:
        await self.accept()
        try:
            yield self
        finally:
            self.refuse()
            self.reset()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(self) -> None:
        """Take connections (again), on the same port."""
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Nobody listens any more; what is connected stays."""
        if self._server is not None:
            self._server.close()

    def reset(self) -> None:
        """Every connection breaks, at both ends."""
        for writer in self._writers:
            if not writer.transport.is_closing():
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
                writer.transport.abort()
        self._writers.clear()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.create_task(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if self.says is not None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self.says)
                writer.close()
                return
            while self.swallows:  # noqa: ASYNC110  an attribute has no event
                await asyncio.sleep(0.01)
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(back)
            await asyncio.gather(self._carry(UP, reader, back), self._carry(DOWN, there, writer))

    async def _carry(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a transport that is closed
            while data := await reader.read(2_048):
                await asyncio.sleep(
                    self.delay_s + (len(data) / self.bytes_per_s if self.bytes_per_s else 0.0)
                )
                while way in self.stalled:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                if way == DOWN and self.cut_after_bytes is not None:
                    data = data[: self.cut_after_bytes]
                    self.cut_after_bytes -= len(data)
                writer.write(data)
                if self.cut_after_bytes == 0:
                    self.cut_after_bytes = None
                    asyncio.get_running_loop().call_soon(self.reset)
                await writer.drain()
            writer.close()
