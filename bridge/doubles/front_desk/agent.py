"""The front desk as the mind of a Realtime server: it reads the session's own tools, prompt and wishes, and
obeys them by script. No private channel: a Realtime client is all that it needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ..agents import ApprovalRequest, Asked, Later, Output, Speech, ToolCall
from ..items import Item
from ..tones import murmur
from ..wishes import SCRIPTED, answer_to, begins_call, said_exactly, wish_of
from .dialogue import HELLO, AskApproval, Call, Desk, Heard, Question, Reaction, State
from .facts import opening_line
from .results import FAILED, aloud, failed
from .tools import DeskTool, named, tools_of

REHEARSAL: Final = "This is a rehearsal: a script answers, not a model."
"""Said once a call."""
STILL_THERE: Final = "Are you still there?"
AGAIN: Final = "Shall I try again?"
_KEYS: Final = re.compile(r"\[The caller pressed ([0-9A-D*# ]+) on the keypad\.\]")
_MOST_TURNS: Final = 50


class FrontDesk:
    """Answers as the session wants: greets, says exact words, calls its tools and says their results.

    `speak` makes the sound of a sentence, `hear` words out of a turn's sound: None where it cannot, "" for no
    words. Keeps no state: everything is derived from the conversation, so a session that is resumed goes on
    with the same open question.
    """

    def __init__(
        self,
        speak: Callable[[str], Speech] | None = None,
        hear: Callable[[bytes], str | None] | None = None,
    ) -> None:
        self._speak = speak or (lambda text: Speech(murmur(text), text))
        self._hear = hear or (lambda _sound: None)

    def answer(self, asked: Asked) -> list[Output]:
        """The outputs of one response."""
        session = asked.session
        prompt = str(session.get("instructions") or "")
        wanted = asked.request.get("instructions")
        if isinstance(wanted, str):
            exactly = said_exactly(wanted, prompt)
            if exactly is not None:
                return self._exactly(exactly, greets=begins_call(wanted, prompt), items=asked.items)
            wish = wish_of(wanted, prompt)
            if wish and asked.tool_output is None and not wish.startswith("Your last message was cut off"):
                return self._own(asked.items, answer_to(wish))
        if asked.reason == "idle":
            return self._own(asked.items, STILL_THERE)
        desk = desk_of(session, asked.request)
        output = asked.items[-1] if asked.tool_output is not None else None
        if output is not None:
            return self._own(asked.items, self._result(asked.items, output))
        return self._turn(desk, asked, prompt)

    # --- what it says ------------------------------------------------------------------------------------

    def _exactly(self, text: str, *, greets: bool, items: Sequence[Item]) -> list[Output]:
        """These words and no others; a greeting is followed by a sentence of the desk's own."""
        words: list[Output] = [self._speak(text)]
        return [*words, self._speak(REHEARSAL)] if greets and not _told(items) else words

    def _own(self, items: Sequence[Item], text: str) -> list[Output]:
        """A sentence that no one has put into its mouth; the first one says what speaks here."""
        first: list[Output] = [] if _told(items) else [self._speak(REHEARSAL)]
        return [*first, self._speak(text)]

    def _turn(self, desk: Desk, asked: Asked, prompt: str) -> list[Output]:
        items = asked.items
        last = items[-1] if items else None
        if asked.caller is None and not _spoke(items):
            return self._exactly(opening_line(prompt) or _default_greeting(desk), greets=True, items=items)
        if last is None or last.role != "user":
            return self._own(items, self.state(desk, items).said or HELLO)  # resumed: say where we were
        decided = self._reaction(desk, items)
        return [Later(lambda: self._reaction(desk, items))] if decided is None else decided

    def _reaction(self, desk: Desk, items: Sequence[Item]) -> list[Output] | None:
        """The answer to the last turn; None while words are being made out."""
        if any(self._listening(item) for item in items[-_MOST_TURNS:] if item.role == "user"):
            return None
        reaction, _ = desk.react(self.state(desk, items[:-1]), self._heard(items[-1]))
        return self._outputs(items, reaction)

    def _listening(self, item: Item) -> bool:
        """Whether the words of this turn are still being made out."""
        waits = item.words is not None and item.words.text() is None
        return waits and self._hear(item.sound) is None

    def _outputs(self, items: Sequence[Item], reaction: Reaction) -> list[Output]:
        spoken = self._own(items, reaction.text) if reaction.text else []
        if isinstance(reaction, Call):
            return [*spoken, ToolCall(reaction.name, dict(reaction.arguments))]
        if isinstance(reaction, AskApproval):
            return [*spoken, ApprovalRequest(reaction.server, reaction.tool)]
        return spoken

    def _result(self, items: Sequence[Item], output: Item) -> str:
        call = _call_of(items, output)
        name = str(call.fields.get("name") or "") if call is not None else ""
        tool = DeskTool(name, "function", "", ())
        if failed(output.text):
            return f"{FAILED} {AGAIN}" if _failures(items) == 1 else FAILED
        return (
            f"You are with {tool.spoken} now. What can I do for you?"
            if tool.hands_off
            else aloud(output.text)
        )

    # --- what it knows -----------------------------------------------------------------------------------

    def state(self, desk: Desk, items: Sequence[Item]) -> State:
        """The state that these items lead to: everything before the last call of a tool is settled."""
        start = max((at for at, item in enumerate(items) if item.type == "function_call"), default=-1)
        state = _after_call(items, start) if start >= 0 else State()
        if start >= 0:
            state = replace(state, said=_last_words(items[:start]))
        for item in items[max(start + 1, len(items) - 2 * _MOST_TURNS) :]:
            if item.role == "user":
                _, state = desk.react(state, self._heard(item))
            elif item.role == "assistant" and item.text and item.text != REHEARSAL:
                state = replace(state, said=item.text)
        return state

    def _heard(self, item: Item) -> Heard:
        """A turn as the policy reads it. Written words go before sound: they are a transcript."""
        pressed = _KEYS.search(item.text)
        if pressed is not None:
            return Heard(keys=pressed[1].replace(" ", ""))
        if not item.sound:
            return Heard(item.text)
        words = self._hear(item.sound)
        if words is None and item.words is not None:
            words = item.words.text() or ""
        return Heard(words)


