"""Two servers behind one address, and one of them is gone without a word: its callers hear us again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.simulators.phone import Kind
from tests.calls import KeepingServer
from tests.processes.rig import (
    ALONE_OR_WORKERS,
    WORDS,
    Clerk,
    answer,
    first_sound_s,
    kill,
    lived_through,
    phone,
    run,
    says,
    silence,
    site,
    speak,
    until,
)

pytestmark = [pytest.mark.hostile, pytest.mark.runs_with(function=run)]

CALLS = 20
AGAIN_S = 3.0
TURNS = ("assistant", "user", "assistant")
"""The greeting, what the caller said, and the answer."""


@ALONE_OR_WORKERS
async def test_kill_9_of_one_of_two(
    arguments: tuple[str, ...], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Whoever was on it speaks with the other one, which knows what was said, and says what happened."""

    async with site(Clerk(), tmp_path) as here:
        one, other = await asyncio.gather(here.server(*arguments), here.server(*arguments))
        # Webhooks and streams go where they happen to: half of the calls ring at one and are had by the
        # other.
        here.balancer.put(one.base, other.base)
        calls = [here.dial(silence(600) + WORDS) for _ in range(CALLS)]
        await until(lambda: all(c.streams and answer(1) in phone(c).heard for c in calls), 15, "answers")
        await asyncio.sleep(0.5)  # the answer's mark comes back, and a thread writes the journal
        sessions = len(here.upstream.sessions)

        killed_s = time.monotonic()
        kill(one)
        await until(lambda: any(len(c.streams) == 2 for c in calls), 5, "a second stream")
        await asyncio.sleep(0.3)
        cut = [call for call in calls if Kind.STREAM_OVER in lived_through(call)]
        assert 0 < len(cut) < CALLS, "both had calls"
        await until(lambda: all(first_sound_s(call, 1) for call in cut), 10, "all of them heard again")
        gaps_s = [(first_sound_s(call, 1) or 0) - killed_s for call in cut]
        record_property("gaps_s", [round(gap_s, 2) for gap_s in gaps_s])
        assert max(gaps_s) < AGAIN_S, gaps_s

        await until(lambda: all(says(call, "restored", 1, 10_000) for call in cut), 10, "why")
        speak(cut)
        await until(lambda: all(answer(2) in phone(c).heard for c in cut), 15, "the call goes on")
        told = [what_it_was_told(session.machine) for session in here.upstream.sessions[sessions:]]
        assert [[who for who, _ in words[:3]] for words in told] == [list(TURNS)] * len(cut)
        assert [words[2][1] for words in told] == ["That is turn 1."] * len(cut)
        assert [len(call.streams) for call in calls] == [2 if call in cut else 1 for call in calls]
        assert not any(call.over for call in calls)
        await here.hung_up()
        other.process.terminate()
        assert await other.ended(10) == 0


def what_it_was_told(server: object) -> list[tuple[str, str]]:
    """The words that a session was given to begin with, without notes of ours."""
    assert isinstance(server, KeepingServer)
    events = [json.loads(frame) for frame in server.got]
    items = [event["item"] for event in events if event["type"] == "conversation.item.create"]
    return [(item["role"], item["content"][0]["text"]) for item in items if item.get("role") != "system"]
