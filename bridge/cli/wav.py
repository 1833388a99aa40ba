"""WAV files in and out: the command line's only sound format."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np

from ..codecs.g711 import pcm_to_pcmu, pcmu_to_pcm
from ..errors import ConfigError

HZ = 8_000


def read_speech(path: Path) -> bytes:
    """A WAV file (16-bit PCM, any rate, first channel) or a raw `.ulaw` file as µ-law, 8 000 Hz.

    Rates other than 8 kHz are converted by straight-line interpolation after averaging: good enough to be
    understood, and this is not the path of a live call. Raises `ConfigError` for a file that can't be read.
    """
    try:
        if path.suffix == ".ulaw":
            return path.read_bytes()
        with wave.open(str(path)) as source:
            if source.getsampwidth() != 2:
                raise ConfigError(f"{path}: 16-bit PCM is wanted, not {source.getsampwidth() * 8}-bit")
            sound = source.readframes(source.getnframes())
            whole = sound[: len(sound) // 2 * 2]  # a file that was cut off may end within a sample
            samples = np.frombuffer(whole, "<i2").astype(np.float64)
            samples = samples[:: source.getnchannels()] if source.getnchannels() > 1 else samples
            hz = source.getframerate()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    except (EOFError, wave.Error) as error:
        raise ConfigError(f"{path} can't be read as sound: {str(error) or 'it is empty'}") from error
    if hz != HZ:
        width = max(1, hz // HZ)
        smooth = np.convolve(samples, np.ones(width) / width, "same")
        at = np.arange(int(len(samples) * HZ / hz)) * (hz / HZ)
        samples = np.interp(at, np.arange(len(samples)), smooth)
    return pcm_to_pcmu(np.clip(samples, -32_768, 32_767).astype("<i2").tobytes())


def check_writable(path: Path) -> None:
    """Raises `ConfigError` if no file can be written there: better before the call than after it."""
    if not path.parent.is_dir():
        raise ConfigError(f"{path} can't be written: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path} can't be written")


def write_stereo(path: Path, left: bytes, right: bytes) -> None:
    """Two µ-law tracks of equal length as one stereo WAV: left the caller, right what the caller heard."""
    both = np.empty(2 * len(left), "<i2")
    both[0::2] = np.frombuffer(pcmu_to_pcm(left), "<i2")
    both[1::2] = np.frombuffer(pcmu_to_pcm(right), "<i2")
    with wave.open(str(path), "wb") as sink:
        sink.setnchannels(2)
        sink.setsampwidth(2)
        sink.setframerate(HZ)
        sink.writeframes(both.tobytes())
