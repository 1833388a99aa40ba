"""Two agents and a person: the front desk hands off to billing, and either can put the caller through.

BRIDGE_TRANSFERS names the only numbers a call can be sent to: `BRIDGE_TRANSFERS=owner=+15550001111`.
"""

from collections.abc import Mapping
from typing import Any

from bridge import Agent, Guardrail, hang_up, tool, transfer

REGULARS = {"+15550001111": "Ann"}


def who_calls(fields: Mapping[str, str]) -> dict[str, Any] | None:
    """Runs while the phone rings: regulars are greeted by name."""
    name = REGULARS.get(fields.get("From", ""))
    return {"greeting": f"Hello {name}, how are you?"} if name else None


@tool
def balance(customer: str) -> str:
    """Tell what a customer owes."""
    return f"{customer} owes nothing."


billing = Agent(
    "You answer questions about invoices of a bakery. For anything else hand back to the front desk.",
    name="billing",
    description="Knows what customers owe.",
    tools=[balance, transfer],
    handoffs=["front desk"],
    guardrails=[Guardrail("no promises", lambda text: "refund" in text.lower())],
)

agent = Agent(
    "You are the front desk of a bakery. Invoices are billing's. Whoever insists on a person gets the owner.",
    name="front desk",
    greeting="Good day, the bakery. How can I help?",
    tools=[transfer, hang_up],
    handoffs=[billing],
    resolver=who_calls,
)
