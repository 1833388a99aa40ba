"""Webhooks as the carrier signs them, for one account or another."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient
from twilio.request_validator import RequestValidator

from tests.calls import ACCOUNT, TOKEN

PUBLIC = "https://voice.example.com"


def signed_post(
    client: TestClient, path: str, fields: dict[str, str], *, account: str = ACCOUNT, token: str = TOKEN
) -> Any:
    """The answer to a webhook of that account's, signed with that token."""
    form = {"AccountSid": account, "From": "+15550001111", **fields}
    signature = RequestValidator(token).compute_signature(f"{PUBLIC}{path}", form)
    return client.post(path, data=form, headers={"X-Twilio-Signature": signature})
