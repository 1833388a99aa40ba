"""Whoever has captured what the carrier signed gets no session by it, and no call that lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path

import pytest

from . import kit

pytestmark = pytest.mark.hostile


def run(work: object) -> None:
    asyncio.run(asyncio.wait_for(work, 120))  # type: ignore[arg-type]


def asked_after(sid: str, **more: str) -> dict[str, str]:
    return kit.webhook(sid, CallStatus="in-progress", **more)


def action(twiml: str) -> str:
    """Where the carrier asks when the stream is over: path and query."""
    found = re.search(r'<Connect action="([^"]*)"', twiml)
    assert found is not None
    return unescape(found[1]).removeprefix(kit.PUBLIC)


async def gets_in(bridge: kit.Bridge, sid: str, twiml: str) -> bool:
    """Whether what was answered opens a stream in which anything is heard, or that is not closed at once."""
    if "<Stream" not in twiml:
        return False
    stranger = await kit.Phone(bridge, sid).open(kit.parameters(twiml))
    await asyncio.sleep(1.2)
    closed = stranger.closed_s is not None
    stranger.drop()
    return not closed or stranger.heard_s() > 0


async def is_alive(phone: kit.Phone) -> bool:
    """Whether its caller is heard and answered."""
    await phone.talk(0.6)
    since_s = time.monotonic()
    await asyncio.sleep(2)
    answered_s = sum(len(sound) for at_s, sound in phone.heard if at_s >= since_s) / 8000
    return phone.closed_s is None and answered_s >= 0.5


@dataclass
class Api:
    """The carrier's word about calls: a status, or an HTTP status and how long it takes."""

    port: int = 0
    says: dict[str, object] = field(default_factory=dict)
    otherwise: object = "in-progress"
    delay_s: float = 0.0
    account: str = kit.ACCOUNT
    asked: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            sid = head.split(" ")[1].rpartition("/")[2].removesuffix(".json")
            self.asked.append(sid)
            says = self.says.get(sid, self.otherwise)
            if isinstance(says, list):
                says = says.pop(0) if len(says) > 1 else says[0]
            await asyncio.sleep(self.delay_s)
            body = {"sid": sid, "account_sid": self.account, "status": says}
            if isinstance(says, int):
                body = {"status": says, "code": 20404 if says == 404 else 20000, "message": "no"}
            raw = json.dumps(body).encode()
            code = says if isinstance(says, int) else 200
            writer.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                         b"Connection: close\r\n\r\n" % (code, len(raw)) + raw)  # fmt: skip
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def carrier_api(**given: object) -> AsyncIterator[Api]:
    api = Api(**given)  # type: ignore[arg-type]
    server = await asyncio.start_server(api.answer, "127.0.0.1", 0)
    api.port = server.sockets[0].getsockname()[1]
    try:
        yield api
    finally:
        server.close()


# --- while the call lives, and after it


async def _while_it_lives() -> None:
    async with kit.Model() as model, kit.bridge(model) as bridge:
        phone, other = await kit.Phone(bridge).dial(), await kit.Phone(bridge).dial()
        await asyncio.sleep(1.5)
        sid, own, others = phone.sid, action(phone.twiml), action(other.twiml)
        replays = [
            ("/incoming-call", kit.webhook(sid)),
            ("/after-stream", asked_after(sid)),
            ("/after-stream", asked_after(sid, DialCallStatus="busy", DialCallSid=kit.call_sid())),
            (own, asked_after(sid)),
            (others, asked_after(sid)),
            ("/after-stream?stream=", asked_after(sid)),
            ("/after-stream?stream=1-abcdefabcdef", asked_after(sid)),
            ("/after-stream?stream=2-abcdefabcdef", asked_after(sid)),
            ("/stream-status", kit.webhook(sid, StreamSid=phone.stream_sid, StreamEvent="stream-stopped")),
            ("/stream-status", kit.webhook(sid, StreamSid=phone.stream_sid, StreamEvent="stream-error")),
        ]
        for path, form in replays:
            began_s = time.monotonic()
            status, answer = await bridge.post(path, form)
            assert status in (200, 204), path
            assert time.monotonic() - began_s < 3, path
            assert "<Dial" not in answer
            assert not await gets_in(bridge, sid, answer), (path, answer)
        spent = await kit.Phone(bridge, sid).open(kit.parameters(phone.twiml))
        await asyncio.sleep(0.5)
        assert spent.close_code == 1008
        assert await is_alive(phone)
        assert await is_alive(other)
        assert len(model.sessions) == 2
        await other.hang_up()

        await phone.hang_up()
        await bridge.until_log("call.summary")
        for path, form in replays:
            assert not await gets_in(bridge, sid, (await bridge.post(path, form))[1]), path
        assert len(model.sessions) == 2
        assert await bridge.replays() == ""


