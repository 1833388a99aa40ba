"""Who may import whom. The floors keep clock, sockets and chance out of the part that decides.

The imports are read from the source, wherever they stand: inside a function and under TYPE_CHECKING too,
because an annotation that needs a higher floor is a decision that leans on it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.sources import parsed

PACKAGE = Path(__file__).resolve().parent.parent / "bridge"

# Every room, which is a module or package directly under bridge/, has a floor; a new one gets its line here.
FLOORS: dict[str, int] = {
    # 0: bytes, and what can go wrong
    "errors": 0,
    "codecs": 0,
    # 1: the heart
    "core": 1,
    # 2: wire text in and out of messages
    "carriers": 2,
    "upstreams": 2,
    # 3: pure rooms around the core
    "recording": 3,
    "doubles": 3,
    # 4: sockets and the loop's clock
    "sockets": 4,
    "sounds": 4,
    # 5: user code and threads
    "agents": 5,
    "runner": 5,
    "simulators": 5,
    # 6: the environment and files
    "client": 6,
    "ops": 6,
    "picture": 6,
    "settings": 6,
    # 7: everything of a running server
    "bench": 7,
    "server": 7,
    "testing": 7,
    # 8: the network as a client; and the public names
    "doctor": 8,
    "experiments": 8,
    "__init__": 8,
    # 9: the terminal, and `python -m bridge`
    "cli": 9,
    "__main__": 10,
}
MOST_NAMES = 25  # directly under bridge/; a newcomer sees them all at once
MOST_LINES = 500  # of a module
LONGEST = 40  # lines of a function, but for these
LONGER = {"_process": "what the gate costs is calls", "digits": "its text for users"}
HIGHEST_PURE = 3  # up to here: no clock, no I/O, no chance, no task, no environment
WITHOUT_FLOOR = "has no floor; give it one in FLOORS, in tests/test_floors.py"

# What the pure floors may import from outside. A module that reads a clock, a socket, a file, the environment
# or chance does not belong here, whoever wrote it.
PURE_OUTSIDE: set[str] = {
    "__future__",
    "abc",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "json",
    "keyword",
    "math",
    "msgspec",
    "msgspec.json",
    "operator",
    "re",
    "string",
    "struct",
    "types",
    "typing",
    "typing_extensions",
    "urllib.parse",  # a query is text; urllib.request is not allowed
}
# ...and what only one package of them may.
PURE_OUTSIDE_OF: dict[str, set[str]] = {
    # warnings: importing audioop warns on 3.11
    "codecs": {"audioop", "numpy", "numpy.typing", "warnings", "zlib"},
}
# What needs no import and is no less of a door.
IMPURE_BUILTINS = {"__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print"}


def unit_of(path: Path) -> str:
    """The module or package directly under bridge/ that this file (relative to bridge/) belongs to."""
    return path.parts[0] if len(path.parts) > 1 else path.stem


def imported(tree: ast.Module, path: Path) -> Iterator[tuple[int, str, str | None]]:
    """Line, absolute module and name (for `from module import name`) of every import in a file of ours."""
    package = ["bridge", *path.parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, module, alias.name


def violations(path: Path, tree: ast.Module) -> list[str]:
    """What a file (its path relative to bridge/) may not do, in words that say what to do about it."""
    unit = unit_of(path)
    if unit not in FLOORS:
        return [f"bridge/{path}: {unit!r} {WITHOUT_FLOOR}"]
    floor = FLOORS[unit]
    found = []
    for line, module, name in imported(tree, path):
        top, _, rest = module.partition(".")
        complaint = ours(unit, floor, rest or name) if top == "bridge" else outside(unit, floor, module, name)
        if complaint:
            found.append(f"bridge/{path}:{line}: {complaint}")
    if floor <= HIGHEST_PURE:
        called = [(node.lineno, node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        found += [
            f"bridge/{path}:{line}: floor {floor} is pure, so it can't call {function.id}()"
            for line, function in called
            if isinstance(function, ast.Name) and function.id in IMPURE_BUILTINS
        ]
    return found


def ours(unit: str, floor: int, wanted: str | None) -> str | None:
    """Why this unit may not import that part of bridge; None when it may."""
    target = (wanted or "__init__").partition(".")[0]
    if target not in FLOORS:
        if (PACKAGE / target).is_dir() or (PACKAGE / f"{target}.py").is_file():
            return f"imports bridge.{target}, which {WITHOUT_FLOOR}"
        target = "__init__"  # `from bridge import name`: a name, not a module
    if target == unit or FLOORS[target] < floor:
        return None
    what = "bridge itself" if target == "__init__" else f"bridge.{target}"
    return f"floor {floor} can't import {what} (floor {FLOORS[target]}): only lower floors and itself"


def outside(unit: str, floor: int, module: str, name: str | None) -> str | None:
    """Why this unit may not import that module of somebody else's; None when it may."""
    allowed = PURE_OUTSIDE | PURE_OUTSIDE_OF.get(unit, set())
    if floor > HIGHEST_PURE or module in allowed or (name and f"{module}.{name}" in allowed):
        return None
    return (
        f"floor {floor} is pure and can't import {module}; if that reads no clock, socket, file, environment "
        f"or chance, add it to PURE_OUTSIDE in tests/test_floors.py"
    )


