"""A call in lines for people, as a terminal and a failed test have it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.cli.serve import _onlooker
from bridge.core import messages as m
from bridge.core.stats import BargeIn, Stats
from bridge.ops.logs import configure
from bridge.ops.story import Story, told
from bridge.settings.settings import load_settings

CALL = "CA" + "1" * 32
HAPPENED: list[tuple[int, m.Action]] = [
    (40, m.CallBegan()),
    (900, m.CallerSpoke(True, "item_1")),
    (2_100, m.CallerSpoke(False, "item_1")),
    (2_300, m.Turn("item_1", "Book it for\nMallory, on +15550001111.")),
    (2_400, m.ToolWanted("call_1", "book", '{"name":"Mallory"}')),
    (3_000, m.Heard("filler:1", 640, False, "One moment, please.")),
    (4_500, m.DigitHeard("7")),
    (5_000, m.Spoken("item_2", "It is booked for Mallory.", "It is", 610, True)),
    (5_010, m.Spoken("item_3", "Anything else?", "", 0, True)),
    (6_000, m.NoteIntent("transfer:desk")),
]
STORY = """\
   0.00 s          a call comes in
   0.04 s          answered: phone and model can hear each other
   0.90 s  caller  begins to speak
   2.10 s  caller  has stopped
   2.30 s  caller  said “Book it for Mallory, on +….”
   2.40 s  model   calls the tool book(name='Mallory')
   3.00 s  bridge  “One moment, please.” heard to the end, 0.64 s
   4.50 s  caller  presses 7
   5.00 s  model   “It is booked for Mallory.” cut off after 0.61 s, after “It is”
   5.01 s  model   “Anything else?” not heard at all
   6.00 s  bridge  the call goes to desk next
   6.10 s          over: the call was sent on; 2 turns, answered in 310 ms; 1 barge-in; 1 tool call; $0.0123
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before


def written(*, words: bool, readable: bool = True) -> str:
    stream = io.StringIO()
    logs = configure(stream=stream, readable=readable)
    story = Story(words=words)
    story.call_began(CALL)
    for at_ms, action in HAPPENED:
        story.call_did(CALL, action, at_ms)
    stats = Stats(ended_ms=6_100, turns=2, turn_latencies_ms=[300, 310, 900], tools=1, cost_micro_usd=12_300)
    stats.barge_ins.append(BargeIn(5_000, "item_2", 610, 1_500))
    story.call_ended(CALL, m.Ended(m.Reason.TRANSFERRED), stats)
    logs.close()
    return stream.getvalue()


def test_a_call_at_a_terminal() -> None:
    lines = [line.partition(" …111111 ")[2] for line in written(words=True).splitlines()]
    assert lines == STORY.splitlines()


def test_without_words_nothing_is_told_that_was_said_pressed_or_given() -> None:
    text = written(words=False)
    for private in ("Mallory", "booked", "One moment", "presses 7", "5550001111", "Anything"):
        assert private not in text
    for public in ("begins to speak", "calls the tool book(…)", "filler heard to the end", "presses a key"):
        assert public in text
    assert "cut off after 0.61 s" in text


def test_it_is_one_line_whatever_was_said() -> None:
    line = told(m.Turn("item_1", "a\n\tb " + "c" * 1_000))
    assert line is not None
    assert line.what.startswith("said “a b ccc")
    assert line.what.endswith("…”")
    assert len(line.what) < 200


@pytest.mark.parametrize("arguments", ["", "no json", "[1]", "null", '{"a":' * 300, '{"a":' + "[" * 30_000])
def test_arguments_are_told_whatever_they_are(arguments: str) -> None:
    line = told(m.ToolWanted("call_1", "book", arguments))
    assert line is not None
    assert line.what.startswith("calls the tool book(")
    assert len(line.what) < 250


@pytest.mark.parametrize("insecure", [True, False])
def test_words_of_callers_are_told_where_no_carrier_is_let_in(insecure: bool) -> None:
    given: dict[str, Any] = {"twilio_auth_token": None if insecure else "t" * 32, "insecure": insecure}
    settings = load_settings(env_file=None, upstream="embedded", public_url="https://bridge.example", **given)
    stream = io.StringIO()
    logs = configure(stream=stream, readable=True)
    (story,) = _onlooker(settings)
    story.call_did(CALL, m.Turn("item_1", "My name is Mallory."), 10)
    logs.close()
    assert ("Mallory" in stream.getvalue()) is insecure
    logging.getLogger("bridge.call").setLevel(logging.NOTSET)


def test_who_is_at_no_terminal_reads_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs = configure()  # the stream of a test is no terminal
    assert not logs.readable
    logging.getLogger("bridge.call").info("= caller and model hear each other", extra={"call_sid": CALL})
    logs.close()
    assert json.loads(capsys.readouterr().out)["message"] == "= caller and model hear each other"
