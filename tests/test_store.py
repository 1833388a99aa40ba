"""The seam for what processes share: one store, whose files the next process reads."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bridge
from bridge.core.messages import CallSnapshot
from bridge.server.store import EmbeddedStore, Store
from bridge.server.store.intents import ENDED

CALL, OTHER = f"CA{1:032x}", f"CA{2:032x}"
SERVER = Path(bridge.__file__).parent / "server"


def fill(store: Store) -> None:
    store.intents.began(CALL)
    store.intents.note(CALL, ENDED)
    store.used.use(CALL)
    store.conversations.keep(OTHER, CallSnapshot())


def test_the_next_process_knows_what_this_one_did(tmp_path: Path) -> None:
    first = EmbeddedStore(tmp_path / "intents.jsonl")
    fill(first)
    first.close()
    second: Store = EmbeddedStore(tmp_path / "intents.jsonl")
    assert second.intents.peek(CALL) == ENDED
    assert second.intents.streams(CALL) == 1
    assert second.used.has(CALL)
    assert not second.used.has(OTHER)
    assert second.conversations.find(OTHER) == CallSnapshot()
    second.close()


def test_the_files_stand_where_they_stood(tmp_path: Path) -> None:
    """A process of an earlier version may run beside this one, or after it."""
    store = EmbeddedStore(tmp_path / "intents.jsonl")
    fill(store)
    store.close()
    names = {str(path.relative_to(tmp_path)).partition("/")[0] for path in tmp_path.rglob("*")}
    assert names == {"intents.jsonl", "detours.jsonl", "used-calls", "conversations"}


def test_without_a_journal_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = EmbeddedStore(None)
    fill(store)
    assert store.used.has(CALL)
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_repeated_write_changes_nothing() -> None:
    store = EmbeddedStore(None)
    for _ in range(3):
        fill(store)
    assert (store.intents.streams(CALL), store.intents.peek(CALL), store.used.has(CALL)) == (1, ENDED, True)


def opened(path: Path) -> set[str]:
    """The parts of the store that a file makes for itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return names & {"Journal", "UsedCalls", "Conversations", "open_own"}


def test_only_the_store_opens_its_files() -> None:
    """One writer: what is made elsewhere would be a second one."""
    outside = {path.name: opened(path) for path in SERVER.glob("*.py") if opened(path)}
    assert outside == {"gates.py": {"UsedCalls"}}, "in memory, for tokens that are checked alone"
