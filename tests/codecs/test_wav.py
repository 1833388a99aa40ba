"""WAV files as other programs write them: each header here is spelled out as that program has it."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge.codecs.g711 import pcm_to_pcmu, pcma_to_pcm, pcmu_to_pcm
from bridge.codecs.wav import pcmu_of

Samples = NDArray[np.float64]
PCM_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""Of every sub-format: the first two bytes before it are the kind."""
INFO = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf59.27.100\0"
"""What ffmpeg puts between format and sound."""


def sine(hz: float, rate: int, seconds: float = 0.5, amplitude: float = 0.5) -> Samples:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def stereo(left: Samples) -> Samples:
    """On the right a noise, to see that only the left one counts."""
    noise = np.random.default_rng(1).uniform(-0.9, 0.9, len(left))
    return np.stack([left, noise], axis=1).ravel()


def ints(samples: Samples, width: int, order: str = "<") -> bytes:
    full = 2 ** (8 * width - 1)
    values = np.clip(np.round(samples * full), -full, full - 1).astype(np.int64)
    if width == 1:
        return (values + 128).astype(np.uint8).tobytes()
    whole = values.astype(f"{order}i8").tobytes()
    at = 0 if order == "<" else 8 - width
    return b"".join(whole[i + at : i + at + width] for i in range(0, len(whole), 8))


def plain(kind: int, channels: int, rate: int, bits: int, order: str = "<") -> bytes:
    block = channels * bits // 8
    return struct.pack(f"{order}HHIIHH", kind, channels, rate, rate * block, block, bits)


def extensible(kind: int, channels: int, rate: int, bits: int, valid: int) -> bytes:
    more = struct.pack("<HHI", 22, valid, 3) + struct.pack("<H", kind) + PCM_GUID_TAIL
    return plain(0xFFFE, channels, rate, bits) + more


def riff(
    head: bytes, data: bytes, between: bytes = b"", *, size: int | None = None, order: str = "<"
) -> bytes:
    """`size` is what the header says of the sound, if it is not what there is."""
    magic = b"RIFF" if order == "<" else b"RIFX"
    said = len(data) if size is None else size
    parts = b"fmt " + struct.pack(f"{order}I", len(head)) + head + between
    parts += b"data" + struct.pack(f"{order}I", said) + data
    whole = 4 + len(parts) if size is None else size
    return magic + struct.pack(f"{order}I", min(whole, 0xFFFF_FFFF)) + b"WAVE" + parts


def heard(pcmu: bytes) -> Samples:
    return np.frombuffer(pcmu_to_pcm(pcmu), "<i2") / 32_768


def level_db(sound: Samples, reference: Samples) -> float:
    def rms(samples: Samples) -> float:
        middle = samples[len(samples) // 8 : -len(samples) // 8]
        return float(np.sqrt(np.mean(middle**2)))

    return 20 * np.log10(max(rms(sound), 1e-9) / rms(reference))


def alike(pcmu: bytes, hz: float = 440, seconds: float = 0.5, amplitude: float = 0.5) -> None:
    """It is this sine at 8 kHz, but for what µ-law makes of it: 30 dB below."""
    wanted = sine(hz, 8_000, seconds, amplitude)[: len(pcmu)]
    assert len(pcmu) in (seconds * 8_000 - 1, seconds * 8_000)
    edge = 200
    error = heard(pcmu)[edge:-edge] - wanted[edge:-edge]
    assert 10 * np.log10(np.mean(error**2) / np.mean(wanted**2)) < -30


TONE = sine(440, 44_100)
WIDE = stereo(TONE)
FILES = {
    "sox, 16 bits": riff(plain(1, 1, 44_100, 16), ints(TONE, 2)),
    "sox -b 8": riff(plain(1, 1, 44_100, 8), ints(TONE, 1)),
    "sox -b 24": riff(
        extensible(1, 1, 44_100, 24, 24), ints(TONE, 3), b"fact" + struct.pack("<II", 4, len(TONE))
    ),
    "sox -b 32": riff(extensible(1, 2, 44_100, 32, 32), ints(WIDE, 4)),
    "sox -e float": riff(plain(3, 1, 44_100, 32) + b"\0\0", TONE.astype("<f4").tobytes()),
    "sox -B": riff(plain(1, 2, 44_100, 16, ">"), ints(WIDE, 2, ">"), order=">"),
    "sox -B -b 24": riff(plain(1, 1, 44_100, 24, ">"), ints(TONE, 3, ">"), order=">"),
    "sox into a pipe": riff(plain(1, 1, 44_100, 16), ints(TONE, 2), size=0x7FFF_F000),
    "ffmpeg, 16 bits": riff(plain(1, 2, 44_100, 16), ints(WIDE, 2), INFO),
    "ffmpeg -c:a pcm_s24le": riff(extensible(1, 2, 44_100, 24, 24), ints(WIDE, 3), INFO),
    "ffmpeg -c:a pcm_f32le": riff(plain(3, 2, 44_100, 32) + b"\0\0", WIDE.astype("<f4").tobytes(), INFO),
    "ffmpeg -c:a pcm_f64le": riff(plain(3, 1, 44_100, 64), TONE.astype("<f8").tobytes(), INFO),
    "ffmpeg into a pipe": riff(plain(1, 1, 44_100, 16), ints(TONE, 2), INFO, size=0xFFFF_FFFF),
    "a recorder without sizes": riff(plain(1, 1, 44_100, 16), ints(TONE, 2), size=0),
    "24 bits in 32": riff(extensible(1, 1, 44_100, 32, 24), ints(TONE, 4)),
    "an odd part with padding": riff(plain(1, 1, 44_100, 16), ints(TONE, 2), b"note\x03\0\0\0abc\0"),
    "an odd part without": riff(plain(1, 1, 44_100, 16), ints(TONE, 2), b"note\x03\0\0\0abc"),
    "a part behind the sound": riff(plain(1, 1, 44_100, 16), ints(TONE, 2)) + INFO,
    "a sample cut in two": riff(plain(1, 2, 44_100, 24), ints(WIDE, 3) + b"\x7f\x7f"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_others_write_is_heard(name: str) -> None:
    alike(pcmu_of(FILES[name]))


def test_a_long_file_of_ffmpeg_s() -> None:
    """RF64, EBU Tech 3306: the sizes stand in a part of their own."""
    sound = ints(TONE, 2)
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 0, len(sound), len(TONE), 0)
    file = riff(plain(1, 1, 44_100, 16), sound, size=0xFFFF_FFFF)
    alike(pcmu_of(b"RF64" + file[4:12] + sizes + file[12:] + INFO))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 48_000, 96_000, 192_000])
