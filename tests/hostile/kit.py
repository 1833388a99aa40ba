"""A real `phonebridge serve`, a scripted model and a phone, none of which uses the bridge's own code.

The phone plays what it gets in real time, echoes marks, and measures silence by loudness (`audioop`), so that
sound without voice counts as silence. The model is a bare websocket server: a test replaces what it does.
Attackers run in processes of their own (`attack`), at low priority, against the bridge's port. It is a
yardstick from outside, so it takes nothing from `bridge.testing`, `bridge.doubles` or `bridge.simulators`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import socket
import sys
import tempfile
import time
import warnings
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # deprecated in 3.11 and 3.12, a package since 3.13
    import audioop

ROOT: Final = Path(__file__).parents[2]
PUBLIC: Final = "https://voice.example.com"
TOKEN: Final = "0123456789abcdef0123456789abcdef"
ACCOUNT: Final = "AC" + "a" * 32
FRAME_BYTES: Final = 160
SILENT: Final = b"\xff" * FRAME_BYTES
LOUD_RMS: Final = 200
"""Of 16-bit samples, in 20 ms: about -44 dBFS. A quiet line is below 100, speech above 1,000."""

_validator = RequestValidator(TOKEN)


def call_sid() -> str:
    return "CA" + secrets.token_hex(16)


def tone(seconds: float) -> bytes:
    """A loud hum, as mu-law."""
    wave = (12_000 if number % 40 < 20 else -12_000 for number in range(FRAME_BYTES))
    samples = b"".join(sample.to_bytes(2, "little", signed=True) for sample in wave)
    return audioop.lin2ulaw(samples, 2) * round(seconds * 50)


def is_loud(sound: bytes) -> bool:
    """Whether any 20 ms of it are heard as sound and not as a quiet line."""
    frames = (sound[start : start + FRAME_BYTES] for start in range(0, len(sound), FRAME_BYTES))
    return any(audioop.rms(audioop.ulaw2lin(frame, 2), 2) >= LOUD_RMS for frame in frames)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


# --- the bridge


@dataclass
class Bridge:
    """`phonebridge serve` with a carrier's token. `folder` has its journal and recordings."""

    port: int
    folder: Path
    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The JSON lines of its log that hold this text."""
        return [json.loads(line) for line in self.lines if line.startswith("{") and name in line]

    def _status(self, key: str) -> float:
        found = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    @property
    def rss_mb(self) -> float:
        return self._status("VmRSS")

    @property
    def peak_mb(self) -> float:
        return self._status("VmHWM")

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208  a count, not paths

    async def http(self, raw: bytes, seconds: float = 15.0) -> bytes:
        """What the server answers to these bytes until it closes; what came so far after `seconds`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                writer.write(raw)
                while piece := await reader.read(65_536):
                    answer += piece
        writer.close()
        return answer

    async def get(self, path: str) -> tuple[int, str]:
        return _read(await self.http(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()))

    async def post(self, path: str, form: dict[str, str], *, signed: bool = True) -> tuple[int, str]:
        """A webhook of the carrier's: status and body."""
        body = urlencode(form).encode()
        head = [f"POST {path} HTTP/1.1", "Host: voice.example.com", "Connection: close"]
        head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        if signed:
            head.append(f"X-Twilio-Signature: {_validator.compute_signature(PUBLIC + path, form)}")
        return _read(await self.http("\r\n".join(head).encode() + b"\r\n\r\n" + body))

    async def ring(self, sid: str, **more: str) -> str:
        """The voice webhook of that call: its TwiML."""
        return (await self.post("/incoming-call", webhook(sid, **more)))[1]

    async def healthz_s(self) -> float:
        """How long `/healthz` takes on a connection of its own."""
        began_s = time.monotonic()
        assert (await self.get("/healthz"))[0] == 200
        return time.monotonic() - began_s

    async def until_log(self, text: str, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while text not in self.log:  # noqa: ASYNC110  another process writes it
                await asyncio.sleep(0.02)

    def recordings(self) -> list[Path]:
        return sorted((self.folder / "recordings").glob("*.call.jsonl"))

    async def replays(self) -> str:
        """What `phonebridge replay` says of the recordings that do not replay; empty when all do."""
        said = ""
        for path in self.recordings():
            command = [sys.executable, "-m", "bridge", "replay", str(path)]
            replay = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            output, _ = await replay.communicate()
            said += output.decode() if replay.returncode else ""
        return said


def _read(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 else 0), body.decode(errors="replace")


def webhook(sid: str, **more: str) -> dict[str, str]:
    """The fields of an incoming call's webhook."""
    usual = {"AccountSid": ACCOUNT, "CallSid": sid, "CallStatus": "ringing"}
    return {**usual, "From": "+15550100001", "To": "+15550100002", **more}


def upgrade_headers(path: str = "/media-stream") -> dict[str, str]:
    """Of the media stream's upgrade. The signature is the same for every call."""
    url = PUBLIC.replace("https", "wss") + path
    return {"X-Twilio-Signature": _validator.compute_signature(url, {})}


@contextlib.asynccontextmanager
async def bridge(
    model: Model,
    *,
    files: dict[str, str] | None = None,
    folder: Path | None = None,
    preexec: Callable[[], None] | None = None,
    arguments: tuple[str, ...] = (),
    **settings: str | None,
) -> AsyncIterator[Bridge]:
    """`phonebridge serve` while the block runs. `files` are written beside it (an agent); a setting of None
    is left out. The REST API's address answers nothing.
    """
    with contextlib.ExitStack() as stack:
        here = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        for name, text in (files or {}).items():
            (here / name).write_text(text)
        port = free_port()
        usual: dict[str, str | None] = {
            "PORT": str(port), "HOST": "127.0.0.1", "PUBLIC_URL": PUBLIC, "TWILIO_AUTH_TOKEN": TOKEN,
            "TWILIO_ACCOUNT_SID": ACCOUNT, "OPENAI_API_KEY": "sk-invented-0123456789",
            "BRIDGE_UPSTREAM": "openai", "BRIDGE_UPSTREAM_URL": model.url,
            "BRIDGE_JOURNAL": str(here / "state" / "journal"),
            "BRIDGE_RECORDINGS": str(here / "recordings"), "BRIDGE_DISCLOSURE": "0",
            "BRIDGE_TWILIO_API_URL": "http://127.0.0.1:9/", "PYTHONPATH": f"{here}{os.pathsep}{ROOT}",
        }  # fmt: skip
        ours = ("BRIDGE_", "TWILIO_", "OPENAI_", "PUBLIC_URL", "PORT", "HOST", "PYTHONPATH")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {name: value for name, value in {**usual, **settings}.items() if value is not None}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bridge", "serve", *arguments, cwd=here, env=environment,
            preexec_fn=preexec,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, limit=1 << 24,
        )  # fmt: skip
        served = Bridge(port, here, process)
        reading = asyncio.create_task(_keep_lines(served))
        try:
            await served.until_log("ready: listening", 40)
            yield served
        finally:
            if process.returncode is None:
                process.terminate() if settings.get("BRIDGE_DRAIN_SECONDS") else process.send_signal(2)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 8)
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading


