"""A service that may call out, and a carrier that a test plays by hand: its API is asked for calls, and posts
signed callbacks, in whatever order the test wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
from twilio.request_validator import RequestValidator

from bridge import Agent, create_app
from bridge.server.new_calls import Created, ListedCall, NewCall, Placed
from bridge.server.outbound import placing
from bridge.server.outbound.calls import Accepted, OutboundCalls, Wanted
from bridge.server.outbound.record import Record
from bridge.server.outbound.service import Outbound
from bridge.server.service import Service
from bridge.server.twilio_rest import Outcome
from bridge.settings.settings import Settings

BASE = "https://voice.example.com"
TOKEN = "12345"
AC = "AC" + "0" * 31 + "1"
CA1, CA2 = "CA" + "0" * 31 + "1", "CA" + "0" * 31 + "2"
PERSON, NUMBER = "+15550001111", "+15550002222"
KEY = "0123456789abcdef-of-a-program"
START_S = 1_800_000_000
CONSENT = "order form of 2026-11-02"


@dataclass
class Rest:
    """The carrier's API as the service asks it: what it was asked, and what it answers next."""

    created: list[NewCall] = field(default_factory=list)
    answers: list[Created | Callable[[NewCall], Awaitable[Created]]] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    hung_up: list[str] = field(default_factory=list)
    listed: list[tuple[ListedCall, ...] | None] = field(default_factory=list)
    lists: int = 0
    ways: dict[str, ListedCall] = field(default_factory=dict)
    sids: Any = field(default_factory=lambda: itertools.count(1))

    async def create_call(self, wanted: NewCall, _account_sid: str | None = None) -> Created:
        self.created.append(wanted)
        await asyncio.sleep(0)
        if not self.answers:
            return Placed(f"CA{next(self.sids):032d}")
        answer = self.answers.pop(0)
        return await answer(wanted) if callable(answer) else answer

    async def list_calls(
        self, _to: str, _from: str, _since: datetime, _account_sid: str | None = None
    ) -> tuple[ListedCall, ...] | None:
        self.lists += 1
        return self.listed.pop(0) if self.listed else ()

    async def look_up(self, call_sid: str, _account_sid: str | None = None) -> ListedCall | None:
        return self.ways.get(call_sid)

    async def cancel(self, call_sid: str, _account_sid: str | None = None) -> Outcome:
        self.canceled.append(call_sid)
        return Outcome.DONE

    async def hang_up(self, call_sid: str, _account_sid: str | None = None) -> Outcome:
        self.hung_up.append(call_sid)
        return Outcome.DONE


@dataclass
class Office:
    """The service, its API, and the clock of its rules (seconds since 1970)."""

    service: Service
    rest: Rest
    client: httpx2.AsyncClient
    now_s: float = START_S

    @property
    def outbound(self) -> Outbound:
        found = self.service.services.outbound
        assert found is not None
        return found

    @property
    def calls(self) -> OutboundCalls:
        return self.outbound.calls

    def at(self, seconds: float) -> None:
        self.now_s = START_S + seconds

    async def place(self, to: str = PERSON, **more: Any) -> Record:
        accepted: Accepted = await self.calls.accept(Wanted(to=to, **{"consent": CONSENT, **more}))
        return accepted.record

    def record(self, ref: str) -> Record:
        found = self.calls.store.get(ref)
        assert found is not None
        return found

    async def posted(self, count: int = 1) -> NewCall:
        """Once the API was asked for so many calls: the last of them."""
        await until(lambda: len(self.rest.created) >= count)
        await asyncio.sleep(0.01)
        return self.rest.created[-1]

    async def callback(self, path: str, fields: dict[str, str], **headers: str) -> httpx2.Response:
        """A signed request of the carrier's. `path` has its query."""
        signature = RequestValidator(TOKEN).compute_signature(BASE + path, fields)
        content = urlencode(fields).encode()
        given = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature}
        return await self.client.post(path, content=content, headers={**given, **headers})

    async def status(self, ref: str, status: str, n: int, at_s: float, sid: str = CA1, **more: str) -> None:
        self.at(at_s)
        form = out(status, sid) | {
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(n),
            "Timestamp": formatdate(START_S + at_s),
            **more,
        }
        assert (await self.callback(f"/call-status?ref={ref}", form)).status_code == 204

    async def answered(self, ref: str, at_s: float, sid: str = CA1) -> str:
        self.at(at_s)
        answer = await self.callback(f"/outbound-call?ref={ref}", out("in-progress", sid))
        assert answer.status_code == 200, answer.text
        return answer.text

    async def asks(
        self, body: Any = None, idem: str | None = "one", key: str = KEY, **headers: str
    ) -> httpx2.Response:
        """A program asks for a call."""
        given = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
        if idem is not None:
            given["idempotency-key"] = idem
        asked = {"to": PERSON, "consent": CONSENT} if body is None else body
        return await self.client.post("/calls", content=json.dumps(asked), headers=given)

    async def told(self, ref: str, key: str = KEY) -> httpx2.Response:
        return await self.client.get(f"/calls/{ref}", headers={"authorization": f"Bearer {key}"})


