"""Ctrl-C at any moment: a quiet end, what was heard so far, and 130."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
import wave
from pathlib import Path

import pytest

from tests.calls import COMMAND, only

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of the platforms we deploy to")

START_S = 20


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


def test_a_demo_keeps_what_was_heard_so_far(tmp_path: Path) -> None:
    demo = begun("demo", "--once", folder=tmp_path, until="heard to the end")
    assert "the caller hung up" in interrupted(demo)
    with wave.open(str(tmp_path / "call.wav")) as sound:
        assert sound.getnframes() > 8_000


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
