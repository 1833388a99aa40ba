"""An HTTP endpoint that costs: each answer is kept on disk, by the hash of what was asked."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import math
import os
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from bridge.sockets.peers import is_loopback
from bridge.sockets.urls import opener

from ..errors import BridgeError, ConfigError
from ..recording.json_text import UNREADABLE
from .spending import SPENDING, Rate

Answer = TypeVar("Answer")
WITHIN_S: Final = 60.0
"""For the whole answer."""
MOST_BYTES: Final = 16 << 20
"""No answer in words or in speech is longer."""
_PART_BYTES: Final = 1 << 16


_REFUSED: Final = (*UNREADABLE, LookupError, TypeError, AttributeError)


class EndpointFailed(BridgeError):
    """It did not answer; the message has neither its key nor what it said."""


class EndpointRefused(EndpointFailed):
    """It answered with an error, or there was no connection to it: it bills nothing."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address with its key. `keeps` is False where each answer is to be asked for anew; `rate` is the
    price of its tokens.
    """

    url: str
    key: str = ""
    keeps: bool = True
    rate: Rate | None = None

    @classmethod
    def of(cls, address: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        """That of an address with a query, `https://…/v1?model=…&key_env=NAME&usd=0.25,2`, and what else the
        query has. Raises ConfigError for an address that is not http(s), or has a password in it, for a key
        that would go unencrypted to another machine, and for a price that is none.
        """
        try:
            parts = urllib.parse.urlsplit(address)
            _ = parts.port
        except ValueError as error:
            raise ConfigError(f"that is no http(s) address: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise ConfigError(f"{parts.scheme}://{parts.hostname} is no http(s) address without a password")
        given = dict(urllib.parse.parse_qsl(parts.query))
        name = given.pop("key_env", "")
        if name and not os.environ.get(name):
            raise ConfigError(f"{name} is not set, and {parts.hostname} wants a key")
        if name and parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ConfigError(f"a key goes unencrypted to this machine only: write https://{parts.hostname}")
        rate = rate_of(given.pop("usd", ""))
        base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        url = base if base.endswith(path) else base + path
        return cls(url, os.environ.get(name, ""), rate=rate), given

    def ask(self, body: Mapping[str, Any], parse: Callable[[bytes], Answer]) -> Answer:
        """Its answer to this JSON, see `post`."""
        raw = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
        return self.post(raw, "application/json", parse)

    def post(self, raw: bytes, content_type: str, parse: Callable[[bytes], Answer]) -> Answer:
        """What `parse` makes of its answer to this content. One that `parse` refuses with a ValueError, a
        LookupError or a TypeError is not kept. Raises EndpointFailed.
        """
        kept = cache_folder() / hashlib.sha256(self.url.encode() + b"\n" + raw).hexdigest()
        if self.keeps and kept.is_file():
            with contextlib.suppress(BridgeError, OSError, *_REFUSED):
                return parse(kept.read_bytes())
        found = self._paid(raw, content_type)
        try:
            parsed = parse(found)
        except _REFUSED as error:
            raise EndpointFailed(f"{self.url} answered with something else than was asked for") from error
        if self.keeps:
            _keep(kept, found)
        return parsed

    def _paid(self, raw: bytes, content_type: str) -> bytes:
        """Its answer, if there is money for it."""
        spending, rate = SPENDING.get(), self.rate
        if spending is None or rate is None:
            return self._answer(raw, content_type)
        aside_usd = spending.set_aside(rate, raw)
        if aside_usd is None:
            raise EndpointFailed(f"{self.url} was not asked: --max-usd {spending.most_usd:g} allows no more")
        try:
            found = self._answer(raw, content_type)
        except EndpointRefused:
            spending.refused(aside_usd)
            raise
        spending.paid(aside_usd, rate, found)
        return found

    def _answer(self, raw: bytes, content_type: str) -> bytes:
        headers = {"Content-Type": content_type}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url, raw, headers)  # noqa: S310  http(s), see `of`
        try:
            with opener(self.url, redirects=False).open(request, timeout=WITHIN_S) as answer:
                return self._read(answer)
        except urllib.error.HTTPError as error:
            error.close()
            raise EndpointRefused(f"{self.url} answered {error.code}") from None
        except urllib.error.URLError as error:  # urllib's word for a request that was not sent
            raise EndpointRefused(f"{self.url} cannot be reached: {type(error.reason).__name__}") from None
        except (OSError, http.client.HTTPException) as error:
            raise EndpointFailed(f"{self.url} cannot be reached: {type(error).__name__}") from None

    def _read(self, answer: Any) -> bytes:
        """All of it, within bounds: the timeout of a socket is one between two packets."""
        until_s, found = time.monotonic() + WITHIN_S, bytearray()
        while part := answer.read1(_PART_BYTES):
            found += part
            if len(found) > MOST_BYTES:
                raise EndpointFailed(f"{self.url} answered with more than {MOST_BYTES >> 20} MiB")
            if time.monotonic() > until_s:
                raise EndpointFailed(f"{self.url} was not done with its answer after {WITHIN_S:.0f} s")
        if answer.length:
            raise EndpointFailed(f"{self.url} broke off in its answer")
        return bytes(found)


def rate_of(usd: str) -> Rate | None:
    """The price of an address, `0.25,2`; None for "". Raises ConfigError."""
    if not usd:
        return None
    try:
        into, out = (float(one) for one in usd.split(","))
    except ValueError:
        into = out = math.nan
    if not (0 <= into < math.inf and 0 <= out < math.inf):
        raise ConfigError(f"usd={usd} is no price: two numbers, of a million tokens read and written")
    return Rate(into, out)


def _keep(path: Path, found: bytes) -> None:
    """For this user alone, and whole or not at all. Where that cannot be, it is asked for again."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_suffix(f".{secrets.token_hex(8)}")
        part.touch(0o600)
        part.write_bytes(found)
        part.replace(path)


def cache_folder() -> Path:
    """Where answers are kept; `XDG_CACHE_HOME` moves it."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "phonebridge" / "callers"
