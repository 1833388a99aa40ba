"""Azure OpenAI Realtime: the GA dialect, at a resource of one's own, where deployments stand for models.

https://learn.microsoft.com/azure/ai-foundry/openai/how-to/realtime-audio-websockets
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from bridge.errors import ConfigError

from .configuration import part
from .dial import Auth
from .openai import OpenAI
from .realtime import Realtime

KEY: Final = "AZURE_OPENAI_API_KEY"
PATH: Final = "/openai/v1/realtime"
_SAME: Final = ("/", "/openai", "/openai/v1", PATH)
"""Paths of an endpoint, as the portal, SDKs and samples write it."""
NO_ADDRESS: Final = "a resource has an address of its own: AZURE_OPENAI_ENDPOINT names it"
_VOICE_LIVE: Final = "/voice-live"


class AzureRealtime(Realtime):
    """A deployment has a prompt of its own where the configuration's is blank. That is no difference."""

    __slots__ = ()

    def _differences(self, asked: dict[str, Any], told: dict[str, Any]) -> tuple[str, ...]:
        blank = not part(asked, "instructions")
        compared = {name: value for name, value in asked.items() if not blank or name != "instructions"}
        return super()._differences(compared, told)


class Azure(OpenAI):
    """One session with a deployment: its `Upstream`. `url` is the resource's endpoint, http(s) or ws(s)."""

    __slots__ = ()

    def __init__(self, epoch: int = 1, url: str | None = None) -> None:
        if url is None:
            raise ConfigError(NO_ADDRESS)
        super().__init__(epoch, realtime_url(url), auth=Auth.API_KEY, key=KEY, dialect=AzureRealtime)


def realtime_url(endpoint: str, own: str = PATH) -> str:
    """Where a resource has its sessions of that API, at the path `own`. A path that is not a usual one is
    kept: a gateway's. Raises ConfigError for an address that is another API's.
    """
    try:
        parts = urlsplit(endpoint.strip())
    except ValueError as error:
        raise ConfigError(f"an endpoint that cannot be read ({error})") from error
    path = parts.path.rstrip("/") or "/"
    if path.startswith(_VOICE_LIVE):
        raise ConfigError("Voice Live is another API: name the resource, https://….openai.azure.com")
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    return urlunsplit(parts._replace(scheme=scheme, path=own if path in _SAME else parts.path))
