"""What operators and their programs ask: whether it lives, whether calls may come here, the figures, and
tokens for streams of their own TwiML.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.ops.merged_metrics import merged
from bridge.ops.metrics import known_accept
from bridge.ops.recent import Recent
from bridge.server.calls import CallRegistry
from bridge.server.fleet.fleet import BREAKER
from bridge.server.own_streams import OwnStreams
from bridge.server.proof import Proof
from bridge.server.store.claims import StoreError
from bridge.server.workers.worker import METRICS, READYZ, Worker
from bridge.sockets.peers import LOOPBACK_ONLY

_SILENT: Final = {"reasons": ["no answer"], "elsewhere": ["no answer"], "notes": list[str]()}
"""Of a worker that does not say how it is."""


class OperatorRoutes:
    """`own_streams` is None where no program has a key."""

    def __init__(self, registry: CallRegistry, proof: Proof, own_streams: OwnStreams | None) -> None:
        self.registry = registry
        self.proof = proof
        self._own_streams = own_streams
        self._worker = registry.services.worker
        self._merged: dict[str, tuple[object, asyncio.Future[tuple[bytes, str]]]] = {}
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
        if self._worker is not None:
            return await self._all_ready(request, self._worker)
        reasons = [*self._reasons(), *self._loopback_only(request)]
        elsewhere = self.registry.services.fleet.better_elsewhere(reasons)
        told: dict[str, object] = {"ready": not elsewhere, "reasons": reasons}
        if notes := self.registry.services.fleet.notes:
            told["notes"] = notes
        return JSONResponse(told, 503 if elsewhere else 200)

    async def _all_ready(self, request: Request, worker: Worker) -> Response:
        """With siblings: whether calls may come to one of them, and why not to the others."""
        try:
            said = await worker.everyone(READYZ)
        except StoreError:
            said = {worker.name: self.says()[READYZ]()}
        states = {name: json.loads(text) if text else _SILENT for name, text in said.items()}
        reasons = {name: state["reasons"] for name, state in states.items()}
        refused = self._loopback_only(request)
        ready = not refused and not all(state["elsewhere"] for state in states.values())
        every = sorted({reason for of_one in reasons.values() for reason in of_one})
        told: dict[str, object] = {"ready": ready, "reasons": refused or ([] if ready else every)}
        if notes := sorted({note for state in states.values() for note in state["notes"]}):
            told["notes"] = notes
        return JSONResponse({**told, "workers": reasons}, 200 if ready else 503)

    def _reasons(self) -> list[str]:
        reasons = [*self.registry.own_reasons, *self._health_reasons.get()]
        return [*reasons, BREAKER] if self.registry.services.health.breaker.is_open else reasons

    def _loopback_only(self, request: Request) -> list[str]:
        return [] if self.proof.peers.local_fault(request) is None else [LOOPBACK_ONLY]

    async def _all_figures(self, worker: Worker, accept: str) -> tuple[bytes, str]:
        """The figures of all workers; put together once for all who ask within a second."""
        texts = await worker.everyone(METRICS)
        known = self._merged.get(accept)
        if known is None or known[0] is not texts:
            made = asyncio.ensure_future(asyncio.to_thread(merged, texts, accept))
            known = self._merged[accept] = texts, made
        return await asyncio.shield(known[1])

    def says(self) -> dict[str, Callable[[], str]]:
        """What this process answers where all workers of the machine are asked."""
        metrics = self.registry.services.metrics

        def figures() -> str:
            return metrics.render()[0].decode()

        def state() -> str:
            reasons, fleet = self._reasons(), self.registry.services.fleet
            elsewhere = fleet.better_elsewhere(reasons)
            return json.dumps({"reasons": reasons, "elsewhere": elsewhere, "notes": fleet.notes})

        return {METRICS: figures, READYZ: state}

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text."""
        self.proof.awake()
        if (fault := self.proof.peers.local_fault(request)) is not None:
            return self.proof.turned_away("metrics", fault)
        accept = request.headers.get("accept", "")
        if self._worker is None:
            text, content_type = self.registry.services.metrics.render(accept)
        else:
            try:
                text, content_type = await self._all_figures(self._worker, known_accept(accept))
            except StoreError as error:
                # A scrape that is missing is a gap; counters that fall are counted twice when they rise.
                return Response(f"{error}\n", 503, media_type="text/plain")
        return Response(text, headers={"content-type": content_type})

    async def stream_tokens(self, request: Request) -> Response:
        """A token for a stream of TwiML that is not ours, for a program that has a key."""
        self.proof.awake()
        return (
            Response(status_code=404) if self._own_streams is None else await self._own_streams.post(request)
        )
