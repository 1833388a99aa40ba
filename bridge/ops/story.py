"""A call told in lines for people: who spoke, what was heard or cut, tools, keys, notes, the end.

`told` says it of one action. A failed test, `phonebridge demo` and a server at a terminal tell a call in the
same words.
"""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.recording.json_text import object_of

logger = logging.getLogger("bridge.story")

MOST_CHARACTERS: Final = 160
"""Of something quoted."""


class Told(NamedTuple):
    """One line: `who` is caller, model, bridge, tool, or "" for the call itself."""

    who: str
    what: str


def _answered(action: m.Answered | m.Beep | m.MessageLeft) -> Told:
    """Who has answered a call that we placed, and what was left with them."""
    match action:
        case m.Answered(by=kind, source=source):
            return Told("caller", f"answers: {kind.value} ({source})")
        case m.Beep(hz=hz, duration_ms=lasted_ms):
            return Told("caller", f"a tone of {hz} Hz, {lasted_ms} ms")
        case m.MessageLeft(heard_ms=heard_ms, whole=whole):
            left = "the message" if whole else "a part of the message"
            return Told("bridge", f"has left {left}: {heard_ms} ms")


def told(action: m.Action, *, words: bool = True) -> Told | None:
    """One action as a line; None for what no listener would tell. Without `words` nothing that was said,
    pressed or given to a tool is in it.
    """
    match action:
        case m.CallBegan():
            return Told("", "answered: phone and model can hear each other")
        case m.CallerSpoke(speaking=True):
            return Told("caller", "begins to speak")
        case m.CallerSpoke():
            return Told("caller", "has stopped")
        case m.Turn(text=text) if text and words:
            return Told("caller", f"said {quoted(text)}")
        case m.Spoken():
            return Told("model", _heard(action, words=words))
        case m.Heard():
            return Told("bridge", _played(action, words=words))
        case m.DigitHeard(digit=digit):
            return Told("caller", f"presses {digit if words else 'a key'}")
        case m.ToolWanted(name=name, arguments=arguments):
            return Told("model", f"calls the tool {name}({_arguments(arguments) if words else '…'})")
        case m.Answered() | m.Beep() | m.MessageLeft():
            return _answered(action)
        case m.HangUpCancelled():
            return Told("caller", "speaks during the goodbye: the call goes on")
        case m.NoteIntent(intent=intent) if intent.startswith("transfer:"):
            return Told("bridge", f"the call goes to {intent.partition(':')[2]} next")
        case m.Noted(what=what, detail=detail):
            return Told("bridge", f"{what}: {detail}" if detail else what)
        case m.Ended(reason=reason, detail=detail):
            return Told("", f"over: {reason.value}{f' ({detail})' if detail else ''}")
        case _:
            return None


class Story:
    """An `Observer` that logs every call line by line, for a terminal. `words` as in `told`."""

    def __init__(self, *, words: bool) -> None:
        self._words = words

    def call_began(self, call_sid: str, /) -> None:
        self._tell(call_sid, 0, "", "a call comes in")

    def call_did(self, call_sid: str, action: m.Action, now_ms: int, /) -> None:
        # Notes are warnings, which are logged anyway; the end comes with its counts.
        line = None if isinstance(action, m.Noted | m.Ended) else told(action, words=self._words)
        if line is not None:
            self._tell(call_sid, now_ms, *line)

    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats, /) -> None:
        line = told(ended)
        if line is not None:
            self._tell(call_sid, stats.ended_ms or 0, "", f"{line.what}{_counts(stats)}")

    def _tell(self, call_sid: str, now_ms: int, who: str, what: str) -> None:
        logger.info("%s", f"{now_ms / 1000:7.2f} s  {who:<6}  {what}", extra={"call_sid": call_sid})


def quoted(text: str) -> str:
    """In quotes, in one line and not longer than a line may be."""
    line = " ".join(text.split())
    return f"“{line[:MOST_CHARACTERS]}{'…' if len(line) > MOST_CHARACTERS else ''}”"


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.2f} s"


def _heard(item: m.Spoken, *, words: bool) -> str:
    """What became of something the model said. What was not heard is told too: it is what the model must not
    think it has said.
    """
    generated = f"{quoted(item.generated)} " if words and item.generated else ""
    if not item.cut:
        return f"{generated}heard to the end, {_seconds(item.heard_ms)}"
    if not item.heard_ms:
        return f"{generated}not heard at all"
    heard = f", after {quoted(item.heard)}" if words and item.heard else ""
    return f"{generated}cut off after {_seconds(item.heard_ms)}{heard}"


def _played(sound: m.Heard, *, words: bool) -> str:
    what = f"{quoted(sound.text)} " if words and sound.text else f"{sound.say_id.partition(':')[0]} "
    return f"{what}{'cut off after' if sound.cut else 'heard to the end,'} {_seconds(sound.heard_ms)}"


def _arguments(arguments: str) -> str:
    """As they would be written in Python; as they came where they are no object."""
    given = object_of(arguments)
    if given is None:
        return arguments[:MOST_CHARACTERS]
    return ", ".join(f"{name}={value!r}" for name, value in given.items())[:MOST_CHARACTERS]


def _counts(stats: Stats) -> str:
    """Turns, how soon they were answered, barge-ins, tools and cost, as far as there were any."""
    latencies = sorted(stats.turn_latencies_ms)
    answered = f", answered in {latencies[(len(latencies) - 1) // 2]} ms" if latencies else ""
    cost = f"${stats.cost_micro_usd / 1_000_000:.4f}" if stats.cost_micro_usd else ""
    cost += " (incomplete)" if stats.unconfirmed else ""
    counted = [(stats.turns, "turn"), (len(stats.interruptions_ms), "barge-in"), (stats.tools, "tool call")]
    told_counts = [f"{count} {what}{'s' if count > 1 else ''}" for count, what in counted if count]
    if told_counts:
        told_counts[0] += answered
    return "".join(f"; {one}" for one in [*told_counts, *filter(None, [cost])])
