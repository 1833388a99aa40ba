"""A sign-out holds at every machine: at those that are alive, and at those that come later.

Each machine knows by itself which sessions are over. The one that is asked tells all that the store knows of
at that moment; one that has just begun asks the others before it serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from bridge.server.fleet.machine_commands import Op, Refused
from bridge.server.store.claims import StoreError
from bridge.server.store.commands import ANSWER_MS, NoAnswer

SIGN_OUT: Final = "console sign out"
SIGNED_OUT: Final = "console signed out"
ANSWER_S: Final = 0.5
"""How long a browser, and a machine that begins, wait for the others. Late ones are told all the same."""
AGAIN_S: Final = 2.0


class Others(Protocol):
    """The way to other machines: `MachineCommands`."""

    async def ask(self, machine: str, op: str, *, within_ms: int = ANSWER_MS, **wanted: Any) -> Any:
        """The machine's answer. Raises Refused, NoAnswer, StoreError."""
        ...


class SignOuts:
    """`others` are the names of the machines that are alive now, besides this one. `over` is called with each
    session that is over, by its digest, and `known` are those that are. Lives on the loop of the calls.
    """

    def __init__(
        self,
        commands: Others,
        others: Callable[[], Awaitable[Collection[str]]],
        over: Callable[[str], None],
        known: Callable[[], list[str]],
    ) -> None:
        self._commands = commands
        self._others = others
        self._over = over
        self._known = known
        self._telling: set[asyncio.Task[None]] = set()

    def ops(self) -> dict[str, Op]:
        """What machines ask each other."""
        return {SIGN_OUT: self._told, SIGNED_OUT: self._asked}

    async def end(self, session: str) -> None:
        """That session is over, at all machines. Returns when they have said so, after half a second at the
        latest.
        """
        self._over(session)
        telling = {asyncio.ensure_future(self._tell(one, session)) for one in await self._others()}
        self._telling |= telling
        for task in telling:
            task.add_done_callback(self._telling.discard)
        if telling:
            await asyncio.wait(telling, timeout=ANSWER_S)

    async def learn(self) -> None:
        """At the start of a machine: ask the others which sessions are over."""
        asking = [asyncio.ensure_future(self._ask(one)) for one in await self._others()]
        if asking:
            await asyncio.wait(asking, timeout=ANSWER_S)

    async def _tell(self, machine: str, session: str) -> None:
        """Until it has answered, or is gone."""
        while True:
            with suppress(NoAnswer, StoreError):
                with suppress(Refused):  # it has no console
                    await self._commands.ask(machine, SIGN_OUT, session=session)
                return
            await asyncio.sleep(AGAIN_S)
            if machine not in await self._others():
                return

    async def _ask(self, machine: str) -> None:
        with suppress(Refused, NoAnswer, StoreError):
            for session in await self._commands.ask(machine, SIGNED_OUT):
                self._over(str(session))

    async def _told(self, wanted: Mapping[str, Any]) -> None:
        self._over(str(wanted["session"]))

    async def _asked(self, _wanted: Mapping[str, Any]) -> list[str]:
        """The latest first: where there are too many for an answer, the oldest are left out."""
        return self._known()[::-1]
