"""What is known of a base64 text without decoding it: how long its sound is, and that it can be pasted."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.codecs import PCM_8K, PCM_16K, PCM_24K, PCMA, PCMU, AudioFormat, is_clean, size_bytes
from bridge.codecs.g711 import pcma_to_pcm, pcmu_to_pcm


@given(st.binary())
@example(b"")
@example(b"\xff" * 160)
@example(b"\xff" * 161)
@example(b"\xff" * 162)
def test_the_size_is_that_of_the_decoded_bytes(sound: bytes) -> None:
    text = base64.b64encode(sound).decode()
    assert size_bytes(text) == len(sound)
    assert size_bytes(text.rstrip("=")) == len(sound)
    assert is_clean(text)


def test_a_frame_of_20_ms_has_160_bytes() -> None:
    assert size_bytes(base64.b64encode(PCMU.silence(20)).decode()) == 160


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('AAA"', "a quote ends the string it is pasted into"),
        ('"},"event":"clear"}x', "another message, spelt out"),
        ("AAA\\", "a backslash takes the quote after it"),
        ("AA\nA", "a line break"),
        ("AA\r\n", "the end of a line, as in mail"),
        ("AA\0A", "a control character"),
        ("AA\x7fA", "another"),
        ("AA A", "a space"),
        ("AAÄA", "a letter outside ASCII"),
        ("AAA４", "a digit, but of full width"),
        ("AA\ud800A", "half a surrogate pair, which can't even be encoded"),
        ("AA-_", "the URL-safe alphabet"),
        ("AAAAA", "a letter too many"),
        ("AAA", "padding left out"),
        ("AA==AAAA", "two texts, one behind the other"),
        ("A===", "too little for one byte"),
        ("====", "padding alone"),
        ("=", "padding alone"),
    ],
)
def test_a_text_that_is_not_clean(text: str, why: str) -> None:
    assert not is_clean(text), why


@given(st.text() | st.text(alphabet="AZaz09+/=", max_size=16) | st.text(alphabet='Aa0+/="\\\n', max_size=8))
def test_what_is_clean_decodes_to_its_size_and_pastes_into_json(text: str) -> None:
    if is_clean(text):
        assert len(base64.b64decode(text, validate=True)) == size_bytes(text)
        assert json.loads(f'"{text}"') == text


@pytest.mark.parametrize(
    "form", [PCMU, PCMA, PCM_8K, PCM_16K, PCM_24K], ids=lambda form: f"{form.name}@{form.hz}"
)
def test_a_second_of_a_format(form: AudioFormat) -> None:
    assert len(form.silence(1000)) == 1000 * form.bytes_per_ms
    assert len(form.silence(1000)) == form.hz * len(form.silent_sample)
    assert form.duration_ms(form.hz * len(form.silent_sample)) == 1000


def test_a_duration_is_rounded_down_and_silence_can_be_nothing() -> None:
    assert PCMU.duration_ms(7) == 0
    assert PCMU.duration_ms(15) == 1
    assert PCM_24K.duration_ms(959) == 19
    assert PCMU.silence(0) == b""
    assert PCM_8K.silence(-20) == b""


def test_silence_decodes_to_silence() -> None:
    assert set(pcmu_to_pcm(PCMU.silence(20))) == {0}
    # A-law has no zero: 8 of 32768 is as near as it comes.
    assert set(memoryview(pcma_to_pcm(PCMA.silence(20))).cast("h")) == {8}


def test_formats_are_values() -> None:
    assert AudioFormat("audio/pcmu", 8_000, 8, b"\xff") == PCMU
    assert len({PCMU, PCMA, PCM_8K, PCM_16K, PCM_24K, AudioFormat("audio/pcmu", 8_000, 8, b"\xff")}) == 5
    with pytest.raises(AttributeError):
        PCMU.hz = 16_000  # type: ignore[misc]
