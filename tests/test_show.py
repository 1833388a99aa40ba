"""The picture of a call: what it shows, in a browser that nobody talks to, and what the command says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge import cli
from bridge.codecs.wav import stereo_of
from bridge.core import messages as m
from bridge.errors import ConfigError
from bridge.picture import Story, page, tell
from bridge.picture import lanes as s
from bridge.picture.chart import KINDS, chart, clock
from bridge.recording.channels import channels
from bridge.recording.walking import Walk
from bridge.testing.call import begin
from tests.browser import Page, browser, chromium
from tests.long_form import some_of

FOLDER = Path(__file__).parent / "replays"
CALLS = sorted(file.name.removesuffix(".call.jsonl") for file in FOLDER.glob("*.call.jsonl"))
MAX_BYTES = 120_000
LANES = "document.getElementById('chart').lanes"


def recording(name: str) -> list[str]:
    return (FOLDER / f"{name}.call.jsonl").read_text(encoding="utf-8").splitlines()


def bars(story: Story, lane: str) -> list[tuple[str, int, int]]:
    return [(bar.kind, round(bar.start_ms), round(bar.end_ms)) for bar in story.bars if bar.lane == lane]


def points(story: Story, lane: str) -> list[tuple[str, float]]:
    return [(point.kind, point.at_ms) for point in story.points if point.lane == lane]


# --- what is told -------------------------------------------------------------------------------------------


def test_what_the_caller_heard_is_what_the_ledger_says() -> None:
    """Three items queued back to back, cut at 2,700 ms: the second after 700 ms of it, the third unheard."""
    story = tell(recording("barge-in-two-items"))
    assert bars(story, s.HEARD)[:1] == [("lost", 2_700, 3_981)]
    heard = [bar for bar in bars(story, s.HEARD) if bar[0] == "heard"]
    assert heard == [("heard", 1_000, 2_000), ("heard", 2_000, 2_700)]
    (cuts,) = story.barge_ins.values()
    assert [(cut.item_id, cut.heard_ms, cut.told_ms, cut.error_ms) for cut in cuts] == [
        ("item_2", 700, 700, 0),
        ("item_3", 0, 0, 0),
    ]
    assert [cut.proven_ms for cut in cuts] == [600, 0], "the mark after 600 ms had come back"
    assert points(story, s.CUTS) == [("clear", 2_700), ("truncate", 2_700), ("delete", 2_700)]
    said = [(line.who, line.heard, line.cut_ms) for line in story.talk if line.who == "model"]
    assert said == [
        ("model", "The first sentence is heard.", None),
        ("model", "The second", 700),
        ("model", "", 0),
    ]


def test_a_model_that_was_told_something_else_shows_an_error() -> None:
    lines = [
        line.replace('"audio_end_ms":700', '"audio_end_ms":760') for line in recording("barge-in-two-items")
    ]
    story = tell(lines)
    assert [cut.error_ms for cuts in story.barge_ins.values() for cut in cuts] == [60, 0]
    assert story.difference is not None
    assert "this version decides otherwise" in page(story, "x")


def test_the_buffer_of_the_carrier_runs_down_and_is_emptied() -> None:
    story = tell(recording("barge-in-two-items"))
    assert story.depth[:5] == [(0, 0), (1_000, 0), (1_000, 5_000), (2_700, 3_300), (2_700, 0)]


def test_deltas_that_came_too_late_are_told_from_those_that_waited() -> None:
    late = [point.kind for point in tell(recording("late-deltas")).points if point.lane == s.MODEL]
    assert "unsent" in late
    held = tell(recording("disclosure-not-cut"))
    assert {point.kind for point in held.points if point.lane == s.MODEL} == {"delta"}


def test_a_tool_a_filler_and_an_answer() -> None:
    story = tell(recording("tool-filler"))
    (tool,) = [bar for bar in story.bars if bar.lane == s.TOOLS]
    assert (tool.words, round(tool.end_ms)) == ("find_order", 8_000)
    assert [line.who for line in story.talk] == ["caller", "model", "tool", "bridge", "bridge", "model"]
    assert story.talk[1].latency_ms == story.stats.turn_latencies_ms[0]
    assert story.talk[2].heard == '{"state": "on its way"}'


def test_a_session_that_was_lost_and_had_back() -> None:
    story = tell(recording("model-lost-mid-speech"))
    assert bars(story, s.SESSION) == [
        ("dialling", 0, 150),
        ("session", 150, 2_500),
        ("dialling", 2_500, 2_650),
        ("session", 2_650, 6_000),
    ]
    assert ("error", 2_500) in points(story, s.SESSION)
    heard = [bar.title.partition(" · ")[0] for bar in story.bars if bar.kind == "heard"]
    assert heard == ["item_1", "item_1 (2)"], "the second session gives its ids anew"


@pytest.mark.parametrize("name", some_of(CALLS, every=3, others=[pytest.mark.hostile]))
def test_every_call_can_be_told(name: str) -> None:
    """Whatever happens in it: nothing is drawn backwards, after its end, or in a kind without a colour."""
    story = tell(recording(name))
    assert story.difference is None
    assert story.ended != Story.ended  # type: ignore[misc]
    for bar in story.bars:
        assert 0 <= bar.start_ms <= bar.end_ms <= story.end_ms
    assert all(after >= before for (before, _), (after, _) in zip(story.depth, story.depth[1:], strict=False))
    assert {one.kind for one in (*story.bars, *story.points)} <= set(KINDS)  # type: ignore[attr-defined]
    # What was heard of each item adds up to what the ledger told.
    walk = Walk(recording(name))
    total_ms = sum(
        bar.end_ms - bar.start_ms for bar in story.bars if bar.lane == s.HEARD and bar.kind != "lost"
    )
    for _ in walk:
        pass
    ledger = walk.call.playout.line.ledger
    assert total_ms <= ledger.sent / 8 + 1


@pytest.mark.parametrize("answers", [6, pytest.param(60, marks=pytest.mark.hostile)])
def test_a_call_of_minutes_stays_small(answers: int) -> None:
    """Deltas and marks are drawn together where nobody could tell them apart."""
    from bridge.testing.call import begin

    call = begin()
    for number in range(answers):
        call.model.speaks(f"Answer number {number}, and it goes on for a while.", ms=8_000)
        call.wait(8_500 if number % 3 else 3_000)
        if number % 3 == 0:
            call.caller.interrupts("Stop.")
        call.wait(1_500)
    call.close()
    story = tell(call.lines)
    assert len(story.barge_ins) == answers // 3
    assert len(page(story, "minutes").encode()) < max(answers / 20, 1) * MAX_BYTES


def test_a_call_that_broke_and_a_recording_that_was_torn_are_drawn_as_far_as_they_go() -> None:
    lines = recording("tool-filler")
    story = tell([*lines[:40], lines[40][: len(lines[40]) // 2]])
    assert story.ended == "the recording stops before the call ends"
    assert "the recording stops" in page(story, "torn")
    story = tell([*lines[:40], '{"truncated":"disk full"}'])
    assert story.ended == "the recording was cut short: disk full"


# --- the page -----------------------------------------------------------------------------------------------


class Addresses(HTMLParser):
    """Everything in a page that could make a browser ask for something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("src", "href", "srcset", "action", "poster", "data"):
                self.found.append((tag, value or ""))


