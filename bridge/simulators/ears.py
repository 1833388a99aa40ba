"""Ears without a model: pocketsphinx (extra `demo`) in a process of its own, one for all calls."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import logging
import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

MOST_A_CORE: Final = 4
"""Sessions that can be listened to for each core; further ones have keys only."""
MOST_WAITING_BYTES: Final = 1 << 20
"""Of sound that the process has not taken yet: more is left out."""
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger("bridge.ears")


@dataclass(slots=True, eq=False)
class HeardWords:
    """`Words` that come from the process."""

    said: str | None = None

    def text(self) -> str | None:
        return self.said


class SessionEars:
    """`Ears` of one session."""

    def __init__(self, process: EarsProcess, number: int) -> None:
        self._process = process
        self._number = number
        self._tools: Sequence[Mapping[str, Any]] | None = None

    def configure(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """A grammar of these tools; nothing if it is in use."""
        if tools != self._tools:
            self._tools = tools
            self._process.send({"do": "tools", "session": self._number, "tools": list(tools)})

    def feed(self, pcmu: bytes) -> None:
        """More of the turn."""
        sound = b64encode(pcmu).decode()
        self._process.send({"do": "feed", "session": self._number, "pcmu": sound}, droppable=True)

    def finish(self) -> HeardWords:
        """The turn is over."""
        return self._process.finish(self._number)

    def close(self) -> None:
        """The session is over."""
        self._process.forget(self._number)


class EarsProcess:
    """The process, while it lives. When it ends, all turns have no words."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._turns = itertools.count(1)
        self._sessions: set[int] = set()
        self._waiting: dict[int, HeardWords] = {}
        self.alive = True

    def session(self) -> SessionEars | None:
        """Ears for one more session; None where the machine is busy with others, or the process is gone."""
        if not self.alive or len(self._sessions) >= MOST_A_CORE * (os.cpu_count() or 1):
            return None
        number = next(self._numbers)
        self._sessions.add(number)
        return SessionEars(self, number)

    def send(self, order: dict[str, Any], *, droppable: bool = False) -> None:
        """Tell the process. Returns at once."""
        pipe = self._process.stdin
        if not self.alive or pipe is None or pipe.is_closing():
            return
        if droppable and pipe.transport.get_write_buffer_size() > MOST_WAITING_BYTES:
            return
        pipe.write(_encode(order) + b"\n")

    def finish(self, session: int) -> HeardWords:
        """The words of the session's turn, when they come."""
        words = HeardWords(None if self.alive else "")
        turn = next(self._turns)
        if self.alive:
            self._waiting[turn] = words
            self.send({"do": "finish", "session": session, "turn": turn})
        return words

    def forget(self, session: int) -> None:
        """The session is over."""
        self._sessions.discard(session)
        self.send({"do": "bye", "session": session})

    async def read(self) -> None:
        """What the process hears, until it ends."""
        out = self._process.stdout
        while out is not None and (line := await out.readline()):
            told = msgspec.json.decode(line)
            words = self._waiting.pop(told["turn"], None)
            if words is not None:
                words.said = told["text"]
        self.alive = False
        for words in self._waiting.values():
            words.said = ""
        self._waiting.clear()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[EarsProcess | None]:
    """The process, while the block runs; None where pocketsphinx is not installed."""
    if importlib.util.find_spec("pocketsphinx") is None:
        _log.info("no pocketsphinx here: callers are understood by keys only")
        yield None
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge.simulators.ears_worker",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    ears = EarsProcess(process)
    reading = asyncio.create_task(ears.read(), name="ears")
    try:
        yield ears
    finally:
        ears.alive = False
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await reading


def speech_detector() -> Any:
    """One session's voice detection: webrtcvad at its strictest. None, for the level, without it."""
    if importlib.util.find_spec("webrtcvad") is None:
        return None
    import webrtcvad  # noqa: PLC0415  of the extra

    return webrtcvad.Vad(3)
