"""The gate of a call.

`feed` is that gate. Every input passes it, in order: note the time, record, `Call.receive`, carry out, set
the timer. It is not async, so nothing can come between a decision and its bookkeeping, and there are no
locks. Sockets call it from their own callbacks and take what is written at once: bytes arrive, `feed` runs,
bytes leave, in one call stack. A write may call back before it returns; then the new event waits until the
running one is finished.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias, get_args

from bridge.carriers import NOT_BASE64, Carrier
from bridge.codecs.audible import is_audible
from bridge.codecs.voice import GLANCE, VoiceDetector
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.messages import AppendAudio, AudioDelta, CallerAudio
from bridge.errors import ProtocolError, why_refused
from bridge.sockets.dial import CarrierSocket, Socket
from bridge.sockets.frames import INTERNAL_ERROR
from bridge.sockets.held import HELD_SOUND, HeldSound
from bridge.upstreams import Dial, Parsed, Upstream, adapter_of

from .callee_ear import CalleeEar
from .carrier_leg import CarrierLeg
from .pulse import LATE_MS, READ_S, Pulse
from .recorder import Recorder
from .upstream_legs import UpstreamLeg, UpstreamLegs

logger = logging.getLogger(__name__)

_Parse: TypeAlias = Callable[[str | bytes], "m.Event | Parsed"]
_Fed: TypeAlias = tuple[str, _Parse | None, int, Any]
"""A frame: its door, its reader, its epoch (0 for a call's first carrier stream), and itself. Without a
reader, an event."""


class Runner:
    """Moves frames between two sockets and one `Call`.

    `vendor(epoch)` makes the adapter of one upstream session, `dial` opens its socket. `observe(action,
    now_ms)` is told every session event, every note for the shell and every clear; it must not block.
    `closed` is done when the call has ended and both sockets are gone. Lives on the event loop it was made
    on; none of its methods may be called from another thread.

    Five things may be set from outside: `call_sid` names the call in the log; `tap` is given each frame of
    the caller's that is heard, and `sent_tap` what goes to them; `before_close(ended)` returns what is to be
    awaited before the carrier's socket is closed, None for nothing; `other_vendor(plan, epoch)` makes the
    adapter of a session with another vendor. `held` counts the sound that waits in all calls of this process.
    """

    call_sid: str = ""
    tap: Callable[[m.CallerAudio], None] | None = None
    sent_tap: Callable[[m.CarrierCommand], None] | None = None
    before_close: Callable[[m.Ended], Awaitable[object] | None] | None = None
    other_vendor: Callable[[m.VendorPlan, int], Upstream] = staticmethod(adapter_of)
    _doubted = False
    """Of the class, for Python keeps at most 30 attributes of an object where they are quick to read."""

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
        pulse: Pulse | None = None,
    ) -> None:
        self.call = call
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._caller_audio = call.caller_audio
        self._observe = observe
        self._recorder = recorder
        self._carrier = CarrierLeg(carrier, recorder=recorder, feed=self.feed)
        self._parse = carrier.parse
        self._upstreams = UpstreamLegs(call, vendor, dial, recorder, self)
        self._held = held
        held.open(self)
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._born_s = self._time()
        self._last_ms = 0
        self._feeding = False  # the gate is closed: something passes, or the call is over
        self._pending: deque[_Fed] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ms: int | None = None
        self._over = False
        self._pulse = pulse or Pulse()
        self._voice = VoiceDetector()
        self._ear = CalleeEar() if call.callee.open else None
        self._look_each = GLANCE if self._ear is None else 1
        self._audible = True
        self._gate_s = self._heard_s = self._born_s
        self._stalled: list[tuple[UpstreamLeg, str | bytes]] | None = None

    @property
    def since_gate_s(self) -> float:
        """How long ago what is being decided, or was last, came through the gate."""
        return self._time() - self._gate_s

    @property
    def carrier_silent_s(self) -> float:
        """How long ago the carrier's last frame came, of any kind."""
        return self._time() - max(self._heard_s, self._born_s + self._caller_audio.last_ms / 1000)

    @property
    def carrier_is_open(self) -> bool:
        """Whether a stream of the carrier's is there."""
        return self._carrier.open

    # --- the carrier's streams ---------------------------------------------------------------------------

    def attach(self, socket: CarrierSocket, frames: list[str | bytes]) -> None:
        """Take the carrier's socket; `frames` were read from it already (its `start` among them) and come
        first. If there is one already, the carrier has opened another stream of the same call: the newer one
        counts, and what still comes of the older means nothing.
        """
        carrier = self._carrier
        if self._over or carrier.stopped:
            socket.close(carrier.close_code)
            return
        carrier.attach(socket)
        self._parse = carrier.adapter.parse
        for frame in frames:
            self._on_caller_frame(frame)
        carrier.check_outbox()  # the newer stream has one of its own
        socket.start(self._on_caller_frame, self._carrier_closed)

    @property
    def away(self) -> bool:
        """Whether the call has left its stream on purpose, and may come back."""
        return self.call.phase is m.Phase.AWAY

    def part_with_carrier(self) -> None:
        """Close the carrier's socket, which is dead, and let the call go on: a newer stream of it is on its
        way. If none comes, the call ends as one without media.
        """
        self._carrier.abandon()

    def lose_upstream(self) -> None:
        """Close the model's socket as if it were lost, to see what follows. Nothing without one."""
        self.feed(m.BrokenOnPurpose("the model's connection is cut"))
        self._upstreams.lose_all()

    def stall_upstream(self, for_ms: int) -> None:
        """Keep the model's frames for `for_ms`, then take them at once. Idempotent while they are kept."""
        if self._stalled is None and not self._over:
            self.feed(m.BrokenOnPurpose(f"the model is stalled for {for_ms} ms"))
            self._stalled = []
            self._loop.call_later(for_ms / 1000, self._go_on)

    def _go_on(self) -> None:
        stalled, self._stalled = self._stalled, None
        for leg, frame in stalled or ():
            self.process_upstream(leg, frame)

    def _carrier_closed(self, code: int, reason: str) -> None:
        carrier = self._carrier
        carrier.open = False
        ours = carrier.socket is not None and carrier.socket.gave_up
        self.feed(m.CarrierGivenUp(reason) if ours else m.CarrierClosed(code, reason))
        self.check_closed()

    # --- the gate ----------------------------------------------------------------------------------------

    def feed(self, event: m.Event) -> None:
        """Something happened. Everything that follows from it is done when this returns, unless it came from
        within: then when the event that runs is finished.
        """
        if (self._over or self._carrier.stopped) and isinstance(event, m.ShutDown):
            self._carrier.close()  # the apology of a broken call may still be playing
        self._process("", None, 0, event)

    def _on_caller_frame(self, frame: str | bytes) -> None:
        """A frame of the carrier's. Fifty times a second it is the caller's sound, which goes upstream as it
        is: the gate in one function, for a frame costs by the steps on its way. `Call.caller_frame` decides.
        The gate need not be closed: the one write is the last thing to happen. All else takes the usual way.
        """
        if self._feeding:
            return self._process("carrier", self._parse, self._carrier.stream, frame)
        event: m.Event | Parsed
        try:
            event = self._parse(frame)
        except Exception as error:  # noqa: BLE001  as in _unreadable
            event = self._unreadable("carrier", self._carrier.stream, error)
        if type(event) is not CallerAudio:
            self._heard_s = self._gate_s
            self._process("carrier", lambda _frame: event, self._carrier.stream, frame)
            return None
        now_ms = self.now_ms()
        if self._gate_s > self._pulse.until_s:  # before the glance: it is done when the frame passes
            return self._doubt("carrier", lambda _frame: event, self._carrier.stream, frame)
        if not self._caller_audio.frames % self._look_each:
            for told in self._glance(event):
                self.feed(told)
                if self._over or type(told) is m.FrameRefused:
                    return None
            now_ms = self.now_ms()
        try:
            if self.tap is not None:
                self.tap(event)
            if self._recorder is not None:
                self._recorder.came(now_ms, "carrier", frame, self._carrier.stream)
            due = self.call.caller_frame(event, now_ms)
            if isinstance(due, str):
                epoch = self._caller_audio.epoch
                if self._upstreams.append_at_once(due, epoch, now_ms):
                    return None
                due = (AppendAudio(due, event.size_bytes, epoch),)
            if due:
                self._carry_out(due, now_ms)
        except Exception as error:  # noqa: BLE001  as in _process
            self.fail(error)

    def _process(self, door: str, parse: _Parse | None, epoch: int, what: Any) -> None:  # noqa: C901, PLR0915  see below
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
                if self._gate_s > self._pulse.until_s:
                    self._doubt(door, parse, epoch, what)
                    break
                if parse is None:
                    event = what
                else:
                    # Read only now: adapters remember what they have read, and a replay reads in the recorded
                    # order.
                    try:
                        event = parse(what)
                    except Exception as error:  # noqa: BLE001  as in _unreadable
                        event = self._unreadable(door, epoch, error)
                    if type(event) is CallerAudio:
                        glanced = () if self._caller_audio.frames % self._look_each else self._glance(event)
                        if glanced and type(glanced[0]) is m.FrameRefused:
                            parse, event = None, glanced[0]  # an input of its own, in the frame's place
                        else:
                            for told in glanced:
                                self._feed_judged(told, now_ms)
                            if self.tap is not None:
                                self.tap(event)
                    elif type(event) is tuple:
                        for one in event:
                            self._judge(one, now_ms)
                    else:
                        self._judge(event, now_ms)
                if recorder is not None:
                    if parse is None:
                        recorder.happened(now_ms, event)
                    else:
                        recorder.came(now_ms, door, what, epoch)
                if event is not None:
                    for one in event if type(event) is tuple else (event,):
                        for action in self.call.receive(one, now_ms):
                            _EXECUTE.get(type(action), _execute)(self, action, now_ms)
                    if self._carrier.sound is not None:
                        self._carrier.flush()
                if not pending:
                    break
                door, parse, epoch, what = pending.popleft()
        except Exception as error:  # noqa: BLE001  a broken rule ends this one call, never the process
            self.fail(error)
        finally:
            self._feeding = self._over or self._doubted
        if self.call.deadline_ms != self._armed_ms:
            self._arm()

    def process_upstream(self, leg: UpstreamLeg, frame: str | bytes) -> None:
        """A frame of an upstream session came."""
        if self._stalled is not None:
            self._stalled.append((leg, frame))
            return
        self._process("upstream", leg.adapter.parse, leg.epoch, frame)

    def _unreadable(self, door: str, epoch: int, error: Exception) -> m.FrameRefused:
        """A frame that its adapter does not take. One that the adapter was not even written to refuse costs
        the leg it came on, and not the call: an upstream session is replaced, a stream is opened again.
        """
        if not isinstance(error, ProtocolError):
            about = {"call_sid": self.call_sid}
            what = "a frame of the %s could not be read; its socket closes"
            logger.error(what, door, exc_info=error, extra=about)
            socket: Socket | None = self._carrier.socket
            if door != "carrier":
                leg = self._upstreams.legs.get(epoch)
                socket = None if leg is None else leg.socket
            if socket is not None:
                socket.close(INTERNAL_ERROR)
        return m.FrameRefused(door, why_refused(error))

    def _glance(self, frame: m.CallerAudio) -> Sequence[m.Event]:
        """What the call is told before this frame of the caller's, or in its place. As long as it is a
        question who has answered, each frame is looked at.
        """
        between = self._caller_audio.frames % GLANCE
        changed = self._voice.judge(frame.audio) if between else self._voice.update(frame.audio)
        if changed is None:
            return (m.FrameRefused("carrier", NOT_BASE64),)
        voice = (m.CallerVoice(self._voice.loud, self._voice.steady),) if changed else ()
        if self._ear is None:
            return voice
        if not self.call.callee.open:
            self._ear, self._look_each = None, GLANCE
            return voice
        return [*voice, *self._ear.hear(frame.audio)]

    def _judge(self, event: m.Event | None, now_ms: int) -> None:
        """Tell the call what is found in what the model says, before it is told that."""
        if type(event) is AudioDelta and is_audible(event.audio) is not self._audible:
            self._audible = not self._audible
            self._feed_judged(m.ModelVoice(self._audible), now_ms)
        elif self._ear is not None and (words := self._ear.read(event)) is not None:
            self._feed_judged(words, now_ms)

    def _feed_judged(self, judged: m.Event, now_ms: int) -> None:
        """What was found in a frame: an input of its own, before the frame that shows it."""
        if self._recorder is not None:
            self._recorder.happened(now_ms, judged)
        for action in self.call.receive(judged, now_ms):
            _EXECUTE.get(type(action), _execute)(self, action, now_ms)
        self._carrier.flush()

    def _carry_out(self, actions: Iterable[m.Action], now_ms: int) -> None:
        """All of them, and then what came meanwhile."""
        self._feeding = True
        try:
            for action in actions:
                _EXECUTE.get(type(action), _execute)(self, action, now_ms)
        finally:
            self._feeding = self._over
        if self._pending:
            self._process(*self._pending.popleft())

    # --- whose call is it? -------------------------------------------------------------------------------

    def _doubt(self, door: str, parse: _Parse | None, epoch: int, what: Any) -> None:
        """The process has stood still. What came first afterwards, and all that comes behind it, waits until
        it is known that the call is still this machine's.
        """
        self._feeding = self._doubted = True
        self._pending.appendleft((door, parse, epoch, what))
        self._pulse.doubt(self)

    def go_on(self) -> None:
        """The call is this machine's."""
        if self._doubted and not self._over:
            self._feeding = self._doubted = False
            if self._pending:
                self._process(*self._pending.popleft())

    def taken_over(self, by: str) -> None:
        """The call is that machine's: it ends here without a word, whatever waits."""
        self._doubted, self._feeding = False, self._over
        self._pulse = Pulse()
        self.before_close = None
        self.feed(m.TakenOver(by))

    # --- what is to be done ------------------------------------------------------------------------------

    def _to_carrier(self, action: m.CarrierCommand, now_ms: int) -> None:
        self._carrier.send(action, now_ms)
        if self.sent_tap is not None:
            self.sent_tap(action)

    def _clear(self, action: m.ClearPlayout, now_ms: int) -> None:
        self._to_carrier(action, now_ms)
        self._observe(action, now_ms)

    def _to_upstream(self, action: m.UpstreamCommand, now_ms: int) -> None:
        self._upstreams.send(action, now_ms)

    def _append(self, action: m.AppendAudio, now_ms: int) -> None:
        self._upstreams.append(action, now_ms)

    def _execute(self, action: m.Action, now_ms: int) -> None:
        """What is for the shell, or for the observer."""
        if self._recorder is not None:
            self._recorder.decided(now_ms, action)
        match action:
            case m.DialUpstream():
                self._upstreams.open(action)
            case m.CloseUpstream():
                self._upstreams.close(action.epoch)
            case m.HoldSound():
                if (limit_bytes := self._held.ask(self, action.size_bytes)) < action.size_bytes:
                    self.feed(m.HoldRefused(limit_bytes))
            case m.LeaveStream():
                self._carrier.leave()
                self._observe(action, now_ms)
            case m.CloseCarrier():
                self._carrier.close_code = action.code  # `Ended` is next, and says what comes before
            case m.Ended() | m.BillClosed():
                if isinstance(action, m.BillClosed) or not action.unbilled:
                    self._finish()
                self._observe(action, now_ms)
                if isinstance(action, m.Ended):
                    self._leave(action)
            case _:
                self._observe(action, now_ms)

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

    def _wake(self, has_read: bool = False) -> None:
        if not has_read and self.now_ms() > (self._armed_ms or 0) + LATE_MS:
            # The process stood still. What came meanwhile is read first, or it would be missed.
            self._timer = self._loop.call_later(READ_S, self._wake, True)
            return
        self._last_ms = max(self._last_ms, self._armed_ms or 0)
        self._timer = self._armed_ms = None
        self.feed(m.WakeUp())

    # --- ends --------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The core has said its last word, and the vendor."""
        self._over = self._feeding = True
        self._held.close(self)
        self._pending.clear()
        self._arm()
        self._carrier.stop()
        self._upstreams.close_all()
        if self._recorder is not None:
            self._recorder.close()
        self._loop.call_soon(self.check_closed)

    def _leave(self, ended: m.Ended) -> None:
        """Close the carrier's socket, after what there is to be done before."""
        self.tap = None
        self._carrier.stop()
        before = self.before_close if self._carrier.open else None
        self._carrier.close_after(None if before is None else before(ended))

    def fail(self, error: Exception) -> None:
        """End this call without the core: its word can't be trusted any more. The caller hears the
        apology.
        """
        carrier = self._carrier
        carrier.discard()
        about = {"call_sid": self.call_sid}
        logger.error("an internal invariant was broken; this call ends", exc_info=error, extra=about)
        carrier.close_code = INTERNAL_ERROR
        if self._over or carrier.stopped:  # an observer of the end raised: the socket is still to be closed
            self._finish()
            carrier.close()
            return
        apology = self.call.playout.phrases.get("apology")
        wait_s = 0.0
        if apology is not None and carrier.play_instead(apology):
            wait_s = apology.size_bytes / self.call.config.bytes_per_ms / 1000
        self._finish()
        self._loop.call_later(wait_s, carrier.close)
        self._observe(m.Ended(m.Reason.BROKEN, repr(error)), self._last_ms)

    def check_closed(self) -> None:
        """A leg is gone; with the last of an ended call, it is closed."""
        if self._over and not (self._carrier.open or self._upstreams.legs or self.closed.done()):
            self.closed.set_result(None)


_execute = Runner._execute  # noqa: SLF001  the class's own table
_EXECUTE: dict[type[m.Action], Callable[[Runner, Any, int], None]] = {
    **dict.fromkeys(get_args(m.CarrierCommand), Runner._to_carrier),  # noqa: SLF001
    **dict.fromkeys(get_args(m.UpstreamCommand), Runner._to_upstream),  # noqa: SLF001
    m.AppendAudio: Runner._append,  # noqa: SLF001
    m.ClearPlayout: Runner._clear,  # noqa: SLF001
}