def test_the_page_names_no_address_and_holds_no_text_as_markup() -> None:
    lines = [
        line.replace("Where is my order?", "<img src=x onerror=alert(1)></script>")
        for line in recording("tool-filler")
    ]
    text = page(tell(lines), "a <b>name</b>")
    parser = Addresses()
    parser.feed(text)
    assert parser.found == []
    assert "&lt;img src=x onerror=alert(1)&gt;&lt;/script&gt;" in text
    assert "<img" not in text
    assert "<title>a &lt;b&gt;name&lt;/b&gt;</title>" in text
    assert len(text.encode()) < MAX_BYTES


def test_the_chart_has_what_is_drawn_by_lanes_and_kinds() -> None:
    data = chart(tell(recording("barge-in-twice")))
    assert data["lanes"][0][0] == s.CALLER
    assert all(0 <= lane < len(data["lanes"]) for lane, *_ in (*data["bars"], *data["points"]))
    assert len(data["cuts"]) == 2
    assert data["depth"][-1][0] == data["end"]


@pytest.mark.parametrize(("ms", "text"), [(0, "0:00.000"), (62_345.4, "1:02.345"), (3_600_000, "60:00.000")])
def test_a_moment_is_told_to_the_millisecond(ms: float, text: str) -> None:
    assert clock(ms) == text


