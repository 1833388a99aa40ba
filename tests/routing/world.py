"""A bridge with a table, asked as the carrier asks it, for one account or another. Its model cannot be
reached, so what is dialled shows by what waits.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import partial
from typing import Any

from starlette.testclient import TestClient
from twilio.request_validator import RequestValidator

from bridge import Agent
from bridge.server.service import Service, create_app
from bridge.settings.settings import load_settings

PUBLIC = "https://voice.example.com"
MAIN, SHOP, BAR = (f"AC{number:032x}" for number in (1, 2, 3))
TOKENS = {MAIN: "main-token-1", SHOP: "shop-token-2", BAR: "bar-token-3"}
NUMBERS = {MAIN: "+15550002222", SHOP: "+15550003333", BAR: "+15550004444"}
ACCOUNTS = {"shop": {"sid": SHOP, "token": TOKENS[SHOP]}, "bar": {"sid": BAR, "token": TOKENS[BAR]}}
NOON = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)  # a Monday


def sid(number: int) -> str:
    return f"CA{number:032x}"


class World:
    """The application. `asks` is a webhook, signed; `now` the time by which numbers are open."""

    def __init__(self, client: TestClient, service: Service) -> None:
        self.client, self.service = client, service
        self.router = service.routing.router
        self.now, self.clock_s = NOON, 0.0
        vars(self.router)["_now"] = lambda: self.now
        vars(self.router)["_clock"] = lambda: self.clock_s

    def asks(
        self, path: str, *, account: str = MAIN, token: str | None = None, call: int = 1, **fields: str
    ) -> Any:
        form = {
            "CallSid": sid(call), "AccountSid": account, "CallStatus": "ringing", "Direction": "inbound",
            "From": "+15550001111", "To": NUMBERS.get(account, "-"), **fields,
        }  # fmt: skip
        sent = {name: value for name, value in form.items() if value != "-"}
        signed = RequestValidator(token or TOKENS[account]).compute_signature(f"{PUBLIC}{path}", sent)
        return self.client.post(path, data=sent, headers={"X-Twilio-Signature": signed})

    def rings(self, **fields: Any) -> str:
        """The status, or the document without its declaration."""
        answer = self.asks("/incoming-call", **fields)
        if answer.status_code != 200:
            return str(answer.status_code)
        return str(answer.text.partition("?>")[2])

    @property
    def waiting(self) -> int:
        """Calls with a model that is being dialled."""
        return len(self.service.registry)

    def rejects(self, gate: str) -> float | None:
        samples = self.service.services.metrics.registry
        return samples.get_sample_value("phonebridge_rejects_total", {"gate": gate})

    def config(self, call: int = 1) -> Any:
        runner = self.service.registry.runner(sid(call))
        assert runner is not None
        return runner.call.playout.config

    def run(self, function: Any, *args: Any) -> Any:
        """On the bridge's own loop."""
        assert self.client.portal is not None
        return self.client.portal.call(partial(function, *args))


@contextlib.contextmanager
def world(routes: Any = None, agent: Agent | None = None, **given: Any) -> Iterator[World]:
    """A bridge of the main account, with that table."""
    settings = load_settings(
        env_file=None,
        **{
            "public_url": PUBLIC, "twilio_account_sid": MAIN, "twilio_auth_token": TOKENS[MAIN],
            "upstream": "openai", "upstream_url": "ws://127.0.0.1:9", "journal": None,
            "verify_calls": "off", "twilio_api_url": "http://127.0.0.1:9",
            "transfers": "front desk=+15550007777,night=+15550008888",
            **given,
        },
    )  # fmt: skip
    app = create_app(settings, agent, routes)
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        yield World(client, app.state.service)
        assert client.portal is not None
        client.portal.call(app.state.service.registry.shut_down)
        client.portal.call(partial(app.state.service.registry.drained, 1.0))
        app.state.service.close()


def verbs(document: str) -> list[str]:
    return [verb.tag for verb in ET.fromstring(document)]


def targets(document: str) -> list[str]:
    """The numbers that a document dials."""
    return [number.text or "" for number in ET.fromstring(document).iter("Number")]
