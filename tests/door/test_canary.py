"""`phonebridge doctor --canary`, and `doctor` of other vendors: a live API that has changed is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bridge.doctor import canary
from bridge.doctor.checks import Check, Doctor
from bridge.doubles.agents import Scripted, Speech
from bridge.doubles.azure import azure_options
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.live_options import LiveOptions, Refused
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.xai import XaiWire, xai_options
from bridge.settings.settings import load_settings
from bridge.simulators.servers import EmbeddedLive, EmbeddedUpstream
from tests.door.rig import run

pytestmark = pytest.mark.runs_with(function=run)

SETTINGS: Mapping[str, dict[str, Any]] = {
    "openai": {"openai_api_key": "sk-invented"},
    "azure": {"azure_api_key": "of-azure", "model": "voice", "transcribe": "scribe"},
    "xai": {"xai_api_key": "xai-invented"},
}
MAKES: Mapping[str, Any] = {"openai": ServerOptions, "azure": azure_options, "xai": xai_options}


class Doctored:
    """A vendor's API on loopback, as its double has it, and what the doctor says of it."""

    def __init__(self, name: str, **changes: Any) -> None:
        options = MAKES[name](**{"speed": 50, "latency_ms": 10, **changes})
        self.name = name
        self.upstream = EmbeddedUpstream(lambda: RealtimeServer(Scripted([Speech(400, "Yes.")]), options))

    async def says(self, *, whole: bool = False, **given: Any) -> list[Check]:
        async with self.upstream.serve() as url:
            settings = load_settings(
                env_file=None,
                insecure=True,
                upstream=self.name,
                upstream_url=url,
                **SETTINGS[self.name],
                **given,
            )
            doctor = Doctor(settings)
            checks = await (doctor.examine() if whole else doctor.canary())
        return [check for check in checks if check.name in ("canary", "model")]


@pytest.mark.parametrize("name", list(SETTINGS))
async def test_an_api_that_is_as_its_double_has_it(name: str) -> None:
    [check] = await Doctored(name).says()
    assert check.ok, check
    assert check.what.startswith(f"{name} speaks as its double does")


class Dancer(LiveServer):
    """Has an event more than the double."""

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        told = super().receive(frame, now_ms)
        return [one.replace("'session.close'", "'session.dance'") for one in told]


@pytest.mark.parametrize(
    ("server", "found"),
    [
        (LiveServer, ["gpt-live speaks as its double does: 2 events, 2 kinds"]),
        (
            Dancer,
            [
                "gpt-live takes session.dance, which its double does not know",
                "gpt-live does not name session.close among what it takes",
            ],
        ),
    ],
)
async def test_a_session_of_gpt_live_is_started_and_asked_what_it_takes(
    server: Any, found: list[str]
) -> None:
    async with EmbeddedLive(lambda: server(Scripted([]))).serve() as url:
        given: dict[str, Any] = {"upstream": "gpt-live", "upstream_url": url, "openai_api_key": "sk-invented"}
        checks = await Doctor(load_settings(env_file=None, insecure=True, **given)).canary()
    assert [check.what for check in checks if check.name == "canary"] == found


async def test_a_session_of_gpt_live_that_is_refused_is_told_as_that() -> None:
    refused = LiveOptions(refuse_start=Refused("model_not_found"), missing_scope=True)
    async with EmbeddedLive(lambda: LiveServer(Scripted([]), refused)).serve() as url:
        given: dict[str, Any] = {"upstream": "gpt-live", "upstream_url": url, "openai_api_key": "sk-invented"}
        checks = await Doctor(load_settings(env_file=None, insecure=True, **given)).canary()
    [found] = [check.what for check in checks if check.name == "canary"]
    assert found.startswith("gpt-live refuses us: ")
    assert "model_not_found" in found or "cannot be started" in found


async def test_what_is_new_is_named() -> None:
    found = [check.what for check in await Doctored("openai", strange=True).says()]
    assert "openai sends response.mood.updated, which its double does not" in found
    assert "openai has a new field in session.created: x_unknown" in found
    assert "openai has a new field in response.output_item.added: item.phase" in found


async def test_what_is_gone_is_named_and_what_lies_below_it_is_not() -> None:
    withheld = frozenset({"response.content_part.added"})
    changed = Doctored("openai", withhold=withheld, metadata=False, usage=False)
    found = [check.what for check in await changed.says()]
    assert "openai did not send response.content_part.added" in found
    assert "openai has no field response.metadata in response.done any more" in found
    assert "openai has no field response.usage.total_tokens in response.done any more" in found
    assert all(check.cure for check in await changed.says())


async def test_a_field_of_another_type_is_named() -> None:
    class Counted(XaiWire):
        def outgoing(self, event: dict[str, Any], items: Any) -> list[dict[str, Any]]:
            told = super().outgoing(event, items)
            return [{**one, "response_id": 7} if one["type"] == "response.done" else one for one in told]

    found = [check.what for check in await Doctored("xai", wire=Counted).says()]
    assert found == ["xai has number in response.done: response_id, no longer text"]