def desk_of(session: Mapping[str, Any], request: Mapping[str, Any]) -> Desk:
    """The policy for a response: its own tools and choice go before the session's."""
    choice = request.get("tool_choice", session.get("tool_choice", "auto"))
    tools = request.get("tools", session.get("tools")) or ()
    must_call = choice == "required" or isinstance(choice, Mapping)
    return Desk(tools_of(tools, choice), str(session.get("instructions") or ""), must_call=must_call)


def _default_greeting(desk: Desk) -> str:
    return f"Hello. This is a scripted stand-in. {desk.help()}"


def _spoke(items: Sequence[Item]) -> bool:
    return any(item.role == "assistant" for item in items)


def _told(items: Sequence[Item]) -> bool:
    return any(item.role == "assistant" and item.text == REHEARSAL for item in items)


def _last_words(items: Sequence[Item]) -> str:
    own = (item.text for item in reversed(items) if item.role == "assistant")
    return next((text for text in own if text and text != REHEARSAL), "")


def _call_of(items: Sequence[Item], output: Item) -> Item | None:
    call_id = output.fields.get("call_id")
    calls = (item for item in items if item.type == "function_call" and item.fields.get("call_id") == call_id)
    return next(calls, None)


def _failures(items: Sequence[Item]) -> int:
    """How many times the last call has failed in a row, with the same arguments."""
    failures = 0
    last: tuple[Any, Any] | None = None
    for item in reversed(items):
        if item.type != "function_call_output":
            continue
        call = _call_of(items, item)
        same = None if call is None else (call.fields.get("name"), call.fields.get("arguments"))
        if not failed(item.text) or (last is not None and same != last):
            break
        failures, last = failures + 1, same
    return failures


def _after_call(items: Sequence[Item], at: int) -> State:
    """After a call that failed once the caller may have it tried again."""
    outputs = [item for item in items[at + 1 :] if item.type == "function_call_output"]
    if not outputs or not failed(outputs[-1].text) or _failures(items) != 1:
        return State()
    call = _call_of(items, outputs[-1])
    if call is None:
        return State()
    try:
        arguments = json.loads(str(call.fields.get("arguments") or "{}"))
    except ValueError:
        arguments = {}
    return State(Question(str(call.fields.get("name")), arguments if isinstance(arguments, dict) else {}))


__all__ = ["REHEARSAL", "SCRIPTED", "FrontDesk", "desk_of", "named"]
