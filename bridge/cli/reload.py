"""`serve --reload`: an agent whose file has changed answers the next call. Calls that go on keep theirs."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from bridge.agents.agent import Agent, load_agent
from bridge.agents.calls import UserSide
from bridge.errors import ConfigError

logger = logging.getLogger("bridge.user")

LOOK_S: Final = 0.5
OURS: Final = __name__.partition(".")[0]


def _own_modules(folder: Path) -> dict[str, ModuleType]:
    """The modules that were imported from this folder, without those of environments in it and without
    phonebridge. A clone holds phonebridge too: loaded again, its `Agent` would be a second class.
    """
    inside = f"{folder}{os.sep}"
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or not file.startswith(inside) or name.partition(".")[0] in {"__main__", OURS}:
            continue
        parts = Path(file.removeprefix(inside)).parts
        if not any(part.startswith(".") or part == "site-packages" for part in parts):
            found[name] = module
    return found


def _changes(folder: Path) -> dict[str, int]:
    """When each of their files was written last; a file that is gone is not in it."""
    times = {}
    for name, module in _own_modules(folder).items():
        try:
            times[name] = Path(module.__file__ or "").stat().st_mtime_ns
        except OSError:
            continue
    return times


def _load(where: str, folder: Path) -> Agent:
    """The agent as its files are now. Raises ConfigError, and then the modules are those of before."""
    before = _own_modules(folder)
    for name in before:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        return load_agent(where)
    except ConfigError:
        sys.modules.update(before)
        raise


async def keep_up(where: str, users: UserSide, folder: Path) -> None:
    """Look twice a second whether a module of this folder has changed, until cancelled. What does not work is
    logged, and the agent of before answers.
    """
    known = _changes(folder)
    while True:
        await asyncio.sleep(LOOK_S)
        now = _changes(folder)
        if now == known:
            continue
        try:
            users.replace(await asyncio.to_thread(_load, where, folder))
        except ConfigError as error:
            logger.error("%s: the agent of before goes on answering", error)  # noqa: TRY400
        else:
            logger.info("%s has changed: the next call gets it", where)
        known = {**now, **_changes(folder)}
