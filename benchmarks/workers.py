"""What a second worker costs: `python -m benchmarks.workers [--calls 100] [--rounds 5] [--seconds 20]`.

Each round is a pair: one process with so many calls, and `--workers 2` with twice as many, so that a worker
has as much to do as the one process had. The order alternates. Callers and models are processes of their own.
A measurement that other programs disturbed is made again, twice at the most. Says what was found, and ends
with 0 where all holds, 1 where something does not, 2 where the machine was too busy, or too full, to tell.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from bridge.bench.load import Load, make_callers, serve_models
from bridge.bench.steps import Step, doubtful, judged
from tests.hostile import kit
from tests.hostile.test_worker_cores import BARE

MOST_CPU: Final = 0.4
"""Of a core, a worker: beyond, the kernel's scheduler is measured."""
MOST_RATIO: Final = 1.1
MOST_LATER_MS: Final = 1.0
"""A twentieth of a frame: less is no difference to a caller."""
MOST_SPREAD: Final = 0.35
LIMIT_MS: Final = 20.0
ATTEMPTS: Final = 3
_ACTIVE: Final = re.compile(rb'^phonebridge_calls_active\{.*worker="\d+".*\} (\d+)', re.MULTILINE)


class Pair(NamedTuple):
    """`spread` is how far a worker is from its share of the calls, the furthest."""

    one: Step
    two: Step
    spread: float

    @property
    def ratio(self) -> float:
        """The CPU of a call with two workers, as a multiple of that with one process."""
        return _cpu(self.two) / self.two.calls / (_cpu(self.one) / self.one.calls)

    @property
    def later_ms(self) -> float:
        """By how much a frame is later with two workers (p99)."""
        return _p99_ms(self.two) - _p99_ms(self.one)


def _cpu(step: Step) -> float:
    return step.server_cpu or 0.0


def _p99_ms(step: Step) -> float:
    return max(step.up.p99_ms or 0.0, step.down.p99_ms or 0.0)


def concluded(pairs: Sequence[Pair]) -> list[tuple[bool | None, str]]:
    """Each thing that must hold in words, and whether it does; None where that cannot be told."""
    steps = [step for pair in pairs for step in (pair.one, pair.two)]
    doubts = [words for step in steps if (words := doubtful(step)) is not None]
    if doubts or not pairs:
        return [(None, f"not measured: {', '.join(dict.fromkeys(doubts)) or 'no pair'}")]
    fullest = max(max(_cpu(pair.one), _cpu(pair.two) / 2) for pair in pairs)
    if not 0.0 < fullest <= MOST_CPU:
        return [
            (None, f"not measured: {fullest:.0%} of a core a worker; at most {MOST_CPU:.0%}, use --calls")
        ]
    ratio = statistics.median(pair.ratio for pair in pairs)
    later_ms = statistics.median(pair.later_ms for pair in pairs)
    spread = max(pair.spread for pair in pairs)
    held = all(judged(step, LIMIT_MS).held for step in steps)
    return [
        (held, "all calls were there, and no frame was lost"),
        (ratio <= MOST_RATIO, f"CPU a call: {ratio:.2f} times (median), at most {MOST_RATIO:g}"),
        (later_ms <= MOST_LATER_MS, f"p99: {later_ms:+.1f} ms (median), at most {MOST_LATER_MS:+g}"),
        (spread <= MOST_SPREAD, f"spread: ± {spread:.0%} (the widest), at most {MOST_SPREAD:.0%}"),
    ]


async def measured(calls: int, seconds: float, *arguments: str) -> tuple[Step, float]:
    """Hold that many calls at a server of its own. Returns the step, and how they are spread over workers."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with serve_models("127.0.0.1", 0, 3.0) as (models, port):
            model: Any = SimpleNamespace(url=f"ws://127.0.0.1:{port}/v1/realtime")
            async with kit.bridge(model, folder=Path(folder), arguments=arguments, **BARE) as served:
                base = f"http://127.0.0.1:{served.port}"
                async with make_callers(f"{base}/incoming-call", None) as callers:
                    load = Load(f"{base}/incoming-call", callers, models, lambda _words: None)
                    step = await load.step(calls, seconds, 3.0)
                    return step, await asyncio.to_thread(_spread, base)


def _spread(base: str) -> float:
    with urllib.request.urlopen(f"{base}/metrics") as response:  # noqa: S310  our own, on loopback
        counts = [int(count) for count in _ACTIVE.findall(response.read())]
    share = sum(counts) / max(1, len(counts))
    return max((abs(count - share) / share for count in counts if share), default=0.0)


async def _undisturbed(calls: int, seconds: float, *arguments: str) -> tuple[Step, float]:
    for _ in range(ATTEMPTS):
        found = await measured(calls, seconds, *arguments)
        if doubtful(found[0]) is None:
            break
    return found


async def paired(calls: int, seconds: float, *, two_first: bool) -> Pair:
    """One process with so many calls, and two workers with twice as many."""
    found = {}
    for workers in (2, 1) if two_first else (1, 2):
        more = ("--workers", "2") if workers == 2 else ()
        found[workers] = await _undisturbed(workers * calls, seconds, *more)
    (one, _), (two, spread) = found[1], found[2]
    return Pair(one, two, spread)


def main() -> int:
    """Run from the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=100, help="of one process, and of each worker")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="for which each is measured")
    given, pairs, say = parser.parse_args(), list[Pair](), partial(print, flush=True)
    say("round   one: CPU  p99 ms    two: CPU  p99 ms    CPU a call  spread")
    for number in range(given.rounds):
        pair = asyncio.run(paired(given.calls, given.seconds, two_first=number % 2 == 1))
        cells = (f"{_cpu(step):8.0%} {_p99_ms(step):7.1f}" for step in (pair.one, pair.two))
        say(f"{number + 1:5}  {'    '.join(cells)}    {pair.ratio:9.2f}x  {pair.spread:5.0%}")
        pairs.append(pair)
    lines = concluded(pairs)
    for holds, words in lines:
        say("??  " if holds is None else "yes " if holds else "NO  ", words)
    found = {holds for holds, _ in lines}
    return 2 if None in found else int(False in found)


if __name__ == "__main__":
    sys.exit(main())
