"""Runs the Autobahn testsuite against our WebSocket codec, as a server and as a client.

    python -m scripts.autobahn                        groups 1 to 7, 9 and 10, both sides, some minutes
    python -m scripts.autobahn --cases 7.1.5 --side server
    python -m scripts.autobahn --cases '9.*' --limits ours

The server is an echo on the direct path: uvicorn and Starlette open the websocket, then our codec has the
transport. The client is an echo on `bridge.sockets.dial`. The suite was written for Python 2.7: it is looked
for in $PYTHON27 and as `python2.7` on the PATH, and the suite installed beside it, once, into a virtual
environment (.venv-autobahn). Without a Python 2.7 nothing is run, and that is said.

Exits 1 if a case neither passed nor was merely stricter than it had to be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from bridge.ops import event_loop as loops
from bridge.simulators.servers import serve_app
from bridge.sockets.dial import dial
from bridge.sockets.limits import CARRIER_LIMITS, UPSTREAM_LIMITS, Limits
from bridge.sockets.stream import StreamSocket
from bridge.sockets.uvicorn import take_socket

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-autobahn"
AGENT = "phonebridge"
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
"""Not 12 and 13: they are about compression, which we never negotiate."""
GOOD = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})
CASE_S = 120.0

WIDE = Limits(max_size_bytes=16 << 20, close_timeout_s=2.0, dead_after_s=60, max_outbox_bytes=64 << 20)
"""Room for the largest messages that are asked for, 16 MiB, and for their echo."""


# --- the two sides ------------------------------------------------------------------------------------------


def echoing(limits: Limits) -> Starlette:
    """A server that says what it hears."""

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        stream = take_socket(websocket, limits)
        if not isinstance(stream, StreamSocket):
            sys.exit("the socket was not handed over: this would measure somebody else's codec")
        stream.start(stream.send, lambda _code, _reason: None)
        await stream.released()

    return Starlette(routes=[WebSocketRoute("/", echo)])


async def serve_cases(wstest: Path, folder: Path, cases: list[str], limits: Limits) -> None:
    """The suite calls our server."""
    async with serve_app(echoing(limits)) as listener:
        port = listener.sockets[0].getsockname()[1]
        servers = [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}/"}]
        spec = specified(folder, cases, servers=servers)
        async with suite(wstest, "fuzzingclient", spec) as running:
            await running.wait()


async def dial_cases(wstest: Path, folder: Path, cases: list[str], limits: Limits) -> None:
    """Our client calls the suite, which says how many cases it has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"ws://127.0.0.1:{port}"
    spec = specified(folder, cases, url=url)
    async with suite(wstest, "fuzzingserver", spec) as running:
        await listening(port, running)
        count = int(await one_message(f"{url}/getCaseCount"))
        for number in range(1, count + 1):
            print(f"\r  case {number} of {count} ", end="", file=sys.stderr, flush=True)
            stream = await dial(f"{url}/runCase?case={number}&agent={AGENT}", {}, limits=limits)
            stream.start(stream.send, lambda _code, _reason: None)
            await asyncio.wait_for(stream.released(), CASE_S)
        print(file=sys.stderr)
        stream = await dial(f"{url}/updateReports?agent={AGENT}", {})
        stream.start(lambda _frame: None, lambda _code, _reason: None)
        await asyncio.wait_for(stream.released(), CASE_S)


async def one_message(url: str) -> str:
    """What the suite says at that address."""
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stream = await dial(url, {})
    stream.start(lambda frame: said.set_result(str(frame)), lambda _code, _reason: None)
    return await asyncio.wait_for(said, CASE_S)


# --- the suite ----------------------------------------------------------------------------------------------


def specified(folder: Path, cases: list[str], **more: Any) -> Path:
    """What the suite is to do, as the file that it reads."""
    spec = folder / "spec.json"
    spec.write_text(json.dumps({"outdir": str(folder), "cases": cases, "exclude-cases": [], **more}))
    return spec


