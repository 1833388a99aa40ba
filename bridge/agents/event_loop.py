"""The event loop of user code: notes each turn of it that is a user's, tasks and callbacks of their own among
them.

A step of a task, a callback and a timer all come by `call_soon` or `call_at`, and jobs for other threads by
`run_in_executor`. The context they run in says for which call.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from bridge.agents.foreign_loops import CURE, is_of_another_loop
from bridge.agents.user_code import CALL_SID, USER_CODE, code_of, unwrapped

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

if TYPE_CHECKING or sys.platform != "win32":
    _Base = asyncio.SelectorEventLoop
else:
    _Base = asyncio.ProactorEventLoop

logger = logging.getLogger("bridge.user")

_OURS: Final = f"{Path(__file__).parents[1]}{os.sep}"
_ASYNCIO: Final = f"{Path(asyncio.__file__).parent}{os.sep}"


class UserEventLoop(_Base):
    """What is `bridge`'s own, or asyncio's, is not noted: where it runs user code, it notes that itself."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """What a task or callback of the user's own raised, and nothing has waited for."""
        super().default_exception_handler(context)
        error = context.get("exception")
        if isinstance(error, BaseException) and is_of_another_loop(error):
            logger.error("a task raised %s: %s", type(error).__name__, CURE)

    def call_soon(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        return super().call_soon(_noted(callback, context), *args, context=context)

    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        return super().call_soon_threadsafe(_noted(callback, context), *args, context=context)

    def post(self, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """`call_soon_threadsafe` of the bridge's own, which costs the loop that carries the audio no look."""
        super().call_soon_threadsafe(callback, *args)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return super().call_at(when, _noted(callback, context), *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """As asyncio's, but a thread of a pool works in the context it was asked from: for which call, and
        which numbers that call may have called. What goes to another process is sent as it is.
        """
        if executor is not None and not isinstance(executor, ThreadPoolExecutor):
            return super().run_in_executor(executor, func, *args)
        job: Callable[[], _T] = functools.partial(contextvars.copy_context().run, _noted(func, None), *args)
        return super().run_in_executor(executor, job)


def _noted(callback: Callable[..., Any], context: contextvars.Context | None) -> Any:
    """The same callable, its runs noted if it is a user's."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):  # its step, or a future that wakes it up
        function: Any = owner.get_coro()
        not_theirs: tuple[str, ...] = (_OURS,)
    else:
        function, not_theirs = unwrapped(callback), (_OURS, _ASYNCIO)
    code = code_of(function)
    if code is None or code.co_filename.startswith(not_theirs):
        return callback
    call_sid = (CALL_SID.get() if context is None else context.get(CALL_SID)) or ""

    def noted(*args: Any) -> Any:
        with USER_CODE.runs(function, call_sid):
            return callback(*args)

    return noted
