"""Limits of a number and of an account, over all machines of a service."""

from __future__ import annotations

import asyncio

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.ops.health import DayMoney
from bridge.server.fleet.making import make_fleet
from bridge.server.routing.router import Router
from bridge.server.routing.table import ANY, Account, Route, RoutingTable
from bridge.server.store.embedded_claims import EmbeddedClaims
from bridge.settings.settings import Settings

ACCOUNT = Account(f"AC{1:032x}", max_calls=3)
DESK, OFFICE = "+15550100", "+15550101"
TABLE = RoutingTable(
    (Route(DESK, ACCOUNT, max_calls=1), Route(OFFICE, ACCOUNT, day_cost=0.5)),
    Route(ANY, Account(None)),
    (ACCOUNT,),
)


class Machine:
    def __init__(self, claims: EmbeddedClaims, name: str) -> None:
        settings = Settings(
            _env_file=None,
            public_url="https://voice.example.com",
            twilio_auth_token="an-invented-token-of-thirty-two-",
            openai_api_key="sk-invented",
            machine=name,
        )
        self.router = Router(TABLE)
        self.fleet = make_fleet(settings, DayMoney(), claims, router=self.router)

    async def comes(self, number: int, called: str) -> str:
        """The gate that keeps a call to that number out, empty for none."""
        call_sid = f"CA{number:032x}"
        self.router.ring(call_sid, {"AccountSid": ACCOUNT.sid or "", "From": "+15550199", "To": called})
        self.router.call_began(call_sid)
        found = await self.fleet.claim(call_sid, ACCOUNT.sid or "", 1, goes_on=False)
        return "" if found is None else found.gate

    def ends(self, number: int, cost_micro_usd: int) -> None:
        call_sid = f"CA{number:032x}"
        self.router.call_ended(
            call_sid, m.Ended(m.Reason.CALLER_HUNG_UP), Stats(cost_micro_usd=cost_micro_usd)
        )
        assert self.fleet.shared is not None
        self.fleet.shared.end(call_sid, keep=False)


async def test_a_number_and_an_account_have_what_they_may_have_on_all_machines_together() -> None:
    claims = EmbeddedClaims()
    one, other = Machine(claims, "one"), Machine(claims, "two")
    for machine in (one, other):
        assert machine.fleet.shared is not None
        await machine.fleet.shared.open()
        await machine.fleet.shared.beat()
    assert await one.comes(1, DESK) == ""
    assert await other.comes(2, DESK) == "number full"
    assert await one.comes(3, OFFICE) == ""
    assert await other.comes(4, OFFICE) == ""
    assert await other.comes(5, OFFICE) == "account full"
    other.ends(4, 600_000)
    await asyncio.sleep(0.01)
    assert await one.comes(6, OFFICE) == "number money"
    assert await one.comes(7, DESK) == "number full"
    one.ends(1, 1)
    await asyncio.sleep(0.01)
    assert await other.comes(8, DESK) == ""
    for machine in (one, other):
        assert machine.fleet.shared is not None
        await machine.fleet.shared.close()


def test_no_number_is_in_the_name_of_a_group() -> None:
    router = Router(TABLE)
    router.ring("CA1", {"AccountSid": ACCOUNT.sid or "", "From": "+15550199", "To": DESK})
    groups = [limit.group for limit in router.limits("CA1")]
    assert [group.partition("-")[0] for group in groups] == ["number", "account"]
    assert "1555" not in repr(groups)
    assert router.limits("CA2") == ()
