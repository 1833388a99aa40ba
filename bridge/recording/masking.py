"""Takes everybody's words out of a recording, so that it can be given away. It replays as before.

Letters become x and digits 0, one for one: words keep their lengths, so that a cut falls on the same word.
Keys become `•`, but for the `#` that ends them; sound is left out. What stays is what the call was decided
by: ids, names (of tools, their parameters, transfer targets, phrases), and the vendor's own words for kinds
and reasons; where user code may have written them, those that are known to be the vendor's. Of every field
that holds text it is said here whether it stays; one of which nothing is said is taken for words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from bridge.codecs import is_clean, size_bytes
from bridge.core import messages as m

from .editing import remade
from .header import Forked, Header, Origin
from .json_text import UNREADABLE, one_line
from .sound import MAX_BYTES, STREAM_DELTA, runs_of, silence
from .steps import Recording, Step

_LETTER: Final = re.compile(r"[^\W\d_]")
_DIGIT: Final = re.compile(r"\d")
_SID: Final = re.compile(r"\b(AC|CA|MZ)[0-9a-f]{32}\b")
_MATTERS: Final = re.compile(
    r"(\bsession\.prompt\b|\bpmpt_|\balready has an active response\b|\bno active response\b"
    r"|\b(?:try again|retry) (?:in|after) [0-9.ms]{1,20}(?: ?(?:milli)?sec(?:ond)?s?\b)?)",
    re.IGNORECASE,
)
"""What adapter and core read in the words of an error."""
_VENDOR_WORD: Final = re.compile(r"(?:[a-z_./:-]|\[?\d{1,3}(?!\d)\]?){0,120}")
"""A kind, a code, a path: small letters, and no number of more than three digits."""
_VERDICT: Final = re.compile(r"(?:[A-Za-z_./, -]|\d{1,3}(?!\d)){0,120}")
"""An adapter's verdict on a frame."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

