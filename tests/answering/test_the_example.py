"""`examples/leave_a_message.py`: what a mailbox, a person and an assistant hear of it."""

from __future__ import annotations

from bridge.core import messages as m
from bridge.testing import begin
from examples.leave_a_message import MESSAGE, agent
from tests.codecs.lines import voice

GREETING = "Hi, this is Bob. Please leave a message after the tone."


def test_a_mailbox_gets_the_message_and_nothing_else() -> None:
    call = begin(agent, placed=True)
    mailbox = call.caller.is_a_mailbox(voice(4.0), words=GREETING)
    call.until_over()
    assert mailbox.after_ms is not None
    assert 400 <= mailbox.after_ms <= 800
    assert mailbox.before_ms == 0
    [left] = call.rehearsal.log(m.MessageLeft)
    assert left.whole
    assert left.heard_ms == len(MESSAGE) * 60
    call.close()


def test_a_mailbox_that_has_one_already_is_hung_up_on() -> None:
    call = begin(agent, placed=True, parameters={"context.message_left": "yes"})
    mailbox = call.caller.is_a_mailbox(voice(4.0), words=GREETING)
    call.until_over()
    assert mailbox.after_ms is None
    assert call.rehearsal.log(m.MessageLeft) == []
    call.close()


def test_a_person_is_talked_to() -> None:
    call = begin(agent, placed=True)
    call.at(500).caller.says(voice(0.6), words="Hello?")
    call.at(7_000).expect.heard_text(agent.greeting or "")
    assert [one.by for one in call.rehearsal.log(m.Answered)] == [m.AnswerKind.HUMAN]
    call.close()


def test_a_function_that_fails_hangs_up() -> None:
    async def fails(_session: object, _answer: object) -> str:
        raise RuntimeError("no such table")

    call = begin(agent.replace(on_machine=fails), placed=True)
    call.caller.is_a_mailbox(voice(4.0), words=GREETING)
    call.until_over()
    assert call.rehearsal.log(m.MessageLeft) == []
    assert call.rehearsal.ended is not None
    assert call.rehearsal.ended.reason is m.Reason.WE_HUNG_UP
    call.close()
