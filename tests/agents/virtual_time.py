"""An event loop whose clock jumps to the next thing that is due: a call takes as long as its work."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Selector(selectors.SelectSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits for somebody, and nothing is due")
        if not ready and timeout:
            self.loop.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now_s = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s


def run(work: Coroutine[Any, Any, Result], longest_s: float = 600) -> Result:
    """Run it in virtual time. Nothing may escape into the loop, and no task of the test's be left."""
    escaped: list[dict[str, Any]] = []

    async def main() -> Result:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: escaped.append(context))
        async with asyncio.timeout(longest_s):
            return await work

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(main())
    assert escaped == []
    return result
