"""AF-9: a session knows which call it is, who answers it, and what it has said."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from bridge.agents.agent import Agent
from bridge.agents.inputs import Said
from bridge.agents.session import Session
from bridge.core import messages as m
from tests.agents.door import Door, heard, settled
from tests.agents.virtual_time import run


def test_af_09_which_call_and_whose(calls: Any) -> None:
    facts: list[object] = []

    async def handler(session: Session) -> None:
        facts.extend([session.call_sid, session.agent, session.fields["From"], session.ended])

    agent = Agent(handler=handler)

    live = calls(agent, parameters={"From": "+15550001111"})
    live.until_over()
    assert facts == [live.phone.frames.call_sid, agent, "+15550001111", None]


def test_af_09_the_outbox_holds_what_was_said_as_events_and_what_of_it_was_heard() -> None:
    async def handler(session: Session) -> None:
        await session.say("Hello.", metadata={"part": "greeting"})
        await session.say("Bye.")

    async def call() -> Session:
        door = await Door(Agent(handler=handler)).begin()
        first = await door.next(m.Say)
        (event,) = door.session.outbox
        assert {"type": event.type, "text": event.text, "metadata": dict(event.metadata)} == {
            "type": "speech", "text": "Hello.", "metadata": {"part": "greeting"},
        }  # fmt: skip
        assert event.said is None
        door.tell(heard(first, "Hello.", 600))
        await door.next(m.Say)
        return door.session

    session = run(call())
    hello, bye = session.outbox
    assert hello.said == Said(600, cut=False, text="Hello.")
    assert (bye.text, bye.said) == ("Bye.", None)


def test_af_09_the_outbox_is_no_leak() -> None:
    async def call() -> tuple[int, str]:
        door = await Door(Agent()).begin()
        for number in range(500):
            asyncio.get_running_loop().create_task(door.session.say(f"Sentence {number}."))
            await settled(2)
            door.tell(heard(await door.next(m.Say)))
        await settled()
        return len(door.session.outbox), door.session.outbox[-1].text

    assert run(call()) == (200, "Sentence 499.")


def test_af_09_what_it_costs_is_known_while_it_lasts() -> None:
    async def call() -> None:
        door = await Door(Agent(model="gpt-realtime-2.1")).begin()
        assert door.session.cost.usd == 0
        door.tell(m.ResponseEnded("r1", usage=m.Usage(audio_in=1_000, audio_out=500)))
        await settled()
        assert door.session.cost.usd == Decimal("0.064")
        assert door.session.cost.complete
        assert door.session.usage == m.Usage(audio_in=1_000, audio_out=500)
        door.tell(m.ResponseEnded("r2", status="cancelled"))
        await settled()
        assert door.session.cost.usd == Decimal("0.064")
        assert not door.session.cost.complete

    run(call())


def test_af_09_what_another_vendor_bills_is_not_priced_as_the_first_ones() -> None:
    async def call() -> None:
        door = await Door(Agent(model="gpt-realtime-2.1")).begin()
        door.tell(m.ResponseEnded("r1", usage=m.Usage(audio_out=500)))
        door.tell(m.Noted("failed over", "openai -> xai: it is out"))
        await settled()
        assert door.session.cost.complete
        door.tell(m.ResponseEnded("r2", usage=m.Usage(audio_out=500)))
        await settled()
        assert door.session.cost.usd == Decimal("0.032")
        assert not door.session.cost.complete

    run(call())