def out(status: str, sid: str = CA1) -> dict[str, str]:
    """The fields that come with everything about a call that we placed."""
    return {
        "AccountSid": AC, "ApiVersion": "2010-04-01", "CallSid": sid, "CallStatus": status,
        "Direction": "outbound-api", "From": NUMBER, "Caller": NUMBER, "To": PERSON, "Called": PERSON,
    }  # fmt: skip


async def until(true: Callable[[], bool], seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def settings(**more: Any) -> Settings:
    usual: dict[str, Any] = {
        "public_url": BASE, "twilio_auth_token": TOKEN, "twilio_account_sid": AC, "journal": None,
        "upstream": "embedded", "upstream_url": "ws://127.0.0.1:9", "outbound": True, "call_from": NUMBER,
        "call_hours": "off", "api_keys": f"ops={KEY}", "calls_a_second": 30, "verify_calls": "off",
        "disclosure": False, "twilio_api_url": "http://127.0.0.1:9", "recordings": None,
    }  # fmt: skip
    return _read(tuple(sorted({**usual, **more}.items(), key=str))).model_copy()


@functools.lru_cache
def _read(given: tuple[tuple[str, Any], ...]) -> Settings:
    """Reading settings is half of what a test takes."""
    return Settings(_env_file=None, **dict(given))


@contextlib.asynccontextmanager
async def office(
    agent: Agent | None = None, rest: Rest | None = None, *, journal: Path | None = None, **more: Any
) -> AsyncIterator[Office]:
    """The service while the block runs."""
    app = create_app(settings(**({"journal": str(journal)} if journal else {}), **more), agent)
    service: Service = app.state.service
    rest = rest or Rest()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app, client=("127.0.0.1", 40_000)), base_url=BASE
    ) as client:
        one = Office(service, rest, client)
        one.calls.rest = rest  # type: ignore[assignment]
        one.calls.clock = lambda: one.now_s
        one.outbound.rules._clock = lambda: one.now_s
        store: Any = one.calls.store
        store._now = lambda: one.now_s
        service.awake()
        try:
            yield one
        finally:
            await service.registry.shut_down(0.5)
            service.close()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def quick(monkeypatch: Any) -> None:
    """What takes seconds in the field takes a moment."""
    for name, value in {
        "AMBIGUOUS_S": 0.1, "LIST_AGAIN_S": 0.01, "LOST_S": 0.1, "LOOK_AGAIN_S": 0.05, "AFTER_STREAM_S": 0.05,
        "READY_S": 0.02, "POLL_S": 0.05,
    }.items():  # fmt: skip
        monkeypatch.setattr(placing, name, value)
