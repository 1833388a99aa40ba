"""A model that is told nothing has its vendor's persona, so blank instructions are sent as a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import Agent, Session, tool
from bridge.agents.config import NO_INSTRUCTIONS
from bridge.core import messages as m
from bridge.testing.call import begin, usual_config
from bridge.testing.scripted_call import ScriptedCall

OURS = "You are on a phone call. Answer briefly."


def in_force(call: ScriptedCall) -> Any:
    """The instructions of the session, as the server has them."""
    return call.rehearsal.servers[-1].session.tree["instructions"]


@pytest.mark.parametrize("blank", ["", "\n \u00a0"], ids=["empty", "spaces"])
@pytest.mark.parametrize("where", ["agent", "setting", "extra"])
def test_blank_ones_are_sent_as_a_sentence(blank: str, where: str) -> None:
    agents = {
        "agent": Agent(blank, greeting="Good day."),
        "setting": Agent(greeting="Good day."),
        "extra": Agent("x", greeting="Good day.", extra={"instructions": blank}),
    }
    config = usual_config(session=m.SessionConfig(instructions=blank))
    call = begin(agents[where], config=config)
    call.at(1_000)
    [greeting] = [a.instructions for _, a in call.rehearsal.said if isinstance(a, m.CreateResponse)]
    assert in_force(call) == OURS == NO_INSTRUCTIONS
    assert (greeting or "").startswith(OURS), "they replace the session's for this response"
    call.close()


def test_so_they_are_after_an_update() -> None:
    @tool
    async def be_blank(session: Session) -> str:
        """Forget it all."""
        session.update(instructions="")
        return "done"

    call = begin(Agent("Be brief.", greeting="", tools=[be_blank]))
    call.at(500)
    assert in_force(call) == "Be brief."
    call.model.calls("be_blank")
    call.caller.says("Forget it.", ms=500)
    call.at(6_000)
    assert in_force(call) == OURS
    call.close()


def test_a_prompt_that_the_vendor_keeps_is_not_replaced() -> None:
    call = begin(Agent("", greeting="", extra={"prompt": {"id": "pmpt_1"}}))
    call.at(500)
    told = [a.config for _, a in call.rehearsal.said if isinstance(a, m.ConfigureSession)]
    assert [config.instructions for config in told] == [""]
    call.close()


def test_instructions_of_extra_hold_for_the_greeting_too() -> None:
    call = begin(Agent("x", greeting="Good day.", extra={"instructions": "Speak like a pirate."}))
    call.at(1_000)
    [greeting] = [a.instructions for _, a in call.rehearsal.said if isinstance(a, m.CreateResponse)]
    assert (greeting or "").startswith("Speak like a pirate.")
    call.close()
