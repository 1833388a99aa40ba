"""Settings of a service that runs on several machines: the store that they share, and this machine's name."""

import base64
import binascii
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import unquote

from pydantic import Field, SecretBytes, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from bridge.settings import values
from bridge.settings.store_address import store_address
from bridge.settings.values import Wrong, pieces, read_by

if TYPE_CHECKING:
    from bridge.settings.settings import Settings

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel")
MOST_MACHINE_CHARS: Final = 40
_MOST_KEYS: Final = 8
_KEY_BYTES: Final = 32
_PLATFORM_NAMES: Final = ("FLY_MACHINE_ID", "DYNO")
_FORMS: Final = (
    "write redis://host:6379/0, rediss:// with TLS, unix:///path, or redis+sentinel://host:26379,…/name"
)


def store_url(text: str) -> SecretStr:
    """The address of the store, secret because a password may stand in it. `$NAME` is the address in that
    variable, and `$NAME?…` with arguments behind it: platforms set one, and change it with the password.
    """
    if found := re.fullmatch(r"\$\{?(\w+)\}?(\?\S*)?", text.strip()):
        text = _from_variable(found[1]) + (found[2] or "")
    scheme, separator, rest = text.strip().partition("://")
    if not separator or scheme not in SCHEMES:
        raise Wrong("has a scheme that is not known" if separator else "is no URL", _FORMS)
    if not text.isascii() or any(letter <= " " for letter in text.strip()):
        raise Wrong("holds a space or a letter that is not ASCII", "write it as %20 and the like")
    if "#" in rest:
        raise Wrong("has a fragment", "write a # in a password as %23")
    try:
        hosts = (parts := store_address(text)).hosts
    except ValueError:
        raise Wrong("is no URL that can be read", _FORMS) from None
    if scheme == "unix":
        if not parts.path.strip("/"):
            raise Wrong("names no socket", _FORMS)
    elif not all(name for name, _ in hosts):
        raise Wrong("names no host", _FORMS)
    elif scheme == "redis+sentinel":
        if not re.fullmatch(r"/[\w.-]+", parts.path):
            raise Wrong(
                "names no master", "write its name behind the hosts, redis+sentinel://host:26379/mymaster"
            )
    elif len(hosts) > 1:
        raise Wrong("names several hosts", "write one; several are for redis+sentinel://")
    elif not re.fullmatch(r"(/\d*)?", parts.path):
        raise Wrong("has a path that is no number of a database", "write redis://host:6379/0")
    return SecretStr(text.strip())


def _from_variable(name: str) -> str:
    if not (value := os.environ.get(name, "")):
        raise Wrong(
            f"names the variable {name[:40]}, which is not set", "set it, or write the address itself"
        )
    return value


def store_keys(text: str) -> tuple[SecretBytes, ...]:
    """Keys of 32 bytes in base64, comma-separated while they rotate; the last one encrypts."""
    found = []
    cure = "make one with `openssl rand -base64 32`"
    for piece in pieces(text):
        try:
            key = base64.b64decode(piece.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise Wrong("has a piece that is not base64", cure) from None
        if len(key) != _KEY_BYTES:
            raise Wrong(f"has a key of {len(key)} bytes, and 32 are needed", cure)
        found.append(SecretBytes(key))
    if len(found) > _MOST_KEYS:
        raise Wrong(f"has {len(found)} keys", f"leave {_MOST_KEYS} at most, the one in use last")
    if len({key.get_secret_value() for key in found}) < len(found):
        raise Wrong("has the same key twice", "leave one of them")
    return tuple(found)


def machine_name(text: str) -> str:
    """The name of this machine, as it stands in the URLs of streams; empty for the usual one."""
    if not re.fullmatch(rf"[a-z0-9-]{{0,{MOST_MACHINE_CHARS}}}", text.strip()):
        cure = f"use at most {MOST_MACHINE_CHARS} of the small letters, digits and -, as in web-1"
        raise Wrong("is no name of a machine", cure)
    return text.strip()


def own_name(environment: Mapping[str, str] = os.environ) -> str:
    """What this machine is called where the settings do not say: by its platform, or its host name."""
    named = [value for name in _PLATFORM_NAMES if (value := environment.get(name, ""))]
    plain = re.sub("[^a-z0-9-]+", "-", (named[0] if named else socket.gethostname()).lower())
    return plain[:MOST_MACHINE_CHARS].strip("-") or "machine"


class FleetSettings(BaseSettings):
    """What a process needs in order to share its calls with others."""

    store: Annotated[SecretStr | None, read_by(store_url)] = Field(None, validation_alias="BRIDGE_STORE")
    store_key: Annotated[tuple[SecretBytes, ...], NoDecode, read_by(store_keys, ())] = Field(
        (), validation_alias="BRIDGE_STORE_KEY"
    )
    store_prefix: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,40}$")] = Field(
        "pb", validation_alias="BRIDGE_STORE_PREFIX"
    )
    store_ca: Annotated[Path | None, read_by(values.file)] = Field(None, validation_alias="BRIDGE_STORE_CA")
    machine: Annotated[str, read_by(machine_name, "")] = Field("", validation_alias="BRIDGE_MACHINE")
    machine_url: Annotated[str | None, read_by(values.public_url)] = Field(
        None, validation_alias="BRIDGE_MACHINE_URL"
    )
    stream_route: Literal["none", "path", "fly", "host"] = Field(
        "none", validation_alias="BRIDGE_STREAM_ROUTE"
    )
    fleet_calls: Annotated[int | None, Field(gt=0)] = Field(None, validation_alias="BRIDGE_FLEET_CALLS")

    def _store_secrets(self) -> tuple[str, ...]:
        """What of these may stand in no log: the password of the store, as it is written and as it is
        meant. Keys are bytes, which no log holds.
        """
        if self.store is None:
            return ()
        password = store_address(self.store.get_secret_value()).password
        return tuple(dict.fromkeys(one for one in (password, unquote(password)) if one))


def mistakes(settings: "Settings") -> list[tuple[str, str, str]]:
    """What only shows when these are seen together: name, what is wrong, cure."""
    found = []
    if settings.store is not None and settings.insecure:
        cure = "leave one of them out: machines check each other's streams by keys of the carrier's token"
        found.append(("BRIDGE_STORE", "is set under BRIDGE_INSECURE", cure))
    if settings.stream_route == "host" and settings.machine_url is None:
        cure = "set it to the address by which the carrier reaches this machine alone"
        found.append(("BRIDGE_STREAM_ROUTE", "is host, and BRIDGE_MACHINE_URL is not set", cure))
    return found
