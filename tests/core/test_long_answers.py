"""Long answers: the carrier gets them with a lead, the rest waits here, and nothing of it is lost or lied
about.
"""

from __future__ import annotations

from base64 import b64decode

import pytest

from bridge.core import messages as m
from bridge.core.pacer import GRANT_BYTES, STEP_BYTES

from .conftest import SESSION, frame, only, speech, truth
from .slow_line import SlowLine, made

LEAD_MS = 5_000


def run_at_carrier_ms(line: SlowLine) -> float:
    """What was written and has not been played, for the one who knows."""
    written = sum(action.size_bytes for action in line.of(m.PlayAudio))
    return written / 8 - line.heard_by_now_ms(1)


# --- whole --------------------------------------------------------------------------------------------------


def test_300_s_at_once_are_heard_whole_with_a_lead_of_5_s_and_no_gap() -> None:
    line = SlowLine()
    line.says(300)
    assert sum(action.size_bytes for action in line.of(m.PlayAudio)) <= LEAD_MS * 8
    for now_ms in range(1_000, 290_000, 1_000):
        line.until(now_ms)
        assert LEAD_MS - 1_100 <= run_at_carrier_ms(line) <= LEAD_MS + 100
    line.until(301_000)
    assert line.heard_ms(1) == 300_000
    assert line.longest_gap_ms() == 0
    assert line.of(m.Spoken) == [m.Spoken("A", "", "", 300_000, cut=False)]
    assert line.call.playout.line.quiet


@pytest.mark.parametrize("speed", [0, 30, 2])
@pytest.mark.parametrize("echoes", [True, False])
def test_a_phone_that_reads_nothing_for_four_seconds_hears_all_of_it(speed: int, echoes: bool) -> None:
    line = SlowLine((7_000, 11_000), echoes=echoes, marks=echoes)
    line.says(300, speed)
    line.until(310_000)
    assert line.heard_ms(1) == 300_000
    assert line.longest_gap_ms() <= 100, "what the phone had read before was enough"
    assert line.of(m.ClearPlayout) == []
    assert line.of(m.Spoken) == [m.Spoken("A", "", "", 300_000, cut=False)]


def test_a_carrier_that_echoes_nothing_after_all_goes_by_the_clock() -> None:
    line = SlowLine(echoes=False)
    line.says(300)
    line.until(302_000)
    assert [noted.what for noted in line.of(m.Noted)] == ["no echoes"]
    assert line.heard_ms(1) == 300_000
    assert line.longest_gap_ms() == 0


def test_a_longer_pause_costs_time_and_no_sound() -> None:
    line = SlowLine((20_000, 29_000), (40_000, 48_000))
    line.says(100)
    line.until(120_000)
    assert line.heard_ms(1) == 100_000
    assert 3_000 <= line.longest_gap_ms() <= 4_600


