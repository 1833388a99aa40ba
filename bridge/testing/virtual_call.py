"""A whole call in virtual time: the real core and adapters between a phone double and Realtime server
doubles.

No socket, no loop, no sleep: time jumps from one thing that is due to the next, so an hour of call takes a
second and every run is the same. Tests, the pytest plugin and the ledger's simulation stand on this; the
runner does the same with real sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bridge.carriers import NOT_BASE64, Carrier
from bridge.carriers.twilio import Twilio
from bridge.codecs.audible import is_audible
from bridge.codecs.voice import GLANCE, VoiceDetector
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.doubles.phone import Phone
from bridge.doubles.realtime import RealtimeServer
from bridge.errors import CarrierError, UpstreamError
from bridge.runner import CalleeEar, Recorder
from bridge.testing.away import Elsewhere
from bridge.upstreams import Parsed, Upstream, frames_of
from bridge.upstreams.openai import OpenAI

_Action = TypeVar("_Action", bound=m.Message)


class Beside(Protocol):
    """A task that lives by the clock of the call: the programmer's side. `heard` is told each frame of the
    caller's.
    """

    @property
    def deadline_ms(self) -> int | None: ...
    def wake(self, now_ms: int) -> None: ...
    def heard(self, event: m.CallerAudio) -> None: ...


@dataclass(slots=True)
class _Session:
    """One upstream session: our adapter, and the server it speaks to."""

    adapter: Upstream
    server: RealtimeServer


Other = tuple[Callable[[], RealtimeServer | None], Callable[[int], Upstream]]
"""Another vendor: its server, and our adapter, of each session."""
_Parse = Callable[[str | bytes], m.Event | Parsed]
_Fed = tuple[m.Event | None, _Parse | None, str, str, int]
"""An event; or a frame, with who reads it, its door and its epoch."""


class VirtualCall:
    """One call. `server()` makes the Realtime server of each session, or None where it can't be reached (then
    the dial fails).

    `said` holds everything the core decided, with its time; `log(kind)` picks from it. What the caller heard
    is in `phone`, what the model was told in `servers[-1]`.
    """

    def __init__(
        self,
        config: m.CallConfig,
        phone: Phone,
        server: Callable[[], RealtimeServer | None],
        *,
        dial_ms: int = 30,
        recorder: Recorder | None = None,
        observe: Callable[[m.Action, int], None] | None = None,
        upstream: Callable[[int], Upstream] = OpenAI,
    ) -> None:
        self.call = Call(config)
        self.phone = phone
        self.phones = [phone]
        """That of each stream of the call, in order."""
        self.elsewhere = Elsewhere(self)
        self.keys: list[str] = []
        """What was pressed for the other side, in order."""
        self.servers: list[RealtimeServer] = []
        self.said: list[tuple[int, m.Action]] = []
        self.now_ms = 0
        self.ended: m.Ended | None = None
        self.beside: Beside | None = None
        self._carrier: Carrier = Twilio()
        self._new_upstream = upstream
        self._new_server = server
        self.others: dict[str, Other] = {}
        """The vendors that the call may go on with, by name."""
        self._dial_ms = dial_ms
        self._recorder = recorder
        self._observe = observe
        self._sessions: dict[int, _Session] = {}
        self._dials: list[tuple[int, int, str]] = []
        self._pending: deque[_Fed] = deque()
        self._feeding = False
        self._voice = VoiceDetector()
        self._ear = CalleeEar()
        self._audible = True
        self._planned: list[tuple[int, Callable[[], None]]] = []

    # --- playing it
    # ----------------------------------------------------------------------------------------------------

    def start(self, *, ring: bool = False, admitted: bool = True) -> None:
        """The phone connects now; `ring` lets the webhook come first."""
        if ring:
            self.feed(m.Ringing())
        self.from_phone([self._carrier.redact(frame) for frame in self.phone.start(self.now_ms)])
        if admitted:
            self.feed(m.Admitted())

    def take_up(self, call: Call, now_ms: int, carrier: Carrier, recorder: Recorder | None = None) -> None:
        """Go on with a call that stands at this moment, by the carrier's adapter that it has: its phone is
        connected, and nothing of its beginning is done again. The model's session is not there: tell it so.
        """
        self.call, self.now_ms, self._carrier, self._recorder = call, now_ms, carrier, recorder
        self.phone.start(now_ms)

    def at(self, now_ms: int, do: Callable[[], None]) -> None:
        """Plan something for later: a key pressed, a model lost, a wish of the handler's."""
        self._planned.append((now_ms, do))
        self._planned.sort(key=lambda planned: planned[0])

    def until(self, now_ms: int) -> None:
        """Let time pass up to and including `now_ms`, or to the end of the call."""
        while (due_ms := self.due_ms) is not None and due_ms <= now_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self._step()
        self.now_ms = max(self.now_ms, now_ms)

    def run(self, limit_ms: int = 600_000) -> m.Ended | None:
        """Until the call has ended; None if it has not by `limit_ms`."""
        while not self.over and (due_ms := self.due_ms) is not None and due_ms <= limit_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self._step()
        return self.ended

    def feed(self, event: m.Event) -> None:
        """Something happened that is no frame."""
        self._take([(event, None, "", "", 0)])

    def from_phone(self, frames: list[str]) -> None:
        """Frames that the phone made outside of its own turn: a key pressed, a hang-up."""
        stream = len(self.phones) - 1
        self._take([(None, self._carrier.parse, "carrier", frame, stream) for frame in frames])
        if self.phone.close is not None and self.ended is None:
            self.feed(m.CarrierClosed(*self.phone.close))

    @property
    def due_ms(self) -> int | None:
        """When something is due next, None for never."""
        due = [
            self.call.deadline_ms,
            self.phone.deadline_ms,
            *(s.server.deadline_ms for s in self._sessions.values()),
        ]
        due += [at_ms for at_ms, *_ in self._dials[:1]] + [at_ms for at_ms, _ in self._planned[:1]]
        if self.beside is not None:
            due.append(self.beside.deadline_ms)
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    @property
    def over(self) -> bool:
        """Whether the call has ended, and what it has cost is known."""
        return self.ended is not None and not self.call.parting

    def hang_up_phone(self) -> None:
        """The call leaves its stream."""
        self.phone.gone(self.now_ms)

    def reopen(self, parameters: dict[str, str]) -> None:
        """The carrier opens the next stream of the call. Nothing where the call has ended."""
        if self.ended is not None:
            return
        self.phone = self.phone.next_stream(parameters)
        self.phones.append(self.phone)
        self._carrier = type(self._carrier)()
        self.start()

    def from_server(self, frames: list[str], epoch: int | None = None) -> None:
        """Frames that a Realtime server made outside of its own turn; that of the newest session by
        default.
        """
        epoch = max(self._sessions, default=0) if epoch is None else epoch
        session = self._sessions.get(epoch)
        if session is None:
            return
        self._take([(None, session.adapter.parse, "upstream", frame, epoch) for frame in frames])
        if session.server.close is not None and self._sessions.pop(epoch, None) is not None:
            self.feed(m.UpstreamClosed(*session.server.close, epoch))

    # --- looking at it
    # -------------------------------------------------------------------------------------------------

    def log(self, *kinds: type[_Action]) -> list[_Action]:
        """Everything of these kinds that the core decided, in order."""
        return [action for _, action in self.said if isinstance(action, kinds)]

    @property
    def server(self) -> RealtimeServer:
        """The Realtime server of the newest session."""
        return self.servers[-1]

    def lose_model(self, code: int = 1006) -> None:
        """The socket of the newest session is gone, here and now."""
        epoch = max(self._sessions)
        self._sessions.pop(epoch).server.gone(self.now_ms)
        self.feed(m.UpstreamClosed(code, "", epoch))

    # --- inside
    # --------------------------------------------------------------------------------------------------------

    def _take(self, fed: list[_Fed]) -> None:
        """What the runner's gate does, with this clock. Frames sent together arrive together: what is
        answered to the first of them comes behind the last.
        """
        self._pending += fed
        if self._feeding:
            return
        self._feeding = True
        while self._pending and not self.over:
            event, parse, door, frame, epoch = self._pending.popleft()
            if parse is not None:
                events = self._read(parse, door, frame, epoch)
            else:
                events = () if event is None else (self._told(event),)
            for one in events:
                if self.beside is not None and isinstance(one, m.CallerAudio):
                    self.beside.heard(one)
                for action in self.call.receive(one, self.now_ms):
                    self._perform(action)
        self._feeding = False

    def _read(self, parse: _Parse, door: str, frame: str, epoch: int) -> tuple[m.Event, ...]:
        """Read only now: adapters remember what they have read, and a replay reads in the recorded order."""
        events: tuple[m.Event, ...]
        try:
            parsed = parse(frame)
            events = parsed if isinstance(parsed, tuple) else () if parsed is None else (parsed,)
        except (CarrierError, UpstreamError) as error:
            events = (m.FrameRefused(door, str(error)),)
        for event in events:
            found = self._found_in(event)
            if found is None:
                return (self._told(m.FrameRefused(door, NOT_BASE64)),)
            self._judged(found)
        if self._recorder is not None:
            self._recorder.came(self.now_ms, door, frame, epoch)
        return events

    def _found_in(self, event: m.Event) -> list[m.Event] | None:
        """What the call is told before this; None for a frame of the caller's that is no sound."""
        if isinstance(event, m.CallerAudio):
            voice, between = self._voice, self.call.caller_audio.frames % GLANCE
            changed = voice.judge(event.audio) if between else voice.update(event.audio)
            if changed is None:
                return None
            judged: list[m.Event] = [m.CallerVoice(voice.loud, voice.steady)] if changed else []
            if self.call.callee.open:
                judged += self._ear.hear(event.audio)
            return judged
        if isinstance(event, m.AudioDelta) and is_audible(event.audio) is not self._audible:
            self._audible = not self._audible
            return [m.ModelVoice(self._audible)]
        words = self._ear.read(event) if self.call.callee.open else None
        return [] if words is None else [words]

    def _judged(self, found: list[m.Event]) -> None:
        """What was found in a frame: inputs of their own, before the frame."""
        for event in found:
            for action in self.call.receive(self._told(event), self.now_ms):
                self._perform(action)

    def _told(self, event: m.Event) -> m.Event:
        if self._recorder is not None:
            self._recorder.happened(self.now_ms, event)
        return event

    def _step(self) -> None:
        now_ms = self.now_ms
        while self._planned and self._planned[0][0] <= now_ms:
            self._planned.pop(0)[1]()
        while self._dials and self._dials[0][0] <= now_ms:
            self._dialled(*self._dials.pop(0)[1:])
        if not self.over and self.call.deadline_ms is not None and self.call.deadline_ms <= now_ms:
            self.feed(m.WakeUp())
        self.from_phone(self.phone.wake(now_ms))
        for epoch, session in list(self._sessions.items()):
            self.from_server(session.server.wake(now_ms), epoch)
        if self.beside is not None:
            self.beside.wake(now_ms)

    def _perform(self, action: m.Action) -> None:
        self.said.append((self.now_ms, action))
        recorder = self._recorder
        if isinstance(action, m.CarrierCommand):
            frame = self._carrier.write(action)
            if recorder is not None:
                recorder.went(self.now_ms, "carrier", frame)
            self.from_phone(self.phone.receive(frame, self.now_ms))
        elif isinstance(action, m.UpstreamCommand):
            self._to_server(action)
        else:
            if recorder is not None:
                recorder.decided(self.now_ms, action)
            self._do(action)

    def _to_server(self, action: m.UpstreamCommand) -> None:
        session, recorder = self._sessions.get(action.epoch), self._recorder
        if session is None:
            if recorder is not None:
                recorder.decided(self.now_ms, action)
            return
        for frame in frames_of(session.adapter.write(action)):
            if recorder is not None:
                recorder.went(self.now_ms, "upstream", frame, action.epoch)
            self.from_server(session.server.receive(frame, self.now_ms), action.epoch)

    def _do(self, action: m.Action) -> None:
        self.elsewhere.do(action)
        match action:
            case m.DialUpstream():
                self._dials.append((self.now_ms + self._dial_ms, action.epoch, action.vendor or ""))
            case m.CloseUpstream():
                self._dials = [dial for dial in self._dials if dial[1] != action.epoch]
                if (session := self._sessions.pop(action.epoch, None)) is not None:
                    session.server.gone(self.now_ms)
            case m.CloseCarrier():
                self.phone.gone(self.now_ms)
            case m.Ended():
                self.ended = action
        if self._recorder is not None and isinstance(action, m.Ended | m.BillClosed) and self.over:
            self._recorder.close()
        if self._observe is not None:
            self._observe(action, self.now_ms)

    def _dialled(self, epoch: int, name: str) -> None:
        new_server, new_upstream = self.others[name] if name else (self._new_server, self._new_upstream)
        server = new_server()
        if server is None:
            self.feed(m.DialFailed(epoch, code="unreachable"))
            return
        self.servers.append(server)
        self._sessions[epoch] = _Session(new_upstream(epoch), server)
        self.from_server(server.open(self.now_ms), epoch)
        if not self.call.session_of(epoch).can.server_first:
            self.feed(m.UpstreamOpened(epoch))
