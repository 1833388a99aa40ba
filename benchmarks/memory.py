"""What a call holds: our own objects, from socket to socket, without the reserves of kernel and allocator.

    python -m benchmarks.memory [--calls 200] [--seconds 10] [--json]

Makes that many calls (`benchmarks/inprocess.py`), lets each go live and hear its caller for so long, and
counts what tracemalloc says was allocated since and is still there. Four callers: one on a quiet line; one
who talks without an end and is not answered, of whom the last five seconds are kept for the case that the
model is lost; and two of the scripted call of the other benchmarks, with what its conversation leaves behind:
from a place that is never quiet, and with pauses, as people speak. Of these two each call is at another
moment of its last turn.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import sys
import tracemalloc
from base64 import b64encode
from typing import cast

from .inprocess import HandClock, RunningCall, run, running_call, wire_bytes
from .scripted import TURN_MS, Input, scripted_call

FRAME_MS = 20


def talking(steps: tuple[Input, ...], sound: bytes, frames: int) -> list[Input]:
    """Until the model listens as in the script; then these frames, of that sound."""
    begun = next(number for number, step in enumerate(steps) if '"event":"media"' in step.frame)
    first = steps[begun]
    body = json.loads(first.frame)
    said = []
    for number in range(frames):
        at_ms = int(body["media"]["timestamp"]) + number * FRAME_MS
        media = {**body["media"], "timestamp": str(at_ms), "payload": b64encode(sound).decode()}
        frame = json.dumps({**body, "media": media}, separators=(",", ":"))
        said.append(Input(first.at_ms + number * FRAME_MS, first.door, frame))
    return [*steps[:begun], *said]


async def held_bytes(steps: list[Input], calls: int, spread_ms: int = 0) -> float:
    """Bytes a call. The calls end up to `spread_ms` before the last step, evenly."""
    loop = cast("HandClock", asyncio.get_running_loop())
    raws = [wire_bytes(step) for step in steps]
    made: list[RunningCall] = []
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(calls):
        loop.now_s = 0.0
        call = await running_call()
        made.append(call)
        until_ms = steps[-1].at_ms - spread_ms * number // calls
        for step, raw in zip(steps, raws, strict=True):
            if step.at_ms > until_ms:
                break
            loop.now_s = step.at_ms / 1000
            # A read is bytes of its own: what is kept of a frame is not shared between calls.
            call.play(step, bytes(bytearray(raw)))
            if step.at_ms == 0:
                await asyncio.sleep(0)  # the upstream is dialled in a task
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / len(made)


def measure(calls: int, seconds: int) -> dict[str, float]:
    """KiB a call, by caller."""
    steps = scripted_call(3)
    frames = seconds * 1000 // FRAME_MS
    loud = bytes(range(0x80, 0xD0)) * 2
    callers = {
        "a quiet line": talking(steps, b"\xff" * 160, frames),
        "a caller who talks, unanswered": talking(steps, loud, frames),
        "three turns, never quiet": list(steps),
        "three turns, with pauses": list(scripted_call(3, pauses=True)),
    }
    spread_ms = {name: TURN_MS for name in callers if "turns" in name}
    return {
        name: round(run(held_bytes(one, calls, spread_ms.get(name, 0))) / 1024, 1)
        for name, one in callers.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = measure(asked.calls, asked.seconds)
    if asked.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    sys.stdout.write(f"Python {platform.python_version()}, {asked.calls} calls, KiB a call\n")
    for name, held_kib in figures.items():
        sys.stdout.write(f"{name:<34}{held_kib:>8}\n")


if __name__ == "__main__":
    main()