@contextlib.asynccontextmanager
async def suite(wstest: Path, mode: str, spec: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The testsuite in a process of its own, while the block runs. Its talk goes into a file beside it."""
    with (spec.parent / "wstest.log").open("wb") as log:
        running = await asyncio.create_subprocess_exec(
            wstest, "-m", mode, "-s", spec, "-u", "0", stdout=log, stderr=log, cwd=spec.parent
        )
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.terminate()
            await running.wait()


async def listening(port: int, running: asyncio.subprocess.Process) -> None:
    """Returns when somebody listens there."""
    while running.returncode is None:
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
    sys.exit("the testsuite's server did not start")


def python27() -> str | None:
    """The interpreter, None if there is none. Exits if there is not the one that was named."""
    named = os.environ.get("PYTHON27") or None
    found = shutil.which(named or "python2.7")
    if found is None and named is not None:
        sys.exit(f"PYTHON27={named}: there is no such program")
    return found


def installed(python: str) -> Path:
    """The suite's command; installs it if it is not there yet. Exits, saying what failed."""
    wstest = ENVIRONMENT / "bin" / "wstest"
    if wstest.exists():
        return wstest
    print(f"{ENVIRONMENT.name}: the testsuite is installed, once; this takes a minute", file=sys.stderr)
    steps = (
        [python, "-m", "virtualenv", "--quiet", str(ENVIRONMENT)],
        [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "autobahntestsuite"],
    )
    for step in steps:
        done = subprocess.run(step, check=False, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            hint = f"; {python} -m pip install virtualenv" if "No module named virtualenv" in last else ""
            sys.exit(f"`{' '.join(step)}` failed: {last}{hint}")
    return wstest


def suite_version(wstest: Path) -> str:
    """In its own words."""
    said = subprocess.run([str(wstest), "-a"], check=False, capture_output=True, text=True)
    return ", ".join(" ".join(line.split()) for line in said.stdout.splitlines() if line)


# --- what came of it ----------------------------------------------------------------------------------------


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Each case's result, by its number."""
    index = folder / "index.json"
    if not index.exists():
        sys.exit(f"the testsuite made no report; its last words are in {folder / 'wstest.log'}")
    found: dict[str, dict[str, Any]] = json.loads(index.read_text()).get(AGENT, {})
    return found


def verdict(result: dict[str, Any]) -> str:
    """The worse of how the case went and how its connection was closed."""
    told: str = result["behavior"]
    return told if result["behaviorClose"] in GOOD else f"{result['behaviorClose']} (close)"


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """By group and side, as Markdown."""
    lines = [
        "| group | side | cases | OK | NON-STRICT | INFORMATIONAL | failed |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for group in sorted({case.split(".")[0] for found in results.values() for case in found}, key=int):
        for side, found in results.items():
            mine = {case: verdict(one) for case, one in found.items() if case.split(".")[0] == group}
            tally = Counter(mine.values())
            bad = [case for case, told in mine.items() if told not in GOOD]
            failed = f"{len(bad)}: {', '.join(sorted(bad, key=numbers))}" if bad else "0"
            cells = [group, side, len(mine), tally["OK"], tally["NON-STRICT"], tally["INFORMATIONAL"], failed]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def numbers(case: str) -> list[int]:
    """To sort by."""
    return [int(part) for part in case.split(".")]


async def run(wstest: Path, args: argparse.Namespace, folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Both sides, one after the other; each case's result by side and number."""
    kinds = {"server": (serve_cases, CARRIER_LIMITS), "client": (dial_cases, UPSTREAM_LIMITS)}
    results = {}
    for side, (play, ours) in kinds.items():
        if args.side in (side, "both"):
            here = folder / side
            here.mkdir(parents=True, exist_ok=True)
            print(f"{side} side, {' '.join(args.cases)}", file=sys.stderr)
            await play(wstest, here, args.cases, WIDE if args.limits == "wide" else ours)
            results[side] = read(here)
    return results


def main() -> None:
    """As the command line asks."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cases", nargs="+", default=CASES, help="as the suite writes them: 7.* or 7.1.5")
    parser.add_argument("--side", choices=("server", "client", "both"), default="both")
    parser.add_argument(
        "--limits",
        choices=("wide", "ours"),
        default="wide",
        help="wide has room for the largest case, 16 MiB; ours are those of a carrier's and a model's leg",
    )
    parser.add_argument("--reports", type=Path, help="keep the suite's own pages in this folder")
    args = parser.parse_args()

    python = python27()
    if python is None:
        print("the Autobahn testsuite was not run: it needs Python 2.7, as python2.7 or in $PYTHON27")
        return
    wstest = installed(python)
    with tempfile.TemporaryDirectory() as made:
        results = loops.run(run(wstest, args, args.reports.resolve() if args.reports else Path(made)))
    ours = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "websockets", "uvloop"))
    print(f"{dt.datetime.now(dt.UTC).date()}, {suite_version(wstest)}")
    print(f"Python {platform.python_version()}, {ours}, limits: {args.limits}\n")
    print(table(results))
    sys.exit(any(verdict(one) not in GOOD for found in results.values() for one in found.values()))


if __name__ == "__main__":
    main()
