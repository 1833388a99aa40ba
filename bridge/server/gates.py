"""Who may come in: signatures of webhooks and upgrades, stream tokens, and how many may wait at the door.

All of it fails closed. A signature proves that a request was made by the carrier, at some time: it has
neither date nor nonce, and the one of a constant stream URL is the same for every call. What binds a stream
to one call is its token: made for a proven webhook, good for a minute, once.

https://www.twilio.com/docs/usage/security and https://www.twilio.com/docs/usage/webhooks/webhooks-security
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from starlette.datastructures import Headers
from twilio.request_validator import (
    SIGNATURE_HEADER,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)

from bridge.errors import ConfigError, SignatureError
from bridge.server.routing.router import Router
from bridge.server.routing.table import Account, RoutingTable
from bridge.server.store import UsedStreams
from bridge.server.store.used_calls import UsedCalls
from bridge.server.stream_route import StreamRoute
from bridge.settings.settings import Settings

TOKEN_LIFE_S: Final = 60
TOKEN_MAX_CHARS: Final = 480
"""Twilio, "<Stream>": name and value of a parameter together stay under 500 characters."""
_CLOCK_SLACK_S: Final = 5
_NONCES_REMEMBERED: Final = 10_000
_UPGRADE_URLS: Final = 64
"""Of streams: one a machine."""
NO_TOKEN: Final = "no stream token; docs/ways-in.md has the ways to one"  # noqa: S105  words
SPENT: Final = "spent"
"""What a call gets for a token that has had one: it opens nothing."""


class Signatures:
    """Checks `X-Twilio-Signature`, against PUBLIC_URL and nothing a request says about itself.

    Paths are what the carrier requested below PUBLIC_URL, as it was on the wire. `demanded` is false under
    BRIDGE_INSECURE: then every check passes. `router` knows the accounts: each has tokens of its own, and
    only those of the account that a request claims can have signed it.
    """

    def __init__(self, settings: Settings, router: Router | None = None) -> None:
        self.demanded: bool = not settings.insecure
        if self.demanded and not (settings.public_url and settings.twilio_auth_token):
            raise ConfigError("signatures need TWILIO_AUTH_TOKEN and PUBLIC_URL")
        self._router = Router.alone() if router is None else router
        self._base = settings.public_url or ""
        self._tokens = [RequestValidator(token.get_secret_value()) for token in settings.twilio_auth_token]
        self._shared = {
            key_id: (RequestValidator(key.secret.get_secret_value()), key.algorithm)
            for key_id, key in settings.shared_keys.items()
        }
        self._pepper = secrets.token_bytes(32)
        own_base = StreamRoute.of(settings).own_base
        self._stream_bases = [self._base, own_base] if own_base else [self._base]
        self._upgrades: tuple[RoutingTable | None, dict[str, dict[bytes, Account]]] = None, {}

    def check_webhook(
        self,
        method: str,
        path_and_query: str,
        sent: Sequence[tuple[str, str]] | str | bytes,
        headers: Mapping[str, str],
        account_sid: str = "",
    ) -> None:
        """Raise SignatureError unless the carrier signed this request for that account, the main one if it
        claims none.

        `sent` is a form's fields, all of them, blank and repeated ones too; or the raw body of another kind.
        """
        if not self.demanded:
            return
        # Twilio, "Validating requests": of a GET only the URL is signed. What comes with it is a stranger's.
        if sent and method.upper() in ("GET", "HEAD"):
            raise SignatureError("a GET with a body, which no signature covers")
        form: Mapping[str, str] | str
        form = _text(sent) if isinstance(sent, bytes | str) else _Form(sent)
        self._check([self._base + _rooted(path_and_query)], form, headers, self._tokens_of(account_sid))

    def check_upgrade(self, path: str, headers: Mapping[str, str]) -> Account | None:
        """Raise SignatureError unless the carrier signed this websocket upgrade. Returns the account that it
        signed it for; None where no signature is asked for.
        """
        if not self.demanded:
            return None
        if "?" in path:
            raise SignatureError("a stream URL has no query")
        # Twilio, "Media Streams": the signed URL has the scheme wss; "Security", notes: if it does not match,
        # append a slash.
        bases = (f"ws{base.removeprefix('http')}{_rooted(path)}" for base in self._stream_bases)
        urls = [url for base in bases for url in (base.removesuffix("/"), f"{base.removesuffix('/')}/")]
        found = headers if isinstance(headers, Headers) else Headers(headers)
        other = self._other_account(urls, found)
        if other is not None:
            return other
        self._check(urls, {}, found, self._tokens)
        return self._router.table.otherwise.account

    def _tokens_of(self, account_sid: str) -> list[RequestValidator]:
        main = self._router.table.otherwise.account
        account = self._router.account(account_sid) if account_sid else main
        if account is None:
            raise SignatureError("an account that is not served")
        if account is main:
            return self._tokens
        return [RequestValidator(token.get_secret_value()) for token in account.tokens]

    def _other_account(self, urls: list[str], headers: Headers) -> Account | None:
        """The account beside the main one whose token this upgrade is signed with. It does not say which, and
        there may be a thousand: what each of them signs is looked up. The look-up is by a keyed hash, so that
        its time tells nothing of a signature.
        """
        table = self._router.table
        if not table.accounts or headers.get(SIGNATURE_SETTINGS_HEADER) is not None:
            return None
        if self._upgrades[0] is not table or len(self._upgrades[1]) >= _UPGRADE_URLS:
            self._upgrades = table, {}
        signed = self._upgrades[1].get(urls[0])
        if signed is None:
            signed = self._upgrades[1][urls[0]] = {
                self._hashed(RequestValidator(token.get_secret_value()).compute_signature(one, {})): account
                for account in table.accounts.values()
                if account is not table.otherwise.account
                for token in account.tokens
                for one in urls
            }
        return signed.get(self._hashed(_only(headers, SIGNATURE_HEADER)))

    def _hashed(self, signature: str) -> bytes:
        return hashlib.blake2b(_bytes(signature), key=self._pepper).digest()

    def _check(
        self,
        urls: Iterable[str],
        form: Mapping[str, str] | str,
        headers: Mapping[str, str],
        tokens: list[RequestValidator],
    ) -> None:
        found = headers if isinstance(headers, Headers) else Headers(headers)
        signature = _only(found, SIGNATURE_HEADER)
        if not signature:
            raise SignatureError(f"no {SIGNATURE_HEADER}")
        validators, algorithm = self._keys(_only(found, SIGNATURE_SETTINGS_HEADER), tokens)
        try:
            # A list, not a generator: every key is tried, so that time does not tell which one came close.
            passed = [key.validate(url, form, signature, algorithm) for key in validators for url in urls]
        except (IndexError, TypeError, ValueError) as error:  # a body without hash, half a surrogate, …
            raise SignatureError("a request that no signature covers") from error
        if not any(passed):
            raise SignatureError(f"the signature is not one of {self._base}'s with the account's token")

    def _keys(
        self, signed_with: str, tokens: list[RequestValidator]
    ) -> tuple[list[RequestValidator], str | None]:
        """Which keys may have signed, by the header that a shared key brings; without it, the auth tokens of
        the account. Shared keys are the main account's.
        """
        if not signed_with:
            return tokens, None
        if tokens is not self._tokens:
            raise SignatureError("signed with a shared key, which only the main account has")
        named = dict(part.partition("=")[::2] for part in signed_with.replace(" ", "").split(","))
        validator, wanted = self._shared.get(named.get("key", ""), (None, None))
        algorithm = str(get_signature_algorithm(signed_with)).upper()
        if validator is None or wanted not in (None, algorithm):
            raise SignatureError("signed with a key, or in a way, that BRIDGE_SHARED_KEYS does not have")
        return [validator], algorithm


class _Form(dict[str, str]):
    """A form's fields as the validator reads them: each name once, and `getlist` for all its values.
    Starlette's `getlist` looks through all fields for each name.
    """

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            self._values.setdefault(name, []).append(value)
        super().__init__((name, values[-1]) for name, values in self._values.items())

    def getlist(self, name: str) -> list[str]:
        return self._values[name]


def _only(headers: Headers, name: str) -> str:
    """The header's value, empty without one. Twice the same header is nothing a carrier sends."""
    given = headers.getlist(name)
    if len(given) > 1:
        raise SignatureError(f"{len(given)} headers {name}")
    return given[0] if given else ""


