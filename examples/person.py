"""Puts the caller through to a person, and goes on with them if nobody takes the call.

BRIDGE_TRANSFERS names the only numbers a call can be sent to: `BRIDGE_TRANSFERS=owner=+15550001111`.
"""

from bridge import Agent, Session, TransferResult, hang_up, tool

messages: list[str] = []
WORDS = {
    "busy": "The owner is on the phone.",
    "declined": "The owner cannot talk just now.",
    "interrupted": "The caller wants to say something first.",
}


@tool(deadline_ms=4_000_000, filler=None)
async def get_the_owner(session: Session, about: str) -> str:
    """Put the caller through to the owner; tell them so first. `about`: who calls and why, in a sentence."""
    result = await session.transfer("owner", brief=about, ring_s=20, after="return")
    return told(result)


def told(result: TransferResult) -> str:
    """What the model reads of it."""
    if result:
        return f"They have talked for {result.talk_s:.0f} s. Ask whether there is anything else."
    return f"{WORDS.get(result.outcome, 'The owner cannot be reached.')} Offer to take a message."


@tool
def take_a_message(message: str) -> str:
    """Note a message for the owner."""
    messages.append(message)
    return "noted"


agent = Agent(
    "You answer the phone of a bakery. Whoever insists on a person gets the owner.",
    greeting="Good day, the bakery. How can I help?",
    tools=[get_the_owner, take_a_message, hang_up],
)
