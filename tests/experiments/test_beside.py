"""`show A B`: a recorded call and its fork on one axis."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge import cli
from tests.experiments.jittered import jittered_call
from tests.long_form import some_of


def shown(*files: Path) -> tuple[dict[str, Any], str]:
    """The data of the chart, and the page."""
    out = files[0].with_name("both.html")
    result = CliRunner().invoke(cli.app, ["show", *map(str, files), "--out", str(out)])
    assert result.exit_code == 0, (result.output, result.exception)
    drawn = out.read_text(encoding="utf-8")
    [data] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', drawn, re.DOTALL)
    return json.loads(data), drawn


@pytest.mark.parametrize("exact", some_of([False, True], every=2))
def test_a_call_and_its_fork_stand_on_one_axis_and_a_line_shows_where_they_part(
    exact: bool, tmp_path: Path
) -> None:
    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(jittered_call(0, 3)) + "\n", encoding="utf-8")
    given = ["fork", str(file), "--at", "24", "--json", *(["--exact"] if exact else [])]
    found = json.loads(CliRunner().invoke(cli.app, given).stdout)
    alone, _ = shown(file)
    data, drawn = shown(file, Path(found["recordings"][0]))
    assert alone.get("parts") is None
    assert data["parts"] == found["at_ms"]
    lanes = [name for name, _ in data["lanes"]]
    count = len(alone["lanes"])
    assert lanes[:count] == [name for name, _ in alone["lanes"]]
    assert lanes[count : count + 3] == ["2 caller speaks", "2 model generates", "2 caller hears"]
    later = [bar for bar in data["bars"] if bar[0] >= count]
    assert later
    assert all(end >= data["parts"] for _, _, _, end, *_ in later)
    spoke = [
        [bar[2] for bar in data["bars"] if bar[:2] == [lane, "caller"]]
        for lane in (0, lanes.index("2 caller speaks"))
    ]
    first = [next(at for at in found if at > data["parts"]) for found in spoke]
    assert abs(first[0] - first[1]) <= 100, "the caller says it again when they said it then"
    assert drawn.count("Conversation of 2, call.fork-1") == 1
