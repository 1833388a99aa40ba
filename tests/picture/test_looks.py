"""How the picture looks, measured in a browser. Pictures of it go to `build/picture/`."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.picture import Story, page, tell
from bridge.picture.folder import CallRow, folder_page

from ..browser import Page, browser, chromium
from ..pages.axe import violations
from .calls import busy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
PICTURES = Path(__file__).parents[2] / "build" / "picture"
WIDTHS = (390, 1_024, 1_440)
LANES = "document.getElementById('chart').lanes"


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture(scope="module")
def story() -> Story:
    return tell(busy(22))


@pytest.fixture(scope="module")
def file(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("picture") / "call.html"
    file.write_text(page(story, "20261129T140300Z-00000001"), encoding="utf-8")
    return file


def shown(tab: Page, file: Path, width: int, *, dark: bool = False) -> None:
    tab.complaints.clear()
    tab.look(width=width, height=1_400, dark=dark, still=True)
    tab.open(file)


# Boxes of texts and of what they must not cover, and the pairs that do; in pixels of the window.
COLLISIONS = """
(() => {
  const box = (one) => one.getBoundingClientRect();
  const meet = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5
    && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5;
  const all = (selector) => [...document.querySelectorAll('#chart ' + selector)];
  const texts = all('text'), found = [];
  for (const text of texts) {
    const marks = [...all('.point'), ...all('.density'), ...(text.matches('.on') ? [] : all('.bar'))];
    for (const other of [...marks, ...texts])
      if (other !== text && meet(box(text), box(other)))
        found.push(`${text.textContent} meets ${other.getAttribute('class')} ${other.textContent}`);
  }
  return found;
})()
"""
# Words on bars that are longer than their bar, or begin outside of the view.
SPILLED = """
(() => {
  const bars = [...document.querySelectorAll('#chart .bar')].map((one) => one.getBoundingClientRect());
  const view = document.getElementById('chart').getBoundingClientRect();
  return [...document.querySelectorAll('#chart text.on')].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < view.left || box.right > view.right || !bars.some((bar) => bar.left <= box.left
      && bar.right >= box.right && bar.top <= box.top + 2 && bar.bottom >= box.bottom - 2);
  }).map((text) => text.textContent);
})()
"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view_ms", [None, (20_000, 50_000), (56_000, 62_000), (33_000, 34_000)])
def test_no_text_covers_a_mark_or_leaves_its_bar(
    tab: Page, file: Path, width: int, view_ms: tuple[int, int] | None
) -> None:
    shown(tab, file, width)
    if view_ms is not None:
        tab.value(f"{LANES}.look({view_ms[0]}, {view_ms[1]})")
    assert tab.value("document.querySelectorAll('#chart text').length") > 12
    assert tab.value(COLLISIONS) == []
    assert tab.value(SPILLED) == []


def test_a_bar_in_part_in_view_keeps_its_words_there(tab: Page, file: Path, story: Story) -> None:
    long = next(bar for bar in story.bars if bar.kind == "heard" and bar.end_ms - bar.start_ms > 4_000)
    shown(tab, file, 1_440)
    tab.value(f"{LANES}.look({long.start_ms + 2_000}, {long.start_ms + 4_000})")
    words = "[...document.querySelectorAll('#chart text.on.heard')].map((one) => one.textContent)"
    assert tab.value(words) == [long.words]


MARKS = "document.querySelectorAll('#chart .density, #chart [stroke*=mark], #chart [stroke*=echo]').length"


def test_marks_are_columns_from_afar_and_triangles_near_by(tab: Page, tmp_path: Path) -> None:
    story = tell(busy(44))
    assert story.end_ms > 300_000
    file = tmp_path / "long.html"
    file.write_text(page(story, "x"), encoding="utf-8")
    shown(tab, file, 1_440)
    marks = sum(point.times for point in story.points if point.lane == "marks")
    assert marks > 2_000
    assert 1 <= tab.value(MARKS) <= 400
    assert tab.value("document.querySelectorAll('#chart .density').length") >= 1
    tab.value(f"{LANES}.look(20000, 24000)")
    assert tab.value("document.querySelectorAll('#chart .density').length") == 0
    assert 10 <= tab.value(MARKS) <= 78


def test_late_echoes_are_amber(tab: Page, tmp_path: Path) -> None:
    story = tell(busy(22))
    echoes = [point for point in story.points if point.kind == "echo"]
    for late in echoes[200:220]:
        late.delay_ms = 900
    file = tmp_path / "late.html"
    file.write_text(page(story, "x"), encoding="utf-8")
    shown(tab, file, 1_440)
    strokes = "[...document.querySelectorAll('#chart .density')].map((one) => one.getAttribute('stroke'))"
    assert tab.value(strokes) == ["var(--kind-echo)", "var(--kind-late)"]


def test_the_legend_is_folded_and_drawn_as_the_chart(tab: Page, file: Path) -> None:
    shown(tab, file, 1_440)
    assert tab.value("document.querySelector('details.legend').open") is False
    assert tab.value("document.querySelectorAll('#legend li').length") >= 12
    tab.click("details.legend summary")
    assert tab.value("document.querySelector('#legend li').checkVisibility()")
    shapes = "[...new Set([...document.querySelectorAll('%s .point')].map((one) => one.getAttribute('d')))]"
    assert set(tab.value(shapes % "#chart")) <= set(tab.value(shapes % "#legend"))


