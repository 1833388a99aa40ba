"""What a test expects of a call. Each method passes silently or fails with the story of the call so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import pytest

from ..core import messages as m
from ..ops.story import Told, quoted, told
from ..recording.facts import LONG_SILENCE_MS, Facts
from ..recording.json_text import object_of
from ..recording.walking import Walk

Log = list[tuple[int, m.Action]]
"""What the core decided, each with its time in ms."""

__tracebackhide__ = True  # pytest shows the line of the test, not ours

_Kind = TypeVar("_Kind", bound=m.Message)
Aside = tuple[int, str]
"""What is to be said of the script itself, with its time in ms."""
_SCRIPT: Final = "script"


def actions_of(lines: Iterable[str]) -> Log:
    """What the core decides when this recording is fed to it now."""
    return [(walked.step.t_ms, action) for walked in Walk(lines) for action in walked.actions]


class Expect:
    """Expectations of a call up to now, in any order. Each fails the test if it does not hold, and returns
    `self`, so that expectations can be chained.
    """

    def __init__(
        self,
        log: Callable[[], Log],
        truth: Callable[[], dict[str, tuple[int, int]]] | None = None,
        asides: Callable[[], Sequence[Aside]] = tuple,
        facts: Callable[[], Facts] | None = None,
    ) -> None:
        self._facts = facts
        self._log = log
        self._truth = truth
        self._asides = asides

    # --- what the caller heard, and what the model was told of it ----------------------------------------

    def truncated(self, item_id: str, heard_ms: int, part: int = 0) -> Expect:
        """The model was told that the caller heard `heard_ms` of this item."""
        wanted = (item_id, part, heard_ms)
        told = [(cut.item_id, cut.part, cut.heard_ms) for cut in self._all(m.TruncateItem)]
        return self._check(wanted in told, f"{item_id} truncated to {heard_ms} ms")

    def deleted(self, item_id: str) -> Expect:
        """The model was told to forget this item, of which the caller heard nothing."""
        gone = [item.item_id for item in self._all(m.DeleteItem)]
        return self._check(item_id in gone, f"{item_id} deleted")

    def uncut(self, item_id: str) -> Expect:
        """The caller heard this item to its end."""
        heard = [spoken for spoken in self._all(m.Spoken) if spoken.item_id == item_id]
        return self._check(bool(heard) and not heard[-1].cut, f"{item_id} heard to its end")

    def not_cut(self, item_id: str) -> Expect:
        """The caller did not interrupt this item."""
        return self._check(item_id not in [cut.item_id for cut in self._all(m.Cut)], f"{item_id} not cut")

    def not_heard(self, item_id: str) -> Expect:
        """The caller heard no word of this item."""
        heard = self._heard(item_id)
        return self._check(
            not any(words for _, words in heard), f"nothing heard of {item_id}", _listed(heard)
        )

    def heard_text(self, text: str, item_id: str = "", *, part: bool = False) -> Expect:
        """These are all the words the caller heard of that item, or of one of them: an item ends when it was
        heard to its end or was cut. With `part` it may have been more.
        """
        if part:
            return self.heard_text_contains(text, item_id)
        heard = self._heard(item_id)
        wanted = f"{text!r} to be all that was heard of {item_id or 'an item'}, word for word"
        part = any(text in words for _, words in heard)
        cure = "\nit is part of one: `heard_text_contains` asks for a part" if part else ""
        return self._check(text in [words for _, words in heard], wanted, f"{_listed(heard)}{cure}")

    def heard_text_contains(self, text: str, item_id: str = "") -> Expect:
        """The words the caller heard of that item, or of one of them, hold this text."""
        heard = self._heard(item_id)
        wanted = f"{text!r} in what was heard of {item_id or 'an item'}"
        return self._check(any(text in words for _, words in heard), wanted, _listed(heard))

    def played(self, name: str) -> Expect:
        """The caller heard some of this sound: a phrase by its name (`filler`), a `play` by its id."""
        ids = [one.say_id.partition(":")[0] if name != one.say_id else name for one in self._all(m.Heard)]
        return self._check(name in ids, f"the sound {name} played")

    def cleared(self, times: int = 1) -> Expect:
        """The carrier's buffer was emptied `times` times."""
        return self._count(m.ClearPlayout, times, "cleared")

    def cancelled(self, times: int = 1) -> Expect:
        """The bridge cancelled `times` responses; those that the vendor cancelled do not count."""
        return self._count(m.CancelResponse, times, "cancelled")

    def truth(self, within_ms: int = 0) -> Expect:
        """What the model believes it said is what the phone played, item by item."""
        if self._truth is None:
            raise TypeError("a recording holds no phone to ask; expect `truncated` or `heard_text` of it")
        wrong = {
            item_id: f"believed {believed_ms} ms, heard {heard_ms} ms"
            for item_id, (believed_ms, heard_ms) in self._truth().items()
            if abs(believed_ms - heard_ms) > within_ms
        }
        return self._check(not wrong, f"belief and truth within {within_ms} ms", wrong)

    # --- turns, tools, words -----------------------------------------------------------------------------

    def said(self, text: str) -> Expect:
        """The caller's words in a turn, as they were transcribed, hold this text."""
        return self._check(any(text in turn.text for turn in self._all(m.Turn)), f"the caller said {text!r}")

    def pressed(self, digits: str) -> Expect:
        """The caller pressed these keys, one after the other."""
        keys = "".join(key.digit for key in self._all(m.DigitHeard))
        return self._check(digits in keys, f"the keys {digits} pressed")

    def tool_called(self, name: str, /, **arguments: Any) -> Expect:
        """The model called this tool; of its arguments those that are given are compared."""
        calls = [call for call in self._all(m.ToolWanted) if call.name == name]
        found = any(_has(call.arguments, arguments) for call in calls)
        return self._check(found, f"a call of the tool {name} with {arguments}", self._tools())

    def tool_not_called(self, name: str) -> Expect:
        """The model did not call this tool."""
        called = name in [call.name for call in self._all(m.ToolWanted)]
        return self._check(not called, f"no call of the tool {name}", self._tools())

    def tool_answered(self, text: str) -> Expect:
        """The model was given a tool's result that holds this text."""
        outputs = [item.output or "" for item in self._all(m.CreateItem)]
        found = any(text in output for output in outputs)
        return self._check(found, f"a tool's result with {text!r}", self._tools())

    def told(self, text: str) -> Expect:
        """The model was told this, in an item or for a response."""
        words = [item.text for item in self._all(m.CreateItem)]
        words += [create.instructions or "" for create in self._all(m.CreateResponse)]
        return self._check(any(text in one for one in words), f"the model told {text!r}")

    # --- waits -------------------------------------------------------------------------------------------

    def answered_in(self, ms: int, item_id: str = "") -> Expect:
        """After each of their turns that was answered, or the one that was answered by this item, the caller
        waited `ms` at most: from their last word until they heard the answer.
        """
        turns = [turn for turn in self._known.turns if item_id in ("", turn.item_id)]
        waits = [turn.felt_ms for turn in turns if turn.felt_ms is not None]
        wanted = f"{item_id or 'every answer'} within {ms} ms"
        return self._check(bool(waits) and max(waits) <= ms, wanted, f"waits in ms: {waits or 'no answer'}")

    def silence(self, most_ms: int) -> Expect:
        """At no time were both sides silent for longer than `most_ms`, which is 2,000 or more. Raises
        ValueError for less.
        """
        if most_ms < LONG_SILENCE_MS:
            raise ValueError(f"silence is counted from {LONG_SILENCE_MS} ms on")
        found = [one for one in self._known.silences if one.ms > most_ms]
        shown = "\n".join(f"{one.ms} ms of silence from {one.from_ms} ms on" for one in found)
        return self._check(not found, f"no silence of more than {most_ms} ms", shown)

    # --- the call ----------------------------------------------------------------------------------------

    def barge_ins(self, times: int) -> Expect:
        """The caller interrupted `times` times; items queued behind the one that was cut do not count."""
        told = [
            (at_ms, action.item_id)
            for at_ms, action in self._log()
            if isinstance(action, m.TruncateItem | m.DeleteItem)
        ]
        cuts = [
            at_ms
            for at_ms, action in self._log()
            if isinstance(action, m.Cut) and (at_ms, action.item_id) in told
        ]
        count = len(set(cuts))
        return self._check(count == times, f"{times} barge-ins, not {count}")

    def recovered(self, times: int = 1) -> Expect:
        """The model's session was lost and replaced `times` times."""
        dials = len(self._all(m.ConfigureSession)) - 1
        return self._check(dials == times, f"{times} further sessions with the model, not {dials}")

    def transferred(self, name: str) -> Expect:
        """The call is meant to go to this target, by its configured name."""
        begun = {moved.name for moved in self._all(m.DetourMoved) if moved.kind is m.DetourKind.TRANSFER}
        sent_on = m.NoteIntent(f"transfer:{name}") in self._all(m.NoteIntent)
        return self._check(name in begun or sent_on, f"a transfer to {name}")

    def outcomes(self, *outcomes: str) -> Expect:
        """The call's detours ended so, in this order: `busy`, `connected` and so on."""
        found = [ended.result.outcome.value for ended in self._all(m.DetourEnded)]
        return self._check(found == list(outcomes), f"the outcomes {list(outcomes)}, not {found}")

    def noted(self, what: str) -> Expect:
        """An operator would read this in the log."""
        notes = [f"{note.what}: {note.detail}" for note in self._all(m.Noted)]
        return self._check(any(what in note for note in notes), f"a note of {what!r}")

    def going_on(self) -> Expect:
        """The call is not over."""
        return self._check(not self._all(m.Ended), "the call going on")

    def ended(self, reason: m.Reason | str | None = None) -> Expect:
        """The call is over, for this reason: `Reason.WE_HUNG_UP`, or its words `we hung up`."""
        reasons = [ended.reason for ended in self._all(m.Ended)]
        found = reasons if reason is None else [one for one in reasons if reason in (one, one.value)]
        return self._check(bool(found), f"an end{'' if reason is None else f': {m.Reason(reason).value}'}")

    # --- inside ------------------------------------------------------------------------------------------

    def _all(self, kind: type[_Kind]) -> list[_Kind]:
        return [action for _, action in self._log() if isinstance(action, kind)]

    @property
    def _known(self) -> Facts:
        if self._facts is None:
            raise TypeError("what is asked of needs a recording, and there is none")
        return self._facts()

    def _tools(self) -> str:
        """Every tool's call with its whole answer."""
        answers = {item.call_id: item.output for item in self._all(m.CreateItem) if item.output is not None}
        calls = [
            f"  {call.name}({call.arguments}) -> {answers.get(call.call_id, 'no answer yet')}"
            for call in self._all(m.ToolWanted)
        ]
        return "\n".join(["tools:", *calls]) if calls else "no tool was called"

    def _heard(self, item_id: str) -> list[tuple[str, str]]:
        """Each item or sound that has ended, with the words the caller heard of it."""
        spoken = [(one.item_id, one.heard) for one in self._all(m.Spoken) if item_id in ("", one.item_id)]
        played = [] if item_id else self._all(m.Heard)
        return spoken + [(one.say_id, one.text) for one in played if one.heard_ms]

    def _count(self, kind: type[m.Message], times: int, what: str) -> Expect:
        count = len(self._all(kind))
        return self._check(count == times, f"{what} {times} times, not {count}")

    def _check(self, holds: bool, expected: str, details: object = None) -> Expect:
        if not holds:
            asides = self._asides()
            lines = [f"expected {expected}"]
            lines += [str(details)] if details else []
            lines += [f"mind: at {asides[0][0]} ms {asides[0][1]}"] if asides else []
            pytest.fail("\n".join([*lines, *_story(self._log(), asides)]))
        return self