def _rooted(path: str) -> str:
    # Pasted behind the base, anything else could be the rest of another host's name.
    if not path.startswith("/"):
        raise SignatureError("a path that does not begin with a slash")
    return path


def _text(body: str | bytes) -> str:
    if isinstance(body, str):
        return body
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise SignatureError("a body that is not text") from error


class _Minted(NamedTuple):
    """`at_s` by the monotonic clock."""

    stream: int
    token: str
    nonce: str
    at_s: float
    account_sid: str


class StreamTokens:
    """One-time tokens that bind a stream to the call whose webhook was proven.

    `secret` is the key, or several with the one in use last. `now` gives seconds of the wall clock, `clock`
    those of one that is never set. A token that was made here ages by `clock`, so a step of the wall clock
    costs no call and prolongs nothing; only a token of another process goes by the time written in it.
    `used` remembers which streams were given out, so that a webhook that is replayed gets nothing that opens
    anything.
    """

    def __init__(
        self,
        secret: bytes | Sequence[bytes],
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        used: UsedStreams | None = None,
    ) -> None:
        class Signer(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(now())

        self._now = now
        self._clock = clock
        self._maker = secrets.token_urlsafe(6)
        self._serializer = URLSafeTimedSerializer(
            [secret] if isinstance(secret, bytes) else list(secret),
            salt=b"stream",
            signer=Signer,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        self._waiting: dict[str, _Minted] = {}  # by call, oldest first
        self._used: UsedStreams = UsedCalls(None, now) if used is None else used
        self._redeemed: dict[str, None] = {}  # nonces, oldest first

    def mint(self, call_sid: str, account_sid: str, stream: int = 1, called: str = "") -> str:
        """The token of this call's stream of that number, 1 for the first. A retried webhook gets the same
        one; one that comes when the token was used, or is too old, or when a later stream was asked for, gets
        SPENT. `called` is the number that was called, for a process that did not answer the webhook.
        """
        now_s = self._clock()
        self._forget(now_s)
        waiting = self._waiting.get(call_sid)
        if waiting is not None and waiting.account_sid != account_sid:
            return SPENT
        if waiting is not None and waiting.stream == stream:
            return waiting.token
        if (waiting is not None and waiting.stream > stream) or self._used.has(call_sid, stream):
            return SPENT
        if waiting is not None:
            self._let_go(call_sid)
        nonce = f"{self._maker}{secrets.token_urlsafe(9)}.{stream}"
        whole = [call_sid, account_sid, nonce, *([called] if called else [])]
        token = str(self._serializer.dumps(whole))
        self._waiting[call_sid] = _Minted(stream, token, nonce, now_s, account_sid)
        self._used.expect(call_sid, stream)
        return token

    def is_waiting(self, call_sid: str, stream: int) -> bool:
        """Whether that stream's token was given out and may still be used."""
        self._forget(self._clock())
        waiting = self._waiting.get(call_sid)
        return waiting is not None and waiting.stream == stream

    def stream_of(self, token: str) -> int:
        """The number of the stream that a token, redeemed before, was made for."""
        _call_sid, _account_sid, nonce, *_called = self._serializer.loads(token)
        number = str(nonce).rpartition(".")[2]
        return int(number) if number.isdecimal() else 1  # made by an earlier version

    def called(self, token: str) -> str:
        """The number in a token, redeemed before; empty if it has none."""
        _call_sid, _account_sid, _nonce, *called = self._serializer.loads(token)
        return str(called[0]) if called else ""

    def redeem(self, token: str, call_sid: str, account_sid: str) -> str | None:
        """Use the token of a stream that says it is this call's. None when it is; else why not, in words that
        may be logged.

        A token that this process did not make is good too, if it was made with our key: the webhook may have
        been answered by the process that went away a moment ago.
        """
        if not token:
            return NO_TOKEN
        if len(token) > TOKEN_MAX_CHARS or not token.isascii():
            return "a stream token that is not ours"
        try:
            (for_call, for_account, nonce, *_), made = self._serializer.loads(token, return_timestamp=True)
        except BadData:
            return "a stream token that is not ours"
        # The nonce and not the token: the last letter of base64 can be written in four ways.
        if nonce in self._redeemed:
            return "a stream token that was used before"
        self._forget(self._clock())
        if nonce.startswith(self._maker):
            waiting = self._waiting.get(for_call)
            too_old = waiting is None or waiting.nonce != nonce
        else:
            too_old = not -_CLOCK_SLACK_S <= int(self._now()) - int(made.timestamp()) <= TOKEN_LIFE_S
        if too_old:
            return "a stream token that is too old"
        if not _same(f"{for_call} {for_account}", f"{call_sid} {account_sid}"):
            return "a stream token of another call"
        _remember(self._redeemed, nonce)
        if (waiting := self._waiting.get(call_sid)) is not None and waiting.nonce == nonce:
            del self._waiting[call_sid]
        self._used.use(call_sid, self.stream_of(token))
        return None

    def _forget(self, now_s: float) -> None:
        """What is too old to be redeemed need not be remembered for that."""
        for call_sid in list(
            itertools.takewhile(lambda one: now_s - self._waiting[one].at_s > TOKEN_LIFE_S, self._waiting)
        ):
            self._let_go(call_sid)

    def _let_go(self, call_sid: str) -> None:
        """Revoke a token."""
        self._used.use(call_sid, self._waiting.pop(call_sid).stream)


def _remember(known: dict[str, None], key: str) -> None:
    """The oldest goes where there would be too many."""
    known[key] = None
    if len(known) > _NONCES_REMEMBERED:
        del known[next(iter(known))]


# JSON can hold halves of surrogate pairs, and a stranger's will.
def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(_bytes(one), _bytes(other))


class PendingSockets:
    """Sockets that came without a valid signature and have not started: a few in all, fewer from one address.

    ::

        place = lobby.enter(address)
        if place is None: ...  # close the socket
        with place: ...        # wait for its start
    """

    def __init__(self, in_all: int = 50, an_address: int = 10) -> None:
        self._in_all = in_all
        self._an_address = an_address
        self._waiting: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._waiting.total()

    def enter(self, address: str) -> Place | None:
        """A place to wait in, to be left when the socket has started or gone. None if all are taken."""
        if len(self) >= self._in_all or self._waiting[address] >= self._an_address:
            return None
        self._waiting[address] += 1
        return Place(self, address)

    def leave(self, address: str) -> None:
        """What `Place.leave` does; each holder of a place leaves by it."""
        self._waiting[address] -= 1
        if not self._waiting[address]:
            del self._waiting[address]


class Place:
    """One socket's place in the lobby. Leaving it twice is leaving it once."""

    __slots__ = ("_address", "_lobby")

    def __init__(self, pending_sockets: PendingSockets, address: str) -> None:
        self._lobby: PendingSockets | None = pending_sockets
        self._address = address

    def leave(self) -> None:
        """Give the place up."""
        if self._lobby is not None:
            self._lobby.leave(self._address)
            self._lobby = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
