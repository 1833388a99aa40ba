"""A connection to a Realtime endpoint as an object that can be handed around: text out, text in.

:class:`RealtimeTransport` is what a model or a call needs of one, four methods. `WebSocketTransport` stands
on the same sockets that carry calls; `MemoryTransport` is for tests; anybody's own will do
(`agents/transport_socket.py` puts it into a call).
"""

from __future__ import annotations

import asyncio
import inspect
import ssl as tls
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from bridge.core.messages import SessionConfig
from bridge.errors import AlreadyConnected, BridgeError, ConfigError, ConnectionLost, NotConnected
from bridge.sockets.dial import DialError, Message, Socket, dial
from bridge.sockets.limits import UPSTREAM_LIMITS, Limits
from bridge.upstreams.openai import URL, with_model

Key: TypeAlias = "str | Callable[[], str | Awaitable[str]] | Awaitable[str] | None"
"""A key as a value, as a function (async or not) that is asked at each connect, or as something to await."""

Connector: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[Socket]]
"""Opens a socket to a URL with these headers. Raises DialError on failure."""

DEFAULT_MODEL: Final = SessionConfig().model
MOST_WAITING_BYTES: Final = 64 << 20
"""Most bytes of unread frames. Beyond it the reader has given up, and the connection ends."""
_OBJECT_BYTES: Final = 64
"""What a frame takes on top of its text: it may be empty."""
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
EPHEMERAL: Final = "ek_"


class RealtimeTransport(Protocol):
    """One connection, from `connect` to its end. Frames are JSON texts; nothing here reads them."""

    async def connect(self) -> None:
        """Open the connection. It may return before the handshake is over, and need not raise when that
        fails: then `events` ends, or the next `send` raises. Raises AlreadyConnected for a second call.
        """
        ...

    async def send(self, frame: str) -> None:
        """Send one frame, after all that were sent before. Raises NotConnected without a connection."""
        ...

    def events(self) -> AsyncIterator[str]:
        """The frames that arrive, in order, including earlier ones; ends with the connection."""
        ...

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        ...


class _Inbox:
    """Frames that have come and were not read yet."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self._frames: deque[str] = deque()
        self._news = asyncio.Event()
        self._over = False

    def put(self, frame: str) -> None:
        if not self._over:
            self._frames.append(frame)
            self.waiting_bytes += _OBJECT_BYTES + len(frame)
            self._news.set()

    def end(self) -> None:
        self._over = True
        self._news.set()

    async def read(self) -> AsyncIterator[str]:
        while True:
            while self._frames:
                frame = self._frames.popleft()
                self.waiting_bytes -= _OBJECT_BYTES + len(frame)
                yield frame
            if self._over:
                return
            self._news.clear()
            await self._news.wait()


class WebSocketTransport:
    """A WebSocket to a Realtime endpoint; one object is one connection, so reconnecting is a new object.

    - `url`: the vendor's, a proxy's, another vendor's. `model` is added as `?model=` unless the URL says
      which session it means; with `call_id` that session is joined instead (both: ConfigError).
    - `api_key` goes as `Authorization: Bearer …`, merged with `headers`; one that is among the headers wins.
      With `key_in_subprotocol` an ephemeral key (`ek_…`, no other) goes the way of browsers.
    - `proxy` (a URL), `ssl`, `open_timeout_s` and `limits` (sizes, pings) are the socket's;
      `connector(url, headers)` opens it in place of all these.

    `last_error` tells why there is no connection (DialError, with `status` and `code`) or why `events` ended
    (ConnectionLost, with the close `code`); None as long as nothing went wrong and after a normal end.
    Raises ConfigError for what cannot work. Lives on the event loop that `connect` was called on.
    """

    last_error: BridgeError | None = None

    def __init__(  # noqa: PLR0913  each is a wish of its own, and none is positional
        self,
        *,
        url: str | None = None,
        model: str | None = None,
        call_id: str | None = None,
        api_key: Key = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        key_in_subprotocol: bool = False,
        proxy: str | None = None,
        ssl: tls.SSLContext | None = None,
        open_timeout_s: float = 5.0,
        limits: Limits = UPSTREAM_LIMITS,
        connector: Connector | None = None,
    ) -> None:
        if call_id is not None and model is not None:
            raise ConfigError("a call is joined as it is: give call_id or model, not both")
        self.url: str = endpoint(url or URL, model or DEFAULT_MODEL, call_id)
        if api_key is not None and _readable_by_others(self.url):
            raise ConfigError("a key over ws:// can be read on its way: wss://, or loopback")
        self._api_key = api_key
        self._headers = dict(headers)
        self._in_subprotocol = key_in_subprotocol
        self._dial = partial(dial, proxy=proxy, ssl=ssl, open_timeout_s=open_timeout_s, limits=limits)
        self._connector = connector
        self._begun = False
        self._dialling: asyncio.Task[Socket] | None = None
        self._socket: Socket | None = None
        self._inbox = _Inbox()
        self._gone = asyncio.Event()
        self._closing = False

    @property
    def connected(self) -> bool:
        """Whether a frame can be sent now."""
        return self._socket is not None and not self._closing and not self._gone.is_set()

    async def connect(self) -> None:
        """Returns when the handshake is over, whichever way. It does not raise for one that failed: see
        `last_error`; `events` ends. Raises AlreadyConnected for a second one.
        """
        if self._begun:
            raise AlreadyConnected
        self._begun = True
        self._dialling = asyncio.get_running_loop().create_task(self._open(), name="dial")
        try:
            socket = await self._dialling
        except BridgeError as error:
            self.last_error = error
        except asyncio.CancelledError:
            self._end()
            if not self._closing:  # it is this connect that was cancelled, not the dialling by close()
                raise
        else:
            if self._closing:
                socket.close()
                return
            self._socket = socket
            socket.start(self._came, self._closed)
            return
        self._end()

    async def send(self, frame: str) -> None:
        if self._socket is None or not self.connected:
            raise NotConnected
        self._socket.send(frame)

    def events(self) -> AsyncIterator[str]:
        return self._inbox.read()

    async def close(self) -> None:
        """Close the connection, waiting for the close handshake as long as the socket's limits allow."""
        self._closing = True
        if self._dialling is not None and not self._dialling.done():
            self._dialling.cancel()
        elif self._socket is not None and not self._gone.is_set():
            self._socket.close()
            await self._gone.wait()
        self._end()

    async def _open(self) -> Socket:
        key = await resolved(self._api_key)
        if key is None or any(name.lower() == "authorization" for name in self._headers):
            return await self._through(self._headers)
        if not self._in_subprotocol:
            return await self._through({"Authorization": f"Bearer {key}", **self._headers})
        if not key.startswith(EPHEMERAL):
            raise DialError("bad_key", "only an ephemeral key may stand in a subprotocol")
        # Realtime WebSocket guide: browsers cannot set headers, and offer these two instead.
        offered = ("realtime", f"openai-insecure-api-key.{key}")
        return await self._dial(self.url, self._headers, subprotocols=offered)

    async def _through(self, headers: Mapping[str, str]) -> Socket:
        if self._connector is None:
            return await self._dial(self.url, headers)
        try:
            return await self._connector(self.url, headers)
        except DialError:
            raise
        except Exception as error:  # user code
            raise DialError("unreachable", f"the connector raised {type(error).__name__}") from error

    def _came(self, frame: Message) -> None:
        self._inbox.put(frame if isinstance(frame, str) else frame.decode(errors="replace"))
        if self._inbox.waiting_bytes > MOST_WAITING_BYTES and self._socket is not None:
            self._socket.close(1008, "frames are not read")
            self._closed(1008, "frames are not read")

    def _closed(self, code: int, reason: str) -> None:
        if not self._closing and self.last_error is None and code not in (1000, 1001):
            self.last_error = ConnectionLost(code, reason)
        self._end()

    def _end(self) -> None:
        self._gone.set()
        self._inbox.end()


