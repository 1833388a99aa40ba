"""How soon a spoken question is answered by a rehearsal: from the end of the caller's speech to the first
sound of the answer, over a real `phonebridge serve`. The clips are those of test_ears_table.py (EARS_CLIPS).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
import urllib.request
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from bridge.codecs.level import level_dbfs
from tests.calls import served
from tests.hostile.kit import SILENT, call_sid, parameters
from tests.hostile.test_rehearsal import AGENT

ROOT = Path(__file__).parents[2]
CLIPS = Path(os.environ.get("EARS_CLIPS", ""))
pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(not os.environ.get("EARS_CLIPS"), reason="EARS_CLIPS names no folder of clips"),
]
ASKED = (1, 0, 2, 18, 21)
"""Of the sentences: when the house is open, what it can do, goodbye."""
TURN_MS = 500
"""The silence that ends a turn, as the session has it."""
SOON_MS = 250
LOUD_DBFS = -44


def is_loud(frame: bytes) -> bool:
    return level_dbfs(frame) >= LOUD_DBFS


class Caller:
    """A phone that notes when its own speech ended, and when it heard the first loud sound after that."""

    def __init__(self, socket: ClientConnection, sid: str) -> None:
        self._socket, self._sid = socket, sid
        self._stream = f"MZ{sid[2:]}"
        self._says = b""
        self.last_loud_s = 0.0
        self.heard_s: list[float] = []
        self._plays_s = 0.0

    async def tell(self, event: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"event": event, "streamSid": self._stream, **fields}))

    async def speak(self) -> None:
        due_s = time.monotonic()
        for number in range(1 << 20):
            frame, self._says = self._says[:160].ljust(160, b"\xff"), self._says[160:]
            payload = b64encode(frame).decode()
            await self.tell(
                "media", media={"track": "inbound", "timestamp": str(20 * number), "payload": payload}
            )
            if frame != SILENT and is_loud(frame):
                self.last_loud_s = time.monotonic()
            due_s += 0.02
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def listen(self) -> None:
        async for text in self._socket:
            message, now_s = json.loads(text), time.monotonic()
            if message["event"] == "media":
                sound = b64decode(message["media"]["payload"])
                starts_s = max(now_s, self._plays_s)
                self._plays_s = starts_s + len(sound) / 8_000
                self.heard_s += [
                    starts_s + at / 8_000 for at in range(0, len(sound), 160) if is_loud(sound[at : at + 160])
                ]
            elif message["event"] == "clear":
                self._plays_s = now_s
                self.heard_s = [at_s for at_s in self.heard_s if at_s <= now_s]
            elif message["event"] == "mark":
                await asyncio.sleep(max(0.0, self._plays_s - now_s))
                await self.tell("mark", mark=message["mark"])

    async def ask(self, clip: bytes) -> float:
        """Milliseconds from the end of this to the first sound of an answer."""
        await asyncio.sleep(1.0)
        while time.monotonic() < self._plays_s + 1.0:  # noqa: ASYNC110  more may come
            await asyncio.sleep(0.05)
        self._says = clip
        began_s = time.monotonic()
        while self._says or not any(at_s > self.last_loud_s for at_s in self.heard_s):
            await asyncio.sleep(0.005)
            assert time.monotonic() < began_s + 30, "no answer"
        return (min(at_s for at_s in self.heard_s if at_s > self.last_loud_s) - self.last_loud_s) * 1000


async def answered_ms(folder: Path, clips: list[bytes]) -> list[float]:
    usual = {"BRIDGE_INSECURE": "1", "BRIDGE_DISCLOSURE": "0", "BRIDGE_AGENT": "desk:agent"}
    async with served(**usual, PYTHONPATH=f"{folder}:{ROOT}") as bridge:
        sid = call_sid()
        form = (
            f"AccountSid=AC{'a' * 32}&CallSid={sid}&CallStatus=ringing&From=%2B15550100001&To=%2B15550100002"
        )
        twiml = await asyncio.to_thread(post, f"{bridge.base}/incoming-call", form.encode())
        stream = f"ws{bridge.base.removeprefix('http')}/media-stream"
        async with connect(stream, compression=None) as socket:
            caller = Caller(socket, sid)
            await caller.tell("connected", protocol="Call", version="1.0.0")
            began = {
                "accountSid": f"AC{'a' * 32}", "streamSid": f"MZ{sid[2:]}", "callSid": sid,
                "tracks": ["inbound"], "customParameters": parameters(twiml),
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8_000, "channels": 1},
            }  # fmt: skip
            await caller.tell("start", sequenceNumber="1", start=began)
            tasks = [asyncio.create_task(caller.speak()), asyncio.create_task(caller.listen())]
            waited_ms = [await caller.ask(clip) for clip in clips]
            for task in tasks:
                task.cancel()
        bridge.process.terminate()
        await bridge.ended(5)
    return waited_ms


def post(url: str, form: bytes) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, form), timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("voice", ["pi_joe"])
def test_an_answer_is_heard_soon_after_the_turn_is_over(voice: str, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    (tmp_path / "desk.py").write_text(AGENT, encoding="utf-8")
    clips = [(CLIPS / f"{voice}_{number:02}.ulaw").read_bytes() for number in ASKED]
    waited_ms = asyncio.run(answered_ms(tmp_path, clips))
    beyond_ms = [waited - TURN_MS for waited in waited_ms]
    told = ", ".join(f"{one:.0f}" for one in beyond_ms)
    sys.stdout.write(f"{voice}: first sound {statistics.median(beyond_ms):.0f} ms after the turn ({told})\n")
    assert statistics.median(beyond_ms) <= SOON_MS
