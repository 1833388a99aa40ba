"""docs/faults.md: each of its rows can be read, and has a test of its own that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.sources import parsed

FOLDER = Path(__file__).parent
TABLE = FOLDER.parents[1] / "docs" / "faults.md"
ROW = re.compile(
    r"^\| (?P<fault>[^|]+) \| (?P<hears>[^|]+) \| (?P<log>[^|]+) \| `(?P<test>[^`|]+)` \|$", re.MULTILINE
)


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer(TABLE.read_text(encoding="utf-8")))


def functions(path: Path) -> set[str]:
    """The tests of a file, by name."""
    tree = parsed(path)
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in found if node.name.startswith("test_")}


def test_every_line_of_the_tables_is_a_row_that_can_be_read() -> None:
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(lines) - len(rows()) == sum(line.startswith("| fault |") for line in lines)


def test_every_test_that_the_table_names_exists() -> None:
    named = {row["test"] for row in rows()}
    missing = []
    for name in named:
        file, _, test = name.partition("::")
        path = FOLDER / file if (FOLDER / file).exists() else FOLDER.parent / file
        if not path.exists() or test.partition("[")[0] not in functions(path):
            missing.append(name)
    assert missing == []


def test_there_are_at_least_45_faults_and_each_has_a_test_of_its_own() -> None:
    faults = [row["fault"] for row in rows()]
    tests = [row["test"] for row in rows()]
    assert len(set(tests)) >= 45
    assert len(set(tests)) == len(tests)
    for section in TABLE.read_text(encoding="utf-8").split("\n## ")[1:]:
        named = [row["fault"] for row in ROW.finditer(section)]
        assert len(named) == len(set(named)), section.partition("\n")[0]
    assert len(faults) == len(tests)
