"""A recorded call as a test sees it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ..core.stats import Stats
from ..ops.recorded import lines_of
from ..recording import Replay, describe, replay
from ..recording.facts import Facts, facts_of
from ..recording.walking import Walk
from .expectations import Expect, actions_of


class RecordedCall:
    """One recording. `expect` asks what followed in its replay; `stats` are that call's counts, `facts` what
    happened. With `compare` off only its inputs count, and not what followed from them then.
    """

    def __init__(self, file: Path, strict: bool = False, compare: bool = True) -> None:
        self.file = file
        self._strict = strict
        self._compare = compare

    @cached_property
    def replay(self) -> Replay:
        """The replay, up to its first difference if there is one. Raises ConfigError for what is no
        recording.
        """
        return replay(self.lines, strict=self._strict)

    @cached_property
    def lines(self) -> list[str]:
        return lines_of(self.file)

    def difference(self) -> str | None:
        """The first difference between the recording and what the code does now, in words; None: the same."""
        if not self._compare:
            return self._error()
        found = self.replay.difference
        return None if found is None else f"{self.file.name} does not replay\n{describe(found)}"

    def _error(self) -> str | None:
        """What the code raises now, if it does."""
        for walked in Walk(self.lines):
            if (error := walked.error) is not None:
                return f"{self.file.name}, {walked.step.t_ms} ms: {type(error).__name__}: {error}"
        return None

    @property
    def stats(self) -> Stats:
        return self.replay.call.stats if self._compare else self.facts.stats

    @cached_property
    def facts(self) -> Facts:
        return facts_of(self.lines)

    @cached_property
    def expect(self) -> Expect:
        log = actions_of(self.lines)
        return Expect(lambda: log, facts=lambda: self.facts)
