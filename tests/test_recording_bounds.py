"""Whatever floods a call, its recording ends where its readers would stop, and replays up to there."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.cli.recordings import read_recording
from bridge.core import messages as m
from bridge.ops.recordings import Recordings
from bridge.recording import bounds, describe, replay, steps
from tests.gate import Gate

FRAME = b64encode(b"\x20" * 160).decode()


def said(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, "event_id": "event_1", **fields})


def delta(sound: str = FRAME) -> str:
    place = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    return said("response.output_audio.delta", delta=sound, **place)


FLOODS: dict[str, Callable[[Gate, int], object]] = {
    "the caller's frames": lambda gate, n: gate.media(20 * n),
    "deltas": lambda gate, n: gate.upstream(n, delta()),
    "long deltas": lambda gate, n: gate.upstream(n, delta("////" * 20_000)),
    "unknown events": lambda gate, n: gate.upstream(n, said(f"new.kind.{n}", about=["x"] * 50)),
    "words that read like a run": lambda gate, n: gate.upstream(n, said("new.kind", run="0 " * 400, n=n)),
    "other alphabets": lambda gate, n: gate.upstream(n, f'{{"type":"new.kind","x":"{"語" * 500}{n}"}}'),
    "turns": lambda gate, n: gate.upstream(n, said("input_audio_buffer.speech_started", item_id=f"u{n}")),
    "noise": lambda gate, n: gate.upstream(n, "{" * 100 + str(n)),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flooded_call_has_a_recording_that_replays(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for place in (bounds, steps):
        monkeypatch.setattr(place, "MOST_STEPS", 2_000)
        monkeypatch.setattr(place, "MOST_CHARACTERS", 4_000_000)
    monkeypatch.setattr(bounds, "MOST_BYTES", 1_000_000)
    keeper = Recordings(tmp_path, carrier="twilio", upstream="openai")
    recorder = keeper.recorder(f"CA{7:032x}", m.CallConfig())
    assert recorder is not None
    with caplog.at_level(logging.WARNING, logger="bridge.ops.recordings"):
        gate = Gate(m.CallConfig(), recorder=recorder)
        gate.begin()
        for number in range(1, 3_000 if kind != "long deltas" else 200):
            FLOODS[kind](gate, number)
        gate.stop(60_000)
        keeper.close()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size <= 1_000_000
    lines = read_recording(file)
    assert sum(map(bounds.steps_of, lines)) <= 2_000
    assert json.loads(lines[-1])["truncated"].startswith("it has ")
    result = replay(lines)
    assert result.difference is None, describe(result.difference)
    assert (result.torn, result.ended) == (False, False)
    assert result.steps > 20
    told = [record for record in caplog.records if "ends before its call: it has" in record.getMessage()]
    assert len(told) == 1
