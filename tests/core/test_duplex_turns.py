"""Calls with a duplex model: who stops whom, what the caller heard, and what the model is told of it."""

from __future__ import annotations

from base64 import b64encode
from itertools import pairwise
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.duplex_session import DuplexSession
from bridge.core.handover import carried
from bridge.core.upstream_leg import Leg
from bridge.upstreams.live import LIVE

from .carrier import PER_MS
from .duplex_call import DuplexCall

FIVE = "Hello there, how are you?"


def sound(ms: int, text: str = "") -> m.Sound:
    return m.Sound(b64encode(b"\x10\x90" * (4 * ms)).decode(), 8 * ms, text)


def told(call: DuplexCall, kind: str) -> list[m.TellModel]:
    return [one for one in call.all(m.TellModel) if one.kind == kind]


def test_what_the_model_says_is_heard_and_told_as_such() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks(FIVE)
    call.wait(3_000)
    assert call.heard_by_phone() == FIVE
    assert call.spoken() == [(FIVE, FIVE)]
    (ended,) = call.all(m.ResponseEnded)
    assert (ended.status, ended.response_id) == ("completed", "live:1:1")
    assert call.call.playout.line.quiet
    sent = sum(one.size_bytes for one in call.all(m.PlayAudio))
    assert sent == (60 + 1_000 + 240) * 8, "silence costs the carrier nothing"


def test_a_pause_in_what_it_says_makes_two_items_of_one_response() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks("Thank you.")
    call.speaks("Good bye.", 800)
    call.wait(4_000)
    assert call.spoken() == [("Thank you.", "Thank you."), ("Good bye.", "Good bye.")]
    assert len(call.all(m.ResponseEnded)) == 1


@pytest.mark.parametrize("labels_ms", [-200, 0, 300])
def test_a_model_that_stops_for_the_caller_is_cut_where_the_caller_heard_it(labels_ms: int) -> None:
    call = DuplexCall(labels_ms=labels_ms).ready().wait(500)
    call.speaks("One two three four five six seven eight nine ten eleven twelve")
    call.wait(700)
    call.stall(700)  # so 700 ms of it wait on the line from then on
    call.wait(900)
    call.caller(1_500)
    call.wait(300)
    call.stops()
    call.wait(400)
    heard = call.heard_by_phone()
    assert len(call.all(m.ClearPlayout)) == 1
    (spoken,) = call.all(m.Spoken)
    assert spoken.cut
    assert abs(len(spoken.heard.split()) - len(heard.split())) <= 1
    assert spoken.generated.startswith(spoken.heard)
    assert len(spoken.generated.split()) >= len(spoken.heard.split()) + 2
    (cut,) = call.all(m.Cut)
    assert cut.heard_ms == spoken.heard_ms
    call.wait(2_000)
    assert call.heard_by_phone() == heard
    assert len(call.all(m.ClearPlayout)) == 1
    assert not told(call, "rule"), "it has stopped by itself"


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_filter_that_cuts_it_off_is_a_yield(goes_on: bool) -> None:
    """What waits on the line is cleared, the caller waits for no longer than for any answer, and the model is
    told what was not heard.
    """
    call = DuplexCall(phrases={"filler": sound(1_000)}, filler_ms=1_850).ready().wait(500)
    call.speaks("One two three four five six seven eight nine ten eleven twelve thirteen fourteen")
    call.wait(700)
    call.stall(1_200)
    call.wait(1_500)
    call.feed(m.UpstreamFaulted("content_policy_violation", "This cannot be said."))
    call.stops()
    cut_ms, heard = call.now_ms, call.heard_by_phone()
    if goes_on:
        call.speaks("I cannot say that.", 600)
    call.wait(1_200)
    (spoken,) = call.all(m.Spoken)
    assert spoken.cut
    assert abs(len(spoken.heard.split()) - len(heard.split())) <= 1
    assert len(call.all(m.ClearPlayout)) == len(call.all(m.Cut)) == 1
    assert len(told(call, "fact")) == 1
    assert [one.what for one in call.all(m.Noted)] == ["a filter cut what was said"]
    call.wait(1_500)
    assert [one.about for one in told(call, "say")] == ([] if goes_on else ["say:moderated"])
    plays = [at_ms for at_ms, action in call.did if isinstance(action, m.PlayAudio) and at_ms > cut_ms]
    assert plays[0] <= cut_ms + 1_850 + 20  # the test's clock ticks each 20 ms
    assert not told(call, "rule"), "it has stopped by itself"
    if goes_on:
        assert call.heard_by_phone() == f"{heard} I cannot say that."


