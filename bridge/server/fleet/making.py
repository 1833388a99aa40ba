"""From settings to the fleet of a process."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from importlib import metadata
from typing import Final

from bridge.errors import ConfigError
from bridge.ops.health import DayMoney
from bridge.ops.metrics import Metrics
from bridge.ops.store_metrics import StoreMetrics
from bridge.server.routing.router import Router
from bridge.server.store.claims import Claims, Limit, Process, Spent, Status
from bridge.server.store.commands import Commands
from bridge.server.store.sealing import KeyRing, OnDisk, Sealing, Withheld
from bridge.server.store.shared_claims import SharedClaims
from bridge.server.stream_names import StreamNames
from bridge.settings.settings import Settings

from .fleet import Fleet

ALONE: Final = (
    "BRIDGE_FLEET_CALLS is set, and this process knows of no others: set BRIDGE_STORE, or start with "
    "--workers; calls of one process are limited by BRIDGE_MAX_CALLS"
)


def make_fleet(
    settings: Settings,
    money: DayMoney,
    claims: Claims | None = None,
    metrics: Metrics | None = None,
    router: Router | None = None,
    commands: Commands | None = None,
) -> Fleet:
    """The fleet that these settings describe, or that of this machine's workers, who have these `claims` and
    `commands`; of one process without either. Raises ConfigError where the store's client is missing, or
    refuses the URL, and for a limit over all processes that only this one would know of.
    """
    sealing: Sealing = OnDisk()
    found = _claims(settings) if claims is None else claims
    if found is None:
        return _alone(settings)
    watch = StoreMetrics((Metrics() if metrics is None else metrics).registry)
    if claims is None:
        keys = [key.get_secret_value() for key in settings.store_key]
        sealing = KeyRing(keys, watch.unreadable) if keys else Withheld()

    def spent() -> Spent:
        of_groups = {} if router is None else router.spent()
        return Spent(dt.datetime.now(dt.UTC).date().isoformat(), {**of_groups, "": money.today_micro_usd})

    process = Process(settings.machine, secrets.token_hex(8))
    shared = SharedClaims(found, process, sealing, spent=spent, watch=watch)
    fleet = Fleet(
        shared,
        StreamNames(settings.stream_token_secret()),
        limits=_no_limits if router is None else router.limits,
        whole=_whole(settings),
        said=Status(version=_version(), config=_config(settings), address=settings.machine_url or ""),
        commands=commands or _commands(settings),
        watch=watch,
    )
    fleet.elsewhere = settings.store is not None
    return fleet


def _alone(settings: Settings) -> Fleet:
    if settings.fleet_calls is not None:
        raise ConfigError(ALONE)
    return Fleet.alone(settings.machine)


def _whole(settings: Settings) -> Limit:
    """Of all calls on all machines."""
    cost = settings.max_day_cost
    return Limit("", settings.fleet_calls, None if cost is None else max(1, round(cost * 1_000_000)))


def _no_limits(_call_sid: str) -> tuple[Limit, ...]:
    return ()


def _claims(settings: Settings) -> Claims | None:
    if settings.store is None:
        return None
    from bridge.server.store.redis_claims import RedisClaims  # noqa: PLC0415  its client is an extra
    from bridge.server.store.redis_connection import connect  # noqa: PLC0415

    return RedisClaims(connect(settings.store.get_secret_value(), settings.store_ca), settings.store_prefix)


def _commands(settings: Settings) -> Commands | None:
    if settings.store is None:
        return None
    from bridge.server.store.redis_commands import RedisCommands  # noqa: PLC0415  its client is an extra
    from bridge.server.store.redis_connection import connect  # noqa: PLC0415

    url = settings.store.get_secret_value()
    return RedisCommands(lambda socket_s: connect(url, settings.store_ca, socket_s), settings.store_prefix)


def _version() -> str:
    """As installed; empty for sources that are only in the path."""
    try:
        return metadata.version("phonebridge")
    except metadata.PackageNotFoundError:
        return ""


def _config(settings: Settings) -> str:
    """A digest of what has to be equal on all machines."""
    tokens = sorted(token.get_secret_value() for token in settings.twilio_auth_token)
    keys = [key.get_secret_value().hex() for key in settings.store_key]
    text = repr((settings.public_url, tokens, keys, sorted(settings.transfers.items())))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
