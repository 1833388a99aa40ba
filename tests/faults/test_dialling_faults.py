"""The model cannot be had when the call begins: the caller hears that we are there, and in the end why
not."""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from bridge.core.upstream_leg import FATAL_CODES
from bridge.doubles.options import ServerOptions

from .rig import NEVER, Rig

BUSY = m.DialFailed(1, 503, "overloaded")
OUT = "the model is out: the model could not be reached:"


@pytest.mark.parametrize("times", [1, 2])
def test_the_model_refuses_once_or_twice_and_the_caller_hears_nothing_of_it(times: int) -> None:
    rig = Rig(dials=[BUSY] * times).play(6_000)
    assert rig.story() == ["answer 1"]
    assert len(rig.dialled) == times + 1
    assert rig.notes == []


def test_the_model_refuses_three_times() -> None:
    rig = Rig(dials=[BUSY] * 3).play(20_000)
    assert rig.story() == ["apology"]
    assert rig.notes == [f"{OUT} 503 overloaded"]
    assert (rig.reason, rig.intent) == (m.Reason.UPSTREAM_UNREACHABLE, "ended")
    assert len(rig.dialled) == 3


def test_with_a_fallback_the_caller_is_sent_to_a_person() -> None:
    rig = Rig(dials=[BUSY] * 3, fallback="front desk").play(20_000)
    assert (rig.story(), rig.intent) == (["apology"], "transfer:front desk")


def test_the_model_cannot_be_reached() -> None:
    rig = Rig(dials=[m.DialFailed(1, 0, "unreachable")] * 3).play(20_000)
    assert (rig.story(), rig.notes) == (["apology"], [f"{OUT} 0 unreachable"])


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_account_that_is_refused_is_tried_once(status: int) -> None:
    rig = Rig(dials=[m.DialFailed(1, status)] * 3).play(20_000)
    assert (rig.story(), rig.dialled) == (["apology"], [0])
    assert rig.notes == [f"upstream refused: {status} ", f"{OUT} {status} "]


def test_a_400_that_is_not_the_vendor_s_is_tried_again() -> None:
    rig = Rig(dials=[m.DialFailed(1, 400, "refused")] * 2).play(20_000)
    assert rig.story() == ["answer 1"]
    assert (len(rig.dialled), rig.notes) == (3, [])


def test_a_400_that_is_the_vendor_s_is_final() -> None:
    rig = Rig(dials=[m.DialFailed(1, 400, "invalid_request_error")] * 3).play(20_000)
    assert (rig.story(), rig.dialled) == (["apology"], [0])


@pytest.mark.parametrize("code", sorted(FATAL_CODES))
def test_a_code_that_says_no_is_not_asked_again(code: str) -> None:
    rig = Rig(dials=[m.DialFailed(1, 429, code)] * 3).play(20_000)
    assert (rig.story(), rig.dialled) == (["apology"], [0])
    assert rig.notes[0] == f"upstream refused: 429 {code}"


def test_too_many_requests_and_when_to_come_back() -> None:
    rig = Rig(dials=[m.DialFailed(1, 429, "rate_limit_exceeded", 1_500)]).play(8_000)
    assert rig.story() == ["filler", "answer 1"]
    assert rig.dialled == [0, 30 + 1_500]


def test_too_many_requests_for_longer_than_anybody_waits() -> None:
    rig = Rig(dials=[m.DialFailed(1, 429, "rate_limit_exceeded", 5_000)]).play(8_000)
    assert (rig.story(), rig.dialled) == (["apology"], [0])


@pytest.mark.parametrize("withheld", ["session.created", "session.updated"])
def test_a_session_that_never_comes_about_is_given_up_and_dialled_again(withheld: str) -> None:
    rig = Rig(dials=[ServerOptions(withhold=frozenset({withheld}))]).play(10_000)
    assert rig.story() == ["filler", "filler", "answer 1"]
    assert len(rig.dialled) == 2


def test_a_black_hole_at_the_other_end_is_given_up_after_six_seconds() -> None:
    rig = Rig(dials=[NEVER] * 3).play(20_000)
    assert rig.story() == ["filler", "filler", "filler", "apology"]
    assert rig.notes == [f"{OUT} 0 no session in time"]
    [ended_ms] = [at_ms for at_ms, action in rig.said if isinstance(action, m.NoteIntent)]
    assert ended_ms == 6_000


def test_a_slow_dial_is_covered_by_a_filler_after_700_ms() -> None:
    rig = Rig(dial_ms=1_900).play(8_000)
    assert rig.story() == ["filler", "answer 1"]
    assert rig.phone.heard_spans[0].at_ms == 700


@pytest.mark.parametrize("code", [1006, 1011, 1012, 1013])
def test_a_socket_that_closes_before_the_session_is_configured_is_a_failed_attempt(code: int) -> None:
    rig = Rig(dials=[ServerOptions(withhold=frozenset({"session.updated"}))])
    rig.loses(100, code)
    rig.play(6_000)
    assert (rig.story(), len(rig.dialled)) == (["answer 1"], 2)


def test_what_the_caller_says_meanwhile_is_heard_by_the_model_that_comes() -> None:
    rig = Rig(dials=[NEVER], greeting=None)
    rig.says(500)
    rig.play(10_000)
    assert rig.story()[-1] == "answer 1"
    assert rig.agent.asked[0].caller is not None
    assert len(rig.agent.asked[0].caller.sound) >= 600 * 8


def test_a_configuration_that_is_refused_ends_in_words() -> None:
    rig = Rig(server=ServerOptions(refuse={"session.update": "invalid_value"})).play(10_000)
    assert (rig.story(), rig.dialled) == (["apology"], [0])
    why = "invalid_value : Refused, as the script has it."
    assert rig.notes == [f"the model is out: the model refused our configuration: {why}"]


def test_formats_that_are_not_the_phones_end_in_words_not_in_noise() -> None:
    pcm = {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}}}}
    rig = Rig(server=ServerOptions(impose=pcm)).play(10_000)
    assert rig.story() == ["apology"]
    assert rig.reason is m.Reason.UPSTREAM_REFUSED
