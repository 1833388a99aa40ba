"""The pytest plugin in somebody else's repository: their agent, their tools, their recordings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import bridge.testing
from bridge import Agent, tool
from bridge.core import messages as m
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.testing.call import begin, tool_call, usual_config
from bridge.testing.scripted_call import ScriptedCall

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]
AGENT = '''
    import asyncio

    from bridge.agents.agent import Agent
    from bridge.agents.tools import tool


    @tool
    async def opening_hours(day: str) -> str:
        """When the shop is open on that day."""
        await asyncio.sleep(3)
        return f"{day}: nine to five"


    agent = Agent("You work in a shop.", greeting="Hello!", tools=[opening_hours])


    async def handler(session):
        await session.say("Press nine for the desk.")
        async for happening in session.input():
            if getattr(happening, "digit", "") == "9":
                await session.transfer("desk")


    switchboard = Agent(handler=handler)
'''


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Their tests. Warnings are errors with them, too."""
    pytester.makefile(".ini", pytest="[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    return pytester.runpytest_inprocess(*arguments, plugins=[bridge.testing])


@pytest.fixture(autouse=True)
def theirs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository with an agent in it, and the bridge installed."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{pytester.path}")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # what else is installed here takes its time
    pytester.makepyfile(shop=AGENT)


# --- calls written by hand ----------------------------------------------------------------------------------


def test_the_example_of_the_readme(pytester: pytest.Pytester) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = [part for part in readme.split("```python\n")[1:] if "def test_" in part.partition("```")[0]]
    pytester.makepyfile(test_shop=example.partition("```")[0])
    (pytester.path / "recordings").mkdir()
    begin().wait(1_000).save(pytester.path / "recordings" / "quiet.call.jsonl")
    result = pytester.runpytest_subprocess("-p", "bridge.testing", "-v")  # in a process of its own
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*recorded*quiet*PASSED*"])


def test_their_tools_run_and_minutes_take_no_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_shop="""
        from shop import agent

        def test_hours(calls):
            caller, model, at, expect = calls(agent)
            at(2_000)
            caller.says("When are you open on Monday?")
            model.answers("Let me look.")
            at(7_000)
            expect.heard_text("Hello!").said("open on Monday").heard_text("Let me look.")
            model.calls("opening_hours", day="Monday")
            model.answers("Nine to five.")
            at(13_000)
            expect.tool_called("opening_hours", day="Monday").tool_answered("Monday: nine to five")
            expect.played("filler").heard_text("Nine to five.").truth()
            at(300_000)
            expect.going_on()
    """
    )
    run(pytester).assert_outcomes(passed=1)


def test_their_handler_answers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_shop="""
        import pytest
        from shop import switchboard

        def test_nine(calls):
            caller, model, at, expect = calls(switchboard, transfers=["desk"])
            at(4_000)
            caller.presses("9")
            at(5_000)
            expect.heard_text("Press nine for the desk.").pressed("9").transferred("desk")
            expect.ended("the call was sent on")

        def test_silence(calls):
            caller, model, at, expect = calls(switchboard, transfers=["desk"])
            at(60_000)
            expect.going_on()
    """
    )
    run(pytester).assert_outcomes(passed=2)


def test_what_user_code_leaves_behind_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_shop="""
        import asyncio
        from bridge.agents.agent import Agent

        async def lost():
            raise LookupError("nobody waits for this")

        async def handler(session):
            asyncio.get_running_loop().call_later(1, lambda: 1 / 0)
            await asyncio.sleep(5)

        def test_it(calls):
            calls(Agent(handler=handler)).wait(3_000)
    """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError*"])


def test_a_failure_shows_the_story_of_the_call_and_the_line_of_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_shop="""
        def test_cut(calls):
            caller, model, at, expect = calls()
            model.speaks("One two three four.", ms=2_000)
            at(700)
            caller.interrupts()
            expect.truncated("item_1", 620)
    """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       expect.truncated("item_1", 620)',
            "*expected item_1 truncated to 620 ms",
            "*the call, in ms:",
            "* 0          answered: phone and model can hear each other",
            "* 700  caller  begins to speak",
            "* 700  bridge  tells the model that 700 ms of item_1 were heard",
            "* 700  model   “One two three four.” cut off after 0.70 s, after “One” (item_1)",
        ]
    )
    result.stdout.no_fnmatch_line("*TruncateItem*")
    result.stdout.no_fnmatch_line("*def truncated*")


