"""What a call costs in instructions of the processor: a busy machine changes times, but not these.

    python -m benchmarks.instructions [core|gate|both] [--turns 8] [--json]

Plays a scripted call (`benchmarks/scripted.py`) under `valgrind --tool=callgrind`, once and three times: the
difference is two calls without the start of the interpreter. `core` is adapters and `Call` alone, `gate` the
whole way from socket to socket, without kernel and loop. The figures are by frame of the caller, everything
else of the call included. They belong to one build of Python and its libraries: compare on one machine only.
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
from pathlib import Path
from typing import cast

import msgspec

from .scripted import Input, new_call, perform, receive, scripted_call

_read_script = msgspec.json.Decoder(list[Input]).decode


def play_core(steps: list[Input]) -> None:
    """One call, adapters and core alone."""
    call, carrier, upstream = new_call()
    for step in steps:
        perform(carrier, upstream, receive(call, carrier, upstream, step))


def play_gate(steps: list[Input], calls: int) -> None:
    """That many calls one after another, from socket to socket."""
    from .inprocess import HandClock, run, running_call, wire_bytes  # noqa: PLC0415  not where it is not counted

    async def play() -> None:
        loop = cast("HandClock", asyncio.get_running_loop())
        for _ in range(calls):
            loop.now_s = 0.0
            call = await running_call()
            for step, raw in zip(steps, raws, strict=True):
                loop.now_s = step.at_ms / 1000
                call.play(step, raw)
                if step.at_ms == 0:
                    await asyncio.sleep(0)  # the upstream is dialled in a task

    raws = [wire_bytes(step) for step in steps]
    run(play())


def count(what: str, calls: int, script: Path) -> int:
    """Instructions of a process that plays the script so many times."""
    command = [
        "valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}",
        sys.executable, "-m", "benchmarks.instructions", what, "--play", str(calls), "--script", str(script),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind: {done.stderr[-2000:]}")
    return int(found[1])


def main() -> None:
    """Counts, and prints a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("core", "gate", "both"), default="both")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--script", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play is not None:
        steps = _read_script(options.script.read_bytes())
        if options.what == "gate":
            play_gate(steps, options.play)
        else:
            for _ in range(options.play):
                play_core(steps)
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed, and it is what counts")
    steps = scripted_call(options.turns)
    frames = sum(step.frame.startswith('{"event":"media"') for step in steps)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.json"
        script.write_bytes(msgspec.json.encode(steps))
        for what in ("core", "gate") if options.what == "both" else (options.what,):
            figures[what] = (count(what, 3, script) - count(what, 1, script)) // (2 * frames)
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    sys.stdout.write(f"Python {platform.python_version()}, instructions by frame of the caller\n")
    for what, figure in figures.items():
        sys.stdout.write(f"{what:<5} {figure:>7,}\n")


if __name__ == "__main__":
    main()
