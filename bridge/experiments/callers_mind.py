"""Who decides what a caller without lines says next: a chat endpoint, or a function of the user's.

A mind is told only what the caller has understood. Its answers are kept by what it was asked, so a run can be
had again; the seed of a run is part of the question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from bridge.agents.blocking import Blocked, bounded
from bridge.agents.user_code import USER_CODE

from ..doubles.people.caller import Decision, HangUp, Line, Press, Say, plain
from ..doubles.phone import DIGITS
from ..errors import BridgeError
from ..recording.json_text import object_of
from .callers_voice import import_function
from .endpoint import Endpoint
from .scenario import CallerTable
from .scenario import Mind as MindTable
from .spending import Rate

THINK_MS: Final = 700
MOST_CHARACTERS: Final = 2_000
"""Of a turn: more is two minutes of speech."""
CHAT: Final = "/chat/completions"
_RULES: Final = (
    "You are a person who has called a number on the phone. You are the caller, not the assistant. "
    "Your goal: {goal}. Your manner: {persona}. Say one or two short spoken sentences at a time, and nothing "
    "that you would not say aloud. If the other side's words are empty, you did not understand them. When "
    "your goal is reached, or cannot be reached, call hang_up."
)
_TOOLS: Final[Any] = [
    {
        "type": "function",
        "function": {
            "name": "hang_up",
            "description": "End the call.",
            "parameters": {
                "type": "object",
                "properties": {"reached_goal": {"type": "boolean"}, "why": {"type": "string"}},
                "required": ["reached_goal", "why"],
            },
        },
    }
]


class MindFailed(BridgeError):
    """A mind gave no turn; the message says what it gave instead."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a mind is told. `lines` are what the caller said (`caller`) and understood (`agent`)."""

    goal: str
    persona: str
    lines: Sequence[Line]
    seed: int


class Mind(Protocol):
    """Decides one turn. May take its time; in virtual time the call stands still meanwhile."""

    think_ms: int

    def decide(self, heard: Heard) -> Decision:
        """The caller's next turn. Raises MindFailed or EndpointFailed."""
        ...


def mind_of(caller: CallerTable) -> Mind | None:
    """None where the caller has lines. Raises ConfigError for one that cannot be had."""
    if caller.lines is not None or caller.mind is None:
        return None
    if isinstance(caller.mind, str):
        return FunctionMind(caller.mind)
    return ChatMind(caller.mind)


class FunctionMind:
    """`module:function`: gets `Heard`, and returns words, `Say`, `Press` or `HangUp`."""

    def __init__(self, where: str) -> None:
        self.think_ms = THINK_MS
        self._where = where
        self._function: Callable[[Heard], object] = import_function(where)

    def decide(self, heard: Heard) -> Decision:
        try:
            with USER_CODE.runs(self._function, ""), bounded():
                found = self._function(heard)
        except Blocked as error:
            raise MindFailed(str(error)) from error
        except (Exception, SystemExit) as error:
            raise MindFailed(f"{self._where} raised {type(error).__name__}: {error}") from error
        if isinstance(found, str) and plain(found):
            found = Say(found)
        if isinstance(found, Say) and not plain(str(found.words)):
            raise MindFailed(f"{self._where} wants to say something without words")
        if isinstance(found, Press) and (not found.digits or set(found.digits) - set(DIGITS)):
            raise MindFailed(f"{self._where} wants to press keys that no phone has")
        if isinstance(found, Say | Press | HangUp):
            return found
        raise MindFailed(
            f"{self._where} returned {type(found).__name__}: words, Say, Press or HangUp are wanted"
        )


class ChatMind:
    """An OpenAI-compatible chat endpoint with one tool, `hang_up`."""

    def __init__(self, table: MindTable) -> None:
        query = f"?key_env={table.key_env}" if table.key_env else ""
        endpoint, _ = Endpoint.of(table.url + query, CHAT)
        self._endpoint = replace(endpoint, rate=None if table.usd is None else Rate(*table.usd))
        self._model = table.model
        self.think_ms = table.think_ms

    def decide(self, heard: Heard) -> Decision:
        rules = _RULES.format(goal=heard.goal or "none", persona=heard.persona or "as people are")
        messages = [{"role": "system", "content": rules}]
        for line in heard.lines:
            role = "assistant" if line.who == "caller" else "user"
            messages.append({"role": role, "content": line.words or "(not understood)"})
        body = {"model": self._model, "messages": messages, "tools": _TOOLS, "seed": heard.seed}
        return self._endpoint.ask(body, lambda raw: _decision(chat_message(raw)))


def chat_message(raw: bytes) -> dict[str, Any]:
    """The first message of a chat completion. Raises ValueError, LookupError or TypeError."""
    message = json.loads(raw)["choices"][0]["message"]
    if not isinstance(message, dict):
        raise TypeError("a message is an object")
    return message


def _decision(message: dict[str, Any]) -> Decision:
    for call in message.get("tool_calls") or ():
        function = call["function"]
        if function.get("name") == "hang_up":
            return _hang_up(function.get("arguments"))
    content = message.get("content")
    words = content.strip() if isinstance(content, str) else ""
    if not plain(words):
        raise MindFailed("the caller's mind said nothing, and did not hang up")
    if len(words) > MOST_CHARACTERS:
        raise MindFailed(f"the caller's mind said {len(words)} characters at once, which is no turn")
    return Say(words)


def _hang_up(arguments: object) -> HangUp:
    """As it was asked for. A goal is reached where that is true, and not where it is "false"."""
    given = object_of(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(given, dict):
        return HangUp(reached=False)
    return HangUp(given.get("reached_goal") is True, str(given.get("why", ""))[:MOST_CHARACTERS])