# --- in a browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    if chromium() is None:
        pytest.skip("there is no chromium here")
    with browser() as page:
        yield page


def drawn(name: str, tab: Page, folder: Path, **look: Any) -> Path:
    file = folder / f"{name}.html"
    file.write_text(page(tell(recording(name)), name), encoding="utf-8")
    tab.requests.clear()
    tab.complaints.clear()
    tab.look(**look)
    tab.open(file)
    return file


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "barge_ins"), [("barge-in-twice", 2), ("barge-in-two-items", 1), ("greeting-heard", 0)]
)
def test_a_browser_shows_the_right_number_of_barge_ins_and_asks_nobody(
    name: str, barge_ins: int, tab: Page, tmp_path: Path
) -> None:
    file = drawn(name, tab, tmp_path)
    assert tab.value("document.querySelectorAll('tr.barge-in').length") == barge_ins
    assert tab.value("document.querySelectorAll('#chart line.barge-in').length") == barge_ins
    facts = tab.value(
        "Object.fromEntries([...document.querySelectorAll('.facts div')]"
        ".map(one => [one.children[0].textContent, one.children[1].textContent]))"
    )
    assert facts["barge-ins"] == str(barge_ins)
    assert tab.requests == [file.as_uri()]
    assert tab.complaints == []


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1_280])
def test_it_fits_the_window_and_has_the_colours_its_reader_likes(
    width: int, dark: bool, tab: Page, tmp_path: Path
) -> None:
    drawn("goodbye-taken-back", tab, tmp_path, width=width, dark=dark)
    assert tab.value("document.documentElement.scrollWidth") <= width
    paper = tab.value("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 27)" if dark else "rgb(251, 250, 248)")
    heard = "[...document.querySelectorAll('#chart rect')].map(one => getComputedStyle(one).fill)"
    assert ("rgb(47, 102, 168)" if dark else "rgb(127, 178, 236)") in tab.value(heard)
    assert tab.value("document.querySelector('#chart svg').getBoundingClientRect().width") > 0.8 * width


@pytest.mark.browser
def test_a_click_tells_the_frame_and_keys_look_closer(tab: Page, tmp_path: Path) -> None:
    drawn("barge-in-one-item", tab, tmp_path)
    assert "Click on something" in tab.value("details.innerText")
    tab.click("#chart path.point[stroke='var(--kind-truncate)']")
    tip = tab.value("details.innerText")
    for told in ("truncate item_1 to 600 ms", "0:01.640", "input_audio_buffer.speech_started"):
        assert told in tip
    tab.value("document.getElementById('chart').focus()")
    tab.press("ArrowDown")
    assert tab.value("details.innerText") != tip
    span = (
        "Math.round(document.getElementById('chart').lanes.to - document.getElementById('chart').lanes.from)"
    )
    whole = tab.value(span)
    tab.press("w")
    assert tab.value(span) == pytest.approx(whole / 2, abs=1)
    tab.click("[data-zoom=f]")
    assert tab.value(span) == whole
    tab.click("tr.barge-in button")
    assert tab.value(span) == min(5_000, whole)
    assert tab.complaints == []


# --- the command --------------------------------------------------------------------------------------------


def test_the_command_writes_the_page_and_says_what_stands_on_top(tmp_path: Path) -> None:
    out = tmp_path / "call.html"
    result = CliRunner().invoke(
        cli.app, ["show", str(FOLDER / "barge-in-twice.call.jsonl"), "--out", str(out)]
    )
    assert result.exit_code == 0
    assert "barge-ins  2" in result.stdout
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_summary_as_json(tmp_path: Path) -> None:
    out = tmp_path / "call.html"
    file = FOLDER / "barge-in-one-item.call.jsonl"
    result = CliRunner().invoke(cli.app, ["show", str(file), "--out", str(out), "--json"])
    told = json.loads(result.stdout)
    assert (told["html"], told["turns"], told["replays"]) == (str(out), 1, True)
    (barge_in,) = told["barge_ins"]
    assert barge_in["at_ms"] == 1_640
    assert barge_in["items"][0]["heard_ms"] == barge_in["items"][0]["told_ms"] == 600


