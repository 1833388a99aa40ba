"""One call: whatever happens goes in by `receive(event, now_ms)`, what is to be done comes out as a list.

This is the switchboard. Playout lives in `line` and `playback`, whose turn it is in `conversation`; here the
two legs and the wishes of the handler meet. Nothing in this file waits, asks the clock or knows a socket: the
runner says what time it is, and `deadline_ms` says when the call wants to be woken. A `WakeUp` is an input
like any frame, so a recording of inputs replays exactly.

Seen from outside a call goes SETUP -> LIVE -> DRAINING -> ENDED. Inside there is one small state per leg and
at most one reason to end; a caller who speaks during a goodbye takes the reason back.
"""

from __future__ import annotations

import enum
from collections import deque

from . import messages as m
from .conversation import Conversation, ResponseGate
from .line import Line, Loss
from .messages import Action, AppendAudio, AudioDelta, CallConfig, CallerAudio, Event, Reason
from .playback import Ledger, Span
from .stats import BargeIn, Stats


class Phase(enum.Enum):
    """A call as seen from outside."""

    SETUP = "setup"
    LIVE = "live"
    DRAINING = "draining"
    ENDED = "ended"


class Leg(enum.Enum):
    """How far the upstream leg has come."""

    NONE = "not dialled"
    DIALLING = "dialling"
    CONFIGURING = "configuring"
    READY = "ready"
    CLOSED = "closed"


GREETING = "greeting"
GENERATING_MS = 15_000
"""How long a goodbye may take to be generated before the drain stops waiting for it."""
BENIGN_FAULTS = frozenset({
    "response_cancel_not_active", "item_truncate_invalid_item_id", "item_delete_invalid_item_id",
    "item_not_found", "unsupported_content_type", "input_audio_buffer_commit_empty",
})  # fmt: skip

FOR_THE_MODEL = frozenset({m.Say, m.Respond, m.AddText, m.ToolFinished, m.Reconfigure, m.PassOn})
"""Wishes that go upstream. They wait until the call has begun: a stranger gets a configuration, no more."""


