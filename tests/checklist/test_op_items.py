"""OP-23 to OP-30: items in one spelling, responses, and the session in force."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.client.events import Audio, Failed, Idled, Item, ItemUpdated, Part, SessionInForce
from bridge.client.playback import PlaybackTracker
from bridge.codecs import PCM_24K, PCMA
from bridge.core import messages as m
from tests.checklist.stage import SERVER, Stage, called, delta, done, error, play, started

pytestmark = pytest.mark.runs_with(function=play)


def message(role: str = "assistant", *parts: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {"id": "i1", "type": "message", "role": role, "status": status, "content": list(parts)}


def output(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"response.output_item.{kind}", "response_id": "r1", "output_index": 0, "item": item}


async def test_op_23_messages_of_the_model_are_told_in_one_spelling() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(
        output("added", message(status="in_progress")),
        output("done", message("assistant", {"type": "output_audio", "transcript": "Hi."}, status="done")),
        output("done", message("assistant", {"type": "output_text", "text": "Hi."})),
        output("done", message("assistant", {"type": "audio", "transcript": None}, status="incomplete")),
    )
    items = [event.item for event in stage.told(ItemUpdated)]
    assert [(item.status, item.parts) for item in items] == [
        ("in_progress", ()),
        ("completed", (Part("audio", None, "Hi."),)),
        ("completed", (Part("text", "Hi."),)),
        ("incomplete", (Part("audio"),)),
    ]
    assert [item.text for item in items] == ["", "Hi.", "Hi.", ""]


async def test_op_24_a_whole_call_of_a_function_is_an_item_in_progress_and_then_a_call_once() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), called(), called(), called("c2", "f2", "incomplete"))
    assert stage.told(m.ToolCalled) == [m.ToolCalled("r1", "f1", "c1", "look", '{"a":1}')]
    first = stage.told(ItemUpdated)[0].item
    assert (first.kind, first.status, first.call_id) == ("function_call", "in_progress", "c1")
    order = stage.order()
    assert order.index("ItemUpdated") < order.index("ToolCalled")


async def test_op_25_items_that_come_go_and_are_looked_up_are_told() -> None:
    stage = Stage()
    await stage.begin()
    mine = message("user", {"type": "input_text", "text": "Hello."})
    for kind in ("added", "created", "retrieved"):
        await stage.server({"type": f"conversation.item.{kind}", "previous_item_id": "i0", "item": mine})
    await stage.server({"type": "conversation.item.deleted", "item_id": "i1"})
    items = [event.item for event in stage.told(ItemUpdated)]
    expected = Item("i1", role="user", parts=(Part("text", "Hello."),))
    assert [item.previous_id for item in items] == ["i0", "i0", None]
    assert items[2] == expected
    assert stage.told(m.ItemGone) == [m.ItemGone("i1")]
    await stage.server({"type": "conversation.item.retrieved", "item": {"type": "message"}})
    assert [event.what for event in stage.told(Failed)] == ["reading conversation.item.retrieved"]


async def test_op_26_a_turn_written_down_and_an_item_cut_are_looked_up_again() -> None:
    stage = Stage()
    await stage.begin()
    kind = "conversation.item.input_audio_transcription.completed"
    await stage.server({"type": kind, "item_id": "u1", "content_index": 0, "transcript": "Hello."})
    await stage.server({"type": "conversation.item.truncated", "item_id": "i1", "audio_end_ms": 5})
    assert [event["item_id"] for event in stage.sent("conversation.item.retrieve")] == ["u1", "i1"]
    assert stage.told(m.CallerTranscribed) == [m.CallerTranscribed("u1", "Hello.")]
    assert stage.model.history() == [("user", "Hello.")]
    await stage.server(error("item_retrieve_invalid_item_id", "retrieve:i1"))  # it is gone meanwhile
    assert stage.told(m.UpstreamFaulted) == []


async def test_op_27_words_come_with_their_ids_and_partial_ones_of_others_are_let_pass() -> None:
    stage = Stage()
    await stage.begin()
    ids = {"item_id": "i1", "response_id": "r1", "content_index": 0, "delta": "Hi."}
    await stage.server(started(), {"type": "response.output_audio_transcript.delta", **ids})
    assert stage.told(m.TextDelta) == [m.TextDelta("r1", "i1", 0, "Hi.")]
    before = len(stage.order())
    await stage.server(
        {"type": "conversation.item.input_audio_transcription.delta", "item_id": "u1", "delta": "H"},
        {"type": "response.function_call_arguments.delta", "item_id": "f1", "delta": "{"},
    )
    assert len(stage.order()) == before
    await stage.server({"type": "response.output_text.delta", **ids})
    assert stage.told(m.TextDelta)[1].spoken is False


async def test_op_28_a_response_begins_and_ends() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started())
    assert stage.model.responding
    assert stage.told(m.ResponseStarted) == [m.ResponseStarted("r1")]
    await stage.server(done())
    assert not stage.model.responding
    assert stage.told(m.ResponseDone) == [m.ResponseDone("r1")]


async def test_op_29_the_idle_timeout_has_its_times() -> None:
    stage = Stage()
    await stage.begin()
    kind = "input_audio_buffer.timeout_triggered"
    await stage.server({"type": kind, "item_id": "u1", "audio_start_ms": 10, "audio_end_ms": 5_010})
    assert stage.told(Idled) == [Idled("u1", 10, 5_010)]


@pytest.mark.parametrize("playback", ["clock", "marks", "tracker"])
async def test_op_30_the_session_in_force_is_kept_and_its_format_is_everybodys(playback: str) -> None:
    tracker = PlaybackTracker()
    stage = Stage(playback=tracker if playback == "tracker" else playback)
    await stage.begin()
    session = {**SERVER, "audio": {**SERVER["audio"], "output": {"format": {"type": "audio/pcma"}}}}
    await stage.server({"type": "session.updated", "session": session})
    assert stage.model.session == session
    assert stage.told(SessionInForce) == [SessionInForce(session)]
    assert stage.model._core is not None
    assert stage.model._core.audio == PCMA
    assert stage.model._core.ledger.bytes_per_ms == 8
    assert playback != "tracker" or tracker.format == PCMA
    await stage.server({"type": "session.updated", "session": {"type": "transcription"}})
    assert stage.model.session == session
    await stage.server(error("invalid_value", message="no such thing"))
    assert [fault.message for fault in stage.told(m.UpstreamFaulted)] == ["no such thing"]


async def test_op_30_a_format_does_not_change_under_sound_that_plays() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), delta(1_000))
    await stage.server({"type": "session.updated", "session": SERVER})  # it says PCM
    stage.now_ms = 250
    await stage.model.interrupt()
    assert stage.sent("conversation.item.truncate")[0]["audio_end_ms"] == 250
    await stage.server(done(status="cancelled"), {"type": "session.updated", "session": SERVER})
    await stage.server(started("r2"), delta(20, "i2", "r2", PCM_24K))
    assert len(stage.told(Audio)[-1].sound) == 960
    stage.now_ms = 260
    assert stage.model.playing is not None
    assert stage.model.playing.played_ms == 10
