"""Pieces of recorded calls: each does at its mark what the whole call did, and holds none of its words."""

from __future__ import annotations

import itertools

import pytest

from bridge.recording import replay
from bridge.recording.cutting import cut_out
from bridge.recording.make_test import make_test
from bridge.recording.marks import marks_of
from bridge.recording.masking import masked
from bridge.recording.moments import walk_through
from tests.experiments.jittered import ANSWERS, jittered_call, seeds
from tests.experiments.kit import recorded_call


@pytest.mark.parametrize("seed", seeds())
def test_a_piece_does_what_the_whole_call_did_and_replays(seed: int) -> None:
    lines = jittered_call(seed, 4 if seed else 2)
    call = walk_through(lines)
    marks = [cut.at_ms for cut in call.facts.cuts] + [tool.at_ms for tool in call.facts.tools]
    for mark_ms in marks:
        piece = cut_out(call, mark_ms, mark_ms)
        assert not piece.whole
        made = piece.lines()
        hidden = masked(made)
        assert replay(made, strict=True).difference is None
        assert replay(hidden, strict=True).difference is None
        assert len(hidden) < len(lines)
        then = [(cut.item_id, cut.heard_ms) for cut in call.facts.cuts if cut.at_ms == mark_ms]
        now = walk_through(hidden).facts.cuts
        assert [(cut.item_id, cut.heard_ms) for cut in now if cut.at_ms == mark_ms - piece.shift_ms] == then
        assert not [answer for answer in ANSWERS if answer[:12] in "\n".join(hidden)]


def test_an_answer_is_as_late_in_a_piece_as_in_the_whole_call() -> None:
    call = walk_through(recorded_call(0, turns=2))
    latencies = [mark for mark in marks_of(call.facts) if mark.kind == "latency"]
    assert latencies
    for mark in latencies:
        made = make_test(call, mark)
        assert made.from_ms > 0, "no more than a piece of the call"
        assert made.assertions == mark.holds


def test_quiet_moments_lie_where_nobody_speaks() -> None:
    call = walk_through(jittered_call(0, 2))
    moments = call.moments
    assert len(moments) > 20
    assert all(later.t_ms - one.t_ms >= 200 for one, later in itertools.pairwise(moments))
    for cut in call.facts.cuts:
        assert all(abs(moment.t_ms - cut.at_ms) > 100 for moment in moments)
    said = [item.text for item in moments[-1].carried.items if item.role == "assistant"]
    assert "Hello, this is the Blue Table." in said


def test_a_mark_before_any_quiet_moment_keeps_the_whole_beginning() -> None:
    lines = jittered_call(0, 2)
    call = walk_through(lines)
    piece = cut_out(call, 300, 300)
    assert piece.whole
    assert piece.header.cut is not None
    assert piece.header.cut.from_ms == 0
    assert replay(piece.lines(), strict=True).difference is None


def test_moments_far_from_the_cut_are_rare() -> None:
    lines = jittered_call(0, 2)
    times = [one.t_ms for one in walk_through(lines).moments]
    far = [one.t_ms for one in walk_through(lines, 500_000).moments]
    near = [one.t_ms for one in walk_through(lines, times[-1]).moments]
    assert all(later - one >= 9_000 for one, later in itertools.pairwise(far))
    assert near[-10:] == times[-10:]
