"""The carrier's webhooks about detours, below `/detour/<id>`.

    after     `<Dial action>`, `<Enqueue action>`: the detour is over; what the call does next
    whisper   leg B has answered a caller who was sent on: what it hears before the two are joined
    callee    leg B has answered us, who called it first: what it hears while the caller stays with the model
    accept    the key that leg B has pressed
    leg       how leg B is, and whether a machine is heard there
    room      who has come into the room of a warm transfer, and who has left
    hold      what is heard by those who wait
    go        what the call does now, for a call that was pushed there by REST

Twilio asks for a document twice, in any order, and sometimes ignores the answer. So a document changes
nothing; only the stream that is opened by one does.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.core import messages as m
from bridge.core.messages import DetourKind, DetourResult, LegStep, TransferOutcome
from bridge.server import detour_twiml, twiml
from bridge.server.admission import Admission, answer
from bridge.server.detour_control import DetourControl, now_ms
from bridge.server.detour_return import DetourReturn
from bridge.server.detour_twiml import Steps
from bridge.server.proof import Fields, Webhook
from bridge.server.store.detours import DetourRecord
from bridge.server.store.intents import OVER_STATUSES
from bridge.server.transfer_outcome import of_dial, of_queue

NO_CONTENT: Final = 204
_ID: Final = re.compile("[0-9a-f]{32}")
_KEY: Final = re.compile("[0-9*#]?")
_STATUSES: Final = {"queued": 0, "initiated": 1, "ringing": 2, "in-progress": 3}
"""Of a leg, in the order that they come in; all others are its end."""
_STEPS: Final = {"queued": LegStep.QUEUED, "initiated": LegStep.QUEUED, "ringing": LegStep.RINGING}


class DetourRoutes:
    """The routes, whose requests are proven before anything else."""

    def __init__(self, admission: Admission, control: DetourControl, way: DetourReturn) -> None:
        self._admission = admission
        self._control = control
        self._store = control.store
        self._way = way

    def routes(self) -> list[Route]:
        """Their paths."""
        steps = {
            "after": self.after,
            "whisper": self.whisper,
            "callee": self.callee,
            "accept": self.accept,
            "leg": self.leg,
            "room": self.room,
            "hold": self.hold,
            "go": self.go,
        }
        webhook = self._admission.proof.webhook
        # The end of a room is about no call.
        return [
            webhook(
                f"/detour/{{detour_id}}/{step}", partial(self._informed, answered), of_call=step != "room"
            )
            for step, answered in steps.items()
        ]

    async def _informed(self, answered: Webhook, request: Request, form: Fields) -> Response:
        """Answer it, once it is known what other machines know of the detour."""
        await self._admission.registry.services.fleet.learn_detour(_detour_id(request))
        return await answered(request, form)

    async def status(self, _request: Request, form: Fields) -> Response:
        """Where the caller's call stands: the status callback of a number, or of a call that we placed."""
        self._control.call_status(form["CallSid"], form.get("CallStatus", ""))
        return _noted()

    # --- the caller's leg --------------------------------------------------------------------------------

    async def after(self, request: Request, form: Fields) -> Response:
        """The target, the room or the waiting is over. Idempotent: the first outcome stays."""
        record = self._found(request)
        if record is None:
            return await self._way.unknown(request, form, _detour_id(request))
        if form["CallSid"] != record.call_sid:
            # The target leaves the room: its own action is asked.
            return self._theirs(record, form) or answer(twiml.hangup())
        result = of_queue(form) if record.kind is DetourKind.HOLD else of_dial(record, form, now_ms())
        changed = self._store.change(record.detour_id, result=result) or record
        return await self._next(request, form, changed, changed.result or result)

    async def go(self, request: Request, form: Fields) -> Response:
        """What the call does now, by its state."""
        record = self._found(request)
        if record is None:
            return await self._way.unknown(request, form, _detour_id(request))
        if form["CallSid"] != record.call_sid:
            return self._foreign(record)
        if record.away and record.result is None:
            # It was sent on before, and has not been heard of since: the target is not called twice.
            outcome = TransferOutcome.HELD if record.wanted_back else TransferOutcome.FAILED
            record = self._store.change(record.detour_id, result=DetourResult(outcome)) or record
        if record.result is not None:
            return await self._next(request, form, record, record.result)
        return await self._way.leaves(request, form, record)

    async def _next(
        self, request: Request, form: Fields, record: DetourRecord, result: DetourResult
    ) -> Response:
        if form.get("CallStatus") in OVER_STATUSES:
            self._control.over(record, result)
            return answer(detour_twiml.joined())
        if result.outcome is TransferOutcome.CONNECTED and record.after is m.Afterwards.HANG_UP:
            self._control.over(record, result)
            return answer(twiml.hangup())
        return await self._way.returns(request, form, record, result)

    # --- leg B -------------------------------------------------------------------------------------------

    async def whisper(self, request: Request, form: Fields) -> Response:
        """Leg B of a caller who was sent on has answered: who calls, and the key."""
        return self._asked(request, form)

    async def callee(self, request: Request, form: Fields) -> Response:
        """Leg B that we have called has answered: the same, while the caller is with the model."""
        return self._asked(request, form)

    def _asked(self, request: Request, form: Fields) -> Response:
        record = self._found(request)
        if record is None:
            return answer(twiml.hangup())
        if (foreign := self._theirs(record, form)) is not None:
            return foreign
        record = self._store.find(record.detour_id) or record
        voice = self._admission.voice(record.call_sid)
        if not self._control.is_wanted(record):
            return answer(detour_twiml.gone(voice))
        record = self._answered(record)
        steps = self._steps(request, record)
        if not record.accept:
            return self._accepted(request, record)
        if not record.asked_at_ms:
            record = self._store.change(record.detour_id, asked_at_ms=now_ms()) or record
            if record.warm:
                spoken = detour_twiml.announcement(record, voice)
                self._control.briefed(record, detour_twiml.duration_ms(spoken.text) / 1000)
        self._control.tell(record, m.LegState(record.detour_id, LegStep.BRIEFING))
        return answer(detour_twiml.whisper(record, steps, voice))

    def _answered(self, record: DetourRecord) -> DetourRecord:
        if not record.answered_at_ms:
            record = self._store.change(record.detour_id, answered_at_ms=now_ms()) or record
            self._control.tell(record, m.LegState(record.detour_id, LegStep.ANSWERED))
        return record

    async def accept(self, request: Request, form: Fields) -> Response:
        """The key. The first counts."""
        record = self._found(request)
        if record is None:
            return answer(twiml.hangup())
        if (foreign := self._theirs(record, form)) is not None:
            return foreign
        key = form.get("Digits", "")[:1]
        if record.key is None:
            record = self._store.change(record.detour_id, key=key if _KEY.fullmatch(key) else "") or record
        if not self._control.is_wanted(record):
            return answer(detour_twiml.gone(self._admission.voice(record.call_sid)))
        if record.key != record.accept:
            return answer(twiml.hangup())
        return self._accepted(request, record)

    def _accepted(self, request: Request, record: DetourRecord) -> Response:
        if not record.accepted:
            record = self._store.change(record.detour_id, accepted_at_ms=now_ms()) or record
            self._control.tell(record, m.LegState(record.detour_id, LegStep.ACCEPTED))
        if record.warm:
            return answer(detour_twiml.room(record, self._steps(request, record), "callee"))
        return answer(detour_twiml.joined())

    async def leg(self, request: Request, form: Fields) -> Response:
        """How leg B is: of all that is told, what is further on counts. A verdict on who has answered is a
        hint, no more.
        """
        record = self._found(request)
        if record is None or self._theirs(record, form) is not None:
            return _noted()
        if verdict := form.get("AnsweredBy"):
            record = self._store.change(record.detour_id, answered_by=verdict[:40]) or record
        status = form.get("CallStatus", "")
        if _rank(status) <= _rank(record.leg_status) or (verdict and not form.get("CallbackSource")):
            return _noted()
        code = form.get("SipResponseCode", "")
        sip_code = int(code) if code.isascii() and code.isdecimal() and len(code) <= 3 else record.sip_code
        record = self._store.change(record.detour_id, leg_status=status, sip_code=sip_code) or record
        if status == "in-progress":
            self._answered(record)
        elif status in _STEPS:
            self._control.tell(record, m.LegState(record.detour_id, _STEPS[status]))
            if record.warm and not self._control.is_wanted(record):
                self._control.end_leg(record)
        else:
            self._control.leg_left(record)
        return _noted()

    async def room(self, request: Request, form: Fields) -> Response:
        """Who has come into the room, and who has left it."""
        record = self._found(request)
        call_sid = form.get("CallSid", "")
        if record is None or not call_sid or call_sid not in (record.call_sid, record.leg_sid):
            return _noted()
        is_caller, at_ms = call_sid == record.call_sid, now_ms()
        match form.get("StatusCallbackEvent", ""):
            case "participant-join" if not is_caller:
                self._control.in_room(record)
            case "participant-join" if record.left_at_ms or record.leg_status in OVER_STATUSES:
                self._control.alone(record)
            case "participant-join" if not record.joined_at_ms:
                record = self._store.change(record.detour_id, joined_at_ms=at_ms) or record
                self._control.tell(record, m.LegState(record.detour_id, LegStep.BRIDGED))
            case "participant-leave" if not record.left_at_ms:
                record = self._store.change(record.detour_id, left_at_ms=at_ms) or record
                if not is_caller:
                    self._control.leg_left(record)
        if is_caller and form.get("ParticipantCallStatus") in OVER_STATUSES:
            self._control.call_status(record.call_sid, form["ParticipantCallStatus"])
        return _noted()

    async def hold(self, request: Request, form: Fields) -> Response:
        """What those hear who wait: the caller on hold, or the first one in a room."""
        record = self._found(request)
        if record is None:
            return answer(twiml.hangup())
        on_hold = record.kind is DetourKind.HOLD and form["CallSid"] == record.call_sid
        # Where the call lives no more, no code of its is left to fetch the caller back.
        waits = form.get("QueueTime", "0") in ("", "0") or self._control.lives(record)
        if on_hold and (record.wanted_back or not waits):
            return answer(detour_twiml.let_go())
        if form["CallSid"] == record.leg_sid:
            self._control.in_room(record)  # the callback that says so may be lost
        url = self._control.music(record, self._admission.proof.links(request).base)
        return answer(detour_twiml.music(url, for_ever=not on_hold))

    # --- inside ------------------------------------------------------------------------------------------

    def _found(self, request: Request) -> DetourRecord | None:
        return self._store.find(_detour_id(request))

    def _steps(self, request: Request, record: DetourRecord) -> Steps:
        return Steps.of(self._admission.proof.links(request).base, record.detour_id)

    def _theirs(self, record: DetourRecord, form: Fields) -> Response | None:
        """None if the request is about the detour's leg B; else what it is answered."""
        call_sid, parent = form["CallSid"], form.get("ParentCallSid") or record.call_sid
        # A caller's call is never taken for a leg, nor ended as one.
        if self._admission.intents.streams(call_sid) or parent != record.call_sid:
            return self._foreign(record)
        return None if self._control.is_its_leg(record, call_sid) else answer(twiml.hangup())

    def _foreign(self, record: DetourRecord) -> Response:
        self._admission.proof.reject("detour", "webhook", "a detour of another call", record.call_sid)
        return answer(twiml.hangup())


def _detour_id(request: Request) -> str:
    given = str(request.path_params["detour_id"])
    return given if _ID.fullmatch(given) else ""


def _noted() -> Response:
    return Response(status_code=NO_CONTENT)


def _rank(status: str) -> int:
    return -1 if not status else _STATUSES.get(status, len(_STATUSES))