@pytest.mark.parametrize("echoes", [True, False])
def test_the_outbox_of_a_phone_that_reads_nothing_stays_within_64_kib(
    echoes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SlowLine` holds it against that at each step; here the kernel keeps nothing, and the lead is the
    longest.
    """
    monkeypatch.setattr("tests.core.slow_line.KERNEL_BYTES", 0)
    line = SlowLine((1_000, 20_000), echoes=echoes, marks=echoes, playout_lead_ms=10_000)
    line.says(60, size_bytes=160)
    line.until(15_000)
    assert 20_000 < line.outbox_bytes <= STEP_BYTES + 16_384
    line.until(90_000)
    assert line.heard_ms(1) == 60_000
    assert len([1 for action in line.of(m.Noted) if action.what == "an answer was cut"]) == 0


def test_nothing_goes_out_while_the_outbox_is_full_but_a_clear() -> None:
    line = SlowLine()
    line.feed(m.OutboxFull(True), m.ResponseStarted("r1"))
    line.delta("A", 1, 800)
    line.feed(m.Play("tune", speech(200)))
    line.until(3_000)
    assert line.of(m.PlayAudio) == []
    line.feed(m.OutboxFull(False))
    line.until(3_500)
    assert [action.size_bytes for action in line.of(m.PlayAudio)] == [800, 1_600]
    line.delta("A", 1, 8_000)
    line.feed(m.OutboxFull(True))
    line.delta("A", 1, 8_000)
    assert truth(line.feed(m.SpeechStarted()))[0] == m.ClearPlayout()
    assert line.feed(m.OutboxFull(False)) == []


# --- in pieces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(4_800_000,), (1,) * 3 + (24_001, 100_003, 160, 7_681, 1) * 4])
def test_pieces_make_up_the_whole_whatever_the_deltas_are(sizes: tuple[int, ...]) -> None:
    """Ten minutes in one delta; and deltas whose length is no multiple of 3. Each piece is base64 by
    itself.
    """
    line = SlowLine()
    line.feed(m.ResponseStarted("r1"))
    for number, size_bytes in enumerate(sizes, 1):
        line.delta("A", number % 250, size_bytes)
    line.feed(m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    line.until(sum(sizes) // 8 + 1_000)
    sent = [b64decode(action.audio, validate=True) for action in line.of(m.PlayAudio)]
    assert [len(piece) for piece in sent] == [action.size_bytes for action in line.of(m.PlayAudio)]
    assert b"".join(sent) == b"".join(bytes([n % 250]) * size for n, size in enumerate(sizes, 1))
    assert max(len(piece) for piece in sent) <= 24_000
    assert [spoken.heard_ms for spoken in line.of(m.Spoken)] == [sum(sizes) // 8]


def test_marks_go_along_and_the_last_one_says_that_the_item_was_heard() -> None:
    line = SlowLine()
    line.says(20)
    line.until(14_000)
    since_mark_bytes = 0
    for action in line.of(m.PlayAudio | m.SendMark):
        since_mark_bytes = 0 if isinstance(action, m.SendMark) else since_mark_bytes + action.size_bytes
        assert since_mark_bytes <= 8_000
    line.until(19_900)
    assert line.of(m.Spoken) == []
    line.until(20_100)
    assert line.of(m.Spoken) == [m.Spoken("A", "", "", 20_000, cut=False)]


@pytest.mark.parametrize("lead_ms", [2_000, 5_000, 10_000])
def test_the_lead_is_what_was_set(lead_ms: int) -> None:
    line = SlowLine(playout_lead_ms=lead_ms)
    line.says(60)
    for now_ms in range(500, 45_000, 500):
        line.until(now_ms)
        assert lead_ms - 1_200 <= run_at_carrier_ms(line) <= lead_ms + 100


# --- the caller speaks over it ------------------------------------------------------------------------------


@pytest.mark.parametrize("at_ms", [3_000, 200_000, 298_000])
def test_a_barge_in_late_in_a_long_answer_is_silent_at_once_and_exact(at_ms: int) -> None:
    line = SlowLine()
    line.says(300)
    line.until(at_ms)
    actions = line.feed(m.SpeechStarted())
    assert truth(actions) == [m.ClearPlayout(), m.TruncateItem("A", 0, at_ms)]
    sent = len(line.of(m.PlayAudio))
    line.feed(m.SpeechStopped())
    line.until(at_ms + 60_000)
    assert len(line.of(m.PlayAudio)) == sent
    assert abs(line.heard_ms(1) - at_ms) <= 2
    assert line.held_bytes <= GRANT_BYTES


def test_items_that_wait_are_deleted_and_the_one_that_plays_is_truncated() -> None:
    line = SlowLine()
    line.feed(m.ResponseStarted("r1"))
    for number, item_id in enumerate("ABC", 1):
        for _ in range(20):
            line.delta(item_id, number, 8_000)
        line.feed(m.AudioDone("r1", item_id))
    line.feed(m.ResponseDone("r1"))
    line.until(25_000)
    assert truth(line.feed(m.SpeechStarted())) == [
        m.ClearPlayout(),
        m.TruncateItem("B", 0, 5_000),
        m.DeleteItem("C"),
    ]
    assert [spoken.item_id for spoken in line.of(m.Spoken)] == ["A", "B", "C"]


def test_a_long_answer_that_waits_behind_a_protected_sound_is_dropped_with_it_playing_on() -> None:
    line = SlowLine()
    line.feed(m.Play("notice", speech(2_000), protected=True))
    line.says(60)
    line.until(1_000)
    assert truth(line.feed(m.SpeechStarted())) == [m.DeleteItem("A")]
    line.until(5_000)
    assert line.of(m.Heard) == [m.Heard("notice", 2_000, cut=False)]
    assert line.heard_ms(1) == 0


def test_a_protected_sound_waits_for_the_end_of_a_long_answer_and_what_follows_for_it() -> None:
    line = SlowLine()
    line.says(60)
    line.feed(m.Play("notice", speech(2_000), protected=True), m.ResponseStarted("r2"))
    line.delta("B", 2, 80_000, "r2")
    line.feed(m.ResponseDone("r2"))
    line.until(75_000)
    order = [line.carrier._played[at][0] for at in range(len(line.carrier._played))]
    assert [name for at, name in enumerate(order) if not at or order[at - 1] != name] == ["1", "ours", "2"]
    assert [said.heard_ms for said in line.of(m.Spoken | m.Heard)] == [60_000, 2_000, 10_000]


# --- it ends, moves, or is lost -----------------------------------------------------------------------------


def test_hanging_up_waits_for_all_of_it() -> None:
    line = SlowLine()
    line.says(200)
    line.feed(m.HangUp())
    line.until(199_000)
    assert line.of(m.Ended) == []
    line.until(200_100)
    assert line.of(m.Ended) == [m.Ended(m.Reason.WE_HUNG_UP)]
    assert line.heard_ms(1) == 200_000


def test_hanging_up_waits_for_a_phone_that_paused() -> None:
    line = SlowLine((50_000, 60_000), (100_000, 110_000))
    line.says(150)
    line.feed(m.HangUp())
    line.until(170_000)
    assert line.heard_ms(1) == 150_000
    assert line.of(m.Spoken) == [m.Spoken("A", "", "", 150_000, cut=False)]
    assert line.of(m.Ended) == [m.Ended(m.Reason.WE_HUNG_UP)]


def test_hanging_up_does_not_wait_for_a_phone_that_is_stuck() -> None:
    line = SlowLine((50_000, 10**9))
    line.says(100)
    line.feed(m.HangUp())
    line.until(150_000)
    [ended] = line.of(m.Ended)
    assert ended.reason in (m.Reason.CARRIER_LOST, m.Reason.WE_HUNG_UP)
    [cut] = [spoken for spoken in line.of(m.Spoken) if spoken.cut]
    assert cut.heard_ms <= 56_000


def test_a_transfer_waits_for_it_and_a_say_is_heard_when_it_was() -> None:
    line = SlowLine()
    line.feed(m.Say("say-1", "A long story."))
    line.feed(m.ResponseStarted("r1", tag="say-1"))
    for _ in range(60):
        line.delta("A", 1, 8_000)
    line.feed(m.AudioDone("r1", "A"), m.ResponseDone("r1"), m.Transfer("desk"))
    line.until(59_900)
    assert line.of(m.Heard) == line.of(m.Ended) == []
    line.until(60_100)
    assert line.of(m.Heard) == [m.Heard("say-1", 60_000, cut=False)]
    assert [ended.reason for ended in line.of(m.Ended)] == [m.Reason.TRANSFERRED]


def test_nobody_is_called_silent_or_covered_by_a_filler_while_sound_waits() -> None:
    line = SlowLine(
        limits=m.Limits(nudge_ms=3_000),
        silence_ms=2_000,
        phrases={"filler": speech(300), "still_there": speech(300)},
    )
    line.says(60)
    line.until(60_000)
    assert len(line.of(m.CallerSilent)) == 0
    assert line.carrier.heard_bytes("ours") == 0
    line.until(63_500)
    assert len(line.of(m.CallerSilent)) == 1
    assert line.carrier.heard_bytes("ours") > 0


def test_a_lost_model_leaves_a_truth_that_ends_where_the_caller_was() -> None:
    """As with any answer: it is cut, and taken up by the next session from what was heard."""
    line = SlowLine()
    line.feed(m.TextDelta("r1", "A", 0, "one two three four five six seven eight nine ten"))
    line.says(200)
    line.until(100_000)
    actions = line.feed(m.UpstreamClosed(1006, "reset"))
    assert only(m.ClearPlayout, actions)
    assert [spoken.heard_ms for spoken in only(m.Spoken, actions)] == [100_000]
    line.feed(m.SessionCreated(2), m.SessionUpdated(2))
    [told] = [item.text for item in line.of(m.CreateItem) if item.role == "assistant"]
    assert told.startswith("one two")
    assert "ten" not in told
    line.until(130_000)
    assert abs(line.heard_ms(1) - 100_000) <= 2


def test_a_newer_stream_drops_what_waits_and_the_model_goes_on_from_what_was_heard() -> None:
    line = SlowLine()
    line.says(100)
    line.until(40_000)
    actions = line.feed(m.Started("MZ2", "CA1", "AC1"))
    assert truth(actions) == [m.TruncateItem("A", 0, 40_000)]
    assert only(m.CreateResponse, actions)
    assert line.held_bytes <= GRANT_BYTES


def test_a_call_that_is_handed_over_takes_along_what_was_heard_of_it() -> None:
    line = SlowLine()
    line.feed(m.TextDelta("r1", "A", 0, "one two three four five six seven eight nine ten"))
    line.says(100)
    line.until(30_000)
    line.feed(m.HandOver(20_000))
    line.until(51_000)
    [handed_over] = line.of(m.HandedOver)
    assert [item.text for item in handed_over.carried.items] == ["one two three four five"]
    assert handed_over.carried.owed


# --- bounds -------------------------------------------------------------------------------------------------


def test_memory_is_asked_for_as_it_is_needed_and_given_back_as_it_is_played() -> None:
    line = SlowLine()
    line.says(300)
    assert 295 * 8_000 * 4 / 3 <= line.peak_held_bytes <= 300 * 8_000 * 4 / 3 * 1.1 + GRANT_BYTES
    line.until(150_000)
    assert line.held_bytes <= line.peak_held_bytes * 0.6
    line.until(301_000)
    assert line.held_bytes == GRANT_BYTES


def test_tiny_deltas_get_no_more_memory_than_others() -> None:
    """Of a byte each: what it costs to keep one counts."""
    line = SlowLine()
    line.says(6, size_bytes=1)
    assert line.peak_held_bytes >= 8_000 * 200


def test_where_there_is_no_more_memory_the_answer_is_cut_there_and_the_model_is_told() -> None:
    line = SlowLine(most_held_bytes=4 * GRANT_BYTES)
    line.feed(m.Say("say-1", "A long story."), m.ResponseStarted("r1", tag="say-1"))
    line.feed(m.TextDelta("r1", "A", 0, "one two three four five six seven eight nine ten"))
    for _ in range(300):
        line.delta("A", 1, 8_000)
    assert line.of(m.CancelResponse) == [m.CancelResponse("r1")]
    assert [noted.what for noted in line.of(m.Noted)] == ["an answer was cut"]
    assert line.peak_held_bytes == 4 * GRANT_BYTES
    line.feed(m.ResponseDone("r1", "cancelled", "client_cancelled"))
    line.until(60_000)
    assert line.of(m.ClearPlayout) == line.of(m.Spoken) == []
    line.until(150_000)
    heard_ms = round(line.heard_ms(1))
    assert 95_000 <= heard_ms <= 105_000
    assert line.of(m.TruncateItem) == [m.TruncateItem("A", 0, heard_ms)]
    assert line.of(m.Spoken) == [
        m.Spoken("A", "one two three four five six seven eight nine ten", "one two three", heard_ms, cut=True)
    ]
    assert line.of(m.Heard) == [m.Heard("say-1", heard_ms, cut=True, text="one two three")]
    assert line.call.stats.heard_bytes == heard_ms * 8
    assert line.call.playout.line.quiet
    # ...and the next answer is like any other.
    line.feed(m.ResponseStarted("r2"))
    line.delta("B", 2, 160_000, "r2")
    line.feed(m.ResponseDone("r2"))
    line.until(180_000)
    assert line.heard_ms(2) == 20_000


def test_an_item_of_which_there_is_no_room_for_anything_is_deleted() -> None:
    line = SlowLine(most_held_bytes=GRANT_BYTES)
    line.feed(m.ResponseStarted("r1"))
    for _ in range(26):
        line.delta("A", 1, 8_000)
    line.feed(m.AudioDone("r1", "A"))
    line.delta("B", 2, 160_000)
    line.delta("B", 2, 160_000)
    line.feed(m.ResponseDone("r1", "cancelled", "client_cancelled"))
    assert line.of(m.DeleteItem) == [m.DeleteItem("B")]
    line.until(30_000)
    assert [(spoken.item_id, spoken.heard_ms) for spoken in line.of(m.Spoken)] == [("A", 26_000)]
    assert line.heard_ms(2) == 0


def test_an_item_of_which_less_than_a_millisecond_is_held_is_deleted_too() -> None:
    line = SlowLine(most_held_bytes=GRANT_BYTES)
    line.feed(m.Play("tune", speech(1_000)), m.ResponseStarted("r1"))
    line.delta("A", 1, 1)
    line.delta("A", 1, 400_000)
    line.feed(m.ResponseDone("r1", "cancelled", "client_cancelled"))
    assert truth(line.feed(m.SpeechStarted())) == [m.ClearPlayout(), m.DeleteItem("A")]


def test_a_server_that_only_says_by_its_cancel_that_the_caller_spoke_is_understood_there_too() -> None:
    line = SlowLine(most_held_bytes=2 * GRANT_BYTES)
    line.says(100, done=False)
    assert line.of(m.CancelResponse)
    line.until(3_000)
    done = m.ResponseDone("r1", "cancelled", "turn_detected")
    assert truth(line.feed(done)) == [m.ClearPlayout(), m.TruncateItem("A", 0, 3_000)]
    assert truth(line.feed(m.SpeechStarted())) == []


def test_a_barge_in_before_that_end_is_the_usual_one() -> None:
    line = SlowLine(most_held_bytes=4 * GRANT_BYTES)
    line.says(300)
    line.until(20_000)
    assert truth(line.feed(m.SpeechStarted())) == [m.ClearPlayout(), m.TruncateItem("A", 0, 20_000)]
    line.until(60_000)
    assert len(line.of(m.TruncateItem)) == 1


# --- what stays as it was -----------------------------------------------------------------------------------


def test_an_answer_at_the_pace_of_speech_is_not_touched() -> None:
    line = SlowLine()
    line.feed(m.ResponseStarted("r1"))
    for number in range(50):
        line.until(200 * number)
        line.delta("A", 1, 1_600)
        assert line.call.playout.line.deadline_ms is None
        assert line.said[-2:] == [
            (200 * number, m.PlayAudio(made(1, 1_600), 1_600)),
            (200 * number, m.SendMark(str(number + 1))),
        ]
    assert line.of(m.HoldSound) == []


def test_the_caller_is_listened_to_while_sound_waits() -> None:
    line = SlowLine()
    line.says(100)
    line.until(10_000)
    assert line.feed(frame(1)) == [m.AppendAudio("frame 1", 160)]
    assert not [action for action in line.feed(frame(2)) if isinstance(action, SESSION)]
