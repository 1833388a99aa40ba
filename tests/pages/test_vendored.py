"""Files of others are what their list says, and nothing else is there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bridge.server.pages import static

VENDOR = Path(static.__file__).parent / "vendor"


def test_vendored_files_are_unchanged_and_their_licences_are_there() -> None:
    blocks = [
        dict(line.split(":", 1) for line in block.splitlines() if ":" in line)
        for block in (VENDOR / "VENDORED.txt").read_text(encoding="utf-8").split("\n\n")[1:]
    ]
    listed = {block["file"].strip(): block for block in blocks}
    licences = {file.name for file in VENDOR.glob("*.LICENSE")}
    assert {file.name for file in VENDOR.iterdir()} == {*listed, *licences, "VENDORED.txt"}
    for name, block in listed.items():
        found = (VENDOR / name).read_bytes()
        assert hashlib.sha256(found).hexdigest() == block["sha256"].strip()
        assert block["version"].strip()
        assert block["source"].strip()
        assert any(licence in block["licence"] for licence in licences)


def test_nothing_of_the_console_stands_inline_or_makes_html_of_text() -> None:
    files = Path(static.__file__).parent / "files"
    scripts = sorted(files.glob("console*.js"))
    assert len(scripts) > 10
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        for forbidden in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "http://",
            "https://",
        ):
            assert forbidden not in text, (script.name, forbidden)
        assert len(text.splitlines()) <= 400, script.name
    html = (files / "console.html").read_text(encoding="utf-8")
    assert "style=" not in html
    assert " on" not in html.replace("icon", "")
    assert html.count("<script") == html.count('<script type="module" src=') == 1


def test_the_console_is_small() -> None:
    files = Path(static.__file__).parent / "files"
    size = (
        sum(file.stat().st_size for file in files.glob("console*"))
        + (VENDOR / "htm-preact.js").stat().st_size
    )
    assert size <= 160_000
