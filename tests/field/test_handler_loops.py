"""User code of a process runs on several event loops, and each call stays on one: a handler that blocks its
loop delays the calls that are on it, and no other. Seen elsewhere as one handler that stopped all calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.foreign_loops import CURE, is_of_another_loop
from bridge.agents.loop import UserLoop
from bridge.agents.session import Session
from bridge.agents.tools import tool
from bridge.core import messages as m
from bridge.ops.metrics import Metrics
from tests.long_form import some_of

AT_ONCE_S = 0.2
"""What another call's handler may be late by, and what the tests take for an answer."""


class Calls:
    """Calls of one agent on real user loops, without a phone and a model."""

    def __init__(self, agent: Agent, count: int, blocked_ms: int = 60_000, **how: Any) -> None:
        self.user_loops = [
            UserLoop(name=f"user loop {n + 1}", blocked_ms=blocked_ms, **how) for n in range(count)
        ]
        self.side = UserSide(agent, AgentConfigs(m.CallConfig()), upstream="embedded", loops=self.user_loops)
        self.wishes: list[m.Message] = []
        self.tap: Callable[[m.CallerAudio], None] | None = None
        self.detours = False

    def keep_keys(self, _detour_id: str, _keys: str) -> None:
        raise AssertionError("no keys here")

    def feed(self, event: m.Event) -> None:
        assert isinstance(event, m.SessionCommand)
        self.wishes.append(event)

    async def comes(self, call_sid: str, fields: Mapping[str, str] | None = None) -> None:
        await self.side.prepare(call_sid, fields or {})
        self.side.attach(call_sid, self, fields or {})
        self.tell(call_sid, m.CallBegan())

    def tell(self, call_sid: str, event: m.SessionEvent) -> None:
        self.side.call_did(call_sid, event, 0)

    def loop_of(self, call_sid: str) -> int:
        at = self.side._attached[call_sid].loop.at
        return [id(loop) for loop in self.user_loops].index(id(at)) + 1


@contextlib.asynccontextmanager
async def calls(agent: Agent, count: int = 4, **how: Any) -> AsyncIterator[Calls]:
    made = Calls(agent, count, **how)
    made.side.start()
    try:
        yield made
    finally:
        await asyncio.to_thread(made.side.close)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> float:
    """How long it took."""
    began_s = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  another thread makes it true
            await asyncio.sleep(0.002)
    return time.monotonic() - began_s


class Blocker:
    """An agent whose handler notes where it runs, and blocks its loop where the call is one of `blocks`."""

    def __init__(self, *blocks: str) -> None:
        self.release = threading.Event()
        self.threads: dict[str, str] = {}
        self.blocks = blocks

    async def __call__(self, session: Session) -> None:
        self.threads[session.call_sid] = threading.current_thread().name
        if session.call_sid in self.blocks:
            self.release.wait(10)
        await asyncio.sleep(30)


def test_calls_are_spread_over_the_loops_and_a_loop_that_has_room_again_gets_the_next() -> None:
    handler = Blocker()

    async def run() -> tuple[list[int], int]:
        async with calls(Agent(handler=handler), 4) as made:
            for number in range(8):
                await made.comes(f"CA{number}")
            await until(lambda: len(handler.threads) == 8)
            spread = [made.loop_of(f"CA{number}") for number in range(8)]
            gone = made.loop_of("CA2")
            for one in ("CA2", "CA6"):
                made.side.call_ended(one, m.Ended(m.Reason.CALLER_HUNG_UP), None)  # type: ignore[arg-type]
            await asyncio.sleep(0)
            await made.comes("CA9")
            await until(lambda: "CA9" in handler.threads)
            assert made.loop_of("CA9") == gone
            return spread, gone

    spread, gone = asyncio.run(run())
    assert sorted(spread) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert handler.threads["CA9"] == f"user loop {gone}"