@pytest.mark.parametrize("code", ["content_filter", "unheard_of"])
def test_an_error_that_cuts_nothing_off_changes_nothing(code: str) -> None:
    """Where nothing is said and nothing is owed, or where it is no filter's."""
    call = DuplexCall().ready().wait(500)
    if code == "unheard_of":
        call.speaks(FIVE)
        call.wait(600)
    call.feed(m.UpstreamFaulted(code, "What it is."))
    call.wait(5_000)
    assert call.all(m.ClearPlayout) == told(call, "say") == []
    assert call.heard_by_phone() == (FIVE if code == "unheard_of" else "")


@pytest.mark.parametrize("late_ms", [300, 600, 1_000])
@pytest.mark.parametrize("labels_ms", [0, -200])
def test_words_that_come_behind_their_sound_are_told_with_it(late_ms: int, labels_ms: int) -> None:
    """Those of the first are not all there when the second begins, nor those of the second when it is cut."""
    call = DuplexCall(early_ms=-late_ms, labels_ms=labels_ms).ready().wait(500)
    call.speaks("Hello there, how are you?")
    call.speaks("We are open from nine to five on every day but Sunday", 1_500)
    call.wait(2_000)
    call.stall(1_300)
    call.wait(1_500)
    call.caller(900)
    call.wait(300)
    call.stops()
    call.wait(3_000)
    call.speaks("Goodbye.")
    call.wait(4_000)
    first, second, third = call.all(m.Spoken)
    assert (first.generated, first.heard, first.cut) == (FIVE, FIVE, False)
    assert second.cut
    heard = call.heard_by_phone().removeprefix(FIVE).removesuffix("Goodbye.").split()
    assert 0 < len(heard) < 12
    assert abs(len(second.heard.split()) - len(heard)) <= 1
    assert "We are open from nine to five".startswith(second.heard)
    assert (third.generated, third.heard) == ("Goodbye.", "Goodbye.")
    assert [item.text for item in carried(call.call, call.now_ms).items] == [FIVE, second.heard, "Goodbye."]
    lost = second.generated.removeprefix(second.heard).strip()
    assert [one.text for one in told(call, "fact")] == [f'The caller did not hear your last words: "{lost}".']


def test_words_of_a_lost_session_are_not_waited_for() -> None:
    """What plays on of it has no words to come, whatever the next session's clock says."""
    old, new = DuplexSession(1, PER_MS), DuplexSession(2, PER_MS)
    old.stream.take(b64encode(b"\x10\x90" * 400).decode(), 800, True, 0)
    assert old.stream.segment is not None
    item = old.utterance(old.stream.segment)
    assert old.awaits_words(item)
    assert not new.awaits_words(item)


def test_words_that_come_early_are_told_when_the_sound_is_over() -> None:
    call = DuplexCall(early_ms=0).ready().wait(500)
    call.speaks(FIVE)
    call.wait(3_000)
    (told_ms,) = [at_ms for at_ms, action in call.did if isinstance(action, m.Spoken)]
    assert told_ms <= 500 + 1_000 + 400


def test_it_is_told_what_was_not_heard_where_that_is_more_than_a_second() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks(" ".join(f"word{number}" for number in range(16)))
    call.wait(500)
    call.stall(1_400)
    call.wait(1_500)
    call.caller(1_000)
    call.wait(100)
    call.stops()
    call.wait(400)
    (spoken,) = call.all(m.Spoken)
    (note,) = told(call, "fact")
    lost = spoken.generated.removeprefix(spoken.heard).strip()
    assert note.text == f'The caller did not hear your last words: "{lost}".'
    assert note.about == "unheard:live:1:1"
    assert len(note.text) <= 200


