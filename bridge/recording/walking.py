"""Goes through a recording step by step, with the call as it was at each of them: for pictures and tests that
look at more than the first difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bridge.core import messages as m
from bridge.core.call import Call

from .difference import Playout
from .header import Header
from .stage import Parts, Stage
from .steps import Recording, Step


@dataclass(frozen=True, slots=True)
class Walked:
    """One step: what the recording has of it, what that was to the core (None: nothing), what the core did
    about it now, and the call after it. A step whose frame says several things comes once for each of them.
    `before` is what the ledger knew when it came. `error` is what the core or an adapter raised; then there
    is no further step.
    """

    step: Step
    event: m.Event | None
    actions: list[m.Action]
    before: Playout
    call: Call
    error: Exception | None = None


class Walk:
    """One walk through a recording; iterate over it, once. Raises ConfigError for what is no recording, as
    `replay` does. `recording` says how it ends when the walk is over.
    """

    def __init__(self, lines: Iterable[str], parts: Parts | None = None) -> None:
        self.recording = Recording(lines)
        self._stage = Stage(self.recording.header, parts or Parts())

    @property
    def header(self) -> Header:
        return self.recording.header

    @property
    def call(self) -> Call:
        """The call as it stands."""
        return self._stage.call

    def __iter__(self) -> Iterator[Walked]:
        stage = self._stage
        for step in self.recording.steps():
            before, event = self._before(step), None
            followed: list[m.Action] = []
            try:
                events = stage.read(step)
                for event in events:
                    before = before if event is events[0] else self._before(step)
                    actions = stage.call.receive(event, step.t_ms)
                    followed += actions
                    if event is events[-1]:
                        self._write(step, followed)
                    yield Walked(step, event, actions, before, stage.call)
                if not events:
                    self._write(step, followed)
                    yield Walked(step, None, [], before, stage.call)
            except Exception as error:  # noqa: BLE001  a call that broke is worth a look too
                yield Walked(step, event, [], before, stage.call, error)
                return

    def _before(self, step: Step) -> Playout:
        ledger = self._stage.call.playout.line.ledger
        return Playout(ledger.position(step.t_ms), ledger.sent, ledger.acked, ledger.bytes_per_ms)

    def _write(self, step: Step, actions: list[m.Action]) -> None:
        if not self._stage.as_usual(step.outputs, actions):
            for _ in self._stage.answers(step.outputs, actions):
                pass  # adapters remember what they have written
