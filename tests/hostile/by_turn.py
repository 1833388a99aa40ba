"""A model in a process of its own, which understands no word: it books in the caller's first turn, and tells
the opening hours in all others. `python -m tests.hostile.by_turn` prints its URL, and serves until its input
ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

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


if __name__ == "__main__":
    asyncio.run(serve())
