"""G.711 to and from PCM, byte for byte."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.codecs.g711 import pcm_to_pcma, pcm_to_pcmu, pcma_to_pcm, pcmu_to_pcm, rms

ROOT = Path(__file__).resolve().parents[2]
EVERY_CODEWORD = bytes(range(256))


def pcm(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def samples(sound: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(sound) // 2}h", sound))


def expanded_mu_law(codeword: int) -> int:
    """ITU-T G.711, table 2a: the sign, then the segment, then the step within it; every bit is inverted."""
    inverted = codeword ^ 0xFF
    segment, step = inverted >> 4 & 0x07, inverted & 0x0F
    magnitude = ((2 * step + 33) << segment) - 33
    return (-magnitude if inverted & 0x80 else magnitude) << 2  # 14 bits to 16


def expanded_a_law(codeword: int) -> int:
    """ITU-T G.711, table 1a: as above, but every other bit is inverted, and the sign bit is set for plus."""
    inverted = codeword ^ 0x55
    segment, step = inverted >> 4 & 0x07, inverted & 0x0F
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) << (segment - 1)
    return (magnitude if inverted & 0x80 else -magnitude) << 3  # 13 bits to 16


def test_every_codeword_expands_as_the_standard_says() -> None:
    assert samples(pcmu_to_pcm(EVERY_CODEWORD)) == [expanded_mu_law(codeword) for codeword in EVERY_CODEWORD]
    assert samples(pcma_to_pcm(EVERY_CODEWORD)) == [expanded_a_law(codeword) for codeword in EVERY_CODEWORD]


def test_every_codeword_comes_back_from_pcm() -> None:
    assert pcm_to_pcma(pcma_to_pcm(EVERY_CODEWORD)) == EVERY_CODEWORD
    there_and_back = pcm_to_pcmu(pcmu_to_pcm(EVERY_CODEWORD))
    # Mu-law has two zeros, and PCM one.
    assert [codeword for codeword in EVERY_CODEWORD if there_and_back[codeword] != codeword] == [0x7F]
    assert there_and_back[0x7F] == 0xFF


def test_mu_law_byte_for_byte() -> None:
    loudest = pcm(0, 4, 8, -8, 1000, -1000, 32767, -32768)
    assert pcm_to_pcmu(loudest).hex() == "fffefe7ece4e8000"
    assert samples(pcmu_to_pcm(b"\xff\xfe\x7e\xce\x4e\x80\x00")) == [0, 8, -8, 988, -988, 32124, -32124]


def test_a_law_byte_for_byte() -> None:
    assert pcm_to_pcma(pcm(0, 8, -8, 1000, -1000, 32767, -32768)).hex() == "d5d555fa7aaa2a"
    assert samples(pcma_to_pcm(b"\xd5\x55\xfa\x7a\xaa\x2a")) == [8, -8, 1008, -1008, 32256, -32256]


def test_a_frame_halves_and_doubles() -> None:
    assert len(pcmu_to_pcm(bytes(160))) == len(pcma_to_pcm(bytes(160))) == 320
    assert len(pcm_to_pcmu(bytes(320))) == len(pcm_to_pcma(bytes(320))) == 160


def test_nothing_stays_nothing() -> None:
    assert pcmu_to_pcm(b"") == pcm_to_pcmu(b"") == pcma_to_pcm(b"") == pcm_to_pcma(b"") == b""
    assert rms(b"") == 0


@pytest.mark.parametrize("conversion", [pcm_to_pcmu, pcm_to_pcma, rms])
def test_half_a_sample_is_refused_in_words(conversion: object) -> None:
    assert callable(conversion)
    with pytest.raises(ValueError, match="321 bytes are no whole number of 16-bit samples"):
        conversion(bytes(321))


def test_importing_it_warns_nobody() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "import bridge.codecs.g711, warnings; print(warnings.filters)"
    )
    run = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "audioop" not in done.stdout, "the filter was for the import alone"
