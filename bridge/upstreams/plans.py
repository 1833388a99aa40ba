"""With whom a call goes on where its vendor is out, as an operator writes it down."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from bridge.core.messages import Capabilities, VendorPlan
from bridge.errors import ConfigError

from . import UPSTREAMS, azure, voices

HOW: Final = "name[:model[:voice[:transcription]]][@address]"


def plan_of(
    text: str, first: Capabilities, endpoint: str | None = None, company: str = "openai"
) -> VendorPlan:
    """One of them: `azure:my-deployment`, `xai`, `azure:eu@https://….openai.azure.com`. `first` is what the
    vendor can do that calls begin with, `company` its name in the table of prices, `endpoint` the resource of
    Azure's where the text names none. A voice that it leaves out is the call's own where that vendor has it,
    else the one most like it. A transcription that it leaves out is that of the call's own session where both
    vendors can do the same, else the usual one of that vendor. A deployment that transcribes is known to its
    resource only. Raises ConfigError.
    """
    named, _, address = text.strip().partition("@")
    name, *parts = (part.strip() for part in named.split(":"))
    model, voice, transcription, *more = [*parts, "", "", ""][: max(3, len(parts))]
    if more:
        raise ConfigError(f"{name} has too many parts: write {HOW}")
    vendor = UPSTREAMS.get(name)
    if vendor is None:
        raise ConfigError(f"{name!r} is no vendor: there is {', '.join(sorted(UPSTREAMS))}")
    url = address.strip() or (endpoint if vendor.key == azure.KEY else None) or ""
    if not model and not vendor.model:
        raise ConfigError(f"{name} knows models by deployments: write {name}:DEPLOYMENT")
    if address.strip():
        _check_address(name, url)
    try:
        vendor(1, url or None)
    except ConfigError as error:
        raise ConfigError(f"{name} cannot be dialled: {error}") from error
    pairs, voice = voices.wished(voice)
    if not voice and vendor.voices != _voices_at(company):
        pairs, voice = {**voices.nearest(vendor.voices), **pairs}, vendor.voice
    if vendor.capabilities != first or vendor.prices != company:
        transcription = transcription or vendor.transcription
    plan = VendorPlan(name, vendor.capabilities, model or vendor.model, voice, transcription, url=url)
    its_own = first.duplex and not vendor.capabilities.duplex
    return msgspec.structs.replace(plan, voices=pairs, transcribes=its_own)


def _voices_at(company: str) -> tuple[str, ...]:
    return next(vendor.voices for vendor in UPSTREAMS.values() if vendor.prices == company)


def _check_address(name: str, url: str) -> None:
    """It takes a key, and stands in recordings. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{name} has an address that cannot be read ({error})") from error
    usual = ("wss", "ws", "https", "http") if UPSTREAMS[name].key == azure.KEY else ("wss", "ws")
    if parts.scheme not in usual or not host:
        raise ConfigError(f"{name}'s address begins with {' or '.join(f'{one}://' for one in usual[::2])}")
    if parts.scheme in ("ws", "http") and not _this_machine(host):
        raise ConfigError(f"{name}'s address begins with {parts.scheme}://: keys and voices go unencrypted")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{name}'s address holds more than a host and a path")


def _this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdecimal())
