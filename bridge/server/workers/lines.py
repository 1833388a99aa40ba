"""What supervisor and workers tell each other: JSON objects, one a line, over a pair of Unix sockets.

Worker to supervisor:

    {"do": "ready", "answered": …}           calls may come; the line that says who answers them
    {"do": "beat"}                           four times a second, from the loop of the calls
    {"do": "draining"}                       it takes no new call
    {"do": "own" | "gone", "name": …}        it answers for that call, or no longer does
    {"do": "want", "n": …, "what": …}        what all workers say: `metrics` or `readyz`
    {"do": "said", "n": …, "text": …}        the answer to `say`
    {"do": "last", "text": …}                its metrics at its end
    {"do": "store", "n": …, "op": …, "args": …}   a step of the claims of this machine
    {"do": "ask", "n": …, "machine": …, "command": …, "at_s": …}   a command to another worker
    {"do": "answer", "by": …, "n": …, "answer": …}   to the command that `by` has asked; null for none

Supervisor to worker:

    {"do": "workers", "live": {name: takes no new call}, "names": {name: worker}}
    {"do": "own" | "gone", "worker": …, "name": …}
    {"do": "say", "n": …, "what": …}
    {"do": "got", "n": …, "texts": {worker: text}}
    {"do": "stored", "n": …, "answer": … | "error": …}
    {"do": "asked", "by": …, "n": …, "machine": …, "command": …, "at_s": …}
    {"do": "answered", "n": …, "answer": …}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of what waits for a worker that does not read, and of one line."""

METRICS: Final = "metrics"
READYZ: Final = "readyz"


def line(do: str, **fields: Any) -> bytes:
    """One message as it goes out."""
    return msgspec.json.encode({"do": do, **fields}) + b"\n"


class Lines:
    """Puts messages together from the pieces in which they come."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def add(self, data: bytes) -> Iterator[dict[str, Any]]:
        self._rest += data
        *whole, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        for one in whole:
            found: dict[str, Any] = msgspec.json.decode(one)
            yield found
