"""A handler gets the caller's turns in the order of the conversation, whichever is transcribed first."""

from __future__ import annotations

import pytest

from bridge import Agent, Session, Turn
from bridge.doubles.options import ServerOptions
from bridge.testing.call import begin


def turns(*transcription_ms: int) -> list[str]:
    """The words of two turns, 1.4 s apart, as a handler gets them; each is transcribed after so long."""
    got: list[str] = []

    async def handler(session: Session) -> None:
        while True:
            got.append((await session.input()).item_id)

    call = begin(
        Agent(handler=handler), model=ServerOptions(delta_bytes=(1600,), transcription_ms=transcription_ms)
    )
    call.at(1_000)
    call.caller.says("first thing", ms=600)
    call.at(2_400)
    call.caller.says("second thing", ms=600)
    call.at(14_000)
    call.close()
    return got


def test_the_words_of_a_later_turn_wait_for_those_before() -> None:
    got = turns(3_000, 100)
    assert len(got) == 2
    assert got == sorted(got)


def test_turns_that_are_transcribed_in_order_wait_for_nothing() -> None:
    got = turns(100, 100)
    assert got == sorted(got)
    assert len(got) == 2


@pytest.mark.parametrize("times", [1, 3])
def test_words_that_come_before_their_turn_is_committed_are_told_once(times: int) -> None:
    """Some vendors transcribe while the turn is open, and some tell the whole words again afterwards."""
    told: list[tuple[str, str]] = []

    async def handler(session: Session) -> None:
        while isinstance(turn := await session.input(), Turn):
            told.append((turn.item_id, turn.text))

    call = begin(Agent(handler=handler))
    words = {"item_id": "turn_1", "content_index": 0, "transcript": "When do you open?"}
    call.at(1_000)
    call.model.sends("input_audio_buffer.speech_started", item_id="turn_1", audio_start_ms=900)
    call.at(1_800)
    call.model.sends("conversation.item.input_audio_transcription.completed", **words)
    call.at(2_000)
    call.model.sends("input_audio_buffer.speech_stopped", item_id="turn_1", audio_end_ms=1_900)
    call.model.sends("input_audio_buffer.committed", item_id="turn_1", previous_item_id=None)
    for _ in range(times - 1):
        call.model.sends("conversation.item.input_audio_transcription.completed", **words)
    call.at(14_000).close()
    assert told == [("turn_1", "When do you open?")]
