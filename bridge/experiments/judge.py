"""Judges a call: assertions first, then bounds on what was measured. Green is when nothing was found.

Measures are taken from the phone's own sound, by loudness and by its samples, not from the bridge's records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..doubles.people.caller import Manner, plain
from ..doubles.people.caller_phone import Said
from .callers_run import CallFacts, Failure, Kind, Tool
from .heard import BLOCK_MS, loud_blocks, runs, told_errors
from .scenario import Expect, Scenario
from .significance import percentile

STOPPED_MS: Final = 300
"""The other side has stopped when it is quiet for this long."""
_PAUSE_MS: Final = 700
_REPEATED_WORDS: Final = 4
LATE_MS: Final = 20
"""A caller whose frames are later than this (p99) measured this machine, not the server."""
KIND_OF: Final = {
    "felt_p50_ms": Kind.TOO_SLOW,
    "felt_p95_ms": Kind.TOO_SLOW,
    "first_sound_ms": Kind.TOO_SLOW,
    "stop_p95_ms": Kind.TOO_SLOW,
    "told_error_ms": Kind.TOLD_WRONG,
    "talk_over_ms": Kind.TALK_OVER,
    "silence_max_ms": Kind.SILENCE,
    "repeats": Kind.LIMIT,
    "turns": Kind.LIMIT,
    "seconds": Kind.LIMIT,
    "usd": Kind.LIMIT,
}
"""What a broken bound is called."""


def judge(scenario: Scenario, facts: CallFacts) -> tuple[list[Failure], dict[str, float | None]]:
    """The failures of a call, in the order in which they are looked for, and its measures."""
    if facts.harness:
        return [Failure(Kind.HARNESS, "a call", facts.harness)], {}
    measures = measured(facts)
    if facts.late_p99_ms > LATE_MS:
        late = f"p99 {facts.late_p99_ms} ms: this machine was busy"
        return [Failure(Kind.HARNESS, f"frames at most {LATE_MS} ms late", late)], measures
    failures = [Failure(Kind.NO_ANSWER, "an answer", "none in 8 s", at_ms) for at_ms in facts.unanswered]
    if not failures and not loud_blocks(facts.heard).any():
        failures = [Failure(Kind.NO_ANSWER, "an answer", f"nothing was heard: {facts.ended or 'no end'}")]
    elif facts.broke_off and not any(expect.ended for expect in scenario.expect):
        failures.append(Failure(Kind.ENDED_WRONG, "a call that is hung up", facts.ended, facts.ended_ms))
    if facts.out_of_turns or facts.out_of_time:
        limits = scenario.limits
        want = f"at most {limits.turns} turns" if facts.out_of_turns else f"at most {limits.seconds} s"
        failures.append(Failure(Kind.LIMIT, want, "more", facts.ended_ms))
    failures += checked(scenario.expect, facts, measures)
    return failures, measures


# --- assertions ---------------------------------------------------------------------------------------------


def checked(
    expects: Sequence[Expect], facts: CallFacts, measures: Mapping[str, float | None]
) -> list[Failure]:
    """What of these does not hold: assertions first, then bounds."""
    ordered = sorted(expects, key=lambda one: bool(one.measure or one.told_within_ms is not None))
    return [failure for expect in ordered for failure in _checked(expect, facts, measures)]


def _checked(expect: Expect, facts: CallFacts, measures: Mapping[str, float | None]) -> Iterator[Failure]:
    if expect.measure:
        yield from _bound(expect, measures)
    elif expect.told_within_ms is not None:
        yield from _told(expect.told_within_ms, measures)
    elif expect.tool:
        yield from _tool(expect, facts.tools)
    elif expect.heard or expect.not_heard:
        yield from _words(expect, facts)
    else:
        yield from _end(expect, facts)


def _tool(expect: Expect, tools: Sequence[Tool] | None) -> Iterator[Failure]:
    if tools is None:
        return  # not to be known of this server
    called = [one for one in tools if one.name == expect.tool]
    right = [one for one in called if _holds(expect.arguments, one.arguments)]
    want = f"{expect.tool}({_json(expect.arguments)})" if expect.arguments else expect.tool
    got = ", ".join(f"{one.name}({_json(one.arguments)})" for one in tools) or "no tool was called"
    if expect.never:
        if right:
            yield Failure(Kind.TOOL_FORBIDDEN, f"no call of {want}", got, right[0].at_ms)
    elif not called:
        yield Failure(Kind.TOOL_MISSING, f"a call of {want}", got)
    elif not right:
        yield Failure(Kind.TOOL_ARGUMENTS, want, got, called[0].at_ms)


def _holds(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Words are compared as words: a model may write them otherwise."""
    return all(name in given and _same(value, given[name]) for name, value in wanted.items())


def _same(wanted: Any, given: Any) -> bool:
    if isinstance(wanted, str) and isinstance(given, str):
        return wanted == given or plain(wanted) == plain(given) != ""
    return bool(wanted == given)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, sort_keys=True)


def _words(expect: Expect, facts: CallFacts) -> Iterator[Failure]:
    if facts.lines is None:
        return
    heard = plain(" ".join(text for _, text in facts.lines))
    if expect.heard and plain(expect.heard) not in heard:
        last = facts.lines[-1][1] if facts.lines else "nothing"
        yield Failure(Kind.WORDS_MISSING, f"heard: {expect.heard}", f"last heard: {last}")
    if expect.not_heard and plain(expect.not_heard) in heard:
        said = [(at_ms, text) for at_ms, text in facts.lines if plain(expect.not_heard) in plain(text)]
        at_ms, text = said[0] if said else (None, expect.not_heard)
        yield Failure(Kind.WORDS_FORBIDDEN, f"never heard: {expect.not_heard}", f"heard: {text}", at_ms)


