"""A bridge with live calls and a console, on a loop of its own, for tests that drive a browser meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from bridge.doubles.agents import Agent
from bridge.simulators.servers import Simulation

from ..browser import Page
from ..calls import House, bridge, hang_up

TOKEN = "a-console-token-of-thirty-two-or-more"
Result = TypeVar("Result")


@dataclass
class LiveHouse:
    """`house` belongs to its own loop: `run` does something there, and waits for it."""

    house: House
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def call(self, speech: bytes = b"", **options: Any) -> Simulation:
        return self.run(self.house.call(speech, **options))

    def hang_up(self, simulation: Simulation) -> None:
        async def end() -> None:
            hang_up(simulation)

        self.run(end())


@contextlib.contextmanager
def live_house(agent: Agent, **options: Any) -> Iterator[LiveHouse]:
    """While the block runs. `options` are those of `tests.calls.bridge`."""
    ready = threading.Event()
    over: asyncio.Event | None = None
    found: list[LiveHouse] = []
    failed: list[BaseException] = []

    async def open_it() -> None:
        nonlocal over
        over = asyncio.Event()
        given = {"console_token": TOKEN, "console_listen": True, **options.pop("given", {})}
        async with bridge(agent, insecure=True, given=given, **options) as house:
            found.append(LiveHouse(house, asyncio.get_running_loop()))
            ready.set()
            await over.wait()

    def run() -> None:
        try:
            asyncio.run(open_it())
        except BaseException as error:  # noqa: BLE001  the test's own thread tells of it
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(30)
    assert found, failed
    try:
        yield found[0]
    finally:
        if over is not None:
            found[0].loop.call_soon_threadsafe(over.set)
        thread.join(30)
    assert not failed, failed


def sign_in(page: Page, base: str) -> None:
    """Open the console as a person does, by its token."""
    page.visit(f"{base}/console")
    page.until("document.activeElement?.id === 'token'")
    page.command("Input.insertText", text=TOKEN)
    page.press("Enter")
    page.until("!!document.querySelector('.top')")


def open_call(page: Page, call_sid: str) -> None:
    """The call's page, once the call is in the list."""
    page.value(f"location.hash = {json.dumps('#/live/' + call_sid)}")
    page.until("!!document.querySelector('.pane.words')")
