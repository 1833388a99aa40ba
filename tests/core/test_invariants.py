"""The invariants of an interruption (I1 to I9), whatever happens in whatever order.

`world.py` plays the vendor's server and the carrier; hypothesis writes the scripts and, where one fails,
makes it small. `World.feed` and `World.at_rest` hold the invariants.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core import messages as m
from bridge.core import pacer

from .world import World

SCRIPTS = st.binary(max_size=120)
SETTINGS = st.integers(0, 99)
CALM = settings(max_examples=300, deadline=None, derandomize=True, database=None)
"""The same scripts every time: a test that fails only now and then helps nobody at night."""


@CALM
@given(setting=SETTINGS, script=SCRIPTS)
def test_the_invariants_hold_whatever_happens(setting: int, script: bytes) -> None:
    world = World(setting)
    world.play(script)
    world.calm()
    world.at_rest()


@settings(CALM, max_examples=150)
@given(setting=SETTINGS, script=SCRIPTS)
def test_they_hold_too_where_hardly_any_sound_may_wait(setting: int, script: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacer, "GRANT_BYTES", 20_000)
        world = World(setting, most_held_bytes=60_000)
        world.play(script)
        world.calm()
        world.at_rest()


@settings(CALM, max_examples=100)
@given(setting=SETTINGS.map(lambda setting: setting | 1), script=SCRIPTS, ms=st.integers(0, 2_000))
def test_i5_the_outcome_is_the_same_in_either_order_and_when_either_is_missing(
    setting: int, script: bytes, ms: int
) -> None:
    outcomes = []
    for order in ("SD", "DS", "S", "D"):
        world = World(setting)
        world.play(script)
        world.server.obey()
        world.deliver(len(world.server.events))
        world.server.obey()
        if world.active is None:
            return
        world.deliver(len(world.server.events))
        world.until(world.now_ms + ms)
        if world.active is None:
            return
        before = len(world.truths)
        done = m.ResponseDone(world.active, "cancelled", "turn_detected")
        for event in order:
            world.feed(m.SpeechStarted() if event == "S" else done)
        outcomes.append(world.truths[before:])
    assert outcomes == [outcomes[0]] * 4


@pytest.mark.parametrize("setting", [0, 1])
def test_the_world_itself_speaks_and_is_interrupted(setting: int) -> None:
    """A check of the checkers: this script reaches what they are about."""
    world = World(setting)
    world.play(bytes([6, 7, 6, 7, 0, 5, 4, 7, 11, 0, 16, 5, 16, 5, 16, 5]))
    assert [type(action) for action in world.truths][:1] == [m.ClearPlayout]
    assert world.settled
    world.calm()
    world.at_rest()
