"""Work that can be stopped: side by side on a loop, or spread over processes."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Generic, NoReturn, TypeVar

from bridge.agents.loop import Job

LOOK_S: Final = 0.1
"""How often it is asked whether to stop."""
_ENDED: Final = b"phonebridge: code of the agent or the scenario has ended this process (os._exit)\n"
Item = TypeVar("Item")
Result = TypeVar("Result")


def never() -> bool:
    """Nothing is stopped."""
    return False


async def side_by_side(works: Iterable[Coroutine[Any, Any, None]], stopped: Callable[[], bool]) -> None:
    """All of these on this loop, to their end; or until `stopped`, which cancels them. Raises what the first
    of them raises, and cancels the others.
    """
    tasks = left = {asyncio.ensure_future(work) for work in works}
    try:
        while left and not stopped():
            done, left = await asyncio.wait(left, timeout=LOOK_S, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def in_daemon_thread(function: Callable[..., Result], *args: Any) -> Result:
    """What it returns. A thread that never comes back holds no process, as that of `to_thread` would."""
    job = Job(partial(function, *args))
    threading.Thread(target=job.run, daemon=True).start()
    found: Result = await asyncio.wrap_future(job.future)
    return found


class Died(Exception):
    """The process that had this item ended over it."""


@dataclass(slots=True)
class _Part(Generic[Item]):
    """What one process has still to do, in order."""

    process: BaseProcess
    left: list[Item]


@contextlib.contextmanager
def red_exit() -> Iterator[None]:
    """Code of the user's that ends this process with `os._exit(0)` in the block ends it with 3. No result is
    told then, and 0 would mean that all is well.
    """
    ends, here = os._exit, os.getpid()

    def end(status: int) -> NoReturn:
        if status or os.getpid() != here:  # a second Ctrl-C, or a process that was forked
            ends(status)
        os.write(2, _ENDED)
        ends(3)

    os._exit = end
    try:
        yield
    finally:
        os._exit = ends


def spread(
    work: Callable[[Item], Result],
    parts: Sequence[Sequence[Item]],
    stopped: Callable[[], bool] = never,
) -> Iterator[tuple[Item, Result | Died]]:
    """Each item with what `work` makes of it, as it comes, with a process for each part; until `stopped`,
    which ends them at once. Raises what `work` raises. Where a process dies, another one goes on behind the
    item it died of.
    """
    running: dict[Connection, _Part[Item]] = dict(_begun(work, part) for part in parts if part)
    try:
        while running and not stopped():
            ready = wait(list(running), LOOK_S)
            for one, part in [(one, part) for one, part in running.items() if one in ready]:
                result = _received(one, part.process)
                yield part.left.pop(0), result
                if isinstance(result, Died) or not part.left:
                    del running[one]
                if part.left and isinstance(result, Died):
                    running.update([_begun(work, part.left)])
    finally:
        for part in running.values():
            part.process.terminate()
        for part in running.values():
            part.process.join()


def _begun(work: Callable[[Item], Any], items: Sequence[Item]) -> tuple[Connection, _Part[Item]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_works, args=(theirs, work, list(items)), daemon=True)
    with _without_ctrl_c():
        process.start()
    theirs.close()
    return ours, _Part(process, list(items))


def _works(results: Connection, work: Callable[[Item], Any], items: list[Item]) -> None:
    """In the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):  # the one who asked is gone
        for item in items:
            try:
                results.send(work(item))
            except Exception as error:  # noqa: BLE001  raised where it was asked for
                results.send(error)


def _received(results: Connection, process: BaseProcess) -> Any:
    try:
        found = results.recv()
    except EOFError:
        process.join()
        return Died(f"its process ended with {process.exitcode}")
    if isinstance(found, Exception):
        raise found
    return found


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """A process that is started in the block does not get Ctrl-C, which a terminal sends to all of a command:
    while it starts, it would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
