"""Three machines, five calls, and commands that are lost, repeated and late, in any order.

What must hold whatever happens: one owner per epoch, and epochs of a call that only rise; no write by a
ghost; a redeemed token never again; and the day's cost is the sum of what each process says of itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bridge.server.store.claims import (
    AfterAnswer,
    AfterRequest,
    ClaimAnswer,
    ClaimRequest,
    Fence,
    Lease,
    Limit,
    Owned,
    Process,
    RingAnswer,
    Spent,
    Status,
)
from tests.store.engines import ENGINES, Opened, on_redis

MACHINES = [Process(name, f"{name}-inst") for name in "abc"]
CALLS = [f"CA{number:032x}" for number in range(5)]
MOST = 4
LEASE_MS = 3_600_000
"""None lapses by itself, however slow the machine is that runs this."""
machines, calls = st.sampled_from(MACHINES), st.sampled_from(CALLS)


class Fleet(RuleBasedStateMachine):
    """The truth is kept here, by what the engine has answered; the engine must never contradict it."""

    opened: Opened

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.engine = self.do(self.stack.enter_async_context(self.opened()))
        self.claims = self.do(self.engine.connect())
        self.owner: dict[str, tuple[int, Process]] = {}  # epoch and process of the latest claim
        self.views: dict[tuple[str, Process], list[int]] = {}  # epoch and last seq, as each process believes
        self.nonces: dict[str, int] = dict.fromkeys(CALLS, 0)
        self.opened_with: dict[str, str] = {}  # the call of each redeemed token
        self.current: dict[str, str] = {}  # the token of each call's latest stream
        self.ended: set[str] = set()
        self.truth: dict[Process, int] = dict.fromkeys(MACHINES, 0)
        self.told: dict[Process, int] = dict.fromkeys(MACHINES, 0)
        self.words: dict[str, bytes] = {}
        self.live: dict[Process, set[str]] = {process: set() for process in MACHINES}
        self.late: list[Callable[[], Awaitable[Any]]] = []
        for process in MACHINES:
            self.do(self.claims.beat(process, Status(), lease_ms=LEASE_MS))

    def do(self, work: Any) -> Any:
        return self.runner.run(_awaited(work))

    def teardown(self) -> None:
        self.do(self.stack.aclose())
        self.runner.close()

    def view(self, call: str, process: Process, intent: str = "") -> Owned:
        known = self.views[call, process]
        known[1] += 1
        return Owned(
            call_sid=call,
            process=process,
            epoch=known[0],
            seq=known[1],
            intent=intent,
            noted=bool(intent),
        )

    @rule(call=calls, process=machines)
    def webhook(self, call: str, process: Process) -> None:
        found = self.do(self.claims.ring(call, process, f"{call}.{self.nonces[call]}"))
        if call in self.ended:
            assert found.answer is RingAnswer.ENDED
        elif call in self.owner:
            assert found.answer is RingAnswer.SPENT
        else:
            assert found.answer in (RingAnswer.FIRST, RingAnswer.MINE, RingAnswer.ELSEWHERE)
            assert found.nonce == f"{call}.{self.nonces[call]}"

    @rule(call=calls, process=machines, again=st.booleans(), answered=st.booleans())
    def stream_starts(self, call: str, process: Process, again: bool, answered: bool) -> None:
        """`again`: with a token that was used before. Not `answered`: done, and not heard of."""
        used = [nonce for nonce, owner in self.opened_with.items() if owner == call]
        nonce = used[0] if again and used else f"{call}.{self.nonces[call]}"
        wanted = ClaimRequest(call_sid=call, process=process, nonce=nonce, limits=(Limit("", MOST),))
        found = self.do(self.claims.claim(wanted))
        before = self.owner.get(call)
        if call in self.ended:
            assert found.answer is ClaimAnswer.OVER
        elif nonce in self.opened_with:
            mine = before is not None and before[1] == process and self.current[call] == nonce
            assert found.answer is (ClaimAnswer.MINE if mine else ClaimAnswer.USED)
            if found.answer is ClaimAnswer.MINE:
                assert found.epoch == before[0]  # type: ignore[index]
                self.views.setdefault((call, process), [found.epoch, 0])
        elif before is None and sum(map(len, self.live.values())) >= MOST:
            assert found.answer is ClaimAnswer.FULL
        else:
            took = before is not None and before[1] != process
            assert found.answer is (ClaimAnswer.TOOK if took else ClaimAnswer.OK)
            assert before is None or found.epoch > before[0]
            self.owner[call] = (found.epoch, process)
            self.opened_with[nonce] = call
            self.current[call] = nonce
            self.nonces[call] += 1
            for one in self.live.values():
                one.discard(call)
            self.live[process].add(call)
            if answered:
                self.views[call, process] = [found.epoch, 0]
            else:
                self.views.pop((call, process), None)

    @precondition(lambda self: self.views)
    @rule(data=st.data(), cost=st.integers(1, 500), how=st.sampled_from(["done", "late", "twice", "lost"]))
    def turn(self, data: st.DataObject, cost: int, how: str) -> None:
        call, process = data.draw(st.sampled_from(sorted(self.views, key=str)))
        self.truth[process] += cost
        view, spent = self.view(call, process), Spent("day", {"": self.truth[process]})
        words = f"{call} {view.epoch} {view.seq}".encode()

        async def write() -> None:
            found = await self.claims.turn(view, words, spent)
            self.was_written(view, found.fence)
            if found.fence is Fence.OK:
                self.words[call] = words
                self.told[process] = max(self.told[process], spent.micro_usd[""])

        if how == "late":
            self.late.append(write)
        elif how != "lost":
            for _ in range(2 if how == "twice" else 1):
                self.do(write())

    @precondition(lambda self: self.views)
    @rule(data=st.data(), end=st.booleans(), late=st.booleans())
    def stream_ends(self, data: st.DataObject, end: bool, late: bool) -> None:
        call, process = data.draw(st.sampled_from(sorted(self.views, key=str)))
        view = self.view(call, process, "ended" if end else "handover")

        async def write() -> None:
            found = await self.claims.end(view, None, Spent(), keep=not end)
            self.was_written(view, found.fence)
            if found.fence is Fence.OK:
                self.live[process].discard(call)
                (self.ended.add if end else self.ended.discard)(call)
                if end:
                    self.words.pop(call, None)

        if late:
            self.late.append(write)
        else:
            self.do(write())

    def was_written(self, view: Owned, fence: Fence) -> None:
        """An owner's write is let through, and nobody else's."""
        epoch, process = self.owner[view.call_sid]
        if (view.epoch, view.process) != (epoch, process):
            assert fence is Fence.GHOST
        else:
            assert fence in (Fence.OK, Fence.STALE)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def a_late_command_arrives(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.late) - 1))
        self.do(self.late.pop(place)())

    @rule(call=calls, process=machines, old=st.booleans())
    def what_comes_after(self, call: str, process: Process, old: bool) -> None:
        if call not in self.current:
            return
        used = [nonce for nonce, owner in self.opened_with.items() if owner == call]
        nonce = used[0] if old else self.current[call]
        asked = AfterRequest(call_sid=call, process=process, nonce=nonce, fresh=f"{call}.{self.nonces[call]}")
        found = self.do(self.claims.after(asked))
        if nonce != self.current[call]:
            assert found.answer is AfterAnswer.OLD
            assert found.nonce == ""
        elif call in self.ended:
            assert (found.intent, found.nonce) == ("ended", "")
        else:
            assert found.nonce == f"{call}.{self.nonces[call]}"
            assert (found.epoch, found.owner) == (self.owner[call][0], self.owner[call][1].machine)

    @rule(process=machines)
    def checks(self, process: Process) -> None:
        held = {call: known[0] for (call, who), known in self.views.items() if who == process}
        lost = {call for call, epoch in held.items() if self.owner[call] != (epoch, process)}
        assert self.do(self.claims.check(process, held)) == lost

    @rule(process=machines)
    def beats(self, process: Process) -> None:
        found = self.do(self.claims.beat(process, Status(), "day", lease_ms=LEASE_MS))
        assert found.lease is Lease.HELD
        assert found.own_calls == len(self.live[process])
        assert found.fleet_calls == sum(map(len, self.live.values()))
        assert found.day_micro_usd == sum(self.told.values())

    @invariant()
    def nothing_is_contradicted(self) -> None:
        for call, (epoch, process) in self.owner.items():
            known = self.do(self.claims.look(call))
            assert (known.epoch, known.owner) == (epoch, process.machine)
            assert known.conversation == self.words.get(call)
            assert (known.intent == "ended") is (call in self.ended)


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def play(opened: Opened, examples: int, steps: int) -> None:
    machine = type("Machine", (Fleet,), {"opened": staticmethod(opened)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_what_holds_in_memory() -> None:
    play(ENGINES["embedded"], 6, 20)


@pytest.mark.redis
def test_what_holds_in_memory_for_longer() -> None:
    play(ENGINES["embedded"], 150, 50)


@pytest.mark.redis
def test_what_holds_on_a_server(redis_url: str) -> None:
    play(on_redis(redis_url, socket_s=30), 40, 40)
