"""OP-13 to OP-22: what is sent, what was played, and what an interruption tells the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bridge.client.config import SessionOptions
from bridge.client.events import Audio, AudioInterrupted, ItemUpdated, MarkWanted
from bridge.client.playback import PlaybackTracker, Playing
from bridge.codecs import PCM_24K, PCMU
from bridge.core import messages as m
from tests.checklist.stage import Stage, audio_done, called, delta, done, play, speech, started

pytestmark = pytest.mark.runs_with(function=play)


def truncated(stage: Stage) -> list[tuple[str, int, int]]:
    return [
        (event["item_id"], event["content_index"], event["audio_end_ms"])
        for event in stage.sent("conversation.item.truncate")
    ]


def kinds(stage: Stage) -> list[str]:
    return [event["type"] for event in stage.sent()]


async def test_op_13_a_users_words_are_an_item_and_a_response_is_asked_for() -> None:
    stage = Stage()
    await stage.begin()
    await stage.model.send_text("Good day.")
    item, asked = stage.sent()
    assert item["item"]["content"] == [{"type": "input_text", "text": "Good day."}]
    assert (item["item"]["role"], asked["type"]) == ("user", "response.create")
    stage.transport.sent.clear()
    image = {"type": "input_image", "image_url": "data:,"}
    await stage.model.send_item({"type": "message", "role": "user", "content": [image]}, respond=False)
    (item,) = stage.sent()
    assert item["item"]["content"] == [image]
    assert item["item"]["id"].startswith("pb_")


async def test_op_14_sound_is_appended_and_committed_if_asked() -> None:
    stage = Stage()
    await stage.begin()
    await stage.model.send_audio(b"\xff\xfe\xfd")
    await stage.model.send_audio(b"", commit=True)
    assert stage.sent() == [
        {"type": "input_audio_buffer.append", "audio": "//79"},
        {"type": "input_audio_buffer.commit"},
    ]


@pytest.mark.parametrize("respond", [True, False])
async def test_op_15_a_tools_output_is_an_item_then_an_update_then_perhaps_a_response(respond: bool) -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), called(), done())
    stage.events.clear()
    assert await stage.model.send_tool_output("c1", "42", respond=respond)
    item = stage.sent("conversation.item.create")[0]["item"]
    assert (item["type"], item["call_id"], item["output"]) == ("function_call_output", "c1", "42")
    (updated,) = stage.told(ItemUpdated)
    assert (updated.item.status, updated.item.output, updated.item.name) == ("completed", "42", "look")
    assert kinds(stage) == ["conversation.item.create", *["response.create"] * respond]
    assert not await stage.model.send_tool_output("c1", "again")
    assert not await stage.model.send_tool_output("unknown", "x")


async def test_op_16_wishes_of_every_kind_are_routed_and_an_unknown_one_is_an_error() -> None:
    stage = Stage()
    await stage.begin()
    model = stage.model
    await stage.server(started(), delta(1_000))
    stage.now_ms = 300
    await model.send(m.Interrupt())
    assert kinds(stage) == ["response.cancel", "conversation.item.truncate"]
    stage.transport.sent.clear()
    await model.send(SessionOptions(instructions="Be brief."))
    await model.send(m.AddText("Hello.", "system"))
    await model.send(m.SendRaw('{"type":"x.y"}'))
    await model.send(m.ForgetAudio())
    await model.send(m.Mute())
    assert model.muted
    assert kinds(stage) == [
        "session.update", "conversation.item.create", "x.y", "input_audio_buffer.clear",
    ]  # fmt: skip
    for nonsense in ("text", {"type": "x"}, m.HangUp()):
        with pytest.raises(TypeError):
            await model.send(nonsense)


class Player:
    """A tracker that says what a test sets."""

    def __init__(self) -> None:
        self.playing: Playing | None = None
        self.resets = 0

    def state(self) -> Playing | None:
        return self.playing

    def interrupted(self) -> None:
        self.playing, self.resets = None, self.resets + 1

    def set_format(self, audio: Any) -> None:
        self.audio = audio


async def test_op_17_a_player_is_asked_what_was_played_and_the_clock_says_nothing() -> None:
    player = Player()
    stage = Stage(playback=player)
    await stage.begin()
    await stage.server(started(), delta(1_000), audio_done(), delta(1_000, "i2"))
    stage.now_ms = 60_000
    player.playing = Playing("i2", 0, 120)
    await stage.server(speech())
    assert truncated(stage) == [("i2", 0, 120)]
    assert stage.told(m.Spoken)[0].item_id == "i1"  # what comes before it was played


async def test_op_17_else_the_clock_counts_from_the_first_sound() -> None:
    stage = Stage()
    await stage.begin()
    stage.now_ms = 500
    await stage.server(started(), delta(1_000))
    stage.now_ms = 700
    await stage.server(delta(1_000))
    stage.now_ms = 1_120
    await stage.server(speech())
    assert truncated(stage) == [("i1", 0, 620)]


async def test_op_17_or_marks_do() -> None:
    stage = Stage(playback="marks")
    await stage.begin()
    await stage.server(started(), delta(200), audio_done(), delta(200, "i2"))
    names = [event.name for event in stage.told(MarkWanted)]
    assert names == ["1", "2"]
    stage.now_ms = 200
    await stage.model.mark_reached("1")
    assert [event.item_id for event in stage.told(m.Spoken)] == ["i1"]
    stage.now_ms = 250
    await stage.model.interrupt()
    assert truncated(stage) == [("i2", 0, 50)]
    await stage.model.mark_reached("2")  # what was flushed means nothing


@pytest.mark.parametrize("playback", ["marks", "clock"])
async def test_a_long_answer_is_the_player_s_to_hold(playback: Any) -> None:
    """It has all of the sound as it comes, so nothing of it waits here."""

    stage = Stage(playback=playback)
    await stage.begin()
    await stage.server(started(), *[delta(1_000) for _ in range(30)], audio_done())
    assert len(stage.told(Audio)) == 30
    assert len(stage.told(MarkWanted)) == (30 if playback == "marks" else 0)
    stage.now_ms = 20_000
    await stage.server(speech())
    assert stage.told(AudioInterrupted)


async def test_op_18_with_nothing_to_stop_nothing_is_said_and_else_the_player_is_told_first() -> None:
    stage = Stage()
    order: list[str] = []
    await stage.begin()
    await stage.model.interrupt()
    assert stage.sent() == []
    send = stage.transport.send

    async def noting(frame: str) -> None:
        order.append(json.loads(frame)["type"])
        await send(frame)

    stage.transport.send = noting  # type: ignore[method-assign]
    stage.model.add_listener(
        lambda event: order.append("stop") if isinstance(event, AudioInterrupted) else None
    )
    await stage.server(started(), delta(1_000))
    stage.now_ms = 333
    await stage.server(speech())
    assert order == ["stop", "conversation.item.truncate"]
    assert stage.told(AudioInterrupted) == [AudioInterrupted("i1", 0, 333)]
    assert truncated(stage) == [("i1", 0, 333)]


async def test_op_18_what_was_not_heard_at_all_is_deleted_and_not_truncated() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), delta(1_000))
    await stage.model.interrupt()
    assert truncated(stage) == []
    assert [event["item_id"] for event in stage.sent("conversation.item.delete")] == ["i1"]


@pytest.mark.parametrize(
    ("automatic", "force", "cancels"),
    [(True, True, 1), (True, False, 0), (False, True, 1), (False, False, 1)],
)
async def test_op_19_a_cancel_goes_out_once_when_forced_or_the_server_does_not(
    automatic: bool, force: bool, cancels: int
) -> None:
    detection = {"type": "server_vad", "interrupt_response": automatic}
    stage = Stage(session={"audio": {"input": {"turn_detection": detection}}})
    await stage.begin()
    await stage.model.interrupt(force=force)
    assert stage.sent("response.cancel") == []  # there is nothing to cancel
    await stage.server(started(), delta(1_000))
    stage.now_ms = 100
    await stage.model.interrupt(force=force)
    await stage.model.interrupt(force=force)
    assert [event["response_id"] for event in stage.sent("response.cancel")] == ["r1"] * cancels
    await stage.server(done(status="cancelled"))
    assert not stage.model.responding


async def test_op_20_after_an_interruption_everybody_begins_anew() -> None:
    player = Player()
    stage = Stage(playback=player)
    await stage.begin()
    await stage.server(started(), delta(1_000))
    player.playing = Playing("i1", 0, 400)
    await stage.model.interrupt()
    assert player.resets == 1
    assert stage.model.playing is None
    await stage.server(delta(500))  # late: nobody plays it
    assert len(stage.told(Audio)) == 1
    await stage.server(done(status="cancelled"), started("r2"), delta(1_000, "i2", "r2"))
    player.playing = Playing("i2", 0, 50)
    await stage.model.interrupt()
    assert truncated(stage) == [("i1", 0, 400), ("i2", 0, 50)]


@pytest.mark.parametrize("automatic", [True, False])
async def test_op_21_speech_stops_the_sound_and_we_truncate_ourselves(automatic: bool) -> None:
    detection = {"type": "server_vad", "interrupt_response": automatic}
    stage = Stage(session={"audio": {"input": {"turn_detection": detection}}})
    await stage.begin()
    await stage.server(started(), delta(1_000))
    stage.now_ms = 620
    await stage.server(speech())
    assert stage.told(AudioInterrupted) == [AudioInterrupted("i1", 0, 620)]
    assert truncated(stage) == [("i1", 0, 620)]
    assert len(stage.sent("response.cancel")) == (0 if automatic else 1)
    await stage.server(speech())
    assert len(stage.told(AudioInterrupted)) == 1


async def test_op_22_a_delta_is_sound_with_its_ids_and_the_end_of_it_is_told() -> None:
    stage = Stage()
    await stage.begin()
    await stage.server(started(), delta(20, part=1), audio_done())
    assert stage.told(Audio) == [Audio("r1", "i1", 1, b"\xff" * 160)]
    assert stage.told(m.AudioDone) == [m.AudioDone("r1", "i1")]
    stage.now_ms = 10
    assert stage.model.playing == Playing("i1", 1, 10)


@pytest.mark.parametrize(("tell", "heard_ms"), [("ms", 130), ("bytes", 130)])
def test_op_22_a_tracker_that_is_told_adds_up(tell: str, heard_ms: int) -> None:
    tracker = PlaybackTracker()
    tracker.set_format(PCM_24K)
    said: Callable[[str, int, float], None] = tracker.played_ms if tell == "ms" else tracker.played_bytes
    unit = 1 if tell == "ms" else PCM_24K.bytes_per_ms
    said("i1", 0, 500 * unit)
    said("i2", 0, 100 * unit)
    said("i2", 0, 30 * unit)
    assert tracker.state() == Playing("i2", 0, heard_ms)
    tracker.set_format(PCMU)
    tracker.interrupted()
    assert tracker.state() is None
