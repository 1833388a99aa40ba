"""What is secret stays where it belongs: nothing that a process writes or answers repeats it."""

from __future__ import annotations

import asyncio
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from bridge.agents.agent import Agent
from bridge.agents.mcp import McpServer
from bridge.agents.session import Session
from bridge.agents.tools import hang_up, tool, transfer
from bridge.doubles.agents import Scripted, Speech, ToolCall
from bridge.doubles.tones import tone
from bridge.ops import logs
from bridge.simulators.rest_api import BROKEN
from bridge.sockets.dial import DialError, dial
from tests.calls import ACCOUNT, TOKEN
from tests.door.rig import DESK, NIGHT, TRANSFERS, door, run, until

pytestmark = pytest.mark.runs_with(function=run)

KEY = "sk-planted-0123456789abcdefghijklmnop"
SECOND_TOKEN = "planted-second-token-0123456789ab"
SHARED = "planted-shared-secret-0123456789"
MCP_KEY = "planted-mcp-credential-0123456789"
CALLER, CALLED = "+15550007777", "+15550008888"
WORDS = "my mother's maiden name is Featherstonehaugh"
PLANTED = {
    "the key": KEY,
    "the token": TOKEN,
    "the other token": SECOND_TOKEN,
    "the shared key": SHARED,
    "the credential of a server": MCP_KEY,
    "the caller's number": CALLER[1:],
    "the number called": CALLED[1:],
    "a target": DESK[1:],
    "the fallback": NIGHT[1:],
    "the caller's words": "Featherstonehaugh",
}
OPERATORS = ("/healthz", "/readyz", "/metrics")


@tool
async def careless(session: Session) -> str:
    """Raise with everything in it."""
    raise RuntimeError(f"GET https://api.example.com/?key={KEY} for {session.fields['From']}: {TOKEN}")


AGENT = Agent(
    "Be careful.",
    tools=[
        careless,
        hang_up,
        transfer,
        McpServer(
            label="crm",
            url="https://mcp.example.com",
            authorization=SecretStr(MCP_KEY),
            headers={"X-Key": MCP_KEY},
            require_approval="never",
        ),
    ],
    greeting="Hello.",
    transcription="gpt-transcribe",
)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """All that the process logs, at the most talkative level, as it is written."""
    stream = io.StringIO()
    root, ours = logging.getLogger(), logging.getLogger("bridge")
    levels = root.level, ours.level
    yield stream
    for handler in list(root.handlers):
        if isinstance(handler, logs.Logs):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def found(text: str, *allowed: str) -> list[str]:
    """Which of the planted secrets are in there, in whatever spelling."""
    plain = text.replace("\\u002b", "+").replace("%2B", "+")
    return [name for name, secret in PLANTED.items() if secret in plain and name not in allowed]


