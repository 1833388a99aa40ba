"""User code that polls, or does not return: a call in virtual time still comes to its end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from bridge import Agent, tool
from bridge.agents import blocking
from bridge.experiments.callers import Plan, in_virtual_time, jobs
from bridge.experiments.callers_run import Kind
from bridge.experiments.scenario import read_toml
from bridge.testing import begin, tool_call
from bridge.testing.call_loop import UserCodeBlocked

SCENARIO = """
name = "{name}"
[caller]
voice = "tones"
{caller}
[limits]
seconds = 20
"""


@tool(deadline_ms=500)
async def polls() -> str:
    """Look it up."""
    while True:  # noqa: ASYNC110  as user code does
        await asyncio.sleep(0)


@tool
async def spins() -> str:
    """Look it up."""
    while True:
        pass


@tool
def opening_hours() -> str:
    """Look it up."""
    try:
        time.sleep(3_600)
    except Exception:  # noqa: BLE001  as user code does
        return "closed"
    return "open"


def stuck_mind(_heard: object) -> str:
    """Never comes to a decision."""
    while True:
        pass


agent = Agent("You answer.", greeting="Hello.", tools=[polls, spins, opening_hours])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "BLOCKED_S", 0.2)


def asked(calls: Callable[..., Any], name: str) -> Any:
    call = calls(agent)
    call.at(1_000).model.answers(tool_call(name))
    call.model.answers("That did not work.")
    call.caller.says("Hi.")
    return call


def test_a_tool_that_polls_meets_its_deadline(calls: Any, caplog: pytest.LogCaptureFixture) -> None:
    call = asked(calls, "polls")
    call.wait(5_000)
    call.expect.heard_text("That did not work.")
    assert "tool polls: no result within 500 ms; it is at:" in caplog.text


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("one", [opening_hours, pytest.param(spins, marks=pytest.mark.virtual)])
def test_a_tool_that_does_not_return_is_named(calls: Any, one: Any) -> None:
    call = asked(calls, one.name)
    with pytest.raises(UserCodeBlocked, match=rf"^{one.name} \(.*did not return within .*a stub"):
        call.wait(5_000)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


async def polling(_session: Any) -> None:
    while True:  # noqa: ASYNC110  as user code does
        await asyncio.sleep(0)


async def beating(_session: Any) -> None:
    async def beat() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(1)

    beating.task = asyncio.create_task(beat())  # type: ignore[attr-defined]


@pytest.mark.parametrize("handler", [polling, beating])
def test_a_handler_that_goes_on_for_ever_ends_with_its_call(handler: Any) -> None:
    call = begin(Agent(handler=handler))
    call.wait(300).caller.hangs_up()
    call.wait(300)
    assert call.rehearsal.over
    call.close()


@pytest.mark.virtual
@pytest.mark.usefixtures("impatient")
def test_one_call_of_simulated_callers_ends_and_the_others_go_on() -> None:
    mind = 'mind = "tests.experiments.test_stuck_code:stuck_mind"'
    stuck = [
        read_toml(SCENARIO.format(name="stuck", caller=mind), "s"),
        read_toml(SCENARIO.format(name="tool", caller='lines = ["opening hours"]'), "s"),
    ]
    well = read_toml(SCENARIO.format(name="well", caller='lines = ["Goodbye."]'), "s")
    plan = Plan(agent="tests.experiments.test_stuck_code:agent")
    *failed, good = in_virtual_time(plan, jobs([*stuck, well], 1), 1)
    assert good.passed
    for run, name in zip(failed, ["stuck_mind", "opening_hours"], strict=True):
        [failure] = run.failures
        assert failure.kind is Kind.HARNESS
        assert f"{name} (" in failure.got
        assert "did not return" in failure.got
