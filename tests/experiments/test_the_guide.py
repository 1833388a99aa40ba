"""The guide "From a bad call to a test" is true: its commands print and write what it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge import cli
from bridge.recording.marks import wish_of
from tests.calls import ROOT

GUIDE = ROOT / "docs" / "guides" / "from-a-bad-call-to-a-test.md"


def test_commands_print_and_write_what_the_guide_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    shown = re.findall(r"```sh\n(phonebridge [^\n]+)\n```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert len(shown) == 3
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "replays").symlink_to(ROOT / "tests" / "replays")
    monkeypatch.chdir(tmp_path)
    for command, printed in shown:
        result = CliRunner().invoke(cli.app, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
        assert result.output == printed
    [test] = (tmp_path / "tests" / "calls").glob("test_*.py")
    [written] = re.findall(r"```text\n(@pytest.*?)```", text, re.DOTALL)
    assert test.read_text(encoding="utf-8").endswith(written)


def test_every_wish_of_the_guide_is_one() -> None:
    wishes = re.findall(r"^\| `([^`]+)` \| (?!the test)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(wishes) == 7
    for wish in wishes:
        assert wish_of(wish.strip('"')).method
