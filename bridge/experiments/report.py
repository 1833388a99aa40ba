"""What an experiment found, as files: JUnit for a CI server, an HTML page, Markdown for a job's summary.

Every text passes a `Veil`: keys, tokens and numbers that an experiment was given are in none of its files.
"""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final, Literal

from ..errors import ConfigError
from ..recording.json_text import quoted
from ..recording.printable import printable_lines

Tone = Literal["", "good", "bad", "dim"]
MASK: Final = "••••"
STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
_LEAST_SECRET: Final = 4
"""Characters. Shorter values are in every text by chance."""
_DEPTHS: Final = 3
"""Of JSON in a recording: a line, the text of a frame in it, and arguments in that."""
_NUMBER: Final = re.compile(r"\+?[\d -]+")
_DIGIT: Final = re.compile(r"\d")
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Veil:
    """Hides values in texts: those of at least four characters. Of a number each digit becomes 0, also where
    it is written with spaces or dashes in it; everything else becomes dots, also where it stands in JSON.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        found = sorted(
            {form for one in secrets if len(one) >= _LEAST_SECRET for form in _forms(one)},
            key=lambda form: (-len(form), form),
        )
        self._found = re.compile("|".join(map(_pattern, found))) if found else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        return text if self._found is None else self._found.sub(_hidden, text)

    def spread(self, texts: Sequence[str]) -> list[str]:
        """Texts that follow each other, as a model's words do: also without what is spread over several."""
        if self._found is None:
            return list(texts)
        whole = "".join(texts)
        hidden = [(found.start(), found.end(), found[0]) for found in self._found.finditer(whole)]
        made, begin = [], 0
        for text in texts:
            end, parts, at = begin + len(text), list[str](), begin
            for first, last, what in hidden:
                if first < end and last > begin:
                    part = whole[max(first, begin) : min(last, end)]
                    parts += [whole[at : max(first, begin)], _masked(what, part)]
                    at = min(last, end)
            made.append("".join(parts) + whole[at:end])
            begin = end
        return made

    def json(self, value: Any) -> Any:
        """The same for every text in a value of JSON; numbers that are such a value are texts too."""
        if isinstance(value, dict):
            return {self(str(name)): self.json(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.json(one) for one in value]
        return self(value) if isinstance(value, str) else value


def _forms(secret: str) -> set[str]:
    """The value as it is, and as JSON has it: also within JSON, as the arguments of a tool are."""
    forms = {secret}
    for _ in range(_DEPTHS):
        forms |= {written(form)[1:-1] for form in forms for written in (quoted, json.dumps)}
    return forms


def _pattern(secret: str) -> str:
    digits = secret.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        return r"(?<!\d)\+?" + r"[ -]*".join(digits) + r"(?!\d)"
    pattern = re.escape(secret)
    return f"(?i:{pattern})" if r"\u" in secret else pattern


def _hidden(found: re.Match[str]) -> str:
    return _masked(found[0], found[0])


def _masked(secret: str, part: str) -> str:
    """A part of a value that is hidden."""
    return _DIGIT.sub("0", part) if _NUMBER.fullmatch(secret) else MASK


# --- JUnit ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a case is red. `error`: the experiment itself failed, and nothing is known of what it tried."""

    kind: str
    message: str
    detail: str = ""
    error: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a suite. `seconds` is how long the call was; `figures` become properties."""

    name: str
    seconds: float = 0.0
    faults: Sequence[Fault] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    output: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases that belong together."""

    name: str
    cases: Sequence[Case]


def junit(name: str, suites: Sequence[Suite], veil: Veil | None = None) -> str:
    """A JUnit report, as Jenkins' junit-10.xsd has it: figures are properties of the suite, since a case may
    have none.
    """
    hide = veil or Veil()
    cases = [case for suite in suites for case in suite.cases]
    root = ET.Element("testsuites", {"name": _xml(hide(name)), **_counts(cases)})
    for suite in suites:
        given = {"name": _xml(hide(suite.name)), **_counts(suite.cases), "skipped": "0"}
        element = ET.SubElement(root, "testsuite", given)
        figures = [
            (f"{case.name}: {key}", value) for case in suite.cases for key, value in case.figures.items()
        ]
        properties = ET.SubElement(element, "properties") if figures else element
        for key, value in figures:
            ET.SubElement(properties, "property", {"name": _xml(hide(key)), "value": _xml(hide(value))})
        for case in suite.cases:
            _case(element, suite, case, hide)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    errors = sum(any(fault.error for fault in case.faults) for case in cases)
    red = sum(bool(case.faults) for case in cases)
    seconds = sum(case.seconds for case in cases)
    return {
        "tests": str(len(cases)), "failures": str(red - errors), "errors": str(errors),
        "time": f"{seconds:.3f}",
    }  # fmt: skip


def _case(suite: ET.Element, named: Suite, case: Case, hide: Veil) -> None:
    names = {
        "name": _xml(hide(case.name)),
        "classname": _xml(hide(named.name)),
        "time": f"{case.seconds:.3f}",
    }
    element = ET.SubElement(suite, "testcase", names)
    for fault in case.faults:
        told = {"type": fault.kind, "message": _xml(hide(fault.message))}
        found = ET.SubElement(element, "error" if fault.error else "failure", told)
        found.text = _xml(hide(fault.detail))
    if case.output:
        ET.SubElement(element, "system-out").text = _xml(hide(case.output))


def _xml(text: str) -> str:
    """Without what XML 1.0 has no way to write."""
    return _NOT_XML.sub("�", text)


# --- HTML ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table; `href` makes it a link, relative to the page."""

    text: str
    tone: Tone = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its heading. A row of a page has a cell for each column; a plain string is a cell too."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    note: str = ""


def page(title: str, verdict: Cell, facts: Mapping[str, str], tables: Sequence[Table], veil: Veil) -> str:
    """One HTML file that loads nothing: the verdict, the facts, the tables."""
    shown = "".join(f"<div><dt>{_html(name, veil)}</dt><dd>{_html(value, veil)}</dd></div>"
                    for name, value in facts.items())  # fmt: skip
    body = "".join(_table(table, veil) for table in tables)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; media-src 'self'\">"
        f"<title>{_html(title, veil)}</title><style>{_STYLE}</style>"
        f"<main><h1>{_html(title, veil)}</h1>"
        f'<p class="verdict {verdict.tone}">{_html(verdict.text, veil)}</p>'
        f"<dl>{shown}</dl>{body}</main></html>\n"
    )


