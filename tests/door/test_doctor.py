"""`phonebridge doctor`: what is right is said to be right, and each mistake is found and has its cure."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from typer.testing import CliRunner

from bridge import Agent
from bridge.cli import app
from bridge.cli import doctor as cli
from bridge.doctor import checks as doctor
from bridge.doctor import models
from bridge.doctor.checks import Check, Doctor, examine_wrong
from bridge.doctor.http import Unreachable
from bridge.doubles.agents import Parrot
from bridge.errors import ConfigError
from bridge.server.routes import create_app
from bridge.server.service import Service
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import load_settings
from bridge.simulators.rest_api import CarrierApi
from bridge.simulators.servers import serve_app
from bridge.sockets.dial import DialError
from tests.calls import ACCOUNT, ROOT, TOKEN
from tests.door.rig import Door, door, run

pytestmark = pytest.mark.runs_with(function=run)

OTHER_TOKEN = "another-token-of-thirty-two-xxxx"


async def checks_of(house: Door, **given: Any) -> list[Check]:
    """What the doctor says of an operator's settings, with that server and that account in the world."""
    usual: dict[str, Any] = {
        "public_url": house.base,
        "twilio_auth_token": TOKEN,
        "twilio_account_sid": ACCOUNT,
        "twilio_api_url": house.api.url,
        "upstream": "openai",
        "upstream_url": house.upstream.url,
        "openai_api_key": "sk-invented",
    }
    return await Doctor(load_settings(env_file=None, **{**usual, **given})).examine()


def wrong(checks: list[Check]) -> dict[str, tuple[str, str]]:
    return {check.name: (check.what, check.cure) for check in checks if not check.ok}


async def test_nothing_is_wrong() -> None:
    async with door(Parrot()) as house:
        ours = house.base.replace("://", "://user:invented@")
        webhook = f"{ours}/incoming-call?lang=de#rc=2&rp=ct,5xx"  # which is ours all the same
        house.api.numbers = [{"voice_url": webhook, "phone_number": "+15550001234"}]
        checks = await checks_of(house)
        assert wrong(checks) == {}
        assert [check.name for check in checks] == [
            "settings", "carrier", "number", "model", "public url", "signature", "stream",
        ]  # fmt: skip
        said = " ".join(check.what for check in checks)
        assert "…34" in said
        assert "+1555" not in said
        [session] = house.servers()
        assert [json.loads(frame)["type"] for frame in session.got] == ["session.update"]
        assert house.log.did == {}


async def test_it_says_what_the_readme_says_that_it_says() -> None:
    """With the first mistake that everybody makes: the number has not been told yet."""
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("```text\n✓ settings")[2]

    async with door(Parrot()) as house:
        nowhere = "https://demo.twilio.com/welcome/voice/"
        house.api.numbers = [{"voice_url": nowhere, "phone_number": "+15550001234"}]
        output = StringIO()
        cli.show(await checks_of(house), Console(file=output))
        said = output.getvalue()
        for plain in (house.base, house.stream.removesuffix("/media-stream")):
            secure = f"{plain.partition('://')[0]}s://voice.example.com"
            said = said.replace(plain, secure)
        assert said == f"✓ settings{shown.partition('```')[0]}"


# --- mistakes in the settings ------------------------------------------------------------------------------

SETTINGS = {
    "a plain scheme": ({"public_url": "http://voice.example.com"}, "PUBLIC_URL", "https://"),
    "a port": ({"public_url": "https://voice.example.com:8443"}, "PUBLIC_URL", "leave it off"),
    "a route": ({"public_url": "https://voice.example.com/incoming-call"}, "PUBLIC_URL", "leave that off"),
    "a private host": ({"public_url": "https://192.168.1.7"}, "PUBLIC_URL", "the internet reaches us"),
    "no token": ({"twilio_auth_token": None}, "TWILIO_AUTH_TOKEN", "auth token"),
    "the SID for the token": ({"twilio_auth_token": ACCOUNT}, "TWILIO_AUTH_TOKEN", "copy the auth token"),
    "no key": ({"openai_api_key": None, "upstream_url": None}, "OPENAI_API_KEY", "set it"),
    "a number that is none": ({"transfers": "desk=911"}, "BRIDGE_TRANSFERS", "country code"),
    "an old upstream": ({"upstream": "assistants"}, "BRIDGE_UPSTREAM", "take one of"),
}


