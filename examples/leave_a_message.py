"""Tells customers that their order is ready: talks to a person, and leaves a message with a mailbox."""

from bridge import Agent, MachineAnswer, Session

MESSAGE = "This is Ann of the corner bakery. Your order is ready. We are open until six. Goodbye."


async def on_machine(session: Session, answer: MachineAnswer) -> str:
    """One message is enough: whoever places the call says in its context that there was one already."""
    if answer.kind != "voicemail" or "context.message_left" in session.fields:
        return "hang_up"
    return "voicemail"


agent = Agent(
    "You call customers of the corner bakery whose order is ready. Say so, and ask when they come.",
    greeting="Hello, this is Ann of the corner bakery. Your order is ready.",
    voicemail=MESSAGE,
    screening="This is Ann of the corner bakery, about an order that is ready.",
    on_machine=on_machine,
)
