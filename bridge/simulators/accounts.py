"""Accounts of the simulated carrier: whose tokens are taken, and which numbers are whose."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Account:
    """One account. `tokens` are those it takes, None for any; a parent's are good for its subaccounts, and
    never the reverse.
    """

    sid: str
    tokens: tuple[str, ...] | None = None
    parent: Account | None = None
    api_keys: dict[str, str] = field(default_factory=dict)
    """Secrets by SID (`SK…`): good for REST, and never for signatures."""
    status: str = "active"
    type: str = "Full"
    friendly_name: str = "A simulated account"
    numbers: list[dict[str, Any]] = field(default_factory=list)
    """Each with what is to differ from a number that leads nowhere."""
    applications: dict[str, str] = field(default_factory=dict)
    """The voice URL of each TwiML application, by SID."""

    @property
    def signing_token(self) -> str | None:
        """What its webhooks are signed with: the first of its own tokens."""
        return self.tokens[0] if self.tokens else None

    def takes(self, user: str, password: str) -> bool:
        """Whether these credentials may ask about this account."""
        if user.startswith("SK"):
            known = self.api_keys.get(user) == password
        else:
            known = user == self.sid and (self.tokens is None or password in self.tokens)
        return known or (self.parent is not None and self.parent.takes(user, password))

    def json(self) -> dict[str, Any]:
        """The account as the API gives it; its token is not told."""
        uri = f"/2010-04-01/Accounts/{self.sid}"
        owner = self.sid if self.parent is None else self.parent.sid
        return {
            "sid": self.sid, "owner_account_sid": owner, "auth_token": "", "status": self.status,
            "type": self.type, "friendly_name": self.friendly_name,
            "date_created": "Sun, 01 Nov 2026 10:00:00 +0000",
            "date_updated": "Sun, 01 Nov 2026 10:00:00 +0000", "uri": f"{uri}.json",
            "subresource_uris": {
                "calls": f"{uri}/Calls.json", "conferences": f"{uri}/Conferences.json",
                "incoming_phone_numbers": f"{uri}/IncomingPhoneNumbers.json",
                "recordings": f"{uri}/Recordings.json",
            },
        }  # fmt: skip


def credentials(header: str) -> tuple[str, str]:
    """User and password of a Basic header, empty for anything else."""
    try:
        user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