STAYS: Final[dict[type[msgspec.Struct], frozenset[str]]] = {
    Header: frozenset({"carrier", "upstream", "at", "versions"}),
    Origin: frozenset({"recording"}),
    Forked: frozenset({"recording", "model"}),
    m.CallSnapshot: frozenset({"away"}),
    m.CallConfig: frozenset({"phrases", "disclosure", "fallback", "digits", "prices"}),
    m.SessionConfig: frozenset(
        {
            "model",
            "voice",
            "transcription",
            "language",
            "noise_reduction",
            "tool_choice",
            "max_output_tokens",
            "unset",
            "backend",
            "delegate",
        }
    ),
    m.AgentRules: frozenset({"name"}),
    m.Capabilities: frozenset(
        {"turns", "clock", "speaks", "reconfigures", "history", "tools", "priced_by", "fatal_codes"}
    ),
    m.VendorPlan: frozenset({"name", "model", "voice", "transcription", "prices", "voices"}),
    m.AnswerRules: frozenset({"on_machine"}),
    m.MachineVerdict: frozenset({"answered_by"}),
    m.DecideMachine: frozenset({"action"}),
    m.SemanticVad: frozenset({"eagerness"}),
    m.ToolConfig: frozenset({"name", "filler"}),
    m.SnapshotItem: frozenset({"role", "call_id", "name"}),
    m.Started: frozenset({"stream_id", "call_id", "account_id"}),
    m.MarkReached: frozenset({"name"}),
    m.SessionCreated: frozenset({"session_id"}),
    m.SpeechStarted: frozenset({"item_id"}),
    m.SpeechStopped: frozenset({"item_id"}),
    m.TurnCommitted: frozenset({"item_id"}),
    m.CallerIdled: frozenset({"item_id"}),
    m.ItemAdded: frozenset({"item_id", "kind", "role", "previous_id", "response_id"}),
    m.ItemGone: frozenset({"item_id"}),
    m.CallerWords: frozenset({"item_id"}),
    m.CallerTranscribed: frozenset({"item_id"}),
    m.ResponseStarted: frozenset({"response_id", "tag"}),
    m.AudioDelta: frozenset({"response_id", "item_id"}),
    m.AudioDone: frozenset({"response_id", "item_id"}),
    m.TextDelta: frozenset({"response_id", "item_id"}),
    m.ToolCalled: frozenset({"response_id", "item_id", "call_id", "name"}),
    m.ResponseDone: frozenset({"response_id", "status"}),
    m.UpstreamFaulted: frozenset({"about"}),
    m.Fragment: frozenset({"role"}),
    m.Delegated: frozenset({"id", "target"}),
    m.BackendDone: frozenset({"id"}),
    m.SessionEnding: frozenset({"why"}),
    m.Accepted: frozenset({"about"}),
    m.BrokenOnPurpose: frozenset({"what"}),
    m.TakenOver: frozenset({"by"}),
    m.Moved: frozenset({"from_machine", "to_machine", "how"}),
    m.OperatorActed: frozenset({"what"}),
    m.VendorNote: frozenset({"kind", "item_id"}),
    m.Play: frozenset({"say_id"}),
    m.Say: frozenset({"say_id"}),
    m.Respond: frozenset({"say_id"}),
    m.AddText: frozenset({"role"}),
    m.Interrupt: frozenset({"response_id"}),
    m.Transfer: frozenset({"name"}),
    m.Detour: frozenset({"detour_id", "name", "call_id"}),
    m.EndDetour: frozenset({"detour_id"}),
    m.LegState: frozenset({"detour_id"}),
    m.WentAway: frozenset({"detour_id"}),
    m.Returned: frozenset({"detour_id"}),
    m.DetourOver: frozenset({"detour_id"}),
    m.ToolFinished: frozenset({"call_id"}),
    m.HandlerFailed: frozenset({"detail"}),
    m.FrameRefused: frozenset({"leg"}),
}
"""Fields that hold text and stay as they are."""
GOES: Final[dict[type[msgspec.Struct], frozenset[str]]] = {
    Header: frozenset({"caller", "parameters", "carried"}),
    m.CallConfig: frozenset({"greeting", "returned"}),
    m.SessionConfig: frozenset({"instructions", "tools", "extra"}),
    m.AnswerRules: frozenset({"message", "screening"}),
    m.SnapshotItem: frozenset({"text", "arguments", "output"}),
    m.VendorPlan: frozenset({"url"}),
    m.Sound: frozenset({"audio", "text"}),
    m.Started: frozenset({"parameters"}),
    m.CallerAudio: frozenset({"audio"}),
    m.DigitPressed: frozenset({"digit"}),
    m.SessionUpdated: frozenset({"differences"}),
    m.ItemAdded: frozenset({"text"}),
    m.CallerWords: frozenset({"text"}),
    m.CallerTranscribed: frozenset({"text", "why"}),
    m.AudioDelta: frozenset({"audio"}),
    m.TextDelta: frozenset({"text"}),
    m.ToolCalled: frozenset({"arguments"}),
    m.ResponseDone: frozenset({"why"}),
    m.UpstreamFaulted: frozenset({"code", "message", "param", "kind"}),
    m.VendorNote: frozenset({"body", "why"}),
    m.StreamAudio: frozenset({"audio"}),
    m.Fragment: frozenset({"text"}),
    m.BackendDone: frozenset({"why"}),
    m.Say: frozenset({"text"}),
    m.Respond: frozenset({"instructions"}),
    m.AddText: frozenset({"text"}),
    m.HangUp: frozenset({"why"}),
    m.Detour: frozenset({"brief", "accept"}),
    m.DetourResult: frozenset({"raw"}),
    m.ToolFinished: frozenset({"output"}),
    m.SendRaw: frozenset({"body"}),
    m.FrameRefused: frozenset({"why"}),
    m.CarrierClosed: frozenset({"reason"}),
    m.CarrierGivenUp: frozenset({"reason"}),
    m.DialFailed: frozenset({"code"}),
    m.UpstreamClosed: frozenset({"reason"}),
}
"""Fields that hold what people said or wrote, or may."""

_SOUND: Final = frozenset({"audio", "payload"})
_CODES: Final = frozenset({"code", "kind", "param", "why"})
_BY_VENDOR: Final = (m.UpstreamFaulted, m.ResponseDone, m.DialFailed)
_NOT_WORDS: Final = frozenset({"id", "name", "tag", "event_id", "item_id", "call_id",
    "previous_item_id", "response_id", "conversation_id", "approval_request_id", "session_id", "streamSid",
    "accountSid", "callSid", "model", "voice", "server_label", "required", "allowed_tools", "tool_names",
    "sequenceNumber", "chunk", "timestamp"})  # fmt: skip
