"""When new calls should go elsewhere: each reason by itself, its clock in the hands of the test."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time

import pytest

from bridge.ops import health
from bridge.ops.health import BREAKER_S, SHED_S, Breaker, DayMoney, Health, LoopLag
from bridge.sockets.dial import DialError
from tests.hand_clock import Clock

KEY_REFUSED = DialError("invalid_api_key", "HTTP 401", 401)


# --- the loop ----------------------------------------------------------------------------------------------


def test_a_loop_in_time_sheds_nobody() -> None:
    lag = LoopLag()
    for _ in range(200):
        lag.came(0.001)
    assert lag.p95_s == 0.001
    assert lag.worst_s == 0.001


def test_the_beats_that_were_missed_count_too() -> None:
    """A second of standing still is one late beat, and nine that would have been late."""
    lag = LoopLag()
    for _ in range(90):
        lag.came(0.0)
    lag.came(1.0)
    assert lag.p95_s > SHED_S
    assert lag.worst_s == 1.0


def test_what_was_ten_seconds_ago_is_forgotten() -> None:
    lag = LoopLag()
    for _ in range(50):
        lag.came(0.08)
    assert lag.p95_s == 0.08
    for _ in range(100):
        lag.came(0.002)
    assert lag.p95_s == 0.002


def test_a_burst_that_is_over_turns_no_caller_away() -> None:
    """Five late beats in ten seconds; from then on the loop is in time again."""
    lag = LoopLag()
    for _ in range(80):
        lag.came(0.001)
    for _ in range(8):
        lag.came(0.08)
    assert lag.sheds
    for _ in range(health.LATELY_BEATS - 1):
        lag.came(0.001)
    assert lag.sheds
    lag.came(0.001)
    assert lag.p95_s > SHED_S
    assert not lag.sheds
    for _ in range(2):
        lag.came(0.08)
    assert lag.sheds


def test_a_few_beats_say_nothing() -> None:
    lag = LoopLag()
    for _ in range(health.LEAST_BEATS - 1):
        lag.came(0.06)
    assert lag.p95_s == 0.0


def test_who_stood_still_for_five_seconds_is_not_alive() -> None:
    told: list[float] = []

    async def main() -> None:
        found = Health()
        found.watch(told.append)
        assert found.lag is not None
        assert found.alive
        found.lag.came(5.5)
        assert not found.alive
        assert "loop lag" in found.reasons()
        for _ in range(health.WINDOW_BEATS):
            found.lag.came(0.0)
        assert found.alive
        assert found.reasons() == []
        found.close()

    asyncio.run(main())
    assert told[0] == 5.5


def test_who_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """With the line that it stands at; and how long it took."""

    def careless_reading_of_a_file() -> None:
        time.sleep(0.7)

    async def main() -> None:
        found = Health()
        found.watch(lambda _seconds: None)
        await asyncio.sleep(0.05)
        careless_reading_of_a_file()
        await asyncio.sleep(0.3)
        found.close()
        assert found.lag is not None
        assert found.lag.worst_s > 0.3

    with caplog.at_level(logging.WARNING, logger="bridge.ops.health"):
        asyncio.run(main())
    assert any("careless_reading_of_a_file" in line for line in caplog.messages)


# --- the model ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        (KEY_REFUSED, True),
        (DialError("refused", "HTTP 403", 403), True),
        (DialError("model_not_found", "no such model", 404), True),
        (DialError("insufficient_quota", "no money", 429), True),
        (DialError("rate_limit_exceeded", "slow down", 429), False),
        (DialError("refused", "HTTP 500", 500), False),
        (DialError("invalid_request_error", "no such parameter", 400), True),
        (DialError("refused", "Bad Request", 400), False),
        (DialError("timeout", "no websocket within 3 s"), False),
        (DialError("unreachable", "nobody there"), False),
    ],
)
def test_the_breaker_opens_where_trying_again_is_no_use(error: DialError, opens: bool) -> None:
    breaker = Breaker(Clock(100.0))
    breaker.check()
    breaker.failed(error)
    assert breaker.is_open is opens


def test_the_breaker_closes_after_thirty_seconds_and_says_once_why(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(100.0)
    breaker = Breaker(clock)
    for _ in range(20):
        breaker.failed(KEY_REFUSED)
    with pytest.raises(DialError) as refused:
        breaker.check()
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
    clock.now_s += BREAKER_S - 0.1
    assert breaker.is_open
    clock.now_s += 0.1
    breaker.check()
    assert len(caplog.messages) == 1
    assert "invalid_api_key" in caplog.messages[0]
    breaker.failed(KEY_REFUSED)
    assert len(caplog.messages) == 2


def test_a_session_that_is_refused_when_it_is_there_opens_it_too(caplog: pytest.LogCaptureFixture) -> None:
    """A quota that ends in the middle of a call. What follows from the breaker itself does not prolong it."""
    clock = Clock(100.0)
    breaker = Breaker(clock)
    breaker.refused("insufficient_quota")
    clock.now_s += BREAKER_S - 1
    breaker.refused("insufficient_quota")
    clock.now_s += 1
    assert not breaker.is_open
    assert len(caplog.messages) == 1


def test_a_second_vendor_that_refuses_shuts_no_door_of_the_first(caplog: pytest.LogCaptureFixture) -> None:
    """A call went on with it, or tried to; others begin with the first as before."""
    breaker = Breaker(Clock(100.0))
    breaker.first = "first.example"
    breaker.failed(KEY_REFUSED, "second.example")
    assert not breaker.is_open
    breaker.check("first.example")
    with pytest.raises(DialError):
        breaker.check("second.example")
    breaker.failed(KEY_REFUSED, "first.example")
    assert breaker.is_open
    assert ["no call can be answered" in message for message in caplog.messages] == [False, True]


def test_calls_that_go_on_with_another_vendor_are_let_in(caplog: pytest.LogCaptureFixture) -> None:
    breaker = Breaker(Clock(100.0))
    breaker.first, breaker.others = "first.example", lambda: True
    breaker.failed(KEY_REFUSED, "first.example")
    assert not breaker.is_open
    with pytest.raises(DialError):
        breaker.check("first.example")
    assert "no call can be answered" not in caplog.text


def test_another_deployment_of_the_same_resource_is_another_place() -> None:
    """One that is gone keeps no call from going on with the other; nor does GPT-Live where it is refused keep
    calls from Realtime.
    """
    breaker = Breaker(Clock(100.0))
    breaker.first, breaker.others = "us.example", lambda: True
    breaker.failed(DialError("DeploymentNotFound", "no", 404), "us.example/openai/v1/realtime?model=first")
    breaker.check("us.example/openai/v1/realtime?model=second")
    breaker.check("us.example/openai/v1/live/sessions")
    with pytest.raises(DialError):
        breaker.check("us.example/openai/v1/realtime?model=first")
    assert not breaker.is_open
    breaker.others = lambda: False
    assert breaker.is_open


# --- money and descriptors ---------------------------------------------------------------------------------


def test_the_days_money() -> None:
    day = dt.date(2026, 11, 20)
    money = DayMoney(1_000_000, lambda: day)
    money.spend(999_999)
    assert not money.is_spent
    money.spend(1)
    assert money.is_spent
    day = dt.date(2026, 11, 21)
    assert not money.is_spent
    money.spend(5)
    assert not money.is_spent


def test_money_without_a_limit_is_never_spent() -> None:
    money = DayMoney(None)
    money.spend(10**12)
    assert not money.is_spent


@pytest.mark.parametrize(("used", "reasons"), [(0.79, []), (0.81, ["descriptors"])])
def test_descriptors_at_eighty_percent(
    used: float, reasons: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0 <= health.descriptors_used() < 0.5  # type: ignore[attr-defined]
    monkeypatch.setattr(health, "descriptors_used", lambda: used)
    assert Health().reasons() == reasons
