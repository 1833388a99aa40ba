"""Words that come with times: which of them belong to which sound, and which of them were heard.

A duplex model sends its words in fragments of about 200 ms, labelled with its own clock, unevenly, up to a
second before their sound or behind it. Sound has no labels: it is counted in bytes. What ties the two
together is that an utterance's first loud block and its first fragment are the same moment.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .due import NEVER

ALIGNED_BY = 8
"""Utterances whose beginnings say how far the labels are from the sound: their median."""
MOST_APART_MS = 1_000
LATE_MS = 1_000
"""Behind their sound words are waited for so long at most."""
MOST_FRAGMENTS = 1_024
"""Of the words whose sound is not over, the newest that are kept: 3 minutes of speech without a pause."""
MOST_OF_A_FRAGMENT = 512
MOST_OF_A_TEXT = 32_768
"""Characters: no one says more in 200 ms, or in a turn of half an hour."""
TURN_PAUSE_MS = 800
"""Between two fragments of the caller's, by their labels: those behind it are another turn."""
TURN_OVER_MS = 1_100
"""Without a fragment of the caller's: their turn is over."""
WITHOUT_SPACES = 0x0E00
"""From this character on (Thai, the East Asian scripts) most scripts put no space between words..."""
HANGUL = range(0xAC00, 0xD7A4)
"""...but this one does."""


@dataclass(frozen=True, slots=True)
class TimedText:
    """Words of one fragment; times in ms on the model's clock, or on the stream's where it is `shifted`. It
    came at `came_ms` of the call.
    """

    text: str
    start_ms: int
    end_ms: int
    came_ms: int = 0

    @property
    def middle_ms(self) -> int:
        return (self.start_ms + self.end_ms) // 2

    def shifted(self, by_ms: int) -> TimedText:
        return TimedText(self.text, self.start_ms + by_ms, self.end_ms + by_ms, self.came_ms)


def bounded(fragments: list[TimedText]) -> list[TimedText]:
    """The first of them, as many as are kept of one text."""
    room = MOST_OF_A_TEXT
    for at, fragment in enumerate(fragments):
        room -= len(fragment.text)
        if room < 0:
            return fragments[:at]
    return fragments


def joined(fragments: Sequence[TimedText]) -> str:
    """The words as one text."""
    return "".join(fragment.text for fragment in fragments).strip()


def cut(fragments: Sequence[TimedText], is_heard: Callable[[int], bool]) -> str:
    """The words of those whose middle `is_heard`. A word that goes on in a fragment that was not heard is
    left out from its beginning.
    """
    text = ""
    for at, fragment in enumerate(fragments):
        if not is_heard(fragment.middle_ms):
            continue
        text += fragment.text
        after = fragments[at + 1] if at + 1 < len(fragments) else None
        if after is not None and not is_heard(after.middle_ms) and _in_a_word(text, after.text):
            text = text.rpartition(" ")[0]
    return text.strip()


def _in_a_word(before: str, after: str) -> bool:
    """Whether a border between these two lies inside a word."""
    return all(
        character.isalnum() and (ord(character) < WITHOUT_SPACES or ord(character) in HANGUL)
        for character in (before[-1:], after[:1])
        if character
    )