class Call:
    """The pure core of one call.

    `receive(event, now_ms)` takes every event in order with a clock that never runs backwards and returns
    what is to be done, in order; [] when nothing is, and always [] after `Ended`. Raises only if a rule of
    ours is broken; then the call is over. `deadline_ms` is when a `WakeUp` is wanted next, or None.
    """

    def __init__(self, config: CallConfig) -> None:
        self.config = config
        self.phase = Phase.SETUP
        self.stats = Stats()
        self.conversation = Conversation()
        self.gate = ResponseGate()
        self.line = Line(Ledger(config.bytes_per_ms, config.marks))
        self.deadline_ms: int | None = None
        self.epoch = 0
        self._upstream = Leg.NONE
        self._interrupts = True
        self._admitted = False
        self._listening = False
        self._greeted = False
        self._ending: tuple[Reason, str] | None = None
        self._timers: dict[str, int] = {}
        self._last_media_ms = 0
        self._kept: deque[CallerAudio] = deque()
        self._kept_bytes = 0
        self._caller_stopped_ms: int | None = None
        self._differs: set[str] = set()
        self._early: list[Event] = []
        self._out: list[Action] = []

    # --- the one door ------------------------------------------------------------------------------------

    def receive(self, event: Event, now_ms: int) -> list[Action]:
        if type(event) is CallerAudio:
            return self._caller_audio(event, now_ms)
        if self.phase is Phase.ENDED:
            return []
        out: list[Action] = []
        self._out = out
        if type(event) is AudioDelta:
            self._audio_delta(event, now_ms)
        elif (epoch := getattr(event, "epoch", None)) is not None and (
            epoch != self.epoch or self._upstream is Leg.CLOSED
        ):
            pass  # the word of an upstream session that is over
        elif self.phase is Phase.SETUP and type(event) in FOR_THE_MODEL:
            self._early.append(event)
        else:
            self._switch(event, now_ms)
        if self._ending is not None and self.phase is Phase.DRAINING:
            self._drained(*self._ending, now_ms)
        self._set_deadline()
        return out

    # fmt: off
    def _switch(self, event: Event, now_ms: int) -> None:  # noqa: C901, PLR0915  one line a message
        match event:
            # carrier leg
            case m.MarkReached(): self._mark_reached(event, now_ms)
            case m.Started(): self._started(now_ms)
            case m.DigitPressed(): self._out.append(m.DigitHeard(event.digit))
            case m.Stopped(): self._end(Reason.CALLER_HUNG_UP, now_ms)
            case m.CarrierClosed(): self._end(Reason.CARRIER_LOST, now_ms, f"{event.code}, no stop before it")
            # upstream leg
            case m.SessionCreated(): self._session_created()
            case m.SessionUpdated(): self._session_updated(event, now_ms)
            case m.SpeechStarted(): self._speech_started(now_ms)
            case m.SpeechStopped(): self._speech_stopped(now_ms)
            case m.TextDelta(): self.conversation.words(event)
            case m.AudioDone(): self._item_finished(event.item_id, event.part)
            case m.ItemAdded(): self.conversation.added(event)
            case m.ItemGone(): self.conversation.item(event.item_id).gone = True
            case m.TurnCommitted(): self.conversation.item(event.item_id).role = "user"
            case m.CallerTranscribed(): self._transcribed(event)
            case m.ResponseStarted(): self._response_started(event)
            case m.ResponseDone(): self._response_done(event)
            case m.ToolCalled(): self._tool_called(event)
            case m.UpstreamFaulted(): self._faulted(event, now_ms)
            case m.UpstreamClosed(): self._upstream_closed(event, now_ms)
            case m.DialFailed(): self._dial_failed(event, now_ms)
            case m.VendorNote(): self._out.append(event)
            case m.CallerIdled(): pass
            # session door
            case m.Play(): self._out += self.line.sound(event.say_id, event.sound, event.protected, now_ms)
            case m.Say() | m.Respond(): self._want(event)
            case m.AddText(): self._add_text(event)
            case m.Interrupt(): self._interrupt(now_ms, ours=True)
            case m.HangUp(): self._drain(Reason.WE_HUNG_UP, event.why, "ended", now_ms)
            case m.Transfer(): self._drain(Reason.TRANSFERRED, event.name, f"transfer:{event.name}", now_ms)
            case m.ToolFinished(): self._tool_finished(event)
            case m.Reconfigure(): self._out.append(m.ConfigureSession(event.config, True, self.epoch))
            case m.PassOn(): self._out.append(m.SendVendorEvent(event.body, self.epoch))
            case m.Mute(): pass
            # the shell
            case m.Ringing(): self._ringing(now_ms)
            case m.Admitted(): self._admit(now_ms)
            case m.WakeUp(): self._wake(now_ms)
            case m.FrameRefused(): self._refused(event)
            case m.FramesDropped(): self.stats.frames_dropped += event.frames
            case m.ShutDown(): self._shut_down(now_ms)
    # fmt: on

    # --- setting up --------------------------------------------------------------------------------------

    def _ringing(self, now_ms: int) -> None:
        self._timers["unclaimed"] = now_ms + self.config.unclaimed_ms
        self._dial(now_ms)

    def _started(self, now_ms: int) -> None:
        self._timers.pop("unclaimed", None)
        self._timers["media"] = now_ms + self.config.media_gap_ms
        self.stats.started_ms = self._last_media_ms = now_ms
        self._dial(now_ms)

    def _dial(self, now_ms: int) -> None:
        if self._upstream is Leg.NONE:
            self.epoch += 1
            self._upstream = Leg.DIALLING
            self._timers["setup"] = now_ms + self.config.setup_ms
            self._out.append(m.DialUpstream(self.epoch))

    def _dial_failed(self, event: m.DialFailed, now_ms: int) -> None:
        self._fail(Reason.UPSTREAM_UNREACHABLE, now_ms, f"{event.status} {event.code}")

    def _upstream_closed(self, event: m.UpstreamClosed, now_ms: int) -> None:
        self._fail(Reason.UPSTREAM_LOST, now_ms, f"{event.code} {event.reason}".rstrip())

    def _session_created(self) -> None:
        if self._upstream is Leg.DIALLING:
            self._upstream = Leg.CONFIGURING
            self._out.append(m.ConfigureSession(self.config.session, epoch=self.epoch))

    def _session_updated(self, event: m.SessionUpdated, now_ms: int) -> None:
        self._interrupts = event.interrupts
        differs = [difference for difference in event.differences if difference not in self._differs]
        if differs:
            self._differs.update(differs)
            self._out.append(m.Noted("configuration differs", "; ".join(differs)))
        if not event.formats_ok:
            self._fail(Reason.UPSTREAM_REFUSED, now_ms, "the audio formats in force are not the phone's")
        elif self._upstream is Leg.CONFIGURING:
            self._upstream = Leg.READY
            self._timers.pop("setup", None)
            self.stats.ready_ms = now_ms
            self._begin(now_ms)

    def _admit(self, now_ms: int) -> None:
        self._admitted = True
        self._begin(now_ms)

    def _begin(self, now_ms: int) -> None:
        """Both legs are proven: what the caller said and the handler wished meanwhile goes up, then the
        greeting is asked for, once.
        """
        if not self._admitted or self._upstream is not Leg.READY or self.phase is not Phase.SETUP:
            return
        self.phase = Phase.LIVE
        self.stats.began_ms = now_ms
        self._listening = True
        self._out.append(m.CallBegan())
        self._out += [AppendAudio(kept.audio, kept.size_bytes, self.epoch) for kept in self._kept]
        self._kept.clear()
        self._kept_bytes = 0
        for wish in self._early:
            self._switch(wish, now_ms)
        self._early.clear()
        if self.config.greeting and not self._greeted:
            self._greeted = True
            self._ask(GREETING, f'Begin the call now. Say: "{self.config.greeting}"')

    # --- the caller's sound ------------------------------------------------------------------------------

    def _caller_audio(self, event: CallerAudio, now_ms: int) -> list[Action]:
        """Fifty times a second: upstream as it is, or kept until there is one."""
        self._last_media_ms = now_ms
        stats = self.stats
        stats.frames_in += 1
        stats.bytes_in += event.size_bytes
        if self._listening:
            return [AppendAudio(event.audio, event.size_bytes, self.epoch)]
        if self.phase is Phase.SETUP:
            self._kept.append(event)
            self._kept_bytes += event.size_bytes
            while self._kept_bytes > self.config.kept_audio_ms * self.config.bytes_per_ms:
                self._kept_bytes -= self._kept.popleft().size_bytes
                stats.frames_dropped += 1
        return []

    def _speech_started(self, now_ms: int) -> None:
        self._caller_stopped_ms = None
        self._out.append(m.CallerSpoke(True))
        self._interrupt(now_ms, ours=False)
        ours = self._ending is not None and self._ending[0] in (Reason.WE_HUNG_UP, Reason.TRANSFERRED)
        if self.phase is Phase.DRAINING and ours:
            self.phase, self._ending = Phase.LIVE, None
            self._timers.pop("drain", None)
            self._timers.pop("generated", None)
            self._out += (m.NoteIntent(""), m.Noted("goodbye taken back", "the caller spoke"))

    def _speech_stopped(self, now_ms: int) -> None:
        self._caller_stopped_ms = now_ms
        self.stats.turns += 1
        self._out.append(m.CallerSpoke(False))

    def _transcribed(self, event: m.CallerTranscribed) -> None:
        item = self.conversation.item(event.item_id)
        item.role, item.text = "user", event.text
        self._out.append(m.Turn(event.item_id, event.text))

    # --- the model's sound -------------------------------------------------------------------------------

    def _audio_delta(self, event: AudioDelta, now_ms: int) -> None:
        gate = self.gate
        if event.epoch != self.epoch or event.response_id in gate.asides or not self._listening:
            self.stats.late_bytes += event.size_bytes
            return
        item = self.conversation.item(event.item_id, event.response_id)
        item.received_bytes += event.size_bytes
        if event.response_id in gate.muted or item.cut:
            self.stats.late_bytes += event.size_bytes
            return
        item.heard_ms = item.heard_ms or 0
        self.stats.bytes_out += event.size_bytes
        if self.stats.first_audio_ms is None:
            self.stats.first_audio_ms = now_ms
        if self._caller_stopped_ms is not None:
            self.stats.turn_latencies_ms.append(now_ms - self._caller_stopped_ms)
            self._caller_stopped_ms = None
        self._out += self.line.delta(event, now_ms)

    def _item_finished(self, item_id: str, part: int | None) -> None:
        commands, finished = self.line.finish(item_id, part)
        self._out += commands
        self._heard(finished)

    def _mark_reached(self, event: m.MarkReached, now_ms: int) -> None:
        commands, finished = self.line.reached(event.name, now_ms)
        self._out += commands
        self._heard(finished)

    def _heard(self, finished: list[Span]) -> None:
        """These spans were heard to their end."""
        for span in finished:
            heard_ms = span.heard_bytes // self.config.bytes_per_ms
            if not span.response_id:
                self._out.append(m.Heard(span.item_id, heard_ms, cut=False))
                continue
            item = self.conversation.item(span.item_id)
            item.heard_ms = heard_ms
            said = item.said()
            self._out.append(m.Spoken(span.item_id, said, said, heard_ms, cut=False))

    def _interrupt(self, now_ms: int, ours: bool) -> None:
        """The caller shall not hear the rest of this: clear, cancel if the vendor does not, tell the model
        what was heard.

        Realtime conversations guide, "Interruption and truncation": on a websocket the client stops playback
        and sends `conversation.item.truncate`. The server cancels by itself on speech where
        `interrupt_response` is on; a cancel of ours goes only to a response that is active, and once.
        """
        gate = self.gate
        commands, finished = self.line.settle(now_ms)
        self._out += commands
        self._heard(finished)
        commands, losses = self.line.cut(now_ms)
        self._out += commands
        if not losses and gate.idle:
            return
        for create in gate.superseded():
            self._out.append(m.Heard(create.tag, 0, cut=True))
        for loss in losses:
            if loss.span.response_id:
                gate.mute(loss.span.response_id)
        if gate.active is not None:
            gate.mute(gate.active)
            if ours or not (self._interrupts and self.config.auto_cancels):
                self._cancel(gate.active)
        self._settle_losses(losses, now_ms)

    def _settle_losses(self, losses: list[Loss], now_ms: int) -> None:
        """One truncate or delete per item cut, ever; nothing for what was heard to its end."""
        cuts: list[Action] = []
        for loss in losses:
            span = loss.span
            if not span.response_id:
                cuts.append(m.Heard(span.item_id, loss.heard_ms, cut=True))
                continue
            item = self.conversation.item(span.item_id)
            whole = span.done and span.heard_bytes >= span.received_bytes
            if item.cut or whole or loss.received_ms == 0:
                continue
            untouched = loss.heard_ms == 0 and span.part == 0
            item.cut, item.heard_ms = True, loss.heard_ms
            self.stats.barge_ins.append(BargeIn(now_ms, span.item_id, loss.heard_ms, loss.received_ms))
            if untouched:
                self._out.append(m.DeleteItem(span.item_id, self.epoch))
            else:
                self._out.append(m.TruncateItem(span.item_id, span.part, loss.heard_ms, self.epoch))
            heard = item.heard(self.config.bytes_per_ms)
            cuts.append(m.Cut(span.item_id, loss.heard_ms))
            cuts.append(m.Spoken(span.item_id, item.said(), heard, loss.heard_ms, cut=True))
        self._out += cuts

    # --- whose turn it is --------------------------------------------------------------------------------

    def _want(self, event: m.Say | m.Respond) -> None:
        if isinstance(event, m.Say):
            self._ask(event.say_id, f'Say exactly this and nothing else: "{event.text}"')
        else:
            self._ask(event.say_id, event.instructions)

    def _ask(self, tag: str, wish: str = "") -> None:
        """Instructions given with a response replace the session's for it: so the session's go along."""
        instructions = f"{self.config.session.instructions}\n\n{wish}".strip() if wish else None
        self.gate.want(m.CreateResponse(tag, instructions, epoch=self.epoch))
        self._next_response()

    def _add_text(self, event: m.AddText) -> None:
        item_id = self.conversation.new_id()
        self._out.append(m.CreateItem(item_id, event.role, event.text, epoch=self.epoch))

    def _next_response(self) -> None:
        if self._listening and (create := self.gate.next()) is not None:
            self._out.append(create)

    def _response_started(self, event: m.ResponseStarted) -> None:
        self.stats.responses += 1
        if self.gate.started(event):
            self._cancel(event.response_id)

    def _cancel(self, response_id: str) -> None:
        if self.gate.cancelled != response_id:
            self.gate.cancelled = response_id
            self._out.append(m.CancelResponse(response_id, self.epoch))

    def _response_done(self, event: m.ResponseDone) -> None:
        self.gate.done(event)
        self.stats.add_usage(event.usage)
        if event.status in ("failed", "incomplete"):
            self._out.append(m.Noted(f"response {event.status}", event.why))
        for span in list(self.line.spans.values()):
            if span.response_id == event.response_id and not span.done:
                self._item_finished(span.item_id, None)
        if event.response_id in self.gate.muted:
            for item in self.conversation.unheard(event.response_id):
                item.cut, item.heard_ms = True, 0
                self._out.append(m.DeleteItem(item.item_id, self.epoch))
        self._next_response()

    def _tool_called(self, event: m.ToolCalled) -> None:
        if event.complete:
            self.stats.tools += 1
            self._out.append(m.ToolWanted(event.call_id, event.name, event.arguments))

    def _tool_finished(self, event: m.ToolFinished) -> None:
        item_id = self.conversation.new_id()
        self._out.append(m.CreateItem(item_id, call_id=event.call_id, output=event.output, epoch=self.epoch))
        if event.respond and self.phase is Phase.LIVE:
            self._ask(f"tool:{event.call_id}")

    def _faulted(self, event: m.UpstreamFaulted, now_ms: int) -> None:
        """Most vendor errors leave the session open: an error's code decides, not its arrival."""
        self.stats.faults[event.code or "unknown"] = self.stats.faults.get(event.code or "unknown", 0) + 1
        about, _, subject = event.about.partition(":")
        if about == "configure" and self._upstream is Leg.CONFIGURING:
            self._fail(Reason.UPSTREAM_REFUSED, now_ms, f"{event.code} {event.param}: {event.message}")
        elif event.code == "conversation_already_has_active_response":
            self.gate.refused(subject if about == "create" else None, again=True)
        elif about == "create":
            self.gate.refused(subject, again=False)
            self._next_response()
        elif event.code not in BENIGN_FAULTS and about not in ("truncate", "delete", "cancel"):
            self._out.append(m.Noted("upstream error", f"{event.code} {event.param} {event.message}"))

    # --- the shell's word, and the clock -----------------------------------------------------------------

    def _refused(self, event: m.FrameRefused) -> None:
        counts = self.stats.frames_refused
        key = f"{event.leg}: {event.why}"
        if key not in counts:
            self._out.append(m.Noted("frame refused", key))
        counts[key] = counts.get(key, 0) + 1

    def _wake(self, now_ms: int) -> None:
        if self.line.deadline_ms is not None and now_ms >= self.line.deadline_ms:
            commands, finished = self.line.settle(now_ms)
            self._out += commands
            self._heard(finished)
        for timer in [name for name, due_ms in self._timers.items() if due_ms <= now_ms]:
            if self._timers.pop(timer, None) is None:
                continue  # the timer before it ended the call
            if timer == "media":
                self._media_gap(now_ms)
            elif timer == "unclaimed":
                self._end(Reason.UNCLAIMED, now_ms)
            elif timer == "drain" and self._ending is not None:
                self._end(self._ending[0], now_ms, self._ending[1])
            elif timer == "setup":
                self._fail(Reason.UPSTREAM_UNREACHABLE, now_ms, "no session in time")

    def _media_gap(self, now_ms: int) -> None:
        due_ms = self._last_media_ms + self.config.media_gap_ms
        if due_ms <= now_ms:
            self._end(Reason.NO_MEDIA, now_ms)
        else:
            self._timers["media"] = due_ms

    def _set_deadline(self) -> None:
        due_ms = min(self._timers.values(), default=None)
        line_ms = self.line.deadline_ms
        self.deadline_ms = line_ms if due_ms is None else due_ms if line_ms is None else min(due_ms, line_ms)

    # --- ending ------------------------------------------------------------------------------------------

    def _fail(self, reason: Reason, now_ms: int, detail: str) -> None:
        """Nothing more is to be had from the model: tell the caller, then end."""
        if self._upstream is Leg.CLOSED:
            return
        self._upstream = Leg.CLOSED
        self._listening = False
        self._out += (m.Noted("the model is out", f"{reason.value}: {detail}"), m.CloseUpstream(self.epoch))
        apology = self.config.phrases.get("apology")
        if not self._admitted or apology is None:
            self._end(reason, now_ms, detail)
            return
        commands, _ = self.line.cut(now_ms)
        self._out += commands
        self._out += self.line.sound("apology", apology, False, now_ms)
        self._drain(reason, detail, "ended", now_ms)

    def _drain(self, reason: Reason, detail: str, intent: str, now_ms: int) -> None:
        """End when the last word was heard."""
        if self._ending is not None:
            return
        self._ending = (reason, detail)
        self.phase = Phase.DRAINING
        self._timers["generated"] = now_ms + GENERATING_MS
        self._out.append(m.NoteIntent(intent))

    def _drained(self, reason: Reason, detail: str, now_ms: int) -> None:
        """End if nothing is asked for, generating or unheard. The watchdog runs from the expected end of
        playout, not from the end of generation; it is set once, so that marks that never come cannot put it
        off.
        """
        generating = self._upstream is Leg.READY and not self.gate.idle
        if generating and "generated" in self._timers:
            return
        if self.line.quiet:
            self._end(reason, now_ms, detail)
        elif "drain" not in self._timers:
            self._timers.pop("generated", None)
            self._timers["drain"] = now_ms + self.line.remaining_ms(now_ms) + self.config.drain_slack_ms

    def _shut_down(self, now_ms: int) -> None:
        self._out.append(m.NoteIntent("ended"))
        self._end(Reason.SHUTDOWN, now_ms)

    def _end(self, reason: Reason, now_ms: int, detail: str = "") -> None:
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.ENDED
        self._listening = False
        self._timers.clear()
        self.line.deadline_ms = None
        self.stats.ended_ms = now_ms
        self._kept.clear()
        if self._upstream not in (Leg.NONE, Leg.CLOSED):
            self._out.append(m.CloseUpstream(self.epoch))
        self._out += (m.CloseCarrier(), m.Ended(reason, detail))
