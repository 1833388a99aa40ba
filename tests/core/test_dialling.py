"""Dialling the model: again, a few times, soon; never where it would be no use; and the caller hears why."""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from bridge.core.upstream_leg import FATAL_CODES, FATAL_STATUS, MOST_RETRY_AFTER_MS, Leg

from .conftest import PROBE, LiveCall, frame, new_call, only, phone, speech

STARTED = m.Started("MZ1", "CA1", "AC1")
PHRASES = {"apology": speech(600, "Something went wrong.", "S"), "filler": speech(300, "One moment.", "F")}


def ringing(**config: object) -> LiveCall:
    call = new_call(media_gap_ms=60_000, **config)
    call.at(0, STARTED)
    return call


def dials(call: LiveCall) -> list[tuple[int, int]]:
    return [(at_ms, action.epoch) for at_ms, action in call.said if isinstance(action, m.DialUpstream)]


def test_a_failed_attempt_is_followed_by_two_more_each_a_little_later() -> None:
    """The delay doubles; where in the second half of it, a seed in the call's configuration says."""
    call = ringing()
    call.at(50, m.DialFailed(1, 503, "overloaded"))
    [(_, _), (second_ms, epoch)] = dials_after(call, 1_000)
    assert epoch == 2
    assert 150 <= second_ms <= 350
    call.at(1_000, m.DialFailed(2, 503, "overloaded"))
    [_, _, (third_ms, epoch)] = dials_after(call, 2_000)
    assert epoch == 3
    assert 1_200 <= third_ms <= 1_600
    end = call.at(2_000, m.DialFailed(3, 503, "overloaded"))
    assert end[-1] == m.Ended(m.Reason.UPSTREAM_UNREACHABLE, "503 overloaded")


def dials_after(call: LiveCall, now_ms: int) -> list[tuple[int, int]]:
    call.until(now_ms)
    return dials(call)


def test_the_delay_is_the_same_in_a_replay_and_another_in_another_call() -> None:
    def second_ms(seed: int) -> int:
        call = ringing(jitter_seed=seed)
        call.at(0, m.DialFailed(1, 503))
        return dials_after(call, 1_000)[1][0]

    assert second_ms(1) == second_ms(1)
    assert len({second_ms(seed * 1_000_003) for seed in range(20)}) > 5


def test_a_session_that_does_not_come_in_time_is_a_failed_attempt_too() -> None:
    call = ringing(session_ms=3_000)
    call.at(100, m.SessionCreated())
    assert call.until(2_999) == []
    assert call.until(3_000) == [m.CloseUpstream(1)]
    assert call.at(3_010, m.SessionUpdated()) == [], "it was given up"
    assert call.at(3_020, m.UpstreamClosed(1006)) == [], "nor does its end count as another failure"
    assert [epoch for _, epoch in dials_after(call, 3_500)] == [1, 2]
    call.speaks(3_600, m.SessionCreated(2), m.SessionUpdated(2))
    assert call.at(3_700, m.Admitted()) == [PROBE, m.CallBegan()]


def test_a_socket_that_closes_during_set_up_is_a_failed_attempt() -> None:
    call = ringing()
    call.at(100, m.SessionCreated())
    call.at(200, m.UpstreamClosed(1011, "server error"))
    assert [epoch for _, epoch in dials_after(call, 1_000)] == [1, 2]


def test_after_six_seconds_in_all_no_further_attempt_is_made() -> None:
    call = ringing(session_ms=10_000)
    assert call.at(5_950, m.DialFailed(1, 503))[-1] == m.Ended(m.Reason.UPSTREAM_UNREACHABLE, "503 ")


def test_a_server_that_says_when_to_come_back_is_obeyed_if_that_is_soon() -> None:
    call = ringing()
    call.at(100, m.DialFailed(1, 429, "rate_limit_exceeded", retry_after_ms=1_500))
    assert dials_after(call, 3_000)[1] == (1_600, 2)
    late = m.DialFailed(2, 429, "rate_limit_exceeded", retry_after_ms=MOST_RETRY_AFTER_MS + 1)
    assert only(m.Ended, call.at(3_000, late))


