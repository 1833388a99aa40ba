"""When what happened in a turn: the parts sum to what the caller felt, and a phone that listens agrees."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from bridge.codecs.level import level_dbfs
from bridge.core import messages as m
from bridge.core.turn_times import PARTS, ResponseTimes, ToolTimes, TurnTimes
from bridge.doubles.agents import Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.doubles.tones import tone
from bridge.testing.call import begin

from .conftest import delta

LOUD_DBFS = -40
STEP_BYTES = 40


def loud_ms(sound: bytes) -> list[int]:
    """The moments, each of 5 ms, at which there is something to hear."""
    steps = range(0, len(sound) - STEP_BYTES, STEP_BYTES)
    return [at // 8 for at in steps if level_dbfs(sound[at : at + STEP_BYTES]) > LOUD_DBFS]


def felt_by_phone(said: bytes, heard: bytes) -> list[int]:
    """From each end of the caller's speech (400 ms of quiet follow) to the next sound that they heard."""
    ours = loud_ms(heard)
    spoken = loud_ms(said)
    ends = [a for a, b in pairwise([*spoken, len(said)]) if b - a > 400]
    return [next(at for at in ours if at > end) - (end + 5) for end in ends]


def conversation(turns: int, phone: PhoneOptions, model: ServerOptions, seed: int = 1) -> Any:
    """A call of so many turns, each answered; thinking takes a while."""
    call = begin(phone=phone, model=model)
    call.at(1_000)
    chance = random.Random(seed)
    now_ms = 1_000
    for _ in range(turns):
        call.caller.says("When do you open?", ms=chance.randint(300, 900))
        call.model.answers(Speech(tone(600), "At nine."))
        now_ms += 4_000 + chance.randint(0, 19)
        call.at(now_ms)
    return call


def differences(call: Any) -> list[int]:
    """What each turn says that was felt, less what the phone measured."""
    said, heard = call.phone.recording()
    times = call.rehearsal.call.stats.turn_times
    measured = felt_by_phone(said, heard)
    assert len(times) == len(measured)
    assert all(sum(turn.parts().values()) == turn.felt_ms for turn in times)
    return [turn.felt_ms - felt_ms for turn, felt_ms in zip(times, measured, strict=True)]


@pytest.mark.parametrize("way_ms", [0, 150])
def test_felt_is_what_a_phone_measures(way_ms: int) -> None:
    """Fixed delays there and back: each within 30 ms."""
    phone = PhoneOptions(delay_out_ms=way_ms, delay_back_ms=way_ms)
    errors = differences(conversation(6, phone, ServerOptions(delta_bytes=(1_600,))))
    assert max(map(abs, errors)) <= 30
    assert abs(sum(errors) / len(errors)) <= 20


@pytest.mark.hostile
def test_ways_that_jitter_are_told_within_their_jitter() -> None:
    """60 ± 30 ms each way: the estimate knows the usual way and not this one. Measured at p95: 37 ms."""
    chance = random.Random(3)
    ways = [[chance.randint(30, 90) for _ in range(20_000)] for _ in range(2)]
    phone = PhoneOptions(delay_out_ms=ways[0], delay_back_ms=ways[1])
    errors = differences(conversation(200, phone, ServerOptions(delta_bytes=(1_600,))))
    assert sorted(map(abs, errors))[189] <= 60


def test_detection_by_meaning_is_told_by_our_ear() -> None:
    detection = m.SemanticVad()
    call = begin(session=m.SessionConfig(turn_detection=detection), model=ServerOptions(delta_bytes=(1_600,)))
    call.at(1_000)
    call.caller.says("When do you open?", ms=800)
    call.model.answers(Speech(tone(600), "At nine."))
    call.at(9_000)
    (error,) = differences(call)
    assert abs(error) <= 80


def test_parts_follow_each_other() -> None:
    turn = TurnTimes(
        1,
        1_000,
        1_500,
        1_510,
        delta_ms=4_000,
        heard_ms=4_150,
        way_ms=50,
        responses=[ResponseTimes("r1", 1_700)],
    )
    turn.tools = [ToolTimes("a", "book", 2_000, 3_000), ToolTimes("b", "look", 2_500, 3_500)]
    assert turn.felt_ms == 3_150
    assert turn.parts() == {
        "endpointing": 500, "asking": 200, "model": 800, "tools": 1_500, "queue": 100, "carrier": 50,
    }  # fmt: skip
    assert tuple(turn.parts()) == PARTS


