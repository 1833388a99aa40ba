"""README and guides: every block of Python runs, every command and setting that a block names exists."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import typer.main

from bridge.cli import app
from bridge.settings.settings import Settings
from tests.calls import ROOT

pytest_plugins = ["pytester"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "bridge/cli/new_agent/README.md"]
SETTINGS = {str(field.validation_alias) for field in Settings.model_fields.values()}
OTHERS = {"PYTHON", "ARGS", "VENV", "NAME", "XDG_STATE_HOME"}
"""Variables that are not ours."""
COMMAND = typer.main.get_command(app)
ASSIGNED = re.compile(r"[A-Z][A-Z_]+=")


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def commands(page: Path) -> list[list[str]]:
    """Each line of a shell block as words, with `\\` at its end joined and `$(…)` left whole."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_ours_exists_with_its_options(page: Path) -> None:
    for line in commands(page):
        words = line[next((n for n, word in enumerate(line) if not ASSIGNED.match(word)), len(line)) :]
        if not words:
            continue
        program = Path(words[0]).name
        if program == "make":
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            wanted = [word for word in words[1:] if not ASSIGNED.match(word)]
            assert set(wanted) <= set(targets), words
        elif program == "phonebridge" or words[:3] == ["python", "-m", "bridge"]:
            arguments = words[1:] if program == "phonebridge" else words[3:]
            check(COMMAND, arguments)


def check(command: Any, arguments: list[str]) -> None:
    """Names of subcommands and options, one after the other."""
    if hasattr(command, "commands"):
        assert arguments, f"{command.name} wants a command"
        assert arguments[0] in command.commands or arguments[0].startswith("--"), arguments
        if arguments[0] in command.commands:
            check(command.commands[arguments[0]], arguments[1:])
        return
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    given = [word.partition("=")[0] for word in arguments if word.startswith("-")]
    assert set(given) <= known, (command.name, given)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_setting_that_is_set_exists(page: Path) -> None:
    for words in commands(page):
        if Path(words[0]).name in ("docker", "export"):
            continue
        given = {word.partition("=")[0] for word in words if ASSIGNED.match(word)}
        assert given - SETTINGS <= OTHERS, words


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[\w-]*)?\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), target


PYTHON = [
    (page, number) for page in PAGES if page.name != "api.md" for number in range(len(blocks(page, "python")))
]


@pytest.mark.parametrize(
    ("page", "number"), PYTHON, ids=lambda one: name(one) if isinstance(one, Path) else str(one)
)
def test_every_block_of_python_runs(
    page: Path, number: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = blocks(page, "python")[number]
    if "def test_" not in block:
        for module in ("httpx",):  # of the reader's; it is only named
            monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        exec(compile(block, name(page), "exec"), {"__name__": "guide"})
        return
    agents = [other for other in blocks(page, "python") if "\nagent = " in other]
    if "from agent import" in block:
        pytester.makepyfile(agent=agents[0])
    pytester.makepyfile(test_guide=block)
    (pytester.path / "recordings").mkdir()
    recording = next((ROOT / "tests" / "replays").glob("*.call.jsonl"))
    shutil.copy(recording, pytester.path / "recordings")
    result = pytester.runpytest_inprocess("-p", "bridge.testing", "-q")
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), result.outlines
