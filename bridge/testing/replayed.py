"""A recorded call as a test sees it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ..core.stats import Stats
from ..recording import Replay, describe, replay
from .expectations import Expect, actions_of


class RecordedCall:
    """One recording. `expect` asks what followed in its replay; `stats` are that call's counts."""

    def __init__(self, file: Path, strict: bool = False) -> None:
        self.file = file
        self._strict = strict

    @cached_property
    def replay(self) -> Replay:
        """The replay, up to its first difference if there is one. Raises ConfigError for what is no
        recording.
        """
        return replay(self.lines, strict=self._strict)

    @cached_property
    def lines(self) -> list[str]:
        return self.file.read_text(encoding="utf-8").splitlines()

    def difference(self) -> str | None:
        """The first difference between the recording and what the code does now, in words; None: the same."""
        found = self.replay.difference
        return None if found is None else f"{self.file.name} does not replay\n{describe(found)}"

    @property
    def stats(self) -> Stats:
        return self.replay.call.stats

    @cached_property
    def expect(self) -> Expect:
        log = actions_of(self.lines)
        return Expect(lambda: log)