def test_calls_that_come_at_once_are_spread_too() -> None:
    handler = Blocker()

    async def run() -> list[int]:
        async with calls(Agent(handler=handler, resolver=lambda _fields: None), 4) as made:
            await asyncio.gather(*(made.comes(f"CA{number}") for number in range(8)))
            await until(lambda: len(handler.threads) == 8)
            return sorted(made.loop_of(f"CA{number}") for number in range(8))

    assert asyncio.run(run()) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_resolver_handler_and_async_tools_of_a_call_are_on_one_loop() -> None:
    seen: dict[str, set[str]] = {}

    def note(call_sid: str) -> None:
        seen.setdefault(call_sid, set()).add(threading.current_thread().name)

    @tool
    async def where(session: Session) -> str:
        """Where am I?"""
        note(session.call_sid)
        return "here"

    async def handler(session: Session) -> None:
        note(session.call_sid)
        await asyncio.create_task(asyncio.sleep(0))
        await session.call("where")
        note(session.call_sid)
        await asyncio.sleep(30)

    async def resolver(fields: Mapping[str, str]) -> None:
        note(fields["CallSid"])

    async def run() -> None:
        async with calls(Agent(handler=handler, resolver=resolver, tools=[where]), 3) as made:
            for number in range(9):
                await made.comes(f"CA{number}", {"CallSid": f"CA{number}"})
            for number in range(9):
                made.tell(f"CA{number}", m.ToolWanted("call_1", "where", "{}"))
            await until(lambda: len([one for one in made.wishes if isinstance(one, m.ToolFinished)]) == 9)

    asyncio.run(run())
    assert [len(threads) for threads in seen.values()] == [1] * 9
    assert len(set.union(*seen.values())) == 3


@pytest.mark.parametrize("stuck", [1, 3])
def test_a_handler_that_blocks_delays_no_call_of_another_loop_and_new_calls_avoid_it(stuck: int) -> None:
    """Also before anything has noticed that its loop is blocked."""
    handler = Blocker(*(f"CA{number}" for number in range(stuck)))

    async def run() -> tuple[float, list[float]]:
        async with calls(Agent(handler=handler), 4) as made:
            for number in range(stuck + 1):
                await made.comes(f"CA{number}")
            await until(lambda: len(handler.threads) == stuck + 1)
            began_s, answered = time.monotonic(), threading.Event()
            made.side._attached[f"CA{stuck}"].loop.post(answered.set)
            await until(answered.is_set)
            beside_s, new_s = time.monotonic() - began_s, []
            for number in range(4):
                await made.comes(f"new {number}")
                new_s.append(await until(lambda number=number: f"new {number}" in handler.threads))  # type: ignore[misc]
            handler.release.set()
            return beside_s, new_s

    beside_s, new_s = asyncio.run(run())
    assert beside_s < AT_ONCE_S
    # Nothing has noticed yet, so each stuck loop is asked first, for a twentieth of a second.
    assert max(new_s) < AT_ONCE_S
    blocked = {handler.threads[f"CA{number}"] for number in range(stuck)}
    assert blocked.isdisjoint(handler.threads[f"new {number}"] for number in range(4))


def test_a_loop_that_is_known_to_be_blocked_is_asked_last() -> None:
    handler = Blocker("CA0", "CA1", "CA2")

    async def run() -> list[float]:
        async with calls(Agent(handler=handler), 4, blocked_ms=20) as made:
            for number in range(3):
                await made.comes(f"CA{number}")
            await until(lambda: made.side.loops.blocked == 3)
            new_s = []
            for number in range(8):
                await made.comes(f"new {number}")
                new_s.append(await until(lambda number=number: f"new {number}" in handler.threads))  # type: ignore[misc]
            handler.release.set()
            return new_s

    assert max(asyncio.run(run())) < 0.1  # at once: no other was asked before


