"""What is OpenAI's own: where to dial, the session tree, and whether what is in force is what we asked for.

https://developers.openai.com/api/docs/guides/realtime-websocket
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.messages import (
    AppendAudio,
    CancelResponse,
    CommitAudio,
    ConfigureSession,
    CreateItem,
    CreateResponse,
    DeleteItem,
    ForgetAudio,
    SemanticVad,
    ServerVad,
    SessionConfig,
    SessionUpdated,
    TruncateItem,
    UpstreamCommand,
)
from bridge.errors import ConfigError
from bridge.upstreams import UPSTREAMS, OpenAI, Upstream, events_of
from bridge.upstreams.dial import Auth
from tests.upstreams import published
from tests.upstreams.wire_frames import frame

MODEL = "gpt-realtime-2.1"
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
MCP = {
    "type": "mcp",
    "server_label": "crm",
    "server_url": "https://mcp.example.com",
    "authorization": "an-invented-secret",
}


def update(config: SessionConfig, again: bool = False) -> dict[str, Any]:
    """The session of the session.update that this configuration becomes; it is one that was published."""
    event = published.client_event(OpenAI().write(ConfigureSession(config, again)))
    assert event["type"] == "session.update"
    session: dict[str, Any] = event["session"]
    return session


# --- dialling ----------------------------------------------------------------------------------------------


def url(base: str | None = None, model: str = MODEL) -> str:
    return OpenAI(1, base).dial(SessionConfig(model=model)).url


def test_the_vendors_address_and_a_bearer_key_that_is_not_in_it() -> None:
    dial = OpenAI().dial(SessionConfig())
    assert dial.url == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"
    assert dial.auth is Auth.BEARER
    assert dial.headers == {}


@pytest.mark.parametrize(
    ("base", "dialled"),
    [
        ("ws://127.0.0.1:8765", "ws://127.0.0.1:8765?model=gpt-realtime-2.1"),
        (
            "wss://eu.api.openai.com/v1/realtime?region=eu",
            "wss://eu.api.openai.com/v1/realtime?region=eu&model=gpt-realtime-2.1",
        ),
        ("wss://example.com/v1?x=%20a&x", "wss://example.com/v1?x=%20a&x&model=gpt-realtime-2.1"),
        ("wss://example.com/v1?model=mine", "wss://example.com/v1?model=mine"),
        ("wss://example.com/v1?call_id=rtc_1", "wss://example.com/v1?call_id=rtc_1"),
        ("wss://example.com/v1?intent=transcription", "wss://example.com/v1?intent=transcription"),
        ("wss://example.com/v1#part", "wss://example.com/v1?model=gpt-realtime-2.1"),
    ],
)
def test_sq_05_the_model_is_added_to_whatever_url_there_is(base: str, dialled: str) -> None:
    assert url(base) == dialled


def test_sq_05_the_model_is_percent_encoded() -> None:
    assert url(model="my model/é&x=1").endswith("?model=my%20model%2F%C3%A9%26x%3D1")


@pytest.mark.parametrize(
    "base", ["https://api.openai.com/v1/realtime", "api.openai.com", "wss://", "ws://[::1", "wss:///x"]
)
def test_what_is_not_a_websocket_url(base: str) -> None:
    with pytest.raises(ConfigError, match="URL"):
        url(base)


def test_the_embedded_upstream_asks_for_no_key_and_has_only_the_address_given() -> None:
    made = UPSTREAMS["embedded"](1, "ws://127.0.0.1:8765/v1/realtime")
    assert made.dial(SessionConfig()).auth is Auth.NONE
    with pytest.raises(ConfigError, match="BRIDGE_UPSTREAM_URL"):
        UPSTREAMS["embedded"]()


@pytest.mark.parametrize("name", [name for name in UPSTREAMS if not UPSTREAMS[name].capabilities.duplex])
def test_each_upstream_in_the_table_speaks_with_the_epoch_of_its_session(name: str) -> None:
    made: Upstream = UPSTREAMS[name](epoch=2, url="ws://127.0.0.1:8765")
    (event,) = events_of(made.parse(json.dumps(frame("input_audio_buffer.speech_started"))))
    assert event.epoch == 2


# --- the session tree --------------------------------------------------------------------------------------


def test_the_plainest_session() -> None:
    assert update(SessionConfig()) == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
        },
    }


def test_a_session_with_everything_set() -> None:
    config = SessionConfig(
        voice="voice_1234",
        instructions="Be brief.",
        turn_detection=SemanticVad("low", create_response=False, interrupt_response=False),
        transcription="gpt-transcribe",
        language="en",
        noise_reduction="near_field",
        speed=1.25,
        tools=(TOOL, MCP),
        tool_choice={"type": "function", "name": "weather"},
        max_output_tokens=1024,
        extra={
            "reasoning": {"effort": "low"},
            "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
            "audio": {"input": {"transcription": {"prompt": "Oslo"}}},
        },
    )
    assert update(config) == {
        "type": "realtime",
        "instructions": "Be brief.",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "turn_detection": {
                    "type": "semantic_vad",
                    "eagerness": "low",
                    "create_response": False,
                    "interrupt_response": False,
                },
                "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "gpt-transcribe", "language": "en", "prompt": "Oslo"},
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": {"id": "voice_1234"}, "speed": 1.25},
        },
        "tools": [TOOL, MCP],
        "tool_choice": {"type": "function", "name": "weather"},
        "max_output_tokens": 1024,
        "reasoning": {"effort": "low"},
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
    }


def test_an_idle_timeout_goes_only_when_it_is_set() -> None:
    detection = update(SessionConfig(turn_detection=ServerVad(idle_timeout_ms=6000)))["audio"]["input"][
        "turn_detection"
    ]
    assert detection["idle_timeout_ms"] == 6000


def test_without_turn_detection_null_says_so() -> None:
    assert update(SessionConfig(turn_detection=None))["audio"]["input"]["turn_detection"] is None


def test_again_leaves_out_what_is_locked_and_says_what_is_empty() -> None:
    extra = {"model": "other", "tracing": "auto", "audio": {"output": {"voice": "cedar", "speed": 1.1}}}
    session = update(SessionConfig(extra=extra), again=True)
    assert session["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "speed": 1.1}
    assert {name: session.get(name, "left out") for name in ("model", "tracing")} == {
        "model": "left out",
        "tracing": "left out",
    }
    assert (session["instructions"], session["tools"]) == ("", [])
    assert (session["tool_choice"], session["max_output_tokens"]) == ("auto", "inf")


def test_extra_of_another_type_replaces_instead_of_mixing() -> None:
    extra = {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}}}
    detection = update(SessionConfig(extra=extra))["audio"]["input"]["turn_detection"]
    assert detection == {"type": "semantic_vad", "eagerness": "high"}


def test_extra_of_no_type_or_the_same_merges() -> None:
    for part in ({"threshold": 0.7}, {"type": "server_vad", "threshold": 0.7}):
        extra = {"audio": {"input": {"turn_detection": part}}}
        detection = update(SessionConfig(extra=extra))["audio"]["input"]["turn_detection"]
        assert (detection["threshold"], detection["silence_duration_ms"]) == (0.7, 500)


def test_the_configuration_is_left_as_it_was() -> None:
    extra = {"audio": {"output": {"speed": 1.1}}}
    config = SessionConfig(tools=(TOOL,), extra=extra)
    update(config, again=True)
    assert config == SessionConfig(tools=(TOOL,), extra={"audio": {"output": {"speed": 1.1}}})


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}},
            r"session\.audio\.input\.format",
        ),
        ({"audio": {"output": {"format": None}}}, r"session\.audio\.output\.format"),
        ({"audio": None}, r"session\.audio\.input is an object"),
        ({"audio": {"output": []}}, r"session\.audio\.output is an object"),
        ({"type": "transcription"}, r"session\.type"),
        ({"modalities": ["text", "audio"]}, "output_modalities"),
        ({"turn_detection": None}, r"audio\.input\.turn_detection"),
        ({"input_audio_format": "g711_ulaw"}, r"audio\.input\.format"),
        ({"voice": "marin"}, r"audio\.output\.voice"),
        ({"temperature": 0.8}, "it is gone"),
        ({"prompt": {"variables": {"x": object()}}}, "JSON has no word"),
    ],
)
def test_an_extra_that_would_break_the_call_is_refused_when_it_dials(extra: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        OpenAI().dial(SessionConfig(extra=extra))


def test_nothing_in_extra_can_push_the_phones_format_out() -> None:
    extra = {"audio": {"type": "x", "input": {"type": "y"}, "output": {"type": "z"}}}
    tree = json.loads(OpenAI().write(ConfigureSession(SessionConfig(extra=extra))))["session"]
    assert tree["audio"]["input"]["format"] == tree["audio"]["output"]["format"] == {"type": "audio/pcmu"}


def test_half_a_character_in_the_instructions_is_no_reason_not_to_dial() -> None:
    config = SessionConfig(instructions="Be brief \ud83d!")
    OpenAI().dial(config)
    assert update(config)["instructions"] == "Be brief ?!"


# --- only GA -----------------------------------------------------------------------------------------------

BEFORE_GA = re.compile(
    r'"(modalities|input_audio_format|output_audio_format|input_audio_transcription|input_audio_noise_reduction'
    r"|max_response_output_tokens|temperature|g711_ulaw|g711_alaw|pcm16)\"|realtime=v1|OpenAI-Beta"
)

configs = st.builds(
    SessionConfig,
    voice=st.sampled_from(["marin", "voice_1"]),
    instructions=st.text(max_size=5),
    turn_detection=st.none()
    | st.builds(
        ServerVad, idle_timeout_ms=st.none() | st.integers(5000, 30000), create_response=st.booleans()
    )
    | st.builds(SemanticVad, eagerness=st.sampled_from(["low", "medium", "high", "auto"])),
    transcription=st.none() | st.just("gpt-transcribe"),
    language=st.none() | st.just("en"),
    noise_reduction=st.none() | st.sampled_from(["near_field", "far_field"]),
    speed=st.none() | st.floats(0.25, 1.5),
    tools=st.sampled_from([(), (TOOL,), (MCP, TOOL)]),
    tool_choice=st.sampled_from(["auto", "none", "required", {"type": "function", "name": "weather"}]),
    max_output_tokens=st.just("inf") | st.integers(1, 4096),
)
ids = st.text('abc_:-é"\\', min_size=1, max_size=8)
commands: st.SearchStrategy[UpstreamCommand] = st.one_of(
    st.builds(ConfigureSession, config=configs, again=st.booleans()),
    st.builds(AppendAudio, audio=st.sampled_from(["", "/w==", "f39/"]), size_bytes=st.integers(0, 3)),
    st.just(CommitAudio()),
    st.just(ForgetAudio()),
    st.builds(CreateItem, ids, st.sampled_from(["user", "system", "assistant"]), st.text(max_size=5)),
    st.builds(CreateItem, ids, call_id=ids, output=st.text(max_size=5)),
    st.builds(CreateItem, ids, call_id=ids, name=ids, arguments=st.just("{}")),
    st.builds(DeleteItem, ids),
    st.builds(TruncateItem, ids, st.integers(0, 3), st.integers(0, 100_000)),
    st.builds(
        CreateResponse,
        tag=ids,
        instructions=st.none() | st.text(max_size=5),
        tool_choice=st.none() | st.sampled_from(["auto", "none", "required", "weather"]),
        aside=st.booleans(),
        text_only=st.booleans(),
    ),
    st.builds(CancelResponse, ids | st.just("")),
)


@settings(max_examples=80, deadline=None)
@given(commands)
def test_every_event_we_can_send_is_one_that_was_published_and_in_no_older_spelling(
    command: UpstreamCommand,
) -> None:
    text = OpenAI().write(command)
    assert isinstance(text, str)
    published.client_event(text)
    assert not BEFORE_GA.search(text)


@settings(max_examples=40, deadline=None)
@given(configs, st.booleans())
def test_what_we_asked_for_echoed_is_no_difference(config: SessionConfig, again: bool) -> None:
    model = OpenAI()
    asked = json.loads(model.write(ConfigureSession(config, again)))["session"]
    updated = model.parse(json.dumps({"type": "session.updated", "session": asked}))
    assert isinstance(updated, SessionUpdated)
    detection = config.turn_detection
    assert updated == SessionUpdated(
        interrupts=detection is not None and detection.interrupt_response,
        responds=detection is not None and detection.create_response,
    )


# --- what is in force --------------------------------------------------------------------------------------


def in_force(config: SessionConfig | None, **values: Any) -> SessionUpdated:
    """The vendor's answer to this configuration: its usual session with other values, `audio__input__…`."""
    model = OpenAI()
    session = frame("session.updated")["session"]
    if config is not None:
        model.write(ConfigureSession(config))
    for name, value in values.items():
        *way, last = name.split("__")
        part = session
        for step in way:
            part = part[step]
        if value == "left out":
            del part[last]
        else:
            part[last] = value
    updated = model.parse(json.dumps({"type": "session.updated", "session": session}))
    assert isinstance(updated, SessionUpdated)
    return updated


