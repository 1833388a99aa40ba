"""Quiet moments of a recorded call: neither side speaks, nothing is awaited, and it can be cut there.

At such a moment `Call.carried` says everything that another call needs to go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bridge.core import messages as m
from bridge.core import renewal
from bridge.core.call import Call
from bridge.core.messages import CallSnapshot, EchoSeen

from .facts import FactFinder, Facts
from .header import Header
from .steps import Step
from .walking import Walk

APART_MS: Final = 200
"""Quiet moments are at least this far apart."""
_FARTHER: Final = 50
"""Far from where the call is to be cut they are rarer: what was said until then is in each of them, so all of
a long call's would hold its words a thousand times. They are as far apart as a fiftieth of the way there.
"""


@dataclass(frozen=True, slots=True)
class QuietMoment:
    """Between two steps: `index` steps lie before it, and the next one comes at `t_ms`. `carried` is what a
    call needs to go on from here, `echoes` what it knew of the line, `epoch` the model's session, `stream`
    the carrier's, `uploaded_ms` how much of the caller's sound that session was sent.
    """

    index: int
    t_ms: int
    carried: CallSnapshot
    echoes: EchoSeen | None
    epoch: int
    stream: int
    uploaded_ms: int


@dataclass(slots=True)
class Walkthrough:
    """One walk through a recording, kept: its steps, what the core did at each, and what can be cut.

    `began` is the number of steps up to the one at which caller and model could hear each other; 0 where they
    never could.
    """

    header: Header
    steps: list[Step]
    actions: list[list[m.Action]]
    moments: list[QuietMoment]
    began: int
    facts: Facts


def walk_through(lines: Iterable[str], near_ms: int | None = None) -> Walkthrough:
    """Walk through the whole recording, which is to be cut near that moment, or anywhere. Raises ConfigError
    for what is no recording.
    """
    walk = Walk(lines)
    finder = FactFinder(walk.call.stats)
    found = Walkthrough(walk.header, [], [], [], 0, finder.facts)
    stream = end_ms = uploaded_ms = 0
    for walked in walk:
        step = walked.step
        if found.steps and found.steps[-1] is step:  # its frame says several things
            found.actions[-1] += walked.actions
        else:
            if found.began and _is_next(found.moments, step.t_ms, near_ms):
                moment = _moment(len(found.steps), walked.call, stream, step.t_ms, uploaded_ms)
                found.moments += [] if moment is None else [moment]
            found.steps.append(step)
            found.actions.append([*walked.actions])
        finder.step(walked)
        if step.door == "carrier":
            stream = max(stream, step.epoch)
        if not found.began and any(type(action) is m.CallBegan for action in walked.actions):
            found.began = len(found.steps)
        end_ms, uploaded_ms = step.t_ms, walked.call.caller_audio.uploaded_ms
    finder.finish(end_ms)
    return found


def _is_next(moments: list[QuietMoment], t_ms: int, near_ms: int | None) -> bool:
    """Whether this is far enough from the last one."""
    if not moments:
        return True
    way_ms = 0 if near_ms is None else abs(near_ms - t_ms)
    return t_ms - moments[-1].t_ms >= max(APART_MS, way_ms // _FARTHER)


def _moment(index: int, call: Call, stream: int, t_ms: int, uploaded_ms: int) -> QuietMoment | None:
    """The moment before that step, at `t_ms`; None where the call cannot be cut there. `call` has seen the
    step; `uploaded_ms` is what the session was sent before it.
    """
    busy = call.spare is not None or call.detours.under_way is not None or call.callee.open
    if busy or call.phase is not m.Phase.LIVE or not renewal.quiet(call, t_ms):
        return None
    carried = call.carried(t_ms)
    echoes = call.playout.line.ledger.echoes
    return QuietMoment(index, t_ms, carried, echoes, call.up.epoch, stream, uploaded_ms)
