"""The Realtime dialect: https://developers.openai.com/api/docs/guides/realtime-conversations."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.codecs import is_clean, size_bytes
from bridge.core.messages import (
    AppendAudio,
    AudioDelta,
    AudioDone,
    CallerTranscribed,
    CancelResponse,
    CommitAudio,
    ConfigureSession,
    CreateItem,
    CreateResponse,
    DeleteItem,
    ForgetAudio,
    ItemAdded,
    ResponseDone,
    ResponseStarted,
    SendVendorEvent,
    SessionConfig,
    SpeechStarted,
    TextDelta,
    ToolCalled,
    TruncateItem,
    UpstreamCommand,
    UpstreamEvent,
    UpstreamFaulted,
    Usage,
    VendorNote,
)
from bridge.errors import UpstreamError
from bridge.upstreams.openai import session_tree
from bridge.upstreams.realtime import Realtime
from tests.carriers.mutations import any_json, with_one_thing_wrong
from tests.upstreams import published
from tests.upstreams.wire_frames import FRAMES, SCENES, frame

SOUND = "f39/" * 53 + "fw=="
quickly = settings(max_examples=50, deadline=None)


@pytest.fixture
def model() -> Realtime:
    return Realtime(session_tree, epoch=3)


def parsed(model: Realtime, event: dict[str, Any]) -> UpstreamEvent | None:
    return model.parse(json.dumps(event))


def refused(model: Realtime, text: str | bytes) -> str:
    with pytest.raises(UpstreamError) as error:
        model.parse(text)
    return error.value.args[0]


def changed(kind: str, **values: Any) -> dict[str, Any]:
    """The first frame of that type with other values; `item__id` reaches inside."""
    tree = frame(kind)
    for name, value in values.items():
        *way, last = name.split("__")
        part = tree
        for step in way:
            part = part[step]
        part[last] = value
    return tree


def without(kind: str, name: str) -> dict[str, Any]:
    tree = frame(kind)
    *way, last = name.split("__")
    part = tree
    for step in way:
        part = part[step]
    del part[last]
    return tree


# --- what comes in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", list(SCENES))
def test_each_scene_says_what_stands_beside_its_frames(scene: str, model: Realtime) -> None:
    said = [parsed(model, line["frame"]) for line in SCENES[scene]]
    wanted = [
        line["says"] and msgspec.convert({**line["says"], "epoch": 3}, UpstreamEvent)
        for line in SCENES[scene]
    ]
    assert said == wanted


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene != "before_ga"])
def test_the_frames_of_each_scene_are_what_the_vendor_published(scene: str) -> None:
    for line in SCENES[scene]:
        published.server_event(line["frame"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio.done", "response.output_audio.done"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.text.delta", "response.output_text.delta"),
        ("conversation.item.created", "conversation.item.added"),
    ],
)
def test_the_older_spelling_says_the_same(model: Realtime, old: str, new: str) -> None:
    event = frame(new)
    assert parsed(model, {**event, "type": old}) == parsed(model, event) is not None


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.telepathy.delta", "delta": {"not": "text"}},
        {"type": "heartbeat"},
        {"type": "output_audio_buffer.started", "item_id": 7},
        {"type": "input_audio_buffer.dtmf_event_received", "event": "9", "received_at": 1763605109},
        {"type": "output_audio_buffer.started", "response_id": "resp_1"},
    ],
)
def test_events_we_do_not_read_say_nothing_whatever_their_fields(
    model: Realtime, event: dict[str, Any]
) -> None:
    assert parsed(model, event) is None


def test_unknown_fields_and_nulls_are_let_pass(model: Realtime) -> None:
    event = changed(
        "response.output_audio.delta", delta=SOUND, content_index=None, phase="commentary", x={"y": 1}
    )
    assert parsed(model, event) == AudioDelta("resp_1", "item_2", 0, SOUND, 160, epoch=3)


def test_sound_of_a_later_part(model: Realtime) -> None:
    event = parsed(model, changed("response.output_audio.delta", content_index=2))
    assert isinstance(event, AudioDelta)
    assert event.part == 2


@pytest.mark.parametrize(
    "kind",
    ["response.output_audio.delta", "response.output_audio_transcript.delta", "response.output_text.delta"],
)
def test_an_empty_delta_is_nothing(model: Realtime, kind: str) -> None:
    assert parsed(model, changed(kind, delta="")) is None


def test_speech_offsets_may_be_fractions_and_ids_missing(model: Realtime) -> None:
    event = {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1220.75}
    assert parsed(model, event) == SpeechStarted("", 1220, epoch=3)


# --- responses ---------------------------------------------------------------------------------------------


def started(response_id: str = "resp_1", **fields: Any) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": response_id, "status": "in_progress", **fields}}


def test_a_response_we_asked_for_is_known_by_its_tag(model: Realtime) -> None:
    sent = json.loads(model.write(CreateResponse("say:4")))
    begun = started(metadata=sent["response"]["metadata"], conversation_id="conv_1")
    assert parsed(model, begun) == ResponseStarted("resp_1", "say:4", aside=False, epoch=3)


def test_an_aside_is_known_by_its_tag(model: Realtime) -> None:
    sent = json.loads(model.write(CreateResponse("guard", aside=True)))
    begun = started(metadata=sent["response"]["metadata"])
    assert parsed(model, begun) == ResponseStarted("resp_1", "guard", aside=True, epoch=3)


def test_a_server_that_never_names_a_conversation_does_not_turn_all_answers_into_asides(
    model: Realtime,
) -> None:
    model.write(CreateResponse("say:1"))
    tagged = started("resp_1", metadata={"tag": "say:1"}, conversation_id=None)
    assert parsed(model, tagged) == ResponseStarted("resp_1", "say:1", aside=False, epoch=3)
    by_voice = started("resp_2", metadata=None, conversation_id=None)
    assert parsed(model, by_voice) == ResponseStarted("resp_2", aside=False, epoch=3)


def test_an_aside_that_user_code_asked_for_in_the_vendors_words(model: Realtime) -> None:
    marked = started("resp_1", metadata={"topic": "x"}, conversation_id=None)
    assert parsed(model, marked) == ResponseStarted("resp_1", aside=True, epoch=3)
    unmarked = started("resp_2", conversation_id=None)
    assert parsed(model, unmarked) == ResponseStarted("resp_2", aside=False, epoch=3)
    assert parsed(model, {"type": "conversation.created", "conversation": {"id": "conv_1"}}) is None
    assert parsed(model, unmarked) == ResponseStarted("resp_2", aside=True, epoch=3)


def test_a_server_that_names_its_conversation_in_its_responses(model: Realtime) -> None:
    parsed(model, started("resp_1", conversation_id="conv_1"))
    assert parsed(model, started("resp_2", conversation_id=None)) == ResponseStarted(
        "resp_2", aside=True, epoch=3
    )


@pytest.mark.parametrize("metadata", [None, [], "tag", {"tag": 7}, {}])
def test_metadata_that_is_not_ours(model: Realtime, metadata: Any) -> None:
    event = parsed(model, started(metadata=metadata, conversation_id="conv_1"))
    assert event == ResponseStarted("resp_1", epoch=3)


@pytest.mark.parametrize(
    ("fields", "done"),
    [
        ({}, ResponseDone("resp_1", epoch=3)),
        ({"status": "completed", "status_details": None, "usage": None}, ResponseDone("resp_1", epoch=3)),
        (
            {"status": "failed", "status_details": {"error": {"type": "server_error", "code": None}}},
            ResponseDone("resp_1", "failed", "server_error", epoch=3),
        ),
        (
            {"status": "failed", "status_details": {"error": {"code": 429}}},
            ResponseDone("resp_1", "failed", "429", epoch=3),
        ),
        ({"usage": {}}, ResponseDone("resp_1", epoch=3)),
        (
            {
                "usage": {
                    "input_tokens": 9,
                    "input_token_details": None,
                    "output_token_details": {"text_tokens": 2},
                }
            },
            ResponseDone("resp_1", usage=Usage(text_out=2), epoch=3),
        ),
        (
            {"usage": {"input_token_details": {"audio_tokens": 5, "cached_tokens_details": None}}},
            ResponseDone("resp_1", usage=Usage(audio_in=5), epoch=3),
        ),
        # What only informs, and is not as documented, must not cost the word that the response is over.
        ({"usage": "a lot", "status_details": "none"}, ResponseDone("resp_1", epoch=3)),
        (
            {"usage": {"input_token_details": [1]}, "output": 7, "metadata": []},
            ResponseDone("resp_1", epoch=3),
        ),
    ],
)
def test_the_last_word_on_a_response(model: Realtime, fields: dict[str, Any], done: ResponseDone) -> None:
    assert parsed(model, {"type": "response.done", "response": {"id": "resp_1", **fields}}) == done


def test_whose_item_it_is_stands_in_the_event_before(model: Realtime) -> None:
    added = frame("conversation.item.added", "tools")
    assert parsed(model, frame("response.output_item.added", "tools")) is None
    first, again = parsed(model, added), parsed(model, added)
    assert isinstance(first, ItemAdded)
    assert isinstance(again, ItemAdded)
    assert (first.response_id, again.response_id) == ("resp_1", "")


def test_an_item_that_nobody_says_who_makes(model: Realtime) -> None:
    item = frame("response.output_item.added", "tools")["item"]
    assert parsed(model, {"type": "response.output_item.added", "item": item}) is None
    added = parsed(model, frame("conversation.item.added", "tools"))
    assert isinstance(added, ItemAdded)
    assert added.response_id == ""


LONG = "x" * 513


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.created", "response": {"id": LONG}},
        {"type": "response.created", "response": {"id": "resp_1", "metadata": {"tag": LONG}}},
        {"type": "response.output_audio.delta", "response_id": "r", "item_id": LONG, "delta": "AAAA"},
        {"type": "response.output_audio.delta", "response_id": LONG, "item_id": "i", "delta": "AAAA"},
        {"type": "response.output_audio_transcript.delta", "response_id": "r", "item_id": LONG, "delta": "x"},
        {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": "AAAA",
         "content_index": 10**4_000},
        {"type": "conversation.item.added", "item": {"id": LONG}},
        {"type": "conversation.item.added", "previous_item_id": LONG, "item": {"id": "i"}},
        {"type": "response.output_item.added", "response_id": "r", "item": {"id": LONG}},
        {"type": "input_audio_buffer.speech_started", "item_id": LONG},
        {"type": "input_audio_buffer.committed", "item_id": LONG},
        {"type": "response.output_item.done", "response_id": "r", "item": {
            "id": "i", "type": "function_call", "call_id": "c", "name": LONG, "arguments": "{}"}},
        {"type": "response.output_item.done", "item": {
            "id": "i", "type": "mcp_approval_request", "arguments": "x" * 300_000}},
    ],
)  # fmt: skip
def test_an_id_without_end_is_refused(model: Realtime, event: dict[str, Any]) -> None:
    assert len(refused(model, json.dumps(event))) < 1_000


def test_words_that_only_inform_are_cut_and_figures_that_cannot_be_are_bounded(model: Realtime) -> None:
    fault = {"code": LONG * 9, "message": LONG * 9, "param": {"a": LONG * 9}, "type": 4711}
    told = parsed(model, {"type": "error", "error": fault})
    assert isinstance(told, UpstreamFaulted)
    assert {len(told.code), len(told.message), len(told.param)} == {1_000}
    usage = {"input_token_details": {"text_tokens": 10**30, "audio_tokens": -5}}
    ended = parsed(
        model, {"type": "response.done", "response": {"id": "r", "status": LONG * 9, "usage": usage}}
    )
    assert isinstance(ended, ResponseDone)
    assert (ended.usage, len(ended.status)) == (Usage(text_in=1_000_000_000), 1_000)
    heard = parsed(model, {
        "type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "transcript": "Hi.",
        "usage": {"seconds": 1e300},
    })  # fmt: skip
    assert isinstance(heard, CallerTranscribed)
    assert heard.seconds == 86_400


def test_items_of_an_aside_are_not_remembered_for_ever(model: Realtime) -> None:
    parsed(model, frame("response.output_item.added", "tools"))
    parsed(model, {"type": "response.done", "response": {"id": "resp_1"}})
    added = parsed(model, frame("conversation.item.added", "tools"))
    assert isinstance(added, ItemAdded)
    assert added.response_id == ""


# --- tools and MCP -----------------------------------------------------------------------------------------


def test_a_call_is_told_three_times_and_heard_once(model: Realtime) -> None:
    said = [parsed(model, line["frame"]) for line in SCENES["tools"]]
    assert [event.call_id for event in said if isinstance(event, ToolCalled)] == ["call_7", "call_9"]


@pytest.mark.parametrize(("status", "complete"), [("completed", True), ("incomplete", False), (None, True)])
def test_a_call_cut_off_in_the_middle_must_not_run(
    model: Realtime, status: str | None, complete: bool
) -> None:
    event = frame("response.output_item.done", "tools")
    event["item"]["status"] = status
    called = parsed(model, event)
    assert isinstance(called, ToolCalled)
    assert called.complete is complete


@pytest.mark.parametrize("first", ["conversation.item.done", "response.output_item.done"])
def test_an_approval_is_asked_for_once_whichever_event_brings_it(model: Realtime, first: str) -> None:
    item = frame("conversation.item.done", "mcp")["item"]
    asked = parsed(model, {"type": first, "response_id": "resp_1", "item": item})
    assert isinstance(asked, VendorNote)
    assert json.loads(asked.body) == item
    for kind in ("conversation.item.done", "response.output_item.done"):
        assert parsed(model, {"type": kind, "response_id": "resp_1", "item": item}) is None


# --- faults ------------------------------------------------------------------------------------------------


def fault(code: str | None, event_id: str | None) -> dict[str, Any]:
    error = {
        "type": "invalid_request_error",
        "code": code,
        "message": "no",
        "param": None,
        "event_id": event_id,
    }
    return {"type": "error", "error": error}


@pytest.mark.parametrize(
    "command",
    [
        TruncateItem("item_2", 0, 620),
        DeleteItem("item_2"),
        CancelResponse("resp_1"),
        CreateResponse("tool:call_7"),
        CreateItem("pb_1", "user", "Hello"),
        ConfigureSession(SessionConfig()),
        CommitAudio(),
        ForgetAudio(),
    ],
)
def test_a_fault_says_which_command_it_is_about(model: Realtime, command: UpstreamCommand) -> None:
    event_id = json.loads(model.write(command))["event_id"]
    event = parsed(model, fault("invalid_value", event_id))
    assert isinstance(event, UpstreamFaulted)
    about = type(command).__name__
    assert (
        event.about
        == {
            "TruncateItem": "truncate:item_2",
            "DeleteItem": "delete:item_2",
            "CancelResponse": "cancel:resp_1",
            "CreateResponse": "create:tool:call_7",
            "CreateItem": "item:pb_1",
            "ConfigureSession": "configure:1",
            "CommitAudio": "commit",
            "ForgetAudio": "forget",
        }[about]
    )


def test_an_older_server_does_not_echo_the_id_of_a_create_that_came_too_early(model: Realtime) -> None:
    model.write(CreateResponse("guard", aside=True))
    model.write(CreateResponse("say:1"))
    first = parsed(model, fault("conversation_already_has_active_response", None))
    again = parsed(model, fault("conversation_already_has_active_response", None))
    assert isinstance(first, UpstreamFaulted)
    assert isinstance(again, UpstreamFaulted)
    assert (first.about, again.about) == ("create:say:1", "")


@pytest.mark.parametrize("error", [{}, {"code": 400, "message": None, "param": ["a"], "event_id": 7}])
def test_a_fault_in_other_words_is_still_a_fault(model: Realtime, error: dict[str, Any]) -> None:
    assert isinstance(parsed(model, {"type": "error", "error": error}), UpstreamFaulted)


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"", b"{}", json.dumps(FRAMES[0]).encode()])
def test_a_binary_frame(model: Realtime, text: bytes) -> None:
    assert refused(model, text) == "a binary frame"


@pytest.mark.parametrize(
    "text", ["", "hello", "{", "[]", "null", "{}", '{"type":7}', "[" * 100_000, "\ud800"]
)
def test_what_is_not_an_event(model: Realtime, text: str) -> None:
    assert "not a server event" in refused(model, text)


def test_a_frame_that_is_too_long(model: Realtime) -> None:
    assert "more than 8388608 characters" in refused(model, " " * 8_388_609)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("response.output_audio.delta", "response_id"),
        ("response.output_audio.delta", "item_id"),
        ("response.output_audio.delta", "delta"),
        ("response.output_audio.done", "item_id"),
        ("response.output_audio_transcript.delta", "response_id"),
        ("response.output_text.delta", "delta"),
        ("input_audio_buffer.committed", "item_id"),
        ("conversation.item.deleted", "item_id"),
        ("conversation.item.input_audio_transcription.completed", "item_id"),
        ("conversation.item.input_audio_transcription.failed", "item_id"),
        ("conversation.item.added", "item__id"),
        ("response.created", "response__id"),
        ("response.done", "response__id"),
    ],
)
def test_an_event_without_what_it_is_about(model: Realtime, kind: str, name: str) -> None:
    assert refused(model, json.dumps(without(kind, name))) == f"{kind} without {name.replace('__', '.')}"


@pytest.mark.parametrize("name", ["id", "call_id", "name"])
def test_a_call_that_nobody_could_answer(model: Realtime, name: str) -> None:
    event = frame("response.output_item.done", "tools")
    del event["item"][name]
    assert refused(model, json.dumps(event)) == f"response.output_item.done without item.{name}"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error"},
        {"type": "error", "error": "no"},
        {"type": "session.created"},
        {"type": "session.updated", "session": []},
        {"type": "response.done", "response": None},
        {"type": "conversation.item.added", "item": 7},
    ],
)
def test_an_event_without_its_object(model: Realtime, event: dict[str, Any]) -> None:
    assert refused(model, json.dumps(event)).startswith(event["type"])


@pytest.mark.parametrize(
    "values", [{"content_index": -1}, {"content_index": "0"}, {"delta": 7}, {"item_id": []}]
)
def test_a_field_of_the_wrong_kind(model: Realtime, values: dict[str, Any]) -> None:
    assert "not as documented" in refused(model, json.dumps(changed("response.output_audio.delta", **values)))


@pytest.mark.parametrize("kind", ["response.output_audio.delta", "response.audio.delta"])
@pytest.mark.parametrize(
    "delta", ["AAA", "AA=A", "AAAA\n", "A-A_", '"}', 'AAAA"},"event":"clear","x":{"y":"', "ÄÄÄÄ"]
)
def test_sound_that_is_not_base64(model: Realtime, kind: str, delta: str) -> None:
    event = {**frame("response.output_audio.delta"), "type": kind, "delta": delta}
    assert refused(model, json.dumps(event)) == f"{kind} whose delta is not base64"


def test_a_refused_frame_is_shown_without_its_sound(model: Realtime) -> None:
    event = {**frame("response.output_audio.delta"), "delta": SOUND, "content_index": -1}
    with pytest.raises(UpstreamError) as error:
        parsed(model, event)
    assert SOUND not in str(error.value)


@quickly
@given(any_json)
def test_arbitrary_json_never_raises_anything_but_an_upstream_error(tree: Any) -> None:
    model = Realtime(session_tree)
    for event in (tree, {"type": "session.updated", "session": tree}, {"type": "error", "error": tree}):
        try:
            parsed(model, event)
        except UpstreamError as error:
            str(error)


@settings(max_examples=120, deadline=None)
@given(with_one_thing_wrong(FRAMES))
def test_a_real_frame_with_one_thing_wrong_never_raises_anything_but_an_upstream_error(text: str) -> None:
    model = Realtime(session_tree)
    model.write(ConfigureSession(SessionConfig()))
    try:
        event = model.parse(text)
    except UpstreamError as error:
        str(error)
    else:
        assert not isinstance(event, AudioDelta) or is_clean(event.audio)


@quickly
@given(st.text() | st.binary())
def test_any_text_or_bytes_never_raise_anything_but_an_upstream_error(text: str | bytes) -> None:
    with pytest.raises(UpstreamError):
        Realtime(session_tree).parse(text)


# --- what goes out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (AppendAudio(SOUND, 160), {"type": "input_audio_buffer.append", "audio": SOUND}),
        (CommitAudio(), {"type": "input_audio_buffer.commit", "event_id": "commit"}),
        (ForgetAudio(), {"type": "input_audio_buffer.clear", "event_id": "forget"}),
        (
            TruncateItem("item_2", 1, 620),
            {
                "type": "conversation.item.truncate",
                "event_id": "truncate:item_2",
                "item_id": "item_2",
                "content_index": 1,
                "audio_end_ms": 620,
            },
        ),
        (
            DeleteItem("item_2"),
            {"type": "conversation.item.delete", "event_id": "delete:item_2", "item_id": "item_2"},
        ),
        (
            CancelResponse("resp_1"),
            {"type": "response.cancel", "event_id": "cancel:resp_1", "response_id": "resp_1"},
        ),
        (CancelResponse(""), {"type": "response.cancel", "event_id": "cancel:"}),
        (
            CreateResponse("say:1"),
            {
                "type": "response.create",
                "event_id": "create:say:1",
                "response": {"metadata": {"tag": "say:1"}},
            },
        ),
        (
            CreateResponse("a", "Sum it up.", "none", aside=True, text_only=True),
            {
                "type": "response.create",
                "event_id": "create:a",
                "response": {
                    "metadata": {"tag": "a"},
                    "instructions": "Sum it up.",
                    "tool_choice": "none",
                    "conversation": "none",
                    "output_modalities": ["text"],
                },
            },
        ),
        (
            CreateResponse("b", "", tool_choice="weather"),
            {
                "type": "response.create",
                "event_id": "create:b",
                "response": {
                    "metadata": {"tag": "b"},
                    "instructions": "",
                    "tool_choice": {"type": "function", "name": "weather"},
                },
            },
        ),
    ],
)
def test_what_a_command_becomes(model: Realtime, command: UpstreamCommand, event: dict[str, Any]) -> None:
    assert published.client_event(model.write(command)) == event


def message(role: str, kind: str, text: str) -> dict[str, Any]:
    return {"id": "pb_1", "type": "message", "role": role, "content": [{"type": kind, "text": text}]}


@pytest.mark.parametrize(
    ("command", "item"),
    [
        (CreateItem("pb_1", "user", "Hello"), message("user", "input_text", "Hello")),
        (CreateItem("pb_1", "", "Hello"), message("user", "input_text", "Hello")),
        (
            CreateItem("pb_1", "system", "The key 5 was pressed."),
            message("system", "input_text", "The key 5 was pressed."),
        ),
        (CreateItem("pb_1", "assistant", "Grüezi"), message("assistant", "output_text", "Grüezi")),
        (
            CreateItem("pb_1", call_id="call_7", output=""),
            {"id": "pb_1", "type": "function_call_output", "call_id": "call_7", "output": ""},
        ),
        (
            CreateItem("pb_1", call_id="call_7", name="weather", arguments="{}"),
            {
                "id": "pb_1",
                "type": "function_call",
                "call_id": "call_7",
                "name": "weather",
                "arguments": "{}",
            },
        ),
    ],
)
def test_items_of_ours(model: Realtime, command: CreateItem, item: dict[str, Any]) -> None:
    assert published.client_event(model.write(command)) == {
        "type": "conversation.item.create",
        "event_id": "item:pb_1",
        "item": item,
    }


def test_an_event_in_the_vendors_own_words_goes_as_it_is(model: Realtime) -> None:
    body = '{"type": "conversation.item.retrieve",  "item_id": "item_1"}'
    assert model.write(SendVendorEvent(body)) == body


def test_event_ids_and_tags_keep_to_the_vendors_512_characters(model: Realtime) -> None:
    sent = published.client_event(model.write(DeleteItem("i" * 600)))
    assert (len(sent["event_id"]), len(sent["item_id"])) == (512, 600)
    sent = published.client_event(model.write(CreateResponse("t" * 600)))
    assert (len(sent["event_id"]), len(sent["response"]["metadata"]["tag"])) == (512, 512)


def test_half_a_character_in_somebodys_text_does_not_lose_the_rest(model: Realtime) -> None:
    sent = published.client_event(model.write(CreateItem("pb_1", "user", "Zürich \ud83d!")))
    assert sent["item"]["content"] == [{"type": "input_text", "text": "Zürich ?!"}]


@quickly
@given(st.text(max_size=12) | st.text(alphabet="AQgw+/=", max_size=12))
def test_whatever_sound_is_let_through_is_pasted_without_harm(delta: str) -> None:
    model = Realtime(session_tree)
    try:
        event = parsed(model, changed("response.output_audio.delta", delta=delta))
    except UpstreamError:
        assert not is_clean(delta)
        return
    assert isinstance(event, AudioDelta) == bool(delta)
    if isinstance(event, AudioDelta):
        sent = published.client_event(model.write(AppendAudio(event.audio, size_bytes(event.audio))))
        assert sent == {"type": "input_audio_buffer.append", "audio": delta}


def test_every_event_carries_the_epoch_of_its_session() -> None:
    for epoch in (1, 2):
        model = Realtime(session_tree, epoch)
        said = [parsed(model, event) for event in FRAMES]
        assert {event.epoch for event in said if event is not None} == {epoch}


def test_words_and_their_end(model: Realtime) -> None:
    assert parsed(model, frame("response.output_audio_transcript.delta")) == TextDelta(
        "resp_1", "item_2", 0, "Good", spoken=True, epoch=3
    )
    assert parsed(model, frame("response.output_audio.done")) == AudioDone("resp_1", "item_2", 0, epoch=3)


@pytest.mark.parametrize("value", [True, 7, "x", [], ["turn_detection"], None])
@pytest.mark.parametrize("path", [(), ("audio",), ("audio", "input"), ("audio", "input", "turn_detection")])
def test_a_session_of_any_shape_is_read_or_refused(
    model: Realtime, path: tuple[str, ...], value: object
) -> None:
    session: object = value
    for name in reversed(path):
        session = {name: session}
    with contextlib.suppress(UpstreamError):
        parsed(model, {"type": "session.updated", "session": session})
