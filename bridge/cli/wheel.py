"""A wheel of the package that runs, made from its own files: no index has it, and no network is needed.

PyPA, "Binary distribution format".
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

MADE: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every file, so that the same files make the same wheel."""
WHEEL: Final = b"Wheel-Version: 1.0\nGenerator: phonebridge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
LEFT_OUT: Final = ("__pycache__",)


def write_wheel(folder: Path, distribution: Distribution, package: Path) -> str:
    """Write the wheel of this distribution, whose files are those of `package`. Returns the wheel's name."""
    version = distribution.version
    info = f"{distribution.name}-{version}.dist-info"
    contents = {
        f"{package.name}/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in sorted(package.rglob("*"))
        if file.is_file() and not set(LEFT_OUT) & set(file.parts)
    }
    for name in ("METADATA", "entry_points.txt"):
        contents[f"{info}/{name}"] = (distribution.read_text(name) or "").encode()
    contents[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: phonebridge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_digest(raw)},{len(raw)}" for name, raw in contents.items()]
    contents[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    wheel = f"{distribution.name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in contents.items():
            archive.writestr(zipfile.ZipInfo(name, MADE), raw, zipfile.ZIP_DEFLATED)
    return wheel


def _digest(raw: bytes) -> str:
    """As a RECORD has it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
