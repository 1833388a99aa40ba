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
                off = name == "turn_detection" and isinstance(value, dict) and value.get("type") is None
                audio.setdefault(half, {})[name] = None if off else value
        transcription = audio.get("input", {}).get("transcription")
        if isinstance(transcription, dict) and "language_hint" in transcription:
            hint = transcription["language_hint"]
            rest = {name: value for name, value in transcription.items() if name != "language_hint"}
            audio["input"] = {**audio["input"], "transcription": {**rest, "language": hint}}
        return {**event, "session": {"type": "realtime", **lifted, "audio": audio}}

    def outgoing(self, event: dict[str, Any], items: Mapping[str, Item]) -> list[dict[str, Any]]:
        match event["type"]:
            case "session.created":
                return [{**event, "session": _created(event["session"])}]
            case "session.updated":
                replayed, self._replayed = self._replayed, ()
                told = {**event, "session": _updated(event["session"])}
                return [*map(_replay, range(len(replayed)), replayed), told]
            case "response.created":
                return [{**event, "response": _response(event["response"])}]
            case "response.done":
                return [_done(event, items)]
            case "response.output_audio.delta":
                return [self._sound(event)]
            case "response.output_audio_transcript.delta":
                return self._sentences(event, items)
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
        return {**event, "audio_duration_ms": sent_bytes // 8, "ts": before_bytes // 8}

    def _sentences(self, event: dict[str, Any], items: Mapping[str, Item]) -> list[dict[str, Any]]:
        """Each with where it begins in the item's sound: words come with their sound, or before."""
        words, start_bytes = event["delta"], self._sound_bytes.get(event["item_id"], 0)
        rest_bytes, told, characters = len(items[event["item_id"]].sound) - start_bytes, [], 0
        for sentence in filter(None, _SENTENCE.findall(words)):
            begins = start_bytes + rest_bytes * characters // len(words)
            told.append({**event, "delta": sentence, "start_time": round(begins / 8000, 3)})
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


def _detection(session: dict[str, Any]) -> dict[str, Any]:
    return session["audio"]["input"]["turn_detection"] or {"type": None}


def _created(session: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": session["id"],
        "object": "realtime.session",
        "instructions": session["instructions"],
        "voice": session["audio"]["output"]["voice"],
        "modalities": ["audio"],
        "turn_detection": _detection(session),
        "tools": [],
        "model": session["model"],
    }


def _updated(session: dict[str, Any]) -> dict[str, Any]:
    wrapped = [
        {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
        for tool in session["tools"]
    ]
    halves = {
        half: {"format": session["audio"][half]["format"], "transport": "json"}
        for half in ("input", "output")
    }
    return {
        "turn_detection": _detection(session),
        "model": session["model"],
        "input_audio_format": "not specified",
        "output_audio_format": "not specified",
        "tools": wrapped,
        "audio": halves,
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
            "input_token_details": {
                name: told["input_token_details"][name] for name in ("text_tokens", "audio_tokens")
            },
            "output_tokens": told["output_tokens"],
            "output_token_details": told["output_token_details"],
            "output_audio_seconds": round(spoken_ms / 1000, 2),
            "billable_audio_seconds": spoken_ms // 1000,
        }
    beside = {} if usage is None else {"usage": usage}
    return {**event, "response": _response(response), "response_id": response["id"], **beside}


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
