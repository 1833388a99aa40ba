"""The examples: each is used as a reader would use it, in a whole call, and is as short as it claims."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.tools import ToolError
from bridge.core import messages as m
from bridge.doubles.agents import ToolCall
from bridge.doubles.tones import murmur
from bridge.server.service import create_app
from bridge.settings.settings import load_settings
from tests.agents.door import Door, heard, settled
from tests.agents.obedient import Obedient, speech
from tests.agents.virtual_time import run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TAKES_AGENT = "agent" in inspect.signature(create_app).parameters
NOT_YET = "create_app() does not take an agent yet"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_those_there_are_and_that_each_fits_a_screen() -> None:
    lines = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in EXAMPLES}
    assert list(lines) == [
        "call_somebody", "handler", "handoff", "leave_a_message", "many_numbers", "menu", "mounted",
        "own_process", "person", "prompt", "realtime_client", "tools", "traced_tool",
    ]  # fmt: skip
    assert max(lines.values()) < 60


def test_twenty_lines_are_enough_for_an_agent_with_a_tool_that_answers_a_call(calls: Any) -> None:
    program = '''
from bridge import Agent, tool


@tool
def opening_hours(day: str) -> str:
    """Tell when we are open on a day."""
    return "seven to six"


agent = Agent("You answer the phone of a bakery.", greeting="Good day!", tools=[opening_hours])
'''
    assert len(program.strip().splitlines()) <= 20
    names: dict[str, Any] = {"__name__": "my_agent"}
    exec(compile(program, "my_agent.py", "exec", dont_inherit=True), names)  # a user's file
    mind = Obedient(outputs=[ToolCall("opening_hours", {"day": "Monday"})])

    live = calls(names["agent"], mind=mind)
    live.wait(2_000)
    live.caller.says("when are you open on Monday?")
    live.wait(6_000)
    live.caller.hangs_up()
    live.until_over()
    assert live.model.conversation == [
        ("assistant", "Good day!"),
        ("user", "when are you open on Monday?"),
        ("function_call", '{"day": "Monday"}'),
        ("function_call_output", "seven to six"),
        ("assistant", "It is seven to six"),
    ]


def test_prompt(calls: Any) -> None:
    agent = example("prompt").agent

    live = calls(agent, mind=Obedient())
    live.wait(6_000)
    live.caller.hangs_up()
    live.until_over()
    sound, session = live.phone.heard, live.model.told("session.update")[-1]["session"]
    assert murmur("Good day, this is the bakery. What can I do for you?") in sound
    assert session["instructions"].startswith("You answer the phone of a small bakery.")


def test_tools(calls: Any) -> None:
    module = example("tools")
    mind = Obedient(
        outputs=[
            ToolCall("order_state", {"number": 17}),
            ToolCall("order_state", {"number": 99}),
            [speech("Goodbye then."), ToolCall("hang_up")],
        ]
    )

    live = calls(module.agent.replace(greeting=""), mind=mind)
    for words in ("is seventeen ready?", "and ninety nine?", "thanks, bye"):
        live.caller.says(words)
        live.wait(8_000)
    ended = live.until_over().rehearsal.ended
    conversation, sound = live.model.conversation, live.phone.heard
    outputs = [text for kind, text in conversation if kind == "function_call_output"]
    assert outputs[:2] == [
        "in the oven", '{"error": "There is no order 99. Ask for the number again."}',
    ]  # fmt: skip
    assert murmur("Goodbye then.") in sound  # heard to its end before the call is over
    assert ended == m.Ended(m.Reason.WE_HUNG_UP, "the model said goodbye")
    assert module.note_wish("a cake", when="tomorrow") == {"noted": "a cake", "for": "tomorrow"}


def test_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("own_process")
    assert module.find_orders("cake") == "order 1018: a poppy-seed cake\n"
    assert module.find_orders("butter") == "There is no such order."
    monkeypatch.setattr(module, "MOST_S", 0.8)
    for pattern, told in (("(.|.)*X$", "took too long"), ("(", "no regular expression")):
        with pytest.raises(ToolError, match=told):
            module.find_orders(pattern)


def test_handler(calls: Any) -> None:
    live = calls(example("handler").agent)
    live.wait(4_000)
    live.caller.says("Ann")
    live.wait(5_000)
    live.caller.says("please call me back")
    live.wait(8_000)
    live.caller.says("goodbye")
    ended = live.until_over().rehearsal.ended
    conversation = live.model.conversation
    assert [text for role, text in conversation if role == "assistant"] == [
        "Nobody is in at the moment. Who is calling, please?",
        "Thank you, Ann. What shall I pass on?",
        "I have noted: please call me back. Say goodbye if that is right, or tell me again.",
        "Goodbye.",
    ]
    assert ended.reason is m.Reason.WE_HUNG_UP


def test_handler_when_the_caller_is_silent_or_speaks_too_soon() -> None:
    """Paths of a handler can be told by its session door alone."""

    async def call() -> tuple[list[m.AddText], list[m.Message]]:
        door = await Door(example("handler").agent).begin()
        door.tell(heard(await door.next(m.Say)), m.Turn("item_1", "Ann"))
        door.tell(heard(await door.next(m.Say), "Thank you,", 700, cut=True))
        await settled()
        told = door.wished(m.AddText)
        door.tell(m.CallerSilent(10_000), m.DigitHeard("0"))
        door.tell(heard(await door.next(m.Respond)))
        door.tell(m.CallerSilent(20_000))
        door.tell(heard(await door.next(m.Say), "Goodbye."))
        await settled()
        return told, door.wishes

    told, wishes = run(call())
    assert told == [m.AddText("The caller heard only: Thank you,", "system")]
    assert wishes == [m.HangUp()]


def test_menu(calls: Any) -> None:
    live = calls(example("menu").agent)
    live.wait(6_000)
    live.caller.presses("2")
    live.wait(5_000)
    for key in "17#":
        live.caller.presses(key)
        live.wait(500)
    live.wait(8_000)
    live.caller.presses("9")
    ended = live.until_over().rehearsal.ended
    said = [text for role, text in live.model.conversation if role == "assistant"]
    assert said[1:3] == ["Enter the number of your order, then the pound key.", "Order 1 7 is in the oven."]
    assert said[-1] == "Goodbye."
    assert ended.reason is m.Reason.WE_HUNG_UP


def test_menu_when_nobody_presses_anything_lets_the_model_ask(calls: Any) -> None:
    live = calls(example("menu").agent, mind=Obedient("What can I do for you?"))
    live.until_over()
    assert live.model.conversation.count(("assistant", "What can I do for you?")) == 3


def test_handoff(calls: Any) -> None:
    agent = example("handoff").agent
    mind = Obedient(
        outputs=[
            ToolCall("hand_off_to_billing"),
            ToolCall("balance", {"customer": "Ann"}),
            [speech("I put you through."), ToolCall("transfer", {"target": "owner"})],
        ]
    )

    fields = {"From": "+15550001111"}
    live = calls(agent, mind=mind, transfers=("owner",), parameters=fields)
    live.wait(3_000)
    for words in ("my invoice please", "what do I owe?", "let me talk to somebody"):
        live.caller.says(words)
        live.wait(8_000)
    ended = live.until_over().rehearsal.ended
    updates = [event["session"]["instructions"] for event in live.model.told("session.update")]
    conversation = live.model.conversation
    assert conversation[0] == ("assistant", "Hello Ann, how are you?")
    assert ("function_call_output", "Ann owes nothing.") in conversation
    assert [update.split(".")[0] for update in updates] == [
        "You are the front desk of a bakery", "You answer questions about invoices of a bakery",
    ]  # fmt: skip
    assert ended == m.Ended(m.Reason.TRANSFERRED, "owner")


def test_person_who_is_not_to_be_had_costs_nobody_the_caller(calls: Any) -> None:
    module = example("person")
    mind = Obedient(
        outputs=[
            [speech("I get the owner."), ToolCall("get_the_owner", {"about": "Ann, about her cake."})],
            ToolCall("take_a_message", {"message": "Ann's cake: call back."}),
        ]
    )
    live = calls(module.agent, mind=mind, transfers=("owner",))
    live.returns("busy", after_ms=4_000).wait(4_000)
    live.caller.says("let me talk to the owner")
    live.wait(15_000)
    live.caller.says("tell her to call me back")
    live.wait(6_000)
    live.expect.outcomes("busy").going_on()
    assert module.messages == ["Ann's cake: call back."]
    assert len(live.rehearsal.servers) == 1
    spoken = [words for who, words in live.model.conversation if who == "assistant"]
    assert "It is The owner is on the phone. Offer to take a message." in spoken


def test_handoff_greets_strangers_as_strangers() -> None:
    module = example("handoff")
    assert module.who_calls({"From": "+15559999999"}) is None
    assert isinstance(module.agent, Agent)


@pytest.mark.skipif(not TAKES_AGENT, reason=NOT_YET)
def test_mounted() -> None:
    from starlette.testclient import TestClient

    settings = load_settings(
        insecure=True, upstream="embedded", upstream_url="ws://127.0.0.1:1", env_file=None
    )
    app = example("mounted").make_app(settings)
    with TestClient(app, base_url="http://127.0.0.1:5050") as client:
        assert client.get("/").text == "no orders yet"
        assert client.get("/phone/healthz").status_code == 200
        answer = client.post("/phone/incoming-call", data={"CallSid": f"CA{1:032x}"})
        assert "ws://127.0.0.1:5050/phone/media-stream" in answer.text
    phone: Any = app.routes[1]
    phone.app.state.service.close()
