"""docs/architecture.md is true: its floors, files, steps and its count of a barge-in."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.sources import parsed
from tests.test_floors import FLOORS, PACKAGE, imported

ROOT = PACKAGE.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SMALL = {"Item.said", "Span.over"}
METHODS = ast.FunctionDef | ast.AsyncFunctionDef
STEP = re.compile(r"(bridge/[\w/]+\.py) +((?:\w+\.)?\w+(?:, (?:\w+\.)?\w+)*)")


def defined(path: Path) -> set[str]:
    """Functions, classes and methods (`Class.method`) of a file, those of base classes in it included."""
    found: set[str] = set()
    for node in parsed(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, METHODS)}
    return found


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_read_in_ten_minutes() -> None:
    assert len(PAGE.splitlines()) <= 200


def steps() -> list[tuple[str, str]]:
    return [(file, name) for file, names in STEP.findall(PAGE) for name in names.split(", ")]


def test_there_are_steps_to_check() -> None:
    assert len(steps()) > 30


@pytest.mark.parametrize(("file", "name"), steps())
def test_every_step_of_a_drawing_is_a_function_in_that_file(file: str, name: str) -> None:
    assert name in defined(ROOT / file)


@pytest.mark.parametrize("path", re.findall(r"`((?:bridge|tests|scripts|docs)/[\w./-]+|\w+\.md)`", PAGE))
def test_every_file_it_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_drawing_of_the_floors_is_the_list_that_the_imports_are_held_to() -> None:
    drawn: dict[str, int] = {}
    for floor, rooms in re.findall(r"^ +(\d+) {5}(\w+(?: {1,2}\w+)*)(?: {3,}.*)?$", PAGE, re.MULTILINE):
        drawn |= dict.fromkeys(rooms.split(), int(floor))
    assert drawn == FLOORS


def test_the_files_of_the_core_are_ordered_as_drawn() -> None:
    chain = re.search(r"^ state < .+\n.+ call$", PAGE, re.MULTILINE)
    assert chain is not None
    ranks = [part.split(", ") for part in re.split(r"\s*<\s*", chain.group().strip())]
    rank = {file: place for place, files in enumerate(ranks) for file in files}
    for file, place in rank.items():
        path = Path("core") / f"{file}.py"
        for _, module, name in imported(parsed(PACKAGE / path), path):
            for target in (module.rpartition(".")[2], name or ""):
                assert target == file or rank.get(target, -1) < place, f"{file} imports {target}"


def test_the_drawing_of_a_barge_in_is_whole() -> None:
    """But for the smallest: properties, and what only one of the functions drawn calls."""
    drawn = {(Path(file).name, name) for file, name in steps()}
    found = script("count_barge_in").passed()
    assert {name for file, name in found if (file, name) not in drawn} <= SMALL


def test_a_barge_in_passes_few_functions_in_few_files() -> None:
    found = script("count_barge_in").passed()
    assert len(found) <= 25
    assert len({file for file, _ in found}) <= 6


def test_a_barge_in_passes_about_as_many_functions_as_the_page_says() -> None:
    """Within a quarter: the page need not follow each change of the core."""
    found = script("count_barge_in").passed()
    said = re.search(r"(\d+) functions in (\d+) files", PAGE)
    assert said is not None
    functions, files = len(found), len({file for file, _ in found})
    assert functions == pytest.approx(int(said[1]), rel=0.25)
    assert files == pytest.approx(int(said[2]), rel=0.25)
