"""Recordings made by an enemy: every field of every line of a true one, with values that no call has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "replays"
CALLS = sorted(FOLDER.glob("*.call.jsonl"))

DEEP = '{"x":' * 100_000
RAW = (
    *("null", "true", "-1", "0", "1e999", "1" + "0" * 400, "9" * 19, "-9" + "0" * 20, "NaN", "1.5"),
    *('""', "[]", "{}", '"\\ud800"', '"\\u001b[2J\\u0007"', '"os:system"', '"../../etc/passwd"', '"\u2022"'),
    *('"<9999999999>"', '"<' + "9" * 5_000 + '>"', '"' + "x" * 100_000 + '"', '"0 20m99999999 5d99999999+1"'),
    *(DEEP, "[" * 100_000, "[" * 900 + "]" * 900, "[[[[[]]]]]", '{"is":"Nothing"}', '{"is":"Say"}'),
)  # fmt: skip
"""JSON, or what only looks like it."""


def lines_of(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every field in it, however deep."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in inner:
        yield (*path, name)
        yield from places(value, (*path, name))


_HERE = "the value that is put in"


def with_value(line: str, path: tuple[str | int, ...], raw: str) -> str:
    """The line with this text in the place of one of its values."""
    tree = json.loads(line)
    node = tree
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = _HERE
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).replace(f'"{_HERE}"', raw)
