"""One viewer: a websocket, what its page knows, and what happens when it reads too slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

SLOW_BYTES: Final = 64 * 1024
"""What may wait unread; from there on changes are dropped, and a snapshot follows."""
PATIENCE_S: Final = 5.0
"""A page that has read nothing for this time is closed."""
TRY_AGAIN_LATER: Final = 1013


class Socket(Protocol):
    """What a viewer needs of one."""

    def send(self, frame: str) -> None: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    @property
    def outbox_bytes(self) -> int: ...


class Viewer:
    """`seen` are the revisions of rows that its page has, by call; `call_seen` that of the call in view, 0
    before its first snapshot. `lasts` says whether its session is still good. `far`: another machine asks in
    its place, of the list or of one call, and is told of the calls that are here.
    """

    __slots__ = (
        "_slow_from_s",
        "call_seen",
        "closed",
        "far",
        "lasts",
        "looks_at",
        "name",
        "seen",
        "socket",
        "wants_list",
    )

    def __init__(
        self, socket: Socket, name: str, lasts: Callable[[], bool] = lambda: True, *, far: bool = False
    ) -> None:
        self.socket = socket
        self.name = name
        self.lasts = lasts
        self.far = far
        self.seen: dict[str, int] = {}
        self.wants_list = True
        self.looks_at: str | None = None
        self.call_seen = 0
        self.closed = False
        self._slow_from_s: float | None = None

    def can_read(self, now_s: float) -> bool:
        """Whether it may be sent something now. One that reads too slowly wants snapshots; one that has read
        nothing for 5 s is closed.
        """
        if self.closed:
            return False
        waiting_bytes = self.socket.outbox_bytes
        if self._slow_from_s is None:
            if waiting_bytes <= SLOW_BYTES:
                return True
            self._slow_from_s = now_s
            self.wants_list, self.call_seen = True, 0
        elif not waiting_bytes:
            self._slow_from_s = None
            return True
        elif now_s - self._slow_from_s > PATIENCE_S:
            self.close(TRY_AGAIN_LATER, "the page reads too slowly")
        return False

    def send(self, text: str) -> None:
        self.socket.send(text)

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.socket.close(code, reason)
