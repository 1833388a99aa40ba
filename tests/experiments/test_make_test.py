"""A moment of a recorded call becomes a test: red where its wish does not hold, and without words."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from bridge import Agent, cli, tool
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.doubles.agents import Speech
from bridge.errors import ConfigError
from bridge.recording.facts import facts_of
from bridge.recording.make_test import MadeTest, make_test
from bridge.recording.marks import WISHES, Assertion, marks_of, near, wish_of
from bridge.recording.moments import walk_through
from bridge.testing.call import begin
from bridge.testing.replayed import RecordedCall
from tests.experiments.jittered import jittered_call, seeds
from tests.live_call import LiveCall
from tests.long_form import some_of

pytest_plugins = ["pytester"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["make-test", *map(str, arguments)])  # type: ignore[return-value]


def told_200_ms_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that tells the model of 200 ms which the caller did not hear."""

    true = Call.receive

    def receive(call: Call, event: m.Event, now_ms: int) -> list[m.Action]:
        return [
            msgspec.structs.replace(action, heard_ms=action.heard_ms + 200)
            if isinstance(action, m.TruncateItem)
            else action
            for action in true(call, event, now_ms)
        ]

    monkeypatch.setattr(Call, "receive", receive)


def green(made: MadeTest, folder: Path) -> bool:
    """Whether the test holds with the code as it stands now."""
    file = folder / "made.call.jsonl"
    file.write_text("\n".join(made.recording) + "\n", encoding="utf-8")
    call = RecordedCall(file, compare=not made.wished)
    if call.difference() is not None:
        return False
    try:
        for one in made.assertions:
            getattr(call.expect, one.method)(*one.values, **one.named)
    except pytest.fail.Exception:
        return False
    return True


# --- red with the fault, green without it -------------------------------------------------------------------


@pytest.mark.parametrize("seed", seeds())
def test_a_pinned_cut_is_red_in_a_core_that_tells_another_truth(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = walk_through(jittered_call(seed, 4 if seed else 2))
    cuts = [mark for mark in marks_of(call.facts) if mark.kind == "cut"]
    made = [make_test(call, mark) for mark in cuts]
    assert all(green(one, tmp_path) for one in made)
    told_200_ms_more(monkeypatch)
    assert not any(green(one, tmp_path) for one in made)


def test_a_fault_that_was_recorded_is_red_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        told_200_ms_more(broken)
        file = tmp_path / "bad.call.jsonl"
        call = begin()
        call.at(1_000).model.speaks("We are open from nine to five, every day of the week.", ms=2_000)
        call.at(1_620).caller.interrupts("And on Sundays?")
        call.wait(500).close()
        call.save(file)
        began_s = time.process_time()
        told = run(file, "--at", "1.6", "--should", "heard 620", "--out", tmp_path / "calls", "--json")
        took_s = time.process_time() - began_s
        result = json.loads(told.stdout)
        assert (result["red"], result["wished"], result["kind"]) == (True, True, "cut")
        assert took_s < 5
    recording = RecordedCall(Path(result["recording"]), compare=False)
    assert recording.difference() is None
    recording.expect.truncated("item_1", 620)
    assert result["expects"] == ['truncated("item_1", 620)']


@pytest.mark.virtual
def test_the_two_files_are_a_test_that_pytest_runs(pytester: pytest.Pytester, tmp_path: Path) -> None:
    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(jittered_call(0)) + "\n", encoding="utf-8")
    for wish in (None, "heard 1300"):
        given = ["--should", wish] if wish else []
        result = run(file, "--at", "39.4", *given, "--out", pytester.path)
        assert result.exit_code == 0, result.output
    files = sorted(path.name for path in pytester.path.glob("test_*.py"))
    assert files == ["test_call_cut_39s.py", "test_call_cut_39s_2.py"]
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1, failed=1)


