"""The way to the model, with the key where its vendor wants one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, assert_never
from urllib.parse import urlsplit

from bridge.agents.loop import Job, Pool
from bridge.runner.vendor_sessions import VENDOR_SESSIONS
from bridge.server.services import Services
from bridge.settings.settings import Settings
from bridge.settings.vendors import key_at, own_key, token_source
from bridge.sockets.dial import DialError, Socket, dial
from bridge.sockets.peers import is_loopback
from bridge.upstreams import UPSTREAMS, Dial, azure
from bridge.upstreams.dial import Auth

TOKEN_S: Final = 3.0
"""What the function that gives tokens has for one."""
_THREADS: Final = Pool(4)


def dialler(
    settings: Settings, services: Services, first: str | None = None
) -> Callable[[Dial], Awaitable[Socket]]:
    """The way to the model: with the key, where its vendor wants one; closed while the breaker is open.
    `first` is where calls begin, None for the vendor's own address.
    """
    breaker = services.health.breaker
    breaker.first = urlsplit(first or UPSTREAMS[settings.upstream].url or "").netloc
    breaker.others = partial(_goes_on, settings, services)
    VENDOR_SESSIONS.most = settings.failover_sessions

    async def dial_with_key(dialled: Dial) -> Socket:
        place = dialled.url.partition("//")[2]
        breaker.check(place)
        try:
            socket = await dial(dialled.url, {**dialled.headers, **await proof_for(settings, dialled)})
        except DialError as error:
            breaker.failed(error, place)
            raise
        return socket if services.users is None else services.users.with_secrets(socket)

    return dial_with_key


def _goes_on(settings: Settings, services: Services) -> bool:
    """Whether calls go on with another vendor: by the agent, or where it says nothing by the settings."""
    named = None if services.users is None else services.users.agent.failover
    return bool(settings.failover if named is None else named)


async def proof_for(settings: Settings, dialled: Dial) -> dict[str, str]:
    """The headers that authenticate us. Only the vendor gets the vendor's key. Raises DialError where there
    is none for a server that is not on this machine, or no token to be had from the function for it.
    """
    if dialled.auth is Auth.NONE:
        return {}
    token = dialled.key == azure.KEY and settings.azure_token is not None
    if token and own_key(settings, dialled.url) is None:
        return {"Authorization": f"Bearer {await _token(settings)}"}
    secret = key_at(settings, dialled.key, dialled.url)
    if secret is None and is_loopback(urlsplit(dialled.url).hostname):
        return {}
    if secret is None:
        raise DialError("no key", f"{dialled.key} is not set here, or is another resource's", 401)
    key = secret.get_secret_value()
    match dialled.auth:
        case Auth.BEARER:
            return {"Authorization": f"Bearer {key}"}
        case Auth.API_KEY:
            return {"api-key": key}
    assert_never(dialled.auth)


async def _token(settings: Settings) -> str:
    """From the user's function, on a thread: it may ask a server, and never come back."""
    try:
        async with asyncio.timeout(TOKEN_S):
            found = await asyncio.wrap_future(_THREADS.submit(Job(partial(_asked, settings))).future)
    except Exception as error:  # noqa: BLE001  user code, whose words might hold the token
        raise DialError("token", f"BRIDGE_AZURE_TOKEN raised {type(error).__name__}") from None
    if not isinstance(found, str) or not found or not found.isascii() or not found.isprintable():
        raise DialError("token", "BRIDGE_AZURE_TOKEN gave no token")
    return found


def _asked(settings: Settings) -> object:
    source = token_source(settings)
    found = source() if source is not None else ""
    return asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found


async def _awaited(found: Awaitable[str]) -> str:
    return await found
