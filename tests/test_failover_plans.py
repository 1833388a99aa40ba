"""With whom calls may go on: as BRIDGE_FAILOVER names them, and what is asked of the one that it names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bridge import tool
from bridge.agents.agent import Agent
from bridge.doctor.checks import Doctor
from bridge.doctor.models import examine
from bridge.errors import ConfigError
from bridge.runner.vendor_sessions import VendorSessions
from bridge.server import service
from bridge.server.model_dial import proof_for
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import Settings, load_settings
from bridge.sockets.dial import DialError
from bridge.upstreams.dial import Auth, Dial
from bridge.upstreams.regions import region_of

OPENAI = {"upstream": "openai", "openai_api_key": "sk-invented"}
AZURE = {
    "upstream": "azure",
    "azure_endpoint": "https://mine.openai.azure.com",
    "azure_api_key": "of-azure",
    "model": "voice",
    "transcribe": "my-scribe",
}
AZURE_ONLY = {name: AZURE[name] for name in ("azure_endpoint", "azure_api_key")}
XAI = {"upstream": "xai", "xai_api_key": "xai-invented"}
KEYS = {"openai_api_key": "sk-invented", "azure_api_key": "of-azure", "xai_api_key": "xai-invented"}


BACKEND_PRICE = """
read_on = 2026-11-29

