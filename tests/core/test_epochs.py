"""Every word from upstream carries the number of its session; words of one that is over mean nothing."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from bridge.core import messages as m
from bridge.core.upstream_leg import Leg

from .conftest import delta, new_call, truth
from .test_messages import bare

WORDS = sorted(
    (kind for kind in get_args(m.Event) if "epoch" in kind.__struct_fields__), key=lambda kind: kind.__name__
)
COMMANDS = sorted(get_args(m.UpstreamCommand), key=lambda kind: kind.__name__)


def of(epoch: int, event: m.Event) -> m.Event:
    return type(event)(**{**{name: getattr(event, name) for name in event.__struct_fields__}, "epoch": epoch})


def test_every_upstream_message_has_an_epoch_and_the_first_is_1() -> None:
    upstream = {*get_args(m.UpstreamEvent), *COMMANDS, m.DialUpstream, m.CloseUpstream}
    assert {kind for kind in upstream if bare(kind).epoch != 1} == set()


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_word_of_another_session_changes_nothing(live_call: Any, epoch: int) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 2_000))
    items = dict(call.items)
    assert call.speaks(300, *(of(epoch, bare(kind)) for kind in WORDS)) == []
    assert call.items == items
    assert call.gate.active == "r1"
    assert truth(call.at(500, m.SpeechStarted())) == [m.ClearPlayout(), m.TruncateItem("A", 0, 500)]


def test_before_anything_is_dialled_nobody_upstream_can_speak() -> None:
    call = new_call()
    assert call.speaks(0, *map(bare, WORDS)) == []
    assert call.call.up.state is Leg.NONE
    assert call.at(10, m.Ringing()) == [m.DialUpstream(1)]
