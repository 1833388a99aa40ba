"""What machines tell each other, and what an operator tells them: an answer for everything, obeyed once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bridge.server.fleet.machine_commands import MachineCommands, Refused
from bridge.server.store.commands import MOST_BYTES, EmbeddedCommands, NoAnswer


async def double(wanted: Mapping[str, Any]) -> int:
    if not isinstance(wanted.get("of"), int):
        raise Refused("`of` is a number")
    return 2 * int(wanted["of"])


async def many(_wanted: Mapping[str, Any]) -> list[str]:
    return ["x" * 100] * 2_000


async def breaks(_wanted: Mapping[str, Any]) -> None:
    raise RuntimeError("secret")


async def sleeps(_wanted: Mapping[str, Any]) -> None:
    await asyncio.sleep(60)


OPS = {"double": double, "many": many, "breaks": breaks, "sleeps": sleeps}


@contextlib.asynccontextmanager
async def two() -> AsyncIterator[MachineCommands]:
    """Machine a, beside a machine b that obeys."""
    way = EmbeddedCommands()
    b = asyncio.create_task(MachineCommands("b", way, OPS).obey())
    await asyncio.sleep(0)
    yield MachineCommands("a", way, OPS)
    b.cancel()
    await asyncio.gather(b, return_exceptions=True)


@pytest.mark.parametrize("machine", ["a", "b"])
async def test_another_machine_answers_as_this_one_does(machine: str) -> None:
    async with two() as a:
        assert await a.ask(machine, "double", of=21) == 42
        with pytest.raises(Refused, match="is a number"):
            await a.ask(machine, "double", of="x")
        with pytest.raises(Refused, match="no such command"):
            await a.ask(machine, "explode")


async def test_a_machine_that_is_not_there_or_does_not_answer() -> None:
    async with two() as a:
        with pytest.raises(NoAnswer):
            await a.ask("c", "double", of=1)
        with pytest.raises(NoAnswer):
            await a.ask("b", "sleeps", within_ms=10)


async def test_a_failure_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async with two() as a:
        with pytest.raises(Refused) as refused:
            await a.ask("b", "breaks")
        assert "secret" not in str(refused.value)
    assert "a command failed" in caplog.text


async def test_an_answer_is_bounded_and_so_is_a_command() -> None:
    async with two() as a:
        assert 0 < len(await a.ask("b", "many")) < 2_000
        with pytest.raises(ValueError, match="are the most"):
            await a.ask("b", "double", of="x" * MOST_BYTES)


@pytest.mark.parametrize(
    "command",
    [b"", b"\xff", b"[]", b"{}", b'"op"', b'{"op": []}', b'{"op": null}', b"[" * 5_000, b'{"op": {"a": 1}}'],
)
async def test_whatever_stands_in_the_store_is_answered(command: bytes) -> None:
    async with two() as a:
        assert json.loads(await a.answer(command)) == {"error": "no such command"}
