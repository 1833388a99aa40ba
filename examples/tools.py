"""An agent that can do things: look up an order, hang up. Hints and docstrings are all the model needs."""

from typing import Literal

from bridge import Agent, ToolError, hang_up, tool

ORDERS = {17: "in the oven", 18: "ready"}


@tool(filler_after_ms=1_000)
async def order_state(number: int) -> str:
    """Tell how far an order is.

    Args:
        number: the order's number, as the caller says it
    """
    if number not in ORDERS:
        raise ToolError(f"There is no order {number}. Ask for the number again.")
    return ORDERS[number]


@tool
def note_wish(what: str, when: Literal["today", "tomorrow"] = "today") -> dict[str, str]:
    """Note what a caller would like to have put aside."""
    return {"noted": what, "for": when}


agent = Agent(
    "You help callers of a bakery with their orders. When they are done, say goodbye and hang up.",
    tools=[order_state, note_wish, hang_up],
)