def test_a_sound_is_found_next_to_the_test(pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("sounds")
    (folder / "hello.ulaw").write_bytes(bytes([0x20]) * 8_000)
    pytester.makepyfile(
        test_shop="""
        def test_hello(calls):
            caller, model, at, expect = calls()
            at(1_000)
            caller.says("sounds/hello.ulaw", words="Hello there")
            model.answers("Good day.")
            at(5_000)
            expect.said("Hello there").heard_text("Good day.")
    """
    )
    run(pytester).assert_outcomes(passed=1)


STORY = """
       0          answered: phone and model can hear each other
    1040  caller  begins to speak
    1902  caller  has stopped
    2102  model   calls the tool book(day='friday')
    2202  caller  said “Book a table.”
    5102  tool    answers “booked for friday”
    5102  bridge  asks for an answer
    6122  model   “It is booked.” heard to the end, 0.78 s (item_3)
    7000  caller  presses 5
"""


def diner() -> Agent:
    @tool(filler=None, deadline_ms=8_000)
    def book(day: str) -> str:
        """Book a table."""
        return f"booked for {day}"

    return Agent(tools=[book], greeting="")


def test_the_story_of_a_call(calls: Callable[..., ScriptedCall]) -> None:
    """A newcomer's own order: the caller speaks, the model calls a tool, and the tool takes its time."""
    caller, model, at, expect = calls(diner(), tool_ms={"book": 3_000}, digits="event")
    at(1_000)
    caller.says("Book a table.", ms=400)
    model.calls("book", day="friday")
    model.answers("It is booked.")
    at(5_000)
    expect.tool_called("book", day="friday")
    with pytest.raises(pytest.fail.Exception, match="expected a tool's result"):
        expect.tool_answered("booked for friday")
    at(7_000)
    caller.presses("5")
    expect.tool_answered("booked for friday").heard_text("It is booked.").pressed("5")
    with pytest.raises(pytest.fail.Exception) as failed:
        expect.barge_ins(1)
    told = str(failed.value).partition("the call, in ms:\n")[2]
    assert told.splitlines() == STORY.strip("\n").splitlines()


def test_a_tool_that_takes_longer_than_it_may_is_given_up(calls: Callable[..., ScriptedCall]) -> None:
    caller, model, at, expect = calls(diner(), tool_ms={"book": 9_000})
    caller.says("Book a table.", ms=400)
    model.calls("book", day="friday")
    model.answers("That did not work.")
    at(15_000)
    expect.tool_answered("It took too long").heard_text("That did not work.")


def test_a_tool_that_there_is_not_takes_no_time() -> None:
    with pytest.raises(ValueError, match="tool_ms: there is no tool 'bok'; there is book"):
        begin(diner(), tool_ms={"bok": 3_000})


def test_a_model_that_calls_or_fails_while_nobody_speaks_does_it_now(
    calls: Callable[..., ScriptedCall],
) -> None:
    _, model, at, expect = calls(diner())
    at(1_000)
    model.calls("book", day="monday")
    expect.tool_called("book", day="monday")


def test_a_call_of_a_tool_answers_the_turn_that_still_counts_as_speech(
    calls: Callable[..., ScriptedCall],
) -> None:
    """The caller is silent, but the model still waits for more: its answer is yet to come."""
    caller, model, at, expect = calls(diner())
    caller.says("Book a table.", ms=400)
    at(600)
    model.calls("book", day="friday")
    at(700)
    with pytest.raises(pytest.fail.Exception):
        expect.tool_called("book")
    at(2_000)
    expect.tool_called("book", day="friday").barge_ins(0)


def test_heard_text_says_what_it_compares_and_what_was_heard() -> None:
    _, model, at, expect = begin()
    model.speaks("We are open from nine to five.", ms=2_000)
    with pytest.raises(pytest.fail.Exception, match=r"nothing yet \(let more time pass"):
        expect.heard_text("We are open from nine to five.")
    at(3_000)
    expect.heard_text("We are open from nine to five.").heard_text_contains("nine to five", "item_1")
    with pytest.raises(pytest.fail.Exception) as failed:
        expect.heard_text("nine to five", "item_1")
    assert str(failed.value).startswith(
        "expected 'nine to five' to be all that was heard of item_1, word for word\n"
        "heard:\n"
        "  item_1: 'We are open from nine to five.'\n"
        "it is part of one: `heard_text_contains` asks for a part\n"
    )
    with pytest.raises(pytest.fail.Exception, match="expected 'ten' in what was heard of an item\nheard:"):
        expect.heard_text_contains("ten")


def test_a_script_without_an_answer_left_says_so(calls: Callable[..., ScriptedCall]) -> None:
    """The agent is not at fault, and does not look like it."""
    caller, model, at, expect = calls(diner())
    caller.says("Book a table.", ms=400)
    model.calls("book", day="friday")
    at(4_000)
    with pytest.raises(pytest.fail.Exception) as failed:
        expect.heard_text("It is booked.")
    told = str(failed.value)
    cure = 'the script of the model has no answer left to a tool\'s result: plan one with model.answers("…")'
    assert re.search(rf"\nmind: at (\d+) ms {re.escape(cure)}\n(.*\n)* +\1  script  {re.escape(cure)}", told)


# --- calls that were recorded -------------------------------------------------------------------------------


def recording(call: ScriptedCall, pytester: pytest.Pytester, name: str) -> Path:
    folder = pytester.path / "recordings"
    folder.mkdir(exist_ok=True)
    return call.save(folder / f"{name}.call.jsonl")


def barge_in() -> ScriptedCall:
    call = begin()
    call.at(1_000).model.speaks("One two three four five six.", ms=2_000)
    call.at(1_620).caller.interrupts()
    call.wait(2_000).caller.hangs_up()
    return call


def test_each_recording_is_a_test_and_one_that_differs_fails(pytester: pytest.Pytester) -> None:
    good = recording(barge_in(), pytester, "good")
    text = good.read_text(encoding="utf-8")
    assert text.count('"audio_end_ms":620') == 2, "what we sent, and the model's answer"
    bad = good.with_name("bad.call.jsonl")
    bad.write_text(text.replace('"audio_end_ms":620', '"audio_end_ms":640', 1), encoding="utf-8")
    pytester.makepyfile(
        test_calls="""
        import pytest

        @pytest.mark.calls("recordings/*.call.jsonl")
        def test_bad_nights(): ...

        @pytest.mark.calls("recordings/good*", strict=True)
        def test_more(recorded):
            recorded.expect.truncated("item_1", 620).barge_ins(1).ended("the caller hung up")
            assert recorded.stats.barge_ins[0].heard_ms == 620
    """
    )
    result = run(pytester, "-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_bad_nights?bad? FAILED*",
            "*test_bad_nights?good? PASSED*",
            "*test_more?good? PASSED*",
            "*bad.call.jsonl does not replay*",
            "*expected *audio_end_ms*640*",
            "*got *audio_end_ms*620*",
        ]
    )


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("@pytest.mark.calls()\ndef test_it(): ...", "*the mark calls names no pattern of recordings*"),
        ("def test_it(recorded): ...", "*`recorded` wants @pytest.mark.calls*"),
    ],
)
def test_a_mark_that_finds_nothing_says_so(pytester: pytest.Pytester, test: str, complaint: str) -> None:
    pytester.makepyfile(test_calls=f"import pytest\n\n{test}\n")
    result = run(pytester)
    assert result.ret != 0
    result.stdout.fnmatch_lines([complaint])


