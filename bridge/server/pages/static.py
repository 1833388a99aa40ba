"""Pages and scripts as they lie in `files/` and `vendor/`, under a policy that lets nothing else run.

W3C, "Content Security Policy Level 3"; WHATWG HTML, "Cross-Origin-Opener-Policy".
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Final

from starlette.responses import Response

_FOLDERS: Final = (Path(__file__).parent / "files", Path(__file__).parent / "vendor")
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)
HEADERS: Final = MappingProxyType(
    {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "microphone=(self), camera=(), geolocation=()",
        "cache-control": "no-store",
    }
)


@cache
def _contents() -> dict[str, bytes]:
    files = (file for folder in _FOLDERS for file in folder.iterdir())
    return {file.name: file.read_bytes() for file in files if file.suffix in _MEDIA_TYPES}


def page(name: str, fill: dict[str, str] | None = None) -> Response:
    """A file by its name; 404 for any other name. Each `{{word}}` of `fill` is replaced by its text,
    escaped for HTML.
    """
    found = _contents().get(name)
    if found is None:
        return Response("there is no such page\n", 404, headers=dict(HEADERS))
    for word, text in (fill or {}).items():
        found = found.replace(b"{{%s}}" % word.encode(), escape(text).encode())
    return Response(found, headers={**HEADERS, "content-type": _MEDIA_TYPES[Path(name).suffix]})
