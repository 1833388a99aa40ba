"""What whoever runs it can see, and how it says that it can take no more."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from bridge import create_app, load_settings
from bridge.agents.agent import Agent
from bridge.agents.tools import hang_up, tool
from bridge.core import messages as m
from bridge.doubles.agents import Parrot, Scripted, Speech, ToolCall
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import marked, tone
from bridge.ops import logs
from bridge.server import model_dial
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.phone import Kind, PhoneCall
from bridge.simulators.servers import EmbeddedUpstream, serve_app
from bridge.sockets.dial import DialError
from bridge.sounds import text
from tests.calls import TOKEN
from tests.door.rig import DESK, Door, door, kinds, run, until

pytestmark = pytest.mark.runs_with(function=run)

GREETING = marked(1, 400)
BUSY, APOLOGY = text("busy"), text("apology")


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"{what}: found"


async def get(house: Door, route: str, **headers: str) -> Any:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
        return await client.get(house.base + route, headers=headers)


async def ready(house: Door) -> tuple[int, Any]:
    answer = await get(house, "/readyz")
    return answer.status_code, answer.json()


# --- may calls come here? ----------------------------------------------------------------------------------


async def test_a_process_that_takes_calls() -> None:
    async with door(Parrot(GREETING), watched=True) as house:
        assert await ready(house) == (200, {"ready": True, "reasons": []})
        alive = await get(house, "/healthz")
        assert (alive.status_code, alive.json()) == (200, {"alive": True})


async def heard_instead(house: Door, reason: str) -> PhoneCall:
    """Somebody who calls now, and what `/readyz` says meanwhile."""
    assert await ready(house) == (503, {"ready": False, "reasons": [reason]})
    call = await house.placed_call()
    assert house.upstream.sessions == []
    return call


async def test_while_draining_new_callers_hear_that_all_lines_are_taken() -> None:
    async with door(Parrot(GREETING)) as house:
        house.service.registry.draining = True
        call = await heard_instead(house, "draining")
        assert kinds(call) == [Kind.ASKED, Kind.SAID, Kind.HUNG_UP]
        assert call.steps[1].detail == BUSY
        assert 'gate="draining"} 1.0' in (await get(house, "/metrics")).text


async def test_when_all_lines_are_taken() -> None:
    """The calls that are there go on, and one that ends makes room."""

    async with door(Parrot(GREETING), max_calls=1) as house:
        first = house.dial(house.caller())
        await until(lambda: first.streaming.is_set() and first.phone.received_bytes)
        assert (await ready(house))[1]["reasons"] == ["full"]
        second = await house.placed_call()
        assert second.steps[1].detail == BUSY
        assert not first.over
        first.hang_up()
        await until(lambda: first.over and len(house.service.registry) == 0)
        assert (await ready(house))[0] == 200
        third = house.dial(house.caller())
        await until(third.streaming.is_set)


async def test_a_slow_loop_sheds_new_calls_and_keeps_those_it_has() -> None:
    async with door(Parrot(GREETING), watched=True) as house:
        house.service.awake()
        lag = house.service.services.health.lag
        assert lag is not None
        for _ in range(60):
            lag.came(0.06)
        assert (await ready(house))[0] == 503
        first = house.dial(house.caller())  # nobody is on the line whom it could disturb
        await until(first.streaming.is_set)
        for _ in range(60):
            lag.came(0.06)
        second = house.dial(house.caller())
        await until(lambda: second.over)
        assert second.steps[1].detail == BUSY
        assert len(house.upstream.sessions) == 1
        assert not first.over
        for _ in range(200):
            lag.came(0.0)
        assert (await ready(house))[0] == 200


async def test_a_loop_that_stood_still_is_not_healthy() -> None:
    async with door(Parrot(GREETING), watched=True) as house:
        house.service.awake()
        lag = house.service.services.health.lag
        assert lag is not None
        lag.came(6.0)
        assert (await get(house, "/healthz")).status_code == 503


async def test_money_that_is_spent_for_today() -> None:
    async with door(Parrot(GREETING), max_day_cost=1.0) as house:
        house.service.services.health.money.spend(1_000_000)
        await heard_instead(house, "money")


@pytest.mark.parametrize("fallback", [None, "front desk"])
def test_a_model_that_refuses_us_is_not_asked_again(
    fallback: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Two callers are on the line when it shows: they hear the apology. The next ones go to the fallback at
    once. The log has one line about it, not one a call.
    """

    async def main() -> None:
        async with door(Parrot(GREETING), fallback=fallback) as house:
            asked: list[str] = []

            async def refuse(url: str, _headers: object) -> Any:
                asked.append(url)
                await asyncio.sleep(0.3)  # both callers have rung by then
                raise DialError("invalid_api_key", "Incorrect API key provided", 401)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(model_dial, "dial", refuse)
                first = await asyncio.gather(house.placed_call(), house.placed_call())
                assert (await ready(house))[1]["reasons"] == ["upstream breaker"]
                dials = len(asked)
                later = await house.placed_call()
            assert len(asked) == dials, "nobody dials while the breaker is open"
            assert Kind.STREAM not in kinds(later)
            for call in (*first, later):
                assert call.reached == ([DESK] if fallback else [])
            if fallback is None:
                assert later.steps[1].detail == APOLOGY
            assert 'gate="upstream"} 1.0' in (await get(house, "/metrics")).text
            house.service.services.health.breaker._shut.clear()
            assert (await ready(house))[0] == 200

    with caplog.at_level(logging.INFO, logger="bridge"):
        run(main())
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([record for record in loud if "invalid_api_key" in record.getMessage()]) == 1