@pytest.mark.virtual
def test_a_call_with_a_duplex_model_becomes_a_test_as_well(tmp_path: Path) -> None:
    """Its sound says when it speaks: that stays in a masked recording, and nothing else of it."""
    live = LiveCall(Speech(1_500, "Hello, how can I help?"), Speech(2_000, "We close at ten o'clock."))
    live.at(4_000).says("When do you close?")
    live.at(9_000)
    live.call.from_phone(live.call.phone.hang_up(live.call.now_ms))
    live.at(10_000)
    call = walk_through(live.lines)
    marks = marks_of(call.facts)
    assert {mark.kind for mark in marks} >= {"words", "latency", "end"}
    for mark in marks:
        made = make_test(call, mark)
        assert green(made, tmp_path), mark
        assert "ten o" not in "\n".join(made.recording)


# --- what a test is about -----------------------------------------------------------------------------------


@tool
def book(day: str, people: int) -> str:
    """Books a table."""
    return f"booked for {people} on {day}"


def a_call_with_a_tool() -> list[str]:
    call = begin(Agent("You book tables.", greeting="Hello!", tools=[book]))
    call.at(3_000).caller.says("A table for Monday, please.", ms=900)
    call.model.calls("book", day="Monday", people=4)
    call.model.answers("It is booked.")
    call.wait(8_000).close()
    return call.lines


WISHED: dict[str, Assertion] = {
    "tool book day=Monday": Assertion("tool_called", ("book",), {"day": "Monday"}),
    "tool book people=4": Assertion("tool_called", ("book",), {"people": 4}),
    "no-tool book": Assertion("tool_not_called", ("book",)),
}


@pytest.mark.parametrize("text", WISHED)
def test_a_wish_about_a_tool_keeps_the_values_it_names(text: str, tmp_path: Path) -> None:
    call = walk_through(a_call_with_a_tool())
    wish = wish_of(text)
    mark = near(marks_of(call.facts), call.facts.tools[0].at_ms, wish.kinds)[0]
    made = make_test(call, mark, wish)
    assert made.assertions == (WISHED[text],)
    assert green(made, tmp_path) is text.startswith("tool")
    text_of = "\n".join(made.recording)
    assert ("Monday" in text_of) is ("Monday" in text)
    assert made.kept == tuple(text.split()[2:])


def test_what_is_nearest_is_meant() -> None:
    call = walk_through(a_call_with_a_tool())
    marks = marks_of(call.facts)
    [tool_mark] = [mark for mark in marks if mark.kind == "tool"]
    assert near(marks, tool_mark.at_ms)[0] == tool_mark
    assert near(marks, marks[-1].at_ms, ["end"])[0].kind == "end"
    assert near(marks, 600_000) == []


BAD_WISHES = [
    "", "heard", "heard much", "no-cut 5", "silence 900", "tool", "tool book day", "hear 5",
    'tool book day="Monday',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_WISHES)
def test_a_wish_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"heard MS|NAME=VALUE|not closed"):
        wish_of(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('day="next Monday"', "next Monday"),
        ('day={"of":["May",3]}', {"of": ["May", 3]}),
        ('day="5"', "5"),
        ("day=5", 5),
        ("day=NaN", "NaN"),
        ("day=-Infinity", "-Infinity"),
        ('day="Mon"day', "Monday"),
    ],
)
def test_the_value_of_an_argument_is_json_or_the_words_as_they_stand(text: str, value: object) -> None:
    wish = wish_of(f"tool book {text}")
    assert wish.named == {"day": value}
    eval(Assertion("dict", (), wish.named).code, {"dict": dict})


def test_every_wish_that_is_listed_is_known() -> None:
    examples = [
        "heard 5",
        "no-cut",
        "answered-in 900",
        "silence 2000",
        "tool a b=1",
        "no-tool a",
        "words x y",
    ]
    assert [wish_of(one).method for one in examples]
    assert len(examples) == WISHES.count(",") + 2


