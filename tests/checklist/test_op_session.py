"""OP-31 to OP-35: formats, the session's mapping, the end, and what is newer."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types.realtime.realtime_audio_formats import AudioPCMU

from bridge.agents.agent import Agent
from bridge.agents.tools import tool
from bridge.client.config import SessionOptions, audio_format
from bridge.client.events import AudioInterrupted, ConnectionChanged, ConnectionState, ModelEvent
from bridge.client.model import RealtimeModel
from bridge.codecs import PCM_24K, PCMA, PCMU, AudioFormat
from bridge.core import messages as m
from bridge.doubles.agents import Scripted, Speech, ToolCall
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.errors import ConfigError, ConnectionLost, NotConnected
from bridge.simulators.servers import EmbeddedUpstream
from bridge.sockets.dial import DialError
from bridge.sockets.limits import Limits
from tests.checklist.stage import Stage, audio_done, called, delta, done, error, play, settled, started
from tests.loops import both_loops, until
from tests.upstreams.published import client_event

pytestmark = pytest.mark.runs_with(function=play)


@tool
def weather(town: str) -> str:
    """What the weather is like."""
    return town


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("pcm16", PCM_24K),
        ("g711_ulaw", PCMU),
        ("g711_alaw", PCMA),
        ("audio/pcmu", PCMU),
        ({"type": "audio/pcm", "rate": 24_000}, PCM_24K),
        (AudioPCMU(type="audio/pcmu"), PCMU),
        (SimpleNamespace(type="audio/pcma"), PCMA),
        (PCMA, PCMA),
        (None, None),
    ],
)
def test_op_31_a_format_by_any_of_its_names(given: Any, expected: AudioFormat | None) -> None:
    assert audio_format(given) == expected


def test_op_31_a_format_that_there_is_not() -> None:
    for nonsense in ("mp3", {"rate": 8}, 7):
        with pytest.raises(ConfigError, match="audio format"):
            audio_format(nonsense)


def test_op_32_every_field_has_its_place_and_the_vendor_knows_it() -> None:
    options = SessionOptions(
        instructions="Be brief.",
        voice="voice_1234",
        speed=1.1,
        modalities=["audio", "text"],
        input_format="g711_ulaw",
        output_format="pcm16",
        transcription="gpt-transcribe",
        turn_detection={"type": "server_vad", "threshold": 0.4},
        noise_reduction="far_field",
        max_output_tokens=100,
        tool_choice="required",
        tools=[weather],
        handoffs=[Agent(name="sales")],
        prompt={"id": "pmpt_1", "version": "2", "variables": {"name": "Ada"}},
        overrides={"truncation": "auto"},
    )
    tree = options.tree()
    client_event(json.dumps({"type": "session.update", "session": tree}))
    assert tree["audio"] == {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "gpt-transcribe"},
            "turn_detection": {
                "type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 300, "silence_duration_ms": 500,
                "create_response": True, "interrupt_response": True,
            },
            "noise_reduction": {"type": "far_field"},
        },
        "output": {
            "format": {"type": "audio/pcm", "rate": 24_000}, "voice": {"id": "voice_1234"}, "speed": 1.1,
        },
    }  # fmt: skip
    assert tree["output_modalities"] == ["audio"]
    assert [one["name"] for one in tree["tools"]] == ["weather", "hand_off_to_sales"]
    assert (tree["max_output_tokens"], tree["tool_choice"]) == (100, "required")
    assert tree["prompt"]["variables"] == {"name": "Ada"}
    assert tree["truncation"] == "auto"


def test_op_32_what_is_not_set_is_not_sent_and_none_is_said() -> None:
    assert SessionOptions().tree() == {"type": "realtime"}
    assert SessionOptions(instructions="", tool_choice="auto", max_output_tokens="inf").tree() == {
        "type": "realtime", "instructions": "", "tool_choice": "auto", "max_output_tokens": "inf",
    }  # fmt: skip
    nothing = SessionOptions(turn_detection=None, transcription=None, noise_reduction=None).tree()
    heard = {"turn_detection": None, "transcription": None, "noise_reduction": None}
    assert nothing == {"type": "realtime", "audio": {"input": heard}}


async def test_op_32_defaults_are_asked_for_at_the_start() -> None:
    stage = Stage(options=SessionOptions(voice="cedar"))
    await stage.model.connect()
    (first, *_) = stage.sent("session.update")
    pcm = {"type": "audio/pcm", "rate": 24_000}
    assert first["session"] == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"output": {"voice": "cedar", "format": pcm}, "input": {"format": pcm}},
    }
    await stage.model.close()


def test_op_33_only_functions_are_tools_and_handoffs_become_some() -> None:
    for nonsense in ({"type": "web_search"}, {"type": "function"}, len):
        with pytest.raises(ConfigError, match="is no function tool"):
            SessionOptions(tools=[nonsense]).tree()
    function = {"type": "function", "name": "look"}
    tools = SessionOptions(
        tools=[function], handoffs=[Agent(name="sales", description="Sells."), weather]
    ).tree()["tools"]
    assert [one["type"] for one in tools] == ["function"] * 3
    assert "Sells." in tools[1]["description"]


async def test_op_34_closing_leaves_nothing_and_may_be_done_again() -> None:
    stage = Stage()
    await stage.model.close()
    await stage.begin()
    task = stage.model._task
    await stage.model.close()
    await stage.model.close()
    assert task is not None
    assert task.done()
    assert (stage.model._task, stage.model._transport, stage.model._core) == (None, None, None)
    assert not stage.transport.connected
    with pytest.raises(NotConnected):
        await stage.model.respond()


async def test_op_35_responses_are_asked_for_one_after_another() -> None:
    stage = Stage()
    await stage.begin()
    model = stage.model
    await model.respond("First.")
    await model.send_raw({"type": "response.create", "response": {"instructions": "Second."}})
    await model.respond("Third.")
    asked = stage.sent("response.create")
    assert [event["response"]["instructions"] for event in asked] == ["First."]
    await stage.server(started(tag="ask:1"), done())
    asked = stage.sent("response.create")
    assert [event["response"]["instructions"] for event in asked] == ["First.", "Second."]
    assert asked[1]["response"]["metadata"] == {"tag": "ask:2"}
    # One that the server began by itself came in between: ours waits, and is asked for again.
    await stage.server(started("r2"), error("conversation_already_has_active_response", "create:ask:2"))
    assert len(stage.sent("response.create")) == 2
    await stage.server(done("r2"))
    asked = stage.sent("response.create")
    assert [event["response"]["metadata"]["tag"] for event in asked] == ["ask:1", "ask:2", "ask:2"]


async def test_op_35_a_response_waits_for_the_session_that_was_asked_for() -> None:
    stage = Stage()
    await stage.begin()
    stage.updates = False
    await stage.model.update_session(SessionOptions(instructions="You sell."))
    await stage.model.respond()
    assert stage.sent("response.create") == []
    await stage.server(stage._frame({"type": "session.updated"}))
    assert len(stage.sent("response.create")) == 1


async def test_op_35_a_refused_request_lets_the_next_one_go() -> None:
    stage = Stage()
    await stage.begin()
    await stage.model.respond()
    await stage.model.respond()
    await stage.server(error("invalid_value", "create:ask:1"))
    assert [event["response"]["metadata"]["tag"] for event in stage.sent("response.create")] == [
        "ask:1",
        "ask:2",
    ]


async def test_op_35_an_aside_runs_beside() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started())
    await stage.model.send_raw(
        {"type": "response.create", "response": {"conversation": "none", "metadata": {"mine": "1"}}}
    )
    (aside,) = stage.sent("response.create")
    assert aside["response"] == {"conversation": "none", "metadata": {"mine": "1", "tag": "ask:1"}}
    await stage.model.respond()
    assert len(stage.sent("response.create")) == 1
    await stage.server(done())
    assert len(stage.sent("response.create")) == 2


async def test_op_35_a_batch_of_calls_is_answered_by_one_response() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), called("c1", "f1"), called("c2", "f2"), done())
    await stage.model.send_tool_output("c2", "2")
    assert stage.sent("response.create") == []
    await stage.model.send_tool_output("c1", "1")
    assert len(stage.sent("response.create")) == 1


@both_loops
async def test_op_35_the_sockets_limits_are_ones_own() -> None:
    upstream = EmbeddedUpstream(lambda: RealtimeServer(Scripted([]), ServerOptions()))
    async with upstream.serve() as url:
        tight = Limits(max_size_bytes=100, close_timeout_s=0.2)
        model = RealtimeModel(url=url, headers={}, transport_options={"limits": tight})
        with pytest.raises(ConnectionLost, match="over 100 bytes"):
            await model.connect()
    model = RealtimeModel(url="ws://127.0.0.1:9", headers={}, transport_options={"open_timeout_s": 0.001})
    with pytest.raises(DialError):
        await model.connect()


async def test_op_35_usage_comes_with_the_end_of_a_response() -> None:
    stage = Stage()
    await stage.begin()
    tokens = {"input_token_details": {"text_tokens": 7}, "output_token_details": {"audio_tokens": 9}}
    await stage.server(started(), done(usage=tokens))
    assert stage.told(m.ResponseDone)[0].usage == m.Usage(text_in=7, audio_out=9)


async def test_op_35_no_truncation_beyond_what_came_and_every_item_is_settled() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), delta(200), audio_done(), delta(200, "i2"), delta(200, "i3"))
    stage.now_ms = 250
    await stage.model.interrupt()
    assert [
        (event["item_id"], event["audio_end_ms"]) for event in stage.sent("conversation.item.truncate")
    ] == [("i2", 50)]
    assert [event["item_id"] for event in stage.sent("conversation.item.delete")] == ["i3"]
    assert [event.item_id for event in stage.told(AudioInterrupted)] == ["i2"]
    await stage.server(done(status="cancelled"), started("r2"), delta(100, "i4", "r2"))
    stage.now_ms = 5_000
    await stage.model.interrupt()  # more was to come: what came was heard
    assert stage.sent("conversation.item.truncate")[-1]["audio_end_ms"] == 100


async def test_op_35_an_approval_is_asked_for_and_answered() -> None:
    stage = Stage()
    await stage.begin()
    item = {"id": "a1", "type": "mcp_approval_request", "name": "pay", "arguments": "{}"}
    await stage.server({"type": "conversation.item.done", "item": item})
    (note,) = stage.told(m.VendorNote)
    assert note.kind == "mcp_approval_request"
    await stage.model.approve("a1", approve=False, reason="too much")
    (answer,) = stage.sent("conversation.item.create")
    client_event(json.dumps(answer))
    assert answer["item"]["approve"] is False


async def test_op_35_the_end_of_the_stream_is_an_event() -> None:
    stage = Stage()
    await stage.begin()
    stage.transport.finish()
    await settled()
    assert stage.told(ConnectionChanged) == [ConnectionChanged(ConnectionState.DISCONNECTED)]


@both_loops
async def test_op_35_a_whole_turn_over_sockets_every_frame_published() -> None:
    script = Scripted(
        [[Speech(400, "One moment."), ToolCall("weather", {"town": "Rome"})], Speech(400, "Sunny.")]
    )
    upstream = EmbeddedUpstream(lambda: RealtimeServer(script, ServerOptions(latency_ms=0)))
    events: list[ModelEvent] = []
    async with upstream.serve() as url:
        options = SessionOptions(tools=[weather], input_format="g711_ulaw", output_format="g711_ulaw")
        model = RealtimeModel(url=url, headers={}, options=options)
        model.add_listener(events.append)

        async def answer(event: ModelEvent) -> None:
            if isinstance(event, m.ToolCalled):
                await model.send_tool_output(event.call_id, weather(**json.loads(event.arguments)))

        model.add_listener(answer)
        await model.connect()
        await model.send_text("What is the weather in Rome?")
        await until(lambda: sum(isinstance(event, m.ResponseDone) for event in events) == 2)
        await model.close()
    machine = upstream.sessions[0].machine
    assert isinstance(machine, RealtimeServer)
    assert machine.errors == []
    assert [item.type for item in machine.items.values()] == [
        "message", "message", "function_call", "function_call_output", "message",
    ]  # fmt: skip
    for event in machine.log:
        client_event(json.dumps(event))
