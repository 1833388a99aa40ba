"""Where user code runs: an event loop in a thread of its own, and a bounded pool for sync functions.

Nothing of a user's runs on the loop that carries the audio. A handler that blocks for a second then delays
the handlers of the calls that are on the same loop (`loops.py`), and no call's sound. The two sides share no
objects that either changes; they post messages.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import logging
import queue
import threading
import types
from collections.abc import Awaitable, Callable, Collection, Generator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bridge.agents.event_loop import UserEventLoop
from bridge.agents.user_code import CALL_SID, USER_CODE
from bridge.agents.watchdog import Watchdog, stack

logger = logging.getLogger("bridge.user")

THREADS: Final = 32
BLOCKED_MS: Final = 250
"""A user loop that has not answered for this long is blocked: a log line says where."""


class Late(Exception):
    """User code did not return within its deadline; `where` is the stack it stood at."""

    def __init__(self, deadline_ms: int, where: str) -> None:
        super().__init__(f"no result within {deadline_ms} ms")
        self.where: str = where


class Loop(Protocol):
    """What the programmer's side of a call needs of the place where user code runs."""

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Run this on the loop soon, in order. May be called from any thread; nothing happens when the loop
        is closed.
        """
        ...

    def in_thread(self, job: Callable[[], Any]) -> Job:
        """Begin a sync function where it may block."""
        ...


class OwnedLoop(Loop, Protocol):
    """A loop as its owner sees it. `is_blocked` may be read from any thread."""

    @property
    def is_blocked(self) -> bool: ...
    def start(self, waiting: Callable[[], Collection[str]] = ..., /) -> None: ...
    def stop(self) -> None: ...
    def close(self, timeout_s: float = ..., /) -> None: ...


# An event loop lets two of these through and would end, and everybody's user code with it; the third looks
# like a cancellation of the waiting task.
_NOT_ITS_OWN: Final = (SystemExit, KeyboardInterrupt, asyncio.CancelledError)


def _taken(error: BaseException) -> Exception:
    """What stands for an exception that is not user code's to raise."""
    taken = RuntimeError(f"it raised {type(error).__name__}, which is not its to raise")
    taken.__cause__ = error
    return taken


@dataclass(slots=True, eq=False)
class Job:
    """A sync function in the pool. `thread_id` is None until a thread has taken it."""

    function: Callable[[], Any]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    future: concurrent.futures.Future[Any] = field(default_factory=concurrent.futures.Future)
    thread_id: int | None = None

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        self.thread_id = threading.get_ident()
        try:
            with USER_CODE.runs(self.function, self.context.get(CALL_SID, "")):
                result = self.context.run(self.function)
        except Exception as error:  # noqa: BLE001  user code: its exception belongs to the waiting task
            self.future.set_exception(error)
        except _NOT_ITS_OWN as error:
            self.future.set_exception(_taken(error))
        else:
            self.future.set_result(result)


class Pool:
    """At most `threads` daemon threads, begun when needed. What finds none free waits for one.

    Not the standard library's executor: that one's threads are joined when the process exits, and a user's
    function that never returns would hold it.
    """

    def __init__(self, threads: int) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        self._most = threads
        self._begun = 0

    def submit(self, job: Job) -> Job:
        """Called from one thread only, the user loop's."""
        if not self._free.acquire(blocking=False) and self._begun < self._most:
            self._begun += 1
            threading.Thread(target=self._work, name=f"user {self._begun}", daemon=True).start()
        self._jobs.put(job)
        return job

    def close(self) -> None:
        """Threads that are free end; one that is stuck ends with the process."""
        for _ in range(self._begun):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job
            self._free.release()


