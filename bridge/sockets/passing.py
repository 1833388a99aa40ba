"""A connection changes processes: its socket, and the bytes that were read of it, go to a sibling's door.

A door is a Unix socket in a folder that only this user may enter. One connection to it carries one socket:
four bytes with the length, the bytes that were read, and with the first of them the descriptor
(`SCM_RIGHTS`). The peer sees nothing of it: address and port stay, and what it sends next is read by the
sibling.

The sibling says by one byte that it is awake, and only then the descriptor goes. One whose loop stands still
does not, and half a second later the connection is served where it is. A descriptor that waits in a door
could not be taken back: the peer would not even see the connection's end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 128 * 1024
"""Of what was read: a head, a body and what came behind them are less."""
_LENGTH_BYTES: Final = 4
_BACKLOG: Final = 512
_READ_S: Final = 2.0
AWAKE_S: Final = 0.5
"""How long a sibling may take to say so. A loop that is later than that is of no use to a caller either."""
_AWAKE: Final = b"a"
AGAIN_S: Final = 1.0
_NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Passing(Protocol):
    """Knows where a request belongs."""

    def door_of(self, head: bytes, body: bytes) -> str | None:
        """The door of the process that has to answer this request; None if it is this one. `head` is the
        request as it came, `body` its content.
        """


def pass_on(
    connection: asyncio.Transport, read: bytes | bytearray, door: str, settled: Callable[[bool], None]
) -> bool:
    """Give a connection to the process behind that door. False if there is none: then it is still ours. Else
    nothing more is read of it here until `settled` is called: with True where the other has it, and the owner
    of the transport aborts it, which ends our copy of the connection and not the peer's; with False where it
    is ours again.
    """
    if connection.get_extra_info("socket") is None or len(read) > MOST_BYTES:
        return False
    try:
        way = _way_to(door)
    except OSError as error:
        logger.warning("a connection could not be passed on: %s", error)
        return False
    connection.pause_reading()
    _Going(way, connection, bytes(read), settled)
    return True


def _way_to(door: str) -> socket.socket:
    """Raises OSError where there is no such door, and where a descriptor is lacking."""
    way = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        way.setblocking(False)
        way.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MOST_BYTES)
        way.connect(door)
    except OSError:
        way.close()
        raise
    return way


class _Going:
    """One connection that is to go through the door that `way` leads to."""

    def __init__(
        self,
        way: socket.socket,
        connection: asyncio.Transport,
        read: bytes,
        settled: Callable[[bool], None],
    ) -> None:
        self._way, self._connection = way, connection
        self._message = len(read).to_bytes(_LENGTH_BYTES, "big") + read
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(way, self._answered)
        self._timer = self._loop.call_later(AWAKE_S, self._settle, False)

    def _answered(self) -> None:
        """The sibling is awake, or has closed its door."""
        gone = False
        if not self._connection.is_closing():
            found, message = self._connection.get_extra_info("socket"), self._message
            with suppress(OSError):
                if self._way.recv(1) == _AWAKE:
                    gone = socket.send_fds(self._way, [message], [found.fileno()]) == len(message)
        self._settle(gone)

    def _settle(self, gone: bool) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._way)
        self._way.close()
        if not gone and not self._connection.is_closing():
            logger.warning("a connection was to be passed on and was not taken: it is served here")
            self._connection.resume_reading()
        self._settled(gone)


class Door:
    """Takes connections that siblings pass on. `take` gets each with what was read of it; it owns both."""

    def __init__(self, path: str, take: Callable[[socket.socket, bytes], None]) -> None:
        self._take = take
        self._coming: set[_Coming] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(path)
        self._listener.listen(_BACKLOG)
        self._loop = asyncio.get_running_loop()
        self._open()

    def _open(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        with suppress(BlockingIOError, InterruptedError, ConnectionAbortedError):
            while True:
                try:
                    way, _ = self._listener.accept()
                except OSError as error:
                    if error.errno not in _NONE_LEFT:
                        raise
                    # The listener stays readable: asked again at once, it would say the same without end.
                    logger.warning("no connection is taken for %s s: %s", AGAIN_S, error)
                    self._loop.remove_reader(self._listener)
                    self._loop.call_later(AGAIN_S, self._open)
                    return
                try:
                    way.send(_AWAKE)
                except OSError:  # it is served elsewhere by now
                    way.close()
                else:
                    self._coming.add(_Coming(way, self._came))

    def _came(self, coming: _Coming, taken: tuple[socket.socket, bytes] | None) -> None:
        self._coming.discard(coming)
        if taken is not None:
            self._take(*taken)

    def close(self) -> None:
        """Take no more. Idempotent."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        for coming in list(self._coming):
            coming.give_up()


class _Coming:
    """One connection that is on its way through the door."""

    def __init__(
        self, way: socket.socket, came: Callable[[_Coming, tuple[socket.socket, bytes] | None], None]
    ) -> None:
        self._way = way
        self._came = came
        self._read = bytearray()
        self._socket: socket.socket | None = None
        self._loop = asyncio.get_running_loop()
        way.setblocking(False)
        self._loop.add_reader(way, self._readable)
        self._timer = self._loop.call_later(_READ_S, self.give_up)

    def _readable(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._way, MOST_BYTES, 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            self._socket = socket.socket(fileno=descriptor)
        self._read += data
        length = int.from_bytes(self._read[:_LENGTH_BYTES], "big")
        if len(self._read) == _LENGTH_BYTES + length and self._socket is not None:
            whole, self._socket = self._socket, None
            self._end((whole, bytes(self._read[_LENGTH_BYTES:])))
        elif not data:
            self.give_up()

    def give_up(self) -> None:
        """It broke off, or took too long."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._end(None)

    def _end(self, taken: tuple[socket.socket, bytes] | None) -> None:
        self._timer.cancel()
        if self._way.fileno() >= 0:
            self._loop.remove_reader(self._way)
            self._way.close()
            self._came(self, taken)
