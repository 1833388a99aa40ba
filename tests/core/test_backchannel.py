"""A caller who says "mm-hm" while we speak agrees with us: we go on. One who goes on speaking interrupts."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m

from .conftest import LiveCall, delta, legs, only, speech, truth


@pytest.fixture
def call(live_call: Any) -> LiveCall:
    """We are in the middle of five seconds; the vendor neither interrupts nor answers by itself."""
    call: LiveCall = live_call(backchannel_ms=300, interrupts=False)
    call.at(0, m.SessionUpdated(interrupts=False, responds=False))
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 5_000))
    return call


def test_a_short_word_neither_interrupts_nor_is_answered(call: LiveCall) -> None:
    assert call.at(1_000, m.SpeechStarted()) == [m.CallerSpoke(True)]
    assert call.at(1_250, m.SpeechStopped()) == [m.CallerSpoke(False)]
    assert legs(call.until(2_000)) == []
    assert call.call.stats.turns == 0


def test_one_who_speaks_on_interrupts_when_that_is_sure(call: LiveCall) -> None:
    call.at(1_000, m.SpeechStarted())
    assert truth(call.until(1_299)) == []
    assert truth(call.until(1_300)) == [
        m.ClearPlayout(),
        m.CancelResponse("r1"),
        m.TruncateItem("A", 0, 1_300),
    ]
    call.at(2_000, m.ResponseDone("r1", "cancelled"))
    assert legs(call.at(2_500, m.SpeechStopped())) == [m.CreateResponse("turn:1")]
    assert call.call.stats.turns == 1


def test_in_silence_every_word_counts_at_once(call: LiveCall) -> None:
    call.speaks(100, m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    call.echo(5_100)
    call.at(6_000, m.SpeechStarted())
    assert legs(call.at(6_200, m.SpeechStopped())) == [m.CreateResponse("turn:1")]


def test_what_was_asked_for_and_talked_over_is_not_waited_for(live_call: Any) -> None:
    """The filler for it falls due at the very moment when the interruption is sure."""
    phrases = {"filler": speech(240, letter="F")}
    call = live_call(backchannel_ms=1_500, phrases=phrases)
    call.at(0, m.Play("jingle", speech(900, letter="P")))
    call.at(100, m.SpeechStarted())
    call.at(100, m.Respond("say-1"))
    call.until(5_000)
    assert {action.audio[0] for action in only(m.PlayAudio, call.actions)} == {"P"}
    assert m.Heard("say-1", 0, cut=True) in call.actions


def test_a_response_that_has_not_begun_to_sound_is_interrupted_at_once(live_call: Any) -> None:
    call = live_call(backchannel_ms=300, interrupts=False)
    call.at(0, m.ResponseStarted("r1"))
    assert only(m.CancelResponse, call.at(100, m.SpeechStarted())) == [m.CancelResponse("r1")]
