"""espeak-ng in process: the library that `espeakng-loader` brings (extra `demo`), spoken to by ctypes.

The library is GPL-3 and no part of this project: it is loaded where it was installed. It has one state for
the whole process, so one voice at a time may speak, and only one thread calls it.
"""

from __future__ import annotations

import ctypes
import importlib
import math
from threading import Lock
from typing import Any, ClassVar, Final

import numpy as np

from bridge.codecs.g711 import pcm_to_pcmu
from bridge.codecs.whole_sound import at_rate

HZ: Final = 8_000
LEVEL: Final = 32_768 * 10 ** (-20 / 20)
"""What speech is raised or lowered to: a root mean square of -20 dBFS, where peaks allow it."""
WORDS_A_MINUTE: Final = 155
_PEAK: Final = 30_000.0
_SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS: returns when all sound has been given to the callback
_CHARACTERS: Final = 1  # POS_CHARACTER
_UTF8: Final = 1  # espeakCHARS_UTF8
_RATE: Final = 1  # espeakRATE
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
        with self._lock:
            self._library.choose(self._voice)
            pcm = self._library.spoken(sentence.replace("\0", ""))
        samples = at_rate(np.frombuffer(pcm, "<i2").astype(np.float64), self._library.hz, HZ)
        loudness = math.sqrt(float(np.mean(samples**2))) if len(samples) else 0.0
        if loudness < 1:
            return b""
        gain = min(LEVEL / loudness, _PEAK / float(np.max(np.abs(samples))))
        return pcm_to_pcmu((samples * gain).astype("<i2").tobytes())


class _Engine:
    """The library itself. Its callback collects what is being spoken."""

    def __init__(self) -> None:
        loader: Any = importlib.import_module("espeakng_loader")
        self._library = ctypes.CDLL(str(loader.get_library_path()))
        path = str(loader.get_data_path()).encode()
        self.hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, path, 0))
        if self.hz <= 0:
            raise RuntimeError("espeak-ng cannot be initialised")
        self._spoken = bytearray()
        self._callback = _Callback(self._take)  # kept: the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_SetParameter(_RATE, WORDS_A_MINUTE, 0)
        self._chosen = ""

    def choose(self, voice: str) -> None:
        if voice == self._chosen:
            return
        if self._library.espeak_SetVoiceByName(voice.encode()) != _OK:
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        self._chosen = voice

    def spoken(self, text: str) -> bytes:
        """The text as 16-bit samples at `hz`."""
        self._spoken.clear()
        raw = text.encode(errors="replace") + b"\0"
        size = ctypes.c_size_t(len(raw))
        code = self._library.espeak_Synth(raw, size, 0, _CHARACTERS, 0, _UTF8, None, None)
        if code != _OK:
            raise RuntimeError(f"espeak-ng cannot say this: {code}")
        return bytes(self._spoken)

    def _take(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._spoken += ctypes.string_at(samples, 2 * count)
        return 0
