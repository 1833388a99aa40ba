"""Listens to a callee who has answered, until it is known who that is: for tones, and for words that tell.

The core is told both, as it is told of loudness: it never looks at sound, nor at what people say.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import Final

from bridge.codecs.single_tone import FRAME_BYTES, ToneDetector
from bridge.core import messages as m

from .answer_words import announces_a_tone, who_says

MOST_CHARACTERS: Final = 1_000
"""Of one turn that are read, from its end."""


class CalleeEar:
    """One call's."""

    __slots__ = ("_before", "_item_id", "_rest", "_text", "_tones")

    def __init__(self) -> None:
        self._tones = ToneDetector()
        self._rest = b""
        self._item_id = ""
        self._text = ""
        self._before = ""

    def hear(self, audio: str) -> list[m.CallerTone]:
        """A frame of the callee's sound, as base64 of mu-law; none is left out. Returns what to tell the
        call.
        """
        self._rest += a2b_base64(audio)
        told = []
        while len(self._rest) >= FRAME_BYTES:
            tone = self._tones.update(self._rest[:FRAME_BYTES])
            self._rest = self._rest[FRAME_BYTES:]
            if tone is not None:
                told.append(m.CallerTone(*tone))
        return told

    def read(self, event: object) -> m.AnswerWords | None:
        """An event of the model's session. Returns what its words tell, None for nothing new."""
        if isinstance(event, m.CallerWords):
            self._turn(event.item_id)
            self._text = (self._text + event.text)[-MOST_CHARACTERS:]
        elif isinstance(event, m.CallerTranscribed) and event.text:
            self._turn(event.item_id)
            self._text = event.text[-MOST_CHARACTERS:]
        else:
            return None
        found = who_says(self._text)
        if found is None or (found[0] is m.AnswerKind.HUMAN and isinstance(event, m.CallerWords)):
            return None  # of an open turn the rest is still to come
        told = f"{self._item_id} {found}"
        if told == self._before:
            return None
        self._before = told
        return m.AnswerWords(*found, announces_a_tone(self._text))

    def _turn(self, item_id: str) -> None:
        if item_id != self._item_id:
            self._item_id, self._text = item_id, ""