def test_where_we_ourselves_are_wrong_nobody_is_asked_again() -> None:
    failures = [m.DialFailed(1, status) for status in sorted(FATAL_STATUS)]
    failures += [m.DialFailed(1, 400, "invalid_request_error")]
    failures += [m.DialFailed(1, 200, code) for code in sorted(FATAL_CODES)]
    for failed in failures:
        call = ringing()
        why = f"{failed.status} {failed.code}"
        assert call.at(100, failed)[-1] == m.Ended(m.Reason.UPSTREAM_UNREACHABLE, why)
        assert call.call.up.state is Leg.CLOSED


@pytest.mark.parametrize("code", ["", "refused"])
def test_a_400_without_an_error_of_the_vendor_s_may_be_a_balancer_s(code: str) -> None:
    call = ringing()
    failed = call.at(100, m.DialFailed(1, 400, code))
    assert not [one for one in failed if isinstance(one, m.Ended | m.Noted)]
    assert dials_after(call, 1_000)


@pytest.mark.parametrize("code", [1008, 3000, 4000])
def test_a_socket_closed_because_of_us_is_not_dialled_again(code: int) -> None:
    call = ringing()
    assert call.at(100, m.UpstreamClosed(code, "invalid_api_key"))[-1] == m.Ended(
        m.Reason.UPSTREAM_REFUSED, f"{code} invalid_api_key"
    )


def test_the_caller_hears_a_filler_while_we_dial_and_one_apology_at_the_end() -> None:
    call = ringing(phrases=PHRASES, dial_attempts=1)
    call.at(0, m.Admitted())
    assert phone(call.until(699)) == []
    assert phone(call.until(700))[0] == m.PlayAudio("F" * 2_560, 1_920)
    call.until(1_100)
    call.echo(1_120)
    noted, *sound, intent = call.at(1_500, m.DialFailed(1, 503, "overloaded"))
    assert noted == m.Noted("the model is out", "the model could not be reached: 503 overloaded")
    assert only(m.PlayAudio, sound)[0] == m.PlayAudio("S" * 2_560, 1_920)
    assert intent == m.NoteIntent("ended")
    assert call.at(1_600, m.DialFailed(1, 503)) == [], "no second round of the same"
    call.until(2_100)
    heard, *end = call.echo(2_200)
    assert heard == m.Heard("apology", 600, cut=False, text="Something went wrong.")
    assert end == [m.CloseCarrier(), m.Ended(m.Reason.UPSTREAM_UNREACHABLE, "503 overloaded")]


def test_with_a_fallback_the_caller_is_sent_to_a_person_after_the_apology() -> None:
    call = ringing(phrases=PHRASES, dial_attempts=1, fallback="front desk")
    call.at(0, m.Admitted())
    assert call.at(100, m.DialFailed(1, 401))[-1] == m.NoteIntent("transfer:front desk")


@pytest.mark.parametrize("config", [{}, {"phrases": PHRASES}], ids=["no phrase", "not admitted"])
def test_where_nothing_can_be_said_or_nobody_may_be_spoken_to_the_call_just_ends(
    config: dict[str, object],
) -> None:
    call = ringing(dial_attempts=1, **config)
    if not config:
        call.at(0, m.Admitted())
    [noted, *end] = call.at(200, m.DialFailed(1, 503, "overloaded"))
    assert noted == m.Noted("the model is out", "the model could not be reached: 503 overloaded")
    assert end == [m.CloseCarrier(), m.Ended(m.Reason.UPSTREAM_UNREACHABLE, "503 overloaded")]


def test_what_the_caller_said_is_kept_over_all_attempts() -> None:
    call = ringing()
    call.speaks(0, m.Admitted(), frame(0), m.DialFailed(1, 503))
    call.until(900)
    call.at(920, frame(46))
    actions = call.speaks(1_000, m.SessionCreated(2), m.SessionUpdated(2))
    assert only(m.AppendAudio, actions) == [
        m.AppendAudio("frame 0", 160, 2),
        m.AppendAudio("frame 46", 160, 2),
    ]


def test_being_admitted_twice_is_being_admitted_once() -> None:
    call = ringing(phrases={"notice": speech(300)}, disclosure="notice")
    call.speaks(0, m.SessionCreated(), m.SessionUpdated(), m.Admitted())
    assert call.at(10, m.Admitted()) == []
    call.until(300)
    call.echo(310)
    assert call.call.deadline_ms == 60_000, "nobody waits for an answer: only the next frame is waited for"
