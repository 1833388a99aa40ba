"""AF-2: what `session.say()` says is heard in the live call, and stands in the conversation."""

from __future__ import annotations

import asyncio
from typing import Any

from bridge.agents.agent import Agent
from bridge.agents.inputs import Said
from bridge.agents.session import Session
from bridge.doubles.tones import murmur
from tests.agents.obedient import Obedient

WORDS = "Your table is booked for eight."


def test_af_02_the_caller_hears_what_was_said_byte_for_byte(calls: Any) -> None:
    said: list[Said] = []

    async def handler(session: Session) -> None:
        said.append(await session.say(WORDS))

    live = calls(Agent(handler=handler), mind=Obedient())
    live.until_over()
    sound, conversation = live.phone.heard, live.model.conversation
    assert murmur(WORDS) in sound
    assert said == [Said(60 * len(WORDS), cut=False, text=WORDS)]
    assert conversation == [("assistant", WORDS)]


def test_af_02_say_returns_when_it_was_heard_not_when_it_was_sent(calls: Any) -> None:
    """The sound arrives five times faster than it plays: nothing but playout takes this long."""
    took_s: list[float] = []

    async def handler(session: Session) -> None:
        began_s = asyncio.get_running_loop().time()
        await session.say(WORDS)
        took_s.append(asyncio.get_running_loop().time() - began_s)

    live = calls(Agent(handler=handler))
    live.until_over()
    assert took_s[0] > 60 * len(WORDS) / 1000


def test_af_02_a_barge_in_cuts_it_and_everybody_agrees_where(calls: Any) -> None:
    """What say() returns, what the model was told and what the phone had played are the same milliseconds."""
    said: list[Said] = []

    async def handler(session: Session) -> None:
        said.append(await session.say("one two three four five six seven eight nine ten"))
        await session.input()

    live = calls(Agent(handler=handler))
    live.wait(1_000)
    live.caller.says("stop")
    live.until_over()
    played_ms, truncations = live.phone.cleared[0].played_bytes // 8, dict(live.model.server.truncations)
    (cut,) = said
    assert cut.cut
    assert list(truncations.values()) == [cut.heard_ms]
    assert cut.heard_ms == played_ms
    # The double says a letter each 60 ms, so the words heard are known: whole ones, and never one too many.
    spoken = "one two three four five six seven eight nine ten"[: cut.heard_ms // 60]
    assert spoken.startswith(cut.text)
    assert cut.text
    assert f"{cut.text} " in "one two three four five six seven eight nine ten"


def test_af_02_while_the_model_speaks_it_waits_for_its_turn(calls: Any) -> None:
    order: list[str] = []

    async def one(session: Session, words: str) -> None:
        order.append((await session.say(words)).text)

    async def handler(session: Session) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one(session, "first of all"))
            await asyncio.sleep(0.3)
            group.create_task(one(session, "second"))

    live = calls(Agent(handler=handler), mind=Obedient())
    live.until_over()
    sound = live.phone.heard
    assert order == ["first of all", "second"]
    assert 0 <= sound.find(murmur("first of all")) < sound.find(murmur("second"))


def test_af_02_what_may_not_be_interrupted_is_heard_to_its_end(calls: Any) -> None:
    said: list[Said] = []

    async def handler(session: Session) -> None:
        said.append(await session.say(WORDS, interruptible=False))

    live = calls(Agent(handler=handler))
    live.wait(800)
    live.caller.says("let me speak")
    live.until_over()
    assert len(live.phone.cleared) == 0
    assert said == [Said(60 * len(WORDS), cut=False, text=WORDS)]