def test_a_pattern_that_finds_nothing_yet_is_skipped_and_says_so(pytester: pytest.Pytester) -> None:
    """A new project has the mark before it has a recording."""
    pytester.makepyfile('import pytest\n\n@pytest.mark.calls("recordings/*")\ndef test_it(): ...\n')
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*there is no recording (recordings/?)*"])


# --- the script itself --------------------------------------------------------------------------------------


def test_the_plugin_is_in_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"bridge.testing": "bridge.testing"}


@pytest.mark.parametrize("cut_ms", [1_001, 1_333, 1_620, 2_999])
def test_an_interruption_is_exact_to_the_millisecond(cut_ms: int) -> None:
    call = begin()
    caller, model, at, expect = call
    at(1_000)
    model.speaks("One two three four five six seven.", ms=2_000)
    at(cut_ms)
    caller.interrupts()
    call.wait(1_000)
    expect.truncated("item_1", cut_ms - 1_000).barge_ins(1).cleared().cancelled(0).truth()


def test_what_is_queued_behind_is_deleted_and_belief_stays_truth() -> None:
    caller, model, at, expect = begin()
    for number in range(3):
        model.speaks(f"Sentence number {number}.", ms=1_000)
    at(1_500)
    caller.interrupts("Stop.")
    at(3_000)
    expect.uncut("item_1").truncated("item_2", 500).deleted("item_3").truth().barge_ins(1)


