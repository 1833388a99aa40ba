"""Why a carrier leg ended, written down before it ends, and what the call does next.

Before we touch a leg on purpose we note the intent: `ended`, `transfer:<name>` or `handover`. When the stream
is over the carrier asks what comes next (`<Connect action>`); no intent means that this end was not wanted. A
journal file beside the memory keeps intents across a crash: the next process on this machine answers as we
would have, and so does one beside us, for the carrier may ask either.

An intent is looked up, never taken out: the carrier may ask twice, and a goodbye must not become a resumed
call.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from bridge.server.store.journal import Journal

logger = logging.getLogger(__name__)

ENDED: Final = "ended"
HANDOVER: Final = "handover"
TRANSFER: Final = "transfer:"
DETOUR: Final = "detour:"
"""With the detour's id: the call leaves its stream and is to come back to the same session."""
RETURNED: Final = "returned:"
"""With outcome and target: the call comes back from a transfer that was not answered."""

RING_S: Final = 30
"""How long a target is rung."""
MAX_RETURNS: Final = 5
"""Of one call, from transfers."""
MAX_RESUMES: Final = 3
RESUME_WINDOW_S: Final = 120
MAX_WAITS: Final = 8
"""Twilio follows ten redirects in a row (error 11215); two are left for what comes after."""
KEPT_S: Final = 24 * 3600
KEPT_CALLS: Final = 4_096

# Twilio, "Call resource": the states in which the line is empty, and the others.
OVER_STATUSES: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
LIVE_STATUSES: Final = frozenset({"queued", "ringing", "in-progress"})
# Twilio, "<Dial>": what DialCallStatus says of a conversation that took place.
_TALKED: Final = frozenset({"completed", "answered"})
_OUTCOMES: Final = {"busy": "busy", "no-answer": "no_answer", "canceled": "canceled"}
_WORDS: Final = {
    "busy": "the line is busy",
    "no_answer": f"no one answered ({RING_S} s)",
    "canceled": "it was cancelled before anybody answered",
    "failed": "the number could not be reached",
}


Told: TypeAlias = Callable[[str, str, int], None]
"""`(call_sid, intent, returns)` of what is noted; the intent is empty where it is taken back."""


class Next(enum.Enum):
    """What a call does when its stream is over."""

    HANG_UP = "hang up"
    DIAL = "dial the target"
    RESUME = "open the stream again"
    WAIT = "ask again in a moment"
    FALLBACK = "say a word and dial the fallback"
    APOLOGISE = "apologise and hang up"
    RETURN = "give the caller back to the agent"
    UNREACHED = "say that no one could be reached and hang up"


class Step(NamedTuple):
    """What to do next; `target` names a configured number, for DIAL and FALLBACK; `outcome` is what came of
    calling it, for RETURN.
    """

    then: Next
    target: str = ""
    outcome: str = ""


class Situation(NamedTuple):
    """What else a call's next step depends on. `call_status` and `dial_status` are the carrier's `CallStatus`
    and `DialCallStatus`, empty where it said none; `can_answer` is false when no model is to be had;
    `retried` says that this was asked before, and the stream that it was answered with is still to come.
    """

    targets: Container[str] = ()
    fallback: str | None = None
    draining: bool = False
    can_answer: bool = True
    call_status: str = ""
    dial_status: str = ""
    retried: bool = False


def opens_a_stream(intent: str | None, dial_status: str = "") -> bool:
    """Whether a call of that intent goes on with the model."""
    came_back = since_dialling(intent, dial_status)
    return came_back in (None, HANDOVER) or came_back.startswith((RETURNED, DETOUR))


def dialled(fields: Mapping[str, str]) -> str:
    """How dialling a target went, by the carrier's fields. Twilio, "<Dial>", "DialBridged": a call that was
    answered but never joined to the caller is `completed` too; here it is not.
    """
    status = fields.get("DialCallStatus", "")
    return "no-answer" if status in _TALKED and fields.get("DialBridged") == "false" else status


def since_dialling(intent: str | None, dial_status: str) -> str | None:
    """The intent, now that the carrier says how dialling a target went (nothing, if it dialled none)."""
    if not dial_status or dial_status in _TALKED or intent == ENDED or (intent or "").startswith(RETURNED):
        return intent
    return f"{RETURNED}{_OUTCOMES.get(dial_status, 'failed')}:{(intent or '').removeprefix(TRANSFER)}"


def returned_words(outcome: str, intent: str | None) -> str:
    """What the model is told of a transfer that its call comes back from."""
    back = intent is not None and intent.startswith(RETURNED)
    target = (intent or "").removeprefix(RETURNED).partition(":")[2] if back else ""
    to = f"transfer to {target}" if target else "transfer"
    return f"{to}: {_WORDS.get(outcome, _WORDS['failed'])}"


