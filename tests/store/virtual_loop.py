"""An event loop whose clock jumps to the next timer when nothing is to be done."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Jumping(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    now_s = 1_000.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.now_s += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def virtually(work: Coroutine[Any, Any, None]) -> None:
    """Run it; seconds of it take no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)
