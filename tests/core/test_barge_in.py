"""A caller speaks over the model: the ten cases of the interrupt algorithm, each as the call went.

"ack" is the highest mark echoed; the vendor cancels by itself unless a case says otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.playout import UNTOLD

from .conftest import LiveCall, delta, legs, only, phone, truth


def playout(call: LiveCall, ms: int = 5_000) -> None:
    """Response r1 is active, item A of it arrived at 0 ms with a mark at 1 240 ms and one at its end."""
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 1_240), delta("A", ms - 1_240))


@pytest.mark.parametrize(("interrupts", "cancel"), [(True, []), (False, [m.CancelResponse("r1")])])
def test_01_active_response_is_cut_where_playout_stands(
    live_call: Any, interrupts: bool, cancel: list[m.Action]
) -> None:
    call = live_call(interrupts=interrupts)
    playout(call)
    call.echo(1_240, 1)
    expected = [m.ClearPlayout(), *cancel, m.TruncateItem("A", 0, 1_300)]
    assert truth(call.at(1_300, m.SpeechStarted())) == expected


def test_02_finished_response_still_playing_is_truncated_not_cancelled(live_call: Any) -> None:
    call = live_call(interrupts=False)
    playout(call)
    call.speaks(900, m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    call.echo(1_240, 1)
    assert truth(call.at(1_300, m.SpeechStarted())) == [m.ClearPlayout(), m.TruncateItem("A", 0, 1_300)]


def test_03_nothing_is_done_for_what_was_heard_to_its_end(live_call: Any) -> None:
    call = live_call()
    playout(call)
    call.speaks(900, m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    call.echo(5_000)
    assert truth(call.at(5_400, m.SpeechStarted())) == []


def test_04_only_the_item_still_playing_is_truncated(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 3_000), m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    call.speaks(
        100, m.ResponseStarted("r2"), delta("B", 400, response="r2"), delta("B", 1_600, response="r2")
    )
    call.echo(3_000, 1)
    call.echo(3_400, 1)
    assert truth(call.at(3_400, m.SpeechStarted())) == [m.ClearPlayout(), m.TruncateItem("B", 0, 400)]


def test_05_of_two_queued_items_the_second_is_deleted(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 500), delta("A", 2_500), m.AudioDone("r1", "A"))
    call.speaks(0, delta("B", 2_000), m.AudioDone("r1", "B"), m.ResponseDone("r1"))
    call.echo(500, 1)
    actions = call.at(500, m.SpeechStarted())
    assert truth(actions) == [m.ClearPlayout(), m.TruncateItem("A", 0, 500), m.DeleteItem("B")]
    assert [action for action in actions if isinstance(action, m.Cut)] == [m.Cut("A", 500), m.Cut("B", 0)]


@pytest.mark.parametrize(("interrupts", "cancel"), [(True, []), (False, [m.CancelResponse("r2")])])
def test_06_a_response_that_still_thinks_never_truncates_the_item_before(
    live_call: Any, interrupts: bool, cancel: list[m.Action]
) -> None:
    call = live_call(interrupts=interrupts)
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 1_000), m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    call.echo(1_000)
    call.at(1_500, m.ResponseStarted("r2"))
    assert truth(call.at(1_600, m.SpeechStarted())) == cancel


def test_07_flushed_marks_and_late_deltas_change_nothing(live_call: Any) -> None:
    call = live_call()
    playout(call)
    call.echo(1_240, 1)
    call.at(1_300, m.SpeechStarted())
    assert call.echo(1_340) == []
    assert call.speaks(1_350, *[delta("A", 200)] * 3) == []
    done = (m.AudioDone("r1", "A"), m.ResponseDone("r1", "cancelled", "turn_detected"))
    assert legs(call.speaks(1_400, *done)) == []


STARTED = m.SpeechStarted()
CANCELLED = m.ResponseDone("r1", "cancelled", "turn_detected")


@pytest.mark.parametrize(
    "events",
    [(STARTED, CANCELLED), (CANCELLED, STARTED), (STARTED,), (CANCELLED,)],
    ids=["speech first", "cancelled first", "never cancelled", "speech never told"],
)
def test_08_the_outcome_is_the_same_in_either_order_and_when_either_is_missing(
    live_call: Any, events: tuple[m.Event, ...]
) -> None:
    """The vendor cancelled because the caller spoke: that says it as well as the start of speech does."""
    call = live_call()
    playout(call)
    call.echo(1_240, 1)
    assert truth(call.speaks(1_300, *events)) == [m.ClearPlayout(), m.TruncateItem("A", 0, 1_300)]
    assert truth(call.speaks(1_350, delta("A", 200), *events)) == []
    assert phone(call.actions)[-1] == m.ClearPlayout()


def test_a_response_cancelled_by_somebody_else_is_played_as_far_as_it_came(live_call: Any) -> None:
    call = live_call()
    playout(call)
    assert truth(call.at(1_300, m.ResponseDone("r1", "cancelled", "client_cancelled"))) == []
    call.at(1_310, delta("A", 200))
    assert phone(call.actions)[-1] != m.PlayAudio("", 1_600)
    assert [spoken.heard_ms for spoken in only(m.Spoken, call.echo(5_060))] == [5_000]


def test_09_heard_is_never_more_than_was_sent(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", size_bytes=803))
    assert truth(call.at(400, m.SpeechStarted())) == [m.ClearPlayout(), m.TruncateItem("A", 0, 100)]


def test_10_a_second_start_of_speech_finds_nothing_left_to_cut(live_call: Any) -> None:
    call = live_call()
    playout(call)
    call.at(1_300, m.SpeechStarted())
    assert truth(call.at(1_380, m.SpeechStarted())) == []


def test_an_item_of_several_parts_is_told_of_once(live_call: Any) -> None:
    call = live_call()
    first, second = (m.AudioDelta("r1", "A", part, "", 8_000) for part in (0, 1))
    call.speaks(0, m.ResponseStarted("r1"), first, second)
    assert truth(call.at(300, m.SpeechStarted())) == [m.ClearPlayout(), m.TruncateItem("A", 0, 300)]


def test_the_part_that_is_being_played_is_the_one_that_is_cut(live_call: Any) -> None:
    call = live_call()
    first, second = (m.AudioDelta("r1", "A", part, "", 8_000) for part in (0, 1))
    call.speaks(0, m.ResponseStarted("r1"), first, m.AudioDone("r1", "A", 0), second)
    call.echo(1_000, 1)
    assert truth(call.at(1_300, m.SpeechStarted())) == [m.ClearPlayout(), m.TruncateItem("A", 1, 300)]


def test_an_item_made_wholly_after_the_cut_is_deleted_when_its_response_ends(live_call: Any) -> None:
    """The model would believe the caller heard it: its sound was dropped as late."""
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    call.at(100, m.SpeechStarted())
    assert call.at(150, delta("B", 400)) == []
    assert truth(call.at(200, m.ResponseDone("r1", "cancelled"))) == [m.DeleteItem("B")]


def test_a_response_asked_for_and_talked_over_is_cancelled_when_it_begins(live_call: Any) -> None:
    call = live_call()
    [asked] = call.at(0, m.Respond("say-1"))
    assert asked == m.CreateResponse("say-1")
    call.at(50, m.SpeechStarted())
    assert truth(call.at(80, m.ResponseStarted("r1", tag="say-1"))) == [m.CancelResponse("r1")]
    assert call.at(90, delta("A", 200)) == []


def test_the_words_of_an_item_of_two_parts_are_cut_by_what_was_heard_of_both(live_call: Any) -> None:
    call = live_call()
    second = m.AudioDelta("r1", "A", 1, "", 2_000 * 8)
    words = m.TextDelta("r1", "A", 0, "one two three four", True)
    call.speaks(0, m.ResponseStarted("r1"), words, delta("A", 2_000), m.AudioDone("r1", "A"), second)
    call.echo(2_000)
    actions = call.at(3_000, m.SpeechStarted())
    assert truth(actions) == [m.ClearPlayout(), m.TruncateItem("A", 1, 1_000)]
    [spoken] = only(m.Spoken, actions)
    assert spoken.heard == "one two three", "three quarters of its sound"


@pytest.mark.parametrize(("by", "items"), [(m.SpeechStarted(), ["A"]), (m.Interrupt(), [])])
def test_what_user_code_or_an_operator_cuts_is_no_barge_in(
    live_call: Any, by: m.Event, items: list[str]
) -> None:
    call = live_call()
    playout(call)
    call.echo(1_240, 1)
    assert m.TruncateItem("A", 0, 1_300) in call.at(1_300, by)
    assert [one.item_id for one in call.call.stats.barge_ins] == items


def test_a_cut_that_the_model_cannot_be_told_is_counted_and_said_once(live_call: Any) -> None:
    call = live_call(capabilities=m.Capabilities(truncates=False))
    for turn, item in enumerate("ABC"):
        start_ms, response = 2_000 * turn, f"r{item}"
        words = m.TextDelta(response, item, 0, "one two three four", True)
        call.speaks(start_ms, m.ResponseStarted(response), words, delta(item, 4_000, response=response))
        call.at(start_ms + (0 if item == "C" else 1_000), m.SpeechStarted())
        call.at(start_ms + 1_500, m.SpeechStopped(f"turn {item}"))
        call.at(start_ms + 1_500, m.ResponseDone(response, "cancelled"))
    said = [action for _, action in call.said]
    assert [note.what for note in only(m.Noted, said)] == [UNTOLD]
    assert truth(said).count(m.DeleteItem("C")) == 1, "of which nothing was heard: that can be told"
    assert call.call.stats.cuts_untold == {"": 2}


@pytest.mark.parametrize("truncates", [True, False])
def test_what_was_heard_whole_or_told_is_no_cut_that_is_not_told(live_call: Any, truncates: bool) -> None:
    call = live_call(capabilities=m.Capabilities(truncates=truncates))
    playout(call)
    if truncates:
        call.at(1_300, m.SpeechStarted())
    else:
        call.speaks(900, m.AudioDone("r1", "A"), m.ResponseDone("r1"))
        call.echo(5_000)
        call.at(5_400, m.SpeechStarted())
    assert call.call.stats.cuts_untold == {}
