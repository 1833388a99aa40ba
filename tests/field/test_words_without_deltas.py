"""What the model said is known, and told to the next session, where its words came in no delta."""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from bridge.doubles.agents import Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import tone
from bridge.testing.call import begin

DELTAS = "response.output_audio_transcript.delta"
DONE = "response.output_audio_transcript.done"


@pytest.mark.parametrize("withheld", [(DELTAS,), (DELTAS, DONE)], ids=["in done", "in the item"])
def test_the_words_are_in_the_record(withheld: tuple[str, ...]) -> None:
    call = begin(model=ServerOptions(delta_bytes=(1_600,), withhold=frozenset(withheld)))
    call.model.answers(Speech(tone(1_000), "We open at nine."))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    call.at(6_000)
    said = [action for _, action in call.rehearsal.said if isinstance(action, m.Spoken)]
    assert [(spoken.heard, spoken.heard_ms) for spoken in said] == [("We open at nine.", 1_000)]
    call.model.is_lost()
    call.at(8_000)
    told = [action.text for _, action in call.rehearsal.said if isinstance(action, m.CreateItem)]
    assert "We open at nine." in told


@pytest.mark.parametrize("withheld", [(DELTAS,), (DELTAS, DONE)], ids=["in done", "in the item"])
def test_an_answer_without_sound_is_known_by_such_words(withheld: tuple[str, ...]) -> None:
    call = begin(model=ServerOptions(delta_bytes=(1_600,), withhold=frozenset(withheld)))
    call.model.answers(Speech(b"\xff" * 8_000, "We open at nine."))
    call.model.answers(Speech(tone(1_000), "At nine."))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    call.at(6_000)
    said = [action.heard for _, action in call.rehearsal.said if isinstance(action, m.Spoken)]
    assert said == ["", "At nine."]
