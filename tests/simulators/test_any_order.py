"""Whatever people and REST do, and whenever: each leg ends once, is told of in order, and leaves nothing."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest

from bridge.doubles.people.person import HangUp, Listen, Person, Press, Say, Script, Wait
from bridge.doubles.people.words import spoken
from bridge.simulators.leg import Leg
from bridge.simulators.phones import AS
from bridge.simulators.steps import FINAL, Kind, Order
from tests.simulators.server import TwimlServer, twiml_server

pytestmark = pytest.mark.hostile

CALLS = 60
DIAL = (
    '<Dial action="B/after" callerId="+15550002222" timeout="5" hangupOnStar="true" timeLimit="20">'
    '<Number url="B/whisper" statusCallback="B/leg" '
    'statusCallbackEvent="initiated ringing answered completed">{}</Number></Dial>'
)
WHISPER = (
    '<Gather action="B/accept" numDigits="1" timeout="2" actionOnEmptyResult="true">'
    "<Say>A caller.</Say></Gather><Hangup />"
)
ROOM = '<Dial action="B/after"><Conference endConferenceOnExit="true" waitUrl="B/wait">{}</Conference></Dial>'
QUEUE = '<Enqueue action="B/after" waitUrl="B/wait">{}</Enqueue>'


def anybody(rng: random.Random) -> Script:
    """Does five things, and may leave."""
    for _ in range(5):
        match rng.randrange(5):
            case 0:
                yield Wait(rng.randint(0, 4_000))
            case 1:
                yield Say(spoken("Yes, of course."))
            case 2:
                yield Press(rng.choice("12*#"))
            case 3:
                yield Listen(quiet_ms=200, timeout_ms=3_000)
            case _ if rng.random() < 0.4:
                yield HangUp()
            case _:
                yield Wait(500)
    yield HangUp()


async def meddle(leg: Leg, rng: random.Random, base: str) -> None:
    """REST, or a finger on the hook, at any time."""
    await leg.network.clock.sleep(rng.randint(0, 20_000))
    order = rng.choice([
        Order(Kind.CALLER_LEFT), Order(Kind.ENDED_BY_REST), Order(Kind.SENT_ON_BY_REST, url=f"{base}/go"),
    ])  # fmt: skip
    if not leg.over:
        leg.order(order)


async def one(server: TwimlServer, number: int) -> None:
    rng = random.Random(number)
    target = f"+1555100{number:04}"
    server.api.phone(target, rng.choice(AS), answers_after_ms=rng.randint(0, 6_000)).script = (
        (lambda: anybody(random.Random(-number))) if rng.random() < 0.7 else None
    )
    document = rng.choice([DIAL, DIAL, ROOM, QUEUE]).format(target)
    path = f"/incoming/{number}"
    server.say(path, document)
    call = server.caller(person=Person(anybody(rng)))
    meddling = asyncio.create_task(meddle(call, rng, server.base))
    await call.place(f"{server.base}{path}")
    await meddling


async def test_each_leg_ends_once() -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    async with twiml_server() as server:
        server.say("/whisper", WHISPER)
        server.say("/accept", "")
        server.say("/after", "<Say>Goodbye.</Say>")
        server.say("/wait", '<Pause length="2" />')
        server.say("/go", "<Say>Instead.</Say>")
        async with asyncio.timeout(120):
            for first in range(0, CALLS, 15):
                await asyncio.gather(*(one(server, number) for number in range(first, first + 15)))
        network = server.api.network
        await network.postman.all_delivered()
        told = defaultdict[str, list[str]](list)
        for form in server.forms("/leg"):
            told[form["CallSid"]].append(form["CallStatus"])
        assert len(network.legs) > CALLS
        for leg in network.legs.values():
            assert leg.over
            assert leg.status in FINAL
            assert not leg.partners
            statuses = told.get(leg.sid, [])
            assert sum(status in FINAL for status in statuses) == (1 if statuses else 0), statuses
            assert not statuses or statuses[-1] in FINAL
        bridged = [leg for leg in network.legs.values() if leg.bridges]
        assert bridged, "there were talks"
    assert failures == []
