"""What a socket allows its peer: sizes, deadlines and floods, how much before it is trusted, and what the
kernel keeps of it.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """What a socket allows its peer. One object serves all sockets of a kind."""

    max_size_bytes: int
    """The largest message taken; a larger one closes with 1009."""
    close_timeout_s: float
    """How long a close handshake may take before the transport is aborted."""
    ping_after_s: int = 5
    """Seconds without a byte from the peer after which it is pinged; any byte counts as a sign of life."""
    dead_after_s: int = 8
    """Seconds without a byte after which it is given up."""
    stalled_after_s: int = 10
    """Seconds without progress of what waits for the kernel after which it is given up."""
    max_outbox_bytes: int = 1 << 20
    """How much may wait for the kernel; a frame on top of that aborts the socket."""
    max_controls: int = 200
    """Control frames a second; with more of them for `flood_s` on end the peer is refused (1008)."""
    flood_s: int = 5


# A carrier's frames are some 300 bytes, fifty a second. 64 KiB also holds a `start` with every parameter
# allowed.
CARRIER_LIMITS: Final = Limits(max_size_bytes=64 * 1024, close_timeout_s=1.0, dead_after_s=10)
# A long `session.updated` or a big audio delta comes as one frame; `websockets`' own default (1 MiB) is too
# small.
UPSTREAM_LIMITS: Final = Limits(max_size_bytes=8 << 20, close_timeout_s=0.5)


class Quota:
    """How much a peer may send until it is trusted: frames of every kind, and their bytes.

    On admission the socket is started anew without one.
    """

    __slots__ = ("_a_read", "_frames", "_in_read", "left_bytes", "left_frames")

    def __init__(self, frames: int, size_bytes: int, frames_a_read: int) -> None:
        self._frames, self._a_read = frames, frames_a_read
        self._in_read = 0
        self.left_frames = frames
        self.left_bytes = size_bytes

    def begin_read(self) -> None:
        """What is spent from here on came in another read."""
        self._in_read = 0

    def spend(self, size_bytes: int) -> str:
        """One frame. Why it is one too many; empty if it is not."""
        self._in_read += 1
        self.left_frames -= 1
        self.left_bytes -= size_bytes
        if self._in_read > self._a_read:
            return f"more than {self._a_read} frames in one read before it was let in"
        if self.left_frames < 0:
            return f"more than {self._frames} frames before it was let in"
        return self.over(0)

    def over(self, waiting_bytes: int) -> str:
        """Why that much on top is too much; empty if it is not."""
        return "" if waiting_bytes <= self.left_bytes else "too many bytes before it was let in"


def bound_kernel(
    sock: socket.socket,
    *,
    send_buffer_bytes: int = 65_536,
    receive_buffer_bytes: int | None = None,
    timeout_ms: int = 10_000,
) -> None:
    """Bounds what the kernel keeps for a peer that stopped reading, and for how long it keeps it; with
    `receive_buffer_bytes` also what it keeps of a peer that we do not read.

    Set on a listening socket, accepted ones inherit all of it. Without this a stalled peer takes minutes of
    audio before anybody notices, and is never freed; and each stranger may fill megabytes. What a platform
    or kind of socket does not know is left out.
    """
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    user_timeout: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux only
    if user_timeout is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, user_timeout, timeout_ms)


def write_at_once(sock: socket.socket | None) -> None:
    """Small writes do not wait for the answer to the one before (Nagle).

    asyncio sees to that only where a socket says that it is TCP, and those of `socket.create_server` and of
    uvicorn do not: there a `clear` behind a piece of sound left with the caller's next frame, 20 ms late.
    """
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