def test_nothing_of_a_call_that_lives_opens_another_stream_or_ends_it() -> None:
    run(_while_it_lives())


async def _of_an_earlier_stream() -> None:
    async with kit.Model() as model, kit.bridge(model) as bridge:
        phone = await kit.Phone(bridge).dial()
        await asyncio.sleep(1.5)
        sid, first = phone.sid, action(phone.twiml)
        phone.drop()
        await bridge.until_log("call.summary")
        _, twiml = await bridge.post(first, asked_after(sid))
        assert "<Stream" in twiml
        second = action(twiml)
        assert second != first
        assert (await bridge.post(first, asked_after(sid)))[1] == twiml, "a retry is answered as before"
        phone = await kit.Phone(bridge, sid).open(kit.parameters(twiml))
        await asyncio.sleep(1.5)
        began_s = time.monotonic()
        assert "<Stream" not in (await bridge.post(first, asked_after(sid)))[1]
        assert time.monotonic() - began_s < 0.5, "its name says that it is out of date"
        assert "<Stream" not in (await bridge.post("/after-stream", asked_after(sid)))[1]
        assert time.monotonic() - began_s < 0.5, "without a name it is about the first"
        assert await is_alive(phone)
        phone.drop()
        await asyncio.sleep(1.2)
        assert "<Stream" not in (await bridge.post(first, asked_after(sid)))[1]
        assert "<Stream" in (await bridge.post(second, asked_after(sid)))[1]
        # The caller has left meanwhile.
        await bridge.post(second, kit.webhook(sid, CallStatus="completed"))
        for path in (first, second, "/after-stream"):
            assert "<Hangup" in (await bridge.post(path, asked_after(sid)))[1]


def test_the_question_after_an_earlier_stream_is_out_of_date() -> None:
    run(_of_an_earlier_stream())


async def _half_open() -> None:
    async with kit.Model() as model, kit.bridge(model) as bridge:
        for path in ("/after-stream", None):
            phone = await kit.Phone(bridge).dial()
            await asyncio.sleep(1.5)
            for task in phone._tasks[1:]:
                task.cancel()  # it says nothing more, and its socket stays
            sessions, began_s = len(model.sessions), time.monotonic()
            _, twiml = await bridge.post(path or action(phone.twiml), asked_after(phone.sid))
            assert "<Stream" in twiml, "a caller whose stream is dead goes on"
            assert 0.5 < time.monotonic() - began_s < 2.5
            newer = await kit.Phone(bridge, phone.sid).open(kit.parameters(twiml))
            await asyncio.sleep(0.5)
            assert phone.closed_s is not None
            assert await is_alive(newer)
            assert len(model.sessions) == sessions, "with the same session of the model's"
            await newer.hang_up()
        await asyncio.sleep(0.3)
        assert await bridge.replays() == ""


def test_a_dead_stream_loses_no_caller() -> None:
    run(_half_open())


# --- after a restart


