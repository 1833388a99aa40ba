"""An answer counts by what can be heard of it: silence in the shape of sound pays nothing."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.doubles.agents import Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import murmur, tone
from bridge.testing.call import begin

SILENCE, FAINT = b"\xff", b"\xfe\x7e\xfd\x7d"
MOST_SILENT_MS = 2_000


def begun(**options: Any) -> Any:
    """A call whose caller has just asked something, 1.4 s into it."""
    call = begin(model=ServerOptions(delta_bytes=(1_600,), **options))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    return call


def noted(call: Any) -> list[str]:
    return [action.what for _, action in call.rehearsal.said if isinstance(action, m.Noted)]


@pytest.mark.parametrize("sample", [SILENCE, FAINT, b"\xf0\x70"])
def test_an_answer_that_cannot_be_heard_is_deleted_and_asked_for_again(sample: bytes) -> None:
    call = begun()
    call.model.answers(Speech((sample * 32_000)[:32_000], "From nine to five."))
    call.model.answers(Speech(tone(1_000), "We open at nine."))
    call.at(12_000)
    assert noted(call) == ["inaudible"]
    said = [action for _, action in call.rehearsal.said]
    delete = next(at for at, action in enumerate(said) if isinstance(action, m.DeleteItem))
    asks = [at for at, action in enumerate(said) if isinstance(action, m.CreateResponse)]
    assert delete < asks[-1]
    heard = [action.heard for action in said if isinstance(action, m.Spoken)]
    assert heard == ["", "We open at nine."]
    assert call.caller.longest_silence_ms(1_400, 6_000) <= MOST_SILENT_MS


@pytest.mark.parametrize("silent_ms", [2_500, 6_000])
def test_silence_within_an_answer_is_filled(silent_ms: int) -> None:
    call = begun()
    call.model.answers(Speech(tone(500) + SILENCE * (8 * silent_ms) + tone(1_000), "From nine, till five."))
    call.at(3_000 + silent_ms)
    assert noted(call) == []
    assert call.caller.longest_silence_ms(1_400, 2_900 + silent_ms) <= MOST_SILENT_MS


def test_a_pause_between_sentences_goes_out_as_it_came() -> None:
    call = begun()
    sound = tone(800) + SILENCE * 8_000 + tone(800)
    call.model.answers(Speech(sound, "From nine. Till five."))
    call.at(7_000)
    assert sound in call.phone.heard
    assert noted(call) == []


@pytest.mark.parametrize("delta_bytes", [160, 800, 4_000])
def test_good_answers_raise_no_alarm(delta_bytes: int) -> None:
    call = begin(model=ServerOptions(delta_bytes=(delta_bytes,)))
    for words in ("Mm.", "Fine.", "We are open from nine to five.", "A b c d."):
        call.model.answers(Speech(murmur(words), words))
        call.caller.says("And?", ms=400)
        call.wait(5_000)
    assert "inaudible" not in noted(call)
    assert call.rehearsal.call.stats.turns == 4
