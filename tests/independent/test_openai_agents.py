"""Somebody else's client against our embedded server: `openai-agents`, in a Python of its own.

Its pins are not ours, so it lives in a virtual environment that `scripts/independent/run.py` makes. Without
one this is skipped, and says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bridge.doubles.front_desk.agent import FrontDesk
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.simulators.servers import EmbeddedUpstream
from tests.upstreams.published import client_event, server_event

PYTHON = Path(os.environ.get("AGENTS_PYTHON") or "no Python")
CLIENT = Path(__file__).with_name("agents_client.py")


class Keeping(RealtimeServer):
    """Keeps every event it emits."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.said: list[dict[str, Any]] = []

    def _drain(self) -> list[str]:
        out = super()._drain()
        self.said += [json.loads(frame) for frame in out]
        return out


NOT_TO_BE_HAD = 77
"""What the client exits with where it cannot be imported."""


async def conversation(server: Keeping) -> dict[str, Any]:
    async with EmbeddedUpstream(lambda: server).serve() as url:
        client = await asyncio.create_subprocess_exec(
            str(PYTHON), str(CLIENT), f"{url}?model=gpt-realtime-2.1",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", ""), "OPENAI_AGENTS_DISABLE_TRACING": "1"},
        )  # fmt: skip
        out, errors = await asyncio.wait_for(client.communicate(), 60)
    if client.returncode == NOT_TO_BE_HAD:
        pytest.skip(errors.decode().strip().rpartition("\n")[2])
    assert client.returncode == 0, errors.decode()
    sys.stdout.write(errors.decode())
    result: dict[str, Any] = json.loads(out.decode().strip().rpartition("\n")[2])
    return result


def heard(sound: bytes) -> str:
    """The client's long turn asks for the tool, its short ones do not."""
    return "look something up" if len(sound) > 1_250 * 8 else "hello"


@pytest.mark.independent
def test_greeting_turn_tool_call_and_barge_in_without_one_error() -> None:
    if not PYTHON.exists():
        pytest.skip("AGENTS_PYTHON names none: scripts/independent/run.py makes one and runs this")
    server = Keeping(FrontDesk(hear=heard), ServerOptions(latency_ms=20))
    result = asyncio.run(conversation(server))
    assert result["wrong"] == []
    got = result["got"]
    for kind in ("audio", "audio_done", "turn_started", "item_updated", "function_call"):
        assert kind in got, kind
    assert "audio_interrupted" in got
    assert "input_audio_transcription_completed" in got
    assert server.errors == []
    assert server.truncations, "the barge-in was told to the server"
    for event in server.said:
        server_event(event)
    for event in server.log:
        if event["type"] != "input_audio_buffer.append":
            client_event(json.dumps(event))