def _has(arguments: str, wanted: dict[str, Any]) -> bool:
    """Whether a tool was given these values. A masked recording may hold what is no JSON any more."""
    return wanted.items() <= (object_of(arguments) or {}).items()


def account(log: Log, asides: Sequence[Aside] = ()) -> list[str]:
    """The story of a call, a line each with its time in ms: who spoke, what was heard or cut, tools."""
    lines = [(at_ms, line) for at_ms, action in log if (line := _line(action)) is not None]
    lines += [(at_ms, Told(_SCRIPT, words)) for at_ms, words in asides]
    lines.sort(key=lambda line: line[0])  # stable: what happened at the same time keeps its order
    return [f"{at_ms:>8}  {who:<6}  {what}".rstrip() for at_ms, (who, what) in lines]


def _line(action: m.Action) -> Told | None:
    line = told(action) or _wired(action)
    if line is not None and isinstance(action, m.Spoken):
        return Told(line.who, f"{line.what} ({action.item_id})")
    return line


def _story(log: Log, asides: Sequence[Aside]) -> list[str]:
    return ["the call, in ms:", *(account(log, asides) or ["  nothing happened yet"])]


def _listed(heard: list[tuple[str, str]]) -> str:
    if not heard:
        return "heard to an end: nothing yet (let more time pass; what still sounds is not counted)"
    return "\n".join(["heard:", *(f"  {name}: {words!r}" for name, words in heard if words)])


def _wired(action: m.Action) -> Told | None:
    """What model and carrier were told because of it, as far as tests ask for it."""
    match action:
        case m.TruncateItem(item_id=item_id, heard_ms=heard_ms):
            return Told("bridge", f"tells the model that {heard_ms} ms of {item_id} were heard")
        case m.DeleteItem(item_id=item_id):
            return Told("bridge", f"tells the model to forget {item_id}: nothing of it was heard")
        case m.ClearPlayout():
            return Told("bridge", "empties the carrier's buffer")
        case m.CancelResponse():
            return Told("bridge", "cancels the response")
        case m.CreateItem(output=output) if output is not None:
            return Told("tool", f"answers {quoted(output)}")
        case m.CreateItem(text=text) if text:
            return Told("bridge", f"tells the model {quoted(text)}")
        case m.CreateResponse(instructions=wish):
            return Told("bridge", f"asks for an answer{f' {quoted(wish)}' if wish else ''}")
        case m.ConfigureSession(epoch=epoch, again=False) if epoch > 1:
            return Told("bridge", f"has session {epoch} with the model")
        case m.ResponseEnded(status=status, why=why) if status != "completed":
            return Told("model", f"ends its response: {status}{f' ({why})' if why else ''}")
        case _:
            return None
