"""Minds for the Realtime server: what it says when a response is to be made.

An agent gets `Asked` and returns a reply, a list of outputs in their order. It keeps no state of its own, so
one agent can serve many sessions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

from .items import Item
from .tones import murmur, tone


class Rendering(Protocol):
    """Sound in the making. It is spoken as it comes, a sentence at a time."""

    @property
    def sentences(self) -> Sequence[str]: ...

    def sound(self, index: int) -> bytes | None:
        """The µ-law of that sentence, None while it is being made."""
        ...


@dataclass(frozen=True, slots=True)
class Speech:
    """One assistant message. `sound` is µ-law, or comes by and by, or is a length in ms: then the n-th such
    speech of a session is made of byte n (`tones.marked`), so that counting the bytes heard tells how much of
    it was heard. `phase`: commentary or final_answer, as newer models say it.
    """

    sound: bytes | int | Rendering
    text: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function call. It takes `ms` to be written, during which a barge-in leaves it incomplete."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    call_id: str | None = None
    ms: int = 0

    @property
    def json_arguments(self) -> str:
        """The arguments as the wire has them: JSON in a string. A given string is taken as it is."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A tool of an MCP server waits for the client's approval."""

    server_label: str
    name: str


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause: the model thinks."""

    ms: int


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The response ends here as `incomplete`; None leaves its details out."""

    reason: Literal["max_output_tokens", "content_filter"] | None = "max_output_tokens"


@dataclass(frozen=True, slots=True)
class Failure:
    """The response ends here as `failed`; code None leaves its details out."""

    code: str | None = "server_error"
    message: str = "The server had an error while processing your request. Sorry about that!"


@dataclass(frozen=True, slots=True)
class Later:
    """Outputs that are decided while the response runs: None as long as they are not."""

    decided: Callable[[], Sequence[Output] | None]


Output: TypeAlias = "Speech | ToolCall | ApprovalRequest | Pause | Later | Incomplete | Failure"


@dataclass(frozen=True, slots=True)
class Asked:
    """Why a response is to be made, and out of what."""

    number: int
    """0 for the first response of the session."""
    reason: Literal["turn", "client", "idle"]
    """The caller's turn ended, the client asked, or neither side spoke for the idle timeout."""
    items: Sequence[Item]
    """What the model sees: the conversation, or the request's own `input`."""
    request: Mapping[str, Any]
    """The `response` of the client's `response.create`, {} when there was none."""
    session: Mapping[str, Any]

    @property
    def caller(self) -> Item | None:
        """The caller's last turn, None before the first."""
        return next((item for item in reversed(self.items) if item.role == "user"), None)

    @property
    def tool_output(self) -> str | None:
        """A tool's result, if that is the last item."""
        last = self.items[-1] if self.items else None
        return last.text if last is not None and last.type == "function_call_output" else None


class Agent(Protocol):
    """Decides what the model says."""

    def answer(self, asked: Asked) -> Sequence[Output]:
        """The outputs of one response; [] for a response that says nothing."""
        ...


class Parrot:
    """Greets, then answers each turn with what it heard in it.

    What it is given as words (a tool's result, instructions of one response, a typed turn) it murmurs; the
    words are the transcript.
    """

    greeting_text: Final = "Hello, I am a parrot. I repeat what I hear."

    def __init__(self, greeting: bytes | None = None, text: str = greeting_text) -> None:
        self.greeting = Speech(murmur("Hello") + tone(300) if greeting is None else greeting, text)

    def answer(self, asked: Asked) -> list[Output]:
        caller, instructions = asked.caller, asked.request.get("instructions")
        if asked.tool_output is not None:
            return [_murmured(asked.tool_output)]
        if asked.reason == "idle":
            return [_murmured("Are you still there?")]
        if asked.reason == "client" and caller is None and asked.number == 0:
            return [self.greeting]
        if asked.reason == "client" and instructions:
            return [_murmured(instructions)]
        if caller is None:
            return [self.greeting]
        if not caller.sound:
            return [_murmured(caller.text)]
        return [Speech(caller.sound, caller.text)]


class Scripted:
    """A reply for each response, in turn; nothing when the script is over."""

    def __init__(self, replies: Sequence[Output | Sequence[Output]]) -> None:
        self.replies: list[list[Output]] = [
            list(reply) if isinstance(reply, Sequence) else [reply] for reply in replies
        ]

    def answer(self, asked: Asked) -> list[Output]:
        return self.replies[asked.number] if asked.number < len(self.replies) else []


def _murmured(text: str) -> Speech:
    return Speech(murmur(text), text)
