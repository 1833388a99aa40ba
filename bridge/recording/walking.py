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
    about it now, and the call after it. `before` is what the ledger knew when it came. `error` is what the
    core or an adapter raised; then there is no further step.
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
            ledger = stage.call.playout.line.ledger
            before = Playout(ledger.position(step.t_ms), ledger.sent, ledger.acked, ledger.bytes_per_ms)
            event: m.Event | None = None
            try:
                event = stage.read(step)
                actions = [] if event is None else stage.call.receive(event, step.t_ms)
                for _ in stage.answers(step.outputs, actions):
                    pass  # adapters remember what they have written
            except Exception as error:  # noqa: BLE001  a call that broke is worth a look too
                yield Walked(step, event, [], before, stage.call, error)
                return
            yield Walked(step, event, actions, before, stage.call)
