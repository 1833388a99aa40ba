"""Two commands and nothing else: one calls, the other one is called."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest

from bridge.codecs.wav import pcmu_of

pytestmark = pytest.mark.hostile

TOKEN: Final = "0123456789abcdef0123456789abcdef"
ACCOUNT: Final = "AC" + "a" * 32
COMMAND: Final = (sys.executable, "-m", "bridge")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def commands(folder: Path, who: str, *options: str) -> tuple[int, str, int, str]:
    """Exit and output of the phone that is called, and of the call."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "TWILIO_"))}
    called = subprocess.Popen(
        [*COMMAND, "phone", "--answer-as", who, "--token", TOKEN, *options], cwd=folder, env=plain, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    giving_up = threading.Timer(90, called.kill)
    giving_up.start()
    try:
        assert called.stdout is not None
        first = called.stdout.readline()
        port = free_port()
        settings = {
            "BRIDGE_TWILIO_API_URL": first.strip().partition("BRIDGE_TWILIO_API_URL=")[2],
            "BRIDGE_OUTBOUND": "1", "BRIDGE_CALL_FROM": "+12125550100", "BRIDGE_CALL_HOURS": "off",
            "BRIDGE_UPSTREAM": "embedded", "BRIDGE_EARS": "off", "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN, "PUBLIC_URL": f"http://127.0.0.1:{port}", "PORT": str(port),
        }  # fmt: skip
        calling = subprocess.run(
            [*COMMAND, "call", "+12125550123", "--consent", "our own phone", "--json"], cwd=folder, text=True,
            env=plain | settings, capture_output=True, timeout=90, check=False,
        )  # fmt: skip
        rest, _ = called.communicate(timeout=20)
    finally:
        giving_up.cancel()
        called.kill()
    return called.returncode, first + rest, calling.returncode, calling.stdout + calling.stderr


def test_a_busy_phone_is_reported_as_busy(tmp_path: Path) -> None:
    phone, told, call, result = commands(tmp_path, "busy")
    assert (phone, call) == (0, 3), f"{told}\n{result}"
    assert "486" in told
    assert "busy" in result


def test_a_human_hears_the_agent_and_is_understood(tmp_path: Path) -> None:
    phone, told, call, result = commands(tmp_path, "human", "--says", "goodbye", "--tail", "3")
    assert (phone, call) == (0, 0), f"{told}\n{result}"
    assert "“Hello?”" in told
    assert "Hello, how can I help you?" in told
    assert len(pcmu_of((tmp_path / "call.wav").read_bytes()).strip(b"\xff")) > 8_000


def test_a_machine_is_hung_up_on(tmp_path: Path) -> None:
    phone, told, call, result = commands(tmp_path, "machine")
    assert (phone, call) == (0, 4), f"{told}\n{result}"
    assert '"answered_by": "voicemail"' in result
    assert "the tone" in told