# -- the repository as it is


def test_a_newcomer_sees_all_rooms_at_once() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.name != "__pycache__"]) <= MOST_NAMES


def test_every_room_stands() -> None:
    assert {unit_of(path) for path in every_file()} == FLOORS.keys()


def modules() -> dict[str, Path]:
    """Every module by its absolute name."""
    named = {".".join((Path("bridge") / path).with_suffix("").parts): path for path in every_file()}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def needs(name: str, path: Path, known: Collection[str]) -> set[str]:
    """The modules that this one loads. What only types need, under TYPE_CHECKING, is loaded by none."""
    tree = parsed(PACKAGE / path)
    loaded = ast.Module([node for node in tree.body if not isinstance(node, ast.If)], [])
    found = set()
    for _, module, wanted in imported(loaded, path):
        for target in (f"{module}.{wanted}", module):
            if target in known:
                found.add(target)
                break
    return found - {name}


def test_no_files_import_each_other_in_a_circle() -> None:
    known = modules()
    graph = {name: needs(name, path, known) for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def every_file() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def test_every_file_keeps_to_its_floor() -> None:
    assert [told for path in every_file() for told in violations(path, parsed(PACKAGE / path))] == []


def test_the_lowest_floors_load_no_loop_no_server_and_no_client() -> None:
    path = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})"
    program = f"{path}; import bridge.errors; print(*sys.modules)"
    # -I and -S: neither the environment nor a start-up file in site-packages may load something first.
    run = [sys.executable, "-I", "-S", "-c", program]
    loaded = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert "bridge.errors" in loaded
    assert {"asyncio", "logging", "numpy", "socket", "starlette", "typer", "websockets"}.isdisjoint(loaded)


