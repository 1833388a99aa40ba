"""The phrases of each language, ready for a call: an operator's own before the bundled ones."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from bridge import sounds
from bridge.codecs.wav import pcmu_of
from bridge.core.messages import Sound

ENGLISH: Final = "en"
SUFFIXES: Final = (".ulaw", ".wav")
FRAME_BYTES: Final = 160
SILENCE: Final = b"\xff"
WAITING: Final = "waiting"
"""A quiet sound without words, the same in every language."""


class Phrase(NamedTuple):
    """What is said, and in which language (ISO 639-1) its words are."""

    sound: Sound
    language: str


Folder: TypeAlias = Mapping[str, Mapping[str, str]]
"""Words by language and name."""


class Phrases:
    """All that can be said without a model. `words` are those of phrases in `folder`, by language and name;
    `usual` is the language of calls whose own there are no phrases in.
    """

    def __init__(
        self, folder: Path | None = None, words: Folder = MappingProxyType({}), usual: str | None = None
    ) -> None:
        self._own = {} if folder is None else {name: _own(folder, name, words[name]) for name in words}
        self.languages = frozenset({*sounds.LANGUAGES, *self._own})
        """Those in which there are phrases."""
        self._usual = usual if usual in self.languages else ENGLISH

    def of(self, language: str | None) -> dict[str, Phrase]:
        """The phrases of calls in that language (None: the usual one), each in it where there is one, else in
        English, else in any: an announcement is not left out.
        """
        spoken = language if language in self.languages else self._usual
        others = {name: phrase for own in self._own.values() for name, phrase in own.items()}
        bundled = _bundled(spoken if spoken in sounds.LANGUAGES else ENGLISH)
        return {**others, **self._own.get(self._usual, {}), **bundled, **self._own.get(spoken, {})}

    def sounds(self, language: str | None) -> dict[str, Sound]:
        """The same without their languages."""
        return {name: phrase.sound for name, phrase in self.of(language).items()}

    def remarks(self, language: str) -> list[str]:
        """What calls in that language hear in another one, in a sentence; none if nothing."""
        missing = {name: phrase for name, phrase in self.of(language).items() if phrase.language != language}
        names = sorted(name for name, phrase in missing.items() if phrase.sound.text)
        if not names:
            return []
        which = f" {', '.join(names)}" if language in self.languages else ""
        instead = f"so callers hear those in {missing[names[0]].language!r}"
        return [f"there are no phrases{which} in {language!r}, {instead}; BRIDGE_PHRASES takes your own"]


@cache
def _bundled(language: str) -> Mapping[str, Phrase]:
    found = {
        name: Phrase(_sound(sounds.load(name, language), sounds.text(name, language)), language)
        for name in sounds.phrase_names(language)
    }
    return MappingProxyType({**found, WAITING: Phrase(_sound(sounds.waiting(), ""), language)})


def _own(folder: Path, language: str, words: Mapping[str, str]) -> dict[str, Phrase]:
    below = folder / language
    place = below if (below / "texts.json").is_file() else folder
    return {name: Phrase(_sound(own_sound(place, name), text), language) for name, text in words.items()}


def own_sound(folder: Path, name: str) -> bytes:
    """The sound of an operator's own phrase, as whole frames of µ-law. Raises ValueError for a WAV file that
    cannot be played, OSError for none at all.
    """
    wav = folder / f"{name}.wav"
    sound = pcmu_of(wav.read_bytes()) if wav.is_file() else (folder / f"{name}.ulaw").read_bytes()
    return sound + SILENCE * (-len(sound) % FRAME_BYTES)


def _sound(raw: bytes, text: str) -> Sound:
    return Sound(b64encode(raw).decode(), len(raw), text)
