"""One call in flight: two sockets, one `Call`, one clock, one gate.

`feed` is that gate. Whatever happens to the call passes it, in order: note the time, record, `Call.receive`,
carry out, set the timer. It is not async, so nothing can come between a decision and its bookkeeping, and
there are no locks. Sockets call it from their own callbacks and take what is written at once: bytes arrive,
`feed` runs, bytes leave, in one call stack. A write may call back before it returns; then the new event waits
until the running one is finished.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, get_args

from bridge.sockets.dial import CarrierSocket, DialError, Socket
from bridge.sockets.frames import INTERNAL_ERROR, NORMAL
from bridge.sockets.held import HELD_SOUND, HeldSound

from .carriers import Carrier
from .codecs.voice import is_loud
from .core import messages as m
from .core.call import Call
from .core.messages import CallerAudio, PlayAudio
from .errors import BridgeError, ProtocolError, why_refused
from .upstreams import Dial, Upstream

logger = logging.getLogger(__name__)

BACKLOG_MS = 500
"""Caller audio that may wait for a slow upstream; then the oldest goes, for late audio is worse than none."""
GLANCE = 4
"""Every so many of the caller's frames one is looked at, whether it is loud: each 80 ms."""
OUTBOX_BYTES = 32_768
"""Bytes our side of the upstream socket may hold before caller audio waits here instead. And our side of the
carrier's, before sound waits in the core: with what one step adds (`core/pacer.py`) at most 64 KiB."""
LOOK_S = 0.05
"""After so long a full outbox is looked at again."""


class Recorder(Protocol):
    """What the gate tells a recording (`bridge.recording.Recorder`)."""

    def came(self, now_ms: int, door: str, frame: str | bytes, epoch: int = 0) -> None: ...
    def happened(self, now_ms: int, event: m.Event) -> None: ...
    def went(self, now_ms: int, door: str, frame: str | bytes, epoch: int = 0) -> None: ...
    def dropped(self, now_ms: int, door: str, frame: str | bytes, epoch: int = 0) -> None: ...
    def decided(self, now_ms: int, action: m.Action) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _UpstreamLeg:
    """One upstream session: its adapter, and its socket once dialling has succeeded."""

    adapter: Upstream
    write: Callable[[m.UpstreamCommand], str | bytes]
    dialling: asyncio.Task[None] | None = None
    socket: Socket | None = None
    backlog: deque[m.AppendAudio] = field(default_factory=deque)
    backlog_bytes: int = 0


_Parse = Callable[[str | bytes], m.Event | None]
_Fed = tuple[str, _Parse | None, int, Any]
"""A frame: its door, who reads it, its epoch (0 for a call's first carrier stream), and itself. With nobody
to read it, an event."""


