"""A person whose call is a stream: they hear the model, answer it, press keys, and leave by themselves."""

from __future__ import annotations

import pytest

from bridge.agents.agent import Agent
from bridge.codecs.caption import caption_of
from bridge.core import messages as m
from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.people.person import HangUp, Listen, Person, Press, Say, Script, Wait
from bridge.doubles.people.words import spoken
from bridge.simulators.phone import PhoneCall
from bridge.simulators.steps import Kind
from tests.door.rig import door, kinds

pytestmark = pytest.mark.hostile

GREETING = "Good morning, how can I help?"


class Greets:
    """Says the same to everything; remembers what it was asked."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def answer(self, asked: Asked) -> list[Output]:
        self.heard += [caption_of(item.sound) or item.text for item in asked.items if item.role == "user"]
        return [Speech(spoken(GREETING), GREETING)]


def person() -> Script:
    yield Listen(quiet_ms=400)
    yield Say(spoken("I want a table."))
    yield Listen(quiet_ms=400)
    yield Press("4")
    yield Wait(600)
    yield HangUp()


async def test_a_person_lives_through_a_stream() -> None:
    mind = Greets()
    async with door(mind, Agent("Greet.", greeting="model")) as house:
        handset = house.handset()
        call = PhoneCall(handset, pace=0.01, person=Person(person()))
        house.api.add(call)
        await call.place(house.webhook)
        assert kinds(call)[-1] is Kind.CALLER_LEFT
        assert (caption_of(bytes(call.person.heard)) or "").startswith(GREETING)
        assert "I want a table." in " ".join(mind.heard)
        assert [key for _, key in call.person.pressed] == ["4"]
        ended, _ = house.log.ended[call.sid]
        assert ended.reason is m.Reason.CALLER_HUNG_UP
        said = call.phone.recording()[0]
        assert caption_of(said) == "I want a table."
        assert len(call.person.heard) // 8 >= 4_000, "a stream is real time"