def test_a_caller_who_speaks_cuts_nothing_while_the_model_goes_on() -> None:
    """It may mean to: the caller has only said that they listen."""
    call = DuplexCall().ready().wait(500)
    call.speaks("One two three four five six seven eight nine ten")
    call.wait(600)
    call.caller(400)
    call.wait(5_000)
    assert call.all(m.ClearPlayout) == []
    assert call.heard_by_phone() == "One two three four five six seven eight nine ten"
    spoke = [one.speaking for one in call.all(m.CallerSpoke)]
    assert spoke == [True, False]


@pytest.mark.parametrize("how", ["handler", "key"])
def test_it_is_hushed_by_a_handler_or_a_key(how: str) -> None:
    call = DuplexCall(digits="interrupt", digits_gap_ms=60_000).ready().wait(500)
    call.speaks("One two three four five six seven eight nine ten")
    call.wait(900)
    call.feed(m.Interrupt() if how == "handler" else m.DigitPressed("1"))
    heard = call.heard_by_phone()
    assert len(call.all(m.ClearPlayout)) == 1
    assert [one.text for one in told(call, "rule")] == ["Stop speaking now and listen."]
    call.wait(600)
    call.stops()  # the model has heard of it
    call.wait(800)
    assert call.heard_by_phone() == heard, "what still came is dropped"
    (spoken,) = call.all(m.Spoken)
    assert (spoken.heard, spoken.cut) == (heard, True)
    call.speaks("Yes, please?")
    call.wait(2_000)
    assert call.heard_by_phone() == f"{heard} Yes, please?"
    assert call.spoken()[-1] == ("Yes, please?", "Yes, please?")
    assert [one.status for one in call.all(m.ResponseEnded)] == ["cancelled", "completed"]


def test_a_guardrail_that_reads_its_words_stops_it_before_it_sounds() -> None:
    """Words come before their sound, and so may the verdict on them."""
    rules = m.AgentRules(running_words=True)
    call = DuplexCall(early_ms=740, session=m.SessionConfig(agent=rules)).ready().wait(500)
    call.speaks("Good day.")
    call.wait(2_500)
    call.speaks("Your password is one two three four five.", 900)
    call.wait(500)
    first, second = (
        [one for one in call.all(m.TranscriptDelta) if one.response_id == f"live:1:{n}"] for n in (1, 2)
    )
    assert "".join(one.text for one in first) == " Good day."
    assert "".join(one.text for one in second).startswith(" Your password")
    call.feed(m.Interrupt(second[0].response_id))
    assert call.all(m.ClearPlayout) == []
    call.wait(900)
    call.stops()
    call.wait(1_500)
    assert call.heard_by_phone() == "Good day."
    assert [one.heard for one in call.all(m.Spoken)] == ["Good day.", ""]
    assert [one.text for one in told(call, "rule")] == ["Stop speaking now and listen."]


def test_a_caller_is_owed_an_answer_and_a_filler_until_it_comes() -> None:
    call = DuplexCall(phrases={"filler": sound(300, "One moment.")}, filler_ms=1_500).ready().wait(1_000)
    call.caller(1_000)
    call.wait(1_000 + 800)
    assert [one.speaking for one in call.all(m.CallerSpoke)] == [True, False]
    call.caller_words(" Opening", " hours?")
    call.wait(1_300)
    assert [one.text for one in call.all(m.Turn)] == ["Opening hours?"]
    call.speaks("From nine to five.")
    call.wait(3_000)
    record = [entry for _, entry in call.call.playout.conversation.record()]
    assert record == [("user", "Opening hours?"), ("assistant", "From nine to five.")]
    assert not call.call.playout.debts.open
    assert call.call.playout.owed.since_ms is None
    assert told(call, "say") == []
    (turn,) = call.call.stats.turn_times
    assert turn.item_id == "live:1:1"
    assert turn.felt_ms is not None


