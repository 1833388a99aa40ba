"""The frames in wire/: one file a scene, documented shapes; "says" is the message that a frame becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCENES: dict[str, list[dict[str, Any]]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parent / "wire").glob("*.json"))
}
FRAMES: list[dict[str, Any]] = [line["frame"] for lines in SCENES.values() for line in lines]


def frame(kind: str, scene: str | None = None) -> dict[str, Any]:
    """A copy of the first frame of that type."""
    lines = SCENES[scene] if scene else [line for lines in SCENES.values() for line in lines]
    found: dict[str, Any] = json.loads(
        json.dumps(next(x["frame"] for x in lines if x["frame"]["type"] == kind))
    )
    return found
