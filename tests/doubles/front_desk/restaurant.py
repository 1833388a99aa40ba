"""A session's tools as the vendor's API has them, for dialogues with the front desk."""

from __future__ import annotations

from typing import Any, Final

from bridge.doubles.front_desk.dialogue import Call, Desk, Heard, Reaction, State
from bridge.doubles.front_desk.tools import tools_of


def function(
    name: str, description: str, required: list[str] | None = None, /, **properties: Any
) -> dict[str, Any]:
    """A function tool; each property is a type's name, a list of an enum's values, or a schema."""
    schemas = {
        key: {"type": "string", "enum": given}
        if isinstance(given, list)
        else {"type": given}
        if isinstance(given, str)
        else given
        for key, given in properties.items()
    }
    parameters = {
        "type": "object",
        "properties": schemas,
        "required": list(schemas) if required is None else required,
    }
    return {"type": "function", "name": name, "description": description, "parameters": parameters}


TOOLS: Final = [
    function("opening_hours", "Tell when we are open.", [], day="string"),
    function("book", "Book a table or an appointment.", day="string", time="string", people="integer"),
    function("cancel_booking", "Cancel a booking."),
    function("order_status", "Tell where an order is.", order_number="string"),
    function("price", "Tell what a service costs.", service=["haircut", "massage", "manicure"]),
    function("transfer", "Put the caller through to a person.", target=["sales", "support", "owner"]),
    function("leave_message", "Take a message for the owner.", text="string"),
    function("hang_up", "End the call."),
]


def talk(*turns: str, tools: list[dict[str, Any]] = TOOLS, prompt: str = "") -> tuple[Reaction, State]:
    """What the last of these turns is answered with; one that begins with `keys` is pressed."""
    desk, state = Desk(tools_of(tools), prompt), State()
    reaction: Reaction | None = None
    for turn in turns:
        pressed = turn.startswith("keys ")
        heard = Heard(keys=turn.removeprefix("keys ").replace(" ", "")) if pressed else Heard(turn)
        reaction, state = desk.react(state, heard)
    assert reaction is not None
    return reaction, state


def told(*turns: str, **given: Any) -> str:
    """The last reaction in one line: its words, or `name(key=value, …)`."""
    reaction, _ = talk(*turns, **given)
    if isinstance(reaction, Call):
        arguments = ", ".join(f"{name}={value!r}" for name, value in reaction.arguments.items())
        return f"{reaction.name}({arguments})"
    return reaction.text
