"""SQ: a connection as an object with four methods, and what a session makes of it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Mapping
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.client.config import SessionOptions
from bridge.client.events import Failed, Phase, ResponseTraced
from bridge.client.model import RealtimeModel
from bridge.core import messages as m
from bridge.doubles.agents import Parrot
from bridge.doubles.options import Drop, ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.errors import AlreadyConnected, ConfigError, ConnectionLost, NotConnected
from bridge.simulators.memory_sockets import MemorySocket, pair
from bridge.simulators.servers import EmbeddedUpstream
from bridge.sockets.dial import DialError, Socket, dial
from bridge.sockets.transport import Key, MemoryTransport, RealtimeTransport, WebSocketTransport
from tests.checklist.stage import Stage, audio_done, delta, done, error, play, settled, speech, started
from tests.loops import both_loops

pytestmark = pytest.mark.runs_with(function=play)


def embedded(**options: Any) -> EmbeddedUpstream:
    return EmbeddedUpstream(lambda: RealtimeServer(Parrot(), ServerOptions(latency_ms=0, **options)))


async def refusing(status: str, body: bytes = b"", extra: str = "") -> tuple[asyncio.Server, str, list[str]]:
    """A server that answers every handshake with that; its URL, and the heads of the requests."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = f"HTTP/1.1 {status}\r\n{extra}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime", heads


async def asked_with(**given: Any) -> tuple[str, Mapping[str, str]]:
    """Which URL and headers a transport asks its connector for."""
    asked: list[tuple[str, Mapping[str, str]]] = []

    async def connector(url: str, headers: Mapping[str, str]) -> Socket:
        asked.append((url, headers))
        return pair()[0]

    await WebSocketTransport(connector=connector, **given).connect()
    return asked[0]


def test_sq_01_the_protocol_has_four_methods_and_frames_are_text() -> None:
    methods = [name for name, _ in inspect.getmembers(RealtimeTransport, inspect.isfunction)]
    assert [name for name in methods if not name.startswith("_")] == ["close", "connect", "events", "send"]
    frames: list[RealtimeTransport] = [MemoryTransport(), WebSocketTransport()]
    assert all(inspect.isasyncgen(one.events()) for one in frames)


async def test_sq_02_errors_compare_by_equality() -> None:
    for one in (MemoryTransport(), WebSocketTransport(connector=lambda *_: _ready())):
        with pytest.raises(NotConnected) as before:
            await one.send("{}")
        await one.connect()
        with pytest.raises(AlreadyConnected) as twice:
            await one.connect()
        await one.close()
        with pytest.raises(NotConnected) as after:
            await one.send("{}")
        assert before.value == after.value == NotConnected() != twice.value == AlreadyConnected()
        assert len({NotConnected(), NotConnected(), AlreadyConnected()}) == 2


async def _ready() -> Socket:
    return pair()[0]


@both_loops
async def test_sq_03_failed_handshake_ends_events() -> None:
    body = json.dumps({"error": {"code": "invalid_api_key", "message": "no"}}).encode()
    server, url, _ = await refusing("401 Unauthorized", body)
    transport = WebSocketTransport(url=url, api_key="sk-invented")
    await transport.connect()
    assert [frame async for frame in transport.events()] == []
    assert isinstance(transport.last_error, DialError)
    assert (transport.last_error.status, transport.last_error.code) == (401, "invalid_api_key")
    with pytest.raises(NotConnected):
        await transport.send("{}")
    await transport.close()
    server.close()
    await server.wait_closed()
    nobody = WebSocketTransport(url=url)
    await nobody.connect()
    assert isinstance(nobody.last_error, DialError)
    assert (nobody.last_error.status, nobody.last_error.code) == (None, "unreachable")


def test_sq_04_the_defaults_are_the_vendors_address_and_the_model_of_today() -> None:
    assert WebSocketTransport().url == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"


@pytest.mark.parametrize(
    ("url", "model", "asked"),
    [
        ("wss://a.example/v1", "m 1&x=2", "wss://a.example/v1?model=m%201%26x%3D2"),
        ("wss://a.example/v1?api-version=2", "m/1", "wss://a.example/v1?api-version=2&model=m%2F1"),
        ("wss://a.example/v1?model=theirs", "mine", "wss://a.example/v1?model=theirs"),
        ("wss://a.example/v1?deployment=%C3%A9#x", "é", "wss://a.example/v1?deployment=%C3%A9&model=%C3%A9"),
    ],
)
def test_sq_05_the_model_joins_whatever_query_there_is(url: str, model: str, asked: str) -> None:
    assert WebSocketTransport(url=url, model=model).url == asked


def test_sq_06_the_key_is_a_header_and_others_are_merged_with_it() -> None:
    async def later() -> str:
        return "sk-invented"

    async def story() -> None:
        keys: list[Key] = ["sk-invented", lambda: "sk-invented", later, later()]
        for key in keys:
            _, headers = await asked_with(api_key=key, headers={"OpenAI-Project": "p"})
            assert headers == {"Authorization": "Bearer sk-invented", "OpenAI-Project": "p"}
        _, own = await asked_with(api_key="sk-invented", headers={"authorization": "Bearer mine"})
        assert own == {"authorization": "Bearer mine"}
        _, none = await asked_with()
        assert none == {}

    play(story())
    with pytest.raises(ConfigError, match="wss"):
        WebSocketTransport(url="ws://a.example/v1", api_key="sk-invented")


