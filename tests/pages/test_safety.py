"""The softphone is served to this machine's own browser and to nothing else, and never beside a carrier's
token.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from bridge.server import routes, service
from bridge.settings.settings import Settings, load_settings

UPSTREAM = "ws://127.0.0.1:1/v1/realtime"
BASE = "http://127.0.0.1:5050"
ORIGIN = {"origin": BASE}
FILES = ("phone.css", "phone.js", "worklet.js", "socket-worker.js", "icon.svg")


def settings(**given: Any) -> Settings:
    chosen: dict[str, Any] = {"insecure": True, "upstream_url": UPSTREAM, **given}
    return load_settings(env_file=None, **chosen)


def client(chosen: Settings | None = None) -> TestClient:
    chosen = chosen or settings()
    app = routes.create_app(chosen, service.make_registry(chosen, upstream_url=UPSTREAM))
    return TestClient(app, base_url=BASE)


@pytest.fixture
def page() -> Iterator[TestClient]:
    """A browser that has opened the page."""
    with client() as browser:
        assert browser.get("/phone").status_code == 200
        yield browser


def test_the_page_and_its_files_come_under_a_strict_policy(page: TestClient) -> None:
    for path in ("/", "/phone", *(f"/phone/{name}" for name in FILES)):
        answer = page.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_in_the_page_stands_inline_or_is_fetched_from_elsewhere(page: TestClient) -> None:
    html = page.get("/phone").text
    assert "style=" not in html
    assert "onclick" not in html
    assert html.count("<script") == 1
    assert "<script src=" in html
    for name in ("", *FILES):
        assert "https://" not in page.get(f"/phone/{name}" if name else "/phone").text, name


def test_the_whole_page_is_small(page: TestClient) -> None:
    size = sum(len(page.get(f"/phone/{name}").content) for name in FILES) + len(page.get("/phone").content)
    assert size <= 48_000


def test_other_files_are_not_served(page: TestClient) -> None:
    for name in ("softphone.py", "..%2fsoftphone.py", "%2e%2e", "phone.html.bak", "x"):
        assert page.get(f"/phone/{name}").status_code == 404, name


def test_a_call_is_placed_from_a_page_of_ours(page: TestClient) -> None:
    answer = page.post("/phone/session", json={}, headers=ORIGIN)
    assert answer.status_code == 200
    assert answer.json()["call"].startswith("CA")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {**ORIGIN, "x-forwarded-for": "203.0.113.7"},
        {**ORIGIN, "host": "evil.example"},
        {**ORIGIN, "sec-fetch-site": "cross-site"},
        {**ORIGIN, "content-type": "text/plain"},
        {**ORIGIN, "content-type": "application/x-www-form-urlencoded"},
    ],
    ids=lambda headers: ",".join(f"{name}={value}" for name, value in headers.items()) or "nothing",
)
def test_a_call_is_refused_to_any_other_sender(page: TestClient, headers: dict[str, str]) -> None:
    given = {"content-type": "application/json", **headers}
    answer = page.post("/phone/session", content=b"{}", headers=given)
    assert answer.status_code == 403
    assert "call" not in answer.json()


def test_a_call_is_refused_without_the_page_s_cookie() -> None:
    with client() as browser:
        assert browser.post("/phone/session", json={}, headers=ORIGIN).status_code == 403
        browser.cookies.set("bridge-page", "phone.forged.cookie")
        assert browser.post("/phone/session", json={}, headers=ORIGIN).status_code == 403


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    with client() as browser:
        cookie = browser.get("/phone").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_call_s_events_go_to_its_page_only(page: TestClient) -> None:
    call = page.post("/phone/session", json={}, headers=ORIGIN).json()["call"]
    for headers, asked in (
        ({}, call),
        ({"origin": "http://evil.example"}, call),
        (ORIGIN, "CA" + "0" * 32),
        (ORIGIN, ""),
    ):
        with (
            pytest.raises(WebSocketDisconnect),
            page.websocket_connect(f"ws://127.0.0.1:5050/phone/events?call={asked}", headers=headers),
        ):
            pass
    with client() as stranger, pytest.raises(WebSocketDisconnect):  # without the cookie
        stranger.websocket_connect(
            f"ws://127.0.0.1:5050/phone/events?call={call}", headers=ORIGIN
        ).__enter__()


BODIES = [b"", b"[]", b"{", b"\xff", b'{"call": 1}', b'{"call": []}', b"x" * 10_000]


@pytest.mark.parametrize("body", BODIES)
def test_an_unreadable_fault_breaks_nothing(page: TestClient, body: bytes) -> None:
    given = {**ORIGIN, "content-type": "application/json"}
    assert page.post("/phone/faults", content=body, headers=given).status_code == 404


def test_where_calls_are_signed_there_is_no_softphone() -> None:
    signed = settings(
        insecure=False,
        public_url="https://voice.example.com",
        twilio_auth_token="t" * 32,
        upstream="embedded",
    )
    with client(signed) as browser:
        for path in ("/phone", "/phone/phone.js", "/phone/events"):
            assert browser.get(path).status_code == 404
        assert browser.post("/phone/session", json={}, headers=ORIGIN).status_code == 404
        front = browser.get("/")
    assert front.status_code == 200
    assert "phonebridge" in front.text
    assert 'phone"' not in front.text


def test_nor_beside_a_carrier_s_token() -> None:
    both = settings(twilio_auth_token="t" * 32, public_url="http://127.0.0.1:5050")
    with client(both) as browser:
        assert browser.get("/phone").status_code == 404


def test_the_front_page_tells_a_stranger_no_more_than_the_name() -> None:
    with client() as browser:
        assert "Talk to it" in browser.get("/").text
        assert "Talk to it" not in browser.get("/", headers={"x-forwarded-for": "203.0.113.7"}).text
        assert browser.get("/phone", headers={"x-forwarded-for": "203.0.113.7"}).status_code == 403
