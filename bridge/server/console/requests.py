"""What the console answers over HTTP: small JSON, nothing kept on the way, under the pages' policy."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from bridge.server.pages.static import HEADERS

PAGE_HEADERS: Final = MappingProxyType(
    {**HEADERS, "permissions-policy": "microphone=(), camera=(), geolocation=()"}
)


def answer(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    """JSON for the page."""
    return JSONResponse(body, status, headers={**PAGE_HEADERS, **headers})


def refused(words: str, status: int = 403, **headers: str) -> Response:
    """A refusal, and why."""
    return answer({"error": words}, status, **headers)