async def test_sq_06_a_key_that_cannot_be_had_ends_events_and_says_nothing_of_it() -> None:
    def broken() -> str:
        raise KeyError("sk-secret")

    transport = WebSocketTransport(api_key=broken)
    await transport.connect()
    assert [frame async for frame in transport.events()] == []
    assert isinstance(transport.last_error, DialError)
    assert transport.last_error.code == "bad_key"
    assert "secret" not in str(transport.last_error)


@both_loops
async def test_sq_07_address_proxy_and_connector_are_ones_own() -> None:
    proxy, url, heads = await refusing("502 Bad Gateway")
    host = url.split("/")[2]
    proxied = WebSocketTransport(url="ws://127.0.0.1:9/v1", proxy=f"http://{host}")
    await proxied.connect()
    assert heads[0].startswith("CONNECT 127.0.0.1:9 ")
    assert isinstance(proxied.last_error, DialError)
    assert proxied.last_error.code == "proxy"
    proxy.close()
    await proxy.wait_closed()
    url, headers = await asked_with(url="wss://a.example/openai?deployment=d", headers={"api-key": "k"})
    assert (url, headers) == (
        "wss://a.example/openai?deployment=d&model=gpt-realtime-2.1",
        {"api-key": "k"},
    )


@both_loops
async def test_sq_08_one_object_is_one_connection() -> None:
    upstream = embedded()
    async with upstream.serve() as url:
        one = WebSocketTransport(url=url)
        await one.connect()
        await one.close()
        with pytest.raises(AlreadyConnected):
            await one.connect()
        again = WebSocketTransport(url=url)
        await again.connect()
        assert "session.created" in await anext(again.events())
        await again.close()
    assert len(upstream.sessions) == 2


@both_loops
async def test_sq_09_every_frame_in_order_and_none_lost_before_anybody_reads() -> None:
    upstream = embedded()
    async with upstream.serve() as url:
        transport = WebSocketTransport(url=url)
        await transport.connect()
        for number in range(50):
            await transport.send(json.dumps({"type": "nonsense", "event_id": str(number)}))
        await asyncio.sleep(0.1)  # nobody reads yet
        events = transport.events()
        got = [json.loads(await anext(events)) for _ in range(52)]
        assert [event["type"] for event in got[:2]] == ["session.created", "conversation.created"]
        assert [event["error"]["event_id"] for event in got[2:]] == [str(number) for number in range(50)]
        await transport.send(json.dumps({"type": "response.create"}))
        assert json.loads(await anext(events))["type"] == "response.created"
        await transport.close()


@both_loops
@pytest.mark.parametrize("code", [1000, 1011, 1006])
async def test_sq_10_a_socket_that_ends_ends_the_stream(
    code: int,
) -> None:
    upstream = embedded(drops=(Drop("conversation.created", 1, code, "bye"),))
    async with upstream.serve() as url:
        transport = WebSocketTransport(url=url)
        await transport.connect()
        assert len([frame async for frame in transport.events()]) == 2
        assert (transport.last_error is None) == (code == 1000)


@both_loops
async def test_sq_10_closing_ends_the_stream_of_whoever_reads() -> None:
    upstream = embedded()
    async with upstream.serve() as url:
        transport = WebSocketTransport(url=url)
        await transport.connect()
        reading = asyncio.create_task(_all(transport))
        await asyncio.sleep(0.05)
        await transport.close()
        await transport.close()
        assert len(await reading) == 2
        assert transport.last_error is None


@both_loops
async def test_sq_10_a_connect_that_is_given_up_leaves_nothing() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{silent.sockets[0].getsockname()[1]}/"
    transport = WebSocketTransport(url=url)
    connecting = asyncio.create_task(transport.connect())
    await asyncio.sleep(0.05)
    await transport.close()
    await connecting
    assert [frame async for frame in transport.events()] == []
    silent.close()
    await silent.wait_closed()


async def _all(transport: RealtimeTransport) -> list[str]:
    return [frame async for frame in transport.events()]


async def test_sq_11_a_transport_of_ones_own_carries_a_model() -> None:
    class Mine:
        def __init__(self) -> None:
            self.sent: list[str] = []

        async def connect(self) -> None: ...

        async def send(self, frame: str) -> None:
            self.sent.append(frame)

        async def events(self) -> Any:
            yield '{"type":"session.created","session":{"type":"realtime"}}'

        async def close(self) -> None: ...

    mine = Mine()
    model = RealtimeModel(transport=lambda: mine)
    await model.connect()
    assert json.loads(mine.sent[0])["type"] == "session.update"
    await settled()
    assert model.state.value == "disconnected"  # its events are over


