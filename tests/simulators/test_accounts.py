"""Accounts and numbers of the simulated carrier, through the vendor's SDK."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

from bridge.simulators.rest_api import CarrierApi
from bridge.simulators.steps import Kind
from tests.door.rig import kinds
from tests.simulators.server import AC, TOKEN, N, TwimlServer, U, twiml_server

ROOT = Path(__file__).parents[2]
SUB, SUB_TOKEN = f"AC{2:032x}", "67890"


def refusal(server: TwimlServer, sid: str, **given: str) -> int | None:
    """The code of what an update of a number is refused with."""
    with pytest.raises(TwilioRestException) as refused:
        server.client().incoming_phone_numbers(sid).update(**given)
    return refused.value.code


async def test_numbers_are_listed_by_page_fetched_updated_and_cleared() -> None:
    async with twiml_server() as server:
        server.api.numbers = [{"phone_number": f"+155500020{place:02}"} for place in range(5)]
        server.api.numbers[3]["trunk_sid"] = f"TK{1:032x}"

        def numbers() -> None:
            client = server.client()
            assert len(client.incoming_phone_numbers.list(page_size=2)) == 5
            (found,) = client.incoming_phone_numbers.list(phone_number="2*03")
            assert (found.phone_number, found.trunk_sid) == ("+15550002003", f"TK{1:032x}")
            assert (found.capabilities["voice"], found.account_sid, found.status) == (True, AC, "in-use")
            here = client.incoming_phone_numbers(found.sid)
            changed = here.update(voice_application_sid=f"AP{1:032x}")
            assert (changed.trunk_sid, changed.voice_application_sid) == (None, f"AP{1:032x}")
            changed = here.update(
                voice_application_sid="", voice_url="https://voice.example.com/in#rc=2&rp=5xx"
            )
            assert changed.voice_application_sid == ""
            assert here.fetch().voice_url == "https://voice.example.com/in#rc=2&rp=5xx"
            assert refusal(server, found.sid, voice_url="voice.example.com") == 21402
            assert (
                refusal(server, found.sid, voice_url="", voice_fallback_url="https://a.example.com/") == 21405
            )
            assert refusal(server, f"PN{99:032x}", voice_url="") == 20404

        await asyncio.to_thread(numbers)


@pytest.mark.hostile
async def test_a_call_to_a_number_goes_where_the_number_leads() -> None:
    async with twiml_server() as server:
        server.say("/in", "<Hangup />")
        server.say("/instead", "<Say>We are closed.</Say>")
        ours = {
            "phone_number": N, "voice_url": f"{server.base}/in", "status_callback": f"{server.base}/ended",
            "voice_fallback_url": f"{server.base}/instead",
        }  # fmt: skip
        server.api.numbers = [ours]
        call = await server.api.ring(N)
        assert kinds(call) == [Kind.ASKED, Kind.HUNG_UP]
        (ended,) = server.forms("/ended")
        assert (ended["CallStatus"], ended["CallSid"], ended["From"]) == ("completed", call.sid, U)
        server.api.numbers = [{**ours, "voice_url": f"{server.base}/nothing"}]
        call = await server.api.ring(N)
        assert [step.detail for step in call.steps if step.kind is Kind.SAID] == ["We are closed."]
        failure = server.forms("/instead")[-1]
        assert (failure["ErrorCode"], failure["ErrorUrl"]) == ("11200", f"{server.base}/nothing")
        server.api.numbers = [{**ours, "trunk_sid": f"TK{1:032x}"}]
        assert kinds(await server.api.ring(N)) == [Kind.FAILED]
        server.api.numbers = [{**ours, "voice_application_sid": f"AP{1:032x}"}]
        server.api.applications[f"AP{1:032x}"] = f"{server.base}/instead"
        assert Kind.SAID in kinds(await server.api.ring(N))


@pytest.mark.hostile
async def test_a_subaccount_has_its_own_token_and_its_parents_is_good_there() -> None:
    api = CarrierApi((TOKEN,), pace=0.002)
    api.account(SUB, SUB_TOKEN, parent=AC).numbers.append({"phone_number": "+15550002999"})

    def ask(user: str, token: str, account: str) -> list[str | None]:
        client = Client(user, token, account)
        client.api.base_url = api.url
        return [one.phone_number for one in client.incoming_phone_numbers.list()]

    async with api.serve():
        for user, token in ((SUB, SUB_TOKEN), (AC, TOKEN)):
            assert await asyncio.to_thread(ask, user, token, SUB) == ["+15550002999"]
        for user, token, account in ((SUB, SUB_TOKEN, AC), (SUB, TOKEN, SUB), (AC, SUB_TOKEN, AC)):
            with pytest.raises(TwilioException, match="20003"):
                await asyncio.to_thread(ask, user, token, account)


@pytest.mark.hostile
def test_the_bridges_client_and_the_vendors_work_with_it() -> None:
    script = [sys.executable, "-m", "scripts.independent.carrier_rest"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed: nothing" in done.stdout
