"""The webhooks about a stream: what comes after it, and what the carrier says of it from outside."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from bridge.core import messages as m
from bridge.server import twiml
from bridge.server.admission import GATES, Admission, answer
from bridge.server.detour_return import DetourReturn
from bridge.server.fleet import Asked
from bridge.server.going_on import RESUMED, RETURNED
from bridge.server.proof import Fields
from bridge.server.store.intents import HANDOVER, OVER_STATUSES, Next, Situation, dialled
from bridge.server.stream_names import QUERY

logger = logging.getLogger(__name__)

CUT_OFF: Final = "cut off"


class AfterStream:
    """`/after-stream` and `/stream-status`, once their request is proven."""

    def __init__(self, admission: Admission, detours: DetourReturn) -> None:
        self._admission = admission
        self._detours = detours
        self._registry = admission.registry
        self._intents = admission.intents

    async def webhook(self, request: Request, form: Fields) -> Response:
        """The stream, or a dialled target, is over: what comes next was written down before."""
        admission = self._admission
        call_sid, proven = form["CallSid"], admission.proven
        if proven:
            stream = admission.replays.asked_about(request.query_params.getlist(QUERY), call_sid)
        else:
            stream = max(1, self._intents.streams(call_sid))  # names die with the process
        statuses = form.get("CallStatus", ""), dialled(form)
        asked = Asked()
        if proven and stream and statuses[0] not in OVER_STATUSES:
            asked = await self._registry.services.fleet.after(call_sid, form.get("AccountSid", ""), stream)
        fault = asked.fault
        if proven and fault is None:
            fault = await admission.replays.fault(call_sid, stream, *statuses)
        if fault is not None:
            admission.proof.reject("replay", "the question after a stream", fault, call_sid)
            return answer(twiml.hangup())
        if (detour := self._detours.under_way(call_sid)) is not None:
            return await self._detours.leaves(request, form, detour)
        try:
            return await self._goes_on(request, form, stream, statuses, asked)
        finally:
            self._registry.services.fleet.decided(call_sid)

    async def _goes_on(
        self, request: Request, form: Fields, stream: int, statuses: tuple[str, str], asked: Asked
    ) -> Response:
        """The call's next step by its intent, for a question that was not asked before."""
        admission, call_sid, proven = self._admission, form["CallSid"], self._admission.proven
        retried = proven and (asked.again or admission.tokens.is_waiting(call_sid, stream + 1))
        situation = self._situation(call_sid, statuses, retried=retried)
        remembered = admission.used.has(call_sid, stream) and not self._intents.has_begun(call_sid)
        before = HANDOVER if self._intents.peek(call_sid) == HANDOVER else CUT_OFF
        step, voice = self._intents.decide(call_sid, situation), admission.voice(call_sid)
        how = {RETURNED: step.outcome} if step.then is Next.RETURN else {RESUMED: before}
        opens = step.then in (Next.RESUME, Next.RETURN)
        if opens and not asked.machine:  # else that one has dialled the model, and waits for the stream
            fields = {**form, **how}
            if not proven:
                await self._registry.ring(call_sid, fields)
            elif (gate := await admission.ring(call_sid, fields, remembered=remembered)) == "unverified":
                admission.proof.reject("unverified", "call", GATES["unverified"], call_sid)
                step = self._intents.decide(call_sid, situation._replace(can_answer=False))
            elif gate is not None:
                return answer(admission.refusal(gate, request, form))
        elif not opens:
            if proven:
                self._registry.let_go(call_sid)
            if step.then not in (Next.WAIT, Next.DIAL, Next.FALLBACK):
                self._registry.services.store.conversations.forget(call_sid)
        logger.info("= after the stream: %s", step.then.value, extra={"call_sid": call_sid})

        resume = partial(self._reconnect, request, form, stream + 1, how, asked.machine)
        unnamed = admission.proof.links(request).after_stream
        waits = admission.action_url(request, call_sid, stream) if proven else unnamed
        target = partial(admission.target, call_sid)
        return answer(twiml.after_stream(step, resume=resume, after_url=waits, target=target, voice=voice))

    async def status(self, _request: Request, form: Fields) -> Response:
        """What the carrier says of the stream from outside: the only word there is of a handshake that
        failed.
        """
        call_sid, event = form.get("CallSid", ""), form.get("StreamEvent", "")
        if event == "stream-error":
            error = form.get("StreamError", "")
            what = "the carrier reports a stream error: %s"
            self._admission.proof.warn((event, call_sid), what, error, call_sid=call_sid)
            self._registry.tell(call_sid, m.Noted("stream-error", error))
        return Response(status_code=204)

    def _reconnect(self, request: Request, form: Fields, stream: int, how: Fields, machine: str) -> str:
        call_sid = form["CallSid"]
        token = self._admission.mint(call_sid, form.get("AccountSid", ""), stream)
        return self._admission.connect(request, call_sid, token, stream, how, machine=machine)

    def _situation(self, call_sid: str, statuses: tuple[str, str], *, retried: bool) -> Situation:
        route = self._admission.route(call_sid)
        return Situation(
            targets=route.transfers,
            fallback=route.fallback,
            draining=self._registry.draining,
            can_answer=not self._registry.services.health.breaker.is_open,
            call_status=statuses[0],
            dial_status=statuses[1],
            retried=retried,
        )