def test_sq_11_an_agent_takes_a_transport() -> None:
    agent = Agent("Hello.", transport=lambda _dial: MemoryTransport())
    assert callable(agent.transport)
    with pytest.raises(ConfigError, match="not supported"):
        Agent("Hello.", transport="pigeon")


async def test_sq_12_data_frames_are_text_and_the_end_has_a_reason() -> None:
    ours, theirs = pair()

    async def connector(_url: str, _headers: Mapping[str, str]) -> MemorySocket:
        return ours

    transport = WebSocketTransport(connector=connector)
    await transport.connect()
    theirs.send('{"n":"µ"}'.encode())
    theirs.send(b"\xff{")
    theirs.close(4000, "invalid_request_error.beta_api_shape_disabled")
    assert [frame async for frame in transport.events()] == ['{"n":"µ"}', "\N{REPLACEMENT CHARACTER}{"]
    assert transport.last_error == ConnectionLost(4000, "invalid_request_error.beta_api_shape_disabled")


async def test_sq_13_a_session_starts_speaks_is_interrupted_and_stops() -> None:
    stage = Stage()
    model = stage.model
    assert model.phase is Phase.IDLE
    await stage.begin()
    await model.send_audio(b"\xff" * 160)
    await model.send_text("Good day.", text_only=True)
    assert model.phase is Phase.THINKING
    kinds = [event["type"] for event in stage.sent()]
    assert kinds == ["input_audio_buffer.append", "conversation.item.create", "response.create"]
    assert stage.sent()[2]["response"]["output_modalities"] == ["text"]
    stage.now_ms = 100
    await stage.server(started(tag="ask:1"))
    stage.now_ms = 150
    await stage.server(delta(1_000))
    assert model.phase is Phase.SPEAKING
    stage.now_ms = 400
    await model.interrupt()
    assert stage.sent("conversation.item.truncate")[0]["audio_end_ms"] == 250
    await stage.server(done(status="cancelled"))
    (trace,) = stage.told(ResponseTraced)
    assert (trace.asked_ms, trace.started_ms, trace.first_audio_ms, trace.ended_ms) == (0, 100, 150, 400)
    await stage.server(speech())
    assert model.phase is Phase.LISTENING
    await model.close()
    assert model.phase is Phase.IDLE


async def test_sq_13_history_is_restored_as_text() -> None:
    stage = Stage()
    await stage.begin()
    await stage.model.restore([("user", "Hello."), ("assistant", "Good day.")])
    items = [event["item"] for event in stage.sent("conversation.item.create")]
    assert [(item["role"], item["content"][0]["type"]) for item in items] == [
        ("user", "input_text"),
        ("assistant", "output_text"),
    ]
    assert stage.model.history() == [("user", "Hello."), ("assistant", "Good day.")]
    assert stage.sent("response.create") == []


def test_sq_13_overrides_are_merged_deeply() -> None:
    options = SessionOptions(voice="cedar", overrides={"audio": {"output": {"speed": 1.2}}, "include": None})
    assert options.tree() == {
        "type": "realtime",
        "audio": {"output": {"voice": "cedar", "speed": 1.2}},
        "include": None,
    }


async def test_sq_14_each_item_is_truncated_to_what_was_heard_of_it_and_never_more() -> None:
    stage = Stage()
    await stage.begin()
    # A burst: both items arrive at once, and the second is heard only after the first.
    await stage.server(started(), delta(300), audio_done(), delta(803, "i2"))
    stage.now_ms = 700
    await stage.server(speech())
    assert stage.sent("conversation.item.truncate") == [
        {
            "type": "conversation.item.truncate",
            "item_id": "i2",
            "content_index": 0,
            "audio_end_ms": 400,
        }
    ]
    stage.transport.sent.clear()
    await stage.server(done(status="cancelled"), started("r2"), delta(100, "i3", "r2"))
    stage.now_ms = 100_000
    await stage.model.interrupt()
    for event in stage.sent("conversation.item.truncate"):
        assert event["audio_end_ms"] <= 100


async def test_sq_14_a_lost_race_is_no_fault_and_a_late_failure_ends_nobody_elses_response() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started("r2"), done("r1", "failed"))
    assert stage.model.responding
    assert stage.told(m.ResponseDone) == []
    await stage.server(error("response_cancel_not_active", "cancel:r1"))
    assert stage.told(m.UpstreamFaulted) == []
    assert stage.told(m.Noted) != []


async def test_sq_14_a_transport_that_is_lost_is_told() -> None:
    stage = Stage()
    await stage.begin()
    stage.transport.finish(ConnectionLost(1006, "reset"))
    await settled()
    (failed,) = stage.told(Failed)
    assert failed.error == ConnectionLost(1006, "reset")
    assert stage.model.state.value == "disconnected"
    with pytest.raises(NotConnected):
        await stage.model.send_text("Is anybody there?")


@both_loops
async def test_sq_07_the_dialler_of_the_calls_is_the_default() -> None:
    upstream = embedded()
    async with upstream.serve() as url:
        transport = WebSocketTransport(url=url, connector=dial)
        await transport.connect()
        assert transport.connected
        await transport.close()
