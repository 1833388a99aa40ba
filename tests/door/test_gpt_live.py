"""Whole calls with GPT-Live over real sockets: a service, its double and a phone, each with a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.config import AgentConfigs
from bridge.agents.tools import hang_up, tool
from bridge.core import messages as m
from bridge.doctor import models
from bridge.doubles.agents import Output, Scripted, Speech, ToolCall
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.live_options import LiveOptions, Refused
from bridge.doubles.tones import marked, tone
from bridge.settings.settings import load_settings
from bridge.simulators.servers import EmbeddedLive
from tests.door.rig import door, run, until
from tests.upstreams.published_live import client_events

pytestmark = [pytest.mark.runs_with(function=run), pytest.mark.hostile]

SILENCE = b"\xff" * 8
"""A millisecond of it."""
LIVE: dict[str, Any] = {"upstream": "gpt-live", "openai_api_key": "sk-of-a-test"}
AZURE: dict[str, Any] = {
    "upstream": "azure-live",
    "azure_endpoint": "https://mine.openai.azure.com",
    "azure_api_key": "of-azure",
    "model": "voice",
    "backend_model": "thinker",
}
HELLO = "Hello, how can I help?"


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"{what}: found"


def servers(*mind: Output | list[Output], words: list[str]) -> Any:
    """Makes the double of each session; they share the mind, and what the caller says."""
    made: list[LiveServer] = []

    def server() -> LiveServer:
        agent = Scripted(mind[sum(one.asked for one in made) :])
        made.append(LiveServer(agent, LiveOptions(transcribe=lambda _item: words.pop(0) if words else None)))
        return made[-1]

    return server, made


async def test_a_greeting_a_turn_a_tool_and_a_goodbye() -> None:
    """At both hosts at once: what takes long is that people speak."""
    async with asyncio.TaskGroup() as group:
        group.create_task(a_conversation(LIVE))
        group.create_task(a_conversation(AZURE))


async def a_conversation(vendor: dict[str, Any]) -> None:
    told: list[Any] = []
    server, made = servers(
        Speech(1_500, HELLO),
        [Speech(700, "One moment."), ToolCall("look_up", {"what": "it"}, "call_1")],
        Speech(1_200, "It is found."),
        [Speech(1_500, "Goodbye to you."), ToolCall("hang_up", {}, "call_2")],
        words=["Look it up.", "Thank you."],
    )
    agent = Agent("Answer.", tools=[look_up, hang_up], greeting=HELLO, on_end=told.append)
    sound = SILENCE * 3_000 + tone(600) + SILENCE * 6_500 + tone(600) + SILENCE * 6_000
    async with door(Scripted([]), agent, live=server, **vendor) as house:
        call = await house.placed_call(sound)
        await until(lambda: told, 15)
        did = house.log.did[call.handset.call_sid]
    [summary] = told
    assert (summary["reason"], summary["tools"]) == ("we_hung_up", 2)
    (double,) = made
    assert (double.sent["session.closed"], summary["cost_incomplete"]) == (1, False)
    assert double.errors == []
    client_events(double.log)
    start = double.log[0]["session"]
    assert start["delegation"]["type"] == "responses"
    assert start["delegation"]["responses"]["model"] == vendor.get("backend_model", "gpt-5.4-mini")
    outputs = [one["item"]["output"] for one in double.log if one["type"] == "response.item.create"]
    assert outputs[0] == "it: found"
    spoken = [one.heard for one in did if isinstance(one, m.Spoken)]
    assert spoken[:3] == [HELLO, "One moment.", "It is found."]
    assert [one.text for one in did if isinstance(one, m.Turn)] == ["Look it up.", "Thank you."]
    assert double.log[-1]["type"] == "session.close" or "session.close" in [one["type"] for one in double.log]
    appended = sum(one["bytes"] for one in double.log if one["type"] == "session.input_audio.append")
    assert appended == pytest.approx(double.timeline_ms * 8, abs=320)


async def test_a_session_whose_end_is_not_told_delays_no_caller() -> None:
    told: list[Any] = []
    server, made = servers([Speech(1_500, HELLO), ToolCall("hang_up", {}, "call_1")], words=[])
    agent = Agent("Answer.", tools=[hang_up], greeting=HELLO, on_end=told.append)

    def deaf() -> LiveServer:
        made = server()
        made._finish = lambda *_what, **_more: None
        return made

    async with door(Scripted([]), agent, live=deaf, **LIVE) as house:
        await house.placed_call(SILENCE * 20_000)
        assert not told  # the bill waits, and not the caller
        await until(lambda: told, 2)
    assert (told[0]["reason"], told[0]["cost_incomplete"]) == ("we_hung_up", True)
    assert made[0].log[-1]["type"] == "session.close"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "gpt-live takes our key and our configuration of gpt-live-1.1"),
        ({"refuse_start": Refused("model_not_found")}, "our configuration is refused: model_not_found"),
        ({"alpha": True}, "our configuration is refused: alpha_dialect"),
        ({"impose": {"audio": {"format": {"type": "audio/pcm", "rate": 24_000}}}}, "the audio formats"),
    ],
)
async def test_doctor_starts_a_session(options: dict[str, Any], found: str) -> None:
    upstream = EmbeddedLive(lambda: LiveServer(Scripted([]), LiveOptions(**options)))
    async with upstream.serve() as url:
        settings = load_settings(env_file=None, insecure=True, upstream_url=url, **LIVE)
        configs = AgentConfigs(settings.call_config(), settings.transfers)
        [(what, _)] = await models.examine(settings, configs, Agent("Answer.", tools=[look_up]))
    assert what.startswith(found)


async def test_a_session_that_is_cut_goes_on_with_what_was_heard() -> None:
    story = "We are open from nine to five on all days of the week but Sunday"
    server, made = servers(
        Speech(1_500, HELLO), Speech(6_000, story), Speech(1_500, "As I said."), words=["Opening hours?"]
    )
    agent = Agent("Answer.", greeting=HELLO)
    sound = SILENCE * 3_000 + tone(600) + SILENCE * 20_000
    async with door(Scripted([]), agent, live=server, **LIVE) as house:
        call = house.dial(house.caller(sound))
        await until(lambda: made and len(made[0].voice.utterances) == 2, 15)
        await asyncio.sleep(2.5)
        first = house.upstream.sessions[0]
        first.send(made[0].drop(1006, first.now_ms()))
        await until(lambda: len(made) == 2 and made[1].voice.utterances, 10)
        await asyncio.sleep(2.0)
        call.hang_up()
        await until(lambda: call.over, 10)
        did = house.log.did[call.handset.call_sid]
    assert len(made) == 2
    said = made[0].voice.utterances[1]
    (cut,) = [one for one in did if isinstance(one, m.Spoken) and one.generated.startswith("We are")]
    # What the phone has played of it, by its byte.
    played_ms = call.sound()[1].count(marked(2, 1)[:1]) // 8
    whole = [one for one in said.fragments if one.to_ms - said.start_ms <= played_ms]
    counts = range(max(0, len(whole) - 1), len(whole) + 2)
    assert cut.heard in ["".join(one.text for one in said.fragments[:count]).strip() for count in counts]
    history = [one["content"][0]["text"] for one in made[1].log[0]["session"]["input"]]
    assert history[0] == HELLO
    assert history[1] == "Opening hours?"
    assert story.startswith(history[2])
    assert [one for server in made for one in server.errors] == []
