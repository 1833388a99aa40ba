"""What all tests share: servers of this process that stop when they are asked to."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

HASTE = 10


def pytest_collection_finish() -> None:
    """uvicorn looks ten times a second whether it is to stop, and gives its connections as long again: a fifth
    of a second for each of some three hundred tests that start one. Here it looks a hundred times a second.
    Servers in processes of their own take the time they take.
    """
    server: Any = sys.modules.get("uvicorn.server")  # not loaded where no test needs it
    if server is not None:
        server.asyncio = _Hasty()


class _Hasty:
    """`asyncio`, but for a shorter sleep."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / HASTE)