class MemoryTransport:
    """A connection to a script, for tests. `sent` has what went out; `say` and `finish` are the other side.

    `answer(frame)` returns what the other side says to each frame, `first` is what it says at once. With
    `error` the handshake fails.
    """

    def __init__(
        self,
        answer: Callable[[str], Iterable[str]] = lambda _frame: (),
        *,
        first: Iterable[str] = (),
        error: BridgeError | None = None,
    ) -> None:
        self.sent: list[str] = []
        self.last_error: BridgeError | None = None
        self.connected = False
        self._answer = answer
        self._first = tuple(first)
        self._error = error
        self._begun = False
        self._inbox = _Inbox()

    async def connect(self) -> None:
        if self._begun:
            raise AlreadyConnected
        self._begun = True
        if self._error is not None:
            self.finish(self._error)
            return
        self.connected = True
        self.say(*self._first)

    async def send(self, frame: str) -> None:
        if not self.connected:
            raise NotConnected
        self.sent.append(frame)
        self.say(*self._answer(frame))

    def events(self) -> AsyncIterator[str]:
        return self._inbox.read()

    async def close(self) -> None:
        self.finish()

    def say(self, *frames: str) -> None:
        """Deliver frames from the other side."""
        for frame in frames:
            self._inbox.put(frame)

    def finish(self, error: BridgeError | None = None) -> None:
        """End the connection from the other side, with this error if one is given."""
        self.last_error = self.last_error or error
        self.connected = False
        self._inbox.end()


def endpoint(url: str, model: str, call_id: str | None = None) -> str:
    """The URL to connect to. Raises ConfigError for another than a WebSocket's."""
    if call_id is None:
        return with_model(url, model)
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return with_model(urlunsplit(parts._replace(query=f"{query}call_id={quote(call_id, safe='')}")), model)


async def resolved(key: Key) -> str | None:
    """The key itself. Raises DialError (`bad_key`) if asking for it raised."""
    try:
        given = key() if callable(key) else key
        return await given if inspect.isawaitable(given) else given
    except Exception as error:  # user code
        raise DialError("bad_key", f"asking for the key raised {type(error).__name__}") from error


def _readable_by_others(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "ws" and parts.hostname not in LOOPBACK
