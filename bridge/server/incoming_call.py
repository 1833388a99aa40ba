"""The webhook of a call that comes in: `<Connect><Stream>`, or what the caller hears instead."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from bridge.server import twiml
from bridge.server.admission import Admission, answer
from bridge.server.fleet.registry import ANOTHER
from bridge.server.gates import SPENT
from bridge.server.proof import Fields
from bridge.server.store.claims import Ring, RingAnswer
from bridge.server.store.intents import ENDED, OVER_STATUSES, TRANSFER


class IncomingCall:
    """`/incoming-call`, once its request is proven."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._registry = admission.registry
        self._intents = admission.intents

    async def webhook(self, request: Request, form: Fields) -> Response:
        """The answer to the carrier's first question about a call, and to the same question again."""
        call_sid, account_sid = form.get("CallSid", ""), form.get("AccountSid", "")
        admission, reject = self._admission, self._admission.proof.reject
        proven = admission.proven
        if admission.router.ring(call_sid, form) is None:
            reject("route", "call", "it does not say its number, or says another account's", call_sid)
            return Response(status_code=403)
        if proven and self._is_over(call_sid, form):
            reject("ended", "call", "it is over already", call_sid)
            return answer(twiml.hangup())
        if proven and admission.replays.had_its_stream(call_sid):  # asking again gives no second one
            reject("replay", "call", "it has had its stream", call_sid)
            return answer(admission.connect(request, call_sid, SPENT))
        refused = self._refusal(call_sid, request, form)
        machine = ""
        if refused is None and proven:
            fleet = self._registry.services.fleet
            found, rung = await asyncio.gather(
                admission.ring(call_sid, form), fleet.ring(call_sid, account_sid)
            )
            refused = None if found is None else admission.refusal(found, request, form)
            if refused is None and rung is not None:
                if rung.answer is RingAnswer.SPENT:
                    self._registry.let_go(call_sid, by=ANOTHER)
                    reject("replay", "call", "it has had its stream on another machine", call_sid)
                    return answer(admission.connect(request, call_sid, SPENT))
                refused, machine = self._elsewhere(call_sid, rung)
        if refused is not None:
            if proven:
                admission.used.expect(call_sid)  # a retry may still be let in; a replay a month later may not
            return answer(refused)
        token = admission.mint(call_sid, account_sid)
        if not proven and token != SPENT:
            turned_away = await self._registry.ring(call_sid, form)
            if turned_away is not None:
                return answer(admission.refusal(turned_away, request, form))
        return answer(admission.connect(request, call_sid, token, machine=machine))

    def _elsewhere(self, call_sid: str, rung: Ring) -> tuple[str | None, str]:
        """What the call hears that is over, and the machine that has dialled its model before."""
        if rung.answer is RingAnswer.ENDED:
            self._registry.let_go(call_sid)
            self._admission.proof.reject("ended", "call", "it is over already", call_sid)
            return twiml.hangup(), ""
        if rung.answer is RingAnswer.ELSEWHERE:
            self._registry.let_go(call_sid, by=rung.machine)
            return None, rung.machine
        return None, ""

    def _is_over(self, call_sid: str, form: Fields) -> bool:
        if form.get("CallStatus") in OVER_STATUSES and self._intents.peek(call_sid) is None:
            self._intents.note(call_sid, ENDED)
        return self._intents.peek(call_sid) == ENDED

    def _refusal(self, call_sid: str, request: Request, form: Fields) -> str | None:
        """What a call hears that can't come in now; None if it can. Who may never come in is asked first,
        and what a call is counted against last.
        """
        if self._registry.waits_for(call_sid):
            return None
        router = self._admission.router
        if (rule := router.refusal(call_sid)) is not None:
            return self._admission.ruled(rule, request, form)
        reason = self._registry.refusal
        if reason is not None:
            self._admission.proof.reject(reason, "call", reason, call_sid)
            return self._admission.busy(form, draining=reason == "draining")
        if self._registry.services.health.breaker.is_open:
            self._registry.services.metrics.rejected("upstream")
            fallback, voice = self._admission.route(call_sid).fallback, self._admission.voice(call_sid)
            if fallback is None:
                return twiml.apology(voice)
            self._intents.note(call_sid, TRANSFER + fallback)
            action_url = self._admission.action_url(request, call_sid, 1)
            return twiml.no_upstream(self._admission.target(call_sid, fallback), action_url, voice)
        if (rule := router.too_often(call_sid)) is not None:
            return self._admission.ruled(rule, request, form)
        return None
