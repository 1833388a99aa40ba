"""What a call's summary says is what the caller heard, and how long they waited for it."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.messages import Reason
from bridge.doubles.agents import Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import tone
from bridge.ops.logs import summary
from bridge.testing.call import begin


def figures(call: Any) -> dict[str, Any]:
    return summary(Reason.CALLER_HUNG_UP, call.rehearsal.call.stats)


@pytest.mark.parametrize("answer_ms", [3_000, 60_000, 300_000])
def test_seconds_heard_are_those_that_were_played(answer_ms: int) -> None:
    call = begin(model=ServerOptions(delta_bytes=(4_000,)))
    call.at(1_000)
    call.model.speaks("On and on.", ms=answer_ms)
    call.at(9_000)
    call.caller.hangs_up()
    told = figures(call)
    played_s = call.phone.played_bytes / 8_000
    assert abs(told["heard_s"] - played_s) <= 0.1
    assert told["heard_s"] <= told["talked_ms"] / 1_000


def test_an_interruption_that_cuts_two_items_is_one() -> None:
    call = begin()
    call.at(1_000)
    call.model.answers(Speech(tone(4_000), "One."), Speech(tone(4_000), "Two."))
    call.caller.says("Go on", ms=400)
    call.at(5_000)
    call.caller.says("Stop", ms=400)
    call.model.answers("Yes?")
    call.at(9_000)
    stats = call.rehearsal.call.stats
    assert len(stats.barge_ins) == 2
    told = figures(call)
    assert told["barge_ins"] == 1
    assert told["cut_ms"] == sum(cut.received_ms - cut.heard_ms for cut in stats.barge_ins)


@pytest.mark.parametrize("silent_ms", [0, 600])
def test_a_turn_is_answered_when_the_caller_hears_it(silent_ms: int) -> None:
    """From the last of their voice to the first sound of the answer, as the phone has both."""
    call = begin(model=ServerOptions(delta_bytes=(1_600,)))
    call.at(1_000)
    call.caller.says("When do you open?", ms=800)
    call.model.answers(Speech(b"\xff" * (silent_ms * 8) + tone(1_000), "At nine."))
    call.at(6_000)
    heard = call.phone.heard
    first_ms = next(at for at, sample in enumerate(heard) if sample not in (0xFF, 0x7F)) / 8
    (latency_ms,) = call.rehearsal.call.stats.turn_latencies_ms
    assert abs(latency_ms - (first_ms - 1_800)) <= 120