def _table(table: Table, veil: Veil) -> str:
    head = "".join(f'<th scope="col">{_html(name, veil)}</th>' for name in table.columns)
    rows = "".join("<tr>" + "".join(_cell(cell, veil) for cell in row) + "</tr>" for row in table.rows)
    note = f"<p>{_html(table.note, veil)}</p>" if table.note else ""
    return (
        f"<section><h2>{_html(table.heading, veil)}</h2>{note}"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _cell(cell: Cell | str, veil: Veil) -> str:
    given = cell if isinstance(cell, Cell) else Cell(cell)
    text = _html(given.text, veil)
    if given.href:
        text = f'<a href="{escape(veil(given.href), quote=True)}">{text}</a>'
    return f'<td class="{given.tone}">{text}</td>' if given.tone else f"<td>{text}</td>"


def _html(text: str, veil: Veil) -> str:
    """No markup, and nothing that turns a line around."""
    return escape(printable_lines(veil(text)))


_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#c1121f;--dim:#6b7280}
@media(prefers-color-scheme:dark){:root{--good:#4ade80;--bad:#ff8a8a;--dim:#a1a1aa}}
body{margin:0;font:15px/1.5 system-ui,sans-serif}main{max-width:76rem;margin:auto;padding:1.5rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
.verdict{font-size:1.15rem;font-weight:600;margin:.3rem 0 1rem}
dl{display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin:0}dt{color:var(--dim);font-size:.85rem}dd{margin:0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td{white-space:pre-line;font-variant-numeric:tabular-nums}th{font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}.dim{color:var(--dim)}
"""

# --- Markdown ------------------------------------------------------------------------------------------


def markdown(title: str, verdict: str, tables: Sequence[Table], veil: Veil) -> str:
    """The same for a job's summary."""
    lines = [f"## {_cell_text(title, veil)}", "", _cell_text(verdict, veil), ""]
    for table in tables:
        lines += [f"### {_cell_text(table.heading, veil)}", ""]
        lines += [_row(table.columns, veil), _row(["---"] * len(table.columns), veil)]
        lines += [
            _row([one.text if isinstance(one, Cell) else one for one in row], veil) for row in table.rows
        ]
        lines += ["", *([_cell_text(table.note, veil), ""] if table.note else [])]
    return "\n".join(lines)


def _row(cells: Sequence[str], veil: Veil) -> str:
    return "| " + " | ".join(_cell_text(cell, veil) for cell in cells) + " |"


def _cell_text(text: str, veil: Veil) -> str:
    """On one line, without markup."""
    line = " ".join(printable_lines(veil(text)).split())
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", line)


# --- files ---------------------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """A report as a file. Half of a surrogate pair, which UTF-8 has no word for, becomes a question mark.
    Raises ConfigError where it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from error


def add_to_step_summary(text: str) -> bool:
    """Append to the summary of the GitHub job that this runs in; False where there is none, and where it
    cannot be written: the other reports are told all the same.
    """
    path = os.environ.get(STEP_SUMMARY)
    if not path:
        return False
    try:
        with Path(path).open("a", encoding="utf-8", errors="replace") as summary:
            summary.write(text + "\n")
    except OSError:
        return False
    return True
