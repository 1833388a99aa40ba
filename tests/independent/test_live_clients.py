"""Somebody else's GPT-Live clients against our double, in Pythons of their own: the SDK's Live connection,
livekit's model and pipecat's service.

`scripts/independent/run.py` makes their environments. Without one this is skipped, and says so.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from bridge.doubles.agents import Output, Scripted, Speech, ToolCall
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.live_options import LiveOptions
from bridge.doubles.tones import murmur
from bridge.simulators.servers import EmbeddedLive
from scripts.independent.run import HERE, HOME, OPENAI_PYTHON, PIPECAT

PYTHON = Path(os.environ.get("AGENTS_PYTHON") or OPENAI_PYTHON.command)
LIVEKIT = Path(os.environ.get("LIVEKIT_PYTHON") or HOME / "livekit-plugin" / "bin" / "python")
PIPECAT_PYTHON = Path(os.environ.get("PIPECAT_PYTHON") or PIPECAT.command)
LONG = "We are open from nine to five, every day of the week but Sunday"
MIND: list[Output | list[Output]] = [
    Speech(murmur("Hello there"), "Hello there."),
    Speech(murmur("I heard you"), "I heard you."),
    [ToolCall("opening_hours", {"day": "saturday"}, "call_1")],
    Speech(murmur(LONG), LONG),
]


async def conversation(python: Path, script: str) -> LiveServer:
    server = LiveServer(Scripted(MIND), LiveOptions(transcribe=lambda _item: "opening hours"))
    async with EmbeddedLive(lambda: server).serve() as url:
        client = await asyncio.create_subprocess_exec(
            str(python), str(HERE / script), url.replace("ws", "http", 1).removesuffix("/live/sessions"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", "")},
        )  # fmt: skip
        _, errors = await asyncio.wait_for(client.communicate(), 60)
    if b"ModuleNotFoundError" in errors or b"has no attribute 'live'" in errors:
        pytest.skip(errors.decode().strip().rpartition("\n")[2])
    assert client.returncode == 0, errors.decode()
    return server


@pytest.mark.independent
@pytest.mark.parametrize(
    ("python", "script"),
    [(PYTHON, "openai_live.py"), (LIVEKIT, "livekit_live.py"), (PIPECAT_PYTHON, "pipecat_live.py")],
)
def test_greeting_turn_work_and_interruption_without_one_error(python: Path, script: str) -> None:
    if not python.exists():
        pytest.skip(f"{python} is not there: scripts/independent/run.py makes it and runs this")
    server = asyncio.run(conversation(python, script))
    assert server.errors == []
    assert [one.text for one in server.voice.utterances][:2] == ["Hello there.", "I heard you."]
    assert server.delegations
    assert server.voice.utterances[-1].cut_ms is not None
