"""The vendor's SDK for one account, over our own HTTP (`rest_http`). It blocks: use it on a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.server.rest_http import RestHttp
from bridge.settings.settings import TWILIO_API

if TYPE_CHECKING:
    from twilio.rest import Client


class Login(NamedTuple):
    """What the API is asked with."""

    username: str
    token: str


def status_of(error: BaseException) -> object:
    """The HTTP status of what the SDK raised; 0 where it tells none. A page of a list that is refused comes
    without it: the answer stands beside the message.
    """
    beside = error.args[1] if len(error.args) > 1 else None
    return getattr(error, "status", None) or getattr(beside, "status_code", None) or 0


def make_client(base_url: str, login: Login, http: RestHttp) -> Client:
    """The SDK's client at that base of the API."""
    # Not at the top of the file: 27 MB, and only for those who have credentials.
    from twilio.rest import Client  # noqa: PLC0415

    username, token = login
    ours = base_url != TWILIO_API
    # The vendor's host follows TWILIO_REGION and TWILIO_EDGE; ours is no host of the vendor's, and no proxy
    # has to know of it.
    http.session.trust_env = not ours
    environment = {"TWILIO_ACCOUNT_SID": username} if ours else None
    client = Client(username, token, http_client=http, environment=environment)
    client.api.base_url = base_url
    if ours:
        client.trunking.base_url = base_url
    client.api.v2010.accounts(username).calls(username)  # imports now: not during a call
    return client
