"""A Redis server of our own: a process in a temporary folder, ended by its id.

PHONEBRIDGE_REDIS_URL names another one to use (Valkey, Redis 8); then nothing is started, and a random prefix
keeps tests apart.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

BINARY = shutil.which("redis-server") or shutil.which("valkey-server")
ELSEWHERE = os.environ.get("PHONEBRIDGE_REDIS_URL")


def needed() -> None:
    """Skip a test that needs a server where there is none."""
    if BINARY is None and ELSEWHERE is None:
        pytest.skip("no redis-server here; apt-get install redis-server, or set PHONEBRIDGE_REDIS_URL")


class RedisServer:
    """Listens on a unix socket, and on a port of loopback where one is named."""

    def __init__(self, *options: str, port: int = 0) -> None:
        assert BINARY is not None
        self.folder = Path(tempfile.mkdtemp(prefix="pb-redis-"))  # short: a socket's path has 107 bytes
        self.port = port
        self.socket = self.folder / "s"
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def can_start() -> bool:
        return BINARY is not None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        assert BINARY is not None
        usual = ["--save", "", "--appendonly", "no", "--dir", str(self.folder), "--daemonize", "no"]
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [BINARY, *usual, *where, *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        until_s = time.monotonic() + 10
        while not self.socket.exists():
            assert self._process.poll() is None, "redis-server has ended"
            assert time.monotonic() < until_s, "redis-server does not listen"
            time.sleep(0.005)
        return self

    def kill(self) -> None:
        """At once, as a machine that has no power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


MOST_PORT = 55_535
"""A cluster's node listens on a second port, which is higher by 10,000."""


def free_port() -> int:
    """One that a node of a cluster could have, too."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
        if port <= MOST_PORT:
            return port
