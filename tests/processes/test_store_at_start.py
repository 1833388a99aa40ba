"""A machine whose store is not there when it starts, is gone later, or refuses it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.calls import Served, command
from tests.processes.machines import KEY, machines
from tests.processes.rig import WORDS, Clerk, answer, phone, run, silence, until
from tests.store.redis_server import RedisServer, free_port, needed

pytestmark = [pytest.mark.redis, pytest.mark.runs_with(function=run)]


async def asked(base: str, path: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        with urllib.request.urlopen(f"{base}{path}") as answered:
            return answered.status, answered.read().decode()

    return await asyncio.to_thread(ask)


async def test_calls_are_taken_while_the_store_is_away(tmp_path: Path) -> None:
    async with machines(Clerk(), tmp_path) as here:
        here.store.kill()
        served = await here.start("one")
        status, text = await asked(served.base, "/readyz")
        ready: dict[str, Any] = json.loads(text)
        assert (status, ready) == (200, {"ready": True, "reasons": [], "notes": ["store away"]})
        first = here.site.dial(silence(600) + WORDS)
        await until(lambda: first.streams and answer(1) in phone(first).heard, 20, "an answer")
        assert "phonebridge_store_up 0.0" in (await asked(served.base, "/metrics"))[1]

        await asyncio.to_thread(here.store.start)
        await until(lambda: any("store back" in line for line in served.logged), 10, "it is back")
        status, text = await asked(served.base, "/readyz")
        assert json.loads(text) == {"ready": True, "reasons": []}
        here.store.kill()
        second = here.site.dial(silence(600) + WORDS)
        await until(lambda: second.streams and answer(1) in phone(second).heard, 20, "an answer")
        await here.site.hung_up()
        await until(lambda: len(changes(served)) == 3, 10, "it is away again")
        served.process.terminate()
        assert await served.ended(10) == 0


async def test_workers_say_it_as_one_process_does(tmp_path: Path) -> None:
    async with machines(Clerk(), tmp_path) as here:
        here.store.kill()
        served = await here.start("one", "--workers", "2")
        status, text = await asked(served.base, "/readyz")
        ready: dict[str, Any] = json.loads(text)
        assert (status, ready["ready"], ready["reasons"], ready["notes"]) == (200, True, [], ["store away"])
        served.process.terminate()
        assert await served.ended(10) == 0


def changes(served: Served) -> list[str]:
    return [line for line in served.logged if "store away" in line or "store back" in line]


async def test_a_password_that_is_refused_is_one_line_and_exit_2(tmp_path: Path) -> None:
    needed()
    server = await asyncio.to_thread(RedisServer("--requirepass", "sesame", port=free_port()).start)
    try:
        settings: Any = {
            "PUBLIC_URL": "https://voice.example.com",
            "TWILIO_AUTH_TOKEN": "an-invented-token-of-thirty-two-",
            "OPENAI_API_KEY": "sk-invented",
            "BRIDGE_STORE": f"redis://:wrong@127.0.0.1:{server.port}/0",
            "BRIDGE_STORE_KEY": KEY,
            "BRIDGE_JOURNAL": str(tmp_path / "intents.jsonl"),
            "PORT": "0",
        }
        process = await command("serve", **settings)
        said, error = (text.decode() for text in await process.communicate())
        assert process.returncode == 2
        assert "user or password is refused" in error
        assert "wrong" not in said + error
        assert "Traceback" not in said + error
    finally:
        await asyncio.to_thread(server.remove)
