"""What operators and their programs ask: whether it lives, whether calls may come here, the figures, and
tokens for streams of their own TwiML.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.ops.recent import Recent
from bridge.server.calls import CallRegistry
from bridge.server.own_streams import OwnStreams
from bridge.server.proof import Proof
from bridge.sockets.peers import LOOPBACK_ONLY


class OperatorRoutes:
    """`own_streams` is None where no program has a key."""

    def __init__(self, registry: CallRegistry, proof: Proof, own_streams: OwnStreams | None) -> None:
        self.registry = registry
        self.proof = proof
        self._own_streams = own_streams
        self._health_reasons = Recent(registry.services.health.reasons)

    def routes(self) -> list[Route]:
        """Their paths."""
        routes = [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]
        if self._own_streams is not None:
            routes.append(Route("/stream-tokens", self.stream_tokens, methods=["POST"]))
        return routes

    async def healthz(self, _request: Request) -> Response:
        """Whether the loop lives."""
        self.proof.awake()
        alive = self.registry.services.health.alive
        return JSONResponse({"alive": alive}, 200 if alive else 503)

    async def readyz(self, request: Request) -> Response:
        """Whether calls may come here from where this is asked, and why not."""
        self.proof.awake()
        reasons = [*self.registry.own_reasons, *self._health_reasons.get()]
        if self.registry.services.health.breaker.is_open:
            reasons.append("upstream breaker")
        if self.proof.peers.local_fault(request) is not None:
            reasons.append(LOOPBACK_ONLY)
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text."""
        self.proof.awake()
        if (fault := self.proof.peers.local_fault(request)) is not None:
            return self.proof.turned_away("metrics", fault)
        text, content_type = self.registry.services.metrics.render(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    async def stream_tokens(self, request: Request) -> Response:
        """A token for a stream of TwiML that is not ours, for a program that has a key."""
        self.proof.awake()
        return (
            Response(status_code=404) if self._own_streams is None else await self._own_streams.post(request)
        )
