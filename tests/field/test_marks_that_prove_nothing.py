"""Marks that never come back, come back at once, or come back late: what the caller heard stays true."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.testing.call import begin

LEAD_MS = m.CallConfig().playout_lead_ms
FAST = ServerOptions(delta_bytes=(1_600,), speed=20)


def interrupted(at_ms: int, answer_ms: int, phone: PhoneOptions, model: ServerOptions | None = None) -> Any:
    """A call whose caller breaks off an answer of `answer_ms` that began a second into the call."""
    call = begin(phone=phone, model=model)
    call.at(1_000)
    call.model.speaks("We are open from nine to five every day", ms=answer_ms)
    call.at(at_ms)
    call.caller.says("stop", ms=300)
    call.model.answers("Yes?")
    return call.at(at_ms + 6_500)


@pytest.mark.parametrize("at_ms", [1_700, 2_500, 3_800])
def test_a_phone_that_echoes_nothing_is_followed_by_the_clock_at_once(at_ms: int) -> None:
    call = interrupted(at_ms, 3_000, PhoneOptions(echoes_per_mark=0))
    believed_ms, heard_ms = call.truth()["item_1"]
    assert abs(believed_ms - heard_ms) <= 40


@pytest.mark.parametrize("at_ms", [4_000, 9_000])
def test_marks_echoed_on_receipt_prove_nothing(at_ms: int) -> None:
    call = interrupted(at_ms, 30_000, PhoneOptions(echoes_on_receipt=True), FAST)
    believed_ms, heard_ms = call.truth()["item_1"]
    assert abs(believed_ms - heard_ms) <= 40
    cleared = [at for at, action in call.rehearsal.said if isinstance(action, m.ClearPlayout)]
    assert len(cleared) == 1


def test_marks_echoed_on_receipt_do_not_lift_the_lead() -> None:
    call = begin(phone=PhoneOptions(echoes_on_receipt=True), model=FAST)
    call.model.speaks("All of it, from the beginning.", ms=40_000)
    most_ms = 0
    for at_ms in range(500, 20_000, 100):
        call.at(at_ms)
        most_ms = max(most_ms, call.rehearsal.phone.queued_ms(at_ms))
    assert most_ms <= LEAD_MS + 100


@pytest.mark.parametrize("marks", [0, 1])
def test_all_of_an_answer_is_told_as_heard_when_it_can_have_been(marks: int) -> None:
    call = begin(phone=PhoneOptions(echoes_on_receipt=True, echoes_per_mark=marks), model=FAST)
    call.at(1_000)
    call.model.speaks("We are open.", ms=3_000)
    call.at(12_000)
    spoken = [(at, action) for at, action in call.rehearsal.said if isinstance(action, m.Spoken)]
    assert [(action.heard_ms, action.cut) for _, action in spoken] == [(3_000, False)]
    assert spoken[0][0] >= 4_000


@pytest.mark.parametrize(("stalled_ms", "at_ms"), [(3_000, 9_000), (4_000, 12_000), (2_000, 7_000)])
def test_a_phone_that_stood_still_first_has_heard_that_much_less(stalled_ms: int, at_ms: int) -> None:
    call = interrupted(at_ms, 30_000, PhoneOptions(delay_out_ms=[stalled_ms] * 12 + [60]), FAST)
    believed_ms, heard_ms = call.truth()["item_1"]
    assert abs(believed_ms - heard_ms) <= 200
