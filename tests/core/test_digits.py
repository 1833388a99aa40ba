"""Keys the caller presses: for the handler always, for the model as text where the configuration says so."""

from __future__ import annotations

from typing import Any

from bridge.core import messages as m

from .conftest import delta, legs, truth


def pressed(digits: str, item_id: str = "pb_1") -> m.CreateItem:
    return m.CreateItem(item_id, "user", f"[The caller pressed {digits} on the keypad.]")


def test_the_handler_is_told_of_each_key(live_call: Any) -> None:
    call = live_call()
    assert call.at(100, m.DigitPressed("5")) == [m.DigitHeard("5")]
    assert legs(call.until(10_000)) == []


def test_the_model_is_told_of_all_of_them_when_no_more_come(live_call: Any) -> None:
    call = live_call(digits="text", digits_gap_ms=1_500)
    call.at(100, m.DigitPressed("4"))
    call.at(1_500, m.DigitPressed("2"))
    assert call.until(2_999) == []
    assert legs(call.until(3_000)) == [pressed("4 2"), m.CreateResponse("digits:1")]
    call.at(4_000, m.DigitPressed("7"))
    assert pressed("7", "pb_2") in call.until(6_000)


def test_a_hash_ends_them_at_once(live_call: Any) -> None:
    call = live_call(digits="text")
    call.at(100, m.DigitPressed("4"))
    call.at(200, m.DigitPressed("#"))
    assert legs(call.until(200)) == [pressed("4 #"), m.CreateResponse("digits:1")]


def test_the_first_key_may_interrupt(live_call: Any) -> None:
    call = live_call(digits="interrupt")
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 5_000))
    assert truth(call.at(1_000, m.DigitPressed("4"))) == [
        m.ClearPlayout(),
        m.CancelResponse("r1"),
        m.TruncateItem("A", 0, 1_000),
    ]
    assert call.at(1_200, m.DigitPressed("2")) == [m.DigitHeard("2", words=True)]


def test_keys_pressed_while_the_model_is_lost_wait_for_it(live_call: Any) -> None:
    call = live_call(digits="text", digits_gap_ms=1_500)
    call.at(0, m.UpstreamClosed(1011))
    call.at(100, m.DigitPressed("4"))
    assert legs(call.until(2_000)) == []
    call.at(2_100, m.SessionCreated(2))
    told = legs(call.at(2_100, m.SessionUpdated(2)))
    assert [action.text for action in told if isinstance(action, m.CreateItem)][-1] == pressed("4").text
    assert told[-1] == m.CreateResponse("digits:1", epoch=2)
