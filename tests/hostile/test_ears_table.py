"""Ears on recorded voices: how often the desk does what the true words want. The clips are no part of this
repository: EARS_CLIPS names their folder, with VOICE_NN.ulaw and `texts.json` (`texts`, by number).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bridge.codecs.g711 import pcm_to_pcmu, pcmu_to_pcm
from bridge.simulators.ears import listening
from tests.doubles.front_desk.restaurant import TOOLS, told

CLIPS = Path(os.environ.get("EARS_CLIPS", ""))
pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(not os.environ.get("EARS_CLIPS"), reason="EARS_CLIPS names no folder of clips"),
]
VOICES = sorted({path.stem[:-3] for path in CLIPS.glob("*_[0-9][0-9].ulaw")}) if CLIPS.parts else []


def noisy(pcmu: bytes, noise_db: float | None, seed: int) -> bytes:
    """The clip with white noise so far below its level."""
    if noise_db is None:
        return pcmu
    samples = np.frombuffer(pcmu_to_pcm(pcmu), "<i2").astype(np.float64)
    level = np.sqrt(np.mean(samples**2)) / 10 ** (noise_db / 20)
    samples += np.random.default_rng(seed).normal(0, level, len(samples))
    return pcm_to_pcmu(np.clip(samples, -32_768, 32_767).astype("<i2").tobytes())


async def heard(clips: list[bytes]) -> tuple[list[str], list[float]]:
    """The words of each clip, spoken one after the other in one session, and the ms until they came."""
    texts, waited_ms = [], []
    async with listening() as process:
        assert process is not None
        ears = process.session()
        assert ears is not None
        ears.configure(TOOLS)
        for clip in clips:
            for start in range(0, len(clip), 160):
                ears.feed(clip[start : start + 160])
                await asyncio.sleep(0.02)
            began_s = time.monotonic()
            words = ears.finish()
            while words.text() is None:  # noqa: ASYNC110  a process of its own
                await asyncio.sleep(0.002)
            waited_ms.append((time.monotonic() - began_s) * 1000)
            texts.append(str(words.text()))
    return texts, waited_ms


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("noise_db", "least"), [(None, 27), (30.0, 24)])
@pytest.mark.parametrize("voice", VOICES)
def test_a_voice_gets_what_it_asks_for(voice: str, noise_db: float | None, least: int) -> None:
    pytest.importorskip("pocketsphinx")
    said = json.loads((CLIPS / "texts.json").read_text(encoding="utf-8"))["texts"]
    clips = [(CLIPS / f"{voice}_{n:02}.ulaw").read_bytes() for n in range(len(said))]
    texts, waited_ms = asyncio.run(heard([noisy(clip, noise_db, n) for n, clip in enumerate(clips)]))
    right = [told(true) == told(text) for true, text in zip(said, texts, strict=True)]
    wrong = [f"{true!r} as {text!r}" for true, text, fine in zip(said, texts, right, strict=True) if not fine]
    noise = "clean" if noise_db is None else f"{noise_db:.0f} dB"
    p50_ms, p95_ms = statistics.median(waited_ms), sorted(waited_ms)[int(0.95 * len(waited_ms))]
    count = f"{voice} {noise}: {sum(right)} of {len(right)}"
    sys.stdout.write(f"{count}, words after {p50_ms:.0f} ms (p95 {p95_ms:.0f}); {wrong}\n")
    assert sum(right) * 30 >= least * len(right)
