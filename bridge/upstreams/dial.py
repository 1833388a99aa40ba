"""Where a session is to be had."""

from __future__ import annotations

import enum

import msgspec


class Auth(enum.Enum):
    """How a vendor wants to be shown the key."""

    BEARER = "Authorization: Bearer"
    API_KEY = "api-key"
    NONE = "none"


class Dial(msgspec.Struct, frozen=True):
    """Where a session is to be had, without the key: this may be logged and recorded. `key` is the name of
    the setting that holds it.
    """

    url: str
    headers: dict[str, str] = {}
    auth: Auth = Auth.BEARER
    key: str = "OPENAI_API_KEY"
