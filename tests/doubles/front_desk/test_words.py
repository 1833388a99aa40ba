"""Words, numbers and results: what the policy knows of English."""

from __future__ import annotations

import json

import pytest

from bridge.doubles.front_desk.english import spoken_name, words_of
from bridge.doubles.front_desk.numbers import clock_words, digits_in, time_in
from bridge.doubles.front_desk.results import aloud, failed
from tests.doubles.front_desk.restaurant import function, told


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("at seven", "19:00"), ("at seven thirty", "19:30"), ("at nine", "09:00"), ("nine o'clock", "09:00"),
        ("half past six", "18:30"), ("quarter past three", "15:15"), ("a quarter to nine", "08:45"),
        ("seven in the morning", "07:00"), ("at eleven at night", "23:00"), ("twelve am", "00:00"),
        ("noon", "12:00"), ("midnight", "00:00"), ("at nine oh five", "09:05"), ("at 7:45 am", "07:45"),
        ("at 19:30", "19:30"), ("eight p.m.", "20:00"), ("for two at eight", "08:00"),
        ("six forty five", "18:45"),
        ("for two people", None), ("four two one seven", None), ("twenty three", None), ("on friday", None),
    ],
)  # fmt: skip
def test_a_time_of_day(said: str, time: str | None) -> None:
    found = time_in(words_of(said))
    assert (None if found is None else f"{found.value // 60:02}:{found.value % 60:02}") == time


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("order four two one seven", "4217"), ("order forty two seventeen", "4217"), ("order 905", "905"),
        ("double five one", "551"), ("it is oh", ""), ("nine oh five", "905"),
        ("one hundred and five", "105"),
        ("my number is five five five one two three four", "5551234"), ("no number", ""),
    ],
)  # fmt: skip
def test_a_run_of_digits(said: str, digits: str) -> None:
    assert digits_in(words_of(said)) == digits


@pytest.mark.parametrize(
    ("result", "spoken"),
    [
        ("In the oven.", "In the oven."),
        ({"answer": "At 19:30."}, "At seven thirty."),
        ({"order_number": "4217", "status": "shipped", "arrives": "friday"},
         "order number 4217: status shipped, arrives friday."),
        ({"day": "2026-12-01", "open": True}, "day December 1: open yes."),
        ({str(n): n for n in range(8)}, "0 0: 1 1, 2 2, 3 3, 4 4, and 3 more."),
        (["tea", "cake"], "2 found: tea and cake."),
        (["a", "b", "c", "d"], "4 found: a, b, c, and 1 more."),
        ([], "Nothing found."), ({}, "Nothing found."), (None, "Done."), (True, "Done."), ("done", "Done."),
        (False, "That did not work."), (42, "42."),
        ({"error": "out of memory at 0x0"}, "Sorry, that did not work."),
    ],
)  # fmt: skip
def test_a_result_aloud(result: object, spoken: str) -> None:
    assert aloud(result if isinstance(result, str) else json.dumps(result)) == spoken


def test_a_long_result_ends_with_a_sentence_and_stays_within_300_characters() -> None:
    assert aloud("It is open. " * 60) == ("It is open. " * 25).strip()
    assert len(aloud("word " * 200)) <= 302
    assert failed('{"error": "x"}')
    assert not failed("error")


def test_names_aloud() -> None:
    assert [spoken_name(name) for name in ("order_status", "orderStatus", "get-price")] == [
        "order status", "order status", "get price",
    ]  # fmt: skip
    assert [clock_words(*one) for one in ((19, 30), (9, 5), (8, 0), (0, 0))] == [
        "seven thirty", "nine oh five", "eight o'clock", "midnight",
    ]  # fmt: skip


KINDS = [
    function("note_wish", "Note what a caller would like to have put aside.", ["what"], what="string",
             when=["today", "tomorrow"]),
    function("set_alarm", "Set an alarm.", hour="integer"),
    function("order_state", "Tell how far an order is.", number="integer"),
    function("find_orders", "Find orders by a regular expression.",
             pattern={"type": "string", "description": "What are you looking for?"}),
    function("newsletter", "Subscribe to the newsletter.", weekly="boolean"),
    function("divide", "Divide something.", ["amount"],
             amount={"anyOf": [{"type": "number"}, {"type": "null"}]}),
    function("balance", "Tell what a customer owes.", customer="string"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "last"),
    [
        (
            "note a wish for tomorrow / A poppy-seed cake.",
            "note_wish(what='A poppy-seed cake', when='tomorrow')",
        ),
        ("note a wish", "What, please?"),
        ("set an alarm / at six in the morning", "set_alarm(hour=6)"),
        ("is order seventeen ready", "order_state(number=17)"),
        ("how far is my order", "Which number, please?"),
        ("find orders", "What are you looking for?"),
        ("find orders / Rye.*bread", "find_orders(pattern='Rye.*bread')"),
        ("the newsletter please / yes", "newsletter(weekly=True)"),
        ("the newsletter please / no", "newsletter(weekly=False)"),
        ("divide twelve", "divide(amount=12)"),
        ("what is the balance under Ann Miller", "balance(customer='Ann Miller')"),
        ("what is my balance / it is Ann.", "balance(customer='Ann')"),
    ],
)
def test_parameters_of_every_kind(said: str, last: str) -> None:
    assert told(*said.split(" / "), tools=KINDS) == last
