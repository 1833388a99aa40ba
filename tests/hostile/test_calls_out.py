"""`phonebridge call` and the examples as users run them, with a simulated carrier."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.simulators.rest_api import CarrierApi

from .kit import ACCOUNT, ROOT, TOKEN, free_port

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(300)]

NUMBER, KEY = "+15550100200", "0123456789abcdef-of-a-program"
AGENT = "examples.call_somebody:agent"


@dataclass
class Place:
    """A folder, a carrier, and the environment of commands."""

    api: CarrierApi
    folder: Path
    port: int

    def environment(self, **more: str) -> dict[str, str]:
        ours = ("BRIDGE_", "TWILIO_", "OPENAI_", "PUBLIC_URL", "PORT", "HOST")
        found = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return found | {
            "PUBLIC_URL": f"http://127.0.0.1:{self.port}", "PORT": str(self.port), "HOST": "127.0.0.1",
            "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_ACCOUNT_SID": ACCOUNT, "BRIDGE_UPSTREAM": "embedded",
            "BRIDGE_TWILIO_API_URL": self.api.url, "BRIDGE_OUTBOUND": "1", "BRIDGE_CALL_FROM": NUMBER,
            "BRIDGE_CALL_HOURS": "off", "BRIDGE_JOURNAL": str(self.folder / "state" / "journal"),
            "BRIDGE_DISCLOSURE": "0", "BRIDGE_EARS": "off", "PYTHONPATH": str(ROOT), **more,
        }  # fmt: skip

    async def start(self, *command: str, **more: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=self.folder, env=self.environment(**more),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def runs(self, *command: str, **more: str) -> tuple[int, str, str]:
        """Exit code, output and what was said beside it."""
        process = await self.start(*command, **more)
        async with asyncio.timeout(60):
            out, said = await process.communicate()
        return process.returncode or 0, out.decode(), said.decode()

    async def calls(self, number: str, *options: str, **more: str) -> tuple[int, str, str]:
        command = ["-m", "bridge", "call", number, "--agent", AGENT, "--consent", "a test", *options]
        return await self.runs(*command, **more)


@contextlib.asynccontextmanager
async def place(folder: Path, pace: float = 0.1) -> AsyncIterator[Place]:
    api = CarrierApi((TOKEN,), pace=pace)
    async with api.serve():
        yield Place(api, folder, free_port())


async def test_what_the_command_exits_with_says_who_answered(tmp_path: Path) -> None:
    async with place(tmp_path) as one:
        phones: dict[str, dict[str, Any]] = {
            "human": {"hangs_up_after_ms": 20_000, "verdict": (2_000, "human")},
            "busy": {},
            "declines": {},
            "invalid": {},
            "no_answer": {},
        }
        for n, (kind, more) in enumerate(phones.items()):
            one.api.phone(f"+155501003{n:02}", kind, **more)
        found = {}
        for n, kind in enumerate(phones):
            code, out, said = await one.calls(f"+155501003{n:02}", "--json")
            found[kind] = code, json.loads(out)["outcome"]
            assert "ringing" in said or kind in ("invalid", "busy"), said
        assert found == {
            "human": (0, "completed"),
            "busy": (3, "busy"),
            "declines": (3, "declined"),
            "invalid": (1, "invalid"),
            "no_answer": (3, "no_answer"),
        }


async def test_a_machine_gets_the_message_and_an_exit_code_of_its_own(tmp_path: Path) -> None:
    async with place(tmp_path, pace=1.0) as one:
        one.api.phone("+15550100301", "machine")
        code, out, _ = await one.calls("+15550100301", "--json")
        assert code == 4, out
        assert json.loads(out)["outcome"] == "completed"


async def test_a_dry_run_and_a_refusal_call_nobody(tmp_path: Path) -> None:
    async with place(tmp_path) as one:
        one.api.phone("+15550100301")
        code, out, _ = await one.calls("+1 (555) 010-0301", "--dry-run")
        assert (code, "+15550100301 would be called now" in out) == (0, True)
        for number, more, rule in (
            ("+15550100301", {"BRIDGE_CALL_HOURS": "09:00-20:00"}, "call_hours"),
            ("+442079460000", {}, "country"),
            ("+15550100301", {"BRIDGE_CALL_COUNTRIES": "DE"}, "country"),
        ):
            code, _, said = await one.calls(number, **more)
            assert code == 1, said
            assert f"{rule}: " in said
        code, _, said = await one.calls("+15550100301", BRIDGE_OUTBOUND="0")
        assert (code, "BRIDGE_OUTBOUND" in said) == (2, True)
        assert one.api.placed == []


async def test_a_program_asks_a_running_service_for_each_order_once(tmp_path: Path) -> None:
    async with place(tmp_path) as one:
        one.api.phone("+15550100101", "human", hangs_up_after_ms=10_000, verdict=(2_000, "human"))
        one.api.phone("+15550100102", "busy")
        one.api.phone("+15550100103", "declines")
        server = f"http://127.0.0.1:{one.port}"
        serving = await one.start("-m", "bridge", "serve", "--agent", AGENT, BRIDGE_API_KEYS=f"shop={KEY}")
        try:
            await until_ready(one.port)
            program = ["-m", "examples.many_numbers", str(ROOT / "examples" / "numbers.csv"), server, KEY]
            first = await one.runs(*program)
            assert first[0] == 0, first[2]
            again = await one.runs(*program)
            assert sorted(again[1].splitlines()) == sorted(first[1].splitlines())
            assert [line.partition(" (")[0] for line in first[1].splitlines()] == [
                "4711: completed", "4712: busy", "4713: declined",
            ]  # fmt: skip
            assert len(one.api.placed) == 3
            command = ["-m", "bridge", "calls", "run", str(tmp_path / "list.csv"), "--once", "--json"]
            (tmp_path / "list.csv").write_text("to,consent\n+15550100102,form\n")
            code, out, said = await one.runs(*command, "--server", server, "--key", KEY)
            assert (code, json.loads(out)["outcomes"]) == (0, {"busy": 1}), said
        finally:
            serving.terminate()
            await serving.communicate()


async def until_ready(port: int) -> None:
    async with asyncio.timeout(40):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def test_ctrl_c_takes_the_call_back(tmp_path: Path) -> None:
    async with place(tmp_path, pace=1.0) as one:
        phone = one.api.phone("+15550100301", "no_answer")
        command = ["-m", "bridge", "call", "+15550100301", "--agent", AGENT, "--consent", "a test"]
        process = await one.start(*command)
        async with asyncio.timeout(40):
            while not (phone.legs and phone.leg.status == "ringing"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        process.send_signal(2)
        async with asyncio.timeout(15):
            await process.communicate()
        await phone.over()
        assert phone.leg.status == "canceled"
