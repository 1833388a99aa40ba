"""xAI's voice agents: GA event names, a session shape of their own, and words that are told as they grow.

https://docs.x.ai/docs/guides/voice/agent, and what was seen on the wire: no metadata, usage beside the
response, sessions of half an hour. Their own resumption stays off: it tells a new session what was generated,
and we tell it what was heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec

from bridge.core import messages as m
from bridge.core.messages import SemanticVad, SessionConfig
from bridge.errors import ConfigError

from . import server_events as wire
from .dial import Dial
from .openai import OpenAI
from .realtime import Realtime

URL: Final = "wss://api.x.ai/v1/realtime"
KEY: Final = "XAI_API_KEY"
MODEL: Final = "grok-voice-latest"
VOICE: Final = "ara"
TRANSCRIPTION: Final = "grok-transcribe"
CAPABILITIES: Final = m.Capabilities(
    truncates=False,
    tags=False,
    probes=False,
    session_s=1_800,
    fatal_closes=(1008,),
)
"""A session may last an hour, or half of one, and does not say which. Other clients send
`conversation.item.truncate` and see no error, but their list of events does not have it, and no answer says
that an item is shorter: so a cut counts as not told.
"""
_MOST_SECONDS: Final = 86_400.0
"""Of sound that one response is billed for."""
_AT_THE_TOP: Final = {"turn_detection": "input", "voice": "output"}
"""Fields that stand at the top of their session, and where the GA dialect has them."""
_NOT_THEIRS: Final = ("type", "output_modalities")
_UNSAID: Final = "not specified"


class XaiRealtime(Realtime):
    """Both directions of one session."""

    __slots__ = ("_begun", "_in_use", "_seconds")
    tags: ClassVar[bool] = False

    def __init__(self, session_tree: Callable[[SessionConfig, bool], dict[str, Any]], epoch: int = 1) -> None:
        super().__init__(session_tree, epoch)
        self._seconds = 0.0
        self._in_use = self._begun = False

    # --- what comes in -----------------------------------------------------------------------------------

    def _session_begun(self, event: wire.Event) -> m.SessionCreated:
        self._begun = True
        return self._session_created(event)

    def _conversation_begun(self, event: wire.Event) -> m.SessionCreated | None:
        # Older servers of theirs begin with this, and have no session.created.
        self._conversation_created(event)
        begun, self._begun = self._begun, True
        return None if begun else m.SessionCreated(self._epoch)

    def _in_force(self, session: dict[str, Any]) -> dict[str, Any]:
        self._in_use = True
        return lifted(session)

    def _differences(self, asked: dict[str, Any], told: dict[str, Any]) -> tuple[str, ...]:
        # Their answer leaves fields out; of those nothing is known.
        return super()._differences(_where_told(asked, told), told)

    def _item_before_use(self, event: wire.Event) -> m.ItemAdded | None:
        # A session that goes on with an earlier one replays its items before it is configured.
        return self._item_added(event) if self._in_use else None

    def _sentence(self, event: wire.Event) -> m.TextDelta | None:
        words = self._words(event, spoken=True)
        start_s = event.start_time
        if words is None or start_s is None or not 0 <= start_s <= _MOST_SECONDS:
            return words
        return msgspec.structs.replace(words, start_ms=int(1000 * start_s))

    def _response_and_seconds(self, event: wire.Event) -> m.ResponseDone | tuple[m.ResponseDone, m.UsageSeen]:
        done = self._response_done(event)
        usage = wire.if_readable(wire.decode_usage, event.usage)
        if usage is None or usage.billable_audio_seconds is None:
            return done
        self._seconds += min(max(0.0, usage.billable_audio_seconds), _MOST_SECONDS)
        return done, m.UsageSeen(self._epoch, self._seconds)

    readers: ClassVar[dict[str, Callable[[Any, wire.Event], Any]]] = {
        **Realtime.readers,
        "session.created": _session_begun,
        "conversation.created": _conversation_begun,
        "conversation.item.added": _item_before_use,
        "conversation.item.created": _item_before_use,
        "response.output_audio_transcript.delta": _sentence,
        "response.done": _response_and_seconds,
    }

    # --- what goes out -----------------------------------------------------------------------------------

    def _spelled(self, tree: dict[str, Any]) -> dict[str, Any]:
        return spelled(tree)

    def _asked_for(self, command: m.CreateResponse) -> dict[str, Any]:
        # Metadata does not come back, and what is `output_modalities` elsewhere is `modalities` here.
        asked = super()._asked_for(command)
        del asked["metadata"]
        return asked | ({"modalities": asked.pop("output_modalities")} if command.text_only else {})


class Xai(OpenAI):
    """One session: its `Upstream`."""

    __slots__ = ()

    def __init__(self, epoch: int = 1, url: str | None = None) -> None:
        super().__init__(epoch, url or URL, key=KEY, dialect=XaiRealtime)

    def dial(self, config: SessionConfig) -> Dial:
        if config.turn_detection is None or isinstance(config.turn_detection, SemanticVad):
            raise ConfigError("xAI finds turns by server_vad: leave turn_detection as it is")
        if config.noise_reduction is not None:
            raise ConfigError("xAI has no noise_reduction: leave it out")
        return super().dial(config)


def spelled(tree: dict[str, Any]) -> dict[str, Any]:
    """A session of the GA dialect in their shape."""
    audio = {half: dict(fields) for half, fields in tree.get("audio", {}).items()}
    theirs = {name: value for name, value in tree.items() if name not in (*_NOT_THEIRS, "audio")}
    for name, half in _AT_THE_TOP.items():
        if name in audio.get(half, {}):
            theirs[name] = audio[half].pop(name)
    transcription = audio.get("input", {}).get("transcription")
    if transcription and "language" in transcription:
        rest = {name: value for name, value in transcription.items() if name != "language"}
        audio["input"]["transcription"] = {**rest, "language_hint": transcription["language"]}
    if "turn_detection" in theirs and theirs["turn_detection"] is None:
        theirs["turn_detection"] = {"type": None}
    return theirs | ({"audio": audio} if audio else {})


def lifted(session: dict[str, Any]) -> dict[str, Any]:
    """A session of theirs in the shape of the GA dialect. Formats at the top say nothing; below `audio` they
    are the true ones.
    """
    given = session.get("audio")
    halves = given.items() if isinstance(given, dict) else ()
    audio = {half: dict(fields) for half, fields in halves if isinstance(fields, dict)}
    for name, half in _AT_THE_TOP.items():
        if name in session:
            audio.setdefault(half, {})[name] = session[name]
    detection = audio.get("input", {}).get("turn_detection")
    if isinstance(detection, dict) and detection.get("type") is None:
        audio["input"]["turn_detection"] = None
    tree = {name: value for name, value in session.items() if value != _UNSAID}
    tools = session.get("tools")
    if isinstance(tools, list):
        tree["tools"] = [_unwrapped(tool) for tool in tools]
    return {**tree, "audio": audio}


def _unwrapped(tool: Any) -> Any:
    """A tool comes back wrapped: `{"type": "function", "function": {"name": …}}`."""
    function = tool.get("function") if isinstance(tool, dict) else None
    return {"type": tool["type"], **function} if isinstance(function, dict) and "type" in tool else tool


def _where_told(asked: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """The fields of what was asked that the answer has too, however deep."""
    common = {name: value for name, value in asked.items() if name in told}
    return {
        name: _where_told(value, told[name]) if _both_objects(value, told[name]) else value
        for name, value in common.items()
    }


def _both_objects(asked: Any, told: Any) -> bool:
    return isinstance(asked, dict) and isinstance(told, dict)