# --- what it was like --------------------------------------------------------------------------------------


@pytest.fixture
def lines() -> Iterator[Any]:
    """Everything logged, as JSON, when the block of the test is through."""
    stream = io.StringIO()
    written = logs.configure("info", stream=stream, readable=False)
    ours = logging.getLogger("bridge")

    def read() -> list[dict[str, Any]]:
        written.close()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield read
    logging.getLogger().removeHandler(written)
    written.close()
    logging.getLogger().setLevel(logging.WARNING)
    ours.setLevel(logging.NOTSET)


async def test_a_call_is_told_in_metrics_logs_and_to_on_end(lines: Any) -> None:
    """A greeting, a barge-in, a tool, a goodbye; and a stranger who was turned away."""
    told: list[Any] = []
    mind = Scripted([
        [Speech(3_000, "A long greeting")],
        [ToolCall("look_up", {"what": "it"})],
        [Speech(300, "Goodbye."), ToolCall("hang_up", {})],
    ])  # fmt: skip
    agent = Agent("Answer.", tools=[look_up, hang_up], greeting="Hello.", on_end=told.append)

    async with door(mind, agent, upstream="openai", openai_api_key="sk-of-a-test") as house:
        call = await house.placed_call(b"\xff" * 6_400 + tone(400) + b"\xff" * 80_000)
        sid = call.handset.call_sid
        await get(house, "/incoming-call?CallSid=CA1")
        await until(lambda: told)
        families = {
            family.name: family
            for family in text_string_to_metric_families((await get(house, "/metrics")).text)
        }

        def value(name: str, suffix: str = "", **labels: str) -> float:
            samples = families[f"phonebridge_{name}"].samples
            wanted = f"phonebridge_{name}{suffix}"
            return sum(one.value for one in samples if one.name == wanted and one.labels == labels)

        assert value("calls_active") == 0
        assert value("calls", "_total", reason="we_hung_up") == 1
        assert value("set_up_seconds", "_count") == 1
        assert value("first_audio_seconds", "_count") == 1
        assert value("turn_latency_seconds", "_count") >= 1
        assert value("barge_in_stop_seconds", "_count") == 1
        assert value("barge_in_stop_seconds", "_sum") < 0.05
        assert value("truncated_seconds", "_count") == 1
        assert value("tool_seconds", "_count") >= 1
        assert value("tokens", "_total", kind="audio_out") > 0
        assert value("cost_usd", "_total") > 0
        assert value("rejects", "_total", gate="signature") == 1
        for family in families.values():
            for sample in family.samples:
                assert sid not in str(sample.labels)
                assert "555" not in str(sample.labels.get("reason", ""))

        [summary] = told
        assert summary["call_sid"] == sid
        assert summary["reason"] == "we_hung_up"
        assert summary["ended"].startswith("we hung up")
        assert (summary["barge_ins"], summary["tools"], summary["turns"]) == (1, 2, 1)
        assert summary["cost_usd"] > 0

        written = lines()
        about = [line for line in written if line.get("call_sid") == sid]
        [logged] = [line for line in about if line["message"] == "call.summary"]
        assert about[-1] is logged or about[-1]["message"].startswith("= after")
        assert {name: logged[name] for name in summary} == summary
        assert any(line["message"] == "= intent: ended" for line in about)
        refused = [line for line in written if line["message"].startswith("webhook refused")]
        assert len(refused) == 1
        assert all({"at", "level", "message", "from"} <= line.keys() for line in written)


