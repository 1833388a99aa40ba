"""Several processes write into one journal while each of them makes it anew from time to time."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bridge.server.store.journal import Journal

Line = dict[str, Any]


class Writer:
    """One process: it knows what it has written and read, by name."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        self.known: dict[str, Line] = {}
        self.learn(self.journal.read())

    def learn(self, lines: list[Line]) -> None:
        for line in lines:
            self.known[line["name"]] = {"name": line["name"]}

    def append(self, name: str) -> None:
        self.known[name] = {"name": name}
        self.journal.append({"name": name})

    def rewrite(self) -> None:
        self.learn(self.journal.news())
        self.journal.rewrite(list(self.known.values()))


def names(path: Path) -> set[str]:
    return {json.loads(line)["name"] for line in path.read_text().splitlines()}


@pytest.mark.parametrize("before", [True, False], ids=["before the file is replaced", "after that"])
def test_a_line_of_another_at_that_moment_stays(
    before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    mine, other = Writer(path), Writer(path)
    mine.append("first")
    other.append("second")
    replace = Path.replace

    def meanwhile(self: Path, target: Path) -> Path:
        if before:
            other.append("late")
        found = replace(self, target)
        if not before:
            other.append("late")
        return found

    monkeypatch.setattr(Path, "replace", meanwhile)
    mine.rewrite()
    monkeypatch.undo()
    assert names(path) == {"first", "second", "late"}
    mine.learn(mine.journal.news())
    assert set(mine.known) == names(path)
    mine.rewrite()
    other.append("last")
    assert names(path) == {"first", "second", "late", "last"}


def test_a_line_that_goes_to_the_old_file_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    mine, other = Writer(path), Writer(path)
    other.append("first")
    replaced = other.journal._replaced

    def a_moment_later() -> bool:
        found = replaced()
        monkeypatch.undo()
        mine.rewrite()
        return found

    monkeypatch.setattr(other.journal, "_replaced", a_moment_later)
    other.append("second")
    assert names(path) == {"first", "second"}


def test_two_do_not_make_it_anew_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    mine, other = Writer(path), Writer(path)
    mine.append("first")
    replace = Path.replace

    def meanwhile(self: Path, target: Path) -> Path:
        monkeypatch.undo()
        other.append("second")
        other.rewrite()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    mine.rewrite()
    assert names(path) == {"first", "second"}
    assert [one.name for one in tmp_path.iterdir()] == ["journal"]


def test_nothing_is_lost_between_four_writers(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    def work(who: int) -> None:
        writer = Writer(path)
        for number in range(100):
            writer.append(f"{who}.{number}")
            if number % 7 == who:
                writer.rewrite()

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(path) == {f"{who}.{number}" for who in range(4) for number in range(100)}
