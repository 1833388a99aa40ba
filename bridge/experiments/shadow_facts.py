"""What one run of a shadow call was like, and its metrics."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.codecs.level import level_dbfs
from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.doubles.people.caller import Line, Manner
from bridge.doubles.people.caller_phone import Said
from bridge.doubles.phone import Phone
from bridge.recording.caller_script import CallerScript, canonical
from bridge.recording.json_text import object_of
from bridge.recording.recorded_tools import MISSING, RecordedTools
from bridge.testing.scripted_call import ScriptedCall

from .callers_run import CallFacts, lines_of, tools_of, transferred
from .shadow_caller import ShadowCaller
from .significance import percentile

Values = dict[str, float | None]
"""Metrics by the names of `verdict.METRICS`; None where there is no such value."""
SILENT_MS: Final = 3_000
"""Of nothing heard and nothing said are a silence."""
_BLOCK_MS: Final = 20
_BYTES_PER_MS: Final = 8
_QUIET_DBFS: Final = -45
_FIGURE: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_UNITS: Final = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS: Final = {
    **{word: str(number) for number, word in enumerate(_UNITS.split(), 2)},
    **{word: str(number * 10) for number, word in enumerate(_TENS.split(), 2)},
    "hundred": "100", "thousand": "1000", "half": "1/2", "noon": "12", "midnight": "0",
}  # fmt: skip
"""In digits; "one" is mostly no number."""


@dataclass(frozen=True, slots=True)
class Run:
    """One call of one arm. `tools` are names and canonical arguments in their order."""

    call: str
    arm: str
    tools: tuple[tuple[str, str], ...]
    tool_errors: int
    unanswered: int
    felt_ms: tuple[int, ...]
    generated: tuple[str, ...]
    heard_words: int
    barge_ins: int
    talk_over_ms: int
    moot: int
    no_answer: int
    silences: int
    cost_micro_usd: int
    length_ms: int
    completed: bool
    ended: str
    acts: tuple[tuple[int, int], ...] = ()
    """From when to when the caller spoke."""
    evidence: CallFacts | None = field(default=None, compare=False, repr=False)
    """The call for rules of the user's; dropped when those are judged."""
    priced: bool = True
    """Whether the price of its model is known."""
    broken: tuple[str, ...] | None = None
    """The kinds of failures that those found; None without rules."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the caller's phone has played: the sound from its beginning on, and when: (start, end) in ms."""

    sound: bytes
    spans: Sequence[tuple[int, int]]
    end_ms: int


def run_of(
    name: str,
    arm: str,
    call: ScriptedCall,
    caller: ShadowCaller,
    tools: RecordedTools,
) -> Run:
    """The facts of a call in virtual time that is over."""
    log = call.rehearsal.said
    stats = call.rehearsal.call.stats
    phone = call.rehearsal.phones[0]
    outputs = [action.output for _, action in log if isinstance(action, m.CreateItem) and action.output]
    heard = heard_by(phone, call.now_ms)
    run = facts((name, arm), log, stats, caller, tools, heard, outputs)
    return dataclasses.replace(run, priced=has_price(call.rehearsal.call.config.prices))


def has_price(prices: Iterable[str]) -> bool:
    """Whether these are prices of a model, and not of its transcription alone."""
    return any(not name.startswith("transcription_") for name in prices)


