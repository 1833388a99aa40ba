"""What happened in a recorded call, as bars and points on lanes over time.

Nothing here estimates: the recording is replayed, and what the caller heard is what the ledger of that replay
says. What the model was told stands in the recording, so the two can be held against each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..core import messages as m
from ..core.detours import title
from ..core.fillers import WAITING
from ..core.stats import BargeIn
from ..recording import replay
from ..recording.walking import Walk, Walked
from .drawing import Drawing
from .heard import Heard
from .lanes import (
    CALLER,
    CUTS,
    HEARD,
    LOST,
    MARKS,
    MODEL,
    MOST_TICKS,
    SENT,
    SESSION,
    TROUBLE,
    Bar,
    Cut,
    Line,
    Story,
)  # fmt: skip
from .names import Names
from .told import Told
from .tools import Tools


def _remark(action: m.HangUpCancelled | m.Answered | m.Beep | m.MessageLeft) -> tuple[str, str]:
    """A note: that the goodbye is taken back; who has answered a call that we placed, and what was left."""
    match action:
        case m.HangUpCancelled():
            return "the goodbye is taken back", ""
        case m.Answered(by=kind, source=source):
            return f"answered by: {kind.value}", source
        case m.Beep(hz=hz, duration_ms=lasted_ms):
            return "a mailbox's tone", f"{hz} Hz, {lasted_ms} ms"
        case m.MessageLeft(heard_ms=heard_ms, of_ms=of_ms, whole=whole):
            return (
                "a message was left" if whole else "a part of a message was left",
                f"{heard_ms} of {of_ms} ms",
            )


def tell(lines: Iterable[str], hide: Callable[[str], str] | None = None) -> Story:
    """Walk through a recording. With `hide`, what a tool was given and answered is shown as it says, keys are
    `•`, and where today's code decides otherwise stands without what it decides. Raises ConfigError for
    anything else.
    """
    kept = list(lines)
    walk = Walk(kept)
    teller = _Teller(Story(walk.header, walk.call.stats), hide)
    for walked in walk:
        teller.step(walked)
    story = teller.finish()
    story.vendors = tuple(plan.name for plan in walk.call.dialling.vendors)
    story.difference = replay(kept).difference
    if hide is not None and story.difference is not None:  # whole frames stand there
        story.difference = replace(story.difference, expected="(hidden)", got="(hidden)", around=())
    if walk.recording.truncated is not None:
        story.ended = f"the recording was cut short: {walk.recording.truncated}"
    return story


class _Teller:
    """Goes along with a walk, and notes what is to be drawn."""

    def __init__(self, story: Story, hide: Callable[[str], str] | None) -> None:
        self.story = story
        self._hides_keys = hide is not None
        self.heard = Heard(story.header.config.bytes_per_ms)
        self._names = Names(story.header.config.phrases, self.heard.bytes_per_ms)
        self._now: Walked
        self._draw = Drawing(story)
        self._voice: Bar | None = None
        self._turn: Bar | None = None
        self._turns: dict[str, Bar] = {}
        self._lines: dict[str, Line] = {}
        self._marks: dict[str, tuple[int, float, bool]] = {}
        self._tools = Tools(self._draw, hide or str)
        self._sessions: dict[int, Bar] = {}
        self._told = Told()
        self._barge_ins = 0
        self._latencies = 0
        self._latency_ms: dict[str, int] = {}
        self._late_bytes = 0
        self._away: Bar | None = None
        self._lost_until = (-1, 0)

    # --- one step ----------------------------------------------------------------------------------------

    def step(self, now: Walked) -> None:
        self._now = now
        self._draw.at(now.step)
        self.story.end_ms = max(self.story.end_ms, now.step.t_ms)
        before = now.before
        self.heard.until(now.step.t_ms, before.position_bytes, before.sent_bytes)
        self._told.step(now.step)
        if now.event is not None:
            self._event(now.event)
        line = now.call.playout.line
        self.heard.sent(now.step.t_ms, line.spans.values(), line.ledger, self._names.of)
        for action in now.actions:
            self._action(action)
        for barge_in in self.story.stats.barge_ins[self._barge_ins :]:
            self._barge_in(barge_in)
        self._barge_ins = len(self.story.stats.barge_ins)
        latencies_ms = self.story.stats.turn_latencies_ms
        if len(latencies_ms) > self._latencies and isinstance(now.event, m.AudioDelta):
            self._latency_ms[self._names.of(now.event.item_id, now.event.epoch)] = latencies_ms[-1]
        self._latencies = len(latencies_ms)
        if now.error is not None:
            self._draw.point(TROUBLE, "error", f"the core raised {type(now.error).__name__}", str(now.error))
            self.story.ended = "an internal invariant was broken"

    # --- what came in ------------------------------------------------------------------------------------

    # fmt: off
    def _event(self, event: m.Event) -> None:  # noqa: C901, PLR0915  one line a message
        match event:
            case m.Started(): self.heard.stream_began()
            case m.AudioDelta(): self._delta(event)
            case m.StreamAudio() if event.loud: self._stream(event)
            case m.CallerVoice(): self._loud(event.loud)
            case m.TextDelta(): self._names.text(event)
            case m.DigitPressed(): self._pressed(event.digit)
            case m.MarkReached(): self._echo(event.name)
            case m.SpeechStarted(): self._started()
            case m.SpeechStopped(): self._stopped(event.item_id)
            case m.ToolFinished(): self._tools.finished(event)
            case m.SessionUpdated(): self._ready(event.epoch)
            case m.UpstreamClosed(): self._closed(event.epoch, f"closed: {event.code} {event.reason}")
            case m.DialFailed(): self._closed(event.epoch, f"no session: {event.status} {event.code}")
            case m.UpstreamFaulted():
                self._draw.point(TROUBLE, "error", f"model: {event.code or event.kind}", event.message)
            case m.FrameRefused():
                self._draw.point(TROUBLE, "error", f"{event.leg}'s frame refused", event.why)
            case m.FramesDropped():
                self._draw.point(TROUBLE, "error", f"{event.frames} frames of the caller's dropped")
            case m.BrokenOnPurpose(): self._draw.point(TROUBLE, "note", "broken on purpose", event.what)
            case m.HangUp(): self._draw.point(TROUBLE, "note", "the handler hangs up", event.why)
            case m.Transfer(): self._draw.point(TROUBLE, "note", f"the handler transfers to {event.name}")
            case m.Interrupt(): self._draw.point(CUTS, "interrupt", "the handler interrupts", rows=4)
    # fmt: on

    def _delta(self, event: m.AudioDelta) -> None:
        name, ms = self._names.delta(event)
        self._draw.span(MODEL, "model", name)
        late_bytes, self._late_bytes = self._late_bytes, self.story.stats.late_bytes
        if self._late_bytes > late_bytes:
            self._draw.point(MODEL, "unsent", f"{ms} ms of {name}, thrown away: its response was cut")
        else:
            self._draw.point(MODEL, "delta", f"{ms} ms of {name}")

    def _stream(self, event: m.StreamAudio) -> None:
        """A piece of a duplex model's stream that is no silence."""
        ms, duplex = event.size_bytes // self.heard.bytes_per_ms, self._now.call.playout.duplex
        if duplex is None or duplex.item is None or not duplex.item.open:
            self._draw.point(MODEL, "unsent", f"{ms} ms, thrown away: the model was to stop")
            return
        item, per_ms = duplex.item, self.heard.bytes_per_ms
        name = self._names.utterance(item.item_id, event.epoch, item.segment.span.received_bytes // per_ms)
        self._draw.span(MODEL, "model", name)
        self._draw.point(MODEL, "delta", f"{ms} ms of {name}")

    def _loud(self, loud: bool) -> None:
        if self._voice is not None:
            self._voice.end_ms = self._now.step.t_ms
            self._voice = None
        if loud:
            self._voice = self._draw.bar(CALLER, "voice", "a voice on the line")

    def _pressed(self, digit: str) -> None:
        digit = "•" if self._hides_keys else digit
        self._draw.point(CALLER, "key", f"key {digit}")
        last = self.story.talk[-1] if self.story.talk else None
        if last is not None and last.who == "keys":
            last.said += f" {digit}"
        else:
            self.story.talk.append(Line(self._now.step.t_ms, "keys", digit))

    def _echo(self, name: str) -> None:
        mark = self._marks.pop(name, None)
        if mark is None:
            self._draw.point(MARKS, "flushed", f"mark {name} came back, which was not sent", row=0, rows=2)
            return
        sent_ms, due_ms, flushed = mark
        now_ms = self._now.step.t_ms
        title = f"mark {name}, back after {now_ms - sent_ms:,} ms"
        point = self._draw.point(MARKS, "flushed" if flushed else "echo", title, row=0, rows=2)
        if not flushed:
            point.delay_ms = max(0, round(now_ms - due_ms))

    def _started(self) -> None:
        self._stopped("")
        self._turn = self._draw.bar(CALLER, "caller", "the caller speaks")

    def _stopped(self, item_id: str) -> None:
        bar, self._turn = self._turn, None
        if bar is not None:
            bar.end_ms = self._now.step.t_ms
            self._turns[item_id] = bar

    def _ready(self, epoch: int) -> None:
        bar = self._sessions.get(epoch)
        if bar is not None and bar.kind == "dialling":
            bar.end_ms = self._now.step.t_ms
            self._sessions[epoch] = self._draw.bar(SESSION, "session", f"session {epoch}")

    def _closed(self, epoch: int, how: str) -> None:
        bar = self._sessions.pop(epoch, None)
        if bar is not None:
            bar.end_ms = self._now.step.t_ms
            self._draw.point(SESSION, "error", f"session {epoch} {how}")
            self._stopped("")

    # --- what was decided --------------------------------------------------------------------------------

    # fmt: off
    def _action(self, action: m.Action) -> None:  # noqa: C901, PLR0915  one line a message
        match action:
            case m.PlayAudio(): self._played(action)
            case m.SendMark(): self._marked(action.name)
            case m.ClearPlayout(): self._cleared()
            case m.CancelResponse():
                self._draw.point(CUTS, "cancel", f"cancel {action.response_id}", row=1, rows=4)
            case m.TruncateItem():
                title = f"truncate {action.item_id} to {action.heard_ms:,} ms"
                point = self._draw.point(CUTS, "truncate", title, row=2, rows=4)
                point.words = f"heard {action.heard_ms:,} ms"
            case m.TellModel(kind):
                self._draw.point(CUTS, "delete", f"told: {kind}, {action.about}", row=3, rows=4)
            case m.CallerSpoke() if self._now.call.up.can.duplex:
                self._started() if action.speaking else self._stopped(action.item_id)
            case m.DeleteItem(): self._draw.point(CUTS, "delete", f"delete {action.item_id}", row=3, rows=4)
            case m.Cut(): self._lost(action)
            case m.Turn(): self._said(action)
            case m.Spoken(): self._spoken(action)
            case m.Heard(): self._sounded(action)
            case m.ToolWanted(): self._tools.wanted(action)
            case m.DialUpstream(epoch):
                self._sessions[epoch] = self._draw.bar(SESSION, "dialling", f"dialling, session {epoch}")
            case m.CloseUpstream(): self._closed_by_us(action.epoch)
            case m.Noted(): self._draw.point(TROUBLE, "note", action.what, action.detail)
            case m.HangUpCancelled() | m.Answered() | m.Beep() | m.MessageLeft():
                self._draw.point(TROUBLE, "note", *_remark(action))
            case m.LeaveStream(): self._away = self._draw.bar(HEARD, LOST, "away")
            case m.DetourEnded(): self._detour(action)
            case m.Ended():
                self.story.ended = f"{action.reason.value}{f' ({action.detail})' if action.detail else ''}"
    # fmt: on

    def _detour(self, ended: m.DetourEnded) -> None:
        """The caller was elsewhere, and what came of it; a detour that never left is a note."""
        words = f"{title(ended.kind, ended.name)}: {ended.result.outcome.value}"
        bar, self._away = self._away, None
        line = Line(self._now.step.t_ms, "away", words)
        if bar is None:
            self._draw.point(TROUBLE, "note", words)
        else:
            bar.title = bar.words = words
            line.at_ms, line.end_ms = bar.start_ms, self._now.step.t_ms
            bar.end_ms = line.end_ms
        self.story.talk.append(line)

    def _played(self, action: m.PlayAudio) -> None:
        owner = self.heard.owner
        kind = "ours" if owner.ours else "model"
        self._draw.span(SENT, kind, owner.name)
        ms = action.size_bytes // self.heard.bytes_per_ms
        self._draw.point(SENT, "delta", f"{ms} ms of {owner.name}")

    def _marked(self, name: str) -> None:
        now_ms, ledger = self._now.step.t_ms, self._now.call.playout.line.ledger
        queued_ms = (ledger.sent - ledger.position(now_ms)) / ledger.bytes_per_ms
        self._marks[name] = (now_ms, now_ms + queued_ms, False)
        self._draw.point(MARKS, "mark", f"mark {name} sent", row=1, rows=2)

    def _cleared(self) -> None:
        self._marks = {name: (sent_ms, due_ms, True) for name, (sent_ms, due_ms, _) in self._marks.items()}
        self._draw.point(CUTS, "clear", "clear: the caller stops hearing us", row=0, rows=4)

    def _lost(self, cut: m.Cut) -> None:
        """What the caller would have heard, had they not spoken (or the model not been lost)."""
        at_ms = self._now.step.t_ms
        name = self._names.of(cut.item_id)
        lost_ms = self._names.sizes_ms.get(name, 0) - cut.heard_ms
        if lost_ms > 0:
            start_ms = max(at_ms, *self._lost_until) if self._lost_until[0] == at_ms else at_ms
            self._lost_until = (at_ms, start_ms + lost_ms)
            bar = self._draw.bar(HEARD, LOST, f"{lost_ms:,} ms of {name}, not heard")
            bar.start_ms, bar.end_ms = start_ms, start_ms + lost_ms

    def _said(self, turn: m.Turn) -> None:
        bar = self._turns.get(turn.item_id)
        if bar is not None:
            bar.title = bar.words = f"“{turn.text}”" if turn.text else "(no transcript)"
        at_ms = self._now.step.t_ms if bar is None else bar.start_ms
        line = Line(at_ms, "caller", turn.text or "(no transcript)")
        line.end_ms = self._now.step.t_ms if bar is None else bar.end_ms
        self.story.talk.append(line)

    def _spoken(self, spoken: m.Spoken) -> None:
        self._names.said(spoken)
        line = Line(self._now.step.t_ms, "model", f"({spoken.item_id}, without a transcript)")
        if spoken.generated:
            line.said, line.heard = spoken.generated, spoken.heard
        line.cut_ms = spoken.heard_ms if spoken.cut else None
        line.made_ms = self._names.sizes_ms.get(self._names.of(spoken.item_id))
        self._lines[self._names.of(spoken.item_id)] = line
        self.story.talk.append(line)

    def _sounded(self, heard: m.Heard) -> None:
        if not self.heard.is_ours(heard.say_id):
            return  # a wish that the model has spoken: it stands there as an item
        if heard.say_id.startswith(f"{WAITING}:"):
            return  # without words, and once a second
        words = self._names.phrase(heard.say_id, self.heard.ours) or heard.text or f"({heard.say_id})"
        line = Line(self._now.step.t_ms, "bridge", words, heard.text or words)
        line.cut_ms = heard.heard_ms if heard.cut else None
        self._lines[heard.say_id] = line
        self.story.talk.append(line)

    def _closed_by_us(self, epoch: int) -> None:
        bar = self._sessions.pop(epoch, None)
        if bar is not None:
            bar.end_ms = self._now.step.t_ms

    def _barge_in(self, barge_in: BargeIn) -> None:
        cut = Cut(
            barge_in.item_id,
            barge_in.heard_ms,
            None,
            barge_in.received_ms,
            self.heard.proven_ms(self._names.of(barge_in.item_id), self._now.before.acked_bytes),
        )
        self.story.barge_ins.setdefault(barge_in.at_ms, []).append(cut)

    # --- the end -----------------------------------------------------------------------------------------

    def finish(self) -> Story:
        story = self.story
        parts_ms = [part.start_ms for part in self.heard.parts]  # in order
        for bar in story.bars:
            if bar.end_ms < bar.start_ms:
                bar.end_ms = story.end_ms
            after = bisect_left(parts_ms, bar.start_ms)
            room_ms = parts_ms[after] if bar.kind == LOST and after < len(parts_ms) else story.end_ms
            bar.end_ms = max(bar.start_ms, min(bar.end_ms, room_ms))
        for at_ms, cuts in story.barge_ins.items():
            for cut in cuts:
                cut.told_ms = self._told.heard_ms(cut.item_id, at_ms)
        self._tools.settle()
        for (lane, item_id), bar in self._draw.spans.items():
            bar.title = self._title(item_id)
            if lane == MODEL:
                bar.detail = f"{self._names.sizes_ms.get(item_id, 0):,} ms generated\n{bar.detail}"
        began: dict[str, Line] = {}
        for part in self.heard.parts:
            name = part.owner.name
            kind = "ours" if part.owner.ours else "heard"
            bar = Bar(HEARD, kind, part.start_ms, part.end_ms, self._title(name))
            story.bars.append(bar)
            line = self._lines.get(name)
            bar.words = bar.title.partition(" · ")[2] or name
            if line is not None:
                if line.cut_ms is not None and line.heard:
                    bar.words = f"“{line.heard}…"
                line.at_ms = min(line.at_ms, part.start_ms)
                line.end_ms = part.end_ms
                began[name] = line
        story.points = self._draw.thinned()
        story.depth = self.heard.thinned(story.end_ms / MOST_TICKS)
        story.talk.sort(key=lambda line: line.at_ms)
        for name, line in began.items():
            line.latency_ms = self._latency_ms.get(name)
        return story

    def _title(self, name: str) -> str:
        words = self._names.words(name, self.heard.ours)
        return f"{name} · “{words}”" if words else name
