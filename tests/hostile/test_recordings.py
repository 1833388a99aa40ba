"""Calls of a real server, as they lie on the disk: whatever was said or pressed in them, they replay."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from .kit import ROOT, Model, Phone, Session, bridge, tone

pytestmark = [pytest.mark.hostile, pytest.mark.long]

RAW = "a\u2028b\u2029c\x85d \ufeff\u202e 😀 <script>alert(1)</script><img src=x onerror=alert(2)> ${v} $s"
ESCAPED = f"{RAW} \x0c\x1c\0 \ud800 [bold red]x[/] [link=http://evil]y[/link] \x1b[2J\x1b]0;x\x07"
"""JSON allows these as escapes only; or they are worth one."""
CARD = "4111222233334444"


async def command(*words: str) -> tuple[int, str]:
    """What `phonebridge` says, and how it ends."""
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", *words,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await ran.communicate()
    return ran.returncode or 0, output.decode(errors="replace")


def speaker(words: str, *, escaped: bool) -> Any:
    """A model whose words, and the caller's, are these."""

    async def on_turn(session: Session) -> None:
        async def tell(**event: Any) -> None:
            await session.socket.send(json.dumps(event, ensure_ascii=escaped))

        await session.turn_ends()
        kind = "conversation.item.input_audio_transcription.completed"
        await tell(type=kind, item_id="user_1", content_index=0, transcript=words)
        response_id = await session.begin()
        await session.item(response_id, words)
        await session.delta(response_id, words, tone(2))
        kind = "response.output_audio_transcript.delta"
        await tell(
            type=kind, response_id=response_id, item_id=words, content_index=0, delta=f"{words} and more"
        )
        await session.done(response_id)

    return on_turn


@pytest.mark.parametrize("words", [RAW, ESCAPED], ids=["raw", "escaped"])
async def test_odd_words_replay_and_are_shown_without_a_script_of_theirs(words: str) -> None:
    model = Model(on_turn=speaker(words, escaped=words is ESCAPED))
    async with model, bridge(model) as served:
        phone = await Phone(served).dial()
        await asyncio.sleep(1.5)
        await phone.talk(0.6)
        await asyncio.sleep(1.2)
        await phone.talk(0.5)
        await asyncio.sleep(0.8)
        await phone.hang_up()
        await served.until_log("call.summary")
        await asyncio.sleep(0.5)
        (file,) = served.recordings()
        assert await served.replays() == ""
        page = served.folder / "call.html"
        code, said = await command("show", str(file), "--out", str(page))
        assert (code, "\x1b[2J" in said) == (0, False), said
        drawn = page.read_text()
        assert "<script>alert" not in drawn
        assert "<img src=x" not in drawn


AGENT = """
from bridge import Agent
async def handler(session):
    await session.say("Your card number, please.")
    number = await session.digits(max=16, end="#")
    await session.say("Thank you." if number == "%s" else "That is wrong.")
    await session.input()
agent = Agent("You are a test.", handler=handler)
"""


@pytest.mark.parametrize("rule", [None, "event", "text"])
async def test_a_card_number_lies_nowhere(rule: str | None) -> None:
    """Neither the keys that came while the handler was still asking, nor those it waited for."""

    settings = {"BRIDGE_AGENT": "card:agent", "BRIDGE_DTMF": rule, "BRIDGE_LOG_LEVEL": "debug"}
    async with Model() as model, bridge(model, files={"card.py": AGENT % CARD}, **settings) as served:  # type: ignore[arg-type]
        phone = await Phone(served).dial()
        await asyncio.sleep(0.5)
        for key in f"{CARD}#":
            pressed = {"track": "inbound_track", "digit": key}
            await phone.tell({"event": "dtmf", "streamSid": phone.stream_sid, "dtmf": pressed})
            await asyncio.sleep(0.15)
        await asyncio.sleep(2)
        metrics = (await served.get("/metrics"))[1]
        await phone.hang_up()
        await served.until_log("call.summary")
        await asyncio.sleep(0.5)
        told = json.dumps(model.events)
        assert "Thank you." in told
        assert "on the keypad" not in told
        (file,) = served.recordings()
        lines = map(json.loads, file.read_text().splitlines())
        keys = [line.get("frame", {}).get("dtmf", {}).get("digit", "") for line in lines]
        assert "".join(keys) == "•" * 17
        for text in (served.log, told, metrics, *kept(served.folder)):
            assert CARD not in text
        assert await served.replays() == ""


def kept(folder: Path) -> list[str]:
    """All that lies there, but for the agent itself."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.suffix.startswith(".py")]
    return [path.read_bytes().decode(errors="replace") for path in files]
