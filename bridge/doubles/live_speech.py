"""The voice of a GPT-Live server: one stream of sound without a pause, into which speech is laid.

Live API guide, "Audio": output is a continuous real-time stream, silence included. Nothing in it says where
an utterance begins or ends; the words come beside it, as fragments on 200 ms frames.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .agents import Rendering, Speech
from .tones import SAMPLES_PER_MS, marked

DELTA_MS: Final = 100
FRAME_MS: Final = 200
"""Fragments lie on frames of this length."""
SILENCE: Final = 0xFF
_TICK: Final = (200, b"\xfb" * 8)
"""Where the opening click is, and what it sounds like: a peak below 45."""
_WORD: Final = re.compile(r"\s*\S+")


class Fragment(NamedTuple):
    """Words on one frame. `from_ms` and `to_ms` are where they truly sound on the session's timeline."""

    text: str
    from_ms: int
    to_ms: int


@dataclass(slots=True, eq=False)
class Utterance:
    """One speech on the timeline: where it began, and what of it came out before it was cut."""

    text: str
    sound: bytes
    start_ms: int
    fragments: list[Fragment] = field(default_factory=list)
    cut_ms: int | None = None
    """Where it fell quiet before its end, on the timeline."""
    told: int = 0
    """Fragments that were sent."""

    @property
    def end_ms(self) -> int:
        """Where its sound ends or ended."""
        whole_ms = self.start_ms + -(-len(self.sound) // SAMPLES_PER_MS)
        return whole_ms if self.cut_ms is None else self.cut_ms

    @property
    def said(self) -> str:
        """The words that it said in full."""
        return "".join(one.text for one in self.fragments if one.to_ms <= self.end_ms)


@dataclass(slots=True, eq=False)
class _Waiting:
    speech: Speech
    from_ms: int


class Voice:
    """One session's. `utterances` is its own account of what it said, in order."""

    def __init__(self, *, tick: bool) -> None:
        self.utterances: list[Utterance] = []
        self._tick = tick
        self._waiting: deque[_Waiting] = deque()
        self._speeches = 0

    def say(self, speech: Speech, from_ms: int) -> None:
        """Say it at that time of the timeline, or behind what is being said then."""
        self._waiting.append(_Waiting(speech, from_ms))

    def speaks(self, at_ms: int) -> bool:
        """Whether there is speech at that time, as far as is known now."""
        return bool(self.utterances) and self.utterances[-1].end_ms > at_ms

    def stop(self, at_ms: int) -> None:
        """Fall quiet at that time; what waits is not said."""
        self._waiting.clear()
        if self.speaks(at_ms):
            self.utterances[-1].cut_ms = max(at_ms, self.utterances[-1].start_ms)

    def begin(self, at_ms: int) -> None:
        """Begin what is due by that time, unless something is being said."""
        if not self._waiting or self._waiting[0].from_ms > at_ms or self.speaks(at_ms):
            return
        speech = self._waiting[0].speech
        sound = _sound(speech, self._speeches + 1)
        if sound is None:
            return  # it is in the making
        self._waiting.popleft()
        self._speeches += 1
        made = Utterance(_text(speech), sound, at_ms)
        made.fragments = _fragments(made)
        self.utterances.append(made)

    def words_due(self, at_ms: int, early_ms: int) -> list[Fragment]:
        """Fragments to be sent now: `early_ms` before they sound."""
        due = []
        for spoken in self.utterances[-2:]:
            while spoken.told < len(spoken.fragments):
                fragment = spoken.fragments[spoken.told]
                if fragment.from_ms - early_ms > at_ms or fragment.from_ms >= spoken.end_ms:
                    break
                spoken.told += 1
                due.append(fragment)
        return due

    def delta(self, from_ms: int) -> bytes:
        """100 ms of the stream, µ-law."""
        made = bytearray([SILENCE]) * (DELTA_MS * SAMPLES_PER_MS)
        for spoken in self.utterances[-2:]:
            begin_ms = max(from_ms, spoken.start_ms)
            end_ms = min(from_ms + DELTA_MS, spoken.end_ms)
            if begin_ms < end_ms:
                first = (begin_ms - spoken.start_ms) * SAMPLES_PER_MS
                part = spoken.sound[first : first + (end_ms - begin_ms) * SAMPLES_PER_MS]
                at = (begin_ms - from_ms) * SAMPLES_PER_MS
                made[at : at + len(part)] = part
        tick_ms, click = _TICK
        if self._tick and from_ms <= tick_ms < from_ms + DELTA_MS:
            at = (tick_ms - from_ms) * SAMPLES_PER_MS
            made[at : at + len(click)] = click
        return bytes(made)


def _sound(speech: Speech, number: int) -> bytes | None:
    """Its µ-law; None while it is being made."""
    if isinstance(speech.sound, bytes):
        return speech.sound
    if isinstance(speech.sound, int):
        return marked(number, speech.sound)
    return _rendered(speech.sound)


def _rendered(made: Rendering) -> bytes | None:
    parts = [made.sound(index) for index in range(len(made.sentences))]
    return None if None in parts else b"".join(part for part in parts if part)


def _text(speech: Speech) -> str:
    if speech.text or isinstance(speech.sound, bytes | int):
        return speech.text
    return " ".join(sentence.strip() for sentence in speech.sound.sentences)


def _fragments(spoken: Utterance) -> list[Fragment]:
    """Its words on the frames that they begin in, each as long as its share of the letters."""
    words = [" " + word.strip() for word in _WORD.findall(spoken.text)]
    letters = sum(len(word) for word in words)
    whole_ms = len(spoken.sound) // SAMPLES_PER_MS
    frames: dict[int, list[tuple[str, int, int]]] = {}
    before = 0
    for word in words:
        from_ms = spoken.start_ms + whole_ms * before // letters
        before += len(word)
        to_ms = spoken.start_ms + whole_ms * before // letters
        frames.setdefault(from_ms // FRAME_MS, []).append((word, from_ms, to_ms))
    return [_joined(group) for group in frames.values()]


def _joined(words: Sequence[tuple[str, int, int]]) -> Fragment:
    return Fragment("".join(word for word, _, _ in words), words[0][1], words[-1][2])


def labelled(words: str, end_ms: int, spoke_ms: int) -> list[tuple[str, int]]:
    """Each of the words that were said until then in so long a time, and when it was said."""
    one_by_one = words.split()
    shares = (spoke_ms * number // len(one_by_one) for number in range(len(one_by_one)))
    return [(f" {word}", end_ms - spoke_ms + ms) for word, ms in zip(one_by_one, shares, strict=True)]
