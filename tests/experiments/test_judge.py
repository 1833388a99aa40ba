"""The judge: each kind of failure is provoked once, and nothing is red for another reason."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bridge.doubles.people.caller import HangUp, Line, Manner
from bridge.doubles.people.caller_phone import Said
from bridge.doubles.people.words import spoken
from bridge.errors import ConfigError
from bridge.experiments.callers_run import CallFacts, Failure, Kind, Run, Tool
from bridge.experiments.heard import Claim
from bridge.experiments.judge import judge
from bridge.experiments.rubric import JudgeFailed, judged
from bridge.experiments.scenario import Rubric, Scenario, read_toml

ANSWER = spoken("We are open from nine to five")
GREETING = spoken("Good day")


def scenario(*expects: str) -> Scenario:
    tables = "".join(f"[[expect]]\n{one}\n" for one in expects)
    return read_toml(f'name = "s"\n[caller]\nlines = ["When?"]\n{tables}', "s.toml")


def facts(**given: Any) -> CallFacts:
    """A call: a greeting, a turn of a second, and 700 ms later the answer."""
    heard = b"\xff" * 8_000 + GREETING
    start_ms = len(heard) // 8 + 800
    heard = heard.ljust((start_ms + 1_700) * 8, b"\xff") + ANSWER + b"\xff" * 16_000
    usual: dict[str, Any] = {
        "heard": heard,
        "ended_ms": len(heard) // 8,
        "said": [Said(start_ms, start_ms + 1_000, "When?", Manner.TURN)],
        "lines": [(1_480, "Good day"), (5_000, "We are open from nine to five")],
        "tools": [Tool(3_000, "hours", {"day": "Monday"}, "nine to five")],
        "transfers": [],
        "claims": [Claim(GREETING, len(GREETING) // 8), Claim(ANSWER, len(ANSWER) // 8)],
        "ended": "the caller hung up",
        "left": HangUp(reached=None, why="nothing is left to say"),
        "usd": 0.02,
    }
    return CallFacts(**{**usual, **given})


GREEN = (
    'tool = "hours"\narguments = { day = "monday" }',
    'tool = "book"\nnever = true',
    'heard = "Nine to FIVE."',
    'not_heard = "closed"',
    'ended = "The caller hung up"',
    "told_within_ms = 0",
    'measure = "felt_p95_ms"\nmost = 700',
    'measure = "felt_p50_ms"\nleast = 700',
    'measure = "first_sound_ms"\nmost = 1000',
    'measure = "silence_max_ms"\nmost = 2020',
    'measure = "talk_over_ms"\nmost = 0',
    'measure = "usd"\nmost = 0.02',
)


def test_a_good_call_is_green():
    failures, measures = judge(scenario(*GREEN), facts())
    assert failures == []
    assert measures["felt_p95_ms"] == 700
    assert measures["told_error_ms"] == 0
    assert measures["stop_p95_ms"] is None


TALKED_OVER = [Said(1_100, 2_000, "When?", Manner.INTERRUPTION)]
RED: list[tuple[Kind, str, dict[str, Any]]] = [
    (Kind.TOOL_MISSING, 'tool = "book"', {}),
    (Kind.TOOL_ARGUMENTS, 'tool = "hours"\narguments = { day = "Sunday" }', {}),
    (Kind.TOOL_FORBIDDEN, 'tool = "hours"\nnever = true', {}),
    (Kind.WORDS_MISSING, 'heard = "half past nine"', {}),
    (Kind.WORDS_FORBIDDEN, 'not_heard = "nine to"', {}),
    (Kind.TOLD_WRONG, "told_within_ms = 100", {"claims": [Claim(GREETING, 60), Claim(ANSWER, 1_700)]}),
    (Kind.TOO_SLOW, 'measure = "felt_p95_ms"\nmost = 699', {}),
    (Kind.TOO_SLOW, 'measure = "stop_p95_ms"\nmost = 100', {"said": TALKED_OVER}),
    (Kind.NO_ANSWER, 'heard = "day"', {"unanswered": [3_000]}),
    (Kind.SILENCE, 'measure = "silence_max_ms"\nmost = 1500', {}),
    (Kind.TALK_OVER, 'measure = "talk_over_ms"\nmost = 100', {"said": TALKED_OVER}),
    (Kind.ENDED_WRONG, 'ended = "we hung up"', {}),
    (Kind.ENDED_WRONG, 'transferred = "front desk"', {}),
    (Kind.ENDED_WRONG, "reached_goal = true", {}),
    (Kind.WORDS_MISSING, 'keys = "12"', {}),
    (Kind.LIMIT, 'measure = "usd"\nmost = 0.01', {}),
    (Kind.LIMIT, 'heard = "day"', {"out_of_turns": True}),
    (Kind.LIMIT, 'heard = "day"', {"out_of_time": True}),
    (Kind.LIMIT, 'measure = "repeats"\nmost = 0', {"lines": [(1, "Which day do you mean?")] * 2}),
    (Kind.HARNESS, 'heard = "day"', {"harness": "nothing listens there"}),
    (Kind.HARNESS, 'heard = "day"', {"late_p99_ms": 21}),
]


@pytest.mark.parametrize(
    ("kind", "expect", "given"), RED, ids=[f"{kind}-{n}" for n, (kind, *_) in enumerate(RED)]
)
def test_each_kind_is_provoked(kind: Kind, expect: str, given: dict[str, Any]):
    failures, _ = judge(scenario(expect), facts(**given))
    assert [one.kind for one in failures] == [kind]


RECORD = [Line(0, "agent", "We close at five."), Line(1, "caller", "Thank you.")]
ASK = Rubric(ask="the closing time was told")


def vote(verdict: str, quote: str) -> Any:
    return lambda _ask, _record, _number: {"verdict": verdict, "quote": quote}


@pytest.mark.parametrize(
    ("verdict", "quote", "kinds"),
    [
        ("yes", "We close at FIVE", []),
        ("no", "we close at five", [Kind.RUBRIC_NO]),
        ("cannot tell", "", [Kind.RUBRIC_UNSURE]),
        ("yes", "We close at six.", [Kind.RUBRIC_UNSURE]),
        ("no", "something that was never said", [Kind.RUBRIC_UNSURE]),
        ("yes", "", [Kind.RUBRIC_UNSURE]),
        ("certainly", "We close at five", [Kind.RUBRIC_UNSURE]),
    ],
)
def test_a_rubric_has_to_quote(verdict: str, quote: str, kinds: list[Kind]):
    assert [one.kind for one in judged([ASK], RECORD, vote(verdict, quote))] == kinds


def test_the_majority_of_three_votes_counts():
    answers = ["yes", "no", "yes"]

    def voted(_ask: str, _record: object, number: int) -> dict[str, str]:
        return {"verdict": answers[number - 1], "quote": "five"}

    assert judged([ASK], RECORD, voted) == []
    answers[0] = "no"
    assert [one.kind for one in judged([ASK], RECORD, voted)] == [Kind.RUBRIC_NO]


def test_what_is_no_answer_turns_nothing_green():
    answers: list[Any] = [None, "yes", [], {"quote": "five"}]
    for answer in answers:
        assert [one.kind for one in judged([ASK], RECORD, lambda *_: answer)] == [Kind.RUBRIC_UNSURE]  # noqa: B023


def test_every_kind_that_there_is_has_been_provoked():
    assert {kind for kind, *_ in RED} | {Kind.RUBRIC_NO, Kind.RUBRIC_UNSURE} == set(Kind)


def _after(text: str) -> str:
    return f'name = "s"\n[caller]\nlines = ["a"]\n{text}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 1", "$.name"),
        ("[caller]\nlines = []", "name"),
        ('name = "s"\n[caller]\nlinez = ["a"]', "linez"),
        ('name = "s"\n[caller]\n', "without lines a mind is needed"),
        ('name = "s"\n[caller]\nlines = ["a"]\n[[expect]]', "one of tool"),
        ('name = "s"\n[caller]\nlines = ["a"]\n[[expect]]\ntool = "a"\nheard = "b"', "one of tool"),
        ('name = "s"\n[caller]\nlines = ["a"]\n[[expect]]\nmeasure = "usd"', "bound"),
        ('name = "s"\n[caller]\nlines = ["a"]\n[[expect]]\nmeasure = "speed"\nmost = 1', "felt_p95_ms"),
        ('name = "s"\n[caller]\nlines = ["a"]\n[caller.habits]\ninterrupts = { chance = 1.0 }', "at_word"),
        ('name = "s"\n[caller]\nlines = ["a"]\n[network]\nloss = 1.5', "loss"),
        (
            'name = "s"\n[caller]\nlines = ["a"]\n[caller.habits]\nkeys = [{ after = "x", digits = "E" }]',
            "digits",
        ),
        ("name =", "not TOML"),
        (_after("[limits]\nturns = 0"), "turns is at least 1"),
        (_after("[limits]\nseconds = 999999999"), "seconds is between"),
        (_after("[network]\ndelay_ms = 100000000"), "at most"),
        (_after('[network.noise]\nfile = "cafe"\nsnr_db = nan'), "snr_db"),
        (_after('[network.noise]\nfile = "cafe"\nsnr_db = -1e5'), "snr_db"),
        (_after("[caller.habits]\nmumbles = nan"), "mumbles is between"),
        (_after("[caller.habits]\nsilence = { before_turn = 0, ms = 5 }"), "before_turn counts from 1"),
        (_after("[caller.habits]\ninterrupts = { at_word = 4, turn = 0 }"), "count from 1"),
        (_after('[[expect]]\nheard = "..."'), "want words"),
        (_after('[[expect]]\nnot_heard = "?!"'), "want words"),
        (_after('[[expect]]\nkeys = "hello"'), "0123456789*#"),
        (_after("[[expect]]\ntold_within_ms = -1"), "not negative"),
        (_after('[[expect]]\nmeasure = "usd"\nmost = nan'), "are numbers"),
        (_after('[[expect]]\nmeasure = "usd"\nmost = 1\nleast = 2'), "not below least"),
        (_after('[[expect]]\ntool = "a"\narguments = { day = 2026-01-01 }'), "in quotes"),
        (_after('[[rubric]]\nask = " "'), "a question"),
        ('name = "s"\n[caller]\nlines = ["..."]', "a line has words"),
        ('name = "s"\n[caller]\nmind = { url = "http://a", model = "m", think_ms = -5 }', "think_ms"),
    ],
)
def test_a_mistake_in_a_scenario_is_named(text: str, said: str):
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_toml(text, "s.toml")


def test_a_run_can_be_written_as_json():
    run = Run(scenario="s", run=1, seed=2, failures=[Failure(Kind.SILENCE, "a", "b", 3)])
    assert json.loads(json.dumps(run.failures[0]._asdict()))["kind"] == "silence"


def test_a_call_in_which_nothing_was_heard_is_red():
    silent = facts(
        heard=b"\xff" * 40_000, lines=None, tools=None, claims=None, ended="the server hung up (1006)"
    )
    found, _ = judge(scenario('measure = "first_sound_ms"\nmost = 1000'), silent)
    assert [one.kind for one in found] == [Kind.NO_ANSWER]
    assert "1006" in found[0].got


def test_a_caller_who_said_nothing_is_judged():
    found, measures = judge(scenario(), facts(said=[]))
    assert (found, measures["turns"], measures["felt_p95_ms"]) == ([], 0.0, None)


def test_a_quote_is_words_of_the_record_and_not_letters():
    record = [Line(0, "agent", "We close at nine"), Line(1, "caller", "I see")]
    votes = judged([Rubric(ask="is it so")], record, lambda *_: {"verdict": "yes", "quote": "lose at"})
    assert [one.kind for one in votes] == [Kind.RUBRIC_UNSURE]
    assert judged([Rubric(ask="x")], record, lambda *_: {"verdict": "yes", "quote": "close at"}) == []


@pytest.mark.parametrize("error", [KeyError("verdict"), SystemExit(0)])
def test_a_judge_that_raises_is_told(error: BaseException):
    def vote(*_given: object) -> object:
        raise error

    with pytest.raises(JudgeFailed, match=type(error).__name__):
        judged([Rubric(ask="x")], [], vote)


def test_a_stream_that_broke_off_is_red_unless_that_was_wanted():
    lost = facts(broke_off=True, ended="the server hung up (1006)", left=None)
    found, _ = judge(scenario(), lost)
    assert [one.kind for one in found] == [Kind.ENDED_WRONG]
    found, _ = judge(scenario('ended = "the server hung up (1006)"'), lost)
    assert found == []
