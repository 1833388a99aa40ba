"""SECURITY.md: every control it names has a test, and that test is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (?!threat|-)[^|]+ \| [^|]+ \| `(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)` \|$")


def test_every_threat_has_a_control_and_every_control_a_test() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")][1:]
    named = [ROW.match(row) for row in rows]
    assert [row for row, found in zip(rows, named, strict=True) if found is None] == []
    missing = [
        found[0] for found in named if found and f"def {found[2]}(" not in (ROOT / found[1]).read_text()
    ]
    assert missing == []
    assert len(named) >= 25
