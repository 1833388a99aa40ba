"""How a call gets in: the model is dialled, the carrier and the resolver are asked, and TwiML opens its
stream or says why it does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final, assert_never

from starlette.requests import Request
from starlette.responses import Response

from bridge.agents.turned_away import Forward, Refuse, TurnedAway, Voicemail
from bridge.server import twiml
from bridge.server.calls import CallRegistry
from bridge.server.gates import StreamTokens
from bridge.server.own_streams import TOKEN
from bridge.server.proof import Fields, Proof
from bridge.server.replays import Replays
from bridge.server.routing.router import Ruled
from bridge.server.routing.table import Route
from bridge.server.store.intents import ENDED, TRANSFER
from bridge.server.stream_names import StreamNames
from bridge.settings.settings import Settings
from bridge.settings.targets import Target

logger = logging.getLogger(__name__)

MOST_UNDER_WAY: Final = 3
"""Webhooks about one call that wait for something at the same time. The carrier sends the next one when it
has given up the one before; a captured one may be sent a thousand times.
"""
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


class Admission:
    """What the webhooks and the stream of a call share: tokens, names of streams, and who is let in."""

    def __init__(self, settings: Settings, registry: CallRegistry, proof: Proof) -> None:
        self.settings = settings
        self.registry = registry
        self.proof = proof
        self.proven = not settings.insecure
        self.router = registry.services.router
        self.intents = registry.services.control.intents
        self.used = registry.services.store.used
        self.tokens = StreamTokens(
            settings.stream_token_secret(), registry.services.fleet.wall_s, used=self.used
        )
        self.names = StreamNames(settings.stream_token_secret())
        self.replays = Replays(self.tokens, self.names, registry)
        self._speech = settings.speech()
        self._under_way: Counter[str] = Counter()

    async def ring(
        self, call_sid: str, fields: Fields, *, remembered: bool = False
    ) -> str | TurnedAway | None:
        """Dial the model, and ask the carrier meanwhile whether the call exists. None if it may come in; else
        the gate that keeps it out, or the resolver's reason.
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

    def refusal(self, why: str | TurnedAway, request: Request, form: Fields) -> str:
        """What a call is answered that the carrier does not vouch for, or that its resolver turned away."""
        call_sid = form["CallSid"]
        if isinstance(why, str):
            self.proof.reject(why, "call", GATES[why], call_sid)
            return self.busy(form) if why in ("unverified", "again") else twiml.hangup()
        match why:
            case Refuse(say=None, reason=reason):
                self.proof.reject("refused", "call", f"its resolver says: {reason}", call_sid)
            case Refuse():
                self.proof.reject("refused", "call", "its resolver has a word for it", call_sid)
            case Forward(name):
                logger.info("= its resolver sends it to %s", name, extra={"call_sid": call_sid})
            case Voicemail():
                self.proof.reject("voicemail", "call", "it gets a voicemail box", call_sid)
        return self._turned_away(why, request, call_sid)

    def ruled(self, rule: Ruled, request: Request, form: Fields) -> str:
        """What a call is answered that a rule of its number turned away."""
        call_sid = form["CallSid"]
        self.proof.reject(rule.gate, "call", rule.why, call_sid)
        return self.busy(form) if rule.answer is None else self._turned_away(rule.answer, request, call_sid)

    def _turned_away(self, why: TurnedAway, request: Request, call_sid: str) -> str:
        match why:
            case Refuse(say=None, reason=reason):
                return twiml.reject(reason)
            case Refuse(say=words):
                return twiml.farewell(words or "", self.voice(call_sid))
            case Forward(name):
                self.intents.note(call_sid, TRANSFER + name)
                action_url = self.action_url(request, call_sid, 1)
                return twiml.dial(self.target(call_sid, name), action_url, rings=True)
            case Voicemail():
                return twiml.voicemail(why, self.proof.links(request).voicemail, self.voice(call_sid))
        assert_never(why)

    def route(self, call_sid: str) -> Route:
        """The row of that call's number."""
        return self.router.of(call_sid).route

    def target(self, call_sid: str, name: str) -> Target:
        """The target of that name among those of the call's number. Raises KeyError for an unknown one."""
        return self.settings.dialled(self.route(call_sid).transfers[name])

    def busy(self, form: Fields, *, draining: bool = False) -> str:
        """No call may come in now: said, and billed, or not answered at all (BRIDGE_BUSY)."""
        if self.settings.busy == "reject" and form.get("CallStatus", "ringing") in RINGING:
            return twiml.reject("busy")
        voice = self.voice(form["CallSid"])
        return twiml.draining(voice=voice) if draining else twiml.busy(voice)

    def voice(self, call_sid: str) -> twiml.Voice:
        """What the carrier says for us in that call, in its language."""
        usual = self.settings.language
        language = self.registry.language(call_sid) or usual
        spoken = self.settings.spoken_language
        return twiml.Voice.of(self._speech, usual if language == spoken else language)

    def action_url(self, request: Request, call_sid: str, stream: int) -> str:
        """Where the carrier asks what comes after that stream of the call."""
        return self.names.action_url(self.proof.links(request).after_stream, call_sid, stream)

    def mint(self, call_sid: str, account_sid: str, stream: int = 1) -> str:
        """The token of that stream of the call. It has the called number, where there is a row for some."""
        called = self.router.of(call_sid).called if self.router.table.has_rows else ""
        return self.tokens.mint(call_sid, account_sid, stream, called)

    def connect(
        self,
        request: Request,
        call_sid: str,
        token: str,
        stream: int = 1,
        more: Fields | None = None,
        keys: str = "",
        machine: str = "",
    ) -> str:
        """TwiML that opens that stream of the call, with `more` among its parameters. Before that, `keys` are
        pressed on the line. `machine` has dialled the model, where it is another one.
        """
        links, address = self.proof.links(request), self.registry.services.fleet.address(machine)
        return twiml.connect(
            stream_url=self.proof.stream_url(links, machine, address),
            action_url=self.action_url(request, call_sid, stream),
            status_url=links.stream_status,
            parameters={TOKEN: token, **(more or {})},
            keys=keys,
        )


def answer(document: str) -> Response:
    """TwiML as the answer to a webhook."""
    return Response(document, media_type=twiml.MEDIA_TYPE)
