"""AF-4: model and caller -> `input()` -> handler -> `say()` -> caller, wired end to end, round and round."""

from __future__ import annotations

import asyncio

from bridge.agents.agent import Agent
from bridge.agents.inputs import Digit, Turn
from bridge.agents.session import Session
from bridge.doubles.tones import murmur
from tests.agents.line import items, live_call
from tests.agents.virtual_time import run


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


def test_af_04_the_loop_goes_round_until_the_handler_hangs_up() -> None:
    async def call() -> tuple[bytes, list[tuple[str, str]], str]:
        async with live_call(Agent(handler=echo)) as live:
            await asyncio.sleep(1.5)
            live.says("pizza")
            await asyncio.sleep(4)
            live.presses("7")
            await asyncio.sleep(3)
            live.says("goodbye")
            ended = await live.over()
            return live.phone.heard, items(live), ended.reason.value

    sound, conversation, reason = run(call())
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


def test_af_04_with_a_handler_the_model_never_answers_by_itself() -> None:
    async def silent(session: Session) -> None:
        async for _ in session.input():
            pass

    async def call() -> tuple[int, int]:
        async with live_call(Agent(handler=silent)) as live:
            live.says("is anybody there?")
            await asyncio.sleep(6)
            live.hangs_up()
            await live.over()
            return live.server.sent["response.created"], live.heard_ms()

    assert run(call()) == (0, 0)


def test_af_04_respond_lets_the_model_answer() -> None:
    texts: list[str] = []

    async def handler(session: Session) -> None:
        await session.input()
        texts.append((await session.respond()).text)

    async def call() -> None:
        async with live_call(Agent(handler=handler)) as live:
            live.says("what do you think?")
            await live.over()

    run(call())
    assert texts == ["I see."]


def test_af_04_without_a_handler_the_model_answers() -> None:
    async def call() -> list[tuple[str, str]]:
        async with live_call(Agent(greeting="")) as live:
            live.says("good day")
            await asyncio.sleep(4)
            live.hangs_up()
            await live.over()
            return items(live)

    assert run(call()) == [("user", "good day"), ("assistant", "I see.")]


def test_af_04_a_handler_that_returns_has_said_all_it_has_to_say() -> None:
    async def brief(session: Session) -> None:
        await session.say("We are closed.")

    async def call() -> tuple[str, bytes]:
        async with live_call(Agent(handler=brief)) as live:
            ended = await live.over()
            return ended.detail, live.phone.heard

    detail, sound = run(call())
    assert detail == "the handler returned"
    assert murmur("We are closed.") in sound