def next_step(
    intent: str | None,
    now: Situation,
    *,
    resumes: int = 0,
    waits: int = 0,
    returns: int = 0,
    had_a_stream: bool = True,
) -> Step:
    """What follows when a stream, or a dialled target, is over. `resumes` are those of the last 120 s,
    `waits` those in a row, `returns` how often the call has come back from a transfer, this time included.
    A call that never `had_a_stream` cannot come back to one.
    """
    intent = since_dialling(intent, now.dial_status)
    kind, _, detail = (intent or "").partition(":")
    sent_on, back = f"{kind}:" == TRANSFER, f"{kind}:" == RETURNED
    outcome, _, target = detail.partition(":") if back else ("", "", detail)
    reachable = now.fallback is not None and now.fallback != target
    alone = Step(Next.UNREACHED if back else Next.APOLOGISE)
    helpless = Step(Next.FALLBACK, now.fallback or "") if reachable else alone
    if now.call_status in OVER_STATUSES or intent == ENDED or now.dial_status in _TALKED:
        return Step(Next.HANG_UP)
    if sent_on:
        return Step(Next.DIAL, target) if target in now.targets else helpless
    if now.draining and waits < MAX_WAITS and had_a_stream:
        return Step(Next.WAIT)
    too_often = intent is None and resumes >= MAX_RESUMES and not now.retried
    too_often |= back and returns > MAX_RETURNS
    if now.draining or not now.can_answer or too_often or (back and not had_a_stream):
        return helpless
    return Step(Next.RETURN, target, outcome) if back else Step(Next.RESUME)


@dataclass(slots=True)
class _Known:
    at_s: float
    intent: str | None = None
    streams: int = 0
    resumed_s: list[float] = field(default_factory=list)
    waits: int = 0
    returns: int = 0


def _untold(_call_sid: str, _intent: str, _returns: int) -> None:
    """No other machine has to know."""


