"""Files of sound that a command line, a scenario or a test names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MOST_BYTES: Final = 64 << 20
"""Two hours of µ-law."""


def raw_sound(path: Path) -> bytes:
    """What is in the file. Raises OSError for a device, which has no end, and for what is too large."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file")
    with path.open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise OSError(f"it has more than {MOST_BYTES >> 20} MiB")
    return raw