[[price]]
model = "gpt-5.4-mini"
text = { in = "3", cached = "1", out = "9" }
"""


@tool
def hours(day: str) -> str:
    """When we are open."""
    return day


def settings(first: dict[str, Any], failover: str, **given: Any) -> Settings:
    return load_settings(env_file=None, insecure=True, **{**KEYS, **first, "failover": failover, **given})


@pytest.mark.parametrize(
    "wrong",
    [
        "xai@ws://models.example.com/v1/realtime",
        "azure:eu@http://eu.openai.azure.com",
        "azure:eu@ws://eu.openai.azure.com",
        "xai@https://api.example.com",
        "xai@models.example.com",
        "openai@wss://[::1",
        "openai@wss://models.example.com:port",
        "azure:eu@https://ann:secret@eu.openai.azure.com",
        "azure:eu@https://eu.openai.azure.com?api-key=secret",
    ],
)
def test_an_address_that_would_give_a_key_away_or_cannot_be_dialled_is_refused_at_start(wrong: str) -> None:
    """The address stands in each recording, which holds no secret."""
    with pytest.raises(WrongSettings) as refused:
        settings(OPENAI, wrong)
    assert "BRIDGE_FAILOVER" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "right",
    [
        "xai@ws://127.0.0.1:9/v1",
        "azure:eu@https://eu.openai.azure.com/",
        "openai@wss://eu.api.openai.com/v1/realtime",
    ],
)
def test_an_address_that_may_be(right: str) -> None:
    [plan] = settings(OPENAI, right).call_config().failover
    assert plan.url == right.partition("@")[2]


@pytest.mark.parametrize("where", ["environment", "file"])
def test_they_are_read_where_settings_are_written(
    where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "azure:my-deployment, xai"
    file = tmp_path / ".env"
    file.write_text(f"BRIDGE_FAILOVER={text}\n" if where == "file" else "")
    if where == "environment":
        monkeypatch.setenv("BRIDGE_FAILOVER", text)
    given: dict[str, Any] = {**KEYS, **OPENAI, "azure_endpoint": "https://mine.openai.azure.com"}
    read = load_settings(env_file=file, insecure=True, **given)
    assert [plan.name for plan in read.call_config().failover] == ["azure", "xai"]
    monkeypatch.setenv("BRIDGE_FAILOVER", "")
    assert load_settings(env_file=None, insecure=True, **given).failover == ()


def test_a_deployment_that_transcribes_is_named_to_its_own_resource_only() -> None:
    keys = {"failover_keys": "eu.openai.azure.com=of-eu"}
    config = settings(AZURE, "openai,xai,azure:eu@https://eu.openai.azure.com", **keys).call_config()
    asked = [plan.dress(config.session).transcription for plan in config.failover]
    assert asked == ["gpt-transcribe", "grok-transcribe", "my-scribe"]


def test_where_the_first_tells_words_by_itself_the_next_one_is_asked_for_them() -> None:
    """GPT-Live has no model that transcribes; without one the words of all later turns would be lost."""
    first = {"upstream": "gpt-live", "azure_endpoint": "https://mine.openai.azure.com"}
    config = settings(first, "openai,xai,azure-live:a,xai:other::off").call_config()
    assert config.session.transcription is None
    asked = [plan.dress(config.session).transcription for plan in config.failover]
    assert asked == ["gpt-transcribe", "grok-transcribe", None, None]
    config = settings({**OPENAI, "transcribe": "off"}, "xai,gpt-live").call_config()
    assert [plan.dress(config.session).transcription for plan in config.failover] == [None, None]


@pytest.mark.parametrize("text", ["xai:::off", "azure:voice::off@https://eu.openai.azure.com"])
def test_off_is_no_model_that_transcribes(text: str) -> None:
    config = settings(OPENAI, text).call_config()
    assert config.failover[0].dress(config.session).transcription is None


@pytest.mark.parametrize(
    ("first", "entry", "voice", "asked"),
    [
        (OPENAI, "azure:a", "cedar", "cedar"),
        (OPENAI, "azure:a", "voice_of_our_own", "voice_of_our_own"),  # refused, it is the vendor's own
        (OPENAI, "gpt-live", "cedar", "cedar"),
        (OPENAI, "xai", "marin", "ara"),
        (OPENAI, "xai", "cedar", "rex"),
        (OPENAI, "xai", "voice_of_our_own", "ara"),
        (OPENAI, "xai::leo", "cedar", "leo"),
        (OPENAI, "xai::cedar=leo+sage=eve", "cedar", "leo"),
        (OPENAI, "xai::cedar=leo+sage=eve", "marin", "ara"),
        (OPENAI, "xai::cedar=leo+sal", "marin", "sal"),
        (XAI, "openai", "rex", "cedar"),
        (XAI, "openai", "someone new", "marin"),
    ],
)
def test_a_call_goes_on_with_the_nearest_voice(
    first: dict[str, Any], entry: str, voice: str, asked: str
) -> None:
    endpoint = {"azure_endpoint": "https://mine.openai.azure.com"}
    doctor = Doctor(settings(first, entry, **endpoint))
    configs, _ = doctor._agent()
    for agent in (Agent(voice=voice), Agent(voice=voice, failover=[entry])):
        config = configs.call(agent)
        assert config.failover[0].dress(config.session).voice == asked


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("nobody", "'nobody' is no vendor"),
        ("xai:a:b:c:d", "too many parts"),
        ("azure", "azure:DEPLOYMENT"),
        ("azure:mine", "AZURE_OPENAI_ENDPOINT names it"),
    ],
)
def test_a_vendor_that_cannot_be_had_is_refused_at_start(wrong: str, told: str) -> None:
    with pytest.raises(WrongSettings) as refused:
        settings(OPENAI, wrong)
    assert told in str(refused.value)


@pytest.mark.parametrize("wrong", ["xai::=rex", "xai::marin=", "xai::rex+leo", "xai::marin=rex+ara+eve"])
def test_voices_that_cannot_be_read_are_refused_at_start(wrong: str) -> None:
    with pytest.raises(WrongSettings) as refused:
        settings(OPENAI, wrong)
    assert "marin=eve+cedar=rex+ara" in str(refused.value)


def test_the_address_of_the_first_vendor_is_not_shown_the_key_of_another() -> None:
    there = settings(OPENAI, "xai", upstream_url="wss://proxy.example.com/v1/realtime")
    assert there.vendor_url("openai") == "wss://proxy.example.com/v1/realtime"
    assert there.vendor_url("xai") is None
    both = settings(AZURE, "openai", upstream_url="wss://proxy.example.com/v1/realtime")
    assert both.vendor_url("azure") == "wss://proxy.example.com/v1/realtime"


EU = "azure:eu@https://eu.openai.azure.com"


def headers(there: Settings, url: str, **given: Any) -> dict[str, str]:
    return asyncio.run(proof_for(there, Dial(url, auth=Auth.API_KEY, key="AZURE_OPENAI_API_KEY", **given)))


def test_each_resource_of_azure_is_shown_its_own_key() -> None:
    there = settings(AZURE, EU, failover_keys="eu.openai.azure.com=of-eu, Us.openai.azure.com=of-us")
    for host, key in (("mine", "of-azure"), ("eu", "of-eu"), ("us", "of-us")):
        url = f"wss://{host}.openai.azure.com/openai/v1/realtime?model=m"
        assert headers(there, url) == {"api-key": key}
    with pytest.raises(DialError) as refused:
        headers(there, "wss://other.openai.azure.com/openai/v1/realtime")
    assert (refused.value.code, refused.value.status) == ("no key", 401)
    assert {"of-eu", "of-us", "of-azure"} <= set(there.unspeakable())
    assert "of-eu" not in repr(there)


def test_a_resource_without_a_key_is_refused_at_start() -> None:
    with pytest.raises(WrongSettings) as refused:
        settings(AZURE, EU)
    assert [one.name for one in refused.value.mistakes] == ["BRIDGE_FAILOVER_KEYS"]
    assert "eu.openai.azure.com=key" in str(refused.value)
    by_token = settings(AZURE, EU, azure_token=lambda: "of-entra")
    assert headers(by_token, "wss://eu.openai.azure.com/") == {"Authorization": "Bearer of-entra"}


@pytest.mark.parametrize("wrong", ["of-eu", "eu=", "=key", "https://eu.openai.azure.com=key", "a=b,A=c"])
def test_keys_that_cannot_be_read_are_refused_and_not_told(wrong: str) -> None:
    with pytest.raises(WrongSettings) as refused:
        settings(OPENAI, "", failover_keys=wrong)
    assert [one.name for one in refused.value.mistakes] == ["BRIDGE_FAILOVER_KEYS"]
    assert "of-eu" not in str(refused.value)


def test_an_agent_whose_vendor_has_no_key_is_refused_when_the_service_starts() -> None:
    def start(agent: Agent, **more: Any) -> None:
        given: dict[str, Any] = {**OPENAI, **more}
        there = load_settings(env_file=None, insecure=True, **given)
        service._configs(there).check(agent, "openai")

    with pytest.raises(ConfigError, match=r"agent \w+: failover names xai: XAI_API_KEY is not set"):
        start(Agent(failover=["xai"]))
    with pytest.raises(ConfigError, match=r"BRIDGE_FAILOVER_KEYS has no key of eu\.openai\.azure\.com"):
        start(Agent(failover=[EU]), **AZURE_ONLY)
    start(Agent(failover=["xai"]), xai_api_key="xai-invented")
    start(Agent(failover=["xai@ws://127.0.0.1:9/v1"]))


def test_the_limit_of_sessions_is_that_of_all_machines_together() -> None:
    names = [f"machine-{number}" for number in range(5)]
    for most in (1, 4, 5, 12):
        for alive in range(1, 6):
            shares = []
            for name in names[:alive]:
                sessions = VendorSessions(most)
                sessions.among = lambda name=name, alive=alive: (name, names[:alive])  # type: ignore[misc]
                shares.append(sum(sessions.enter("b") for _ in range(20)))
                assert sum(sessions.enter("c") for _ in range(20)) == shares[-1], "of each vendor"
            assert sum(shares) == most
            assert max(shares) - min(shares) <= 1
    assert VendorSessions(3).share == 3
    assert VendorSessions().share is None


def test_the_backend_of_a_vendor_that_a_call_goes_on_with_has_its_price(tmp_path: Path) -> None:
    """Its tokens count in the call's limit, whatever tools are to the vendor that the call begins with."""
    table = tmp_path / "prices.toml"
    table.write_text(BACKEND_PRICE)
    configs = service._configs(settings(OPENAI, "gpt-live", prices=str(table)))
    config = configs.call(Agent("Say when we are open.", tools=[hours]))
    assert "backend_text_in" not in config.prices
    assert config.failover[0].prices["backend_text_in"] == 3.0


