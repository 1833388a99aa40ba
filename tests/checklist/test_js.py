"""JS: the same client as the JavaScript SDK sees it, and its subclass for Twilio, which our calls are."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping

import pytest

from bridge.client.config import SessionOptions
from bridge.client.events import (
    Audio,
    AudioInterrupted,
    ConnectionChanged,
    ConnectionState,
    Failed,
    MarkWanted,
    ModelEvent,
    RawEvent,
)
from bridge.client.model import RealtimeModel
from bridge.client.playback import Playing
from bridge.codecs import PCM_24K, PCMU, AudioFormat
from bridge.core import messages as m
from bridge.core.caller_audio import CallerAudioBuffer
from bridge.doubles.agents import Parrot
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.errors import AlreadyConnected, ConfigError, NotConnected
from bridge.simulators.memory_sockets import pair
from bridge.simulators.servers import EmbeddedUpstream
from bridge.sockets.dial import DialError, Socket
from bridge.sockets.transport import MemoryTransport, WebSocketTransport
from tests.checklist.stage import (
    PHONE,
    SERVER,
    Stage,
    audio_done,
    delta,
    done,
    play,
    settled,
    speech,
    started,
)
from tests.loops import both_loops, until

pytestmark = pytest.mark.runs_with(function=play)


def truncated(stage: Stage) -> list[tuple[str, int]]:
    return [(event["item_id"], event["audio_end_ms"]) for event in stage.sent("conversation.item.truncate")]


@both_loops
async def test_js_01_it_is_used_alone_with_an_address_and_no_key() -> None:
    upstream = EmbeddedUpstream(lambda: RealtimeServer(Parrot(), ServerOptions(latency_ms=0)))
    async with upstream.serve() as url:
        model = RealtimeModel(url=url, headers={})
        heard: list[ModelEvent] = []
        model.add_listener(heard.append)
        await model.connect()
        await model.respond()
        await until(lambda: any(isinstance(event, m.ResponseDone) for event in heard))
        await model.close()
    assert sum(len(event.sound) for event in heard if isinstance(event, Audio)) > 0


async def test_js_02_the_state_is_known_and_each_change_is_told() -> None:
    stage = Stage()
    assert stage.model.state is ConnectionState.DISCONNECTED
    await stage.model.connect()
    assert stage.model.state is ConnectionState.CONNECTED
    await stage.model.close()
    assert [event.state.value for event in stage.told(ConnectionChanged)] == [
        "connecting",
        "connected",
        "disconnected",
    ]


@pytest.mark.parametrize("audio", [PCMU, PCM_24K])
async def test_js_03_a_muted_model_hears_silence_of_the_same_length(audio: AudioFormat) -> None:
    stage = Stage(options=SessionOptions(input_format=audio, output_format=audio))
    await stage.begin()
    assert stage.model.muted is False
    stage.model.muted = True
    await stage.model.send_audio(b"\x12\x34" * 80)
    stage.model.muted = False
    await stage.model.send_audio(b"\x12\x34" * 80)
    silent, loud = (event["audio"] for event in stage.sent("input_audio_buffer.append"))
    assert len(silent) == len(loud)
    assert b64decode(silent) == (audio.silent_sample * 160)[:160]


async def test_js_04_what_plays_is_open_to_see_and_a_subclass_may_take_the_sound() -> None:
    class Mine(RealtimeModel):
        taken: list[Audio]
        stops: list[AudioInterrupted]

        async def on_audio(self, audio: Audio) -> None:
            self.taken.append(audio)

        async def on_interrupted(self, interrupted: AudioInterrupted) -> None:
            self.stops.append(interrupted)

    transport = MemoryTransport()
    now = [0.0]
    model = Mine(transport=lambda: transport, options=PHONE, clock=lambda: now[0])
    model.taken, model.stops = [], []
    heard: list[ModelEvent] = []
    model.add_listener(heard.append)
    await model.connect()
    transport.say(*(json.dumps(event) for event in (started(), delta(1_000), delta(500))))
    await settled()
    now[0] = 0.2501
    assert model.playing == Playing("i1", 0, 250)
    core = model._core
    assert core is not None
    assert core.last_audio == ("i1", 0, 0)  # item, part, when its first sound came
    assert core.playout.conversation.items["i1"].received_bytes == 1_500 * 8
    await model.interrupt()
    assert len(model.taken) == 2
    assert model.stops == [AudioInterrupted("i1", 0, 250)]
    assert not any(isinstance(event, Audio | AudioInterrupted) for event in heard)
    await model.close()


async def test_js_05_whoever_only_wants_a_connection_gets_the_one_there_is() -> None:
    stage = Stage()
    await stage.model.ensure_connected()
    await stage.model.ensure_connected()
    with pytest.raises(AlreadyConnected):
        await stage.model.connect()
    await stage.model.close()


async def test_js_05_without_a_key_it_is_refused_and_an_ephemeral_one_will_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Mapping[str, str]] = []

    async def connector(_url: str, headers: Mapping[str, str]) -> Socket:
        seen.append(headers)
        return pair()[0]

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="key"):
        await RealtimeModel().connect()
    model = RealtimeModel(api_key=lambda: "ek_invented", transport_options={"connector": connector})
    await model.connect()
    await model.close()
    assert seen[0]["Authorization"] == "Bearer ek_invented"


@both_loops
async def test_js_06_a_key_goes_by_header_or_if_ephemeral_by_subprotocol_and_beta_is_never_spoken() -> None:
    requests: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    requests.clear()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"
    for key, browser in (("sk-1", False), ("ek_1", True), ("sk-2", True)):
        transport = WebSocketTransport(url=url, api_key=key, key_in_subprotocol=browser)
        await transport.connect()
        assert isinstance(transport.last_error, DialError)
    assert getattr(transport.last_error, "code", "") == "bad_key"  # never a standing key in a subprotocol
    header, subprotocol = requests
    assert "Authorization: Bearer sk-1" in header
    assert "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.ek_1" in subprotocol
    assert "authorization" not in subprotocol.lower()
    assert "beta" not in "".join(requests).lower()
    server.close()
    await server.wait_closed()
    upstream = EmbeddedUpstream(lambda: RealtimeServer(Parrot(), ServerOptions()))
    async with upstream.serve() as url:
        transport = WebSocketTransport(url=url, api_key="ek_1", key_in_subprotocol=True)
        await transport.connect()  # the server picks `realtime`
        assert transport.connected
        await transport.close()


async def test_js_07_a_handshake_that_fails_is_told_and_raised() -> None:
    refused = DialError("invalid_api_key", "Unauthorized", 401)
    events: list[ModelEvent] = []
    model = RealtimeModel(transport=lambda: MemoryTransport(error=refused))
    model.add_listener(events.append)
    with pytest.raises(DialError) as caught:
        await model.connect()
    assert caught.value.status == 401
    assert [type(event).__name__ for event in events] == [
        "ConnectionChanged",
        "Failed",
        "ConnectionChanged",
    ]
    assert model.state is ConnectionState.DISCONNECTED
    stage = Stage()
    await stage.begin()
    stage.transport.finish()
    await settled()
    assert stage.told(ConnectionChanged) == [ConnectionChanged(ConnectionState.DISCONNECTED)]


async def test_js_08_what_cannot_be_read_is_passed_on_raw() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server("{no", {"type": "something.new", "x": 1})
    assert [event.event for event in stage.told(RawEvent)] == [None, {"type": "something.new", "x": 1}]
    assert len(stage.told(Failed)) == 1
    assert stage.model.state is ConnectionState.CONNECTED


@pytest.mark.parametrize(("audio", "size_bytes"), [(PCMU, 800), (PCM_24K, 4_800)])
async def test_js_09_sound_is_measured_by_its_format_from_the_first_of_each_item(
    audio: AudioFormat, size_bytes: int
) -> None:
    stage = Stage(options=SessionOptions(input_format=audio, output_format=audio))
    await stage.begin()
    stage.now_ms = 1_000
    await stage.server(started(), delta(100, audio=audio))
    (one,) = stage.told(Audio)
    assert (one.item_id, one.part, one.response_id, len(one.sound)) == ("i1", 0, "r1", size_bytes)
    stage.now_ms = 1_040
    assert stage.model.playing == Playing("i1", 0, 40)
    await stage.server(audio_done(), delta(100, "i2", audio=audio))
    stage.now_ms = 1_130
    await stage.model.interrupt()
    assert truncated(stage) == [("i2", 30)]


@pytest.mark.parametrize("automatic", [True, False])
async def test_js_10_speech_interrupts_and_cancels_only_where_the_server_does_not(automatic: bool) -> None:
    stage = Stage(session={"audio": {"input": {"turn_detection": {"interrupt_response": automatic}}}})
    await stage.begin()
    await stage.server(started(), delta(500))
    stage.now_ms = 100
    await stage.server(speech())
    assert [event["type"] for event in stage.sent()] == [
        *([] if automatic else ["response.cancel"]),
        "conversation.item.truncate",
    ]


async def test_js_11_only_a_response_that_is_being_made_is_cancelled_and_once() -> None:
    stage = Stage()
    await stage.begin()
    assert not await stage.model.cancel_response()
    await stage.server(started())
    assert await stage.model.cancel_response()
    assert not await stage.model.cancel_response()
    assert [event["response_id"] for event in stage.sent("response.cancel")] == ["r1"]
    await stage.server(done(status="cancelled"))
    assert not await stage.model.cancel_response()


@pytest.mark.parametrize(("server", "asked"), [(None, ["auto"]), ("auto", [])])
async def test_js_12_tracing_is_asked_for_where_the_server_has_not_got_it(
    server: str | None, asked: list[str]
) -> None:
    stage = Stage(session={"tracing": server})
    await stage.model.connect()
    await settled()
    updates = stage.sent("session.update")
    assert [event["session"]["tracing"] for event in updates if "tracing" in event["session"]] == asked
    assert stage.model.session is not None
    await stage.model.close()


async def test_js_13_what_connect_is_given_goes_first_and_the_session_follows_the_open() -> None:
    seen: list[tuple[str, str]] = []

    async def connector(url: str, headers: Mapping[str, str]) -> Socket:
        seen.append((url, headers["Authorization"]))
        ours, theirs = pair()
        theirs.start(lambda frame: seen.append(("frame", json.loads(frame)["type"])), lambda *_: None)
        return ours

    model = RealtimeModel(
        url="wss://constructor.example/v1", api_key="a", transport_options={"connector": connector}
    )
    await model.connect(url="wss://options.example/v1", api_key=lambda: "b", model="m")
    await settled()
    await model.close()
    assert seen == [("wss://options.example/v1?model=m", "Bearer b"), ("frame", "session.update")]
    await model.connect()
    assert seen[2] == ("wss://constructor.example/v1?model=gpt-realtime-2.1", "Bearer a")
    await model.close()


async def test_js_14_without_a_connection_wishes_are_refused_and_sound_is_dropped() -> None:
    model = Stage().model
    for wish in (model.respond(), model.send_text("x"), model.send_raw({"type": "x"})):
        with pytest.raises(NotConnected, match="not connected"):
            await wish
    await model.send_audio(b"\xff" * 160, commit=True)
    await model.interrupt()


async def test_js_15_closing_forgets_what_played() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), delta(1_000))
    assert stage.model.playing is not None
    await stage.model.close()
    assert stage.model.playing is None
    assert not stage.model.responding
    stage.transport = MemoryTransport(stage._answer)
    stage.transport.say(json.dumps({"type": "session.created", "session": SERVER}))
    await stage.begin()
    await stage.model.interrupt()
    assert stage.sent() == []
    await stage.model.close()


@pytest.mark.parametrize(
    ("at_ms", "cut"), [(0, []), (1, [("i1", 1)]), (499, [("i1", 499)]), (500, []), (9_000, [])]
)
async def test_js_16_only_what_was_heard_in_part_is_truncated(at_ms: int, cut: list[tuple[str, int]]) -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), delta(500), audio_done(), done())
    stage.now_ms = at_ms
    await stage.model.interrupt()
    assert truncated(stage) == cut
    assert len(stage.told(AudioInterrupted)) == (1 if at_ms < 500 else 0)


async def test_js_16_first_the_player_then_the_cancel_then_the_truncation() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), delta(500))
    stage.now_ms = 100
    await stage.model.interrupt()
    assert [event["type"] for event in stage.sent()] == ["response.cancel", "conversation.item.truncate"]
    assert stage.sent()[1]["content_index"] == 0


async def test_js_17_an_interruption_of_ones_own_as_a_guardrail_does_it() -> None:
    stage = Stage()
    await stage.begin()

    async def guard(event: ModelEvent) -> None:
        if isinstance(event, m.TextDelta) and "secret" in event.text:
            await stage.model.interrupt()

    stage.model.add_listener(guard)
    await stage.model.interrupt()
    assert stage.sent() == []
    stage.now_ms = 100
    await stage.server(started(), delta(500))
    stage.now_ms = 220
    kind = "response.output_audio_transcript.delta"
    await stage.server({"type": kind, "response_id": "r1", "item_id": "i1", "delta": "the secret"})
    assert [event["type"] for event in stage.sent()] == ["response.cancel", "conversation.item.truncate"]
    assert truncated(stage) == [("i1", 120)]
    assert stage.model.playing is None


async def test_js_18_a_socket_that_is_open_already_can_be_brought_along() -> None:
    ours, theirs = pair()

    async def connector(_url: str, _headers: Mapping[str, str]) -> Socket:
        return ours

    theirs.send('{"type":"session.created","session":{"type":"realtime","id":"early"}}')
    await settled()
    model = RealtimeModel(headers={}, call_id="rtc_1", transport_options={"connector": connector})
    await model.connect()
    await settled()
    assert model.session is not None
    assert model.session["id"] == "early"
    await model.close()


async def test_js_18_a_connect_while_connecting_is_refused_and_a_failed_one_leaves_nothing() -> None:
    transports = [MemoryTransport(error=DialError("timeout", "late")), MemoryTransport()]
    model = RealtimeModel(transport=lambda: transports.pop(0))
    first = asyncio.create_task(model.connect())
    await asyncio.sleep(0)
    with pytest.raises(DialError):
        await first
    assert (model._task, model._transport, model._core) == (None, None, None)
    await model.connect()
    with pytest.raises(AlreadyConnected):
        await model.connect()
    await model.close()


async def test_js_18_milliseconds_are_whole_rounded_down_and_never_beyond_the_sound() -> None:
    stage = Stage()
    await stage.begin()
    event = delta(1)
    event["delta"] = b64encode(b"\xff" * 803).decode()  # 100.375 ms
    await stage.server(started(), event)
    stage.now_ms = 400
    await stage.model.interrupt(force=True)
    assert truncated(stage) == [("i1", 100)]
    assert isinstance(truncated(stage)[0][1], int)


async def test_js_18_a_response_can_be_asked_for_by_itself() -> None:
    stage = Stage()
    await stage.begin()
    await stage.model.send_text("x", respond=False)
    assert stage.sent("response.create") == []
    await stage.model.respond()
    assert len(stage.sent("response.create")) == 1


async def test_js_19_marks_cleared_are_forgotten_and_every_queued_item_is_settled() -> None:
    """What their subclass for Twilio does, our calls do, and a client that plays through a carrier too."""

    stage = Stage(playback="marks")
    await stage.begin()
    await stage.server(started(), delta(300), audio_done(), delta(300, "i2"), audio_done("i2"))
    names = [event.name for event in stage.told(MarkWanted)]
    stage.now_ms = 120
    await stage.server(speech())
    assert truncated(stage) == [("i1", 120)]
    assert [event["item_id"] for event in stage.sent("conversation.item.delete")] == ["i2"]
    stage.events.clear()
    for name in names:
        await stage.model.mark_reached(name)  # a clear sends them all back
    assert stage.events == []
    await stage.server(delta(300, "i2"), delta(300, "i3"))  # late sound of a response that was cut
    assert stage.told(Audio) == []
    await stage.server(done(status="cancelled"), started("r2"), delta(300, "i4", "r2"))
    assert len(stage.told(Audio)) == 1
    assert not {event.name for event in stage.told(MarkWanted)} & set(names)


def test_js_19_gaps_in_the_callers_sound_are_filled_with_silence() -> None:
    config = m.CallConfig()
    caller_audio = CallerAudioBuffer(config)
    caller_audio.open = True
    padded = caller_audio.stall(1)
    assert isinstance(padded, m.AppendAudio)
    assert set(b64decode(padded.audio)) == {0xFF}
