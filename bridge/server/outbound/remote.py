"""Calls of a service somewhere else, by its `POST /calls`."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any, Final
from urllib.parse import urlsplit

from bridge.agents.agent import Agent
from bridge.errors import BridgeError, CallRefused, ConfigError
from bridge.server.outbound.calls import Wanted
from bridge.server.outbound.handles import Told
from bridge.sockets.peers import is_loopback

ANSWER_S: Final = 10.0
LOOK_S: Final = 0.5
"""How often it is asked how a call is."""
TRIES: Final = 5
AGAIN_S: Final = 1.0
MOST_BYTES: Final = 4 * 1024 * 1024


class NotAnswered(BridgeError):
    """The server did not answer, or not as one does; the message says how."""


class RemoteCalls:
    """Calls of the service at `server` (https://…), with one of its keys. A request without an answer is
    repeated: its idempotency key makes that harmless.
    """

    def __init__(self, server: str, api_key: str) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{server} is no address of a server: write https://…")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ConfigError("a key goes unencrypted to this machine only: write https://…")
        if not api_key:
            raise ConfigError("a server is asked with one of its BRIDGE_API_KEYS: say api_key= (or --key)")
        self._parts = parts
        self._key = api_key

    async def place(self, wanted: Wanted, idem: str, _agent: Agent | None = None) -> Told:
        given: dict[str, Any] = {"to": wanted.to, "from": wanted.from_, "agent": wanted.agent}
        given |= {"context": wanted.context, "consent": wanted.consent}
        asked = {name: value for name, value in given.items() if value} | {"ring_s": wanted.ring_s}
        return await self._asked("POST", "/calls", asked, idem)

    async def check(self, _wanted: Wanted) -> Told:
        """Not at a server: it would be asked for a call."""
        raise ConfigError("--dry-run is for a service in this process: leave --server out")

    async def news(self, ref: str, seen: Told) -> Told | None:
        while True:
            try:
                told = await self._asked("GET", f"/calls/{ref}")
            except CallRefused as refused:
                if refused.status == 404:
                    return None
                raise
            if told != seen:
                return told
            await asyncio.sleep(LOOK_S)

    async def cancel(self, ref: str) -> None:
        await self._asked("POST", f"/calls/{ref}/cancel")

    async def _asked(self, method: str, path: str, body: Any = None, idem: str = "") -> Told:
        why = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(AGAIN_S * attempt)
            try:
                status, raw, wait_s = await asyncio.to_thread(self._request, method, path, body, idem)
            except (OSError, http.client.HTTPException) as error:
                why = f"no answer: {error}"
                continue
            told = _object(raw)
            if told is not None and status < 300:
                return told
            waits = told is not None and told.get("rule") == "in_progress"
            if told is not None and not waits and status != 500:
                raise CallRefused(status, told.get("rule", ""), str(told.get("error", "")), wait_s)
            why = f"it answered {status}"
        raise NotAnswered(f"{self._parts.netloc}: {why}")

    def _request(self, method: str, path: str, body: Any, idem: str) -> tuple[int, bytes, int | None]:
        """One request, on a thread."""
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=ANSWER_S)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        if idem:
            headers["Idempotency-Key"] = idem
        content = b"" if body is None else json.dumps(body).encode()
        try:
            connection.request(method, f"{self._parts.path.rstrip('/')}{path}", content, headers)
            answer = connection.getresponse()
            wait = answer.getheader("Retry-After", "")
            return answer.status, answer.read(MOST_BYTES), int(wait) if wait.isdecimal() else None
        finally:
            connection.close()


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