def test_arguments_with_odd_names_and_words_are_written_so_that_they_run() -> None:
    one = Assertion("tool_called", ('b"o\nok',), {"class": "a'b\"c", "day": ["x", 1, None]})
    found: dict[str, Any] = {}

    def tool_called(name: str, /, **arguments: Any) -> None:
        found.update({"name": name, **arguments})

    eval(one.code, {"tool_called": tool_called})
    assert found == {"name": 'b"o\nok', "class": "a'b\"c", "day": ["x", 1, None]}


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_what_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(a_call_with_a_tool()) + "\n", encoding="utf-8")
    for arguments, why in [
        ((), "--at SECONDS"),
        (("--at", "900"), "within 1.5 s of 900 s"),
        (("--at", "3", "--pick", "99"), "--list shows"),
        (("--pick", "99"), "--pick 99: --list shows"),
        (("--pick", "1", "--expect", "cut"), "--list shows 0"),
        (("--at", "3", "--keep-sound"), "--keep-words"),
        (("--at", "5", "--should", "words hello"), "--keep-words"),
        (("--at", "5", "--should", "heard 800", "--expect", "latency"), "is about cut"),
    ]:
        result = run(file, *arguments, "--out", tmp_path / "out")
        assert isinstance(result.exception, ConfigError), result.output
        assert why in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_line_of_the_whole_list_is_picked_without_a_moment(tmp_path: Path) -> None:
    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(a_call_with_a_tool()) + "\n", encoding="utf-8")
    (line,) = run(file, "--list", "--expect", "tool").output.splitlines()
    number, _, _, _, told = line.split(maxsplit=4)
    assert number == "1"
    made = run(file, "--pick", "1", "--expect", "tool", "--out", tmp_path / "out").output
    assert made.splitlines()[0].endswith(told)


@pytest.mark.virtual
def test_a_call_that_differs_today_wants_a_wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(jittered_call(0)) + "\n", encoding="utf-8")
    told_200_ms_more(monkeypatch)
    result = run(file, "--at", "39.4", "--out", tmp_path / "out")
    assert "today's code decides otherwise" in str(result.exception)
    assert run(file, "--at", "39.4", "--should", "heard 1198", "--out", tmp_path / "out").exit_code == 0


# --- no word of anybody's -----------------------------------------------------------------------------------

PLANTED = ["Zorilla", "vaquita", "uakari", "quokka", "margay", "77000101", "5550142", "hoopoe", "gharial"]
SID_TAIL = "5f0dbead"


@tool
def find_order(name: str, number: int) -> str:
    """Finds a margay's order."""
    return f"{number} of {name} is with gharial"


def full_of_secrets(tmp_path: Path) -> Path:
    """A recorded call that holds each planted value, in a file named after the call's id."""
    agent = Agent("Never speak of the quokka.", name="shop", greeting="Hello, vaquita!", tools=[find_order])
    call = begin(agent, parameters={"customer": "Zorilla 5550142"})
    call.at(3_000).caller.says("My name is uakari hoopoe.", ms=900)
    call.model.calls("find_order", name="uakari", number=77_000_101)
    call.model.answers("The order of hoopoe is with gharial, who has it in the house.")
    call.wait(3_300).caller.presses("5550142")
    call.caller.interrupts("Tell gharial that I am Zorilla.", ms=600)
    call.model.answers("I will.")
    call.wait(6_000).close()
    file = tmp_path / f"20261128T101112-{SID_TAIL}.call.jsonl"
    text = "\n".join(call.lines).replace(call.phone.frames.call_sid, "CA" + 24 * "7" + SID_TAIL)
    file.write_text(text + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("wish", some_of([None, "answered-in 500", "no-cut", "tool find_order"], every=4))
def test_no_planted_value_is_in_any_file_that_is_made(wish: str | None, tmp_path: Path) -> None:
    file = full_of_secrets(tmp_path)
    given = file.read_text(encoding="utf-8")
    assert [word for word in (*PLANTED, SID_TAIL) if word not in given and word != "5550142"] == []
    facts = facts_of(given.splitlines())
    wanted = () if wish is None else wish_of(wish).kinds
    marks = [mark for mark in marks_of(facts) if not wanted or mark.kind in wanted]
    assert marks
    out = tmp_path / "out"
    for mark in random.Random(1).sample(marks, min(3, len(marks))):
        wished = ["--should", wish] if wish else ["--expect", mark.kind]
        result = run(file, "--at", str(mark.at_ms / 1000), *wished, "--out", out)
        assert result.exit_code == 0, (mark, result.output, result.exception)
    written = sorted(out.iterdir())
    assert len(written) >= 2
    for one in written:
        text = one.name + one.read_text(encoding="utf-8")
        folded = text.casefold()
        assert [word for word in (*PLANTED, SID_TAIL) if word.casefold() in folded] == [], one
