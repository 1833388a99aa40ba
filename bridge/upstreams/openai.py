"""OpenAI Realtime, in its GA shape, and servers that speak it to the letter (the embedded one).

https://developers.openai.com/api/docs/guides/realtime-websocket and, for the session tree, the API
reference's "Realtime client events", session.update.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import msgspec

from bridge.core.config import IDLE_TIMEOUT
from bridge.core.messages import SessionConfig
from bridge.errors import ConfigError

from .client_events import check_session
from .configuration import PHONE_FORMAT
from .dial import Auth, Dial
from .realtime import Realtime

URL: Final = "wss://api.openai.com/v1/realtime"
KEY: Final = "OPENAI_API_KEY"

# A session of another kind names itself in the URL, without a model: the sideband of a SIP call,
# transcription.
_NAMES_A_SESSION: Final = frozenset({"model", "call_id", "intent"})

# What the session tree looked like before GA. One such field and the whole update is refused
# (`unknown_parameter`), so an error says where they went.
_MOVED: Final = {
    "modalities": "output_modalities",
    "voice": "audio.output.voice",
    "speed": "audio.output.speed",
    "input_audio_format": "audio.input.format",
    "output_audio_format": "audio.output.format",
    "input_audio_transcription": "audio.input.transcription",
    "input_audio_noise_reduction": "audio.input.noise_reduction",
    "turn_detection": "audio.input.turn_detection",
    "max_response_output_tokens": "max_output_tokens",
    "temperature": "nothing: it is gone",
}


class OpenAI:
    """One session with OpenAI: its `Upstream`."""

    __slots__ = ("_auth", "_key", "_url", "append", "parse", "write")

    def __init__(
        self,
        epoch: int = 1,
        url: str | None = None,
        *,
        auth: Auth = Auth.BEARER,
        key: str = KEY,
        dialect: type[Realtime] = Realtime,
    ) -> None:
        realtime = dialect(session_tree, epoch)
        # Bound here, not wrapped in methods of this class: the dialect is on the path of every frame.
        self.parse = realtime.parse
        self.write = realtime.write
        self.append = realtime.append
        self._url = url or URL
        self._auth = auth
        self._key = key

    def dial(self, config: SessionConfig) -> Dial:
        check_session(session_tree(config, again=False))
        return Dial(with_model(self._url, config.model), auth=self._auth, key=self._key)


def embedded(epoch: int = 1, url: str | None = None) -> OpenAI:
    """A session with the server of our own, which asks for no key. It has no address but the one given."""
    if url is None:
        raise ConfigError("the embedded upstream has no URL of its own: BRIDGE_UPSTREAM_URL names it")
    return OpenAI(epoch, url, auth=Auth.NONE)


def with_model(url: str, model: str) -> str:
    """The URL to dial: `?model=` is added where the URL does not say which session it means, and its own
    query is kept as it is. Raises ConfigError when it is not a websocket URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"an upstream's URL that cannot be read ({error}): {url}") from error
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(f"an upstream's URL begins with wss:// and has a host: {url}")
    if _NAMES_A_SESSION.isdisjoint(name for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        query = f"{parts.query}&" if parts.query else ""
        parts = parts._replace(query=f"{query}model={quote(model, safe='')}")
    return urlunsplit(parts._replace(fragment=""))


def _hearing(config: SessionConfig) -> dict[str, Any]:
    detection = config.turn_detection
    turn_detection = None if detection is None else msgspec.to_builtins(detection)
    if turn_detection is not None and turn_detection.get("idle_timeout_ms", 0) is None:
        del turn_detection["idle_timeout_ms"]
    hearing: dict[str, Any] = {"format": dict(PHONE_FORMAT), "turn_detection": turn_detection}
    if config.noise_reduction is not None:
        hearing["noise_reduction"] = {"type": config.noise_reduction}
    if config.transcription is not None:
        hearing["transcription"] = {"model": config.transcription}
        if config.language is not None:
            hearing["transcription"]["language"] = config.language
    return hearing


def session_tree(config: SessionConfig, again: bool) -> dict[str, Any]:
    """The `session` of a session.update: what is set in `config`, in the vendor's words.

    The model is not in it: the URL says it. One sent `again` names instructions, tools and limits that are
    not set, too, or those of before would stay, and leaves out what may not be sent twice. Raises
    ConfigError for an `extra` that would break the phone.
    """
    playout: dict[str, Any] = {"format": dict(PHONE_FORMAT)}
    if config.voice:
        playout["voice"] = _voice(config.voice)
    if config.speed is not None:
        playout["speed"] = config.speed
    tree: dict[str, Any] = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": _hearing(config), "output": playout},
    }
    # API reference, session.update: "Only the fields that are present in the `session.update` are updated. To
    # clear a field like `instructions`, pass an empty string."
    if config.instructions or again:
        tree["instructions"] = config.instructions
    if config.tools or again:
        tree["tools"] = list(config.tools)
    if config.tool_choice != "auto" or again:
        tree["tool_choice"] = config.tool_choice
    if config.max_output_tokens != "inf" or again:
        tree["max_output_tokens"] = config.max_output_tokens
    _check_extra(config.extra)
    tree = _merged(tree, config.extra)
    if again:
        for name in config.unset or ():
            _clear(tree, name)
        # The same page: "any field except for `voice` and `model`", once there was sound. Tracing that is on
        # cannot be changed either. One such field, and the whole update is refused.
        tree["audio"]["output"].pop("voice", None)
        tree.pop("model", None)
        tree.pop("tracing", None)
    return tree