def test_the_plainest_session_is_in_force_with_the_vendors_defaults_around_it() -> None:
    assert in_force(SessionConfig()) == SessionUpdated()


def test_a_session_that_we_did_not_configure() -> None:
    assert in_force(None) == SessionUpdated()
    pcm = in_force(None, audio__input__format={"type": "audio/pcm", "rate": 24000})
    assert pcm == SessionUpdated(formats_ok=False)
    assert in_force(None, audio__input__turn_detection=None) == SessionUpdated(
        interrupts=False, responds=False
    )


@pytest.mark.parametrize("half", ["input", "output"])
@pytest.mark.parametrize(
    "value",
    [{"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcma"}, None, {}, "left out", "pcm16", 8000],
)
def test_another_format_either_way_is_not_ours(half: str, value: Any) -> None:
    updated = in_force(SessionConfig(), **{f"audio__{half}__format": value})
    assert not updated.formats_ok
    assert updated.differences[0].startswith(f"session.audio.{half}.format")


@pytest.mark.parametrize("value", [{"type": "audio/pcmu", "rate": 8000}, "g711_ulaw", "audio/pcmu"])
def test_our_format_however_it_is_spelled(value: Any) -> None:
    assert in_force(SessionConfig(), audio__input__format=value) == SessionUpdated()


