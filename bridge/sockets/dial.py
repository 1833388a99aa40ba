"""The primitive that a leg stands on: a :class:`Socket` with a callback, and the three ways to come by one.

- the carrier's, directly: ``direct.take_socket`` takes over from uvicorn once Starlette has accepted;
- the carrier's, over plain ASGI: :class:`AsgiSocket`, under any other server and Starlette's test client;
- the upstream's: :func:`dial`, for which ``websockets`` does addresses, TLS, proxies and the handshake.

All three behave alike: frames come by synchronous callback, writes go out at once, the end is told exactly
once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import ssl as tls
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from bridge.errors import BridgeError, BrokenInvariant, elide
from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.frames import Message
from bridge.sockets.limits import UPSTREAM_LIMITS, Limits, bound_kernel
from bridge.sockets.stream import OnClose, OnFrame, StreamSocket
from bridge.sockets.urls import default_tls

__all__ = [
    "AsgiSocket",
    "CarrierSocket",
    "DialError",
    "Message",
    "OnClose",
    "OnFrame",
    "Socket",
    "StreamSocket",
    "dial",
]


_MOST_EARLY_BYTES: Final = 16_384
"""Kept of what a peer says before it was asked; the rest waits in the kernel."""
_CODE_CHARACTERS: Final = 100
_MOST_RETRY_AFTER_S: Final = 86_400.0


class Socket(Protocol):
    """One leg's websocket, seen from the runner."""

    def start(self, on_frame: OnFrame, on_close: OnClose) -> None:
        """Delivers the frames that came before, then each as it comes; last of all, once, the end.

        ``on_close(code, reason)`` gets the peer's code; 1006 and what happened where it gave none; our own
        code where we refused what it sent (1002, 1007, 1009) or a callback raised (1011, which also closes).
        """

    def send(self, frame: Message, *more: Message) -> None:
        """Writes one message now, or several in one go, or into the outbox. Silently nothing once the socket
        closes.

        A frame that would make the outbox too large gives the peer up instead, and the end is told a moment
        later: never from within this call.
        """

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Starts the close handshake; no frame is delivered from here on. Idempotent.

        The connection is freed within the close timeout even if the peer is dead.
        """

    @property
    def outbox_bytes(self) -> int:
        """Bytes sent and not yet taken by the kernel. By these the runner drops sound that comes too late."""


class CarrierSocket(Socket, Protocol):
    """The carrier's leg, which also knows who ended it."""

    @property
    def gave_up(self) -> bool:
        """Whether the end was ours: the peer did not read, or sent what it may not."""


