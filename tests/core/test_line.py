"""The line to the caller: what goes out at once, what goes out in slices, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.ledger import Ledger
from bridge.core.line import Line
from bridge.core.pacer import LEAD_MS, SLICE_MS

from .carrier import Carrier, Wire
from .conftest import phone, speech

SLICE = SLICE_MS * 8


def delta(item_id: str, ms: int) -> m.AudioDelta:
    return m.AudioDelta("r1", item_id, 0, f"{item_id} ", ms * 8)


def sounds(wire: Wire) -> list[tuple[int, str, int]]:
    """What was sent when: of sound, its first letters."""
    return [
        (at, act.audio[:2].strip(), act.size_bytes) for at, act in wire.said if isinstance(act, m.PlayAudio)
    ]


def sound(wire: Wire, say_id: str, ms: int, now_ms: int, protected: bool = False) -> None:
    wire.until(now_ms)
    wire._done(wire.line.sound(say_id, speech(ms, letter=say_id), protected, now_ms), [])


# --- model audio --------------------------------------------------------------------------------------------


def test_model_audio_goes_out_at_once_with_a_mark_each_100_ms() -> None:
    line = Line(Ledger())
    assert line.delta(delta("A", 60), 0) == [m.PlayAudio("A ", 480)]
    assert line.delta(delta("A", 40), 0) == [m.PlayAudio("A ", 320), m.SendMark("1")]
    assert line.delta(delta("A", 1_000), 0) == [m.PlayAudio("A ", 8_000), m.SendMark("2")]
    assert line.delta(delta("A", 99), 0) == [m.PlayAudio("A ", 792)]
    assert line.finish("A", 0, 0) == ([m.SendMark("3")], [])
    assert line.deadline_ms is None


def test_the_end_of_an_item_needs_no_second_mark_where_one_stands() -> None:
    line = Line(Ledger())
    line.delta(delta("A", 100), 0)
    assert line.finish("A", 0, 100) == ([], [])


def test_an_item_that_was_heard_before_its_end_was_told_is_finished_then() -> None:
    line = Line(Ledger())
    line.delta(delta("A", 100), 0)
    assert line.reached("1", 100) == ([], [])
    [span] = line.spans.values()
    assert line.finish("A", 0, 100) == ([], [span])
    assert line.spans == {}
    assert line.finish("A", 0, 100) == ([], [])


def test_a_delta_without_sound_is_nothing_at_all() -> None:
    line = Line(Ledger())
    assert line.delta(delta("A", 0), 0) == []
    assert line.finish("A", 0, 0) == ([], [])


def test_one_part_can_end_before_another() -> None:
    line = Line(Ledger())
    parts = [m.AudioDelta("r1", "A", part, "", 800) for part in (0, 1)]
    line.delta(parts[0], 0)
    line.delta(parts[1], 0)
    line.finish("A", 0, 0)
    assert [span.part for span in line.reached("2", 200)[1]] == [0]
    assert [span.part for span in line.finish("A", 1, 0)[1]] == [1]


# --- sound of ours, paced -----------------------------------------------------------------------------------


def test_a_sound_of_ours_goes_out_in_slices_that_make_up_the_whole() -> None:
    wire = Wire(Carrier())
    text = "".join("ABCDEFGHIJKLMNOP"[number // 40 % 16] for number in range(10_664 - 2)) + "=="
    whole = m.Sound(text, 7_996)
    wire._done(wire.line.sound("S", whole, False, 0), [])
    wire.until(2_000)
    sent = [action for _, action in wire.said if isinstance(action, m.PlayAudio)]
    assert "".join(action.audio for action in sent) == text
    assert [action.size_bytes for action in sent] == [SLICE] * 4 + [7_996 - 4 * SLICE]
    assert all(len(action.audio) % 4 == 0 for action in sent)
    assert [type(action) for _, action in wire.said] == [m.PlayAudio, m.SendMark] * 5
    assert [(span.item_id, span.heard_bytes) for _, span in wire.heard] == [("S", 7_996)]


def test_the_carrier_never_has_much_more_than_the_lead_nor_runs_dry() -> None:
    wire = Wire(Carrier())
    sound(wire, "S", 5_000, 1_000)
    unplayed = []
    for now_ms in range(1_000, 6_000, 5):
        wire.until(now_ms)
        unplayed.append(wire.line.ledger.unplayed_ms(now_ms))
    assert max(unplayed) <= LEAD_MS + SLICE_MS
    assert min(unplayed[: (5_000 - LEAD_MS - SLICE_MS) // 5]) >= LEAD_MS - 20
    assert sum(size_bytes for _, _, size_bytes in sounds(wire)) == 40_000
    wire.until(6_000)
    assert wire.heard[0][0] == 6_000
    assert wire.line.deadline_ms is None


def test_a_sound_waits_for_what_is_on_the_line_without_a_gap() -> None:
    wire = Wire(Carrier())
    wire.speak("A", 2_000, 0)
    sound(wire, "S", 1_000, 400)
    assert sounds(wire)[-1][1] == "A"
    wire.until(5_000)
    starts = [at for at, name, _ in sounds(wire) if name == "SS"]
    assert 1_500 <= starts[0] <= 1_560, "when no more than the lead is left of what is played before it"
    assert [(at, span.item_id) for at, span in wire.heard] == [(2_000, "A"), (3_000, "S")]


def test_what_comes_while_a_sound_is_being_sent_waits_behind_it_in_order() -> None:
    wire = Wire(Carrier())
    sound(wire, "S", 1_000, 0)
    wire.speak("A", 600, 50)
    sound(wire, "T", 500, 300)
    wire.speak("B", 400, 310)
    wire.until(10_000)
    order = [name for _, name, _ in sounds(wire)]
    assert order == ["SS"] * 5 + ["A"] * 3 + ["TT"] * 3 + ["B"] * 2
    assert [(at, span.item_id) for at, span in wire.heard] == [
        (1_000, "S"),
        (1_600, "A"),
        (2_100, "T"),
        (2_500, "B"),
    ]


def test_the_last_words_of_an_item_that_waited_are_marked_too() -> None:
    """Its end was told while it waited: nobody else will send the mark that says it was heard."""
    wire = Wire(Carrier())
    sound(wire, "S", 1_000, 0)
    wire.delta("A", 250 * 8, 50)
    wire.delta("A", 50 * 8, 50)
    wire.finish("A", 50)
    wire.until(10_000)
    assert [(at, span.item_id) for at, span in wire.heard] == [(1_000, "S"), (1_300, "A")]
    assert wire.line.quiet


def test_a_sound_without_sound_is_over_at_once_and_stops_nobody() -> None:
    wire = Wire(Carrier())
    sound(wire, "S", 0, 0)
    wire.speak("A", 200, 10)
    wire.until(1_000)
    assert wire.line.quiet
    assert wire.line.spans == {}


def test_a_wake_up_that_comes_late_sends_what_is_missing() -> None:
    line = Line(Ledger())
    line.sound("S", speech(2_000), False, 0)
    assert line.deadline_ms == 20
    actions, _ = line.settle(600)
    assert sum(action.size_bytes for action in actions if isinstance(action, m.PlayAudio)) == 2 * SLICE


def test_on_a_carrier_without_marks_sounds_and_speech_follow_each_other_all_the_same() -> None:
    wire = Wire(Carrier(), marks=False)
    sound(wire, "S", 1_000, 0, protected=True)
    wire.speak("A", 600, 50)
    sound(wire, "T", 500, 300)
    wire.until(10_000)
    assert {type(action) for _, action in wire.said} == {m.PlayAudio}
    assert [(at, span.item_id) for at, span in wire.heard] == [(1_000, "S"), (1_600, "A"), (2_100, "T")]
    assert wire.line.quiet
    assert wire.line.deadline_ms is None


# --- cutting ------------------------------------------------------------------------------------------------


def test_a_cut_of_a_long_sound_is_cheap() -> None:
    """Of a minute of sound the carrier has less than a second to throw away."""
    wire = Wire(Carrier())
    sound(wire, "S", 60_000, 0)
    wire.until(2_000)
    assert wire.cut(2_000) == {"S": 2_000}
    assert wire.said[-1] == (2_000, m.ClearPlayout())
    assert sum(size_bytes for _, _, size_bytes in sounds(wire)) <= (2_000 + LEAD_MS + SLICE_MS) * 8
    wire.until(70_000)
    assert wire.said[-1] == (2_000, m.ClearPlayout())
    assert wire.line.quiet


def test_a_cut_takes_what_waits_with_it() -> None:
    wire = Wire(Carrier())
    wire.speak("A", 2_000, 0)
    sound(wire, "S", 1_000, 400)
    wire.speak("B", 1_000, 500)
    assert wire.cut(900) == {"A": 900, "S": 0, "B": 0}
    assert wire.line.remaining_ms(900) == 0


def test_what_was_cleared_needs_no_mark_any_more() -> None:
    line = Line(Ledger())
    line.delta(delta("A", 50), 0)
    assert line.cut(20)[0] == [m.ClearPlayout()]
    assert line.finish("A", 0, 30) == ([], [])


def test_a_cut_sends_nothing_more_though_it_be_due(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Play("S", speech(2_000)))
    call.now_ms = 600
    assert phone(call.call.receive(m.SpeechStarted(), 600)) == [m.ClearPlayout()]


def test_nothing_is_cleared_where_nothing_is_left_to_play() -> None:
    wire = Wire(Carrier())
    wire.speak("A", 500, 0)
    wire.until(600)
    assert wire.cut(700) == {}
    assert not [action for _, action in wire.said if isinstance(action, m.ClearPlayout)]


@pytest.mark.parametrize(("at_ms", "left_ms"), [(0, 3_000), (500, 2_500), (3_000, 0)])
def test_what_remains_counts_here_and_at_the_carrier(at_ms: int, left_ms: int) -> None:
    wire = Wire(Carrier())
    wire.speak("A", 2_000, 0, speed=1_000)
    sound(wire, "S", 1_000, 0)
    wire.until(at_ms)
    assert wire.line.remaining_ms(at_ms) == left_ms