def test_a_vendor_without_a_price_is_said_when_the_service_starts() -> None:
    there = settings(OPENAI, "azure:eu", **AZURE_ONLY)
    said = [*service._configs(there).unpriced(Agent(), "openai")]
    assert [what.partition(" has")[0] for what, _ in said] == ["azure's eu"]
    assert 'vendor = "azure", model = "eu"' in said[0][1]


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("swedencentral.api.cognitive.microsoft.com", "swedencentral"),
        ("eu.api.openai.com", "eu"),
        ("eu-west-1.api.x.ai", "eu-west-1"),
        ("api.openai.com", ""),
        ("my-eu.openai.azure.com", ""),
        ("a.b.api.openai.com", ""),
        ("", ""),
    ],
)
def test_a_region_is_what_the_address_says_and_no_guess(host: str, region: str) -> None:
    assert region_of(host) == region


def test_doctor_reads_an_agents_vendors_as_a_call_does() -> None:
    doctor = Doctor(settings(OPENAI, "", azure_endpoint="https://mine.openai.azure.com"))
    configs, _ = doctor._agent()
    [plan] = configs.call(Agent(failover=["azure:voice"])).failover
    assert plan.url == "https://mine.openai.azure.com"


def test_vendors_are_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_FAILOVER", "azure:voice@https://eu.openai.azure.com, xai")
    given: dict[str, Any] = {**KEYS, **OPENAI, "insecure": True}
    read = load_settings(env_file=None, **given)
    assert read.failover == ("azure:voice@https://eu.openai.azure.com", "xai")


def test_doctor_says_where_a_vendor_that_cannot_be_reached_is_named() -> None:
    gone = "ws://127.0.0.1:1/v1/realtime"
    doctor = Doctor(settings(OPENAI, f"xai@{gone}", upstream_url=gone))
    configs, agent = doctor._agent()
    first, other = asyncio.run(examine(doctor.settings, configs, agent or Agent()))
    assert "BRIDGE_UPSTREAM_URL" in first[1]
    assert "BRIDGE_FAILOVER" in other[1]
    assert "BRIDGE_UPSTREAM_URL" not in other[1]
