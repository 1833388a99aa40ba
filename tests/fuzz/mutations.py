"""Bytes changed, cut, doubled and put together anew; and how much memory a run leaves behind."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence


def mutate(
    data: bytearray,
    chance: random.Random,
    seeds: Sequence[bytes],
    spice: Sequence[bytes],
    otherwise: Callable[[bytearray, int], None],
) -> None:
    """One change, anywhere in the data. `otherwise` makes those that belong to one protocol."""
    at = chance.choice((0, len(data), chance.randint(0, len(data))))
    match chance.randint(0, 4):
        case 0:
            data[at:at] = chance.choice(spice)
        case 1:
            del data[at : at + chance.randint(1, 12)]
        case 2 if at < len(data):
            data[at] = chance.randrange(256)
        case 3:
            other = chance.choice(seeds)
            start = chance.randrange(len(other))
            data[at:at] = other[start : start + chance.randint(1, 60)]
        case _:
            otherwise(data, at)


async def grown_bytes(inputs: int, one: Callable[[int], Awaitable[None]]) -> int:
    """What memory grew by after a first tenth of so many inputs."""
    before = 0
    tracemalloc.start()
    try:
        for number in range(1, inputs + 1):
            await one(number)
            if number == inputs // 10:
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
