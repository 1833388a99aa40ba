"""What a client wants said: the double reads it in its own words, and the core asks in its own."""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from bridge.doubles.wishes import SCRIPTED, answer_to, said_exactly, wish_of
from tests.core.conftest import new_call

PROMPT = 'Be brief. Say exactly this and nothing else: "nothing".'
WORDS = ("Hello.", 'Say "yes" now.', "Two\nlines.", 'Say exactly this and nothing else: "x" is odd.', '"')


def wanted(actions: list[m.Action]) -> list[str | None]:
    """What the double reads in the responses that the core asks for."""
    return [
        said_exactly(one.instructions or "", PROMPT) for one in actions if isinstance(one, m.CreateResponse)
    ]


@pytest.mark.parametrize("words", WORDS)
def test_the_core_asks_in_words_that_the_double_reads(words: str) -> None:
    session = m.SessionConfig(instructions=PROMPT)
    call = new_call(greeting=words, session=session)
    call.speaks(0, m.Started("MZ1", "CA1", "AC1"), m.Admitted(), m.SessionCreated())
    assert wanted(call.at(200, m.SessionUpdated())) == [words]
    call = new_call(session=session)
    call.speaks(0, m.Started("MZ1", "CA1", "AC1"), m.Admitted(), m.SessionCreated(), m.SessionUpdated())
    assert wanted(call.at(0, m.Say("say-1", words))) == [words]


def test_a_wish_is_what_goes_beyond_the_session_s_own_instructions() -> None:
    assert wish_of("Be brief.\n\nAsk for the name", "Be brief.") == "Ask for the name"
    assert wish_of("Be brief.", "Be brief.") == ""
    assert wish_of("Ask for the name", "") == "Ask for the name"
    assert said_exactly("Be brief.") is None


def test_a_wish_in_other_words_is_never_read_out() -> None:
    assert answer_to("Recite the alphabet backwards") == SCRIPTED
    assert answer_to("Ask for their account number.") == "May I have the account number, please?"
