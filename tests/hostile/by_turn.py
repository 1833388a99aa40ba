"""A model in a process of its own, which understands no word: it books in the caller's first turn, and tells
the opening hours in all others. `python -m tests.hostile.by_turn` prints its URL, and serves until its input
ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bridge.doubles.agents import Asked, Output, Speech, ToolCall
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import murmur
from bridge.simulators.servers import EmbeddedUpstream


class ByTurn:
    """The mind."""

    def answer(self, asked: Asked) -> Sequence[Output]:
        if asked.tool_output is not None:
            return [_says("It is booked, and costs 12.50 a head.")]
        turns = sum(item.role == "user" for item in asked.items)
        if not turns:
            return [_says("Hello, this is the restaurant.")]
        if turns == 1 and any(tool["name"] == "book" for tool in asked.session["tools"]):
            return [ToolCall("book", {"day": "Monday", "people": 2})]
        return [_says("We are open from nine to five, every day of the week.")]


def _says(text: str) -> Speech:
    return Speech(murmur(text), text)


async def serve() -> None:
    upstream = EmbeddedUpstream(
        lambda: RealtimeServer(ByTurn(), ServerOptions(delta_bytes=(1600,))), keep=False
    )
    async with upstream.serve() as url:
        print(url, flush=True)  # noqa: T201  who has started it reads it
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def in_a_process() -> Iterator[str]:
    """The model, in a process of its own; gives its address."""
    command = [sys.executable, "-m", "tests.hostile.by_turn"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as model:
        assert model.stdout is not None
        yield model.stdout.readline().strip()
        assert model.stdin is not None
        model.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