class DialError(BridgeError):
    """There is no upstream socket. It holds neither the address nor a header, so it may be logged.

    ``code`` is the vendor's error code where its answer had one, otherwise ours: ``timeout``,
    ``unreachable``, ``tls``, ``proxy``, ``refused`` (another status than 101), ``bad_url`` or
    ``bad_handshake``. ``status`` is the HTTP status of the answer and ``retry_after_s`` what it asked for, 0
    to 86,400; None where there was none.
    """

    def __init__(
        self, code: str, reason: str, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(code, reason, status, retry_after_s)
        self.code = code
        self.reason = reason
        self.status = status
        self.retry_after_s = None if retry_after_s is None else _bounded_s(retry_after_s)

    def __str__(self) -> str:
        status = "" if self.status is None else f"HTTP {self.status}, "
        return f"{self.reason} ({status}{self.code})"


async def dial(
    url: str,
    headers: Mapping[str, str],
    *,
    open_timeout_s: float = 3.0,
    proxy: str | None = None,
    ssl: tls.SSLContext | None = None,
    limits: Limits = UPSTREAM_LIMITS,
    subprotocols: Sequence[str] = (),
) -> StreamSocket:
    """A connected socket to ``url``, not started yet: what the peer says meanwhile is kept for ``start``.

    ``ssl`` replaces the default context for a ``wss`` address. The environment's proxies are not asked; name
    one. ``subprotocols`` are offered, in this order. Raises :class:`DialError` for every way in which this
    can fail.
    """
    options: dict[str, Any] = {"ssl": ssl or default_tls()} if url.startswith("wss:") else {}
    if subprotocols:
        options["subprotocols"] = [Subprotocol(name) for name in subprotocols]
    with _one_error(open_timeout_s):
        connection = await _Connect(
            url,
            additional_headers=headers,
            create_connection=cast("type[ClientConnection]", partial(_Handshake, limits=limits)),
            compression=None,
            proxy=proxy,
            open_timeout=open_timeout_s,
            ping_interval=None,
            logger=_quiet_log,
            **options,
        )
    return cast("_Handshake", connection).release()


@contextmanager
def _one_error(open_timeout_s: float) -> Iterator[None]:
    """Whatever fails in a dial raises DialError."""
    try:
        yield
    except InvalidStatus as refusal:
        raise _refused(refusal.response) from refusal
    except InvalidProxy:
        raise DialError("proxy", "this is no address of a proxy") from None  # its text has the password
    except (ProxyError, ImportError) as error:  # ImportError: a SOCKS proxy wants one more package
        raise DialError("proxy", str(error)) from error
    except InvalidHandshake as error:
        raise DialError("bad_handshake", elide(str(error))) from error
    except TimeoutError as error:
        raise DialError("timeout", f"no websocket within {open_timeout_s:g} s") from error
    except tls.SSLError as error:
        raise DialError("tls", error.reason or "the TLS handshake failed") from error
    except OSError as error:
        raise DialError("unreachable", error.strerror or str(error)) from error
    except (InvalidURI, ValueError):
        raise DialError("bad_url", "this is no address of a websocket") from None  # its text has the address
    except ConnectionClosed as error:
        raise DialError("bad_handshake", "it closed before it was asked") from error
    except Exception as error:
        # What the peer sends is read here by code that is not written for every peer.
        _log.exception("the answer to a handshake could not be read")
        raise DialError("bad_handshake", f"its answer raised {type(error).__name__}") from error


_log = logging.getLogger(__name__)
_quiet_log = logging.getLogger(f"{__name__}.handshake")
_quiet_log.setLevel(logging.INFO)  # below that, `websockets` logs every header we send, the key included


class _Connect(connect):
    """Follows one redirect, within the same origin only: our headers are secrets of that origin."""

    _redirected = False

    def process_redirect(self, exc: Exception) -> Exception | str:
        if self._redirected:
            return exc
        try:
            target = super().process_redirect(exc)
            elsewhere = isinstance(target, str) and urlsplit(target)[:2] != urlsplit(self.uri)[:2]
        except (InvalidURI, ValueError):  # its Location is no address: the peer's fault, not our setting's
            return exc
        if elsewhere:
            return exc
        self._redirected = isinstance(target, str)
        return target


class _Handshake(ClientConnection):
    """The library's connection up to the blank line behind the 101; from there on the transport is ours.

    The library is not written for a peer that speaks before it was asked (an ssh banner, a 408 of a balancer
    that has waited for us): what comes before our request has left is kept, and read after it.
    """

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._asked = False
        self._early = bytearray()
        self._early_eof = False
        self._tail = b""  # of what has come of the answer's head: where its blank line may begin
        self._socket: StreamSocket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        bound_kernel(transport.get_extra_info("socket"))
        super().connection_made(transport)

    def send_data(self) -> None:
        super().send_data()
        if not self._asked:
            self._asked = True
            self.loop.call_soon(self._read_early)

    def _read_early(self) -> None:
        if len(self._early) > _MOST_EARLY_BYTES:
            self.transport.resume_reading()
        if self._early:
            self.data_received(bytes(self._early))
            self._early.clear()
        if self._early_eof:
            self.eof_received()
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self._early += data
            if len(self._early) > _MOST_EARLY_BYTES:
                self.transport.pause_reading()
        elif self.protocol.handshake_exc is not None:
            self.transport.abort()  # it was refused: the rest of its page is not waited for
        elif self.response is not None or (end := (self._tail + data).find(b"\r\n\r\n")) < 0:
            self._tail = (self._tail + data)[-3:]
            self._read(data)
        else:
            self._head_ends(data, end + 4 - len(self._tail))

    def _head_ends(self, data: bytes, head_bytes: int) -> None:
        # Frames may come in one segment with the answer, and the library's parser can't give back what it has
        # begun to read. So it gets the head alone.
        self._read(data[:head_bytes])
        rest = data[head_bytes:]
        if self.protocol.state is State.OPEN:
            self._socket = StreamSocket(self.transport, server=False, limits=self._limits)
            self.transport.set_protocol(self._socket)
            if rest:
                self._socket.data_received(rest)
        elif rest:
            self._read(rest)

    def _read(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001  a peer's bytes
            # The library is not written for every peer. Its parser is gone with what it raised.
            _log.exception("the answer to a handshake could not be read")
            self.protocol.handshake_exc = InvalidMessage(f"it raised {type(error).__name__}")
            self.protocol.send_eof()
            self.protocol.parser = self.protocol.discard()
            next(self.protocol.parser)
            self.transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for it, the library needs none
        self._early_eof = not self._asked
        if self._asked:
            super().eof_received()
        return self._early_eof  # true keeps the transport: our request has not left

    def release(self) -> StreamSocket:
        """The socket; nothing of the library's is left behind it."""
        if self._socket is None:
            raise BrokenInvariant("a handshake that succeeded has handed its transport over")
        self.protocol.parser.close()  # a generator that holds its owner: a cycle until the collector comes
        return self._socket


def _refused(response: Response) -> DialError:
    """What an answer other than 101 says; the vendor's own words only where they can't repeat the key."""
    code, reason = "refused", elide(response.reason_phrase or "the handshake was refused")
    with suppress(ValueError, RecursionError):  # also of what is no UTF-8, or nested without end
        body = json.loads(response.body or b"")
        error = body.get("error", body) if isinstance(body, dict) else body
        if isinstance(error, dict):
            said = (str(error[key]) for key in ("code", "type") if isinstance(error.get(key), str | int))
            code = next((word[:_CODE_CHARACTERS] for word in said if word), code)
            message = error.get("message")
            if isinstance(message, str) and response.status_code not in (401, 403):
                reason = elide(message)
    waits = response.headers.get_all("Retry-After")
    return DialError(code, reason, response.status_code, _retry_after_s(waits[0]) if waits else None)


def _retry_after_s(value: str) -> float | None:
    """RFC 9110, "Retry-After": a number of seconds, or a date. None for any other text."""
    with suppress(ValueError):
        return float(value)
    with suppress(ValueError, TypeError, OverflowError):
        moment = parsedate_to_datetime(value)
        # A zone of -0000 is no zone, to Python; RFC 9110 knows GMT alone.
        return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None


def _bounded_s(seconds: float) -> float | None:
    """Between now and tomorrow; None for NaN, which is no number."""
    return None if math.isnan(seconds) else min(max(0.0, seconds), _MOST_RETRY_AFTER_S)
