"""What callers and the rehearsal's model sound like: µ-law with its words in it, made once for each text.

Voices: `espeak[:NAME]` (tones where espeak-ng is not installed), `tones`, `wav:FOLDER`, `url:ADDRESS` of a
speech endpoint, `module:function`. What an endpoint made is kept on disk, by the hash of what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bridge.agents.importing import imported
from bridge.simulators.espeak import EspeakVoice
from bridge.simulators.voice import Tones, Voice
from bridge.sounds.reading import raw_sound

from ..codecs.caption import MOST_BYTES, captioned
from ..codecs.g711 import pcm_to_pcmu, pcmu_to_pcm
from ..codecs.level import level_dbfs
from ..codecs.wav import is_wav, pcmu_of
from ..doubles.agents import Speech
from ..doubles.people.caller import Say, plain
from ..errors import BridgeError, ConfigError
from .endpoint import Endpoint
from .scenario import Noise, Scenario

FRAME_BYTES: Final = 160
SPEECH_DBFS: Final = -20
"""What voices are at."""
_MOST_KEPT: Final = 1_024
"""Sounds of a voice: a caller with a mind says something else in each call."""
_QUIET_DBFS: Final = -50
_MUMBLE_GAIN: Final = 10 ** (-12 / 20)
_MUMBLE_HZ: Final = 1_200
_NOISE_S: Final = 8
_SENTENCE: Final = re.compile(r"(?<=[.!?…])\s+")


@dataclass(frozen=True, slots=True)
class Sentences:
    """A `Rendering` that is complete."""

    sentences: Sequence[str]
    sounds: Sequence[bytes]

    def sound(self, index: int) -> bytes:
        """The sound of a sentence."""
        return self.sounds[index]


class VoiceFailed(BridgeError):
    """A voice gave no sound for some words."""


class Speaker:
    """One voice. Sounds are trimmed to whole frames, and the last ones are kept."""

    def __init__(self, pcmu: Callable[[str], bytes]) -> None:
        self._pcmu = pcmu
        self._kept: dict[str, bytes] = {}
        self._worded: dict[str, bytes] = {}

    def worded(self, text: str) -> bytes:
        """The same, with the words in the sound."""
        if text not in self._worded:
            _keep(self._worded, text, with_words(self.sound(text), text))
        return self._worded[text]

    def sound(self, text: str) -> bytes:
        """The words as sound, without silence at its ends."""
        if text not in self._kept:
            _keep(self._kept, text, trimmed(self._pcmu(text)))
        return self._kept[text]

    def length_of(self, sentence: str) -> int | None:
        """How long a sentence is that this voice has said, in bytes."""
        sound = self._kept.get(sentence)
        return None if sound is None else len(sound)

    def speech(self, text: str) -> Speech:
        """The text as the model says it: each sentence carries its words."""
        sentences = [one for one in _SENTENCE.split(text) if one] or [text]
        return Speech(Sentences(sentences, [self.worded(one) for one in sentences]), text)


def _keep(sounds: dict[str, bytes], text: str, sound: bytes) -> None:
    sounds[text] = sound
    if len(sounds) > _MOST_KEPT:
        del sounds[next(iter(sounds))]


def speaker_for(choice: str, place: str = ".") -> Speaker:
    """The voice of that name; `place` is where its files are. Raises ConfigError where there is none."""
    kind, _, rest = choice.partition(":")
    if kind == "tones":
        return Speaker(Tones().pcmu)
    if kind == "espeak":
        return Speaker(_espeak(rest).pcmu)
    if kind == "wav":
        return Speaker(_Folder(Path(place) / rest))
    if kind == "url":
        return Speaker(_Endpoint(rest))
    if rest:
        return Speaker(_function(choice))
    kinds = "espeak:NAME, tones, wav:FOLDER, url:ADDRESS, module:function"
    raise ConfigError(f"there is no voice {choice!r}; there is {kinds}")


def _espeak(name: str) -> Voice:
    try:
        return EspeakVoice(name or "en-us")
    except (ImportError, OSError):
        return Tones()  # without the extra `demo`
    except RuntimeError as error:
        raise ConfigError(f"{error}: name another after espeak:") from error


class _Folder:
    """Recorded lines: `a-table-for-monday-please.wav` is "A table for Monday, please."."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder} of recorded lines")
        self._folder = folder

    def __call__(self, text: str) -> bytes:
        name = plain(text).replace(" ", "-")
        path = self._folder / f"{name}.wav"
        try:
            return pcmu_of(raw_sound(path))
        except OSError as error:
            raise ConfigError(f"{self._folder} has no {path.name}, for the line {text!r}") from error
        except ValueError as error:
            raise ConfigError(f"{path} can't be read as sound: {error}") from error


class _Endpoint:
    """An OpenAI-compatible `/audio/speech`; its address may name `model`, `voice`, `key_env`."""

    def __init__(self, address: str) -> None:
        self._endpoint, given = Endpoint.of(address, "/audio/speech")
        self._body = {"model": "gpt-4o-mini-tts", "voice": "alloy", **given, "response_format": "wav"}

    def __call__(self, text: str) -> bytes:
        return self._endpoint.ask({**self._body, "input": text}, pcmu_of)


