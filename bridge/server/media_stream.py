"""The websocket that carries a call: signature, `start` in time, token, admitted.

The signature of the upgrade is the same for all calls; the token says which call it is.
"""

from __future__ import annotations

import logging

from starlette.websockets import WebSocket

from bridge.agents.turned_away import Forward, Refuse, TurnedAway, Voicemail
from bridge.carriers.twilio import Twilio
from bridge.core import messages as m
from bridge.errors import SignatureError
from bridge.server import sids, twiml
from bridge.server.admission import GATES, Admission
from bridge.server.gates import PendingSockets
from bridge.server.own_streams import RESERVED, TOKEN
from bridge.server.own_tokens import OwnTokens
from bridge.server.pending_stream import PendingStream
from bridge.server.proof import Fields
from bridge.server.store.intents import ENDED, TRANSFER
from bridge.server.webhooks import served_path
from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.dial import CarrierSocket
from bridge.sockets.uvicorn import admitted, take_socket

logger = logging.getLogger(__name__)


class MediaStream:
    """`/media-stream`. `own_tokens` are those of streams under TwiML that is not ours."""

    def __init__(self, admission: Admission, own_tokens: OwnTokens) -> None:
        self._admission = admission
        self._proof = admission.proof
        self._registry = admission.registry
        self._own_tokens = own_tokens
        self._account_sid = admission.settings.twilio_account_sid
        self._pending_sockets = PendingSockets()

    async def connect(self, websocket: WebSocket) -> None:
        """Signature, accept, `start` in time, token, admitted: in that order, and nothing upstream before the
        last.
        """
        self._proof.awake()
        if (fault := self._proof.peers.fault(websocket)) is not None:
            self._proof.reject("peer", "stream", fault)
            await websocket.close()
            return
        signatures = self._proof.signatures
        try:
            signatures.check_upgrade(served_path(websocket), websocket.headers)
        except SignatureError as error:
            self._proof.reject("signature", "stream", error)
            await websocket.close()
            return
        address = websocket.client.host if websocket.client else ""
        place = None if signatures.demanded else self._pending_sockets.enter(address)
        if place is None and not signatures.demanded:
            self._proof.reject("lobby", "stream", "too many have come and not started")
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
            await self._admit(started, arrival, socket, self._proof.links(websocket))
        elif started:
            self._close(socket, "start", started)
        if isinstance(socket, AsgiSocket):  # else the connection is ours: nothing of the request need stay
            await socket.released()

    async def _admit(
        self, started: m.Started, arrival: PendingStream, socket: CarrierSocket, links: twiml.Links
    ) -> None:
        """The stream says which call it is; its token proves it."""
        call_sid, account_sid, token = started.call_id, started.account_id, started.parameters.get(TOKEN, "")
        tokens, stream = self._admission.tokens, 1
        if OwnTokens.is_one(token):
            await self._admit_own(token, started, arrival, socket, links)
            return
        if self._admission.proven:
            fault, gate = sids.start_fault(started, self._account_sid), "start"
            if fault is None:
                fault, gate = tokens.redeem(token, call_sid, account_sid), "token"
            if fault is None:
                stream = tokens.stream_of(token)
                if stream <= self._admission.intents.streams(call_sid):  # the token was another process's
                    fault = "a stream token of a stream that has begun"
            if fault is not None:
                self._close(socket, gate, fault, call_sid)
                return
        admitted(socket)  # an agent may take its time to be resolved
        turned_away = await self._registry.prepare(call_sid, started.parameters)
        if turned_away is not None:
            await self._turn_away(turned_away, socket, started, links)
            return
        self._claim(started.parameters, stream, started, arrival, socket)

    async def _admit_own(
        self,
        token: str,
        started: m.Started,
        arrival: PendingStream,
        socket: CarrierSocket,
        links: twiml.Links,
    ) -> None:
        """A stream of TwiML that is not ours: no webhook came before it, so the call rings and begins now."""
        call_sid, account_sid = started.call_id, started.account_id
        fault = sids.call_fault(started, self._account_sid) if self._admission.proven else None
        if fault is not None:
            self._close(socket, "start", fault, call_sid)
            return
        grant = self._own_tokens.redeem(token, call_sid, account_sid)
        if isinstance(grant, str):
            self._close(socket, "token", grant, call_sid)
            return
        if self._registry.runner(call_sid) is None and (reason := self._registry.refusal) is not None:
            self._close(socket, reason, reason, call_sid)
            return
        admitted(socket)
        theirs = {name: value for name, value in started.parameters.items() if name not in RESERVED}
        fields = {**theirs, **grant.parameters, "CallSid": call_sid, "AccountSid": account_sid}
        found = await self._admission.ring(call_sid, fields)
        if isinstance(found, str):
            self._close(socket, found, GATES[found], call_sid)
        elif found is not None:
            await self._turn_away(found, socket, started, links)
        else:
            stream = self._admission.intents.streams(call_sid) + 1
            self._claim(fields, stream, started, arrival, socket)

    def _claim(
        self, fields: Fields, stream: int, started: m.Started, arrival: PendingStream, socket: CarrierSocket
    ) -> None:
        """The stream gets its call, if one may come in."""
        call_sid, proven = started.call_id, self._admission.proven
        runner = self._registry.claim(call_sid, started.account_id, fields, stream=stream, proven=proven)
        if isinstance(runner, str):
            self._close(socket, runner, runner, call_sid)
            return
        runner.attach(socket, [Twilio.redact(arrival.start)])
        runner.feed(m.Admitted())

    def _close(self, socket: CarrierSocket, gate: str, fault: str, call_sid: str | None = None) -> None:
        """Refuse a stream. Where calls are signed, a stranger is told which gate it was and not what it
        lacked; on this machine a developer is.
        """
        self._proof.reject(gate, "stream", fault, call_sid)
        why = f"refused: {gate}" if self._admission.proven else f"refused: {fault}"
        socket.close(1008, why)

    async def _turn_away(
        self, why: TurnedAway, socket: CarrierSocket, started: m.Started, links: twiml.Links
    ) -> None:
        """A stream has come for a call that its resolver does not take: only now was it asked."""
        call_sid, account_sid = started.call_id, started.account_id
        control = self._registry.services.control
        if isinstance(why, Forward):
            self._admission.intents.note(call_sid, TRANSFER + why.name)
            asked = control.before_close(call_sid, account_sid, m.Ended(m.Reason.TRANSFERRED))
        else:
            self._admission.intents.note(call_sid, ENDED)
            asked = control.before_close(call_sid, account_sid, m.Ended(m.Reason.WE_HUNG_UP))
        if isinstance(why, Voicemail):
            box = twiml.voicemail(why, links.voicemail, self._admission.voice(call_sid))
            asked = control.follow(call_sid, account_sid, box)
        if asked is not None:
            await asked
        if isinstance(why, Refuse):
            self._close(socket, "refused", "its resolver refuses the call", call_sid)
        else:
            logger.info("= its resolver sends it on", extra={"call_sid": call_sid})
            socket.close(1000)
