"""OP-1 to OP-12: connecting, listeners, and a loop that nothing ends but the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bridge.client.config import SessionOptions
from bridge.client.events import Audio, ConnectionState, Failed, ItemUpdated, ModelEvent, RawEvent
from bridge.client.model import RealtimeModel
from bridge.errors import AlreadyConnected, ConfigError, ConnectionLost
from bridge.simulators.memory_sockets import pair
from bridge.sockets.dial import Socket
from tests.checklist.stage import PHONE, Stage, delta, play, settled, started
from tests.loops import both_loops, until

pytestmark = pytest.mark.runs_with(function=play)


async def asked(client: RealtimeModel, /, **given: Any) -> tuple[str, Mapping[str, str]]:
    """The URL and headers that a model connects with."""
    seen: list[tuple[str, Mapping[str, str]]] = []

    async def connector(url: str, headers: Mapping[str, str]) -> Socket:
        seen.append((url, headers))
        return pair()[0]

    client._transport_options["connector"] = connector
    await client.connect(**given)
    await client.close()
    return seen[0]


async def test_op_01_the_default_model_and_another() -> None:
    url, _ = await asked(RealtimeModel(api_key="k"))
    assert url == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"
    url, _ = await asked(RealtimeModel(api_key="k", model="a"), model="gpt-realtime-2.1-mini")
    assert url.endswith("?model=gpt-realtime-2.1-mini")


async def test_op_02_a_second_connect_is_refused() -> None:
    stage = Stage()
    first = asyncio.create_task(stage.model.connect())
    await asyncio.sleep(0)
    with pytest.raises(AlreadyConnected):
        await stage.model.connect()
    await first
    task = stage.model._task
    with pytest.raises(AlreadyConnected):
        await stage.model.connect()
    assert stage.model._task is task
    await stage.model.close()


async def test_op_03_a_call_is_joined_by_its_id_and_not_with_a_model() -> None:
    url, _ = await asked(RealtimeModel(api_key="k", call_id="rtc 1"))
    assert url == "wss://api.openai.com/v1/realtime?call_id=rtc%201"
    with pytest.raises(ConfigError, match="not both"):
        await RealtimeModel(api_key="k", call_id="rtc_1", model="m").connect()
    url, _ = await asked(RealtimeModel(api_key="k", url="wss://a.example/x?model=other", model="mine"))
    assert url == "wss://a.example/x?model=other"


async def test_op_04_headers_are_used_as_they_are_and_a_key_must_come_from_somewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def later() -> str:
        return "sk-later"

    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    _, headers = await asked(RealtimeModel(headers={"api-key": "mine"}, api_key="not this"))
    assert headers == {"api-key": "mine"}
    for key, bearer in (
        ("sk-a", "sk-a"),
        (lambda: "sk-b", "sk-b"),
        (later, "sk-later"),
        (None, "sk-environment"),
    ):
        _, headers = await asked(RealtimeModel(api_key=key))
        assert headers["Authorization"] == f"Bearer {bearer}"
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="key"):
        await RealtimeModel().connect()


@both_loops
async def test_op_05_it_says_who_it_is_listens_before_it_asks_and_takes_large_frames() -> None:
    _, headers = await asked(RealtimeModel(api_key="k"))
    assert headers["User-Agent"].startswith("phonebridge")
    got: list[dict[str, Any]] = []

    async def large(socket: ServerConnection) -> None:
        got.append(json.loads(await socket.recv()))
        session = {"type": "realtime", "instructions": "Be brief. " * 500_000}
        await socket.send(json.dumps({"type": "session.updated", "session": session}))
        await socket.wait_closed()

    async with serve(large, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        model = RealtimeModel(url=f"ws://127.0.0.1:{port}", headers={})
        events: list[ModelEvent] = []
        model.add_listener(events.append)
        await model.connect()
        assert model._task is not None
        await until(lambda: model.session is not None)
        assert model.session is not None
        assert len(model.session["instructions"]) == 5_000_000
        await model.close()
    (update,) = got
    assert update["type"] == "session.update"
    playout = {"voice": "marin", "format": {"type": "audio/pcm", "rate": 24_000}}
    assert update["session"]["audio"]["output"] == playout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PHONE, ["auto"]),
        (SessionOptions(tracing=None), []),
        (SessionOptions(tracing={"workflow_name": "w"}), [{"workflow_name": "w"}]),
    ],
)
async def test_op_06_tracing_is_asked_for_once_there_is_a_session(
    options: SessionOptions, expected: list[Any]
) -> None:
    stage = Stage(options=options)
    stage.transport._first = ()
    await stage.model.connect()
    await settled()
    assert all("tracing" not in event["session"] for event in stage.sent("session.update"))
    await stage.server(stage._frame({"type": "session.created"}))
    asked = [event["session"].get("tracing", "unset") for event in stage.sent("session.update")]
    assert asked == ["unset", *expected]


async def test_op_07_listeners_are_told_in_order_each_once_and_may_leave_while_told() -> None:
    stage = Stage()
    told: list[str] = []

    async def slow(_event: ModelEvent) -> None:
        await asyncio.sleep(0)
        told.append("slow")
        stage.model.remove_listener(slow)

    def quick(_event: ModelEvent) -> None:
        told.append("quick")

    stage.model.add_listener(slow)
    stage.model.add_listener(slow)
    stage.model.add_listener(quick)
    stage.model.remove_listener(print)
    await stage.model.connect()
    await settled()
    assert told[:2] == ["slow", "quick"]
    assert told.count("slow") == 1
    assert told.count("quick") == len(stage.events)  # nobody is passed over because another left


async def test_op_08_every_frame_is_told_raw_before_anything_is_made_of_it() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), delta(100), {"type": "response.mood.updated", "mood": "strange"})
    kinds = [event.event and event.event["type"] for event in stage.told(RawEvent)]
    assert kinds == ["response.created", "response.output_audio.delta", "response.mood.updated"]
    first = next(i for i, event in enumerate(stage.events) if isinstance(event, Audio))
    raw = stage.events[first - 1]
    assert isinstance(raw, RawEvent)
    assert json.loads(raw.frame)["type"] == "response.output_audio.delta"


async def test_op_09_neither_nonsense_nor_a_listener_that_raises_ends_the_loop() -> None:
    stage = Stage()
    await stage.begin()

    def fragile(event: ModelEvent) -> None:
        if isinstance(event, Audio):
            raise ZeroDivisionError

    stage.model.add_listener(fragile)
    await stage.server("{nonsense", "[1]", "[" * 3_000, started(), delta(20))
    reasons = [(type(event.error).__name__, event.what) for event in stage.told(Failed)]
    assert [what for _, what in reasons] == [*["reading a frame"] * 3, "in a listener"]
    assert reasons[3][0] == "ZeroDivisionError"
    await stage.server(delta(20))
    assert len(stage.told(Audio)) == 2


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (None, []),
        (ConnectionLost(1011, "server error"), ["closed unexpectedly"]),
    ],
)
async def test_op_10_a_normal_close_is_quiet_and_another_is_not(
    error: ConnectionLost | None, what: list[str]
) -> None:
    stage = Stage()
    await stage.begin()
    stage.transport.finish(error)
    await settled()
    assert [event.what for event in stage.told(Failed)] == what
    assert stage.model.state is ConnectionState.DISCONNECTED


async def test_op_10_a_transport_that_raises_is_told_as_such() -> None:
    class Broken:
        async def connect(self) -> None: ...
        async def send(self, frame: str) -> None: ...
        async def close(self) -> None: ...
        async def events(self) -> Any:
            yield '{"type":"x"}'
            raise OSError("gone")

    events: list[ModelEvent] = []
    model = RealtimeModel(transport=Broken)
    model.add_listener(events.append)
    await model.connect()
    await settled()
    assert [str(event.error) for event in events if isinstance(event, Failed)] == ["gone"]


async def test_op_11_a_null_where_an_id_may_be_is_no_matter_and_a_wrong_type_is_one_failure() -> None:
    stage = Stage()
    await stage.begin()
    item = {"id": "i1", "type": "message", "role": "user", "content": []}
    await stage.server({"type": "conversation.item.added", "previous_item_id": None, "item": item})
    assert [event.item.item_id for event in stage.told(ItemUpdated)] == ["i1"]
    assert stage.told(Failed) == []
    await stage.server({"type": "response.created", "response": "nonsense"}, started())
    assert [event.what for event in stage.told(Failed)] == ["reading response.created"]
    assert stage.model.responding


def test_op_12_a_raw_event_goes_as_it_is_without_nulls_or_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    from openai.types.realtime import InputAudioBufferClearEvent

    async def story() -> None:
        stage = Stage()
        await stage.begin()
        model = stage.model
        assert await model.send_raw({"type": "input_audio_buffer.commit", "event_id": None})
        assert await model.send_raw(InputAudioBufferClearEvent(type="input_audio_buffer.clear"))
        assert [json.loads(frame) for frame in stage.transport.sent] == [
            {"type": "input_audio_buffer.commit"},
            {"type": "input_audio_buffer.clear"},
        ]
        for nonsense in ({"no": "type"}, 7, {"type": "x", "y": object()}, None):
            assert not await model.send_raw(nonsense)
        assert len(stage.transport.sent) == 2

    play(story())
    assert caplog.text.count("not sent") == 4
