"""Ctrl-C at any moment: a quiet end, what was heard so far, and 130."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from bridge.cli.interrupt import Interrupt, hanging_up
from tests.calls import COMMAND, ROOT, only

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of the platforms we deploy to")

START_S = 20
STARTED: list[subprocess.Popen[str]] = []


def begun(*arguments: str, folder: Path, until: str = "", **environment: str) -> subprocess.Popen[str]:
    """A command that has printed this, or that was started a second ago."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=only(PYTHONUNBUFFERED="1", COLUMNS="100", **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    if not until:
        time.sleep(1)
        return process
    assert process.stdout is not None
    for line in process.stdout:
        if until in line:
            return process
    raise AssertionError(f"it ended with {process.wait()} before it printed {until!r}")


def interrupted(process: subprocess.Popen[str]) -> str:
    """What it still prints after Ctrl-C. It ends within seconds, with 130, and without a traceback."""
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=START_S)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "Error" not in told
    return told


@pytest.mark.hostile
def test_a_demo_keeps_what_was_heard_so_far(tmp_path: Path) -> None:
    demo = begun("demo", "--once", folder=tmp_path, until="heard to the end")
    assert "the caller hung up" in interrupted(demo)
    with wave.open(str(tmp_path / "call.wav")) as sound:
        assert sound.getnframes() > 8_000


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """A test that fails leaves no server behind."""
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
            process.communicate()
    STARTED.clear()


@pytest.mark.hostile
def test_a_demo_that_serves_its_page(tmp_path: Path) -> None:
    silence = tmp_path / "quiet.ulaw"
    silence.write_bytes(b"\xff" * 800)
    demo = begun("demo", "--serve", "--audio", str(silence), folder=tmp_path, until="ready:")
    assert demo.stdout is not None
    told = next(line for line in demo.stdout if "talk to it" in line)
    url = told.split()[-1]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as page:
        assert b"Softphone" in page.read()
    interrupted(demo)


@pytest.mark.hostile
def test_a_phone_hangs_up(tmp_path: Path) -> None:
    sound = tmp_path / "long.ulaw"
    sound.write_bytes(b"\xff" * 8_000 * 30)
    server = begun("serve", "--port", "0", folder=tmp_path, until="ready:", BRIDGE_INSECURE="1")
    try:
        assert server.stdout is not None
        base = next(line for line in server.stdout if "talk to it" in line).split()[-1].removesuffix("/phone")
        given = (f"{base}/incoming-call", "--audio", str(sound), "--out", "heard.wav")
        phone = begun("phone", *given, folder=tmp_path)
        time.sleep(4)
        assert "ended by  the caller" in interrupted(phone)
    finally:
        server.terminate()
        server.communicate(timeout=START_S)
    assert (tmp_path / "heard.wav").stat().st_size > 8_000


def test_a_bench_says_nothing_more(tmp_path: Path) -> None:
    bench = begun("bench", "load", "--calls", "4", "--seconds", "10", folder=tmp_path)
    interrupted(bench)


# --- around the end of a call -------------------------------------------------------------------------------


def test_no_ctrl_c_is_lost_while_a_loop_ends() -> None:
    """Sent at any moment of a loop's last milliseconds, it is known: the loop never comes to it."""
    known = 0
    for number in range(200):
        with hanging_up() as interrupt:
            asyncio.run(_ends_while_interrupted(interrupt, at=number % 4))
        known += interrupt.came
    assert known == 200
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def _ends_while_interrupted(interrupt: Interrupt, at: int) -> None:
    interrupt.calls(lambda: None)
    for step in range(4):
        if step == at:
            os.kill(os.getpid(), signal.SIGINT)
        if step < 3:
            await asyncio.sleep(0)


def test_a_call_that_begins_after_it_is_left_at_once() -> None:
    left: list[bool] = []

    async def call(interrupt: Interrupt) -> None:
        interrupt.calls(lambda: left.append(True))

    with hanging_up() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        asyncio.run(call(interrupt))
    assert left == [True]
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGINT)
    assert ended.value.code == 130
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_second_one_waits_for_nothing(tmp_path: Path) -> None:
    """A webhook that never answers holds a thread for as long as a carrier waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/incoming-call"
        phone = begun("phone", url, "--digits", "1", folder=tmp_path)
        connection, _ = server.accept()
        with connection:
            phone.send_signal(signal.SIGINT)
            time.sleep(0.2)
            began_s = time.monotonic()
            interrupted(phone)
            assert time.monotonic() - began_s < 5


SWALLOWED = """
import ctypes, signal, sys, time
from bridge.cli.interrupt import Again
from bridge.ops.ctrl_c import end_quietly
end_quietly()
sys.unraisablehook = Again(sys.unraisablehook)
callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))
callback()
for _ in range(100):
    time.sleep(0.05)
print("it was lost")
"""


def test_one_that_comes_where_no_exception_can_leave_comes_again() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SWALLOWED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


def brief_call(connection: ServerConnection) -> None:
    """A bridge that says something for 0.2 s and closes the stream at 0.4 s."""
    sid = next(json.loads(frame)["streamSid"] for frame in connection if '"start"' in frame)
    sound = base64.b64encode(bytes([0x20]) * 1_600).decode()
    connection.send(json.dumps({"event": "media", "streamSid": sid, "media": {"payload": sound}}))
    time.sleep(0.4)


@pytest.mark.hostile
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.long)])
def test_ctrl_c_around_the_end_of_a_call_is_never_lost(count: int, tmp_path: Path) -> None:
    """Wherever it comes: 130, no traceback, and what was heard in a whole file, or there was no call yet."""
    with serve(brief_call, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/media-stream"
        script = str(ROOT / "tests" / "hostile" / "interrupted_phones.py")
        runs = []
        for seed in range(4):
            folder = tmp_path / str(seed)
            folder.mkdir()
            command = [sys.executable, script, url, str(folder), str(count // 4), str(seed)]
            environment = only(PYTHONPATH=str(ROOT))
            runs.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        lines = [line for run in runs for line in run.communicate()[0].splitlines()]
    phones = [json.loads(line) for line in lines]
    assert len(phones) == count
    written = 0
    for phone in phones:
        folder = Path(phone["folder"])
        told = (folder / "told.txt").read_text(encoding="utf-8")
        assert "Traceback" not in told, told
        assert "Exception ignored" not in told, told
        if phone["code"] == 0:  # it was over before
            assert phone["ended_s"] < phone["sent_s"] + 0.005, phone
        else:
            assert phone["code"] in (130, -signal.SIGINT), phone
        if (folder / "call.wav").exists():
            written += 1
            with wave.open(str(folder / "call.wav")) as sound:
                assert sound.getnframes() == (folder / "call.wav").stat().st_size // 4 - 11
        else:
            assert "caller" not in told, told
    assert count // 20 <= written <= count
