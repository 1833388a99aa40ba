"""The days on which models end, as the vendor's API and its page of deprecations tell them."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from bridge import Agent, create_app, load_settings
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.loop import SameLoop
from bridge.agents.session import Session
from bridge.client.config import SessionOptions
from bridge.client.model import RealtimeModel
from bridge.core.messages import CallBegan, CallConfig
from bridge.doctor.shutdowns import model_url, shutdown_date, warning
from bridge.doubles.agents import Parrot
from bridge.doubles.realtime import RealtimeServer
from bridge.simulators.servers import EmbeddedUpstream

END = dt.date(2027, 1, 20)


@pytest.mark.parametrize(
    ("model", "date"),
    [
        ("gpt-realtime", END),
        ("gpt-realtime-2025-08-28", END),
        ("gpt-realtime-mini-2025-12-15", END),
        ("gpt-realtime-mini-2025-10-06", None),  # a snapshot without a date of its own
        ("gpt-realtime-2.1", None),
        ("whisper-1", dt.date(2027, 2, 26)),
        ("gpt-transcribe", None),
    ],
)
def test_what_is_announced_counts_where_nothing_else_is_told(model: str, date: dt.date | None) -> None:
    assert shutdown_date(model, {}) == date
    assert shutdown_date(model, {"id": model, "object": "model"}) == date


@pytest.mark.parametrize(
    ("told", "date"),
    [
        ("2027-03-01", dt.date(2027, 3, 1)),
        (None, None),
        ("2027-03-01T10:00:00Z", dt.date(2027, 3, 1)),
        ("2027-03-01T23:30:00-08:00", dt.date(2027, 3, 2)),
        ("2027-03-01T23:30:00.123+00:00", dt.date(2027, 3, 1)),
        ("2027-03-01 10:00:00", dt.date(2027, 3, 1)),
        ("20270301", dt.date(2027, 3, 1)),
        (" 2027-03-01 ", dt.date(2027, 3, 1)),
        (1_803_859_200, dt.date(2027, 3, 1)),
        (1_803_859_200.5, dt.date(2027, 3, 1)),
        (1_803_859_200_000, dt.date(2027, 3, 1)),
        ("1803859200", dt.date(2027, 3, 1)),
        ("soon", END),
        ("", END),
        (True, END),
        ([], END),
        ({}, END),
        (1e308, END),
        (float("nan"), END),
        (float("inf"), END),
        (-1e300, END),
    ],
)
def test_the_api_s_word_goes_before_it(told: Any, date: dt.date | None) -> None:
    assert shutdown_date("gpt-realtime", {"id": "gpt-realtime", "shutdown_date": told}) == date


def test_it_is_told_of_sixty_days_before_and_ever_after() -> None:
    def told(days: int) -> str | None:
        return warning("gpt-realtime", END, END - dt.timedelta(days=days))

    assert warning("m", None, END) is None
    assert told(61) is None
    assert told(60) == "gpt-realtime is shut down on 2027-01-20, in 60 days"
    assert told(1) == "gpt-realtime is shut down on 2027-01-20, in 1 day"
    assert told(0) == told(-500) == "gpt-realtime was to be shut down on 2027-01-20"


@pytest.mark.parametrize(
    ("realtime", "model"),
    [
        ("wss://api.openai.com/v1/realtime?model=m", "https://api.openai.com/v1/models/m"),
        ("ws://127.0.0.1:9600/v1/realtime/", "http://127.0.0.1:9600/v1/models/m"),
        ("wss://a.example/deep/realtime", "https://a.example/deep/models/m"),
        ("wss://a.example/stream", None),
    ],
)
def test_the_vendor_tells_of_models_beside_its_realtime_api(realtime: str, model: str | None) -> None:
    assert model_url(realtime, "m") == model


def test_a_model_s_name_stays_one_piece_of_the_path() -> None:
    url = model_url("wss://a.example/v1/realtime", "../keys?x=/#")
    assert url == "https://a.example/v1/models/..%2Fkeys%3Fx%3D%2F%23"


# --- prompt objects ----------------------------------------------------------------------------------------

PROMPT = {"prompt": {"id": "pmpt_0123"}}
URL = "ws://127.0.0.1:9/v1/realtime"


def test_a_prompt_object_is_warned_of_when_the_application_is_made(caplog: pytest.LogCaptureFixture) -> None:
    """Of every agent that a call may come to, and where there is a vendor whose objects end."""

    def warned(agent: Agent, upstream: str = "openai") -> list[str]:
        caplog.clear()
        settings = load_settings(
            env_file=None, insecure=True, upstream=upstream, upstream_url=URL, openai_api_key="sk-invented"
        )

        async def made() -> None:
            service = create_app(settings, agent).state.service
            service.awake()
            await asyncio.to_thread(service.close)

        asyncio.run(made())
        return [line for line in caplog.messages if "session.prompt" in line]

    bills = Agent("Bills.", name="bills", extra=PROMPT)
    [told] = warned(Agent("Answer.", handoffs=[bills]))
    assert "bills" in told
    assert "2026-11-30" in told
    assert warned(Agent("Answer.", extra={"prompt": None})) == []
    assert warned(bills, "embedded") == []


def test_and_when_a_call_has_one_by_its_resolver_or_its_session(caplog: pytest.LogCaptureFixture) -> None:
    """Each agent once, however many calls there are."""

    def warned(agent: Agent, upstream: str = "openai") -> list[str]:
        caplog.clear()

        async def calls() -> None:
            side = UserSide(agent, AgentConfigs(CallConfig()), upstream=upstream, loops=[SameLoop()])
            for number in range(3):
                await side.prepare(f"CA{number}", {})
                attached = side.attach(f"CA{number}", Posted(), {})  # type: ignore[arg-type]
                attached.tell(CallBegan())
                await asyncio.sleep(0.01)

        asyncio.run(calls())
        return [line for line in caplog.messages if "session.prompt" in line]

    class Posted:
        tap = None
        detours = True

        def feed(self, event: object) -> None: ...

    async def handler(session: Session) -> None:
        session.update(extra=PROMPT)

    [told] = warned(Agent("Answer.", name="desk", resolver=lambda _fields: {"extra": PROMPT}))
    assert "desk" in told
    assert len(warned(Agent(resolver=lambda _fields: Agent(name="other", extra=PROMPT)))) == 1
    assert len(warned(Agent(handler=handler))) == 1
    assert warned(Agent(handler=handler), "embedded") == []
    assert warned(Agent(resolver=lambda _fields: {"instructions": "Other."})) == []


def test_and_when_a_model_is_connected_without_a_phone(caplog: pytest.LogCaptureFixture) -> None:
    async def connected(options: SessionOptions) -> list[str]:
        caplog.clear()
        upstream = EmbeddedUpstream(lambda: RealtimeServer(Parrot(b"")))
        async with upstream.serve() as url:
            model = RealtimeModel(url=url, headers={}, options=options)
            await model.connect()
            await model.close()
        return [line for line in caplog.messages if "session.prompt" in line]

    assert len(asyncio.run(connected(SessionOptions(prompt=PROMPT["prompt"])))) == 1
    assert len(asyncio.run(connected(SessionOptions(overrides=PROMPT)))) == 1
    assert asyncio.run(connected(SessionOptions())) == []