def test_a_belief_that_is_not_the_truth_is_found() -> None:
    """The phone's way is longer for the clear than it was for the sound: nobody can know."""
    phone = PhoneOptions(delay_out_ms=[0] * 20 + [80], jitter_ms=(0,))
    caller, model, at, expect = begin(phone=phone)
    model.speaks("One two three four.", ms=2_000)
    at(1_000)
    caller.interrupts()
    at(2_000)
    expect.truth(within_ms=80)
    with pytest.raises(pytest.fail.Exception, match=r"believed 1000 ms, heard 1080 ms"):
        expect.truth(within_ms=79)


def test_a_model_slower_than_its_speech_leaves_late_deltas() -> None:
    model_options = ServerOptions(late_deltas=3, cancel_ms=60, delta_bytes=(1_600,))
    caller, model, at, expect = begin(model=model_options)
    model.speaks("A long story about nothing.", ms=8_000, speed=4)
    at(1_050)
    caller.interrupts()
    at(4_000)
    expect.truncated("item_1", 1_000).cleared().truth()


def test_the_model_is_lost_and_had_back() -> None:
    call = begin(dial_ms=100)
    caller, model, at, expect = call
    at(500)
    model.speaks("One two three four.", ms=4_000)
    at(1_500)
    model.is_lost()
    model.answers("I am back.")
    at(4_000)
    expect.recovered().cleared().barge_ins(0).noted("the model was lost").heard_text("I am back.")
    expect.told("The line to you was interrupted").going_on()
    assert caller.heard_ms == 1_000 + 600


def test_a_model_that_cannot_be_reached_ends_the_call_with_an_apology() -> None:
    call = begin(dial_ms=100)
    call.model.reachable = False
    with pytest.raises(LookupError):
        _ = call.model.server
    call.wait(10_000)
    call.expect.ended("the model could not be reached").played("apology")


def test_an_answer_with_a_tool_in_it() -> None:
    caller, model, at, expect = call = begin()
    model.answers("One moment.", tool_call("look_up", order=5))
    caller.says(ms=500, words="Where is my order?")
    at(3_000)
    expect.tool_called("look_up", order=5).heard_text("One moment.")
    call.wish(m.ToolFinished("call_1", "on its way"))
    expect.tool_answered("on its way")


def test_what_cannot_be_is_refused() -> None:
    call = begin()
    call.at(1_000)
    with pytest.raises(ValueError, match="it is 1000 ms already"):
        call.at(999)
    call.model.speaks("One two three.", ms=4_000, speed=2)
    with pytest.raises(ValueError, match="speaking already"):
        call.model.speaks("And then")
    with pytest.raises(OSError, match="no such thing"):
        call.caller.says("no such thing.wav")
    with pytest.raises(pytest.fail.Exception, match=r"expected an end: we hung up"):
        call.expect.ended(m.Reason.WE_HUNG_UP)


def test_a_call_written_by_hand_replays(tmp_path: Path) -> None:
    from bridge.testing.replayed import RecordedCall

    call = RecordedCall(barge_in().save(tmp_path / "x.call.jsonl"), strict=True)
    assert call.difference() is None
    call.expect.truncated("item_1", 620)
    with pytest.raises(TypeError, match="no phone to ask"):
        call.expect.truth()


def test_the_usual_call_has_the_phrases_of_a_server_and_says_nothing_by_itself() -> None:
    config = usual_config()
    assert {"filler", "apology", "goodbye"} <= config.phrases.keys()
    call = begin(ring=True)
    call.wait(5_000)
    assert call.caller.heard_ms == 0
    call.expect.going_on()


@pytest.mark.parametrize(
    ("most_ms", "outcome", "said"), [(900, 0, "within 900 ms"), (600, 1, "more than 600 ms")]
)
def test_a_run_may_bound_how_long_callers_wait(
    pytester: pytest.Pytester, most_ms: int, outcome: int, said: str
) -> None:
    pytester.makepyfile(
        """
        def test_hours(calls):
            caller, model, at, expect = calls()
            at(1_000)
            caller.says("When do you open?", ms=500)
            model.answers("At nine.")
            at(5_000)
        """
    )
    result = run(pytester, "--felt-p95", str(most_ms))
    result.assert_outcomes(passed=1)
    assert result.ret == outcome
    result.stdout.fnmatch_lines([f"p95 7?? ms over 1 turn: {said}"])
    if outcome:
        result.stdout.fnmatch_lines(["*7?? ms in *::test_hours: endpointing 5*, model *"])
