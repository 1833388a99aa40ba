"""Failover over real sockets: two servers on loopback, the bridge between them and the phones."""

from __future__ import annotations

import asyncio
import time

import pytest

from bridge.codecs.audible import is_audible_block
from bridge.core import messages as m
from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import tone
from bridge.errors import ConfigError
from bridge.runner.gate import Runner
from bridge.runner.vendor_sessions import VENDOR_SESSIONS
from bridge.simulators.servers import EmbeddedUpstream, Simulation
from bridge.upstreams import Upstream
from tests.calls import House, KeepingServer, bridge, hang_up, phone_of, within

pytestmark = pytest.mark.hostile


class Talker:
    """Says the same, long, as often as it is asked."""

    def __init__(self, hz: int) -> None:
        self.hz = hz

    def answer(self, _asked: Asked) -> list[Output]:
        return [Speech(tone(4_000, self.hz), "This is a long answer about nothing in particular.")]


def loud(call: Simulation) -> bool:
    """Whether the phone hears something now, by the last 40 ms of it."""
    heard = phone_of(call).heard
    return is_audible_block(heard[-160:])


@pytest.mark.alone
async def talking(house: House, call: Simulation) -> Runner:
    """What carries the call, once its caller has heard something."""
    await within(8, lambda: loud(call))
    runner = house.registry.runner(phone_of(call).call_sid)
    assert runner is not None
    return runner


async def test_twenty_calls_at_once_go_on_with_the_other_vendor() -> None:
    second = EmbeddedUpstream(lambda: KeepingServer(Talker(700), ServerOptions(latency_ms=50)))
    async with second.serve() as url:
        given = {"failover": f"embedded@{url}"}
        async with bridge(Talker(440), given=given, config={"greeting": "Hello."}) as house:
            calls = [await house.call(tone(400, 500)) for _ in range(20)]
            await within(8, lambda: all(loud(call) for call in calls))
            began_s = time.monotonic()
            house.lose_model(1006)
            await within(1, lambda: not any(loud(call) for call in calls))
            first_s: dict[int, float] = {}

            def each_was_heard() -> bool:
                for number, call in enumerate(calls):
                    if number not in first_s and loud(call):
                        first_s[number] = time.monotonic() - began_s
                return len(first_s) == len(calls)

            await within(6, each_was_heard)
            assert max(first_s.values()) < 3
            assert len(second.sessions) == 20
            for call in calls:
                hang_up(call)
            await within(6, lambda: len(house.log.ended) == len(calls))
    assert not +VENDOR_SESSIONS._open


async def test_a_refusal_of_one_vendor_shuts_no_other() -> None:
    """The agent alone names who goes on; the settings name none."""
    second = EmbeddedUpstream(lambda: KeepingServer(Talker(700), ServerOptions(latency_ms=50)))
    async with second.serve() as url:
        config = {"greeting": "Hello.", "failover": (m.VendorPlan("embedded", url=url),)}
        async with bridge(Talker(440), config=config) as house:
            call = await house.call()
            runner = await talking(house, call)
            runner.feed(m.UpstreamFaulted("insufficient_quota"))
            await within(6, lambda: second.sessions and loud(call))
            assert not house.registry.services.health.breaker.is_open
            hang_up(call)


async def test_a_vendor_whose_adapter_cannot_be_made_keeps_no_place() -> None:
    def broken(_plan: m.VendorPlan, _epoch: int) -> Upstream:
        raise ConfigError("no address")

    VENDOR_SESSIONS.most, config = 1, {"greeting": "Hello.", "failover": (m.VendorPlan("embedded"),)}
    async with bridge(Talker(440), config=config, errors=1) as house:
        call = await house.call()
        runner = await talking(house, call)
        runner.other_vendor = broken
        runner.feed(m.UpstreamFaulted("insufficient_quota"))
        await within(8, lambda: house.reason(call))
    VENDOR_SESSIONS.most = None
    assert not +VENDOR_SESSIONS._open


async def test_a_vendor_that_lacks_a_setting_is_out_and_the_caller_is_told() -> None:
    """GPT-Live at Azure, and a call with tools: it needs the name of a deployment behind the voice."""
    tool = {"type": "function", "name": "hours", "parameters": {"type": "object", "properties": {}}}
    plan = m.VendorPlan("azure-live", model="live", url="ws://127.0.0.1:9/")
    config = {
        "greeting": "Hello.", "failover": (plan,), "session": m.SessionConfig(tools=(tool,)),
    }  # fmt: skip
    async with bridge(Talker(440), config=config) as house:
        call = await house.call()
        runner = await talking(house, call)
        runner.feed(m.UpstreamFaulted("insufficient_quota"))
        await within(12, lambda: house.reason(call))
        assert house.reason(call) is m.Reason.UPSTREAM_LOST
    assert not +VENDOR_SESSIONS._open


async def test_a_cap_of_sessions_holds_and_the_rest_hear_an_apology() -> None:
    second = EmbeddedUpstream(lambda: KeepingServer(Talker(700), ServerOptions(latency_ms=50)))
    async with second.serve() as url:
        given = {"failover": f"embedded@{url}", "failover_sessions": "2"}
        async with bridge(Talker(440), given=given, config={"greeting": "Hello."}) as house:
            calls = [await house.call() for _ in range(3)]
            await within(8, lambda: all(loud(call) for call in calls))
            house.lose_model(1006)
            await within(6, lambda: len(second.sessions) == 2 and len(house.log.ended) == 1)
            await asyncio.sleep(0.3)
            assert len(second.sessions) == 2
            for call in calls:
                hang_up(call)
    VENDOR_SESSIONS.most = None
