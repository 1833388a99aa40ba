"""What an operator does with a call: by pages of ours that have signed in, once for each key."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from bridge.core import messages as m
from bridge.core.detours import UnderWay
from bridge.server import routes, service
from bridge.server.calls import CallRegistry

from .test_sign_in import BASE, PAGE, settings, sign_in

NUMBERS = itertools.count()


class Heard:
    """An observer that keeps what calls did."""

    def __init__(self) -> None:
        self.did: list[m.Action] = []

    def call_began(self, _call_sid: str, /) -> None: ...
    def call_ended(self, _call_sid: str, *_what: object) -> None: ...
    def call_did(self, _call_sid: str, action: m.Action, _now_ms: int, /) -> None:
        self.did.append(action)

    @property
    def notes(self) -> list[str]:
        return [one.detail for one in self.did if isinstance(one, m.Noted) and one.what == "operator"]


class Room:
    """A browser that has signed in, and a call that rings."""

    def __init__(self, browser: TestClient, heard: Heard, fed: list[m.Event], registry: CallRegistry) -> None:
        self.browser, self.heard, self.fed, self.registry = browser, heard, fed, registry
        browser.get("/phone")
        sign_in(browser)
        self.ring()

    def ring(self) -> None:
        """Another call: without a model none lasts."""
        self.call = self.browser.post("/phone/session", json={}, headers=PAGE).json()["call"]
        self.fed.clear()
        self.heard.did.clear()

    def act(self, action: str, *, call: str = "", headers: dict[str, str] = PAGE, **given: Any) -> Any:
        body = {"key": f"k{next(NUMBERS)}", **given}
        path = f"/console/calls/{call or self.call}/{action}"
        headers = {"content-type": "application/json", **headers}
        return self.browser.post(path, content=json.dumps(body), headers=headers)


@pytest.fixture(scope="module")
def rooms() -> Iterator[Room]:
    heard, chosen = Heard(), settings(transfers="ann=+15550100007,bob=+15550100008", console_phone="ann")
    mute = socket.create_server(("127.0.0.1", 0))  # its model never answers: a refusal would end the call
    url = f"ws://127.0.0.1:{mute.getsockname()[1]}/v1/realtime"
    registry = service.make_registry(chosen, upstream_url=url, observers=(heard,))
    fed: list[m.Event] = []
    feed = registry.feed

    def kept(call_sid: str, event: m.Event) -> bool:
        fed.append(event)
        return feed(call_sid, event)

    registry.feed = kept  # type: ignore[method-assign]
    with mute, TestClient(routes.create_app(chosen, registry), base_url=BASE) as browser:
        yield Room(browser, heard, fed, registry)


@pytest.fixture
def room(rooms: Room) -> Room:
    rooms.ring()
    return rooms


@pytest.mark.parametrize(
    ("action", "given", "wishes"),
    [
        ("say", {"text": "Hold on."}, [m.Say]),
        ("whisper", {"text": "They are a friend."}, [m.AddText]),
        ("mute", {"on": True}, [m.Mute, m.Interrupt]),
        ("mute", {"on": False}, [m.Mute]),
        ("transfer", {"to": "bob"}, [m.Detour]),
        ("take_over", {}, [m.Detour]),
    ],
)
def test_each_is_done_once_for_its_key(
    room: Room, action: str, given: dict[str, Any], wishes: list[type]
) -> None:
    first = room.act(action, key=f"once-{action}-{given.get('on')}", **given)
    assert first.status_code == 200, first.text
    assert first.json()["done"] == action
    assert [type(one) for one in room.fed] == [m.OperatorActed, *wishes]
    again = room.act(action, key=f"once-{action}-{given.get('on')}", **given)
    assert again.json() == {**first.json(), "repeated": True}
    assert len(room.fed) == len(wishes) + 1
    assert room.act(action, key=f"once-{action}-{given.get('on')}", text="other").status_code == 409
    assert len(room.heard.notes) == 1
    assert "friend" not in json.dumps(room.heard.notes)


@pytest.mark.parametrize("action", ["transfer", "take_over"])
def test_a_call_that_is_sent_on_already_is_not_sent_on_again(room: Room, action: str) -> None:
    runner = room.registry.runner(room.call)
    assert runner is not None
    wish = m.Detour(detour_id="d" * 32, kind=m.DetourKind.TRANSFER, name="bob")
    runner.call.detours.under_way = UnderWay(wish, m.DetourState.AWAY)
    answer = room.act(action, to="ann") if action == "transfer" else room.act(action)
    runner.call.detours.under_way = None
    assert (answer.status_code, answer.json()) == (
        409,
        {"error": "the call is on its way already: transfer to bob"},
    )
    assert room.fed == []


@pytest.mark.parametrize(
    ("action", "given", "status"),
    [
        ("say", {}, 400),
        ("say", {"text": ""}, 400),
        ("say", {"text": "x" * 2_001}, 400),
        ("say", {"text": ["x"]}, 400),
        ("say", {"text": "\ud800"}, 400),
        ("say", {"text": "x", "key": ""}, 400),
        ("say", {"text": "x", "key": 7}, 400),
        ("say", {"text": "x", "key": "a b"}, 400),
        ("say", {"text": "x", "unknown": 1}, 400),
        ("mute", {"on": "yes"}, 400),
        ("transfer", {"to": "+15550100009"}, 404),
        ("transfer", {"to": "ann", "mode": "tepid"}, 400),
        ("explode", {}, 404),
        ("reveal", {"tool": "none", "path": "input.pin", "reason": "the caller asks"}, 404),
        ("reveal", {"tool": "none", "path": "input.pin"}, 400),
    ],
    ids=str,
)
def test_a_wish_that_makes_no_sense_changes_nothing(
    room: Room, action: str, given: dict[str, Any], status: int
) -> None:
    answer = room.act(action, **given)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert room.fed == []


def test_a_take_over_is_warm_and_goes_to_the_operator_s_phone(room: Room) -> None:
    assert room.act("take_over").json()["mode"] == "warm"
    wish = room.fed[1]
    assert isinstance(wish, m.Detour)
    assert (wish.name, wish.mode, wish.kind) == ("ann", m.TransferMode.WARM, m.DetourKind.TRANSFER)


def test_other_calls_are_not_here(room: Room) -> None:
    assert room.act("hang_up", call="CA" + "0" * 32).status_code == 404
    assert room.act("hang_up", machine="another").status_code == 504


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": BASE},
        {"x-bridge-console": "1"},
        {**PAGE, "origin": "http://evil.example"},
        {**PAGE, "sec-fetch-site": "same-site"},
        {**PAGE, "host": "evil.example"},
    ],
    ids=str,
)
def test_no_other_page_lays_hands_on_a_call(room: Room, headers: dict[str, str]) -> None:
    assert room.act("hang_up", headers=headers).status_code == 403
    assert room.fed == []


def test_a_form_does_not(room: Room) -> None:
    path = f"/console/calls/{room.call}/hang_up"
    assert room.browser.post(path, data={"key": "k"}, headers=PAGE).status_code == 400
    assert room.browser.get(path).status_code == 405
    assert room.fed == []


def test_without_a_session_nothing_is_done(room: Room) -> None:
    kept = room.browser.cookies
    room.browser.cookies = {}  # type: ignore[assignment]
    try:
        assert room.act("hang_up").status_code == 401
        assert room.fed == []
    finally:
        room.browser.cookies = kept


def test_hanging_up_ends_the_call(room: Room) -> None:
    assert room.act("hang_up").status_code == 200
    assert [type(one) for one in room.fed] == [m.OperatorActed, m.Interrupt, m.HangUp]