def test_words_that_come_after_the_answer_stand_before_it() -> None:
    """Those of the caller come a second late, and the answer may be quicker."""
    call = DuplexCall().ready().wait(1_000)
    call.caller(1_000)
    call.speaks("From nine to five.", 1_200)
    call.wait(2_200)
    call.caller_words(" Opening", " hours?")
    call.wait(3_000)
    record = [entry for _, entry in call.call.playout.conversation.record()]
    assert record == [("user", "Opening hours?"), ("assistant", "From nine to five.")]
    assert not call.call.playout.debts.open
    assert told(call, "say") == []


def test_a_caller_whom_the_model_does_not_answer_is_answered_on_request() -> None:
    call = DuplexCall().ready().wait(1_000)
    call.caller(1_000)
    call.wait(2_200)
    call.caller_words(" Hello?")
    call.wait(6_000)
    assert told(call, "say") == [], "it answers by itself, sooner or later"
    call.wait(2_500)
    assert [one.about for one in told(call, "say")] == ["say:turn:1"]
    call.speaks("Sorry, I am here.")
    call.wait(3_000)
    assert not call.call.playout.debts.open


def test_a_noise_is_owed_no_answer() -> None:
    call = DuplexCall().ready().wait(1_000)
    call.caller(300)
    call.wait(6_000)
    assert told(call, "say") == []
    assert not call.call.playout.debts.open
    assert call.all(m.Turn) == []


def test_the_greeting_is_asked_for_in_words_and_again_if_it_does_not_come() -> None:
    call = DuplexCall(greeting="Hello, how can I help?", phrases={"restored": sound(500)}).ready()
    call.wait(600)
    (first,) = told(call, "say")
    assert first.about == "say:greeting"
    assert "Hello, how can I help?" in first.text
    call.wait(2_400)
    assert len(told(call, "say")) == 2
    call.wait(4_000)
    assert len(told(call, "say")) == 2
    plays = [one for one in call.all(m.Heard) if one.say_id.startswith("unsaid")]
    assert plays, "the caller is not left in silence"


def test_a_greeting_that_comes_is_asked_for_once() -> None:
    call = DuplexCall(greeting="Hello, how can I help?").ready().wait(500)
    call.speaks("Hello, how can I help?", 700)
    call.wait(5_000)
    assert len(told(call, "say")) == 1
    assert call.spoken() == [("Hello, how can I help?", "Hello, how can I help?")]
    assert not call.call.playout.debts.open


def test_what_a_handler_wants_said_is_told_back_when_it_was_heard() -> None:
    call = DuplexCall().ready().wait(500)
    call.feed(m.Say("say:1", "We close at five."))
    call.wait(100)
    (say,) = told(call, "say")
    assert "We close at five." in say.text
    call.speaks("We close at five.", 600)
    call.wait(4_000)
    (heard,) = call.all(m.Heard)
    assert (heard.say_id, heard.cut, heard.text) == ("say:1", False, "We close at five.")


def test_words_of_which_it_made_no_sound_were_not_heard() -> None:
    """They come before their sound, and a model that stops leaves them unsaid. That is no fault."""
    call = DuplexCall(early_ms=740).ready().wait(500)
    call.speaks("One two three four five six seven")
    call.wait(700)
    call.caller(600)
    call.wait(100)
    call.stops()
    call.wait(4_000)
    heard = call.heard_by_phone()
    assert heard == "One two three four"
    assert call.all(m.ClearPlayout) == [], "nothing was left to be cleared"
    assert [one.heard for one in call.all(m.Spoken)] == [heard]
    assert call.all(m.Noted) == []
    call.speaks("Sorry, go on.")
    call.wait(3_000)
    assert call.spoken()[-1] == ("Sorry, go on.", "Sorry, go on.")
    record = [words for _, (_, words) in call.call.playout.conversation.record()]  # type: ignore[misc]
    assert record == [heard, "Sorry, go on."]


