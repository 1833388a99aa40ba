"""HTTP with bounds: what a stranger sends is counted and timed before anything is made of it.

uvicorn's own protocol has neither. Here a head is kept as bytes until its blank line has come, at most 16
KiB. It is parsed when its turn comes (`request_turns.py`), in one piece; the application sees a request when
its body is whole, at most 64 KiB. So an unfinished request costs some bytes and no task, whatever it is made
of and however slowly it comes.

With `uvicorn.py` this is what knows uvicorn's insides (as of 0.54); `tests/test_http_protocol.py` notices
when they move. It has over 400 lines because transport, parser and application call one object in uvicorn's
design.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from bridge.sockets.passing import Passing, pass_on
from bridge.sockets.request_head import HEAD_BYTES, RequestHead
from bridge.sockets.request_turns import Lane
from bridge.sockets.strangers import Stranger, strangers_at

logger = logging.getLogger(__name__)

BODY_BYTES: Final = 64 * 1024
"""Twilio's forms have a kilobyte or two, and a caller's name and city do not make them sixty."""
CHUNKS: Final = 1_000
"""Pieces of a body that says no length; they are 64 bytes long on average, or longer."""
HEAD_S: Final = 10.0
BODY_S: Final = 15.0
"""From the beginning of the request, as with the head."""
IDLE_S: Final = 95.0
"""Routers in front keep a connection to use it again, Heroku's for 90 s. One that we close a moment before
is a request that gets no answer, and the carrier does not ask a second time.
"""
UNREAD_S: Final = 10.0
"""For an answer that is not read, and for a websocket that is on its way to being a call."""
LINGER_S: Final = 1.0
"""From a refusal to the end of the connection, if the peer does not end it."""
UPGRADE_S: Final = 30.0
"""From an upgrade to an admitted call. Its own deadlines are shorter; user code may stand between."""
_DROPPED_BYTES: Final = 64 * 1024
"""What comes behind a refusal is read and dropped, so that the answer gets through; not more than this."""

_UPGRADE_LINE: Final = re.compile(rb"(?i)\r\nupgrade:[^\r\n]*")


class _Stage(enum.Enum):
    HEAD = enum.auto()
    BODY = enum.auto()
    QUEUED = enum.auto()
    ANSWER = enum.auto()
    OVER = enum.auto()


class _Refused(Exception):
    """Raised within the parser's callbacks, which end the parsing there."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, one whole request after the other.

    A request with a body is the last one of its connection; what comes behind another one waits for the
    answer, if it is no more than a head may be.
    """

    passed: bytes = b""
    """What a sibling has read of this connection before it passed it on: it stays here."""
    _stranger: Stranger

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._passing: Passing | None = getattr(self.server_state, "passing", None)
        self._raw = bytearray()  # of the request that is being read, where it may be passed on
        self._strangers = strangers_at(self.server_state)
        self._stage = _Stage.HEAD
        self._began_s = 0.0
        self._head = RequestHead()
        self._early = bytearray()  # what has come behind a request that waits or is being answered
        self._queued_head: bytes | None = None
        self._is_upgrade = False
        self._has_its_turn = False
        self._is_last = False  # nothing more is to be read on this connection
        self._answered_one = False
        self._dropped_bytes = 0
        # Of the request that is being read.
        self._whole_head = False
        self._whole = False
        self._left_bytes = 0  # of a body that says its length, else of what may come in chunks
        self._chunks = 0
        self._fault = HTTPStatus.BAD_REQUEST
        self._serve: Any = self.app

    # --- the transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._began_s = self.loop.time()
        self._stranger = self._strangers.enter(transport, self._overdue, HEAD_S)
        if self.passed:
            self._passing = None
            self.data_received(self.passed)

    def connection_lost(self, exc: Exception | None) -> None:
        self._strangers.turns.leave(self)
        self._stranger.leave()
        super().connection_lost(exc)
        if self._stage is not _Stage.ANSWER and self.cycle is not None:
            self.cycle.on_response = _nothing  # one that was never run would hold us in a circle

    def data_received(self, data: bytes) -> None:
        self._guarded(partial(self._read, data), has_its_turn=False)

    def _read(self, data: bytes) -> None:
        match self._stage:
            case _Stage.HEAD:
                self._read_head(data)
            case _Stage.BODY:
                self._read_body(data)
            case _Stage.QUEUED:
                self._early += data
                if len(self._early) > HEAD_BYTES:
                    self.flow.pause_reading()
            case _Stage.ANSWER:
                self._keep(data)
            case _Stage.OVER:
                self._drop(data)
        if not self._stranger.hold(self._held_bytes()):
            self._give_way()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        # The peer says that it is done; it may still read. Anything but an answer is not worth waiting for.
        if not self._is_asking():
            return None
        self._is_last = True
        if self._stage is _Stage.ANSWER:
            self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stranger.unfinished(UNREAD_S)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stage is _Stage.ANSWER:
            self._stranger.served()

    def shutdown(self) -> None:
        if self._stage is _Stage.ANSWER:
            super().shutdown()
        elif self._is_asking():
            self._is_last = True
        else:
            self.transport.close()

    # --- reading

    def _read_head(self, data: bytes) -> None:
        if not self._head:
            begun = self._head.begin(data)
            if isinstance(begun, HTTPStatus):
                return self._refuse(begun)
            if not begun:
                return None
            data = begun
            if self._stranger_is_idle():
                self._began_s = self.loop.time()
                self._stranger.unfinished(HEAD_S)
        whole = self._head.add(data)
        if isinstance(whole, HTTPStatus):
            return self._refuse(whole)
        if whole is not None:
            head, rest = whole
            self._is_upgrade = b"\r\nupgrade:" in head.lower()
            self._queue(head, rest)
        return None

    def _parse_head(self, head: bytes, rest: bytes) -> None:
        self._stage = _Stage.HEAD
        if self._passing is not None:
            self._raw = bytearray(head)
            if self._is_upgrade and self._pass_on(rest, partial(self._parse_head, head, rest)):
                return None
        try:
            if self._feed(head):
                if self._should_upgrade():
                    return self._upgrade(rest)
                # RFC 9110, 7.8: "A server MAY ignore a received Upgrade header field", and we do.
                self.parser = httptools.HttpRequestParser(self)
                self.cycle = None  # type: ignore[assignment]  # which is made anew
                if self._feed(_UPGRADE_LINE.sub(b"", head)):
                    return self._refuse(HTTPStatus.BAD_REQUEST)
        except httptools.HttpParserError:
            return self._refuse(self._fault)
        if not self._whole_head:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        if self._whole:
            return self._answer(rest)
        return self._expect_body(rest)

    def _feed(self, data: bytes) -> bool:
        """Parse. Whether it wants to be another protocol than HTTP. Raises HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return True
        return False

    def _expect_body(self, rest: bytes) -> None:
        length = next((value for name, value in self.headers if name == b"content-length"), None)
        # Chunks' sizes, their extensions and the trailers may together be as long as a head.
        self._left_bytes = BODY_BYTES + HEAD_BYTES if length is None else int(length)
        if length is not None and self._left_bytes > BODY_BYTES:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._stage = _Stage.BODY
        self._stranger.unfinished(max(0.0, self._began_s + BODY_S - self.loop.time()))
        self.cycle.keep_alive = False
        if self.expect_100_continue:
            self.cycle.waiting_for_100_continue = False
            if not rest:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if rest:
            self._read_body(rest)
        if self._is_last and self._stage is _Stage.BODY:
            self.transport.close()
        return None

    def _read_body(self, data: bytes) -> None:
        piece = data[: self._left_bytes]
        self._left_bytes -= len(piece)
        if self._passing is not None:
            self._raw += piece
        try:
            self._feed(piece)
        except httptools.HttpParserError:
            if not self._whole:  # else it read on behind the last chunk
                return self._refuse(self._fault)
        if self._whole:
            return self._answer() if self._has_its_turn else self._queue()
        if self._left_bytes == 0:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return None

    def _held_bytes(self) -> int:
        """What is kept of a request that is not being answered yet, and of the one behind it."""
        size_bytes = len(self._head) + len(self._queued_head or b"") + len(self._early) + len(self._raw)
        if self.cycle is not None:
            size_bytes += len(self.cycle.body)
        return size_bytes

    def _give_way(self) -> None:
        """Too much is kept of all that strangers have asked, and too much of it is this one's."""
        if self._stage is _Stage.ANSWER:
            self.cycle.keep_alive = False
            self._early.clear()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def _keep(self, data: bytes) -> None:
        """It came behind a request that is being answered."""
        if self.cycle.keep_alive and len(self._early) + len(data) <= HEAD_BYTES:
            self._early += data
            return
        self.cycle.keep_alive = False
        self._early.clear()
        self._drop(data)

    def _drop(self, data: bytes) -> None:
        # A connection that is closed over unread bytes is reset, and an answer may be lost with it.
        self._dropped_bytes += len(data)
        if self._dropped_bytes > _DROPPED_BYTES and not self.transport.is_closing():
            self.flow.pause_reading()

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        if self._stage is not _Stage.HEAD:
            raise _Refused
        self._whole_head = self._whole = False
        self._chunks = 0
        self._fault = HTTPStatus.BAD_REQUEST
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._whole_head:  # a trailer is no header: the application has been given those already
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._whole_head = True
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > CHUNKS:
            self._fault = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            raise _Refused

    def on_body(self, body: bytes) -> None:
        if len(self.cycle.body) + len(body) > BODY_BYTES:
            self._fault = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            raise _Refused
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ARG002  uvicorn's
        """What uvicorn does when the head is whole. Here it waits for the body."""
        self._serve = app

    # --- answering

    def _queue(self, head: bytes | None = None, rest: bytes = b"") -> None:
        """The head is whole, or else the request is, and `rest` came behind it. Parsing costs as much as the
        rest, so that waits too.
        """
        if not self._strangers.can_serve and not self._strangers.turns.give_up_one():
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        self._stage = _Stage.QUEUED
        self._queued_head = head
        self._stranger.served()
        self._strangers.turns.join(self, self._lane(head))
        if rest:
            self.data_received(rest)
        return None

    def _lane(self, head: bytes | None) -> Lane:
        if self._answered_one:
            return Lane.AGAIN
        if self._is_upgrade:
            return Lane.UPGRADE
        # A webhook may be a GET, with its fields in the query.
        is_page = head is not None and head.startswith((b"GET ", b"HEAD ")) and b"?" not in _first_line(head)
        return Lane.PAGE if is_page else Lane.FORM

    def on_turn(self) -> None:
        """For `RequestTurns`; so is `on_given_up`."""
        head, self._queued_head = self._queued_head, None
        early, self._early = bytes(self._early), bytearray()
        self.flow.resume_reading()
        if self.transport.is_closing():
            self._stage = _Stage.OVER
            return
        self._guarded(
            partial(self._answer, early) if head is None else partial(self._parse_head, head, early)
        )

    def _guarded(self, read: Callable[[], None], *, has_its_turn: bool = True) -> None:
        """What a parser makes of anybody's bytes is not known to the last case; the loop goes on."""
        self._has_its_turn = has_its_turn
        try:
            read()
        except Exception:
            logger.exception("a request could not be read")
            self._refuse(HTTPStatus.BAD_REQUEST)
        self._has_its_turn = False

    def _answer(self, rest: bytes = b"") -> None:
        """The request is whole and parsed, and `rest` came behind it."""
        if self._passing is not None and self._pass_on(rest, partial(self._answer, rest)):
            return
        self._raw.clear()
        self._stage = _Stage.ANSWER
        if self._is_last:
            self.cycle.keep_alive = False
        if self.flow.write_paused:  # by the answer before it
            self._stranger.unfinished(UNREAD_S)
        else:
            self._stranger.served()
        super()._start_asgi_task(self.cycle, self._serve)
        if rest:
            self._keep(rest)

    def _pass_on(self, rest: bytes, stay: Callable[[], None]) -> bool:
        """Give the connection to the sibling that this request belongs to. False if it is ours. Where the
        sibling does not take it, `stay` goes on with it here.
        """
        body = b"" if self._is_upgrade or self.cycle is None else bytes(self.cycle.body)
        door = None if self._passing is None else self._passing.door_of(bytes(self._raw), body)
        # What we have written and the kernel has not taken would be lost.
        if door is None or cast("Any", self.transport).get_write_buffer_size():
            return False
        if not pass_on(self.transport, self._raw + rest, door, partial(self._passed, stay)):
            return False
        self._stage = _Stage.QUEUED
        return True

    def _passed(self, stay: Callable[[], None], taken: bool) -> None:
        """The sibling has it, or it was taken back."""
        if taken or self.transport.is_closing():
            self._stage = _Stage.OVER
            self._stranger.leave()
            self.transport.abort()
            return
        passing, self._passing = self._passing, None
        self._guarded(stay)
        self._passing = passing

    def on_given_up(self) -> None:
        self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def _is_asking(self) -> bool:
        """Whether a whole request waits for its answer."""
        return self._stage is _Stage.ANSWER or (self._stage is _Stage.QUEUED and not self._is_upgrade)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._stage = _Stage.OVER
            self._stranger.unfinished(UNREAD_S)  # for what the kernel has not taken yet
            return
        self._stage = _Stage.HEAD
        self._answered_one = True
        self._stranger.hold(len(self._early))
        self._stranger.idle(IDLE_S)
        self.flow.resume_reading()
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            self.data_received(early)

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why, and close when the peer has had time to read it."""
        self._stage = _Stage.OVER
        self._strangers.turns.leave(self)
        self._head.clear()
        self._early, self._raw, self._queued_head = bytearray(), bytearray(), None
        if self.cycle is not None:
            self.cycle.body = bytearray()
        self._stranger.hold(0)
        if self.transport.is_closing():
            return
        self._strangers.turned_away(status.phrase)
        self._stranger.unfinished(LINGER_S)
        self.transport.write(answer_of(status))
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _stranger_is_idle(self) -> bool:
        return self._stranger in self._strangers.kept

    def _overdue(self) -> None:
        """What it has begun took too long. Called by the second."""
        if self.transport.is_closing() or self._stage in (_Stage.OVER, _Stage.ANSWER):
            self.transport.abort()
        elif self._stage is _Stage.HEAD and not self._head:
            self.transport.close()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    # --- upgrading

    def _upgrade(self, rest: bytes) -> None:
        """To a websocket: the connection is `DirectProtocol`'s from here on."""
        self._stage = _Stage.OVER
        self._stranger.hold(0)
        if not self.url.isascii():
            return self._refuse(HTTPStatus.BAD_REQUEST)
        self.handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it holds this object, and both are done
        protocol = cast("Any", self.transport.get_protocol())
        if not getattr(protocol, "handshake_initiated", True):
            # Its library reads headers by stricter rules, and says nothing of what it does not like.
            self.transport.write(answer_of(HTTPStatus.BAD_REQUEST))
            self.transport.close()
        if hasattr(protocol, "stranger"):
            protocol.stranger = self._stranger
            self._stranger.overdue = self.transport.abort
            self._stranger.unfinished(UPGRADE_S)
        else:
            self._stranger.leave()
        if rest:
            protocol.data_received(rest)
        return None


def _first_line(head: bytes) -> bytes:
    return head[: head.find(b"\n")]


def answer_of(status: HTTPStatus) -> bytes:
    """A whole answer that is the last one of its connection."""
    text = f"{status.phrase}\n"
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(text)}\r\nconnection: close\r\n\r\n{text}"
    ).encode()


def _nothing() -> None: ...
