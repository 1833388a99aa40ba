"""What an installed phonebridge is made of; and that `scripts/check_package.py` can tell a bad one."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scripts.check_package import faults_of_demo, faults_of_metadata, faults_of_wheel

ROOT = Path(__file__).resolve().parents[1]
METADATA = b"""\
Metadata-Version: 2.4
Name: phonebridge
Version: 0.1.0
Summary: A bridge
Classifier: Typing :: Typed
Description-Content-Type: text/markdown

# phonebridge
"""
INFO = "phonebridge-0.1.0.dist-info"
FILES = {"bridge/__init__.py": b"", f"{INFO}/METADATA": METADATA, f"{INFO}/licenses/LICENSE": b"MIT"}
FILES |= {f"{INFO}/entry_points.txt": b"[console_scripts]"}
WANTED = {"bridge/__init__.py"}


def wheel_of(folder: Path, files: dict[str, bytes], record: dict[str, bytes] | None = None) -> Path:
    """`record` has the files as RECORD knows them, if that is not what they are."""
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b'=').decode()},{len(raw)}"
        for name, raw in (record or files).items()
    ]
    wheel = folder / "phonebridge-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, raw in {
            **files,
            f"{INFO}/RECORD": "\n".join([*lines, f"{INFO}/RECORD,,"]).encode(),
        }.items():
            archive.writestr(name, raw)
    return wheel


def test_a_good_wheel_has_no_fault(tmp_path: Path) -> None:
    assert list(faults_of_wheel(wheel_of(tmp_path, FILES), WANTED)) == []


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {**FILES, "bridge/__pycache__/x.pyc": b""},
            "has bridge/__pycache__/x.pyc, which the repository has not",
        ),
        (
            {name: raw for name, raw in FILES.items() if name != "bridge/__init__.py"},
            "has no bridge/__init__.py",
        ),
        ({name: raw for name, raw in FILES.items() if "LICENSE" not in name}, "has no .*licenses/LICENSE"),
        ({"bridge/__init__.py": b""}, "has no METADATA"),
    ],
)
def test_a_bad_wheel_is_told(files: dict[str, bytes], told: str, tmp_path: Path) -> None:
    (fault,) = faults_of_wheel(wheel_of(tmp_path, files), WANTED)
    assert re.search(told, fault)


def test_a_file_that_is_not_as_recorded_is_told(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, FILES, {**FILES, "bridge/__init__.py": b"another"})
    (fault,) = faults_of_wheel(wheel, WANTED)
    assert fault.endswith("bridge/__init__.py is not what RECORD says")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (b"Typing :: Typed", b"Typing :: Typd", "'Typing :: Typd' is no classifier"),
        (b"text/markdown", b"text/x-rst", "the description is text/x-rst"),
        (b"# phonebridge", b"nothing", "the description is not README"),
        (b"Version: 0.1.0", b"Version: one", "'version' is invalid|'one' is invalid"),
        (b"Metadata-Version: 2.4", b"Metadata-Version: 9.9", "9.9"),
    ],
)
def test_metadata_that_an_index_would_refuse_is_told(before: bytes, after: bytes, told: str) -> None:
    (fault,) = faults_of_metadata(METADATA.replace(before, after))
    assert re.search(told, fault)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"first_audio_after_ms": None}, "nothing was heard"),
        ({"barge_ins": []}, "there was no barge-in"),
        ({"barge_ins": [{"heard_ms": 1_100, "truncated_ms": 1_160}]}, "1100 ms were heard, 1160 ms told"),
        ({"wav": "none.wav"}, "there is no sound of it"),
    ],
)
def test_a_demo_that_is_none_is_told(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(b"")
    account = {"first_audio_after_ms": 200, "barge_ins": [{"heard_ms": 1_100, "truncated_ms": 1_100}]}
    account |= {"wav": "call.wav"}
    assert list(faults_of_demo(account, tmp_path)) == []
    (fault,) = faults_of_demo({**account, **changed}, tmp_path)
    assert told in fault


def test_nothing_tells_a_user_to_ask_an_index_for_what_it_has_not() -> None:
    """No index has phonebridge: to ask one for it is an error, or gives another's package."""
    programs = r"(?:pip3?|uv|pipx|uvx|poetry)"
    from_an_index = re.compile(programs + r"\s+(?:pip\s+)?(?:install|add|run)?\s*['\"]?phonebridge\b")
    pages = [*(ROOT / "bridge").rglob("*"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*")]
    pages += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile")]
    texts = {".py", ".md", ".txt", ".toml", ".yml", ".html", ".js", ""}
    told = [
        str(page.relative_to(ROOT))
        for page in pages
        if page.is_file() and page.suffix in texts and from_an_index.search(page.read_text(encoding="utf-8"))
    ]
    assert told == []
