"""A stream before it is a call: accepted, and waited for to say which call it is."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bridge.carriers.twilio import Twilio
from bridge.core import messages as m
from bridge.errors import CarrierError
from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.limits import Quota
from bridge.sockets.stream import StreamSocket

logger = logging.getLogger(__name__)

START_S: Final = 5.0
"""A socket that has not sent `start` by then is no call."""
STRAY_FRAMES: Final = 10
"""Messages that may come before `start` (`connected` is one); more are no carrier's."""
MOST_FRAMES: Final = 200
"""Frames of every kind, pings and pieces of messages too, that may come before `start`."""
MOST_FRAMES_A_READ: Final = 50
MOST_BYTES: Final = 64 * 1024
"""What these frames may amount to: a `start` with every parameter allowed still fits."""


class PendingStream:
    """Listens to a socket that has been accepted, until its `start`. The socket stays under this one's quota,
    and holds what comes behind `start`, until its new owner starts it anew.
    """

    def __init__(self, socket: StreamSocket | AsgiSocket) -> None:
        loop = asyncio.get_running_loop()
        self.start: str | bytes = ""
        """The frame, as it came."""
        self._socket = socket
        self._settled: asyncio.Future[m.Started | str] = loop.create_future()
        self._twilio = Twilio()
        self._strays = 0
        self._faults: list[str] = []
        self._timer = loop.call_later(START_S, self._settle, "no start in time")
        socket.start(self._frame, self._closed, Quota(MOST_FRAMES, MOST_BYTES, MOST_FRAMES_A_READ))

    async def started(self) -> m.Started | str:
        """Its `start`; or why there was none, empty if it just went away."""
        started = await self._settled
        if isinstance(started, m.Started):
            if self._faults:
                about = {"call_sid": started.call_id}
                logger.warning("a stream began with %s", self._what_was_wrong(), extra=about)
            return started
        return started and f"{started}; {self._what_was_wrong()}"

    def _what_was_wrong(self) -> str:
        """Once a stream, not once a frame: there may be fifty a second of them."""
        first = f", the first: {self._faults[0]}" if self._faults else ""
        return f"{self._strays} frames, {len(self._faults)} of them refused{first}"

    def _frame(self, frame: str | bytes) -> None:
        if self._settled.done():  # over plain ASGI one may be on its way already
            return
        self._strays += 1
        try:
            event = self._twilio.parse(frame)
        except CarrierError as error:
            event = None
            self._faults.append(str(error))
        if isinstance(event, m.Started):
            self.start = frame
            self._settle(event)
        elif self._strays >= STRAY_FRAMES:
            self._settle("no start among the first frames")

    def _closed(self, _code: int, reason: str) -> None:
        self._settle(reason if self._socket.gave_up else "")

    def _settle(self, what: m.Started | str) -> None:
        self._timer.cancel()
        if not self._settled.done():
            self._socket.hold()
            self._settled.set_result(what)
