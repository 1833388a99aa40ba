"""A sign-out at one machine holds at all: also at those that answer late, and at those that begin."""

from __future__ import annotations

import asyncio
from typing import Any

from bridge.server.console.sign_outs import SignOuts
from bridge.server.fleet.machine_commands import Refused
from bridge.server.store.commands import NoAnswer
from tests.store.virtual_loop import virtually


class House:
    """Machines by name; those in `silent` answer nothing."""

    def __init__(self, *names: str) -> None:
        self.over: dict[str, list[str]] = {}
        self.at: dict[str, SignOuts] = {}
        self.silent: set[str] = set()
        self.plain: set[str] = set()
        for name in names:
            self.begin(name)

    def begin(self, name: str) -> SignOuts:
        over = self.over[name] = []
        add = lambda one: over.append(one) if one not in over else None  # noqa: E731
        self.at[name] = SignOuts(self, lambda: self.others(name), add, lambda: over)
        return self.at[name]

    async def others(self, name: str) -> list[str]:
        return [one for one in self.at if one != name]

    async def ask(self, machine: str, op: str, **wanted: Any) -> Any:
        if machine in self.silent:
            raise NoAnswer(machine)
        if machine in self.plain:
            raise Refused("no such command")
        return await self.at[machine].ops()[op](wanted)


def test_a_machine_that_answers_late_is_told_all_the_same() -> None:
    async def work() -> None:
        house = House("a", "b", "c", "plain")
        house.silent, house.plain = {"c"}, {"plain"}
        began_s = asyncio.get_running_loop().time()
        await house.at["a"].end("one")
        assert asyncio.get_running_loop().time() - began_s <= 0.5
        assert house.over == {"a": ["one"], "b": ["one"], "c": [], "plain": []}
        house.silent.clear()
        await asyncio.sleep(3)
        assert house.over["c"] == ["one"]

    virtually(work())


def test_a_machine_that_is_gone_is_told_no_more() -> None:
    async def work() -> None:
        house = House("a", "b")
        house.silent = {"b"}
        await house.at["a"].end("one")
        del house.at["b"]
        await asyncio.sleep(3)
        assert len(asyncio.all_tasks()) == 1

    virtually(work())


def test_a_machine_that_begins_knows_who_has_signed_out() -> None:
    async def work() -> None:
        house = House("a", "b", "c")
        await house.at["a"].end("one")
        await house.at["b"].end("two")
        house.silent = {"a"}
        await house.begin("d").learn()
        assert sorted(house.over["d"]) == ["one", "two"]

    virtually(work())
