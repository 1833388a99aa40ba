"""The files of an experiment: JUnit that a CI server takes, a page, a summary; none has a hidden value."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.experiments.callers import veiled_recording
from bridge.experiments.report import (
    MASK,
    Case,
    Cell,
    Fault,
    Suite,
    Table,
    Veil,
    add_to_step_summary,
    junit,
    markdown,
    page,
    write_text,
)

# Jenkins' junit-10.xsd: the elements in each element, the attributes it has to have, and those it may have.
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testsuite", "properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "property": set(),
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
    "failure": set(),
    "error": set(),
    "system-out": set(),
}
MUST = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "testcase": {"name"},
    "property": {"name", "value"},
}
MAY = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"time", "skipped", "timestamp", "hostname", "id", "package", "file"},
    "testcase": {"time", "classname", "group"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
}


def check_junit(text: str) -> ET.Element:
    """Raises AssertionError for what junit-10.xsd refuses; the root."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert {child.tag for child in element} <= CHILDREN[element.tag], element.tag
        must, may = MUST.get(element.tag, set()), MAY.get(element.tag, set())
        assert must <= set(element.keys()) <= must | may, element.tag
    for suite in root.iter("testsuite"):
        cases = suite.findall("testcase")
        red = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
        assert int(suite.get("tests", "")) == len(cases)
        assert int(suite.get("failures", "")) + int(suite.get("errors", "")) == len(red)
    return root


SUITES = [
    Suite(
        "books although interrupted",
        [
            Case("run 1", 62.5, figures={"felt_p95_ms": "812"}, output="calls/one.html"),
            Case("run 2", 60, [Fault("tool_missing", "book was not called", "called: none")]),
            Case("run 3", 0, [Fault("harness", "no stream\x00\x1b[31m", error=True)]),
        ],
    ),
    Suite("says <goodbye> & leaves", []),
]


def test_junit_is_what_jenkins_schema_allows():
    root = check_junit(junit("callers", SUITES))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    suite = root.find("testsuite")
    assert suite is not None
    assert [(one.get("name"), one.get("value")) for one in suite.iter("property")] == [
        ("run 1: felt_p95_ms", "812")
    ]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert (failure.get("type"), failure.text) == ("tool_missing", "called: none")


def test_junit_has_nothing_that_xml_cannot_write():
    text = junit("callers", SUITES)
    assert "\x00" not in text
    assert "\x1b" not in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


TABLES = [
    Table(
        "Runs", ["run", "verdict"], [["1", Cell("passed", "good", "runs/one two.html")], ["<script>", "a|b"]]
    )
]


def test_a_page_loads_nothing_and_runs_nothing():
    tags = _Tags()
    tags.feed(page("Callers", Cell("1 of 2", "bad"), {"seed": "<b>"}, TABLES, Veil()))
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags.tags}
    assert [attributes["href"] for tag, attributes in tags.tags if tag == "a"] == ["runs/one two.html"]


def test_markdown_has_a_row_for_each_and_no_markup():
    lines = markdown("Callers", "1 of 2", TABLES, Veil()).splitlines()
    assert lines[4:8] == ["### Runs", "", "| run | verdict |", "| --- | --- |"]
    assert r"| \<script\> | a\|b |" in lines


def test_hidden_values_are_in_no_file():
    secrets = ["sk-planted-1", "sk-planted", "+15550107777", "a.b"]
    veil = Veil([*secrets, "no", ""])
    text = f"say {secrets[0]} to {secrets[2]}, not a.b or axb"
    suites = [Suite(text, [Case(text, 1, [Fault("harness", text, text)], {text: text}, text)])]
    table = Table(text, [text], [[Cell(text, "bad", text)], [text]], text)
    made = [
        junit(text, suites, veil),
        page(text, Cell(text), {text: text}, [table], veil),
        markdown(text, text, [table], veil),
    ]
    for one in made:
        assert MASK in one
        assert "axb" in one
        assert "not" in one
        for secret in ("sk-planted", "+15550107777", "15550107777"):
            assert secret not in one


@pytest.mark.parametrize(
    "name", ["Jürgen Müller", 'Ann "Bee" O\\Neil', "two\nlines", "Ann\u2028Lee", "😀 Ann"]
)
def test_hidden_values_are_hidden_in_json_too(name: str):
    """In a line of a recording, in a frame that stands there as a text, and in the arguments of a tool."""
    veil = Veil([name])
    for ascii_only in (False, True):

        def written(value: object) -> str:
            return json.dumps(value, ensure_ascii=ascii_only)  # noqa: B023

        frame = {"name": "book", "arguments": written({"name": name})}
        line = written({"frame": written(frame), "name": name})
        for told in (line, line.replace("\\u00fc", "\\u00FC")):
            (hidden,) = veiled_recording([told], veil, keys=False)
            arguments = json.loads(json.loads(json.loads(hidden)["frame"])["arguments"])
            assert (arguments, json.loads(hidden)["name"]) == ({"name": MASK}, MASK)


def test_a_value_that_a_model_says_word_by_word_is_hidden():
    """Each delta of its words has a part; in a recording they stand in frames and in lists."""
    frame = {"type": "response.output_audio_transcript.delta", "delta": "Ann-"}
    spoken = [{"frame": frame}, {"words": ["Marie ", "Bee, ", "+1 ", "555 "]}, {"words": ["010 ", "4711."]}]
    lines = [json.dumps(one, separators=(",", ":")) for one in spoken]
    hidden = list(veiled_recording(lines, Veil(["Ann-Marie Bee", "+15550104711"]), keys=False))
    assert json.loads(hidden[0])["frame"]["delta"] == MASK
    assert json.loads(hidden[1]) == {"words": [MASK, f"{MASK}, ", "+0 ", "000 "]}
    assert json.loads(hidden[2]) == {"words": ["000 ", "0000."]}
    assert list(veiled_recording(lines, Veil(["Ann Bee"]), keys=False)) == lines


def test_a_veiled_line_is_one_line():
    (line,) = veiled_recording(['{"a":"sk-planted","b":"\\u2028"}'], Veil(["sk-planted"]), keys=False)
    assert line.splitlines() == [line]


def test_a_step_summary_is_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert not add_to_step_summary("nothing")
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert add_to_step_summary("one")
    assert add_to_step_summary("two")
    assert path.read_text() == "one\ntwo\n"


def test_a_summary_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "summary.md"))
    assert add_to_step_summary("x") is False


def test_half_of_a_surrogate_pair_keeps_no_report_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A judge's quote, a tool's output, and the name of a file may have one; UTF-8 has no word for it."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert add_to_step_summary("a \ud800 quote")
    write_text(tmp_path / "report", "a \ud800 quote")
    assert (tmp_path / "report").read_text("utf-8") == "a ? quote"
    assert (tmp_path / "summary.md").read_text("utf-8") == "a ? quote\n"
    with pytest.raises(ConfigError, match="can't be written"):
        write_text(tmp_path / "no" / "report", "")