@pytest.mark.parametrize("mistake", SETTINGS)
def test_a_mistake_in_the_settings(mistake: str) -> None:
    changes, name, cure = SETTINGS[mistake]
    usual: dict[str, Any] = {
        "public_url": "https://voice.example.com",
        "twilio_auth_token": TOKEN,
        "openai_api_key": "sk-invented",
    }
    with pytest.raises(WrongSettings) as error:
        load_settings(env_file=None, **{**usual, **changes})  # type: ignore[dict-item]
    found = wrong(examine_wrong(error.value))
    assert list(found) == [name]
    assert cure in found[name][1]


# --- mistakes in the world ---------------------------------------------------------------------------------


async def test_a_stale_token_at_the_carrier() -> None:
    async with door(Parrot(), api=CarrierApi((OTHER_TOKEN,))) as house:
        found = wrong(await checks_of(house))
        assert list(found) == ["carrier"]
        assert "refuses TWILIO_AUTH_TOKEN" in found["carrier"][0]
        assert "stale" in found["carrier"][1]
        both = wrong(await checks_of(house, twilio_auth_token=f"{OTHER_TOKEN},{TOKEN}"))
        assert "the second one" in both["carrier"][0]
        assert "one of the two tokens" in both["signature"][0]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            {"voice_url": "https://demo.twilio.com/welcome/voice/?key=x"},
            "https://demo.twilio.com/welcome/voice/",
        ),
        ({"voice_url": ""}, "not set"),
        ({"voice_url": "https://[voice.example.com"}, "no URL at all"),
        (
            {"voice_url": "https://voice.example.com:8443/incoming-call"},
            "voice.example.com:8443/incoming-call",
        ),
        ({"voice_application_sid": "AP1"}, "a TwiML application"),
        ({"trunk_sid": "TK1"}, "a SIP trunk"),
        (None, "the account has none"),
    ],
    ids=["elsewhere", "nowhere", "nonsense", "a port", "application", "trunk", "no number"],
)
async def test_a_webhook_that_leads_elsewhere(number: dict[str, str] | None, words: str) -> None:
    async with door(Parrot()) as house:
        here = {"voice_url": f"{house.base}/incoming-call"}
        house.api.numbers = [] if number is None else [{**here, **number}]
        found = wrong(await checks_of(house))
        assert list(found) == ["number"]
        assert words in found["number"][0]
        assert "key=x" not in found["number"][0]
        assert number is None or f"{house.base}/incoming-call" in found["number"][1]


async def test_an_account_that_is_suspended_and_one_that_is_not_named() -> None:
    async with door(Parrot()) as house:
        house.api.status = "suspended"
        assert "suspended" in wrong(await checks_of(house))["carrier"][0]
        unnamed = wrong(await checks_of(house, twilio_account_sid=None))
        assert "TWILIO_ACCOUNT_SID is not set" in unnamed["carrier"][0]
        nobody = wrong(await checks_of(house, twilio_api_url="http://127.0.0.1:9"))
        assert "cannot be asked" in nobody["carrier"][0]


async def working(house: Door, **given: Any) -> dict[str, tuple[str, str]]:
    """What is wrong, with a number that leads here."""
    house.api.numbers = [{"voice_url": f"{given.get('public_url', house.base)}/incoming-call"}]
    return wrong(await checks_of(house, **given))


