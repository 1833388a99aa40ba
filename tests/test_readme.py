"""What README and docs say of settings is so. Its demo is compared where one is run: in test_demo."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.settings.settings import Settings
from tests.calls import ROOT

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
IN_WORDS = {
    "BRIDGE_CALL_COUNTRIES": "that of `BRIDGE_CALL_FROM`",
    "BRIDGE_DO_NOT_CALL": "a file beside `BRIDGE_JOURNAL`",
    "BRIDGE_TWILIO_API_URL": "the vendor's",
    "BRIDGE_UPSTREAM_URL": "the vendor's",
    "BRIDGE_MODEL": "`gpt-realtime-2.1`",
    "BRIDGE_VOICE": "`marin`",
    "BRIDGE_TRANSCRIBE": "`gpt-transcribe`",
    "BRIDGE_UPSTREAM": "`openai`; `embedded` if insecure",
    "BRIDGE_INSTRUCTIONS": "built in",
    "BRIDGE_GREETING": "built in",
    "BRIDGE_JOURNAL": "a file in your state folder",
    "BRIDGE_PHRASES": "the bundled ones",
    "BRIDGE_PRICES": "the bundled ones",
    "BRIDGE_MACHINE": "the platform's name for it, else the host's",
}
"""Defaults that the table tells in words, for they are long or depend on something."""


def rows() -> dict[str, str]:
    """Each setting of the table and what it says holds when it is not set."""
    found: dict[str, str] = {}
    for line in SETTINGS.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`([A-Z_]+)`", cells[0])
        if not line.startswith("| `") or not names:
            continue
        defaults = [cells[1]] if len(names) == 1 else cells[1].split(", ")
        found |= dict(zip(names, defaults, strict=True))
    return found


def in_the_table(default: object) -> str:
    """A default as the table writes it."""
    match default:
        case None | "" | () | {}:
            return "–"
        case bool():
            return "on" if default else "off"
        case str():
            return f"`{default}`"
        case _:
            return str(default)


def test_the_table_has_every_setting_with_its_default_and_no_other() -> None:
    defaults = {str(field.validation_alias): field.get_default() for field in Settings.model_fields.values()}
    told = {name: in_the_table(default) for name, default in defaults.items()}
    assert rows() == {**told, **{name: IN_WORDS[name] for name in IN_WORDS if name in told}}


def test_what_is_told_in_words_is_short_of_a_value() -> None:
    defaults = {str(field.validation_alias): field.get_default() for field in Settings.model_fields.values()}
    built_in = {name for name in IN_WORDS if defaults[name]}
    assert built_in == {"BRIDGE_INSTRUCTIONS", "BRIDGE_GREETING"}


@pytest.mark.parametrize("path", re.findall(r"`((?:bridge|tests|scripts)/[\w./-]+)`", ARCHITECTURE))
def test_the_files_it_names_exist(path: str) -> None:
    assert Path(ROOT, path).exists()


def test_the_reading_order_is_five_short_files_with_a_barge_in() -> None:
    section = ARCHITECTURE.partition("## Reading order")[2].partition("\n## ")[0]
    files = re.findall(r"^\d\. `([\w/.]+)`", section, re.MULTILINE)
    lengths = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in files}
    assert len(files) == 5
    assert max(lengths.values()) < 250, lengths
    assert "barge-in" in section
    named = re.search(r"begins at `(\w+)` in `bridge/core/speech.py`", section)
    assert named is not None
    assert f"def {named[1]}(" in (ROOT / "bridge/core/speech.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", ".github/pull_request_template.md"])
def test_contributors_are_told_of_files_and_targets_that_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:bridge|tests|scripts|docs)/[\w./-]+|\.ci/\w+|[A-Z]+\.md)`", text)
    for path in paths:
        assert path.endswith(("NAME.py", "went-wrong.call.jsonl")) or (ROOT / path).exists(), path
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) <= targets
