"""Recorded sound that a handler plays: a WAV file, or raw µ-law, as the phone wants it."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bridge.codecs import PCMU
from bridge.codecs.g711 import pcm_to_pcmu, pcma_to_pcm
from bridge.codecs.resample import RATES_HZ, Resampler
from bridge.core.messages import Sound

# RFC 2361, the registry of WAV codecs.
_PCM: Final = 1
_ALAW: Final = 6
_MULAW: Final = 7
_SAMPLE_BYTES: Final = {_PCM: 2, _ALAW: 1, _MULAW: 1}


def sound_of(given: bytes | str | Path, text: str = "") -> Sound:
    """A sound as the core plays it. `given` is a file's path or its bytes; bytes that are no WAV file are raw
    µ-law, 8 bytes a millisecond. `text` is what is said in it, for the conversation's record.

    Of a WAV file the first channel counts: 16-bit PCM at 8, 16 or 24 kHz, µ-law or A-law at 8 kHz. Raises
    ValueError for anything else, and for no sound at all; OSError for a file that can't be read.
    """
    raw = given if isinstance(given, bytes) else Path(given).read_bytes()
    pcmu = _of_wav(raw) if raw[:4] == b"RIFF" else raw
    if not pcmu:
        raise ValueError("there is no sound in it")
    return Sound(b64encode(pcmu).decode(), len(pcmu), text)


def _of_wav(raw: bytes) -> bytes:
    found = dict(_parts(raw))
    head, samples = found.get(b"fmt ", b""), found.get(b"data")
    if raw[8:12] != b"WAVE" or len(head) < 16 or samples is None:
        raise ValueError("a WAV file without format or sound")
    kind, channels, hz, _, _, bits = struct.unpack("<HHIIHH", head[:16])
    if kind == 0xFFFE and len(head) >= 26:  # extensible: what it really is stands further behind
        (kind,) = struct.unpack("<H", head[24:26])
    width = _SAMPLE_BYTES.get(kind)
    if width is None or bits != 8 * width or not channels:
        raise ValueError(f"16-bit PCM, µ-law or A-law is wanted, not WAV format {kind} of {bits} bits")
    if hz not in RATES_HZ or (kind != _PCM and hz != PCMU.hz):
        raise ValueError(f"a sound at 8, 16 or 24 kHz is wanted, not at {hz} Hz: convert it first")
    if channels > 1:
        step = width * channels
        samples = b"".join(samples[at : at + width] for at in range(0, len(samples) - step + 1, step))
    samples = samples[: len(samples) // width * width]
    if kind == _MULAW:
        return samples
    pcm = pcma_to_pcm(samples) if kind == _ALAW else samples
    if hz != PCMU.hz:
        resampler = Resampler(hz, PCMU.hz)
        pcm = resampler.resample(pcm) + resampler.flush()
    return pcm_to_pcmu(pcm)


def _parts(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The named parts of a RIFF file; one that is said to be longer than the file ends with it."""
    at = 12
    while at + 8 <= len(raw):
        name, size = struct.unpack_from("<4sI", raw, at)
        yield name, raw[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
