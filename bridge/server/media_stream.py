"""The websocket that carries a call: signature, `start` in time, token, admitted.

The signature of the upgrade is the same for all calls; the token says which call it is.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from bridge.agents.turned_away import Forward, Refuse, TurnedAway, Voicemail
from bridge.carriers.twilio import Twilio
from bridge.core import messages as m
from bridge.errors import SignatureError
from bridge.runner import Runner
from bridge.server import sids, twiml
from bridge.server.admission import GATES, Admission
from bridge.server.gates import PendingSockets
from bridge.server.going_on import goes_on, was_cut_off
from bridge.server.own_streams import RESERVED, TOKEN
from bridge.server.own_tokens import Grant, OwnTokens
from bridge.server.pending_stream import PendingStream
from bridge.server.proof import Fields
from bridge.server.routing.router import Ruled
from bridge.server.store.intents import ENDED, TRANSFER
from bridge.server.stream_route import PATH, REPLAY, is_machine
from bridge.server.webhooks import served_path
from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.dial import CarrierSocket
from bridge.sockets.uvicorn import admitted, take_socket

logger = logging.getLogger(__name__)


class _Side(NamedTuple):
    """Whose stream it is, by the signature of its upgrade, None for any; and our routes as it sees them."""

    account_sid: str | None
    links: twiml.Links


class MediaStream:
    """`/media-stream`, and below it for the machine that it names. `own_tokens` are those of streams under
    TwiML that is not ours.
    """

    def __init__(self, admission: Admission, own_tokens: OwnTokens) -> None:
        self._admission = admission
        self._proof = admission.proof
        self._registry = admission.registry
        self._own_tokens = own_tokens
        self._pending_sockets = PendingSockets()

    def routes(self) -> list[WebSocketRoute]:
        return [
            WebSocketRoute(PATH, self.connect),
            WebSocketRoute(f"{PATH}/{{machine}}", self.connect),
        ]

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
            account = signatures.check_upgrade(served_path(websocket), websocket.headers)
        except SignatureError as error:
            self._proof.reject("signature", "stream", error)
            await websocket.close()
            return
        if (answer := self._elsewhere(websocket)) is not None:
            await websocket.send_denial_response(answer)
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
            side = _Side(None if account is None else account.sid, self._proof.links(websocket))
            await self._admit(started, arrival, socket, side)
        elif started:
            self._close(socket, "start", started)
        if isinstance(socket, AsgiSocket):  # else the connection is ours: nothing of the request need stay
            await socket.released()

    def _elsewhere(self, websocket: WebSocket) -> Response | None:
        """The answer to an upgrade that is not for this machine; None if it is served here."""
        name = websocket.path_params.get("machine")
        if name is None:
            return None
        if not is_machine(name):
            return Response("no machine has such a name\n", 404)
        live, streams = self._registry.services.machines(), self._proof.streams
        if not streams.is_here(name) and name not in live and self._admission.router.table.accounts:
            # Whose signature it is takes a look at each account, for each path that a stranger thinks of.
            return Response("no such machine is alive\n", 404)
        replay = streams.elsewhere(name, websocket.headers, live)
        return None if replay is None else Response(status_code=204, headers={REPLAY: replay})

    async def _admit(
        self, started: m.Started, arrival: PendingStream, socket: CarrierSocket, side: _Side
    ) -> None:
        """The stream says which call it is; its token proves it."""
        call_sid, account_sid, token = started.call_id, started.account_id, started.parameters.get(TOKEN, "")
        tokens, router, stream = self._admission.tokens, self._admission.router, 1
        if OwnTokens.is_one(token):
            await self._admit_own(token, started, arrival, socket, side)
            return
        if self._admission.proven:
            fault, gate = sids.start_fault(started, side.account_sid), "start"
            if fault is None:
                fault, gate = tokens.redeem(token, call_sid, account_sid), "token"
            if fault is None:
                stream = tokens.stream_of(token)
                if stream <= self._admission.intents.streams(call_sid):  # the token was another process's
                    fault = "a stream token of a stream that has begun"
            if fault is not None:
                self._close(socket, gate, fault, call_sid)
                return
        fields = {**started.parameters}
        if self._admission.proven:
            # For a process that did not answer the webhook: which number was called, and for which account.
            known = {"To": tokens.called(token), "AccountSid": account_sid}
            fields |= {name: value for name, value in known.items() if value}
            if self._registry.runner(call_sid) is None and router.route(call_sid, fields) is None:
                self._close(socket, "route", "the number is another account's", call_sid)
                return
        reason = self._registry.refusal if stream == 1 and self._registry.runner(call_sid) is None else None
        if reason is not None:  # not claimed before: its model may wait at another machine
            self._close(socket, reason, reason, call_sid)
            return
        admitted(socket)  # an agent may take its time to be resolved
        turned_away = await self._registry.prepare(call_sid, fields)
        if turned_away is not None:
            await self._turn_away(turned_away, socket, started, side.links)
            return
        await self._claim(fields, stream, started, arrival, socket)

    async def _admit_own(
        self,
        token: str,
        started: m.Started,
        arrival: PendingStream,
        socket: CarrierSocket,
        side: _Side,
    ) -> None:
        """A stream of TwiML that is not ours: no webhook came before it, so the call rings and begins now."""
        call_sid, account_sid = started.call_id, started.account_id
        fault = sids.call_fault(started, side.account_sid) if self._admission.proven else None
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
        fields = self._own_fields(grant, started)
        if self._is_anothers(call_sid, fields):
            self._close(socket, "route", "the call or its number is another account's", call_sid)
            return
        rule = self._rule(call_sid)
        if rule is not None:
            self._proof.reject(rule.gate, "stream", rule.why, call_sid)
            await self._turn_away(rule.answer or Refuse("busy"), socket, started, side.links)
            return
        found = await self._admission.ring(call_sid, fields)
        if isinstance(found, str):
            self._close(socket, found, GATES[found], call_sid)
        elif found is not None:
            await self._turn_away(found, socket, started, side.links)
        else:
            stream = self._admission.intents.streams(call_sid) + 1
            await self._claim(fields, stream, started, arrival, socket)

    def _own_fields(self, grant: Grant, started: m.Started) -> dict[str, str]:
        """What is known of such a call."""
        if not grant.call_sid:  # its TwiML was made before the call was, and so has no `action`
            self._registry.services.one_way.add(started.call_id)
        theirs = {name: value for name, value in started.parameters.items() if name not in RESERVED}
        ids = {"CallSid": started.call_id, "AccountSid": started.account_id}
        return {**theirs, **grant.parameters, **ids}

    def _is_anothers(self, call_sid: str, fields: Fields) -> bool:
        if not self._admission.proven:
            return False
        router = self._admission.router
        return router.is_anothers(call_sid, fields["AccountSid"]) or router.route(call_sid, fields) is None

    def _rule(self, call_sid: str) -> Ruled | None:
        """The rule of its number that turns a new call away."""
        if self._registry.runner(call_sid) is not None:
            return None
        router = self._admission.router
        return router.refusal(call_sid) or router.too_often(call_sid)

    async def _claim(
        self, fields: Fields, stream: int, started: m.Started, arrival: PendingStream, socket: CarrierSocket
    ) -> None:
        """The stream gets its call, if one may come in and no other machine has it."""
        call_sid, proven, fleet = started.call_id, self._admission.proven, self._registry.services.fleet
        if proven:
            more, cut_off = goes_on(fields), was_cut_off(fields)
            gate = await fleet.claim(call_sid, started.account_id, stream, goes_on=more, cut_off=cut_off)
            if gate is not None:
                self._registry.let_go(call_sid)
                self._close(socket, *gate, call_sid)
                return
        # By now it is known what others have written: the call that waits here may know less.
        fields = self._registry.let_go_of_stale(call_sid, fields)
        runner: Runner | str = "refused"
        if await self._registry.prepare(call_sid, fields) is None:
            runner = self._registry.claim(call_sid, started.account_id, fields, stream=stream, proven=proven)
        if isinstance(runner, str):
            await fleet.turned_away(call_sid, stream)
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
