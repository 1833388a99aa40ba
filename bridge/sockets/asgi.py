"""A carrier's socket over plain ASGI: for servers whose transport we can't take, and for test clients.

It behaves as the direct one does, at the price of a task switch and a few messages for each frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from bridge.sockets.frames import (
    ABNORMAL,
    INTERNAL_ERROR,
    NO_STATUS,
    NORMAL,
    POLICY_VIOLATION,
    TOO_BIG,
    Message,
    cut_reason,
    is_valid_close_code,
)
from bridge.sockets.keepalive import running_tick
from bridge.sockets.limits import CARRIER_LIMITS, Limits, Quota
from bridge.sockets.stream import TURN_FRAMES, TURN_S, OnClose, OnFrame

_log = logging.getLogger(__name__)

_Farewell = tuple[int, str]


class AsgiSocket:
    """A :class:`bridge.sockets.Socket` over ``receive`` and ``send``: one task reads, one writes.

    The endpoint accepts the websocket first, and stays in :meth:`released` until the call is over: a
    server drops the connection when its endpoint returns. Keepalive is the server's, and so is what happens
    to control frames and to a message in pieces: none of them are seen here.
    """

    def __init__(self, websocket: WebSocket, *, limits: Limits = CARRIER_LIMITS) -> None:
        self._websocket = websocket
        self._limits = limits
        self._open = True
        self._deaf = False
        self.gave_up = False
        self._quota: Quota | None = None
        self._going = asyncio.Event()
        self._going.set()
        self._on_frame: OnFrame | None = None
        self._on_close: OnClose | None = None
        self._ended: _Farewell | None = None
        self._outbox: asyncio.Queue[Message | _Farewell] = asyncio.Queue()  # bounded by outbox_bytes
        self._tasks: list[asyncio.Task[None]] = []
        self._done = asyncio.Event()
        self._tick = running_tick()
        self.outbox_bytes = 0
        self._run(self._write())

    def start(self, on_frame: OnFrame, on_close: OnClose, quota: Quota | None = None) -> None:
        first = self._on_frame is None
        self._on_frame, self._on_close = on_frame, on_close
        self._quota = quota
        self._going.set()
        if self._ended is not None:
            self._tell()
        elif first:
            self._run(self._read())

    def hold(self) -> None:
        self._going.clear()

    def send(self, frame: Message, *more: Message) -> None:
        for one in (frame, *more):
            if not self._open:
                return
            if self.outbox_bytes + len(one) > self._limits.max_outbox_bytes:
                self._open = False
                self._deaf = self.gave_up = True
                asyncio.get_running_loop().call_soon(self._finish, ABNORMAL, "outbox full")
                return
            self.outbox_bytes += len(one)
            self._outbox.put_nowait(one)

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        if not is_valid_close_code(code):
            raise ValueError(f"{code} can't stand in a close frame")
        self._deaf = True
        self._going.set()
        if self._open:
            self._open = False
            self._outbox.put_nowait((code, cut_reason(reason)))
            self._tick.close_by(self, self._limits.close_timeout_s)

    async def released(self) -> None:
        """Returns when the end has been told and no task is left; the endpoint may return then."""
        try:
            await self._done.wait()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        except asyncio.CancelledError:
            self._finish(ABNORMAL, "the server ended the connection")
            raise

    # The tick's side

    def on_second(self) -> None:
        """Nothing: it joins no beat, since the server underneath keeps its connections alive."""

    def on_deadline(self) -> None:
        self._finish(ABNORMAL, "the close handshake timed out")

    # Within

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, WebSocketDisconnect | OSError):
                _log.error("the server underneath a socket failed", exc_info=error)
            self._finish(ABNORMAL, "the connection was lost")

    async def _read(self) -> None:
        left, spent_s = TURN_FRAMES, 0.0
        while True:
            message = await self._websocket.receive()
            await self._going.wait()
            if message["type"] == "websocket.disconnect":
                self._finish(message.get("code", NO_STATUS), message.get("reason") or "")
                return
            text = message.get("text")
            since_s = monotonic()
            self._take(message["bytes"] if text is None else text)
            left, spent_s = left - 1, spent_s + monotonic() - since_s
            if not left or spent_s > TURN_S:
                # Neither `receive` nor the queue behind it gives way while there is something in it.
                left, spent_s = TURN_FRAMES, 0.0
                await asyncio.sleep(0)

    def _take(self, frame: Message) -> None:
        if self._deaf or self._on_frame is None:
            return
        if len(frame) > self._limits.max_size_bytes:
            self._refuse(TOO_BIG, f"message over {self._limits.max_size_bytes} bytes")
            return
        if self._quota is not None:
            self._quota.begin_read()
            if why := self._quota.spend(len(frame)):
                self._refuse(POLICY_VIOLATION, why)
                return
        try:
            self._on_frame(frame)
        except Exception as error:  # noqa: BLE001 - the owner's code; nothing escapes into the loop
            _log.error("the receiver of a frame failed; its socket closes with 1011", exc_info=error)
            self._refuse(INTERNAL_ERROR, "internal error")

    async def _write(self) -> None:
        while True:
            frame = await self._outbox.get()
            if isinstance(frame, tuple):
                await self._websocket.close(*frame)
                self._finish(*frame)
                return
            if isinstance(frame, str):
                await self._websocket.send_text(frame)
            else:
                await self._websocket.send_bytes(frame)
            self.outbox_bytes -= len(frame)

    def _refuse(self, code: int, reason: str) -> None:
        self.gave_up = True
        self.close(code, reason)
        self._end(code, reason)

    def _finish(self, code: int, reason: str) -> None:
        """Nothing more is read or written."""
        if not self._done.is_set():
            self._open = False
            self._deaf = True
            self.outbox_bytes = 0
            self._tick.leave(self)
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            self._done.set()
            self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        if self._ended is None:
            self._ended = (code, reason)
            self._tell()

    def _tell(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None and self._ended is not None:
            try:
                on_close(*self._ended)
            except Exception as error:  # noqa: BLE001 - the owner's code; nothing escapes into the loop
                _log.error("the receiver of a socket's end failed", exc_info=error)
