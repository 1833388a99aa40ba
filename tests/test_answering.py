"""A phone that waits to be called, in this process; the vendor's SDK calls it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from twilio.rest import Client
from typer.testing import CliRunner

from bridge.cli import app
from bridge.cli.answering import AnswerAs, answering, wait_for_call
from bridge.cli.interrupt import Interrupt
from bridge.codecs.caption import caption_of
from bridge.simulators.phones import SecondPhone

AC, TOKEN = f"AC{1:032x}", "12345"


async def called(phone: SecondPhone, twiml: str) -> tuple[dict[str, Any], tuple[bytes, bytes], list[str]]:
    """The phone's account, its sound and the lines that it printed, of a call with that document."""
    story: list[str] = []
    waiting = asyncio.create_task(
        wait_for_call(phone, TOKEN, None, lambda _at_ms, _who, what: story.append(what), Interrupt())
    )
    async with asyncio.timeout(20):
        while not story:  # noqa: ASYNC110  printed by another task
            await asyncio.sleep(0.01)
        client = Client(AC, TOKEN)
        client.api.base_url = story[0].partition("BRIDGE_TWILIO_API_URL=")[2]
        await asyncio.to_thread(
            lambda: client.calls.create(to="+15550003333", from_="+15550002222", twiml=twiml)
        )
        account, sound = await waiting
    return account, sound, story


async def test_a_phone_is_busy() -> None:
    phone = answering(AnswerAs.BUSY)
    phone.rings_after_ms = 0
    account, sound, story = await called(phone, "<Response />")
    assert (account["status"], account["sip_code"], account["broken"]) == ("busy", 486, "")
    assert sound == (b"", b"")
    assert "busy  +15550002222 calls +15550003333" in story


@pytest.mark.hostile
async def test_a_human_hears_says_and_hangs_up() -> None:
    phone = answering(AnswerAs.HUMAN, tail_s=1.0)
    phone.rings_after_ms = phone.answers_after_ms = 0
    account, (_, heard), story = await called(
        phone, "<Response><Say>Good morning.</Say><Pause length='9'/></Response>"
    )
    assert caption_of(heard) == "Good morning."
    assert account["status"] == "completed"
    assert "the caller hung up" in story
    assert any("“Good morning.”" in line for line in story)
    assert any("“Hello?”" in line for line in story)


def test_without_an_address_somebody_has_to_answer() -> None:
    done = CliRunner().invoke(app, ["phone"])
    assert done.exit_code != 0
    assert "--answer-as" in str(done.exception) + done.output
