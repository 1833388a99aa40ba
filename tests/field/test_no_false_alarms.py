"""A thousand calls whose model can be heard: none is taken for one that cannot."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from bridge import sounds
from bridge.codecs.audible import is_audible
from bridge.codecs.g711 import pcm_to_pcmu, pcmu_to_pcm
from bridge.core import messages as m
from bridge.core.call import Call

from ..core.conftest import LiveCall, only

CALLS = 1_000
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl")
PHRASES = ("disclosure", "apology", "restored", "still_there")
GAINS_DB = (0, 0, -6, -12, -18)
AUDIBLE_DBFS = -40.0
"""RMS of 20 ms, above which a quiet word is certainly heard."""


@cache
def said(language: str, phrase: str, gain_db: int) -> bytes:
    """A bundled phrase, softer by so much, as the vendor's µ-law."""
    samples = np.frombuffer(pcmu_to_pcm(sounds.load(phrase, language)), "<i2") * 10 ** (gain_db / 20)
    return pcm_to_pcmu(samples.astype("<i2").tobytes())


def dbfs(block: bytes) -> float:
    """Of µ-law, by its samples: the yardstick knows nothing of the rule's table."""
    samples = np.frombuffer(pcmu_to_pcm(block), "<i2").astype(float)
    return float(20 * np.log10(max(1.0, np.sqrt(np.mean(samples**2))) / 32_768))


def answers(dice: random.Random) -> Iterator[bytes]:
    """Some words of a phrase, with a pause before them now and then; in deltas of any size."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        sound = said(dice.choice(LANGUAGES), dice.choice(PHRASES), dice.choice(GAINS_DB))
        size_bytes = 8 * dice.randrange(200, 1_500)
        first = dice.randrange(max(1, len(sound) - size_bytes))
        words = sound[first : first + size_bytes]
        blocks = (words[at : at + 160] for at in range(0, len(words) - 160, 480))
        if max(map(dbfs, blocks)) > AUDIBLE_DBFS:
            yield b"\xff" * (8 * dice.choice((0, 0, 0, 400, 1_200))) + words


def play(seed: int) -> LiveCall:
    dice = random.Random(seed)
    call = LiveCall(Call(m.CallConfig(probe_ms=0, media_gap_ms=10**9)))
    call.speaks(0, m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.SessionUpdated(), m.Admitted())
    for number, sound in enumerate(answers(dice)):
        response, item, now_ms = f"r{number}", f"i{number}", call.now_ms + 1_000
        call.speaks(now_ms, m.SpeechStarted(), m.SpeechStopped(), m.ResponseStarted(response))
        at, delta_bytes = 0, dice.choice((160, 803, 1_600, 4_000, 12_000))
        while at < len(sound):
            part = sound[at : at + delta_bytes]
            audio = b64encode(part).decode()
            call.speaks(
                now_ms, m.ModelVoice(is_audible(audio)), m.AudioDelta(response, item, 0, audio, len(part))
            )
            at += len(part)
        call.speaks(now_ms, m.AudioDone(response, item), m.ResponseDone(response))
        call.echo(now_ms + len(sound) // 8 + 100)
    return call


@pytest.mark.parametrize("calls", [8, pytest.param(CALLS, marks=pytest.mark.hostile)])
def test_of_a_thousand_good_calls_none_is_taken_for_silent(calls: int) -> None:
    count = 0
    for seed in range(calls):
        call = play(seed)
        assert only(m.Noted, call.actions) == [], f"seed {seed}"
        assert only(m.DeleteItem, call.actions) == [], f"seed {seed}"
        count += len(only(m.ResponseEnded, call.actions))
    assert count > calls
