"""What the core wishes for a detour, done at the carrier: leg B is placed and taken back, a call is pushed or
looked for; and what became of it is told to the core.

The carrier's webhooks about a detour are in `detour_routes.py`. Both write to the store first and tell the
core then, so that another process could answer the next question.

https://www.twilio.com/docs/voice/api/call-resource
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Coroutine
from typing import Any, Final

from bridge.core import messages as m
from bridge.core.messages import DetourResult, LegStep, TransferMode, TransferOutcome
from bridge.core.stats import Stats
from bridge.server import detour_twiml, hold_sound, twiml
from bridge.server.calls import CallRegistry
from bridge.server.detour_twiml import Steps
from bridge.server.new_calls import Ambiguous, NewCall, Placed, Refused
from bridge.server.numbers import own_number, person
from bridge.server.store.detours import DetourRecord
from bridge.server.store.intents import DETOUR, ENDED, OVER_STATUSES
from bridge.server.transfer_outcome import of_leg, of_refusal, together_ms
from bridge.server.twilio_rest import Outcome, Standing
from bridge.settings.settings import Settings
from bridge.settings.targets import Target

logger = logging.getLogger(__name__)

_KEYS: Final = re.compile(r"[0-9*#A-Dw]{1,32}")
NO_KEY_S: Final = 12.0
"""After leg B was answered, or after what it is told; then what has answered is no person who wants the
call."""


class DetourControl:
    """An observer of the registry's calls. Lives on its loop; nothing here waits in an observer's method."""

    def __init__(self, settings: Settings, registry: CallRegistry) -> None:
        self.registry = registry
        self.settings = settings
        self.store = registry.services.store.detours
        self._intents = registry.services.control.intents
        self._rest = registry.services.control.rest
        self._placed: set[str] = set()
        """Detours whose leg B this process has placed, and whose call it has."""
        self._keys: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._voice = twiml.Voice.of(settings.speech(), settings.language)
        registry.observers = (*registry.observers, self)
        registry.services.detours, registry.services.keep_keys = True, self.keep_keys

    # --- what the core wishes ----------------------------------------------------------------------------

    def call_began(self, call_sid: str) -> None:
        """A call begins without a detour: a leg B that another process had for it, and that waits there, is
        ended. One that still rings is taken back when the carrier speaks of it.
        """
        record = self.store.of_call(call_sid)
        if record is None or record.detour_id in self._placed or not record.warm:
            return
        if record.answered_at_ms and not (record.left_stream or record.cancelled or record.result):
            self.cancel_leg(record.detour_id, "canceled")

    def call_did(self, call_sid: str, action: m.Action, _now_ms: int) -> None:
        """Do what the core wishes of the carrier."""
        match action:
            case m.PlaceLeg():
                self._place(call_sid, action.wish)
            case m.CancelLeg():
                self.cancel_leg(action.detour_id, action.why)
            case m.LeaveStream():
                self._leave(call_sid, action.wish)
            case m.Push():
                self._start(self._push(action.detour_id))
            case m.LookUp():
                self._start(self._look_up(action.detour_id))
            case m.BringBack():
                self.store.change(action.detour_id, wanted_back=True)
            case m.DetourEnded():
                self._placed.discard(action.detour_id)
                self._keys.pop(action.detour_id, None)
                self.store.change(action.detour_id, brief="", caller="")  # no longer needed
                outcome = action.result.outcome.value
                what = "= %s: %s"
                about = action.name or action.kind.value
                logger.info(what, about, outcome, extra={"call_sid": call_sid})

    def call_ended(self, call_sid: str, _ended: m.Ended, _stats: Stats) -> None:
        """No leg is left without its caller."""
        record = self.store.of_call(call_sid)
        if record is None:
            return
        if record.detour_id in self._placed and not record.joined_at_ms:
            self.cancel_leg(record.detour_id, "caller_left")
        self._placed.discard(record.detour_id)
        self._keys.pop(record.detour_id, None)

    def lives(self, record: DetourRecord) -> bool:
        """Whether its call is in this process."""
        return self.registry.runner(record.call_sid) is not None

    def target(self, record: DetourRecord) -> Target | None:
        """Where its name leads, by the row of the call's number; None if nowhere (any more)."""
        transfers = self.registry.services.router.of(record.call_sid).route.transfers
        return self.settings.dialled(transfers[record.name]) if record.name in transfers else None

    def keep_keys(self, detour_id: str, keys: str) -> None:
        """The keys that a detour is to press: here, until it is over, and nowhere else."""
        if _KEYS.fullmatch(keys):
            self._keys[detour_id] = keys

    def keys(self, record: DetourRecord) -> str:
        """These keys; "" where they are not known, as after a crash."""
        return self._keys.get(record.detour_id, "")

    def music(self, record: DetourRecord, base: str) -> str:
        """The address of what a caller hears on hold: settings name it, or it is our own."""
        named = self.settings.hold_music.get(record.name) if record.kind is m.DetourKind.HOLD else None
        return named or f"{base}{hold_sound.PATH}"

    def _begin(self, call_sid: str, wish: m.Detour) -> DetourRecord:
        fields = self.registry.fields(call_sid)
        record = DetourRecord(
            detour_id=wish.detour_id,
            call_sid=call_sid,
            since_ms=now_ms(),
            account_sid=fields.get("AccountSid", ""),
            kind=wish.kind,
            mode=wish.mode,
            name=wish.name,
            brief=wish.brief,
            accept=wish.accept,
            ring_s=wish.ring_s,
            after=wish.after,
            min_talk_s=wish.min_talk_s,
            stream=self._intents.streams(call_sid),
            own_number=own_number(fields, self.settings.call_from),
            caller=person(fields),
        )
        self.store.begin(record)
        return self.store.find(wish.detour_id) or record

    # --- leg B -------------------------------------------------------------------------------------------

    def _place(self, call_sid: str, wish: m.Detour) -> None:
        record = self._begin(call_sid, wish)
        target = self.target(record)
        if target is None:
            self._ended_soon(record, DetourResult(TransferOutcome.FAILED, raw={"error": "no such target"}))
        elif self.settings.public_url is None or not record.own_number:
            self._not_placed(record, of_refusal(0, "there is no number or no address to call from"))
        else:
            self._placed.add(record.detour_id)
            wanted = self._new_call(record, target, Steps.of(self.settings.public_url, record.detour_id))
            self._start(self._create(record, wanted))

    def _new_call(self, record: DetourRecord, target: Target, steps: Steps) -> NewCall:
        login = target.login
        return NewCall(
            to=target.address,
            from_=record.own_number,
            url=steps("callee"),
            status_callback=steps("leg"),
            amd_callback=None if target.keys else steps("leg"),
            ring_s=record.ring_s,
            time_limit_s=min(self.settings.max_call_seconds, detour_twiml.MOST_TIME_LIMIT_S),
            send_digits=target.keys or None,
            sip_user=None if login is None else login.user,
            sip_password=None if login is None else login.password.get_secret_value(),
            ref=record.detour_id,
        )

    async def _create(self, record: DetourRecord, wanted: NewCall) -> None:
        """Ask for leg B, once. A request without an answer is not repeated: a call that comes of it all the
        same names this detour, and is taken back.
        """
        if self._rest is None:
            self._not_placed(record, of_refusal(0, "there are no credentials"))
            return
        created = await self._rest.create_call(wanted, record.account_sid or None)
        record = self.store.find(record.detour_id) or record
        match created:
            case Placed(sid):
                if self.is_its_leg(record, sid):
                    self._was_placed(record.detour_id)
            case Refused():
                self._not_placed(record, of_refusal(created.code, created.meaning))
            case Ambiguous(why) if not record.leg_sid:
                self.leg_over(record, DetourResult(TransferOutcome.REST_FAILED, raw={"error": why}))

    def _was_placed(self, detour_id: str) -> None:
        record = self.store.find(detour_id)
        if record is None:
            return
        if record.cancelled or record.result is not None:
            self.end_leg(record)
        else:
            self.tell(record, m.LegState(record.detour_id, LegStep.QUEUED))

    def _not_placed(self, record: DetourRecord, result: DetourResult) -> None:
        """No call was placed. Unless the number is wrong, the caller may be sent there themselves."""
        self._placed.discard(record.detour_id)
        if result.outcome is TransferOutcome.INVALID:
            self._ended_soon(record, result)
            return
        self.store.change(record.detour_id, mode=TransferMode.COLD)
        self._tell_soon(record, m.LegState(record.detour_id, LegStep.ENDED, result, cold_instead=True))

    def is_its_leg(self, record: DetourRecord, leg_sid: str) -> bool:
        """Whether this call is the detour's leg B; the first that says so is. Another one, placed by a
        request that came twice, is ended.
        """
        if record.leg_sid in ("", leg_sid):
            if not record.leg_sid:
                self.store.change(record.detour_id, leg_sid=leg_sid)
            return True
        logger.warning("a second call of one transfer is ended", extra={"call_sid": record.call_sid})
        self._start(self._end(leg_sid, record, answered=False))
        return False

    def is_wanted(self, record: DetourRecord) -> bool:
        """Whether a caller still waits for leg B. One that another process had placed has none: a call that
        came over from there knows nothing of it.
        """
        if record.cancelled or (record.result is not None and not record.joined_at_ms):
            return False
        return not record.warm or record.left_stream or record.detour_id in self._placed

    def leg_over(self, record: DetourRecord, result: DetourResult) -> None:
        """Leg B has come to its end before the caller was moved to it: that is the outcome."""
        changed = self.store.change(record.detour_id, result=result) or record
        self.tell(changed, m.LegState(changed.detour_id, LegStep.ENDED, changed.result or result))

    def leg_left(self, record: DetourRecord) -> None:
        """Leg B is over, or has left the room, which the carrier has said."""
        if record.warm and not record.joined_at_ms and record.result is None:
            result = of_leg(record, now_ms())
            self.leg_over(record, result)
            if record.away and result.outcome is not TransferOutcome.CONNECTED:
                self.alone(record)

    def alone(self, record: DetourRecord) -> None:
        """The caller is on their way to a room that is empty by now: they are fetched back."""
        self._start(self._push(record.detour_id))

    def in_room(self, record: DetourRecord) -> DetourRecord:
        """Leg B waits in the room, by the first word of the carrier that says so."""
        if record.room_at_ms or not record.warm or not record.accepted:
            return record
        record = self.store.change(record.detour_id, room_at_ms=now_ms()) or record
        self.tell(record, m.LegState(record.detour_id, LegStep.IN_ROOM))
        return record

    def briefed(self, record: DetourRecord, seconds: float) -> None:
        """Leg B hears who calls, for `seconds`. A leg that presses no key has not taken the call."""
        wait_s = max(NO_KEY_S, seconds + detour_twiml.KEY_S + 1)
        asyncio.get_running_loop().call_later(wait_s, self._no_key, record.detour_id)

    def _no_key(self, detour_id: str) -> None:
        record = self.store.find(detour_id)
        if record is None or record.key is not None or record.result is not None or record.cancelled:
            return
        changed = self.store.change(detour_id, key="") or record
        self.end_leg(changed)
        self.leg_over(changed, of_leg(changed, now_ms()))

    def cancel_leg(self, detour_id: str, why: str) -> None:
        """Leg B is not wanted any more. What it has accepted is left alone."""
        record = self.store.change(detour_id, cancelled=why)
        if record is not None:
            self.end_leg(record)

    def end_leg(self, record: DetourRecord) -> None:
        """Take leg B back, as far as it is known and not over."""
        if record.leg_sid and record.leg_status not in OVER_STATUSES:
            self._start(self._end(record.leg_sid, record, answered=record.answered_at_ms > 0))

    async def _end(self, leg_sid: str, record: DetourRecord, *, answered: bool) -> None:
        if self._rest is None:
            return
        account = record.account_sid or None
        if not answered:
            await self._rest.cancel(leg_sid, account)
        elif record.cancelled == "caller_left":
            await self._rest.follow(leg_sid, detour_twiml.gone(self._voice), account)
        else:
            await self._rest.hang_up(leg_sid, account)

    # --- leg A -------------------------------------------------------------------------------------------

    def _leave(self, call_sid: str, wish: m.Detour) -> None:
        self._begin(call_sid, wish)
        self.store.change(wish.detour_id, left_stream=True, stream=self._intents.streams(call_sid))

    async def _push(self, detour_id: str) -> None:
        """The carrier has not asked what comes after the stream: let it ask for the detour's document."""
        record = self.store.find(detour_id)
        if record is not None and not await self._redirected(record):
            await self._gone(record)

    async def _redirected(self, record: DetourRecord) -> bool:
        """Whether the call will ask for the detour's document. A 404 is no proof that it is over: to an API
        of another region every call is unknown.
        """
        base = self.settings.public_url
        if self._rest is None or base is None:
            return False
        go = Steps.of(base, record.detour_id)("go")
        return await self._rest.redirect(record.call_sid, go, record.account_sid or None) is Outcome.DONE

    async def _look_up(self, detour_id: str) -> None:
        """Nothing was heard of the call for too long."""
        record = self.store.find(detour_id)
        if record is None:
            return
        goes_on = await self._standing(record) is Standing.GOES_ON
        if not goes_on or not await self._redirected(record):
            await self._gone(record)

    async def _gone(self, record: DetourRecord) -> None:
        """The call cannot be had back: it is over, or has left no trace."""
        if await self._standing(record) is Standing.OVER:
            self.caller_left(record)
        else:
            self.lost(record)

    async def _standing(self, record: DetourRecord) -> Standing:
        if self._rest is None:
            return Standing.NO_CREDENTIALS
        return await self._rest.standing(record.call_sid, record.account_sid)

    def caller_left(self, record: DetourRecord) -> None:
        """The caller's leg is over, and the carrier has said so. A talk that they had stays a talk."""
        talked = record.accepted and (not record.warm or together_ms(record, now_ms()))
        outcome = TransferOutcome.CONNECTED if talked else TransferOutcome.CALLER_LEFT
        self.over(record, DetourResult(outcome, accepted=record.accepted))

    def lost(self, record: DetourRecord) -> None:
        """No trace of the call is left."""
        self.over(record, DetourResult(TransferOutcome.LOST, accepted=record.accepted))

    def over(self, record: DetourRecord, result: DetourResult) -> None:
        """There is no way back from this detour."""
        changed = self.store.change(record.detour_id, result=result) or record
        if result.outcome is not TransferOutcome.LOST:
            self._intents.note(record.call_sid, ENDED)
        self.tell(changed, m.DetourOver(changed.detour_id, result))
        if record.warm and not record.joined_at_ms and record.leg_sid:
            self.cancel_leg(record.detour_id, "caller_left")

    def call_status(self, call_sid: str, status: str) -> None:
        """The carrier says so of a call, without being asked: of a caller in a detour it may be the only
        word that they have left.
        """
        record = self.store.of_call(call_sid)
        if status not in OVER_STATUSES or record is None:
            return
        if self._intents.peek(call_sid) == DETOUR + record.detour_id:
            self.caller_left(record)

    # --- inside ------------------------------------------------------------------------------------------

    def tell(self, record: DetourRecord, event: m.Event) -> bool:
        """Tell the call, and return whether it lives here."""
        return self.registry.feed(record.call_sid, event)

    def _tell_soon(self, record: DetourRecord, event: m.Event) -> None:
        """The same from within what the call does: after that."""
        asyncio.get_running_loop().call_soon(self.tell, record, event)

    def _ended_soon(self, record: DetourRecord, result: DetourResult) -> None:
        asyncio.get_running_loop().call_soon(self.leg_over, record, result)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="detour")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def now_ms() -> int:
    """Of the wall clock, which all processes share."""
    return int(time.time() * 1000)
