"""One end's ear for one call: which slices came, whose they are, in which order and how late."""

from __future__ import annotations

import time

from .tags import NOBODY, TagReader
from .window import Window


class Hearing:
    """Counts what comes into the `window` it is given. `call` is the number of the call whose slices these
    have to be; NOBODY, and the first that comes says it.
    """

    __slots__ = ("_next", "_reader", "call")

    def __init__(self, magic: bytes, call: int = NOBODY) -> None:
        self.call = call
        self._reader = TagReader(magic)
        self._next = 0

    @property
    def heard(self) -> bool:
        """Whether anything of its own call has come."""
        return self._next > 0

    def hear(self, sound: bytes, window: Window) -> None:
        now_ns = time.monotonic_ns()
        for call, number, left_ns in self._reader.read(sound):
            if self.call == NOBODY:
                self.call = call
            if call not in (self.call, NOBODY):
                window.foreign += 1
            elif number < self._next:
                window.disordered += 1
            else:
                self._next = number + 1
                window.arrives(left_ns, now_ns)
