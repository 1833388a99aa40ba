"""The phone as a part of an application of your own: `uvicorn examples.mounted:make_app --factory`.

Twilio's webhook is then PUBLIC_URL/phone/incoming-call, with PUBLIC_URL=https://your.host/phone.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from bridge import Agent, Settings, create_app, load_settings, tool

orders: list[str] = []


@tool
def place_order(what: str) -> str:
    """Place an order."""
    orders.append(what)
    return f"{what}: order number {len(orders)}"


agent = Agent("You take orders for a bakery, one at a time.", tools=[place_order])


async def home(_request: Request) -> PlainTextResponse:
    """What was ordered by phone, for whoever looks."""
    return PlainTextResponse("\n".join(orders) or "no orders yet")


def make_app(settings: Settings | None = None) -> Starlette:
    """The application: a page of our own, and the phone below /phone."""
    phone = create_app(settings or load_settings(), agent)
    return Starlette(routes=[Route("/", home), Mount("/phone", app=phone)])
