"""Settings of a service on several machines: each mistake in one line, and no secret in any."""

from __future__ import annotations

import base64
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import ConfigError
from bridge.ops.health import DayMoney
from bridge.server.fleet.making import make_fleet
from bridge.server.store.embedded_claims import EmbeddedClaims
from bridge.settings.fleet import own_name
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import Settings, load_settings

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("BRIDGE_", "TWILIO_", "PUBLIC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def real(**given: Any) -> Settings:
    proof = {"twilio_auth_token": "0" * 32, "public_url": "https://voice.example.com"}
    return load_settings(**{**proof, "openai_api_key": "sk-test", **given})


def mistake(**given: Any) -> tuple[str, str]:
    """The one setting that is wrong, and what is wrong with it."""
    with pytest.raises(WrongSettings) as caught:
        real(**given)
    (one,) = caught.value.mistakes
    assert "\n" not in str(one)
    assert "hunter" not in str(one)
    return one.name, one.what


def test_without_them_a_process_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "web-1.internal")
    for name in ("FLY_MACHINE_ID", "DYNO"):
        monkeypatch.delenv(name, raising=False)
    settings = real()
    assert (settings.store, settings.store_key, settings.fleet_calls) == (None, (), None)
    assert (settings.store_prefix, settings.stream_route, settings.machine_url) == ("pb", "none", None)
    assert settings.machine == "web-1-internal"


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:hunter2@10.0.0.7:6379/0",
        "redis://[::1]:6379/3?socket_keepalive=yes",
        "rediss://user:hunter%2F2@store.example.com:6380/1?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=2",
        "unix://user:hunter2@/run/redis.sock",
        "redis+sentinel://:hunter2@one:26379,two:26379,[::1]:26379/mymaster",
    ],
)
def test_a_store_has_one_of_these_forms(url: str) -> None:
    settings = real(store=url)
    assert settings.store is not None
    assert settings.store.get_secret_value() == url
    assert "hunter" not in repr(settings.store)
    assert "hunter" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("hunter2", "is no URL"),
        ("localhost:6379", "is no URL"),
        ("https://:hunter2@localhost", "has a scheme that is not known"),
        ("redis://", "names no host"),
        ("redis://:hunter2@/0", "names no host"),
        ("redis://localhost:seventy", "is no URL that can be read"),
        ("redis://localhost:0", "is no URL that can be read"),
        ("redis://localhost:70000", "is no URL that can be read"),
        ("redis://[::1", "is no URL that can be read"),
        ("redis://localhost/hunter2", "has a path that is no number of a database"),
        ("redis://one,two/0", "names several hosts"),
        ("redis://:hunter 2@localhost", "holds a space or a letter that is not ASCII"),
        ("redis://:hunter2#@localhost", "has a fragment"),
        ("redis://localhost/0#hunter2", "has a fragment"),
        ("unix://", "names no socket"),
        ("redis+sentinel://one:26379", "names no master"),
        ("redis+sentinel://one:26379,/main", "names no host"),
    ],
)
def test_another_form_is_one_line_without_the_password(url: str, what: str) -> None:
    assert mistake(store=url) == ("BRIDGE_STORE", what)


def test_the_last_key_encrypts() -> None:
    settings = real(store="redis://localhost", store_key=f"{OTHER}, {KEY}")
    assert [key.get_secret_value() for key in settings.store_key] == [bytes(32), bytes(range(32))]
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("hunter2!", "has a piece that is not base64"),
        (base64.b64encode(b"hunter").decode(), "has a key of 6 bytes, and 32 are needed"),
        (f"{KEY},{KEY}", "has the same key twice"),
    ],
)
def test_a_key_has_32_bytes(key: str, what: str) -> None:
    assert mistake(store_key=key) == ("BRIDGE_STORE_KEY", what)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"store_prefix": "{pb}"}, ("BRIDGE_STORE_PREFIX", "is no prefix")),
        ({"store_ca": "missing.pem"}, ("BRIDGE_STORE_CA", "is not there")),
        ({"machine": "Web_1"}, ("BRIDGE_MACHINE", "is no name of a machine")),
        ({"machine": "w" * 41}, ("BRIDGE_MACHINE", "is no name of a machine")),
        ({"stream_route": "dns"}, ("BRIDGE_STREAM_ROUTE", "is not one of the words it can be")),
        ({"stream_route": "host"}, ("BRIDGE_STREAM_ROUTE", "is host, and BRIDGE_MACHINE_URL is not set")),
        ({"machine_url": "http://one.example.com"}, ("BRIDGE_MACHINE_URL", "begins with http://")),
        ({"fleet_calls": 0, "store": "redis://one"}, ("BRIDGE_FLEET_CALLS", "is out of range")),
        ({"store": "redis://one", "insecure": True}, ("BRIDGE_STORE", "is set under BRIDGE_INSECURE")),
    ],
)
def test_what_cannot_work_is_said(given: dict[str, Any], wrong: tuple[str, str]) -> None:
    assert mistake(**given) == wrong


def test_a_limit_over_all_processes_wants_them_to_know_of_each_other() -> None:
    """Through a store, or, as workers of one machine do, through their supervisor."""
    settings = real(fleet_calls=1)
    with pytest.raises(ConfigError, match="BRIDGE_FLEET_CALLS is set, and this process knows of no others"):
        make_fleet(settings, DayMoney())
    assert make_fleet(settings, DayMoney(), EmbeddedClaims()).shared is not None


def test_a_machine_is_called_as_its_platform_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_name({"FLY_MACHINE_ID": "3d8d9456b33018", "DYNO": "web.1"}) == "3d8d9456b33018"
    assert own_name({"DYNO": "web.1"}) == "web-1"
    for host, name in (("Ärger.local", "rger-local"), ("...", "machine"), ("H" * 50, "h" * 40)):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        assert own_name({}) == name
    assert real(machine="web-2").machine == "web-2"


def test_the_password_of_the_store_stands_in_no_log() -> None:
    settings = real(store="rediss://user:hunter%2F2@store.example.com")
    assert {"hunter%2F2", "hunter/2"} <= set(settings.unspeakable())
    assert real(store="redis://localhost")._store_secrets() == ()


def test_the_address_may_stand_in_a_variable_of_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://:hunter2@store.example.com:6380")
    for text in ("$REDIS_URL", "${REDIS_URL}"):
        settings = real(store=text)
        assert settings.store is not None
        assert settings.store.get_secret_value() == "rediss://:hunter2@store.example.com:6380"
    with_arguments = real(store="$REDIS_URL?ssl_cert_reqs=none").store
    assert with_arguments is not None
    assert with_arguments.get_secret_value().endswith(":6380?ssl_cert_reqs=none")
    monkeypatch.setenv("REDIS_URL", "http://:hunter2@store.example.com")
    assert mistake(store="$REDIS_URL") == ("BRIDGE_STORE", "has a scheme that is not known")
    monkeypatch.delenv("REDIS_URL")
    assert mistake(store="$REDIS_URL") == ("BRIDGE_STORE", "names the variable REDIS_URL, which is not set")


@pytest.mark.parametrize("module", ["redis_claims", "redis_commands", "redis_connection"])
def test_a_missing_client_of_the_store_is_named_whatever_is_imported_first(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("redis", "redis.asyncio", "redis.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("redis_claims", "redis_commands", "redis_connection"):
        monkeypatch.delitem(sys.modules, f"bridge.server.store.{name}", raising=False)
    with pytest.raises(ConfigError, match="pip install redis cryptography"):
        importlib.import_module(f"bridge.server.store.{module}")
