"""`POST /calls`: an operator's program asks for a call.

    POST /calls
    Authorization: Bearer <a key of BRIDGE_API_KEYS>
    Idempotency-Key: <a name of this request, new for each call>
    Content-Type: application/json

    {"to": "+1555…", "consent": "order form, 2026-11-02", "agent": "", "context": {"name": "Ann"}}

202 with `id` and `state`, before the carrier was asked; `GET /calls/{id}` says what became of it, and
`POST /calls/{id}/cancel` takes it back. A refusal has `error`, a sentence, and `rule`, its name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.agents.calling_out import GIVEN
from bridge.errors import CallRefused
from bridge.server.fleet import Fleet
from bridge.server.json_requests import Unfit, json_object, text, texts
from bridge.server.keyed import Keyed, answer
from bridge.server.outbound.calls import Accepted, OutboundCalls, Wanted
from bridge.server.outbound.record import Record
from bridge.server.outbound.rules import MOST_CONSENT

MEMBERS: Final = ("to", "from", "agent", "context", "consent", "ring_s")
MOST_BYTES: Final = 8_192
MOST_CONTEXT: Final = 20
MOST_NUMBER: Final = 40
RING_S: Final = (5, 120)
UNDER_WAY: Final = 409
"""The same request is being answered, or its key was another request's."""
_IDEM: Final = re.compile(r"[\x21-\x7e]{1,255}")


class CallsApi:
    """The routes. `transcript` gives the words of a call that was had here."""

    def __init__(
        self,
        calls: OutboundCalls,
        keyed: Keyed,
        transcript: Callable[[str], list[dict[str, str]]] = lambda _ref: [],
        fleet: Fleet | None = None,
    ) -> None:
        self._calls = calls
        self._keyed = keyed
        self._transcript = transcript
        self._fleet = Fleet() if fleet is None else fleet

    def routes(self) -> list[Route]:
        """Their paths."""
        return [
            Route("/calls", self.post, methods=["POST"]),
            Route("/calls/{ref}", self.get, methods=["GET"]),
            Route("/calls/{ref}/cancel", self.cancel, methods=["POST"]),
        ]

    async def post(self, request: Request) -> Response:
        """A call is asked for. The key is looked at before the body is read."""
        key, refused = self._keyed.owner(request), self._keyed.refused
        if isinstance(key, Response):
            return key
        given = request.headers.getlist("idempotency-key")
        if len(given) != 1 or not _IDEM.fullmatch(given[0]):
            words = "an Idempotency-Key is needed, 1 to 255 characters without blanks: a client that gets no "
            return refused(400, "form", f"{words}answer asks again, and no number should be called twice")
        try:
            asked = await json_object(request, MEMBERS, MOST_BYTES)
            wanted, digest = read(asked), _digest(asked)
            if not await self._fleet.learn_request(key, given[0]):
                raise CallRefused(UNDER_WAY, "in_progress", "another machine is answering this request", 1)
            accepted = await self._accept(wanted, key, given[0], digest)
        except (Unfit, ClientDisconnect) as error:
            return refused(400, "form", str(error))
        except CallRefused as down:
            return refused(down.status, "call_rule", down.words, wait_s=down.wait_s, rule=down.rule)
        if accepted.replayed:
            return answer(200, self._told(accepted.record), {"idempotent-replayed": "true"})
        return answer(202, accepted.record.told())

    async def _accept(self, wanted: Wanted, key: str, idem: str, digest: str) -> Accepted:
        try:
            return await self._calls.accept(wanted, key=key, idem=idem, digest=digest)
        except CallRefused as refused:
            if refused.status != UNDER_WAY:  # by a rule
                self._fleet.request_refused(key, idem)
            raise

    async def get(self, request: Request) -> Response:
        """What became of a call. Each key knows of its own only."""
        record = await self._own(request)
        return record if isinstance(record, Response) else answer(200, self._told(record))

    async def cancel(self, request: Request) -> Response:
        """A call is taken back. Idempotent; a call that is over stays as it is."""
        record = await self._own(request)
        if isinstance(record, Response):
            return record
        after = await self._calls.cancel(record.ref)
        return answer(200, self._told(after or record))

    async def _own(self, request: Request) -> Record | Response:
        key = self._keyed.owner(request)
        if isinstance(key, Response):
            return key
        ref = str(request.path_params["ref"])
        await self._fleet.learn_call_out(ref)
        record = self._calls.store.get(ref)
        if record is None or record.key != key:
            return answer(404, {"error": "there is no such call, or it is more than a day old"})
        return record

    def _told(self, record: Record) -> dict[str, Any]:
        words = self._transcript(record.ref) if record.done else []
        return record.told() | ({"transcript": words} if words else {})


def read(asked: Mapping[str, Any]) -> Wanted:
    """The call that an object asks for. Raises Unfit."""
    ring_s = asked.get("ring_s", 30)
    if type(ring_s) is not int or not RING_S[0] <= ring_s <= RING_S[1]:
        raise Unfit(f"ring_s has to be {RING_S[0]} to {RING_S[1]} seconds")
    to = text(asked.get("to"), "to", MOST_NUMBER)
    if not to:
        raise Unfit("to has to be the number to call")
    return Wanted(
        to=to,
        from_=text(asked.get("from"), "from", MOST_NUMBER),
        agent=_agent(asked.get("agent")),
        context=texts(asked.get("context"), "context", MOST_CONTEXT),
        consent=text(asked.get("consent"), "consent", MOST_CONSENT),
        ring_s=ring_s,
    )


def _agent(given: object) -> str:
    name = text(given, "agent", 100)
    if name == GIVEN:
        raise Unfit("agent has to be the name of an agent")
    return name


def _digest(asked: Mapping[str, Any]) -> str:
    """The same for the same request, however its members stand."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
