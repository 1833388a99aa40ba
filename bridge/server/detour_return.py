"""The two documents by which a caller's leg leaves its stream and gets one again."""

from __future__ import annotations

import logging
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from bridge.agents.turned_away import TurnedAway
from bridge.core import messages as m
from bridge.core.messages import DetourKind, DetourResult, TransferOutcome
from bridge.server import detour_twiml, twiml
from bridge.server.admission import GATES, Admission, answer
from bridge.server.detour_control import DetourControl, now_ms
from bridge.server.detour_twiml import Steps
from bridge.server.going_on import RETURNED
from bridge.server.numbers import own_number
from bridge.server.proof import Fields
from bridge.server.store import intents
from bridge.server.store.detours import DetourRecord
from bridge.server.store.intents import DETOUR, OVER_STATUSES, Next, Situation
from bridge.server.transfer_outcome import of_dial, of_leg, of_queue

logger = logging.getLogger(__name__)


class DetourReturn:
    """Makes them, for `/after-stream` and for the webhooks of a detour."""

    def __init__(self, admission: Admission, control: DetourControl) -> None:
        self._admission = admission
        self._control = control
        self._store = control.store

    def under_way(self, call_sid: str) -> DetourRecord | None:
        """The detour that the call has left its stream for; None if it has not."""
        intent = self._admission.intents.peek(call_sid) or ""
        return self._store.find(intent.removeprefix(DETOUR)) if intent.startswith(DETOUR) else None

    # --- away from the stream ----------------------------------------------------------------------------

    async def leaves(self, request: Request, form: Fields, record: DetourRecord) -> Response:
        """The call has left its stream for a detour: its document. Where there is nowhere to go any more,
        the way back.
        """
        if form.get("CallStatus") in OVER_STATUSES:
            self._control.caller_left(record)
            return answer(detour_twiml.joined())
        if record.result is not None:
            return await self.returns(request, form, record, record.result)
        base = self._admission.proof.links(request).base
        steps, document = Steps.of(base, record.detour_id), ""
        match record.kind:
            case DetourKind.HOLD:
                document = detour_twiml.hold(record, steps)
            case DetourKind.KEYS:
                outcome = TransferOutcome.SENT if self._control.keys(record) else TransferOutcome.FAILED
                result = self._fixed(record, DetourResult(outcome))
                return await self.returns(request, form, record, result)
            case DetourKind.TRANSFER if record.warm:
                if record.room_at_ms and not record.left_at_ms and record.leg_status not in OVER_STATUSES:
                    document = detour_twiml.room(record, steps, "caller")
            case DetourKind.TRANSFER:
                document = self._dial(form, record, steps)
        if not document:
            failed = of_leg(record, now_ms()) if record.warm else DetourResult(TransferOutcome.FAILED)
            return await self.returns(request, form, record, self._fixed(record, failed))
        self._store.change(record.detour_id, away_at_ms=record.away_at_ms or now_ms())
        self._control.tell(record, m.WentAway(record.detour_id))
        return answer(document)

    def _dial(self, form: Fields, record: DetourRecord, steps: Steps) -> str:
        target = self._control.target(record)
        if target is None:
            return ""
        settings = self._control.settings
        caller_id = own_number(form, settings.call_from) or None
        limit_s = settings.max_call_seconds
        return detour_twiml.dial(record, steps, target, caller_id=caller_id, time_limit_s=limit_s)

    def _fixed(self, record: DetourRecord, result: DetourResult) -> DetourResult:
        changed = self._store.change(record.detour_id, result=result)
        return changed.result if changed is not None and changed.result is not None else result

    # --- back to it --------------------------------------------------------------------------------------

    async def returns(
        self, request: Request, form: Fields, record: DetourRecord, result: DetourResult
    ) -> Response:
        """The stream document, the same each time it is asked for. Its token is for the stream after the one
        that was left, so a request that comes a month later opens nothing.
        """
        call_sid, stream = record.call_sid, record.stream + 1
        tokens = self._admission.tokens
        spent = self._admission.proven and self._admission.used.has(call_sid, stream)
        if not spent or tokens.is_waiting(call_sid, stream):
            lives = self._control.tell(record, m.Returned(record.detour_id, result))
            if not lives and (other := await self._without_its_call(request, form, record, result)):
                return other
            logger.info("= the caller comes back: %s", result.outcome.value, extra={"call_sid": call_sid})
        token = self._admission.mint(call_sid, form.get("AccountSid", ""), stream)
        more = {RETURNED: result.outcome.value}
        keys = self._control.keys(record) if result.outcome is TransferOutcome.SENT else ""
        return answer(self._admission.connect(request, call_sid, token, stream, more, keys))

    async def unknown(self, request: Request, form: Fields, detour_id: str) -> Response:
        """A detour of which nothing is known any more. The caller is there, and is not left alone."""
        call_sid = form["CallSid"]
        stream = max(1, self._admission.intents.streams(call_sid))
        record = DetourRecord(
            detour_id=detour_id, call_sid=call_sid, since_ms=now_ms(), accept="", stream=stream
        )
        result = of_queue(form) if "QueueResult" in form else of_dial(record, form, now_ms())
        ended = result.outcome in (TransferOutcome.CONNECTED, TransferOutcome.CALLER_LEFT)
        if ended or form.get("CallStatus") in OVER_STATUSES:
            return answer(twiml.hangup())
        return await self.returns(request, form, record, result)

    async def _without_its_call(
        self, request: Request, form: Fields, record: DetourRecord, result: DetourResult
    ) -> Response | None:
        """The process that had the call is gone: another begins it anew from its conversation, if it can.
        None if it does; else what the caller gets instead.
        """
        admission, call_sid, outcome = self._admission, record.call_sid, result.outcome.value
        if not admission.intents.streams(call_sid):
            admission.intents.began(call_sid, record.stream)  # what it left, where no journal knows of it
        admission.intents.note(call_sid, f"{intents.RETURNED}{outcome}:{record.name}")
        situation = self._situation(form)
        step = admission.intents.decide(call_sid, situation)
        if step.then is Next.RETURN:
            fields = {**form, RETURNED: outcome}
            gate = await self._ring(call_sid, fields, record.stream)
            if gate is None:
                return None
            if gate != "unverified":
                return answer(admission.refusal(gate, request, form))
            admission.proof.reject(gate, "call", GATES[gate], call_sid)
            step = admission.intents.decide(call_sid, situation._replace(can_answer=False))
        again = Steps.of(admission.proof.links(request).base, record.detour_id)("go")
        dialled = admission.action_url(request, call_sid, max(1, record.stream))
        document = twiml.after_stream(
            step,
            resume=twiml.hangup,
            after_url=again if step.then is Next.WAIT else dialled,
            target=partial(admission.target, call_sid),
            voice=admission.voice(call_sid),
        )
        return answer(document)

    async def _ring(self, call_sid: str, fields: Fields, stream: int) -> str | TurnedAway | None:
        """Dial the model for a call that comes over. Why it may not come in, None if it may."""
        admission = self._admission
        if not admission.proven:
            return await admission.registry.ring(call_sid, fields)
        remembered = admission.used.has(call_sid, stream) and not admission.intents.has_begun(call_sid)
        return await admission.ring(call_sid, fields, remembered=remembered)

    def _situation(self, form: Fields) -> Situation:
        route, registry = self._admission.route(form["CallSid"]), self._admission.registry
        return Situation(
            targets=route.transfers,
            fallback=route.fallback,
            draining=registry.draining,
            can_answer=not registry.services.health.breaker.is_open,
            call_status=form.get("CallStatus", ""),
        )
