"""What a call costs in our own code, without kernel and loop: bytes in at one socket, out at the other.

    python -m benchmarks.gate [--turns 20] [--repeat 7] [--recording sound|silent] [--json]

Plays a scripted call (`benchmarks/scripted.py`) through the real runner between two real sockets. Prints
microseconds by kind of what comes in, and of everything together by frame of the caller. The best repetition
counts: noise only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from collections import Counter
from time import perf_counter_ns
from typing import cast

from bridge.recording import Header, Recorder

from .inprocess import HandClock, run, running_call, wire_bytes
from .scripted import CONFIG, Input, scripted_call

KINDS = {
    '{"event":"media"': "a caller's frame, sent up",
    '{"event":"mark"': "an echo of a mark",
    '{"type":"response.output_audio.delta"': "a delta of 200 ms, played, with its mark",
    '{"type":"response.output_audio_transcript.delta"': "a delta of words",
}
OTHER = "any other event of the model's"
ALL = "everything, by frame of the caller"


def kind(step: Input) -> str:
    """What this is an example of."""
    return next((name for head, name in KINDS.items() if step.frame.startswith(head)), OTHER)


def measure(turns: int, repeat: int, recording: str | None) -> dict[str, float]:
    """Microseconds a piece, by kind."""
    steps = scripted_call(turns)
    kinds = [kind(step) for step in steps]
    count = Counter(kinds)
    best: dict[str, int] = {}
    for _ in range(repeat):
        for name, spent_ns in run(_play(steps, kinds, recording)).items():
            best[name] = min(spent_ns, best.get(name, spent_ns))
    figures = {name: best[name] / count[name] / 1000 for name in (*KINDS.values(), OTHER)}
    figures[ALL] = sum(best.values()) / count["a caller's frame, sent up"] / 1000
    return {name: round(figure_us, 2) for name, figure_us in figures.items()}


async def _play(steps: tuple[Input, ...], kinds: list[str], recording: str | None) -> Counter[str]:
    """Nanoseconds by kind, over the whole call."""
    recorder = None
    if recording is not None:
        header = Header(carrier="twilio", upstream="openai", config=CONFIG)
        recorder = Recorder(lambda _line: None, header, recording == "sound")
    loop = cast("HandClock", asyncio.get_running_loop())
    call = await running_call(recorder)
    raws = [wire_bytes(step) for step in steps]
    spent: Counter[str] = Counter()
    overhead_ns = _overhead_ns()
    for step, raw, name in zip(steps, raws, kinds, strict=True):
        loop.now_s = step.at_ms / 1000
        began_ns = perf_counter_ns()
        call.play(step, raw)
        spent[name] += perf_counter_ns() - began_ns - overhead_ns
        if step.at_ms == 0:
            await asyncio.sleep(0)  # the upstream is dialled in a task
    if not call.runner.call.playout.line.ledger.sent:  # nothing was spoken
        raise RuntimeError("this was not the call that it should have been")
    return spent


def _overhead_ns() -> int:
    """Of looking at the clock twice."""
    gaps = []
    for _ in range(1_000):
        began_ns = perf_counter_ns()
        gaps.append(perf_counter_ns() - began_ns)
    return sorted(gaps)[500]


def main() -> None:
    """Measures, and prints a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--recording", choices=("sound", "silent"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.turns, options.repeat, options.recording)
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    sys.stdout.write(f"Python {platform.python_version()}, recording: {options.recording or 'off'}\n")
    width = max(map(len, figures))
    for name, figure_us in figures.items():
        sys.stdout.write(f"{name:<{width}}  {figure_us:6.2f} µs\n")


if __name__ == "__main__":
    main()