def test_a_stream_that_stalls_while_an_answer_is_owed_is_asked_nothing() -> None:
    """There is no question that it would answer: the stream itself is the sign of life."""
    call = DuplexCall(probe_ms=500).ready().wait(1_000)
    call.caller(800)
    call.wait(900)
    call.caller_words(" Hello?")
    for _ in range(4):
        call.stall(1_300)
        call.wait(1_600)
    assert len(call.all(m.DialUpstream)) == 1


def test_text_without_sound_is_noticed_once_and_said_again() -> None:
    """D15, and the alarm of more than a few letters."""
    call = DuplexCall().ready().wait(500)
    call.feed(m.Fragment("assistant", " Yes.", 400, 600))
    call.wait(1_700)
    notes = [one for one in call.all(m.Noted) if one.detail == "text without sound"]
    assert len(notes) == 1
    assert call.spoken() == []
    assert told(call, "say") == []
    call.feed(m.Fragment("assistant", " Certainly.", 2_400, 2_600))
    call.wait(1_700)
    assert [one.text for one in told(call, "say")] == ["The caller could not hear you. Say it again."]
    call.speaks("Here I am.")
    call.wait(3_000)
    assert call.spoken() == [("Here I am.", "Here I am.")]


@pytest.mark.parametrize("words", [1, 14])
def test_words_without_sound_are_owed_like_any_answer(words: int) -> None:
    """The answer began and was paid for; the rest of it is text alone, for however long. The caller's silence
    began with that, the model is asked once and has the time to say it again.
    """
    call = DuplexCall(phrases={"filler": sound(1_000)}, filler_ms=1_850).ready().wait(500)
    call.caller(800)
    call.wait(900)
    call.caller_words(" Hours?")
    call.speaks("We are", 600)
    call.wait(1_200)
    ends_ms = call.now_ms
    call.speaks("nine-to-five " * words, 900, level=b"\xff")
    call.wait(2_900)
    plays = [at_ms for at_ms, action in call.did if isinstance(action, m.PlayAudio) and at_ms > ends_ms]
    assert plays
    assert plays[0] <= ends_ms + 2_000
    assert [one.text for one in told(call, "say")] == ["The caller could not hear you. Say it again."]
    assert len(call.all(m.DialUpstream)) == 1
    call.stops()
    call.speaks("From nine to five.", 1_600)
    call.wait(5_000)
    assert call.spoken()[-1] == ("From nine to five.", "From nine to five.")
    assert not call.call.playout.debts.open


def test_a_model_that_owes_an_answer_and_says_nothing_is_replaced() -> None:
    """Its stream goes on, so it lives: the caller does not wait for it for ever."""
    call = DuplexCall(phrases={"filler": sound(500)}, filler_ms=1_850).ready().wait(500)
    call.caller(800)
    call.wait(900)
    call.caller_words(" Hours?")
    call.wait(16_000)
    assert len(told(call, "say")) == 2
    assert [one.epoch for one in call.all(m.DialUpstream)] == [1, 2]
    plays = [at_ms for at_ms, action in call.did if isinstance(action, m.PlayAudio)]
    assert max(after_ms - before_ms for before_ms, after_ms in pairwise(plays)) <= 500 + 2_000


@pytest.mark.parametrize("streams", [False, True])
def test_a_session_that_is_over_is_lost_though_its_socket_stays(streams: bool) -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks(FIVE)
    call.wait(900)
    call.feed(m.SessionEnding(0, "connection_lost", 1))
    call.streams = streams
    call.wait(100)
    assert [one.epoch for one in call.all(m.DialUpstream)] == [1, 2]
    assert [one.epoch for one in call.all(m.CloseUpstream)] == [1]
    call.session(2).wait(1_000)
    assert [one.about for one in told(call, "say")] == ["say:restored"]


