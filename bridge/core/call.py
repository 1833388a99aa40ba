"""One call: whatever happens goes in by `receive(event, now_ms)`, what is to be done comes out as a list.

This is the switchboard. What the caller hears of us lives in `playout` (with `line` and `ledger` below it),
their own sound in `caller_audio`, the model's session in `upstream_leg`; here the two legs, the wishes of the
handler and the clock meet. Nothing in this file waits, asks the clock or knows a socket: `deadline_ms` says
when to wake the call. A `WakeUp` is an input like any frame, so a recording of inputs replays exactly.

Seen from outside a call goes SETUP -> LIVE (perhaps recovering) -> DRAINING -> ENDED. Inside there is one
small state per leg and at most one reason to end; a caller who speaks during a goodbye takes the reason back.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import (
    answer_evidence,
    answered_by,
    answers,
    away,
    caller_turns,
    delegation,
    dialling,
    duplex_turns,
    ending,
    error_events,
    handover,
    input_clock,
    liveness,
    money,
    parting,
    recovery,
    renewal,
    responses,
    setup,
    silence,
    speech,
    tool_calls,
    wakes,
)
from . import messages as m
from .callee import Stage
from .due import NEVER
from .messages import Action, AppendAudio, AudioDelta, CallConfig, CallerAudio, Event, Phase, Reason
from .messages.answered import AnswerEvidence
from .state import CallState
from .upstream_leg import Leg


class Call(CallState):
    """The pure core of one call.

    `receive(event, now_ms)` takes every event in order with a clock that never runs backwards and returns
    what is to be done, in order; [] when nothing is, and always [] after `Ended`. Raises only if a rule of
    ours is broken; then the call is over. `deadline_ms` is when a `WakeUp` is wanted next, or None.
    """

    def __init__(self, config: CallConfig) -> None:
        super().__init__(config)
        if config.carried is not None:
            handover.take_over(self, config.carried)

    # --- the one door ------------------------------------------------------------------------------------

    def receive(self, event: Event, now_ms: int) -> list[Action]:
        if type(event) is CallerAudio:
            due = self.caller_frame(event, now_ms)
            if isinstance(due, str):
                return [AppendAudio(due, event.size_bytes, self.caller_audio.epoch)]
            return [*due]
        over = self.phase is Phase.ENDED
        if over and not self.parting:
            return []
        epoch = getattr(event, "epoch", 0)
        up = self.up
        if epoch in self.parting:
            money.last_word(self, event, epoch, now_ms)
        elif over:
            pass  # only what is said of money counts
        elif epoch and epoch == up.epoch and up.state is not Leg.CLOSED and type(event) is not m.CallerWords:
            self._from_upstream(event, now_ms)
        elif epoch:
            self._beside(event, epoch, now_ms)
        elif setup.waits(self, event):
            self.early.append(event)
        elif self.phase is not Phase.AWAY or not isinstance(event, away.OF_THE_STREAM):
            self.other_event(event, now_ms)
        (money.settle if over else Call._settle)(self, now_ms)
        if self.parting:
            parting.settle(self, now_ms)
        self.deadline_ms = self.next_due_ms()
        out = self.out[:]
        self.out.clear()
        return out

    def _settle(self, now_ms: int) -> None:
        """The rules that hold after every event. Each is for something that there is, or is not."""
        playout, detours, ledger = self.playout, self.detours, self.playout.line.ledger
        if self.spending.unsettled:
            money.settle(self, now_ms)
        if self.phase is not Phase.AWAY:
            if playout.faint or self.inaudible:
                recovery.settle(self, now_ms)
            (speech if playout.duplex is None else duplex_turns).settle(self, now_ms)
            if self.callee.stage is not Stage.CLOSED:
                answered_by.settle(self, now_ms)
            if detours.under_way is not None:
                away.move_if_calm(self, now_ms)
            # While the caller speaks nothing is asked, and it is not silent: what is owed waits.
            if not self.caller_speaking or playout.owed.since_ms is not None or playout.debts.open:
                answers.ask(self, now_ms)
                silence.settle(self, now_ms)
            if playout.gate.waiting:
                answers.send_request(self, now_ms)
            if self.uninterruptible:
                caller_turns.reopen_caller_audio(self, now_ms)
        if self.up.can.input_must_flow:
            input_clock.settle(self, now_ms)
        if self.spare is not None or self.dialling.left:
            renewal.settle(self, now_ms)
        if self.handover_due_ms != NEVER:
            handover.leave_if_quiet(self, now_ms)
        if self.ending is not None or detours.under_way is not None:
            away.settle(self, now_ms)
        if ledger.check_due_ms == NEVER and ledger.acked < ledger.sent:
            liveness.watch_echoes(self)

    def next_due_ms(self) -> int | None:
        """When something is due next, None for never: the first of what its owners say."""
        if self.phase is Phase.ENDED:
            return min(self.parting.values(), default=None)
        playout, up, turn, quiet = self.playout, self.up, self.open_turn, self.silence
        line, spare, over, detours = playout.line, self.spare, self.ending, self.detours
        due_ms = min(
            playout.owed.due_ms, playout.debts.due_ms, playout.faint_due_ms, playout.gate.again_due_ms,
            playout.gate.untold_due_ms,
            line.ledger.check_due_ms, playout.conversation.tools.due_ms, self.spending.due_ms,
            up.due_ms, up.probe_due_ms, up.stream_due_ms, up.resume_due_ms, up.renew_due_ms, up.forced_due_ms,
            turn.due_ms, turn.pad_due_ms, turn.confirm_due_ms, quiet.due_ms, quiet.nudge_due_ms,
            self.dialling.due_ms, self.limits.due_ms, self.key_series.due_ms, self.transcripts.due_ms,
            self.carrier_due_ms, self.unheard_due_ms, self.handover_due_ms, self.callee.due_ms,
            self.caller_audio.due_ms, self.delegation.due_ms, parting.due_ms(self) if self.parting else NEVER,
            NEVER if spare is None else spare.due_ms,
            NEVER if over is None else over.next_ms,
            NEVER if detours.under_way is None else detours.due_ms,
            NEVER if line.deadline_ms is None else line.deadline_ms,
        )  # fmt: skip
        return None if due_ms == NEVER else due_ms

    def caller_frame(self, frame: CallerAudio, now_ms: int) -> str | Sequence[AppendAudio]:
        """A frame of the caller's sound, fifty times a second: upstream as it is, or kept until a session
        listens. Changes no timer and no other part of the call. Returns what `CallerAudioBuffer.add` does;
        `receive` and the runner's fast way both take this one.
        """
        return () if self.phase is Phase.ENDED else self.caller_audio.add(frame, now_ms)

    def _beside(self, event: Event, epoch: int, now_ms: int) -> None:
        """Words of a turn before its transcript is whole, and what the session says that is to take over.
        Nothing of a session that is over.
        """
        if type(event) is m.CallerWords:
            caller_turns.transcribing(self, event, now_ms)
        elif self.spare is not None and epoch == self.spare.epoch:
            renewal.from_spare(self, event, self.spare, now_ms)

    # fmt: off
    def _from_upstream(self, event: Event, now_ms: int) -> None:  # noqa: C901, PLR0915  one line a message
        if self.up.probe_due_ms != NEVER:
            liveness.answered(self)
        if type(event) is not m.ProbeAnswered:
            self.upstream_ms = now_ms
        if not self.admitted and type(event) not in setup.BEFORE_ADMISSION:
            return  # a stranger's model gets no answer
        if self.phase is Phase.AWAY and away.unheard(self, event, now_ms):
            return
        playout = self.playout
        match event:
            case AudioDelta(): responses.sound(self, event, now_ms)
            case m.UpstreamOpened(): dialling.opened(self, self.up)
            case m.SessionCreated(): dialling.session_created(self, self.up, event, now_ms)
            case m.SessionUpdated(): setup.session_updated(self, event, now_ms)
            case m.SpeechStarted(): speech.started(self, event, now_ms)
            case m.SpeechStopped(): speech.stopped(self, event, now_ms)
            case m.StreamAudio(): duplex_turns.sound(self, event, now_ms)
            case m.Fragment(): duplex_turns.fragment(self, event, now_ms)
            case m.TextDelta(): responses.words(self, event)
            case m.AudioDone(): playout.item_finished(event.item_id, event.part, now_ms)
            case m.ItemAdded(): playout.conversation.added(event)
            case m.ItemGone(): playout.conversation.item(event.item_id).gone = True
            case m.CallerIdled(): caller_turns.idled(self, event, now_ms)
            case m.TurnCommitted(): caller_turns.committed(self, event, now_ms)
            case m.CallerTranscribed(): caller_turns.transcribed(self, event, now_ms)
            case m.ResponseStarted(): playout.response_started(event, now_ms)
            case m.ResponseDone(): responses.response_done(self, event, now_ms)
            case m.ToolCalled(): delegation.called(self, event, now_ms)
            case m.Delegated(): delegation.delegated(self, event, now_ms)
            case m.BackendDone(): delegation.backend_done(self, event, now_ms)
            case m.SessionEnding(): recovery.ending_soon(self, event, now_ms)
            case m.UpstreamFaulted(): error_events.faulted(self, event, now_ms)
            case m.UpstreamClosed(): recovery.upstream_closed(self, event, now_ms)
            case m.DialFailed(): dialling.dial_failed(self, event, now_ms)
            case m.VendorNote(): tool_calls.vendor_note(self, event, now_ms)
            case m.UsageSeen(): money.seen(self, event)

    def other_event(self, event: Event, now_ms: int) -> None:  # noqa: C901, PLR0915  one line a message
        playout, up = self.playout, self.up
        match event:
            # carrier leg
            case m.MarkReached(): playout.mark_reached(event.name, now_ms)
            case m.Started(): setup.started(self, event, now_ms)
            case m.DigitPressed(): caller_turns.digit(self, event.digit, now_ms)
            case m.Stopped() | m.CarrierClosed() | m.CarrierGivenUp(): ending.left(self, event, now_ms)
            # session door
            case m.Play(): responses.play(self, event, now_ms)
            case m.Say(): responses.say(self, event, now_ms)
            case m.Respond(): responses.respond(self, event, now_ms)
            case m.AddText(): responses.add_text(self, event.role, event.text)
            case m.Interrupt(): responses.interrupted_by_us(self, event, now_ms)
            case m.HangUp(): ending.drain(self, Reason.WE_HUNG_UP, event.why, "ended", now_ms)
            case m.Transfer(): ending.transfer(self, event.name, now_ms)
            case m.ToolFinished(): away.tool_finished(self, event, now_ms)
            case m.Reconfigure(): responses.reconfigure(self, event, now_ms)
            case m.SendRaw(): self.out.append(m.SendVendorEvent(event.body, up.epoch))
            case m.CommitTurn(): caller_turns.commit(self, now_ms)
            case m.ClearTurn(): self.out.append(m.ForgetAudio(up.epoch))
            case m.Mute(): self.caller_audio.mute(event.on, now_ms)
            case m.ReadKeys(): caller_turns.read_keys(self, event, now_ms)
            case m.HandlerFailed(): ending.handler_failed(self, event, now_ms)
            # the shell
            case m.Ringing(): setup.ringing(self, now_ms)
            case m.Admitted(): setup.admit(self, now_ms)
            case m.WakeUp(): wakes.wake(self, now_ms)
            case m.FrameRefused(): error_events.frame_refused(self, event)
            case AnswerEvidence(): answer_evidence.learn(self, event, now_ms)
            case m.CallerVoice(): liveness.voice(self, event, now_ms)
            case m.ModelVoice(): playout.audible = event.audible
            case m.FramesDropped(): self.stats.frames_dropped += event.frames
            case m.TakenOver() | m.Moved(): handover.elsewhere(self, event, now_ms)
            case m.BrokenOnPurpose() | m.OperatorActed(): self.out.append(m.Noted(event.named, event.what))
            case m.OutboxFull(): away.outbox(self, event, now_ms)
            case m.HoldRefused(): playout.hold_refused(event.limit_bytes, now_ms)
            case m.ShutDown(): handover.shut_down(self, now_ms)
            case m.HandOver(): handover.hand_over(self, event, now_ms)
            case _: away.receive(self, event, now_ms)
    # fmt: on

    def carried(self, now_ms: int) -> m.CallSnapshot:
        """What another process needs to go on with this call, as it is now: for a journal."""
        return handover.carried(self, now_ms)
