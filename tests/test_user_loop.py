"""User code runs on a loop and in threads of its own: what it does there, the audio never feels."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import math
import pickle
import re
import sys
import threading
import time
import timeit
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.agents.loop import CALL_SID, Late, SameLoop, UserLoop, _noted, run  # type: ignore[attr-defined]
from bridge.agents.user_code import USER_CODE, UserCode
from bridge.agents.watchdog import Watchdog
from tests.long_form import some_of


@pytest.fixture
def user_loop() -> Iterator[UserLoop]:
    loop = UserLoop(threads=2, blocked_ms=20)
    loop.start()
    yield loop
    loop.close()


def outcome(loop: UserLoop, function: Any, deadline_ms: int | None = None, call_sid: str = "") -> Any:
    """What the function returned or raised, run on the user loop from this thread."""
    done = threading.Event()
    result: list[Any] = []

    async def running() -> None:
        CALL_SID.set(call_sid)
        try:
            result.append(await run(loop, function, deadline_ms))
        except Exception as error:  # noqa: BLE001  that is what is looked at
            result.append(error)
        done.set()

    tasks: list[asyncio.Task[None]] = []
    loop.post(lambda: tasks.append(asyncio.get_running_loop().create_task(running())))
    assert done.wait(10)
    return result[0]


def test_async_functions_run_on_the_loop_and_sync_ones_in_threads(user_loop: UserLoop) -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert outcome(user_loop, where) == "user loop"
    assert outcome(user_loop, lambda: threading.current_thread().name).startswith("user ")
    assert outcome(user_loop, lambda: threading.current_thread().name) != "user loop"


def test_a_function_that_returns_an_awaitable_is_awaited(user_loop: UserLoop) -> None:
    async def answer(number: int) -> int:
        return number

    assert outcome(user_loop, functools.partial(answer, 42)) == 42
    assert outcome(user_loop, lambda: answer(43)) == 43


def test_a_handler_that_blocks_for_a_second_delays_nobody_on_the_audio_loop() -> None:
    """While it blocks, the other loop goes round hundreds of times: the two share no thread."""

    async def audio_side() -> tuple[int, bool]:
        user = UserLoop(blocked_ms=10_000)
        user.start()
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        rounds = 0

        async def handler() -> None:
            time.sleep(1)  # noqa: ASYNC251
            loop.call_soon_threadsafe(over.set)

        tasks: list[Any] = []
        user.post(lambda: tasks.append(asyncio.get_running_loop().create_task(handler())))
        while not over.is_set():
            await asyncio.sleep(0.001)
            rounds += 1
        await loop.run_in_executor(None, user.close)
        return rounds, over.is_set()

    rounds, over = asyncio.run(audio_side())
    assert over
    assert rounds > 100  # one at most, if the handler ran on this loop


def test_whoever_blocks_the_user_loop_is_named_with_the_stack(
    user_loop: UserLoop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "bridge.user"):
        outcome(user_loop, lambda: None)
        assert caplog.records == []

        async def culprit() -> None:
            time.sleep(0.2)  # noqa: ASYNC251

        outcome(user_loop, culprit)
        outcome(user_loop, lambda: time.sleep(0.05))  # the watchdog's second line
    blocked, again = caplog.records
    assert "blocked for over 20 ms" in blocked.getMessage()
    assert "in culprit" in blocked.getMessage()
    assert "time.sleep(0.2)" in blocked.getMessage()
    assert "was blocked for" in again.getMessage()


def backtracks(seconds: float) -> None:
    """One regular expression that takes about so long, and holds the interpreter's lock."""
    # The quickest of five: one that lost the core meanwhile would seem slow, and the long one be over early.
    once_s = min(timeit.repeat(lambda: re.match("(a|a)*$", "a" * 14 + "b"), number=1, repeat=5))
    doubles = math.ceil(math.log2(seconds / once_s))
    re.match("(a|a)*$", "a" * (14 + doubles) + "b")


async def waits_and_backtracks(seconds: float) -> None:
    await asyncio.sleep(0)
    backtracks(seconds)