@pytest.mark.parametrize(
    ("config", "values", "difference"),
    [
        (
            SessionConfig(),
            {"audio__output__voice": "alloy"},
            'session.audio.output.voice: asked "marin", in force "alloy"',
        ),
        (
            SessionConfig(speed=1.2),
            {},
            "session.audio.output.speed: asked 1.2, in force 1.0",
        ),
        (
            SessionConfig(),
            {"audio__input__turn_detection__silence_duration_ms": 200},
            "session.audio.input.turn_detection.silence_duration_ms: asked 500, in force 200",
        ),
        (
            SessionConfig(transcription="gpt-transcribe"),
            {},
            "session.audio.input.transcription: asked an object of 1, in force null",
        ),
        (
            SessionConfig(instructions="secret plans " * 10),
            {},
            'session.instructions: asked 130 characters, in force "Be brief."',
        ),
        (SessionConfig(max_output_tokens=100), {}, 'session.max_output_tokens: asked 100, in force "inf"'),
        (SessionConfig(tools=(TOOL,)), {}, "session.tools is not as asked"),
        (
            SessionConfig(tools=(TOOL,)),
            {"tools": [{**TOOL, "name": "clock"}]},
            "session.tools[0].name is not as asked",
        ),
        (
            SessionConfig(extra={"parallel_tool_calls": True}),
            {"parallel_tool_calls": 1},
            "session.parallel_tool_calls: asked true, in force 1",
        ),
    ],
)
def test_each_field_that_differs_is_named_once(
    config: SessionConfig, values: dict[str, Any], difference: str
) -> None:
    assert in_force(config, **values).differences == (difference,)


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (
            SessionConfig(turn_detection=ServerVad(threshold=0.6)),
            {"audio__input__turn_detection__threshold": 0.6000000238418579},
        ),
        (
            SessionConfig(turn_detection=ServerVad(threshold=1)),
            {"audio__input__turn_detection__threshold": 1.0},
        ),
        (SessionConfig(tools=(TOOL,)), {"tools": [{**TOOL, "strict": None}]}),
        (SessionConfig(tools=(MCP,)), {"tools": [{**MCP, "authorization": None}]}),
        (SessionConfig(extra={"tracing": None}), {"tracing": "left out"}),
    ],
)
def test_what_is_the_same_in_other_words_is_no_difference(
    config: SessionConfig, values: dict[str, Any]
) -> None:
    assert in_force(config, **values).differences == ()


