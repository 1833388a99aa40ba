"""A call that a mailbox answers, over sockets and at the pace of real ones: what it has recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.codecs.audible import is_audible_block
from tests.codecs.lines import voice

from .test_calls_out import place

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(300)]

AGENT = """
from pathlib import Path
from bridge import Agent

agent = Agent(
    "You call customers.", greeting="Hello, this is Ann.", voicemail=Path("message.ulaw"),
    screening="This is Ann, about your order.",
)
"""
MESSAGE = voice(60.0)[4_000:][: 3 * 8_000].strip(b"\xff")
WORDS = "You have reached the voicemail of Bob. Please leave a message after the tone."


async def called(folder: Path, kind: str, **phone: Any) -> tuple[dict[str, Any], Any]:
    (folder / "leaves.py").write_text(AGENT)
    (folder / "message.ulaw").write_bytes(MESSAGE)
    async with place(folder, pace=1.0) as one:
        rings = one.api.phone("+15550100301", kind, **phone)
        options = ["--agent", "leaves:agent", "--consent", "a test", "--json"]
        code, out, said = await one.runs("-m", "bridge", "call", "+15550100301", *options)
        assert out, said
        return {"code": code, **json.loads(out)}, rings


@pytest.mark.parametrize(
    ("hz", "ms"),
    [(1_000, 400), *(pytest.param(*tone, marks=pytest.mark.long) for tone in ((425, 200), (1_400, 900)))],
)
async def test_the_message_lies_whole_in_the_mailbox(tmp_path: Path, hz: int, ms: int) -> None:
    found, rings = await called(tmp_path, "machine", greeting=WORDS, beep_hz=hz, beep_ms=ms)
    assert (found["code"], found["answered_by"], found["message"]) == (4, "voicemail", "left")
    recorded = rings.mailbox
    first = next(at for at in range(0, len(recorded), 80) if is_audible_block(recorded[at : at + 80]))
    assert 400 <= first // 8 <= 800
    begin = recorded.find(MESSAGE[:800])
    assert recorded[begin:].startswith(MESSAGE)
    assert recorded.count(MESSAGE[:800]) == 1


async def test_a_person_gets_none(tmp_path: Path) -> None:
    found, rings = await called(tmp_path, "human", hangs_up_after_ms=8_000)
    assert (found["code"], found["answered_by"]) == (0, "human")
    assert MESSAGE[:800] not in rings.heard
    assert any(is_audible_block(rings.heard[at : at + 160]) for at in range(0, len(rings.heard), 160))
