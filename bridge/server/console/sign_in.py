"""The right to see: one class that every route of the console asks.

A token (or, in a demo, a code that is good once) buys a cookie. A page of another site can neither read nor
send it, and what it cannot send either is the header `X-Bridge-Console` with our own `Origin`.

W3C, "Cookie Prefixes": `__Host-` is for cookies that came over https, from this very host.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import HTTPConnection
from starlette.responses import Response

from bridge.settings.settings import Settings
from bridge.sockets.peers import Peers, of_this_machine

logger = logging.getLogger(__name__)

LASTS_S: Final = 12 * 3600
NAME_LETTERS: Final = 8
"""Of a session's digest, in logs and records."""
HEADER: Final = "x-bridge-console"
SECURE_COOKIE: Final = "__Host-bridge"
LOCAL_COOKIE: Final = "bridge-console"
TRIES: Final = 5
"""Wrong ones a minute, of one address."""
A_MINUTE_S: Final = 60.0
_MOST_ADDRESSES: Final = 1_000
_MOST_REVOKED: Final = 10_000
NOT_SIGNED_IN: Final = "not signed in"
_ENCRYPTED: Final = ("https", "wss")


class TooManyTries(Exception):
    """Wait `wait_s` before the next one."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong tries; wait {wait_s:.0f} s")
        self.wait_s = wait_s


class SignIn:
    """Knows who has signed in. `clock` is monotonic.

    The cookie is signed by a key made of the token, so every machine of a fleet knows it, and another token
    signs everybody out. In a demo the key dies with the process.
    """

    def __init__(self, settings: Settings, peers: Peers, clock: Callable[[], float] = time.monotonic) -> None:
        self._peers = peers
        self._clock = clock
        token, self._code = settings.console_token, settings.console_code
        self._token = None if token is None else token.get_secret_value()
        self._public_host = urlsplit(settings.public_url or "").netloc.lower()
        secret = secrets.token_bytes(32) if self._token is None else self._token.encode()
        key = hmac.digest(secret, b"phonebridge console cookie", "sha256")
        self._signer = TimestampSigner(key, salt="phonebridge console", digest_method=hashlib.sha256)
        self._revoked: dict[str, float] = {}
        self._wrong: dict[str, list[float]] = {}

    @property
    def served(self) -> bool:
        """Whether there is a console at all."""
        return self._token is not None or self._code is not None

    # --- the right ---------------------------------------------------------------------------------------

    def page_fault(self, connection: HTTPConnection) -> str | None:
        """Why nothing of the console is shown to this request, not even its page; None if it may be. Looks at
        where it comes from and at what it calls this host, so that no name of another site leads here.
        """
        if (fault := self._peers.local_fault(connection)) is not None:
            return fault
        if self._is_local(connection):
            return None
        given = connection.headers.getlist("host")
        if not self._public_host or len(given) != 1 or given[0].lower() != self._public_host:
            return "Host is another name than that of PUBLIC_URL, or this machine's from elsewhere"
        if not _came_encrypted(connection):
            return "it came over plain http, as far as the proxy says (X-Forwarded-Proto)"
        return None

    def fault(self, connection: HTTPConnection) -> str | None:
        """Why this request may not see calls, `NOT_SIGNED_IN` where a sign-in is all that lacks; None if it
        may. What changes something, and a websocket, is asked by `sender_fault` as well.
        """
        if (fault := self.page_fault(connection) or self._peers.fault(connection)) is not None:
            return fault
        return None if self._session(connection) is not None else NOT_SIGNED_IN

    def sender_fault(self, connection: HTTPConnection) -> str | None:
        """Why this is not sent by our own page: `Origin` has to be there and our own; a POST shows the
        header `X-Bridge-Console`, too, which no page of another site may set. None if it is.
        """
        if (fault := self.page_fault(connection) or self._peers.fault(connection)) is not None:
            return fault
        if "origin" not in connection.headers:
            return "a browser says in Origin which page it comes from"
        if connection.scope["type"] == "http" and HEADER not in connection.headers:
            return "the console's page sends X-Bridge-Console"
        return None

    # --- signing in and out ------------------------------------------------------------------------------

    def opens(self, address: str, *, token: str = "", code: str = "") -> bool:
        """Whether the token is right, or the code, which is spent then. Raises TooManyTries."""
        now_s = self._clock()
        wrong = [at_s for at_s in self._wrong.get(address, ()) if now_s - at_s < A_MINUTE_S]
        if len(wrong) >= TRIES:
            raise TooManyTries(A_MINUTE_S - (now_s - wrong[0]))
        if code:
            right = self._code is not None and _same(code, self._code)
            if right:
                self._code = None
        else:
            right = self._token is not None and _same(token, self._token)
        if not right:
            self._wrong.pop(address, None)
            self._wrong[address] = [*wrong, now_s]
            while len(self._wrong) > _MOST_ADDRESSES:
                del self._wrong[next(iter(self._wrong))]
        return right

    def greet(self, connection: HTTPConnection, response: Response) -> Response:
        """The response, with the cookie of a new session."""
        local = self._is_local(connection)
        session = self._signer.sign(f"{'local' if local else 'https'}.{secrets.token_hex(16)}").decode()
        name, path = (LOCAL_COOKIE, "/console") if local else (SECURE_COOKIE, "/")
        response.set_cookie(
            name, session, max_age=LASTS_S, path=path, secure=not local, httponly=True, samesite="strict"
        )
        return response

    def sign_out(self, connection: HTTPConnection, response: Response) -> Response:
        """The session of this request is over, here and now. Nothing without one."""
        if self.lasts(connection):
            self.revoke(self.digest(connection))
        response.delete_cookie(LOCAL_COOKIE, path="/console", httponly=True, samesite="strict")
        response.delete_cookie(SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return response

    def revoke(self, digest: str) -> None:
        """The session with that digest is over here, wherever its browser has signed out."""
        now_s = self._clock()
        self._revoked = {one: at_s for one, at_s in self._revoked.items() if now_s - at_s < LASTS_S}
        while len(self._revoked) >= _MOST_REVOKED:
            del self._revoked[next(iter(self._revoked))]
        self._revoked[digest] = now_s

    def revoked(self) -> list[str]:
        """The digests of sessions that are over, the oldest first."""
        return list(self._revoked)

    def lasts(self, connection: HTTPConnection) -> bool:
        """Whether the session that opened this connection is still good."""
        return self._session(connection) is not None

    def viewer(self, connection: HTTPConnection) -> str:
        """A short name of this session for logs and records; it opens nothing."""
        return self.digest(connection)[:NAME_LETTERS]

    def digest(self, connection: HTTPConnection) -> str:
        """What names this session among machines; it opens nothing either."""
        return _digest(self._session(connection) or "")

    def _is_local(self, connection: HTTPConnection) -> bool:
        """Whether nothing but this machine has seen the request. A page that came over https is elsewhere,
        whatever its proxy calls us.
        """
        return self._peers.is_local(connection) and of_this_machine(connection.headers)

    def _session(self, connection: HTTPConnection) -> str | None:
        """The session's id. A cookie for this machine is good on this machine only."""
        kinds = [("https.", SECURE_COOKIE)]
        if self._is_local(connection):
            kinds.append(("local.", LOCAL_COOKIE))
        for kind, name in kinds:
            try:
                session = self._signer.unsign(connection.cookies.get(name, ""), max_age=LASTS_S).decode()
            except BadSignature:
                continue
            if session.startswith(kind) and _digest(session) not in self._revoked:
                return session
        return None


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()


def _same(given: str, known: str) -> bool:
    """In constant time, whatever the lengths are."""
    one, other = (hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (given, known))
    return hmac.compare_digest(one, other)


def _came_encrypted(connection: HTTPConnection) -> bool:
    """Whether TLS ended here or at the proxy in front, which says so. The nearest proxy's word is the last.

    RFC 7239, section 5.4; `X-Forwarded-Proto` is what nearly all write.
    """
    if connection.scope.get("scheme") in _ENCRYPTED:
        return True
    said = [one for line in connection.headers.getlist("x-forwarded-proto") for one in line.split(",")]
    if said:
        return said[-1].strip().lower() in _ENCRYPTED
    lines = connection.headers.getlist("forwarded")
    last = lines[-1].rpartition(",")[2] if lines else ""
    found = [pair.strip().lower().partition("=")[2].strip('"') for pair in last.split(";") if _is_proto(pair)]
    return bool(found) and found[-1] in _ENCRYPTED


def _is_proto(pair: str) -> bool:
    return pair.strip().lower().startswith("proto=")
