"""Commands from one machine to another: a question and its one answer, two seconds long at most.

At most once. A machine that was paused does not obey what it was told long ago: a hang-up that comes ten
seconds late would meet a call that has gone on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

ANSWER_MS: Final = 2_000
"""How long an answer is waited for."""
OLD_MS: Final = 5_000
"""A command that is older is not obeyed."""
MOST_WAITING: Final = 100
"""Commands that wait for one machine; the oldest goes."""
MOST_BYTES: Final = 64 * 1024
"""Of a command, and of an answer."""

Obey: TypeAlias = Callable[[bytes], Awaitable[bytes]]


class NoAnswer(Exception):
    """The machine did not answer in time: it is gone, or paused, or has never been there. The command may
    have been obeyed.
    """


class Commands(Protocol):
    """The way to other machines, by their names. Each method may raise StoreError."""

    async def ask(self, machine: str, command: bytes, within_ms: int = ANSWER_MS) -> bytes:
        """The machine's answer. Raises NoAnswer, and ValueError for a command of more than 64 KiB."""
        ...

    async def obey(self, machine: str, answer: Obey) -> None:
        """Answer what that machine, this one, is asked; returns never. Only one process may have the name.
        An answer of more than 64 KiB is not sent.
        """
        ...

    async def close(self) -> None:
        """Let go of what connects to the store."""
        ...


def bounded(command: bytes) -> bytes:
    """The same. Raises ValueError where it is too long."""
    if len(command) > MOST_BYTES:
        raise ValueError(f"a command of {len(command)} bytes; {MOST_BYTES} are the most")
    return command


class EmbeddedCommands:
    """Between the parts of one process."""

    def __init__(self) -> None:
        self._obeying: dict[str, Obey] = {}

    async def ask(self, machine: str, command: bytes, within_ms: int = ANSWER_MS) -> bytes:
        """As `Commands` says."""
        answer = self._obeying.get(machine)
        if answer is None:
            raise NoAnswer(machine)
        try:
            async with asyncio.timeout(within_ms / 1000):
                return bounded(await answer(bounded(command)))
        except TimeoutError:
            raise NoAnswer(machine) from None

    async def obey(self, machine: str, answer: Obey) -> None:
        """As `Commands` says."""
        self._obeying[machine] = answer
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            del self._obeying[machine]

    async def close(self) -> None:
        """Nothing is open."""
