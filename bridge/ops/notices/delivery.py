"""One attempt to deliver a notice: POST, no redirects, no proxy, ten seconds in all.

The address may be anybody's words and its name may lead elsewhere tomorrow, so where it leads is checked at
each connect, and the connection goes to the address that was checked.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from bridge.sockets.urls import default_tls

from .signing import headers
from .spool import Notice

TIMEOUT_S: Final = 10.0
MOST_RETRY_AFTER_S: Final = 24 * 3_600.0
GONE: Final = 410
_BUSY: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: an HTTP status, or 0 and `why` none came. `retry_after_s` is what the receiver
    asked for.
    """

    status: int = 0
    why: str = ""
    retry_after_s: float | None = None

    @property
    def arrived(self) -> bool:
        return 200 <= self.status < 300

    def __str__(self) -> str:
        return self.why or f"HTTP {self.status}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where notices go, with the keys that sign them. `private`: addresses of a private network are allowed,
    and plain http to them.
    """

    url: str
    keys: Sequence[bytes] = ()
    private: bool = False

    def deliver(self, notice: Notice) -> Answer:
        """Try it once. Blocks, for `TIMEOUT_S` at most. Nothing is raised."""
        body = notice.body.encode()
        signed = headers(notice.id, int(time.time()), body, self.keys)
        try:
            return self._post(
                body, {"content-type": "application/json", "user-agent": "phonebridge", **signed}
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(why=f"{type(error).__name__}: {error}"[:200])

    def _post(self, body: bytes, sent: dict[str, str]) -> Answer:
        parts = urlsplit(self.url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        ends_s = time.monotonic() + TIMEOUT_S
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        plain = self._connect(host, port)
        twin = plain.dup()
        late = threading.Timer(max(0.0, ends_s - time.monotonic()), _shut, (twin,))
        late.daemon = True
        late.start()
        try:
            connection.sock = default_tls().wrap_socket(plain, server_hostname=host) if secure else plain
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body, {"host": parts.netloc.rpartition("@")[2], **sent})
            response = connection.getresponse()
            return Answer(response.status, retry_after_s=_retry_after(response))
        finally:
            late.cancel()
            twin.close()
            connection.close()
            plain.close()

    def _connect(self, host: str, port: int) -> socket.socket:
        """A connection to an address that is allowed. Raises OSError."""
        failed = OSError(f"{host} leads nowhere")
        for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if not self.private and not ipaddress.ip_address(str(where[0]).partition("%")[0]).is_global:
                words = (
                    f"{host} leads to an address of a private network (BRIDGE_NOTICES_PRIVATE=1 allows it)"
                )
                failed = OSError(words)
                continue
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(TIMEOUT_S)
            try:
                connection.connect(where)
            except OSError as error:
                connection.close()
                failed = error
                continue
            return connection
        raise failed


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _retry_after(response: http.client.HTTPResponse) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date. None for any other answer, and where it is neither."""
    value = (response.getheader("retry-after") or "").strip()
    if response.status not in _BUSY or not value:
        return None
    with suppress(ValueError, TypeError):
        seconds = float(value) if value.isascii() and value.isdigit() else _until(value)
        return min(max(seconds, 0.0), MOST_RETRY_AFTER_S)
    return None


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()
