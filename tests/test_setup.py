"""What `make` sets up: all of it pinned by hash, nothing of one machine in it, on a Python that works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ["requirements.txt", "requirements-dev.txt", "requirements-demo.txt"]
THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"


def pins(lock: str) -> dict[str, list[str]]:
    """Name to its pins (more than one where Pythons differ), without the hashes."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        if re.match(r"[a-z0-9]", line):
            found.setdefault(line.partition("==")[0], []).append(line.removesuffix(" \\"))
    return found


def versions(found: list[str]) -> list[str]:
    """Without the marker, which says less where more packages ask for it."""
    return [pin.partition(" ;")[0] for pin in found]


def wanted(*extras: str) -> set[str]:
    """The names that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return {re.split(r"[^a-z0-9-]", requirement)[0] for requirements in lists for requirement in requirements}


# -- the locks


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) > 40
    assert [block.splitlines()[0] for block in blocks if "    --hash=sha256:" not in block] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_place(lock: str) -> None:
    a_place = re.compile(r"://|--(?:extra-)?index|--find-links|\bfile:|^-e|(?:^|\s)/\w", re.MULTILINE)
    assert a_place.findall((ROOT / lock).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.txt", ("outbound", "redis")),
        ("requirements-dev.txt", ("test", "lint")),
        ("requirements-demo.txt", ("demo",)),
    ],
)
def test_a_lock_has_all_that_is_asked_for(lock: str, extras: tuple[str, ...]) -> None:
    assert wanted(*extras) - set(pins(lock)) == set()


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_the_locks_agree(lock: str) -> None:
    base, more = pins(LOCKS[0]), pins(lock)
    build = {"hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
    assert set(base) - set(more) <= build
    assert {name: pin for name, pin in base.items() if versions(more.get(name, pin)) != versions(pin)} == {}


# -- the Python


def find_python(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "find-python"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=path,
        env={"PATH": str(path)},
    )


def executable(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


needs_sh = pytest.mark.skipif(os.name == "nt", reason="a shell script")


@needs_sh
def test_a_shim_that_fails_is_passed_over(tmp_path: Path) -> None:
    executable(tmp_path / "python3.13", "echo 'python3.13: command not found' >&2; exit 127")
    executable(tmp_path / "python3.12", "echo 'python3.12: command not found' >&2; exit 127")
    executable(tmp_path / "python3", f'exec "{sys.executable}" "$@"')
    assert find_python(tmp_path).stdout == f"{sys.executable}\n"
    assert find_python(tmp_path, THIS).stdout == f"{sys.executable}\n"


@needs_sh
def test_a_python_of_another_version_is_not_taken_for_it(tmp_path: Path) -> None:
    executable(tmp_path / "python3.99", f'exec "{sys.executable}" "$@"')
    found = find_python(tmp_path, "3.99")
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "no usable Python 3.99 here\n")


@needs_sh
def test_without_any_python_it_says_what_to_do(tmp_path: Path) -> None:
    found = find_python(tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    assert "No usable Python 3.11 or newer" in found.stderr
    assert "PYTHON=" in found.stderr
