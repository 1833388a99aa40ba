"""An agent that calls people about a parcel, and takes no for an answer.

phonebridge call +1555… --agent examples.call_somebody:agent --context order=4711 --consent "order form"
"""

from bridge import Agent, Session, ToolError, hang_up, stop_calling, tool

DAYS = ("monday", "tuesday", "wednesday")
NOTED: dict[str, str] = {}
"""The day that each order shall come on."""


@tool
async def deliver_on(session: Session, day: str) -> str:
    """Note the day on which the parcel shall come: monday, tuesday or wednesday."""
    if day.lower() not in DAYS:
        raise ToolError(f"The parcel can come on {', '.join(DAYS)}.")
    order = session.context.get("order", "unknown")
    NOTED[order] = day.lower()
    return f"Order {order} comes on {day}. Say so, thank them, and say goodbye."


agent = Agent(
    "You call for the parcel service of Example Street. Say at once who calls and that you are an automated "
    "assistant. Ask on which day the parcel shall come: monday, tuesday or wednesday. Be brief. If they do "
    "not want to be called, call stop_calling, say that it is done, and say goodbye.",
    name="parcels",
    greeting="Hello, this is the automated assistant of Example Parcels. It is about your parcel.",
    tools=[deliver_on, stop_calling, hang_up],
    on_machine="voicemail",
    voicemail="Example Parcels called about your parcel. Please tell us a day on our website. Goodbye.",
    screening="Example Parcels, about the delivery of your parcel.",
)
