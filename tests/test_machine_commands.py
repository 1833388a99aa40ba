"""What machines tell each other, and what an operator tells them: an answer for everything, obeyed once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bridge.server.fleet.machine_commands import MachineCommands, Refused
from bridge.server.fleet.operators import operators_ops
from bridge.server.store.commands import ANSWER_MS, MOST_BYTES, EmbeddedCommands, NoAnswer
from bridge.server.store.sealing import Clear, KeyRing


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


class Overheard(EmbeddedCommands):
    """What passes through the store."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[bytes] = []

    async def ask(self, machine: str, command: bytes, within_ms: int = ANSWER_MS) -> bytes:
        answer = await super().ask(machine, command, within_ms)
        self.passed += [command, answer]
        return answer


async def repeats(wanted: Mapping[str, Any]) -> str:
    return f"heard: {wanted['text']}"


def private(name: str, way: EmbeddedCommands, key: bytes | None) -> MachineCommands:
    made = MachineCommands(name, way, {"say": repeats}, None if key is None else KeyRing([key]))
    made.private.add("say")
    return made


async def test_what_was_said_goes_through_the_store_encrypted_or_not_at_all() -> None:
    way, key = Overheard(), bytes(range(32))
    keyed, keyless = private("b", way, key), private("c", way, None)
    tasks = [asyncio.create_task(one.obey()) for one in (keyed, keyless)]
    await asyncio.sleep(0)
    assert await private("a", way, key).ask("b", "say", text="swordfish") == "heard: swordfish"
    assert not any(b"swordfish" in one for one in way.passed)
    with pytest.raises(Refused, match="BRIDGE_STORE_KEY"):
        await private("a", way, None).ask("b", "say", text="swordfish")
    for other in ("b", "c"):
        with pytest.raises((NoAnswer, Refused)):
            await private("a", way, bytes(32)).ask(other, "say", text="swordfish")
    in_clear = json.dumps({"op": "say", "text": "x"}).encode()
    assert b"no such command" in await way.ask("b", in_clear), "only who has the key may ask"
    assert not any(b"swordfish" in one for one in way.passed)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_workers_of_one_machine_need_no_key_for_what_was_said() -> None:
    way = EmbeddedCommands()
    asking, asked = (MachineCommands(name, way, {"say": repeats}, Clear()) for name in "ab")
    for one in (asking, asked):
        one.private.add("say")
    task = asyncio.create_task(asked.obey())
    await asyncio.sleep(0)
    assert await asking.ask("b", "say", text="swordfish") == "heard: swordfish"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_answer_holds_as_many_letters_of_any_script() -> None:
    """`console/far.py` counts on that: 16,000 of four bytes are an answer."""

    async def letters(_wanted: Mapping[str, Any]) -> str:
        return "\N{GRINNING FACE}" * 16_000

    answer = await MachineCommands("a", EmbeddedCommands(), {"poll": letters}).answer(b'{"op": "poll"}')
    assert len(answer) <= MOST_BYTES


async def test_the_others_know_at_once_that_a_machine_drains() -> None:
    class Calls:
        draining = False

        def __len__(self) -> int:
            return 0

        def call_sids(self) -> list[str]:
            return []

        def runner(self, _call_sid: str) -> None:
            return None

    async def drain() -> None:
        return None

    calls, told = Calls(), []
    ops = operators_ops(calls, drain, list, lambda: told.append(calls.draining))
    await ops["drain"]({})
    await ops["undrain"]({})
    assert told == [True, False]
