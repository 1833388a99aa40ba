"""The routing table against a real process: read again under a live call, right and wrong."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from .kit import ACCOUNT, PUBLIC, ROOT, Bridge, Model, Phone, Session, bridge, call_sid, tone, webhook

pytestmark = pytest.mark.hostile

NUMBER = "+15550100002"
SHOP, SHOPS_TOKEN = "AC" + "b" * 32, "shop-token-of-thirty-two-characters"
AGENTS = """
from bridge import Agent
first, second = Agent("First."), Agent("Second.")
"""
ROUNDS = 8


async def talks(session: Session, metadata: object = None) -> None:
    """A minute of loud sound: what interrupts it is heard as silence."""
    await session.answer(tone(60), metadata)


def table(agent: str, *, rows: int = 1_000, token: str = SHOPS_TOKEN) -> str:
    more = "".join(
        f'[[routes]]\nto = "+1555{number:07}"\nagent = "mine:first"\n'
        f'language = "{("de", "fr")[number % 2]}"\n'
        for number in range(rows)
        if f"+1555{number:07}" != NUMBER
    )
    return (
        f'[accounts.shop]\nsid = "{SHOP}"\ntoken = "{token}"\n'
        f'[[routes]]\nto = "{NUMBER}"\nagent = "mine:{agent}"\n'
        f'[[routes]]\nto = "+15559990000"\naccount = "shop"\nagent = "mine:second"\n{more}'
    )


async def reads_again(served: Bridge, folder: Path, content: str, says: str) -> None:
    """SIGHUP, and the word that it was taken, or not."""
    (folder / "routes.toml").write_text(content)
    told = len(served.events(says))
    served.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(20):
        while len(served.events(says)) == told:  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(0.02)


@pytest.mark.alone
async def test_a_table_that_is_read_again_is_not_heard(tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(table("first"))
    routes = str(tmp_path / "routes.toml")
    async with (
        Model(on_create=talks) as model,
        bridge(model, files={"mine.py": AGENTS}, folder=tmp_path, BRIDGE_ROUTES=routes) as served,
    ):
        phone = await Phone(served).dial(To=NUMBER)
        async with asyncio.timeout(10):
            while not phone.heard:  # noqa: ASYNC110  frames come by another task
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        began_s = time.monotonic()
        await asyncio.sleep(4)
        usual_s = model.longest_wait_s(began_s)
        silent_s = phone.longest_silence_s(began_s)

        began_s = time.monotonic()
        for place in range(ROUNDS):
            if place % 2:
                wrong = table("nobody") + "[[routes]]\nto = 'x'\nmax_cals = 1\n"
                await reads_again(served, tmp_path, wrong, "the routes stay as they were")
            else:
                await reads_again(served, tmp_path, table("second"), "the routes were read again")
        assert phone.closed_s is None
        assert phone.longest_silence_s(began_s) < max(0.5, 3 * silent_s)
        assert model.longest_wait_s(began_s) < max(0.5, 3 * usual_s)

        told = served.events("the routes stay as they were")[-1]["message"]
        for fault in ("mine has no 'nobody'", "to is no number", "max_cals is unknown"):
            assert fault in told, told
        other = await Phone(served).dial(To=NUMBER)
        instructions = [
            event["session"]["instructions"] for event in model.events if event["type"] == "session.update"
        ]
        assert (instructions[0], instructions[-1]) == ("First.", "Second.")
        assert SHOPS_TOKEN not in served.log
        await phone.hang_up()
        await other.hang_up()


async def test_a_subaccount_is_let_in_and_thrown_out_by_a_signal(tmp_path: Path) -> None:
    def signed(form: dict[str, str], token: str) -> list[str]:
        value = RequestValidator(token).compute_signature(f"{PUBLIC}/incoming-call", form)
        return [f"X-Twilio-Signature: {value}"]

    async def rings(served: Bridge, account: str, token: str) -> int:
        form = webhook(call_sid(), AccountSid=account, To="+15559990000")
        body = urlencode(form).encode()
        head = ["POST /incoming-call HTTP/1.1", "Host: voice.example.com", "Connection: close"]
        head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        answer = await served.http("\r\n".join([*head, *signed(form, token)]).encode() + b"\r\n\r\n" + body)
        return int(answer.split(b" ", 2)[1])

    (tmp_path / "routes.toml").write_text(table("first", rows=3))
    routes = str(tmp_path / "routes.toml")
    async with (
        Model() as model,
        bridge(model, files={"mine.py": AGENTS}, folder=tmp_path, BRIDGE_ROUTES=routes) as served,
    ):
        assert await rings(served, SHOP, SHOPS_TOKEN) == 200
        assert await rings(served, SHOP, "another-token") == 403
        assert await rings(served, ACCOUNT, SHOPS_TOKEN) == 403
        again = "the routes were read again"
        await reads_again(served, tmp_path, table("first", rows=3, token="another-token"), again)
        assert await rings(served, SHOP, SHOPS_TOKEN) == 403
        assert await rings(served, SHOP, "another-token") == 200
        await reads_again(served, tmp_path, '[[routes]]\nto = "*"\n', again)
        assert await rings(served, SHOP, "another-token") == 403


def test_a_wrong_table_is_refused_at_start_with_every_fault(tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text("[[routes]]\nto = 'x'\n[[routes]]\nto = 'y'\nmax_calls = 0\n")
    environment = {
        "PUBLIC_URL": PUBLIC, "TWILIO_AUTH_TOKEN": "t-0123456789", "TWILIO_ACCOUNT_SID": ACCOUNT,
        "OPENAI_API_KEY": "sk-invented-0123456789", "PATH": "/usr/bin:/bin", "PORT": "0",
        "PYTHONPATH": str(ROOT), "BRIDGE_ROUTES": str(tmp_path / "routes.toml"),
    }  # fmt: skip
    command = [sys.executable, "-m", "bridge", "serve"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False
    )
    told = ended.stderr.decode()
    assert ended.returncode == 2, told
    for fault in (
        "3 faults",
        "row 1: to is no number",
        "row 2: max_calls is out of range",
        "row 2: to is no",
    ):
        assert fault in told, told
    assert "Traceback" not in told
