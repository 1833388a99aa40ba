"""What was heard of each item, from the phone's own sound; and words that are found in pieces of sound."""

from __future__ import annotations

import random

import numpy as np
import pytest

from bridge.codecs.caption import CaptionReader, caption_of, captioned
from bridge.codecs.g711 import pcm_to_pcmu, pcmu_to_pcm
from bridge.codecs.whole_sound import at_rate
from bridge.doubles.people.caption_ear import CaptionEar
from bridge.doubles.people.words import spoken
from bridge.experiments.heard import Claim, loud_blocks, runs, told_errors

ONE = spoken("The first answer is this one here")
TWO = spoken("And the second answer is another one")
GAP = b"\xff" * 4_000


def test_what_was_told_is_held_against_what_was_heard():
    heard = GAP + ONE + GAP + TWO[:8_000] + GAP
    ms = len(ONE) // 8
    assert told_errors([Claim(ONE, ms), Claim(TWO, 1_000)], heard) == [0, 0]
    assert told_errors([Claim(ONE, ms), Claim(TWO, 1_300)], heard) == [0, 300]
    assert told_errors([Claim(ONE, 0), Claim(TWO, 700)], heard) == [-ms, -300]


def test_an_item_that_was_not_heard_has_no_place():
    assert told_errors([Claim(ONE, 0), Claim(TWO, len(TWO) // 8)], GAP + TWO + GAP) == [0, 0]
    assert told_errors([Claim(ONE, 400), Claim(TWO, len(TWO) // 8)], GAP + TWO + GAP) == [400, 0]


def test_of_the_same_words_said_twice_the_one_that_was_heard_is_meant():
    heard = GAP + ONE + GAP
    assert told_errors([Claim(ONE, 0), Claim(ONE, len(ONE) // 8)], heard) == [0, 0]
    assert told_errors([Claim(ONE, 80), Claim(ONE, 0)], GAP + ONE[:640] + GAP) == [0, 0]


def test_an_item_that_still_plays_at_the_end_is_left_out():
    assert told_errors([Claim(ONE, len(ONE) // 8)], GAP + ONE[:8_000]) == []


def test_playout_that_stood_still_is_still_one_item():
    heard = GAP + ONE[:4_800] + GAP + ONE[4_800:] + GAP
    assert told_errors([Claim(ONE, len(ONE) // 8)], heard) == [0]


@pytest.mark.parametrize("heard_ms", [540, 1_140])
def test_a_server_that_changes_the_samples_is_measured_by_their_shape(heard_ms: int):
    samples = np.frombuffer(pcmu_to_pcm(ONE[: heard_ms * 8]), "<i2").astype(np.float64)
    changed = at_rate(at_rate(samples * 0.8, 8_000, 24_000), 24_000, 8_000)
    heard = GAP + pcm_to_pcmu(changed.astype("<i2").tobytes()) + GAP
    (error,) = told_errors([Claim(ONE, heard_ms)], heard)
    assert abs(error) <= 40
    (error,) = told_errors([Claim(ONE, 2_000)], heard)
    assert abs(error - (2_000 - heard_ms)) <= 40


def test_runs_of_sound_have_gaps_between_them():
    found = runs(loud_blocks(b"\xff" * 8_000 + b"\x10\x90" * 4_000 + b"\xff" * 8_000), 300)
    assert [tuple(run) for run in found] == [(1_000, 2_000)]


@pytest.mark.parametrize("seed", range(6))
def test_captions_are_found_in_pieces_of_any_size(seed: int):
    dice = random.Random(seed)
    words = ["Good day.", "What can I do for you, please?", "Grüß Gott"]
    sounds = [captioned(bytes(dice.randrange(256) for _ in range(6_000)), text) for text in words]
    sound = b"".join(GAP[: dice.randrange(2_000)] + one for one in sounds)
    reader, at, found = CaptionReader(), 0, []
    while at < len(sound):
        size = dice.randrange(1, 400)
        found += reader.read(sound[at : at + size], at)
        at += size
    texts = [text for text, _ in found]
    assert list(dict.fromkeys(texts)) == words
    assert caption_of(sound) == " ".join(words)
    for text, one in zip(words, sounds, strict=True):
        assert next(place for name, place in found if name == text) == sound.index(one[:200])


def test_a_sentence_that_ends_in_silence_is_heard_to_its_end():
    words = "eight to twelve"
    sound = captioned(spoken(words)[:-40], words) + b"\xff" * 40
    ear = CaptionEar(lambda _text: len(sound))
    for at in range(0, len(sound), 152):
        ear.hear((sound + GAP)[at : at + 152])
    ear.hear(GAP)
    assert ear.words() == words


def test_a_sentence_that_is_cut_is_heard_to_a_word():
    ear = CaptionEar()
    for at in range(0, 7_840, 160):
        ear.hear(ONE[at : at + 160])
    ear.hear(GAP)
    assert ear.words() == "The first answer"
    ear.turn()
    assert ear.words() == ""
