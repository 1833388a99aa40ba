"""A call as spans: made from its `Stats`, with the times that the core has written down. No SDK here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from bridge.core.messages import Reason, Usage
from bridge.core.stats import Stats
from bridge.core.toolbox import FAILED, failure
from bridge.core.turn_times import ResponseTimes, ToolTimes, TurnTimes

from . import otel_names as names

Value = str | int | float | bool | tuple[str, ...]
NONE: Final[Mapping[str, Value]] = MappingProxyType({})
GOES_ON: Final = frozenset({Reason.HANDED_OVER, Reason.TAKEN_OVER})
"""The process that goes on with the call closes its span."""
USUAL: Final = frozenset(
    {Reason.CALLER_HUNG_UP, Reason.WE_HUNG_UP, Reason.TRANSFERRED, Reason.LIMIT, *GOES_ON}
)
"""Every other end is a failure."""
MOST_CHARACTERS: Final = 4_096
"""Of a text attribute."""


class Link(NamedTuple):
    """A span of another trace."""

    trace_id: int
    span_id: int


class Made(NamedTuple):
    """One span. Times are milliseconds of the call; `kind` and `failed` as OpenTelemetry has them."""

    name: str
    span_id: int
    parent_id: int | None
    start_ms: int
    end_ms: int
    kind: str = "INTERNAL"
    attributes: Mapping[str, Value] = NONE
    failed: str | None = None
    link: Link | None = None


@dataclass(slots=True)
class Words:
    """What was said in a turn; kept only where content is wanted."""

    caller: str = ""
    heard: str = ""


@dataclass(slots=True)
class Facts:
    """What is known of a call beside its `Stats`. `process` tells ids of one that goes on with a call from
    those of the first, for which it is "". `turns_before`: those that the call had elsewhere; `began_ms`:
    when it began there, before 0. `outputs` are the tools' arguments and results by call id.
    """

    call_sid: str
    stats: Stats
    agent: str = ""
    model: str = ""
    provider: str = ""
    direction: str = "inbound"
    process: str = ""
    turns_before: int = 0
    began_ms: int = 0
    resumed: bool = False
    link: Link | None = None
    words: dict[int, Words] = field(default_factory=dict)
    outputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    content: bool = False


def kept_because(stats: Stats, reason: Reason, budget_ms: int) -> str:
    """Why this call is told of whatever the sampler says; "" for a usual call."""
    if stats.recoveries or reason not in USUAL:
        return "loss"
    if stats.frames_refused or stats.frames_dropped:
        return "refusal"
    slow = any((turn.felt_ms or 0) > budget_ms for turn in stats.turn_times)
    return "felt" if slow else ""


def call_spans(facts: Facts, reason: Reason, from_turn: int = 0, kept: str = "") -> list[Made]:
    """The whole call, which is over; of its turns those from that index on. The call's own span is missing
    where another process goes on with it.
    """
    stats = facts.stats
    made = [*_beside(facts), *turn_spans(facts, from_turn)]
    if reason in GOES_ON:
        return made
    attributes: dict[str, Value] = {
        names.OPERATION: names.CALL,
        names.CONVERSATION: facts.call_sid,
        names.AGENT: facts.agent,
        names.MODEL: facts.model,
        names.PROVIDER: facts.provider,
        names.DIRECTION: facts.direction,
        names.END: reason.name.lower(),
        names.TURNS: facts.turns_before + len(stats.turn_times),
        names.RECOVERIES: stats.recoveries,
        names.COST_USD: stats.cost_micro_usd / 1_000_000,
        names.RESUMED: facts.resumed,
        names.DETOURS: len(stats.detours),
        names.KEPT: kept,
    }
    failed = None if reason in USUAL else reason.value
    return [
        Made(
            f"{names.CALL} {facts.agent}".strip(),
            names.root_id(facts.call_sid),
            None,
            facts.began_ms,
            stats.ended_ms or 0,
            "SERVER",
            {name: value for name, value in attributes.items() if value != ""},
            failed,
            facts.link,
        ),
        *made,
    ]


def turn_spans(facts: Facts, from_turn: int = 0, to_turn: int | None = None) -> Iterator[Made]:
    """Each turn with what it is made of. A turn that was not answered ends with the last that is known."""
    stats, call_sid = facts.stats, facts.call_sid
    for turn in stats.turn_times[from_turn:to_turn]:
        number = facts.turns_before + turn.number
        span_id = names.span_id(call_sid, "turn", number)
        yield _turn(facts, turn, number, span_id)
        start_ms = turn.last_word_ms or 0
        if turn.decided_ms is not None:
            yield _part(facts, names.ENDPOINTING, number, start_ms, turn.decided_ms)
        yield from _inner(facts, turn, span_id)
        if turn.delta_ms is not None and turn.heard_ms is not None:
            played_ms = max(turn.delta_ms, turn.heard_ms - turn.way_ms)
            yield _part(facts, names.SEND, number, turn.delta_ms, played_ms)
            estimated: dict[str, Value] = {names.ESTIMATED: True}
            yield _part(facts, names.CARRIER, number, played_ms, turn.heard_ms, estimated)


def _turn(facts: Facts, turn: TurnTimes, number: int, span_id: int) -> Made:
    attributes: dict[str, Value] = {names.NUMBER: number, names.INTERRUPTED: turn.cut_ms is not None}
    if turn.felt_ms is not None:
        attributes[names.FELT_MS] = turn.felt_ms
    for part, ms in turn.parts().items():
        attributes[names.PART_MS.format(part=part)] = ms
    cuts = [cut for cut in facts.stats.barge_ins if turn.item_id and cut.item_id == turn.item_id]
    if cuts and cuts[0].received_ms:
        attributes[names.HEARD_SHARE] = round(cuts[0].heard_ms / cuts[0].received_ms, 3)
    words = facts.words.get(number)
    if words is not None:
        said = ((names.CALLER_TEXT, words.caller), (names.HEARD_TEXT, words.heard))
        attributes |= {name: text[:MOST_CHARACTERS] for name, text in said if text}
    root = names.root_id(facts.call_sid)
    start_ms = turn.last_word_ms or 0
    known = [
        at_ms for at_ms in (turn.heard_ms, turn.delta_ms, turn.cut_ms, turn.decided_ms) if at_ms is not None
    ]
    end_ms = turn.heard_ms if turn.heard_ms is not None else max([start_ms, *known])
    return Made(
        f"{names.TURN} {number}", span_id, root, start_ms, max(start_ms, end_ms), attributes=attributes
    )


def _part(
    facts: Facts,
    name: str,
    number: int,
    from_ms: int,
    to_ms: int,
    attributes: Mapping[str, Value] = NONE,
) -> Made:
    parent_id = names.span_id(facts.call_sid, "turn", number)
    span_id = names.span_id(facts.call_sid, "turn", number, name)
    return Made(name, span_id, parent_id, from_ms, max(from_ms, to_ms), attributes=attributes)


def _inner(facts: Facts, turn: TurnTimes, parent_id: int) -> Iterator[Made]:
    """The responses and tools of a turn."""
    for number, response in enumerate(turn.responses):
        place = facts.turns_before + turn.number if turn.number else f"opening{facts.process}"
        yield _chat(
            facts, response, names.span_id(facts.call_sid, "turn", place, names.CHAT, number), parent_id
        )
    for tool in turn.tools:
        yield _tool(facts, tool, parent_id)


def _chat(facts: Facts, response: ResponseTimes, span_id: int, parent_id: int) -> Made:
    attributes: dict[str, Value] = {
        names.OPERATION: names.CHAT,
        names.PROVIDER: facts.provider,
        names.MODEL: facts.model,
        names.OUTPUT_TYPE: "speech",
        names.RESPONSE_ID: response.response_id,
    }
    if response.status:
        attributes[names.FINISH_REASONS] = (response.status,)
    if response.first_ms is not None:
        attributes[names.FIRST_CHUNK_S] = (response.first_ms - response.created_ms) / 1000
    if response.usage is not None:
        attributes |= _tokens(response.usage)
    end_ms = response.done_ms if response.done_ms is not None else facts.stats.ended_ms
    return Made(
        f"{names.CHAT} {facts.model}".strip(),
        span_id,
        parent_id,
        response.created_ms,
        max(response.created_ms, end_ms or 0),
        "CLIENT",
        attributes,
        "failed" if response.status == "failed" else None,
    )


def _tokens(usage: Usage) -> dict[str, Value]:
    return {
        names.INPUT_TOKENS: usage.text_in + usage.audio_in + usage.image_in,
        names.OUTPUT_TOKENS: usage.text_out + usage.audio_out,
        names.CACHED_TOKENS: usage.cached_text + usage.cached_audio + usage.cached_image,
    }


def _tool(facts: Facts, tool: ToolTimes, parent_id: int) -> Made:
    arguments, output = facts.outputs.get(tool.call_id, ("", ""))
    attributes: dict[str, Value] = {
        names.OPERATION: names.TOOL,
        names.TOOL_NAME: tool.name,
        names.TOOL_CALL_ID: tool.call_id,
    }
    if facts.content:
        attributes[names.TOOL_ARGUMENTS] = arguments[:MOST_CHARACTERS]
        attributes[names.TOOL_RESULT] = output[:MOST_CHARACTERS]
    failed = FAILED if failure(output) is not None else None
    end_ms = tool.finished_ms if tool.finished_ms is not None else facts.stats.ended_ms
    return Made(
        f"{names.TOOL} {tool.name}",
        names.tool_id(facts.call_sid, tool.call_id, facts.process),
        parent_id,
        tool.wanted_ms,
        max(tool.wanted_ms, end_ms or 0),
        attributes=attributes,
        failed="it gave no result" if tool.finished_ms is None else failed,
    )


def _beside(facts: Facts) -> Iterator[Made]:
    """What belongs to no turn: set-up, the greeting, barge-ins, lost sessions."""
    stats, call_sid = facts.stats, facts.call_sid
    root, process = names.root_id(call_sid), facts.process
    if stats.started_ms is not None:
        end_ms = stats.began_ms if stats.began_ms is not None else stats.ended_ms
        span_id = names.span_id(call_sid, names.SET_UP, process)
        failed = "it never began" if stats.began_ms is None else None
        yield Made(names.SET_UP, span_id, root, stats.started_ms, end_ms or 0, failed=failed)
    yield from _inner(facts, stats.opening, root)
    for number, cut in enumerate(stats.barge_ins):
        span_id = names.span_id(call_sid, names.BARGE_IN, process, number)
        attributes: dict[str, Value] = {
            names.ITEM: cut.item_id,
            names.TOLD_MS: cut.heard_ms,
            names.UNHEARD_MS: max(0, cut.received_ms - cut.heard_ms),
        }
        yield Made(names.BARGE_IN, span_id, root, cut.at_ms, cut.at_ms, attributes=attributes)
    for number, (gap_ms, at_ms) in enumerate(zip(stats.gaps_ms, stats.restored_ms, strict=False)):
        span_id = names.span_id(call_sid, names.RECOVERY, process, number)
        yield Made(
            names.RECOVERY, span_id, root, at_ms - gap_ms, at_ms, failed="the model's session was lost"
        )
