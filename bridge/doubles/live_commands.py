"""What a GPT-Live server takes from a client: the fields of each event, and what it refuses in which words.

Live API reference, "Client events". It is strict: one unknown field, and nothing of the event is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .formats import BYTES_PER_MS
from .live_options import Refused

MOST_APPENDED_CHARACTERS: Final = 1_800
"""An append has 500 tokens: 1,756 characters of English passed, 1,900 were refused."""
MOST_INPUT_MESSAGES: Final = 128
MOST_INPUT_TOKENS: Final = 8_192
MOST_INSTRUCTION_TOKENS: Final = 16_384
_CHARACTERS_A_TOKEN: Final = 4
FORBIDDEN_VOICES: Final = frozenset({"fable", "nova", "onyx"})
"""Voices of other models of the vendor's."""

FIELDS: Final[Mapping[str, Mapping[str, bool]]] = {
    "session.start": {"session": True},
    "session.input_audio.append": {"audio": True},
    "session.input_audio.mute": {},
    "session.input_audio.unmute": {},
    "session.instructions.append": {"content": True, "delegation_id": True},
    "session.thinking.append": {"content": True, "delegation_id": True},
    "session.commentary.append": {"content": True, "delegation_id": True},
    "session.update": {"session": True},
    "response.item.create": {"item": True},
    "response.create": {},
    "session.close": {},
}
"""Of each event that this server knows its fields, and whether they must be there."""

_SESSION: Final = frozenset({
    "model", "instructions", "input", "audio", "delegation", "store", "triggers", "safety_identifier",
})  # fmt: skip
_RESPONSES: Final = frozenset({
    "model", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text",
    "service_tier", "max_output_tokens",
})  # fmt: skip
_PARTS: Final = {
    "developer": ("input_text",), "user": ("input_text",), "assistant": ("output_text", "text"),
}  # fmt: skip