class Intents:
    """The intents of this process's calls, and of those before it on this machine.

    `path` is the journal, None for none. It is appended to at once and without fsync: it outlives the
    process, not the machine. While the journal cannot be written, the log says so once, and what is
    noted is written later.
    """

    def __init__(self, path: Path | None, now: Callable[[], float] = time.time) -> None:
        self.told: Told = _untold
        self._now = now
        self._calls: dict[str, _Known] = {}  # by CallSid, those of late last
        self._journal = None if path is None else Journal(path)
        if self._journal is not None:
            self._remember(self._journal.read())
            self._compact(2 * len(self._calls) + 100)

    def __len__(self) -> int:
        return len(self._calls)

    def note(self, call_sid: str, intent: str) -> None:
        """Why this call's carrier leg is about to end."""
        known = self._touch(call_sid)
        known.intent = intent
        self._write(call_sid, {"intent": intent, **({"returns": known.returns} if known.returns else {})})
        self.told(call_sid, intent, known.returns)

    def began(self, call_sid: str, stream: int = 1) -> None:
        """The call's stream of that number is admitted: what was intended for the one before no longer
        counts.
        """
        known = self._touch(call_sid)
        known.intent, known.waits, known.streams = None, 0, max(known.streams, stream)
        self._write(call_sid, {"intent": None, "stream": known.streams})
        self.told(call_sid, "", known.returns)

    def learn(
        self,
        call_sid: str,
        intent: str | None,
        *,
        streams: int = 0,
        resumed_s: Sequence[float] = (),
        returns: int = 0,
    ) -> None:
        """What another machine has written of the call since. `resumed_s` are seconds of the wall clock."""
        known = self._touch(call_sid)
        known.intent, known.resumed_s = intent, [*resumed_s[-MAX_RESUMES:]]
        known.streams, known.returns = max(known.streams, streams), max(known.returns, returns)

    def peek(self, call_sid: str) -> str | None:
        """What was intended, None if nothing."""
        self._catch_up()
        known = self._calls.get(call_sid)
        return None if known is None or self._now() - known.at_s > KEPT_S else known.intent

    def has_begun(self, call_sid: str) -> bool:
        """Whether a stream of this call was admitted, by us or before us, and the call was not ended."""
        return self.streams(call_sid) > 0 and self.peek(call_sid) != ENDED

    def streams(self, call_sid: str) -> int:
        """The number of the last stream of this call that was admitted, 0 if none is known."""
        self._catch_up()
        known = self._calls.get(call_sid)
        return 0 if known is None or self._now() - known.at_s > KEPT_S else known.streams

    def resumes(self, call_sid: str) -> int:
        """How often this call was resumed in the last 120 s."""
        self._catch_up()
        known = self._calls.get(call_sid)
        since_s = self._now() - RESUME_WINDOW_S
        return 0 if known is None else sum(at_s > since_s for at_s in known.resumed_s)

    def decide(self, call_sid: str, now: Situation) -> Step:
        """`next_step` for this call, noted: a resume is counted, and so are a wait and a way back from a
        transfer; a call sent to the fallback is transferred there; one that is over stays so.
        """
        intent = self.peek(call_sid)
        before = self._calls.get(call_sid)
        # A call that was sent on when it rang has an intent, and had no stream.
        had_a_stream = before is None or before.streams > 0 or intent in (None, HANDOVER)
        came_back = since_dialling(intent, now.dial_status)
        if came_back is not None and came_back != intent and now.call_status not in OVER_STATUSES:
            self._touch(call_sid).returns += 1
            self.note(call_sid, came_back)
        known = self._calls.get(call_sid) or _Known(0)
        step = next_step(
            came_back,
            now,
            resumes=self.resumes(call_sid),
            waits=known.waits,
            returns=known.returns,
            had_a_stream=had_a_stream,
        )
        match step.then:
            case Next.HANG_UP if now.call_status in OVER_STATUSES and self.peek(call_sid) != ENDED:
                self.note(call_sid, ENDED)
            case Next.RESUME if not now.retried:
                known = self._touch(call_sid)
                known.resumed_s = [*known.resumed_s[1 - MAX_RESUMES :], self._now()]
                self._write(call_sid, {"resumed": True})
            case Next.WAIT:
                self._touch(call_sid).waits += 1
            case Next.FALLBACK:
                self.note(call_sid, TRANSFER + step.target)
            case Next.APOLOGISE | Next.UNREACHED:
                self.note(call_sid, ENDED)
        return step

    def close(self) -> None:
        """Let the journal go; the file stays for the next process."""
        if self._journal is not None:
            self._journal.close()

    def _touch(self, call_sid: str) -> _Known:
        """The call's entry, made the latest; the oldest go, by age and by number."""
        now_s = self._now()
        known = self._calls.pop(call_sid, None) or _Known(now_s)
        known.at_s = now_s
        self._calls[call_sid] = known
        while len(self._calls) > KEPT_CALLS or now_s - next(iter(self._calls.values())).at_s > KEPT_S:
            del self._calls[next(iter(self._calls))]
        return known

    def _write(self, call_sid: str, what: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append({"at_ms": round(self._now() * 1000), "call": call_sid, **what})
            self._compact(4 * KEPT_CALLS)

    def _catch_up(self) -> None:
        """What others have written since: the processes of this machine that have the same journal."""
        if self._journal is not None:
            self._remember(self._journal.news())

    def _compact(self, over_lines: int) -> None:
        if self._journal is not None and self._journal.lines > over_lines:
            self._catch_up()
            self._journal.rewrite(self._lines())

    def _remember(self, lines: list[dict[str, Any]]) -> None:
        now_s = self._now()
        for line in lines:
            call_sid, at_ms = line.get("call"), line.get("at_ms")
            if not isinstance(call_sid, str) or not isinstance(at_ms, int) or now_s - at_ms / 1000 > KEPT_S:
                continue
            before = self._calls.get(call_sid)
            if before is not None and at_ms < round(before.at_s * 1000):
                continue  # another process has rewritten the file, and did not know the latest yet
            known = self._touch(call_sid)
            known.at_s = min(at_ms / 1000, now_s)
            if line.get("resumed") is True:
                if at_ms not in {round(at_s * 1000) for at_s in known.resumed_s}:
                    known.resumed_s = [*known.resumed_s[1 - MAX_RESUMES :], known.at_s]
            elif "intent" in line and isinstance(line["intent"], str | None):
                known.intent = line["intent"]
                # Earlier versions had no numbers, and wrote None when a stream began.
                stream = line.get("stream", 1 if known.intent is None else 0)
                known.streams = max(known.streams, stream if isinstance(stream, int) else 1)
                returns = line.get("returns", 0)
                known.returns = max(known.returns, returns if isinstance(returns, int) else 0)

    def _lines(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for call_sid, known in self._calls.items():
            lines += [
                {"at_ms": round(at_s * 1000), "call": call_sid, "resumed": True} for at_s in known.resumed_s
            ]
            last = {"intent": known.intent, "stream": known.streams, "returns": known.returns}
            lines.append({"at_ms": round(known.at_s * 1000), "call": call_sid, **last})
        return lines