def test_a_session_that_is_over_before_it_began_is_dialled_again() -> None:
    call = DuplexCall()
    call.feed(m.Started("MZ1", "CA1", "AC1"), m.Admitted(), m.UpstreamOpened(1))
    call.feed(m.SessionEnding(0, "connection_lost", 1))
    call.wait(1_000)
    assert [one.epoch for one in call.all(m.DialUpstream)] == [1, 2]


def test_what_a_lost_session_was_told_of_its_words_is_not_told_to_the_next() -> None:
    call = DuplexCall().ready().wait(500)
    call.feed(m.Fragment("assistant", " Certainly.", 400, 600))
    call.wait(1_700)
    call.feed(m.UpstreamClosed(1006, "", 1))
    call.wait(100)
    call.session(2).wait(3_000)
    assert [one.about for one in told(call, "say") if one.epoch == 2] == ["say:restored"] * 2


def test_a8_words_too_faint_to_be_heard_are_asked_for_again() -> None:
    """Loud enough to go out, at -49 dBFS, and below what an ear makes out."""
    call = DuplexCall().ready().wait(500)
    call.speaks("Hello, how can I help you now today?", level=b"\xf0\x70")
    call.wait(500)
    assert call.all(m.PlayAudio)
    assert told(call, "say") == []
    call.wait(800)
    assert [one.detail for one in call.all(m.Noted)][-1].startswith("nothing of live:1:1")
    assert len(call.all(m.ClearPlayout)) == 1
    call.stops()
    call.wait(500)
    assert [one.text for one in told(call, "say")] == ["The caller could not hear you. Say it again."]
    call.speaks("Hello, how can I help?")
    call.wait(3_000)
    assert call.spoken()[0][1] == "", "nothing of it was heard"
    assert call.spoken()[-1] == ("Hello, how can I help?", "Hello, how can I help?")
    assert call.heard_by_phone() == "Hello, how can I help?"
    record = [entry for _, entry in call.call.playout.conversation.record()]
    assert record == [("assistant", "Hello, how can I help?")]


def test_a9_speech_with_pauses_raises_no_alarm() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks("Well, then.", pause_ms=600, level=b"\xe0\x60")
    call.wait(4_000)
    assert call.all(m.Noted) == []
    assert told(call, "say") == []


def test_a10_a_murmur_without_sound_is_not_said_again() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks("Mm.", level=b"\xff")
    call.wait(4_000)
    assert told(call, "say") == []
    assert call.call.inaudible == 0


def test_what_the_caller_was_told_by_a_recording_is_known_to_the_model() -> None:
    call = DuplexCall().ready().wait(500)
    call.feed(m.Play("ours", sound(500, "This call is recorded.")), m.AddText("Their name is Ann.", "system"))
    call.wait(1_500)
    assert [one.text for one in told(call, "fact")] == [
        "Their name is Ann.",
        'The caller was told by a recording: "This call is recorded.".',
    ]


def test_a_sound_of_ours_waits_for_none_and_costs_no_word() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks("One two three four five six seven eight nine ten eleven twelve")
    call.wait(600)
    call.feed(m.Play("ours", sound(2_000)))
    call.wait(8_000)
    assert call.heard_by_phone() == "One two three four five six seven eight nine ten eleven twelve"
    assert [one.heard for one in call.all(m.Spoken)] == [call.heard_by_phone()]
    assert not call.call.playout.line.ledger.unplayed_ms(call.now_ms)
    call.speaks("Next.")
    call.wait(200)
    assert call.call.playout.line.remaining_ms(call.now_ms) <= 160


def test_a_goodbye_is_heard_to_its_end_and_nothing_follows_it() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks("Good bye, and thank you.")
    call.wait(700)
    call.feed(m.HangUp("done"))
    call.speaks("By the way, one more thing.", 3_000)
    call.wait(8_000)
    assert call.heard_by_phone() == "Good bye, and thank you."
    (ended,) = call.all(m.Ended)
    assert ended.reason is m.Reason.WE_HUNG_UP
    assert call.spoken() == [("Good bye, and thank you.", "Good bye, and thank you.")]


