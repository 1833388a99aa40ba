"""What the README says of settings and files is so. Its demo is compared where one is run: in test_demo."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.settings.settings import Settings
from tests.calls import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
IN_WORDS = {
    "BRIDGE_TWILIO_API_URL": "the vendor's",
    "BRIDGE_UPSTREAM_URL": "the vendor's",
    "BRIDGE_UPSTREAM": "`openai`; `embedded` if insecure",
    "BRIDGE_INSTRUCTIONS": "built in",
    "BRIDGE_GREETING": "built in",
    "BRIDGE_JOURNAL": "a file in your state folder",
    "BRIDGE_PHRASES": "the bundled ones",
    "BRIDGE_PRICES": "the bundled ones",
}
"""Defaults that the table tells in words, for they are long or depend on something."""


def rows() -> dict[str, str]:
    """Each setting of the table and what it says holds when it is not set."""
    found: dict[str, str] = {}
    for line in README.splitlines():
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


@pytest.mark.parametrize("path", re.findall(r"`((?:bridge|tests|scripts)/[\w./-]+)`", README))
def test_the_files_it_names_exist(path: str) -> None:
    assert Path(ROOT, path).exists()