class TimedWords:
    """The words of one stream whose utterances are not over."""

    __slots__ = ("_apart", "_ended_ms", "_floor_ms", "_fragments", "_late", "_onset_ms")

    def __init__(self) -> None:
        self._fragments: list[TimedText] = []
        self._apart: deque[int] = deque(maxlen=ALIGNED_BY)
        self._onset_ms: int | None = None
        """Where the utterance began whose first fragment has not come."""
        self._ended_ms: int | None = -MOST_APART_MS
        """Where the newest utterance ended, None while it has not."""
        self._floor_ms = -MOST_APART_MS
        """Where the one before it ended."""
        self._late: deque[int] = deque(maxlen=ALIGNED_BY)

    @property
    def apart_ms(self) -> int:
        """How much later the labels are than the stream's own time, as far as is known."""
        return sorted(self._apart)[len(self._apart) // 2] if self._apart else 0

    @property
    def late_ms(self) -> int:
        """How long behind their sound words still come, by the last ones; 0 where they come before it."""
        return min(max(self._late, default=0), LATE_MS)

    def came(self, fragment: TimedText, received_ms: int) -> int:
        """A fragment is there, when so much of the stream is: returns where in the stream its middle lies."""
        apart_ms = self.apart_ms
        self._late.append(received_ms - (fragment.start_ms - apart_ms))
        return fragment.middle_ms - apart_ms

    def add(self, fragment: TimedText) -> None:
        """A fragment came, in any order."""
        insort(self._fragments, fragment, key=lambda one: one.start_ms)
        if len(self._fragments) > MOST_FRAGMENTS:
            del self._fragments[0]
        self._align()

    def begun(self, onset_ms: int) -> None:
        """An utterance's first loud block is there, at `onset_ms` of the stream."""
        self._floor_ms, self._ended_ms = self._floor_ms if self._ended_ms is None else self._ended_ms, None
        self._onset_ms = onset_ms
        self._align()

    def ended(self, end_ms: int) -> None:
        """The utterance is over; words up to there are not the next one's."""
        self._ended_ms = end_ms

    def _align(self) -> None:
        """The oldest fragment that belongs to no utterance before begins where the newest utterance does."""
        if self._onset_ms is None:
            return
        apart_ms, ended_ms = self.apart_ms, self._ended_ms
        for fragment in self._fragments:
            if ended_ms is not None and fragment.start_ms - apart_ms > ended_ms:
                return  # of the next one
            if not self._apart or fragment.middle_ms - apart_ms > self._floor_ms:
                found_ms = fragment.start_ms - self._onset_ms
                self._apart.append(max(-MOST_APART_MS, min(found_ms, MOST_APART_MS)))
                self._onset_ms = None
                return

    def between(self, after_ms: int, until_ms: int) -> list[TimedText]:
        """The words whose middle is after the one and not after the other, in the stream's time."""
        apart_ms = self.apart_ms
        low_ms, high_ms = after_ms + apart_ms, until_ms + apart_ms
        return [
            fragment.shifted(-apart_ms)
            for fragment in self._fragments
            if low_ms < fragment.middle_ms <= high_ms
        ]

    def drop(self, after_ms: int, came_ms: int) -> list[TimedText]:
        """Words after that, on the stream, which came so long ago, are no longer kept. Returns them."""
        if not self._fragments:
            return []
        after_ms += self.apart_ms
        dropped, kept = list[TimedText](), list[TimedText]()
        for one in self._fragments:
            (dropped if one.middle_ms > after_ms and one.came_ms <= came_ms else kept).append(one)
        self._fragments = kept
        return dropped

    def take(self, until_ms: int) -> list[TimedText]:
        """The words until there, which are no longer kept."""
        taken = self.between(-1 << 62, until_ms)
        apart_ms = self.apart_ms
        self._fragments = [one for one in self._fragments if one.middle_ms - apart_ms > until_ms]
        return taken


class TurnText:
    """The caller's words, as turns: one is over after a pause in its labels, or when no more of it has come
    for a while. Its words come a second after the voice, so none ends while that is heard.
    """

    __slots__ = ("_characters", "_parts", "due_ms", "end_ms")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._characters = 0
        self.end_ms = 0
        """Of the last words, on the model's clock."""
        self.due_ms = NEVER
        """When the turn is over, unless more comes."""

    def add(self, fragment: TimedText, now_ms: int) -> str:
        """Words came. Returns the turn that is over by that, "" for none."""
        over = self.over() if self._parts and fragment.start_ms - self.end_ms >= TURN_PAUSE_MS else ""
        self._characters += len(fragment.text)
        if self._characters <= MOST_OF_A_TEXT:
            self._parts.append(fragment.text)
        self.end_ms = max(self.end_ms, fragment.end_ms)
        self.due_ms = now_ms + TURN_OVER_MS
        return over

    def over(self) -> str:
        """The turn's words; the next ones are another turn's."""
        text = "".join(self._parts).strip()
        self._parts.clear()
        self._characters, self.due_ms = 0, NEVER
        return text
