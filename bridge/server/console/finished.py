"""Finished calls: the list, one call, its sound and its files, each with the right of everything here.

``GET /console/finished``             ``?words&agent&end&since&until&off=1&fault=1&after``: `rows`, `after` to
                                      go on from ("" at the end), how many were `looked_at`, `of` how many
``GET /console/finished/NAME``        one call: its row and panes, and the lanes of the picture
``GET …/NAME/sound.wav``              left the caller, right what they heard; ranges are served
``GET …/NAME/peaks``                  2 x 1,000 bytes: the loudness of both
``GET …/NAME/recording``              the recording as it lies there, to keep
``GET …/NAME/picture``                the picture as a document of its own; `?keep=1` to keep
``GET /console/picture/FILE``         what draws the lanes

All of it reads files, in a thread, two at a time; while calls are on the line and the loop is late, it waits
(503). Names are looked up among the recordings that there are, and never become a part of a path.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from bridge.codecs.wav import stereo_of
from bridge.errors import ConfigError
from bridge.ops.recorded_index import Listed, RecordedIndex, Wanted
from bridge.picture import page as picture
from bridge.picture import tell
from bridge.picture.page import read_text
from bridge.recording.channels import Channels, channels
from bridge.server.calls import CallRegistry
from bridge.settings.settings import Settings

from . import recorded_view
from .requests import PAGE_HEADERS, answer, refused
from .sign_in import NOT_SIGNED_IN, SignIn

logger = logging.getLogger("bridge.console")

AT_ONCE: Final = 2
MOST_WAITING: Final = 8
LATE_S: Final = 0.010
"""At this lag of the loop (99th percentile) a recording waits: calls are on the line."""
KEPT_SOUNDS: Final = 2
MOST_ROWS: Final = 50
_MOST_PICTURE_SOUND: Final = 10_000_000
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
_T = TypeVar("_T")
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
        self._registry, self._sign_in = registry, sign_in
        self._index = RecordedIndex(lambda: folders(settings, registry))
        self._indexing, self._hearing = threading.Lock(), threading.Lock()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._sounds: OrderedDict[tuple[Path, int], Channels] = OrderedDict()

    def routes(self) -> Iterator[Route]:
        base = "/console/finished"
        yield Route(base, self.search, methods=["GET"])
        yield Route(f"{base}/{{name}}", self.call, methods=["GET"])
        yield Route(f"{base}/{{name}}/sound.wav", self.sound, methods=["GET"])
        yield Route(f"{base}/{{name}}/peaks", self.peaks, methods=["GET"])
        yield Route(f"{base}/{{name}}/recording", self.recording, methods=["GET"])
        yield Route(f"{base}/{{name}}/picture", self.picture, methods=["GET"])
        yield Route("/console/picture/{file}", self.drawing, methods=["GET"])

    # --- what is asked -----------------------------------------------------------------------------------

    @_allowed
    async def search(self, request: Request) -> Response:
        given = request.query_params
        texts = {name: given.get(name, "")[:100] for name in ("words", "agent", "end", "since", "until")}
        wanted = Wanted(**texts, off=given.get("off") == "1", fault=given.get("fault") == "1")
        live = self._registry.call_sids()

        def look() -> dict[str, Any]:
            with self._indexing:
                found = self._index.search(wanted, given.get("after", "")[:200], MOST_ROWS, live)
            rows = [recorded_view.row(one) for one in found.found]
            return {"rows": rows, "after": found.after, "looked_at": found.looked_at, "of": found.of}

        return answer(await self._in_thread(look))

    @_allowed
    async def call(self, request: Request) -> Response:
        one = await self._find(request)
        if one is None:
            return _unknown()
        return answer(
            await self._in_thread(lambda: recorded_view.view(one, tell(recorded_view.lines_of(one))))
        )

    @_allowed
    async def sound(self, request: Request) -> Response:
        one = await self._find(request)
        if one is None:
            return _unknown()
        logger.info("= operator %s hears the recording %s", self._sign_in.viewer(request), one.name)

        def wav() -> bytes:
            both = self._channels(one)
            return stereo_of(both.caller, both.heard)

        return _ranged(await self._in_thread(wav), request.headers.get("range", ""), "audio/wav")

    @_allowed
    async def peaks(self, request: Request) -> Response:
        one = await self._find(request)
        if one is None:
            return _unknown()
        found = await self._in_thread(lambda: recorded_view.peaks(self._channels(one)))
        return Response(found, headers={**PAGE_HEADERS, "content-type": "application/octet-stream"})

    @_allowed
    async def recording(self, request: Request) -> Response:
        one = await self._find(request)
        if one is None:
            return _unknown()
        logger.info("= operator %s keeps the recording %s", self._sign_in.viewer(request), one.name)
        return FileResponse(
            one.path, media_type="application/jsonl", filename=one.path.name, headers=dict(PAGE_HEADERS)
        )

    @_allowed
    async def picture(self, request: Request) -> Response:
        """With its sound where it is to be kept: beside the page there is a player."""
        one = await self._find(request)
        if one is None:
            return _unknown()
        keep = request.query_params.get("keep") == "1"
        nonce = "" if keep else secrets.token_urlsafe(16)

        def drawn() -> str:
            lines = recorded_view.lines_of(one)
            return picture(tell(lines), one.name, self._kept_sound(one) if keep else None, nonce=nonce)

        headers = {**PAGE_HEADERS, "content-type": "text/html; charset=utf-8"}
        if keep:
            headers["content-disposition"] = f'attachment; filename="{_plain(one.name)}.html"'
        headers["content-security-policy"] = _PICTURE_POLICY.format(nonce=nonce or secrets.token_urlsafe(16))
        return Response(await self._in_thread(drawn), headers=headers)

    async def drawing(self, request: Request) -> Response:
        """Scripts and style, which hold nothing of a call."""
        name = request.path_params["file"]
        if self._sign_in.page_fault(request) is not None or name not in _DRAWING:
            return _unknown()
        return Response(read_text(name), headers={**PAGE_HEADERS, "content-type": _DRAWING[name]})

    # --- files -------------------------------------------------------------------------------------------

    async def _find(self, request: Request) -> Listed | None:
        name = request.path_params["name"]

        def look() -> Listed | None:
            with self._indexing:
                path = self._index.find(name)
                return None if path is None else self._index.one(path)

        return await self._in_thread(look)

    def _channels(self, one: Listed) -> Channels:
        """Both sides of the call; those of the last calls are kept. Raises ConfigError without sound."""
        key = (one.path, one.path.stat().st_mtime_ns)
        with self._hearing:
            found = self._sounds.pop(key, None) or channels(recorded_view.lines_of(one))
            self._sounds[key] = found
            while len(self._sounds) > KEPT_SOUNDS:
                self._sounds.popitem(last=False)
        return found

    def _kept_sound(self, one: Listed) -> bytes | None:
        if one.recorded is None or not one.recorded.sound:
            return None
        both = self._channels(one)
        return stereo_of(both.caller, both.heard) if len(both.heard) <= _MOST_PICTURE_SOUND else None

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        lag = self._registry.services.health.lag
        if len(self._registry) and lag is not None and lag.p99_s > LATE_S:
            raise Busy("calls come first: this server is busy; try again in some seconds")
        if self._waiting >= MOST_WAITING:
            raise Busy("others look at recordings; try again in some seconds")
        self._waiting += 1
        try:
            async with self._room:
                return await asyncio.to_thread(work)
        except OSError as error:
            raise ConfigError(f"the recording can't be read: {error.strerror or error}") from error
        except ConfigError:
            raise
        except Exception as error:
            # A recording may come from anywhere: it costs an answer, and not a traceback to whoever asked.
            logger.exception("a recording can't be understood")
            raise ConfigError(f"the recording can't be understood: {type(error).__name__}") from error
        finally:
            self._waiting -= 1


def folders(settings: Settings, registry: CallRegistry) -> set[Path]:
    """Where calls are recorded: the settings' folder, and those that rows have for themselves."""
    table = registry.services.router.table
    own = {route.recordings for route in table.routes if isinstance(route.recordings, Path)}
    return own | ({settings.recordings} if settings.recordings is not None else set())


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
