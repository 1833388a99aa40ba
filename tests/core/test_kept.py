"""Caller sound kept for later: whatever comes and goes, it is the newest of it, whole and in order."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.audio_backlog import AudioBacklog

FRAMES = {1: "AA==", 158: "A" * 212, 160: "B" * 214 + "==", 161: "C" * 215 + "=", 8_000: "D" * 10_668}


@given(st.lists(st.tuples(st.sampled_from((160, 160, 160, *FRAMES)), st.integers(0, 3_000)), max_size=60))
def test_it_holds_what_a_list_of_frames_would(script: list[tuple[int, int]]) -> None:
    kept = AudioBacklog()
    frames: list[tuple[str, int]] = []
    for size_bytes, most_bytes in script:
        kept.add(FRAMES[size_bytes], size_bytes)
        frames.append((FRAMES[size_bytes], size_bytes))
        if not most_bytes % 3:
            dropped = 0
            while sum(size for _, size in frames) > most_bytes:
                frames.pop(0)
                dropped += 1
            assert kept.drop(most_bytes) == dropped
        assert list(kept) == frames
        assert kept.size_bytes == sum(size for _, size in frames)


def test_nothing_is_left_of_what_is_cleared() -> None:
    kept = AudioBacklog()
    kept.add(FRAMES[160], 160)
    kept.clear()
    assert (list(kept), kept.size_bytes, kept.drop(0)) == ([], 0, 0)
    kept.add(FRAMES[161], 161)
    assert list(kept) == [(FRAMES[161], 161)]


def test_five_seconds_take_little_more_than_their_texts() -> None:
    tracemalloc.start()
    try:
        kept = AudioBacklog()
        for number in range(275):
            kept.add(f"{number:0216}", 160)  # a text of its own, as each frame's is
        taken_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken_bytes < 1.15 * 216 * 275
