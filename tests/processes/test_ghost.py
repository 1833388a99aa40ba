"""A machine stands still, its callers are taken over by another one, and then it goes on: as a ghost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest

from bridge.recording import replay
from bridge.simulators.phone import Kind
from tests.calls import ACCOUNT, KeepingServer
from tests.processes.machines import loud_at_ms, machines, run_long
from tests.processes.rig import WORDS, Clerk, answer, lived_through, phone, silence, speak, until

pytestmark = [pytest.mark.redis, pytest.mark.runs_with(function=run_long)]

CALLS = int(os.environ.get("TEST_CALLS", "12"))
STOPPED_S = 12
"""Longer than a lease."""


class Rest:
    """The carrier's API: it counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._answer, "127.0.0.1", 0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readline()).decode())
        writer.write(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("stopped_s", [STOPPED_S, pytest.param(30, marks=pytest.mark.long)])
async def test_a_machine_that_wakes_up_says_nothing_for_the_calls_that_it_lost(
    tmp_path: Path, stopped_s: float
) -> None:
    rest = Rest()
    async with machines(Clerk(), tmp_path) as here, await rest.serve() as api:
        settings = {
            "BRIDGE_TWILIO_API_URL": f"http://127.0.0.1:{api.sockets[0].getsockname()[1]}",
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "BRIDGE_VERIFY_CALLS": "off",
        }
        one = await here.start("one", **settings)
        here.leave(one)
        two = await here.start("two", **settings)
        here.leave(two)
        here.site.balancer.put(one.base)
        calls = [here.site.dial(silence(600) + WORDS) for _ in range(CALLS)]
        await until(lambda: all(c.streams and answer(1) in phone(c).heard for c in calls), 20, "answers")
        speak(calls)  # so that answers are under way
        await asyncio.sleep(0.4)
        sessions = len(here.site.upstream.sessions)

        os.kill(one.process.pid, signal.SIGSTOP)
        here.site.balancer.put(two.base)
        here.site.balancer.cut(one.base)  # the carrier gives its streams up
        await until(lambda: all(loud_at_ms(c, 1) is not None for c in calls), 20, "they go on")
        await asyncio.sleep(stopped_s)
        lost = [one_session.machine for one_session in here.site.upstream.sessions[:sessions]]
        told = [len(server.got) for server in lost if isinstance(server, KeepingServer)]
        journal = next(here.folder.glob("one-*/intents.jsonl")).stat().st_size
        known, asked = here.calls(), list(rest.asked)

        os.kill(one.process.pid, signal.SIGCONT)
        await asyncio.sleep(4)
        now = here.calls()
        assert [len(server.got) for server in lost if isinstance(server, KeepingServer)] == told
        assert rest.asked == asked, "no request of the ghost's"
        assert next(here.folder.glob("one-*/intents.jsonl")).stat().st_size == journal
        assert {sid: call["owner"] for sid, call in now.items()} == dict.fromkeys(known, "two")
        assert {sid: call["epoch"] for sid, call in now.items()} == {
            sid: call["epoch"] for sid, call in known.items()
        }
        assert len(here.site.upstream.sessions) == sessions + CALLS, "no session of the ghost's"
        metrics = await asyncio.to_thread(_read, f"{one.base}/metrics")
        assert re.search(rf"^phonebridge_store_ghosts_total {CALLS}\.0$", metrics, re.MULTILINE), metrics
        assert "phonebridge_calls_active 0.0" in metrics

        speak(calls)
        await until(
            lambda: all(answer(2) in phone(c).heard or answer(3) in phone(c).heard for c in calls), 15
        )
        assert not any(call.over for call in calls)
        assert all(lived_through(call).count(Kind.STREAM) == 2 for call in calls)
        await here.site.hung_up()
        for machine in (one, two):
            machine.process.terminate()
            assert await machine.ended(10) == 0
        ghosts = here.recordings("one")
        assert len(ghosts) == CALLS
        for path in ghosts:
            lines = path.read_text().splitlines()
            found = next(at for at, line in enumerate(lines) if '"is":"TakenOver"' in line)
            assert not any('"to":"carrier","frame"' in line for line in lines[found:])
            assert '"by":"two"' in lines[found] or '"by":"another machine"' in lines[found]
            assert replay(lines).difference is None


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return str(reply.read().decode())
