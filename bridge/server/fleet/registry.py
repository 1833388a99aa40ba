"""The registry of calls, as the fleet sees it."""

from __future__ import annotations

from typing import Final, Protocol

from bridge.runner import Runner

ANOTHER: Final = "another machine"
"""The name of one that is not known by its name."""


class Calls(Protocol):
    """The calls of this process."""

    draining: bool
    max_calls: int

    def __len__(self) -> int: ...
    def runner(self, call_sid: str) -> Runner | None: ...
    def let_go(self, call_sid: str, by: str = "") -> None: ...
    def waits_for(self, call_sid: str) -> bool: ...
