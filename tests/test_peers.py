"""Who may reach this process: where no call is signed this machine only, and nowhere another site's page.

The application is asked as any ASGI server would ask it, with the peer, headers and local address of a
request that came some way. None of its own code says what these are.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from bridge import ConfigError, Settings, create_app, load_settings
from bridge.doubles.agents import Parrot
from bridge.doubles.realtime import RealtimeServer
from bridge.server.service import Service
from bridge.simulators.servers import EmbeddedUpstream
from bridge.sockets.dial import DialError, dial

HERE = ("127.0.0.1", 40_000)
BOUND = ("127.0.0.1", 5050)
TOKEN = "an-invented-token-of-thirty-two-"
NOWHERE = "ws://127.0.0.1:9/v1/realtime"
FORMS = ("/incoming-call", "/after-stream", "/stream-status")


def insecure(**given: Any) -> Settings:
    return load_settings(
        env_file=None, **{"insecure": True, "upstream_url": NOWHERE, "journal": "off", **given}
    )


def signed(**given: Any) -> Settings:
    proof = {
        "public_url": "https://voice.example.com",
        "twilio_auth_token": TOKEN,
        "openai_api_key": "sk-invented",
    }
    return load_settings(env_file=None, **{**proof, "journal": "off", **given})


class Server:
    """A stranger's ASGI server around the application, which is mounted below `/phone`."""

    def __init__(self, settings: Settings, *, mounted: bool = False) -> None:
        self.phone: Any = create_app(settings)
        self.app = Starlette(routes=[Mount("/phone", app=self.phone)]) if mounted else self.phone
        self.below = "/phone" if mounted else ""

    async def _asked(
        self,
        kind: str,
        path: str,
        headers: list[tuple[str, str]],
        peer: tuple[str, int] | None,
        bound: tuple[str, int | None] | None,
        method: str,
        query: str,
    ) -> tuple[int, bytes]:
        """Status and body of the answer; 101 for a socket that is accepted."""
        form = b"CallSid=CA" + b"1" * 32 if method == "POST" else b""
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        if form:
            raw += [
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"content-length", b"%d" % len(form)),
            ]
        scope = {
            "type": kind, "asgi": {"version": "3.0"}, "http_version": "1.1", "root_path": "",
            "scheme": "ws" if kind == "websocket" else "http", "path": self.below + path,
            "query_string": query.encode(), "headers": raw, "client": peer, "server": bound,
            "subprotocols": [],
        }  # fmt: skip
        if kind == "http":
            scope["method"] = method
        incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if kind == "http":
            incoming.put_nowait({"type": "http.request", "body": form, "more_body": False})
        else:
            incoming.put_nowait({"type": "websocket.connect"})
        status, body = 0, b""

        async def send(message: Any) -> None:
            nonlocal status, body
            match message["type"]:
                case "http.response.start":
                    status = message["status"]
                case "http.response.body":
                    body += message.get("body", b"")
                case "websocket.accept":
                    status = 101
                    incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})
                case "websocket.close" if not status:
                    status = 403

        with contextlib.suppress(ConnectionError):
            await self.app(scope, incoming.get, send)
        if kind == "http" and status == 200 and path == "/incoming-call":
            await self.phone.state.service.registry.shut_down()
        return status, body

    def asked(
        self,
        path: str,
        *,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        host: str | None = "127.0.0.1:5050",
        peer: tuple[str, int] | None = HERE,
        bound: tuple[str, int | None] | None = BOUND,
        method: str = "GET",
        query: str = "",
    ) -> tuple[int, bytes]:
        """`server` of the scope is `bound`: what the server's socket says, not what the request does."""
        sent = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        if host is not None:
            sent.insert(0, ("Host", host))
        kind = "websocket" if path == "/media-stream" else "http"
        return asyncio.run(self._asked(kind, path, sent, peer, bound, method, query))

    def statuses(self, **how: Any) -> list[int]:
        """Of every form and of the stream, asked in that way."""
        forms = [self.asked(path, method="POST", **how)[0] for path in FORMS]
        return [*forms, self.asked("/media-stream", **how)[0]]


SERVED = [200, 200, 204, 101]
REFUSED = [403] * 4


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "mounted"])
def server(request: pytest.FixtureRequest) -> Server:
    return Server(insecure(), mounted=request.param)


# --- where no call is signed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("127.0.0.1:5050", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.53"),
        ("LocalHost:5050", "::1"),
        ("[::1]:5050", "::1"),
        ("localhost", "::ffff:127.0.0.1"),
    ],
)
def test_this_machine_is_served(server: Server, host: str, peer: str) -> None:
    assert server.statuses(host=host, peer=(peer, 40_000)) == SERVED