class Refusal(Exception):
    """A client event of which nothing is done."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.error = Refused(code, "invalid_request_error", message)
        self.param = param


def check(event: dict[str, Any]) -> None:
    """Raises `Refusal` for an event that this server does not take as it is."""
    kind = event["type"]
    fields = FIELDS.get(kind)
    if fields is None:
        listed = ", ".join(f"'{name}'" for name in FIELDS)
        raise Refusal("invalid_value", f"Invalid value: '{kind}'. Supported values are: {listed}.", "type")
    _known(event, {"type", "event_id", *fields}, "")
    for name, needed in fields.items():
        if needed and name not in event:
            raise Refusal("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    if kind.endswith(("instructions.append", "thinking.append", "commentary.append")):
        _append(event)


def _append(event: dict[str, Any]) -> None:
    content = event["content"]
    if not isinstance(content, str) or not content.strip():
        raise Refusal("invalid_value", "Invalid 'content': expected a text.", "content")
    if len(content) > MOST_APPENDED_CHARACTERS:
        raise Refusal("invalid_value", "Invalid 'content': an append has at most 500 tokens.", "content")
    if not isinstance(event["delegation_id"], str | None):
        raise Refusal("invalid_value", "Invalid 'delegation_id': expected a string or null.", "delegation_id")


def check_session(session: object) -> None:
    """Raises `Refusal` for the session of a `session.start` that is wrong in any part."""
    if not isinstance(session, dict):
        raise Refusal("invalid_value", "Invalid 'session': expected an object.", "session")
    _known(session, _SESSION, "session.")
    if not isinstance(session.get("model"), str) or not session["model"]:
        message = "Missing required parameter: 'session.model'."
        raise Refusal("missing_required_parameter", message, "session.model")
    if tokens(session.get("instructions") or "") > MOST_INSTRUCTION_TOKENS:
        raise Refusal("invalid_value", "Instructions have 16384 tokens at most.", "session.instructions")
    _audio(session.get("audio") or {})
    check_delegation(session.get("delegation"))
    _input(session.get("input") or [])


def _audio(audio: dict[str, Any]) -> None:
    _known(audio, {"format", "output"}, "session.audio.")
    given = audio.get("format")
    if given is not None:
        _known(given, {"type", "rate"}, "session.audio.format.")
        rates = {"audio/pcm": (16_000, 24_000), "audio/pcmu": (8_000,), "audio/pcma": (8_000,)}
        if "rate" not in given:
            message = "Missing required parameter: 'session.audio.format.rate'."
            raise Refusal("missing_required_parameter", message, "session.audio.format.rate")
        if given.get("type") not in BYTES_PER_MS or given["rate"] not in rates[given["type"]]:
            raise Refusal("invalid_value", "There is no such format.", "session.audio.format")
    output = audio.get("output") or {}
    _known(output, {"voice"}, "session.audio.output.")
    if output.get("voice") in FORBIDDEN_VOICES:
        raise Refusal("forbidden", "This voice is not for this model.", "session.audio.output.voice")


def check_delegation(delegation: Any, before: Mapping[str, Any] | None = None) -> None:
    """Raises `Refusal`. An update (`before` is what is in force) is sparse, and keeps the type."""
    if delegation is None:
        return
    kind = delegation.get("type")
    if before is not None and kind != before["type"]:
        raise Refusal("immutable_field_update", "The delegation's type cannot change.", "session.delegation")
    _known(delegation, {"type", "acknowledgement_delay_ms", kind}, "session.delegation.")
    if kind == "client":
        return
    responses = delegation.get("responses")
    if kind != "responses" or not isinstance(responses, dict):
        raise Refusal("invalid_value", "There is no such delegation.", "session.delegation")
    _known(responses, _RESPONSES, "session.delegation.responses.")
    if before is None and not responses.get("model"):
        name = "session.delegation.responses.model"
        raise Refusal("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    if responses.get("max_output_tokens", 16) < 16:
        name = "session.delegation.responses.max_output_tokens"
        raise Refusal("invalid_value", "There are 16 tokens at least.", name)


def _input(messages: list[Any]) -> None:
    if len(messages) > MOST_INPUT_MESSAGES:
        raise Refusal("invalid_value", "Input has 128 messages at most.", "session.input")
    for number, message in enumerate(messages):
        here = f"session.input[{number}]"
        _known(message, {"type", "role", "content", "id", "status"}, f"{here}.")
        parts, kinds = message.get("content"), _PARTS.get(message.get("role"), ())
        if not isinstance(parts, list) or len(parts) != 1:
            raise Refusal("invalid_value", "A message has one part.", f"{here}.content")
        if parts[0].get("type") not in kinds or not isinstance(parts[0].get("text"), str):
            raise Refusal("invalid_value", "The part is no text of this role's.", f"{here}.content[0]")
    if sum(tokens(message["content"][0]["text"]) for message in messages) > MOST_INPUT_TOKENS:
        raise Refusal("invalid_value", "Input has 8192 tokens at most.", "session.input")


def check_update(session: object, delegation: Mapping[str, Any]) -> None:
    """Raises `Refusal` for an update of what is immutable."""
    if not isinstance(session, dict):
        raise Refusal("invalid_value", "Invalid 'session': expected an object.", "session")
    _known(session, {"delegation", "triggers"}, "session.")
    check_delegation(session.get("delegation"), delegation)


def tokens(text: str) -> int:
    """About as many as the vendor would count."""
    return -(-len(text) // _CHARACTERS_A_TOKEN)


def _known(given: Any, names: set[str] | frozenset[str], path: str) -> None:
    if not isinstance(given, dict):
        raise Refusal("invalid_value", "Expected an object.", path.rstrip("."))
    for name in given:
        if name not in names:
            raise Refusal("unknown_parameter", f"Unknown parameter: '{path}{name}'.", f"{path}{name}")


def answers(event: dict[str, Any]) -> dict[str, Any]:
    """What ties an answer to the client's event."""
    return {"client_event_id": event["event_id"]} if "event_id" in event else {}


def told(role: str, text: str) -> dict[str, Any]:
    """The fields of a message to the mind."""
    return {"role": role, "content": [{"type": "text", "text": text}]}