"""Keys of frames and of a vendor's objects whose strings are ids, names or clocks, outside of an object that
a peer has filled."""
_VENDORS: Final = frozenset({"type", "event", "object", "status", "role", "reason", "code", "param", "format",
    "eagerness", "tool_choice", "phase", "language", "output_modalities", "modalities", "encoding", "track",
    "tracks", "protocol", "version", "conversation", "purpose"})  # fmt: skip
"""Keys whose strings are the vendor's words, if they look like one."""
_ENUMS: Final = frozenset({
    "session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear",
    "output_audio_buffer.clear", "conversation.item.create", "conversation.item.delete",
    "conversation.item.retrieve", "conversation.item.truncate", "response.create", "response.cancel",
    "realtime", "transcription", "realtime.session", "realtime.item", "realtime.response", "message",
    "function_call", "function_call_output", "item_reference", "mcp_call", "mcp_list_tools",
    "mcp_approval_request", "mcp_approval_response", "input_text", "input_audio", "input_image",
    "output_text", "output_audio", "text", "audio", "image", "function", "mcp", "object", "string",
    "number", "integer", "boolean", "array", "null", "server_vad", "semantic_vad", "near_field", "far_field",
    "audio/pcm", "audio/pcmu", "audio/pcma", "pcm16", "g711_ulaw", "g711_alaw", "low", "medium", "high",
    "auto", "none", "required", "default", "user", "assistant", "system", "completed", "incomplete",
    "in_progress", "cancelled", "failed", "commentary", "final_answer", "disabled", "retention_ratio",
})  # fmt: skip
"""The vendor's words that user code may have written; others may be anybody's."""
_LANGUAGE: Final = re.compile("[a-z]{2}(-[A-Z]{2})?")
_ANYBODYS: Final = frozenset({"metadata", "variables", "headers", "customParameters", "default", "enum",
    "const", "examples"})  # fmt: skip
"""Keys of objects that a peer has filled: only their keys stay, and of numbers only that they are one."""


def masked(lines: Iterable[str]) -> list[str]:
    """The recording without words, sound, keys, numbers and ids of accounts. What follows is made anew by
    today's code: a recording that does not replay should be accepted before. Raises ConfigError for what is
    no recording.
    """
    recording = Recording(_without_sids(lines))
    return remade(_header(recording.header), map(_step, recording.steps()))


def _without_sids(lines: Iterable[str]) -> Iterator[str]:
    """The same lines with other ids of the carrier's, one for one: a call that comes back has two streams."""
    aliases: dict[str, str] = {}

    def alias(sid: re.Match[str]) -> str:
        return aliases.setdefault(sid[0], f"{sid[1]}{len(aliases):032x}")

    return (_SID.sub(alias, line) for line in lines)


def mask_words(text: str) -> str:
    """The text with its letters and digits taken out, of the same length and with the same gaps."""
    return _DIGIT.sub("0", _LETTER.sub(lambda letter: "X" if letter[0].isupper() else "x", text))


def _header(header: Header) -> Header:
    parameters = {name: mask_words(value) for name, value in header.parameters.items()}
    config = masked_message(header.config)
    masked = msgspec.structs.replace(header, config=config, parameters=parameters, carried=None, sound=False)
    return msgspec.structs.replace(masked, caller="")


def _step(step: Step) -> Step:
    if step.event is not None:
        return msgspec.structs.replace(step, event=masked_message(step.event))
    frame = step.frame
    if isinstance(frame, str):
        return msgspec.structs.replace(step, frame=_frame(frame, step.door))
    return msgspec.structs.replace(step, frame=None if frame is None else bytes(len(frame)))


# --- messages --------------------------------------------------------------------------------------------


def masked_message(struct: _Struct) -> _Struct:
    """An event, or a part of a header, without words."""
    stays = STAYS.get(type(struct), frozenset())
    changed = {
        name: _field(struct, name, value)
        for name, value in msgspec.structs.asdict(struct).items()
        if name not in stays or isinstance(value, Mapping)
    }
    return msgspec.structs.replace(struct, **changed)


