"""All that hear a call's caller: user code, and operators. The runner has room for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bridge.core import messages as m
from bridge.runner import Runner

Tap: TypeAlias = Callable[[m.CallerAudio], None]


class Taps:
    """Of one call. A frame that two want to hear goes to each; one that none wants costs nothing."""

    __slots__ = ("_others", "_runner", "_user")

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._user: Tap | None = None
        self._others: list[Tap] = []

    @property
    def user(self) -> Tap | None:
        """That of user code."""
        return self._user

    @user.setter
    def user(self, tap: Tap | None) -> None:
        self._user = tap
        self._set()

    def add(self, tap: Tap) -> None:
        """Another one wants to hear it."""
        self._others.append(tap)
        self._set()

    def remove(self, tap: Tap) -> None:
        """It wants to hear no more. Idempotent."""
        self._others = [one for one in self._others if one != tap]
        self._set()

    def _set(self) -> None:
        taps = [*([] if self._user is None else [self._user]), *self._others]
        if len(taps) < 2:
            self._runner.tap = taps[0] if taps else None
            return

        def each(frame: m.CallerAudio) -> None:
            for tap in taps:
                tap(frame)

        self._runner.tap = each
