"""What a peer should not have sent, and what comes after the end, changes nothing."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from bridge.core import messages as m
from bridge.core.stats import Stats

from .conftest import delta, frame, legs, only
from .test_messages import bare

EVENTS = sorted(get_args(m.Event), key=lambda kind: kind.__name__)


def test_a_refused_frame_is_counted_and_noted_once_a_kind(live_call: Any) -> None:
    call = live_call()
    first = call.at(0, m.FrameRefused("carrier", "not JSON"))
    assert first == [m.Noted("frame refused", "carrier: not JSON")]
    assert call.speaks(10, *[m.FrameRefused("carrier", "not JSON")] * 9) == []
    assert call.at(20, m.FrameRefused("upstream", "not JSON")) == [
        m.Noted("frame refused", "upstream: not JSON")
    ]
    assert call.call.stats.frames_refused == {"carrier: not JSON": 10, "upstream: not JSON": 1}
    assert call.at(40, frame(1)) == [m.AppendAudio("frame 1", 160)]


def test_frames_dropped_on_the_way_up_are_counted(live_call: Any) -> None:
    call = live_call()
    assert call.speaks(0, m.FramesDropped(3), m.FramesDropped(4)) == []
    assert call.call.stats.frames_dropped == 7


def test_nobodys_marks_and_ends_of_unknown_items_mean_nothing(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 50))
    assert call.speaks(10, m.MarkReached("nobody's"), m.MarkReached(""), m.AudioDone("r9", "Z", 3)) == [
        m.SendMark("1")
    ]
    assert legs(call.at(20, m.ResponseDone("r9"))) == []


def test_after_the_end_nothing_is_done_any_more(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 2_000))
    assert only(m.Ended, call.at(100, m.Stopped())) == [m.Ended(m.Reason.CALLER_HUNG_UP)]
    for kind in EVENTS:
        assert call.at(200, bare(kind)) == [], kind
        assert call.call.deadline_ms is None


def test_no_event_raises_whenever_it_comes(live_call: Any) -> None:
    """Bare and twice, before anything else has happened, in the middle of a response and while draining."""
    for kind in EVENTS:
        call = live_call()
        call.speaks(0, bare(kind), bare(kind), m.ResponseStarted("r1"), delta("A", 2_000))
        call.speaks(100, bare(kind), bare(kind))
        call.speaks(200, m.HangUp(), bare(kind), bare(kind))
        call.at(60_000, m.ShutDown())
        assert len(only(m.Ended, call.actions)) == 1, kind


@pytest.mark.parametrize(
    "event",
    [m.DigitPressed("5"), m.CallerIdled(), m.VendorNote("mcp_approval", "{}"), m.Mute()],
    ids=lambda event: type(event).__name__,
)
def test_what_only_the_handler_may_care_for_touches_neither_leg(live_call: Any, event: m.Event) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 2_000))
    touched = {m.DigitHeard, m.VendorNote, m.CallerSilent}
    assert {type(action) for action in call.at(100, event)} <= touched


def test_a_fresh_call_has_counted_nothing(live_call: Any) -> None:
    stats = live_call().call.stats
    assert stats == Stats(started_ms=0, ready_ms=0, began_ms=0)