def test_a_caller_who_speaks_takes_the_goodbye_back() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks("Good bye, and thank you very much for your call.")
    call.wait(300)
    call.feed(m.HangUp("done"))
    call.caller(800)
    call.wait(3_000)
    assert call.all(m.HangUpCancelled) == [m.HangUpCancelled()]
    assert call.all(m.Ended) == []


def test_a_transfer_leaves_after_the_last_word() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks("I put you through.")
    call.wait(500)
    call.feed(m.Transfer("desk"))
    call.wait(4_000)
    assert call.heard_by_phone() == "I put you through."
    assert [one.reason for one in call.all(m.Ended)] == [m.Reason.TRANSFERRED]


def test_what_it_says_while_the_caller_is_away_is_not_heard_and_costs_no_truth() -> None:
    """Its time goes on: the words that it says when the caller is back are known by their sound."""
    call = DuplexCall(labels_ms=-100).ready().wait(500)
    call.speaks("I put you through.")
    call.wait(2_500)
    call.call.phase = m.Phase.AWAY
    call.speaks("Nobody hears me now at all.")
    call.wait(5_000)
    heard = call.heard_by_phone()
    assert heard == "I put you through."
    call.call.phase = m.Phase.LIVE
    call.wait(2_500)
    call.speaks("There you are again.")
    call.wait(3_000)
    assert call.heard_by_phone() == f"{heard} There you are again."
    assert call.spoken()[-1] == ("There you are again.", "There you are again.")
    assert call.all(m.Noted) == []


def test_no_one_can_fill_the_memory_with_words() -> None:
    call = DuplexCall().ready().wait(500)
    for number in range(400):
        for role in ("assistant", "user"):
            call.feed(m.Fragment(role, " word" * 400, 500 + number, 700 + number))
    call.speaks("Hello.")
    call.wait(3_000)
    assert sum(len(said) for said, _ in call.spoken()) <= 32_768
    assert sum(len(turn.text) for turn in call.all(m.Turn)) <= 32_768


def test_a_lost_session_is_played_to_its_end_and_the_next_one_is_told_what_was_heard() -> None:
    """D13, in a call."""
    call = DuplexCall().ready().wait(500)
    call.speaks("We are open from nine to five every day of the week")
    call.wait(1_240)
    call.stall(500)
    call.wait(600)
    lag_ms = call.call.playout.line.remaining_ms(call.now_ms)
    assert lag_ms >= 500
    call.streams = False
    call.feed(m.UpstreamClosed(1006))
    assert call.all(m.ClearPlayout) == []
    call.wait(800)
    heard = call.heard_by_phone()
    (spoken,) = call.all(m.Spoken)
    assert spoken.heard == heard
    assert [one.epoch for one in call.all(m.DialUpstream)] == [1, 2]
    call.session(2).wait(100)
    call.feed(m.StreamAudio("AAAA", 3, True, 1), m.Fragment("assistant", " late", 0, 200, 1))
    record = [entry for _, entry in call.call.playout.conversation.record()]
    assert record == [("assistant", heard)]
    call.speaks("to five.")
    call.wait(3_000)
    assert call.spoken()[-1] == ("to five.", "to five.")
    record = [entry for _, entry in call.call.playout.conversation.record()]
    assert record == [("assistant", heard), ("assistant", "to five.")]


def test_a_call_is_carried_to_another_process_with_what_was_heard() -> None:
    call = DuplexCall().ready().wait(500)
    call.speaks("We are open from nine to five every day of the week")
    call.wait(1_300)
    snapshot = carried(call.call, call.now_ms)
    (item,) = snapshot.items
    assert item.text == call.heard_by_phone()
    call.feed(m.HandOver(0))
    call.wait(100)
    (left,) = call.all(m.HandedOver)
    assert left.carried.items[0].text == call.heard_by_phone()
    assert left.carried.owed