def test_a_full_run_writes_no_secret_anywhere(written: io.StringIO, tmp_path: Path) -> None:
    """Three calls (a goodbye by intent after REST failed, a transfer, a caller who leaves), tools that raise,
    strangers at every door, a carrier that reports an error.
    """
    answers: list[str] = []
    goodbye = [[ToolCall("careless", {})], [Speech(300, "Goodbye."), ToolCall("hang_up", {})]]
    sent_on = [ToolCall("transfer", {"target": "front desk"})]

    async def main() -> None:
        mind = Scripted(goodbye)  # type: ignore[arg-type]
        async with door(
            mind,
            AGENT,
            server={"transcribe": lambda _item: WORDS},
            upstream="openai",
            upstream_url="ws://127.0.0.1:1/v1/realtime",
            openai_api_key=KEY,
            twilio_auth_token=f"{TOKEN},{SECOND_TOKEN}",
            shared_keys=f"SK1={SHARED}",
            transfers=TRANSFERS,
            fallback="night",
            log_level="debug",
            recordings=tmp_path,
            record_audio=True,
            consent="handled",
        ) as house:
            logs.configure("debug", stream=written, hidden=house.settings.unspeakable(), readable=False)
            numbers = {"caller": CALLER, "called": CALLED}
            house.api.faults = [BROKEN] * 3
            await house.placed_call(**numbers)  # type: ignore[arg-type]
            mind.replies[:] = [sent_on]  # type: ignore[list-item]
            sent = await house.sent_on_call(DESK, **numbers)
            assert sent.reached == [DESK]
            mind.replies[:] = [[Speech(5_000, "A long story")]]
            leaving = house.dial(house.caller(b"\xff" * 2_000 + tone(500), **numbers))  # type: ignore[arg-type]
            await until(lambda: leaving.streaming.is_set() and leaving.phone.played_bytes > 4_000)
            await asyncio.sleep(1.5)
            leaving.hang_up()
            await until(lambda: leaving.over)
            answers.extend(await _strangers(house))
            answers.append(house.service.services.metrics.render()[0].decode())
            keys = [server.got[0] for server in house.servers()]
            assert all(MCP_KEY in frame for frame in keys), "the vendor gets what is for the vendor"

    run(main())
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, logs.Logs):
            handler.close()
    lines = written.getvalue()
    assert lines.count('"call.summary"') == 3
    assert "careless" in lines
    assert found(lines) == []
    assert not re.search(r'"token":|X-Twilio-Signature: \S', lines)
    recordings = [path.read_text() for path in tmp_path.iterdir()]
    assert len(recordings) == 3
    for recording in recordings:
        assert recording.count("\n") > 20
        assert found(recording, "the caller's words") == []
    for answer in answers:
        assert found(answer) == []


async def _strangers(house) -> list[str]:  # type: ignore[no-untyped-def]
    """Whatever can be asked of us without a proof, and what is answered."""
    answers = []
    form = {"CallSid": f"CA{1:032x}", "AccountSid": ACCOUNT, "From": CALLER, "Body": WORDS}
    proof = RequestValidator(TOKEN).compute_signature(f"{house.base}/stream-status", form)
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
        for route in ("/incoming-call", "/after-stream", "/stream-status"):
            answers.append((await client.post(house.base + route, data=form)).text)
            answers.append((await client.post(house.base + route, content=b"\x00" * 100)).text)
        answers.append((await client.get(house.base + f"/nowhere/{KEY}")).text.replace(KEY, ""))
        answers += [(await client.get(house.base + route)).text for route in OPERATORS]
        told = {"StreamEvent": "stream-error", "StreamError": f"31920 at {CALLER}", **form}
        signature = RequestValidator(TOKEN).compute_signature(f"{house.base}/stream-status", told)
        answer = await client.post(
            f"{house.base}/stream-status", data=told, headers={"X-Twilio-Signature": signature}
        )
        assert (answer.status_code, answer.text) == (204, "")
    with pytest.raises(DialError):
        await dial(house.stream, {"X-Twilio-Signature": proof})
    return answers


async def test_twiml_holds_no_secret_but_the_stream_token() -> None:
    """And digits only where somebody is dialled."""

    async with door(
        Scripted([Speech(100, "x")]), AGENT, with_api=False, twilio_auth_token=f"{TOKEN},{SECOND_TOKEN}"
    ) as house:
        sid = f"CA{1:032x}"
        form = {"CallSid": sid, "AccountSid": ACCOUNT, "From": CALLER, "CallStatus": "in-progress"}
        for intent, allowed in (("", ()), ("ended", ()), ("transfer:front desk", ("a target",))):
            house.service.services.control.note(sid, intent)
            for route in ("/incoming-call", "/after-stream"):
                url = house.base + route
                signature = RequestValidator(TOKEN).compute_signature(url, form)
                async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
                    answer = await client.post(url, data=form, headers={"X-Twilio-Signature": signature})
                assert answer.status_code == 200
                assert found(answer.text, *allowed) == []
