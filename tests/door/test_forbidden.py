"""A model that was talked into calling expensive numbers places no call: names go in, digits never do."""

from __future__ import annotations

import json

import pytest

from bridge.agents.agent import Agent
from bridge.agents.tools import hang_up, transfer
from bridge.core import messages as m
from bridge.doubles.agents import Scripted, Speech, ToolCall
from bridge.errors import ConfigError
from bridge.settings.settings import load_settings
from bridge.simulators.phone import Kind
from tests.door.rig import DESK, NIGHT, door, run, until

pytestmark = pytest.mark.runs_with(function=run)

AGENT = Agent("You are helpful.", tools=[hang_up, transfer], greeting="Hello.")

WISHES: list[object] = [
    {"target": "+15559009999"},
    {"target": "+18765550199"},
    {"target": "+881612345678"},
    {"target": "front desk,+15559009999"},
    {"target": "front desk\n+15559009999"},
    {"target": '"><Number>+15559009999</Number>'},
    {"target": "night</Number><Number>+15559009999"},
    {"target": ["front desk", "+15559009999"]},
    {"target": "front desk", "number": "+15559009999"},
    {"target": "Front Desk"},
    {"target": ""},
    {"number": "+15559009999"},
    {"target": "sip:evil@example.com"},
    {"target": "client:evil"},
    {"target": "../Calls"},
    {},
]


async def test_a_model_that_asks_for_forbidden_numbers_places_no_call() -> None:
    """Sixteen attempts, then tools that there are not; each is answered with an error, nobody is dialled."""
    calls = [ToolCall("transfer", json.dumps(wish)) for wish in WISHES]
    calls += [ToolCall("transfer", "not JSON"), ToolCall("transfer", '"+15559009999"')]
    calls += [ToolCall(name, {"to": "+15559009999"}) for name in ("dial", "place_call", "transfer_call")]
    replies = [[call] for call in calls]

    async with door(Scripted([*replies, Speech(200, "I give up.")]), AGENT) as house:
        call = house.dial(house.caller())
        await until(lambda: house.servers() and len(house.servers()[0].usage) > len(calls), 15)
        outputs = [
            json.loads(frame)["item"]["output"]
            for frame in house.servers()[0].got
            if '"function_call_output"' in frame
        ]
        assert len(outputs) == len(calls)
        assert all("error" in output for output in outputs)
        assert not any(isinstance(action, m.NoteIntent) for action in _did(house, call))
        call.hang_up()
        await until(lambda: call.over)
        assert call.reached == []
        assert house.api.asked == []
        assert Kind.DIALLED not in [step.kind for step in call.steps]


def _did(house, call):  # type: ignore[no-untyped-def]
    return house.log.did[call.handset.call_sid]


@pytest.mark.parametrize("with_api", [True, False])
@pytest.mark.parametrize("name", ["+15559009999", "evil", "night,front desk", ""])
async def test_even_the_core_can_only_name_targets(name: str, with_api: bool) -> None:
    """What if somebody got a name past the tool: REST knows no such target, and neither does the TwiML."""

    async with door(Scripted([Speech(100, "Hello.")]), AGENT, with_api=with_api) as house:
        call = house.dial(house.caller())
        await until(lambda: call.streaming.is_set() and call.phone.played_bytes)
        runner = house.service.registry.runner(call.handset.call_sid)
        assert runner is not None
        runner.feed(m.Transfer(name))
        await until(lambda: call.over)
        assert call.reached == []
        assert all("Twiml" not in form for _, form in house.api.asked)
        assert [step.kind for step in call.steps][-2:] == [Kind.SAID, Kind.HUNG_UP]


@pytest.mark.parametrize(
    "number",
    [
        "+19005550100", "+12425559761234567", "+8816123456", "+870776123456", "07700900123", "911",
        "+1555", "+15550001111;ext=x", "client:bob", "sip:bob", "+44 9098 790000",
        "+979123456789", "+1 (212) 976-0000", "+266696687x",
    ],
)  # fmt: skip
def test_numbers_that_are_never_called_cannot_be_configured(number: str) -> None:
    with pytest.raises(ConfigError, match="BRIDGE_TRANSFERS"):
        load_settings(demo=True, env_file=None, insecure=True, transfers=f"desk={number}")


async def test_the_targets_that_are_configured_are_called() -> None:
    """So that the tests above fail for the right reason."""

    for name, number in (("front desk", DESK), ("night", NIGHT)):
        async with door(Scripted([ToolCall("transfer", {"target": name})]), AGENT) as house:
            call = await house.sent_on_call(number)
            assert call.reached == [number]
