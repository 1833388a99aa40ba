"""The way to a Redis or Valkey server: `redis://`, `rediss://`, `unix://`, and `redis+sentinel://h1,h2/master`.

The extra `redis` has to be installed; this module is imported only where BRIDGE_STORE is set. The client's
own defaults suit programs that can wait: ten retries against a server that is frozen are seven seconds. Here
a slow store is an absent store, so a command is tried once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bridge.errors import ConfigError
from bridge.server.store.claims import StoreError
from bridge.settings.store_address import store_address

try:
    from redis import exceptions
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.connection import parse_url
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff
except ImportError:
    what = "BRIDGE_STORE needs its client: pip install redis cryptography (the extra `redis`)"
    raise ConfigError(what) from None

# Others take the client's names from here, so that a missing one is said in these words.
__all__ = ("Redis", "close", "connect", "exceptions", "store_errors")
SOCKET_S: Final = 0.25
CONNECTIONS: Final = 16
"""Of a store that is 100 ms away this is enough for the calls of a machine that goes: each asks for three
things at once, and four come in that time.
"""
SENTINEL_CONNECTIONS: Final = 64
"""Their pool does not wait for one that is free."""
_POOL_WAIT_S: Final = 0.1
_SENTINEL_PORT: Final = 26_379


def connect(url: str, ca: Path | None = None, socket_s: float = SOCKET_S) -> Redis:
    """A client for that URL; nothing is dialled yet. `ca` has the certificates that sign the server's, for
    one that signs its own. `socket_s` is longer than the longest blocking read. Raises ConfigError for a URL
    that the client cannot read.
    """
    try:
        if store_address(url).scheme == "redis+sentinel":
            return _by_sentinel(url, ca, socket_s)
        options = _options(url, ca, socket_s)
        pool = BlockingConnectionPool(max_connections=CONNECTIONS, timeout=_POOL_WAIT_S, **options)
        return Redis.from_pool(pool)
    except (ValueError, TypeError) as error:
        # TypeError: the query has an argument that the client does not know.
        raise ConfigError(f"BRIDGE_STORE has a part that the client refuses: {_plain(error, url)}") from None


def _options(url: str, ca: Path | None, socket_s: float) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_url(url))
    if ca is not None and store_address(url).scheme == "rediss":
        options.setdefault("ssl_ca_certs", str(ca))
    return {**_ours(socket_s), **options}


def _ours(socket_s: float) -> dict[str, Any]:
    ours: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": socket_s,
        "socket_connect_timeout": SOCKET_S,
        "health_check_interval": 0,
        "decode_responses": False,
        "protocol": 2,
    }
    with contextlib.suppress(ImportError):
        # Newer clients only. It may lengthen timeouts when the server says that it is to be replaced.
        from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415

        ours["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
    with contextlib.suppress(ImportError):
        # Likewise. It says its name and waits for the answer: a new connection takes as long again.
        from redis.driver_info import DriverInfo  # noqa: F401, PLC0415

        ours["driver_info"] = None
    return ours


def _by_sentinel(url: str, ca: Path | None, socket_s: float) -> Redis:
    """The client has no URL of its own for this. User, password and query are those of the server that the
    sentinels name.
    """
    parts = store_address(url)
    at = f"{parts.credentials}@" if parts.credentials else ""
    plain = f"redis://{at}server/0?{parts.query}"
    options = _options(plain, ca, socket_s)
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    where = [(name, port or _SENTINEL_PORT) for name, port in parts.hosts]
    ours = _ours(socket_s)
    untyped: Any = Sentinel
    sentinel = untyped(where, sentinel_kwargs=dict(ours), **options)
    client: Redis = sentinel.master_for(parts.path.strip("/"), max_connections=SENTINEL_CONNECTIONS)
    return client


async def close(client: Redis) -> None:
    """Let go of its connections, those to sentinels too, which the client does not know of."""
    await client.aclose()
    manager: Any = getattr(client.connection_pool, "sentinel_manager", None)
    for sentinel in [] if manager is None else manager.sentinels:
        await sentinel.aclose()


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """What the client raises becomes a StoreError. Its text holds neither address nor password."""
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        kind = kind_of(error)
        raise StoreError(kind, _WORDS.get(kind) or type(error).__name__) from error


_WORDS: Final = {
    "connection": "no server can be reached at BRIDGE_STORE",
    "auth": "user or password is refused",
    "readonly": "it is a replica, and takes no writes",
    "oom": "its memory is full",
    "busy": "a script or its start keeps it busy",
    "timeout": "it is silent",
}


def kind_of(error: Exception) -> str:
    """Of an error of the client's: one of the kinds of `StoreError`."""
    # An error inside a script has its code within a sentence, on Redis 6.
    said = str(error)
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return "auth"
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, exceptions.ReadOnlyError) or "READONLY " in said:
        return "readonly"
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM command" in said:
        return "oom"
    if isinstance(error, exceptions.BusyLoadingError) or said.startswith(("BUSY ", "Redis is busy")):
        return "busy"
    if "WRONGPASS" in said or "NOAUTH" in said or "NOPERM" in said:
        return "auth"
    return "connection" if isinstance(error, exceptions.ConnectionError | OSError) else "other"


def _plain(error: Exception, url: str) -> str:
    password = store_address(url).password
    return str(error).replace(password, "***") if password else str(error)
