"""Files of sound in and out, with the complaints of a command line."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..codecs.g711 import pcmu_to_pcm
from ..codecs.wav import pcmu_of
from ..errors import ConfigError
from ..sounds.reading import raw_sound

HZ = 8_000
NO_OGG = "ogg needs soundfile: pip install soundfile (the extra `export`); wav needs nothing"


def read_speech(path: Path) -> bytes:
    """A WAV file (any that is not compressed, its first channel) or a raw `.ulaw` file as µ-law, 8 000 Hz.
    Raises `ConfigError` for a file that can't be read.
    """
    try:
        raw = raw_sound(path)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from error
    if path.suffix == ".ulaw":
        return raw
    if not raw:
        raise ConfigError(f"{path} can't be read as sound: it is empty")
    try:
        return pcmu_of(raw)
    except ValueError as error:
        raise ConfigError(f"{path} can't be read as sound: {error}") from error


def check_writable(path: Path) -> None:
    """Raises `ConfigError` if no file can be written there: better before the call than after it."""
    if not path.parent.is_dir():
        raise ConfigError(f"{path} can't be written: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path} can't be written")


def write_stereo(path: Path, left: bytes, right: bytes) -> None:
    """Two µ-law tracks of equal length as one stereo WAV: left the caller, right what the caller heard."""
    with wave.open(str(path), "wb") as sink:
        sink.setnchannels(2)
        sink.setsampwidth(2)
        sink.setframerate(HZ)
        sink.writeframes(_stereo(left, right).tobytes())


def write_ogg(path: Path, left: bytes, right: bytes) -> None:
    """The same as Ogg Opus, about a tenth of the size. Raises `ConfigError` where `soundfile` is not
    installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: without its library
        raise ConfigError(NO_OGG) from error
    soundfile.write(path, _stereo(left, right), HZ, format="OGG", subtype="OPUS")


def _stereo(left: bytes, right: bytes) -> NDArray[np.int16]:
    tracks = (np.frombuffer(pcmu_to_pcm(track), "<i2") for track in (left, right))
    return np.stack(list(tracks), axis=1)
