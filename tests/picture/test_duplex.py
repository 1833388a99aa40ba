"""A call with a model that listens and speaks at once, drawn: its speech, the caller's, and what was lost."""

from __future__ import annotations

import pytest

from bridge.doubles.agents import Speech
from bridge.doubles.live_options import Stall
from bridge.picture.lanes import CALLER, CUTS, HEARD, LOST, MODEL, Story
from bridge.picture.story import tell
from bridge.picture.transcript import transcript, webvtt

from ..live_call import HELLO, LiveCall

ANSWER = Speech(6_000, "We are open from nine to five every day but Sunday and you can come without a date.")


@pytest.fixture(scope="module")
def story() -> Story:
    call = LiveCall(
        Speech(1_500, HELLO), ANSWER, options={"yields_after_ms": 300, "stalls": (Stall(6_000, 700),)}
    )
    call.at(4_500).says("Opening hours?")
    call.at(7_000).says("Stop.", 1_000)
    call.at(12_000)
    call.call.from_phone(call.call.phone.hang_up(call.call.now_ms))
    return tell(call.lines)


def test_the_recording_replays_without_its_sound(story: Story) -> None:
    assert story.difference is None


def test_what_was_said_and_heard_stands_in_the_transcript(story: Story) -> None:
    told = [(one["who"], one["text"]) for one in transcript(story) if one["who"] in ("caller", "model")]
    assert [who for who, _ in told] == ["model", "caller", "model", "caller"]
    assert told[0] == ("model", HELLO)
    assert told[1] == ("caller", "Opening hours?")
    assert told[3] == ("caller", "Stop.")
    (cut,) = (one for one in transcript(story) if "cut_ms" in one and one["who"] == "model")
    assert ANSWER.text.startswith(cut["text"])
    assert len(cut["text"]) < len(cut["generated"]) <= len(ANSWER.text)
    assert HELLO in webvtt(story)


def test_both_sides_and_what_was_lost_are_drawn(story: Story) -> None:
    assert [bar.kind for bar in story.bars if bar.lane == CALLER].count("caller") == 2
    assert {HELLO, "Opening hours?"} <= {bar.words.strip("“”") for bar in story.bars}
    model = [bar for bar in story.bars if bar.lane == MODEL]
    assert len(model) == 2
    assert all(bar.kind == "model" for bar in model)
    (lost,) = (bar for bar in story.bars if bar.lane == HEARD and bar.kind == LOST)
    assert "not heard" in lost.title
    cuts = [point.title for point in story.points if point.lane == CUTS]
    assert any(title.startswith("clear") for title in cuts)
    assert "told: say, say:greeting" in cuts
