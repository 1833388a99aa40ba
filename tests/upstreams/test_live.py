"""GPT-Live on the wire: each frame both ways, against the vendor's published types."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.limits import Spending
from bridge.errors import ConfigError, UpstreamError
from bridge.upstreams import live, live_session
from bridge.upstreams.dial import Auth
from bridge.upstreams.live import Live

from .published_live import client_event, server_event

SILENCE = b64encode(b"\xff" * 800).decode()
VOICE = b64encode(b"\x10\x90" * 400).decode()
SESSION = {"id": "live_1", "expires_at": 1700007200, "model": "gpt-live-1", "status": "active"}
PCMU = {"format": {"type": "audio/pcmu", "rate": 8000}}
CONFIG = m.SessionConfig(model="gpt-live-1", instructions="Be brief.", voice="marin")
HOURS = {
    "type": "function",
    "name": "hours",
    "description": "When we are open.",
    "parameters": {"type": "object"},
}


def read(frame: str | bytes, adapter: Live | None = None) -> Any:
    """What the frame says; of whichever kind."""
    return (adapter or Live()).parse(frame)


def one(written: Any) -> dict[str, Any]:
    """The one event that a command became."""
    frames = written if isinstance(written, tuple) else (written,)
    (frame,) = frames
    return client_event(frame)


def all_of(written: Any) -> list[dict[str, Any]]:
    return [client_event(frame) for frame in (written if isinstance(written, tuple) else (written,))]


def started(adapter: Live, **session: Any) -> Any:
    event = {"type": "session.started", "event_id": "e1", "client_event_id": "start:1"}
    return adapter.parse(server_event({**event, "session": {**SESSION, "audio": PCMU, **session}}))


def error(adapter: Live, **fields: Any) -> Any:
    """What becomes of an error; fields may be null that the published types say never are."""
    return adapter.parse(json.dumps({"type": "error", "event_id": "x", "error": {"message": "…", **fields}}))


# --- L1: a session from its start to its end


def test_the_start_names_all_that_cannot_be_changed_later() -> None:
    assert one(Live().write(m.ConfigureSession(CONFIG))) == {
        "type": "session.start",
        "event_id": "start:1",
        "session": {
            "model": "gpt-live-1",
            "instructions": "Be brief.",
            "audio": {**PCMU, "output": {"voice": "marin"}},
            "delegation": {"type": "client"},
        },
    }


def test_started_is_created_and_in_force() -> None:
    created, updated = started(Live())
    assert created == m.SessionCreated(1, "live_1", 1700007200)
    assert updated == m.SessionUpdated(1, formats_ok=True)


def test_a_host_without_the_phones_sound_is_not_in_force() -> None:
    _, updated = started(Live(), audio={"format": {"type": "audio/pcm", "rate": 24000}})
    assert not updated.formats_ok


def test_caller_audio_goes_as_it_is() -> None:
    frame = Live().append(SILENCE)
    assert client_event(frame) == {"type": "session.input_audio.append", "audio": SILENCE}
    assert Live().write(m.AppendAudio(SILENCE, 800)) == frame


def test_a_greeting_is_an_append_that_is_acknowledged() -> None:
    adapter = Live()
    text = "Say now, without waiting: Hello, how can I help?"
    assert one(adapter.write(m.TellModel("say", text, "say:greeting"))) == {
        "type": "session.commentary.append",
        "event_id": "say:greeting",
        "delegation_id": None,
        "content": text,
    }
    event = {"type": "session.commentary.appended", "event_id": "e2", "client_event_id": "say:greeting"}
    assert adapter.parse(server_event({**event, "start_ms": 400, "end_ms": 600})) == m.Accepted(
        "say:greeting"
    )


def test_a_rule_and_a_fact() -> None:
    assert one(Live().write(m.TellModel("rule", "Stop.", "hush:1")))["type"] == "session.instructions.append"
    assert one(Live().write(m.TellModel("fact", "It rains.", "note:1")))["type"] == "session.thinking.append"


def test_sound_is_told_in_runs_of_loud_and_quiet_blocks() -> None:
    half = b64encode(b"\xff" * 320 + b"\x10\x90" * 240).decode()
    delta = {"type": "session.output_audio.delta", "delta": half}
    quiet, loud = read(server_event(delta), Live(3))
    assert (quiet.loud, quiet.size_bytes, quiet.epoch) == (False, 320, 3)
    assert (loud.loud, loud.size_bytes, loud.audio) == (True, 480, b64encode(b"\x10\x90" * 240).decode())
    whole = {"type": "session.output_audio.delta", "delta": SILENCE}
    assert read(server_event(whole)) == (m.StreamAudio(SILENCE, 800, False),)


def test_words_of_both_are_fragments_with_times() -> None:
    times = {"event_id": "e", "start_ms": 800, "end_ms": 1000}
    said = {"type": "session.output_transcript.delta", "delta": " Hello, how", **times}
    heard = {"type": "session.input_transcript.delta", "delta": " Opening hours?", **times}
    assert read(server_event(said)) == m.Fragment("assistant", " Hello, how", 800, 1000)
    assert read(server_event(heard)) == m.Fragment("user", " Opening hours?", 800, 1000)


def test_usage_replaces_and_the_end_is_final() -> None:
    adapter = Live()
    assert one(adapter.write(m.CloseSession())) == {"type": "session.close", "event_id": "close:1"}
    usage = {"type": "session.usage.updated", "event_id": "e6", "usage": {"seconds": 15}}
    assert adapter.parse(server_event(usage)) == m.UsageSeen(1, 15.0)
    closed = {"type": "session.closed", "event_id": "e7", "reason": "close_requested", "session": SESSION}
    assert adapter.parse(server_event({**closed, "usage": {"seconds": 20}})) == (
        m.UsageSeen(1, 20.0, final=True),
        m.SessionEnding(0, "close_requested"),
    )


def test_what_a_realtime_session_is_asked_has_no_word_here() -> None:
    adapter = Live()
    for command in (
        m.CancelResponse("r"), m.TruncateItem("i", 0, 100), m.DeleteItem("i"), m.CreateResponse("t"),
        m.CommitAudio(), m.ForgetAudio(), m.Probe(),
    ):  # fmt: skip
        assert adapter.write(command) is None


# --- L2: tools


def test_work_handed_to_us_has_no_words() -> None:
    event = {"type": "session.delegation.created", "event_id": "e8", "offset_ms": 3000}
    given = {"id": "item_d1", "type": "delegation", "target": "client"}
    parsed = read(server_event({**event, "delegation": given}))
    assert parsed == m.Delegated("item_d1", "client", 3000)
    answer = m.TellModel("say", "Open nine to five.", "result:item_d1", "item_d1")
    assert one(Live().write(answer))["delegation_id"] == "item_d1"


def nested(kind: str, **fields: Any) -> str:
    event = {"type": "response.event", "event_id": "e10", "delegation_id": "item_d2"}
    return server_event({**event, "event": {"type": kind, **fields}})


CALL = {
    "type": "function_call", "status": "completed", "id": "fc_1", "call_id": "call_1", "name": "hours",
    "arguments": '{"day":"mon"}',
}  # fmt: skip


def test_a_call_of_the_backends_is_read_once_of_the_three_times_it_comes() -> None:
    adapter = Live()
    assert adapter.parse(nested("response.created", response={"id": "resp_1"})) is None
    assert adapter.parse(nested("response.output_item.added", item={**CALL, "arguments": ""})) is None
    written = {"item_id": "fc_1", "arguments": CALL["arguments"]}
    assert adapter.parse(nested("response.function_call_arguments.done", **written)) is None
    called = m.ToolCalled("resp_1", "fc_1", "call_1", "hours", '{"day":"mon"}')
    assert adapter.parse(nested("response.output_item.done", item=CALL)) == called


def test_the_backends_end_tells_tokens_once() -> None:
    adapter = Live()
    usage = {"input_tokens": 900, "input_tokens_details": {"cached_tokens": 100}, "output_tokens": 20}
    ended = nested("response.completed", response={"id": "resp_1", "output": [], "usage": usage})
    tokens = m.Usage(text_in=900, cached_text=100, text_out=20)
    assert adapter.parse(ended) == m.BackendDone("resp_1", usage=tokens)
    assert adapter.parse(ended) is None


def test_a_backend_that_fails_says_why() -> None:
    failure = {"id": "resp_1", "error": {"code": "server_error", "message": "Sorry."}}
    done = read(nested("response.failed", response=failure))
    assert (done.failed, done.why) == (True, "server_error: Sorry.")


def test_a_result_then_one_create() -> None:
    adapter = Live()
    item = m.CreateItem("x", call_id="call_1", output='{"open":"9-17"}')
    assert one(adapter.write(item)) == {
        "type": "response.item.create",
        "event_id": "item:call_1",
        "item": {"type": "function_call_output", "call_id": "call_1", "output": '{"open":"9-17"}'},
    }
    created = one(adapter.write(m.ContinueBackend()))
    assert created == {"type": "response.create", "event_id": "continue:1"}


def test_an_agent_with_tools_has_the_vendors_backend() -> None:
    config = m.SessionConfig(model="gpt-live-1", instructions="Be brief.", tools=(HOURS,), backend="gpt-5.4")
    given = one(Live().write(m.ConfigureSession(config)))["session"]["delegation"]
    assert given == {
        "type": "responses",
        "responses": {"model": "gpt-5.4", "instructions": "Be brief.", "tools": [{"strict": False, **HOURS}]},
    }
    usual = m.SessionConfig(tools=(HOURS,))
    assert live_session.delegation(usual)["responses"]["model"] == live_session.BACKEND
    ours = m.SessionConfig(tools=(HOURS,), delegate="hours")
    assert live_session.delegation(ours) == {"type": "client"}


# --- L3: a session that goes on with what was heard


def test_a_new_session_is_told_what_was_heard() -> None:
    history = (
        m.SnapshotItem("user", "Opening hours?"),
        m.SnapshotItem("assistant", "We are open from nine"),
        m.SnapshotItem(call_id="c", name="hours", arguments="{}", output="9-17"),
        m.SnapshotItem("assistant", ""),
        m.SnapshotItem("system", "The line broke off and is back."),
    )
    given = one(Live(2).write(m.ConfigureSession(CONFIG, history=history, epoch=2)))["session"]["input"]
    assert [(item["role"], item["content"][0]["type"]) for item in given] == [
        ("user", "input_text"),
        ("assistant", "output_text"),
        ("developer", "input_text"),
        ("developer", "input_text"),
    ]
    assert given[2]["content"][0]["text"] == "Tool hours with {} returned 9-17"


def test_of_a_long_history_the_newest_goes_along() -> None:
    history = tuple(m.SnapshotItem("user", f"{number} " + "word " * 60) for number in range(300))
    given = live_session.told(history)
    assert len(given) <= 120
    assert sum(len(item["content"][0]["text"]) / 4 for item in given) <= 7_000
    assert given[-1]["content"][0]["text"].startswith("299 ")
    many = tuple(m.SnapshotItem("user", "yes") for _ in range(300))
    assert len(live_session.told(many)) == 120
    (long,) = live_session.told((m.SnapshotItem("user", "字" * 20_000),))
    assert live_session.tokens(long["content"][0]["text"]) <= 7_000


# --- L4: errors


def test_a_refused_start_is_the_configuration_that_is_refused() -> None:
    fault = error(Live(), type="insufficient_quota", code="credit_balance_exhausted")
    assert (fault.code, fault.kind, fault.about) == (
        "credit_balance_exhausted", "insufficient_quota", "configure",
    )  # fmt: skip
    assert {"credit_balance_exhausted", "insufficient_quota"} <= set(live.LIVE.fatal_codes)


def test_a_null_code_is_no_code() -> None:
    fault = error(Live(), type="server_error", code=None)
    assert (fault.code, fault.kind) == ("", "server_error")


def test_an_error_names_what_it_was_about() -> None:
    adapter = Live()
    started(adapter)
    fault = error(adapter, type="x", code="immutable_field_update", client_event_id="configure:2")
    assert fault.about == "configure:2"
    assert (
        error(adapter, type="x", code="invalid_value", client_event_id="say:greeting#1").about
        == "say:greeting"
    )
    assert error(adapter, type="x", code="invalid_value").about == ""


def test_a_missing_scope_is_only_noted() -> None:
    note = error(Live(), type="invalid_request_error", code="missing_scope")
    assert isinstance(note, m.VendorNote)
    assert note.kind == "missing_scope"


def test_the_previews_dialect_is_refused_in_a_sentence() -> None:
    fault = read('{"type":"session.created","session":{"id":"x"}}')
    assert isinstance(fault, m.UpstreamFaulted)
    assert (fault.code, fault.about) == (live.ALPHA, "configure")
    assert "preview" in fault.message


@pytest.mark.parametrize(
    "frame",
    [
        b"x",
        "{",
        '{"type":"session.output_audio.delta","delta":"!!"}',
        '{"type":"session.output_audio.delta"}',
        '{"type":"session.output_audio.delta","delta":7}',
        '{"type":"session.output_transcript.delta","delta":"x"}',
        '{"type":"session.delegation.created","delegation":{"target":"client"}}',
        '{"type":"response.event","event":{"type":"response.output_item.done","item":{"type":"function_call"}}}',
        '{"type":"session.started","session":3}',
        '{"type":"session.usage.updated","usage":{"seconds":1e308}}',
    ],
)
def test_only_a_broken_frame_is_lost(frame: str | bytes) -> None:
    with pytest.raises(UpstreamError):
        read(frame)


@pytest.mark.parametrize("usage", [7, [], {"input_tokens": "900"}, {"input_tokens": 10**400}])
def test_a_backend_that_cannot_count_has_ended_all_the_same(usage: Any) -> None:
    response = {"id": "resp_1", "output": [], "usage": usage}
    event = {"type": "response.completed", "response": response}
    done = read(json.dumps({"type": "response.event", "delegation_id": None, "event": event}))
    assert (done.id, done.failed) == ("resp_1", False)
    spending = Spending(m.Limits(), {"backend_text_in": 0.5})
    spending.backend(done.usage)
    assert spending.micro_usd(0) >= 0


@pytest.mark.parametrize("told", ["2026-11-29T22:00:00Z", {}, 1e300])
def test_a_session_that_does_not_say_when_it_expires_has_begun(told: Any) -> None:
    created, _ = read(json.dumps({"type": "session.started", "session": {"id": "a", "expires_at": told}}))
    assert created == m.SessionCreated(1, "a", 0)


@pytest.mark.parametrize("kind", ["info", "session.paused", "session.input_audio.muted", "decision.created"])
def test_what_says_nothing_to_us_is_ignored(kind: str) -> None:
    assert read(json.dumps({"type": kind, "delta": 7})) is None
    assert read(json.dumps({"type": kind})) is None


# --- what is configured


def test_an_update_tells_the_backend_and_the_model() -> None:
    adapter = Live()
    config = m.SessionConfig(model="gpt-live-1", instructions="Be brief.", tools=(HOURS,))
    adapter.write(m.ConfigureSession(config))
    changed = m.SessionConfig(model="gpt-live-1", instructions="Be kind. " * 300, tools=(HOURS,))
    *rules, update = all_of(adapter.write(m.ConfigureSession(changed, again=True)))
    assert {rule["type"] for rule in rules} == {"session.instructions.append"}
    assert all(len(rule["content"]) <= 1_200 for rule in rules)
    assert sum(rule["content"].count("Be kind.") for rule in rules) == 300
    assert set(update["session"]) == {"delegation"}
    assert update["session"]["delegation"]["responses"]["instructions"] == changed.instructions
    (again,) = all_of(adapter.write(m.ConfigureSession(changed, again=True)))
    assert again["type"] == "session.update"


def test_only_the_last_piece_of_an_append_is_accepted() -> None:
    adapter = Live()
    first, last = all_of(adapter.write(m.TellModel("fact", "A sentence of it. " * 100, "note")))
    assert (first["event_id"], last["event_id"]) == ("note#1", "note")
    acknowledged = {"type": "session.thinking.appended", "event_id": "e", "start_ms": 0, "end_ms": 0}
    assert adapter.parse(server_event({**acknowledged, "client_event_id": "note#1"})) is None
    assert adapter.parse(server_event({**acknowledged, "client_event_id": "note"})) == m.Accepted("note")


@pytest.mark.parametrize("text", ["字" * 2_000, "word " * 900, "x" * 3_000, "One. Two! " * 300])
def test_pieces_are_short_and_lose_nothing(text: str) -> None:
    parts = live_session.pieces(text)
    most = 450 if ord(text[0]) > 127 else 1_200
    assert all(0 < len(part) <= most for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_a_voice_of_ones_own_is_an_object() -> None:
    config = m.SessionConfig(model="gpt-live-1", voice="voice_1")
    given = one(Live().write(m.ConfigureSession(config)))["session"]["audio"]["output"]
    assert given == {"voice": {"id": "voice_1"}}


@pytest.mark.parametrize(
    "extra", [{"audio": {}}, {"input": []}, {"client": {}}, {"delegation": {"type": "responses"}}]
)
def test_what_the_bridge_decides_is_no_extra(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Live().dial(m.SessionConfig(extra=extra))


def test_an_extra_goes_into_the_session() -> None:
    extra = {"store": True, "delegation": {"acknowledgement_delay_ms": 300}}
    given = one(Live().write(m.ConfigureSession(m.SessionConfig(extra=extra))))["session"]
    assert given["store"] is True
    assert given["delegation"] == {"type": "client", "acknowledgement_delay_ms": 300}


def test_where_a_session_is_to_be_had() -> None:
    dial = Live().dial(CONFIG)
    assert (dial.url, dial.auth, dial.headers) == (live.URL, Auth.BEARER, {})
    azure = live.azure(1, "wss://one.example/openai/v1/live/sessions").dial(CONFIG)
    assert azure.auth is Auth.API_KEY
    for url in ("https://x.example", "wss://x.example/v1/live/sessions?model=gpt-live-1"):
        with pytest.raises(ConfigError):
            Live(1, url).dial(CONFIG)
    with pytest.raises(ConfigError):
        live.azure()
