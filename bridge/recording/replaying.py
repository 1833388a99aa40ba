"""Replays a recording: the same inputs at the same times, through adapters and core, compared with what came
out then. No clock, no socket, no user code: what a handler or a tool did stands in the recording as inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from bridge.core.call import Call
from bridge.errors import ReplayMismatch

from .difference import Difference, Playout, around, in_words, output_in_words, shown
from .header import Header
from .json_text import quoted
from .lines import shown_action
from .recorder import Recorder
from .stage import Answer, Parts, Stage, same_frame
from .steps import Output, Recording, Step
from .truth import bears_truth, frame_bears_truth, truth_of, truth_of_frame


def _differs_strictly(answer: Answer, sound: bool) -> bool:
    expected = answer.expected
    if expected is None or expected.door != answer.door or expected.dropped != answer.dropped:
        return True
    if answer.action is not None:
        return expected.action != shown_action(answer.action, sound=sound)
    if expected.frame is None or answer.frame is None or expected.epoch != answer.epoch:
        return True
    if sound:
        return expected.frame != answer.frame
    return not same_frame(expected.frame, answer.frame, answer.door)


def _differs_in_truth(answer: Answer, sound: bool) -> bool:
    expected = answer.expected
    if expected is None or expected.door != answer.door:
        return True
    if answer.action is not None:
        got = shown_action(answer.action, sound=sound)
        return expected.action is None or bool(truth_of(expected.action) != truth_of(got))
    if expected.frame is None or answer.frame is None or expected.epoch != answer.epoch:
        return True
    return bool(truth_of_frame(expected.frame) != truth_of_frame(answer.frame))


def _bears_truth(output: Output) -> bool:
    if output.action is not None:
        return bears_truth(type(output.action))
    return output.frame is not None and not output.dropped and frame_bears_truth(output.frame)


def _in_words(answer: Answer) -> str | None:
    if answer.action is not None:
        return shown(f"{answer.door} {answer.action}")
    if answer.frame is None:
        return None
    return shown(f"{answer.door} {'drops ' if answer.dropped else ''}{answer.frame!s}")


@dataclass
class Replay:
    """What a replay found. `difference` None: the same. `steps` were fed, the last one at `end_ms`; `call` is
    as they left it. `torn`, `truncated` and `ended` say how the recording ends, as in `Recording`.
    """

    header: Header
    difference: Difference | None
    steps: int
    end_ms: int
    torn: bool
    truncated: str | None
    ended: bool
    call: Call
    lines: list[str]
    parts: Parts

    @cached_property
    def outputs(self) -> list[str]:
        """The recording as it would be if the call happened again now: the same inputs, with what follows
        from them today. Equal to the lines that were replayed if nothing differs. Where the core raises, the
        call ends, as it would have then.
        """
        return _rewritten(self.lines, self.parts)

    def check(self) -> None:
        """Raise ReplayMismatch if something differs."""
        if self.difference is not None:
            raise ReplayMismatch(self.difference.line, self.difference.expected, self.difference.got)


def replay(
    lines: Iterable[str], *, strict: bool = False, parts: Parts | None = None, until_ms: float = math.inf
) -> Replay:
    """Feed the inputs of a recording at their times and compare what follows.

    By default what bears the truth is compared: clear, cancel, truncate, delete, items, responses,
    configuration, closes, intents, the end, and heard milliseconds. `strict` compares all, to the byte. It
    stops at the first difference, and behind what happened until `until_ms`. Raises ConfigError for what is
    no recording, or one of another format.
    """
    parts = parts or Parts()
    recording = Recording(lines)
    stage = Stage(recording.header, parts)
    sound = recording.header.sound
    difference = None
    count = end_ms = 0
    for step in recording.steps():
        if step.t_ms > until_ms:
            break
        count += 1
        end_ms = step.t_ms
        cut_off = recording.done and not recording.ended
        found = _first(stage, step, strict=strict, sound=sound, cut_off=cut_off)
        if found is not None:
            expected, got, error = found
            difference = Difference(
                step.line if expected is None else expected.line,
                step.t_ms,
                None if expected is None else output_in_words(expected),
                got,
                _playout_before(recording.lines, count, parts),
                in_words(step),
                around(recording.lines, step.line if expected is None else expected.line),
                error,
            )
            break
    ending = (recording.torn, recording.truncated, recording.ended)
    return Replay(recording.header, difference, count, end_ms, *ending, stage.call, recording.lines, parts)


_Found = tuple[Output | None, str | None, Exception | None]


def _first(stage: Stage, step: Step, *, strict: bool, sound: bool, cut_off: bool) -> _Found | None:
    """The first difference of one step. `cut_off`: the recording stops here, and what followed may be missing
    in it.
    """
    outputs = step.outputs
    differs = _differs_strictly if strict else _differs_in_truth
    try:
        actions = stage.feed(step)
        if stage.as_usual(outputs, actions):
            return None
        if not strict:
            actions = [action for action in actions if bears_truth(type(action))]
            if outputs:
                outputs = [output for output in outputs if not output.usual and _bears_truth(output)]
            if not actions and not outputs:
                return None
        for answer in stage.answers(outputs, actions):
            if differs(answer, sound) and not (cut_off and answer.expected is None):
                return answer.expected, _in_words(answer), None
    except Exception as error:  # noqa: BLE001  a bug in the core is what the replay looks for
        return outputs[0] if outputs else None, f"{type(error).__name__} raised: {error}", error
    return None


def _playout_before(lines: list[str], count: int, parts: Parts) -> Playout:
    """What the ledger knew when that step came, before it did anything about it."""
    recording = Recording(lines)
    stage = Stage(recording.header, parts)
    t_ms = 0
    for number, step in enumerate(recording.steps(), 1):
        t_ms = step.t_ms
        if number == count:
            break
        try:
            for _ in stage.answers(step.outputs, stage.feed(step)):
                pass
        except Exception:  # noqa: BLE001, S112  of what is not compared nothing is written, and so nothing known
            continue
    ledger = stage.call.playout.line.ledger
    return Playout(ledger.position(t_ms), ledger.sent, ledger.acked, ledger.bytes_per_ms)


def _rewritten(lines: list[str], parts: Parts) -> list[str]:
    recording = Recording(lines)
    stage = Stage(recording.header, parts)
    written: list[str] = []
    recorder = Recorder(written.append, recording.header, recording.header.sound, keys=True)
    broken = False
    for step in recording.steps():
        if step.event is not None:
            recorder.happened(step.t_ms, step.event)
        else:
            recorder.came(step.t_ms, step.door, step.frame or "", step.epoch)
        try:
            for answer in stage.answers(step.outputs, stage.feed(step)):
                _tell(recorder, step.t_ms, answer)
        except Exception:  # noqa: BLE001  the runner ends such a call, and so its recording
            broken = True
            break
    recorder.close()
    written[0] = recording.lines[0]  # what a call was made of is no output of it
    if not (recording.ended or broken):
        written.pop()
    if recording.truncated is not None:
        written.append(f'{{"truncated":{quoted(recording.truncated)}}}')
    return written


def _tell(recorder: Recorder, t_ms: int, answer: Answer) -> None:
    """What the runner would have told of this action."""
    now_ms = t_ms if answer.expected is None or answer.expected.late_ms is None else answer.expected.late_ms
    if answer.action is not None:
        recorder.decided(now_ms, answer.action)
    elif answer.frame is not None and answer.dropped:
        recorder.dropped(now_ms, answer.door, answer.frame, answer.epoch)
    elif answer.frame is not None:
        recorder.went(now_ms, answer.door, answer.frame, answer.epoch)
