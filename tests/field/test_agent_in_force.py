"""The agent in force decides: after an update, a hand-off, a return, a loss, and in another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bridge import Agent, Guardrail, Session, tool
from bridge.agents.agent import roster
from bridge.agents.config import AgentConfigs
from bridge.core import messages as m
from bridge.testing.call import begin, usual_config
from bridge.testing.scripted_call import ScriptedCall
from bridge.upstreams.openai import session_tree


def told(call: ScriptedCall, kind: type[Any]) -> list[tuple[int, Any]]:
    return [(at_ms, action) for at_ms, action in call.rehearsal.said if isinstance(action, kind)]


def results(call: ScriptedCall) -> list[str]:
    return [item.output for _, item in told(call, m.CreateItem) if item.output]


def in_force(call: ScriptedCall) -> dict[str, Any]:
    """The session as a vendor has it who changes only what an update names."""

    def merged(old: Any, new: Any) -> Any:
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            return new
        return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}

    session: dict[str, Any] = {}
    for _, asked in told(call, m.ConfigureSession):
        session = merged(session, session_tree(asked.config, asked.again))
    return session


@tool(filler=None)
async def refund(order: int) -> str:
    """Refund an order."""
    return f"refunded {order}"


@tool(filler=None)
async def open_hours() -> str:
    """Say when the shop is open."""
    return "nine to five"


# --- timers and rules of the call


def test_a_silence_that_is_set_by_update_is_told() -> None:
    silences: list[Any] = []

    async def handler(session: Session) -> None:
        await session.say("Hello.")
        session.update(silence_ms=2_000)
        silences.append(await anext(session.input()))

    call = begin(Agent(handler=handler)).at(15_000)
    assert silences
    call.close()


def test_a_silence_that_is_taken_back_by_update_is_told_no_more() -> None:
    silences: list[Any] = []

    async def handler(session: Session) -> None:
        await session.say("Hello.")
        async for happening in session.input():
            silences.append(happening)
            session.update(silence_ms=None)

    call = begin(Agent(handler=handler, silence_ms=2_000)).at(20_000)
    assert len(silences) == 1
    call.close()


def nudges(call: ScriptedCall) -> list[int]:
    return [at_ms for at_ms, heard in told(call, m.Heard) if heard.say_id.startswith("nudge")]


def test_an_agent_handed_to_nudges_by_its_own_clock() -> None:
    second = Agent(name="B", instructions="B", nudge_ms=3_000, nudges=1)
    call = begin(Agent(name="A", instructions="A", greeting="Hi", handoffs=[second]))
    call.model.answers("B here.")
    call.at(3_000)
    call.model.calls("hand_off_to_B")
    call.at(30_000)
    assert len(nudges(call)) == 1
    assert call.rehearsal.call.phase is m.Phase.ENDED
    call.close()


def test_an_agent_without_nudges_is_not_nudged_by_the_one_before() -> None:
    second = Agent(name="B", instructions="B")
    call = begin(Agent(name="A", instructions="A", greeting="Hi", nudge_ms=6_000, handoffs=[second]))
    call.model.answers("B here.")
    call.at(3_000)
    call.model.calls("hand_off_to_B")
    call.at(40_000)
    assert nudges(call) == []
    call.close()


def test_the_patience_for_mm_hm_goes_with_its_agent() -> None:
    """Else the vendor cuts at once and the caller hears the old sentence for a second more."""
    second = Agent(name="B", instructions="B")
    call = begin(Agent(name="A", instructions="A", greeting="", backchannel_ms=600, handoffs=[second]))
    call.model.answers("B here.")
    call.model.answers("Yes?")
    call.at(1_000)
    call.model.calls("hand_off_to_B")
    call.at(9_000)
    call.model.speaks("We are open from nine to five, every day of the week and so on.", ms=6_000)
    call.at(10_000)
    call.caller.says("Stop, wait a second please now", ms=1_800)
    call.at(16_000)
    spoke = next(at_ms for at_ms, spoke in told(call, m.CallerSpoke) if spoke.speaking)
    cleared = next(at_ms for at_ms, _ in told(call, m.ClearPlayout))
    assert cleared - spoke <= 100
    call.close()


def test_a_guardrail_set_by_update_hears_the_words() -> None:
    checked: list[str] = []

    async def handler(session: Session) -> None:
        session.update(guardrails=[Guardrail("listener", checked.append, 1)])
        await session.say("Good morning.")
        await session.input()

    call = begin(Agent(handler=handler)).at(8_000)
    assert checked
    call.close()


def test_the_sound_of_turns_can_be_asked_for_during_the_call() -> None:
    sound: list[bytes] = []

    async def handler(session: Session) -> None:
        session.update(turn_audio=True)
        sound.append((await session.input()).audio)

    call = begin(Agent(handler=handler)).at(1_000)
    call.caller.says("good morning", ms=800)
    call.at(8_000)
    assert len(sound[0]) > 800 * 8 // 2
    call.close()


# --- who answers


def test_a_handler_answers_where_the_agent_handed_to_has_one() -> None:
    said: list[str] = []

    async def handler(session: Session) -> None:
        said.append((await session.input()).text)

    second = Agent(name="B", instructions="B", handler=handler)
    call = begin(Agent(name="A", instructions="A", greeting="", handoffs=[second])).at(1_000)
    call.model.calls("hand_off_to_B")
    call.at(4_000)
    call.caller.says("good morning", ms=800)
    call.at(10_000)
    assert said == ["good morning"]
    assert call.rehearsal.call.ending is not None, "the handler returned"
    call.close()


def test_a_handler_that_hands_off_and_returns_does_not_end_the_call() -> None:
    async def handler(session: Session) -> None:
        await session.input()
        session.become("B")

    second = Agent(name="B", instructions="B")
    call = begin(Agent(name="A", instructions="A", handler=handler, handoffs=[second]))
    call.at(1_000)
    call.caller.says("good morning", ms=800)
    call.at(6_000)
    call.model.answers("B answers.")
    call.caller.says("and again", ms=800)
    call.at(14_000)
    assert call.rehearsal.call.phase is m.Phase.LIVE
    assert any("B answers." in spoken.heard for _, spoken in told(call, m.Spoken))
    call.close()


# --- what the vendor is told

FULL: dict[str, Any] = {
    "transcription": "gpt-4o-transcribe",
    "language": "de",
    "noise_reduction": "near_field",
    "speed": 1.2,
    "extra": {"truncation": {"type": "retention_ratio", "retention_ratio": 0.8}},
}
OFF = {"transcription": "off", "noise_reduction": None, "speed": None, "extra": {}}  # type: ignore[var-annotated]


def left_over(session: Mapping[str, Any]) -> dict[str, Any]:
    hearing, speaking = session["audio"]["input"], session["audio"]["output"]
    found = {
        "transcription": hearing.get("transcription"),
        "noise_reduction": hearing.get("noise_reduction"),
        "speed": None if speaking.get("speed") == 1.0 else speaking.get("speed"),
        "truncation": None if session.get("truncation") == "auto" else session.get("truncation"),
    }
    return {name: value for name, value in found.items() if value is not None}


def test_fields_of_a_session_end_with_their_agent() -> None:
    second = Agent(name="B", instructions="B", transcription="off")
    call = begin(Agent(name="A", instructions="A", greeting="", handoffs=[second], **FULL)).at(1_000)
    call.model.calls("hand_off_to_B")
    call.at(5_000)
    assert left_over(in_force(call)) == {}
    assert call.model.server.errors == []
    call.close()


def test_fields_are_taken_back_by_an_update_and_a_session_that_is_restored_is_the_same() -> None:
    async def handler(session: Session) -> None:
        await session.input()
        session.update(**OFF)
        await session.input()

    call = begin(Agent("A", handler=handler, **FULL)).at(1_000)
    call.caller.says("good morning", ms=800)
    call.at(5_000)
    assert left_over(in_force(call)) == {}
    configured = len(told(call, m.ConfigureSession))
    call.model.is_lost()
    call.at(9_000)
    _, again = told(call, m.ConfigureSession)[configured]
    assert left_over(session_tree(again.config, again.again)) == {}
    call.close()


def test_what_an_agent_sets_is_back_after_a_hand_off_and_a_return() -> None:
    second = Agent(name="B", instructions="B", transcription="off", handoffs=["A"])
    call = begin(Agent(name="A", instructions="A", greeting="", handoffs=[second], **FULL)).at(1_000)
    call.model.calls("hand_off_to_B")
    call.at(5_000)
    call.model.calls("hand_off_to_A")
    call.at(9_000)
    assert set(left_over(in_force(call))) == {"transcription", "noise_reduction", "speed", "truncation"}
    call.close()


def test_nothing_is_cleared_that_was_never_set() -> None:
    call = begin(Agent(name="A", greeting="", handoffs=[Agent(name="B")])).at(1_000)
    call.model.calls("hand_off_to_B")
    call.at(5_000)
    _, changed = told(call, m.ConfigureSession)[-1]
    tree = session_tree(changed.config, changed.again)
    assert "speed" not in tree["audio"]["output"]
    assert "noise_reduction" not in tree["audio"]["input"]
    assert "truncation" not in tree
    call.close()


# --- in another process


def two(**fields: Any) -> Agent:
    return Agent(
        name="A", instructions="A", greeting="", handoffs=[Agent(name="B", instructions="B", **fields)]
    )


def snapshot(agent: Agent, of: Agent) -> m.CallSnapshot:
    session = AgentConfigs(usual_config()).session(of, roster(agent))
    items = (m.SnapshotItem(role="user", text="I want my money back."),)
    return m.CallSnapshot(items=items, session=session, lasted_ms=60_000)


def second(agent: Agent) -> Agent:
    return roster(agent)["B"]


def test_tools_of_the_agent_in_force_are_found_in_another_process() -> None:
    agent = two(tools=[refund])
    call = begin(agent, carried=snapshot(agent, second(agent)))
    call.model.answers("Done.")
    call.at(1_000)
    call.model.calls("refund", order=7)
    call.at(5_000)
    assert results(call) == ["refunded 7"]
    assert len(told(call, m.ConfigureSession)) == 1, "what was carried was right already"
    call.close()


def test_approval_is_asked_of_the_agent_in_force_in_another_process() -> None:
    asked: list[str] = []

    def approve(session: Session, approval: Any) -> bool:
        asked.append(f"{session.agent.name}: {approval.name}")
        return False

    @tool(filler=None, needs_approval=True)
    async def delete() -> str:
        """Delete the account."""
        return "deleted"

    agent = two(tools=[delete], approve=approve)
    call = begin(agent, carried=snapshot(agent, second(agent))).at(1_000)
    call.model.calls("delete")
    call.at(5_000)
    assert asked == ["B: delete"]
    call.close()


def test_what_an_update_changed_goes_on_in_another_process() -> None:
    agent = two(tools=[refund], nudge_ms=9_000)
    changed = second(agent).replace(instructions="Whisper.", nudge_ms=4_000, speed=1.1)
    agents: list[Agent] = []

    @tool(filler=None)
    async def look(session: Session) -> str:
        """Look who it is."""
        agents.append(session.agent)
        session.update(max_output_tokens=100)
        return "seen"

    before = snapshot(agent, changed)
    agent = agent.replace(handoffs=[second(agent).replace(tools=[refund, look])])
    session = msgspec.structs.replace(before.session, tools=(*before.session.tools, look.wire()))  # type: ignore[union-attr, type-var]
    call = begin(agent, carried=msgspec.structs.replace(before, session=session)).at(1_000)
    call.model.calls("look")
    call.at(3_000)
    [known] = agents
    assert (known.instructions, known.nudge_ms, known.speed) == ("Whisper.", 4_000, 1.1)
    assert in_force(call)["instructions"] == "Whisper."
    call.at(20_000)
    assert nudges(call)
    call.close()


def test_an_agent_unknown_to_the_other_process_gives_way_to_the_calls_own() -> None:
    old = two()
    call = begin(Agent(name="C", instructions="C", tools=[open_hours]), carried=snapshot(old, second(old)))
    call.at(1_000)
    call.model.calls("open_hours")
    call.at(5_000)
    assert results(call) == ["nine to five"]
    assert in_force(call)["instructions"] == "C"
    call.close()


def test_a_snapshot_says_which_agent_is_in_force() -> None:
    call = begin(two(tools=[refund], silence_ms=5_000)).at(1_000)
    call.model.calls("hand_off_to_B")
    call.at(4_000)
    carried = call.rehearsal.call.carried(4_000)
    restored = msgspec.json.decode(msgspec.json.encode(carried), type=m.CallSnapshot)
    assert restored == carried
    assert restored.session is not None
    assert restored.session.agent == m.AgentRules("B", silence_ms=5_000, turn_bounds=m.TurnBounds())
    call.close()


def test_a_hand_off_while_the_model_is_away_is_what_the_next_session_begins_with() -> None:
    async def handler(session: Session) -> None:
        await session.input()
        session.become("B")
        await session.input()

    agent = two().replace(handler=handler)
    call = begin(agent, dial_ms=1_000).at(2_000)
    call.caller.says("good morning", ms=600)
    call.at(3_300)
    call.model.is_lost()
    call.at(9_000)
    assert in_force(call)["instructions"] == "B"
    assert call.rehearsal.call.carried(9_000).session.agent.name == "B"  # type: ignore[union-attr]
    call.close()
