"""The console's side of the process that reads recordings (`recorded_reader.py`)."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, Final

import msgspec

from bridge.errors import ConfigError

logger = logging.getLogger("bridge.console")

HEAD: Final = struct.Struct(">BQ")
"""Of an answer: whether it was done, and its size."""
PATIENCE_S: Final = 60.0
IDLE_S: Final = 300.0
"""Then the process ends; the next order starts another."""
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")
"""Of the environment: it holds secrets, and reading a recording needs none."""


class Reader:
    """One process, started by the first order. `ask` blocks, and may be called from any thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()
        self._idle: threading.Timer | None = None

    def ask(self, **order: Any) -> bytes:
        """The answer. Raises ConfigError with what is wrong."""
        with self._one_at_a_time:
            self._no_timer()
            process = self._process or self._start()
            late = threading.Timer(PATIENCE_S, process.kill)
            late.daemon = True
            late.start()
            try:
                return self._asked(process, msgspec.json.encode(order))
            except OSError as error:
                self._end()
                logger.warning("the reader of recordings has ended: %s", error)
                raise ConfigError("the recording took too long, or its reader ended; try again") from error
            finally:
                late.cancel()
                self._idle = threading.Timer(IDLE_S, self.close)
                self._idle.daemon = True
                self._idle.start()

    def close(self) -> None:
        """End the process, when it has answered what it was asked."""
        with self._one_at_a_time:
            self._no_timer()
            self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-m", recorded_reader_name()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        return self._process

    @staticmethod
    def _asked(process: subprocess.Popen[bytes], order: bytes) -> bytes:
        to, back = process.stdin, process.stdout
        if to is None or back is None:
            raise BrokenPipeError("no pipes")
        to.write(order + b"\n")
        to.flush()
        head = back.read(HEAD.size)
        if len(head) < HEAD.size:
            raise BrokenPipeError("no answer")
        done, size = HEAD.unpack(head)
        answer = back.read(size)
        if len(answer) < size:
            raise BrokenPipeError("half an answer")
        if not done:
            raise ConfigError(answer.decode(errors="replace"))
        return answer

    def _no_timer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        process.kill()
        process.wait()


def recorded_reader_name() -> str:
    """The module that the process runs."""
    return f"{__package__}.recorded_reader"
