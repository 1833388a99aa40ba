"""A call's stream finds the machine that dialled its model, by the path or the host of its URL."""

from __future__ import annotations

from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from bridge.doubles.agents import Parrot
from bridge.doubles.tones import tone
from bridge.server.fleet import Asked
from bridge.server.store.claims import Ring, RingAnswer
from bridge.server.stream_route import StreamRoute
from tests.door.rig import Door, door, run, until
from tests.door.test_strangers import signed

pytestmark = pytest.mark.runs_with(function=run)
BASE = "https://voice.example.com/phone"


async def upgrade(house: Door, path: str, base: str = "", **more: str) -> Any:
    """The carrier's handshake at that path, signed below `base`; the answer that refuses it, None where it is
    taken. The client is another's.
    """
    headers = {**signed(f"ws{(base or house.base).removeprefix('http')}{path}"), **more}
    try:
        async with connect(f"ws{house.base.removeprefix('http')}{path}", additional_headers=headers):
            return None
    except websockets.InvalidStatus as refused:
        return refused.response


@pytest.mark.parametrize(
    ("route", "url"),
    [
        (StreamRoute("none", "web-1"), "wss://voice.example.com/phone/media-stream"),
        (StreamRoute("path", "web-1"), "wss://voice.example.com/phone/media-stream/web-1"),
        (StreamRoute("fly", "abc"), "wss://voice.example.com/phone/media-stream/abc"),
        (StreamRoute("host", "web-1", "https://web-1.example.com"), "wss://web-1.example.com/media-stream"),
    ],
)
def test_where_a_stream_is_asked_to_come(route: StreamRoute, url: str) -> None:
    assert route.url(BASE) == url


@pytest.mark.parametrize(
    ("route", "machine", "address", "url"),
    [
        (StreamRoute("none", "web-1"), "web-2", "", "wss://voice.example.com/phone/media-stream"),
        (StreamRoute("path", "web-1"), "web-2", "", "wss://voice.example.com/phone/media-stream/web-2"),
        (
            StreamRoute("host", "web-1", "https://web-1.example.com"),
            "web-2", "https://web-2.example.com",
            "wss://web-2.example.com/media-stream",
        ),
        (
            StreamRoute("host", "web-1", "https://web-1.example.com"),
            "web-2", "",
            "wss://voice.example.com/phone/media-stream",
        ),
        (
            StreamRoute("host", "web-1-1", "https://web-1.example.com", "1"),
            "web-1-2", "",
            "wss://web-1.example.com/media-stream/2",
        ),
        (
            StreamRoute("host", "web-1-1", "https://web-1.example.com", "1"),
            "web-2-3", "https://web-2.example.com",
            "wss://web-2.example.com/media-stream/3",
        ),
    ],
)  # fmt: skip
def test_where_a_stream_is_asked_to_come_that_has_rung_elsewhere(
    route: StreamRoute, machine: str, address: str, url: str
) -> None:
    """At the machine that has dialled; at any, where that one has no address that is known."""
    assert route.at(machine, address).url(BASE) == url


async def test_a_webhook_that_comes_again_elsewhere_leads_to_the_first_machine_by_its_host() -> None:
    class Dialled:
        async def ring(self, *_: Any) -> Ring:
            return Ring(RingAnswer.ELSEWHERE, "nonce", "web-2")

        def address(self, machine: str) -> str:
            return {"web-2": "https://web-2.example.com"}.get(machine, "")

    own = "https://web-1.example.com"
    async with door(Parrot(), stream_route="host", machine="web-1", machine_url=own) as house:
        fleet = house.service.services.fleet
        for name in ("ring", "address"):
            setattr(fleet, name, getattr(Dialled(), name))
        url, _ = await house.handset(tone(400, 300)).ring(house.webhook)
        assert url == "wss://web-2.example.com/media-stream"


async def test_a_question_after_a_stream_that_comes_again_elsewhere_dials_no_second_model() -> None:
    """The machine that was asked first has dialled it; its answer was not heard."""
    async with door(Parrot(), stream_route="path", machine="web-1") as house:
        fleet, handset = house.service.services.fleet, house.handset(tone(400, 300))
        house.service.services.control.intents.began(handset.call_sid)

        async def after(*_: Any) -> Asked:
            return Asked(again=True, machine="web-2")

        setattr(fleet, "after", after)  # noqa: B010
        document = await handset.webhook(f"{house.base}/after-stream", {"CallStatus": "in-progress"})
        assert document is not None
        (stream,) = document.iterfind(".//Stream")
        assert stream.get("url", "").endswith("/media-stream/web-2")
        assert house.servers() == []


async def test_a_call_whose_stream_names_its_machine() -> None:
    async with door(Parrot(), stream_route="path", machine="web-1") as house:
        handset = house.handset(tone(400, 300))
        url, parameters = await handset.ring(house.webhook)
        assert url.endswith("/media-stream/web-1")
        await handset.open(url, parameters)
        await until(lambda: house.servers() and len(house.service.registry) == 1)


async def test_a_stream_of_another_machine_is_served_where_it_comes() -> None:
    """By a proxy that has no rule for the path, or whose machine is gone."""
    async with door(Parrot(), stream_route="path", machine="web-1") as house:
        house.service.services.machines = lambda: {"web-1", "web-2"}
        for path in ("/media-stream", "/media-stream/web-1", "/media-stream/web-2", "/media-stream/gone"):
            assert await upgrade(house, path) is None


async def test_fly_is_told_which_machine_to_ask() -> None:
    async with door(Parrot(), stream_route="fly", machine="aaa") as house:
        house.service.services.machines = lambda: {"aaa", "bbb"}
        answer = await upgrade(house, "/media-stream/bbb")
        assert answer.headers["fly-replay"] == "instance=bbb;timeout=800ms;fallback=prefer_self"
        assert await upgrade(house, "/media-stream/aaa") is None
        assert await upgrade(house, "/media-stream/gone") is None


@pytest.mark.parametrize("header", ["fly-replay-src", "fly-replay-failed"])
async def test_what_was_asked_again_is_not_sent_on_again(header: str) -> None:
    async with door(Parrot(), stream_route="fly", machine="aaa") as house:
        house.service.services.machines = lambda: {"aaa", "bbb"}
        assert await upgrade(house, "/media-stream/bbb", **{header: "instance=ccc"}) is None


async def test_a_stranger_is_refused_before_anything_is_said_of_machines() -> None:
    async with door(Parrot(), stream_route="fly", machine="aaa") as house:
        house.service.services.machines = lambda: {"aaa", "bbb"}
        answer = await upgrade(house, "/media-stream/bbb", **{"X-Twilio-Signature": "bm8="})
        assert answer.status_code == 403
        assert "fly-replay" not in answer.headers


async def test_a_path_that_names_no_machine() -> None:
    async with door(Parrot(), stream_route="path", machine="web-1") as house:
        for name in ("A", "a.b", "a%2Fb", "a" * 41, "..", "%00", "a/b"):
            answer = await upgrade(house, f"/media-stream/{name}")
            assert answer.status_code in (403, 404), name


async def test_a_machine_with_an_address_of_its_own() -> None:
    """The signature is over that address, which is configured and never read from a header."""
    own = "https://web-1.example.com"
    async with door(Parrot(), stream_route="host", machine="web-1", machine_url=own) as house:
        assert await upgrade(house, "/media-stream", base=own) is None
        assert await upgrade(house, "/media-stream") is None
        answer = await upgrade(house, "/media-stream", base="https://web-2.example.com")
        assert answer.status_code == 403
