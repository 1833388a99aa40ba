"""The session that was asked for, the one in force, and whether they agree.

API reference, session.update: it is answered with "a `session.updated` event showing the full, effective
configuration". That is the only trustworthy word on formats, and on who cancels at a barge-in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final

PHONE_FORMAT: Final = {"type": "audio/pcmu"}
"""G.711 µ-law, which has one rate and does not name it."""

# Never echoed, or not as sent: an MCP server's credentials. A difference would only spell them out.
_SECRET: Final = frozenset({"authorization", "headers"})
_SHOWN_CHARACTERS: Final = 40

# Where a session of before GA has what we look at.
_FLAT: Final = {
    "input_audio_format": ("input", "format"),
    "output_audio_format": ("output", "format"),
    "turn_detection": ("input", "turn_detection"),
    "input_audio_transcription": ("input", "transcription"),
    "input_audio_noise_reduction": ("input", "noise_reduction"),
    "voice": ("output", "voice"),
    "speed": ("output", "speed"),
}
_OLD_FORMATS: Final = {"g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma", "pcm16": "audio/pcm"}


def in_force(session: dict[str, Any]) -> dict[str, Any]:
    """The tree of a session as a server told it; one in the flat shape of before GA is lifted to today's."""
    if "audio" in session:
        return session
    audio: dict[str, dict[str, Any]] = {"input": {}, "output": {}}
    for name, (half, field) in _FLAT.items():
        if name in session:
            audio[half][field] = session[name]
    return {**session, "audio": audio}


def part(tree: Any, *path: str) -> Any:
    """What stands there, None if nothing does."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def formats_ok(session: dict[str, Any], before: bool = False) -> bool:
    """Whether µ-law is in force both ways. Of a server that does not say, it is as it was `before`: some tell
    only what an update has changed.
    """
    told = (format_name(part(session, "audio", half, "format")) for half in ("input", "output"))
    return all(before if name is None else name == "audio/pcmu" for name in told)


def turn_detection_does(name: str, session: dict[str, Any], asked: dict[str, Any] | None) -> bool:
    """Whether turn detection in force does `name`, interrupt_response or create_response. A server that
    leaves it out does what was asked, or what is the vendor's default: true for both.
    """
    detection = part(session, "audio", "input", "turn_detection")
    if detection is None:
        heard = part(session, "audio", "input")
        if isinstance(heard, dict) and "turn_detection" in heard:
            return False  # null: voice detection is off
        detection = part(asked, "audio", "input", "turn_detection")
    wanted = part(asked, "audio", "input", "turn_detection", name)
    value = part(detection, name)
    return next((known for known in (value, wanted) if isinstance(known, bool)), True)


def differences(asked: Any, got: Any, path: str = "session") -> Iterator[str]:
    """Each field of what was asked that is not so in force, as a sentence with its path on the wire.

    Numbers compare by value (a server may keep them as 32-bit floats), objects by the fields that we sent,
    and a field that we sent as null may be missing. Long texts and tools are not spelled out: this goes to
    a log.
    """
    if isinstance(asked, dict) and isinstance(got, dict):
        for name, value in asked.items():
            if name not in _SECRET:
                yield from differences(value, got.get(name), f"{path}.{name}")
    elif isinstance(asked, list) and isinstance(got, list) and len(asked) == len(got):
        for index, (mine, theirs) in enumerate(zip(asked, got, strict=True)):
            yield from differences(mine, theirs, f"{path}[{index}]")
    elif not _same(asked, got, path):
        private = path.startswith(("session.tools", "session.prompt"))
        told = " is not as asked" if private else f": asked {_shown(asked)}, in force {_shown(got)}"
        yield path + told


def _same(asked: Any, got: Any, path: str) -> bool:
    if path.endswith(".format"):
        return format_name(asked) == format_name(got)
    if isinstance(asked, bool) or isinstance(got, bool):
        return asked is got
    if isinstance(asked, int | float) and isinstance(got, int | float):
        return math.isclose(asked, got, rel_tol=1e-6)
    return bool(asked == got)


def format_name(value: Any) -> str | None:
    """A format's name, however it is spelled."""
    name = value.get("type") if isinstance(value, dict) else value
    return _OLD_FORMATS.get(name, name) if isinstance(name, str) else None


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return f"{len(value)} characters"
    return json.dumps(value, ensure_ascii=False)