async def _after_a_restart(folder: Path) -> None:
    async with kit.Model() as model, carrier_api() as api:
        url = f"http://127.0.0.1:{api.port}"
        async with kit.bridge(model, folder=folder) as bridge:
            phone = await kit.Phone(bridge).dial()
            never = await bridge.ring(never_sid := kit.call_sid())  # the caller hung up while it rang
            assert "<Stream" in never
            await asyncio.sleep(1.2)
            sid, first = phone.sid, action(phone.twiml)
            phone.drop()
            await asyncio.sleep(0.3)
            bridge.process.kill()
            await bridge.process.wait()
        sessions = len(model.sessions)

        async def replayed(bridge: kit.Bridge, *paths: str) -> list[bool]:
            asked = [await bridge.post(path, asked_after(sid)) for path in paths]
            return [await gets_in(bridge, sid, answer) for _, answer in asked]

        async with kit.bridge(model, folder=folder) as bridge:
            assert await replayed(bridge, "/incoming-call") == [False]
            assert len(model.sessions) == sessions
        (folder / "state" / "journal").unlink()
        used = folder / "state" / "used-calls"
        with used.open("ab") as cut:
            cut.write(b"\x01" * 7)
        # Nobody can be asked, and it stands in the memory.
        async with kit.bridge(model, folder=folder) as bridge:
            assert await replayed(bridge, "/incoming-call", "/after-stream", first) == [False] * 3
            late = await kit.Phone(bridge).dial()  # noted behind the entry that was cut
            await asyncio.sleep(0.5)
            late_sid = late.sid
            late.drop()
            bridge.process.kill()
        (folder / "state" / "journal").unlink()
        async with kit.bridge(model, folder=folder) as bridge:
            answer = await bridge.ring(late_sid)
            assert not await gets_in(bridge, late_sid, answer)
        # A machine that knows nothing asks the carrier.
        shutil.rmtree(folder / "state")
        api.says = {sid: "completed", never_sid: "no-answer"}
        sessions = len(model.sessions)
        async with kit.bridge(model, folder=folder, BRIDGE_TWILIO_API_URL=url) as bridge:
            for call in (sid, never_sid):
                for path in ("/incoming-call", "/after-stream", first):
                    status, answer = await bridge.post(path, asked_after(call))
                    assert status == 200
                    assert "<Hangup" in answer
                    assert "<Say" not in answer
            assert "response.create" not in [
                event["type"] for session in model.sessions[sessions:] for event in session.events
            ]
            assert api.asked == [sid, never_sid], "what is over is asked about once"


def test_a_restart_forgets_nothing_and_a_new_machine_asks(tmp_path: Path) -> None:
    run(_after_a_restart(tmp_path))


# --- the carrier's word


async def _refused(bridge: kit.Bridge) -> str:
    """What a new call is answered that is not let in."""
    sid = kit.call_sid()
    began_s = time.monotonic()
    answer = await bridge.ring(sid)
    assert time.monotonic() - began_s < 2
    assert not await gets_in(bridge, sid, answer)
    return answer


async def _let_in(bridge: kit.Bridge, within_s: float = 1.0) -> None:
    began_s = time.monotonic()
    phone = await kit.Phone(bridge).dial()
    assert time.monotonic() - began_s < within_s
    await asyncio.sleep(1.5)
    assert phone.heard_s() > 0.5
    await phone.hang_up()


async def _the_carriers_word() -> None:
    async with kit.Model() as model, carrier_api() as api:
        url = f"http://127.0.0.1:{api.port}"
        async with kit.bridge(model, BRIDGE_TWILIO_API_URL=url) as bridge:
            await _let_in(bridge)
            assert len(api.asked) == 1
            for status in ("completed", "busy", "failed", "no-answer", "canceled", 404):
                api.otherwise = status
                assert "<Hangup" in await _refused(bridge), status
            asked = len(api.asked)
            api.otherwise = [404, "ringing"]
            await _let_in(bridge, 1.5)
            assert len(api.asked) == asked + 2
            api.otherwise, api.account = "in-progress", "AC" + "b" * 32
            assert "<Hangup" in await _refused(bridge)
            api.account = kit.ACCOUNT
            for status in (401, 429, 500, 503):
                api.otherwise = status
                await _let_in(bridge)
            api.delay_s = 5.0
            await _let_in(bridge, 1.5)
            _, metrics = await bridge.get("/metrics")
            for why in ("not_allowed", "too_many", "no_answer"):
                assert f'phonebridge_calls_unverified_total{{why="{why}"}} 1.0' in metrics
            assert 'phonebridge_calls_unverified_total{why="faulty"} 2.0' in metrics
            assert len(bridge.events("let in unverified")) == 5
            api.delay_s = 0.0
            creates = [event for event in model.events if event["type"] == "response.create"]
            assert len(creates) == 7, "one greeting a call that was let in"
        async with kit.bridge(model, BRIDGE_TWILIO_API_URL=url, BRIDGE_VERIFY_CALLS="always") as bridge:
            for status in (401, 429, 500):
                api.otherwise = status
                assert "<Say" in await _refused(bridge), "the busy words"
            api.otherwise = "ringing"
            await _let_in(bridge)
        asked = len(api.asked)
        api.otherwise = "completed"
        async with kit.bridge(model, BRIDGE_TWILIO_API_URL=url, BRIDGE_VERIFY_CALLS="off") as bridge:
            await _let_in(bridge)
            assert len(api.asked) == asked


def test_the_carrier_is_asked_before_anything_is_said() -> None:
    run(_the_carriers_word())