class Runner:
    """Moves frames between two sockets and one `Call`.

    `vendor(epoch)` makes the adapter of one upstream session, `dial` opens its socket. `observe(action,
    now_ms)` is told every session event, every note for the shell and every clear; it must not block.
    `closed` is done when the call has ended and both sockets are gone. Lives on the event loop it was made
    on; none of its methods may be called from another thread.

    Three things may be set from outside: `call_sid` names the call in the log; `tap` is given each frame of
    the caller's that is heard; `part(ended)` returns what is to be awaited before the carrier's socket is
    closed, None for nothing. `held` counts the sound that waits in all calls of this process.
    """

    call_sid: str = ""
    tap: Callable[[m.CallerAudio], None] | None = None
    part: Callable[[m.Ended], Awaitable[object] | None] | None = None

    def __init__(
        self,
        call: Call,
        carrier: Carrier,
        vendor: Callable[[int], Upstream],
        dial: Callable[[Dial], Awaitable[Socket]],
        *,
        observe: Callable[[m.Action, int], None],
        recorder: Recorder | None = None,
        held: HeldSound = HELD_SOUND,
    ) -> None:
        self.call = call
        self.carrier = carrier
        self._caller_audio = call.caller_audio
        self._parse = carrier.parse
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._vendor = vendor
        self._dial = dial
        self._observe = observe
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._born_s = self._time()
        self._last_ms = 0
        self._carrier_socket: CarrierSocket | None = None
        self._stream = 0
        self._carrier_open = False
        self._held = held
        held.open(self)
        self._outbox_full = False
        self._upstreams: dict[int, _UpstreamLeg] = {}
        self._sound: str | bytes | None = None
        self._feeding = False  # the gate is closed: something passes, or the call is over
        self._pending: deque[_Fed] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ms: int | None = None
        self._over = False
        self._loud = False
        self._gate_s = self._heard_s = self._born_s
        self._close_code = NORMAL
        self._parting: asyncio.Task[None] | None = None

    @property
    def since_gate_s(self) -> float:
        """How long ago what is being decided, or was last, came through the gate."""
        return self._time() - self._gate_s

    @property
    def carrier_silent_s(self) -> float:
        """How long ago the carrier's last frame came, of any kind."""
        return self._time() - max(self._heard_s, self._born_s + self._caller_audio.last_ms / 1000)

    # --- the legs ----------------------------------------------------------------------------------------

    def attach(self, socket: CarrierSocket, frames: list[str | bytes]) -> None:
        """Take the carrier's socket; `frames` were read from it already (its `start` among them) and come
        first. If there is one already, the carrier has opened another stream of the same call: the newer one
        counts, and what still comes of the older means nothing.
        """
        if self._over:
            socket.close(self._close_code)
            return
        former, self._carrier_socket = self._carrier_socket, socket
        self._carrier_open = True
        if former is not None:
            former.start(_not_heard, _not_heard)
            former.close()
            self._stream += 1
            self.carrier = type(self.carrier)()
        self._parse = self.carrier.parse
        for frame in frames:
            self._hear(frame)
        self._look_at_outbox()  # the newer stream has one of its own
        socket.start(self._hear, self._carrier_closed)

    def part_with_carrier(self) -> None:
        """Close the carrier's socket, which is dead, and let the call go on: a newer stream of it is on its
        way. If none comes, the call ends as one without media.
        """
        if self._carrier_socket is not None:
            self._carrier_socket.start(_not_heard, _not_heard)
            self._carrier_socket.close()
            self._carrier_open = False

    def _carrier_closed(self, code: int, reason: str) -> None:
        self._carrier_open = False
        ours = self._carrier_socket is not None and self._carrier_socket.gave_up
        self.feed(m.CarrierGivenUp(reason) if ours else m.CarrierClosed(code, reason))
        self._check_closed()

    def _upstream_closed(self, epoch: int, code: int, reason: str) -> None:
        self._upstreams.pop(epoch, None)
        self.feed(m.UpstreamClosed(code, reason, epoch))
        self._check_closed()

    # --- the gate ----------------------------------------------------------------------------------------

    def feed(self, event: m.Event) -> None:
        """Something happened. Everything that follows from it is done when this returns, unless it came from
        within: then when the event that runs is finished.
        """
        if self._over and isinstance(event, m.ShutDown):
            self._close_carrier()  # the apology of a broken call may still be playing
        self._take("", None, 0, event)

    def _hear(self, frame: str | bytes) -> None:
        """A frame of the carrier's. Fifty times a second it is the caller's sound, which goes upstream as it
        is: the gate at its widest, in one function, for a frame costs by the steps on its way. It need not be
        closed: the one write is the last thing to happen. Everything else takes the usual way.
        """
        if self._feeding:
            self._take("carrier", self._parse, self._stream, frame)
            return
        event: m.Event | None
        try:
            event = self._parse(frame)
        except Exception as error:  # noqa: BLE001  as in _unreadable
            event = self._unreadable("carrier", self._stream, error)
        try:
            if type(event) is CallerAudio and (
                self._caller_audio.frames % GLANCE or is_loud(event.audio) is self._loud
            ):
                now_ms = self.now_ms()
                if self.tap is not None:
                    self.tap(event)
                if self._recorder is not None:
                    self._recorder.came(now_ms, "carrier", frame, self._stream)
                actions = self._caller_audio.hear(event, now_ms)
                if len(actions) == 1:
                    self._append(actions[0], now_ms)
                else:
                    self._carry_out(actions, now_ms)
                return
        except Exception as error:  # noqa: BLE001  as in _take
            self._broken(error)
            return
        self._heard_s = self._gate_s
        self._take("carrier", lambda _frame: event, self._stream, frame)

    def _take(self, door: str, parse: _Parse | None, epoch: int, what: Any) -> None:  # noqa: C901  see below
        """The gate itself, in one function: what it costs is mostly the number of calls on the way."""
        pending, recorder = self._pending, self._recorder
        if self._feeding:
            if not self._over:
                pending.append((door, parse, epoch, what))
            return
        self._feeding = True
        try:
            while True:
                now_ms = self.now_ms()
                if parse is None:
                    event = what
                    if recorder is not None:
                        recorder.happened(now_ms, event)
                else:
                    # Read only now: adapters remember what they have read, and a replay reads in the recorded
                    # order.
                    try:
                        event = parse(what)
                    except Exception as error:  # noqa: BLE001  as in _unreadable
                        event = self._unreadable(door, epoch, error)
                    if type(event) is CallerAudio:
                        if not self._caller_audio.frames % GLANCE and is_loud(event.audio) is not self._loud:
                            self._feed_voice(now_ms)
                        if self.tap is not None:
                            self.tap(event)
                    if recorder is not None:
                        recorder.came(now_ms, door, what, epoch)
                if event is not None:
                    for action in self.call.receive(event, now_ms):
                        _CARRY_OUT.get(type(action), _do)(self, action, now_ms)
                    if self._sound is not None:
                        self._send_sound()
                if not pending:
                    break
                door, parse, epoch, what = pending.popleft()
        except Exception as error:  # noqa: BLE001  a bug of ours ends this one call, never the process
            self._broken(error)
        finally:
            self._feeding = self._over
        if self.call.deadline_ms != self._armed_ms:
            self._arm()

    def _unreadable(self, door: str, epoch: int, error: Exception) -> m.FrameRefused:
        """A frame that its adapter does not take. One that the adapter was not even written to refuse costs
        the leg it came on, and not the call: an upstream session is replaced, a stream is opened again.
        """
        if not isinstance(error, ProtocolError):
            about = {"call_sid": self.call_sid}
            what = "a frame of the %s could not be read; its socket closes"
            logger.error(what, door, exc_info=error, extra=about)
            socket: Socket | None = self._carrier_socket
            if door != "carrier":
                leg = self._upstreams.get(epoch)
                socket = None if leg is None else leg.socket
            if socket is not None:
                socket.close(INTERNAL_ERROR)
        return m.FrameRefused(door, why_refused(error))

    def _feed_voice(self, now_ms: int) -> None:
        """The caller's sound turned loud or quiet: an input of its own, before the frame that shows it."""
        self._loud = not self._loud
        voice = m.CallerVoice(self._loud)
        if self._recorder is not None:
            self._recorder.happened(now_ms, voice)
        for action in self.call.receive(voice, now_ms):
            _CARRY_OUT.get(type(action), _do)(self, action, now_ms)
        self._send_sound()

    def _carry_out(self, actions: Iterable[m.Action], now_ms: int) -> None:
        """All of them, and then what came meanwhile."""
        self._feeding = True
        try:
            for action in actions:
                _CARRY_OUT.get(type(action), _do)(self, action, now_ms)
        finally:
            self._feeding = self._over
        if self._pending:
            self._take(*self._pending.popleft())

    def _to_carrier(self, action: m.CarrierCommand, now_ms: int) -> None:
        frame = self.carrier.write(action)
        if self._recorder is not None:
            self._recorder.went(now_ms, "carrier", frame)
        if self._sound is not None:
            self._send_sound(frame)
        elif type(action) is PlayAudio:
            self._sound = frame  # its mark is next, mostly: one write for both
        elif self._carrier_socket is not None:
            self._carrier_socket.send(frame)

    def _send_sound(self, *behind: str | bytes) -> None:
        """The sound that waits for what may come behind it, if there is one, and that."""
        sound, self._sound = self._sound, None
        socket = self._carrier_socket
        if sound is not None and socket is not None:
            socket.send(sound, *behind)
            if socket.outbox_bytes > OUTBOX_BYTES and not self._outbox_full:
                self._outbox_full = True
                self.feed(m.OutboxFull(True))
                self._loop.call_later(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        """The network takes what it takes, and tells nobody."""
        if self._outbox_full and not self._over and not self._look_at_outbox():
            self._loop.call_later(LOOK_S, self._look_again)

    def _look_at_outbox(self) -> bool:
        """Whether it has room, as far as the call knows now."""
        socket = self._carrier_socket
        if self._outbox_full and socket is not None and socket.outbox_bytes <= OUTBOX_BYTES // 2:
            self._outbox_full = False
            self.feed(m.OutboxFull(False))
        return not self._outbox_full

    def _clear(self, action: m.ClearPlayout, now_ms: int) -> None:
        self._to_carrier(action, now_ms)
        self._observe(action, now_ms)

    def _to_upstream(self, action: m.UpstreamCommand, now_ms: int) -> None:
        leg = self._upstreams.get(action.epoch)
        if leg is None or leg.socket is None:
            self._not_sent(action, now_ms)
            return
        frame = leg.write(action)
        if self._recorder is not None:
            self._recorder.went(now_ms, "upstream", frame, action.epoch)
        leg.socket.send(frame)

    def _append(self, action: m.AppendAudio, now_ms: int) -> None:
        """Caller audio: straight out while the upstream takes it, else kept for a moment and the oldest
        thrown away.
        """
        leg = self._upstreams.get(action.epoch)
        if leg is None or leg.socket is None:
            self._not_sent(action, now_ms)
            return
        if not leg.backlog and leg.socket.outbox_bytes <= OUTBOX_BYTES:
            frame = leg.write(action)
            if self._recorder is not None:
                self._recorder.went(now_ms, "upstream", frame, action.epoch)
            leg.socket.send(frame)
            return
        if not self._feeding:  # straight from `_hear`: there may be several writes now
            self._carry_out([action], now_ms)
            return
        self._not_sent(action, now_ms)
        leg.backlog.append(action)
        leg.backlog_bytes += action.size_bytes
        while leg.backlog and leg.socket.outbox_bytes <= OUTBOX_BYTES:
            sent = leg.backlog.popleft()
            leg.backlog_bytes -= sent.size_bytes
            self._to_upstream(sent, now_ms)
        dropped = 0
        while leg.backlog_bytes > BACKLOG_MS * self.call.config.bytes_per_ms:
            lost = leg.backlog.popleft()
            leg.backlog_bytes -= lost.size_bytes
            dropped += 1
            if self._recorder is not None:
                self._recorder.dropped(now_ms, "upstream", leg.write(lost), lost.epoch)
        if dropped:
            self.feed(m.FramesDropped(dropped))

    def _not_sent(self, action: m.Action, now_ms: int) -> None:
        """A command of which no frame was made, yet or ever."""
        if self._recorder is not None:
            self._recorder.decided(now_ms, action)

    def _do(self, action: m.Action, now_ms: int) -> None:
        """What is for the shell, or for whoever observes."""
        self._not_sent(action, now_ms)
        match action:
            case m.DialUpstream():
                self._open(action.epoch)
            case m.CloseUpstream():
                self._close_upstream(action.epoch)
            case m.HoldSound():
                if (limit_bytes := self._held.ask(self, action.size_bytes)) < action.size_bytes:
                    self.feed(m.HoldRefused(limit_bytes))
            case m.CloseCarrier():
                self._close_code = action.code  # `Ended` is next, and says what comes before
            case m.Ended():
                self._finish()
                self._observe(action, now_ms)
                self._leave(action)
            case _:
                self._observe(action, now_ms)

    # --- dialling ----------------------------------------------------------------------------------------

    def _open(self, epoch: int) -> None:
        adapter = self._vendor(epoch)
        leg = self._upstreams[epoch] = _UpstreamLeg(adapter, adapter.write)
        leg.dialling = self._loop.create_task(self._connect(epoch, leg), name=f"dial {epoch}")

    async def _connect(self, epoch: int, leg: _UpstreamLeg) -> None:
        try:
            socket = await self._dial(leg.adapter.dial(self.call.config.session))
        except DialError as error:
            del self._upstreams[epoch]
            retry_ms = int((error.retry_after_s or 0) * 1000)
            self.feed(m.DialFailed(epoch, error.status or 0, error.code or error.reason, retry_ms))
            self._check_closed()
            return
        except Exception as error:  # noqa: BLE001  whoever dials is not ours: nothing may be lost in a task
            del self._upstreams[epoch]
            self._broken(error)
            return
        leg.dialling = None
        leg.socket = socket
        socket.start(
            partial(self._take, "upstream", leg.adapter.parse, epoch),
            lambda code, reason: self._upstream_closed(epoch, code, reason),
        )

    def _close_upstream(self, epoch: int) -> None:
        leg = self._upstreams.get(epoch)
        if leg is None:
            return
        if leg.dialling is not None:
            leg.dialling.cancel()
            del self._upstreams[epoch]
        elif leg.socket is not None:
            leg.socket.close()

    # --- the clock ---------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Milliseconds since the call was accepted; never runs backwards, and never short of a deadline that
        fired.
        """
        self._gate_s = now_s = self._time()
        now_ms = int((now_s - self._born_s) * 1000)
        if now_ms < self._last_ms:
            return self._last_ms
        self._last_ms = now_ms
        return now_ms

    def _arm(self) -> None:
        due_ms = None if self._over else self.call.deadline_ms
        if due_ms == self._armed_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_ms = due_ms
        self._timer = None if due_ms is None else self._loop.call_at(self._born_s + due_ms / 1000, self._wake)

    def _wake(self) -> None:
        self._last_ms = max(self._last_ms, self._armed_ms or 0)
        self._timer = self._armed_ms = None
        self.feed(m.WakeUp())

    # --- ends --------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The core has said its last word."""
        self._over = self._feeding = True
        self._held.close(self)
        self._pending.clear()
        self._arm()
        for epoch in list(self._upstreams):
            self._close_upstream(epoch)
        if self._recorder is not None:
            self._recorder.close()
        self._loop.call_soon(self._check_closed)

    def _leave(self, ended: m.Ended) -> None:
        """Close the carrier's socket, after what there is to be done before."""
        parting = self.part(ended) if self.part is not None and self._carrier_open else None
        if parting is None:
            self._close_carrier()
        else:
            self._parting = self._loop.create_task(self._close_after(parting), name="parting")

    async def _close_after(self, parting: Awaitable[object]) -> None:
        try:
            await parting
        finally:
            self._close_carrier()

    def _broken(self, error: Exception) -> None:
        """End this call without the core: its word can't be trusted any more. The caller hears the
        apology.
        """
        self._sound = None
        about = {"call_sid": self.call_sid}
        logger.error("a rule of ours was broken; this call ends", exc_info=error, extra=about)
        self._close_code = INTERNAL_ERROR
        if self._over:  # somebody who was told of the end raised: the socket is still to be closed
            self._close_carrier()
            return
        wait_s = self._apologise()
        self._finish()
        self._loop.call_later(wait_s, self._close_carrier)
        self._observe(m.Ended(m.Reason.BROKEN, repr(error)), self._last_ms)

    def _apologise(self) -> float:
        """Play the apology in the place of everything else; how many seconds it takes."""
        apology = self.call.config.phrases.get("apology")
        if apology is None or not self._carrier_open or self._carrier_socket is None:
            return 0.0
        try:
            frames = [
                self.carrier.write(m.ClearPlayout()),
                self.carrier.write(m.PlayAudio(apology.audio, apology.size_bytes)),
            ]
        except BridgeError:  # it broke before the stream had started
            return 0.0
        for frame in frames:
            self._carrier_socket.send(frame)
        return apology.size_bytes / self.call.config.bytes_per_ms / 1000

    def _close_carrier(self) -> None:
        self._send_sound()
        if self._carrier_socket is not None:
            self._carrier_socket.close(self._close_code)

    def _check_closed(self) -> None:
        if self._over and not self._carrier_open and not self._upstreams and not self.closed.done():
            self.closed.set_result(None)


def _not_heard(*_what: object) -> None:
    """Takes the frames and the end of a stream that a newer one replaced."""


_do = Runner._do  # noqa: SLF001  the class's own table
_CARRY_OUT: dict[type[m.Action], Callable[[Runner, Any, int], None]] = {
    **dict.fromkeys(get_args(m.CarrierCommand), Runner._to_carrier),  # noqa: SLF001
    **dict.fromkeys(get_args(m.UpstreamCommand), Runner._to_upstream),  # noqa: SLF001
    m.AppendAudio: Runner._append,  # noqa: SLF001
    m.ClearPlayout: Runner._clear,  # noqa: SLF001
}