@pytest.mark.hostile  # a quarter of a second
def test_where_all_are_blocked_the_first_that_answers_has_the_call_with_all_that_was_said() -> None:
    handler = Blocker("CA0", "CA1")
    posted: list[int] = []

    async def run() -> str:
        async with calls(Agent(handler=handler), 2) as made:
            await made.comes("CA0")
            await made.comes("CA1")
            await until(lambda: len(handler.threads) == 2)
            await made.comes("CA2")
            for number in range(50):
                made.side._attached["CA2"].loop.post(posted.append, number)
            await asyncio.sleep(0.25)
            assert posted == []
            handler.release.set()
            await until(lambda: len(posted) == 50 and "CA2" in handler.threads)
            made.side._attached["CA2"].loop.post(posted.append, 50)
            await until(lambda: len(posted) == 51)
            return handler.threads["CA2"]

    assert asyncio.run(run()) in ("user loop 1", "user loop 2")
    assert posted == list(range(51))


@pytest.mark.hostile  # a quarter of a second
def test_with_one_loop_every_call_waits_for_every_other() -> None:
    handler = Blocker("CA0")

    async def run() -> bool:
        async with calls(Agent(handler=handler), 1) as made:
            await made.comes("CA0")
            await made.comes("CA1")
            await asyncio.sleep(0.15)
            waits = "CA1" not in handler.threads
            handler.release.set()
            await until(lambda: "CA1" in handler.threads)
            return waits

    assert asyncio.run(run())


def test_the_calls_that_wait_are_named_with_the_one_that_they_wait_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler, metrics = Blocker("CA0"), Metrics()

    def scraped(name: str) -> float:
        value = metrics.registry.get_sample_value(f"phonebridge_{name}")
        assert value is not None
        return value

    async def run() -> tuple[float, float]:
        how = {"blocked_ms": 20, "blocked": metrics.handler_loop_blocked}
        async with calls(Agent(handler=handler), 2, **how) as made:
            metrics.watch_handler_loops(lambda: made.side.loops.blocked, lambda: made.side.loops.waiting)
            handler.blocks = ()
            for number in range(1, 6):
                await made.comes(f"CA{number}")
            await until(lambda: len(handler.threads) == 5)
            handler.blocks = ("CA0",)
            await made.comes("CA0")  # 3 + 2: it goes to the second
            await until(lambda: "calls wait" in caplog.text)
            during = scraped("handler_loops_stuck"), scraped("calls_waiting")
            handler.release.set()
            await until(lambda: "was blocked for" in caplog.text)
            return during

    with caplog.at_level(logging.WARNING, "bridge.user"):
        assert asyncio.run(run()) == (1, 3)
    said = caplog.records[0].getMessage()
    assert said.startswith("the user loop 2 has been blocked for over 20 ms by Blocker (")
    assert "for call CA0 while 2 other calls wait (CA2, CA4), here:\n" in said
    assert "self.release.wait(10)" in said
    assert vars(caplog.records[0])["call_sid"] == "CA0"
    assert (scraped("handler_loops_stuck"), scraped("calls_waiting")) == (0, 0)
    assert scraped("handler_loop_blocked_seconds_count") == 1


@pytest.mark.hostile  # a quarter of a second
def test_a_resolver_that_blocks_its_loop_costs_its_call_the_resolver_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler, release = Blocker(), threading.Event()

    async def resolver(fields: Mapping[str, str]) -> None:
        if "blocks" in fields:
            release.wait(10)

    async def run() -> float:
        async with calls(Agent(handler=handler, resolver=resolver, resolver_ms=20), 2) as made:
            await asyncio.gather(made.comes("CA0", {"blocks": "1"}), made.comes("CA1"))
            late_s = await until(lambda: len(handler.threads) == 2)
            release.set()
            return late_s

    assert asyncio.run(run()) < AT_ONCE_S
    assert "no word of the resolver" in caplog.text


@pytest.mark.hostile  # a quarter of a second
def test_ending_loops_that_are_all_stuck_takes_no_longer_than_ending_one() -> None:
    handler = Blocker("CA0", "CA1", "CA2")

    async def run() -> float:
        async with calls(Agent(handler=handler), 3) as made:
            for number in range(3):
                await made.comes(f"CA{number}")
            await until(lambda: len(handler.threads) == 3)
            began_s = time.monotonic()
            await asyncio.to_thread(made.side.loops.close, 0.2)
            took_s = time.monotonic() - began_s
            handler.release.set()
            return took_s

    assert 0.19 < asyncio.run(run()) < 0.4


