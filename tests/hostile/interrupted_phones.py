"""Phones interrupted around the end of their calls: `python interrupted_phones.py URL FOLDER COUNT SEED`.

Each is a fork of this process, which has imported everything, so that hundreds of them take minutes. Prints a
line of JSON for each: what the process did when, in seconds of the machine's clock.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import bridge.cli.caller
import bridge.cli.wav
import bridge.simulators.carrier
import bridge.simulators.phone
import bridge.simulators.voice
import bridge.sounds  # noqa: F401  so that no fork has to
from bridge import cli
from bridge.ops.ctrl_c import end_quietly


def phone(url: str, folder: Path, quiet: Path, report: int) -> None:
    """One phone, in a process of its own. It reports when nothing is left to do."""
    for stream in (1, 2):
        os.dup2(os.open(folder / "told.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    sys.argv = ["phonebridge", "phone", url, "--audio", str(quiet), "--out", str(folder / "call.wav")]
    code = 1
    end_quietly()
    try:
        os.write(report, f"{time.monotonic()} ".encode())
        cli.main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        os.write(report, f"{time.monotonic()} ".encode())
        os._exit(code)


def begin(url: str, folder: Path, quiet: Path) -> tuple[int, int]:
    """The process, and where it reports."""
    folder.mkdir()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        phone(url, folder, quiet, theirs)
    os.close(theirs)
    return child, ours


def interrupted(url: str, folder: Path, quiet: Path, after_s: float) -> dict[str, object]:
    child, report = begin(url, folder, quiet)
    began_s = float(os.read(report, 64))
    time.sleep(max(0.0, began_s + after_s - time.monotonic()))
    sent_s = time.monotonic()
    os.kill(child, signal.SIGINT)
    _, status = os.waitpid(child, 0)
    ended = os.read(report, 64).split()
    os.close(report)
    return {
        "folder": str(folder),
        "after_s": after_s,
        "sent_s": sent_s,
        "ended_s": float(ended[-1]) if ended else None,
        "code": os.waitstatus_to_exitcode(status),
    }


def undisturbed_s(url: str, folder: Path, quiet: Path) -> float:
    """How long a phone takes that nothing interrupts."""
    child, report = begin(url, folder, quiet)
    began_s = float(os.read(report, 64))
    os.waitpid(child, 0)
    ended = os.read(report, 64).split()
    os.close(report)
    return float(ended[-1]) - began_s


def main() -> None:
    url, folder, count, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    chance = random.Random(seed)
    quiet = folder / "quiet.ulaw"
    quiet.write_bytes(b"\xff" * 800)
    usual_s = max(undisturbed_s(url, folder / f"calm{number}", quiet) for number in range(3))
    for number in range(count):
        after_s = max(0.0, usual_s + chance.uniform(-0.8, 0.2))
        told = interrupted(url, folder / str(number), quiet, after_s)
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
