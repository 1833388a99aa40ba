"""Two machines that share a store, and one of them is gone without a word: its callers go on on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.core.messages import CallSnapshot
from bridge.recording import replay
from bridge.simulators.phone import Kind, PhoneCall
from tests.processes.machines import loud_at_ms, machines, over_at_ms, run_long
from tests.processes.rig import WORDS, Clerk, answer, lived_through, phone, silence, speak, until
from tests.processes.test_kill import TURNS, what_it_was_told

pytestmark = [pytest.mark.redis, pytest.mark.runs_with(function=run_long)]

CALLS = 20


def whole(said: CallSnapshot) -> bool:
    """Whether the answer was heard to its end, as far as the store knows."""
    return [item.role for item in said.items][-2:] == ["user", "assistant"] and not said.owed


def silent_ms(call: PhoneCall) -> int:
    """From the end of the first stream until the second is heard."""
    at_ms = loud_at_ms(call, 1)
    assert at_ms is not None
    return at_ms - over_at_ms(call)


async def test_kill_9_of_one_of_two_machines(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each goes on with its own conversation, and none is greeted again."""

    async with machines(Clerk(), tmp_path) as here:
        one, other = await asyncio.gather(here.start("one"), here.start("two"))
        calls = [here.site.dial(silence(600) + WORDS) for _ in range(CALLS)]
        await until(lambda: all(c.streams and answer(1) in phone(c).heard for c in calls), 20, "answers")
        await until(lambda: sum(map(whole, here.said())) == CALLS, 10, "what was heard is written")
        sessions = len(here.site.upstream.sessions)

        one.process.kill()
        await until(lambda: any(len(c.streams) == 2 for c in calls), 5, "a second stream")
        await asyncio.sleep(0.3)
        cut = [call for call in calls if Kind.STREAM_OVER in lived_through(call)]
        assert 0 < len(cut) < CALLS, "both had calls"
        await until(lambda: all(loud_at_ms(call, 1) is not None for call in cut), 10, "all are heard again")
        gaps_ms = sorted(silent_ms(call) for call in cut)
        record_property("gaps_ms", gaps_ms)
        assert max(gaps_ms) <= 3_000, gaps_ms
        assert gaps_ms[len(gaps_ms) * 95 // 100 - 1] <= 1_000, gaps_ms

        speak(cut)
        await until(lambda: all(answer(2) in phone(c).heard for c in cut), 15, "the conversation goes on")
        assert all(answer(0) not in phone(call, 1).heard for call in cut), "none is greeted again"
        assert all(answer(1) not in phone(call, 1).heard for call in cut), "nothing is said again"
        told = [what_it_was_told(session.machine) for session in here.site.upstream.sessions[sessions:]]
        assert [[who for who, _ in words[:3]] for words in told] == [list(TURNS)] * len(cut)
        assert [len(call.streams) for call in calls] == [2 if call in cut else 1 for call in calls]
        assert not any(call.over for call in calls)
        await here.site.hung_up()
        other.process.terminate()
        assert await other.ended(10) == 0
        moves = [path for path in here.recordings("two") if '"is":"Moved"' in path.read_text()]
        assert len(moves) == len(cut)
        for path in moves:
            lines = path.read_text().splitlines()
            assert replay(lines).difference is None
            assert "from one to two (crash)" in "".join(lines)
