"""One call: whatever happens goes in by `receive(event, now_ms)`, what is to be done comes out as a list.

This is the switchboard. What the caller hears of us lives in `speaking` (with `line` and `playback` below
it), their own sound in `ear`, the model's session in `upstream_leg`; here the two legs, the wishes of the
handler and the clock meet. Nothing in this file waits, asks the clock or knows a socket: the runner says what
time it is, and `deadline_ms` says when the call wants to be woken. A `WakeUp` is an input like any frame, so
a recording of inputs replays exactly.

Seen from outside a call goes SETUP -> LIVE (perhaps recovering) -> DRAINING -> ENDED. Inside there is one
small state per leg and at most one reason to end; a caller who speaks during a goodbye takes the reason back.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from . import messages as m
from .ear import STALLED_MS, Ear
from .limits import LimitWatch, cost_micro_usd
from .messages import Action, AudioDelta, CallConfig, CallerAudio, Event, Reason
from .speaking import Speaking
from .stats import Stats
from .upstream_leg import FATAL_CLOSES, FATAL_CODES, Dialling, Leg, UpstreamSession


class Phase(enum.Enum):
    """A call as seen from outside."""

    SETUP = "setup"
    LIVE = "live"
    DRAINING = "draining"
    ENDED = "ended"


GREETING = "greeting"
GENERATING_MS = 15_000
"""How long a goodbye may take to be generated before the drain stops waiting for it."""
STALLED_UPSTREAM_MS = 8_000
"""An answer owed for so long, without a word from the model: its session is taken for dead."""
TOOL_GRACE_MS = 500
FAILURES = 2
"""Responses that may fail in a row: the first is asked for again."""
RESTORED = (
    "The line to you was interrupted for a moment and is restored. Go on where you were; do not greet again. "
    "If the caller's last words are missing, ask them to say it again."
)
BENIGN_FAULTS = frozenset({
    "response_cancel_not_active", "item_truncate_invalid_item_id", "item_delete_invalid_item_id",
    "item_not_found", "unsupported_content_type", "input_audio_buffer_commit_empty",
})  # fmt: skip
FOR_THE_MODEL = (m.Say, m.Respond, m.AddText, m.PassOn, m.Reconfigure)
"""Wishes that need a model which listens: before there is one (or while a new one is dialled), they wait."""


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
        self.deadline_ms: int | None = None
        self.up = UpstreamSession(0)
        self.spare: UpstreamSession | None = None
        self._out: list[Action] = []
        self.speaking = Speaking(config, self.stats, self._out)
        self.ear = Ear(config)
        self._limits = LimitWatch(config.limits)
        self._dialling = Dialling(config)
        self._admitted = False
        self._closed_ears: set[str] = set()
        self._early: list[Event] = []
        self._ending: tuple[Reason, str] | None = None
        self._timers: dict[str, int] = {}
        self._fire: dict[str, Callable[[int], None]] = {
            "unclaimed": lambda now_ms: self._end(Reason.UNCLAIMED, now_ms),
            "media": self._media_gap,
            "dial": self._dial,
            "session": self._session_stalled,
            "owed": self._owed_due,
            "tool": self._tools_late,
            "silence": self._still_silent,
            "padding": self._pad,
            "confirm": self._confirmed,
            "digits": self._digits_done,
            "nudge": self._nudge,
            "limit": lambda now_ms: self._goodbye("the call has lasted as long as it may", now_ms),
            "renew": self._renew,
            "renew_forced": self._renew_forced,
            "generated": self._not_generated,
            "drain": self._drain_over,
        }
        self._caller_speaking = False
        self._turn = 0
        self._digits = ""
        self._failures = 0
        self._upstream_ms = 0
        self._lost_ms: int | None = None
        self._resume_owed = False
        self._differs: set[str] = set()

    # --- the one door ------------------------------------------------------------------------------------

    def receive(self, event: Event, now_ms: int) -> list[Action]:
        if type(event) is CallerAudio:
            return self._caller_audio(event, now_ms)
        if self.phase is Phase.ENDED:
            return []
        epoch = getattr(event, "epoch", 0)
        if epoch:
            self._upstream_event(event, epoch, now_ms)
        elif isinstance(event, FOR_THE_MODEL) and not self.speaking.ready:
            self._early.append(event)
        else:
            self._other_event(event, now_ms)
        if self.spare is not None:
            self._swap_if_quiet(now_ms)
        if self._ending is not None:
            self._drained(*self._ending, now_ms)
        self._set_deadline()
        out = self._out[:]
        self._out.clear()
        return out

    def _upstream_event(self, event: Event, epoch: int, now_ms: int) -> None:
        if epoch == self.up.epoch:
            self._upstream_ms = now_ms
            if type(event) is AudioDelta:
                self.speaking.delta(event, now_ms)
            else:
                self._from_upstream(event, now_ms)
        elif self.spare is not None and epoch == self.spare.epoch:
            self._from_spare(event, self.spare)
        # else the word of an upstream session that is over

    # fmt: off
    def _from_upstream(self, event: Event, now_ms: int) -> None:  # noqa: C901, PLR0915  one line a message
        speaking = self.speaking
        match event:
            case m.SessionCreated(): self._session_created(self.up)
            case m.SessionUpdated(): self._session_updated(event, now_ms)
            case m.SpeechStarted(): self._speech_started(now_ms)
            case m.SpeechStopped(): self._speech_stopped(now_ms)
            case m.TextDelta(): self._words(event)
            case m.AudioDone(): speaking.item_finished(event.item_id, event.part)
            case m.ItemAdded(): speaking.conversation.added(event)
            case m.ItemGone(): speaking.conversation.item(event.item_id).gone = True
            case m.TurnCommitted(): self._committed(event)
            case m.CallerTranscribed(): self._transcribed(event)
            case m.ResponseStarted(): speaking.response_started(event)
            case m.ResponseDone(): self._response_done(event, now_ms)
            case m.ToolCalled(): self._tool_called(event, now_ms)
            case m.UpstreamFaulted(): self._faulted(event, now_ms)
            case m.UpstreamClosed(): self._upstream_closed(event, now_ms)
            case m.DialFailed(): self._dial_failed(event, now_ms)
            case m.VendorNote(): self._out.append(event)

    def _other_event(self, event: Event, now_ms: int) -> None:  # noqa: C901, PLR0915  one line a message
        speaking, up = self.speaking, self.up
        match event:
            # carrier leg
            case m.MarkReached(): self._mark_reached(event, now_ms)
            case m.Started(): self._started(now_ms)
            case m.DigitPressed(): self._digit(event.digit, now_ms)
            case m.Stopped(): self._end(Reason.CALLER_HUNG_UP, now_ms)
            case m.CarrierClosed(): self._end(Reason.CARRIER_LOST, now_ms, f"{event.code}, no stop before it")
            # session door
            case m.Play(): speaking.play(event.say_id, event.sound, now_ms, protected=event.protected)
            case m.Say(): self._say(event, now_ms)
            case m.Respond(): self._respond(event, now_ms)
            case m.AddText(): self._add_text(event.role, event.text)
            case m.Interrupt(): self._interrupted_by_us(event, now_ms)
            case m.HangUp(): self._drain(Reason.WE_HUNG_UP, event.why, "ended", now_ms)
            case m.Transfer(): self._drain(Reason.TRANSFERRED, event.name, f"transfer:{event.name}", now_ms)
            case m.ToolFinished(): self._tool_finished(event, now_ms)
            case m.Reconfigure(): self._reconfigure(event)
            case m.PassOn(): self._out.append(m.SendVendorEvent(event.body, up.epoch))
            case m.Mute(): self.ear.muted = event.on
            case m.HandlerFailed(): self._handler_failed(event, now_ms)
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
        self._first_dial(now_ms)

    def _started(self, now_ms: int) -> None:
        self._timers.pop("unclaimed", None)
        self._timers["media"] = now_ms + self.config.media_gap_ms
        self.stats.started_ms = self.ear.last_ms = now_ms
        self._first_dial(now_ms)

    def _first_dial(self, now_ms: int) -> None:
        if self.up.state is Leg.NONE:
            self._dialling.begin(now_ms)
            self._dial(now_ms)

    def _dial(self, now_ms: int) -> None:
        self.up = self.speaking.session = UpstreamSession(self._next_epoch(), Leg.DIALLING)
        self._timers["session"] = now_ms + self.config.session_ms
        self._out.append(m.DialUpstream(self.up.epoch))

    def _next_epoch(self) -> int:
        return 1 + max(self.up.epoch, self.spare.epoch if self.spare else 0)

    def _dial_failed(self, event: m.DialFailed, now_ms: int) -> None:
        """No socket, or none that became a session in time: again, a few times, or never where it would be no
        use.
        """
        self._timers.pop("session", None)
        delay_ms = self._dialling.again_in_ms(event, now_ms)
        if delay_ms is None:
            lost = self.phase is not Phase.SETUP
            reason = Reason.UPSTREAM_LOST if lost else Reason.UPSTREAM_UNREACHABLE
            self._fail(reason, now_ms, f"{event.status} {event.code}")
        else:
            self._timers["dial"] = now_ms + delay_ms

    def _session_stalled(self, now_ms: int) -> None:
        self._out.append(m.CloseUpstream(self.up.epoch))
        self._dial_failed(m.DialFailed(self.up.epoch, code="no session in time"), now_ms)

    def _session_created(self, session: UpstreamSession) -> None:
        if session.state is Leg.DIALLING:
            session.state = Leg.CONFIGURING
            self._out.append(m.ConfigureSession(self.speaking.config, epoch=session.epoch))

    def _session_updated(self, event: m.SessionUpdated, now_ms: int) -> None:
        up = self.up
        up.interrupts, up.responds = event.interrupts, event.responds
        differs = [difference for difference in event.differences if difference not in self._differs]
        if differs:
            self._differs.update(differs)
            self._out.append(m.Noted("configuration differs", "; ".join(differs)))
        if not event.formats_ok:
            self._fail(Reason.UPSTREAM_REFUSED, now_ms, "the audio formats in force are not the phone's")
        elif up.state is Leg.READY:
            self._in_force()
        elif up.state is Leg.CONFIGURING:
            up.state, up.ready_ms = Leg.READY, now_ms
            self._timers.pop("session", None)
            if self.phase is Phase.SETUP:
                self.stats.ready_ms = now_ms
                self._begin(now_ms)
            else:
                self._restored(now_ms)

    def _in_force(self) -> None:
        """A change of configuration is settled, one way or the other: responses may be asked for again."""
        self.speaking.gate.held = False
        self.speaking.next_response()

    def _admit(self, now_ms: int) -> None:
        """Nobody but the carrier gets here. The disclosure needs no model, so it does not wait for one."""
        self._admitted = True
        self._owe(now_ms, self.config.filler_dial_ms)
        disclosure = self.config.phrases.get(self.config.disclosure)
        if disclosure is not None:
            self._closed_ears.add(self.config.disclosure)
            self.speaking.play(self.config.disclosure, disclosure, now_ms, protected=True)
            self._line_moved(now_ms)
        self._begin(now_ms)

    def _begin(self, now_ms: int) -> None:
        """Both legs are proven: what the caller said and the handler wished meanwhile goes up, then the
        greeting is asked for, once.
        """
        if not self._admitted or self.up.state is not Leg.READY or self.phase is not Phase.SETUP:
            return
        self.phase = Phase.LIVE
        self.stats.began_ms = now_ms
        self._limits.begin(now_ms)
        self._set_timer("limit", self._limits.goodbye_ms)
        self._out.append(m.CallBegan())
        self._upstream_ready(now_ms)
        self.speaking.owed.stop()
        if self.config.greeting:
            self.speaking.ask(GREETING, f'Begin the call now. Say: "{self.config.greeting}"')
            self._owe(now_ms)

    def _upstream_ready(self, now_ms: int) -> None:
        """The session takes what it is sent: kept audio, then the wishes that waited."""
        self.speaking.ready = True
        self._set_timer("renew", now_ms + self.config.renew_ms)
        self._set_timer("renew_forced", now_ms + self.config.renew_forced_ms)
        self._open_ear()
        early, self._early = self._early, []
        for wish in early:
            self._other_event(wish, now_ms)

    # --- the caller's sound ------------------------------------------------------------------------------

    def _caller_audio(self, event: CallerAudio, now_ms: int) -> list[Action]:
        """Fifty times a second: upstream as it is, or kept until somebody listens."""
        if self.phase is Phase.ENDED:
            return []
        stats = self.stats
        stats.frames_in += 1
        stats.bytes_in += event.size_bytes
        return self.ear.hear(event, now_ms, self.up.epoch)

    def _open_ear(self) -> None:
        """The model may hear the caller, unless something is being said that it must not be interrupted
        by.
        """
        if self.speaking.ready and not self._closed_ears:
            self._out += self.ear.unkeep(self.up.epoch)

    def _speech_started(self, now_ms: int) -> None:
        self.speaking.caller_stopped_ms = None
        self._caller_speaking = True
        self._silence_over()
        self._timers["padding"] = now_ms + STALLED_MS
        self._out.append(m.CallerSpoke(True))
        if self.config.backchannel_ms and not self.speaking.line.quiet:
            self._timers["confirm"] = now_ms + self.config.backchannel_ms
            return
        self._confirmed(now_ms)

    def _confirmed(self, now_ms: int) -> None:
        """It is speech, and it is meant: what we say is cut. During a goodbye it takes the goodbye back."""
        self._turn += 1
        self.speaking.interrupt(now_ms, ours=bool(self.config.backchannel_ms))
        ours = self._ending is not None and self._ending[0] in (Reason.WE_HUNG_UP, Reason.TRANSFERRED)
        if self.phase is Phase.DRAINING and ours:
            self.phase, self._ending = Phase.LIVE, None
            self._timers.pop("drain", None)
            self._timers.pop("generated", None)
            self._out += (m.NoteIntent(""), m.TakenBack())

    def _speech_stopped(self, now_ms: int) -> None:
        self._caller_speaking = False
        self._timers.pop("padding", None)
        self._out.append(m.CallerSpoke(False))
        if self._timers.pop("confirm", None) is not None:
            return  # a backchannel ("mm-hmm"): we go on speaking, and no answer is owed
        self.speaking.caller_stopped_ms = now_ms
        self.stats.turns += 1
        if not self.config.handler:
            self._owe(now_ms)
            if not self.up.responds:
                self.speaking.ask(f"turn:{self._turn}")

    def _committed(self, event: m.TurnCommitted) -> None:
        self.speaking.conversation.item(event.item_id).role = "user"
        if self.speaking.config.transcription is None:
            self._out.append(m.Turn(event.item_id, ""))

    def _transcribed(self, event: m.CallerTranscribed) -> None:
        item = self.speaking.conversation.item(event.item_id)
        item.role, item.text = "user", event.text
        self.stats.add_transcription(event)
        self._out.append(m.Turn(event.item_id, event.text, event.seconds, event.usage))

    def _pad(self, now_ms: int) -> None:
        """Voice detection counts audio written, not time: if frames stop while the caller speaks, the turn
        would not end.
        """
        if now_ms - self.ear.last_ms >= STALLED_MS and self.ear.open:
            self._out.append(self.ear.stall(self.up.epoch))
        if self._caller_speaking:
            self._timers["padding"] = max(self.ear.last_ms, now_ms) + STALLED_MS

    def _digit(self, digit: str, now_ms: int) -> None:
        self._silence_over()
        self._out.append(m.DigitHeard(digit))
        rule = self.config.digits
        if rule in ("text", "interrupt"):
            if rule == "interrupt" and not self._digits:
                self.speaking.interrupt(now_ms, ours=True)
            self._digits += digit
            self._timers["digits"] = now_ms + (0 if digit == "#" else self.config.digits_gap_ms)

    def _digits_done(self, now_ms: int) -> None:
        digits, self._digits = self._digits, ""
        text = f"[The caller pressed {' '.join(digits)} on the keypad.]"
        self._other_or_later(m.AddText(text), now_ms)
        self._other_or_later(m.Respond(f"digits:{digits}"), now_ms)

    def _other_or_later(self, wish: Event, now_ms: int) -> None:
        if self.speaking.ready:
            self._other_event(wish, now_ms)
        else:
            self._early.append(wish)

    # --- the model's words, tools and mistakes -----------------------------------------------------------

    def _words(self, event: m.TextDelta) -> None:
        gate = self.speaking.gate
        self.speaking.conversation.words(event)
        if (
            self.config.running_words
            and event.response_id not in gate.muted
            and event.response_id not in gate.asides
        ):
            self._out.append(m.Saying(event.response_id, event.item_id, event.text))

    def _interrupted_by_us(self, event: m.Interrupt, now_ms: int) -> None:
        if not event.response_id or self.speaking.concerns(event.response_id):
            self.speaking.interrupt(now_ms, ours=True)

    def _reconfigure(self, event: m.Reconfigure) -> None:
        """No response is asked for until it is in force, so that the next one speaks with it."""
        self.speaking.config = event.config
        self.speaking.gate.held = True
        self._out.append(m.ConfigureSession(event.config, True, self.up.epoch))

    def _handler_failed(self, event: m.HandlerFailed, now_ms: int) -> None:
        self.speaking.interrupt(now_ms, ours=True)
        if (apology := self.config.phrases.get("apology")) is not None:
            self.speaking.play("apology", apology, now_ms)
        self._drain(Reason.HANDLER_FAILED, event.detail, "ended", now_ms)

    def _say(self, event: m.Say, now_ms: int) -> None:
        if not event.interruptible:
            self._closed_ears.add(event.say_id)
            self.ear.open = False
        self.speaking.utter(event.say_id, f'Say exactly this and nothing else: "{event.text}"')
        self._owe(now_ms)

    def _respond(self, event: m.Respond, now_ms: int) -> None:
        self.speaking.utter(event.say_id, event.instructions)
        self._owe(now_ms)

    def _mark_reached(self, event: m.MarkReached, now_ms: int) -> None:
        self.speaking.mark_reached(event.name, now_ms)
        self._line_moved(now_ms)

    def _add_text(self, role: str, text: str) -> None:
        item = self.speaking.conversation.created(role, text)
        self._out.append(m.CreateItem(item.item_id, role, text, epoch=self.up.epoch))

    def _response_done(self, event: m.ResponseDone, now_ms: int) -> None:
        tag = self.speaking.gate.tags.get(event.response_id, "")
        self._out.append(m.ResponseEnded(event.response_id, tag, event.status, event.why, event.usage))
        muted = event.response_id in self.speaking.gate.muted
        self.stats.add_usage(event.usage)
        if event.status in ("failed", "incomplete"):
            self._out.append(m.Noted(f"response {event.status}", event.why))
        if event.status == "failed" and not muted:
            self._failures += 1
            if self._failures >= FAILURES or event.why in FATAL_CODES:
                self._fail(Reason.UPSTREAM_LOST, now_ms, f"responses fail: {event.why}")
                return
            self.speaking.gate.again(tag or "retry")
        elif event.status == "completed":
            self._failures = 0
        self.speaking.response_done(event)
        self._line_moved(now_ms)
        if self.speaking.gate.idle and not self.speaking.conversation.tools.running:
            self.speaking.owed.stop()
        self._check_limits(now_ms)

    def _tool_called(self, event: m.ToolCalled, now_ms: int) -> None:
        item = self.speaking.conversation.item(event.item_id, event.response_id)
        item.kind = "function_call"
        call = self.speaking.conversation.tools.called(event, self._turn)
        if call is not None:
            self.stats.tools += 1
            tool = self._tool_config(call.name)
            call.due_ms = now_ms + tool.deadline_ms + TOOL_GRACE_MS
            self._set_timer("tool", self.speaking.conversation.tools.deadline_ms)
            self._out.append(m.ToolWanted(call.call_id, call.name, call.arguments))
            self._owe(now_ms, tool.filler_after_ms)
            self._check_limits(now_ms)

    def _tool_config(self, name: str) -> m.ToolConfig:
        configs = self.speaking.config.tool_configs
        return next((tool for tool in configs if tool.name == name), m.ToolConfig(name))

    def _tools_late(self, now_ms: int) -> None:
        """User code keeps its own deadlines; this one is for user code that blocks its whole loop."""
        for call in self.speaking.conversation.tools.running:
            if call.due_ms <= now_ms:
                self._out.append(m.Noted("a tool gave no answer", call.name))
                self._tool_finished(
                    m.ToolFinished(call.call_id, '{"error": "the tool gave no answer in time"}'), now_ms
                )
        self._set_timer("tool", self.speaking.conversation.tools.deadline_ms)

    def _tool_finished(self, event: m.ToolFinished, now_ms: int) -> None:
        """The result goes in at once; a response about it once the batch is whole, the model free and the
        caller silent.
        """
        conversation = self.speaking.conversation
        call = conversation.tools.finished(event.call_id, event.output, event.respond)
        if call is None:
            return
        if self.speaking.ready:
            for item in conversation.result(call, self.up.epoch):
                self._out.append(item)
        owes = conversation.tools.owes_response(self._turn)
        if self.phase is not Phase.LIVE:
            return
        if owes:
            self.speaking.ask(f"tool:{event.call_id}")
        elif not conversation.tools.running and self.speaking.gate.idle:
            self.speaking.owed.stop()

    def _faulted(self, event: m.UpstreamFaulted, now_ms: int) -> None:
        """Most vendor errors leave the session open: an error's code decides, not its arrival."""
        code = event.code or "unknown"
        self.stats.faults[code] = self.stats.faults.get(code, 0) + 1
        about, _, subject = event.about.partition(":")
        if about == "configure" and self.up.state is Leg.CONFIGURING:
            self._fail(Reason.UPSTREAM_REFUSED, now_ms, f"{event.code} {event.param}: {event.message}")
        elif about == "configure":
            self._out.append(m.Noted("configuration refused", f"{event.code} {event.param} {event.message}"))
            self._in_force()
        elif {event.code, event.kind} & FATAL_CODES:
            self._fail(Reason.UPSTREAM_REFUSED, now_ms, f"{event.code}: {event.message}")
        elif event.code == "conversation_already_has_active_response":
            self.speaking.refused(subject if about == "create" else None, again=True)
        elif about == "create":
            self._out.append(m.Noted("upstream error", f"{event.code} {event.param} {event.message}"))
            self.speaking.refused(subject, again=False)
        elif event.code not in BENIGN_FAULTS and about not in ("truncate", "delete", "cancel"):
            self._out.append(m.Noted("upstream error", f"{event.code} {event.param} {event.message}"))

    # --- losing the model, and having it back ------------------------------------------------------------

    def _upstream_closed(self, event: m.UpstreamClosed, now_ms: int) -> None:
        why = f"{event.code} {event.reason}".rstrip()
        if event.code in FATAL_CLOSES:
            self._fail(Reason.UPSTREAM_REFUSED, now_ms, why)
        elif self.phase is Phase.SETUP:
            self._dial_failed(m.DialFailed(self.up.epoch, code=why), now_ms)
        else:
            self._lose(why, now_ms)

    def _lose(self, why: str, now_ms: int) -> None:
        """The session is gone, the carrier leg stays: settle what was heard, keep the caller's sound, dial
        anew.
        """
        if self.up.state is Leg.CLOSED:
            return
        recovering = self.up.state is not Leg.READY
        self.up.state = Leg.CLOSED
        self.ear.open = False
        self._timers.pop("renew", None)
        if recovering:
            self._dial_failed(m.DialFailed(self.up.epoch, code=why), now_ms)
            return
        self._out.append(m.Noted("the model was lost", why))
        self._resume_owed |= self.speaking.lost(now_ms) or self._caller_speaking
        self._caller_speaking = False
        if self.phase is Phase.DRAINING:
            return
        if not self._dialling.may_recover(now_ms):
            self._fail(Reason.UPSTREAM_LOST, now_ms, why)
            return
        self.stats.recoveries += 1
        self._lost_ms = now_ms
        if self._resume_owed:
            self.speaking.owed.stop()
            self._owe(now_ms)
        self._dialling.begin(now_ms)
        self._dial(now_ms)

    def _restored(self, now_ms: int) -> None:
        """A new session listens: it gets the conversation again, then what was kept, then a response if one
        was owed.
        """
        if self._lost_ms is not None:
            self.stats.gaps_ms.append(now_ms - self._lost_ms)
            self._lost_ms = None
        self._tell_history(self.up.epoch)
        self._upstream_ready(now_ms)
        owed, self._resume_owed = self._resume_owed, False
        if owed and self.speaking.gate.idle:
            self.speaking.ask("restored")
        else:
            self.speaking.next_response()

    def _tell_history(self, epoch: int) -> None:
        self._out += self.speaking.conversation.history(self.config.bytes_per_ms, epoch)
        note = self.speaking.conversation.new_id()
        self._out.append(m.CreateItem(note, "system", RESTORED, epoch=epoch))

    # --- renewal: the vendor ends every session after 60 minutes -----------------------------------------

    def _renew(self, _now_ms: int) -> None:
        if self.phase is Phase.LIVE and self.spare is None and self.up.state is Leg.READY:
            self.spare = UpstreamSession(self._next_epoch(), Leg.DIALLING)
            self._out.append(m.DialUpstream(self.spare.epoch))

    def _from_spare(self, event: Event, spare: UpstreamSession) -> None:
        match event:
            case m.SessionCreated():
                self._session_created(spare)
            case m.SessionUpdated() if event.formats_ok:
                spare.state = Leg.READY
                spare.interrupts, spare.responds = event.interrupts, event.responds
            case m.UpstreamClosed() | m.DialFailed():
                self.spare = None
                self._timers["renew"] = self._upstream_ms + self.config.renew_again_ms
                self._out.append(m.Noted("renewal failed", "will be tried again"))

    def _swap_if_quiet(self, now_ms: int) -> None:
        if self._idle and not self.speaking.conversation.tools.running and not self._digits:
            self._swap(now_ms)

    def _renew_forced(self, now_ms: int) -> None:
        if self.spare is None or self.spare.state is not Leg.READY:
            return
        self._resume_owed = self.speaking.lost(now_ms)
        self._swap(now_ms)

    def _swap(self, now_ms: int) -> None:
        """The caller's next frame goes to the new session; the old one is closed."""
        spare = self.spare
        if spare is None or spare.state is not Leg.READY or self.phase is not Phase.LIVE:
            return
        old, self.spare = self.up, None
        self.up = self.speaking.session = spare
        self._out.append(m.Noted("session renewed", f"{old.epoch} -> {spare.epoch}"))
        self._restored(now_ms)
        self._out.append(m.CloseUpstream(old.epoch))

    # --- silence, limits and the clock -------------------------------------------------------------------

    def _owe(self, now_ms: int, patience_ms: int | None = None) -> None:
        """The caller waits for us from now on."""
        self.speaking.owed.start(now_ms, patience_ms)

    def _owed_due(self, now_ms: int) -> None:
        """Silence has lasted long enough: a filler; or the model has said nothing for so long that it must be
        dead.
        """
        owed, line = self.speaking.owed, self.speaking.line
        if owed.since_ms is None or self._ending is not None:
            owed.stop()
            return
        waited_ms = now_ms - max(owed.since_ms, self._upstream_ms)
        tools = self.speaking.conversation.tools.running
        if self.up.state is Leg.READY and not tools and waited_ms >= self.config.stalled_ms:
            self._out.append(m.CloseUpstream(self.up.epoch))
            self._lose("it owes an answer and says nothing", now_ms)
            return
        if line.quiet and not self._caller_speaking:
            name = self._tool_config(tools[0].name).filler if tools else "filler"
            filler = self.config.phrases.get(name or "")
            if filler is not None:
                owed.fillers += 1
                self.speaking.play(f"filler:{owed.fillers}", filler, now_ms, record=False)
        owed.sounding_until(max(now_ms, now_ms + line.remaining_ms(now_ms)))

    def _line_moved(self, now_ms: int) -> None:
        """Something was heard to its end: ears that were closed for it open, and silence may begin."""
        line = self.speaking.line
        for say_id in [ear for ear in self._closed_ears if not self._sounding(ear)]:
            self._closed_ears.discard(say_id)
        if not self._closed_ears and not self.ear.open and self.speaking.ready:
            self._open_ear()
        if self._idle and self.phase is Phase.LIVE:
            self._limits.silent(now_ms)
            self._set_timer("nudge", self._limits.nudge_ms)
            if self.config.silence_ms is not None:
                self._timers["silence"] = now_ms + self.config.silence_ms

    def _silence_over(self) -> None:
        self._limits.spoke()
        self._timers.pop("nudge", None)
        self._timers.pop("silence", None)

    def _still_silent(self, now_ms: int) -> None:
        since_ms, each_ms = self._limits.silent_from_ms, self.config.silence_ms
        if since_ms is None or each_ms is None or not self._idle:
            return
        self._out.append(m.CallerSilent(now_ms - since_ms))
        self._timers["silence"] = now_ms + each_ms

    @property
    def _idle(self) -> bool:
        """Nobody speaks, and nobody is about to."""
        speaking = self.speaking
        quiet = speaking.line.quiet and speaking.gate.idle and not self._caller_speaking
        return quiet and speaking.owed.since_ms is None and self._ending is None

    def _sounding(self, say_id: str) -> bool:
        return (say_id, 0) in self.speaking.line.spans or self.speaking.utters(say_id)

    def _nudge(self, now_ms: int) -> None:
        """The caller has been silent for long: asked once or twice whether they are there, then goodbye."""
        speaking = self.speaking
        if not self._idle:
            return
        self._limits.nudges += 1
        if self._limits.nudges > self.config.limits.nudges:
            self._goodbye("the caller has been silent", now_ms)
        elif (phrase := self.config.phrases.get("still_there")) is not None:
            speaking.play(f"nudge:{self._limits.nudges}", phrase, now_ms)
        else:
            speaking.ask(f"nudge:{self._limits.nudges}", "Ask the caller whether they are still there.")

    def _check_limits(self, now_ms: int) -> None:
        minutes = self.stats.transcribed_s / 60
        prices = self.config.prices
        cost = cost_micro_usd(self.stats.usage, prices)
        cost += round(1e6 * minutes * prices.get("transcription_minute", 0.0))
        self.stats.cost_micro_usd = cost
        exceeded = self._limits.exceeded(cost, self.stats.tools)
        if exceeded is not None:
            self._goodbye(exceeded, now_ms)

    def _goodbye(self, why: str, now_ms: int) -> None:
        """The model is told to say goodbye, and the call ends when that was heard; a phrase stands in if it
        does not.
        """
        if self._ending is not None or self.phase is not Phase.LIVE:
            return
        self._out.append(m.Noted("a limit was reached", why))
        self.speaking.ask(
            "goodbye", f"The call has to end now, because {why}. Say goodbye in one short sentence."
        )
        self._drain(Reason.LIMIT, why, "ended", now_ms)
        self._timers["generated"] = now_ms + self.config.limits.goodbye_ms // 2

    def _set_timer(self, name: str, due_ms: int | None) -> None:
        if due_ms is None:
            self._timers.pop(name, None)
        else:
            self._timers[name] = due_ms

    def _refused(self, event: m.FrameRefused) -> None:
        counts = self.stats.frames_refused
        key = f"{event.leg}: {event.why}"
        if key not in counts:
            self._out.append(m.Noted("frame refused", key))
        counts[key] = counts.get(key, 0) + 1

    def _wake(self, now_ms: int) -> None:
        line = self.speaking.line
        if line.deadline_ms is not None and now_ms >= line.deadline_ms:
            self.speaking.settle(now_ms)
            self._line_moved(now_ms)
        for timer in [name for name, due_ms in self._timers.items() if due_ms <= now_ms]:
            if self._timers.pop(timer, None) is not None:  # else the timer before it put an end to it
                self._fire[timer](now_ms)

    def _media_gap(self, now_ms: int) -> None:
        due_ms = self.ear.last_ms + self.config.media_gap_ms
        if due_ms <= now_ms:
            self._end(Reason.NO_MEDIA, now_ms)
        else:
            self._timers["media"] = due_ms

    def _set_deadline(self) -> None:
        if self.phase is Phase.ENDED:
            self.deadline_ms = None
            return
        self._set_timer("owed", self.speaking.owed.deadline_ms)
        due_ms = min(self._timers.values(), default=None)
        line_ms = self.speaking.line.deadline_ms
        self.deadline_ms = line_ms if due_ms is None else due_ms if line_ms is None else min(due_ms, line_ms)

    # --- ending ------------------------------------------------------------------------------------------

    def _fail(self, reason: Reason, now_ms: int, detail: str) -> None:
        """Nothing more is to be had from the model: tell the caller, then end (or send them to a person, if
        there is one).
        """
        if self._ending is not None and self._ending[0] is reason:
            return
        if self.up.state is not Leg.CLOSED:
            self._out.append(m.CloseUpstream(self.up.epoch))
        self.up.state = Leg.CLOSED
        self.ear.open = False
        self._out.append(m.Noted("the model is out", f"{reason.value}: {detail}"))
        apology = self.config.phrases.get("apology")
        if not self._admitted or apology is None:
            self._end(reason, now_ms, detail)
            return
        self.speaking.lost(now_ms)
        self.speaking.gate.waiting.clear()
        self.speaking.owed.stop()
        self.speaking.play("apology", apology, now_ms)
        fallback = self.config.fallback
        self._drain(reason, detail, f"transfer:{fallback}" if fallback else "ended", now_ms)

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
        if self.phase is Phase.ENDED:
            return
        generating = self.up.state is Leg.READY and not self.speaking.gate.idle
        if generating and "generated" in self._timers:
            return
        line = self.speaking.line
        if line.quiet:
            self._end(reason, now_ms, detail)
        elif "drain" not in self._timers:
            self._timers.pop("generated", None)
            self._timers["drain"] = now_ms + line.remaining_ms(now_ms) + self.config.drain_slack_ms

    def _not_generated(self, now_ms: int) -> None:
        """The goodbye we waited for was not said: a phrase says it."""
        goodbye = self.config.phrases.get("goodbye")
        if self._ending is not None and self._ending[0] is Reason.LIMIT and goodbye is not None:
            self.speaking.interrupt(now_ms, ours=True)
            self.speaking.gate.waiting.clear()
            self.speaking.play("goodbye", goodbye, now_ms)

    def _drain_over(self, now_ms: int) -> None:
        if self._ending is not None:
            self._end(self._ending[0], now_ms, self._ending[1])

    def _shut_down(self, now_ms: int) -> None:
        self._out.append(m.NoteIntent("ended"))
        self._end(Reason.SHUTDOWN, now_ms)

    def _end(self, reason: Reason, now_ms: int, detail: str = "") -> None:
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.ENDED
        self._timers.clear()
        self.speaking.line.deadline_ms = None
        self.stats.ended_ms = now_ms
        self.stats.frames_dropped += self.ear.dropped
        for session in (self.up, self.spare):
            if session is not None and session.state not in (Leg.NONE, Leg.CLOSED):
                self._out.append(m.CloseUpstream(session.epoch))
        self._out += (m.CloseCarrier(), m.Ended(reason, detail))
