"""A call whose stream asks nothing after it: nobody comes back, so nothing of that kind is begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from bridge.agents.agent import Agent
from bridge.agents.session import Session
from bridge.core import messages as m
from tests.agents.door import Door, settled
from tests.agents.virtual_time import run


def on_a_call(work: Callable[[Door, Session], Coroutine[Any, Any, None]], *, detours: bool) -> None:
    async def main() -> None:
        door = await Door(Agent(), transfers=("billing",), detours=detours).begin()
        await work(door, door.session)
        door.end()
        await settled()

    run(main())


def test_a_transfer_ends_the_call_as_ever() -> None:
    async def work(door: Door, session: Session) -> None:
        assert not session.detours
        assert (await session.transfer("billing", wait=False)).outcome == "begun"
        assert await door.next(m.Transfer) == m.Transfer("billing")

    on_a_call(work, detours=False)


def test_keys_and_holds_are_refused_and_the_code_in_a_hold_runs() -> None:
    ran: list[str] = []

    async def work(door: Door, session: Session) -> None:
        assert (await session.send_digits("1")).outcome == "refused"
        async with session.hold() as hold:
            ran.append("it did")
        assert hold.result is not None
        assert hold.result.outcome == "refused"
        await settled()
        assert (door.wishes, door.keys) == ([], [])

    on_a_call(work, detours=False)
    assert ran == ["it did"]


def test_keys_are_known_to_the_shell_before_the_core_hears_of_the_detour() -> None:
    async def work(door: Door, session: Session) -> None:
        assert session.detours
        before: list[list[m.Message]] = []
        keep = door.keep_keys

        def kept(detour_id: str, keys: str) -> None:
            before.append(list(door.wishes))
            keep(detour_id, keys)

        door.keep_keys = kept  # type: ignore[method-assign]
        pressing = asyncio.get_running_loop().create_task(session.send_digits("12#"))
        wish = await door.next(m.Detour)
        assert before == [[]]
        assert wish.kind is m.DetourKind.KEYS
        assert door.keys == [(wish.detour_id, "12#")]
        sent = m.DetourResult(m.TransferOutcome.SENT)
        door.tell(m.DetourEnded(wish.detour_id, wish.kind, "", sent))
        assert await pressing

    on_a_call(work, detours=True)


def test_ids_of_detours_cannot_be_guessed() -> None:
    async def work(door: Door, session: Session) -> None:
        ids = set()
        for _ in range(3):
            await session.transfer("billing", wait=False)
            ids.add((await door.next(m.Detour)).detour_id)
        assert len(ids) == 3
        assert all(len(bytes.fromhex(one)) == 16 for one in ids)

    on_a_call(work, detours=True)
