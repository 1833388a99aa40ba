"""Stream tokens for TwiML that is not ours: made for holders of an API key, good for one stream, once.

The signature of a stream's upgrade is the same for all calls, so it admits none. Our own TwiML carries a
token of the call whose webhook was proven (`gates.py`); the operator's TwiML carries one of these. Such a
token says which call it is for, where that was known, and which fields the call has. It is signed; its holder
can read it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from itsdangerous import BadData, URLSafeSerializer

from bridge.server.gates import TOKEN_MAX_CHARS
from bridge.server.store import Store

LIFE_S: Final = 60
MOST_LIFE_S: Final = 600
"""For a call that is placed first and rings for a while."""
MOST_OUT: Final = 10_000
"""Tokens of this process that may be out; beyond that the oldest are good no more."""
_PREFIX: Final = "own."
_CLOCK_SLACK_S: Final = 5


class TooLong(ValueError):
    """The fields do not fit into a token; the message says by how much."""


class Grant(NamedTuple):
    """What a token was made with. An empty id stands for any."""

    call_sid: str = ""
    account_sid: str = ""
    parameters: Mapping[str, str] = {}


class OwnTokens:
    """Makes and redeems them. `keys`, `now` and `clock` are as for `StreamTokens`: a token that was made here
    ages by a clock that is never set. `store` is what processes share, and remembers which tokens were used:
    one that was made beside another store is refused, so that none is good twice.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        store: Store,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._serializer = URLSafeSerializer(
            list(keys),
            salt=b"stream of own twiml",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        self._used, self._now, self._clock = store.used, now, clock
        self._place = hashlib.blake2b(store.name.encode(), digest_size=6).hexdigest()
        self._out: dict[str, float] = {}  # by nonce: good until then, oldest first

    @staticmethod
    def is_one(token: str) -> bool:
        """Whether it looks like one."""
        return token.startswith(_PREFIX)

    def mint(self, grant: Grant, life_s: int = LIFE_S) -> str:
        """A token that is good for `life_s`, once. Raises TooLong."""
        nonce = f"{self._place}.{secrets.token_urlsafe(12)}"
        until_s = int(self._now()) + life_s
        content = [nonce, until_s, grant.call_sid, grant.account_sid, dict(grant.parameters)]
        token = f"{_PREFIX}{self._serializer.dumps(content)}"
        if len(token) > TOKEN_MAX_CHARS:
            raise TooLong(f"{len(token) - TOKEN_MAX_CHARS} characters too many")
        self._out[nonce] = self._clock() + life_s
        while len(self._out) > MOST_OUT:
            del self._out[next(iter(self._out))]
        return token

    def redeem(self, token: str, call_sid: str, account_sid: str) -> Grant | str:
        """Use the token of a stream that says it is of this call: what it grants, or why nothing, in words
        that may be logged.
        """
        if len(token) > TOKEN_MAX_CHARS or not token.isascii():
            return "a stream token that is not ours"
        try:
            content = self._serializer.loads(token.removeprefix(_PREFIX))
        except BadData:
            return "a stream token that is not ours"
        nonce, until_s, *granted = content
        grant = Grant(*granted)
        if not nonce.startswith(f"{self._place}."):
            return "a stream token that another machine has made"
        if self._used.has(nonce):
            return "a stream token that was used before"
        if self._is_too_old(nonce, until_s):
            return "a stream token that is too old"
        if grant.call_sid not in ("", call_sid) or grant.account_sid not in ("", account_sid):
            return "a stream token of another call"
        self._out.pop(nonce, None)
        self._used.use(nonce)
        return grant

    def _is_too_old(self, nonce: str, until_s: int) -> bool:
        """By the wall clock where another process has made it."""
        if nonce in self._out:
            return self._clock() > self._out[nonce]
        left_s = until_s - self._now()
        return not -_CLOCK_SLACK_S <= left_s <= MOST_LIFE_S + _CLOCK_SLACK_S
