"""The process that listens: its words come back, its end leaves nobody waiting, its sessions are bounded."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from bridge.simulators.ears import MOST_A_CORE, EarsProcess, HeardWords, listening
from tests.doubles.front_desk.restaurant import TOOLS

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
        async with listening() as process:
            assert process is not None
            one, other = process.session(), process.session()
            assert one is not None
            assert other is not None
            for ears in (one, other):
                ears.configure(TOOLS)
                ears.feed(b"\xff" * 8_000)
            first, second = other.finish(), one.finish()
            assert isinstance(await made_out(first), str)
            assert isinstance(await made_out(second), str)
            assert await made_out(one.finish()) == ""

    run(main)


def test_when_the_process_ends_no_turn_waits_for_words() -> None:
    async def main() -> None:
        async with listening() as process:
            assert process is not None
            ears = process.session()
            assert ears is not None
            ears.configure(TOOLS)
            ears.feed(b"\xff" * 8_000)
            words = ears.finish()
            process._process.kill()
            assert await made_out(words) == ""
            assert await made_out(ears.finish()) == ""
            ears.feed(b"\xff" * 160)
            assert process.session() is None

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