async def _keep_lines(served: Bridge) -> None:
    assert served.process.stdout is not None
    async for line in served.process.stdout:
        served.lines.append(line.decode(errors="replace").rstrip("\n"))


# --- the phone


class Phone:
    """One call as the carrier's end of its stream has it. `heard` is (moment, sound), what was cleared
    before it was played taken out.
    """

    def __init__(self, served: Bridge, sid: str = "") -> None:
        self.bridge, self.sid = served, sid or call_sid()
        self.stream_sid = "MZ" + secrets.token_hex(16)
        self.heard: list[tuple[float, bytes]] = []
        self.clears: list[float] = []
        self.closed_s: float | None = None
        self.close_code = 0
        self.says = SILENT
        self.twiml = ""
        self.socket: ClientConnection
        self._ends_s = 0.0
        self._marks: list[tuple[float, str]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def dial(self, **fields: str) -> Phone:
        """Ring, follow the TwiML, start the stream."""
        self.twiml = await self.bridge.ring(self.sid, **fields)
        return await self.open(parameters(self.twiml), stream_path(self.twiml))

    async def open(self, given: dict[str, str], path: str = "/media-stream", **start: Any) -> Phone:
        self.socket = await connect(
            f"ws://127.0.0.1:{self.bridge.port}{path}",
            additional_headers=upgrade_headers(path), compression=None, ping_interval=None, max_size=None,
        )  # fmt: skip
        await self.tell({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        await self.tell({
            "event": "start", "sequenceNumber": "1", "streamSid": self.stream_sid,
            "start": {
                "accountSid": ACCOUNT, "streamSid": self.stream_sid, "callSid": self.sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": given, **start,
            },
        })  # fmt: skip
        self._tasks = [asyncio.create_task(work()) for work in (self._listen, self._speak, self._echo)]
        return self

    async def tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self.socket.send(json.dumps(message))

    async def talk(self, seconds: float) -> None:
        """The caller speaks, so loud that any voice detection hears it."""
        self.says = tone(0.02)
        await asyncio.sleep(seconds)
        self.says = SILENT

    async def hang_up(self) -> None:
        stop = {"accountSid": ACCOUNT, "callSid": self.sid}
        await self.tell({"event": "stop", "streamSid": self.stream_sid, "stop": stop})
        await self.socket.close()
        self._leave()

    def drop(self) -> None:
        """The line breaks without a word."""
        self.socket.transport.abort()
        self._leave()

    def heard_s(self) -> float:
        """Seconds of sound that were played, or will be unless they are cleared."""
        return sum(map(len, (sound for _, sound in self.heard))) / 8000

    def longest_silence_s(self, since_s: float, until_s: float | None = None) -> float:
        """The longest time between two moments in which nothing loud was heard."""
        until_s = until_s or time.monotonic()
        last_s, longest_s = since_s, 0.0
        for at_s, sound in self.heard:
            for start in range(0, len(sound), FRAME_BYTES):
                frame_s, frame = at_s + start / 8000, sound[start : start + FRAME_BYTES]
                if since_s <= frame_s <= until_s and audioop.rms(audioop.ulaw2lin(frame, 2), 2) >= LOUD_RMS:
                    longest_s = max(longest_s, frame_s - last_s)
                    last_s = frame_s + len(frame) / 8000
        return max(longest_s, until_s - last_s)

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in self.socket:
                message, now_s = json.loads(frame), time.monotonic()
                match message["event"]:
                    case "media":
                        sound = b64decode(message["media"]["payload"], validate=True)
                        starts_s = max(self._ends_s, now_s)
                        self.heard.append((starts_s, sound))
                        self._ends_s = starts_s + len(sound) / 8000
                    case "mark":
                        self._marks.append((max(self._ends_s, now_s), message["mark"]["name"]))
                    case "clear":
                        self._clear(now_s)
        self.close_code = self.socket.close_code or 1006
        self.closed_s = time.monotonic()

    def _clear(self, now_s: float) -> None:
        self.clears.append(now_s)
        played = ((at_s, sound[: max(0, round((now_s - at_s) * 8000))]) for at_s, sound in self.heard)
        self.heard = [(at_s, sound) for at_s, sound in played if sound]
        self._ends_s = now_s
        self._marks = [(now_s, name) for _, name in self._marks]

    async def _speak(self) -> None:
        due_s = time.monotonic()
        for number in range(1 << 30):
            if self.closed_s is not None:
                return
            payload = b64encode(self.says).decode()
            media = {"track": "inbound", "timestamp": str(20 * number), "payload": payload}
            await self.tell({"event": "media", "streamSid": self.stream_sid, "media": media})
            due_s += 0.02
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _echo(self) -> None:
        while self.closed_s is None:
            while self._marks and self._marks[0][0] <= time.monotonic():
                _, name = self._marks.pop(0)
                await self.tell({"event": "mark", "streamSid": self.stream_sid, "mark": {"name": name}})
            await asyncio.sleep(0.01)

    def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()


def parameters(twiml: str) -> dict[str, str]:
    """The stream's `<Parameter>`s."""
    found = re.findall(r'<Parameter name="([^"]*)" value="([^"]*)"', twiml)
    return {name: unescape(value) for name, value in found}


def stream_path(twiml: str) -> str:
    """Where the TwiML has the stream come."""
    found = re.search(r'<Stream [^>]*url="wss?://[^/"]*(/[^"]*)"', twiml)
    return "/media-stream" if found is None else found[1]


# --- the model


@dataclass
class Session:
    """One session of the model's: its events, and words to answer with."""

    socket: ServerConnection
    events: list[dict[str, Any]] = field(default_factory=list)
    responses: int = 0
    turns: int = 0
    loud: int = 0
    quiet: int = 0

    async def tell(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"event_id": "event_1", **fields, "type": kind}))

    async def begin(self, metadata: Any = None) -> str:
        """A response is created; its id."""
        self.responses += 1
        response_id = f"resp_{self.responses}"
        response = {"id": response_id, "status": "in_progress", "output": []}
        await self.tell("response.created", response={**response, "metadata": metadata})
        return response_id

    async def item(self, response_id: str, item_id: str) -> None:
        item = {"id": item_id, "type": "message", "role": "assistant", "content": []}
        await self.tell("response.output_item.added", response_id=response_id, output_index=0, item=item)
        await self.tell("conversation.item.added", previous_item_id=None, item=item)

    async def delta(self, response_id: str, item_id: str, sound: bytes) -> None:
        await self.tell(
            "response.output_audio.delta", response_id=response_id, item_id=item_id, output_index=0,
            content_index=0, delta=b64encode(sound).decode(),
        )  # fmt: skip

    async def done(self, response_id: str, status: str = "completed", **fields: Any) -> None:
        response = {"id": response_id, "status": status, "output": [], **fields}
        await self.tell("response.done", response=response)

    async def answer(self, sound: bytes, metadata: Any = None) -> str:
        """A whole response of one item; the item's id."""
        response_id = await self.begin(metadata)
        item_id = f"item_{self.responses}"
        await self.item(response_id, item_id)
        for start in range(0, len(sound), 4_000):
            await self.delta(response_id, item_id, sound[start : start + 4_000])
        await self.done(response_id)
        return item_id

    async def turn_ends(self) -> None:
        """The caller's turn was heard and committed."""
        self.turns += 1
        item_id = f"user_{self.turns}"
        await self.tell("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=1_000 * self.turns)
        await self.tell("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)


Answering = Callable[[Session], Awaitable[None]]


class Model:
    """A Realtime server. It hears speech by loudness, and does `on_turn` when the caller has spoken,
    `on_create(session, metadata)` when a response is asked for. `appended_s` are the moments when the
    caller's sound came.
    """

    def __init__(
        self,
        on_turn: Answering | None = None,
        on_create: Callable[[Session, Any], Awaitable[None]] | None = None,
        on_connect: Callable[[Session], Awaitable[bool]] | None = None,
    ) -> None:
        self.on_turn = on_turn or _one_second
        self.on_create = on_create or _one_second
        self.on_connect = on_connect
        self.port = free_port()
        self.sessions: list[Session] = []
        self.appended_s: list[float] = []
        self._answering: set[asyncio.Future[None]] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    @property
    def events(self) -> list[dict[str, Any]]:
        """All that was asked of it, the caller's sound left out."""
        return [event for session in self.sessions for event in session.events]

    def longest_wait_s(self, since_s: float) -> float:
        """The longest time in which none of the caller's sound came: how long the bridge stood still."""
        moments = [since_s, *(at_s for at_s in self.appended_s if at_s >= since_s), time.monotonic()]
        return max(after_s - before_s for before_s, after_s in pairwise(moments))

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve, "127.0.0.1", self.port, max_size=None, compression=None, ping_interval=None
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        session = Session(socket)
        self.sessions.append(session)
        with contextlib.suppress(ConnectionClosed):
            if self.on_connect is not None and await self.on_connect(session):
                return
            expires = {"id": "sess_1", "object": "realtime.session", "expires_at": int(time.time()) + 3_600}
            await session.tell("session.created", session={**expires, "type": "realtime"})
            async for frame in socket:
                event = json.loads(frame)
                if event["type"] == "input_audio_buffer.append":
                    self.appended_s.append(time.monotonic())
                    await self._hear(session, b64decode(event["audio"]))
                    continue
                session.events.append(dict(event))
                if event["type"] == "session.update":
                    await session.tell("session.updated", session={**event["session"], **expires})
                elif event["type"] == "response.create":
                    await self.on_create(session, (event.get("response") or {}).get("metadata"))
                elif event["type"] in _CONFIRMED:
                    kind = _CONFIRMED[event.pop("type")]
                    await session.tell(kind, **{**event, "event_id": "event_2"})

    async def _hear(self, session: Session, sound: bytes) -> None:
        """A turn is 200 ms of loud sound and more, and then 300 ms of quiet."""
        if audioop.rms(audioop.ulaw2lin(sound, 2), 2) >= LOUD_RMS:
            session.loud, session.quiet = session.loud + 1, 0
            if session.loud == 10:
                started = {"item_id": f"user_{session.turns + 1}", "audio_start_ms": 0}
                await session.tell("input_audio_buffer.speech_started", **started)
        elif session.loud:
            session.quiet += 1
            if session.quiet == 15:
                spoke, session.loud = session.loud >= 10, 0
                if spoke:
                    task = asyncio.ensure_future(_until_closed(self.on_turn(session)))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)


_CONFIRMED: Final = {
    "conversation.item.create": "conversation.item.added",
    "conversation.item.delete": "conversation.item.deleted",
    "conversation.item.truncate": "conversation.item.truncated",
}


async def _until_closed(work: Awaitable[None]) -> None:
    with contextlib.suppress(ConnectionClosed):
        await work


async def _one_second(session: Session, metadata: Any = None) -> None:
    if metadata is None:
        await session.turn_ends()
    await session.answer(tone(1.0), metadata)


# --- attackers


@contextlib.asynccontextmanager
async def attack(port: int, program: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """That Python program in a process of its own at nice 10, while the block runs; `sys.argv[1]` is the
    port.
    """
    process = await asyncio.create_subprocess_exec(
        "nice", "-n", "10", sys.executable, "-c", program, str(port), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