@pytest.mark.parametrize("function", some_of([waits_and_backtracks, backtracks], every=2))
def test_whoever_stops_the_whole_interpreter_is_named_with_its_call_afterwards(
    user_loop: UserLoop, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can look while it runs, the watchdog as little as anybody."""
    logger = logging.getLogger("bridge.tested")

    async def audio() -> None:
        watchdog = Watchdog(
            asyncio.get_running_loop(), threading.get_ident(), logger, limit_ms=50, whole=True
        )
        watchdog.start()
        await asyncio.to_thread(outcome, user_loop, functools.partial(function, 0.5), call_sid="CA7")
        await asyncio.sleep(0.1)
        watchdog.close()

    with caplog.at_level(logging.ERROR, logger.name):
        asyncio.run(audio())
    [record] = [record for record in caplog.records if record.name == logger.name]
    said = record.getMessage()
    assert said.startswith("no thread of this process ran for ")
    assert f"user code at work: {function.__name__} ({__file__}:" in said
    assert "for call CA7" in said


class Blocking:
    """What a user may write: each way to run something that the bridge has not begun itself."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    def works(self, *_: object) -> None:
        time.sleep(0.05)
        self.over.set()

    async def steps(self) -> None:
        await asyncio.sleep(0)
        time.sleep(0.05)  # noqa: ASYNC251
        self.over.set()

    async def generates(self) -> Any:
        await self.steps()
        yield 1

    async def a_task(self) -> None:
        await asyncio.create_task(self.steps())

    async def a_task_that_waits_for_it(self) -> None:
        await asyncio.create_task(asyncio.wait_for(self.steps(), 5))

    async def gather(self) -> None:
        await asyncio.gather(asyncio.sleep(0), self.steps())

    async def a_group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.steps())

    async def a_generator(self) -> None:
        async for _ in self.generates():
            pass

    async def a_callback(self) -> None:
        asyncio.get_running_loop().call_soon(self.works)
        await self.over.wait()

    async def a_timer(self) -> None:
        asyncio.get_running_loop().call_later(0.01, functools.partial(self.works, 1))
        await self.over.wait()

    async def when_done(self) -> None:
        asyncio.ensure_future(asyncio.sleep(0)).add_done_callback(self.works)
        await self.over.wait()

    async def a_thread(self) -> None:
        await asyncio.to_thread(time.sleep, 0)
        await asyncio.to_thread(self.works)

    async def an_executor(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.works)