async def test_a_beta_field_in_the_agents_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One such field, and the vendor refuses all of it."""
    (tmp_path / "receptionist.py").write_text(
        "from bridge import Agent\n"
        "old = Agent('Answer.', extra={'input_audio_format': 'g711_ulaw'})\n"
        "missing = 1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    async with door(Parrot()) as house:
        found = await working(house, agent="receptionist:old")
        assert list(found) == ["agent"]
        assert "input_audio_format" in found["agent"][0]
        assert "audio.input.format" in found["agent"][0]
        assert "is a int" in (await working(house, agent="receptionist:missing"))["agent"][0]
        assert "no module" in (await working(house, agent="nobody:agent"))["agent"][0]


async def test_a_field_that_only_the_model_refuses() -> None:
    server = {"refuse": {"session.update": "unknown_parameter"}}
    async with door(Parrot(), server=server) as house:
        found = await working(house)
        assert list(found) == ["model"]
        assert "our configuration is refused: unknown_parameter" in found["model"][0]
        assert "`extra`" in found["model"][1]


async def test_a_model_that_is_shut_down_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the vendor's API, of every model that the agents use; by the announcement where it says nothing."""
    (tmp_path / "desk.py").write_text(
        "from bridge import Agent\n"
        "bills = Agent('Bills.', name='bills', model='asked-of', transcription='whisper-1')\n"
        "agent = Agent('Answer.', model='soon', transcription='later', handoffs=[bills])\n"
        "old = Agent('Answer.', name='old', extra={'prompt': {'id': 'pmpt_0123'}})\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    today = dt.datetime.now(dt.UTC).date()
    days = {"soon": 60, "later": 61}
    asked: list[tuple[str, str | None]] = []

    async def models(request: Request) -> JSONResponse:
        model = request.path_params["model"]
        asked.append((model, request.headers.get("authorization")))
        if model not in days:
            return JSONResponse({"error": {"code": "model_not_found"}}, 404)
        date = (today + dt.timedelta(days=days[model])).isoformat()
        return JSONResponse({"id": model, "object": "model", "shutdown_date": date})

    async with door(Parrot()) as house:
        vendor = house.upstream.app()
        vendor.router.routes.append(Route("/v1/models/{model}", models))
        async with in_between(vendor) as url:
            there = f"ws{url.removeprefix('http')}/v1/realtime"
            checks = await checks_of(house, upstream_url=there, agent="desk:agent")
            said = [(check.what, check.cure) for check in checks if check.name == "model" and not check.ok]
            assert [what.partition(" ")[0] for what, _ in said] == ["soon", *_whisper_soon(today)]
            assert "in 60 days" in said[0][0]
            assert "BRIDGE_MODEL" in said[0][1]
            assert asked == [
                (one, "Bearer sk-invented") for one in ("soon", "later", "asked-of", "whisper-1")
            ]
        found = await working(house, model="gpt-realtime")
        assert "2027-01-20" in found["model"][0]
        found = await working(house, agent="desk:old")
        assert list(found) == ["agent"]
        assert "2026-11-30" in found["agent"][0]


def _whisper_soon(today: dt.date) -> list[str]:
    return ["whisper-1"] if today >= dt.date(2026, 12, 28) else []


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (DialError("invalid_api_key", "HTTP 401", 401), "OPENAI_API_KEY"),
        (DialError("model_not_found", "no such model", 404), "BRIDGE_MODEL"),
        (DialError("insufficient_quota", "no money", 429), "billing"),
        (DialError("tls", "certificate verify failed"), "certificates"),
        (DialError("unreachable", "nobody there"), "reach it"),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
async def test_a_model_that_is_not_to_be_had(
    error: DialError, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = models.dial  # type: ignore[attr-defined]

    async def refuse(url: str, headers: Any) -> Any:
        if "/realtime" in url:
            raise error
        return await reached(url, headers)

    monkeypatch.setattr(models, "dial", refuse)

    async with door(Parrot()) as house:
        found = await working(house)
        assert list(found) == ["model"]
        assert cure in found["model"][1]


@pytest.mark.parametrize(
    ("status", "cure"), [(401, "BRIDGE_FAILOVER_KEYS"), (404, "BRIDGE_FAILOVER"), (0, "BRIDGE_FAILOVER")]
)
async def test_two_resources_of_one_vendor_are_told_apart(
    status: int, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By host and deployment, each with the settings that are its own."""

    async def refuse(*_: Any) -> Any:
        raise DialError("refused" if status else "unreachable", f"HTTP {status}", status)

    monkeypatch.setattr(models, "dial", refuse)
    monkeypatch.setattr(models, "ask", refuse_asked)
    resources = {
        "upstream": "azure",
        "upstream_url": None,
        "azure_endpoint": "https://us.openai.azure.com",
        "azure_api_key": "k-us",
        "model": "first",
        "transcribe": "off",
        "failover": "azure:eu@https://eu.openai.azure.com",
        "failover_keys": "eu.openai.azure.com=k-eu",
    }
    async with door(Parrot()) as house:
        found = [one for one in await checks_of(house, **resources) if one.name == "model"]
    assert ["us.openai.azure.com" in one.what and "first" in one.what for one in found] == [True, False]
    assert ["eu.openai.azure.com" in one.what and "eu" in one.what for one in found] == [False, True]
    assert cure in found[1].cure
    assert "BRIDGE_FAILOVER" not in found[0].cure
    assert found[1].cure.count("its entry") <= 1


async def refuse_asked(*_: Any, **__: Any) -> Any:
    raise Unreachable("not asked", "")


async def test_nobody_listens_there() -> None:
    async with door(Parrot()) as house:
        found = await working(house, public_url="http://127.0.0.1:9")
        assert list(found) == ["public url"]
        assert "nothing listens" in found["public url"][0]
        assert "phonebridge serve" in found["public url"][1]
        plain = house.base.replace("http://", "https://")
        found = await working(house, public_url=plain)
        assert "no TLS there" in found["public url"][0]
        assert "TLS" in found["public url"][1]


# --- what may stand between --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def in_between(app: Starlette) -> AsyncIterator[str]:
    async with serve_app(app) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_another_service_answers_there() -> None:
    page = Starlette(routes=[Route("/{path:path}", lambda _request: PlainTextResponse("Welcome!"))])
    async with door(Parrot()) as house, in_between(page) as url:
        found = await working(house, public_url=url)
        assert list(found) == ["public url"]
        assert "not by a phonebridge" in found["public url"][0]


@contextlib.asynccontextmanager
async def server_behind(change: Any, **given: Any) -> AsyncIterator[str]:
    """A phonebridge behind a proxy; `change(app, url)` makes the proxy, which is what answers at the URL."""
    outside = Starlette()
    async with in_between(outside) as url:
        proof = {"public_url": url, "twilio_auth_token": TOKEN, **given}
        settings = load_settings(
            env_file=None, upstream="embedded", upstream_url="ws://127.0.0.1:9/", **proof
        )
        made = Service(settings, watched=False)
        outside.router.routes += change(create_app(settings, made.registry, made.awake))
        try:
            yield url
        finally:
            await asyncio.to_thread(made.close)


async def test_a_proxy_that_lets_no_websocket_through() -> None:
    async def refuse(websocket: WebSocket) -> None:
        await websocket.close()

    def change(app: Starlette) -> list[Any]:
        return [WebSocketRoute("/media-stream", refuse), Mount("/", app=app)]

    async with door(Parrot()) as house, server_behind(change) as url:
        found = await working(house, public_url=url)
        assert list(found) == ["stream"]
        assert "Upgrade" in found["stream"][1]


async def test_a_proxy_that_rewrites_what_was_signed() -> None:
    """A query of its own, for instance."""

    def change(app: Starlette) -> list[Any]:
        async def tampering(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "query_string": b"via=proxy"}, receive, send)

        return [Mount("/", app=tampering)]

    async with door(Parrot()) as house, server_behind(change) as url:
        found = await working(house, public_url=url)
        assert list(found) == ["signature"]
        assert "answered with 403" in found["signature"][0]
        assert "the proxy" in found["signature"][1]


async def test_a_server_that_was_started_with_another_token_or_with_none() -> None:
    async with door(Parrot()) as house:
        async with server_behind(lambda app: [Mount("/", app=app)], twilio_auth_token=OTHER_TOKEN) as url:
            found = await working(house, public_url=url)
            assert list(found) == ["signature"]
            assert "this TWILIO_AUTH_TOKEN" in found["signature"][1]
        async with server_behind(lambda app: [Mount("/", app=app)], insecure=True) as url:
            found = await working(house, public_url=url)
            assert "without a signature are let in" in found["signature"][0]
            assert "BRIDGE_INSECURE" in found["signature"][1]


async def test_an_insecure_server_behind_a_tunnel() -> None:
    def tunnel(app: Starlette) -> list[Any]:
        async def relayed(scope: Any, receive: Any, send: Any) -> None:
            told = (b"x-forwarded-for", b"203.0.113.9")
            await app({**scope, "headers": [*scope["headers"], told]}, receive, send)

        return [Mount("/", app=relayed)]

    async with door(Parrot()) as house, server_behind(tunnel, insecure=True) as url:
        found = await working(house, public_url=url)
        assert list(found) == ["signature"]
        assert "its own machine only" in found["signature"][0]
        assert "BRIDGE_INSECURE" in found["signature"][1]


async def test_a_server_that_takes_no_calls_now() -> None:
    async with door(Parrot()) as house:
        house.service.registry.draining = True
        found = await working(house)
        assert list(found) == ["readiness"]
        assert "draining" in found["readiness"][0]


# --- this machine ------------------------------------------------------------------------------------------


async def test_folders_and_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda path, _mode: "locked" not in str(path))  # type: ignore[attr-defined]
    monkeypatch.setattr(doctor, "_descriptors", lambda: 256)
    locked = tmp_path / "locked"
    locked.mkdir()

    async with door(Parrot()) as house:
        found = await working(house, recordings=locked / "calls", journal=locked / "intents.jsonl")
        assert sorted(found) == ["BRIDGE_JOURNAL", "BRIDGE_RECORDINGS", "open files"]
        assert "ulimit -n 700" in found["open files"][1]


async def test_a_setting_that_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_MAXCALLS", "5")

    async with door(Parrot()) as house:
        found = await working(house)
        assert "BRIDGE_MAX_CALLS" in found["settings"][0]


def test_a_misspelt_name_is_found_where_another_is_missing_for_it() -> None:
    code, out = command(BRIDGE_INSECURE_="1")
    assert code == 1
    assert "✗ TWILIO_AUTH_TOKEN is not set" in out
    assert "✗ settings: BRIDGE_INSECURE_ is not a setting; is it BRIDGE_INSECURE?" in out


# --- the command -------------------------------------------------------------------------------------------


def command(*arguments: str, **environment: str) -> tuple[int, str]:
    """In this process."""
    cleaned = {name: None for name in os.environ if name.startswith(("BRIDGE_", "TWILIO_"))}
    ran = CliRunner().invoke(app, ["doctor", *arguments], env={**cleaned, **environment})
    assert ran.stderr == ""
    return ran.exit_code, ran.stdout


def process(*arguments: str, **environment: str) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "TWILIO_"))}
    run = subprocess.run(
        [sys.executable, "-m", "bridge", "doctor", *arguments],
        env={**clean, **environment}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert run.stderr == ""
    return run.returncode, run.stdout


def test_the_command_says_what_to_do_and_exits_1() -> None:
    wrong_settings = {"PUBLIC_URL": "http://voice.example.com:8443", "TWILIO_AUTH_TOKEN": "x" * 32}
    code, out = process(**wrong_settings)
    assert code == 1
    assert "✗ PUBLIC_URL begins with http://\n  → write https://" in out
    code, out = command("--json", **wrong_settings)
    told = json.loads(out)
    assert (code, told["ok"]) == (1, False)
    assert {check["check"] for check in told["checks"]} == {"PUBLIC_URL", "OPENAI_API_KEY"}
    code, out = command("--json", BRIDGE_INSECURE="1")
    assert all(check["ok"] for check in json.loads(out)["checks"] if check["check"] != "settings")


def test_an_agent_is_named_by_option() -> None:
    with pytest.raises(ConfigError):
        Agent("x", extra={"voice": "marin"}, turn_detection="nonsense")  # type: ignore[arg-type]
    code, out = command("--agent", "nobody:here", BRIDGE_INSECURE="1")
    assert code == 1
    assert "nobody" in out
