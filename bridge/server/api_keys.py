"""Who may ask the bridge for something: programs of the operator's, each with a key of its own.

RFC 6750, section 2.1: the key comes as `Authorization: Bearer …`. It is compared with every key, each in
constant time, so that time does not tell which one came close.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import SecretStr
from starlette.datastructures import Headers

A_SECOND: Final = 10.0
AT_ONCE: Final = 60
"""What one key may ask for: ten times a second, and sixty times in a row after a quiet time."""
_SCHEME: Final = "bearer"
_MOST_CHARACTERS: Final = 512


class ApiKeys:
    """The keys of BRIDGE_API_KEYS, by the names that logs tell."""

    def __init__(self, keys: Mapping[str, SecretStr], now: Callable[[], float] = time.monotonic) -> None:
        self._digests = {name: _digest(key.get_secret_value()) for name, key in keys.items()}
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}  # by name: how many, and as of when

    def owner(self, headers: Headers) -> str | None:
        """Whose key this request has; None without exactly one key that is known."""
        given = headers.getlist("authorization")
        scheme, _, key = (given[0] if len(given) == 1 else "").partition(" ")
        if scheme.lower() != _SCHEME or len(key) > _MOST_CHARACTERS:
            return None
        digest, found = _digest(key.strip()), None
        for name, one in self._digests.items():
            if hmac.compare_digest(one, digest):
                found = name
        return found

    def wait_s(self, name: str) -> float:
        """Counts a request of that key's. How long it has to wait; 0 if it may be answered now."""
        now_s = self._now()
        left, as_of_s = self._left.get(name, (AT_ONCE, now_s))
        left = min(AT_ONCE, left + (now_s - as_of_s) * A_SECOND)
        may = left >= 1
        self._left[name] = (left - 1 if may else left, now_s)
        return 0.0 if may else (1 - left) / A_SECOND


def _digest(key: str) -> bytes:
    """Of one length, whatever the key's is."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
