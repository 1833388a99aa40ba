"""Planted values: `replay --mask` leaves none of them, wherever a call can hold one."""

from __future__ import annotations

import enum
import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from bridge.core import messages as m
from bridge.recording import Header, replay
from bridge.recording.masking import GOES, STAYS, masked, masked_message
from tests.hostile_values import CALLS, lines_of
from tests.long_form import some_of

SECRET = "Swordfish 4711"
GONE = ("wordfish", "4711")


def structs(hint: Any, found: dict[Any, None] | None = None) -> list[Any]:
    """Every struct that a value of this type may hold."""
    found = {} if found is None else found
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind not in found:
                found[kind] = None
                for inner in fields(kind).values():
                    structs(inner, found)
        elif kind is not hint:
            structs(kind, found)
    return list(found)


def fields(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {name: hints[name] for name in kind.__struct_fields__}


def holds_text(hint: Any) -> bool:
    return hint in (str, Any) or any(holds_text(part) for part in get_args(hint))


ALL = structs(m.Event | Header)


def planted(hint: Any) -> Any:
    """A value of that type, with the secret wherever there is text."""
    options = [part for part in get_args(hint) if part is not type(None)]
    origin = getattr(hint, "__origin__", None)
    if hint is str:
        return SECRET
    if hint is Any:
        return {"x": SECRET, "deeper": [{"name": {"description": SECRET}}]}
    if hint in (int, float, bool):
        return hint(1)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)[-1]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return filled(hint)
    if origin is dict:
        return {"key": planted(options[1])}
    return (planted(options[0]),) if origin is tuple else planted(options[0])


def filled(kind: Any) -> Any:
    stays = STAYS.get(kind, frozenset())
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    given = {name: planted(hint) for name, hint in fields(kind).items() if name not in stays}
    return kind(**dict.fromkeys(required & stays, "stays"), **given)


def test_of_every_field_with_text_it_is_said_whether_it_stays() -> None:
    """A new message or a new field has no decision, and is found here."""
    for kind in ALL:
        text = {name for name, hint in fields(kind).items() if holds_text(hint)}
        stays, goes = STAYS.get(kind, frozenset()), GOES.get(kind, frozenset())
        text -= {
            name for name in text if structs(fields(kind)[name])
        } - stays  # they have decisions of their own
        assert text == stays | goes, kind
        assert not stays & goes, kind
    assert set(STAYS) | set(GOES) <= set(ALL)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not Header], ids=lambda kind: kind.__name__)
def test_what_goes_is_gone(kind: Any) -> None:
    message = filled(kind)
    assert not GOES.get(kind) or SECRET in msgspec.json.encode(message).decode()
    text = msgspec.json.encode(masked_message(message)).decode()
    assert not [word for word in GONE if word in text]


SESSION: dict[str, Any] = {
    "instructions": SECRET,
    "prompt": {"id": "pmpt_1", "variables": {"name": SECRET, "id": SECRET}},
    "tools": [
        {
            "type": "function",
            "name": "find_order",
            "description": SECRET,
            "parameters": {
                "type": "object",
                "properties": {"id": {"type": "string", "description": SECRET, "enum": [SECRET]}},
                "required": ["id"],
            },
        },
        {
            "type": "mcp",
            "server_label": "shop",
            "server_url": f"https://{SECRET}",
            "authorization": SECRET,
            "headers": {"name": SECRET},
        },
    ],
    "audio": {"input": {"transcription": {"model": "scribe", "prompt": SECRET, "keywords": [SECRET]}}},
    "metadata": {"name": SECRET, "id": SECRET},
}
ITEM: dict[str, Any] = {
    "id": "i1",
    "type": "mcp_call",
    "role": "user",
    "name": "find_order",
    "arguments": json.dumps({"id": SECRET}),
    "output": SECRET,
    "error": {"type": "tool_error", "message": SECRET},
    "content": [{"type": "input_text", "text": SECRET}, {"type": "output_audio", "transcript": SECRET}],
    "tools": [{"name": "t", "description": SECRET, "input_schema": {"description": SECRET}}],
    "a_field_of_tomorrow": SECRET,
}
TYPES: dict[str, dict[str, Any]] = {
    "session.created": {"session": SESSION},
    "session.updated": {"session": SESSION},
    "conversation.item.added": {"item": ITEM},
    "conversation.item.done": {"item": ITEM},
    "conversation.item.retrieved": {"item": ITEM},
    "response.output_item.done": {"response_id": "r", "item": ITEM | {"type": "function_call"}},
    "response.output_audio_transcript.delta": {"delta": SECRET},
    "response.output_audio.delta": {"delta": SECRET},
    "response.function_call_arguments.delta": {"delta": SECRET},
    "response.mcp_call_arguments.done": {"arguments": SECRET},
    "conversation.item.input_audio_transcription.delta": {"delta": SECRET},
    "conversation.item.input_audio_transcription.completed": {"item_id": "i", "transcript": SECRET},
    "conversation.item.input_audio_transcription.failed": {"error": {"message": SECRET}},
    "response.done": {"response": {"id": "r", "output": [ITEM], "metadata": {"x": SECRET}}},
    "error": {"error": dict.fromkeys(("type", "code", "message", "param"), SECRET)},
    "event.of.tomorrow": {"anything": {"deep": [SECRET]}},
    SECRET: {},
}
FRAMES: list[tuple[str, dict[str, Any]]] = [
    *[("upstream", {"type": kind, **rest}) for kind, rest in TYPES.items()],
    ("carrier", {"event": "start", "start": {"customParameters": {"name": SECRET}, "x": SECRET}}),
    ("carrier", {"event": "media", "media": {"payload": SECRET}, "x": SECRET}),
    ("carrier", {"event": "tomorrow", "tomorrow": {"x": SECRET}}),
]