def test_what_is_no_recording_is_one_line() -> None:
    with pytest.raises(ConfigError, match="no recording"):
        tell(["{}"])


# --- what is read first ------------------------------------------------------------------------------------


def failing_call() -> list[str]:
    """A barge-in after 2,500 ms, and a tool that fails at once."""
    call = begin(recording={"sound": True}).at(500)
    call.model.speaks("We are open from nine to five.", 5_000)
    call.wait(2_500)
    call.caller.interrupts(words="What does it cost?")
    call.model.calls("price", what="cut")
    call.wait(2_000)
    call.model.answers("I can't find that out.")
    wanted = call.rehearsal.log(m.ToolWanted)[0]
    call.rehearsal.feed(m.ToolFinished(wanted.call_id, '{"error": "no <b>list</b>"}'))
    call.wait(3_000)
    call.caller.hangs_up()
    call.wait(50)
    header = json.loads(call.lines[0])
    header["at"] = "2026-11-29T14:03:00+00:00"
    return [json.dumps(header), *call.lines[1:]]


def test_a_failed_tool_looks_failed_wherever_it_stands() -> None:
    story = tell(failing_call())
    (bar,) = [bar for bar in story.bars if bar.lane == s.TOOLS]
    assert (bar.kind, bar.words) == ("failed", "✕ price: no <b>list</b>")
    drawn = page(story, "x")
    assert "1, 1 failed" in drawn
    assert '<li class="tool failed">' in drawn
    assert "<b>list" not in drawn


def test_the_headline_is_the_call_and_the_hero_its_largest_error() -> None:
    drawn = page(tell(failing_call()), "20261129T140300Z-00000001")
    assert "<title>Sun 29 Nov 2026, 14:03 · gpt-realtime-2.1 · 0:08</title>" in drawn
    assert "<b>0 ms</b><span>largest truncation error, over one barge-in</span>" in drawn
    assert "the caller heard 2,500 ms, the model was told 2,500" in drawn


def test_each_answer_has_a_bar_of_parts_that_sum_to_what_was_felt() -> None:
    lines = recording("tool-filler")
    story = tell(lines)
    drawn = page(story, "x")
    falls = drawn.partition('<ol class="falls">')[2].partition("</ol>")[0]
    timed = [turn for turn in story.stats.turn_times if turn.felt_ms is not None]
    assert len(timed) >= 1
    assert falls.count("<li>") == len(timed)
    for turn, row in zip(timed, falls.split("<li>")[1:], strict=True):
        told = re.findall(r"(\w+) ([\d,]+) ms", row.partition("<small>")[2])
        parts = {name: ms for name, ms in turn.parts().items() if ms}
        assert {name: int(ms.replace(",", "")) for name, ms in told} == parts
        assert sum(int(ms.replace(",", "")) for _, ms in told) == turn.felt_ms
        longest = max(one.felt_ms or 0 for one in timed)
        wide = sum(map(float, re.findall(r' width="([\d.]+)" height', row)))
        assert wide == pytest.approx(1_000 * (turn.felt_ms or 0) / longest, abs=1)


def test_without_a_barge_in_the_hero_is_how_soon_answers_came() -> None:
    assert "from the caller's last sound to the answer" in page(tell(recording("greeting-heard")), "x")


@pytest.mark.skipif(chromium() is None, reason="chromium is not installed")
@pytest.mark.browser
def test_the_head_of_the_player_is_where_its_sound_is(tab: Page, tmp_path: Path) -> None:
    lines = failing_call()
    both = channels(lines)
    file = tmp_path / "call.html"
    file.write_text(page(tell(lines), "x", stereo_of(both.caller, both.heard)), encoding="utf-8")
    tab.open(file)
    tab.until("player.duration > 0")
    assert abs(tab.value("player.duration") - len(both.heard) / 8_000) < 0.01
    tab.value("void (player.currentTime = 4)")
    tab.until("document.querySelector('.head').getAttribute('visibility') === 'visible'")
    at_ms = tab.value(f"{LANES}.ms(Number(document.querySelector('.head').getAttribute('x1')))")
    assert abs(at_ms - 4_000) <= 30
    assert not tab.complaints
