"""Answers the phone. `phonebridge serve` in this folder finds it, and `serve --reload` takes its changes."""

import asyncio
from typing import Literal

from bridge import Agent, Session, ToolError, hang_up, tool

HOURS = {"saturday": "eight to twelve", "sunday": "closed"}
ORDERS = {"17": "in the oven", "18": "ready"}


@tool
def opening_hours(
    day: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = "monday",
) -> str:
    """Tell the opening hours of a day."""
    return HOURS.get(day, "seven to six")


@tool(filler_after_ms=1_000)
async def order_status(order_number: str) -> str:
    """Tell how far an order is.

    Args:
        order_number: the order's number, as the caller says it
    """
    await asyncio.sleep(0.2)  # your database; the caller hears a filler if it takes longer than a second
    if order_number not in ORDERS:
        raise ToolError(f"There is no order {order_number}. Ask for the number again.")
    return ORDERS[order_number]


@tool
async def leave_message(session: Session, text: str) -> str:
    """Take a message for the owner.

    Args:
        text: the message, in the caller's words
    """
    print(f"message from {session.fields.get('From', 'a caller')}: {text}")
    return "The message is noted."


# A handler decides by itself what is said; without one the model answers.
#
# async def answer(session: Session) -> None:
#     await session.say("Who is calling, please?")
#     name = (await session.input()).text
#     await session.respond(f"Greet {name} and ask what you can do.")


agent = Agent(
    "You answer the phone of a small bakery. Answer in a sentence or two. If you do not know something, "
    "say so. When the caller is done, say goodbye and hang up.",
    greeting="Good day, this is the bakery. What can I do for you?",
    tools=[opening_hours, order_status, leave_message, hang_up],
    # handler=answer,
)
