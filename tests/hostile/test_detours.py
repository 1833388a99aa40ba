"""A process is killed while its caller is away: the next one has them back, with the conversation."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.sounds import load
from tests.hostile import kit

pytestmark = pytest.mark.hostile

BILLING = "+15550003333"
LEG = "CA" + "d" * 32
AGENT = {
    "agent.py": """
from bridge import Agent


async def answer(session):
    await session.input()
    result = await session.transfer("billing", MODE, brief="Ann Lee, about an invoice.")
    async for _turn in session.input():
        await session.respond()


agent = Agent("Answer.", greeting="Hello.", handler=answer)
"""
}


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 90))


def settings(folder: Path, mode: str) -> dict[str, Any]:
    files = {name: text.replace("MODE", repr(mode)) for name, text in AGENT.items()}
    transfers = f"billing={BILLING}"
    return {"files": files, "folder": folder, "BRIDGE_TRANSFERS": transfers, "BRIDGE_AGENT": "agent:agent"}


def in_progress(sid: str, **more: str) -> dict[str, str]:
    return kit.webhook(sid, CallStatus="in-progress", Direction="inbound", **more)


async def away(served: kit.Bridge, phone: kit.Phone) -> str:
    """The caller speaks, and is sent on; the detour's path."""
    await asyncio.sleep(2)
    await phone.talk(0.6)
    async with asyncio.timeout(15):
        while phone.closed_s is None:  # noqa: ASYNC110  the server closes it
            await asyncio.sleep(0.02)
    found = re.search(r'<Connect action="https://voice.example.com([^"]*)"', phone.twiml)
    assert found is not None
    status, twiml = await served.post(found[1], in_progress(phone.sid))
    assert status == 200
    detour = re.search(r'<Dial action="https://voice.example.com(/detour/[0-9a-f]{32})/after"', twiml)
    assert detour is not None, twiml
    assert f">{BILLING}</Number>" in twiml
    return detour[1]


@pytest.mark.parametrize("accepted", [False, True], ids=["ringing", "talking"])
def test_a_process_that_is_killed_in_the_detour(accepted: bool, tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.Model() as model:
            async with kit.bridge(model, **settings(tmp_path, "cold")) as before:
                phone = await kit.Phone(before).dial()
                path = await away(before, phone)
                leg = {"ParentCallSid": phone.sid, "Direction": "outbound-dial"}
                form = {**kit.webhook(LEG, CallStatus="in-progress"), **leg}
                if accepted:
                    assert "Ann Lee" in (await before.post(f"{path}/whisper", form))[1]
                before.process.kill()
                await before.process.wait()
            async with kit.bridge(model, **settings(tmp_path, "cold")) as after:
                if accepted:
                    assert (await after.post(f"{path}/accept", {**form, "Digits": "1"}))[1].endswith(
                        "<Response />"
                    )
                    talked = {"DialCallStatus": "completed", "DialCallDuration": "95", "DialBridged": "true"}
                    over = in_progress(phone.sid, DialCallSid=LEG, **talked)
                    assert "<Hangup />" in (await after.post(f"{path}/after", over))[1]
                    return
                form = in_progress(phone.sid, DialCallStatus="no-answer", DialCallSid=LEG)
                _, twiml = await after.post(f"{path}/after", form)
                assert await after.post(f"{path}/after", form) == (200, twiml), "asked again"
                assert '<Parameter name="returned" value="no_answer" />' in twiml
                began_s = time.monotonic()
                back = await kit.Phone(after, phone.sid).open(kit.parameters(twiml))
                await asyncio.sleep(3)
                assert back.longest_silence_s(began_s, began_s + 2) < 2
                heard = b"".join(sound for _, sound in back.heard)
                assert load("restored")[:4_000] not in heard, "a return is no crash"
                told = json.dumps(model.sessions[-1].events)
                assert "transfer to billing: nobody answered" in told
                assert len(model.sessions) == 2
                await back.hang_up()

    run(main())


def test_a_process_that_is_killed_while_a_target_is_called(tmp_path: Path) -> None:
    """The call is resumed as after any crash, and what rings is taken back: nobody has asked for it."""

    async def main() -> None:
        api = await Api.start()
        more: Any = {"BRIDGE_TWILIO_API_URL": api.url}
        async with kit.Model() as model:
            async with kit.bridge(model, **settings(tmp_path, "warm"), **more) as before:
                phone = await kit.Phone(before).dial()
                await asyncio.sleep(2)
                await phone.talk(0.6)
                async with asyncio.timeout(10):
                    while not api.placed:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                await asyncio.sleep(0.3)
                before.process.kill()
                await before.process.wait()
                phone.drop()
            async with kit.bridge(model, **settings(tmp_path, "warm"), **more) as after:
                action = re.search(r'<Connect action="https://voice.example.com([^"]*)"', phone.twiml)
                assert action is not None
                _, twiml = await after.post(action[1], in_progress(phone.sid))
                back = await kit.Phone(after, phone.sid).open(kit.parameters(twiml))
                await asyncio.sleep(1)
                path = api.placed[0]["Url"].removeprefix(kit.PUBLIC).removesuffix("/callee")
                ringing = {**kit.webhook(LEG, CallStatus="ringing"), "CallbackSource": "call-progress-events"}
                assert (await after.post(f"{path}/leg", ringing))[0] == 204
                answered = kit.webhook(LEG, CallStatus="in-progress")
                assert "<Hangup />" in (await after.post(f"{path}/callee", answered))[1]
                async with asyncio.timeout(5):
                    while not api.updated:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                assert api.updated == [(LEG, {"Status": "canceled"})]
                assert back.closed_s is None
                assert len(api.placed) == 1
                await back.hang_up()
        api.close()

    run(main())


class Api:
    """The carrier's REST API, as far as it is asked here: a leg is placed, calls live, updates are kept."""

    def __init__(self) -> None:
        self.placed: list[dict[str, str]] = []
        self.updated: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    @classmethod
    async def start(cls) -> Api:
        from urllib.parse import parse_qsl

        api = cls()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = (await reader.readexactly(int(length[1]))).decode() if length else ""
            method, path = head.split(" ")[:2]
            form, sid = dict(parse_qsl(body)), path.rpartition("/")[2].removesuffix(".json")
            if method == "POST" and sid == "Calls":
                api.placed.append(form)
                sid = LEG
            elif method == "POST":
                api.updated.append((sid, form))
            found = {"sid": sid, "account_sid": kit.ACCOUNT, "status": "in-progress"}
            content = json.dumps(found).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
            writer.write(f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
            await writer.drain()
            writer.close()

        api._server = await asyncio.start_server(answer, "127.0.0.1", 0)
        api.url = f"http://127.0.0.1:{api._server.sockets[0].getsockname()[1]}"
        return api

    _server: asyncio.Server

    def close(self) -> None:
        self._server.close()
