"""A call carried by a user's own transport (`Agent(transport=…)`), pumped into a `Socket`.

The transport is user code, so it lives on the user loop; the socket that the runner sees lives on the loop
that carries the audio. Frames cross as posted messages, in order both ways.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from bridge.agents.foreign_loops import CURE, is_of_another_loop
from bridge.agents.loop import Loop
from bridge.errors import BridgeError, ConnectionLost, NotConnected
from bridge.sockets.dial import DialError, OnClose, OnFrame, Socket
from bridge.sockets.frames import ABNORMAL, NORMAL, Message
from bridge.sockets.transport import RealtimeTransport
from bridge.upstreams import Dial

logger = logging.getLogger("bridge.user")

CLOSE_S: Final = 1.0
"""How long a transport may take to close."""

MOST_ON_THE_WAY: Final = 64
"""Frames that cross to the audio loop at once: a transport that has more waits until these were taken."""

MakeTransport: TypeAlias = Callable[[Dial], RealtimeTransport]
"""Makes the transport of one upstream session. A call may want several, one after another: each dial asks for
a new object. The `Dial` has the URL with the model in it, and no key: that is the transport's own affair.
"""


async def carry(make: MakeTransport, dialled: Dial, loop: Loop) -> Socket:
    """A connected transport as a socket. Raises DialError where it could not be made or did not connect."""
    socket = CarriedSocket(make, dialled, loop)
    try:
        await socket.connected
    except asyncio.CancelledError:
        socket.close()
        raise
    return socket


class CarriedSocket:
    """The socket's side, on the audio loop. `connected` tells when there is a connection, or why not."""

    def __init__(self, make: MakeTransport, dialled: Dial, loop: Loop) -> None:
        self.outbox_bytes = 0
        self._loop = asyncio.get_running_loop()
        self.connected: asyncio.Future[None] = self._loop.create_future()
        self._user_loop = loop
        self._early: list[Message] = []
        self._on_frame: OnFrame | None = None
        self._on_close: OnClose | None = None
        self._end: tuple[int, str] | None = None
        self._closing = False
        self._patience: asyncio.TimerHandle | None = None
        self._pump = _Pump(make, dialled, self)
        loop.post(self._pump.begin)

    def start(self, on_frame: OnFrame, on_close: OnClose) -> None:
        self._on_frame, self._on_close = on_frame, on_close
        early, self._early = self._early, []
        for frame in early:
            on_frame(frame)
        if self._end is not None:
            self._loop.call_soon(on_close, *self._end)

    def send(self, frame: Message, *more: Message) -> None:
        if not self._closing and self._end is None:
            for one in (frame, *more):
                self.outbox_bytes += len(one)
                self._user_loop.post(self._pump.put, one)

    def close(self, _code: int = NORMAL, _reason: str = "") -> None:
        if not self._closing:
            self._closing = True
            self._user_loop.post(self._pump.shut)
            # A user loop that is blocked, or gone, would never say so.
            self._patience = self._loop.call_later(CLOSE_S + 0.5, self.ended, NORMAL, "")

    def cross(self, function: Callable[..., None], *args: object) -> None:
        """Called on the user loop: run this on the audio loop, if it is still there."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    # --- what the pump tells, on the audio loop -----------------------------------------------------------

    def opened(self, error: DialError | None) -> None:
        if self.connected.done():
            return
        if error is None:
            self.connected.set_result(None)
        else:
            self.connected.set_exception(error)

    def came(self, frame: str) -> None:
        if self._closing:
            return
        if self._on_frame is None:
            self._early.append(frame)
        else:
            self._on_frame(frame)

    def came_so_far(self, taken: asyncio.Event) -> None:
        """All that was told before this has been taken."""
        self._user_loop.post(taken.set)

    def took(self, size_bytes: int) -> None:
        self.outbox_bytes -= size_bytes

    def ended(self, code: int, reason: str) -> None:
        if self._end is None:
            self._end = code, reason
            if self._patience is not None:
                self._patience.cancel()
            if self._on_close is not None:
                self._on_close(code, reason)


class _Pump:
    """The transport's side, on the user loop."""

    def __init__(self, make: MakeTransport, dialled: Dial, socket: CarriedSocket) -> None:
        self._make = make
        self._dialled = dialled
        self._socket = socket
        self._outbox: deque[Message] = deque()
        self._more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(self._run(), name="transport"))

    def put(self, frame: Message) -> None:
        self._outbox.append(frame)
        self._more.set()

    def shut(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _run(self) -> None:
        socket, transport = self._socket, None
        code, reason = ABNORMAL, "the transport ended"
        writer: asyncio.Task[None] | None = None
        try:
            transport = self._make(self._dialled)
            await transport.connect()
            error = getattr(transport, "last_error", None)
            if isinstance(error, DialError):
                raise error
            socket.cross(socket.opened, None)
            writer = asyncio.get_running_loop().create_task(self._write(transport), name="transport outbox")
            count = 0
            async for frame in transport.events():
                socket.cross(socket.came, frame)
                count += 1
                if not count % MOST_ON_THE_WAY:
                    taken = asyncio.Event()
                    socket.cross(socket.came_so_far, taken)
                    await taken.wait()
            code, reason = _end_of(transport)
        except asyncio.CancelledError:
            code, reason = NORMAL, ""
        except DialError as error:
            socket.cross(socket.opened, error)
        except Exception as error:  # user code
            cure = f": {CURE}" if is_of_another_loop(error) else ""
            logger.exception("a transport of the agent's failed%s", cure)
            reason = f"the transport raised {type(error).__name__}"
            socket.cross(socket.opened, DialError("transport", reason))
        finally:
            if writer is not None:
                writer.cancel()
            await self._let_go(transport)
            socket.cross(socket.ended, code, reason)

    async def _write(self, transport: RealtimeTransport) -> None:
        while True:
            while self._outbox:
                frame = self._outbox.popleft()
                text = frame if isinstance(frame, str) else frame.decode()
                try:
                    await transport.send(text)
                except NotConnected:
                    return  # `events` is about to end
                except Exception:  # user code
                    logger.exception("a transport of the agent's could not send")
                    self.shut()
                    return
                self._socket.cross(self._socket.took, len(frame))
            self._more.clear()
            await self._more.wait()

    async def _let_go(self, transport: RealtimeTransport | None) -> None:
        try:
            if transport is not None:
                async with asyncio.timeout(CLOSE_S):
                    await transport.close()
        except Exception:  # user code
            logger.exception("a transport of the agent's could not close")


def _end_of(transport: RealtimeTransport) -> tuple[int, str]:
    """How a transport whose events ended says that it ended."""
    error = getattr(transport, "last_error", None)
    if isinstance(error, ConnectionLost):
        return error.code, error.reason
    return ABNORMAL, str(error) if isinstance(error, BridgeError) else "the transport ended"
