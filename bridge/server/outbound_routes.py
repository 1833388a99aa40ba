"""The carrier's callbacks about calls that we place: the answer, the status, and what machine detection says.

All are signed, with the ref in their query. A callback's answer is 204, whatever it says: the carrier would
only ask again.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.agents.turned_away import Forward
from bridge.core import messages as m
from bridge.server import twiml
from bridge.server.admission import Admission, answer
from bridge.server.detour_routes import DetourRoutes
from bridge.server.gates import SPENT
from bridge.server.outbound.calls import OutboundCalls
from bridge.server.outbound.record import Record, State
from bridge.server.proof import Fields, Webhook
from bridge.server.store.intents import ENDED

logger = logging.getLogger(__name__)

REF: Final = "ref"


class OutboundWebhooks:
    """`/outbound-call`, `/call-status` and `/amd`, once their request is proven."""

    def __init__(self, admission: Admission, calls: OutboundCalls, detours: DetourRoutes) -> None:
        self._admission = admission
        self._detours = detours
        self._registry = admission.registry
        self._calls = calls
        self._tasks: set[asyncio.Task[Any]] = set()
        calls.moved.append(self._moved)

    def routes(self) -> list[Route]:
        """Their paths."""
        proof = self._admission.proof
        webhooks = {
            "/outbound-call": self.answered,
            "/call-status": self.status,
            "/amd": self.machine_detection,
        }
        return [proof.webhook(path, partial(self._informed, answered)) for path, answered in webhooks.items()]

    async def _informed(self, answered: Webhook, request: Request, form: Fields) -> Response:
        """Answer it, once it is known what other machines know of the call."""
        await self._registry.services.fleet.learn_call_out(_ref(request))
        return await answered(request, form)

    async def answered(self, request: Request, form: Fields) -> Response:
        """The phone was picked up: the stream of a call that we asked for, and an end for any other."""
        call_sid, account_sid = form["CallSid"], form.get("AccountSid", "")
        admission, calls = self._admission, self._calls
        record = calls.bind(_ref(request), call_sid, account_sid)
        if record is None or record.done or record.canceled:
            admission.intents.note(call_sid, ENDED)
            return answer(twiml.hangup())
        record = calls.told(record, form)
        if record.done:  # its last status came late, as a replay does
            return answer(twiml.hangup())
        if admission.replays.had_its_stream(call_sid):
            admission.proof.reject("replay", "call", "it has had its stream", call_sid)
            return answer(admission.connect(request, call_sid, SPENT))
        if self._registry.services.health.breaker.is_open:
            self._registry.services.metrics.rejected("upstream")
            return answer(twiml.apology(admission.voice(call_sid)))
        turned_away = await self._registry.ring(call_sid, form)
        if isinstance(turned_away, Forward):
            return answer(admission.refusal(turned_away, request, form))
        if turned_away is not None:
            admission.proof.reject("refused", "call", "its resolver refuses it", call_sid)
            admission.intents.note(call_sid, ENDED)
            return answer(twiml.hangup())
        token = admission.mint(call_sid, account_sid)
        return answer(admission.connect(request, call_sid, token))

    async def status(self, request: Request, form: Fields) -> Response:
        """Where a call stands. While it rings the model is dialled, so that it is there at the answer."""
        await self._detours.status(request, form)
        record = self._calls.bind(_ref(request), form["CallSid"], form.get("AccountSid", ""))
        if record is not None:
            was, record = record.state, self._calls.told(record, form)
            if was < State.RINGING == record.state and not record.canceled:
                self._spawn(self._rings(record, form))
        return Response(status_code=204)

    async def machine_detection(self, request: Request, form: Fields) -> Response:
        """The carrier's verdict, once a call. It counts by the call's state; without a call it is noted."""
        call_sid, verdict = form["CallSid"], form.get("AnsweredBy", "")[:40]
        record = self._calls.store.get(_ref(request))
        if record is None or record.call_sid != call_sid or not verdict:
            logger.info("a verdict on a call that is not known here", extra={"call_sid": call_sid})
            return Response(status_code=204)
        if not record.answered_by:
            record = self._calls.change(record, answered_by=verdict)
        runner = self._registry.runner(call_sid)
        if runner is not None and not record.done:
            took = form.get("MachineDetectionDuration", "")
            duration_ms = int(took) if took.isascii() and took.isdecimal() and len(took) < 9 else 0
            runner.feed(m.MachineVerdict(verdict, duration_ms))
        return Response(status_code=204)

    async def _rings(self, record: Record, form: Fields) -> None:
        turned_away = await self._registry.ring(record.call_sid, form)
        if turned_away is not None and not isinstance(turned_away, Forward):
            self._admission.proof.reject("refused", "call", "its resolver refuses it", record.call_sid)
            await self._calls.cancel(record.ref)

    def _moved(self, _before: Record, after: Record) -> None:
        """A call that is done needs no model: it was dialled for an answer that does not come."""
        if after.done and after.call_sid and self._registry.waits_for(after.call_sid):
            self._registry.let_go(after.call_sid)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ref(request: Request) -> str:
    """The ref in the query, "" unless there is exactly one."""
    given = request.query_params.getlist(REF)
    return given[0] if len(given) == 1 else ""
