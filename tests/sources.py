"""Our own files as trees, each read once a process."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def parsed(path: Path) -> ast.Module:
    """The tree of that file. It is shared: read only."""
    return ast.parse(path.read_text(encoding="utf-8"))
