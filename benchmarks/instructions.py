"""What a call costs in instructions of the processor: a busy machine changes times, but not these.

    python -m benchmarks.instructions [core|gate|traced|both] [--turns 8] [--json]

Plays a scripted call (`benchmarks/scripted.py`) under `valgrind --tool=callgrind`, once and three times: the
difference is two calls without the start of the interpreter. `core` is adapters and `Call` alone, `gate` the
whole way from socket to socket, without kernel and loop; `traced` is the same with OpenTelemetry on. The
figures are by frame of the caller, everything else of the call included. Beside the instructions stands how
often one, or what it works on, was not in a simulated first-level cache (32 KiB each, as most processors
have): in a server that slept before each frame, these are what it waits for. They belong to one build of
Python and its libraries: compare on one machine only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec

from bridge.core.messages import Action

from .scripted import Input, new_call, perform, receive, scripted_call

_read_script = msgspec.json.Decoder(list[Input]).decode


class _Nowhere:
    """Takes traces, and sends none."""

    def samples(self, trace_id: int) -> bool:  # noqa: ARG002
        return True

    def put(self, batch: object) -> None:
        pass

    def enter(self, trace_id: int, span_id: int) -> None:
        pass


def play_core(steps: list[Input]) -> None:
    """One call, adapters and core alone."""
    call, carrier, upstream = new_call()
    for step in steps:
        perform(carrier, upstream, receive(call, carrier, upstream, step))


def play_gate(steps: list[Input], calls: int, *, traced: bool = False) -> None:
    """That many calls one after another, from socket to socket; `traced` as while OpenTelemetry is on."""
    from .inprocess import HandClock, run, running_call, wire_bytes  # noqa: PLC0415  not where it is not counted

    async def play() -> None:
        loop = cast("HandClock", asyncio.get_running_loop())
        for _ in range(calls):
            loop.now_s = 0.0
            call = await (running_call(observe=observer()) if traced else running_call())
            for step, raw in zip(steps, raws, strict=True):
                loop.now_s = step.at_ms / 1000
                call.play(step, raw)
                if step.at_ms == 0:
                    await asyncio.sleep(0)  # the upstream is dialled in a task

    def observer() -> Callable[[Action, int], None]:
        from bridge.ops.otel import Tracing  # noqa: PLC0415

        # Without the SDK, which is on another thread: to import it takes minutes here.
        tracing = Tracing(_Nowhere(), provider="openai", budget_ms=2_000)
        tracing.find = lambda _call_sid: new_call()[0]
        tracing.call_began("CA1")
        return lambda action, now_ms: tracing.call_did("CA1", action, now_ms)

    raws = [wire_bytes(step) for step in steps]
    run(play())


def count(what: str, calls: int, script: Path) -> list[int]:
    """Of a process that plays the script so many times: its instructions, and those and the data that were
    not at hand.
    """
    command = [
        "valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", "--cache-sim=yes",
        "--I1=32768,8,64", "--D1=32768,8,64",
        sys.executable, "-m", "benchmarks.instructions", what, "--play", str(calls), "--script", str(script),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    # Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw
    found = re.search(r"Collected : (\d+) \d+ \d+ (\d+) (\d+) (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind: {done.stderr[-2000:]}")
    instructions, missed, not_read, not_written = map(int, found.groups())
    return [instructions, missed, not_read + not_written]


def main() -> None:
    """Counts, and prints a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("core", "gate", "traced", "both"), default="both")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--script", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play is not None:
        steps = _read_script(options.script.read_bytes())
        if options.what != "core":
            play_gate(steps, options.play, traced=options.what == "traced")
        else:
            for _ in range(options.play):
                play_core(steps)
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed, and it is what counts")
    steps = scripted_call(options.turns)  # type: ignore[assignment]
    frames = sum(step.frame.startswith('{"event":"media"') for step in steps)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.json"
        script.write_bytes(msgspec.json.encode(steps))
        for what in ("core", "gate") if options.what == "both" else (options.what,):
            three, one = count(what, 3, script), count(what, 1, script)
            figures[what] = [(more - less) // (2 * frames) for more, less in zip(three, one, strict=True)]
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    sys.stdout.write(f"Python {platform.python_version()}, by frame of the caller\n")
    sys.stdout.write("      instructions   not at hand   data not at hand\n")
    for what, (instructions, missed, data_missed) in figures.items():
        sys.stdout.write(f"{what:<5} {instructions:>12,} {missed:>13,} {data_missed:>18,}\n")


if __name__ == "__main__":
    main()
