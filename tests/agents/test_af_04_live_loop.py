"""AF-4: model and caller -> `input()` -> handler -> `say()` -> caller, wired end to end, round and round."""

from __future__ import annotations

from typing import Any

from bridge.agents.agent import Agent
from bridge.agents.inputs import Digit, Turn
from bridge.agents.session import Session
from bridge.doubles.tones import murmur
from tests.agents.obedient import Obedient


async def echo(session: Session) -> None:
    await session.say("Hello.")
    async for happening in session.input():
        match happening:
            case Turn(text) if "goodbye" in text:
                await session.say("Bye.")
                await session.hang_up()
            case Turn(text):
                await session.say(f"You said {text}")
            case Digit(digit):
                await session.say(f"Key {digit}")


def test_af_04_the_loop_goes_round_until_the_handler_hangs_up(calls: Any) -> None:
    live = calls(Agent(handler=echo), mind=Obedient())
    live.wait(1_500)
    live.caller.says("pizza")
    live.wait(4_000)
    live.caller.presses("7")
    live.wait(3_000)
    live.caller.says("goodbye")
    ended = live.until_over().rehearsal.ended
    sound, conversation, reason = live.phone.heard, live.model.conversation, ended.reason.value
    heard_at = [sound.find(murmur(words)) for words in ("Hello.", "You said pizza", "Key 7", "Bye.")]
    assert -1 not in heard_at
    assert heard_at == sorted(heard_at)
    assert conversation == [
        ("assistant", "Hello."),
        ("user", "pizza"),
        ("assistant", "You said pizza"),
        ("assistant", "Key 7"),
        ("user", "goodbye"),
        ("assistant", "Bye."),
    ]
    assert reason == "we hung up"


def test_af_04_with_a_handler_the_model_never_answers_by_itself(calls: Any) -> None:
    async def silent(session: Session) -> None:
        async for _ in session.input():
            pass

    live = calls(Agent(handler=silent), phrases={})
    live.caller.says("is anybody there?")
    live.wait(6_000)
    live.caller.hangs_up()
    live.until_over()
    assert (live.model.server.sent["response.created"], live.caller.heard_ms) == (0, 0)


def test_af_04_respond_lets_the_model_answer(calls: Any) -> None:
    texts: list[str] = []

    async def handler(session: Session) -> None:
        await session.input()
        texts.append((await session.respond()).text)

    live = calls(Agent(handler=handler))
    live.model.answers("I see.")
    live.caller.says("what do you think?")
    live.until_over()
    assert texts == ["I see."]


def test_af_04_without_a_handler_the_model_answers(calls: Any) -> None:
    live = calls(Agent(greeting=""))
    live.model.answers("I see.")
    live.caller.says("good day")
    live.wait(4_000)
    live.caller.hangs_up()
    live.until_over()
    assert live.model.conversation == [("user", "good day"), ("assistant", "I see.")]


def test_af_04_a_handler_that_returns_has_said_all_it_has_to_say(calls: Any) -> None:
    async def brief(session: Session) -> None:
        await session.say("We are closed.")

    live = calls(Agent(handler=brief), mind=Obedient())
    ended = live.until_over().rehearsal.ended
    detail, sound = ended.detail, live.phone.heard
    assert detail == "the handler returned"
    assert murmur("We are closed.") in sound
