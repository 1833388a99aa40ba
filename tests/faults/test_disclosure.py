"""The disclosure comes first, whole and alone, whatever goes wrong meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions

from .rig import NEVER, Rig

BUSY = m.DialFailed(1, 503, "overloaded")


def disclosing(**config: Any) -> Rig:
    return Rig(disclosure="disclosure", **config)


def test_it_comes_first_and_the_model_waits() -> None:
    rig = disclosing().play(6_000)
    assert rig.story() == ["disclosure", "answer 1"]
    assert rig.phone.heard_spans[0].at_ms == 0


def test_a_caller_who_talks_over_it_hears_it_all_and_is_answered_after_it() -> None:
    rig = disclosing(greeting=None)
    rig.says(300)
    rig.play(6_000)
    assert rig.story() == ["disclosure", "answer 1"]
    assert rig.phone.cleared == []


def test_it_is_whole_though_the_dial_fails() -> None:
    rig = disclosing(dials=[BUSY]).play(8_000)
    assert rig.story() == ["disclosure", "answer 1"]
    assert rig.notes == []


@pytest.mark.parametrize("at_ms", [100, 500, 900])
def test_it_is_whole_though_the_model_is_lost(at_ms: int) -> None:
    rig = disclosing()
    rig.loses(at_ms)
    rig.play(8_000)
    assert rig.story()[0] == "disclosure"
    assert rig.story()[-1] == f"answer {len(rig.agent.asked)}"
    assert len(rig.story()) == 2


def test_it_is_whole_though_the_model_is_refused() -> None:
    rig = disclosing(dials=[m.DialFailed(1, 401)]).play(8_000)
    assert rig.story() == ["disclosure", "apology"]


def test_it_is_whole_and_fillers_follow_while_nobody_comes() -> None:
    rig = disclosing(dials=[NEVER]).play(10_000)
    assert rig.story() == ["disclosure", "filler", "answer 1"]


def test_it_is_whole_on_a_carrier_that_echoes_nothing() -> None:
    long = m.Sound("Z" * 32_000, 24_000, "a long one")
    rig = Rig(disclosure="long", phrases={"long": long}, options=PhoneOptions(echoes_per_mark=0))
    rig.says(6_000)
    rig.play(10_000)
    assert len(rig.phone.heard) - rig.phone.heard.count(0xFF) >= 24_000
    assert rig.heard_ms(1) == 1_499
    assert rig.heard_ms(2) == 1_499
    assert rig.notes == ["no echoes: the carrier returns no marks: what is heard goes by the clock"]


def test_it_is_whole_though_we_hang_up() -> None:
    rig = disclosing(greeting=None)
    rig.does(200, m.HangUp())
    rig.play(6_000)
    assert rig.story() == ["disclosure"]
    assert rig.reason is m.Reason.WE_HUNG_UP


def test_it_begins_anew_on_a_newer_stream() -> None:
    rig = disclosing()
    rig.moves(500)
    rig.start()
    rig.until(6_000)
    assert rig.story()[0] == "disclosure"
    assert rig.earlier.heard[:8] == rig.phone.heard[:8]


def test_nothing_of_the_callers_goes_to_the_model_before_it_is_heard() -> None:
    rig = disclosing(server=ServerOptions())
    rig.start()
    rig.until(990)
    assert [event["type"] for event in rig.server.log if event["type"] == "input_audio_buffer.append"] == []
    rig.until(1_100)
    assert [event["type"] for event in rig.server.log if event["type"] == "input_audio_buffer.append"]
