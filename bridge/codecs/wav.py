"""WAV files as the phone wants them: µ-law at 8 kHz, of the first channel.

Whatever recorders, editors, sox and ffmpeg write without compressing it: integers of 8 to 32 bits, floats,
both laws of G.711, any rate; `WAVE_FORMAT_EXTENSIBLE`, RF64 and big-endian RIFX; parts of any other kind,
with and without padding; files that were cut off, or written into a pipe, whose sizes are unknown.

Multimedia Programming Interface and Data Specifications 1.0 (RIFF); RFC 2361 (codecs); EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .g711 import pcm_to_pcmu, pcma_to_pcm, pcmu_to_pcm
from .whole_sound import at_rate

HZ: Final = 8_000
MOST_HZ: Final = 768_000
_PCM: Final = 0x0001
_FLOAT: Final = 0x0003
_ALAW: Final = 0x0006
_MULAW: Final = 0x0007
_EXTENSIBLE: Final = 0xFFFE
_COMPRESSED: Final = {
    0x0002: "MS ADPCM",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0050: "MPEG",
    0x0055: "MP3",
}
_UNKNOWN: Final = 0xFFFF_FFFF
_CURE: Final = "convert it first, as with `sox in.wav -b 16 -e signed out.wav`"


class _Format(NamedTuple):
    kind: int
    channels: int
    hz: int
    width: int
    """Bytes of a sample of one channel, its padding included."""
    order: str
    """`<`, or `>` in RIFX."""


def is_wav(raw: bytes) -> bool:
    """Whether it looks like one; it may still be none."""
    return raw[:4] in (b"RIFF", b"RIFX", b"RF64")


def pcmu_of(raw: bytes) -> bytes:
    """The sound of a WAV file, empty for none. Raises ValueError that says what the file is instead."""
    if not is_wav(raw):
        raise ValueError("file does not start with RIFF, as WAV files do")
    form, sound = _parts(raw)
    whole = len(sound) // (form.width * form.channels) * form.width * form.channels
    frames = np.frombuffer(sound[:whole], np.uint8).reshape(-1, form.width * form.channels)
    first = np.ascontiguousarray(frames[:, : form.width])
    if form.kind == _MULAW and form.hz == HZ:
        return first.tobytes()
    samples = at_rate(_samples(first, form), form.hz, HZ)
    return pcm_to_pcmu(np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes())


def _parts(raw: bytes) -> tuple[_Format, bytes]:
    """The format, and the bytes of the sound. A part that is said to be longer than the file ends with it."""
    order = ">" if raw[:4] == b"RIFX" else "<"
    form, long_bytes, at = None, None, 12
    while at + 8 <= len(raw) and raw[8:12] == b"WAVE":
        name, size = struct.unpack_from(f"{order}4sI", raw, at)
        at += 8
        if name == b"ds64" and size >= 16:
            (long_bytes,) = struct.unpack_from("<Q", raw.ljust(at + 16, b"\0"), at + 8)
        elif name == b"fmt ":
            form = _format(raw[at : at + size], order)
        elif name == b"data":
            if form is None:
                break
            if size == _UNKNOWN and long_bytes:
                size = long_bytes
            # A program that writes into a pipe cannot come back to say how much it was.
            piped = size == 0 and struct.unpack_from(f"{order}I", raw, 4)[0] in (0, 36, _UNKNOWN)
            return form, raw[at:] if piped else raw[at : at + size]
        # Parts begin at even places, but not every program pads: a name is letters, and padding is not.
        at += size + (size % 2 and not _is_name(raw[at + size : at + size + 4]))
    raise ValueError("a WAV file without format or sound")


def _is_name(four: bytes) -> bool:
    return four in (b"data", b"fmt ")


def _format(head: bytes, order: str) -> _Format:
    if len(head) < 16:
        raise ValueError("a WAV file without format or sound")
    kind, channels, hz, _, block, bits = struct.unpack(f"{order}HHIIHH", head[:16])
    if kind == _EXTENSIBLE and len(head) >= 26:  # what it really is stands further behind
        (kind,) = struct.unpack(f"{order}H", head[24:26])
    width = block // channels if channels and block % channels == 0 else 0
    width = width if 8 * width >= bits else -(-bits // 8)
    wanted = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8), _ALAW: (1,), _MULAW: (1,)}.get(kind)
    if wanted is None:
        name = _COMPRESSED.get(kind, f"format {kind}")
        raise ValueError(f"its sound is compressed ({name}): {_CURE}")
    if not channels or width not in wanted:
        raise ValueError(f"{channels} channels of {bits} bits cannot be read: {_CURE}")
    if not 1_000 <= hz <= MOST_HZ:
        raise ValueError(f"{hz} Hz is no sample rate of sound: {_CURE}")
    return _Format(kind, channels, hz, width, order)


def _samples(first: NDArray[np.uint8], form: _Format) -> NDArray[np.float64]:
    """One channel, as large as 16 bits have it."""
    if form.kind in (_MULAW, _ALAW):
        expanded = (pcmu_to_pcm if form.kind == _MULAW else pcma_to_pcm)(first.tobytes())
        return np.frombuffer(expanded, "<i2").astype(np.float64)
    if form.kind == _FLOAT:
        floats = first.view(f"{form.order}f{form.width}").ravel().astype(np.float64)
        # 1.0 is full scale; beyond it, and what is no number at all, is cut off.
        return np.clip(np.nan_to_num(floats, nan=0.0), -1.0, 1.0) * 32_768
    if form.width == 1:  # unsigned, 128 is silence
        return (first.ravel().astype(np.float64) - 128) * 256
    wide = np.zeros((len(first), 4), np.uint8)  # to 32 bits, as the most significant ones
    ordered = first if form.order == "<" else first[:, ::-1]
    wide[:, 4 - form.width :] = ordered
    return wide.view("<i4").ravel().astype(np.float64) / 65_536


def stereo_of(left: bytes, right: bytes) -> bytes:
    """Two µ-law tracks of equal length at 8 kHz as a WAV file of that coding, a quarter the size of floats
    and half that of integers. Raises ValueError for tracks of unequal lengths.
    """
    if len(left) != len(right):
        raise ValueError(f"tracks of {len(left)} and {len(right)} bytes")
    both = np.stack([np.frombuffer(track, np.uint8) for track in (left, right)], axis=1).tobytes()
    form = struct.pack("<HHIIHHH", _MULAW, 2, HZ, 2 * HZ, 2, 8, 0)
    fact = struct.pack("<I", len(left))
    parts = ((b"fmt ", form), (b"fact", fact), (b"data", both))
    body = b"WAVE" + b"".join(name + struct.pack("<I", len(part)) + part for name, part in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body
