"""A handler gets the caller's turns in the order of the conversation, whichever is transcribed first."""

from __future__ import annotations

from bridge import Agent, Session
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
