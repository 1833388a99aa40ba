"""The store that machines share, as this machine sees it: is it there, is it fit, is it near."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Iterator
from typing import Any, Final

from bridge.errors import ConfigError
from bridge.server.store.claims import StoreError
from bridge.settings.settings import Settings

OLDEST: Final = (6, 2)
FAR_MS: Final = 10.0
CLOCK_S: Final = 2.0
PINGS: Final = 9
WAIT_S: Final = 2.0
KEPT_S: Final = 10
NAME: Final = "store"


async def examine(settings: Settings) -> list[tuple[str, str]]:
    """What is found, and what to do about it, empty where nothing is wrong."""
    url = "" if settings.store is None else settings.store.get_secret_value()
    try:
        from bridge.server.store.redis_claims import RedisClaims  # noqa: PLC0415  its client is an extra
        from bridge.server.store.redis_connection import connect, store_errors  # noqa: PLC0415

        claims = RedisClaims(connect(url, settings.store_ca, WAIT_S), settings.store_prefix)
    except ConfigError as error:
        return [(str(error), "install it, or mend the URL")]
    try:
        await claims.ping()
        with store_errors():
            return [*_of_server(await claims.client.info()), *await _of_way(claims), *_of_key(settings)]
    except StoreError as error:
        return [
            (
                f"it cannot be used: {error}",
                "look at BRIDGE_STORE, and whether the server can be reached from here",
            )
        ]
    finally:
        await claims.close()


def _of_server(info: dict[str, Any]) -> Iterator[tuple[str, str]]:
    version = str(info.get("redis_version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        yield f"its server is Redis {version or 'of an unknown version'}", "use Redis 6.2 or later, or Valkey"
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        cure = "set maxmemory-policy to noeviction: with this one a full server forgets whose a call is"
        yield f"its maxmemory-policy is {policy}", cure


async def _of_way(claims: Any) -> list[tuple[str, str]]:
    client, found = claims.client, []
    key, value = f"{claims.prefix}doctor:{secrets.token_hex(4)}", secrets.token_bytes(8)
    await client.set(key, value, ex=KEPT_S)
    if await client.get(key) != value:
        cure = "BRIDGE_STORE leads to several servers, or to a replica: name one that takes writes"
        found.append(("what is written there is not read there", cure))
    took_ms = []
    for _ in range(PINGS):
        began_s = time.perf_counter()
        await client.ping()
        took_ms.append((time.perf_counter() - began_s) * 1000)
    away_ms = statistics.median(took_ms)
    seconds, micros = await client.time()
    off_s = abs(time.time() - (int(seconds) + int(micros) / 1_000_000))
    if away_ms > FAR_MS:
        cure = "put it in this machine's region: callers wait for it before the first word"
        found.append((f"it is {away_ms:.0f} ms away", cure))
    if off_s > CLOCK_S:
        cure = "let this machine set its clock (NTP): tokens of a stream are good for a minute"
        found.append((f"its clock and this machine's are {off_s:.0f} s apart", cure))
    return found or [(f"it answers within {away_ms:.1f} ms, and takes what is written", "")]


def _of_key(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.store_key:
        cure = "set BRIDGE_STORE_KEY (`openssl rand -base64 32`), the same on all machines"
        yield "without BRIDGE_STORE_KEY a call that moves begins without what was said", cure
