"""What a `RealtimeModel` asks of a session: only what was set, in the vendor's words.

The words are those of the calls (`upstreams/openai.py`); here is what a client without a phone may choose
besides: formats, modalities, prompts, tracing, and which fields to leave as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from bridge.agents.agent import Agent
from bridge.agents.tool_names import hand_off_names
from bridge.agents.tools import AnyTool, Tool, hand_off_to
from bridge.agents.turn_detection import turn_detection
from bridge.codecs import PCM_24K, PCMA, PCMU, AudioFormat
from bridge.core.messages import SemanticVad, ServerVad, SessionConfig
from bridge.errors import ConfigError
from bridge.upstreams.configuration import format_name
from bridge.upstreams.openai import session_tree

FORMATS: Final = {"audio/pcm": PCM_24K, "audio/pcmu": PCMU, "audio/pcma": PCMA}
AUTO: Final = "auto"


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a session. One that is not given stays as it is (at the start: as the server has it).

    - `input_format`, `output_format`: audio/pcm (24 kHz), audio/pcmu, audio/pcma, their names of before GA
      (pcm16, g711_ulaw, g711_alaw), a mapping or an object with a `type`.
    - `turn_detection`: see `bridge.turn_detection`; None for none.
    - `transcription`: a model or a mapping; None for none. `noise_reduction`: near_field, far_field or None.
    - `modalities`: audio or text. `voice`: a name, or an id like voice_….
    - `tools`: made by `@tool`, or function tools in the vendor's words. `handoffs`: agents (or tools) that
      become function tools; what a call of one means is the caller's affair.
    - `prompt`: id, version, variables. `tracing`: None for off, "auto", or a mapping.
    - `overrides`: merged into the whole, deeply, last of all: what this class does not name.
    """

    instructions: str | UnsetType = UNSET
    voice: str | UnsetType = UNSET
    speed: float | UnsetType = UNSET
    modalities: Sequence[str] | UnsetType = UNSET
    input_format: Any = UNSET
    output_format: Any = UNSET
    transcription: str | Mapping[str, Any] | UnsetType | None = UNSET
    turn_detection: ServerVad | SemanticVad | Mapping[str, Any] | UnsetType | None = UNSET
    noise_reduction: str | UnsetType | None = UNSET
    max_output_tokens: int | str | UnsetType = UNSET
    tool_choice: str | Mapping[str, Any] | UnsetType = UNSET
    tools: Sequence[Any] | UnsetType = UNSET
    handoffs: Sequence[Agent | AnyTool] | UnsetType = UNSET
    prompt: Mapping[str, Any] | UnsetType = UNSET
    tracing: str | Mapping[str, Any] | UnsetType | None = UNSET
    overrides: Mapping[str, Any] = {}

    def tree(self) -> dict[str, Any]:
        """The `session` of a session.update. Raises ConfigError for what cannot be sent; tracing is not in
        it, it comes after session.created.
        """
        words = session_tree(self._config(), again=False)
        tree: dict[str, Any] = {"type": "realtime"}
        for name, path in _PLACES.items():
            if getattr(self, name) is not UNSET:
                _put(tree, path, _at(words, path))
        if self.tools is not UNSET or self.handoffs is not UNSET:
            tree["tools"] = self._functions()
        for name, half in (("input_format", "input"), ("output_format", "output")):
            audio = audio_format(getattr(self, name))
            if audio is not None:
                rate = {"rate": audio.hz} if audio.name == "audio/pcm" else {}
                _put(tree, ("audio", half, "format"), {"type": audio.name, **rate})
        return laid_over(tree, self.overrides)

    def _config(self) -> SessionConfig:
        """The same for the calls' own words; what is not set there does not come out here."""
        given: dict[str, Any] = {}
        for name in ("instructions", "voice", "speed", "max_output_tokens"):
            if getattr(self, name) is not UNSET:
                given[name] = getattr(self, name)
        if self.tool_choice is not UNSET:
            choice = self.tool_choice
            given["tool_choice"] = choice if isinstance(choice, str) else dict(choice)
        if self.turn_detection is not UNSET:
            given["turn_detection"] = turn_detection(self.turn_detection)
        extra: dict[str, Any] = {"audio": {"input": {}}}
        if self.transcription is not UNSET:
            scribe = self.transcription
            extra["audio"]["input"]["transcription"] = (
                {"model": scribe} if isinstance(scribe, str) else scribe
            )
        if self.noise_reduction is not UNSET:
            kind = self.noise_reduction
            extra["audio"]["input"]["noise_reduction"] = None if kind is None else {"type": kind}
        if self.modalities is not UNSET:
            # API reference, session.output_modalities: audio or text, never both; audio has a transcript.
            extra["output_modalities"] = ["audio"] if "audio" in self.modalities else ["text"]
        if self.prompt is not UNSET:
            extra["prompt"] = dict(self.prompt)
        return SessionConfig(**given, extra=extra)

    def _functions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for tool in self.tools or ():
            if isinstance(tool, Tool):
                found.append(tool.wire())
            elif isinstance(tool, Mapping) and tool.get("type") == "function" and "name" in tool:
                found.append(dict(tool))
            else:
                named = tool.get("name") or tool.get("type") if isinstance(tool, Mapping) else tool
                raise ConfigError(f"{named!r} is no function tool: put @tool above a function")
        agents = [one for one in self.handoffs or () if not isinstance(one, Tool)]
        names = iter(hand_off_names(one.name for one in agents))
        made = (
            one if isinstance(one, Tool) else hand_off_to(one, next(names)) for one in self.handoffs or ()
        )
        found += [one.wire() for one in made]
        return found


def audio_format(value: Any) -> AudioFormat | None:
    """The format that a name, a mapping or an object with a `type` means; None for None and UNSET. Raises
    ConfigError for any other.
    """
    if value is None or value is UNSET:
        return None
    if isinstance(value, AudioFormat):
        return value
    named = value if isinstance(value, str) else None
    if named is None:
        named = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    audio = FORMATS.get(format_name(named) or "")
    if audio is None:
        raise ConfigError(f"an audio format is one of {', '.join(FORMATS)}, not {named or value!r}")
    return audio


_PLACES: Final[dict[str, tuple[str, ...]]] = {
    "instructions": ("instructions",),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "modalities": ("output_modalities",),
    "transcription": ("audio", "input", "transcription"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "noise_reduction": ("audio", "input", "noise_reduction"),
    "max_output_tokens": ("max_output_tokens",),
    "tool_choice": ("tool_choice",),
    "prompt": ("prompt",),
}
_LEFT_OUT: Final[dict[str, Any]] = {"instructions": "", "max_output_tokens": "inf", "tool_choice": "auto"}
"""What the calls leave out of a first update because it is the default."""


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if name not in tree:
            return _LEFT_OUT[name]
        tree = tree[name]
    return tree


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def laid_over(tree: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with what is given in the place of what stands there, down to the leaves."""
    result = dict(tree)
    for name, value in given.items():
        under = result.get(name)
        if isinstance(value, Mapping) and isinstance(under, dict) and not _other_type(under, value):
            result[name] = laid_over(under, value)
        else:
            result[name] = value
    return result


def _other_type(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Another type has other fields: µ-law has no rate to keep, semantic_vad no threshold."""
    return "type" in mine and theirs.get("type", mine["type"]) != mine["type"]
