"""Settings of the models' vendors: whose key is which, and where a resource of one's own is."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from bridge.agents.importing import imported
from bridge.core.messages import VendorPlan
from bridge.errors import ConfigError
from bridge.settings.values import Wrong, read_by, secret
from bridge.sockets.peers import is_loopback
from bridge.upstreams import UPSTREAMS, azure
from bridge.upstreams.plans import plan_of

if TYPE_CHECKING:
    from bridge.settings.settings import Settings

ENDPOINT: Final = "AZURE_OPENAI_ENDPOINT"
KEYS: Final = "BRIDGE_FAILOVER_KEYS"
TOKEN: Final = "BRIDGE_AZURE_TOKEN"  # noqa: S105  the name of a setting


def endpoint(text: str) -> str:
    """A resource's address, as the portal shows it."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise Wrong("does not begin with https://", "copy it from the portal: https://….openai.azure.com")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Wrong(
            "begins with http://", "write https://: keys and voices go unencrypted to this machine only"
        )
    if parts.query or parts.fragment or parts.username:
        raise Wrong("holds more than an address", "leave off what follows the host and its path")
    try:
        azure.realtime_url(text)
    except ConfigError as error:
        raise Wrong("is another API's", str(error)) from error
    return text.strip().rstrip("/")


def several(text: str) -> tuple[str, ...]:
    """Vendors, by comma."""
    return tuple(piece for piece in (part.strip() for part in text.split(",")) if piece)


def sessions(text: str) -> int:
    """How many of them may be open."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise Wrong("is no number of sessions", "write a whole number from 1 on, or leave it out")
    return int(text)


def host_keys(text: str) -> dict[str, SecretStr]:
    """`host=key,…`: keys of addresses to which calls go on, by host, or by host and port."""
    found: dict[str, SecretStr] = {}
    for piece in several(text):
        host, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or not value or not host or "/" in host:
            raise Wrong(
                "holds a piece that is not host=key", "write my-eu-resource.openai.azure.com=key, by comma"
            )
        if host.lower() in found:
            raise Wrong("names a host twice", "give each host one key")
        found[host.lower()] = secret(value)
    return found


class VendorSettings(BaseSettings):
    """Keys of vendors. Only the vendor gets the vendor's key."""

    openai_api_key: Annotated[SecretStr | None, read_by(secret)] = Field(
        None, validation_alias="OPENAI_API_KEY"
    )
    azure_endpoint: Annotated[str | None, read_by(endpoint)] = Field(None, validation_alias=ENDPOINT)
    azure_api_key: Annotated[SecretStr | None, read_by(secret)] = Field(None, validation_alias=azure.KEY)
    azure_token: str | Callable[..., Any] | None = Field(None, validation_alias=TOKEN)
    xai_api_key: Annotated[SecretStr | None, read_by(secret)] = Field(None, validation_alias="XAI_API_KEY")

    failover: Annotated[tuple[str, ...], NoDecode, read_by(several, ())] = Field(
        (), validation_alias="BRIDGE_FAILOVER"
    )
    failover_sessions: Annotated[int | None, read_by(sessions)] = Field(
        None, validation_alias="BRIDGE_FAILOVER_SESSIONS"
    )

    failover_keys: Annotated[dict[str, SecretStr], NoDecode, read_by(host_keys, {})] = Field(
        {}, validation_alias=KEYS, repr=False
    )

    def _vendor_keys(self) -> dict[str, SecretStr]:
        keys = {"OPENAI_API_KEY": self.openai_api_key, azure.KEY: self.azure_api_key}
        keys["XAI_API_KEY"] = self.xai_api_key
        return {name: key for name, key in keys.items() if key is not None}


def key_of(settings: VendorSettings, name: str) -> SecretStr | None:
    """The key that the setting of that name holds; None where it is not set, or there is no such."""
    return settings._vendor_keys().get(name)  # noqa: SLF001  its own module


def own_key(settings: VendorSettings, url: str) -> SecretStr | None:
    """The key that is named for the host of that address alone."""
    parts, keys = urlsplit(url), settings.failover_keys
    return keys.get(parts.netloc.lower()) or keys.get(parts.hostname or "")