async def test_what_user_code_logs_belongs_to_its_call(lines: Any) -> None:
    log = logging.getLogger("bridge.example")

    async def handler(_session: Any) -> None:
        log.info("the handler was here")

    async with door(Parrot(GREETING), Agent(handler=handler)) as house:
        call = await house.placed_call()
        await asyncio.sleep(0.05)
        said = [line for line in lines() if line["message"] == "the handler was here"]
        assert [line.get("call_sid") for line in said] == [call.handset.call_sid]


async def test_a_stream_error_is_an_event_of_the_call(lines: Any) -> None:
    """The only word there is of a handshake that failed: our socket handler never ran."""

    async with door(Parrot(GREETING)) as house:
        call = house.dial(house.caller())
        await until(call.streaming.is_set)
        stream_sid = f"MZ{9:032x}"
        fields = {
            "StreamEvent": "stream-error",
            "StreamError": "31920 handshake",
            "StreamSid": stream_sid,
        }
        for _ in range(3):  # whoever replays it says nothing new
            await call.handset.post(f"{house.base}/stream-status", fields)
        sid = call.handset.call_sid
        assert house.log.did[sid].count(m.Noted("stream-error", "31920 handshake")) == 1
        await call.handset.post(f"{house.base}/stream-status", {**fields, "StreamEvent": "stream-started"})
        said = [line for line in lines() if "31920" in line["message"]]
        assert {line["call_sid"] for line in said} == {sid}
        assert len(said) <= 3


# --- in somebody else's application ------------------------------------------------------------------------


async def test_mounted_in_another_application_without_its_lifespan() -> None:
    """PUBLIC_URL has the mount's path; the host's other routes are its own."""
    upstream = EmbeddedUpstream(lambda: RealtimeServer(Parrot(GREETING), ServerOptions(speed=50)))
    threads: list[str] = []

    async def handler(session: Any) -> None:
        threads.append(session.call_sid)
        await session.say("Hello.")

    inner = Starlette()
    async with upstream.serve() as upstream_url, serve_app(inner) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = load_settings(
            env_file=None,
            public_url=f"{base}/phone",
            twilio_auth_token=TOKEN,
            upstream="embedded",
            upstream_url=upstream_url,
            disclosure=False,
        )
        phone = create_app(settings, Agent(handler=handler))
        inner.router.routes += [
            Route("/", lambda _request: PlainTextResponse("home")),
            Mount("/phone", app=phone),
        ]
        call = PhoneCall(CarrierSimulator(auth_token=TOKEN), pace=0.01)
        await call.place(f"{base}/phone/incoming-call")
        assert kinds(call) == [Kind.ASKED, Kind.STREAM, Kind.STREAM_OVER, Kind.ASKED, Kind.HUNG_UP]
        assert threads == [call.handset.call_sid]
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            assert (await client.get(base)).text == "home"
            assert (await client.get(f"{base}/phone/readyz")).json()["ready"] is True
            assert (await client.get(f"{base}/readyz")).status_code == 404
            unsigned = await client.post(f"{base}/phone/incoming-call", data={"CallSid": "CA1"})
            assert unsigned.status_code == 403
        await phone.state.service.registry.shut_down()
        await asyncio.to_thread(phone.state.service.close)
