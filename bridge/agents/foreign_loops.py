"""Errors of something that was made on one event loop and is used on another: told with the cure.

Calls are on several loops, and asyncio's own words ("attached to a different loop") do not say so. A client
that was made at import, or by the first call, works in the calls of its own loop and in no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

CURE: Final = (
    "something that it used was made on another event loop. Calls are spread over several "
    "(BRIDGE_HANDLER_LOOPS): make async clients, locks and queues in the call itself, or one of each for "
    "every loop (docs/ways-in.md)"
)

_SAYS_SO: Final = re.compile(
    r"(attached|bound|belongs?|tied) to a(nother| different) (event )?loop"  # tasks, locks, queues, futures
    r"|different event loops?"
    r"|loop other than the current one"  # a loop in debug mode
    r"|event loop is closed"  # made under asyncio.run, at import
    r"|timeout context manager should be used inside a task",  # aiohttp's session
    re.IGNORECASE,
)


def is_of_another_loop(error: BaseException) -> bool:
    """Whether it, or an error that it came from, says that something belongs to another event loop."""
    return any(_SAYS_SO.search(str(one)) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
