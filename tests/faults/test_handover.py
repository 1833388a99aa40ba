"""A call goes on in another process: on purpose, at a turn boundary, or because the first one is gone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.core import messages as m
from bridge.core.history import UNKNOWN
from bridge.core.messages import CallSnapshot, SnapshotItem
from bridge.doubles.agents import ToolCall

from .rig import WORDS, Clerk, Plan, Rig, answer


def handed_over(rig: Rig) -> CallSnapshot:
    [handed] = rig.log(m.HandedOver)
    return msgspec.json.decode(msgspec.json.encode(handed.carried), type=CallSnapshot)


def next_process(before: Rig, carried: CallSnapshot | None, *, resumed: bool = False, **config: Any) -> Rig:
    rig = Rig(before.agent, carried=carried, resumed=resumed, **config)
    rig.agent.plan = before.agent.plan
    return rig


def test_in_a_quiet_moment_at_once_and_the_caller_hears_nothing_of_it() -> None:
    first = Rig(disclosure="disclosure")
    first.says(5_000)
    first.does(8_500, m.HandOver(10_000))
    first.play(12_000)
    assert (first.reason, first.intent) == (m.Reason.HANDED_OVER, "handover")
    assert first.said[-1][0] == 8_500
    carried = handed_over(first)
    assert [item.role for item in carried.items] == ["assistant", "assistant", "user", "assistant"]
    assert (carried.owed, carried.disclosed) == (False, True)

    second = next_process(first, carried, disclosure="disclosure")
    second.says(2_000)
    second.start()
    second.until(5_000)
    assert second.story() == ["answer 3"]
    assert second.told()[-1] == ("assistant", f"2 {WORDS}")
    assert second.agent.greetings == [1]


def test_at_the_turn_boundary_when_somebody_speaks() -> None:
    rig = Rig()
    rig.says(4_000)
    rig.does(4_200, m.HandOver(10_000))
    rig.play(12_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert rig.said[-1][0] == 6_822
    assert not handed_over(rig).owed


def test_at_the_latest_in_the_middle_of_a_word_which_the_next_one_takes_up() -> None:
    first = Rig(Clerk({2: [answer(2, 9_000)]}))
    first.says(4_000)
    first.does(5_000, m.HandOver(2_000))
    first.play(12_000)
    assert first.said[-1][0] == 7_000
    carried = handed_over(first)
    assert carried.owed
    assert carried.items[-1] == SnapshotItem("assistant", "2 alfa")

    second = next_process(first, carried).play(5_000)
    assert second.story() == ["answer 3"]
    assert second.told()[-1] == ("assistant", "2 alfa")


def test_a_tool_that_runs_is_waited_for_and_if_it_must_be_told_as_of_unknown_outcome() -> None:
    plan: Plan = {2: [answer(2, 400, last=False), ToolCall("book", {"table": 4}, "call_a")]}
    first = Rig(Clerk(plan))
    first.says(4_000)
    first.does(5_900, m.HandOver(1_000))
    first.play(8_000)
    call = handed_over(first).items[-1]
    assert call == SnapshotItem(call_id="call_a", name="book", arguments='{"table": 4}', output=UNKNOWN)

    second = next_process(first, handed_over(first)).play(5_000)
    assert second.told()[-2:] == [("function_call", "book"), ("function_call_output", UNKNOWN)]
    assert second.tools == []
    assert second.story() == ["answer 3"]


def test_a_call_that_is_ending_ends_as_it_would() -> None:
    rig = Rig()
    rig.does(3_000, m.Say("bye", "Goodbye."), m.HangUp(), m.HandOver(10_000))
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert (rig.reason, rig.intent) == (m.Reason.WE_HUNG_UP, "ended")


def test_what_the_limits_have_counted_goes_along() -> None:
    limits = m.Limits(call_ms=20_000, goodbye_ms=5_000)
    first = Rig(limits=limits)
    first.does(8_000, m.HandOver(1_000))
    first.play(9_000)
    carried = handed_over(first)
    assert carried.lasted_ms == 8_000 - 30
    second = next_process(first, carried, limits=limits).play(20_000)
    assert second.reason is m.Reason.LIMIT
    [noted_ms] = [at_ms for at_ms, action in second.said if isinstance(action, m.Noted)]
    assert noted_ms == 30 + 15_000 - carried.lasted_ms


def test_a_changed_configuration_goes_along() -> None:
    french = m.SessionConfig(instructions="Speak French.", transcription="whisper-1")
    first = Rig()
    first.does(3_000, m.Reconfigure(french))
    first.does(4_000, m.HandOver(1_000))
    first.play(6_000)
    second = next_process(first, handed_over(first)).play(1_000)
    assert second.server.session.tree["instructions"] == "Speak French."


def test_handed_over_twice_the_conversation_is_whole() -> None:
    first = Rig()
    first.does(3_000, m.HandOver(1_000))
    first.play(4_000)
    second = next_process(first, handed_over(first))
    second.says(1_000)
    second.does(6_000, m.HandOver(1_000))
    second.start()
    second.until(8_000)
    third = next_process(second, handed_over(second))
    third.says(1_000)
    third.start()
    third.until(5_000)
    assert [role for role, _ in third.told()] == ["assistant", "user", "assistant"]
    assert third.story() == ["answer 3"]


# --- ends that nobody wanted


@pytest.mark.parametrize("at_ms", [900, 3_000, 6_000])
def test_after_a_crash_the_caller_is_told_and_the_model_knows_what_was_heard(at_ms: int) -> None:
    """The journal has what the call said of itself at its last moment."""
    first = Rig()
    first.says(4_000)
    first.start()
    first.until(at_ms)
    carried = first.call.carried(at_ms)
    heard = {number: first.heard_ms(number) for number in (1, 2)}

    second = next_process(first, carried, resumed=True)
    second.says(5_000)
    second.start()
    second.until(9_000)
    assert second.story()[0] == "restored"
    assert second.agent.greetings == [1]
    told = {int(words[0]): words for role, words in second.told() if role == "assistant" and words[0] in "12"}
    for number, words in told.items():
        whole = f"{number} {WORDS}"
        assert whole.startswith(words)
        assert abs(len(words) - len(whole) * min(heard[number], 1_500) / 1_500) <= len(" foxtrot")


def test_resumed_without_a_journal_the_caller_is_told_and_goes_on() -> None:
    rig = Rig(resumed=True)
    rig.says(2_000)
    rig.play(6_000)
    assert rig.story() == ["restored", "answer 1"]
    assert rig.agent.greetings == []
    assert rig.told() == [("assistant", "(restored)")], "which the caller has heard"


def test_resumed_by_a_process_that_cannot_reach_the_model_either() -> None:
    rig = Rig(resumed=True, dials=[m.DialFailed(1, 503)] * 3).play(10_000)
    assert rig.story() == ["restored", "apology"]


def test_a_disclosure_that_was_not_heard_is_played_by_the_next_process() -> None:
    first = Rig(disclosure="disclosure")
    first.does(400, m.HandOver(100))
    first.start()
    first.until(1_000)
    carried = handed_over(first)
    assert not carried.disclosed
    second = next_process(first, carried, disclosure="disclosure").play(5_000)
    assert second.story()[0] == "disclosure"
    assert second.story()[-1].startswith("answer"), "and they are greeted, for nothing of it was heard"