def resumed(file: Path) -> list[str]:
    """The inputs of a true call, as if it had been handed over with a conversation full of secrets."""
    header, *lines = lines_of(file)
    read = msgspec.json.decode(header, type=Header)
    items = (
        m.SnapshotItem("user", SECRET),
        m.SnapshotItem("assistant", SECRET),
        m.SnapshotItem(call_id="c", name="find_order", arguments=SECRET, output=SECRET),
    )
    tools, extra = tuple(SESSION["tools"]), {"prompt": SESSION["prompt"]}
    session = msgspec.structs.replace(read.config.session, instructions=SECRET, tools=tools, extra=extra)
    carried = m.CallSnapshot(items=items, session=session, owed=True)
    config = msgspec.structs.replace(
        read.config, session=session, greeting=SECRET, carried=carried, resumed=True
    )
    given = {"parameters": {"name": SECRET}, "carried": {"words": SECRET}}
    header = msgspec.json.encode(msgspec.structs.replace(read, config=config, **given)).decode()
    return [header, *lines]


def test_a_call_full_of_secrets_holds_none_when_it_is_masked() -> None:
    """In its header, and in every frame and message that can come."""
    lines = resumed(next(call for call in CALLS if call.name.startswith("greeting-heard")))
    events = [filled(kind) for kind in ALL if kind in get_args(m.SessionCommand | m.ShellEvent)]
    put = [
        {"t": 1000, "event": msgspec.to_builtins(event)} for event in events if type(event) is not m.ShutDown
    ]
    put += [{"t": 1000, "from": door, "frame": frame} for door, frame in FRAMES]
    put += [{"t": 1000, "from": door, "text": SECRET} for door in ("carrier", "upstream")]
    put += [{"t": 1000, "from": "upstream", "binary": b64encode(SECRET.encode()).decode()}]
    for one in put:
        if one.get("event", {}).get("is") == "Play":
            one["event"]["sound"] = {"audio": "<160>", "size_bytes": 160, "text": SECRET}
        if (
            one.get("event", {}).get("is") == "Reconfigure"
        ):  # phrases are the operator's, like those of the header
            one["event"]["phrases"] = {"filler": {"audio": "<160>", "size_bytes": 160, "text": "Moment."}}
    at = next(number for number, line in enumerate(lines) if line.startswith('{"t":1000,"event"')) + 1
    lines = [*lines[:at], *map(json.dumps, put)]
    text = "\n".join(masked(lines))
    assert "\n".join(lines).count("4711") > 80
    assert not [word for word in (*GONE, b64encode(SECRET.encode()).decode()[:12]) if word in text]
    assert "find_order" in text
    assert "pmpt_0" not in text


@pytest.mark.parametrize("file", some_of(CALLS, every=5), ids=lambda file: file.name.partition(".")[0])
def test_a_call_that_goes_on_elsewhere_is_masked_and_replays(file: Path) -> None:
    lines = replay(resumed(file)).outputs
    assert GONE[0] in "\n".join(lines)
    made = masked(lines)
    assert not [word for word in GONE if word in "\n".join(made)]
    assert replay(made, strict=True).difference is None
    before, after = replay(lines).call.stats, replay(made).call.stats
    assert (after.barge_ins, after.turns, after.ended_ms) == (before.barge_ins, before.turns, before.ended_ms)