def heard_by(phone: Phone, end_ms: int) -> Heard:
    """What this phone has played."""
    spans = [(span.at_ms, span.at_ms + span.size_bytes // _BYTES_PER_MS) for span in phone.heard_spans]
    return Heard(phone.heard, spans, end_ms)


def facts(
    key: tuple[str, str],
    log: Sequence[tuple[int, m.Action]],
    stats: Stats,
    caller: ShadowCaller,
    tools: RecordedTools,
    heard: Heard,
    outputs: Iterable[str],
) -> Run:
    """The facts of a call that is over; `key` names the call and the arm, `outputs` are what the model was
    told of its tools.
    """
    spoken = [action for _, action in log if isinstance(action, m.Spoken)]
    ends = [action for _, action in log if isinstance(action, m.Ended)]
    wanted = [action for _, action in log if isinstance(action, m.ToolWanted)]
    ended = ends[0].reason.value if ends else "went on"
    return Run(
        call=key[0],
        arm=key[1],
        tools=tuple((one.name, canonical(one.arguments)) for one in wanted),
        tool_errors=sum(_is_error(output) for output in outputs),
        unanswered=tools.unanswered,
        felt_ms=tuple(turn.felt_ms for turn in stats.turn_times if turn.felt_ms is not None),
        generated=tuple(one.generated for one in spoken if one.generated),
        heard_words=sum(len(one.heard.split()) for one in spoken),
        barge_ins=len({one.at_ms for one in stats.barge_ins}),
        talk_over_ms=_overlap_ms(caller.spoken, heard.spans),
        moot=caller.counts.moot,
        no_answer=caller.counts.no_answer,
        silences=silences(heard.sound, caller.spoken),
        cost_micro_usd=stats.cost_micro_usd,
        length_ms=heard.end_ms,
        completed=caller.completed,
        ended=ended,
        acts=tuple(caller.spoken),
        evidence=_evidence(log, stats, caller, heard, ended),
    )


def _evidence(
    log: Sequence[tuple[int, m.Action]], stats: Stats, caller: ShadowCaller, heard: Heard, ended: str
) -> CallFacts:
    said = [
        Said(start, end, words, _manner(start, heard.spans))
        for (start, end), words in zip(caller.spoken, caller.words, strict=True)
    ]
    lines = lines_of(log)
    story = [Line(at_ms, "agent", words) for at_ms, words in lines]
    story += [Line(one.end_ms, "caller", one.words) for one in said if one.words]
    return CallFacts(
        heard=heard.sound,
        ended_ms=heard.end_ms,
        said=said,
        story=sorted(story),
        lines=lines,
        tools=tools_of(log),
        transfers=transferred(log),
        ended=ended,
        usd=stats.cost_micro_usd / 1_000_000,
    )


def _manner(start_ms: int, spans: Sequence[tuple[int, int]]) -> Manner:
    over_us = any(start <= start_ms < end for start, end in spans)
    return Manner.INTERRUPTION if over_us else Manner.TURN


# --- metrics --------------------------------------------------------------------------------------------


def values(run: Run, script: CallerScript) -> Values:
    """The metrics of a run by the names of `verdict.METRICS`; None where it has no such value."""
    generated = sum(len(text.split()) for text in run.generated)
    calls = len(run.tools)
    return {
        "expectations": None if run.broken is None else float(not run.broken),
        "tools_equal": float(run.tools == tuple((tool.name, tool.arguments) for tool in script.tools)),
        "tool_errors": run.tool_errors / calls if calls else 0.0,
        "tools_unanswered": run.unanswered / calls if calls else 0.0,
        "figures_told": told_again(script.generated, run.generated),
        "felt_p50_ms": percentile(run.felt_ms, 50),
        "felt_p95_ms": percentile(run.felt_ms, 95),
        "heard_share": run.heard_words / generated if generated else None,
        "no_answer": run.no_answer / max(1, len(script.acts)),
        "silences": float(run.silences),
        "cost_usd": run.cost_micro_usd / 1_000_000 if run.priced else None,
        "completed": float(run.completed),
        "barge_ins": float(run.barge_ins),
        "talk_over_ms": float(run.talk_over_ms),
        "moot": float(run.moot),
        "length_ms": float(run.length_ms),
        "similarity": similarity(script.generated, run.generated),
    }


def mean_values(runs: Sequence[Values]) -> Values:
    """The metrics of a call, averaged over its repeats."""
    names = runs[0] if runs else ()
    known = {name: [value for run in runs if (value := run[name]) is not None] for name in names}
    return {name: sum(found) / len(found) if found else None for name, found in known.items()}


def agreement(control: Sequence[Run], new: Sequence[Run], *, exact: bool) -> tuple[Values, Values]:
    """How often two runs of the control arm do the same (`exact`: they always would; {} where it is not
    known), and how often a run of the new arm does what one of the control arm did.
    """
    twins = [(one, other) for at, one in enumerate(control) for other in control[at + 1 :]]
    usual = _agreement(twins or [(one, one) for one in control]) if twins or exact else {}
    return usual, _agreement([(one, other) for one in control for other in new])


def _agreement(pairs: Sequence[tuple[Run, Run]]) -> Values:
    told = [(figures(one.generated), figures(other.generated)) for one, other in pairs]
    shared = [len(one & other) / len(one | other) for one, other in told if one or other]
    return {
        "tools_as_control": sum(one.tools == other.tools for one, other in pairs) / len(pairs)
        if pairs
        else None,
        "figures_as_control": sum(shared) / len(shared) if shared else None,
    }


def figures(texts: Iterable[str]) -> set[str]:
    """The figures in these words: 12.50, 9:00, and number words as digits."""
    found: set[str] = set()
    for text in texts:
        found |= set(_FIGURE.findall(text))
        found |= {_WORDS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _WORDS}
    return found


def told_again(recorded: Sequence[str], now: Sequence[str]) -> float | None:
    """The share of the recorded call's figures (prices, times, amounts) that are told again; None where it
    had none.
    """
    wanted = figures(recorded)
    return len(wanted & figures(now)) / len(wanted) if wanted else None


def similarity(recorded: Sequence[str], now: Sequence[str]) -> float | None:
    """How alike the model's words are to those of the recording, 0 to 1; None where neither has any."""
    before, after = " ".join(recorded).split(), " ".join(now).split()
    if not before and not after:
        return None
    return difflib.SequenceMatcher(None, before, after, autojunk=False).ratio()


def silences(heard: bytes, spoken: Sequence[tuple[int, int]]) -> int:
    """How often the caller heard nothing and said nothing for more than three seconds. `heard` is the sound
    from the phone's speaker, by whose loudness that is told.
    """
    count, silent_ms = 0, 0
    for at_ms in range(0, len(heard) // _BYTES_PER_MS, _BLOCK_MS):
        block = heard[at_ms * _BYTES_PER_MS : (at_ms + _BLOCK_MS) * _BYTES_PER_MS]
        speaks = any(start <= at_ms < end for start, end in spoken)
        silent_ms = 0 if speaks or level_dbfs(block) >= _QUIET_DBFS else silent_ms + _BLOCK_MS
        count += silent_ms == SILENT_MS
    return count


def _overlap_ms(spoken: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> int:
    return sum(
        max(0, min(end, span_end) - max(start, span_start))
        for start, end in spoken
        for span_start, span_end in spans
    )


def _is_error(output: str) -> bool:
    """A tool's result that says that it failed; that it was not recorded is counted apart."""
    return output != MISSING and "error" in (object_of(output) or {})