def test_turn_detection_switched_off_by_the_vendor() -> None:
    updated = in_force(SessionConfig(), audio__input__turn_detection=None)
    assert (updated.interrupts, updated.responds) == (False, False)
    assert updated.differences == ("session.audio.input.turn_detection: asked an object of 6, in force null",)


def test_who_cancels_is_what_is_in_force_not_what_was_asked() -> None:
    updated = in_force(SessionConfig(), audio__input__turn_detection__interrupt_response=False)
    assert (updated.interrupts, updated.responds) == (False, True)
    assert len(updated.differences) == 1


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(
    "field", ["audio__input__turn_detection", "audio__input__turn_detection__interrupt_response"]
)
def test_a_vendor_that_leaves_turn_detection_out_does_what_was_asked(asked: bool, field: str) -> None:
    config = SessionConfig(turn_detection=ServerVad(interrupt_response=asked))
    assert in_force(config, **{field: "left out"}).interrupts is asked


def test_a_session_in_the_flat_shape_of_before_ga() -> None:
    model = OpenAI()
    model.write(ConfigureSession(SessionConfig()))
    session = {
        "id": "sess_1",
        "voice": "marin",
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "g711_ulaw",
        "turn_detection": {"type": "server_vad", "threshold": 0.5, "interrupt_response": False},
    }
    updated = model.parse(json.dumps({"type": "session.updated", "session": session}))
    assert isinstance(updated, SessionUpdated)
    assert (updated.formats_ok, updated.interrupts, updated.responds) == (True, False, True)


def test_two_updates_on_their_way_are_answered_in_order() -> None:
    model = OpenAI()
    session = frame("session.updated")["session"]
    answer = json.dumps({"type": "session.updated", "session": {**session, "instructions": "Be brief."}})
    model.write(ConfigureSession(SessionConfig(instructions="Be brief.")))
    model.write(ConfigureSession(SessionConfig(instructions="Be long."), again=True))
    assert model.parse(answer) == SessionUpdated()
    second = model.parse(answer)
    assert isinstance(second, SessionUpdated)
    assert second.differences == ('session.instructions: asked "Be long.", in force "Be brief."',)
    assert model.parse(answer) == second


def test_a_refused_update_is_not_what_the_next_answer_is_compared_with() -> None:
    model = OpenAI()
    session = frame("session.updated")["session"]
    refused = json.loads(model.write(ConfigureSession(SessionConfig(voice="nobody"))))["event_id"]
    error = {"type": "invalid_request_error", "code": "invalid_value", "message": "no", "event_id": refused}
    assert model.parse(json.dumps({"type": "error", "error": error})) is not None
    model.write(ConfigureSession(SessionConfig()))
    assert model.parse(json.dumps({"type": "session.updated", "session": session})) == SessionUpdated()