@pytest.mark.parametrize(
    "peer", ["192.168.1.7", "10.0.0.1", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0", "", "here"]
)
def test_no_other_machine_is(server: Server, peer: str) -> None:
    assert server.statuses(peer=(peer, 40_000)) == REFUSED
    assert server.asked("/metrics", peer=(peer, 40_000))[0] == 403


def test_nor_whoever_has_no_address(server: Server) -> None:
    """Behind a Unix socket stands a proxy."""
    assert server.statuses(peer=None, bound=("/run/phone.sock", None)) == REFUSED


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:5050", "127.0.0.1.evil.example", "localhost.evil.example:5050",
        "127.0.0.1@evil.example", "evil.example#127.0.0.1", "0.0.0.0:5050", "[::]:5050", "192.168.1.7:5050",
        "localhost:5050, evil.example", "", None,
    ],
)  # fmt: skip
def test_nor_a_page_whose_name_leads_to_this_machine(server: Server, host: str | None) -> None:
    """DNS rebinding: the peer is this machine's own browser, and to it the page and we are one site."""
    name = (host or "evil.example").partition(":")[0]
    assert server.statuses(host=host) == REFUSED
    assert server.statuses(host=host, headers={"Origin": f"http://{name}:5050"}) == REFUSED
    assert server.asked("/metrics", host=host)[0] == 403


def test_nor_two_hosts_in_one_request(server: Server) -> None:
    assert server.statuses(headers=[("Host", "evil.example")]) == REFUSED


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded", "Via",
        "CF-Connecting-IP", "CF-Ray", "Cf-Visitor", "Fly-Client-IP", "Fly-Request-Id", "ngrok-trace-id",
        "Ngrok-Skip-Browser-Warning", "X-Real-IP", "Tailscale-User-Login",
        "CDN-Loop", "Client-IP", "X-Client-IP", "X-Azure-ClientIP", "X-Azure-Ref", "X-Azure-SocketIP",
        "X-FD-HealthProbe", "X-Amzn-Trace-Id", "X-Amz-Cf-Id", "X-Localtunnel-Agent-Ips",
        "X-Cluster-Client-IP", "X-Envoy-External-Address", "X-Envoy-Expected-Rq-Timeout-Ms", "X-Remote-IP",
        "X-Remote-Addr", "X-ARR-SSL", "X-AppEngine-User-IP", "X-Cloud-Trace-Context", "X-Vercel-Id",
        "X-NF-Client-Connection-Ip", "Fastly-Client-IP", "X-Railway-Edge", "X-Akamai-Config-Log-Detail",
    ],
)  # fmt: skip
def test_nor_who_comes_through_a_tunnel(server: Server, header: str) -> None:
    """Whoever it is, the tunnel's client on this machine is the peer, and it may rewrite `Host`."""
    for value in ("127.0.0.1", ""):
        assert server.statuses(headers={header: value}) == REFUSED


def test_a_tunnel_s_peer_is_not_believed_to_be_this_machine() -> None:
    """A server that takes the peer from a header (uvicorn does by default) may be told any word."""
    server = Server(insecure())
    for word in ("127.0.0.1", "testclient", "localhost"):
        assert server.statuses(peer=(word, 0), headers={"X-Forwarded-For": word}) == REFUSED


def test_the_bound_address_is_a_name_too() -> None:
    """`HOST=127.0.0.2`, and what a mounted application's own server listens on."""
    assert Server(insecure(host="127.0.0.2")).statuses(host="127.0.0.2:5050") == SERVED
    assert Server(insecure()).statuses(host="127.0.0.2:5050") == REFUSED
    assert Server(insecure()).statuses(host="127.0.0.2:5050", bound=("127.0.0.2", 5050)) == SERVED
    assert Server(insecure()).statuses(host="10.0.0.7:5050", bound=("10.0.0.7", 5050)) == REFUSED


def test_health_is_told_to_whoever_probes_and_readiness_says_for_whom() -> None:
    server = Server(insecure(), mounted=True)
    far: dict[str, Any] = {
        "peer": ("10.0.0.1", 40_000),
        "host": "10.0.0.7:5050",
        "headers": {"Via": "1.1 lb"},
    }
    assert server.asked("/healthz", **far) == (200, b'{"alive":true}')
    assert server.asked("/readyz") == (200, b'{"ready":true,"reasons":[]}')
    assert server.asked("/readyz", **far) == (503, b'{"ready":false,"reasons":["loopback only"]}')
    assert server.asked("/metrics")[0] == 200


def test_the_refusal_says_why_and_is_counted() -> None:
    server = Server(insecure())
    status, body = server.asked("/incoming-call", method="POST", headers={"X-Forwarded-For": "203.0.113.9"})
    assert (status, b"BRIDGE_INSECURE" in body, b"x-forwarded-for" in body) == (403, True, True)
    assert b'phonebridge_rejects_total{gate="peer"} 1.0' in server.asked("/metrics")[1]


def test_stream_urls_are_made_from_the_bound_address_ipv6_too() -> None:
    answer = Server(insecure(), mounted=True).asked(
        "/incoming-call", method="POST", host="[::1]:5050", peer=("::1", 40_000), bound=("::1", 5050)
    )
    assert b'url="ws://[::1]:5050/phone/media-stream"' in answer[1]