# --- what was made on another loop --------------------------------------------------------------------------


async def _in_two_loops(use: Callable[[Any], Any], make: Callable[[], Any]) -> BaseException:
    """What is raised where a thing that was made and used on this loop is used on another."""
    thing = make()
    here = asyncio.ensure_future(use(thing))
    await asyncio.sleep(0)

    async def wait(used: Any) -> None:
        await asyncio.wait_for(used, 1)

    def elsewhere() -> BaseException:
        try:
            asyncio.run(wait(use(thing)))
        except Exception as error:  # noqa: BLE001  that is what is looked at
            return error
        raise AssertionError("it worked")

    raised = await asyncio.to_thread(elsewhere)
    here.cancel()
    return raised


async def _use_held_lock(lock: asyncio.Lock) -> None:
    """Locks find out where they belong when there is something to wait for."""
    if not lock.locked():
        await lock.acquire()
    async with lock:
        pass


async def _await(future: asyncio.Future[None]) -> None:
    await future


@pytest.mark.parametrize(
    ("use", "make"),
    [
        (_use_held_lock, asyncio.Lock),
        (lambda queue: queue.get(), asyncio.Queue),
        (lambda event: event.wait(), asyncio.Event),
        (_await, lambda: asyncio.get_running_loop().create_future()),
        (asyncio.gather, lambda: asyncio.get_running_loop().create_future()),
    ],
    ids=["lock", "queue", "event", "future", "gather"],
)
def test_what_asyncio_says_of_a_thing_of_another_loop_is_known(use: Any, make: Any) -> None:
    error = asyncio.run(_in_two_loops(use, make))
    assert is_of_another_loop(error), repr(error)
    wrapped = ValueError("the request failed")
    wrapped.__cause__ = error
    assert is_of_another_loop(wrapped)
    assert is_of_another_loop(ExceptionGroup("several", [LookupError(), wrapped]))


def test_a_loop_that_was_closed_is_one_and_other_errors_are_not() -> None:
    async def nothing() -> None: ...

    loop = asyncio.new_event_loop()
    loop.close()
    work = nothing()
    with pytest.raises(RuntimeError) as closed:
        loop.run_until_complete(work)
    work.close()
    assert is_of_another_loop(closed.value)
    assert is_of_another_loop(RuntimeError("Timeout context manager should be used inside a task"))
    for error in (RuntimeError("no running event loop"), TimeoutError(), KeyError("loop")):
        assert not is_of_another_loop(error)


@pytest.mark.parametrize("where", some_of(["the handler", "tool ask", "a task"], every=3))
def test_a_client_that_two_loops_share_is_an_error_with_its_cure(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first call makes it, the second one is on another loop."""
    shared: list[asyncio.Event] = []

    async def ask_shared() -> str:
        if not shared:
            shared.append(asyncio.Event())
        await shared[0].wait()
        return "asked"

    ask = tool(name="ask", description="Ask.")(ask_shared)

    async def handler(_session: Session) -> None:
        if where == "the handler":
            await ask_shared()
        elif where == "a task":
            waiting = asyncio.create_task(ask_shared())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del waiting
        await asyncio.sleep(30)

    async def run() -> None:
        async with calls(Agent(handler=handler, tools=[ask]), 2) as made:
            for number in range(2):
                await made.comes(f"CA{number}")
                made.tell(f"CA{number}", m.ToolWanted("call_1", "ask", "{}")) if where == "tool ask" else None
                await asyncio.sleep(0.03)
            gc.collect()  # a task that nothing waits for tells its error when it is gone
            await until(lambda: CURE in caplog.text)

    asyncio.run(run())
    assert f"{where} raised RuntimeError: {CURE}" in caplog.text
