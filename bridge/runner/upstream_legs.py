"""The upstream side of a call: one leg an upstream session, dialled, written to and closed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.upstream_leg import FULL
from bridge.errors import ConfigError
from bridge.sockets.dial import DialError, Socket
from bridge.upstreams import Dial, Upstream, frames_of

from .carrier_leg import OUTBOX_BYTES
from .recorder import Recorder
from .vendor_sessions import VENDOR_SESSIONS

BACKLOG_MS: Final = 500
"""Caller audio that may wait for a slow upstream; then the oldest goes, for late audio is worse than none."""


class Gate(Protocol):
    """What the legs tell the runner, and ask of it."""

    other_vendor: Callable[[m.VendorPlan, int], Upstream]

    def feed(self, event: m.Event) -> None:
        """Something happened."""

    def process_upstream(self, leg: UpstreamLeg, frame: str | bytes) -> None:
        """A frame of this session came."""

    def check_closed(self) -> None:
        """A leg is gone."""

    def fail(self, error: Exception) -> None:
        """A rule was broken; the call ends."""


@dataclass(slots=True)
class UpstreamLeg:
    """One upstream session: its adapter, and its socket once dialling has succeeded."""

    epoch: int
    adapter: Upstream
    append: Callable[[str], str | bytes]
    vendor: str = ""
    """Its name, where it is not the one that the call began with."""
    dialling: asyncio.Task[None] | None = None
    socket: Socket | None = None
    backlog: deque[m.AppendAudio] = field(default_factory=deque)
    backlog_bytes: int = 0


class UpstreamLegs:
    """The upstream sessions of one call by their epoch. `vendor(epoch)` makes the adapter of one, `dial`
    opens its socket.
    """

    __slots__ = ("_call", "_dial", "_gate", "_loop", "_recorder", "_vendor", "legs")

    def __init__(
        self,
        call: Call,
        vendor: Callable[[int], Upstream],
        dial: Callable[[Dial], Awaitable[Socket]],
        recorder: Recorder | None,
        gate: Gate,
    ) -> None:
        self.legs: dict[int, UpstreamLeg] = {}
        self._call = call
        self._vendor = vendor
        self._dial = dial
        self._recorder = recorder
        self._gate = gate
        self._loop = asyncio.get_running_loop()

    # --- sessions ----------------------------------------------------------------------------------------

    def open(self, command: m.DialUpstream) -> None:
        """Dial a session, in a task."""
        epoch = command.epoch
        vendor = command.vendor or ""
        plan = self._call.session_of(epoch).plan
        adapter = self._gate.other_vendor(plan, epoch) if vendor else self._vendor(epoch)
        if vendor and not VENDOR_SESSIONS.enter(vendor):
            self._loop.call_soon(self._gate.feed, m.DialFailed(epoch, code=FULL))
            return
        leg = self.legs[epoch] = UpstreamLeg(epoch, adapter, adapter.append, vendor)
        leg.dialling = self._loop.create_task(self._connect(leg), name=f"dial {epoch}")

    async def _connect(self, leg: UpstreamLeg) -> None:
        epoch = leg.epoch
        try:
            session = self._call.session_of(epoch).plan.dress(self._call.config.session)
            socket = await self._dial(leg.adapter.dial(session))
        except DialError as error:
            self._drop(epoch)
            retry_ms = int((error.retry_after_s or 0) * 1000)
            self._gate.feed(m.DialFailed(epoch, error.status or 0, error.code or error.reason, retry_ms))
            self._gate.check_closed()
            return
        except ConfigError as error:  # what another vendor lacks shows only when it is dialled
            self._drop(epoch)
            self._gate.feed(m.DialFailed(epoch, 400, str(error)))
            self._gate.check_closed()
            return
        except Exception as error:  # noqa: BLE001  `dial` comes from outside: nothing may be lost in a task
            self._drop(epoch)
            self._gate.fail(error)
            return
        leg.dialling = None
        leg.socket = socket
        socket.start(partial(self._gate.process_upstream, leg), partial(self._closed, epoch))
        if not self._call.session_of(epoch).can.server_first:
            self._gate.feed(m.UpstreamOpened(epoch))

    def _closed(self, epoch: int, code: int, reason: str) -> None:
        self._drop(epoch)
        self._gate.feed(m.UpstreamClosed(code, reason, epoch))
        self._gate.check_closed()

    def _drop(self, epoch: int) -> None:
        leg = self.legs.pop(epoch, None)
        if leg is not None and leg.vendor:
            VENDOR_SESSIONS.leave(leg.vendor)

    def close(self, epoch: int) -> None:
        """Close a session or stop dialling it. Idempotent."""
        leg = self.legs.get(epoch)
        if leg is None:
            return
        if leg.dialling is not None:
            leg.dialling.cancel()
            self._drop(epoch)
        elif leg.socket is not None:
            leg.socket.close()

    def lose_all(self) -> None:
        """Close all sockets as if they were lost."""
        for leg in list(self.legs.values()):
            if leg.socket is not None:
                leg.socket.close()

    def close_all(self) -> None:
        for epoch in list(self.legs):
            self.close(epoch)

    # --- what goes out -----------------------------------------------------------------------------------

    def send(self, command: m.UpstreamCommand, now_ms: int) -> None:
        """Write the frames of a command. Without a socket it is lost, which the recording shows."""
        leg = self.legs.get(command.epoch)
        if leg is None or leg.socket is None:
            self._not_sent(command, now_ms)
            return
        for frame in frames_of(leg.adapter.write(command)):
            if self._recorder is not None:
                self._recorder.went(now_ms, "upstream", frame, command.epoch)
            leg.socket.send(frame)

    def append_at_once(self, audio: str, epoch: int, now_ms: int) -> bool:
        """Write one append of the caller's audio. False, and nothing is written, unless the session takes it
        at once.
        """
        leg = self.legs.get(epoch)
        if leg is None:
            return False
        socket = leg.socket
        if socket is None or leg.backlog or socket.outbox_bytes > OUTBOX_BYTES:
            return False
        frame = leg.append(audio)
        if self._recorder is not None:
            self._recorder.went(now_ms, "upstream", frame, epoch)
        socket.send(frame)
        return True

    def append(self, command: m.AppendAudio, now_ms: int) -> None:
        """Caller audio: straight out while the upstream takes it, else kept for a moment and the oldest
        thrown away.
        """
        if self.append_at_once(command.audio, command.epoch, now_ms):
            return
        self._not_sent(command, now_ms)
        leg = self.legs.get(command.epoch)
        if leg is None or leg.socket is None:
            return
        leg.backlog.append(command)
        leg.backlog_bytes += command.size_bytes
        while leg.backlog and leg.socket.outbox_bytes <= OUTBOX_BYTES:
            sent = leg.backlog.popleft()
            leg.backlog_bytes -= sent.size_bytes
            self.send(sent, now_ms)
        dropped = 0
        while leg.backlog_bytes > BACKLOG_MS * self._call.config.bytes_per_ms:
            lost = leg.backlog.popleft()
            leg.backlog_bytes -= lost.size_bytes
            dropped += 1
            if self._recorder is not None:
                self._recorder.dropped(now_ms, "upstream", leg.append(lost.audio), lost.epoch)
        if dropped:
            self._gate.feed(m.FramesDropped(dropped))

    def _not_sent(self, command: m.Action, now_ms: int) -> None:
        """A command of which no frame was made, yet or ever."""
        if self._recorder is not None:
            self._recorder.decided(now_ms, command)
