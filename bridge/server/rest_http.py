"""How the carrier's SDK speaks HTTP here: an answer is bounded, and waiting for one can be stopped.

The SDK blocks a thread, with a timeout for each reading; an API that sends a byte now and then would keep the
thread for as long as it likes. So the socket of a request can be shut down from another thread, whatever the
request stands at: TLS, a proxy's answer, the head or the body.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from requests import ConnectionError as NotConnected
from requests import Request, Session
from requests.adapters import HTTPAdapter
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MOST_BYTES: Final = 256 * 1024
"""A call resource has one or two thousand."""

_T = TypeVar("_T")


class Wait:
    """One request that is waited for, with `headers` of its own. May be used from any thread."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self._lock = threading.Lock()
        self._twin: socket.socket | None = None
        self._over = False

    def run(self, request: Callable[..., _T], *args: Any) -> _T:
        """Do it, on this thread."""
        token = _WAIT.set(self)
        try:
            return request(*args)
        finally:
            _WAIT.reset(token)
            with self._lock:
                self._over, self._twin = True, None

    def give_up(self) -> None:
        """Stop waiting: it fails at once, if it is not over. Idempotent."""
        with self._lock:
            self._over = True
            self._shut()

    def uses(self, twin: socket.socket) -> None:
        """The request goes over this connection."""
        with self._lock:
            self._twin = twin
            if self._over:
                self._shut()

    def _shut(self) -> None:
        if self._twin is not None:
            with contextlib.suppress(OSError):  # the peer has left already
                self._twin.shutdown(socket.SHUT_RDWR)


_WAIT: ContextVar[Wait | None] = ContextVar("wait", default=None)


class _Cuttable(HTTPConnection):
    """A connection with a second handle on its socket. TLS takes the first one over, and its number may be
    another file's when it is closed.
    """

    _twin: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._twin = made.dup()
        self._tell()
        return made

    def request(self, *args: Any, **more: Any) -> None:
        self._tell()
        super().request(*args, **more)

    def close(self) -> None:
        super().close()
        if self._twin is not None:
            self._twin.close()
            self._twin = None

    def _tell(self) -> None:
        wait = _WAIT.get()
        if wait is not None and self._twin is not None:
            wait.uses(self._twin)


class _CuttableTls(_Cuttable, HTTPSConnection):
    pass


class _Plain(HTTPConnectionPool):
    ConnectionCls = _Cuttable


class _Tls(HTTPSConnectionPool):
    ConnectionCls = _CuttableTls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _Plain, "https": _Tls}

    def proxy_manager_for(self, proxy: Any, **more: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **more)
        manager.pool_classes_by_scheme = {"http": _Plain, "https": _Tls}
        return manager


class RestHttp(TwilioHttpClient):  # type: ignore[misc]  # it ships no types
    """The SDK's client, on a session of connections that can be cut. `timeout_s` is for each reading."""

    def __init__(self, timeout_s: float, logger: logging.Logger) -> None:
        super().__init__(timeout=timeout_s, logger=logger)
        self.session: Session
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _Adapter())

    def request(
        self,
        method: str,
        url: str,
        params: Any = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """As the SDK's. Raises `requests.ConnectionError` for an answer of more than `MOST_BYTES`."""
        # Unpacked, a small body may be a very large one.
        wait = _WAIT.get()
        own = {} if wait is None else wait.headers
        plain = {**(headers or {}), **own, "Accept-Encoding": "identity"}
        session, asked = self.session, Request(method, url, plain, None, data, params, auth)
        prepared = session.prepare_request(asked)
        found = session.merge_environment_settings(url, {}, True, None, None)
        with session.send(
            prepared, allow_redirects=allow_redirects, timeout=timeout or self.timeout, **found
        ) as answer:
            raw = answer.raw.read(MOST_BYTES + 1, decode_content=False)
            if len(raw) > MOST_BYTES:
                raise NotConnected(f"an answer of more than {MOST_BYTES} bytes")
        return Response(answer.status_code, raw.decode(errors="replace"), answer.headers)
