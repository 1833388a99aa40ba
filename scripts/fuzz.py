"""Frames that nobody should send, by the ten thousand, at the real gate of one call after another.

    python -m scripts.fuzz --frames 50000

A hypothesis state machine (`tests/fuzz/machine.py`) plays both legs, in virtual time: mutated frames of the
very call, frames that come twice, late or never, that speak of the wrong things or are none at all, sockets
that close. What the bridge's own code holds on to is counted afterwards. Ends with the shortest script of a
call that broke a rule, exits 1 if memory grew.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CALLS_A_ROUND = 100
STEPS = 100
PASSES = 5
MOST_GROWTH_BYTES = 50_000
"""Of what the bridge holds, from the end of the first pass to the end of the last."""


class Round(NamedTuple):
    """What there was at the end of one, all in all."""

    calls: int
    carrier: int
    upstream: int
    rss_bytes: int


def fuzz(frames: int, seed: int, *, shrink: bool = True) -> list[Round]:
    """Rounds until each leg has had so many; raises what hypothesis found."""
    import hypothesis  # noqa: PLC0415  the root was not on the path before
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415

    from scripts.own_memory import rss_bytes  # noqa: PLC0415
    from tests.fuzz.machine import Calls  # noqa: PLC0415

    calm = hypothesis.settings(
        max_examples=CALLS_A_ROUND, stateful_step_count=STEPS, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    if not shrink:
        calm = hypothesis.settings(calm, phases=[hypothesis.Phase.generate])
    seeds = random.Random(seed)  # noqa: S311  which calls are played is no secret
    rounds: list[Round] = []
    while min(Calls.frames["carrier"], Calls.frames["upstream"]) < frames:
        hypothesis.seed(seeds.getrandbits(64))(Calls)
        run_state_machine_as_test(Calls, settings=calm)  # type: ignore[no-untyped-call]
        gc.collect()
        counted = (Calls.calls, Calls.frames["carrier"], Calls.frames["upstream"])
        rounds.append(Round(*counted, rss_bytes()))
        sys.stderr.write(f"{rounds[-1]}\n")
    return rounds


def held_bytes() -> list[int]:
    """Some of those frames again and again, without hypothesis, at one call after another: what memory that
    the bridge's code asked for (without the doubles') is still held after each pass.
    """
    from bridge.core import messages as m  # noqa: PLC0415
    from bridge.doubles.agents import Parrot  # noqa: PLC0415
    from bridge.doubles.options import ServerOptions  # noqa: PLC0415
    from bridge.doubles.phone import PhoneOptions  # noqa: PLC0415
    from tests.fuzz.machine import Calls  # noqa: PLC0415
    from tests.fuzz.wires import FuzzedCall  # noqa: PLC0415

    def begin() -> FuzzedCall:
        made = FuzzedCall(m.CallConfig(), Parrot(), ServerOptions(), PhoneOptions(keep_sound=False))
        made.attach()
        made.pass_ms(200)
        return made

    tracemalloc.start()
    ours = [tracemalloc.Filter(True, str(ROOT / "bridge/*")), tracemalloc.Filter(False, "*/doubles/*")]
    held: list[int] = []
    for _ in range(PASSES):
        call = begin()
        for number, (door, frame) in enumerate(Calls.kept):
            wire = call.carrier if door == "carrier" else call.model
            if wire is not None:
                wire.says(frame)
            if number % 10 == 0:
                call.pass_ms(100)
            if call.over:
                call.finish()
                call = begin()
        call.finish()
        del call, wire
        gc.collect()
        traces = tracemalloc.take_snapshot().filter_traces(ours[:1]).filter_traces(ours[1:])
        held.append(sum(trace.size for trace in traces.statistics("filename")))
        sys.stderr.write(f"{held[-1]} bytes are held\n")
    tracemalloc.stop()
    return held


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=50_000, help="a leg, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--as-found", action="store_true", help="a failure as it was found, not its shortest form"
    )
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    began_s = time.monotonic()
    rounds = fuzz(asked.frames, asked.seed, shrink=not asked.as_found)
    seconds = time.monotonic() - began_s
    held = held_bytes()
    last, grown = rounds[-1], held[-1] - held[0]
    rss = ", ".join(f"{done.rss_bytes / 1e6:.0f}" for done in (rounds[0], rounds[len(rounds) // 2], last))
    rows = [
        ("calls", f"{last.calls:,}"),
        ("frames on the carrier's leg", f"{last.carrier:,}"),
        ("frames on the model's leg", f"{last.upstream:,}"),
        ("rules broken", "0"),
        ("seconds", f"{seconds:.0f}"),
        ("the process (hypothesis and all) after the first round, half-way, at the end", f"{rss} MB"),
        (f"held by the bridge after one pass, after {PASSES}", f"{held[0]:,} bytes, {grown:+,}"),
    ]
    lines = ["| what | result |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if grown > MOST_GROWTH_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