def test_starlette_s_test_client_is_this_machine() -> None:
    app = create_app(insecure())
    with TestClient(app, base_url="http://127.0.0.1:5050") as client:
        assert client.post("/stream-status", data={"CallSid": "CA1"}).status_code == 204
        assert client.post("/stream-status", headers={"Origin": "https://evil.example"}).status_code == 403


# --- pages -------------------------------------------------------------------------------------------------

FOREIGN = [
    "https://evil.example", "http://evil.example:5050", "null", "", "file://", "http://localhost:3000", "http://127.0.0.1",
    "http://127.0.0.1:50500", "http://127.0.0.1:5050.evil.example", "http://127.0.0.1:5050/", "chrome-extension://abc",
    "https://voice.example.com.evil.example", "http://voice.example.com", "https://voice.example.com:8443",
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_site_is_not_served(server: Server, origin: str) -> None:
    """`null` is a sandboxed frame; another port of this machine is another site; `Host` is right in each."""
    assert server.statuses(headers={"Origin": origin}) == REFUSED


@pytest.mark.parametrize("origin", ["http://127.0.0.1:5050", "http://localhost:5050", "http://[::1]:5050"])
def test_a_page_of_our_own_is(server: Server, origin: str) -> None:
    assert server.statuses(headers={"Origin": origin}) == SERVED
    two = [("Origin", origin), ("Origin", "https://evil.example")]
    assert server.statuses(headers=two) == REFUSED


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_an_image_or_a_link_rings_nobody(server: Server, site: str) -> None:
    """A GET of a page has no `Origin`."""
    query = f"CallSid=CA{1:032x}"
    assert server.asked("/incoming-call", headers={"Sec-Fetch-Site": site}, query=query)[0] == 403
    for ours in ("same-origin", "none"):
        assert server.asked("/incoming-call", headers={"Sec-Fetch-Site": ours}, query=query)[0] == 200


def test_where_calls_are_signed_a_page_is_turned_away_before_its_signature() -> None:
    server = Server(signed())
    outside: dict[str, Any] = {"peer": ("203.0.113.9", 40_000), "bound": ("10.0.0.7", 5050), "host": "x"}
    foreign = [*FOREIGN, "http://localhost:5050"]
    for origin in foreign:
        assert server.statuses(headers={"Origin": origin}, **outside) == REFUSED
    assert b'{gate="peer"} %d.0' % (4 * len(foreign)) in server.asked("/metrics", **outside)[1]
    ours = {"Origin": "https://voice.example.com"}
    assert server.statuses(headers=ours, **outside) == REFUSED  # for want of a signature
    assert b'{gate="signature"} 4.0' in server.asked("/metrics", **outside)[1]


def test_where_calls_are_signed_nobody_is_asked_where_they_come_from() -> None:
    """Platforms probe from their own addresses, with any `Host`, and proxies say that they are there."""
    server = Server(signed())
    far = {"Forwarded": "for=192.0.2.1", "X-Forwarded-For": "192.0.2.1", "Via": "1.1 vegur"}
    for path in ("/healthz", "/readyz", "/metrics"):
        assert server.asked(path, headers=far, peer=("10.0.0.1", 1), host="10.0.0.7")[0] == 200
        assert server.asked(path, headers=far, peer=None, host=None)[0] == 200


async def test_the_embedded_model_is_no_other_site_s() -> None:
    """Any client may come, a page of this machine too."""

    upstream = EmbeddedUpstream(lambda: RealtimeServer(Parrot(b"")))
    async with upstream.serve() as url:
        for origin in ("https://evil.example", "null", "http://[", "http://localhost.evil.example"):
            with pytest.raises(DialError, match="403"):
                await dial(url, {"Origin": origin})
        for origin in ("http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080"):
            (await dial(url, {"Origin": origin})).close()
        (await dial(url, {})).close()


# --- and who answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "sk-invented"])
def test_an_application_without_a_model_is_never_made(key: str | None) -> None:
    """The embedded one is started by `serve` alone; a key is not yet the wish to use it here."""
    settings = load_settings(env_file=None, insecure=True, openai_api_key=key)
    with pytest.raises(ConfigError, match="BRIDGE_UPSTREAM=openai"):
        create_app(settings)
    told = load_settings(env_file=None, insecure=True, openai_api_key="sk-invented", upstream="openai")
    create_app(told).state.service.close()


def test_without_a_model_nobody_is_let_in_and_readiness_says_so() -> None:
    """However it came to be made."""
    from bridge.server.routes import create_app as routes

    service = Service(load_settings(env_file=None, insecure=True), watched=False)
    with TestClient(routes(service.settings, service.registry), base_url="http://127.0.0.1:5050") as client:
        assert client.get("/readyz").json() == {"ready": False, "reasons": ["no model"]}
        answer = client.post("/incoming-call", data={"CallSid": "CA1"})
        assert "<Connect" not in answer.text
        assert len(service.registry) == 0
    service.close()
