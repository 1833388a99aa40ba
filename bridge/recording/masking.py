"""Takes everybody's words out of a recording, so that it can be given away. It replays as before.

Letters become x and digits 0, one for one: words keep their lengths, so that a cut falls on the same word.
Names of tools and of transfer targets stay, and the words of the phrases that a recording is played with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from bridge.core import messages as m

from .editing import remade
from .header import Header
from .json_text import UNREADABLE, one_line
from .stage import Parts
from .steps import Recording, Step

_LETTER: Final = re.compile(r"[^\W\d_]")
_DIGIT: Final = re.compile(r"\d")
_SID: Final = re.compile(r"\b(AC|CA|MZ)[0-9a-f]{32}\b")
_WORDS: Final = frozenset({"transcript", "text", "arguments", "output", "instructions", "prompt"})
"""Keys of frames whose strings are words, wherever they stand."""
_PIECES: Final = ("transcript.delta", "text.delta", "arguments.delta", "transcription.delta")
"""Types of events whose `delta` is a piece of words."""


def masked(lines: Iterable[str], parts: Parts | None = None) -> list[str]:
    """The recording without words, numbers and ids of accounts. What follows is made anew by today's code: a
    recording that does not replay should be accepted before. Raises ConfigError for what is no recording.
    """
    recording = Recording(lines)
    return remade(_header(recording.header), map(_step, recording.steps()), parts)


def mask_words(text: str) -> str:
    """The text with its letters and digits taken out, of the same length and with the same gaps."""
    return _DIGIT.sub("0", _LETTER.sub(lambda letter: "X" if letter[0].isupper() else "x", text))


def _header(header: Header) -> Header:
    config = header.config
    greeting = None if config.greeting is None else mask_words(config.greeting)
    config = msgspec.structs.replace(config, session=_session(config.session), greeting=greeting)
    parameters = {name: mask_words(value) for name, value in header.parameters.items()}
    return msgspec.structs.replace(header, config=config, parameters=parameters, carried=None)


def _session(session: m.SessionConfig) -> m.SessionConfig:
    return msgspec.structs.replace(session, instructions=mask_words(session.instructions))


def _step(step: Step) -> Step:
    if step.event is not None:
        return msgspec.structs.replace(step, event=_event(step.event))
    if isinstance(step.frame, str):
        return msgspec.structs.replace(step, frame=_frame(step.frame, step.door))
    return step


def _event(event: m.Event) -> m.Event:
    replace = msgspec.structs.replace
    match event:
        case m.Say() | m.AddText():
            return replace(event, text=mask_words(event.text))
        case m.Respond():
            return replace(event, instructions=mask_words(event.instructions))
        case m.ToolFinished():
            return replace(event, output=mask_words(event.output))
        case m.HangUp():
            return replace(event, why=mask_words(event.why))
        case m.Play():
            return replace(event, sound=replace(event.sound, text=mask_words(event.sound.text)))
        case m.Reconfigure():
            return replace(event, config=_session(event.config))
        case m.PassOn():
            return m.PassOn(_frame(event.body, "upstream"))
        case _:
            return event


def _frame(frame: str, door: str) -> str:
    shown = _SID.sub(lambda sid: sid[1] + "0" * 32, frame)
    if door == "carrier" and '"event":"media"' in shown:
        return shown
    try:
        tree = msgspec.json.decode(shown)
    except UNREADABLE:
        return mask_words(shown)
    if not isinstance(tree, dict):
        return shown
    if door == "carrier":
        _carrier(tree)
    else:
        _upstream(tree)
    return one_line(msgspec.json.encode(tree).decode())


def _carrier(tree: dict[str, Any]) -> None:
    """Keys that were pressed may be a secret; parameters are whatever somebody put there."""
    if isinstance(tree.get("dtmf"), dict) and str(tree["dtmf"].get("digit")).isdigit():
        tree["dtmf"]["digit"] = "0"
    start = tree.get("start")
    if isinstance(start, dict) and isinstance(start.get("customParameters"), dict):
        given = start["customParameters"]
        start["customParameters"] = {name: mask_words(str(value)) for name, value in given.items()}


def _upstream(tree: dict[str, Any]) -> None:
    kind = str(tree.get("type"))
    if kind.endswith(_PIECES) and isinstance(tree.get("delta"), str):
        tree["delta"] = mask_words(tree["delta"])
    _words_of(tree)


def _words_of(node: Any) -> None:
    if isinstance(node, dict):
        for name, value in node.items():
            if name in _WORDS and isinstance(value, str):
                node[name] = mask_words(value)
            else:
                _words_of(value)
    elif isinstance(node, list):
        for value in node:
            _words_of(value)
