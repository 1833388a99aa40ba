"""Whole calls with models of other vendors, over real sockets: Azure OpenAI, and xAI in its own dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.tools import hang_up, tool
from bridge.core import messages as m
from bridge.doubles import azure, xai
from bridge.doubles.agents import Scripted, Speech, ToolCall
from bridge.doubles.tones import tone
from tests.door.rig import Door, door, run, until

pytestmark = [pytest.mark.runs_with(function=run), pytest.mark.hostile]

SILENCE = b"\xff"
AZURE: dict[str, Any] = {
    "upstream": "azure",
    "azure_endpoint": "https://mine.openai.azure.com",
    "azure_api_key": "of-azure",
    "model": azure.DEPLOYMENT,
    "transcribe": azure.SCRIBE,
    "options": azure.azure_options,
}
XAI: dict[str, Any] = {"upstream": "xai", "xai_api_key": "xai-of-a-test", "options": xai.xai_options}
VENDORS = pytest.mark.parametrize("vendor", [AZURE, XAI], ids=["azure", "xai"])


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"{what}: found"


def sent(house: Door) -> list[dict[str, Any]]:
    """What the first session was sent, but for sound."""
    frames = [json.loads(frame) for frame in house.servers()[0].got]
    return [frame for frame in frames if frame["type"] != "input_audio_buffer.append"]


@VENDORS
async def test_a_greeting_a_barge_in_a_tool_and_a_goodbye(vendor: dict[str, Any]) -> None:
    told: list[Any] = []
    mind = Scripted([
        [Speech(3_000, "A long greeting. It goes on and on.")],
        [ToolCall("look_up", {"what": "it"})],
        [Speech(300, "Goodbye."), ToolCall("hang_up", {})],
    ])  # fmt: skip
    agent = Agent("Answer.", tools=[look_up, hang_up], greeting="Hello.", on_end=told.append)
    async with door(mind, agent, **vendor) as house:
        call = await house.placed_call(SILENCE * 6_400 + tone(400) + SILENCE * 80_000)
        await until(lambda: told)
        [summary] = told
        assert summary["reason"] == "we_hung_up"
        assert (summary["barge_ins"], summary["tools"], summary["turns"]) == (1, 2, 1)
        assert len(house.upstream.sessions) == 1
        kinds = [frame["type"] for frame in sent(house)]
        assert kinds[0] == "session.update"
        assert ("conversation.item.truncate" in kinds) is (vendor is AZURE)
        assert kinds.count("response.create") >= 2, "the greeting, and what follows the tool"
        did = house.log.did[call.handset.call_sid]
        [cut] = [action for action in did if isinstance(action, m.Cut)]
        assert 300 < cut.heard_ms < 3_000
        assert house.servers()[0].errors == []
        turns = [action for action in did if isinstance(action, m.Turn)]
        assert len(turns) == 1
        assert turns[0].text
        noted = [action for action in did if isinstance(action, m.Noted)]
        assert [one for one in noted if one.what in ("configuration differs", "upstream error")] == []


async def test_what_xai_bills_by_the_second_is_in_the_summary() -> None:
    told: list[Any] = []
    mind = Scripted([[Speech(2_000, "Good day."), ToolCall("hang_up", {})]])
    agent = Agent("Answer.", tools=[hang_up], greeting="Good day.", on_end=told.append)
    async with door(mind, agent, **XAI) as house:
        await house.placed_call(SILENCE * 40_000)
        await until(lambda: told)
    assert told[0]["cost_usd"] == pytest.approx(2 * 0.0013)


async def test_a_transcription_without_a_deployment_says_why() -> None:
    mind = Scripted([[Speech(200, "Yes?")], [Speech(1_500, "Goodbye."), ToolCall("hang_up", {})]])
    agent = Agent("Answer.", tools=[hang_up], greeting="Hello.")
    async with door(mind, agent, **{**AZURE, "transcribe": "undeployed"}) as house:
        call = await house.placed_call(SILENCE * 9_600 + tone(400) + SILENCE * 40_000)
        noted = [one for one in house.log.did[call.handset.call_sid] if isinstance(one, m.Noted)]
    [untold] = [one.detail for one in noted if one.what == "no transcript"]
    assert untold.startswith("DeploymentNotFound: ")


async def test_an_older_deployment_is_asked_again_without_what_it_does_not_know() -> None:
    mind = Scripted([[Speech(400, "Goodbye."), ToolCall("hang_up", {})]])
    agent = Agent("Be brief.", tools=[hang_up], greeting="Hello.", extra={"reasoning": {"effort": "low"}})
    server = {"unknown_fields": frozenset({"reasoning"})}
    async with door(mind, agent, server=server, **AZURE) as house:
        await house.placed_call(SILENCE * 24_000)
        updates = [frame["session"] for frame in sent(house) if frame["type"] == "session.update"]
    assert ["reasoning" in session for session in updates] == [True, False]
    assert updates[1]["instructions"] == "Be brief."