# -- the check itself


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        # up the stairs
        ("core/call.py", "from bridge.runner import feed", "floor 1 can't import bridge.runner (floor 5)"),
        ("core/call.py", "import bridge.settings", "floor 1 can't import bridge.settings (floor 6)"),
        ("core/call.py", "from bridge import carriers", "floor 1 can't import bridge.carriers (floor 2)"),
        ("core/call.py", "from ..carriers.twilio import Twilio", "floor 1 can't import bridge.carriers"),
        ("core/call.py", "from .. import recording", "floor 1 can't import bridge.recording (floor 3)"),
        ("runner.py", "from .server import service", "floor 5 can't import bridge.server (floor 7)"),
        ("runner.py", "from bridge import create_app", "floor 5 can't import bridge itself"),
        ("core/__init__.py", "from ..doubles import phone", "floor 1 can't import bridge.doubles"),
        # across, where it is not allowed
        ("carriers/twilio.py", "from bridge.upstreams import azure", "floor 2 can't import bridge.upstreams"),
        ("upstreams/openai.py", "from bridge.carriers import twilio", "floor 2 can't import bridge.carriers"),
        ("doubles/phone.py", "import bridge.recording", "floor 3 can't import bridge.recording (floor 3)"),
        ("runner.py", "from .agents import session", "floor 5 can't import bridge.agents (floor 5)"),
        ("client/model.py", "from ..ops.logs import log", "floor 6 can't import bridge.ops (floor 6)"),
        # hidden
        ("core/call.py", "def f():\n    import bridge.runner", "core/call.py:2: floor 1 can't import"),
        (
            "core/call.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bridge.agents import session",
            "core/call.py:3: floor 1 can't import bridge.agents",
        ),
        # the world outside
        ("core/call.py", "import time", "floor 1 is pure and can't import time"),
        ("core/call.py", "import math, asyncio", "can't import asyncio"),
        ("core/call.py", "from os import environ", "can't import os"),
        ("core/call.py", "import numpy", "can't import numpy"),
        ("carriers/twilio.py", "import audioop", "can't import audioop"),
        ("upstreams/openai.py", "from urllib.request import urlopen", "can't import urllib.request"),
        ("upstreams/openai.py", "from urllib import request", "can't import urllib"),
        ("recording.py", "import logging", "floor 3 is pure and can't import logging"),
        ("doubles/phone.py", "import random", "can't import random"),
        ("errors.py", "import importlib", "can't import importlib"),
        # doors without an import
        ("core/stats.py", "open('there')", "floor 1 is pure, so it can't call open()"),
        ("recording.py", "def f():\n    print('here')", "recording.py:2: floor 3 is pure, so it can't call"),
        ("errors.py", "__import__('time')", "can't call __import__()"),
        # no floor
        ("attic.py", "", "'attic' has no floor; give it one in FLOORS, in tests/test_floors.py"),
        ("attic/roof.py", "", "'attic' has no floor; give it one in FLOORS"),
    ],
)
def test_the_check_catches(path: str, source: str, complaint: str) -> None:
    (found,) = violations(Path(path), ast.parse(source))
    assert complaint in found


def test_files_and_functions_can_be_read_at_once() -> None:
    for path in PACKAGE.rglob("*.py"):
        source, place = path.read_text(encoding="utf-8"), path.relative_to(PACKAGE)
        assert len(source.splitlines()) <= MOST_LINES, place
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in LONGER:
                assert (node.end_lineno or 0) - node.lineno < LONGEST, f"{node.name} in {place}"


def test_importing_what_has_no_floor_yet_says_where_to_give_it_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "attic.py").touch()
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (found,) = violations(Path("cli/serve.py"), ast.parse("from bridge.attic import roof"))
    assert "imports bridge.attic, which has no floor; give it one in FLOORS" in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/call.py", "from bridge.core.ledger import Ledger"),
        ("core/call.py", "from . import messages"),
        ("core/call.py", "from .messages import Event"),
        ("core/call.py", "from bridge import errors"),
        ("core/call.py", "from collections.abc import Iterator\nimport math, re\nimport msgspec"),
        ("codecs/g711.py", "import warnings, audioop\nimport numpy as np\nfrom numpy.typing import NDArray"),
        ("upstreams/openai.py", "from urllib.parse import urlencode\nfrom urllib import parse"),
        ("upstreams/openai.py", "from .realtime import Realtime"),
        ("recording.py", "from bridge.carriers import twilio\nfrom bridge.upstreams.openai import OpenAI"),
        ("recording.py", "def write(sink):\n    sink.print('a method is not the builtin')"),
        ("runner.py", "import asyncio, time\nfrom bridge.sockets.dial import Socket\nfrom .core import call"),
        ("cli/serve.py", "from ..server.routes import app\nfrom bridge import __version__\nprint(1)"),
        ("__main__.py", "from bridge.cli import main"),
        ("__init__.py", "from .server.service import create_app"),
    ],
)
def test_the_check_lets_pass(path: str, source: str) -> None:
    assert violations(Path(path), ast.parse(source)) == []
