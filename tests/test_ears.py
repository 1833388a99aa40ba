"""The processes that listen: words come back, the end of one leaves no turn waiting, sessions are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.simulators.ears import MOST_A_CORE, EarsProcess, HeardWords, SessionEars, listening
from tests.doubles.front_desk.restaurant import TOOLS, function

pytestmark = pytest.mark.hostile  # each loads an acoustic model


async def made_out(words: HeardWords) -> str:
    async with asyncio.timeout(60):
        while words.text() is None:  # noqa: ASYNC110  a process of its own
            await asyncio.sleep(0.005)
    return str(words.text())


def run(main: Any) -> None:
    pytest.importorskip("pocketsphinx")
    asyncio.run(main())


def test_a_turn_of_silence_has_no_words_and_several_sessions_are_told_apart() -> None:
    async def main() -> None:
        async with sessions(2) as (_, [one, other]):
            for ears in (one, other):
                ears.configure(TOOLS)
                ears.feed(b"\xff" * 8_000)
            first, second = other.finish(), one.finish()
            assert isinstance(await made_out(first), str)
            assert isinstance(await made_out(second), str)
            assert await made_out(one.finish()) == ""

    run(main)


@contextlib.asynccontextmanager
async def sessions(many: int) -> AsyncIterator[tuple[EarsProcess, list[SessionEars]]]:
    """The process, with so many sessions."""
    async with listening() as process:
        assert process is not None
        begun = [process.session() for _ in range(many)]
        yield process, [ears for ears in begun if ears is not None]


def children(pid: int) -> list[int]:
    """Processes of that process, as Linux tells them."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs Linux' /proc")
    return [int(child) for child in path.read_text().split()]


async def listened(ears: SessionEars) -> None:
    """Its process is there, and has heard a turn."""
    ears.configure(TOOLS)
    ears.feed(b"\xff" * 8_000)
    await made_out(ears.finish())


def test_when_a_session_s_process_ends_its_turns_have_no_words_and_others_go_on() -> None:
    async def main() -> None:
        async with sessions(1) as (process, [ears]):
            await listened(ears)
            [pid] = children(process._process.pid)
            other = process.session()
            assert other is not None
            await listened(other)
            words = ears.finish()
            os.kill(pid, signal.SIGKILL)
            assert await made_out(words) == ""
            assert ears.finish().text() == ""
            ears.feed(b"\xff" * 160)
            await listened(other)
            assert len(process._sessions) == 1

    run(main)


def test_when_the_process_ends_sessions_go_on_and_no_more_begin() -> None:
    async def main() -> None:
        async with sessions(1) as (process, [ears]):
            await listened(ears)
            process._process.kill()
            await process._process.wait()
            await listened(ears)
            assert process.session() is None

    run(main)


def test_a_session_does_not_wait_for_another_s_grammar() -> None:
    """Forty tools take a second to compile; a turn of another session has its words meanwhile."""
    many = [function(f"tool_{n}", "Find orders and bookings by number, day and time.") for n in range(40)]

    async def main() -> None:
        async with sessions(2) as (_, [ears, busy]):
            await listened(ears)
            await listened(busy)
            for turn in range(20):
                busy.configure([*many, function(f"other_{turn}", "Something else.")])
            late = busy.finish()
            await listened(ears)
            assert late.text() is None

    run(main)


def test_no_more_sessions_than_the_machine_bears() -> None:
    async def main() -> None:
        async with listening() as process:
            assert isinstance(process, EarsProcess)
            most = MOST_A_CORE * (os.cpu_count() or 1)
            sessions = [process.session() for _ in range(most)]
            assert all(sessions)
            assert process.session() is None
            last = sessions[-1]
            assert last is not None
            last.close()
            assert process.session() is not None

    run(main)
