"""TwiML of the operator's own, against a real process: its token opens one stream, and that one is served."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from .kit import ACCOUNT, Bridge, Model, Phone, bridge, call_sid

pytestmark = pytest.mark.hostile

KEY = "0123456789abcdef-of-a-program"
AGENT = """
from bridge import Agent, Refuse
def resolver(fields):
    campaign = fields["campaign"]
    return Refuse() if campaign == "over" else {"instructions": f"Campaign {campaign}."}
agent = Agent("Default.", resolver=resolver)
"""


async def asks(served: Bridge, body: dict[str, Any], key: str = KEY) -> tuple[int, dict[str, Any]]:
    """The answer to a request for a token."""
    content = json.dumps(body).encode()
    head = ["POST /stream-tokens HTTP/1.1", "Host: voice.example.com", "Connection: close"]
    head += [
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        f"Authorization: Bearer {key}",
    ]
    answer = await served.http("\r\n".join(head).encode() + b"\r\n\r\n" + content)
    first, _, rest = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), json.loads(rest)


async def opens(served: Bridge, sid: str, **parameters: str) -> Phone:
    """A stream with these parameters, when it is closed or has heard something."""
    phone = await Phone(served, sid).open(parameters)
    async with asyncio.timeout(10):
        while phone.closed_s is None and not phone.heard:  # noqa: ASYNC110  frames come by another task
            await asyncio.sleep(0.02)
    return phone


async def test_a_stream_of_own_twiml_is_served_once(tmp_path: Path) -> None:
    how = {"files": {"mine.py": AGENT}, "folder": tmp_path, "BRIDGE_AGENT": "mine:agent"}
    settings = {**how, "BRIDGE_API_KEYS": f"shop={KEY}", "BRIDGE_GREETING": "Hello."}
    sid, other = call_sid(), call_sid()
    async with Model() as model:
        async with bridge(model, **settings) as served:  # type: ignore[arg-type]
            assert (await asks(served, {}, "x" * 29))[0] == 401
            phone = await opens(served, sid, campaign="42")
            assert phone.close_code == 1008

            asked = {"call_sid": sid, "account_sid": ACCOUNT, "parameters": {"campaign": "42"}}
            status, told = await asks(served, asked)
            assert status == 200
            foreign = await opens(served, other, token=told["token"])
            assert foreign.close_code == 1008
            phone = await opens(served, sid, token=told["token"])
            assert phone.closed_s is None
            assert phone.heard
            assert "Campaign 42." in json.dumps(model.events)
            again = await opens(served, sid, token=told["token"])
            assert again.close_code == 1008
            assert phone.closed_s is None  # the call that was there goes on
            await phone.hang_up()

            _, told = await asks(served, {"parameters": {"campaign": "over"}})
            refused = await opens(served, other, token=told["token"])
            assert refused.close_code == 1008
            sessions = len(model.sessions)
            _, unused = await asks(served, {"parameters": {"campaign": "43"}})
            _, spent = await asks(served, {"parameters": {"campaign": "44"}})
            phone = await opens(served, call_sid(), token=spent["token"])
            assert phone.closed_s is None
            await phone.hang_up()
            assert KEY not in served.log
        async with bridge(model, **settings) as served:  # type: ignore[arg-type]
            again = await opens(served, call_sid(), token=spent["token"])
            assert again.close_code == 1008
            phone = await opens(served, call_sid(), token=unused["token"])
            assert phone.closed_s is None
            await phone.hang_up()
        assert len(model.sessions) == sessions + 2


async def test_a_crowd_with_one_token_gets_one_stream() -> None:
    async with Model() as model, bridge(model, BRIDGE_API_KEYS=f"shop={KEY}") as served:
        _, told = await asks(served, {})
        phones = await asyncio.gather(*(opens(served, call_sid(), token=told["token"]) for _ in range(20)))
        assert [phone.close_code for phone in phones].count(1008) == 19
        assert len(model.sessions) == 1
        for phone in phones:
            await phone.hang_up()
