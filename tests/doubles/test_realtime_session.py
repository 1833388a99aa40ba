"""session.update: strict, all or nothing, and the voice is locked once it was heard."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.doubles.agents import Parrot, Speech
from tests.doubles.conftest import AT_ONCE, Client, error_of, scripted


def update(client: Client, session: Any) -> list[dict[str, Any]]:
    return client.now("session.update", session=session, event_id="cfg-1")


def test_the_answer_tells_the_whole_effective_session() -> None:
    client = Client(Parrot())
    wanted = {
        "type": "realtime",
        "instructions": "Be brief.",
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "gpt-transcribe", "language": "en"},
                "turn_detection": {"type": "server_vad", "threshold": 0.7},
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "cedar", "speed": 1.2},
        },
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "f"},
        "max_output_tokens": 4096,
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
        "reasoning": {"effort": "low"},
        "parallel_tool_calls": True,
    }
    (event,) = update(client, wanted)
    got = event["session"]
    assert {name: got[name] for name in wanted if name != "audio"} == {
        name: value for name, value in wanted.items() if name != "audio"
    }
    assert got["audio"]["output"] == wanted["audio"]["output"]  # type: ignore[index]
    assert got["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.7,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    assert got["output_modalities"] == ["audio"]


def test_what_is_not_given_stays() -> None:
    client = Client(Parrot())
    update(client, {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcmu"}}}})
    (event,) = update(client, {"type": "realtime", "instructions": ""})
    assert event["session"]["instructions"] == ""
    assert event["session"]["audio"]["output"] == {
        "format": {"type": "audio/pcmu"},
        "voice": "marin",
        "speed": 1.0,
    }
    assert event["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"instructions": "x"}, "missing_required_parameter", "session.type"),
        ({"type": "realtime", "modalities": ["audio"]}, "unknown_parameter", "session.modalities"),
        ({"type": "realtime", "voice": "marin"}, "unknown_parameter", "session.voice"),
        ({"type": "realtime", "temperature": 0.8}, "unknown_parameter", "session.temperature"),
        (
            {"type": "realtime", "input_audio_format": "g711_ulaw"},
            "unknown_parameter",
            "session.input_audio_format",
        ),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
            "unknown_parameter",
            "session.audio.input.format.rate",
        ),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "g711_ulaw"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            {"type": "realtime", "audio": {"input": {"format": "g711_ulaw"}}},
            "invalid_type",
            "session.audio.input.format",
        ),
        (
            {"type": "realtime", "output_modalities": ["audio", "text"]},
            "invalid_value",
            "session.output_modalities",
        ),
        ({"type": "realtime", "max_output_tokens": 5000}, "invalid_value", "session.max_output_tokens"),
        ({"type": "realtime", "instructions": 7}, "invalid_type", "session.instructions"),
        (
            {"type": "realtime", "audio": {"output": {"speed": 2}}},
            "invalid_value",
            "session.audio.output.speed",
        ),
        (
            {
                "type": "realtime",
                "audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 100}}},
            },
            "invalid_value",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function", "name": "f", "strict": True}]},
            "unknown_parameter",
            "session.tools[0].strict",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function", "function": {"name": "f"}}]},
            "unknown_parameter",
            "session.tools[0].function",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function", "name": "two words"}]},
            "invalid_value",
            "session.tools[0].name",
        ),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"type": "voice"}, "invalid_value", "session.type"),
    ],
)
def test_one_bad_field_rejects_all_of_it(session: dict[str, Any], code: str, param: str) -> None:
    client = Client(Parrot())
    before = client.server.session.tree
    events = update(client, {"instructions": "Never taken over.", **session})
    assert error_of(events) == {"code": code, "param": param, "event_id": "cfg-1"}
    assert client.server.session.tree == before
    assert client.server.errors == [events[0]["error"]]


def test_without_a_session_there_is_nothing_to_update() -> None:
    client = Client(Parrot())
    assert error_of(client.now("session.update")) == {
        "code": "missing_required_parameter",
        "param": "session",
        "event_id": None,
    }


def test_the_voice_is_locked_once_it_was_heard() -> None:
    client = scripted(Speech(200), **AT_ONCE)
    assert client.kinds(update(client, {"type": "realtime", "audio": {"output": {"voice": "cedar"}}})) == [
        "session.updated"
    ]
    client.responds()
    changed = {"type": "realtime", "instructions": "new", "audio": {"output": {"voice": "ash"}}}
    assert error_of(update(client, changed)) == {
        "code": "cannot_update_voice",
        "param": "session.audio.output.voice",
        "event_id": "cfg-1",
    }
    assert client.server.session.tree["instructions"] != "new"
    same = {"type": "realtime", "instructions": "new", "audio": {"output": {"voice": "cedar"}}}
    assert client.kinds(update(client, same)) == ["session.updated"]


def test_a_custom_voice_is_an_object() -> None:
    client = scripted(Speech(100), **AT_ONCE)
    (event,) = update(client, {"type": "realtime", "audio": {"output": {"voice": {"id": "voice_1"}}}})
    assert event["session"]["audio"]["output"]["voice"] == {"id": "voice_1"}
    client.responds()
    assert client.last("response.done")["response"]["audio"]["output"]["voice"] == "voice_1"


def test_a_server_may_not_do_as_it_is_told() -> None:
    client = Client(Parrot(), impose={"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}})
    wanted = {"format": {"type": "audio/pcmu"}}
    (event,) = update(client, {"type": "realtime", "audio": {"input": wanted, "output": wanted}})
    audio = event["session"]["audio"]
    assert (audio["input"]["format"]["type"], audio["output"]["format"]["type"]) == (
        "audio/pcmu",
        "audio/pcm",
    )


def test_a_server_may_refuse_any_kind_of_event() -> None:
    client = Client(Parrot(), refuse={"session.update": "invalid_value"})
    assert error_of(update(client, {"type": "realtime"}))["code"] == "invalid_value"
    assert client.of("session.updated") == []


@pytest.mark.parametrize(
    ("frame", "code", "event_id"),
    [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ("\ud800", "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ("[]", "invalid_event", None),
        ("{}", "invalid_event", None),
        ('{"type":7,"event_id":"e"}', "invalid_event", "e"),
        ('{"type":"response.dance","event_id":"e"}', "unknown_event", "e"),
        ('{"type":"response.create","event_id":"e","modalities":["text"]}', "unknown_parameter", "e"),
        ('{"type":"input_audio_buffer.append","event_id":"e","audio":"","at":1}', "unknown_parameter", "e"),
        ('{"type":"input_audio_buffer.append","event_id":"e"}', "invalid_value", "e"),
        ('{"type":"input_audio_buffer.commit","event_id":7}', "invalid_type", None),
        ('{"type":"output_audio_buffer.clear","event_id":"e"}', "invalid_event", "e"),
    ],
)
def test_nonsense_is_an_error_and_the_session_goes_on(frame: str, code: str, event_id: str | None) -> None:
    client = Client(Parrot())
    error = error_of(client.at(5, frame))
    assert (error["code"], error["event_id"]) == (code, event_id)
    assert client.server.close is None
    assert client.kinds(update(client, {"type": "realtime"})) == ["session.updated"]


def test_binary_frames_are_read_like_text() -> None:
    client = Client(Parrot())
    (frame,) = client.server.receive(b'{"type":"input_audio_buffer.clear"}', 0)
    assert '"input_audio_buffer.cleared"' in frame
    (frame,) = client.server.receive(b"\xff\xfe", 0)
    assert '"invalid_json"' in frame


def test_another_model_is_ignored_whatever_else_it_comes_with() -> None:
    """The model stands in the URL; SDKs name their default one in every update."""
    client = Client(Parrot(), model="url-model")
    (event,) = update(client, {"type": "realtime", "model": "gpt-realtime-9", "instructions": "Be brief."})
    assert (event["session"]["model"], event["session"]["instructions"]) == ("url-model", "Be brief.")


def test_null_is_the_default_wherever_a_field_may_be_left_out() -> None:
    client = Client(Parrot())
    (first,) = update(client, {"type": "realtime"})
    given = {
        "type": "realtime",
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "f", "description": None, "parameters": {"default": None}}],
        "reasoning": {"effort": "low"},
        "max_output_tokens": 7,
        "audio": {"output": {"speed": 1.2, "format": {"type": "audio/pcmu"}, "voice": "cedar"}},
    }
    (event,) = update(client, given)
    (tool,) = event["session"]["tools"]
    assert tool == {"type": "function", "name": "f", "parameters": {"default": None}}
    nulls: dict[str, Any] = dict.fromkeys(given) | {"type": "realtime", "model": None, "prompt": None}
    nulls["audio"] = {
        "input": {"format": None, "noise_reduction": None, "transcription": {"model": "m", "language": None}},
        "output": {"speed": None, "format": None, "voice": None},
    }
    (event,) = update(client, nulls)
    expected = first["session"]
    expected["audio"]["input"]["transcription"] = {"model": "m"}
    assert event["session"] == expected


def test_null_switches_the_detection_off_and_null_within_it_is_its_default() -> None:
    client = Client(Parrot())
    detection = {"type": "server_vad", "threshold": None, "silence_duration_ms": 200, "create_response": None}
    (event,) = update(client, {"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    found = event["session"]["audio"]["input"]["turn_detection"]
    assert (found["threshold"], found["silence_duration_ms"], found["create_response"]) == (0.5, 200, True)
    (event,) = update(client, {"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    assert event["session"]["audio"]["input"]["turn_detection"] is None


def test_a_null_voice_is_no_other_voice_once_it_was_heard() -> None:
    client = Client(Parrot(), **AT_ONCE)
    update(client, {"type": "realtime", "audio": {"output": {"voice": "cedar"}}})
    client.responds()
    (event,) = update(client, {"type": "realtime", "audio": {"output": {"voice": None}}})
    assert event["session"]["audio"]["output"]["voice"] == "cedar"


def test_nulls_of_a_response_and_of_an_item_were_not_set() -> None:
    client = Client(Parrot(), **AT_ONCE)
    part = {"type": "input_text", "text": "Hello."}
    item = {"type": "message", "id": None, "status": None, "role": "user", "content": [part]}
    client.now("conversation.item.create", item=item, previous_item_id=None, event_id=None)
    client.responds(
        instructions=None, output_modalities=None, tools=None, metadata=None, max_output_tokens=None,
        input=None, conversation=None, audio={"output": {"voice": None, "format": None}}, tool_choice=None,
    )  # fmt: skip
    assert client.of("error") == []
    done = client.last("response.done")["response"]
    assert (done["status"], done["max_output_tokens"]) == ("completed", "inf")
    assert client.last("response.output_audio_transcript.done")["transcript"] == "Hello."
