"""Real loops for tests with real sockets: both kinds, and nothing may be left on either."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from bridge.sockets.frames import Message

Run = Callable[[Coroutine[Any, Any, None]], None]
both_loops = pytest.mark.usefixtures("run")
"""An async test runs once on either loop."""


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on either loop. No task may be left on it, no exception have escaped into it."""
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]

    def run(work: Coroutine[Any, Any, None]) -> None:
        escaped: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: escaped.append(context))
            async with asyncio.timeout(15):
                await work
            for _ in range(200):  # a peer in this process may take a moment longer
                if len(asyncio.all_tasks()) == 1:
                    break
                await asyncio.sleep(0.002)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=factory) as runner:
            try:
                runner.run(main())
            except BaseException:
                # A failed test may leave transports open. uvloop warns of them as it closes, and where
                # warnings are errors it then never ends; pytest puts the filters back.
                warnings.simplefilter("ignore", ResourceWarning)
                raise
        assert escaped == []

    return run


class Owner:
    """Somebody with a socket, who notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.ends: list[tuple[int, str]] = []
        self.gone = asyncio.Event()

    def frame(self, frame: Message) -> None:
        self.heard.append(frame)

    def closed(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))
        self.gone.set()


class Census:
    """The objects of some classes, by name, that are alive; what was alive before does not count."""

    def __init__(self, *kinds: str) -> None:
        gc.collect()
        self._kinds = kinds
        self._before = self._alive()

    def new(self) -> list[object]:
        before = set(map(id, self._before))
        return [thing for thing in self._alive() if id(thing) not in before]

    def _alive(self) -> list[object]:
        return [thing for thing in gc.get_objects() if type(thing).__name__ in self._kinds]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another side of the same process is about to do."""
    while not condition():  # noqa: ASYNC110 - it has no event of its own
        await asyncio.sleep(0.001)