def key_at(settings: "Settings", name: str, url: str) -> SecretStr | None:
    """The key that a server there is shown, of those that the setting of that name is for. Each resource of
    Azure's has keys of its own: no other one is shown that of AZURE_OPENAI_ENDPOINT.
    """
    host, usual = urlsplit(url).hostname, key_of(settings, name)
    if (own := own_key(settings, url)) is not None or name != azure.KEY or is_loopback(host):
        return own or usual
    known = {urlsplit(one).hostname for one in (settings.azure_endpoint, settings.upstream_url) if one}
    return usual if not known or host in known else None


def proved_by(settings: VendorSettings, name: str, url: str) -> str:
    """The setting that holds what a server there is shown, where the setting of that name is its vendor's."""
    token = name == azure.KEY and settings.azure_token is not None
    return KEYS if own_key(settings, url) is not None else TOKEN if token else name


def unkeyed(settings: "Settings", plan: VendorPlan) -> tuple[str, str, str] | None:
    """What keeps a call from going on there: setting, what is wrong, cure. None where it can be dialled."""
    name = UPSTREAMS[plan.name].key
    token = name == azure.KEY and settings.azure_token is not None
    host = urlsplit(plan.url).hostname
    if not name or token or is_loopback(host) or key_at(settings, name, plan.url) is not None:
        return None
    if key_of(settings, name) is None:
        return name, "is not set, and calls are to go on there (BRIDGE_FAILOVER)", "set it"
    return KEYS, f"has no key of {host}, where calls are to go on", f"write {host}=key"


def token_source(settings: VendorSettings) -> Callable[[], str | Awaitable[str]] | None:
    """What gives a token in the place of Azure's key; None where the key is used. Raises ConfigError for a
    name that cannot be imported.
    """
    named = settings.azure_token
    if named is None or callable(named):
        return named
    module, _, attribute = named.partition(":")
    if not module or not attribute:
        raise ConfigError("a function is named as module:attribute, as in tokens:entra")
    found = getattr(imported(module), attribute, None)
    if not callable(found):
        raise ConfigError(f"{module} has no function {attribute!r}")
    source: Callable[[], str | Awaitable[str]] = found
    return source


def mistakes(settings: "Settings", name: str, *, loopback: bool) -> list[tuple[str, str, str]]:
    """What keeps that upstream from being dialled: setting, what is wrong, cure. A server on `loopback` that
    was named on purpose asks for no key.
    """
    vendor = UPSTREAMS[name]
    if vendor.url is None and settings.vendor_url(name) is None:
        return [(ENDPOINT, f"is not set, and {name} has no address of its own", "copy it from the portal")]
    found = []
    if vendor.key == azure.KEY and settings.azure_token is not None:
        try:
            token_source(settings)
        except ConfigError as error:
            found.append((TOKEN, "names no function", str(error)))
    elif key_of(settings, vendor.key) is None and not loopback:
        others = [one for one, other in UPSTREAMS.items() if other.key and key_of(settings, other.key)]
        cure = (
            f"BRIDGE_UPSTREAM={others[0]}, whose key is set"
            if others
            else ("BRIDGE_UPSTREAM=embedded, if a script is to answer callers (a rehearsal)")
        )
        found.append((vendor.key, "is not set, so no call could be answered", f"set it; or {cure}"))
    if not settings.model:
        found.append(("BRIDGE_MODEL", f"is not set, and {name} knows models by deployments", "name yours"))
    if settings.transcribe == "":
        cure = (
            "name the deployment that transcribes; or `off`, and calls that break off are gone on with less"
        )
        found.append(("BRIDGE_TRANSCRIBE", f"is not set, and {name} knows models by deployments", cure))
    return found


def plans(settings: VendorSettings, first: str) -> tuple[VendorPlan, ...]:
    """With whom calls go on that begin with the upstream of that name. Raises ConfigError."""
    vendor = UPSTREAMS[first]
    return tuple(
        plan_of(text, vendor.capabilities, settings.azure_endpoint, vendor.prices)
        for text in settings.failover
    )


def failover_mistakes(settings: "Settings", first: str) -> list[tuple[str, str, str]]:
    """What keeps calls from going on with the vendors that are named for it: setting, what is wrong, cure."""
    try:
        others = plans(settings, first)
    except ConfigError as error:
        return [("BRIDGE_FAILOVER", "names what a call cannot go on with", str(error))]
    return [mistake for plan in others if (mistake := unkeyed(settings, plan)) is not None]
