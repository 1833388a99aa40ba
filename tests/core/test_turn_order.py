"""Turns are told in the order in which they stand in the conversation."""

from __future__ import annotations

from typing import Any

from bridge.core import messages as m


def told(call: Any, now_ms: int, event: m.Event) -> list[str]:
    return [f"{turn.item_id} {turn.text}" for turn in call.at(now_ms, event) if isinstance(turn, m.Turn)]


def committed(live_call: Any, *items: str) -> Any:
    call = live_call(handler=True, session=m.SessionConfig(transcription="any"))
    for number, item in enumerate(items):
        call.at(100 * number, m.TurnCommitted(item))
    return call


def test_three_turns_backwards_come_at_once_and_in_order(live_call: Any) -> None:
    call = committed(live_call, "u1", "u2", "u3")
    assert told(call, 1_000, m.CallerTranscribed("u3", "three")) == []
    assert told(call, 1_100, m.CallerTranscribed("u2", "two")) == []
    assert told(call, 1_200, m.CallerTranscribed("u1", "one")) == ["u1 one", "u2 two", "u3 three"]


def test_a_turn_whose_transcription_failed_holds_back_nothing(live_call: Any) -> None:
    call = committed(live_call, "u1", "u2")
    assert told(call, 1_000, m.CallerTranscribed("u2", "two")) == []
    assert told(call, 1_100, m.CallerTranscribed("u1", "", failed=True)) == ["u1 ", "u2 two"]


def test_a_turn_waits_five_seconds_for_the_one_before_and_no_longer(live_call: Any) -> None:
    call = committed(live_call, "u1", "u2")
    assert told(call, 1_000, m.CallerTranscribed("u2", "two")) == []
    before = [action for _, action in call.said if isinstance(action, m.Turn)]
    call.until(5_999)
    assert before == [action for _, action in call.said if isinstance(action, m.Turn)]
    call.until(6_000)
    given = [action for _, action in call.said if isinstance(action, m.Turn)]
    assert [(turn.item_id, turn.text) for turn in given] == [("u1", ""), ("u2", "two")]
    assert told(call, 7_000, m.CallerTranscribed("u1", "one")) == [], "its words are part of the record only"