async def test_an_api_that_says_nothing_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "WHOLE_S", 0.3)
    [check] = await Doctored("openai", withhold=frozenset({"response.done"})).says()
    assert check.what.startswith("openai did not finish a word within 0.3 s: session.created,")


@pytest.mark.parametrize(
    ("frame", "told", "canary_told"),
    [
        ("<html>", "it does not speak as OpenAI does", "sends what is no event"),
        ("[]", "it does not speak as OpenAI does", "sends what is no event"),
        (
            '{"type":"error","error":{"code":"model_not_found","message":"no such model"}}',
            "our configuration is refused: model_not_found",
            "refuses us: model_not_found: no such model",
        ),
        ("", "it closed with 1011 try later", "closed with 1011 try later"),
    ],
)
async def test_a_server_that_says_something_else_is_told_by_what_it_says(
    frame: str, told: str, canary_told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, and without a traceback."""

    async def answer(socket: ServerConnection) -> None:
        if not frame:
            await socket.close(1011, "try later")
        else:
            await socket.send(frame)
        await socket.wait_closed()

    async with serve(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"
        settings = load_settings(
            env_file=None, insecure=True, upstream="openai", upstream_url=url, **SETTINGS["openai"]
        )
        [canary_found] = await Doctor(settings).canary()
        found = [check for check in await Doctor(settings).examine() if check.name == "model"]
    assert canary_found.what.startswith(f"openai {canary_told}")
    assert found[-1].what.startswith(told)
    assert "Traceback" not in caplog.text


def test_the_client_events_that_a_refusal_lists_are_compared() -> None:
    ours = "'session.update', 'input_audio_buffer.append', 'response.create', 'conversation.item.create'"
    message = f"Invalid value: 'phonebridge.canary'. Supported values are: {ours}, and 'session.dance'."
    told = list(canary._listed([{"type": "error", "error": {"message": message}}]))
    assert told == ["takes session.dance, which its double does not know"]
    without = message.replace("'response.create', ", "")
    assert "does not name response.create among what it takes" in list(
        canary._listed([{"type": "error", "error": {"message": without}}])
    )
    refused = "Unknown event type: 'phonebridge.canary'."
    assert list(canary._listed([{"type": "error", "error": {"message": refused}}])) == []


# --- `doctor` itself


@pytest.mark.parametrize(("name", "company"), [("azure", "Microsoft Azure"), ("xai", "xAI")])
async def test_doctor_says_to_whom_a_callers_words_go(name: str, company: str) -> None:
    [check] = [one for one in await Doctored(name).says(whole=True) if one.name == "model"]
    assert check.ok, check
    assert f"({company}, 127.0.0.1)" in check.what


async def test_doctor_tells_of_a_limit_of_money_that_is_never_reached() -> None:
    checks = await Doctored("azure").says(whole=True, max_call_cost=1.0)
    [unpriced] = [check for check in checks if not check.ok]
    assert "azure's voice has no known price" in unpriced.what
    assert 'vendor = "azure", model = "voice"' in unpriced.cure
    assert all(check.ok for check in await Doctored("xai").says(whole=True, max_call_cost=1.0))


async def test_doctor_of_a_deployment_that_knows_an_older_api() -> None:
    refused = Doctored("azure", refuse={"session.update": "unknown_parameter"})
    [check] = [one for one in await refused.says(whole=True) if not one.ok]
    assert "our configuration is refused" in check.what


async def test_doctor_looks_at_each_vendor_that_a_call_may_go_on_with() -> None:
    """And says to which company its words would go; the canary asks both, too."""
    first, other = Doctored("openai"), Doctored("xai", withhold=frozenset({"ping"}))
    async with other.upstream.serve() as url:
        given: dict[str, Any] = {"failover": f"xai@{url}", "xai_api_key": "xai-invented"}
        checks = [check for check in await first.says(whole=True, **given) if check.name == "model"]
        assert [(check.what.partition(" ")[0], check.ok) for check in checks] == [
            ("openai", True),
            ("xai", True),
        ]
        assert "(OpenAI, 127.0.0.1)" in checks[0].what
        assert "(xAI, 127.0.0.1)" in checks[1].what
        canaries = await first.says(**given)
        assert [(check.what.partition(" ")[0], check.ok) for check in canaries] == [
            ("openai", True),
            ("xai", True),
        ]
    broken = Doctored("xai", refuse={"session.update": "invalid_value"})
    async with broken.upstream.serve() as url:
        given = {"failover": f"xai@{url}", "xai_api_key": "xai-invented"}
        [wrong] = [check for check in await first.says(whole=True, **given) if not check.ok]
        assert wrong.what.startswith("xai (grok-voice-latest, 127.0.0.1): our configuration is refused")
