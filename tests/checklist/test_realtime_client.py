"""The example that has no phone: a WAV file in, a WAV file out, against the embedded server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import wave
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bridge.client.model import RealtimeModel
from bridge.codecs.g711 import pcmu_to_pcm
from bridge.doubles.agents import Parrot
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone
from bridge.simulators.servers import EmbeddedUpstream
from tests.upstreams.published import client_event

ROOT = Path(__file__).resolve().parents[2]


def example() -> ModuleType:
    path = ROOT / "examples" / "realtime_client.py"
    spec = importlib.util.spec_from_file_location("example_realtime_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path: Path, pcmu: bytes) -> None:
    """Those 8 kHz samples thrice each: 24 kHz, as rough as it is."""
    samples = np.frombuffer(pcmu_to_pcm(pcmu), "<i2").repeat(3)
    with wave.open(str(path), "wb") as sink:
        sink.setparams((1, 2, 24_000, 0, "NONE", ""))
        sink.writeframes(samples.tobytes())


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as source:
        assert (source.getframerate(), source.getnchannels()) == (24_000, 1)
        return np.frombuffer(source.readframes(source.getnframes()), "<i2")


def talk(tmp_path: Path, speech: bytes) -> tuple[np.ndarray, RealtimeServer]:
    module = example()
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    write(source, speech)
    server = RealtimeServer(Parrot(), ServerOptions(latency_ms=20, speed=10))

    async def story() -> None:
        async with EmbeddedUpstream(lambda: server).serve() as url:
            model = RealtimeModel(url=url, headers={}, options=module.OPTIONS)
            await asyncio.wait_for(module.talk(model, source, target, patience_s=1.0), 30)

    asyncio.run(story())
    return read(target), server


def test_what_is_said_to_a_parrot_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard, server = talk(tmp_path, tone(800))
    assert 800 <= len(heard) / 24 <= 1_700  # the turn, with the vendor's padding and pause around it
    assert np.abs(heard.astype(int)).max() > 1_000
    assert server.errors == []
    assert capsys.readouterr().err == ""
    for event in server.log:
        if event["type"] != "input_audio_buffer.append":
            client_event(json.dumps(event))


def test_who_talks_over_it_hears_no_more_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pause = b"\xff" * 8 * 1_000
    heard, server = talk(tmp_path, tone(1_500) + pause + tone(400) + pause)
    (cut_ms,) = server.truncations.values()
    spoken = [item for item in server.conversation.ever.values() if item.role == "assistant"]
    assert len(heard) // 24 == cut_ms + spoken[-1].audio_ms
    assert server.errors == []
    assert capsys.readouterr().err == ""
