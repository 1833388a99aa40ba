"""What the caller hears of us: the model's sound and our own, whose turn it is, and the record of it.

Holds the line, the response gate and the conversation together, because a barge-in needs all three at once.
Over 400 lines for the same reason: what a delta, a cut, a loss and the end of a response do to the three of
them has to agree.
"""

from __future__ import annotations

from . import messages as m
from . import model_commands
from .conversation import Conversation, Item
from .debts import RECITED, Debts, Kind
from .due import NEVER
from .duplex_session import DuplexSession
from .filled_pauses import FilledPauses
from .ledger import Ledger, Span
from .line import Line
from .mailbox_message import MailboxMessage
from .messages import Action, AgentRules, AudioDelta, CallConfig, SessionConfig, Sound
from .model_commands import RETRY
from .pending_answer import PendingAnswer
from .response_gate import FORGET_RESPONSES, ResponseGate
from .stats import MOST_KEPT, BargeIn, Stats, count
from .turn_times import TurnTimes
from .upstream_leg import UpstreamSession
from .utterances import Utterances

LEAST_MS = 10
"""Of audible sound, before it counts as an answer: less is a click."""
UNTOLD = "cuts not told"
"""What a `Noted` says, once for each vendor, where a cut could not be told to the model."""


class Playout:
    """One call's mouth. Emits into the call's list of actions; `session` is the upstream session it speaks
    with.
    """

    def __init__(self, config: CallConfig, stats: Stats, out: list[Action]) -> None:
        self.line = Line(Ledger(config.bytes_per_ms, config.marks, config.echoes), config.playout_lead_ms)
        self.gate = ResponseGate()
        self.conversation = Conversation()
        self.debts = Debts()
        self.muted: dict[str, bool] = {}
        """Responses of which no more is to come; whether what there was of them is heard all the same."""
        self._sounding = ""
        """The response of which the caller was sent something last."""
        self.owed = PendingAnswer(config.filler_ms)
        self.session = UpstreamSession(0, plan=m.VendorPlan(capabilities=config.capabilities))
        self.duplex: DuplexSession | None = None
        """Where the model listens and speaks at once: its stream, from its first sound on."""
        self.ready = False
        """Whether the upstream session takes items and response requests now."""
        self.audible = True
        """Whether the model's next sound can be heard: the shell judges it."""
        self.phrases = config.phrases
        """In the language of the agent in force."""
        self.faint = False
        """Whether there is sound on the line that cannot be heard, as far as it has come."""
        self.faint_due_ms = NEVER
        """When so much of it was played that it is not waited for."""
        self._pauses = FilledPauses(config.bytes_per_ms)
        self.waiting = ""
        """The last quiet sound that fills a wait, until the answer comes."""
        self.message = MailboxMessage(config)
        """Of the responses outside of the conversation it takes the one that makes it."""
        self.unanswered: TurnTimes | None = None
        """The caller's turn to which no sound has come yet."""
        self._config = config
        self.configure(config.session)
        self._stats = stats
        self._out = out
        self.utterances = Utterances(out, self.conversation, config.bytes_per_ms)

    def configure(self, session: SessionConfig) -> None:
        """Put it in force: a restored session gets it again, and the call keeps to the rules of its agent."""
        self.config = session
        self.agent: AgentRules = session.agent or self._config.agent

    # --- the model's sound -------------------------------------------------------------------------------

    def delta(self, event: AudioDelta, now_ms: int) -> None:
        """Model audio: to the caller, unless its response was cut or is not for the phone."""
        gate, stats = self.gate, self._stats
        response_id = event.response_id
        item, size_bytes = self.conversation.item(event.item_id, response_id), event.size_bytes
        item.received_bytes += size_bytes
        item.audible_bytes += size_bytes if self.audible else 0
        if item.cut or response_id in self.muted or response_id in gate.asides or not self.ready:
            stats.late_bytes += size_bytes
            self.message.delta(event)
            return
        if not self.audible:
            self.faint |= not self.can_be_heard(item)
            if item.received_bytes == event.size_bytes and self.owed.since_ms is not None:
                self._pauses.begin(self.owed.due_ms - now_ms - self.line.remaining_ms(now_ms))
            self._send(self._pauses.filled(event, self.phrases), item, now_ms)
            return
        self._pauses.audible()
        if self.waiting:
            self.line.shorten(self.waiting)
            self.waiting = ""
        if stats.first_audio_ms is None:
            stats.first_audio_ms = now_ms
        if self.unanswered is not None:
            self._stats.answered(self.unanswered, event, self.line, now_ms)
            self.unanswered = None
        if response_id not in (gate.active, self._sounding):  # we were not told that it began
            tag = "" if gate.asked is None else gate.asked.tag
            self.debts.began(response_id, tag, handler=self.agent.handler)
        self._sounding = response_id
        if item.audible_bytes >= LEAST_MS * self._config.bytes_per_ms:
            if self.debts.open and not item.commentary:
                self.debts.sounded(response_id)
            if self.owed.since_ms is not None and not self.debts.open:
                self.owed.stop()
        else:
            self.faint = True
        self._send(event, item, now_ms)

    def _send(self, event: AudioDelta, item: Item, now_ms: int) -> None:
        self._out += self.line.delta(event, now_ms)
        span = self.line.spans.get((event.item_id, event.part))
        if span is not None:
            item.parts[event.part] = span

    def can_be_heard(self, item: Item) -> bool:
        """Whether there is more than a click of sound in it."""
        return item.audible_bytes >= LEAST_MS * self._config.bytes_per_ms

    def audible_in(self, response_id: str) -> bool:
        """Whether there is in any item of that response."""
        return any(self.can_be_heard(item) for item in self.conversation.of(response_id))

    def item_finished(self, item_id: str, part: int, now_ms: int) -> None:
        """No more sound of this item part will come."""
        commands, finished = self.line.finish(item_id, part, now_ms)
        self._out += commands
        self._heard(finished)

    def mark_reached(self, name: str, now_ms: int) -> None:
        commands, finished = self.line.reached(name, now_ms)
        self._out += commands
        self._heard(finished)

    def settle(self, now_ms: int) -> None:
        """The clock moved: send what is due, take the clock's word where the carrier has no marks."""
        commands, finished = self.line.settle(now_ms)
        self._out += commands
        self._heard(finished)

    def hold_refused(self, limit_bytes: int, now_ms: int) -> None:
        """There is no memory for all that waits: the response that came last counts as cut there. The caller
        hears what is held of it, and then the model is told how much that was.
        """
        commands, losses = self.line.shed(limit_bytes, now_ms)
        self._out += commands
        for span, lost_bytes in losses:
            self._stats.late_bytes += lost_bytes
            self.mute(span.response_id, now_ms, short=True)
            if self.gate.active == span.response_id:
                self._cancel(span.response_id)
            if span.received_bytes:
                self.item_finished(span.item_id, span.part, now_ms)
            self._out.append(m.Noted("an answer was cut", f"more of {span.item_id} waits than may be held"))

    def _heard(self, finished: list[Span]) -> None:
        """These spans were heard to their end."""
        for span in finished:
            self._heard_whole(span)
        if finished:
            self._complete_utterances()

    def _heard_whole(self, span: Span) -> None:
        if not span.response_id:
            self._sounded(span, cut=False)
            return
        if self.duplex is not None:
            self.duplex.stream.ended(span)
        self._stats.heard_bytes += span.heard_bytes
        item = self.conversation.item(span.item_id)
        if span.short:
            self._out += self._cut(item, span, tell=self.ready)
        elif not item.cut:  # else nothing of it could be heard, and it is gone
            said, heard_ms = item.said(), span.heard_bytes // self._config.bytes_per_ms
            self._out.append(m.Spoken(span.item_id, said, said, heard_ms, cut=False))

    def _cut(self, item: Item, span: Span, *, tell: bool) -> list[Action]:
        """The caller hears no more of this item: tell the model (`tell`). Returns what the handler is told
        then.
        """
        item.cut, heard_ms = True, span.heard_bytes // self._config.bytes_per_ms
        epoch, said, heard = self.session.epoch, item.said(), item.heard()
        if tell and self.session.can.truncates:
            untouched = heard_ms == 0 and span.part == 0
            truncate = m.TruncateItem(span.item_id, span.part, heard_ms, epoch)
            self._out.append(m.DeleteItem(span.item_id, epoch) if untouched else truncate)
        elif tell:
            told = model_commands.cut(self.session, item, span, self._config.bytes_per_ms)
            self._out += told
            lost, vendor = heard != said or not said, self.session.plan.name
            if lost and not told and count(self._stats.cuts_untold, vendor) == 1:
                self._out.append(m.Noted(UNTOLD, f"{vendor or 'the model'} believes that all was heard"))
        return [m.Cut(span.item_id, heard_ms), m.Spoken(span.item_id, said, heard, heard_ms, cut=True)]

    # --- our own sounds ----------------------------------------------------------------------------------

    def play(
        self, say_id: str, sound: Sound, now_ms: int, *, protected: bool = False, record: bool = True
    ) -> None:
        """Queue a recorded sound; what was heard of its words becomes part of the conversation (`record`)."""
        if record:
            self.conversation.sounding(say_id, sound)
        self._out += self.line.sound(say_id, sound, protected, now_ms)
        if not sound.size_bytes:
            self._sounded(Span(say_id), cut=False)

    def _sounded(self, span: Span, *, cut: bool) -> None:
        """A recorded sound was heard to its end, or cut."""
        item, text = self.conversation.sounds.pop(span.item_id, None), ""
        if item is not None:
            item.parts[0], item.cut = span, cut
            text = item.heard()
        self._out.append(m.Heard(span.item_id, span.heard_bytes // self._config.bytes_per_ms, cut, text))
        if item is not None and text and self.ready:
            self._out.append(model_commands.message(self.session, item.item_id, "assistant", text))

    # --- the handler's utterances ------------------------------------------------------------------------

    def utter(self, say_id: str, wish: str, kind: Kind, now_ms: int) -> None:
        """A `Say` or `Respond`: `Heard` will tell what became of it."""
        self.utterances.asked(say_id)
        self.ask(say_id, wish, kind, now_ms)

    @property
    def breaks_off(self) -> bool:
        """A response is being made, and the caller has heard all there is of it: they wait for the rest."""
        active = self.gate.active
        return active == self._sounding and active not in self.muted and self.line.quiet

    def all_said(self, response_id: str) -> bool:
        """Whether all that this response has begun is whole, and was heard: something of it was said, and
        nothing more is on its way.
        """
        if response_id in self.line.spans.responses:
            return False
        items = self.conversation.of(response_id)
        return bool(items) and all(item.audible or item.call_id for item in items)

    def concerns(self, response_id: str) -> bool:
        """Whether this response is being generated, queued or heard."""
        return response_id in self.line.spans.responses or self.gate.active == response_id

    def _complete_utterances(self) -> None:
        self.utterances.complete(self.line.spans.responses, self.muted)

    # --- the caller speaks over it -----------------------------------------------------------------------

    def interrupt(self, now_ms: int, ours: bool, *, by_caller: bool = False) -> set[str]:
        """The caller shall not hear the rest of this: clear, cancel if the vendor does not, tell the model
        what was heard. Returns the tags of what was cut or dropped; "" stands for what was not asked for.

        Realtime conversations guide, "Interruption and truncation": on a websocket the client stops playback
        and sends `conversation.item.truncate`. The server cancels by itself on speech where
        `interrupt_response` is on; our cancel goes only to a response that is active, and once.
        """
        gate = self.gate
        active = gate.active
        commands, cut = self.line.cut(now_ms)
        self._out += commands
        if self.owed.since_ms is not None and self.ready and not self.debts.open:
            self.owed.stop()  # else the caller still waits for an answer
        dropped = self.drop_waiting() if gate.waiting or gate.asked else []
        if not by_caller:
            self.debts.interrupted(active, dropped)
        responses = {active, *(span.response_id for span in cut)} - self.muted.keys()
        if active is not None:
            self.mute(active, now_ms)
            if ours or not (self.session.interrupts and self._config.auto_cancels):
                self._cancel(active)
        if cut or active:
            self._settle_cut(cut, now_ms, tell=True, by_caller=by_caller)
        return {gate.tags.get(response_id or "", "") for response_id in responses}.union(dropped)

    def mute(self, response_id: str, now_ms: int, *, short: bool = False) -> None:
        """Nothing of this response may reach the caller any more; or only what has come of it (`short`)."""
        gate, muted = self.gate, self.muted
        muted[response_id] = short
        if len(muted) > FORGET_RESPONSES:
            del muted[next(iter(muted))]
        if response_id == gate.active and gate.cut_ms is None:
            gate.cut_ms = now_ms

    def drop_waiting(self) -> list[str]:
        """What was asked for and has not begun is out of date. Returns its tags."""
        asked = self.gate.asked
        dropped = [create.tag for create in self.gate.superseded()] + ([] if asked is None else [asked.tag])
        for tag in dropped:
            self.utterances.close(tag, cut=True)
            self.debts.unsaid(tag)
        return dropped

    def lost(self, now_ms: int, *, leaves: bool = False) -> bool:
        """The upstream session is gone, and its item ids with it: nothing to truncate, but the record is
        corrected. Recorded sounds play on where nothing of the model's is among them; what a duplex model has
        said plays on too, for no more of it waits than is said at a time, unless the call `leaves`. Returns
        whether the caller was owed something that will not come now.
        """
        gate, plays_on = self.gate, self.duplex is not None and not leaves
        owed = self.owed.since_ms is not None or not gate.idle
        cut: list[Span] = []
        if plays_on:
            self._end_spans(now_ms)
        elif any(span.response_id for span in self.line.spans.values()):
            commands, cut = self.line.cut(now_ms)
            self._out += commands
        if gate.active in gate.tags:
            begun = self.conversation.of(gate.active)
            if not any(item.heard_bytes for item in begun):
                self.retry(gate.active)
        self._settle_cut(cut, now_ms, tell=False)
        self.lose_responses()
        self.debts.lost(gate.waiting)
        self.ready = False
        return owed or any(span.received_bytes > span.heard_bytes for span in cut)

    def lose_responses(self) -> None:
        """The session is gone, and its responses with it: the next one may use their ids again."""
        self.gate.lose()
        self.muted.clear()
        self.duplex = None

    def over(self, now_ms: int) -> None:
        """The caller hears nothing any more: of what was on its way the record and the observers get what was
        heard.
        """
        self.ready = False
        _, cut = self.line.cut(now_ms)
        self._settle_cut(cut, now_ms, tell=False)

    def say_what_is_left(self, now_ms: int) -> None:
        """The upstream session is gone while we say goodbye: what came of it is still played."""
        self._end_spans(now_ms)
        self.lose_responses()
        self.gate.waiting.clear()
        self.ready = False

    def _end_spans(self, now_ms: int) -> None:
        """No more comes of what is on the line."""
        if self.duplex is not None:
            self.duplex.utterance_over()
        for span in list(self.line.spans.values()):
            self.item_finished(span.item_id, span.part, now_ms)

    def _settle_cut(self, spans: list[Span], now_ms: int, *, tell: bool, by_caller: bool = False) -> None:
        """One truncate or delete per item cut, ever; nothing for what was heard to its end. What still comes
        of their responses is not for the caller.
        """
        cuts: list[Action] = []
        per_ms = self._config.bytes_per_ms
        cut = {self.gate.active}
        for span in spans:
            if span.over and not span.short:
                self._heard_whole(span)
                continue
            if not span.response_id:
                self._sounded(span, cut=True)
                continue
            cut.add(span.response_id)
            self.mute(span.response_id, now_ms)
            self._stats.heard_bytes += span.heard_bytes
            item = self.conversation.item(span.item_id)
            if item.cut:
                continue
            if span.received_bytes < per_ms and not span.short:
                del item.parts[span.part]  # no sound to speak of; what still comes will be unheard
                continue
            if tell and len(self._stats.barge_ins) < MOST_KEPT:
                heard_ms, received_ms = span.heard_bytes // per_ms, span.received_bytes // per_ms
                if by_caller:
                    self._stats.barge_ins.append(BargeIn(now_ms, span.item_id, heard_ms, received_ms))
                for turn in self._stats.turn_times[-2:]:
                    if turn.item_id == span.item_id and turn.cut_ms is None:
                        turn.cut_ms, turn.heard_ms = now_ms, turn.heard_ms if heard_ms else None
            cuts += self._cut(item, span, tell=tell)
        self._out += cuts
        if self.duplex is not None:
            self.duplex.cut(spans)
        if self.utterances.open:
            self.utterances.cut(cut)
            self._complete_utterances()

    # --- whose turn it is --------------------------------------------------------------------------------

    def ask(self, tag: str, wish: str, kind: Kind, now_ms: int) -> None:
        """Owe the caller words of this kind, and ask the model for them as soon as it may speak."""
        self.debts.owe(tag, kind, now_ms)
        self.request(tag, wish, kind)

    def request(self, tag: str, wish: str, kind: Kind) -> None:
        """Ask the model for a response. Instructions given with a response replace the session's for it: so
        the session's go along. A session whose `tool_choice` forces a call would get one instead of words:
        that is for the caller's turns. Results may need another call; given words need none.
        """
        instructions = f"{self.config.instructions}\n\n{wish}".strip() if wish else None
        choice = None
        if self.config.tool_choice not in ("auto", "none") and kind not in (Kind.TURN, Kind.RESPOND):
            choice = "none" if kind in RECITED else "auto"
        self.gate.want(m.CreateResponse(tag, instructions, choice))

    def next_response(self) -> bool:
        """Send the next response request, if one waits and may go: at the end of every event. Returns whether
        one was sent.
        """
        create = self.gate.next(self.session.epoch) if self.ready else None
        if create is not None:
            self._out.append(model_commands.ask(self.session, create, self.config))
        return create is not None

    def response_started(self, event: m.ResponseStarted, now_ms: int) -> None:
        self._stats.responses += 1
        if not event.aside:
            self._stats.response_began(event.response_id, now_ms)
        self.utterances.started(event.tag, event.response_id)
        if self.gate.started(event):
            self.cancel(event.response_id, now_ms)
        elif event.aside:
            self.message.began(event.response_id, event.tag)
        else:
            self.debts.began(event.response_id, event.tag, handler=self.agent.handler)

    def cancel(self, response_id: str, now_ms: int) -> None:
        """No more of this response is wanted."""
        self.mute(response_id, now_ms)
        self._cancel(response_id)

    def _cancel(self, response_id: str) -> None:
        if self.gate.cancelled != response_id:
            self.gate.cancelled = response_id
            self._out += model_commands.cancel(self.session, response_id)
            if self.duplex is not None:
                self.duplex.stream.hush()

    def retry(self, response_id: str, *, inaudible: bool = False) -> None:
        """The response failed: it is asked for once more, in the same words, and its waiter waits
        on.
        """
        self.utterances.again(response_id)
        choice = "none" if inaudible and self.conversation.tool_ran else None  # only the words are missing
        self.gate.again(self.gate.tags.get(response_id, RETRY), choice)

    def made_sound(self, response_id: str) -> bool:
        """Whether sound of that response was sent on its way to the caller."""
        return any(item.received_bytes for item in self.conversation.of(response_id))

    def shorten(self, response_id: str, now_ms: int) -> None:
        """No more of that response will come, though it is not whole: when what there is of it was heard,
        the model is told how much that was.
        """
        self.mute(response_id, now_ms, short=True)
        for span in self.line.spans.of(response_id):
            span.short = True

    def response_done(self, event: m.ResponseDone, now_ms: int) -> None:
        """The last word on a response: ends its items, deletes those of a muted one that were never heard.

        One that the vendor cancelled because the caller spoke is an interruption by itself: the start of
        speech may come later than this (some servers), or not at all. Nothing is cut by one that is asked for
        again.
        """
        aside = event.response_id in self.gate.asides
        self.message.done(event.response_id, event.status)
        self.gate.done(event)
        self.debts.ended(event.response_id, self.gate.waiting)
        interrupted = self.muted.get(event.response_id) is False
        if event.status == "cancelled" and not aside and not interrupted:
            self.mute(event.response_id, now_ms)
            if self.made_sound(event.response_id) and event.why == "turn_detected":
                self.interrupt(now_ms, ours=False, by_caller=True)
        for span in self.line.spans.of(event.response_id):
            if not span.done:
                self.item_finished(span.item_id, span.part, now_ms)
        self.utterances.generated(event.response_id)
        if event.response_id in self.muted:
            per_ms = self._config.bytes_per_ms
            for item in self.conversation.of(event.response_id):
                plays = item.cut or any(part.received_bytes for part in item.parts.values())
                if item.received_bytes >= per_ms and not plays:
                    item.cut = True
                    self._out += model_commands.delete(self.session, item.item_id)
        self._complete_utterances()

    def refused(self, tag: str | None, again: bool) -> None:
        """Our response request was answered with an error."""
        self.gate.refused(tag, again)
        if not again and tag is not None:
            self.utterances.close(tag, cut=True)
            self.debts.interrupted(None, {tag}, "refused")