def test_a_protected_greeting_is_not_cut() -> None:
    call = DuplexCall(greeting="Hello.", greeting_interruptible=False).ready().wait(500)
    call.speaks("Hello, this call is recorded by us.", 600)
    call.wait(900)
    call.stall(600)
    call.wait(700)
    call.caller(1_000)
    call.wait(100)
    call.stops()
    call.wait(1_000)
    assert call.all(m.ClearPlayout) == []


def test_a_call_replays_to_the_same_actions() -> None:
    call = DuplexCall(greeting="Hello.").ready().wait(500)
    call.speaks("Hello, how can I help?", 500)
    call.wait(1_100)
    call.stall(600)
    call.wait(700)
    call.caller(1_200)
    call.wait(300)
    call.stops()
    call.wait(1_500)
    call.caller_words(" Opening hours?")
    call.speaks("From nine to five.", 300)
    call.feed(m.Play("ours", sound(700)))
    call.wait(4_000)
    again = Call(call.call.config)
    did: list[Any] = []
    for at_ms, event in call.events:
        did += [(at_ms, action) for action in again.receive(event, at_ms)]
    assert did == call.did


# --- another vendor goes on


def given_up(call: DuplexCall) -> int:
    """The vendor's session is lost, and it takes no other. Returns the next one's epoch."""
    first = call.call.up.can
    call.streams = False
    call.feed(m.UpstreamClosed(1006))
    while call.call.up.can is first:
        call.wait(20)
        if call.call.up.epoch > 1 and call.call.up.can is first and call.call.up.state is Leg.DIALLING:
            call.feed(m.DialFailed(call.call.up.epoch, 503))
    return call.call.up.epoch


def test_a_vendor_with_turns_goes_on_with_what_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.core.duplex_call.NEVER_SENT", ())
    call = DuplexCall(failover=(m.VendorPlan("openai"),)).ready().wait(500)
    call.speaks("We are open from nine to five.")
    call.wait(900)
    epoch = given_up(call)
    call.feed(m.SessionCreated(epoch), m.SessionUpdated(epoch))
    told = [(one.role, one.text) for one in call.all(m.CreateItem)]
    assert told[0] == ("assistant", call.heard_by_phone())
    assert [one.tag for one in call.all(m.CreateResponse)] == ["restored"]
    call.feed(m.ResponseStarted("r1", "restored", epoch=epoch))
    audio = b64encode(b"\x10\x90" * 4_000).decode()
    call.feed(m.TextDelta("r1", "i1", 0, "To five.", epoch=epoch))
    call.feed(m.AudioDelta("r1", "i1", 0, audio, 8_000, epoch), m.AudioDone("r1", "i1", epoch=epoch))
    call.feed(m.ResponseDone("r1", epoch=epoch))
    call.wait(2_000)
    assert call.spoken()[-1] == ("To five.", "To five.")
    assert call.call.playout.duplex is None


def test_a_duplex_model_goes_on_for_a_vendor_with_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.core.duplex_call.NEVER_SENT", ())
    call = DuplexCall(failover=(m.VendorPlan("gpt-live", LIVE),), capabilities=m.Capabilities())
    call.streams = False
    call.feed(m.Started("MZ1", "CA1", "AC1"), m.Admitted(), m.SessionCreated(1), m.SessionUpdated(1))
    call.feed(m.ResponseStarted("r1"), m.TextDelta("r1", "i1", 0, "We are open from nine to five."))
    call.feed(m.AudioDelta("r1", "i1", 0, b64encode(b"\x10\x90" * 16_000).decode(), 32_000))
    call.wait(1_000)
    epoch = given_up(call)
    call.session(epoch)
    (configured,) = [one for one in call.all(m.ConfigureSession) if one.epoch == epoch]
    (spoken,) = call.all(m.Spoken)
    assert ("assistant", spoken.heard) in [(item.role, item.text) for item in configured.history]
    assert [one.about for one in call.all(m.TellModel)] == ["say:restored"]
    call.speaks("From nine to five.", 600)
    call.wait(4_000)
    assert call.spoken()[-1] == ("From nine to five.", "From nine to five.")
    assert not call.call.playout.debts.open
