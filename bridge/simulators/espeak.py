"""espeak-ng in process: the library that `espeakng-loader` brings (extra `demo`), spoken to by ctypes.

The library is GPL-3 and no part of this project: it is loaded where it was installed. It has one state for
the whole process, so one voice at a time may speak, and only one thread calls it.
"""

from __future__ import annotations

import ctypes
import importlib
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Final

from .speech_sound import pcmu_of

WORDS_A_MINUTE: Final = 155
_SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS: returns when all sound has been given to the callback
_CHARACTERS: Final = 1  # POS_CHARACTER
_UTF8: Final = 1  # espeakCHARS_UTF8
_RATE: Final = 1  # espeakRATE
_IPA: Final = 2  # espeakPHONEMES_IPA
_OK: Final = 0
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakVoice:
    """One of espeak-ng's voices, by its name: `en-us`, `en-gb+f3`. Raises ImportError without the package,
    OSError for a library that cannot be loaded, RuntimeError for one that does not work or an unknown voice.
    """

    _engine: ClassVar[_Engine | None] = None
    _lock: ClassVar[Lock] = Lock()

    def __init__(self, voice: str = "en-us") -> None:
        with self._lock:
            if EspeakVoice._engine is None:
                EspeakVoice._engine = _Engine()
            self._library = EspeakVoice._engine
            self._library.choose(voice)
        self._voice = voice
        self.name = f"espeak-ng {voice}"

    def pcmu(self, sentence: str) -> bytes:
        """One sentence. A NUL would end it, so it is left out."""
        words = sentence.replace("\0", "").strip()
        if not words:
            return b""
        with self._lock:
            self._library.choose(self._voice)
            pcm = self._library.spoken(words)
        return pcmu_of(pcm, self._library.hz)

    def phonemes(self, word: str) -> str:
        """How the voice would say it, in IPA."""
        with self._lock:
            self._library.choose(self._voice)
            return self._library.phonemes(word.replace("\0", ""))


class _Engine:
    """The library itself. Its callback collects what is being spoken."""

    def __init__(self) -> None:
        loader: Any = importlib.import_module("espeakng_loader")
        self._library = ctypes.CDLL(str(loader.get_library_path()))
        self._data = Path(str(loader.get_data_path()))
        self.hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(self._data).encode(), 0))
        if self.hz <= 0:
            raise RuntimeError("espeak-ng cannot be initialised")
        self._spoken = bytearray()
        self._callback = _Callback(self._take)  # kept: the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_SetParameter(_RATE, WORDS_A_MINUTE, 0)
        self._to_phonemes = self._library.espeak_TextToPhonemes
        self._to_phonemes.restype = ctypes.c_char_p
        self._chosen = ""

    def choose(self, voice: str) -> None:
        if voice == self._chosen:
            return
        language, variant, name = voice.partition("+")
        wanted = (voice, f"{self._file_of(language)}{variant}{name}")
        if all(self._library.espeak_SetVoiceByName(one.encode()) != _OK for one in wanted):
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        self._chosen = voice

    def _file_of(self, language: str) -> str:
        """The file of a language. The library finds voices by file and by full name only."""
        for path in sorted(self._data.glob("lang/*/*")):
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
            if any(line.split()[:2] == ["language", language.lower()] for line in lines):
                return path.name
        return language

    def spoken(self, text: str) -> bytes:
        """The text as 16-bit samples at `hz`."""
        self._spoken.clear()
        raw = text.encode(errors="replace") + b"\0"
        size = ctypes.c_size_t(len(raw))
        code = self._library.espeak_Synth(raw, size, 0, _CHARACTERS, 0, _UTF8, None, None)
        if code != _OK:
            raise RuntimeError(f"espeak-ng cannot say this: {code}")
        return bytes(self._spoken)

    def phonemes(self, text: str) -> str:
        """The text in IPA."""
        raw = ctypes.c_char_p(text.encode(errors="replace"))
        said: bytes | None = self._to_phonemes(ctypes.byref(raw), _UTF8, _IPA)
        return (said or b"").decode(errors="replace").strip()

    def _take(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._spoken += ctypes.string_at(samples, 2 * count)
        return 0
