"""What was said in a recorded call and heard of it, as captions (WebVTT) and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ..recording.printable import printable_lines
from .lanes import Line, Story

MOST_CUE_MS: Final = 7_000
"""Longer captions are hard to read along (BBC Subtitle Guidelines)."""
_VOICES: Final = {"caller": "Caller", "model": "Agent", "bridge": "Agent"}
_LETTER_MS: Final = 60
_SPACES: Final = re.compile(r"\s+")


def webvtt(story: Story) -> str:
    """The heard words as captions: those of the caller, and of the answers what the caller heard of them."""
    cues = (cue for line in story.talk if line.who in _VOICES for cue in _cues(line))
    return "\n\n".join(["WEBVTT", *cues]) + "\n"


def transcript(story: Story) -> list[dict[str, Any]]:
    """The conversation, oldest first: `at_ms`, `who`, and `text` as it was heard; of an answer that was cut
    also what was `generated` and `cut_ms`; of a tool its `answer`, None where none came.
    """
    return [_entry(line) for line in story.talk]


def _entry(line: Line) -> dict[str, Any]:
    entry: dict[str, Any] = {"at_ms": round(line.at_ms), "who": line.who}
    if line.who == "tool":
        return {**entry, "text": line.said, "answer": line.heard}
    if line.end_ms is not None:
        entry["end_ms"] = round(line.end_ms)
    entry["text"] = _heard(line)
    if line.cut_ms is not None:
        entry |= {"generated": line.said, "cut_ms": line.cut_ms}
    return entry


def _heard(line: Line) -> str:
    """Of what was said, that which was heard."""
    return line.said if line.cut_ms is None else line.heard or ""


def _cues(line: Line) -> Iterator[str]:
    words = _SPACES.sub(" ", printable_lines(_heard(line))).strip()
    if not words:
        return
    start_ms = line.at_ms
    end_ms = max(line.end_ms or start_ms + len(words) * _LETTER_MS, start_ms + _LETTER_MS)
    count = -int(-(end_ms - start_ms) // MOST_CUE_MS)
    for text, from_share, to_share in _shares(words, count):
        at, until = (_clock(start_ms + share * (end_ms - start_ms)) for share in (from_share, to_share))
        yield f"{at} --> {until}\n<v {_VOICES[line.who]}>{_escaped(text)}"


def _shares(words: str, count: int) -> Iterator[tuple[str, float, float]]:
    """The words in about as many equal parts, with the share of the whole where each begins and ends."""
    part, done = "", 0
    for word in words.split(" "):
        if part and (len(part) + done) * count >= len(words) * (1 + done * count // len(words)):
            yield part, done / len(words), (done + len(part)) / len(words)
            done, part = done + len(part), ""
        part = f"{part} {word}" if part or done else word
    yield part, done / len(words), 1.0


def _clock(at_ms: float) -> str:
    seconds, ms = divmod(round(at_ms), 1_000)
    return f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


def _escaped(text: str) -> str:
    """W3C WebVTT, 4.1: cue text has `&` and `<` as character references; `-->` ends no cue."""
    return text.strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
