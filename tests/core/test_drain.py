"""Hanging up politely: nobody is cut off in the middle of a goodbye, and nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.ending import GENERATING_MS
from bridge.core.messages import Phase

from .conftest import LiveCall, delta, frame, only, speech, truth

ENDED = [m.CloseUpstream(), m.CloseCarrier(), m.Ended(m.Reason.WE_HUNG_UP)]


def saying_goodbye(call: LiveCall, ms: int = 1_000) -> None:
    """Response r1 is on the line with its end mark sent, and over for the model at 300 ms."""
    call.speaks(0, m.ResponseStarted("r1"), delta("bye", ms))
    call.speaks(300, m.AudioDone("r1", "bye"), m.ResponseDone("r1"))


def test_a_call_in_which_nothing_is_left_to_say_ends_at_once(live_call: Any) -> None:
    call = live_call()
    assert call.at(500, m.HangUp("done")) == [
        m.NoteIntent("ended"),
        m.CloseUpstream(),
        m.CloseCarrier(),
        m.Ended(m.Reason.WE_HUNG_UP, "done"),
    ]
    assert call.call.phase is Phase.ENDED
    assert call.call.stats.ended_ms == 500
    assert call.call.deadline_ms is None


def test_it_ends_on_the_mark_behind_the_last_word(live_call: Any) -> None:
    call = live_call()
    saying_goodbye(call)
    assert call.at(400, m.HangUp()) == [m.NoteIntent("ended")]
    assert call.call.phase is Phase.DRAINING
    assert call.until(1_100) == []
    [spoken, *end] = call.echo(1_120)
    assert spoken == m.Spoken("bye", "", "", 1_000, cut=False)
    assert end == ENDED


def test_it_waits_for_speech_that_was_asked_for_and_not_begun(live_call: Any) -> None:
    call = live_call()
    [asked] = call.at(0, m.Say("say-1", "Goodbye."))
    assert call.at(0, m.HangUp()) == [m.NoteIntent("ended")]
    assert call.until(2_000) == []
    call.speaks(2_000, m.ResponseStarted("r1", tag=asked.tag), delta("bye", 1_000))
    call.speaks(2_300, m.AudioDone("r1", "bye"), m.ResponseDone("r1"))
    assert call.echo(3_120)[-3:] == ENDED


def test_it_waits_for_a_response_that_is_being_generated(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.HangUp(), delta("bye", 1_000))
    assert only(m.Ended, call.echo(1_120)) == []
    assert call.at(1_200, m.ResponseDone("r1"))[-3:] == ENDED


def test_it_waits_for_sound_of_ours(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Play("jingle", speech(1_200)))
    call.at(0, m.HangUp())
    call.until(1_200)
    assert call.echo(1_300) == [m.Heard("jingle", 1_200, cut=False), *ENDED]


def test_the_caller_is_still_listened_to_while_we_say_goodbye(live_call: Any) -> None:
    call = live_call()
    saying_goodbye(call)
    call.at(400, m.HangUp())
    assert call.at(420, frame(1)) == [m.AppendAudio("frame 1", 160)]


def test_when_marks_never_come_the_watchdog_runs_from_the_expected_end(live_call: Any) -> None:
    """Not from the end of generation, which is seconds before the end of playout."""
    call = live_call(drain_slack_ms=2_000)
    saying_goodbye(call, ms=3_000)
    call.at(400, m.HangUp())
    assert call.call.deadline_ms == 5_000
    assert call.until(4_999) == []
    assert call.until(5_000) == [m.Spoken("bye", "", "", 3_000, cut=False), *ENDED]


def test_marks_that_never_come_cannot_put_the_watchdog_off(live_call: Any) -> None:
    call = live_call()
    saying_goodbye(call, ms=3_000)
    call.at(400, m.HangUp())
    for now_ms in range(500, 5_000, 500):
        assert call.at(now_ms, m.MarkReached("nobody's")) == []
    assert call.until(5_000) == [m.Spoken("bye", "", "", 3_000, cut=False), *ENDED]


def test_a_goodbye_that_is_never_generated_is_waited_for_only_so_long(live_call: Any) -> None:
    call = live_call(drain_slack_ms=2_000)
    call.speaks(1_000, m.Say("say-1", "Goodbye."), m.HangUp())
    assert call.until(1_000 + GENERATING_MS - 1) == []
    assert call.until(1_000 + GENERATING_MS) == ENDED


def test_what_came_of_a_goodbye_that_stopped_being_generated_is_still_heard(live_call: Any) -> None:
    call = live_call(drain_slack_ms=2_000)
    call.speaks(0, m.ResponseStarted("r1"), m.HangUp())
    call.speaks(GENERATING_MS - 100, delta("bye", 1_000))
    assert call.until(GENERATING_MS + 2_899) == []
    cut_at = [m.Cut("bye", 1_000), m.Spoken("bye", "", "", 1_000, cut=True)]
    assert call.until(GENERATING_MS + 2_900) == [*cut_at, *ENDED]


def test_a_caller_who_speaks_during_the_goodbye_takes_it_back(live_call: Any) -> None:
    call = live_call()
    saying_goodbye(call)
    call.at(400, m.HangUp())
    actions = call.at(600, m.SpeechStarted())
    assert truth(actions) == [m.ClearPlayout(), m.TruncateItem("bye", 0, 600)]
    assert actions[-2:] == [m.NoteIntent(""), m.HangUpCancelled()]
    assert call.call.phase is Phase.LIVE
    call.at(900, m.SpeechStopped())
    assert only(m.Ended, call.until(3_500)) == []
    call.speaks(3_500, m.ResponseStarted("r2"), delta("bye2", 200, response="r2"), m.ResponseDone("r2"))
    assert call.at(3_600, m.HangUp()) == [m.NoteIntent("ended")]
    assert call.echo(3_800)[-3:] == ENDED


def test_a_goodbye_taken_back_while_it_was_asked_for_is_not_spoken(live_call: Any) -> None:
    call = live_call()
    [asked] = call.at(0, m.Say("say-1", "Goodbye."))
    call.at(0, m.HangUp())
    call.at(50, m.SpeechStarted())
    assert call.at(90, m.ResponseStarted("r1", tag=asked.tag)) == [m.CancelResponse("r1")]
    assert call.call.phase is Phase.LIVE


def test_a_model_that_is_out_has_no_say_any_more_while_the_caller_hears_the_apology(live_call: Any) -> None:
    """Its socket closes a little later than we ask for it: what still comes must not cut the apology."""
    call = live_call(phrases={"apology": speech(400)})
    call.at(100, m.UpstreamFaulted("insufficient_quota", "pay first"))
    assert call.speaks(200, m.SpeechStarted(), m.UpstreamFaulted("x"), m.ResponseStarted("r1")) == []
    assert call.at(210, delta("A", 100)) == []
    call.until(500)
    assert call.echo(600)[-1] == m.Ended(m.Reason.UPSTREAM_REFUSED, "insufficient_quota: pay first")


def test_two_wishes_to_end_are_one_and_the_first_one_counts(live_call: Any) -> None:
    call = live_call()
    saying_goodbye(call)
    assert call.at(400, m.Transfer("front desk")) == [m.NoteIntent("transfer:front desk")]
    assert call.at(500, m.HangUp()) == []
    assert call.echo(1_100)[-1] == m.Ended(m.Reason.TRANSFERRED, "front desk")


def test_a_transfer_waits_for_the_announcement_and_speech_takes_it_back(live_call: Any) -> None:
    call = live_call()
    saying_goodbye(call)
    call.at(400, m.Transfer("front desk"))
    assert m.NoteIntent("") in call.at(500, m.SpeechStarted())
    assert call.call.phase is Phase.LIVE


def test_a_late_tool_result_while_draining_becomes_an_item_and_never_a_response(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "look_up", "{}"))
    call.speaks(100, delta("bye", 1_000), m.AudioDone("r1", "bye"), m.ResponseDone("r1"), m.HangUp())
    assert call.at(500, m.ToolFinished("call_1", "42")) == [
        m.CreateItem("pb_1", call_id="call_1", output="42")
    ]
    assert call.echo(1_300)[-3:] == ENDED


def test_a_shut_down_ends_at_once_whatever_is_being_said(live_call: Any) -> None:
    call = live_call()
    saying_goodbye(call)
    heard = [m.Cut("bye", 500), m.Spoken("bye", "", "", 500, cut=True)]
    end = [m.CloseUpstream(), m.CloseCarrier(), m.Ended(m.Reason.SHUTDOWN)]
    assert call.at(500, m.ShutDown()) == [m.NoteIntent("ended"), *heard, *end]
    assert call.call.deadline_ms is None


@pytest.mark.parametrize(
    ("event", "reason", "detail"),
    [
        (m.Stopped(), m.Reason.CALLER_HUNG_UP, ""),
        (m.CarrierClosed(1006), m.Reason.CARRIER_LOST, "1006, no stop"),
        (m.CarrierGivenUp("outbox full"), m.Reason.CARRIER_GIVEN_UP, "outbox full"),
        (m.ShutDown(), m.Reason.SHUTDOWN, ""),
    ],
)
def test_an_end_from_outside_while_we_drain_is_the_end(
    live_call: Any, event: m.Event, reason: m.Reason, detail: str
) -> None:
    """With speech still on the line: nothing may wake the call again."""
    call = live_call()
    saying_goodbye(call)
    call.at(400, m.HangUp())
    assert call.at(500, event)[-3:] == [m.CloseUpstream(), m.CloseCarrier(), m.Ended(reason, detail)]
    assert call.call.deadline_ms is None


def test_an_end_from_outside_while_the_goodbye_is_generated_is_the_end_too(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("bye", 1_000), m.HangUp(), m.ResponseDone("r1"))
    call.at(500, m.Stopped())
    assert call.call.deadline_ms is None
    assert call.until(60_000) == []


def test_who_hangs_up_in_the_middle_has_heard_what_they_have_heard(live_call: Any) -> None:
    """What is told at the end of a call is as true as what is told at an interruption."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.TextDelta("r1", "item_1", 0, "one two three four"))
    call.speaks(0, delta("item_1", 3_000), m.AudioDone("r1", "item_1"), m.ResponseDone("r1"))
    spoken = m.Spoken("item_1", "one two three four", "one two", 1_500, cut=True)
    assert call.at(1_500, m.Stopped()) == [
        m.Cut("item_1", 1_500), spoken, m.CloseUpstream(), m.CloseCarrier(), m.Ended(m.Reason.CALLER_HUNG_UP)
    ]  # fmt: skip
