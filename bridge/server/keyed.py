"""Requests of the operator's programs: each shows a key before anything of it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.server.api_keys import ApiKeys
from bridge.server.proof import Proof


class Keyed:
    """Lets holders of a key in, each not too often. `what` names the requests in the log."""

    def __init__(self, keys: ApiKeys, proof: Proof, what: str) -> None:
        self._keys = keys
        self._proof = proof
        self._what = what

    def owner(self, request: Request) -> str | Response:
        """The name of the key that this request shows, or why it is not answered."""
        self._proof.awake()
        if (fault := self._proof.peers.fault(request)) is not None:
            return self.refused(403, "peer", fault)
        name = self._keys.owner(request.headers)
        if name is None:
            words = "a key of BRIDGE_API_KEYS is needed, as Authorization: Bearer"
            return self.refused(401, "key", words, headers={"www-authenticate": "Bearer"})
        wait_s = self._keys.wait_s(name)
        if wait_s > 0:
            return self.refused(429, "rate", f"too many requests with the key {name}", wait_s=wait_s)
        return name

    def refused(
        self,
        status: int,
        gate: str,
        words: str,
        *,
        wait_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        **more: str,
    ) -> Response:
        """A refusal, counted at that gate: a sentence in `error`, and `more` beside it."""
        self._proof.reject(gate, self._what, words)
        when = {} if wait_s is None else {"retry-after": str(math.ceil(wait_s))}
        return answer(status, {"error": words, **more}, {**when, **(headers or {})})


def answer(status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """JSON that nothing on the way keeps."""
    return JSONResponse(body, status, {"cache-control": "no-store", **(headers or {})})
