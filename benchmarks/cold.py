"""What a caller's frame costs when the processor has forgotten us: other things happen between two frames.

    python -m benchmarks.cold [--frames 1500] [--json]

A server's core sleeps, enters the kernel and works for other calls between two frames of a call; a loop that
plays the same frame again and again does not show what that costs. Here the frames of one call, or of 150 in
turn, pass the gate with something in between; only our own code is timed. Medians, in microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import socket
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from statistics import median
from typing import cast

from .inprocess import HandClock, RunningCall, run, running_call, wire_bytes
from .scripted import Input, scripted_call

CALLS = 150
PAUSE_S = 0.000_12
"""Between two frames of 150 calls."""
OTHER_BYTES = bytearray(1 << 20)


def betweens() -> dict[str, Callable[[], object]]:
    """What happens before each frame, by name."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=_read_for_ever, args=(theirs,), daemon=True).start()

    def wake_somebody() -> None:
        ours.send(b"x" * 300)
        time.sleep(PAUSE_S)

    return {
        "nothing": lambda: None,
        "1 MB of other memory is read": lambda: hash(bytes(OTHER_BYTES)),
        "the core sleeps for 0.12 ms": lambda: time.sleep(PAUSE_S),
        "somebody is woken, and slept": wake_somebody,
    }


def _read_for_ever(sock: socket.socket) -> None:
    while sock.recv(65_536):
        pass


async def _live() -> tuple[RunningCall, Input]:
    """A call in the middle of its first turn, and the last frame that its caller sent."""
    loop = cast("HandClock", asyncio.get_running_loop())
    loop.now_s = 0.0
    call, last = await running_call(), None
    for step in scripted_call(1):
        if step.at_ms > 2_500 and last is not None:
            break
        loop.now_s = step.at_ms / 1000
        call.play(step, wire_bytes(step))
        if step.at_ms == 0:
            await asyncio.sleep(0)  # the upstream is dialled in a task
        if '"event":"media"' in step.frame:
            last = step
    if last is None:
        raise RuntimeError("the scripted caller says nothing")
    return call, last


def _frames(last: Input, count: int) -> list[bytes]:
    """That many more of the caller's, each with sound of its own."""
    body = json.loads(last.frame)
    raws = []
    for number in range(1, count + 1):
        sound = b64encode(bytes((number * 31 + at * 7) % 251 for at in range(160))).decode()
        at_ms = int(body["media"]["timestamp"]) + 20 * number
        media = {**body["media"], "timestamp": str(at_ms), "payload": sound}
        frame = json.dumps({**body, "media": media}, separators=(",", ":"))
        raws.append(wire_bytes(last._replace(frame=frame)))
    return raws


async def measure(frames: int) -> dict[str, dict[str, float]]:
    """Microseconds a frame, by what happened before it and by how many calls took turns."""
    loop = cast("HandClock", asyncio.get_running_loop())
    live = [await _live() for _ in range(CALLS)]
    raws = _frames(live[0][1], frames)
    figures: dict[str, dict[str, float]] = {}
    for name, between in betweens().items():
        for calls in (1, CALLS):
            spent_ns = []
            for number, raw in enumerate(raws):
                loop.now_s += 0.02 / calls
                receive = live[number % calls][0].doors["carrier"]
                between()
                began_ns = time.perf_counter_ns()
                receive(raw)
                spent_ns.append(time.perf_counter_ns() - began_ns)
            figures.setdefault(name, {})[f"{calls} in turn"] = round(median(spent_ns) / 1000, 1)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=1_500)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = run(measure(asked.frames))
    if asked.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    sys.stdout.write(f"Python {platform.python_version()}, µs a frame{'':<12}1 call   {CALLS} in turn\n")
    for name, (one_us, many_us) in ((name, found.values()) for name, found in figures.items()):
        sys.stdout.write(f"{name:<32}{one_us:>8}{many_us:>14}\n")


if __name__ == "__main__":
    main()
