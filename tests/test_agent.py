"""Agents: what is refused where it is declared, found by name, resolved for a call, and configured with."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from bridge.agents.agent import Agent, load_agent, roster
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.guardrails import Guardrail, Watched
from bridge.agents.loop import UserLoop
from bridge.agents.mcp import FillingSocket, McpServer, Vault
from bridge.agents.session import Session
from bridge.agents.tools import tool
from bridge.core import messages as m
from bridge.doubles.agents import ToolCall
from bridge.errors import ConfigError
from bridge.upstreams import OpenAI
from tests.agents.door import CALL, Door, settled
from tests.agents.obedient import Obedient, speech
from tests.agents.virtual_time import run


@tool
def lookup(number: int) -> str:
    """Look up an order."""
    return f"order {number}"


async def nobody(session: Session) -> None:
    await session.input()


# --- where it is declared -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": " "}, "name is text, and not empty"),
        ({"instructions": 3}, "instructions is text, not 3"),
        ({"speed": 2.0}, r"speed is a number from 0.25 to 1.5, not 2.0"),
        ({"max_output_tokens": 5_000}, '1 to 4096, or "inf"'),
        ({"max_output_tokens": True}, '1 to 4096, or "inf"'),
        ({"noise_reduction": "phone"}, "near_field or far_field"),
        ({"backchannel_ms": -1}, "backchannel_ms is a whole number of at least 0"),
        ({"silence_ms": 0}, "silence_ms is a whole number of at least 1"),
        ({"nudge_ms": 1.5}, "nudge_ms is a whole number"),
        ({"tools": lookup}, "tools is a list"),
        ({"tools": [lambda: None]}, r"'<lambda>' is a function; put @tool above it"),
        ({"tools": ["lookup"]}, "'lookup' is no tool"),
        ({"tools": [lookup, lookup]}, "two tools are called lookup"),
        ({"handoffs": ["back", 3]}, "handoffs is a list of agents and names"),
        ({"guardrails": [len]}, "guardrails is a list of Guardrail"),
        ({"tags": "vip"}, "tags is a list of texts"),
        ({"metadata": {"tier": 1}}, "metadata is a mapping of text to text"),
        ({"handler": print}, "handler is an async function of one argument, the session"),
        ({"resolver": "fields"}, "resolver is a function"),
        ({"modalities": "audio"}, "modalities is audio, or audio and text"),
    ],
)
def test_what_cannot_work_is_refused_with_its_name(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Agent(**fields)


def test_a_field_that_there_is_not_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="voise"):
        Agent(voise="marin")  # type: ignore[call-arg]


def test_a_tool_that_needs_approval_needs_somebody_to_approve() -> None:
    @tool(needs_approval=True)
    def refund() -> None:
        """Refund."""

    with pytest.raises(ConfigError, match="refund needs approval, and there is no `approve`"):
        Agent(tools=[refund])
    with pytest.raises(ConfigError, match="shop needs approval"):
        Agent(tools=[McpServer(label="shop", url="https://mcp.example.com")])
    Agent(tools=[McpServer(label="shop", url="https://mcp.example.com", require_approval="never")])


def test_an_agent_does_not_change_and_its_lists_are_its_own() -> None:
    tools = [lookup]
    agent = Agent(tools=tools)
    tools.clear()
    assert agent.tools == (lookup,)
    with pytest.raises(AttributeError):
        agent.voice = "cedar"  # type: ignore[misc]
    assert agent.replace(voice="cedar").voice == "cedar"


# --- found by its name --------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_an_agent_is_found_in_the_current_folder(here: Path) -> None:
    (here / "my_agents.py").write_text(
        "from bridge.agents.agent import Agent\nfront = Agent('Be kind.')\n"
        "async def handler(session): ...\ndef sync(session): ...\nnumber = 3\n"
    )
    assert load_agent("my_agents:front").instructions == "Be kind."
    made = load_agent("my_agents:handler")
    assert made.handler is not None
    assert made.name == "handler"
    for name, kind in (("sync", "function"), ("number", "int")):
        with pytest.raises(ConfigError, match=f"my_agents:{name} is a {kind}; an Agent or an async handler"):
            load_agent(f"my_agents:{name}")
    with pytest.raises(ConfigError, match=r"my_agents has no 'frond'; did you mean front\?"):
        load_agent("my_agents:frond")


def test_an_agent_that_is_not_there_says_where_was_looked(here: Path) -> None:
    (here / "needy.py").write_text("import no_such_library_at_all\n")
    (here / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match="there is no module 'my_agent', neither installed nor in "):
        load_agent("my_agent:agent")
    with pytest.raises(ConfigError, match="needy needs the module 'no_such_library_at_all'"):
        load_agent("needy:agent")
    with pytest.raises(ConfigError, match="importing broken raised ZeroDivisionError: division by zero"):
        load_agent("broken:agent")
    for wrong in ("agent", "agent:", ":agent"):
        with pytest.raises(ConfigError, match="module:attribute"):
            load_agent(wrong)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "from bridge import Agent, tool\n\n@tool\ndef book(): ...\n",
            "line 3 (@tool): tool book: without a doc",
        ),
        ("from bridge import Agent\nAgent(promt='x')\n", "'promt'; did you mean instructions?"),
        (
            "from bridge import Agent\nAgent(greting='x')\n",
            "line 2 (Agent(greting='x')): importing mine raised Type",
        ),
        ("from bridge import Agent\nAgent(zzz=1)\n", "'zzz'; help(bridge.Agent) lists them"),
        (
            "from bridge import Agnet\n",
            "line 1 (from bridge import Agnet): importing mine raised ImportError: ",
        ),
        ("x = 1\nprint('a'\n", "line 2: importing mine raised SyntaxError: '(' was never closed"),
        ("x = 1\nyy = xx\n", "line 2 (yy = xx): importing mine raised NameError: name 'xx' is not defined"),
        ("import json\n\njson.loads('{')\n", "line 3 (json.loads('{')): importing mine raised json."),
        (
            "from bridge import Agent\nAgent(speed=7)\n",
            "line 2 (Agent(speed=7)): agent agent: speed is a number",
        ),
        (
            "import no_such_library\n",
            "line 1 (import no_such_library): mine needs the module 'no_such_library'",
        ),
        (
            "import sys\nsys.exit(3)\n",
            "line 2 (sys.exit(3)): importing mine ends the process: what shall run only",
        ),
    ],
)
def test_a_mistake_in_an_agent_s_file_names_file_line_and_cure(here: Path, source: str, told: str) -> None:
    (here / "mine.py").write_text(source, encoding="utf-8")
    with pytest.raises(ConfigError) as mistake:
        load_agent("mine:agent")
    assert str(mistake.value).startswith("mine.py, line ")
    assert told in str(mistake.value)


def test_a_mistake_in_a_module_of_the_agent_s_is_told_there(here: Path) -> None:
    (here / "parts").mkdir()
    (here / "parts" / "menu.py").write_text(
        "PRICES = {}\n\n\ndef price():\n    return PRICES['soup']\n", "utf-8"
    )
    (here / "mine.py").write_text("from parts.menu import price\n\nprice()\n", "utf-8")
    with pytest.raises(ConfigError) as mistake:
        load_agent("mine:agent")
    place = str(Path("parts") / "menu.py")
    assert str(mistake.value).startswith(
        f"{place}, line 5 (return PRICES['soup']): importing mine raised KeyError"
    )


# --- what a call is configured with -------------------------------------------------------------------------

BASE = m.CallConfig(
    session=m.SessionConfig(
        model="gpt-realtime-2.1", voice="marin", instructions="From settings.",
        transcription="gpt-transcribe", language="en", extra={"truncation": "auto"},
    ),
    greeting="Hello from settings.",
)  # fmt: skip
CASTING = AgentConfigs(BASE)


def test_what_an_agent_leaves_open_is_as_the_settings_say() -> None:
    config = CASTING.call(Agent())
    assert config.session == msgspec.structs.replace(
        BASE.session, agent=m.AgentRules("agent", turn_bounds=m.TurnBounds())
    )
    assert config.greeting == "Hello from settings."


def test_what_an_agent_says_goes_before_the_settings() -> None:
    agent = Agent(
        "Mine.", model="gpt-realtime-2", voice="cedar", language="de-AT", greeting="Servus.",
        transcription="off", noise_reduction="near_field", speed=1.2, max_output_tokens=500,
        tool_choice="required",
        extra={"reasoning": {"effort": "low"}}, silence_ms=9_000, nudge_ms=20_000, nudges=1,
    )  # fmt: skip
    config = CASTING.call(agent)
    session = config.session
    assert (session.model, session.voice, session.language) == ("gpt-realtime-2", "cedar", "de")
    assert (session.instructions, config.greeting, session.transcription) == ("Mine.", "Servus.", None)
    assert (session.noise_reduction, session.speed, session.max_output_tokens) == ("near_field", 1.2, 500)
    assert session.tool_choice == "required"
    assert session.extra == {"truncation": "auto", "reasoning": {"effort": "low"}}
    bounds = m.TurnBounds()
    assert config.agent == m.AgentRules(
        "agent", silence_ms=9_000, turn_bounds=bounds, nudge_ms=20_000, nudges=1
    )


def test_an_empty_greeting_is_none_and_a_handler_greets_for_itself() -> None:
    assert CASTING.call(Agent(greeting="")).greeting is None
    assert CASTING.call(Agent(handler=nobody)).greeting is None
    assert CASTING.call(Agent(handler=nobody, greeting="Hi.")).greeting == "Hi."


def test_with_a_handler_the_vendor_answers_nobody() -> None:
    detection = CASTING.session(Agent(handler=nobody)).turn_detection
    assert detection == m.ServerVad(create_response=False, interrupt_response=True)
    assert CASTING.call(Agent(handler=nobody)).agent.handler


def test_for_backchannels_the_bridge_decides_what_interrupts() -> None:
    config = CASTING.call(Agent(backchannel_ms=400, turn_detection={"type": "semantic_vad"}))
    assert (
        config.agent.backchannel_ms == 900
    )  # an end of speech is told as late as the pause that tells it is long
    assert config.session.turn_detection == m.SemanticVad(create_response=False, interrupt_response=False)


@pytest.mark.parametrize(("words", "times"), [("mhm", 0), ("excuse me, I only want to know one thing", 1)])
def test_mm_hm_does_not_interrupt_and_a_sentence_does(calls: Any, words: str, times: int) -> None:
    live = calls(
        Agent(backchannel_ms=300, greeting="Here is a long greeting that goes on and on for a while.")
    )
    live.wait(1_000)
    live.caller.says(words)
    live.wait(8_000)
    live.expect.cleared(times)


def test_voice_detection_may_be_off() -> None:
    assert CASTING.session(Agent(turn_detection=None, handler=nobody)).turn_detection is None


def test_the_core_gets_prices_it_can_count_with() -> None:
    prices = CASTING.call(Agent()).prices
    assert prices["audio_out"] == 64.0
    assert prices["cached_text"] == 0.4
    assert prices["transcription_minute"] == 0.0045
    assert set(prices) <= {*m.Usage.__struct_fields__, "image_out", "transcription_minute"}
    by_tokens = CASTING.call(Agent(transcription="gpt-4o-transcribe")).prices
    assert by_tokens["transcription_audio_in"] == 2.5
    assert by_tokens["transcription_text_out"] == 10.0
    assert CASTING.call(Agent(model="gpt-live-1", transcription="off")).prices == {"session_minute": 0.05}
    theirs = AgentConfigs(BASE, vendor="xai").call(Agent(model="grok-voice-latest", transcription="off"))
    assert theirs.prices == {"sound_second": 0.0013}
    assert CASTING.call(Agent(model="parrot", transcription="off")).prices == {}


def test_extra_fields_that_would_break_the_phone_are_refused_at_the_start() -> None:
    agent = Agent(extra={"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24_000}}}})
    with pytest.raises(ConfigError):
        CASTING.check(agent, "openai")
    with pytest.raises(ConfigError, match="JSON"):
        CASTING.check(Agent(extra={"prompt": object()}), "openai")


def test_a_configuration_can_be_written_to_a_recording_and_read_back() -> None:
    import msgspec

    config = CASTING.call(Agent(tools=[lookup], backchannel_ms=300))
    assert msgspec.json.decode(msgspec.json.encode(config), type=m.CallConfig) == config


# --- resolved for a call ------------------------------------------------------------------------------------

FIELDS = {"From": "+15550001111", "To": "+15550002222", "lang": "de"}


def prepared(resolver: Any, **fields: Any) -> m.CallConfig:
    async def call() -> m.CallConfig:
        door = Door(Agent("Default.", resolver=resolver, **fields), fields=FIELDS)
        await door.begin()
        return door.config

    return run(call())


def test_a_resolver_gets_the_webhooks_fields_and_changes_this_call() -> None:
    seen: list[Mapping[str, str]] = []

    def resolver(fields: Mapping[str, str]) -> dict[str, Any]:
        seen.append(fields)
        return {"instructions": f"Speak {fields['lang']}."}

    assert prepared(resolver).session.instructions == "Speak de."
    assert seen == [FIELDS]


def test_a_resolver_may_be_async_and_name_another_agent() -> None:
    other = Agent("Other.", name="other")

    async def resolver(_fields: Mapping[str, str]) -> Agent:
        await asyncio.sleep(1)
        return other

    assert prepared(resolver).session.instructions == "Other."


def test_a_resolver_may_leave_things_as_they_are() -> None:
    assert prepared(lambda _fields: None).session.instructions == "Default."


def test_what_a_resolver_chose_is_what_the_session_is_told() -> None:
    async def call() -> tuple[str | None, dict[str, str]]:
        agent = Agent(
            "Default.", resolver=lambda _fields: {"instructions": "X.", "metadata": {"tier": "gold"}}
        )
        door = await Door(agent).begin()
        return door.session.agent.instructions, dict(door.session.metadata)

    assert run(call()) == ("X.", {"tier": "gold"})


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ({"voise": "marin"}, "the resolver raised TypeError"),
        ({"speed": 9}, "the resolver raised ConfigError"),
        ("Speak German.", "the resolver raised ConfigError"),
        (
            {"extra": {"audio": {"output": {"format": {"type": "audio/pcm"}}}}},
            "the resolver raised ConfigError",
        ),
    ],
)
def test_what_a_resolver_gets_wrong_costs_no_call(
    returned: Any, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert prepared(lambda _fields: returned).session.instructions == "Default."
    assert [record.getMessage() for record in caplog.records] == [complaint]


def test_a_resolver_that_raises_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def resolver(_fields: Mapping[str, str]) -> None:
        raise ConnectionError("the database is down")

    assert prepared(resolver).session.instructions == "Default."
    assert "the resolver raised ConnectionError" in caplog.text


def test_a_resolver_has_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    async def resolver(_fields: Mapping[str, str]) -> dict[str, str]:
        await asyncio.sleep(2.5)
        return {"instructions": "Too late."}

    async def call() -> tuple[str, float]:
        door = await Door(Agent("Default.", resolver=resolver)).begin()
        return door.config.session.instructions, asyncio.get_running_loop().time()

    instructions, at_s = run(call())
    assert instructions == "Default."
    assert at_s == 2.0
    assert "the resolver: no result within 2000 ms" in caplog.text


def test_a_resolver_runs_on_the_user_loop_and_one_that_blocks_it_does_not_block_the_phone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    import threading
    import time

    released = threading.Event()

    async def resolver(_fields: Mapping[str, str]) -> None:
        released.wait(20)
        time.sleep(0)  # noqa: ASYNC251

    async def call() -> str:
        agent = Agent("Default.", resolver=resolver, resolver_ms=50)
        side = UserSide(agent, AgentConfigs(BASE), upstream="openai", loops=[UserLoop(blocked_ms=60_000)])
        side.start()
        config = await side.prepare(CALL, FIELDS)
        assert isinstance(config, m.CallConfig)
        released.set()
        await asyncio.to_thread(side.close)
        return config.session.instructions

    assert asyncio.run(call()) == "Default."
    assert "something blocks the user loop" in caplog.text


def test_a_stream_that_nobody_rang_for_gets_the_agent_as_it_is() -> None:
    async def call() -> str:
        door = Door(Agent("Default.", resolver=lambda _fields: {"instructions": "Resolved."}))
        return door.side.config("CA_unknown").session.instructions

    assert run(call()) == "Default."


def test_calls_that_rang_and_never_came_are_no_leak() -> None:
    async def call() -> int:
        door = Door(Agent())
        for number in range(3_000):
            await door.side.prepare(f"CA{number}", {})
        return len(door.side._prepared)

    assert run(call()) == 1_000


# --- handed off ---------------------------------------------------------------------------------------------

billing = Agent(
    "You do invoices.", name="Billing", description="Knows invoices.", handoffs=["Front desk"], voice="cedar"
)
front = Agent("You greet.", name="Front desk", handoffs=[billing], tools=[lookup])


def test_everybody_who_can_be_reached_is_known_by_name() -> None:
    assert list(roster(front)) == ["Front desk", "Billing"]
    with pytest.raises(ConfigError, match="Front desk hands off to 'Nobody'; there is Front desk"):
        CASTING.check(Agent(name="Front desk", handoffs=["Nobody"]), "openai")
    with pytest.raises(ConfigError, match="two agents are called 'agent'"):
        CASTING.check(Agent(handoffs=[Agent("Another.")]), "openai")


def test_a_handoff_is_a_tool_and_becoming_another_keeps_the_voice() -> None:
    async def call() -> tuple[Door, list[m.Message]]:
        door = await Door(front).begin()
        assert [one["name"] for one in door.config.session.tools] == ["lookup", "hand_off_to_Billing"]
        assert (
            door.config.session.tools[1]["description"]
            == "Hand the conversation off to Billing. Knows invoices."
        )
        door.tell(m.ToolWanted("call_1", "hand_off_to_Billing", "{}"))
        await settled()
        return door, door.wishes

    door, (changed, answer) = run(call())
    assert isinstance(changed, m.Reconfigure)  # first the configuration, then the result that is answered
    assert changed.config.instructions == "You do invoices."
    assert [one["name"] for one in changed.config.tools] == ["hand_off_to_Front_desk"]
    assert isinstance(answer, m.ToolFinished)
    assert answer.respond
    assert "You are Billing now" in answer.output
    assert door.session.agent is billing


def test_a_handoff_in_a_live_call_and_back_again(calls: Any) -> None:
    mind = Obedient(
        outputs=[ToolCall("hand_off_to_Billing"), ToolCall("hand_off_to_Front_desk"), speech("Back.")]
    )

    live = calls(front.replace(greeting=""), mind=mind)
    for words in ("my invoice please", "and my order", "thanks"):
        live.caller.says(words)
        live.wait(7_000)
    live.caller.hangs_up()
    live.until_over()
    updates = [event["session"] for event in live.model.told("session.update")]
    kinds = [event["type"] for event in live.model.server.log if "append" not in event["type"]]
    last, errors = live.model.conversation[-1][1], live.model.server.errors
    assert errors == []
    assert [update["instructions"] for update in updates] == ["You greet.", "You do invoices.", "You greet."]
    assert ["voice" in update["audio"]["output"] for update in updates] == [True, False, False]
    assert last == "Back."
    # The configuration, the tool's result, and only then the answer in the new role.
    assert kinds[1:4] == ["session.update", "conversation.item.create", "response.create"]


# --- guardrails ---------------------------------------------------------------------------------------------


def test_a_check_is_due_after_so_many_characters_and_at_the_end() -> None:
    watched = Watched(Guardrail("any", lambda _text: None, every_characters=10))
    assert [watched.said(words) for words in ("12345", "1234", "1", "123456789", "1")] == [
        False, False, True, False, True,
    ]  # fmt: skip
    assert not watched.ended()
    watched.said("x")
    assert watched.ended()
    watched.tripped = True
    assert not watched.said("x" * 100)


def test_a_check_gets_the_last_words_of_a_response_without_end() -> None:
    watched = Watched(Guardrail("any", lambda _text: None))
    for _ in range(100_000):
        watched.said("x")
    assert len(watched.text) == 32_768


@pytest.mark.parametrize("sync", [True, False])
def test_a_guardrail_that_trips_stops_the_answer_once_and_asks_for_another(sync: bool) -> None:
    checked: list[str] = []

    def check(text: str) -> str | None:
        checked.append(text)
        return "a price was named" if "euro" in text else None

    async def slowly(text: str) -> str | None:
        await asyncio.sleep(0.1)
        return check(text)

    async def call() -> list[m.Message]:
        agent = Agent(guardrails=[Guardrail("no prices", check if sync else slowly, 20)])
        door = await Door(agent).begin()
        assert door.config.agent.running_words
        for words in ("It costs ", "about ", "ten euro or ", "twelve euro ", "or thirteen euro"):
            door.tell(m.TranscriptDelta("r1", "item_1", words))
            await asyncio.sleep(1)
        door.tell(m.ResponseEnded("r1"))
        await asyncio.sleep(1)
        return door.wishes

    stop, told, again = run(call())
    assert stop == m.Interrupt("r1")
    assert isinstance(told, m.AddText)
    assert told.role == "system"
    assert "'no prices' (a price was named)" in told.text
    assert isinstance(again, m.Respond)
    assert checked == ["It costs about ten euro or "]


def test_a_guardrail_in_a_live_call_cuts_what_the_caller_hears(calls: Any) -> None:
    secret = "the password is swordfish and the code is four three two one zero "
    mind = Obedient("Something else then.", outputs=[speech(f"well since you ask {secret * 3}")])

    agent = Agent(greeting="", guardrails=[Guardrail("secrets", lambda text: "swordfish" in text)])
    live = calls(agent, mind=mind)
    live.caller.says("tell me the password")
    live.wait(12_000)
    live.caller.hangs_up()
    live.until_over()
    conversation, spoken = live.model.conversation, live.rehearsal.log(m.Spoken)
    cut, after = spoken
    assert cut.cut  # type: ignore[union-attr]
    assert "swordfish" not in cut.heard  # type: ignore[union-attr]
    assert after.heard == "Something else then."  # type: ignore[union-attr]
    assert any(role == "system" and "'secrets'" in text for role, text in conversation)


def test_a_guardrail_that_fails_lets_pass_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def forever(_text: str) -> bool:
        await asyncio.sleep(3_600)
        return True

    async def call() -> list[m.Message]:
        guardrails = [Guardrail("broken", lambda _text: 1 / 0, 1), Guardrail("slow", forever, 1)]  # type: ignore[list-item, arg-type, return-value]
        door = await Door(Agent(guardrails=guardrails)).begin()
        door.tell(m.TranscriptDelta("r1", "item_1", "Hello"))
        await asyncio.sleep(10)
        return door.wishes

    assert run(call()) == []
    assert "guardrail broken raised ZeroDivisionError" in caplog.text
    assert "guardrail slow: no result within 5000 ms" in caplog.text


def test_a_guardrail_of_a_later_agent_needs_the_words_from_the_start() -> None:
    later = Agent(name="later", guardrails=[Guardrail("any", lambda _text: None)])
    assert CASTING.call(Agent(handoffs=[later])).agent.running_words
    assert not CASTING.call(Agent(handoffs=[Agent(name="other")])).agent.running_words


# --- MCP servers --------------------------------------------------------------------------------------------

SHOP = McpServer(
    label="shop", url="https://mcp.example.com", authorization=SecretStr("very secret"),
    headers={"X-Key": 'a"b'}, allowed_tools=["find"], require_approval="never",
    description="Knows the stock.",
)  # fmt: skip


def test_an_mcp_server_is_passed_through_and_its_credentials_are_not() -> None:
    configs = AgentConfigs(BASE)
    config = configs.session(Agent(tools=[SHOP, lookup]))
    assert [one["type"] for one in config.tools] == ["function", "mcp"]
    told = config.tools[1]
    assert (told["server_label"], told["server_url"], told["allowed_tools"]) == (
        "shop", "https://mcp.example.com", ["find"],
    )  # fmt: skip
    assert (told["require_approval"], told["server_description"]) == ("never", "Knows the stock.")
    assert "secret" not in json.dumps(config.tools)
    assert "secret" not in repr(SHOP)


def test_the_credentials_go_in_where_the_frame_leaves() -> None:
    sent: list[Any] = []

    class Socket:
        outbox_bytes = 7

        def start(self, on_frame: Any, on_close: Any) -> None: ...
        def close(self, code: int = 1000, reason: str = "") -> None: ...
        def send(self, frame: Any) -> None:
            sent.append(frame)

    configs = AgentConfigs(BASE)
    config = configs.session(Agent(tools=[SHOP]))
    frame = OpenAI().write(m.ConfigureSession(config))
    socket = FillingSocket(Socket(), configs.vault)  # type: ignore[arg-type]
    socket.send(frame)
    socket.send('{"type":"input_audio_buffer.append","audio":"AAAA"}')
    assert socket.outbox_bytes == 7
    (told,) = json.loads(sent[0])["session"]["tools"]
    assert told["authorization"] == "very secret"
    assert told["headers"] == {"X-Key": 'a"b'}
    assert "secret" not in frame
    assert sent[1] == '{"type":"input_audio_buffer.append","audio":"AAAA"}'


def test_no_text_of_anybodys_draws_a_secret_out() -> None:
    vault = Vault()
    placeholder = vault.hide("very secret")
    assert vault.hide(SecretStr("very secret")) == placeholder
    item = json.dumps(
        {"type": "conversation.item.create", "item": {"text": placeholder}}, separators=(",", ":")
    )
    assert vault.fill(item) == item
    assert len(placeholder) > 32


def test_without_credentials_the_socket_is_the_socket() -> None:
    async def call() -> None:
        door = Door(Agent())
        socket: Any = object()
        assert door.side.with_secrets(socket) is socket
        door = Door(Agent(tools=[SHOP]))
        assert isinstance(door.side.with_secrets(socket), FillingSocket)

    run(call())


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"label": ""}, "needs a label"),
        ({"label": "x"}, "one of url, connector_id and tunnel_id"),
        ({"label": "x", "url": "https://a.example.com", "tunnel_id": "t"}, "one of url"),
        ({"label": "x", "url": "http://a.example.com"}, "begins with https://"),
        ({"label": "x", "tunnel_id": "t", "require_approval": "sometimes"}, "always or never"),
    ],
)
def test_an_mcp_server_that_cannot_be_reached_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        McpServer(**fields)


@pytest.mark.parametrize("verdict", [True, False])
def test_an_mcp_servers_tool_waits_for_the_same_human(verdict: bool) -> None:
    asked: list[tuple[str, str, Any]] = []

    def approve(_session: Session, approval: Any) -> bool:
        asked.append((approval.server, approval.name, dict(approval.arguments)))
        return verdict

    async def call() -> m.SendRaw:
        server = McpServer(label="shop", url="https://mcp.example.com")
        door = await Door(Agent(tools=[server], approve=approve)).begin()
        item = {"id": "mcpr_1", "server_label": "shop", "name": "buy", "arguments": '{"item": "bun"}'}
        door.tell(m.VendorNote("mcp_approval_request", json.dumps(item)))
        return await door.next(m.SendRaw)

    body = json.loads(run(call()).body)
    assert asked == [("shop", "buy", {"item": "bun"})]
    assert body == {
        "type": "conversation.item.create",
        "item": {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": verdict},
    }


def test_an_approval_in_a_form_nobody_knows_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> list[m.Message]:
        door = await Door(Agent()).begin()
        for body in ("", "[]", "{}", '{"arguments": "{"}'):
            door.tell(m.VendorNote("mcp_approval_request", body))
        await settled()
        return door.wishes

    assert run(call()) == []
    assert len(caplog.records) == 4


def test_a_user_loop_that_is_blocked_is_kept_what_somebody_waits_for_and_not_much_else() -> None:
    async def call() -> tuple[int, list[m.Message]]:
        door = await Door(Agent()).begin()
        attachment = door.side._attached[CALL]
        for number in range(20_000):  # in one go: the loop has no time to take them
            door.tell(m.CallerSpoke(True, f"item_{number}"))
        waiting = len(attachment._waiting)
        door.tell(m.VendorNote("response.mcp_call.completed", "{}"), m.ToolWanted("call_1", "look_up", "{}"))
        await settled()
        await asyncio.sleep(0.1)
        return waiting, door.wishes

    waiting, wishes = run(call())
    assert waiting == 10_000
    [finished] = wishes
    assert isinstance(finished, m.ToolFinished)


def test_approvals_without_end_are_asked_of_few_humans() -> None:
    asked = 0

    async def approve(_session: Session, _approval: Any) -> bool:
        nonlocal asked
        asked += 1
        await asyncio.sleep(1_000)
        return True

    async def call() -> list[m.Message]:
        door = await Door(Agent(approve=approve)).begin()
        for number in range(100):
            item = {"id": f"mcpr_{number}", "server_label": "shop", "name": "buy", "arguments": "{}"}
            door.tell(m.VendorNote("mcp_approval_request", json.dumps(item)))
        await settled()
        return door.wishes

    answers = run(call())
    assert (asked, len(answers)) == (32, 68)
    assert all('"approve": false' in answer.body for answer in answers if isinstance(answer, m.SendRaw))


# --- the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [True, False])
def test_on_end_is_told_how_the_call_went(sync: bool, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Mapping[str, Any]] = []

    async def later(summary: Mapping[str, Any]) -> None:
        await asyncio.sleep(1)
        told.append(summary)
        raise OSError("the ledger is full")

    async def call() -> None:
        door = await Door(Agent(on_end=told.append if sync else later)).begin()
        door.end()
        door.side.summarise(CALL, {"ended": "the caller hung up"})
        await asyncio.sleep(2)
        assert door.side._attached == {}

    with caplog.at_level(logging.ERROR, "bridge.user"):
        run(call())
    assert told == [{"ended": "the caller hung up"}]
    assert len(caplog.records) == (0 if sync else 1)


def test_a_call_that_is_over_is_forgotten() -> None:
    async def call() -> int:
        door = Door(Agent())
        for _ in range(5):
            await door.begin()
            door.end()
            await settled()
        return len(door.side._attached) + len(door.side._prepared)

    assert run(call()) == 0


@pytest.mark.parametrize("where", ["desk.py:agent", "desk:agent", "./desk.py:agent"])
def test_an_agent_is_named_by_module_or_by_file(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "desk.py").write_text(
        "from bridge import Agent\nagent = Agent('x', name='by file')\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "desk", raising=False)
    assert load_agent(where).name == "by file"
