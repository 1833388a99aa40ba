"""Ears without a model: a recogniser in processes of its own, one for each session that is listened to."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import socket
import sys
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from bridge.errors import ConfigError

from .recognisers import DESK, OFF

Turns: TypeAlias = Literal["energy", "webrtc"]
MOST_A_CORE: Final = 4
"""Sessions that can be listened to for each core; further ones have keys only."""
MOST_WAITING_BYTES: Final = 1 << 20
"""Of sound that a session's process has not taken yet: more is left out."""
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger("bridge.ears")


@dataclass(slots=True, eq=False)
class HeardWords:
    """`Words` that come from a process."""

    said: str | None = None

    def text(self) -> str | None:
        return self.said


class SessionEars(asyncio.Protocol):
    """`Ears` of one session: the near end of its process' socket. When that closes, turns have no words."""

    def __init__(self, unknown: set[str], over: Callable[[SessionEars], None]) -> None:
        self._tools: Sequence[Mapping[str, Any]] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._early = bytearray()
        """What was sent before there was a transport."""
        self._waiting: deque[HeardWords] = deque()
        self._line = b""
        self._closed = False
        self._unknown = unknown
        self._over = over

    def configure(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """These tools, for the next turn; nothing if they are in use."""
        if tools != self._tools:
            self._tools = tools
            self._send({"do": "tools", "tools": list(tools)})

    def feed(self, pcmu: bytes) -> None:
        """More of the turn."""
        waiting = len(self._early)
        if self._transport is not None:
            waiting += self._transport.get_write_buffer_size()
        if waiting <= MOST_WAITING_BYTES:
            self._send({"do": "feed", "pcmu": b64encode(pcmu).decode()})

    def finish(self) -> HeardWords:
        """The turn is over."""
        words = HeardWords("" if self._closed else None)
        if not self._closed:
            self._waiting.append(words)
            self._send({"do": "finish"})
        return words

    def close(self) -> None:
        """The session is over."""
        if self._transport is not None:
            self._transport.close()
        self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        if self._closed:
            transport.close()
            return
        self._transport.write(bytes(self._early))
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            told = msgspec.json.decode(line)
            if "text" in told:
                self._waiting.popleft().said = told["text"]
                continue
            for word in set(told["unknown"]) - self._unknown:
                self._unknown.add(word)
                _log.info("%r cannot be heard: no one knows how it is pronounced; keys reach it", word)

    def connection_lost(self, _error: Exception | None) -> None:
        self._end()

    def _send(self, order: dict[str, Any]) -> None:
        line = _encode(order) + b"\n"
        if self._closed:
            return
        if self._transport is None:
            self._early += line
        else:
            self._transport.write(line)

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        for words in self._waiting:
            words.said = ""
        self._waiting.clear()
        self._over(self)


class EarsProcess:
    """What forks into the sessions' processes. When it ends, sessions that have begun go on."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._sessions: set[SessionEars] = set()
        self._unknown: set[str] = set()
        self._connecting: set[asyncio.Task[Any]] = set()

    def session(self) -> SessionEars | None:
        """Ears for one more session; None where the machine is busy with others, or the process is gone."""
        if self._process.returncode is not None or len(self._sessions) >= MOST_A_CORE * (os.cpu_count() or 1):
            return None
        ours, its = socket.socketpair()
        with its:
            try:
                socket.send_fds(self._control, [b"s"], [its.fileno()])
            except OSError:
                ours.close()
                return None
        ours.setblocking(False)
        session = SessionEars(self._unknown, self._sessions.discard)
        self._sessions.add(session)
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(loop.create_unix_connection(lambda: session, sock=ours), name="ears")
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        return session

    def close(self) -> None:
        """End all sessions."""
        for session in list(self._sessions):
            session.close()

    async def begin(self, choice: str) -> None:
        """Wait until it hears, and log what does. Raises ConfigError where it cannot."""
        out = self._process.stdout
        line = await out.readline() if out is not None else b""
        ended = f"BRIDGE_EARS is {choice}, and its recogniser ended while it was loaded"
        told = msgspec.json.decode(line) if line else {"wrong": ended}
        if "wrong" in told:
            raise ConfigError(told["wrong"])
        _log.info("ears: %(name)s, %(mb)d MB, %(ms)d ms a turn", told)


@contextlib.asynccontextmanager
async def listening(choice: str = DESK) -> AsyncIterator[EarsProcess | None]:
    """The ears of BRIDGE_EARS, while the block runs. None for `off`; and for `desk`, the default, where
    pocketsphinx is not installed. Raises ConfigError where ears that were named by path cannot be had.
    """
    if choice == OFF:
        yield None
        return
    if not hasattr(os, "fork") or (choice == DESK and importlib.util.find_spec("pocketsphinx") is None):
        _log.info("no pocketsphinx here: callers are understood by keys only")
        yield None
        return
    control, its = socket.socketpair()
    with control:
        with its:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bridge.simulators.ears_worker", choice,
                stdin=its.fileno(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        control.setblocking(False)
        ears = EarsProcess(process, control)
        beginning = asyncio.create_task(ears.begin(choice), name="ears")
        try:
            if choice == DESK:  # it may take its time, and may fail
                beginning.add_done_callback(_log_failure)
            else:
                await beginning
            yield ears
        finally:
            beginning.cancel()
            ears.close()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def _log_failure(beginning: asyncio.Task[None]) -> None:
    if not beginning.cancelled() and (error := beginning.exception()) is not None:
        _log.warning("no ears: %s", error)


def speech_detector(choice: Turns | None = None) -> Any:
    """One session's voice detection, of BRIDGE_TURNS: webrtcvad at its strictest, if it is installed. None
    for the level. Raises ConfigError for a webrtcvad that was named and is not there.
    """
    if choice == "energy":
        return None
    if importlib.util.find_spec("webrtcvad") is None:
        if choice is None:
            return None
        raise ConfigError(
            "BRIDGE_TURNS is webrtc, and webrtcvad is not installed: pip install webrtcvad-wheels"
        )
    import webrtcvad  # noqa: PLC0415  of the extra

    return webrtcvad.Vad(3)
