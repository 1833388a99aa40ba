"""What recordings and pictures say of a detour."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from bridge.core import messages as m
from bridge.picture.lanes import HEARD, LOST
from bridge.picture.story import tell
from bridge.recording import replay
from bridge.recording.masking import masked
from bridge.testing.call import begin

FOLDER = Path(__file__).parents[1] / "replays"


def recorded(name: str) -> list[str]:
    return (FOLDER / f"{name}.call.jsonl").read_text(encoding="utf-8").splitlines()


def test_the_picture_has_a_gap_with_what_came_of_it() -> None:
    story = tell(recorded("transfer-to-a-busy-target-and-back"))
    [away] = [bar for bar in story.bars if bar.lane == HEARD and bar.words.startswith("transfer")]
    assert away.words == "transfer to billing: busy"
    assert 3_000 <= away.end_ms - away.start_ms <= 5_000
    sent = [bar for bar in story.bars if bar.lane == HEARD and bar is not away]
    assert not [bar for bar in sent if away.start_ms < bar.start_ms < away.end_ms]
    assert ("away", "transfer to billing: busy") in [(line.who, line.said) for line in story.talk]


def test_a_disclosure_that_another_stream_begins_anew_is_one_stretch() -> None:
    """The first stream ends 1 s into it; the second one plays it from its beginning, and then the answer."""
    sound = m.Sound(b64encode(bytes([5]) * 24_000).decode(), 24_000, "We record.")
    call = begin(phrases={"disclosure": sound}, disclosure="disclosure").at(200)
    call.model.speaks("Good day.", ms=900)
    call.at(1_000).rehearsal.hang_up_phone()
    call.rehearsal.reopen({})
    call.model.answers("Hello.")
    call.wait(8_000)
    bars = [bar for bar in tell(call.lines).bars if bar.lane == HEARD]
    [disclosure, *_] = heard = [bar for bar in bars if bar.kind != LOST]
    assert (disclosure.kind, disclosure.start_ms, disclosure.end_ms) == ("ours", 0, 4_000)
    whole_ms = sum(phone.played_bytes for phone in call.rehearsal.phones) / 8
    assert sum(bar.end_ms - bar.start_ms for bar in heard) == pytest.approx(whole_ms, abs=20)


def test_a_detour_that_never_left_is_a_note() -> None:
    story = tell(recorded("transfer-interrupted"))
    assert "transfer to billing: interrupted" in [point.title for point in story.points]


@pytest.mark.parametrize("name", ["transfer-to-a-busy-target-and-back", "transfer-accepted-and-over"])
def test_masked_it_replays_and_names_only_what_it_was_decided_by(name: str) -> None:
    lines = masked(recorded(name))
    assert replay(lines).difference is None
    text = "\n".join(lines)
    assert "billing" in text, "a target's name stays"
    assert "putting you through" not in text


def test_the_keys_of_a_detour_are_in_no_message() -> None:
    texts = {name for name in m.Detour.__struct_fields__ if "key" in name or "digit" in name}
    assert texts == set()
