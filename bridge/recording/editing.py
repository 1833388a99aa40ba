"""Makes another recording out of one: a shorter one, or one without anybody's words.

What is left of the inputs stays as it was, at its times. What follows from them is made anew by today's code,
except where a difference is what the recording is kept for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

import msgspec

from bridge.core import messages as m
from bridge.errors import ConfigError

from .difference import output_in_words
from .header import Header
from .recorder import Recorder
from .replaying import replay
from .stage import Parts
from .steps import Recording, Step

MOST_REPLAYED: Final = 2_000_000
"""Steps, in all attempts to leave some out: half a minute."""


def written(header: Header, steps: Iterable[Step]) -> list[str]:
    """These steps as a recording that is whole, with what the recording they are from says that followed."""
    lines: list[str] = []
    recorder = Recorder(lines.append, header, header.sound, keys=True)
    for step in steps:
        note(recorder, step)
    recorder.close()
    return lines


def note(recorder: Recorder, step: Step) -> None:
    """Tell the recorder this step, with what followed from it."""
    if step.event is not None:
        recorder.happened(step.t_ms, step.event)
    else:
        recorder.came(step.t_ms, step.door, step.frame or "", step.epoch)
    for output in step.outputs:
        now_ms = step.t_ms if output.late_ms is None else output.late_ms
        if output.action is not None:
            recorder.decided(now_ms, output.action)
        elif output.dropped:
            recorder.dropped(now_ms, output.door, output.frame or "", output.epoch)
        else:
            recorder.went(now_ms, output.door, output.frame or "", output.epoch)


def remade(header: Header, steps: Iterable[Step]) -> list[str]:
    """These steps as a recording, with what follows from them today."""
    return replay(written(header, steps)).outputs


def trimmed(lines: Iterable[str], from_ms: int, to_ms: int | None) -> list[str]:
    """The recording without what happened before and after. The beginning of the call stays, up to where
    caller and model could hear each other: without it nothing could follow. Raises ConfigError for what is
    no recording.
    """
    recording = Recording(lines)
    kept: list[Step] = []
    begun = False
    for step in recording.steps():
        if not begun or (step.t_ms >= from_ms and (to_ms is None or step.t_ms < to_ms)):
            kept.append(step)
        begun = begun or any(isinstance(output.action, m.CallBegan) for output in step.outputs)
    return remade(recording.header, kept)


def minimized(
    lines: Sequence[str],
    *,
    strict: bool = False,
    parts: Parts | None = None,
    progress: Callable[[int], None] = lambda _left: None,
) -> list[str] | None:
    """The shortest recording found that still differs as this one does: the same is expected and the same is
    got, as the first difference. It ends with what is expected, so that it replays once that follows again.
    None if the recording does not differ. Raises ConfigError, with the reason, where nothing can be left out.

    Delta debugging: pieces are left out, ever smaller ones, as long as the difference stays, until
    `MOST_REPLAYED` steps were replayed for it. `progress` is told how many steps are left. Raises ConfigError
    for what is no recording as well.
    """
    whole = replay(lines, strict=strict, parts=parts)
    if whole.difference is None:
        return None
    wanted = (whole.difference.expected, whole.difference.got)
    header = whole.header
    replayed = 0

    def differs(steps: list[Step]) -> bool:
        nonlocal replayed
        replayed += len(steps)
        found = replay(_up_to(header, steps, wanted[0]), strict=strict, parts=parts).difference
        return found is not None and (found.expected, found.got) == wanted

    steps = list(islice(Recording(lines).steps(), whole.steps))  # what comes after it need not be readable
    if not differs(steps):
        raise ConfigError(
            "nothing can be left out: the difference depends on how the recording is written, not only on "
            "what happened"
        )
    for quiet in (_is_sound, _is_wake_up):  # most of any call, and seldom what matters
        fewer = [step for step in steps if not quiet(step)]
        if len(fewer) < len(steps) and differs(fewer):
            steps = fewer
    steps = _without_needless(steps, differs, progress, enough=lambda: replayed > MOST_REPLAYED)
    return _up_to(header, steps, wanted[0])


def _up_to(header: Header, steps: list[Step], expected: str | None) -> list[str]:
    """These steps as a recording that stops behind what is expected of the last one: what else follows then
    is of no interest. Where nothing more is expected it is whole.
    """
    if expected is None or not steps:
        return written(header, steps)
    *before, last = steps
    found = [number for number, output in enumerate(last.outputs, 1) if output_in_words(output) == expected]
    # The last of them: the same may be expected more than once, and differ only there.
    outputs = last.outputs[: found[-1]] if found else last.outputs
    lines = written(header, [*before, msgspec.structs.replace(last, outputs=outputs)])
    return lines[:-1]


def _without_needless(
    steps: list[Step],
    differs: Callable[[list[Step]], bool],
    progress: Callable[[int], None],
    enough: Callable[[], bool],
) -> list[Step]:
    """Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input": complements of ever smaller
    pieces, until no single step can be left out, or it has taken `enough`.
    """
    pieces = 2
    while len(steps) > 1 and not enough():
        progress(len(steps))
        size = -(-len(steps) // pieces)
        at = 0
        before = len(steps)
        while at < len(steps) and not enough():
            fewer = steps[:at] + steps[at + size :]
            if fewer and differs(fewer):
                steps = fewer
                progress(len(steps))
            else:
                at += size
        if size == 1 and len(steps) == before:
            break
        pieces = min(len(steps), 2 * pieces) if len(steps) == before else max(pieces - 1, 2)
    return steps


def _is_sound(step: Step) -> bool:
    return step.door == "carrier" and isinstance(step.frame, str) and '"event":"media"' in step.frame


def _is_wake_up(step: Step) -> bool:
    return isinstance(step.event, m.WakeUp)
