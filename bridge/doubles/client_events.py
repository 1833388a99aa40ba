"""What a client of the Realtime API may send: every field, nothing besides.

"Realtime client events": https://developers.openai.com/api/docs/api-reference/realtime-client-events
A GA server refuses a field that it does not know, and with it the whole event. Where a field may be left out,
null may stand in its place: SDKs write what was not set so.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .faults import Fault

_Maybe: TypeAlias = UnsetType | None
_Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=32)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False): ...


class _Tagged(_Strict, tag_field="type", kw_only=True, gc=False): ...


# --- the session tree ---------------------------------------------------------------------------------------


class _Pcm(_Tagged, tag="audio/pcm", kw_only=True, gc=False):
    rate: Literal[24_000] | _Maybe = UNSET


class _Pcmu(_Tagged, tag="audio/pcmu", kw_only=True, gc=False): ...


class _Pcma(_Tagged, tag="audio/pcma", kw_only=True, gc=False): ...


_Format: TypeAlias = _Pcm | _Pcmu | _Pcma


class _ServerVad(_Tagged, tag="server_vad", kw_only=True, gc=False):
    threshold: Annotated[float, Meta(ge=0, le=1)] | _Maybe = UNSET
    prefix_padding_ms: Annotated[int, Meta(ge=0)] | _Maybe = UNSET
    silence_duration_ms: Annotated[int, Meta(ge=0)] | _Maybe = UNSET
    create_response: bool | _Maybe = UNSET
    interrupt_response: bool | _Maybe = UNSET
    idle_timeout_ms: Annotated[int, Meta(ge=5_000, le=30_000)] | _Maybe = UNSET


class _SemanticVad(_Tagged, tag="semantic_vad", kw_only=True, gc=False):
    eagerness: Literal["low", "medium", "high", "auto"] | _Maybe = UNSET
    create_response: bool | _Maybe = UNSET
    interrupt_response: bool | _Maybe = UNSET


class _NoiseReduction(_Strict, kw_only=True, gc=False):
    type: Literal["near_field", "far_field"]
    strength: float | _Maybe = UNSET


class _Transcription(_Strict, kw_only=True, gc=False):
    model: str | _Maybe = UNSET
    language: str | _Maybe = UNSET
    languages: list[str] | _Maybe = UNSET
    keywords: list[str] | _Maybe = UNSET
    prompt: str | _Maybe = UNSET
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | _Maybe = UNSET


class _Input(_Strict, kw_only=True, gc=False):
    format: _Format | _Maybe = UNSET
    noise_reduction: _NoiseReduction | _Maybe = UNSET
    transcription: _Transcription | _Maybe = UNSET
    turn_detection: _ServerVad | _SemanticVad | _Maybe = UNSET


class _CustomVoice(_Strict, kw_only=True, gc=False):
    id: str


class _Output(_Strict, kw_only=True, gc=False):
    format: _Format | _Maybe = UNSET
    voice: Annotated[str, Meta(min_length=1)] | _CustomVoice | _Maybe = UNSET
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] | _Maybe = UNSET


class _Audio(_Strict, kw_only=True, gc=False):
    input: _Input | _Maybe = UNSET
    output: _Output | _Maybe = UNSET


class _Function(_Tagged, tag="function", kw_only=True, gc=False):
    # There is no `strict` here, as there is in Chat Completions.
    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    description: str | _Maybe = UNSET
    parameters: dict[str, Any] | _Maybe = UNSET


class _Mcp(_Tagged, tag="mcp", kw_only=True, gc=False):
    server_label: str
    server_url: str | _Maybe = UNSET
    connector_id: str | _Maybe = UNSET
    tunnel_id: str | _Maybe = UNSET
    authorization: str | _Maybe = UNSET
    headers: dict[str, str] | _Maybe = UNSET
    allowed_tools: list[str] | dict[str, Any] | _Maybe = UNSET
    allowed_callers: list[Literal["direct", "programmatic"]] | _Maybe = UNSET
    require_approval: Literal["always", "never"] | dict[str, Any] | _Maybe = UNSET
    server_description: str | _Maybe = UNSET
    defer_loading: bool | _Maybe = UNSET


class _ThisFunction(_Tagged, tag="function", kw_only=True, gc=False):
    name: str  # flat, not nested as in Chat Completions


class _ThisMcp(_Tagged, tag="mcp", kw_only=True, gc=False):
    server_label: str
    name: str | _Maybe = UNSET


class _Reasoning(_Strict, kw_only=True, gc=False):
    effort: Literal["minimal", "low", "medium", "high", "xhigh"] | _Maybe = UNSET


class _Prompt(_Strict, kw_only=True, gc=False):
    id: str
    version: str | _Maybe = UNSET
    variables: dict[str, Any] | _Maybe = UNSET


class _Retention(_Strict, kw_only=True, gc=False):
    type: Literal["retention_ratio"]
    retention_ratio: Annotated[float, Meta(ge=0, le=1)]
    token_limits: dict[Literal["post_instructions"], int] | _Maybe = UNSET


class _Tracing(_Strict, kw_only=True, gc=False):
    workflow_name: str | _Maybe = UNSET
    group_id: str | _Maybe = UNSET
    metadata: dict[str, Any] | _Maybe = UNSET


# Never both, says the guide.
_Modalities: TypeAlias = Annotated[list[Literal["audio", "text"]], Meta(min_length=1, max_length=1)]
_Choice: TypeAlias = Literal["auto", "none", "required"] | _ThisFunction | _ThisMcp
_Tokens: TypeAlias = Annotated[int, Meta(ge=1, le=4_096)] | Literal["inf"]


class _Session(_Strict, kw_only=True, gc=False):
    type: Literal["realtime"]
    model: str | _Maybe = UNSET
    instructions: str | _Maybe = UNSET
    output_modalities: _Modalities | _Maybe = UNSET
    audio: _Audio | _Maybe = UNSET
    tools: list[_Function | _Mcp] | _Maybe = UNSET
    tool_choice: _Choice | _Maybe = UNSET
    parallel_tool_calls: bool | _Maybe = UNSET
    reasoning: _Reasoning | _Maybe = UNSET
    max_output_tokens: _Tokens | _Maybe = UNSET
    truncation: Literal["auto", "disabled"] | _Retention | _Maybe = UNSET
    tracing: Literal["auto"] | _Tracing | _Maybe = UNSET
    prompt: _Prompt | _Maybe = UNSET
    include: list[Literal["item.input_audio_transcription.logprobs"]] | _Maybe = UNSET


# --- items and responses ------------------------------------------------------------------------------------


class _InputText(_Tagged, tag="input_text", kw_only=True, gc=False):
    text: str


class _InputAudio(_Tagged, tag="input_audio", kw_only=True, gc=False):
    audio: str
    transcript: str | _Maybe = UNSET


class _InputImage(_Tagged, tag="input_image", kw_only=True, gc=False):
    image_url: str
    detail: Literal["auto", "low", "high"] | _Maybe = UNSET


class _OutputText(_Tagged, tag="output_text", kw_only=True, gc=False):
    text: str


class _Item(_Tagged, kw_only=True, gc=False):
    id: _Id | _Maybe = UNSET
    object: Literal["realtime.item"] | _Maybe = UNSET
    status: Literal["completed", "incomplete", "in_progress"] | _Maybe = UNSET


class _Message(_Item, tag="message", kw_only=True, gc=False):
    # Assistant audio can't be inserted: there is no output_audio here.
    role: Literal["system", "user", "assistant"]
    content: list[_InputText | _InputAudio | _InputImage | _OutputText]


class _FunctionCall(_Item, tag="function_call", kw_only=True, gc=False):
    name: str
    arguments: str
    call_id: str | _Maybe = UNSET


class _FunctionCallOutput(_Item, tag="function_call_output", kw_only=True, gc=False):
    call_id: str
    output: str


class _McpApproval(_Item, tag="mcp_approval_response", kw_only=True, gc=False):
    approval_request_id: str
    approve: bool
    reason: str | _Maybe = UNSET


class _Reference(_Tagged, tag="item_reference", kw_only=True, gc=False):
    id: str


_AnyItem: TypeAlias = _Message | _FunctionCall | _FunctionCallOutput | _McpApproval


class _ResponseOutput(_Strict, kw_only=True, gc=False):
    format: _Format | _Maybe = UNSET
    voice: str | _CustomVoice | _Maybe = UNSET


class _ResponseAudio(_Strict, kw_only=True, gc=False):
    output: _ResponseOutput | _Maybe = UNSET


# "metadata": 16 pairs, keys of 64 characters, values of 512.
_Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]


class _Response(_Strict, kw_only=True, gc=False):
    conversation: Literal["auto", "none"] | _Maybe = UNSET
    input: list[_Message | _FunctionCall | _FunctionCallOutput | _McpApproval | _Reference] | _Maybe = UNSET
    instructions: str | _Maybe = UNSET
    output_modalities: _Modalities | _Maybe = UNSET
    audio: _ResponseAudio | _Maybe = UNSET
    tools: list[_Function | _Mcp] | _Maybe = UNSET
    tool_choice: _Choice | _Maybe = UNSET
    parallel_tool_calls: bool | _Maybe = UNSET
    reasoning: _Reasoning | _Maybe = UNSET
    max_output_tokens: _Tokens | _Maybe = UNSET
    metadata: _Metadata | _Maybe = UNSET
    prompt: _Prompt | _Maybe = UNSET


# --- the events ---------------------------------------------------------------------------------------------


class _Event(_Strict, kw_only=True, gc=False):
    type: str
    event_id: Annotated[str, Meta(max_length=512)] | _Maybe = UNSET


class _Append(_Event, kw_only=True, gc=False):
    audio: str


class _Update(_Event, kw_only=True, gc=False):
    session: _Session


class _Create(_Event, kw_only=True, gc=False):
    item: _AnyItem
    previous_item_id: str | _Maybe = UNSET


class _ItemNamed(_Event, kw_only=True, gc=False):
    item_id: str


class _Truncate(_ItemNamed, kw_only=True, gc=False):
    content_index: Annotated[int, Meta(ge=0)]
    audio_end_ms: Annotated[int, Meta(ge=0)]


class _Respond(_Event, kw_only=True, gc=False):
    response: _Response | _Maybe = UNSET


class _Cancel(_Event, kw_only=True, gc=False):
    response_id: str | _Maybe = UNSET


_SHAPES: Final[dict[str, type[_Event]]] = {
    "session.update": _Update,
    "input_audio_buffer.append": _Append,
    "input_audio_buffer.commit": _Event,
    "input_audio_buffer.clear": _Event,
    "conversation.item.create": _Create,
    "conversation.item.retrieve": _ItemNamed,
    "conversation.item.delete": _ItemNamed,
    "conversation.item.truncate": _Truncate,
    "response.create": _Respond,
    "response.cancel": _Cancel,
    "output_audio_buffer.clear": _Event,
}

EVENTS: Final = frozenset(_SHAPES)
"""The types of what a client may send."""

_FIELD = re.compile(
    r"Object (contains unknown|missing required) field `(?P<name>.*?)`(?: - at `\$\.?(?P<where>.*)`)?$"
)
_VALUE = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<where>.*)`)?$", re.DOTALL)


def check(event: dict[str, Any], unknown_fields: frozenset[str] = frozenset()) -> None:
    """Raises `Fault` unless this is a client event with only known fields of the right types. An older server
    knows fewer fields of a session: `unknown_fields` are the names of those.
    """
    shape = _SHAPES.get(event["type"])
    if shape is None:
        raise Fault("unknown_event", f"Unknown event type: '{event['type']}'.", "type")
    session = event.get("session")
    if isinstance(session, dict) and session.get("type") == "transcription":
        message = "A transcription session update can't be passed to a realtime session."
        raise Fault("invalid_value", message, "session.type")
    if isinstance(session, dict) and (unknown := sorted(unknown_fields & session.keys())):
        param = f"session.{unknown[0]}"
        raise Fault("unknown_parameter", f"Unknown parameter: '{param}'.", param)
    try:
        msgspec.convert(event, shape)
    except msgspec.ValidationError as invalid:
        raise _fault(str(invalid)) from None


def _fault(complaint: str) -> Fault:
    """Msgspec's complaint in the API's words."""
    if field := _FIELD.match(complaint):
        param = ".".join(part for part in (field["where"], field["name"]) if part)
        if complaint.startswith("Object contains unknown"):
            return Fault("unknown_parameter", f"Unknown parameter: '{param}'.", param)
        return Fault("missing_required_parameter", f"Missing required parameter: '{param}'.", param)
    value = _VALUE.match(complaint)
    what, where = (value["what"], value["where"]) if value else (complaint, None)
    code = "invalid_type" if ", got `" in what else "invalid_value"
    noun = "type for" if code == "invalid_type" else "value for"
    return Fault(code, f"Invalid {noun} '{where or 'event'}': {what}.", where)
