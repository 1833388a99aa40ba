"""What each carrier in the table must do, whatever it calls things. Its frames stand in wire/<name>.json, in
the order of a call; "says" names the message that a frame becomes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.carriers import CARRIERS, Carrier
from bridge.codecs import PCMU, is_clean, size_bytes
from bridge.core.messages import CallerAudio, ClearPlayout, PlayAudio, SendMark, Started
from bridge.errors import BrokenInvariant, CarrierError
from tests.carriers.mutations import any_json, with_one_thing_wrong

WIRE = {name: json.loads((Path(__file__).parent / "wire" / f"{name}.json").read_text()) for name in CARRIERS}

each = pytest.mark.parametrize("name", list(CARRIERS))
quickly = settings(max_examples=60, deadline=None)


def frames(name: str) -> list[str]:
    return [json.dumps(line["frame"]) for line in WIRE[name]]


def started(name: str) -> Carrier:
    carrier = CARRIERS[name]()
    for frame in frames(name):
        if isinstance(carrier.parse(frame), Started):
            return carrier
    raise AssertionError("no start among the frames")


def frame_that_says(name: str, message: str) -> str:
    return json.dumps(next(line["frame"] for line in WIRE[name] if line["says"] == message))


@each
def test_a_call_from_its_first_frame_to_its_last(name: str) -> None:
    carrier = CARRIERS[name]()
    said = [carrier.parse(frame) for frame in frames(name)]
    assert [type(event).__name__ if event else None for event in said] == [
        line["says"] for line in WIRE[name]
    ]


@each
def test_sound_keeps_its_text_and_is_measured_without_decoding(name: str) -> None:
    carrier = started(name)
    event = carrier.parse(frame_that_says(name, "CallerAudio"))
    assert isinstance(event, CallerAudio)
    assert is_clean(event.audio)
    assert event.size_bytes == size_bytes(event.audio) > 0


@each
def test_it_says_what_the_ledger_counts_in(name: str) -> None:
    carrier = CARRIERS[name]()
    assert carrier.audio is PCMU
    assert carrier.marks in (True, False)


@each
@pytest.mark.parametrize("command", [PlayAudio("/w==", 1), SendMark("1"), ClearPlayout()])
def test_nothing_is_written_before_the_stream_has_started(name: str, command: Any) -> None:
    with pytest.raises(BrokenInvariant):
        CARRIERS[name]().write(command)


@each
def test_a_call_knows_its_own_stream_and_no_other(name: str) -> None:
    one, other = started(name), CARRIERS[name]()
    assert one.parse(frame_that_says(name, "CallerAudio")) is not None
    with pytest.raises(CarrierError):
        other.parse(frame_that_says(name, "CallerAudio"))


@each
def test_a_refused_frame_changes_nothing(name: str) -> None:
    carrier = started(name)
    for bad in ("", "{", "[]", "null", b"\xff", "{" * 10_000, "[" * 60_000, "\ud800", "x" * 1_000_000):
        with pytest.raises(CarrierError):
            carrier.parse(bad)
    assert isinstance(carrier.parse(frame_that_says(name, "CallerAudio")), CallerAudio)


@each
def test_a_refused_frame_is_shown_without_its_sound(name: str) -> None:
    sound = "f39/" * 54
    frame = frame_that_says(name, "CallerAudio").replace("f39/f39/f39/f38=", sound + "!")
    with pytest.raises(CarrierError) as refused:
        started(name).parse(frame)
    assert sound not in str(refused.value)


@each
def test_what_may_be_written_down_has_no_secret_and_no_number(name: str) -> None:
    carrier = CARRIERS[name]()
    for frame in frames(name):
        assert "an-invented-stream-token" not in carrier.redact(frame)
        assert "+15550001111" not in carrier.redact(frame)


@each
def test_redacted_frames_are_the_same_call(name: str) -> None:
    carrier, recorded = CARRIERS[name](), CARRIERS[name]()
    for frame in frames(name):
        said, again = carrier.parse(frame), recorded.parse(recorded.redact(frame))
        if isinstance(said, Started) and isinstance(again, Started):
            assert (said.stream_id, said.call_id) == (again.stream_id, again.call_id)
            assert again.parameters == {"caller": "+…", "lang": "en"}
        else:
            assert again == said


@each
@quickly
@given(st.data())
def test_arbitrary_json_never_raises_anything_but_a_carrier_error(name: str, data: st.DataObject) -> None:
    frame = json.dumps(data.draw(any_json))
    for carrier in (CARRIERS[name](), started(name)):
        try:
            carrier.parse(frame)
        except CarrierError as refused:
            str(refused)
        carrier.redact(frame)


@each
@quickly
@given(st.data())
def test_a_real_frame_with_one_thing_wrong_never_raises_anything_but_a_carrier_error(
    name: str, data: st.DataObject
) -> None:
    frame = data.draw(with_one_thing_wrong([line["frame"] for line in WIRE[name]]))
    for carrier in (CARRIERS[name](), started(name)):
        try:
            event = carrier.parse(frame)
        except CarrierError as refused:
            str(refused)
        else:
            # Whatever is let through can be passed on as it is, inside of anybody's JSON.
            assert not isinstance(event, CallerAudio) or is_clean(event.audio)
        carrier.redact(frame)


@each
@quickly
@given(st.text() | st.binary())
def test_any_text_or_bytes_never_raise_anything_but_a_carrier_error(name: str, frame: str | bytes) -> None:
    carrier = started(name)
    with pytest.raises(CarrierError):
        carrier.parse(frame)
    carrier.redact(frame)
