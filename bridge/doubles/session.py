"""The effective session: defaults until the client's update, then what it asked for, all of it or nothing.

The model is the URL's: another one in an update is ignored, since SDKs always name theirs. Null stands for
the default, but for `turn_detection`, where it switches the detection off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .faults import Fault

# "Voice activity detection": on by default, with these values.
_SERVER_VAD: Final[dict[str, Any]] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD: Final[dict[str, Any]] = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}


class Session:
    """The session object as `session.created` and `session.updated` tell it: `tree`, read only.

    `imposed` is laid over whatever is asked for: a server that does not do as it is told. `defaults` is laid
    over the vendor's own.
    """

    def __init__(
        self, model: str, imposed: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> None:
        self._imposed = imposed
        self._defaults = _laid_over(_defaults(model), defaults or {})
        self.tree = _laid_over(self._defaults, imposed)

    def begin(self, model: str, expires_at_s: int) -> None:
        """The model that the client's URL asked for, and when the session ends."""
        self._defaults |= {"model": model, "expires_at": expires_at_s}
        self.tree = _laid_over(self._defaults, self._imposed)

    @property
    def input(self) -> dict[str, Any]:
        """`audio.input`."""
        half: dict[str, Any] = self.tree["audio"]["input"]
        return half

    @property
    def output(self) -> dict[str, Any]:
        """`audio.output`."""
        half: dict[str, Any] = self.tree["audio"]["output"]
        return half

    @property
    def turn_detection(self) -> dict[str, Any] | None:
        """Voice detection in force, None for manual commits."""
        detection: dict[str, Any] | None = self.input["turn_detection"]
        return detection

    def update(self, wanted: dict[str, Any], *, has_spoken: bool) -> None:
        """Take over the fields that are given, all of them or, with a `Fault`, none.

        `wanted` has passed `client_events.check`. `has_spoken`: assistant audio exists, so the voice is
        locked.
        """
        audio = {half: (wanted.get("audio") or {}).get(half) or {} for half in ("input", "output")}
        voice = audio["output"].get("voice")
        if voice is None and has_spoken:
            voice = self.output["voice"]
        if "voice" in audio["output"]:
            audio["output"] = {**audio["output"], "voice": voice}
        if has_spoken and voice != self.output["voice"]:
            message = "Cannot update a conversation's voice if assistant audio is present."
            raise Fault("cannot_update_voice", message, "session.audio.output.voice")
        given = {name: value for name, value in wanted.items() if name not in ("audio", "model")}
        tree = _updated(self.tree, given, self._defaults)
        tree["audio"] = {
            half: _updated(self.tree["audio"][half], audio[half], self._defaults["audio"][half])
            for half in ("input", "output")
        }
        for half in tree["audio"].values():
            if half["format"]["type"] == "audio/pcm":
                half["format"] = {"type": "audio/pcm", "rate": 24_000}
        detection = tree["audio"]["input"]["turn_detection"]
        if detection is not None:
            defaults = _SERVER_VAD if detection["type"] == "server_vad" else _SEMANTIC_VAD
            usual = self._defaults["audio"]["input"]["turn_detection"] or {}
            if usual.get("type") == detection["type"]:
                defaults = usual
            tree["audio"]["input"]["turn_detection"] = {**defaults, **detection}
        self.tree = _laid_over(tree, self._imposed)


def _updated(tree: dict[str, Any], given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The tree with what is given; null takes the default's place, and what has none goes."""
    result = dict(tree)
    for name, value in given.items():
        if value is not None or name == "turn_detection":
            result[name] = _without_nulls(value)
        elif name in defaults:
            result[name] = defaults[name]
        else:
            result.pop(name, None)
    return result


def _without_nulls(value: Any) -> Any:
    """The members of an object, or of each object of a list, that are set."""
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    if isinstance(value, dict):
        return {name: one for name, one in value.items() if one is not None}
    return value


def _laid_over(tree: dict[str, Any], imposed: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with these branches replaced, down to the leaves."""
    result = dict(tree)
    for name, value in imposed.items():
        under = result.get(name)
        deeper = isinstance(value, Mapping) and isinstance(under, dict)
        result[name] = _laid_over(under, value) if deeper else value  # type: ignore[arg-type]
    return result


def _defaults(model: str) -> dict[str, Any]:
    pcm = {"type": "audio/pcm", "rate": 24_000}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_1",
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "You are a helpful assistant.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": pcm,
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": _SERVER_VAD,
            },
            "output": {"format": pcm, "voice": "marin", "speed": 1.0},
        },
    }
