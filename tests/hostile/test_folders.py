"""A folder of a thousand calls is one page, and quick to make."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.picture.calls import busy

pytestmark = pytest.mark.hostile


def test_a_thousand_recordings_are_a_page_of_less_than_3_mb_within_20_s(tmp_path: Path) -> None:
    """Each of nearly three minutes, with barge-ins and failed tools."""
    folder, out = tmp_path / "recordings", tmp_path / "calls.html"
    folder.mkdir()
    first = folder / "20261129T000000Z-00000000.call.jsonl"
    first.write_text("\n".join([*busy(22), ""]), encoding="utf-8")
    for number in range(1, 1_000):
        os.link(first, folder / f"20261129T{number // 60 % 24:02}{number % 60:02}00Z-{number:08}.call.jsonl")
    command = [sys.executable, "-m", "bridge", "show", str(folder), "--out", str(out)]
    began_s = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    took_s = time.monotonic() - began_s
    assert done.returncode == 0, done.stderr
    assert "1,000 calls" in done.stdout
    page = out.read_bytes()
    assert page.count(b"<tr") == 1_001
    assert len(page) < 3_000_000
    assert took_s < 20