def _end(expect: Expect, facts: CallFacts) -> Iterator[Failure]:
    if expect.ended and plain(expect.ended) != plain(facts.ended):
        yield Failure(Kind.ENDED_WRONG, expect.ended, facts.ended or "no end", facts.ended_ms)
    if expect.transferred and facts.transfers is not None and expect.transferred not in facts.transfers:
        got = ", ".join(facts.transfers) or "no transfer"
        yield Failure(Kind.ENDED_WRONG, f"a transfer to {expect.transferred}", got)
    if expect.keys and expect.keys not in facts.pressed:
        got = f"{len(facts.pressed)} keys pressed"
        yield Failure(Kind.WORDS_MISSING, f"a prompt for {len(expect.keys)} keys", got)
    if expect.reached_goal is not None:
        reached = None if facts.left is None else facts.left.reached
        if reached is not expect.reached_goal:
            want = "the goal reached" if expect.reached_goal else "the goal not reached"
            got = facts.left.why if facts.left is not None and facts.left.why else facts.ended
            yield Failure(Kind.ENDED_WRONG, want, got or "no end", facts.ended_ms)


# --- bounds -------------------------------------------------------------------------------------------------


def _bound(expect: Expect, measures: Mapping[str, float | None]) -> Iterator[Failure]:
    value = measures.get(expect.measure)
    if value is None:
        return  # nothing of the kind happened, or it cannot be known of this server
    if expect.most is not None and value > expect.most:
        yield Failure(KIND_OF[expect.measure], f"{expect.measure} at most {expect.most:g}", f"{value:g}")
    if expect.least is not None and value < expect.least:
        yield Failure(KIND_OF[expect.measure], f"{expect.measure} at least {expect.least:g}", f"{value:g}")


def _told(within_ms: int, measures: Mapping[str, float | None]) -> Iterator[Failure]:
    error_ms = measures.get("told_error_ms")
    if error_ms is not None and error_ms > within_ms:
        want = f"the model told what was heard, to {within_ms} ms"
        yield Failure(Kind.TOLD_WRONG, want, f"{error_ms:g} ms off")


# --- measures -----------------------------------------------------------------------------------------------


def measured(facts: CallFacts) -> dict[str, float | None]:
    """By the names of `scenario.MEASURES`; None for what did not happen or is not to be known."""
    loud = loud_blocks(facts.heard)
    felt = _felt(facts.said, loud)
    stops = _stops(facts.said, loud)
    errors = None if facts.claims is None else told_errors(facts.claims, facts.heard)
    first = next(iter(loud.nonzero()[0]), None)
    return {
        "felt_p50_ms": percentile(felt, 50),
        "felt_p95_ms": percentile(felt, 95),
        "first_sound_ms": None if first is None else float(int(first) * BLOCK_MS - facts.started_ms),
        "stop_p95_ms": percentile(stops, 95),
        "told_error_ms": None if not errors else float(max(map(abs, errors))),
        "talk_over_ms": float(_talk_over(facts.said, loud)),
        "silence_max_ms": float(_longest_silence(facts, loud)),
        "repeats": None if facts.lines is None else float(_repeats(facts.lines)),
        "turns": float(sum(one.manner is not Manner.BACKCHANNEL for one in facts.said)),
        "seconds": round((facts.ended_ms - facts.started_ms) / 1000, 3),
        "usd": facts.usd,
    }


def _felt(said: Sequence[Said], loud: Any) -> list[int]:
    """From the end of each turn to the answer that was heard; a turn that was talked into has none."""
    found = []
    turns = [one for one in said if one.manner is not Manner.BACKCHANNEL]
    onsets = [run.start_ms for run in runs(loud, STOPPED_MS)]
    for turn, following in zip(turns, [*turns[1:], None], strict=False):
        until_ms = following.start_ms if following is not None else 1 << 60
        answer = next((at_ms for at_ms in onsets if turn.end_ms <= at_ms < until_ms), None)
        if answer is not None:
            found.append(answer - turn.end_ms)
    return found


def _stops(said: Sequence[Said], loud: Any) -> list[int]:
    """How long the other side was still heard after the caller had begun to interrupt."""
    found = []
    speeches = runs(loud, STOPPED_MS)
    for one in said:
        if one.manner is Manner.INTERRUPTION:
            spoken = next((run for run in speeches if run.start_ms <= one.start_ms < run.end_ms), None)
            found.append(0 if spoken is None else spoken.end_ms - one.start_ms)
    return found


def _talk_over(said: Sequence[Said], loud: Any) -> int:
    return BLOCK_MS * sum(
        int(loud[one.start_ms // BLOCK_MS : one.end_ms // BLOCK_MS].sum())
        for one in said
        if one.manner is not Manner.BACKCHANNEL
    )


def _longest_silence(facts: CallFacts, loud: Any) -> int:
    """The longest time in which neither side was heard; the caller's own chosen silences count too."""
    busy = sorted(
        [(run.start_ms, run.end_ms) for run in runs(loud, BLOCK_MS)]
        + [(one.start_ms, one.end_ms) for one in facts.said]
        + [(facts.ended_ms, facts.ended_ms)]
    )
    longest, end_ms = 0, facts.started_ms
    for start_ms, stop_ms in busy:
        longest, end_ms = max(longest, start_ms - end_ms), max(end_ms, stop_ms)
    return longest


def _repeats(lines: Sequence[tuple[int, str]]) -> int:
    """How often something of four words or more was heard again."""
    heard = [plain(text) for _, text in lines if len(text.split()) >= _REPEATED_WORDS]
    return len(heard) - len(set(heard))
