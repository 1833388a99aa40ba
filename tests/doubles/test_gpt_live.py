"""The GPT-Live double: its timeline, its words, its delegations and its refusals."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.doubles.agents import Scripted, Speech, ToolCall
from bridge.doubles.live_options import Refused, Stall
from bridge.doubles.tones import tone

from .live_client import Client, responses, start

VOICE = tone(600, 300)
GREETING = Speech(1_000, "Hello, how can I help?")


def say(text: str, about: str | None = None) -> dict[str, Any]:
    kind = "session.commentary.append"
    return {"type": kind, "event_id": "say", "delegation_id": about, "content": text}


def output(call_id: str, text: str) -> dict[str, Any]:
    item = {"type": "function_call_output", "call_id": call_id, "output": text}
    return {"type": "response.item.create", "event_id": f"item:{call_id}", "item": item}


def begun(agent: Scripted, **options: Any) -> Client:
    client = Client(agent, **options)
    client.send(start())
    client.until(600)
    return client


# --- time and sound


def test_without_input_nothing_is_said_and_nothing_is_acknowledged() -> None:
    client = begun(Scripted([GREETING]))
    client.send(say("Say now: Hello."))
    before = len(client.events)
    client.until(10_000, flowing=False)
    assert len(client.events) == before
    client.until(13_000)
    assert client.of("session.commentary.appended")
    assert client.server.voice.utterances


def test_the_stream_is_as_long_as_the_input() -> None:
    client = begun(Scripted([]))
    client.until(5_500)
    assert len(client.sound) == 5_000 * 8
    assert set(client.sound) == {0xFF}
    assert all(len(event["delta"]) == 1_068 for event in client.of("session.output_audio.delta"))


def test_a_greeting_sounds_where_it_says_and_its_words_lie_on_frames() -> None:
    client = begun(Scripted([GREETING]), words_early_ms=400, labels_early_ms=200)
    client.send(say("Say now: Hello."))
    client.until(4_000)
    (spoken,) = client.server.voice.utterances
    assert spoken.said == " Hello, how can I help?"
    assert client.sound.count(1) == 1_000 * 8
    assert client.sound.index(1) == spoken.start_ms * 8
    fragments = client.of("session.output_transcript.delta")
    assert "".join(one["delta"] for one in fragments) == spoken.said
    assert all(one["start_ms"] % 200 == 0 and one["end_ms"] - one["start_ms"] == 200 for one in fragments)
    assert fragments[0]["start_ms"] == spoken.start_ms // 200 * 200 - 200


def test_a_stall_brings_all_that_was_due_in_one_burst() -> None:
    client = begun(Scripted([]), stalls=(Stall(1_000, 600),))
    client.until(4_000)
    times = [at for at, one in zip(client.times, client.events, strict=True) if "audio" in one["type"]]
    assert times.count(500 + 1_600) == 7
    assert not [at for at in times if 1_500 <= at < 2_100]


def test_jitter_delays_and_keeps_the_order() -> None:
    client = begun(Scripted([GREETING]), jitter_ms=(0, 30, 5))
    client.send(say("Say now: Hello."))
    client.until(4_000)
    assert client.sound.count(1) == 1_000 * 8
    assert client.time_of("session.output_audio.delta", 1) == 500 + 200 + 30


def test_an_opening_tick_is_faint() -> None:
    client = begun(Scripted([]), tick=True)
    client.until(2_000)
    assert set(client.sound) == {0xFF, 0xFB}


# --- turns


def test_a_turn_is_answered_and_its_words_come_late() -> None:
    client = Client(Scripted([Speech(800, "From nine.")]), transcribe=lambda _item: "Opening hours?")
    client.send(start())
    client.say(1_000, VOICE)
    client.until(5_000)
    words = client.of("session.input_transcript.delta")
    assert "".join(one["delta"] for one in words) == " Opening hours?"
    # The label lies on the voice (500 ms after the start at 1,000), the event comes 1.1 s after it.
    assert words[0]["start_ms"] == 400
    assert client.time_of("session.input_transcript.delta") >= 1_000 + 1_100
    (spoken,) = client.server.voice.utterances
    assert 500 + spoken.start_ms == pytest.approx(1_600 + 300 + 200, abs=40)


@pytest.mark.parametrize(("after_ms", "cut"), [(400, True), (None, False)])
def test_it_yields_to_a_caller_or_talks_on(after_ms: int | None, cut: bool) -> None:
    client = begun(Scripted([Speech(3_000, "One two three four five six")]), yields_after_ms=after_ms)
    client.send(say("Say: it."))
    client.say(2_000, tone(1_000, 300))
    client.until(6_000)
    (spoken,) = client.server.voice.utterances
    assert (spoken.cut_ms is not None) is cut
    sounded_ms = client.sound.count(1) // 8
    assert sounded_ms == spoken.end_ms - spoken.start_ms
    if cut:
        assert spoken.cut_ms == pytest.approx(2_000 - 500 + 400, abs=60)
        assert spoken.said == " One two"


def test_an_order_stops_the_voice() -> None:
    client = begun(Scripted([Speech(3_000, "One two three")]))
    client.send(say("Say: it."))
    client.until(2_000)
    rule = {"type": "session.instructions.append", "delegation_id": None, "content": "Stop speaking now."}
    client.send(rule)
    client.until(6_000)
    (spoken,) = client.server.voice.utterances
    assert spoken.cut_ms is not None
    assert client.of("session.instructions.appended")


def test_a_long_append_conjures_up_a_fragment() -> None:
    client = begun(Scripted([]), phantom=" Thank you.")
    client.send(say("word " * 60))
    client.until(4_000)
    assert [one["delta"] for one in client.of("session.input_transcript.delta")] == [" Thank you."]


# --- delegation


def test_work_is_handed_to_the_client_without_words() -> None:
    agent = Scripted([[Speech(400, "One moment."), ToolCall("hours")], Speech(900, "From nine to five.")])
    client = Client(agent, repeats_delegations=True)
    client.send(start())
    client.say(1_000, VOICE)
    client.until(4_000)
    first, again = client.of("session.delegation.created")
    assert first["delegation"] == again["delegation"]
    assert set(first["delegation"]) == {"id", "type", "target"}
    client.send(say("Open nine to five.", first["delegation"]["id"]))
    client.until(7_000)
    assert [one.text for one in client.server.voice.utterances] == ["One moment.", "From nine to five."]


def test_work_can_be_handed_over_while_the_caller_speaks() -> None:
    client = begun(Scripted([]))
    client.say(1_000, tone(3_000, 300))
    client.until(1_500)
    assert client.server.hears_a_turn
    client._take(client.server.delegate(client.now_ms, ToolCall("hours")))
    assert client.of("session.delegation.created")


def test_a_promise_may_be_all_there_is() -> None:
    client = Client(Scripted([[Speech(400, "I will."), ToolCall("hours")]]), promises_only=True)
    client.send(start())
    client.say(1_000, VOICE)
    client.until(9_000)
    assert client.server.voice.utterances
    assert not client.of("session.delegation.created")


def backend(*replies: Any, **options: Any) -> Client:
    client = Client(Scripted(replies), **options)
    client.send(start(delegation=responses("hours", "book")))
    client.say(1_000, VOICE)
    client.until(4_500)
    return client


def test_the_backend_tells_a_call_three_times_and_an_empty_output() -> None:
    client = backend([ToolCall("hours", {"day": "mon"}, "call_1")], Speech(800, "Nine to five."))
    (added,) = client.nested("response.output_item.added")
    (written,) = client.nested("response.function_call_arguments.done")
    (done,) = client.nested("response.output_item.done")
    assert added["item"]["arguments"] == ""
    assert "call_id" not in written
    assert done["item"]["arguments"] == '{"day": "mon"}'
    (ended,) = client.nested("response.completed")
    assert ended["response"]["output"] == []
    assert ended["response"]["usage"]["input_tokens"] >= 400
    client.send(output("call_1", "9-17"))
    client.send({"type": "response.create", "event_id": "continue:1"})
    client.until(9_000)
    assert len(client.nested("response.completed")) == 2
    assert client.server.voice.utterances[-1].said == " Nine to five."
    assert not client.server.errors


def test_the_backend_does_not_go_on_without_all_outputs() -> None:
    calls = [ToolCall("hours", call_id="call_1"), ToolCall("book", call_id="call_2")]
    client = backend(calls, Speech(500, "So."))
    client.send(output("call_1", "x"))
    client.send({"type": "response.create"})
    assert client.server.errors[-1]["code"] == "function_call_outputs_required"
    client.until(9_000)
    assert len(client.nested("response.created")) == 1
    client.send(output("call_2", "y"))
    client.send({"type": "response.create"})
    client.until(13_000)
    assert client.server.voice.utterances


def test_a_create_that_comes_while_a_response_runs_is_held() -> None:
    client = Client(Scripted([[ToolCall("hours", call_id="call_1")], Speech(500, "So.")]), completed_ms=2_000)
    client.send(start(delegation=responses("hours")))
    client.say(1_000, VOICE)
    while not client.nested("response.output_item.done"):
        client.until(client.now_ms + 20)
    client.send(output("call_1", "x"))
    client.send({"type": "response.create"})
    client.until(client.now_ms + 500)
    assert len(client.nested("response.created")) == 1
    client.until(client.now_ms + 2_000)
    assert len(client.nested("response.created")) == 2


def test_a_failed_response_drops_its_calls() -> None:
    client = backend([ToolCall("hours", call_id="call_1")], fails="failed")
    assert client.nested("response.failed")
    client.send(output("call_1", "x"))
    assert client.server.errors[-1]["code"] == "invalid_value"


@pytest.mark.parametrize("cap", [{"most_items": 0}, {"most_bytes": 200}])
def test_a_full_backend_says_so_twice(cap: dict[str, int]) -> None:
    client = backend([ToolCall("hours", call_id="call_1")], **cap)
    client.send(output("call_1", "x" * 400))
    assert [one["code"] for one in client.server.errors] == [
        "response_input_buffer_full",
        "function_call_outputs_required",
    ]


def test_a_completed_response_may_be_told_twice() -> None:
    client = backend([ToolCall("hours", call_id="call_1")], repeats_completed=True)
    first, again = client.nested("response.completed")
    assert first == again


# --- the session


def test_usage_is_cumulative_and_final_at_the_end() -> None:
    client = begun(Scripted([]))
    client.until(46_000)
    told = [one["usage"]["seconds"] for one in client.of("session.usage.updated")]
    assert told == [15, 30, 45]
    client.send({"type": "session.close", "event_id": "close:1"})
    client.until(47_000)
    (closed,) = client.of("session.closed")
    assert (closed["reason"], closed["client_event_id"]) == ("close_requested", "close:1")
    assert closed["usage"]["seconds"] == 45
    assert client.server.close == (1000, "close_requested")


def test_it_expires() -> None:
    client = begun(Scripted([]), expires_after_ms=3_000)
    client.until(4_000)
    assert client.of("session.closed")[0]["reason"] == "expired"


@pytest.mark.parametrize("reason", ["content", "remote_hangup", "connection_lost"])
def test_it_ends_for_any_reason(reason: str) -> None:
    client = begun(Scripted([]))
    client._take(client.server.finish(reason, client.now_ms))
    assert client.of("session.closed")[0]["reason"] == reason


def test_a_refused_start_dies_without_a_close_frame() -> None:
    client = Client(Scripted([]), refuse_start=Refused("credit_balance_exhausted", "insufficient_quota"))
    client.send(start())
    client.until(5_000)
    (error,) = client.of("error")
    assert "client_event_id" not in error["error"]
    assert client.server.close == (1006, "")
    assert client.now_ms == 2_500
    assert not client.of("session.started")


def test_a_missing_scope_changes_nothing() -> None:
    client = begun(Scripted([]), missing_scope=True)
    assert client.kinds() == ["error", "session.started"]


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"voice": "marin"}, "session.voice"),
        ({"audio": {"format": {"type": "audio/pcmu"}}}, "session.audio.format.rate"),
        ({"audio": {"output": {"voice": "nova"}}}, "session.audio.output.voice"),
        ({"delegation": {"type": "responses", "responses": {}}}, "session.delegation.responses.model"),
        ({"input": [{"role": "user", "content": []}]}, "session.input[0].content"),
        ({"idle_timeout_s": 30}, "session.idle_timeout_s"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}] * 129},
            "session.input",
        ),
    ],
)
def test_a_start_is_all_or_nothing(session: dict[str, Any], param: str) -> None:
    client = Client(Scripted([]))
    client.send(start(**session), checked=False)
    client.until(4_000)
    (error,) = client.of("error")
    assert error["error"]["param"] == param
    assert client.server.close == (1006, "")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_value"),
        ({"type": "response.cancel"}, "invalid_value"),
        ({"type": "conversation.item.truncate", "item_id": "x"}, "invalid_value"),
        ({"type": "session.commentary.append", "content": "x"}, "missing_required_parameter"),
        (say("x" * 1_900), "invalid_value"),
        (say("x", "item_9"), "invalid_value"),
        ({"type": "session.update", "session": {"instructions": "x"}}, "unknown_parameter"),
        ({"type": "session.update", "session": {"delegation": responses("a")}}, "immutable_field_update"),
        ({"type": "response.create"}, "invalid_value"),
        ({"type": "session.input_audio.append", "audio": "!"}, "invalid_value"),
        (start(), "invalid_value"),
    ],
)
def test_what_is_wrong_is_refused_and_the_session_lives(event: dict[str, Any] | str, code: str) -> None:
    client = begun(Scripted([]))
    client.send(event, checked=False)
    assert client.server.errors[-1]["code"] == code
    before = len(client.sound)
    client.until(client.now_ms + 1_000)
    assert len(client.sound) > before


def test_1756_characters_pass_and_an_unknown_type_lists_all_that_are_known() -> None:
    client = begun(Scripted([]))
    client.send(say("x" * 1_756))
    assert not client.server.errors
    client.send({"type": "x"}, checked=False)
    assert "session.thinking.append" in client.server.errors[-1]["message"]


def test_an_update_of_the_backend_replaces_tools_and_keeps_the_rest() -> None:
    client = Client(Scripted([]))
    client.send(start(delegation=responses("hours")))
    client.until(600)
    changed = {"type": "responses", "responses": {"tools": [{"type": "function", "name": "book"}]}}
    client.send({"type": "session.update", "event_id": "u", "session": {"delegation": changed}})
    client.until(1_000)
    (updated,) = client.of("session.updated")
    backend_now = updated["session"]["delegation"]["responses"]
    assert [tool["name"] for tool in backend_now["tools"]] == ["book"]
    assert backend_now["model"] == "gpt-5.4-mini"
    assert updated["client_event_id"] == "u"


def test_muted_the_model_hears_silence_and_its_time_goes_on() -> None:
    client = begun(Scripted([Speech(500, "What?")]))
    client.send({"type": "session.input_audio.mute", "event_id": "m"})
    client.say(1_000, VOICE)
    client.until(4_000)
    assert client.of("session.input_audio.muted")
    assert not client.server.turns
    assert client.server.timeline_ms > 3_000


def test_codes_may_be_null() -> None:
    client = begun(Scripted([]), coded_errors=False)
    client.send({"type": "x"}, checked=False)
    assert client.of("error")[0]["error"]["code"] is None


def test_a_host_may_take_pcm_only_and_another_speak_the_old_dialect() -> None:
    pcm = {"audio": {"format": {"type": "audio/pcm", "rate": 24_000}}}
    client = begun(Scripted([]), impose=pcm)
    assert client.of("session.started")[0]["session"]["audio"] == pcm["audio"]
    client.append(b"\0" * 4_800)
    assert len(client.sound) == 4_800
    old = begun(Scripted([]), alpha=True)
    old.until(1_000)
    assert {"session.created", "output_audio.delta"} <= {event["type"] for event in old.events}


def test_strange_things_may_come() -> None:
    client = begun(Scripted([]), strange=True)
    assert client.of("session.mood.updated")
    assert "x_unknown" in client.of("session.started")[0]
