"""Asking a web server once, and saying in words why that did not work."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from bridge.errors import BridgeError
from bridge.sockets.urls import opener

PATIENCE_S: Final = 10.0
MOST_BYTES: Final = 64 * 1024


class Unreachable(BridgeError):
    """There was no answer; `cure` says what may help."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.cure = cure


class Answer(NamedTuple):
    """Status and body."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; empty for anything else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


async def ask(
    method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request, no redirect followed; any status is an answer. Raises Unreachable without an answer."""
    return await asyncio.to_thread(_ask, method, url, form, dict(headers or {}))


def _ask(method: str, url: str, form: Mapping[str, str] | None, headers: dict[str, str]) -> Answer:
    body = None if form is None else urlencode(form).encode()
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  settings have its scheme
    try:
        with opener(url, redirects=False).open(request, timeout=PATIENCE_S) as answer:
            return Answer(answer.status, answer.read(MOST_BYTES))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(MOST_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise _in_words(error) from error


def _in_words(error: Exception) -> Unreachable:
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        what = f"its certificate is not accepted ({cause.verify_message})"
        return Unreachable(what, "install one that browsers accept: Twilio refuses all others")
    if isinstance(cause, ssl.SSLError):
        what = f"no TLS there ({cause.reason or 'the handshake failed'})"
        return Unreachable(what, "let the proxy speak TLS at that address: Twilio opens no stream without")
    if isinstance(cause, TimeoutError):
        return Unreachable(f"no answer within {PATIENCE_S:g} s", "open the way: firewall, proxy, tunnel")
    if isinstance(cause, ConnectionRefusedError):
        return Unreachable("nothing listens there", "start `phonebridge serve`, and the proxy before it")
    words = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return Unreachable(words, "see that the name is registered and leads to this server")
