"""The console's page without a browser: it signs in, keeps what it is told, and checks the revisions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.hostile.kit import Bridge

TOKEN: Final = "console-" + "k" * 40


class Page:
    """One tab. `calls` are the rows by call, `view` the call in view; each is merged as the schema says."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.port = port
        self.cookie = ""
        self.calls: dict[str, dict[str, Any]] = {}
        self.view: dict[str, Any] = {}
        self.came: list[tuple[float, dict[str, Any]]] = []
        self.bytes = 0
        self.gaps = 0
        self.closed: int | None = None
        self.socket: ClientConnection
        self._snapshot: dict[str, dict[str, Any]] = {}

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON."""
        text = b"" if body is None else json.dumps(body).encode()
        head = {
            "Host": f"127.0.0.1:{self.port}", "Connection": "close", "Origin": self.base,
            "Content-Type": "application/json", "X-Bridge-Console": "1", "Content-Length": str(len(text)),
            **({"Cookie": self.cookie} if self.cookie else {}), **headers,
        }  # fmt: skip
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value)
        writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + text)
        answer = await reader.read()
        writer.close()
        raw, _, content = answer.partition(b"\r\n\r\n")
        for line in raw.decode().split("\r\n"):
            if line.lower().startswith("set-cookie:"):
                self.cookie = line.partition(":")[2].strip().partition(";")[0]
        with contextlib.suppress(ValueError):
            return int(raw.split(b" ", 2)[1]), json.loads(content)
        return int(raw.split(b" ", 2)[1]), {}

    async def sign_in(self, **given: str) -> Page:
        status, _ = await self.request("POST", "/console/session", given or {"token": TOKEN})
        assert status == 200
        return self

    async def connect(self, path: str = "/console/socket", **options: Any) -> ClientConnection:
        headers = {"Origin": self.base, "Cookie": self.cookie}
        url = f"ws://127.0.0.1:{self.port}{path}"
        return await connect(
            url, additional_headers=headers, compression=None, ping_interval=None, max_size=None, **options
        )

    async def tell(self, **said: Any) -> None:
        await self.socket.send(json.dumps(said))

    async def act(self, call: str, action: str, key: str = "", **more: Any) -> tuple[int, dict[str, Any]]:
        key = key or f"{action}-{time.monotonic_ns()}"
        return await self.request("POST", f"/console/calls/{call}/{action}", {"key": key, **more})

    async def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> float:
        """Wait until it is true; how long that took."""
        began_s = time.monotonic()
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  it is merged by another task
                await asyncio.sleep(0.005)
        return time.monotonic() - began_s

    @contextlib.asynccontextmanager
    async def looking(self, **options: Any) -> AsyncIterator[Page]:
        """The page is open while the block runs."""
        self.socket = await self.connect(**options)
        reading = asyncio.create_task(self._read())
        try:
            yield self
        finally:
            reading.cancel()
            await self.socket.close()

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in self.socket:
                self.bytes += len(frame)
                said = json.loads(frame)
                self.came.append((time.monotonic(), said))
                self._take(said)
        self.closed = self.socket.close_code

    def _take(self, said: dict[str, Any]) -> None:
        match said["kind"]:
            case "calls":
                if said["begins"]:
                    self._snapshot = {}
                self._snapshot |= {row["call"]: row for row in said["calls"]}
                if said["ends"]:
                    self.calls = self._snapshot
            case "rows":
                for row in said["rows"]:
                    self._row(row)
            case "gone":
                for call in said["calls"]:
                    self.calls.pop(call, None)
            case "call":
                self.view = said
            case "call_delta":
                self._delta(said)

    def _row(self, row: dict[str, Any]) -> None:
        if "from" not in row:
            self.calls[row["call"]] = row
            return
        known = self.calls.get(row["call"], {})
        self.gaps += known.get("revision") != row["from"]
        known.update({name: value for name, value in row.items() if name not in ("from", "to")})
        known["revision"] = row["to"]

    def _delta(self, said: dict[str, Any]) -> None:
        self.gaps += self.view.get("to") != said["from"]
        self.view["to"], self.view["at_ms"] = said["to"], said["at_ms"]
        for name in ("words", "turns", "tools", "lanes"):
            entries = {entry["id"]: entry for entry in self.view[name]}
            self.view[name] = list((entries | {entry["id"]: entry for entry in said.get(name, [])}).values())
        self.view["events"] += said.get("events", [])
        for name in ("row", "cost", "playing"):
            if name in said:
                self.view[name] = said[name]

    def line(self, who: str, text: str = "") -> dict[str, Any] | None:
        """The newest line of the call in view that one side has said, with this text in it."""
        found = [line for line in self.view.get("words", ()) if line["who"] == who and text in line["text"]]
        return found[-1] if found else None


async def open_page(served: Bridge) -> Page:
    """A page that has signed in."""
    return await Page(served.port).sign_in()
