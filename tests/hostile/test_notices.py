"""A real server tells a receiver of its calls: also of those that a killed process has left."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hostile.kit import Model, Phone, bridge
from tests.test_notices import Receiver

pytestmark = pytest.mark.hostile


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


async def until(served: Receiver, kind: str, seconds: float = 10.0) -> dict[str, object]:
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        for _, body in served.got:
            if body["type"] == kind:
                return body
        await asyncio.sleep(0.02)
    raise AssertionError(f"no {kind} among {[body['type'] for _, body in served.got]}")


async def test_a_call_is_told_from_its_start_to_its_recording(receiver: Receiver) -> None:
    async with (
        Model() as model,
        bridge(
            model,
            BRIDGE_NOTICES=receiver.url,
            BRIDGE_NOTICES_PRIVATE="1",
            BRIDGE_NOTICES_SECRET="whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
            BRIDGE_NOTICES_ABOUT="call.turn,recording.ready",
        ) as served,
    ):
        phone = await Phone(served).dial()
        await phone.talk(1.0)
        await asyncio.sleep(2.0)
        await phone.hang_up()
        ended = await until(receiver, "call.ended")
        await until(receiver, "recording.ready")
    assert ended["data"]["end"] == "caller_hung_up"  # type: ignore[index]
    assert receiver.got[0][1]["type"] == "call.started"
    assert all(headers["webhook-signature"].startswith("v1,") for headers, _ in receiver.got)
    assert len(set(receiver.ids)) == len(receiver.ids)


async def test_a_receiver_that_was_down_gets_what_a_killed_process_has_left(receiver: Receiver) -> None:
    receiver.answers = [(503, {})] * 1_000
    settings: Any = {"BRIDGE_NOTICES": receiver.url, "BRIDGE_NOTICES_PRIVATE": "1"}
    async with Model() as model, bridge(model, **settings) as served:
        folder = served.folder
        phone = await Phone(served).dial()
        await phone.talk(0.5)
        await phone.hang_up()
        await until(receiver, "call.started")
        spool = folder / "state" / "notices"
        ends_s = time.monotonic() + 5
        while not any("call.ended" in path.read_text() for path in spool.rglob("*.json")):
            assert time.monotonic() < ends_s
            await asyncio.sleep(0.02)
        kept = {json.loads(path.read_text())["id"] for path in spool.rglob("*.json")}
        served.process.kill()
        await served.process.wait()
        receiver.answers.clear()
        receiver.got.clear()
        async with bridge(model, folder=folder, **settings):
            await until(receiver, "call.ended")
    assert kept == set(receiver.ids)


HOOK = """
import json
from pathlib import Path
from bridge import Agent

async def noted(notice):
    with open("told.jsonl", "a") as file:
        file.write(json.dumps(notice) + "\\n")

agent = Agent(name="desk", instructions="x", on_notice=noted)
"""


async def test_an_agent_is_told_too() -> None:
    files = {"hooked.py": HOOK}
    async with Model() as model, bridge(model, files=files, BRIDGE_AGENT="hooked:agent") as served:
        phone = await Phone(served).dial()
        await phone.talk(0.5)
        await phone.hang_up()
        await served.until_log("call.summary")
        await asyncio.sleep(0.5)
        told = [json.loads(line) for line in (served.folder / "told.jsonl").read_text().splitlines()]
    kinds = [one["type"] for one in told]
    assert kinds[0] == "call.started"
    assert kinds.count("call.ended") == 1
