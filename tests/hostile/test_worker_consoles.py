"""The console of one worker, and the calls of all: as a page and phones know it, and a model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import kit
from tests.hostile.console_page import TOKEN, Page, open_page
from tests.hostile.test_workers import TWO, Speaker, dialled, owners, run, until, workers

pytestmark = pytest.mark.hostile


def served(model: kit.Model, folder: Path) -> Any:
    return kit.bridge(
        model, folder=folder, arguments=TWO, BRIDGE_CONSOLE_TOKEN=TOKEN, BRIDGE_CONSOLE_LISTEN="1"
    )


def home(page: Page) -> str:
    """The name of the worker that has this page's socket, as its first message says."""
    said = next((said for _, said in page.came if said["kind"] == "hello"), None)
    return "" if said is None else said["session"]["machine"].rpartition("-")[2]


def test_a_page_sees_the_calls_of_all_workers_and_helps_them(tmp_path: Path) -> None:
    """Calls on both workers. The list has all; one that the page's own worker does not have is
    looked at, is told something, and is ended."""

    async def main() -> None:
        async with Speaker() as model, served(model, tmp_path) as house:
            phones = await dialled(house, 4)
            mine = owners(house, phones)
            assert all(mine.values())
            page = await open_page(house)
            async with page.looking():
                await page.until(lambda: page.calls.keys() == {phone.sid for phone in phones}, 5)
                await page.until(lambda: home(page))
                names = dict(zip("12", workers(house), strict=True))
                far = next(pid for name, pid in names.items() if name != home(page))
                phone = mine[far][0]
                await page.tell(kind="look", call=phone.sid)
                await page.until(lambda: page.view and page.line("agent"), 5)
                assert page.view["call"] == phone.sid
                assert page.line("agent")["text"] == "An answer."  # type: ignore[index]
                assert (await page.act(phone.sid, "say", text="A colleague comes."))[0] == 200
                asked = lambda: [one for one in model.events if "A colleague comes." in str(one)]  # noqa: E731
                await page.until(asked, 5)
                assert len(asked()) == 1
                async with await page.connect(f"/console/calls/{phone.sid}/audio") as ear, asyncio.timeout(5):
                    while not isinstance(await ear.recv(), bytes):
                        pass
                assert (await page.act(phone.sid, "hang_up"))[0] == 200
                await page.until(lambda: phone.closed_s is not None, 5)
                await page.until(lambda: page.calls[phone.sid]["state"] == "ended", 5)
                others = [one for one in phones if one is not phone]
                assert all(one.closed_s is None for one in others)
                assert page.gaps == 0
                await asyncio.gather(*(one.hang_up() for one in others))

    run(main())


def test_a_sign_out_holds_at_all_workers(tmp_path: Path) -> None:
    """Two tabs of one browser, each at another worker: both are closed, and the cookie opens nothing any
    more, not even for one who has kept it, and not at a worker that starts later."""

    async def main() -> None:
        async with Speaker() as model, served(model, tmp_path) as house:
            first = await open_page(house)
            tabs: dict[str, Page] = {}
            async with contextlib.AsyncExitStack() as stack, asyncio.timeout(20):
                while len(tabs) < 2:
                    tab = Page(house.port)
                    tab.cookie = first.cookie
                    await stack.enter_async_context(tab.looking())
                    await tab.until(lambda tab=tab: home(tab))  # type: ignore[misc]
                    if tabs.setdefault(home(tab), tab) is not tab:
                        await tab.socket.close()
                kept = first.cookie
                assert (await first.request("POST", "/console/session/end"))[0] == 200
                for tab in tabs.values():
                    await tab.until(lambda tab=tab: tab.closed == 1008, 2)  # type: ignore[misc]

            async def refused() -> None:
                for _ in range(20):  # of which each worker gets some
                    first.cookie = kept
                    assert (await first.request("GET", "/console/session"))[0] == 401

            await refused()
            before = workers(house)
            os.kill(before[0], signal.SIGKILL)
            await until(lambda: len(set(workers(house)) - {before[0]}) == 2, 5, "another worker")
            async with asyncio.timeout(10):
                while len(json.loads((await house.get("/readyz"))[1])["workers"]) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await refused()

    run(main())


def test_a_call_that_comes_to_another_worker_lets_go_of_the_first_ones_model(tmp_path: Path) -> None:
    """The carrier drops the worker's name, or a proxy changes it: the call is answered all the same, by a
    second session, and the first does not wait any more."""

    async def main() -> None:
        async with Speaker() as model, kit.bridge(model, folder=tmp_path, arguments=TWO) as house:
            phone = kit.Phone(house)
            twiml = await house.ring(phone.sid)
            path, _, name = kit.stream_path(twiml).rpartition("/")
            await until(lambda: len(model.sessions) == 1, 5, "dialled")
            await phone.open(kit.parameters(twiml), f"{path}/{'1' if name == '2' else '2'}")
            await until(lambda: len(model.sessions) == 2, 5, "dialled again")
            first, second = model.sessions
            await until(lambda: first.socket.close_code is not None, 3, "let go of")
            assert second.socket.close_code is None
            assert phone.closed_s is None
            await phone.hang_up()

    run(main())