WAYS = {
    "a_task": "steps", "a_task_that_waits_for_it": "steps|wait_for", "gather": "steps", "a_group": "steps",
    "a_generator": "a_generator", "a_callback": "works", "a_timer": "works", "when_done": "works",
    "a_thread": "works", "an_executor": "works",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_what_user_code_begins_itself_is_known_with_its_call(user_loop: UserLoop, way: str) -> None:
    began_s = time.monotonic()
    outcome(user_loop, getattr(Blocking(), way), call_sid="CA8")
    time.sleep(0.01)
    found = [run for run in USER_CODE._ended.copy() if run.began_s >= began_s]
    assert found
    assert all(run.ended_s - run.began_s >= 0.02 for run in found)
    [*_, text] = [run.text for run in found if "for call CA8" in run.text]
    assert re.match(rf"(Blocking\.)?({WAYS[way]}) \(.*\) for call CA8, for 0\.\d s", text)


def test_who_stopped_everybody_is_not_guessed(caplog: pytest.LogCaptureFixture) -> None:
    """A thread of the user's own is nothing that the bridge can know of."""
    logger = logging.getLogger("bridge.tested")

    async def audio() -> None:
        loop = asyncio.get_running_loop()
        watchdog = Watchdog(loop, threading.get_ident(), logger, limit_ms=50, whole=True)
        watchdog.start()
        thread = threading.Thread(target=backtracks, args=(0.7,))
        thread.start()
        await asyncio.to_thread(thread.join)
        await asyncio.sleep(0.1)
        watchdog.close()

    with caplog.at_level(logging.WARNING, logger.name):
        asyncio.run(audio())
    said = [record.getMessage() for record in caplog.records if record.name == logger.name]
    assert any("which code was at work is not known" in line for line in said)
    assert not any("no user code" in line for line in said)


def test_user_code_that_waits_has_stopped_nobody() -> None:
    code, now_s = UserCode(), time.monotonic()
    with code.runs(backtracks, "CA1"):
        pass
    assert code.during(now_s - 1.0, time.monotonic()) == []
    with code.runs(functools.partial(backtracks, 1), "CA1"), code.runs(waits_and_backtracks, ""):
        [inner] = code.during(time.monotonic(), time.monotonic() + 1.0)
        assert inner.startswith("waits_and_backtracks (")


def test_what_user_code_raises_comes_back_as_it_is(user_loop: UserLoop) -> None:
    async def coroutine() -> None:
        raise LookupError("async")

    def function() -> None:
        raise LookupError("sync")

    assert repr(outcome(user_loop, coroutine)) == "LookupError('async')"
    assert repr(outcome(user_loop, function)) == "LookupError('sync')"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_user_code_cannot_end_the_loop_of_everybody_else(
    user_loop: UserLoop, kind: type[BaseException]
) -> None:
    async def coroutine() -> None:
        raise kind

    def function() -> None:
        raise kind

    assert isinstance(outcome(user_loop, coroutine), RuntimeError)
    assert isinstance(outcome(user_loop, function), RuntimeError)
    assert outcome(user_loop, lambda: "alive") == "alive"


def test_an_async_function_past_its_deadline_is_cancelled_and_its_stack_told(user_loop: UserLoop) -> None:
    cancelled = threading.Event()

    async def deep_inside() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def slow() -> None:
        await deep_inside()

    late = outcome(user_loop, slow, deadline_ms=20)
    assert isinstance(late, Late)
    assert str(late) == "no result within 20 ms"
    assert "in slow" in late.where
    assert "in deep_inside" in late.where
    assert cancelled.wait(5)


def test_an_async_function_that_refuses_to_be_cancelled_keeps_nobody_waiting(user_loop: UserLoop) -> None:
    stop = asyncio.Event()

    async def stubborn() -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    assert isinstance(outcome(user_loop, stubborn, deadline_ms=20), Late)
    user_loop.post(stop.set)


def test_a_sync_function_past_its_deadline_goes_on_unheard_and_its_stack_is_told(
    user_loop: UserLoop,
) -> None:
    release = threading.Event()

    def stuck() -> None:
        release.wait(10)

    late = outcome(user_loop, stuck, deadline_ms=20)
    assert isinstance(late, Late)
    assert "in stuck" in late.where
    release.set()


def test_with_all_threads_stuck_the_next_waits_until_its_deadline_and_is_never_run(
    user_loop: UserLoop,
) -> None:
    release = threading.Event()
    ran: list[str] = []
    for _ in range(2):
        assert isinstance(outcome(user_loop, lambda: release.wait(10), deadline_ms=10), Late)
    late = outcome(user_loop, lambda: ran.append("late"), deadline_ms=10)
    assert isinstance(late, Late)
    assert late.where == "(it waited for a free thread)"
    release.set()
    assert outcome(user_loop, lambda: ran.append("next")) is None
    assert ran == ["next"]


def test_the_pool_is_bounded_and_its_threads_are_used_again(user_loop: UserLoop) -> None:
    names = {outcome(user_loop, lambda: threading.current_thread().name) for _ in range(10)}
    assert len(names) <= 2


def test_the_call_is_known_in_threads_of_the_pool_too(user_loop: UserLoop) -> None:
    async def in_a_call() -> str:
        CALL_SID.set("CA1")
        return str(await run(user_loop, CALL_SID.get))

    assert outcome(user_loop, in_a_call) == "CA1"
    assert outcome(user_loop, CALL_SID.get) == ""


def test_posting_to_a_closed_loop_does_nothing(user_loop: UserLoop) -> None:
    user_loop.close()
    user_loop.post(lambda: pytest.fail("the loop is closed"))


def test_closing_cancels_what_runs_and_ends_the_thread() -> None:
    loop = UserLoop(blocked_ms=10_000)
    loop.start()
    ended: list[str] = []
    begun = threading.Event()

    async def waiting() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            ended.append("ended")

    tasks: list[Any] = []
    loop.post(lambda: tasks.append(asyncio.get_running_loop().create_task(waiting())))
    assert begun.wait(5)
    loop.close()
    assert ended == ["ended"]
    assert "user loop" not in {thread.name for thread in threading.enumerate()}


def test_a_stuck_thread_does_not_hold_the_process() -> None:
    import subprocess

    program = (
        "import asyncio, time\n"
        "from bridge.agents.loop import UserLoop\n"
        "loop = UserLoop(); loop.start()\n"
        "loop.post(lambda: loop.in_thread(lambda: time.sleep(60)))\n"
        "time.sleep(0.1); loop.close(); print('out')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert ran.stdout == "out\n"


def test_on_one_loop_for_virtual_time_nothing_needs_a_thread() -> None:
    async def everything() -> list[Any]:
        loop = SameLoop()
        loop.start()
        order: list[Any] = []
        loop.post(order.append, "posted")
        order.append(await run(loop, lambda: threading.current_thread() is threading.main_thread()))

        async def coroutine() -> str:
            return "awaited"

        order.append(await run(loop, coroutine, 1_000))
        loop.close()
        return order

    assert asyncio.run(everything()) == ["posted", True, "awaited"]


def test_an_answer_whose_loop_is_gone_ends_quietly_whichever_goes_first() -> None:
    async def answer() -> None:
        await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    for first in (0, 1):
        waiting = answer()
        noted = _noted(waiting, answer)
        both: list[Any] = [waiting, noted]
        loop.call_soon(noted.send, None)
        loop.call_soon(loop.stop)
        loop.run_forever()
        both[first].close()
        both[1 - first].close()
    loop.close()


def called_for() -> str:
    return CALL_SID.get()


class Elsewhere(concurrent.futures.Executor):
    """One whose jobs leave this process, as they would: by their name."""

    def submit(self, fn: Any, /, *args: Any, **_: Any) -> concurrent.futures.Future[Any]:
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        done.set_result((pickle.loads(pickle.dumps(fn)), *args))
        return done


def test_what_user_code_sends_to_a_pool_of_threads_knows_its_call(user_loop: UserLoop) -> None:
    async def in_threads() -> list[str]:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return [
                await loop.run_in_executor(None, called_for),
                await loop.run_in_executor(pool, called_for),
                await loop.run_in_executor(None, functools.partial(called_for)),
            ]

    assert outcome(user_loop, in_threads, call_sid="CA1") == ["CA1"] * 3


def test_what_user_code_sends_to_another_process_goes_as_it_is(user_loop: UserLoop) -> None:
    async def elsewhere() -> Any:
        return await asyncio.get_running_loop().run_in_executor(Elsewhere(), called_for)

    assert outcome(user_loop, elsewhere, call_sid="CA1") == (called_for,)
