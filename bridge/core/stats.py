"""Counts and latencies of one call, kept by the core in its own milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from .line import Line
from .messages import AudioDelta, CallerTranscribed, DetourEnded, ResponseDone, Usage
from .turn_times import MOST_OF_A_TURN, ResponseTimes, ToolTimes, TurnTimes

MOST_KINDS = 32
MOST_KEPT = 10_000
"""Values of one kind that are kept a call; more would say nothing new."""
OTHERS = "others"


def count(kinds: dict[str, int], kind: str) -> int:
    """One more of that kind; returns how many there were now. Kinds are a peer's words: beyond the first 32
    they are counted as one.
    """
    if kind not in kinds and len(kinds) >= MOST_KINDS:
        kind = OTHERS
    kinds[kind] = kinds.get(kind, 0) + 1
    return kinds[kind]


class BargeIn(msgspec.Struct, gc=False):
    """One interruption: when, of which item, and what the caller had heard of it against what there was."""

    at_ms: int
    item_id: str
    heard_ms: int
    received_ms: int


@dataclass(slots=True)
class Stats:
    """Everything `call.summary` says. Times are since the call was accepted; None where it never came to
    that. No Struct: these fields are written while the call lasts, and a Struct is slow to write to.
    """

    started_ms: int | None = None
    ready_ms: int | None = None
    began_ms: int | None = None
    first_audio_ms: int | None = None
    ended_ms: int | None = None
    turns: int = 0
    responses: int = 0
    barge_ins: list[BargeIn] = field(default_factory=list)
    """One for each item that the caller cut."""
    cuts_untold: dict[str, int] = field(default_factory=dict)
    """Cuts that the model could not be told of, by vendor; "" is the one that the call began with."""
    opening: TurnTimes = field(default_factory=TurnTimes)
    """What there was before the caller's first turn."""
    turn_times: list[TurnTimes] = field(default_factory=list)
    """Of each turn of the caller's, the oldest first."""
    turn_latencies_ms: list[int] = field(default_factory=list)
    """From the last of the caller's voice to the first sound of the answer that they hear."""
    frames_in: int = 0
    """Of the caller's; known when the call is over."""
    heard_bytes: int = 0
    """Of the model's sound, what the caller heard; whole when the call is over."""
    late_bytes: int = 0
    """Model audio of a response already cut, dropped before the caller could hear it."""
    frames_refused: dict[str, int] = field(default_factory=dict)
    frames_dropped: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    recoveries: int = 0
    failovers: list[str] = field(default_factory=list)
    """To which vendors the call has gone on, and from which."""
    tools: int = 0
    usage: Usage = field(default_factory=Usage)
    usage_missing: int = 0
    gaps_ms: list[int] = field(default_factory=list)
    """Per recovery: from the loss of the model's session until the next one listened."""
    restored_ms: list[int] = field(default_factory=list)
    """When each of those gaps was over."""
    transcribed_s: float = 0.0
    answered_by: str = ""
    """In a call that we placed, by the names of `AnswerKind`."""
    message: str = ""
    """What became of one for a mailbox: voicemail_left or message_partial; or the call ended `screened`."""
    cost_micro_usd: int = 0
    unconfirmed: int = 0
    """Sessions of which the vendor has not said for how long they were open: their cost is as we counted."""
    detours: list[DetourEnded] = field(default_factory=list)
    """The last ones, the oldest first; known when the call is over."""

    @property
    def turn(self) -> TurnTimes:
        """The caller's newest turn; `opening` before the first."""
        return self.turn_times[-1] if self.turn_times else self.opening

    def turn_ended(self, last_word_ms: int, decided_ms: int, early_id: str | None = None) -> TurnTimes | None:
        """A turn of the caller's is over; `early_id` is the response that answers it, if the model began it
        before it said so. None where no more are kept.
        """
        if len(self.turn_times) >= MOST_KEPT:
            return None
        before = self.turn.responses
        turn = TurnTimes(len(self.turn_times) + 1, last_word_ms, decided_ms)
        if before and before[-1].response_id == early_id:
            turn.responses.append(before.pop())
        self.turn_times.append(turn)
        return turn

    def response_began(self, response_id: str, now_ms: int) -> None:
        """The model began a response of the conversation."""
        if len(self.turn.responses) < MOST_OF_A_TURN:
            self.turn.responses.append(ResponseTimes(response_id, now_ms))

    def response_ended(self, event: ResponseDone, now_ms: int) -> None:
        """The last word on it; it may belong to the turn before the newest."""
        for turn in (*self.turn_times[-2:], self.opening):
            for one in turn.responses:
                if one.response_id == event.response_id:
                    one.done_ms, one.status, one.usage = now_ms, event.status, event.usage
                    return

    def answered(self, turn: TurnTimes, event: AudioDelta, line: Line, now_ms: int) -> None:
        """The first sound of the turn's answer has come, and will be heard when what is on the line has
        been.
        """
        played_ms = now_ms + line.remaining_ms(now_ms)
        turn.delta_ms, turn.item_id = now_ms, event.item_id
        turn.sent_ms = None if line.waiting else now_ms
        turn.way_ms, turn.way_known = line.ledger.lateness_ms // 2, line.ledger.echoed
        turn.heard_ms = played_ms + turn.way_ms
        for one in turn.responses:
            if one.response_id == event.response_id:
                one.first_ms = now_ms
        if turn.last_word_ms is not None:
            self.turn_latencies_ms.append(played_ms - turn.last_word_ms)

    def tool_began(self, call_id: str, name: str, now_ms: int) -> None:
        """The model wants a tool's result."""
        if len(self.turn.tools) < MOST_OF_A_TURN:
            self.turn.tools.append(ToolTimes(call_id, name, now_ms))

    def tool_ended(self, call_id: str, now_ms: int) -> None:
        """It has the result. Slow tools may outlast the turn that they belong to."""
        for turn in (*reversed(self.turn_times), self.opening):
            for tool in turn.tools:
                if tool.call_id == call_id and tool.finished_ms is None:
                    tool.finished_ms = now_ms
                    return

    @property
    def interruptions_ms(self) -> list[int]:
        """What the caller did not hear because of each interruption: it may have cut several items."""
        unheard_ms: dict[int, int] = {}
        for one in self.barge_ins:
            lost_ms = max(0, one.received_ms - one.heard_ms)
            unheard_ms[one.at_ms] = unheard_ms.get(one.at_ms, 0) + lost_ms
        return list(unheard_ms.values())

    def add_usage(self, usage: Usage | None) -> None:
        """Sum the tokens of one response; a response without figures (cancelled, failed) is counted, not
        guessed.
        """
        if usage is None:
            self.usage_missing += 1
            return
        now = self.usage
        self.usage = Usage(*(getattr(now, name) + getattr(usage, name) for name in Usage.__struct_fields__))

    def add_transcription(self, event: CallerTranscribed) -> None:
        """Transcription is billed apart: by the second, or by tokens."""
        self.transcribed_s += event.seconds
