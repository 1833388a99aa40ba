"""Frames that a peer's bad day might produce: arbitrary JSON, and real frames with one thing wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

numbers = st.integers() | st.floats(allow_nan=False)
texts = st.text(max_size=20) | st.sampled_from(["", "null", "0", "-1", '"', "\\", '"}', "==", "AAAA", "\x00"])
leaves = st.none() | st.booleans() | numbers | texts
any_json = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def paths(tree: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a tree, the root apart."""
    pairs: list[tuple[str | int, Any]] = []
    if isinstance(tree, dict):
        pairs = list(tree.items())
    elif isinstance(tree, list):
        pairs = list(enumerate(tree))
    for name, value in pairs:
        yield (*here, name)
        yield from paths(value, (*here, name))


@st.composite
def with_one_thing_wrong(draw: st.DrawFn, frames: list[dict[str, Any]]) -> str:
    """A real frame with a value replaced or left out, a field added, or a few characters lost."""
    frame = copy.deepcopy(draw(st.sampled_from(frames)))
    *way, last = draw(st.sampled_from(list(paths(frame))))
    parent: Any = frame
    for name in way:
        parent = parent[name]
    match draw(st.sampled_from(["replace", "remove", "add", "cut"])):
        case "replace":
            parent[last] = draw(any_json)
        case "remove":
            del parent[last]
        case "add" if isinstance(parent, dict):
            parent[draw(texts)] = draw(any_json)
        case "cut":
            text = json.dumps(frame)
            at = draw(st.integers(0, len(text)))
            return text[:at] + text[at + draw(st.integers(1, 30)) :]
    return json.dumps(frame)