# The rows of each group of facts that do not reach from one side of the group to the other.
HOLES = """
[...document.querySelectorAll('.facts dl')].flatMap((group) => {
  const whole = group.getBoundingClientRect(), rows = new Map();
  for (const one of group.children) {
    const box = one.getBoundingClientRect();
    rows.set(Math.round(box.top), [...(rows.get(Math.round(box.top)) ?? []), box]);
  }
  return [...rows.values()].filter((row) => Math.min(...row.map((box) => box.left)) > whole.left + 2
    || Math.max(...row.map((box) => box.right)) < whole.right - 2).length;
})
"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [6, 7, 8, 9])
def test_facts_leave_no_hole(tab: Page, file: Path, width: int, count: int) -> None:
    shown(tab, file, width)
    tab.value(
        "(() => { const all = [...document.querySelectorAll('.facts div')];"
        f" all.slice({count}).forEach((one) => one.remove());"
        f" for (let n = all.length; n < {count}; n++)"
        " document.querySelector('.facts dl').append(all[0].cloneNode(true)); })()"
    )
    assert tab.value("document.querySelectorAll('.facts div').length") == count
    assert set(tab.value(HOLES)) == {0}
    if width == 1_440:
        one_line = "[...document.querySelectorAll('.facts dd')].every((one) => one.offsetHeight < 30)"
        assert tab.value(one_line)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_breaks_no_rule_of_accessibility_and_nothing_scrolls_sideways(
    tab: Page, file: Path, width: int, dark: bool
) -> None:
    shown(tab, file, width, dark=dark)
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = f"busy-{width}-{'dark' if dark else 'light'}.png"
    (PICTURES / name).write_bytes(tab.screenshot())
    assert tab.value("document.documentElement.scrollWidth") <= width
    wider = (
        "[...document.querySelectorAll('main *:not(thead, thead *, .aside)')].filter((one) => one.clientWidth"
        " && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline')"
        ".map((one) => one.outerHTML.slice(0, 90))"
    )
    assert tab.value(wider) == []
    tab.click("details.legend summary")
    assert violations(tab) == []
    assert tab.complaints == []


def test_beside_what_is_clicked_stands_the_command_that_makes_a_test_of_it(tab: Page, file: Path) -> None:
    shown(tab, file, 1_440)
    tab.value(f"{LANES}.step(1)")
    at_ms = tab.value(f"{LANES}.picked.from")
    command = tab.value("document.querySelector('#details code').textContent")
    assert command == f"phonebridge make-test 20261129T140300Z-00000001 --at {at_ms / 1000:.2f}"


def test_tables_are_cards_on_a_phone(tab: Page, file: Path) -> None:
    shown(tab, file, 390)
    heads = (
        "[...document.querySelectorAll('table.%s tbody tr:first-child td')]"
        ".map((one) => getComputedStyle(one, '::before').content)"
    )
    assert '"told the model"' in tab.value(heads % "cuts")
    assert '"answered"' in tab.value(heads % "tools")
    shown(tab, file, 1_440)
    assert set(tab.value(heads % "cuts")) == {"none"}


def pdf(tab: Page) -> bytes:
    answer: dict[str, Any] = tab.command("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
    return b64decode(answer["data"])


def test_three_minutes_are_four_sheets_of_paper_at_most(tab: Page, file: Path, story: Story) -> None:
    assert 150_000 < story.end_ms <= 185_000
    shown(tab, file, 1_440, dark=True)
    printed = pdf(tab)
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "busy.pdf").write_bytes(printed)
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 4
    (wide, high) = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", printed)[0]
    assert float(wide) > float(high) > 590
    # What is drawn for the paper: a strip for each minute, and nothing of it stays on the screen.
    tab.value("dispatchEvent(new Event('beforeprint'))")
    assert tab.value("document.querySelectorAll('#strips svg.call-chart').length") == 3
    tab.value("dispatchEvent(new Event('afterprint'))")
    assert tab.value("document.querySelectorAll('#strips svg.call-chart').length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_folder_s_page_breaks_no_rule_and_fits(tab: Page, tmp_path: Path, dark: bool) -> None:
    usual = {"at": "2026-11-29T14:03:00", "caller": "+1…34", "agent": "desk", "model": "gpt-realtime-2.1"}
    rows = [
        CallRow(
            f"20261129T14030{number}Z-0000000{number}", **usual, duration_ms=191_000,
            end="the caller hung up",
            barge_ins=number, error_ms=number * 40 or None, tools=4, tools_failed=number % 2,
            faults=["a tool failed: the stock system does not answer"] * (number % 2),
        )
        for number in range(6)
    ]  # fmt: skip
    file = tmp_path / "calls.html"
    torn = CallRow("torn", unreadable="it can't be read: Input data was truncated")
    file.write_text(folder_page([*rows, torn], "recordings"), encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for width in (*WIDTHS, 320):
        tab.look(width=width, height=900, dark=dark, still=True)
        tab.visit(file.as_uri())
        name = f"folder-{width}-{'dark' if dark else 'light'}.png"
        (PICTURES / name).write_bytes(tab.screenshot())
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert violations(tab) == []