def test_a_tool_that_runs_yet_takes_its_part_of_the_wait() -> None:
    turn = TurnTimes(1, 1_000, 1_500, delta_ms=4_000, heard_ms=4_150, responses=[ResponseTimes("r1", 1_700)])
    turn.tools = [ToolTimes("a", "book", 2_500)]
    assert (turn.parts()["model"], turn.parts()["tools"]) == (800, 1_500)


def test_parts_sum_whatever_came_first() -> None:
    chance = random.Random(5)
    for _ in range(500):
        at = [chance.choice([None, chance.randint(0, 5_000)]) for _ in range(5)]
        turn = TurnTimes(
            1, chance.randint(0, 5_000), at[0], delta_ms=at[1], heard_ms=chance.randint(0, 9_000)
        )
        turn.way_ms = chance.randint(0, 300)
        if at[2] is not None:
            turn.responses = [ResponseTimes("r", at[2])]
        turn.tools = [ToolTimes("t", "t", chance.randint(0, 5_000), at[3]), ToolTimes("u", "u", 4_000, at[4])]
        parts = turn.parts()
        assert sum(parts.values()) == turn.felt_ms
        assert min(parts.values()) >= 0


def test_each_step_of_a_turn_is_noted(live_call: Any) -> None:
    call = live_call()
    call.speaks(1_000, m.SpeechStarted("u1"))
    call.speaks(2_000, m.SpeechStopped("u1"))
    call.at(2_100, m.ResponseStarted("r1"))
    call.at(2_300, m.ToolCalled("r1", "f1", "c1", "book", "{}"))
    call.at(2_320, m.ResponseDone("r1", usage=m.Usage(text_out=7)))
    call.at(3_300, m.ToolFinished("c1", "{}"))
    call.at(3_400, m.ResponseStarted("r2", "tools:r1"))
    call.at(3_900, delta("A", 1_000, response="r2"))
    (turn,) = call.call.stats.turn_times
    assert (turn.number, turn.decided_ms, turn.asked_ms, turn.created_ms) == (1, 2_000, 3_300, 2_100)
    assert (turn.delta_ms, turn.sent_ms, turn.heard_ms, turn.item_id) == (3_900, 3_900, 3_900, "A")
    assert turn.tools == [ToolTimes("c1", "book", 2_300, 3_300)]
    assert turn.tool_ms == 1_000
    assert [(one.response_id, one.done_ms, one.first_ms) for one in turn.responses] == [
        ("r1", 2_320, None), ("r2", None, 3_900),
    ]  # fmt: skip
    assert turn.usage == m.Usage(text_out=7)


def test_an_answer_cut_before_it_was_heard_was_not_felt(live_call: Any) -> None:
    call = live_call()
    call.speaks(1_000, m.SpeechStarted("u1"), m.SpeechStopped("u1"), m.ResponseStarted("r1"))
    call.at(1_400, delta("A", 1_000))
    call.at(1_400, m.SpeechStarted("u2"))
    (turn,) = call.call.stats.turn_times
    assert (turn.cut_ms, turn.heard_ms, turn.felt_ms, turn.parts()) == (1_400, None, None, {})


def test_an_answer_that_was_cut_is_felt(live_call: Any) -> None:
    call = live_call()
    call.speaks(1_000, m.SpeechStarted("u1"), m.SpeechStopped("u1"), m.ResponseStarted("r1"))
    call.at(1_400, delta("A", 1_000))
    call.at(1_700, m.SpeechStarted("u2"))
    (turn,) = call.call.stats.turn_times
    assert (turn.cut_ms, turn.heard_ms) == (1_700, 1_400)


def test_what_comes_before_the_first_turn_has_its_own_place(live_call: Any) -> None:
    call = live_call()
    call.at(10, m.ResponseStarted("hello"))
    call.at(900, m.ResponseDone("hello"))
    stats = call.call.stats
    assert (stats.turn_times, stats.turn) == ([], stats.opening)
    assert stats.opening.responses == [ResponseTimes("hello", 10, 900, status="completed")]


def test_a_response_that_was_begun_before_the_turn_was_over_belongs_to_it(live_call: Any) -> None:
    call = live_call()
    call.speaks(1_000, m.SpeechStarted("u1"))
    call.at(1_900, m.ResponseStarted("r1"))
    call.at(2_000, m.SpeechStopped("u1"))
    stats = call.call.stats
    assert (stats.turn.created_ms, stats.opening.responses) == (1_900, [])