# Where the fields are that `SessionConfig.unset` names. A language goes with its transcription, which is sent
# whole.
_PATHS: Final = {
    "transcription": ("audio", "input", "transcription"),
    "noise_reduction": ("audio", "input", "noise_reduction"),
    "speed": ("audio", "output", "speed"),
}
# API reference, session.update: "To clear a field like `turn_detection`, pass `null`." Fields that have no
# null are told their default. A null that the vendor refuses would lose the whole update, so `reasoning`, for
# which no default is published, stays.
_DEFAULTS: Final = {"speed": 1.0, "truncation": "auto", "parallel_tool_calls": True, "include": []}
_STAYS: Final = ("reasoning",)


def _clear(tree: dict[str, Any], name: str) -> None:
    """Name the default of a field that an earlier update of this session has set, unless this one sets it."""
    if name == IDLE_TIMEOUT:
        under = tree["audio"]["input"]["turn_detection"]
        if isinstance(under, dict) and under.get("type") == "server_vad":
            under.setdefault("idle_timeout_ms", None)
        return
    path = _PATHS.get(name) or tuple(name.removeprefix("extra.").split("."))
    if path[0] in _STAYS:
        return
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree.setdefault(path[-1], _DEFAULTS.get(path[-1]))


_REQUIRED: Final = frozenset({"turn_detection", "voice"})
"""Without them no turn would end, or the caller would hear nothing."""


def _voice(voice: str) -> str | dict[str, str]:
    # API reference, session.audio.output.voice: a custom voice is an object with an id like "voice_1234".
    return {"id": voice} if voice.startswith("voice_") else voice


def _check_extra(extra: dict[str, Any]) -> None:
    """The formats are the bridge's: with others the caller would hear noise, and the model too."""
    for old, new in _MOVED.items():
        if old in extra:
            raise ConfigError(f"extra: session.{old} is refused since GA; it became {new}")
    if extra.get("type", "realtime") != "realtime":
        raise ConfigError("extra: session.type stays realtime")
    if "audio" not in extra.get("output_modalities", ("audio",)):
        raise ConfigError("extra: session.output_modalities has audio: this is a phone")
    audio = extra.get("audio", {})
    for half in ("input", "output"):
        part = audio.get(half, {}) if isinstance(audio, dict) else None
        if not isinstance(part, dict):
            raise ConfigError(f"extra: session.audio.{half} is an object, to be merged into ours")
        for field in _REQUIRED & part.keys():
            if part[field] is None:
                raise ConfigError(
                    f"extra: session.audio.{half}.{field} is not null; Agent has a field for it"
                )
        if "format" in part:
            raise ConfigError(f"extra: session.audio.{half}.format belongs to the bridge: the phone's µ-law")


def _merged(mine: Any, theirs: Any) -> Any:
    """Objects merge field by field, unless their types differ: semantic_vad has no threshold to keep."""
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return theirs
    if "type" in mine and theirs.get("type", mine["type"]) != mine["type"]:
        return theirs
    return {**mine, **{name: _merged(mine.get(name), value) for name, value in theirs.items()}}
