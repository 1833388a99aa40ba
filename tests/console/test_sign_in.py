"""The console is for those who know its token, and for pages of ours only."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from bridge.server import routes, service
from bridge.server.console.sign_in import SignIn, TooManyTries
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import Settings, load_settings
from bridge.sockets.peers import Peers

UPSTREAM = "ws://127.0.0.1:1/v1/realtime"
TOKEN = "k" * 40
BASE = "http://127.0.0.1:5050"
PUBLIC = "https://voice.example.com"
PAGE = {"origin": BASE, "x-bridge-console": "1"}
PROXIED = {"host": "voice.example.com", "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.7"}


def settings(**given: Any) -> Settings:
    chosen: dict[str, Any] = {"insecure": True, "upstream_url": UPSTREAM, "console_token": TOKEN, **given}
    return load_settings(env_file=None, **chosen)


def signed(**given: Any) -> Settings:
    """Where real calls come in."""
    usual = {"public_url": PUBLIC, "twilio_auth_token": "t" * 32, "upstream": "embedded"}
    return settings(insecure=False, **{**usual, **given})


def client(chosen: Settings | None = None, base: str = BASE) -> TestClient:
    chosen = chosen or settings()
    app = routes.create_app(chosen, service.make_registry(chosen, upstream_url=UPSTREAM))
    return TestClient(app, base_url=base)


def sign_in(browser: TestClient, headers: dict[str, str] = PAGE, **given: str) -> Any:
    return browser.post("/console/session", json=given or {"token": TOKEN}, headers=headers)


def socket_opens(browser: TestClient, headers: dict[str, str]) -> bool:
    try:
        url = str(browser.base_url).replace("http", "ws", 1) + "/console/socket"
        with browser.websocket_connect(url, headers=headers) as socket:
            return bool(socket.receive_json()["kind"] == "hello")
    except WebSocketDisconnect:
        return False


PATHS = ("", "/", "/session", "/socket", "/console.js", "/calls/CA1/say", "/calls/CA1/audio")


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_there_is_nothing_like_any_other_path(path: str) -> None:
    with client(settings(console_token=None)) as browser:
        for method in ("GET", "POST", "PUT"):
            ours, other = browser.request(method, f"/console{path}"), browser.request(method, "/no-such-path")
            assert (ours.status_code, ours.content) == (404, other.content)
            assert ours.headers == other.headers
        with pytest.raises(WebSocketDisconnect) as one, browser.websocket_connect("/console/socket"):
            pass
        with pytest.raises(WebSocketDisconnect) as two, browser.websocket_connect("/no-such-path"):
            pass
        assert one.value.code == two.value.code


def test_a_token_opens_it_and_a_sign_out_closes_it() -> None:
    with client() as browser:
        assert browser.get("/console").status_code == 200
        assert browser.get("/console/session").status_code == 401
        assert not socket_opens(browser, PAGE)
        answer = sign_in(browser)
        assert answer.status_code == 200
        assert answer.json()["signed_in"] is True
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("bridge-console=")
        assert {"httponly", "samesite=strict", "path=/console"} <= set(cookie.split("; "))
        assert browser.get("/console/session").status_code == 200
        assert socket_opens(browser, PAGE)
        kept = dict(browser.cookies)
        assert browser.post("/console/session/end", json={}, headers=PAGE).status_code == 200
        assert browser.get("/console/session").status_code == 401
        browser.cookies.update(kept)  # one that was stolen before
        assert browser.get("/console/session").status_code == 401


def test_each_sign_in_has_a_session_of_its_own() -> None:
    with client() as browser:
        first = sign_in(browser).cookies["bridge-console"]
        second = sign_in(browser).cookies["bridge-console"]
        assert first != second
        browser.cookies.clear()
        browser.cookies.set("bridge-console", first)
        assert browser.get("/console/session").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-bridge-console": "1"}, 403),
        ({"origin": BASE}, 403),
        ({**PAGE, "origin": "http://evil.example"}, 403),
        ({**PAGE, "origin": "http://127.0.0.1:9999"}, 403),
        ({**PAGE, "origin": "null"}, 403),
        ({**PAGE, "host": "evil.example"}, 403),
        ({**PAGE, "host": "evil.example", "origin": "http://evil.example"}, 403),
        ({**PAGE, "sec-fetch-site": "cross-site"}, 403),
        ({**PAGE, "x-forwarded-for": "203.0.113.7"}, 403),
        ({**PAGE, "content-type": "text/plain"}, 400),
        ({**PAGE, "content-type": "application/x-www-form-urlencoded"}, 400),
    ],
    ids=str,
)
def test_what_no_page_of_ours_sent_signs_nobody_in(headers: dict[str, str], status: int) -> None:
    with client() as browser:
        given = {"content-type": "application/json", **headers}
        answer = browser.post("/console/session", content=b'{"token": "%s"}' % TOKEN.encode(), headers=given)
        assert answer.status_code == status
        assert "set-cookie" not in answer.headers
        sign_in(browser)  # and what has a cookie gets no further by it
        if status == 403:
            assert browser.post("/console/session/end", content=b"{}", headers=given).status_code == 403
            assert browser.get("/console/session").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": ""},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": BASE, "host": "evil.example"},
        {"origin": BASE, "sec-fetch-site": "cross-site"},
        {"origin": BASE, "x-forwarded-for": "203.0.113.7"},
    ],
    ids=str,
)
def test_a_socket_opens_to_no_other_page_whatever_its_cookie(headers: dict[str, str]) -> None:
    with client() as browser:
        sign_in(browser)
        assert socket_opens(browser, {"origin": BASE})
        assert not socket_opens(browser, headers)
        browser.cookies.clear()
        assert not socket_opens(browser, {"origin": BASE})


BODIES = [b"", b"[]", b"{", b"\xff", b'{"token": 1}', b'{"token": []}', b"x" * 20_000]


@pytest.mark.parametrize("body", BODIES)
def test_an_unreadable_sign_in_is_refused(body: bytes) -> None:
    with client() as browser:
        given = {**PAGE, "content-type": "application/json"}
        assert browser.post("/console/session", content=body, headers=given).status_code == 400


def test_five_wrong_tries_a_minute_and_no_more() -> None:
    with client() as browser:
        assert [sign_in(browser, token="x" * 40).status_code for _ in range(5)] == [403] * 5
        late = sign_in(browser)
        assert late.status_code == 429
        assert 1 <= int(late.headers["retry-after"]) <= 61
        assert TOKEN not in late.text


def test_wrong_tries_are_forgotten_after_a_minute() -> None:
    times_s = [0.0, 10.0, 20.0, 30.0, 40.0]
    peers = Peers(insecure=True, public_url=None, host="127.0.0.1")
    right = SignIn(settings(), peers, lambda: times_s.pop(0) if len(times_s) > 1 else times_s[0])
    for _ in range(5):
        assert not right.opens("203.0.113.7", token="x")
    with pytest.raises(TooManyTries) as found:
        right.opens("203.0.113.7", token=TOKEN)
    assert found.value.wait_s == 20
    assert right.opens("203.0.113.8", token=TOKEN)
    times_s[0] = 60.0
    assert right.opens("203.0.113.7", token=TOKEN)


def test_two_host_headers_are_no_host() -> None:
    """RFC 9112, section 3.2: such a request is to be refused, whichever of them is right."""
    right = SignIn(signed(), Peers(insecure=False, public_url=PUBLIC, host="127.0.0.1"))
    for hosts, shown in ((["voice.example.com"], True), (["voice.example.com", "evil.example"], False)):
        headers = [(b"host", host.encode()) for host in hosts]
        scope = {"type": "http", "scheme": "https", "client": ("203.0.113.7", 5), "headers": headers}
        assert (right.page_fault(HTTPConnection(scope)) is None) is shown


def test_a_demo_s_code_is_good_once() -> None:
    demo = load_settings(demo=True, insecure=True, upstream_url=UPSTREAM, env_file=None)
    assert demo.console_code is not None
    with client(demo) as browser:
        assert sign_in(browser, code="wrong").status_code == 403
        assert sign_in(browser, token="").status_code == 403
        assert sign_in(browser, code=demo.console_code).status_code == 200
        browser.cookies.clear()
        assert sign_in(browser, code=demo.console_code).status_code == 403
        assert browser.get("/console/session").status_code == 401


def test_no_code_opens_it_but_in_a_demo() -> None:
    assert settings().console_code is None
    with client() as browser:
        assert sign_in(browser, code="").status_code == 403
        assert sign_in(browser, code="None").status_code == 403


def test_behind_a_proxy_the_cookie_is_for_https_only() -> None:
    page = {**PROXIED, "origin": PUBLIC, "x-bridge-console": "1"}
    with client(signed(), PUBLIC) as browser:
        cookie = sign_in(browser, page).headers["set-cookie"].lower()
        assert cookie.startswith("__host-bridge=")
        assert {"secure", "httponly", "samesite=strict", "path=/"} <= set(cookie.split("; "))
        assert browser.get("/console/session", headers=PROXIED).status_code == 200
        assert socket_opens(browser, page)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "voice.example.com", "x-forwarded-proto": "http"},
        {"host": "voice.example.com", "x-forwarded-proto": "https, http"},
        {"host": "voice.example.com"},
        {"host": "evil.example", "x-forwarded-proto": "https"},
        {"host": "127.0.0.1:5050", "x-forwarded-proto": "https"},
        {"host": "voice.example.com", "forwarded": "for=1.2.3.4;proto=http"},
    ],
    ids=str,
)
def test_plain_http_from_elsewhere_is_refused(headers: dict[str, str]) -> None:
    with client(signed(), "http://voice.example.com") as browser:
        assert browser.get("/console", headers=headers).status_code == 403
        assert sign_in(browser, {**PAGE, **headers, "origin": PUBLIC}).status_code == 403


def test_a_session_of_this_machine_is_no_session_elsewhere() -> None:
    with client(signed()) as browser:
        local = sign_in(browser).cookies["bridge-console"]
        browser.cookies.clear()
        browser.cookies.set("__Host-bridge", local)
        assert browser.get("/console/session", headers=PROXIED).status_code == 401
        assert browser.get("/console/session").status_code == 401


def test_another_page_s_cookie_is_no_session() -> None:
    with client() as browser:
        browser.get("/phone")
        browser.cookies.set("bridge-console", browser.cookies["bridge-page"])
        assert browser.get("/console/session").status_code == 401


def test_everything_comes_under_a_strict_policy() -> None:
    with client() as browser:
        sign_in(browser)
        for path in ("/console", "/console/session", "/console/icon.svg"):
            answer = browser.get(path)
            assert answer.status_code == 200, path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"
            assert "microphone=()" in answer.headers["permissions-policy"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"console_token": "short"}, "BRIDGE_CONSOLE_TOKEN"),
        ({"api_keys": f"ops={TOKEN}"}, "BRIDGE_CONSOLE_TOKEN"),
        ({"public_url": "http://127.0.0.1:5050", "host": "0.0.0.0"}, "BRIDGE_CONSOLE_TOKEN"),
        ({"console_phone": "ann"}, "BRIDGE_CONSOLE_PHONE"),
    ],
    ids=str,
)
def test_settings_that_would_give_it_away_are_refused(given: dict[str, str], name: str) -> None:
    with pytest.raises(WrongSettings) as found:
        signed(**given)
    assert name in {one.name for one in found.value.mistakes}
    assert TOKEN not in str(found.value)
