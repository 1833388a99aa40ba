"""The console of one machine shows a call that another one has, and ends it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.hostile.console_page import TOKEN, Page
from tests.processes.machines import machines
from tests.processes.rig import WORDS, Clerk, answer, phone, run, silence, until

pytestmark = [pytest.mark.redis, pytest.mark.runs_with(function=run)]


async def test_a_call_is_seen_and_ended_from_the_other_machine(tmp_path: Path) -> None:
    ours = {"BRIDGE_CONSOLE_TOKEN": TOKEN, "HOST": "127.0.0.1"}
    async with machines(Clerk(), tmp_path) as here:
        await here.start("one", **ours)
        other = await here.start("two", **ours)
        here.leave(other)
        port = urlsplit(other.base).port
        assert port is not None
        page = await Page(port).sign_in()
        async with page.looking():
            call = here.site.dial(silence(600) + WORDS + silence(20_000))
            await page.until(lambda: page.calls, 20)
            ((sid, row),) = page.calls.items()
            assert row["machine"] == "one"
            await page.tell(kind="look", call=sid)
            await until(lambda: call.streams and answer(1) in phone(call).heard, 20, "an answer")
            await page.until(lambda: page.line("agent") is not None, 10)
            assert page.gaps == 0
            status, done = await page.act(sid, "hang_up")
            assert (status, done) == (200, {"done": "hang_up"})
            await page.until(lambda: page.calls[sid]["state"] == "ended", 10)
            assert page.calls[sid]["end"] == "we hung up"
            await here.site.hung_up()
