"""What the Python clients say and ask; of the standard library only."""

from __future__ import annotations

import array
import math
import sys
from typing import Any

HZ = 24_000
_TONE = array.array("h", (round(9_000 * math.sin(math.tau * 300 * n / HZ)) for n in range(HZ * 7 // 10)))
VOICE = _TONE.tobytes() + bytes(2 * HZ)
"""PCM at 24 kHz: 700 ms of a voice, then a second of silence, in which the turn ends."""

QUESTION = "what time do you open on saturday"
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "opening_hours",
    "description": "Look up the opening hours.",
    "parameters": {"type": "object", "properties": {"day": {"type": "string"}}},
}
RECITAL = 'Say exactly this and nothing else: "' + "This is a long sentence that goes on and on. " * 8 + '"'


def done() -> None:
    """The whole conversation went as it should."""
    sys.stdout.write("done: greeting, turn, tool with its spoken answer, interruption; no error event\n")
