"""The recorded calls of `tests/replays`: each replays to the byte, and shows what its name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.recording import describe, replay
from bridge.recording.header import read_header
from tests.replays.scenarios import SCENARIOS

FOLDER = Path(__file__).parent / "replays"
FILES = sorted(FOLDER.glob("*.call.jsonl"))
ANEW = "if the change is wanted: phonebridge replay --accept, or scripts/make_replays.py"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".call.jsonl"))
def test_it_replays_exactly(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    result = replay(lines, strict=True)
    assert result.difference is None, f"{describe(result.difference)}\n{ANEW}"
    assert result.outputs[1:] == lines[1:]
    assert read_header(result.outputs[0]) == read_header(
        lines[0]
    )  # which may have been written with fewer fields
    assert (result.torn, result.truncated) == (False, None)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_call_goes_as_its_name_says(name: str) -> None:
    """The scenario itself expects it; and what it records replays."""
    call = SCENARIOS[name]()
    result = replay(call.lines, strict=True)
    assert result.difference is None, describe(result.difference)


def test_every_call_is_recorded_and_no_other() -> None:
    assert {file.name.removesuffix(".call.jsonl") for file in FILES} == SCENARIOS.keys(), ANEW
    assert len(FILES) >= 20