def test_ids_of_the_carrier_are_masked_one_for_one() -> None:
    """A call that comes back does so over a stream of another id."""
    [file] = [call for call in CALLS if call.name.startswith("transfer-to-a-busy-target")]
    made = masked(lines_of(file))
    ids = {kind: list(dict.fromkeys(re.findall(rf"{kind}[0-9a-f]{{32}}", "\n".join(made)))) for kind in SIDS}
    assert {kind: len(found) for kind, found in ids.items()} == {"AC": 1, "CA": 1, "MZ": 2}
    given = "\n".join(lines_of(file)).replace("0000000000001", "00000000abcde")
    assert masked(given.splitlines()) == made
    assert "abcde" not in "\n".join(made)
    assert masked(made) == made


SIDS = ("AC", "CA", "MZ")
WORD = "swordfish"
"""It looks like a vendor's own word."""
ENUMS = ("type", "status", "reason", "code", "param", "language", "role", "object", "phase", "purpose",
    "format", "eagerness", "tool_choice", "conversation", "modalities", "event", "track",
    "version")  # fmt: skip
RAW: list[dict[str, Any]] = [
    {"type": "session.update", "session": {"type": "realtime", **dict.fromkeys(ENUMS[1:], WORD)}},
    {"type": "conversation.item.create", "item": dict.fromkeys(ENUMS, WORD)},
    {
        "type": "conversation.item.create",
        "item": {"type": "mcp_approval_response", "approve": False, "reason": WORD},
    },
    {
        "type": "response.create",
        "response": {"output_modalities": [WORD], "input": [dict.fromkeys(ENUMS, WORD)]},
    },
    {"type": WORD, **{key: {"deeper": {"reason": WORD}} for key in ENUMS[1:]}},
]


@pytest.mark.parametrize("event", RAW, ids=lambda event: event["type"])
def test_of_what_user_code_wrote_the_vendor_s_own_words_stay_and_no_other(event: dict[str, Any]) -> None:
    body = masked_message(m.SendRaw(json.dumps(event))).body
    assert WORD not in body
    assert event["type"] == WORD or f'"type":"{event["type"]}"' in body


def test_nor_of_what_a_vendor_echoes_of_it() -> None:
    lines = lines_of(CALLS[0])
    at = next(number for number, line in enumerate(lines) if line.startswith('{"t"'))
    echoes = [
        {"type": "conversation.item.added", "item": RAW[2]["item"]},
        {"type": "session.updated", "session": RAW[0]["session"] | {"type": "realtime"}},
        {
            "type": "response.done",
            "response": {"status": "failed", "status_details": {"reason": "turn_detected"}},
        },
    ]
    put = [json.dumps({"t": 0, "from": "upstream", "frame": echo}) for echo in echoes]
    text = "\n".join(masked([*lines[:at], *put, *lines[at:]]))
    assert WORD not in text
    assert "turn_detected" in text


@pytest.mark.parametrize(("given", "left"), [("en", "en"), ("pt-BR", "pt-BR"), ("swordfish", "x" * 9)])
def test_a_language_is_known_by_its_form(given: str, left: str) -> None:
    event = {
        "type": "session.update",
        "session": {"audio": {"input": {"transcription": {"language": given}}}},
    }
    assert f'"language":"{left}"' in masked_message(m.SendRaw(json.dumps(event))).body


def test_what_the_settings_say_in_the_vendor_s_words_is_masked_alike() -> None:
    config = m.SessionConfig(
        extra={"reason": WORD, "tracing": {"status": WORD}, "truncation": {"type": "auto"}}
    )
    extra = masked_message(config).extra
    assert extra == {"reason": "x" * 9, "tracing": {"status": "x" * 9}, "truncation": {"type": "auto"}}


def test_a_frame_nested_without_end_is_masked_too() -> None:
    lines = lines_of(CALLS[0])
    at = next(number for number, line in enumerate(lines) if line.startswith('{"t"'))
    deep = '{"type":"error","error":' + '{"x":' * 600 + f'"{SECRET}"' + "}" * 601
    made = masked([*lines[:at], '{"t":0,"from":"upstream","frame":' + deep + "}", *lines[at:]])
    assert not [word for word in GONE if word in "\n".join(made)]
