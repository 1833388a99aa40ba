"""docs/source-checklist.md has every row, and every test it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.sources import parsed

ROOT = Path(__file__).resolve().parents[2]
ROWS = {"SQ": 14, "AF": 11, "OP": 35, "JS": 19}
ROW = re.compile(r"^\| ([A-Z]{2}-\d+) \| (.+?) \| (.*?) \| (.+) \|$", re.MULTILINE)


def document() -> dict[str, tuple[str, list[str]]]:
    """Our name and the tests of each row."""
    text = (ROOT / "docs" / "source-checklist.md").read_text(encoding="utf-8")
    found = {row: (ours, re.findall(r"test_\w+", tests)) for row, ours, _, tests in ROW.findall(text)}
    assert len(found) == len(ROW.findall(text))
    return found


def written() -> set[str]:
    """The names of all tests that carry a row's id."""
    names = set()
    for folder in ("checklist", "agents"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            tree = parsed(path)
            names |= {
                node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return {name for name in names if re.match(r"test_(sq|af|op|js)_\d\d_", name)}


def test_every_row_is_there_with_a_name_of_ours() -> None:
    rows = document()
    assert list(rows) == [f"{family}-{n}" for family, count in ROWS.items() for n in range(1, count + 1)]
    assert len(rows) == 79
    assert all(ours.strip() for ours, _ in rows.values())


def test_every_row_names_tests_with_its_own_id_and_all_of_them_exist() -> None:
    existing = written()
    for row, (_, tests) in document().items():
        family, number = row.split("-")
        assert tests, row
        for test in tests:
            assert test in existing, f"{row} names {test}, which is not there"
            assert test.startswith(f"test_{family.lower()}_{int(number):02}_"), (row, test)


def test_no_test_of_a_row_is_left_out_of_the_document() -> None:
    named = {test for _, tests in document().values() for test in tests}
    assert written() == named
