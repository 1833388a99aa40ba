"""A stream before it is a call: accepted, and waited for to say which call it is."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from .carriers.twilio import Twilio
from .core import messages as m
from .errors import CarrierError
from .sockets import Socket

logger = logging.getLogger(__name__)

START_S: Final = 5.0
"""A socket that has not sent `start` by then is no call."""
STRAY_FRAMES: Final = 10
"""Frames that may come before `start` (`connected` is one); more are no carrier's."""
MOST_FRAMES: Final = 1_000
"""Frames kept while the call's agent is resolved: twenty seconds of sound."""


class Arrival:
    """Listens to a socket that has been accepted. `frames` are its `start` and what has come since, kept for
    whoever takes the socket over.
    """

    def __init__(self, socket: Socket) -> None:
        loop = asyncio.get_running_loop()
        self.frames: list[str | bytes] = []
        self._settled: asyncio.Future[m.Started | str] = loop.create_future()
        self._twilio = Twilio()
        self._strays = 0
        self._faults: list[str] = []
        self._timer = loop.call_later(START_S, self._settle, "no start in time")
        socket.start(self._frame, self._closed)

    async def started(self) -> m.Started | str:
        """Its `start`; or why it is none, empty if it just went away."""
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
        if self._settled.done():
            if len(self.frames) < MOST_FRAMES:
                self.frames.append(frame)
            return
        self._strays += 1
        try:
            event = self._twilio.parse(frame)
        except CarrierError as error:
            event = None
            self._faults.append(str(error))
        if isinstance(event, m.Started):
            self.frames.append(frame)
            self._settle(event)
        elif self._strays >= STRAY_FRAMES:
            self._settle("no start among the first frames")

    def _closed(self, _code: int, _reason: str) -> None:
        self._settle("")

    def _settle(self, what: m.Started | str) -> None:
        self._timer.cancel()
        if not self._settled.done():
            self._settled.set_result(what)
