"""The store that machines share is frozen, killed, empty, full, or refuses the password: calls go on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import redis

from tests.processes.machines import Machines, loud_at_ms, machines, run_long
from tests.processes.rig import WORDS, Clerk, answer, phone, silence, speak, until

pytestmark = [pytest.mark.redis, pytest.mark.runs_with(function=run_long)]

CALLS = 6
RINGS = {"CallStatus": "ringing"}
MOST_S = 0.5
"""Of a webhook, whatever the store does, beyond what this machine takes for it while the store is well. The
model's double takes 50 ms, and is dialled meanwhile.
"""
WEBHOOK_S = 0.1
"""What a webhook waits for a store that may yet answer."""


async def webhook_s(here: Machines) -> float:
    """How long a new call's webhook takes, whether it comes in or this machine is too busy for it."""
    began_s = time.monotonic()
    verbs = await here.site.handset().webhook(f"{here.site.balancer.base}/incoming-call", RINGS)
    assert verbs is not None
    return time.monotonic() - began_s


async def all_go_on(here: Machines, turn: int) -> None:
    """Every call has another turn of its own, and is not over."""
    calls = here.site.calls
    speak(calls)
    await until(lambda: all(answer(turn) in phone(call).heard for call in calls), 20, f"turn {turn}")
    assert not any(call.over for call in calls)
    assert all(len(call.streams) == 1 for call in calls)


async def test_whatever_becomes_of_the_store_no_call_is_lost(tmp_path: Path) -> None:
    async with machines(Clerk(), tmp_path) as here:
        one = await here.start("one")
        two = await here.start("two")
        for _ in range(CALLS):
            here.site.dial(silence(600) + WORDS)
        calls = here.site.calls
        await until(lambda: all(c.streams and answer(1) in phone(c).heard for c in calls), 30, "answers")

        usual_s = [await webhook_s(here) for _ in range(5)]
        most_s = MOST_S + max(usual_s)
        here.store.pause()  # frozen: each attempt takes its whole budget, until it counts as away
        waits_s = [await webhook_s(here) for _ in range(16)]
        assert max(waits_s) < most_s, (usual_s, waits_s)
        away_s = waits_s[6:]  # three failures at each of two machines
        assert min(away_s) < min(usual_s) + WEBHOOK_S / 2, "nothing waits for a store that is away"
        await all_go_on(here, 2)
        here.store.resume()
        await until(lambda: all("store back" in "".join(m.logged) for m in (one, two)), 10, "back")

        here.store.kill()
        assert await webhook_s(here) < most_s
        await all_go_on(here, 3)
        here.store.start()  # empty
        await until(lambda: len(here.calls()) >= CALLS, 15, "all calls are written again")
        await until(lambda: here.conversations() == CALLS, 5, "and what was said, before anything more is")

        client = redis.Redis(unix_socket_path=str(here.store.socket))
        client.config_set("maxmemory", "1")  # full
        assert await webhook_s(here) < most_s
        await all_go_on(here, 4)
        client.config_set("maxmemory", "0")
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=True)
        assert await webhook_s(here) < most_s
        await all_go_on(here, 5)
        client.config_set("requirepass", "")
        client.close()

        await asyncio.sleep(6)  # back, and written again
        one.process.kill()
        here.leave(one)
        cut = [call for call in calls if len(call.streams) == 1]
        await until(lambda: any(len(call.streams) == 2 for call in calls), 5, "those of the dead machine")
        await asyncio.sleep(1)
        cut = [call for call in calls if len(call.streams) == 2]
        await until(lambda: all(loud_at_ms(call, 1) is not None for call in cut), 10, "are heard")
        speak(cut)
        await until(
            lambda: all(answer(6) in phone(call).heard for call in cut), 20, "and go on where they were"
        )
        assert two.process.returncode is None
