"""The way to the model, with the key where its vendor wants one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from bridge.server.services import Services
from bridge.settings.settings import Settings
from bridge.sockets.dial import DialError, Socket, dial
from bridge.upstreams import Dial
from bridge.upstreams.dial import Auth


def dialler(settings: Settings, services: Services) -> Callable[[Dial], Awaitable[Socket]]:
    """The way to the model: with the key, where its vendor wants one; closed while the breaker is open."""
    breaker = services.health.breaker

    async def dial_with_key(dialled: Dial) -> Socket:
        breaker.check()
        try:
            socket = await dial(dialled.url, {**dict(dialled.headers), **proof_for(settings, dialled.auth)})
        except DialError as error:
            breaker.failed(error)
            raise
        return socket if services.users is None else services.users.with_secrets(socket)

    return dial_with_key


def proof_for(settings: Settings, auth: Auth) -> dict[str, str]:
    """The headers that authenticate us. Only the vendor gets the vendor's key."""
    if auth is Auth.NONE or settings.openai_api_key is None:
        return {}
    key = settings.openai_api_key.get_secret_value()
    match auth:
        case Auth.BEARER:
            return {"Authorization": f"Bearer {key}"}
        case Auth.API_KEY:
            return {"api-key": key}
    assert_never(auth)