def test_every_rate_is_brought_to_8_khz(rate: int) -> None:
    alike(pcmu_of(riff(plain(1, 1, rate, 16), ints(sine(440, rate), 2))))


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("hz", [5_000, 6_500, 7_560])
def test_what_8_khz_cannot_hold_is_not_folded_into_what_is_heard(rate: int, hz: int) -> None:
    given = sine(hz, rate, amplitude=0.9)
    assert level_db(heard(pcmu_of(riff(plain(1, 1, rate, 16), ints(given, 2)))), given) <= -35


@pytest.mark.parametrize("hz", [300, 1_000, 2_500, 3_000])
def test_what_a_telephone_carries_is_as_loud_as_before(hz: int) -> None:
    given = sine(hz, 44_100, amplitude=0.9)
    assert abs(level_db(heard(pcmu_of(riff(plain(1, 1, 44_100, 16), ints(given, 2)))), given)) < 0.5


def test_both_laws_of_the_telephone() -> None:
    every = bytes(range(256))
    assert pcmu_of(riff(plain(7, 1, 8_000, 8) + b"\0\0", every)) == every
    assert pcmu_of(riff(plain(6, 1, 8_000, 8) + b"\0\0", every)) == pcm_to_pcmu(pcma_to_pcm(every))


def test_floats_beyond_full_scale_and_what_is_no_number_are_cut_off() -> None:
    floats = np.array([4.0, -4.0, np.nan, np.inf, -np.inf, 0.0], "<f4")
    loudest = [1.0, -1.0, 0.0, 1.0, -1.0, 0.0]
    found = heard(pcmu_of(riff(plain(3, 1, 8_000, 32), floats.tobytes())))
    assert found == pytest.approx(loudest, abs=0.03)


@pytest.mark.parametrize("name", ["sox -b 24", "ffmpeg, 16 bits", "sox -B"])
def test_a_file_is_heard_as_far_as_it_goes_or_refused_wherever_it_ends(name: str) -> None:
    file = FILES[name]
    for end in [*range(130), *range(130, len(file), 4_999)]:
        with contextlib.suppress(ValueError):
            assert len(pcmu_of(file[:end])) <= 4_000


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not installed here")
@pytest.mark.parametrize(
    "how",
    [["-b", "16"], ["-b", "24"], ["-b", "32"], ["-e", "float"], ["-e", "mu-law"], ["-e", "a-law"], ["-B"]],
)
def test_what_sox_itself_writes(how: list[str], tmp_path: Path) -> None:
    file = tmp_path / "tone.wav"
    made = [
        "sox",
        "-n",
        "-c",
        "2",
        "-r",
        "44100",
        *how,
        str(file),
        "synth",
        "0.5",
        "sine",
        "440",
        "gain",
        "-6.02",
    ]
    subprocess.run(made, check=True, capture_output=True)
    pcmu = pcmu_of(file.read_bytes())
    assert abs(level_db(heard(pcmu), sine(440, 8_000))) < 0.5
    assert abs(len(pcmu) - 4_000) < 2
