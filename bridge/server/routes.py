"""The routes: a webhook that answers with TwiML, a websocket that carries the call, and what operators ask
for.

Every Twilio route proves that it is Twilio who calls before it does anything else. What a request says about
itself (`Host`, `X-Forwarded-…`) never makes an answer; it can only be a reason for none (`peers`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, TypeAlias

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from bridge.agents.turned_away import Forward, Refuse, TurnedAway
from bridge.carriers.twilio import Twilio
from bridge.core import messages as m
from bridge.errors import SignatureError
from bridge.ops.logs import Seldom
from bridge.server import sids, twiml
from bridge.server.calls import RESUMED, RETURNED, CallRegistry
from bridge.server.gates import SPENT, PendingSockets, Signatures, StreamTokens
from bridge.server.operators import OperatorRoutes
from bridge.server.own_streams import RESERVED, TOKEN, OwnStreams
from bridge.server.own_tokens import OwnTokens
from bridge.server.pages import Softphone
from bridge.server.pending_stream import PendingStream
from bridge.server.replays import Replays
from bridge.server.store.intents import ENDED, HANDOVER, OVER_STATUSES, TRANSFER, Next, Situation
from bridge.server.stream_names import QUERY, StreamNames
from bridge.server.webhooks import (
    LongQuery,
    Misshapen,
    TooLarge,
    one_a_connection,
    proven_fields,
    served_path,
)
from bridge.settings.settings import Settings
from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.dial import CarrierSocket
from bridge.sockets.peers import Peers, authority
from bridge.sockets.uvicorn import admitted, take_socket

logger = logging.getLogger(__name__)

CUT_OFF: Final = "cut off"
MOST_UNDER_WAY: Final = 3
"""Webhooks about one call that wait for something at the same time. The carrier sends the next one when it
has given up the one before; a captured one may be sent a thousand times.
"""
Fields: TypeAlias = Mapping[str, str]
NOTHING: Final[Fields] = MappingProxyType({})
GATES: Final = {
    "ended": "the carrier says that it is over",
    "account": "the carrier says that our account has no such call",
    "replay": "it has had its stream, and the carrier cannot be asked",
    "unverified": "the carrier cannot be asked about it",
    "again": "too many webhooks about it are under way",
}
"""What `Verification` finds, in words."""
RINGING: Final = ("queued", "ringing")
"""A call that is not answered yet, by its `CallStatus`."""
NO_CALL: Final = "a webhook without CallSid\n"


class Routes:
    """The endpoints, with what they need. `awake` is called by each of them: it starts, once and on the loop
    that serves, what an application without a lifespan could start nowhere else.
    """

    def __init__(self, settings: Settings, registry: CallRegistry, awake: Callable[[], None]) -> None:
        self.settings = settings
        self.registry = registry
        self.awake = awake
        self.peers = Peers(insecure=settings.insecure, public_url=settings.public_url, host=settings.host)
        self.signatures = Signatures(settings)
        self.used = registry.services.store.used
        self.tokens = StreamTokens(settings.stream_token_secret(), used=self.used)
        self.names = StreamNames(settings.stream_token_secret())
        self.own_streams = OwnStreams(settings, registry, self.peers, links=self.links, reject=self.reject)
        self.replays = Replays(self.tokens, self.names, registry)
        self.pending_sockets = PendingSockets()
        self._seldom = Seldom(logger)
        self._under_way: Counter[str] = Counter()
        self.speech = settings.speech()
        self.intents = registry.services.control.intents

    def links(self, connection: HTTPConnection) -> twiml.Links:
        """Our routes as the carrier sees them. Never made from headers; without PUBLIC_URL (which only
        BRIDGE_INSECURE allows) they are at the address this connection came in on.
        """
        if self.settings.public_url:
            return twiml.Links.below(self.settings.public_url)
        bound = authority(*(connection.scope.get("server") or ("127.0.0.1", None)))
        return twiml.Links.below(f"http://{bound}{connection.scope.get('root_path', '')}")

    def reject(self, gate: str, what: str, why: object, call_sid: str | None = None) -> None:
        """Count a request that was turned away, and log it now and then. Unproven, it may name any call."""
        self.registry.services.metrics.rejected(gate)
        kind = (gate, what, call_sid if what == "call" else None)
        self._seldom.log(kind, logging.WARNING, "%s refused: %s", what, why, call_sid=call_sid)

    def voice(self, call_sid: str) -> twiml.Voice:
        """What the carrier says for us in that call, in its language."""
        usual = self.settings.language
        language = self.registry.language(call_sid) or usual
        spoken = self.settings.spoken_language
        return twiml.Voice.of(self.speech, usual if language == spoken else language)

    # --- the webhook -------------------------------------------------------------------------------------

    async def incoming_call(self, request: Request) -> Response:
        form = await self._proven(request)
        if isinstance(form, Response):
            return form
        call_sid, account_sid = form.get("CallSid", ""), form.get("AccountSid", "")
        proven = not self.settings.insecure
        if proven and self._is_over(call_sid, form):
            self.reject("ended", "call", "it is over already", call_sid)
            return _answer(twiml.hangup())
        if proven and self.replays.had_its_stream(call_sid):  # asking again gives no second one
            self.reject("replay", "call", "it has had its stream", call_sid)
            return _answer(self._connect(request, call_sid, SPENT))
        refused = self._refusal(call_sid, request, form)
        if refused is None and proven:
            found = await self._rung(call_sid, form)
            refused = None if found is None else self._not_let_in(found, request, form)
        if refused is not None:
            if proven:
                self.used.expect(call_sid)  # a retry may still be let in; a replay a month later may not
            return _answer(refused)
        token = self.tokens.mint(call_sid, account_sid)
        if not proven and token != SPENT:
            turned_away = await self.registry.ring(call_sid, form)
            if turned_away is not None:
                return _answer(self._not_let_in(turned_away, request, form))
        return _answer(self._connect(request, call_sid, token))

    def _is_over(self, call_sid: str, form: Fields) -> bool:
        if form.get("CallStatus") in OVER_STATUSES and self.intents.peek(call_sid) is None:
            self.intents.note(call_sid, ENDED)
        return self.intents.peek(call_sid) == ENDED

    async def _rung(
        self, call_sid: str, fields: Fields, *, remembered: bool = False
    ) -> str | TurnedAway | None:
        """Dial the model, and ask the carrier meanwhile whether there is such a call. Why there is none, one
        of the gates, or why the resolver takes none; None if it may come in.
        """
        if self._under_way[call_sid] >= MOST_UNDER_WAY:
            return "again"
        self._under_way[call_sid] += 1
        asking = self.registry.services.verification.refusal
        try:
            gate, turned_away = await asyncio.gather(
                asking(call_sid, fields["AccountSid"], remembered=remembered),
                self.registry.ring(call_sid, fields),
            )
        finally:
            self._under_way[call_sid] -= 1
            if not self._under_way[call_sid]:
                del self._under_way[call_sid]
        if gate is not None:
            self.registry.let_go(call_sid)
        if gate == "ended":
            self.intents.note(call_sid, ENDED)
            self.used.use(call_sid)
        return gate or turned_away

    def _not_let_in(self, why: str | TurnedAway, request: Request, form: Fields) -> str:
        """What a call is answered that the carrier does not vouch for, or that its resolver turned away."""
        call_sid = form["CallSid"]
        match why:
            case Refuse(say=None, reason=reason):
                self.reject("refused", "call", f"its resolver says: {reason}", call_sid)
                return twiml.reject(reason)
            case Refuse(say=words):
                self.reject("refused", "call", "its resolver has a word for it", call_sid)
                return twiml.farewell(words or "", self.voice(call_sid))
            case Forward(name):
                logger.info("= its resolver sends it to %s", name, extra={"call_sid": call_sid})
                self.intents.note(call_sid, TRANSFER + name)
                action_url = self._action_url(request, call_sid, 1)
                return twiml.dial(self.settings.transfers[name], action_url, rings=True)
        return self._not_vouched_for(why, form)

    def _not_vouched_for(self, gate: str, form: Fields) -> str:
        """What is answered where the carrier does not vouch for a call; mostly it is not heard."""
        self.reject(gate, "call", GATES[gate], form["CallSid"])
        return self._busy(form) if gate in ("unverified", "again") else twiml.hangup()

    def _busy(self, form: Fields, *, draining: bool = False) -> str:
        """No call may come in now: said, and billed, or not answered at all (BRIDGE_BUSY)."""
        if self.settings.busy == "reject" and form.get("CallStatus", "ringing") in RINGING:
            return twiml.reject("busy")
        voice = self.voice(form["CallSid"])
        return twiml.draining(voice=voice) if draining else twiml.busy(voice)

    def _refusal(self, call_sid: str, request: Request, form: Fields) -> str | None:
        """What a call hears that can't come in now; None if it can."""
        if self.registry.waits_for(call_sid):
            return None
        reason = self.registry.refusal
        if reason is not None:
            self.reject(reason, "call", reason, call_sid)
            return self._busy(form, draining=reason == "draining")
        if self.registry.services.health.breaker.is_open:
            self.registry.services.metrics.rejected("upstream")
            fallback = self.settings.fallback
            if fallback is None:
                return twiml.apology(self.voice(call_sid))
            self.intents.note(call_sid, TRANSFER + fallback)
            action_url = self._action_url(request, call_sid, 1)
            return twiml.no_upstream(self.settings.transfers[fallback], action_url, self.voice(call_sid))
        return None

    def _action_url(self, request: Request, call_sid: str, stream: int) -> str:
        """Where the carrier asks what comes after that stream of the call."""
        return self.names.action_url(self.links(request).after_stream, call_sid, stream)

    def _connect(
        self, request: Request, call_sid: str, token: str, stream: int = 1, more: Fields = NOTHING
    ) -> str:
        links = self.links(request)
        return twiml.connect(
            stream_url=links.media_stream,
            action_url=self._action_url(request, call_sid, stream),
            status_url=links.stream_status,
            parameters={TOKEN: token, **more},
        )

    def _reconnect(self, request: Request, form: Fields, stream: int, how: Fields) -> str:
        call_sid = form["CallSid"]
        token = self.tokens.mint(call_sid, form.get("AccountSid", ""), stream)
        return self._connect(request, call_sid, token, stream, how)

    def _situation(self, statuses: tuple[str, str], *, retried: bool) -> Situation:
        return Situation(
            targets=self.settings.transfers,
            fallback=self.settings.fallback,
            draining=self.registry.draining,
            can_answer=not self.registry.services.health.breaker.is_open,
            call_status=statuses[0],
            dial_status=statuses[1],
            retried=retried,
        )

    async def after_stream(self, request: Request) -> Response:
        """The stream, or a dialled target, is over: what comes next was written down before."""
        form = await self._proven(request)
        if isinstance(form, Response):
            return form
        call_sid, proven = form["CallSid"], not self.settings.insecure
        if proven:
            stream = self.replays.asked_about(request.query_params.getlist(QUERY), call_sid)
        else:
            stream = max(1, self.intents.streams(call_sid))  # names die with the process
        statuses = form.get("CallStatus", ""), form.get("DialCallStatus", "")
        fault = await self.replays.fault(call_sid, stream, *statuses) if proven else None
        if fault is not None:
            self.reject("replay", "the question after a stream", fault, call_sid)
            return _answer(twiml.hangup())
        situation = self._situation(statuses, retried=proven and self.tokens.is_waiting(call_sid, stream + 1))
        remembered = self.used.has(call_sid, stream) and not self.intents.has_begun(call_sid)
        before = HANDOVER if self.intents.peek(call_sid) == HANDOVER else CUT_OFF
        step, voice = self.intents.decide(call_sid, situation), self.voice(call_sid)
        how = {RETURNED: step.outcome} if step.then is Next.RETURN else {RESUMED: before}
        if step.then in (Next.RESUME, Next.RETURN):
            fields = {**form, **how}
            if not proven:
                await self.registry.ring(call_sid, fields)
            elif (gate := await self._rung(call_sid, fields, remembered=remembered)) == "unverified":
                self.reject("unverified", "call", GATES["unverified"], call_sid)
                step = self.intents.decide(call_sid, situation._replace(can_answer=False))
            elif gate is not None:
                return _answer(self._not_let_in(gate, request, form))
        else:
            if proven:
                self.registry.let_go(call_sid)
            if step.then not in (Next.WAIT, Next.DIAL, Next.FALLBACK):
                self.registry.services.store.conversations.forget(call_sid)
        logger.info("= after the stream: %s", step.then.value, extra={"call_sid": call_sid})

        resume = partial(self._reconnect, request, form, stream + 1, how)
        again = self._action_url(request, call_sid, stream) if proven else self.links(request).after_stream
        targets = self.settings.transfers
        return _answer(twiml.after_stream(step, resume=resume, after_url=again, targets=targets, voice=voice))

    async def stream_status(self, request: Request) -> Response:
        """What the carrier says of the stream from outside: the only word there is of a handshake that
        failed.
        """
        form = await self._proven(request)
        if isinstance(form, Response):
            return form
        call_sid, event = form.get("CallSid", ""), form.get("StreamEvent", "")
        if event == "stream-error":
            error = form.get("StreamError", "")
            what = "the carrier reports a stream error: %s"
            self._seldom.log((event, call_sid), logging.WARNING, what, error, call_sid=call_sid)
            self.registry.tell(call_sid, m.Noted("stream-error", error))
        return Response(status_code=204)

    async def _proven(self, request: Request) -> Fields | Response:
        """The webhook's fields if it is the carrier's, else what it is answered."""
        self.awake()
        if (fault := self.peers.fault(request)) is not None:
            return self.turned_away("webhook", fault)
        try:
            fields = await proven_fields(request, self.signatures, self.settings.twilio_account_sid)
        except SignatureError as error:
            self.reject("signature", "webhook", error)
            return Response(status_code=403)
        except TooLarge:
            self.reject("form", "webhook", "larger than any of the carrier's")
            return Response(status_code=413)
        except LongQuery:
            self.reject("form", "webhook", "a query longer than any of the carrier's")
            return Response(status_code=414)
        except Misshapen as error:
            return self._unreadable(f"{error}\n")
        except (ValueError, ClientDisconnect):
            return self._unreadable("a form that cannot be read\n")
        # Other people's simulators have ids of their own, and theirs is not looked at further.
        return fields if fields.get("CallSid") else self._unreadable(NO_CALL)

    def turned_away(self, what: str, fault: str) -> Response:
        """The answer to a peer that may not ask this."""
        self.reject("peer", what, fault)
        return Response(f"{fault}\n", status_code=403)

    def _unreadable(self, why: str) -> Response:
        self.reject("form", "webhook", why.strip())
        return Response(why, status_code=400)

    # --- the stream --------------------------------------------------------------------------------------

    async def media_stream(self, websocket: WebSocket) -> None:
        """Signature, accept, `start` in time, token, admitted: in that order, and nothing upstream before the
        last.
        """
        self.awake()
        if (fault := self.peers.fault(websocket)) is not None:
            self.reject("peer", "stream", fault)
            await websocket.close()
            return
        try:
            self.signatures.check_upgrade(served_path(websocket), websocket.headers)
        except SignatureError as error:
            self.reject("signature", "stream", error)
            await websocket.close()
            return
        address = websocket.client.host if websocket.client else ""
        place = None if self.signatures.demanded else self.pending_sockets.enter(address)
        if place is None and not self.signatures.demanded:
            self.reject("lobby", "stream", "too many have come and not started")
            await websocket.close()
            return
        await websocket.accept()
        socket = take_socket(websocket, stranger=True)
        arrival = PendingStream(socket)
        try:
            started = await arrival.started()
        finally:
            if place is not None:
                place.leave()
        if isinstance(started, m.Started):
            await self._admit(started, arrival, socket)
        elif started:
            self._close(socket, "start", started)
        if isinstance(socket, AsgiSocket):  # else the connection is ours: nothing of the request need stay
            await socket.released()

    async def _admit(self, started: m.Started, arrival: PendingStream, socket: CarrierSocket) -> None:
        """The stream says which call it is; its token proves it."""
        call_sid, account_sid, token = started.call_id, started.account_id, started.parameters.get(TOKEN, "")
        proven, stream = not self.settings.insecure, 1
        if OwnTokens.is_one(token):
            await self._admit_own(token, started, arrival, socket)
            return
        if proven:
            fault, gate = sids.start_fault(started, self.settings.twilio_account_sid), "start"
            if fault is None:
                fault, gate = self.tokens.redeem(token, call_sid, account_sid), "token"
            if fault is None:
                stream = self.tokens.stream_of(token)
                if stream <= self.intents.streams(call_sid):  # the token was another process's
                    fault = "a stream token of a stream that has begun"
            if fault is not None:
                self._close(socket, gate, fault, call_sid)
                return
        admitted(socket)  # an agent may take its time to be resolved
        turned_away = await self.registry.prepare(call_sid, started.parameters)
        if turned_away is not None:
            await self._turn_away(turned_away, socket, call_sid, account_sid)
            return
        self._claim(started.parameters, stream, started, arrival, socket)

    async def _admit_own(
        self, token: str, started: m.Started, arrival: PendingStream, socket: CarrierSocket
    ) -> None:
        """A stream of TwiML that is not ours: no webhook came before it, so the call rings and begins now."""
        call_sid, account_sid = started.call_id, started.account_id
        proven = not self.settings.insecure
        fault = sids.call_fault(started, self.settings.twilio_account_sid) if proven else None
        if fault is not None:
            self._close(socket, "start", fault, call_sid)
            return
        grant = self.own_streams.tokens.redeem(token, call_sid, account_sid)
        if isinstance(grant, str):
            self._close(socket, "token", grant, call_sid)
            return
        if self.registry.runner(call_sid) is None and (reason := self.registry.refusal) is not None:
            self._close(socket, reason, reason, call_sid)
            return
        admitted(socket)
        theirs = {name: value for name, value in started.parameters.items() if name not in RESERVED}
        fields = {**theirs, **grant.parameters, "CallSid": call_sid, "AccountSid": account_sid}
        found = await self._rung(call_sid, fields)
        if isinstance(found, str):
            self._close(socket, found, GATES[found], call_sid)
        elif found is not None:
            await self._turn_away(found, socket, call_sid, account_sid)
        else:
            self._claim(fields, self.intents.streams(call_sid) + 1, started, arrival, socket)

    def _claim(
        self, fields: Fields, stream: int, started: m.Started, arrival: PendingStream, socket: CarrierSocket
    ) -> None:
        """The stream gets its call, if one may come in."""
        call_sid, proven = started.call_id, not self.settings.insecure
        runner = self.registry.claim(call_sid, started.account_id, fields, stream=stream, proven=proven)
        if isinstance(runner, str):
            self._close(socket, runner, runner, call_sid)
            return
        runner.attach(socket, [Twilio.redact(arrival.start)])
        runner.feed(m.Admitted())

    def _close(self, socket: CarrierSocket, gate: str, fault: str, call_sid: str | None = None) -> None:
        """Refuse a stream. Where calls are signed, a stranger is told which gate it was and not what it
        lacked; on this machine a developer is.
        """
        self.reject(gate, "stream", fault, call_sid)
        why = f"refused: {fault}" if self.settings.insecure else f"refused: {gate}"
        socket.close(1008, why)

    async def _turn_away(self, why: TurnedAway, socket: CarrierSocket, call_sid: str, account: str) -> None:
        """A stream has come for a call that its resolver does not take: only now was it asked."""
        sent_on = isinstance(why, Forward)
        reason = m.Reason.TRANSFERRED if sent_on else m.Reason.WE_HUNG_UP
        self.intents.note(call_sid, TRANSFER + why.name if isinstance(why, Forward) else ENDED)
        asked = self.registry.services.control.before_close(call_sid, account, m.Ended(reason))
        if asked is not None:
            await asked
        if sent_on:
            logger.info("= its resolver sends it on", extra={"call_sid": call_sid})
            socket.close(1000)
        else:
            self._close(socket, "refused", "its resolver refuses the call", call_sid)


def _answer(document: str) -> Response:
    return Response(document, media_type=twiml.MEDIA_TYPE)


def create_app(
    settings: Settings, registry: CallRegistry, awake: Callable[[], None] = lambda: None
) -> Starlette:
    """The application around the calls."""
    door = Routes(settings, registry, awake)
    own_streams = door.own_streams if settings.api_keys else None
    operators = OperatorRoutes(registry, door.peers, awake, door.turned_away, own_streams)
    softphone = Softphone(settings, registry, door.peers, awake)
    app = Starlette(
        routes=[
            Route("/incoming-call", one_a_connection(door.incoming_call), methods=["GET", "POST"]),
            WebSocketRoute("/media-stream", door.media_stream),
            Route("/after-stream", one_a_connection(door.after_stream), methods=["GET", "POST"]),
            Route("/stream-status", one_a_connection(door.stream_status), methods=["GET", "POST"]),
            *operators.routes(),
            *softphone.routes(),
        ]
    )
    # Its redirects go to the address that a request's `Host` names, over http; and none of our paths ends so.
    app.router.redirect_slashes = False
    app.state.registry = registry
    return app
