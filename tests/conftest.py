"""What all tests share: the order of files where there are several workers, which tests run while no other
does, what runs an async test, and servers that stop when they are asked to.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from tests.loops import run

__all__ = ["run"]

HASTE: Final = 10
LONG: Final = (
    # to the millisecond, or nearly so, and who waits beside them
    "faults/test_over_sockets.py",
    "door/test_operate.py",
    "checklist/test_carried_call.py",
    "test_demo.py",
    "test_serve.py",
    "test_bench.py",
    "test_bench_load.py",
    "processes/test_sigterm.py",
    "test_recordings.py",
    # mostly waiting
    "door/test_doctor.py",
    "door/test_goodbye.py",
    "door/test_after_stream.py",
    "door/test_forbidden.py",
    "door/test_strangers.py",
    "door/test_secrets.py",
    "test_interrupts.py",
    "test_carrier_rest.py",
    "checklist/test_realtime_client.py",
    "test_exact.py",
    "test_direct.py",
    # mostly working
    "test_replay_command.py",
    "test_hostile_recordings.py",
    "test_guides.py",
    "test_show.py",
    "independent/test_openai_agents.py",
    "test_replay.py",
)
"""The files that take longest, in the order in which they mind each other least. A file is one worker's, and
at the end all wait for the last.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        here = Path(__file__).resolve().parent
        rank = {(here / name).resolve(strict=True): number for number, name in enumerate(LONG)}
        last = {item.path for item in items if item.get_closest_marker("alone")}
        items.sort(key=lambda item: (item.path in last, rank.get(item.path.resolve(), len(LONG))))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Outside of the time that a test may take: it waits for those of other workers here."""
    if hasattr(item.config, "workerinput"):
        with _turn(alone=item.get_closest_marker("alone") is not None):
            return (yield)
    return (yield)


@contextmanager
def _turn(*, alone: bool) -> Iterator[None]:
    """A lock on this file that all tests share, unless one of them is to run alone."""
    import fcntl

    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """An async test runs on the loops of its fixture `run`, or with what its file says, or with asyncio."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    said = pyfuncitem.get_closest_marker("runs_with")
    run: Any = pyfuncitem.funcargs.get("run") or (said.kwargs["function"] if said else asyncio.run)
    run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is collected stays to the end. The collector need not look at it, now or with each test."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


def pytest_collection_finish() -> None:
    """uvicorn looks ten times a second whether it is to stop, and gives its connections as long again: a
    fifth of a second for each of three hundred tests that start one. Here it looks a hundred times. Servers
    in processes of their own take the time they take.
    """
    server: Any = sys.modules.get("uvicorn.server")  # not loaded where no test needs it
    if server is not None:
        server.asyncio = _Hasty()
    # pydantic-settings asks each of 180 fields what it is, each time that settings are read.
    sources: Any = sys.modules.get("pydantic_settings.sources.base")
    if sources is not None:
        source = sources.PydanticBaseEnvSettingsSource
        for name in ("_extract_field_info", "field_is_complex"):
            setattr(source, name, _once_a_field(getattr(source, name)))
    # Typer makes the whole command line anew each time one of its commands is run.
    typer: Any = sys.modules.get("typer.testing")
    if typer is not None:
        typer.Typer.__call__.__globals__["get_command"] = typer._get_command = cache(typer._get_command)


def _once_a_field(ask: Callable[..., Any]) -> Callable[..., Any]:
    """A question about a field of settings, whose answer stays the same."""
    answers: dict[tuple[object, ...], Any] = {}

    def asked(self: Any, field: Any, *more: Any) -> Any:
        key = (self.settings_cls, id(field), *more)
        if key not in answers:
            answers[key] = ask(self, field, *more)
        return answers[key]

    return asked


class _Hasty:
    """`asyncio`, but for a shorter sleep."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / HASTE)
