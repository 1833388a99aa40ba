"""`bridge.call`, and what user code sees of calls that we placed."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import bridge
from bridge import Agent, CallRefused, ConfigError, Session, stop_calling, tool
from bridge.agents.user_code import CALL_NUMBERS, CALL_SID
from bridge.server.outbound.do_not_call import DoNotCall
from bridge.server.outbound.remote import RemoteCalls
from tests.outbound.kit import CA1, CONSENT, KEY, NUMBER, PERSON, Office, office, run, until


async def busy(one: Office, ref: str) -> None:
    await one.status(ref, "ringing", 1, 2.0)
    await one.status(ref, "busy", 2, 5.0, SipResponseCode="486")


def test_a_call_is_followed_from_the_service_s_own_process() -> None:
    async def calls() -> None:
        async with office(Agent("Hi.")) as one:
            call = await bridge.call(PERSON, consent=CONSENT, context={"name": "Ann"})
            seen: list[str] = []

            async def follow() -> None:
                seen.extend([status.state async for status in call])

            following = asyncio.create_task(follow())
            await one.posted()
            await asyncio.sleep(0)
            await one.status(call.ref, "ringing", 1, 2.0)
            await asyncio.sleep(0.01)
            await one.status(call.ref, "no-answer", 2, 32, SipResponseCode="480")
            await following
            assert (seen[0], seen[-2:]) == ("queued", ["ringing", "done"])
            result = await call.done()
            assert (result.outcome, result.sip_code, result.ring_ms) == ("no_answer", 480, 30_000)
            assert not result.by_machine
            assert one.record(call.ref).context == {"name": "Ann"}

    run(calls())


def test_it_is_asked_for_on_any_thread() -> None:
    async def calls() -> None:
        async with office() as one:
            found: list[Any] = []

            async def elsewhere() -> None:
                call = await bridge.call(PERSON, consent=CONSENT)
                found.append(call.ref)
                found.append(await call.done())

            thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
            thread.start()
            await one.posted()
            await busy(one, found[0])
            await asyncio.to_thread(thread.join)
            assert found[1].outcome == "busy"

    run(calls())


def test_a_key_names_a_request() -> None:
    async def calls() -> None:
        async with office() as one:
            first = await bridge.call(PERSON, consent=CONSENT, key="order 4711")
            again = await bridge.call(PERSON, consent=CONSENT, key="order 4711")
            assert first.ref == again.ref
            with pytest.raises(CallRefused) as refused:
                await bridge.call("+15550001112", consent=CONSENT, key="order 4711")
            assert refused.value.rule == "idempotency_conflict"
            await one.posted()
            assert len(one.rest.created) == 1

    run(calls())


def test_an_agent_is_given_for_one_call() -> None:
    async def calls() -> None:
        async with office(Agent("Receptionist.")) as one:
            call = await bridge.call(
                PERSON, consent=CONSENT, agent=Agent("Ask for the parcel.", name="parcels")
            )
            await one.posted()
            await one.status(call.ref, "ringing", 1, 2.0)
            await until(lambda: one.service.registry.waits_for(CA1))
            runner = one.service.registry.runner(CA1)
            assert runner is not None
            assert runner.call.config.session.instructions.startswith("Ask for the parcel.")
            assert "Receptionist" not in runner.call.config.session.instructions

    run(calls())


def test_an_agent_that_is_gone_is_replaced_by_nobody() -> None:
    async def calls() -> None:
        async with office(Agent("Receptionist.")) as one:
            call = await bridge.call(
                PERSON, consent=CONSENT, agent=Agent("Ask for the parcel.", name="parcels")
            )
            await one.posted()
            one.outbound.agents.forget(call.ref)  # as after a restart
            assert "<Hangup />" in await one.answered(call.ref, 5)

    run(calls())


def test_without_a_service_it_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="server= and api_key="):
        asyncio.run(bridge.call(PERSON))
    for server, key in (
        ("voice.example.com", KEY),
        ("http://voice.example.com", KEY),
        ("https://voice.example.com", ""),
    ):
        with pytest.raises(ConfigError):
            RemoteCalls(server, key)


def test_what_a_model_says_is_no_number_to_call() -> None:
    """A tool that passes on what the model wants, unchecked."""

    @tool
    async def dial(number: str) -> str:
        """Call this number."""
        return (await bridge.call(number, consent="the model says so")).ref

    async def calls() -> None:
        async with office() as one:
            CALL_SID.set(CA1)
            CALL_NUMBERS.set(frozenset({PERSON, NUMBER, ""}))
            for said in ("+15557770001", "+19005550100", "911", "billing", ""):
                with pytest.raises(CallRefused) as refused:
                    await dial(said)
                assert refused.value.rule == "within_a_call"
            await asyncio.sleep(0.02)
            assert one.rest.created == []
            await dial(PERSON)  # the person on the line may be called back
            await one.posted()

    run(calls())


def test_stop_calling_writes_the_number_down_and_it_is_never_called_again(tmp_path: Path) -> None:
    file = tmp_path / "do-not-call.txt"
    file.write_text("# kept by the office\n+15550009999\n+1555777*  # all of them")

    async def calls() -> None:
        async with office(do_not_call=str(file)) as one:
            session = stub(one, {"direction": "outbound", "To": PERSON, "From": NUMBER})
            await stop_calling(session)
            for number in (PERSON, "+15550009999", "+15557770001"):
                with pytest.raises(CallRefused) as refused:
                    await one.place(number)
                assert refused.value.rule == "do_not_call"
            await one.place("+15550001112")

    run(calls())
    assert PERSON in file.read_text()
    assert DoNotCall(file).has(PERSON)
    assert file.read_text().startswith("# kept by the office\n+15550009999\n+1555777*  # all of them\n")


def stub(one: Office, fields: dict[str, str]) -> Any:
    """A session with these fields, of this service."""

    class Stands:
        async def opt_out(self, number: str) -> None:
            one.service.do_not_call.add(number)

    session = Session.__new__(Session)
    session.fields, session._bridge = fields, Stands()  # type: ignore[assignment]
    return session


def test_the_do_not_call_file_is_read_again_and_unread_it_stops_calls(tmp_path: Path) -> None:
    file = tmp_path / "do-not-call.txt"
    numbers = DoNotCall(file)
    assert not numbers.has(PERSON)
    file.write_text("+1 (555) 000-1111 # by post\n")
    assert numbers.has(PERSON)
    file.unlink()
    file.mkdir()
    assert numbers.has("+15550001112")  # nobody is called while it cannot be read


@pytest.mark.parametrize(
    "line",
    [
        "+15550001111",
        "+1 (555) 000-1111",
        "(555) 000-1111",
        "555.000.1111",
        "1-555-000-1111",
        "001 555 000 1111",
        "tel:+15550001111",
        "+15550001111 x5",
        "+1\u2011555\u2011000\u20111111",
        "\u202a+15550001111\u202c",
        "\ufeff+15550001111",
        "＋１５５５０００１１１１",
        "\u0661\u0665\u0665\u0665\u0660\u0660\u0660\u0661\u0661\u0661\u0661",
        "Ann Baker;+15550001111;2026-11-02",
        "+1555*",
        "+1 555 *",
    ],
)
def test_the_do_not_call_file_is_read_as_people_write_numbers(tmp_path: Path, line: str) -> None:
    file = tmp_path / "do-not-call.txt"
    file.write_text(f"# head\n{line}\n", encoding="utf-8")
    assert DoNotCall(file).has(PERSON)
    assert not DoNotCall(file).has("+15560001112")


def test_numbers_abroad_stand_in_the_do_not_call_file_as_they_are_dialled(tmp_path: Path) -> None:
    file = tmp_path / "do-not-call.txt"
    for line in ("+44 (0)20 7946 0000", "020 7946 0000", "0044 20 7946 0000", "011 44 20 7946 0000"):
        file.write_text(line)
        assert DoNotCall(file).has("+442079460000"), line
    file.write_text("call nobody on 24 December\n12345\n0190*\n*\n")
    assert not DoNotCall(file).has("+442079460000")


def test_a_number_that_is_taken_off_the_file_may_be_called_again(tmp_path: Path) -> None:
    file = tmp_path / "do-not-call.txt"
    numbers = DoNotCall(file)

    def write(text: str, age_s: float) -> None:
        file.write_text(text)
        then = time.time() - age_s
        os.utime(file, (then, then))

    write(f"{PERSON}\n", 60)
    assert numbers.has(PERSON)
    write("", 0)  # an editor empties it, and has not written yet
    assert numbers.has(PERSON)
    write("+15550009999\n", 50)
    assert not numbers.has(PERSON)
    assert numbers.has("+15550009999")
    numbers.add(PERSON)
    assert numbers.has(PERSON)
    write("\n", 40)
    assert not numbers.has(PERSON)


def test_a_live_call_s_code_knows_the_numbers_of_that_call() -> None:
    async def calls() -> None:
        async with office(Agent("Hi.")) as one:
            call = await bridge.call(PERSON, consent=CONSENT)
            await one.posted()
            await one.status(call.ref, "ringing", 1, 2.0)
            await until(lambda: one.service.registry.waits_for(CA1))
            users = one.service.services.users
            assert users is not None
            attached: Any = users._attached[CA1]
            await until(lambda: attached._call is not None)
            assert attached._call._context[CALL_NUMBERS] == {PERSON, NUMBER}
            assert attached._call._context[CALL_SID] == CA1

    run(calls())
