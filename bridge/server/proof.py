"""Proof that a request is the carrier's, which every one of its routes asks for before anything else.

What a request says about itself (`Host`, `X-Forwarded-…`) never makes an answer; it can only be a reason to
refuse one (`peers`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.errors import SignatureError
from bridge.ops.logs import Seldom
from bridge.ops.metrics import Metrics
from bridge.server import twiml
from bridge.server.gates import Signatures
from bridge.server.routing.router import Router
from bridge.server.stream_route import StreamRoute
from bridge.server.webhooks import LongQuery, Misshapen, TooLarge, one_a_connection, proven_fields
from bridge.settings.settings import Settings
from bridge.sockets.peers import Peers, authority

logger = logging.getLogger(__name__)

Fields: TypeAlias = Mapping[str, str]
Webhook: TypeAlias = Callable[[Request, Fields], Awaitable[Response]]
NO_CALL: Final = "a webhook without CallSid\n"


class Proof:
    """Proves requests, and counts those that are refused. `awake` is called by each route: it starts, once
    and on the loop that serves, what an application without a lifespan could start nowhere else. `streams`
    makes the URL of streams.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        awake: Callable[[], None],
        router: Router | None = None,
        streams: StreamRoute | None = None,
    ) -> None:
        self.peers = Peers(insecure=settings.insecure, public_url=settings.public_url, host=settings.host)
        self.router = Router.alone() if router is None else router
        self.signatures = Signatures(settings, self.router)
        self.awake = awake
        self.streams = streams or StreamRoute.of(settings)
        self._public_url = settings.public_url
        self._metrics = metrics
        self._seldom = Seldom(logger)

    def webhook(self, path: str, answer: Webhook, *, of_call: bool = True) -> Route:
        """A route of the carrier's: `answer` gets the request and its proven fields, a CallSid among them if
        it is `of_call`. The connection ends with the answer.
        """

        async def endpoint(request: Request) -> Response:
            form = await self.form(request, of_call=of_call)
            return form if isinstance(form, Response) else await answer(request, form)

        return Route(path, one_a_connection(endpoint), methods=["GET", "POST"])

    async def form(self, request: Request, *, of_call: bool = True) -> Fields | Response:
        """The webhook's fields if it is the carrier's, else what it is answered."""
        self.awake()
        if (fault := self.peers.fault(request)) is not None:
            return self.turned_away("webhook", fault)
        try:
            fields = await proven_fields(request, self.signatures, of_call=of_call)
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
        if not fields.get("CallSid"):
            return self._unreadable(NO_CALL) if of_call else fields
        return self._anothers(fields) or fields

    def _anothers(self, fields: Fields) -> Response | None:
        """The answer to an account that speaks of a call, or of a number, that is not its own."""
        call_sid, account_sid = fields["CallSid"], fields.get("AccountSid", "")
        if self.router.is_anothers(call_sid, account_sid):
            self.reject("route", "webhook", "the call is another account's")
        elif (fields.get("To") or "Direction" in fields) and self.router.route(call_sid, fields) is None:
            self.reject("route", "webhook", "the number is another account's")
        else:
            return None
        return Response(status_code=403)

    def links(self, connection: HTTPConnection) -> twiml.Links:
        """Our routes as the carrier sees them. Never made from headers; without PUBLIC_URL (which only
        BRIDGE_INSECURE allows) they are at the address this connection came in on.
        """
        if self._public_url:
            return self._below(self._public_url)
        bound = authority(*(connection.scope.get("server") or ("127.0.0.1", None)))
        return self._below(f"http://{bound}{connection.scope.get('root_path', '')}")

    def _below(self, base: str) -> twiml.Links:
        return twiml.Links.below(base)._replace(media_stream=self.streams.url(base))

    def stream_url(self, links: twiml.Links, machine: str = "", address: str = "") -> str:
        """Where the stream of a call should come that has rung at that machine, which has that address of its
        own; empty for this one.
        """
        if not machine or self._public_url is None:
            return links.media_stream
        return self.streams.at(machine, address).url(self._public_url)

    def reject(self, gate: str, what: str, why: object, call_sid: str | None = None) -> None:
        """Count a request that was turned away, and log it now and then. Unproven, it may name any call."""
        self._metrics.rejected(gate)
        kind = (gate, what, call_sid if what == "call" else None)
        self.warn(kind, "%s refused: %s", what, why, call_sid=call_sid)

    def warn(self, kind: object, text: str, *args: object, call_sid: str | None) -> None:
        """Log what a stranger can bring about again and again: each kind now and then."""
        self._seldom.log(kind, logging.WARNING, text, *args, call_sid=call_sid)

    def turned_away(self, what: str, fault: str) -> Response:
        """The answer to a peer that may not ask this."""
        self.reject("peer", what, fault)
        return Response(f"{fault}\n", status_code=403)

    def _unreadable(self, why: str) -> Response:
        self.reject("form", "webhook", why.strip())
        return Response(why, status_code=400)
