"""The bridge's REST client, and the vendor's SDK, against any server of the carrier's API.

    python scripts/independent/carrier_rest.py                    # the simulated carrier
    python scripts/independent/carrier_rest.py URL AC… TOKEN      # any other: an emulator, Prism

One line a request: what was asked, and what came. Exits with 1 when the client could not work with it. Two
servers that others wrote, and what each is good for:

- `@emulators/twilio` of github.com/vercel-labs/emulate places calls, signs callbacks, fetches no TwiML.
- Prism with `twilio_api_v2010.json` of github.com/twilio/twilio-oai: `prism mock` answers with the vendor's
  examples; `prism proxy spec.json URL --errors` before the simulated carrier checks each request and each
  answer against the vendor's own description.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from twilio.base.exceptions import TwilioException
from twilio.rest import Client

from bridge.server.new_calls import NewCall, Placed
from bridge.server.twilio_rest import CarrierRest
from bridge.settings.settings import load_settings
from bridge.simulators.rest_api import CarrierApi

ACCOUNT: Final = f"AC{1:032x}"
TOKEN: Final = "12345"  # noqa: S105  of no account
FROM, TO = "+15550002222", "+15550003333"
BASE: Final = "http://127.0.0.1:9"


async def the_bridges_client(url: str, account: str, token: str) -> list[str]:
    """What the bridge asks: a call, the list of calls, a look at it, its end."""
    settings = load_settings(
        demo=True, env_file=None, public_url="https://voice.example.com", twilio_account_sid=account,
        twilio_auth_token=token, twilio_api_url=url,
    )  # fmt: skip
    rest, failures = CarrierRest(settings), []
    wanted = NewCall(
        to=TO, from_=FROM, url=f"{BASE}/outbound-call?ref=R1", status_callback=f"{BASE}/call-status?ref=R1",
        amd_callback=f"{BASE}/amd?ref=R1", ring_s=25, time_limit_s=600, ref="R1",
    )  # fmt: skip
    try:
        created = await rest.create_call(wanted)
        print("bridge: create", created)
        if not isinstance(created, Placed):
            return ["create"]
        listed = await rest.list_calls(TO, FROM, datetime.now(UTC) - timedelta(minutes=1))
        print("bridge: list", listed)
        known = await rest.look_up(created.sid)
        print("bridge: look up", known)
        standing = await rest.standing(created.sid, account)
        print("bridge: standing", standing.value)
        failures += [] if known is not None else ["look up"]
        for name, done in (("cancel", rest.cancel), ("hang up", rest.hang_up)):
            outcome = await done(created.sid)
            print(f"bridge: {name}", outcome.value)
            failures += [] if outcome.achieved else [name]
    finally:
        rest.close()
    return failures


def the_vendors_sdk(url: str, account: str, token: str) -> list[str]:
    """Every resource that the simulated carrier has."""
    client, failures = Client(account, token), []
    client.api.base_url = url
    call = client.calls.create(to=TO, from_=FROM, url=f"{BASE}/x", status_callback=f"{BASE}/y")
    asked: dict[str, Callable[[], Any]] = {
        "account": lambda: client.api.v2010.accounts(account).fetch().status,
        "call": lambda: client.calls(call.sid).fetch().status,
        "calls": lambda: [one.sid for one in client.calls.list(to=TO, limit=3)],
        "calls by day": lambda: len(client.calls.list(start_time_after=call.date_created, limit=3)),
        "complete": lambda: client.calls(call.sid).update(status="completed").status,
        "numbers": lambda: [one.phone_number for one in client.incoming_phone_numbers.list(limit=3)],
        "number": lambda: client.incoming_phone_numbers.list(limit=1)[0].update(voice_url="").voice_url,
    }
    for name, ask in asked.items():
        try:
            print("SDK:", name, ask())
        except (TwilioException, IndexError) as error:
            print("SDK:", name, "failed:", error)
            failures.append(name)
    return failures


@contextlib.asynccontextmanager
async def server(url: str | None) -> AsyncIterator[str]:
    """The server at the URL, else the simulated carrier."""
    if url is not None:
        yield url
        return
    carrier = CarrierApi((TOKEN,))
    carrier.numbers = [{"phone_number": FROM}]
    carrier.phone(TO, "no_answer")
    async with carrier.serve() as served:
        yield served


async def main() -> int:
    """Both clients; 1 if one of them failed at anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", nargs="?")
    parser.add_argument("account", nargs="?", default=ACCOUNT)
    parser.add_argument("token", nargs="?", default=TOKEN)
    given = parser.parse_args()
    async with server(given.url) as url:
        failures = await the_bridges_client(url, given.account, given.token)
        failures += await asyncio.to_thread(the_vendors_sdk, url, given.account, given.token)
    print("failed:", ", ".join(failures) or "nothing")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
