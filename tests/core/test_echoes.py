"""A carrier that does not say what it played is followed by the clock; one that plays nothing is given up."""

from __future__ import annotations

from typing import Any

from bridge.core import messages as m
from bridge.core.liveness import NO_ECHO_MS, WAITING_MS

from .conftest import delta, frame, new_call, only, phone, speech

NOTED = m.Noted("no echoes", "the carrier returns no marks: what is heard goes by the clock")


def test_speech_is_told_as_heard_a_while_after_its_end(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 1_000), m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    assert call.until(1_000 + NO_ECHO_MS - 1) == []
    assert call.until(1_000 + NO_ECHO_MS) == [NOTED, m.Spoken("A", "", "", 1_000, cut=False)]
    call.speaks(5_000, m.ResponseStarted("r2"), delta("B", 400, response="r2"), m.ResponseDone("r2"))
    assert only(m.Spoken, call.until(5_400)) == [m.Spoken("B", "", "", 400, cut=False)]


def test_a_disclosure_does_not_hold_up_the_call_for_good() -> None:
    call = new_call(disclosure="notice", phrases={"notice": speech(2_000, letter="P")}, greeting="Hello.")
    call.speaks(0, m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.SessionUpdated(), m.Admitted())
    call.speaks(300, m.ResponseStarted("r1", tag="greeting"), delta("A", 400), m.AudioDone("r1", "A"))
    call.at(310, m.ResponseDone("r1"))
    call.at(320, frame(1))
    call.until(4_000)
    assert NOTED in call.actions
    played = [(at_ms, action.audio[:1]) for at_ms, action in call.said if isinstance(action, m.PlayAudio)]
    assert [letter for _, letter in played] == ["P"] * 9 + [""]
    begin_ms = next(at_ms for at_ms, action in call.said if action == NOTED)
    assert begin_ms <= 240 + WAITING_MS, "slices stop when echoes do: it must be noticed before they run out"
    assert played[-1][0] <= 2_000 + WAITING_MS
    assert m.AppendAudio("frame 1", 160) in call.actions


def test_an_echo_that_comes_after_all_is_believed_again(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 1_000), m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    call.until(4_000)
    assert NOTED in call.actions
    call.speaks(5_000, m.ResponseStarted("r2"), delta("B", 1_000, response="r2"), m.AudioDone("r2", "B"))
    assert phone(call.actions)[-1] == m.PlayAudio("", 8_000), "nobody asks for marks any more"
    assert only(m.Spoken, call.until(6_000)) == [m.Spoken("B", "", "", 1_000, cut=False)]


def test_a_carrier_that_has_echoed_and_plays_nothing_any_more_ends_the_call(live_call: Any) -> None:
    call = live_call(unplayed_ms=30_000)
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 400), delta("A", 400), m.ResponseDone("r1"))
    call.echo(420, 1)
    assert only(m.Ended, call.until(30_799)) == []
    assert call.until(30_900)[-1] == m.Ended(
        m.Reason.CARRIER_LOST, "our sound has not been played for 30000 ms"
    )


def test_one_that_plays_a_long_time_is_just_playing(live_call: Any) -> None:
    call = live_call(unplayed_ms=30_000)
    call.at(0, m.ResponseStarted("r1"))
    for _ in range(60):
        call.at(0, delta("A", 1_000))
    call.at(0, m.ResponseDone("r1"))
    for number in range(1, 61):
        call.echo(1_000 * number + 60, 1)
    assert only(m.Ended, call.actions) == []
    assert only(m.Noted, call.actions) == []
