"""Finished calls: the list, one call, its sound and its files, each with the right of everything here.

``GET /console/finished``             ``?words&agent&end&since&until&off=1&fault=1&after``: `rows`, `after` to
                                      go on from ("" at the end), how many were `looked_at`, `of` how many
``GET /console/finished/NAME``        one call: its row and panes, and the lanes of the picture
``GET …/NAME/sound.wav``              left the caller, right what they heard; ranges are served
``GET …/NAME/peaks``                  2 x 1,000 bytes: the loudness of both
``GET …/NAME/recording``              the recording as it lies there, to keep
``GET …/NAME/picture``                the picture as a document of its own; `?keep=1` to keep
``GET …/NAME/test``                   `?at_ms&should`: a test of that moment, masked: `about`, `expects`, the
                                      `command` that makes it, its `files` with `name` and `text`
``GET /console/picture/FILE``         what draws the lanes

All of it reads files, in a process of its own for the list and one for calls; while calls are on the line and
the loop is late, it waits (503). Names are looked up among the recordings that there are, and never become a
part of a path.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from bridge.errors import ConfigError
from bridge.picture.page import read_text
from bridge.recording import SUFFIX
from bridge.server.calls import CallRegistry
from bridge.settings.settings import Settings

from .readers import Reader
from .requests import PAGE_HEADERS, refused
from .sign_in import NOT_SIGNED_IN, SignIn

logger = logging.getLogger("bridge.console")

AT_ONCE: Final = 2
MOST_WAITING: Final = 8
LATE_S: Final = 0.010
"""At this lag of the loop (99th percentile) a recording waits: calls are on the line."""
_DRAWING: Final = {
    "shapes.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "chart.css": "text/css; charset=utf-8",
}
_PICTURE_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "media-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_RANGE: Final = re.compile(r"bytes\s*=\s*([0-9]{0,15})-([0-9]{0,15})", re.IGNORECASE | re.ASCII)
_MS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_Endpoint = Callable[["Finished", Request], Awaitable[Response]]


class Busy(Exception):
    """Calls come first, or too many wait already."""


def _allowed(endpoint: _Endpoint) -> _Endpoint:
    @wraps(endpoint)
    async def asked(self: Finished, request: Request) -> Response:
        fault = self._sign_in.fault(request)
        if fault is not None:
            return refused(fault, 401 if fault == NOT_SIGNED_IN else 403)
        try:
            return await endpoint(self, request)
        except Busy as error:
            return refused(str(error), 503, **{"retry-after": "5"})
        except ConfigError as error:
            return refused(str(error), 422)

    return asked


class Finished:
    """The routes below `/console/finished`."""

    def __init__(self, settings: Settings, registry: CallRegistry, sign_in: SignIn) -> None:
        self._settings, self._registry, self._sign_in = settings, registry, sign_in
        self._list, self._calls = Reader(), Reader()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    def close(self) -> None:
        """End the processes that read."""
        self._list.close()
        self._calls.close()

    def routes(self) -> Iterator[Route]:
        base = "/console/finished"
        yield Route(base, self.search, methods=["GET"])
        yield Route(f"{base}/{{name}}", self.call, methods=["GET"])
        yield Route(f"{base}/{{name}}/sound.wav", self.sound, methods=["GET"])
        yield Route(f"{base}/{{name}}/peaks", self.peaks, methods=["GET"])
        yield Route(f"{base}/{{name}}/recording", self.recording, methods=["GET"])
        yield Route(f"{base}/{{name}}/picture", self.picture, methods=["GET"])
        yield Route(f"{base}/{{name}}/test", self.test, methods=["GET"])
        yield Route("/console/picture/{file}", self.drawing, methods=["GET"])

    # --- what is asked -----------------------------------------------------------------------------------

    @_allowed
    async def search(self, request: Request) -> Response:
        given = request.query_params
        texts = {name: given.get(name, "")[:100] for name in ("words", "agent", "end", "since", "until")}
        flags = {name: given.get(name) == "1" for name in ("off", "fault")}
        asked = {"wanted": {**texts, **flags}, "after": given.get("after", "")[:200]}
        live = self._registry.call_sids()
        return _json(await self._ask(self._list, do="search", folders=self._folders(), live=live, **asked))

    @_allowed
    async def call(self, request: Request) -> Response:
        path = await self._find(request)
        return _unknown() if path is None else _json(await self._ask(self._calls, do="call", path=path))

    @_allowed
    async def sound(self, request: Request) -> Response:
        path = await self._find(request)
        if path is None:
            return _unknown()
        logger.info("= operator %s hears the recording %s", self._sign_in.viewer(request), Path(path).name)
        wav = await self._ask(self._calls, do="sound", path=path)
        return _ranged(wav, request.headers.get("range", ""), "audio/wav")

    @_allowed
    async def peaks(self, request: Request) -> Response:
        path = await self._find(request)
        if path is None:
            return _unknown()
        found = await self._ask(self._calls, do="peaks", path=path)
        return Response(found, headers={**PAGE_HEADERS, "content-type": "application/octet-stream"})

    @_allowed
    async def recording(self, request: Request) -> Response:
        path = await self._find(request)
        if path is None:
            return _unknown()
        name = Path(path).name
        logger.info("= operator %s keeps the recording %s", self._sign_in.viewer(request), name)
        return FileResponse(path, media_type="application/jsonl", filename=name, headers=dict(PAGE_HEADERS))

    @_allowed
    async def picture(self, request: Request) -> Response:
        """With its sound where it is to be kept: beside the page there is a player."""
        path = await self._find(request)
        if path is None:
            return _unknown()
        keep = request.query_params.get("keep") == "1"
        nonce = secrets.token_urlsafe(16)
        drawn = await self._ask(self._calls, do="picture", path=path, keep=keep, nonce="" if keep else nonce)
        headers = {**PAGE_HEADERS, "content-type": "text/html; charset=utf-8"}
        headers["content-security-policy"] = _PICTURE_POLICY.format(nonce=nonce)
        if keep:
            name = _plain(Path(path).name.removesuffix(SUFFIX))
            headers["content-disposition"] = f'attachment; filename="{name}.html"'
        return Response(drawn, headers=headers)

    @_allowed
    async def test(self, request: Request) -> Response:
        """A short, masked recording of a moment, and the pytest file about it."""
        at_ms, should = request.query_params.get("at_ms", ""), request.query_params.get("should", "")
        if not _MS.fullmatch(at_ms):
            raise ConfigError("at_ms wants the moment, in milliseconds of the call")
        path = await self._find(request)
        if path is None:
            return _unknown()
        found = await self._ask(self._calls, do="test", path=path, at_ms=int(at_ms), should=should[:300])
        return _json(found)

    async def drawing(self, request: Request) -> Response:
        """Scripts and style, which hold nothing of a call."""
        name = request.path_params["file"]
        if self._sign_in.page_fault(request) is not None or name not in _DRAWING:
            return _unknown()
        return Response(read_text(name), headers={**PAGE_HEADERS, "content-type": _DRAWING[name]})

    # --- files -------------------------------------------------------------------------------------------

    async def _find(self, request: Request) -> str | None:
        """The path of the recording that is asked for; None if no recording has that name."""
        name = request.path_params["name"]
        found = await self._ask(self._list, do="find", folders=self._folders(), name=name)
        return os.fsdecode(found) or None

    def _folders(self) -> list[str]:
        return sorted(map(str, folders(self._settings, self._registry)))

    async def _ask(self, reader: Reader, **order: Any) -> bytes:
        lag = self._registry.services.health.lag
        if len(self._registry) and lag is not None and lag.p99_s > LATE_S:
            raise Busy("calls come first: this server is busy; try again in some seconds")
        if self._waiting >= MOST_WAITING:
            raise Busy("others look at recordings; try again in some seconds")
        self._waiting += 1
        try:
            async with self._room:
                return await asyncio.to_thread(lambda: reader.ask(**order))
        finally:
            self._waiting -= 1


def folders(settings: Settings, registry: CallRegistry) -> set[Path]:
    """Where calls are recorded: the settings' folder, and those that rows have for themselves."""
    table = registry.services.router.table
    own = {route.recordings for route in table.routes if isinstance(route.recordings, Path)}
    return own | ({settings.recordings} if settings.recordings is not None else set())


def _json(encoded: bytes) -> Response:
    return Response(encoded, headers={**PAGE_HEADERS, "content-type": "application/json"})


def _unknown() -> Response:
    return refused("there is no such recording", 404)


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter.isascii() and (letter.isalnum() or letter in "-_."))


def _ranged(content: bytes, wanted: str, media_type: str) -> Response:
    """All of it, or the one range that is asked for (RFC 9110, 14.2): several are answered by all of it."""
    headers = {**PAGE_HEADERS, "content-type": media_type, "accept-ranges": "bytes"}
    asked = _RANGE.fullmatch(wanted.strip())
    first, last = asked.groups() if asked else ("", "")
    if not first and not last:
        return Response(content, headers=headers)
    size = len(content)
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        return Response(b"", 416, {**headers, "content-range": f"bytes */{size}"})
    headers["content-range"] = f"bytes {start}-{end}/{size}"
    return Response(content[start : end + 1], 206, headers)
