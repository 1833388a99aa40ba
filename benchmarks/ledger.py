"""How far the ledger is off, against a phone that knows to the byte what was played.

    python benchmarks/ledger.py [--calls 600] [--json]

Each call goes through core and adapters, in virtual time. Every message takes 60 ± 30 ms each way,
uniform and in order. The caller interrupts at a random moment; what the model is told of each item is
held against what the phone had played of it when the clear took effect there, and the worst item of the
call counts. Beside it two estimates that others make of the same calls: the time since the item's first
delta, and the last echoed mark plus 50 ms.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bridge.core import messages as m
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.testing.call import begin, usual_config
from bridge.testing.scripted_call import ScriptedCall

CASES = {
    "one item on a silent line": (0, 1),
    "three items queued back to back": (0, 3),
    "one item, after three turns": (3, 1),
    "three items, after three turns": (3, 3),
}
"""Turns heard to their end before, and items."""
ESTIMATES = ("the ledger", "time since its first delta", "last mark + 50 ms")
DELAY_MS = (30, 90)
SPEED = 5.0


def call_of(seed: int, turns: int, items: int) -> dict[str, int]:
    """One call; the error of each estimate, in ms."""
    chance = random.Random(seed)  # noqa: S311  the same calls each time
    ways = [[chance.randint(*DELAY_MS) for _ in range(1_000)] for _ in range(2)]
    # Nothing but the model's sound and marks: neither phrases nor silence that somebody may want to fill.
    config = usual_config(phrases={}, media_gap_ms=10**9)
    call = begin(
        config=config,
        phone=PhoneOptions(delay_out_ms=ways[0], delay_back_ms=ways[1]),
        model=ServerOptions(delta_bytes=(1_600,)),
    )
    call.rehearsal.from_phone(call.phone.withhold_media(10**9, 0))
    call.wait(chance.randint(600, 1_500))
    for _ in range(turns):
        ms = chance.randint(1_000, 3_000)
        call.model.speaks("Heard to its end.", ms=ms, speed=SPEED)
        call.wait(ms + chance.randint(500, 1_500))
    began_ms, lengths_ms = call.now_ms, [chance.randint(800, 4_000) for _ in range(items)]
    for ms in lengths_ms:
        call.model.speaks("Perhaps cut.", ms=ms, speed=SPEED)
        call.wait(round(ms / SPEED) + 1)
    cut_ms = max(call.now_ms, began_ms + chance.randint(100, sum(lengths_ms)))
    call.at(cut_ms)
    guesses = {ESTIMATES[1]: since_first_delta(call, cut_ms), ESTIMATES[2]: last_mark(call)}
    call.model.sends("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_u")
    call.wait(1_000)
    truth = call.truth()
    guesses[ESTIMATES[0]] = {item_id: believed_ms for item_id, (believed_ms, _) in truth.items()}
    return {
        name: max(abs(guess.get(item_id, 0) - heard_ms) for item_id, (_, heard_ms) in truth.items())
        for name, guess in guesses.items()
    }


def played(call: ScriptedCall) -> list[tuple[str, int, int]]:
    """Item, time and ms of all that was sent to the phone, in order."""
    items = {item.sound[0]: item.id for item in call.model.items.values() if item.sound}
    found = []
    for now_ms, action in call.rehearsal.said:
        if isinstance(action, m.PlayAudio):
            found.append((items[call.made_of(action)], now_ms, action.size_bytes // 8))  # type: ignore[index]
    return found


def since_first_delta(call: ScriptedCall, cut_ms: int) -> dict[str, int]:
    """What somebody believes who takes the clock from an item's first delta on."""
    began_ms: dict[str, int] = {}
    sent_ms: dict[str, int] = {}
    for item_id, now_ms, ms in played(call):
        began_ms.setdefault(item_id, now_ms)
        sent_ms[item_id] = sent_ms.get(item_id, 0) + ms
    return {item_id: min(sent_ms[item_id], cut_ms - began_ms[item_id]) for item_id in sent_ms}


def last_mark(call: ScriptedCall) -> dict[str, int]:
    """What somebody believes who takes the last echo's place on the line, and 50 ms for its way."""
    at_ms = position_ms = 0
    places = {}
    for _, action in call.rehearsal.said:
        if isinstance(action, m.PlayAudio):
            position_ms += action.size_bytes // 8
        elif isinstance(action, m.SendMark):
            places[action.name] = position_ms
    heard_ms = max((places[name] for name in call.phone.echoed), default=0) + 50
    believed: dict[str, int] = {}
    for item_id, _, ms in played(call):
        believed[item_id] = believed.get(item_id, 0) + max(0, min(ms, heard_ms - at_ms))
        at_ms += ms
    return believed


def main() -> None:
    """The table, for all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=600, help="calls of each case")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    given = parser.parse_args()
    console = Console(stderr=given.json)
    table = Table(box=box.MARKDOWN)
    for name in ("", "estimate", "p50", "p95", "max"):
        table.add_column(name, justify="left" if name in ("", "estimate") else "right")
    figures: dict[str, dict[str, dict[str, int]]] = {}
    for case, (turns, items) in CASES.items():
        seeds = track(range(given.calls), case, console=console, transient=True)
        errors = [call_of(seed, turns, items) for seed in seeds]
        figures[case] = {}
        for name in ESTIMATES:
            ordered = sorted(error[name] for error in errors)
            found = {
                "p50": ordered[(len(ordered) - 1) // 2],
                "p95": ordered[-(-len(ordered) * 95 // 100) - 1],
                "max": ordered[-1],
            }
            figures[case][name] = found
            label = case if name == ESTIMATES[0] else ""
            table.add_row(label, name, *(f"{ms:,} ms" for ms in found.values()))
    if given.json:
        print(json.dumps(figures))  # noqa: T201  it was asked for
    else:
        console.print(table)


if __name__ == "__main__":
    main()