class UserLoop:
    """An event loop of user code, in a daemon thread, with its pool of `threads` and its watchdog. `blocked`
    is told, in another thread, for how many seconds it stood when it goes on.
    """

    def __init__(
        self,
        *,
        name: str = "user loop",
        threads: int = THREADS,
        blocked_ms: int = BLOCKED_MS,
        blocked: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._loop = UserEventLoop()
        self._pool = Pool(threads)
        self._blocked_ms = blocked_ms
        self._blocked = blocked
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._watchdog: Watchdog | None = None
        self._stopping = False

    @property
    def is_blocked(self) -> bool:
        """Whether it has not answered for `blocked_ms`; known half a second later at most."""
        return self._watchdog is not None and self._watchdog.is_blocked

    def start(self, waiting: Callable[[], Collection[str]] = tuple) -> None:
        """Returns when the loop runs. Once in the life of a UserLoop. `waiting` gives the calls that it has,
        for the log, and is called in another thread.
        """
        self._thread.start()
        running = threading.Event()
        self._loop.call_soon_threadsafe(running.set)
        running.wait()
        ident = self._thread.ident
        if ident is not None:
            self._watchdog = Watchdog(
                self._loop,
                ident,
                logger,
                limit_ms=self._blocked_ms,
                name=f"the {self._thread.name}",
                waiting=waiting,
                blocked=self._blocked,
            )
            self._watchdog.start()

    def stop(self) -> None:
        """Begin to end it: cancels what still runs. Idempotent."""
        if self._watchdog is not None:
            self._watchdog.close()
        if not self._stopping:
            self._stopping = True
            self.post(self._loop.stop)

    def close(self, timeout_s: float = 1.0) -> None:
        """Stops it and waits for the thread; a blocked one is left to end with the process."""
        self.stop()
        if self._thread.ident is None:
            self._loop.close()  # it was never started
        elif self._thread.is_alive():
            self._thread.join(timeout_s)
        self._pool.close()

    def post(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.post(function, *args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def in_thread(self, job: Callable[[], Any]) -> Job:
        return self._pool.submit(Job(job))

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


class SameLoop:
    """User code on the loop that is already running, sync functions called in place: for tests in virtual
    time, where nothing may depend on threads.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    is_blocked = False

    def start(self, _waiting: Callable[[], Collection[str]] = tuple) -> None: ...

    def stop(self) -> None: ...

    def close(self, _timeout_s: float = 1.0) -> None: ...

    def post(self, function: Callable[..., object], *args: Any) -> None:
        self._loop.call_soon(function, *args)

    def in_thread(self, job: Callable[[], Any]) -> Job:
        done = Job(job)
        done.run()
        return done


async def run(loop: Loop, function: Callable[[], Any], deadline_ms: int | None = None) -> Any:
    """Run a user's function, async in a task on this loop, sync in the pool; returns what it returns.

    Raises what it raises, and `Late` past the deadline: then an async function is cancelled, and a sync one,
    which cannot be stopped, goes on unheard. Waiting for a free thread counts. Must run on the user loop.
    """
    deadline_s = None if deadline_ms is None else deadline_ms / 1000
    if is_async(function):
        return await _in_time(function(), deadline_s, function)
    job = loop.in_thread(function)
    future = asyncio.wrap_future(job.future)
    try:
        done, _ = await asyncio.wait({future}, timeout=deadline_s)
    finally:
        job.future.cancel()  # it has no effect on one that runs or is done
    if not done:
        where = "(it waited for a free thread)" if job.thread_id is None else stack(job.thread_id)
        raise Late(deadline_ms or 0, where)
    result = future.result()
    return await _in_time(result, deadline_s, function) if inspect.isawaitable(result) else result


async def _in_time(answer: Awaitable[Any], deadline_s: float | None, function: Callable[[], Any]) -> Any:
    task = asyncio.ensure_future(_guarded(_noted(answer, function)))
    try:
        done, _ = await asyncio.wait({task}, timeout=deadline_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.cancelled():
        raise RuntimeError("it cancelled itself")
    if done:
        return task.result()
    where = where_is(answer)
    task.cancel()
    # It may take its time, or refuse: its outcome does not matter any more.
    task.add_done_callback(lambda late: late.cancelled() or late.exception())
    raise Late(int((deadline_s or 0) * 1000), where)


@types.coroutine
def _noted(answer: Awaitable[Any], function: Callable[[], Any]) -> Generator[Any, None, Any]:
    """The same, each of its steps noted as a run of that function."""
    steps, call_sid = answer.__await__(), CALL_SID.get()
    step: Callable[[], Any] = functools.partial(next, steps)
    while True:
        try:
            with USER_CODE.runs(function, call_sid):
                waits_for = step()
        except StopIteration as over:
            return over.value
        try:
            yield waits_for
            step = functools.partial(next, steps)
        except GeneratorExit:  # its loop is gone, and perhaps the answer before it
            if (close := getattr(steps, "close", None)) is not None:
                close()
            raise
        except BaseException as error:
            throw = getattr(steps, "throw", None)
            if throw is None:
                raise
            step = functools.partial(throw, error)


async def _guarded(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (SystemExit, KeyboardInterrupt) as error:
        raise _taken(error) from error


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine: an async function, or an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  not whether it can be called, but how
    )


def where_is(answer: object) -> str:
    """The line at which each coroutine of a chain of awaits stands, innermost last."""
    lines = []
    while (frame := getattr(answer, "cr_frame", None)) is not None:
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}')
        answer = getattr(answer, "cr_await", None)
    return "\n".join(lines) or "(no stack)"
