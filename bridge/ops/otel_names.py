"""The names of our spans and their attributes: one table, with a version.

OpenTelemetry's conventions for generative AI are all "Development" and do not cover realtime voice yet. What
they have is used (`gen_ai.*`), ours is below `phonebridge.*`. A name that changes, or a meaning, raises
`SEMCONV`, which stands on every resource. docs/guides/traces.md has this table.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

SEMCONV: Final = "1"
SCOPE: Final = "phonebridge"

# Spans.
CALL: Final = "invoke_agent"
WEBHOOK: Final = "POST /incoming-call"
SET_UP: Final = "set_up"
TURN: Final = "turn"
ENDPOINTING: Final = "endpointing"
CHAT: Final = "chat"
TOOL: Final = "execute_tool"
SEND: Final = "send"
CARRIER: Final = "carrier"
BARGE_IN: Final = "barge_in"
RECOVERY: Final = "recovery"

# Attributes.
SEMCONV_VERSION: Final = "phonebridge.semconv"
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
MODEL: Final = "gen_ai.request.model"
AGENT: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
OUTPUT_TYPE: Final = "gen_ai.output.type"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK_S: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
HTTP_STATUS: Final = "http.response.status_code"
DIRECTION: Final = "phonebridge.call.direction"
END: Final = "phonebridge.call.end"
TURNS: Final = "phonebridge.call.turns"
RECOVERIES: Final = "phonebridge.call.recoveries"
COST_USD: Final = "phonebridge.call.cost_usd"
RESUMED: Final = "phonebridge.call.resumed"
DETOURS: Final = "phonebridge.call.detours"
KEPT: Final = "phonebridge.kept"
NUMBER: Final = "phonebridge.turn.number"
FELT_MS: Final = "phonebridge.turn.felt_ms"
PART_MS: Final = "phonebridge.turn.{part}_ms"
INTERRUPTED: Final = "phonebridge.turn.interrupted"
HEARD_SHARE: Final = "phonebridge.turn.heard_share"
ESTIMATED: Final = "phonebridge.estimated"
ITEM: Final = "phonebridge.item.id"
TOLD_MS: Final = "phonebridge.barge_in.told_ms"
UNHEARD_MS: Final = "phonebridge.barge_in.unheard_ms"
CALLER_TEXT: Final = "phonebridge.turn.caller_text"
HEARD_TEXT: Final = "phonebridge.turn.heard_text"
REFUSED: Final = "phonebridge.webhook.refused"


class Span(NamedTuple):
    """One kind of span: its name as documents have it, kind, what it lasts, and the attributes that it may
    have.
    """

    name: str
    kind: str
    lasts: str
    attributes: tuple[str, ...]


SPANS: Final = (
    Span(f"{CALL} {{agent}}", "SERVER", "the call", (
        OPERATION, CONVERSATION, AGENT, MODEL, PROVIDER, DIRECTION, END, TURNS, RECOVERIES, COST_USD, RESUMED,
        DETOURS, KEPT)),
    Span(WEBHOOK, "SERVER", "the carrier's request", (CONVERSATION, HTTP_STATUS, REFUSED)),
    Span(SET_UP, "INTERNAL", "the stream's start to the moment when both hear each other", ()),
    Span(TURN, "INTERNAL", "the caller's last word to the answer that they hear", (
        NUMBER, FELT_MS, PART_MS, INTERRUPTED, HEARD_SHARE, CALLER_TEXT, HEARD_TEXT)),
    Span(ENDPOINTING, "INTERNAL", "last word to the moment when the turn is called over", ()),
    Span(f"{CHAT} {{model}}", "CLIENT", "`response.created` to `response.done`", (
        OPERATION, PROVIDER, MODEL, OUTPUT_TYPE, RESPONSE_ID, FINISH_REASONS, FIRST_CHUNK_S, INPUT_TOKENS,
        OUTPUT_TOKENS, CACHED_TOKENS)),
    Span(f"{TOOL} {{name}}", "INTERNAL", "the model's call to its result", (
        OPERATION, TOOL_NAME, TOOL_CALL_ID, TOOL_ARGUMENTS, TOOL_RESULT)),
    Span(SEND, "INTERNAL", "the answer's first sound to the moment when its turn to be played has come", ()),
    Span(CARRIER, "INTERNAL", "from there until it is heard, half of a mark's round trip", (ESTIMATED,)),
    Span(BARGE_IN, "INTERNAL", "a moment: the caller interrupts", (ITEM, TOLD_MS, UNHEARD_MS)),
    Span(RECOVERY, "INTERNAL", "a model's session is lost until the next one listens", ()),
)  # fmt: skip


def trace_id(call_sid: str) -> int:
    """The trace of a call, whichever process tells of it: of a detour, of a second stream, of a successor."""
    return int.from_bytes(_hash(call_sid, 16))


def span_id(call_sid: str, *path: object) -> int:
    """A span of that call by its place: `"turn", 1`. The same in every process."""
    return int.from_bytes(_hash("/".join(map(str, (call_sid, *path))), 8))


def root_id(call_sid: str) -> int:
    """The span of the call itself."""
    return span_id(call_sid, "call")


def tool_id(call_sid: str, call_id: str, process: str = "") -> int:
    """A tool's span, known before the tool runs: what it begins hangs below it. `process` as in `Facts`."""
    return span_id(call_sid, "tool", *filter(None, [process]), call_id)


def _hash(text: str, size_bytes: int) -> bytes:
    return sha256(text.encode(errors="replace")).digest()[:size_bytes]