def _field(struct: msgspec.Struct, name: str, value: Any) -> Any:
    if isinstance(struct, m.SendRaw | m.VendorNote):
        if name == "why":
            return mask_words(value)
        return _frame(value, "upstream", isinstance(struct, m.SendRaw)) if name == "body" else value
    if isinstance(struct, m.FrameRefused):
        # What an adapter says, and behind it how the frame began.
        said, colon, shown = value.partition(":")
        return f"{said if _VERDICT.fullmatch(said) else mask_words(said)}{colon}{mask_words(shown)}"
    if isinstance(struct, _BY_VENDOR) and name in _CODES:
        return _vendor_word(value)
    if isinstance(struct, m.UpstreamFaulted) and name == "message":
        return _fault(value)
    if isinstance(struct, m.DigitPressed):
        return _key(value)
    return _value(value, name, stays=name in STAYS.get(type(struct), frozenset()))


def _value(value: Any, name: str = "", *, stays: bool = False) -> Any:
    """Whatever a field holds, with structs in it by their own fields."""
    if isinstance(value, msgspec.Struct):
        return masked_message(value)
    if isinstance(value, tuple | list) and any(isinstance(one, msgspec.Struct) for one in value):
        return type(value)(_value(one) for one in value)
    if isinstance(value, Mapping) and any(isinstance(one, msgspec.Struct) for one in value.values()):
        return {name: _value(one) for name, one in value.items()}
    return value if stays else _tree(value, name, users=True)


# --- frames, and the objects of vendors ------------------------------------------------------------------


def _frame(frame: str, door: str, users: bool = False) -> str:
    try:
        tree = msgspec.json.decode(frame)
        if isinstance(tree, dict):
            return one_line(msgspec.json.encode(_without_words(tree, door, users)).decode())
    except UNREADABLE:
        pass
    return mask_words(frame)


def _without_words(frame: dict[str, Any], door: str, users: bool) -> dict[str, Any]:
    """Raises RecursionError for one that is nested too deep."""
    made: dict[str, Any] = _tree(frame, "", users=users)
    delta, pressed = frame.get("delta"), frame.get("dtmf")
    if door == "carrier" and isinstance(pressed, dict):
        made["dtmf"]["digit"] = _key(pressed.get("digit"))
    elif frame.get("type") == STREAM_DELTA and isinstance(delta, str):
        made["delta"] = (
            runs_of(delta) if is_clean(delta) and size_bytes(delta) <= MAX_BYTES else _sound(delta)
        )
    elif str(frame.get("type")).endswith("audio.delta") and isinstance(delta, str):
        made["delta"] = _sound(delta)
    return made


def _tree(node: Any, key: str, anybodys: bool = False, users: bool = False) -> Any:
    """JSON without words. `key` is that of the object or list around it; with `users` user code may have
    written it.
    """
    if isinstance(node, dict):
        users = users or key == "session" or node.get("type") == "mcp_approval_response"  # which vendors echo
        ours = {"tag"} if key == "metadata" else frozenset[str]()
        return {
            name: _tree(value, name, (anybodys or name in _ANYBODYS) and name not in ours, users)
            for name, value in node.items()
        }
    if isinstance(node, list | tuple):
        return type(node)(_tree(value, key, anybodys, users) for value in node)
    if anybodys and isinstance(node, int | float) and not isinstance(node, bool):
        return 0
    if not isinstance(node, str) or (key in _NOT_WORDS and not anybodys):
        return node
    if key in _VENDORS and not anybodys:
        return _enum(node, key) if users else _vendor_word(node)
    if key in _SOUND:
        return _sound(node)
    return _fault(node) if key == "message" else mask_words(node)


def _sound(audio: str) -> str:
    """Silence of the same size; what is no sound is words."""
    size = size_bytes(audio)
    return silence(size) if is_clean(audio) and size <= MAX_BYTES else mask_words(audio)


def _vendor_word(word: str) -> str:
    return word if _VENDOR_WORD.fullmatch(word) else mask_words(word)


def _enum(word: str, key: str) -> str:
    known = _LANGUAGE.fullmatch(word) if key == "language" else word in _ENUMS
    return word if known else mask_words(word)


def _fault(message: str) -> str:
    """The words of an error, with those that are read."""
    said = _MATTERS.split(message)
    return "".join(part if number % 2 else mask_words(part) for number, part in enumerate(said))


def _key(key: object) -> str:
    return "#" if key == "#" else m.HIDDEN_KEY