def _function(where: str) -> Callable[[str], bytes]:
    found = import_function(where)

    def pcmu(text: str) -> bytes:
        try:
            sound = found(text)
        except (Exception, SystemExit) as error:
            raise VoiceFailed(f"{where} raised {type(error).__name__}: {error}") from error
        if not isinstance(sound, bytes):
            raise ConfigError(
                f"{where} gives {type(sound).__name__}; bytes of µ-law or of a WAV file are wanted"
            )
        return pcmu_of(sound) if is_wav(sound) else sound

    return pcmu


def import_function(where: str) -> Callable[..., Any]:
    """What `module:attribute` names. Raises ConfigError for something that cannot be called."""
    module, _, attribute = where.partition(":")
    found: Callable[..., Any] | None = getattr(imported(module), attribute, None)
    if found is None or not callable(found):
        raise ConfigError(f"{where} is no function")
    return found


class CallerVoice:
    """The voice of one scenario's caller, with what is wrong with it: mumbling, and the noise behind it."""

    def __init__(self, scenario: Scenario) -> None:
        self.speaker = speaker_for(scenario.caller.voice, scenario.place)
        noise = scenario.network.noise
        self.noise = b"" if noise is None else noise_of(noise, scenario.place)

    def __call__(self, say: Say) -> bytes:
        """The sound of what is said. Mumbled words are not in it: no ear makes them out."""
        if not say.mumbled and not self.noise:
            return self.speaker.worded(say.words)
        sound = self.speaker.sound(say.words)
        if not sound:
            return sound
        if say.mumbled:
            sound = _mumbled(sound)
        if self.noise:
            sound = _mixed(sound, self.noise)
        return sound if say.mumbled else with_words(sound, say.words)


def with_words(sound: bytes, words: str) -> bytes:
    """The sound with its words in it, where they fit."""
    try:
        return captioned(sound, words) if 0 < len(words.encode()) <= MOST_BYTES else sound
    except ValueError:
        return sound


def trimmed(sound: bytes) -> bytes:
    """Without the quiet frames at its ends, in whole frames."""
    sound += b"\xff" * (-len(sound) % FRAME_BYTES)
    loud = [
        at
        for at in range(0, len(sound), FRAME_BYTES)
        if level_dbfs(sound[at : at + FRAME_BYTES]) > _QUIET_DBFS
    ]
    return sound[loud[0] : loud[-1] + FRAME_BYTES] if loud else b""


# --- effects --------------------------------------------------------------------------------------------


def _samples(pcmu: bytes) -> Any:
    return np.frombuffer(pcmu_to_pcm(pcmu), "<i2").astype(np.float64)


def _pcmu(samples: Any) -> bytes:
    return pcm_to_pcmu(np.clip(samples, -32_768, 32_767).astype("<i2").tobytes())


def _mumbled(sound: bytes) -> bytes:
    """12 dB quieter, and without what is above 1.2 kHz."""
    samples = _samples(sound)
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / 8_000) > _MUMBLE_HZ] = 0
    return _pcmu(np.fft.irfft(spectrum, len(samples)) * _MUMBLE_GAIN)


def _mixed(sound: bytes, noise: bytes) -> bytes:
    times = -(-len(sound) // len(noise))
    return _pcmu(_samples(sound) + _samples((noise * times)[: len(sound)]))


def noise_of(noise: Noise, place: str = ".") -> bytes:
    """Eight seconds of that noise as µ-law. Raises ConfigError for a file that cannot be read."""
    count = _NOISE_S * 8_000
    if noise.file in ("cafe", "white"):
        dice = np.random.default_rng(1)
        samples = dice.standard_normal(count)
        if noise.file == "cafe":
            samples = _babble(samples, dice)
    else:
        try:
            raw = raw_sound(Path(place) / noise.file)
            samples = _samples(pcmu_of(raw) if is_wav(raw) else raw)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the noise {noise.file} cannot be had (cafe, white, or a WAV file): {error}"
            ) from error
    if not samples.any():
        raise ConfigError(f"the noise {noise.file} is silent (cafe, white, or a WAV file)")
    samples = np.resize(samples, count)
    level = 32_768 * 10 ** ((SPEECH_DBFS - noise.snr_db) / 20)
    return _pcmu(samples * (level / max(1e-9, float(np.sqrt(np.mean(samples**2))))))


def _babble(samples: Any, dice: Any) -> Any:
    """Many voices at once: the band of speech, rising and falling a few times a second."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / 8_000)
    spectrum *= np.where((hz > 150) & (hz < 2_500), 1 / np.sqrt(np.maximum(hz, 150)), 0)
    seconds = np.arange(len(samples)) / 8_000
    swell = sum(
        np.sin(2 * np.pi * (round(rate * _NOISE_S) / _NOISE_S) * seconds + phase)
        for rate, phase in zip((2.1, 3.4, 4.7), dice.uniform(0, 6.28, 3), strict=True)
    )
    return np.fft.irfft(spectrum, len(samples)) * (1 + 0.15 * swell)
