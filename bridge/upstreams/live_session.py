"""What a GPT-Live session is started with, and what of it can be changed.

API reference, `session.start`: it is strict, one unknown field refuses the whole; and immutable, but for the
backend. https://developers.openai.com/api/docs/guides/live
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bridge.core.messages import SessionConfig, SnapshotItem
from bridge.errors import ConfigError

PHONE_FORMAT: Final = {"type": "audio/pcmu", "rate": 8_000}
"""G.711 mu-law. Unlike in Realtime, the rate has to be there."""
BACKEND: Final = "gpt-5.4-mini"
"""The Responses model behind a session with tools, where none is named."""
MOST_MESSAGES: Final = 120
"""Of history; the vendor takes 128."""
MOST_TOKENS: Final = 7_000
"""Of history, as we estimate them; the vendor takes 8,192 of its own."""
APPEND_CHARACTERS: Final = 1_200
"""An append has 500 tokens at most: 1,756 characters of English passed, 1,900 were refused."""
DENSE_CHARACTERS: Final = 450
"""The same, for scripts with a token a character."""
_SENTENCE: Final = re.compile(r".+?(?:[.!?…。！？]+[\"')\]]*(?:\s+|$)|\n+|$)", re.DOTALL)
_BY_THE_BRIDGE: Final = ("audio", "input", "model", "instructions", "client", "idle_timeout_s", "wake_policy")
"""Members of a session that are not an agent's `extra`: the bridge's own, and those of other transports."""


def start_tree(config: SessionConfig, history: Sequence[SnapshotItem], backend: str) -> dict[str, Any]:
    """The `session` of a session.start. Raises ConfigError for an `extra` that cannot be sent."""
    for name in _BY_THE_BRIDGE:
        if name in config.extra:
            raise ConfigError(f"extra: session.{name} of GPT-Live is the bridge's, or not for a websocket")
    tree: dict[str, Any] = {"model": config.model}
    if config.instructions:
        tree["instructions"] = config.instructions
    tree["audio"] = {"format": dict(PHONE_FORMAT)}
    if config.voice:
        tree["audio"]["output"] = {"voice": voice(config.voice)}
    tree["delegation"] = delegation(config, backend)
    if messages := told(history):
        tree["input"] = messages
    return tree | {name: value for name, value in config.extra.items() if name != "delegation"}


def voice(name: str) -> str | dict[str, str]:
    """A voice of one's own is an object with its id."""
    return {"id": name} if name.startswith("voice_") else name


def by_backend(config: SessionConfig) -> bool:
    """Whether the vendor's backend does what the model hands over, and calls the tools: where there are
    tools, and none of them takes the work in words.
    """
    return bool(config.tools) and not config.delegate


def delegation(config: SessionConfig, usual: str = BACKEND) -> dict[str, Any]:
    """Who does the work: a backend by its own name, or by the `usual` one. Raises ConfigError for an `extra`
    that says something else, and where there has to be a name and is none.
    """
    extra = config.extra.get("delegation") or {}
    kind = "responses" if by_backend(config) else "client"
    if not isinstance(extra, dict) or extra.get("type", kind) != kind:
        raise ConfigError("extra: session.delegation.type follows from the agent's tools and its `delegate`")
    made: dict[str, Any] = {"type": kind}
    if kind == "responses":
        backend: dict[str, Any] = {"model": config.backend or usual}
        if config.instructions:
            backend["instructions"] = config.instructions
        backend["tools"] = [_tool(tool) for tool in config.tools]
        if config.tool_choice != "auto":
            backend["tool_choice"] = config.tool_choice
        made["responses"] = backend | extra.get("responses", {})
        if not made["responses"]["model"]:
            raise ConfigError(
                "the tools need a model behind this one: BRIDGE_BACKEND_MODEL names a deployment"
            )
    return made | {name: value for name, value in extra.items() if name not in ("type", "responses")}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A function as the Responses API has it: with `strict`, whose default there is true."""
    return {"strict": False, **tool} if tool.get("type") == "function" else tool


def told(history: Sequence[SnapshotItem]) -> list[dict[str, Any]]:
    """What was said before, as messages, oldest first: the newest of it that fit."""
    kept: list[dict[str, Any]] = []
    left = float(MOST_TOKENS)
    for item in reversed(history):
        role, text = _words(item)
        if not text.strip():
            continue
        if len(kept) == MOST_MESSAGES or left < 1:
            break
        if tokens(text) > left:
            text = text[-int(left) :]  # a token is a character at least
        left -= tokens(text)
        kept.append(_message(role, text))
    return kept[::-1]


def _words(item: SnapshotItem) -> tuple[str, str]:
    if item.arguments is None:
        return ("developer" if item.role == "system" else item.role or "user"), item.text
    output = "nothing yet" if item.output is None else item.output
    return "developer", f"Tool {item.name} with {item.arguments} returned {output}"


def _message(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def tokens(text: str) -> float:
    """About how many tokens that is: four characters of ASCII, or one and a half of anything else."""
    plain = len(text.encode("ascii", "ignore"))
    return plain / 4 + (len(text) - plain) / 1.5 + 4


def pieces(text: str) -> list[str]:
    """A text as appends that are not too long, cut at sentences, else at words."""
    plain = len(text.encode("ascii", "ignore"))
    most = APPEND_CHARACTERS if plain * 2 >= len(text) else DENSE_CHARACTERS
    made: list[str] = []
    for sentence in _SENTENCE.findall(text):
        if made and len(made[-1]) + len(sentence) <= most:
            made[-1] += sentence
            continue
        made += _chunks(sentence, most)
    return [piece.strip() for piece in made if piece.strip()]


def _chunks(text: str, most: int) -> Iterator[str]:
    while len(text) > most:
        at = text.rfind(" ", 0, most)
        at = most if at <= 0 else at
        yield text[:at]
        text = text[at:]
    yield text
