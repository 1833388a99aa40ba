"""The pytest plugin in somebody else's repository: their agent, their tools, their recordings."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import bridge.testing
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


def test_a_failure_shows_what_was_decided_and_the_line_of_the_test(pytester: pytest.Pytester) -> None:
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
            "*what was decided, in ms:",
            "*700  TruncateItem(item_id='item_1', part=0, heard_ms=700*",
        ]
    )
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
