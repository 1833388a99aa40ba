"""xAI's dialect, as it was seen on the wire: the GA names of events, and a session shape of its own.

It leaves out metadata and the conversation's id, tells usage beside the response, tells the caller's words
again and again as they grow, and its own a sentence at a time with the time at which each begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .items import Item
from .options import ServerOptions

MODEL: Final = "grok-voice-latest"
VOICE: Final = "ara"
SCRIBE: Final = "grok-transcribe"

_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."
_SENTENCE: Final = re.compile(r"[^.!?]*[.!?]*\s*")
_MOVED: Final = {"voice": "output", "turn_detection": "input"}
"""Fields of a session that stand at its top, and the half of GA's `audio` that they belong to."""
_OWN: Final = frozenset({"resumption"})
_UNPLACED: Final = ("session.created", "error")
"""Events without a `previous_item_id`. All others have one, and it is null where it means nothing."""
_NEVER: Final = ("conversation.item.done", "response.output_text.done")
"""Events of the GA dialect that they do not send."""


class XaiWire:
    """One session of it. `replayed` is what a resumed session tells again, roles and words, before its first
    `session.updated`.
    """

    def __init__(self, replayed: tuple[tuple[str, str], ...] = ()) -> None:
        self._replayed = replayed
        self._heard: dict[str, str] = {}
        self._sound_bytes: dict[str, int] = {}
        self._detection: dict[str, Any] | None = None
        """Turn detection as it was asked for last: that is how it is told."""

    def incoming(self, event: dict[str, Any]) -> dict[str, Any]:
        session, response = event.get("session"), event.get("response")
        if event["type"] == "response.create" and isinstance(response, dict):
            return {**event, "response": _asked(response)}
        if event["type"] != "session.update" or not isinstance(session, dict):
            return event
        lifted = {name: value for name, value in session.items() if name not in (*_MOVED, *_OWN)}
        given = lifted.get("audio")
        audio = {half: dict(value) for half, value in (given if isinstance(given, dict) else {}).items()}
        for name, half in _MOVED.items():
            if name in session:
                value = session[name]
                if name == "turn_detection" and isinstance(value, dict):
                    self._detection = value
                off = name == "turn_detection" and isinstance(value, dict) and value.get("type") is None
                audio.setdefault(half, {})[name] = None if off else value
        transcription = audio.get("input", {}).get("transcription")
        if isinstance(transcription, dict) and "language_hint" in transcription:
            hint = transcription["language_hint"]
            rest = {name: value for name, value in transcription.items() if name != "language_hint"}
            audio["input"] = {**audio["input"], "transcription": {**rest, "language": hint}}
        return {**event, "session": {"type": "realtime", **lifted, "audio": audio}}

    def outgoing(self, event: dict[str, Any], items: Mapping[str, Item]) -> list[dict[str, Any]]:
        placed = event["type"] not in _UNPLACED
        return [{"previous_item_id": None, **one} if placed else one for one in self._told(event, items)]

    def _told(self, event: dict[str, Any], items: Mapping[str, Item]) -> list[dict[str, Any]]:
        match event["type"]:
            case "session.created":
                return [{**event, "session": _created(event["session"])}]
            case "session.updated":
                replayed, self._replayed = self._replayed, ()
                told = {**event, "session": _updated(event["session"], self._detection)}
                return [*map(_replay, range(len(replayed)), replayed), told]
            case "response.created":
                return [{**event, "response": _response(event["response"])}]
            case "response.done":
                return [_done(event, items)]
            case "response.output_audio.delta":
                return [self._sound(event)]
            case "response.output_audio_transcript.delta":
                return self._sentences(event, items)
            case "response.content_part.done":
                return [_without(event, "part")]
            case "response.function_call_arguments.delta":
                return [_without(event, "output_index")]
            case "response.output_item.done":
                return [{**event, "item": _without(event["item"], "content")}]
            case kind if kind.startswith(_TRANSCRIPTION):
                return self._transcription(event)
            case kind if kind in _NEVER:
                return []
            case _:
                return [event]

    def _sound(self, event: dict[str, Any]) -> dict[str, Any]:
        sent_bytes = len(event["delta"]) * 3 // 4 - event["delta"].count("=")
        before_bytes = self._sound_bytes.get(event["item_id"], 0)
        self._sound_bytes[event["item_id"]] = before_bytes + sent_bytes
        times = {"audio_duration_ms": sent_bytes // 8, "ts": before_bytes // 8, "latency": ""}
        return {**event, **times, "rid": event["response_id"]}

    def _sentences(self, event: dict[str, Any], items: Mapping[str, Item]) -> list[dict[str, Any]]:
        """Each with where it begins in the item's sound: words come with their sound, or before."""
        words, start_bytes = event["delta"], self._sound_bytes.get(event["item_id"], 0)
        rest_bytes, told, characters = len(items[event["item_id"]].sound) - start_bytes, [], 0
        for sentence in filter(None, _SENTENCE.findall(words)):
            begins = start_bytes + rest_bytes * characters // len(words)
            begins_s = round(begins / 8000, 3)
            told.append({**event, "delta": sentence, "start_time": begins_s, "rid": event["response_id"]})
            characters += len(sentence)
        return told

    def _transcription(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        item_id, kind = event["item_id"], event["type"].removeprefix(_TRANSCRIPTION)
        where = {"item_id": item_id, "content_index": 0}
        if kind == "delta":
            self._heard[item_id] = self._heard.get(item_id, "") + event["delta"]
            return [{"type": f"{_TRANSCRIPTION}updated", **where, "transcript": self._heard[item_id]}]
        if kind != "completed":
            return [event]
        words = event["transcript"].split()
        grown = [" ".join(words[:count]) for count in (1, -(-len(words) // 2), len(words))]
        return [
            {"type": event["type"], **where, "transcript": f"{text}?", "status": "in_progress"}
            for text in dict.fromkeys(grown[:-1])
        ] + [{"type": event["type"], **where, "transcript": event["transcript"], "status": "completed"}]


def xai_options(*, replayed: tuple[tuple[str, str], ...] = (), **more: Any) -> ServerOptions:
    """A server like theirs. `replayed` as in `XaiWire`; all else goes before what is usual there."""
    usual: dict[str, Any] = {
        "wire": lambda: XaiWire(replayed),
        "model": MODEL,
        "defaults": {
            "instructions": "",
            "audio": {"output": {"voice": VOICE}, "input": {"turn_detection": None}},
        },
        "voices": frozenset({"ara", "eve", "leo", "rex", "sal"}),
        "metadata": False,
        "rate_limits": False,
        "words_ahead_ms": 1_000_000_000,
        "deaf_until_configured": True,
        "ping_ms": 10_000,
        "refuse": {"conversation.item.truncate": "unknown_event"},
    }
    return ServerOptions(**{**usual, **more})


def _asked(response: dict[str, Any]) -> dict[str, Any]:
    """What is asked for with a response; sound or text is `modalities` there, and both are sound."""
    asked = {name: value for name, value in response.items() if name != "modalities"}
    return asked | ({"output_modalities": ["text"]} if response.get("modalities") == ["text"] else {})


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def _created(session: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": session["id"],
        "object": "realtime.session",
        "instructions": session["instructions"],
        "voice": session["audio"]["output"]["voice"],
        "modalities": ["audio"],
        "turn_detection": {"type": None},
        "tools": [],
        "model": session["model"],
    }


def _updated(session: dict[str, Any], detection: dict[str, Any] | None) -> dict[str, Any]:
    heard = session["audio"]["input"]
    scribe = {"transcription": heard["transcription"]} if heard["transcription"] else {}
    return {
        "instructions": session["instructions"],
        "turn_detection": detection or heard["turn_detection"] or {"type": None},
        "model": session["model"],
        "modalities": ["audio"],
        "enable_noise_suppression": True,
        "enable_phonetic_spelling": False,
        "keep_context": False,
        "temperature": -1.0,
        "tool_choice": session["tool_choice"],
        "max_response_output_tokens": session["max_output_tokens"],
        "input_audio_format": "not specified",
        "output_audio_format": "not specified",
        "input_audio_transcription": heard["transcription"],
        "tools": [{"type": "function", "function": _without(tool, "type")} for tool in session["tools"]],
        "audio": {
            "input": {"format": heard["format"], "transport": "json", **scribe},
            "output": {"format": session["audio"]["output"]["format"], "transport": "json"},
        },
    }


def _response(response: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": response["id"],
        "object": "realtime.response",
        "output": response["output"],
        "status": response["status"],
        "status_details": "unimplemented",
        "usage": {},
    }


def _done(event: dict[str, Any], items: Mapping[str, Item]) -> dict[str, Any]:
    response = event["response"]
    spoken_ms = sum(items[one["id"]].audio_ms for one in response["output"] if one["id"] in items)
    usage = None
    if (told := response["usage"]) is not None:
        usage = {
            "total_tokens": told["total_tokens"],
            "input_tokens": told["input_tokens"],
            "input_token_details": _counted(told["input_token_details"]),
            "output_tokens": told["output_tokens"],
            "output_token_details": _counted(told["output_token_details"]),
            "output_audio_seconds": round(spoken_ms / 1000, 2),
            "billable_audio_seconds": spoken_ms // 1000,
        }
    beside = {} if usage is None else {"usage": usage}
    return {**event, "response": _response(response), "response_id": response["id"], **beside}


def _counted(details: dict[str, Any]) -> dict[str, int]:
    return {name: details[name] for name in ("text_tokens", "audio_tokens")} | {"grok_tokens": 0}


def _replay(number: int, said: tuple[str, str]) -> dict[str, Any]:
    role, words = said
    item = {
        "id": f"replayed_{number}",
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": "completed",
        "content": [{"type": "text", "text": words}],
    }
    return {"type": "conversation.item.added", "previous_item_id": None, "item": item}
