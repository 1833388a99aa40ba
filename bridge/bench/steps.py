"""One step of a load and what is to be made of it: whether that many calls were held, and if not, who is to
blame; and which number comes next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

LATE_MS: Final = 5.0
"""A generator whose own work comes later than this (p99) measures itself."""
OTHERS: Final = 0.3
"""Cores that other programs of this machine may use beside a measurement."""
BUSY: Final = 0.95
"""So much of one core, and a generator has no more to give: each is one thread."""


@dataclass(frozen=True, slots=True)
class Way:
    """One direction: slices of 20 ms that left, those of them that came, and how long they took."""

    sent: int = 0
    came: int = 0
    disordered: int = 0
    foreign: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None

    @property
    def lost(self) -> int:
        """Slices that did not come, or a second too late."""
        return max(0, self.sent - self.came)


@dataclass(frozen=True, slots=True)
class Generator:
    """One of our own processes: its share of a core, and how late its own work was."""

    cpu: float = 0.0
    late_p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """So many calls were asked for, and this was measured. `server_cpu` is in cores, and so is what all other
    programs of its machine used; None where that is another machine, or does not tell. `unheard` of the
    `live` callers have heard nothing of the model since they called. `refused` has why calls are missing, in
    words with how often.
    """

    calls: int
    live: int
    unheard: int = 0
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    server_cpu: float | None = None
    others_cpu: float | None = None
    callers: Generator = field(default_factory=Generator)
    models: Generator = field(default_factory=Generator)
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        return self.up.lost + self.down.lost

    @property
    def mute(self) -> bool:
        """Whether not one caller has heard anything."""
        return self.unheard >= self.live


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the calls were held. `limit` is who set the limit if not: the server; or this bench itself, or
    other programs of the machine, and then nothing is known of the server.
    """

    held: bool
    words: str
    limit: Literal["server", "bench", "machine"] | None = None


def judged(step: Step, limit_ms: float) -> Verdict:
    """What is to be made of a step: all calls there, nothing lost, both ways below `limit_ms` (p99)."""
    busy, late = _others(step), _generators(step)
    complaint = _complaint(step, limit_ms)
    if complaint is None:
        doubt = doubtful(step)
        return Verdict(True, "held" if doubt is None else f"held, although {doubt}")
    if step.mute:  # without any sound nothing was late
        return Verdict(False, complaint, "server")
    if busy is not None:
        return Verdict(False, f"the machine is busy: {busy}", "machine")
    if late is not None:
        return Verdict(False, f"the bench is the limit: {late}", "bench")
    return Verdict(False, complaint, "server")


def doubtful(step: Step) -> str | None:
    """Why these figures may not be the server's doing; None where they are."""
    return _others(step) or _generators(step)


def _others(step: Step) -> str | None:
    """Why these figures may be other programs' doing."""
    if (step.others_cpu or 0.0) <= OTHERS:
        return None
    return f"other programs used {step.others_cpu:.1f} cores"


def _generators(step: Step) -> str | None:
    """Why these figures may be our own doing."""
    for name, generator in (("callers", step.callers), ("models", step.models)):
        if generator.cpu >= BUSY:
            return f"its {name} used {generator.cpu:.0%} of a core"
        if (generator.late_p99_ms or 0.0) > LATE_MS:
            return f"its {name} were {generator.late_p99_ms:.1f} ms late themselves"
    return None


def _complaint(step: Step, limit_ms: float) -> str | None:
    if step.live < step.calls:
        why = max(step.refused, key=lambda reason: step.refused[reason], default="no reason was given")
        return f"{step.calls - step.live} of {step.calls} calls missing: {why}"
    if step.unheard:
        return f"{step.unheard} of {step.live} callers heard nothing of the model"
    if step.up.sent and not step.up.came:
        return "no caller's sound was known again at the model: does the server transcode?"
    if step.up.foreign or step.down.foreign:
        return f"{step.up.foreign + step.down.foreign} frames came to another call"
    if step.up.disordered or step.down.disordered:
        return f"{step.up.disordered + step.down.disordered} frames came out of order"
    if step.lost:
        return f"{step.lost:,} frames lost"
    for name, way in (("up", step.up), ("down", step.down)):
        if (way.p99_ms or 0.0) > limit_ms:
            return f"p99 {name} over {limit_ms:g} ms"
    return None


def next_calls(tried: Mapping[int, bool], first: int, most: int) -> int | None:
    """How many calls to try next, when these were held or not: twice as many until they are not, then
    between. None when the limit is known to an eighth, or `most` was held.
    """
    held = max((calls for calls, was_held in tried.items() if was_held), default=0)
    failed = min((calls for calls, was_held in tried.items() if not was_held), default=None)
    if failed is None:
        return None if held >= most else min(most, held * 2 or first)
    return (held + failed) // 2 if failed - held > max(1, failed // 8) else None


def concluded(steps: Sequence[tuple[Step, Verdict]]) -> str:
    """What all steps together say, in one sentence."""
    held = max((step.calls for step, verdict in steps if verdict.held), default=0)
    beyond = [(step, verdict) for step, verdict in steps if step.calls > held and not verdict.held]
    if not beyond:
        return f"It holds {held} calls, and perhaps more: no step went beyond."
    step, verdict = min(beyond, key=lambda one: one[0].calls)
    known = f"It holds {held} calls at least." if held else "Nothing is known of the server."
    if verdict.limit == "bench":
        advice = "give it more cores, or a machine of its own"
        return f"{known} At {step.calls} the bench was the limit, not the server: {advice}."
    if verdict.limit == "machine":
        return f"{known} At {step.calls} {verdict.words}, so this measured them."
    return f"It holds {held} calls. At {step.calls}: {verdict.words}."


def as_figures(step: Step, verdict: Verdict) -> dict[str, Any]:
    """For `--json`."""
    told = asdict(step)
    for way in ("up", "down"):
        told[way]["lost"] = getattr(step, way).lost
    return {**told, "verdict": asdict(verdict)}
