"""The vocabulary: every message is frozen, compares by value, and survives a recording."""

from __future__ import annotations

import enum
import types
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
import pytest

from bridge.core import messages as m
from bridge.core.stats import BargeIn, Stats

MESSAGES = sorted(set(get_args(m.Event)) | set(get_args(m.Action)), key=lambda kind: kind.__name__)
AnyMessage: TypeAlias = m.Event | m.Action
DECODERS = {"json": msgspec.json.Decoder(AnyMessage), "msgpack": msgspec.msgpack.Decoder(AnyMessage)}
ENCODERS = {"json": msgspec.json.Encoder(), "msgpack": msgspec.msgpack.Encoder()}

NOTHING = (type(None), msgspec.UnsetType)
SAMPLES: dict[Any, Any] = {
    str: 'µ-law ± "quoted"\n',
    int: 160,
    float: 0.25,
    bool: True,
    Any: {"nested": [1, None, "x"]},
}


def sample(hint: Any) -> Any:
    """A value of that type, unlike its default wherever that is possible."""
    if hint in SAMPLES:
        return SAMPLES[hint]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)[-1]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return filled(hint)
    if get_origin(hint) is types.UnionType:
        return sample(next(kind for kind in reversed(get_args(hint)) if kind not in NOTHING))
    if get_origin(hint) is tuple:
        return (sample(get_args(hint)[0]),) * 2
    assert get_origin(hint) is dict, f"no sample for {hint}"
    return {"key": sample(get_args(hint)[1])}


def filled(kind: type[msgspec.Struct]) -> Any:
    hints = get_type_hints(kind)
    return kind(**{name: sample(hints[name]) for name in kind.__struct_fields__})


def bare(kind: type[msgspec.Struct]) -> Any:
    """Only what must be given is given."""
    hints = get_type_hints(kind)
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    return kind(**{name: sample(hints[name]) for name in required})


def test_all_that_is_defined_belongs_to_one_of_the_families() -> None:
    defined = {kind for kind in vars(m).values() if isinstance(kind, type) and issubclass(kind, m.Message)}
    assert defined - {m.Message} == set(MESSAGES)


def test_what_comes_in_and_what_goes_out_share_the_vendors_note_alone() -> None:
    assert set(get_args(m.Event)) & set(get_args(m.Action)) == {m.VendorNote}


@pytest.mark.parametrize("fill", [filled, bare])
@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_every_message_can_be_written_and_read_back(form: str, fill: Any) -> None:
    for kind in MESSAGES:
        message = fill(kind)
        again = DECODERS[form].decode(ENCODERS[form].encode(message))  # type: ignore[attr-defined]
        assert type(again) is kind
        assert again == message


def test_every_message_is_frozen_and_compares_by_value() -> None:
    for kind in MESSAGES:
        message = filled(kind)
        assert message == filled(kind)
        assert not kind.__struct_config__.gc, kind
        for name in kind.__struct_fields__:
            with pytest.raises(AttributeError, match="immutable"):
                setattr(message, name, None)
            assert msgspec.structs.replace(message, **{name: None}) != message


def test_messages_of_the_same_fields_and_different_kinds_are_not_equal() -> None:
    assert m.AudioDone("r", "i", 0) != m.ItemAdded("r", "i", "")
    assert m.DigitPressed("5") != m.DigitHeard("5")


def test_every_reason_is_written_in_words() -> None:
    for reason in m.Reason:
        line = ENCODERS["json"].encode(m.Ended(reason))  # type: ignore[attr-defined]
        assert reason.value.encode() in line
        assert DECODERS["json"].decode(line) == m.Ended(reason)  # type: ignore[attr-defined]


@pytest.mark.parametrize("turns", [m.ServerVad(threshold=0.75), m.SemanticVad("low"), None])
def test_a_configuration_is_read_back_as_it_was(turns: m.TurnDetection | None) -> None:
    config = m.CallConfig(
        session=m.SessionConfig(turn_detection=turns, tools=({"type": "function", "name": "look_up"},)),
        phrases={"apology": m.Sound("////", 3, "Sorry.")},
    )
    assert msgspec.json.decode(msgspec.json.encode(config), type=m.CallConfig) == config


def test_the_summary_of_a_call_can_be_written_too() -> None:
    stats = Stats(barge_ins=[BargeIn(620, "item_1", 580, 2_000)], usage=m.Usage(audio_out=12))
    assert msgspec.json.decode(msgspec.json.encode(stats), type=Stats) == stats
    assert Stats().barge_ins == []
