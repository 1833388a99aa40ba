"""Readers of the settings about notices to other systems."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretBytes, SecretStr

from .values import Wrong

MOST: Final = 8
ON_REQUEST: Final = ("call.turn", "tool.finished", "recording.ready")
PREFIX: Final = "whsec_"
KEY_BYTES: Final = range(24, 65)
"""Standard Webhooks, "Signature scheme": a key has 24 to 64 bytes."""


def addresses(text: str) -> tuple[SecretStr, ...]:
    """URLs, comma-separated; secret, for many receivers put a token into the path."""
    return tuple(SecretStr(_address(one)) for one in _parts(text))


def keys(text: str) -> tuple[SecretBytes, ...]:
    """Keys of Standard Webhooks, `whsec_` and base64; comma-separated while they rotate."""
    return tuple(SecretBytes(_key(one)) for one in _parts(text))


def _key(text: str) -> bytes:
    cure = f"take your receiver's, or make one: {PREFIX} and what `openssl rand -base64 32` prints"
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Wrong(f"is not base64 behind {PREFIX}", cure) from error
    if len(key) not in KEY_BYTES:
        raise Wrong(f"has a key of {len(key)} bytes, and 24 to 64 are allowed", cure)
    return key


def kinds(text: str) -> tuple[str, ...]:
    """The kinds that are told beside the usual ones, comma-separated."""
    found = _parts(text)
    if unknown := sorted({*found} - {*ON_REQUEST}):
        raise Wrong(f"names {unknown[0]}, which is not told", f"name some of {', '.join(ON_REQUEST)}")
    return tuple(found)


def _parts(text: str) -> list[str]:
    found = [part for one in text.split(",") if (part := one.strip())]
    if len(found) > MOST:
        raise Wrong(f"has {len(found)} entries", f"name {MOST} at most")
    return found


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise Wrong("has an address that can't be read", "write it like https://example.com/calls") from error
    if parts.scheme not in ("https", "http") or not host or port == 0 or not text.isascii():
        raise Wrong("has an address that is not http or https", "write it like https://example.com/calls")
    if parts.fragment or parts.username is not None or any(letter <= " " for letter in text):
        cure = "leave names, passwords and `#` out; a token may stand in the path"
        raise Wrong("has an address with more than host, path and query", cure)
    if parts.scheme == "http" and not _near(host):
        raise Wrong("has an http address", "write https: whatever is told of calls is private")
    return text


def _near(host: str) -> bool:
    """Whether it is this machine or its network: plain http is allowed there, with BRIDGE_NOTICES_PRIVATE."""
    if host == "localhost" or ("." not in host and ":" not in host):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
