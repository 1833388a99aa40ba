"""A call that rang here, was had by another process and comes here when that one is gone."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from bridge import Agent
from bridge.core import messages as m
from bridge.doubles.agents import Parrot
from bridge.doubles.tones import marked
from bridge.server.store import Snapshots
from tests.door.rig import Door, door, run, until

pytestmark = pytest.mark.runs_with(function=run)

SAID = m.CallSnapshot((m.SnapshotItem("user", "Count!"), m.SnapshotItem("assistant", "One two")))

LATER = m.CallSnapshot((*SAID.items, m.SnapshotItem("user", "More!")))


def stream_of(document: Element) -> tuple[str, dict[str, str]]:
    """Its URL and parameters."""
    stream = document.find("./Connect/Stream")
    assert stream is not None
    return stream.get("url", ""), {
        p.get("name", ""): p.get("value", "") for p in stream.iterfind("Parameter")
    }


async def rings_here_and_goes_on_here(house: Door) -> None:
    """The webhook is answered, the stream goes elsewhere and is lost; here the next one is asked for."""
    handset = house.handset()
    await handset.webhook(house.webhook, {"CallStatus": "ringing"})
    await until(lambda: len(house.upstream.sessions) == 1)
    house.service.services.store.conversations.keep(
        handset.call_sid, SAID
    )  # as the other process has written it
    document = await handset.webhook(f"{house.base}/after-stream", {"CallStatus": "in-progress"})
    call = await handset.open(*stream_of(document))
    await until(lambda: len(house.servers()) == 2 and "Count!" in "".join(map(str, house.servers()[1].got)))
    call.send(call.machine.hang_up(call.now_ms()))  # type: ignore[attr-defined]  # a phone
    await until(lambda: not len(house.service.registry))


async def test_it_is_not_the_one_that_waits_since_the_first_ring() -> None:
    """That one would greet, and knows nothing of what was said."""

    async with door(Parrot(marked(9, 200))) as house:
        await rings_here_and_goes_on_here(house)
        first, second = house.servers()
        assert "Begin the call now" not in "".join(map(str, first.got + second.got))
        await until(house.upstream.sessions[0].closed.done)


@pytest.mark.parametrize("learnt_with", ["the question", "the stream"])
async def test_it_is_not_one_that_waits_for_a_stream_before(
    learnt_with: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That stream went elsewhere, and what was said there is not known to the one that waits here. The next
    one is of the same agent: the one that the resolver names for this call.
    """
    agent = Agent("Of nobody.", resolver=lambda _fields: {"instructions": "Of this caller."})
    async with door(Parrot(marked(9, 200)), agent) as house:
        handset, known = house.handset(), house.service.services.store.conversations

        async def claim(call_sid: str, *_: object, goes_on: bool, **__: object) -> None:
            if goes_on:  # what the others have written is asked for meanwhile
                known.keep(call_sid, LATER)

        monkeypatch.setattr(house.service.services.fleet, "claim", claim)
        for said in (SAID, LATER) if learnt_with == "the question" else (SAID,):
            known.keep(handset.call_sid, said)
            document = await handset.webhook(f"{house.base}/after-stream", {"CallStatus": "in-progress"})
        call = await handset.open(*stream_of(document))
        await until(
            lambda: len(house.servers()) == 2 and "More!" in "".join(map(str, house.servers()[1].got))
        )
        await until(house.upstream.sessions[0].closed.done)
        assert all("Of this caller." in "".join(map(str, one.got)) for one in house.servers())
        call.send(call.machine.hang_up(call.now_ms()))  # type: ignore[attr-defined]  # a phone
        await until(lambda: not len(house.service.registry))


async def test_a_first_stream_that_is_turned_away_is_claimed_by_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine that had its webhook would let its model go, and its caller hear that they were cut off
    before they were greeted.
    """
    claimed: list[str] = []

    async def claim(call_sid: str, *_: object, **__: object) -> None:
        claimed.append(call_sid)

    async with door(Parrot(marked(9, 200))) as house:
        registry, handset = house.service.registry, house.handset()
        document = await handset.webhook(house.webhook, {"CallStatus": "ringing"})
        registry.let_go(handset.call_sid)  # it was another process's
        await until(lambda: not len(registry))
        monkeypatch.setattr(house.service.services.fleet, "claim", claim)
        registry.draining = True
        call = await handset.open(*stream_of(document))
        await until(call.closed.done)
        assert not claimed


async def test_a_call_that_only_rang_here_leaves_alone_what_is_known_of_it() -> None:
    async with door(Parrot(marked(9, 200))) as house:
        handset = house.handset()
        await handset.webhook(house.webhook, {"CallStatus": "ringing"})
        known: Snapshots = house.service.services.store.conversations
        known.keep(handset.call_sid, SAID)
        await house.service.registry.shut_down()
        assert known.find(handset.call_sid) == SAID
        assert house.service.services.control.intents.peek(handset.call_sid) is None
