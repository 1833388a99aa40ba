"""The vendor's double, a bridge that passes everything on, and ours: how late the caller hears the model.

Three minutes of calm talk with stalls, late deltas and sounds of our own between. Both lines get the same
frames at the same times.
"""

from __future__ import annotations

from base64 import b64decode

import pytest

from bridge.doubles.agents import Scripted, Speech
from bridge.doubles.live_options import Stall

from ..core.duplex_line import PER_MS, SparseLine, WholeLine
from ..doubles.live_client import START, Client

pytestmark = pytest.mark.virtual

SECONDS = 180
WORDS = "We are open from nine to five, every day but Sunday."


def test_a_stall_stays_with_a_relay_and_is_over_with_us() -> None:
    stalls = tuple(
        Stall(at_ms, ms) for at_ms, ms in ((20_000, 300), (55_000, 800), (90_000, 500), (141_500, 600))
    )
    ours = {30_000: 2_000, 80_000: 1_500, 120_000: 1_200}
    replies = [Speech(3_000, WORDS) for _ in range(SECONDS // 10)]
    client = Client(Scripted(replies), stalls=stalls, jitter_ms=(0, 20, 0, 30))
    client.send(START)
    client.until(1_000)
    for second in range(2, SECONDS, 10):
        client.until(second * 1_000)
        say = {"event_id": f"say:{second}", "delegation_id": None, "content": f"Say now: {WORDS}"}
        client.send({"type": "session.commentary.append", **say})
    client.until(SECONDS * 1_000)

    relay, line = WholeLine(), SparseLine()
    waiting = sorted(ours.items())
    for at_ms, event in zip(client.times, client.events, strict=True):
        if event["type"] != "session.output_audio.delta":
            continue
        while waiting and waiting[0][0] <= at_ms:
            name, ms = waiting.pop(0)
            for one in (relay, line):
                one.until(name)
                one.ours(f"phrase:{name}", ms)
        for one in (relay, line):
            one.delta(at_ms, b64decode(event["delta"]))

    spoken_ms = sum(one.end_ms - one.start_ms for one in client.server.voice.utterances)
    last = max(line.lags)
    # Once a line is late, a stall that is shorter than that makes it no later.
    assert relay.lags[last] >= sum(ours.values()) + stalls[0].ms
    assert line.lags[last] == 0
    late = [at_ms for at_ms, lag in line.lags.items() if lag > 260]
    assert all(
        any(0 <= at_ms - bad <= 8_000 for bad in (*ours, *(s.at_ms for s in stalls))) for at_ms in late
    )
    assert line.stream.dropped_ms == 0
    loud_ms = sum(end - begin for _, one, _ in line.began for begin, end in one.loud) // PER_MS
    assert abs(loud_ms - spoken_ms) <= 20 * 2 * len(client.server.voice.utterances)
    assert len(client.server.voice.utterances) == SECONDS // 10
    assert line.sent_ms - sum(ours.values()) < 0.5 * (relay.sent_ms - sum(ours.values()))
