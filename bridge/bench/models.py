"""The models of a load: one process, a Realtime session for each call, sound that is stamped as it leaves.

The protocol is the embedded server's. What it is too thorough for fifty times a second is done here: appended
sound is only looked at for its tags, and its voice detection gets words of our own, when a turn is due.
"""

from __future__ import annotations

import binascii
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from bridge.doubles.handshake import PATHS
from bridge.simulators.servers import Simulation, accepted, serve_app
from bridge.sockets.uvicorn import take_socket

from ..codecs import size_bytes
from ..doubles.agents import Asked, Speech
from ..doubles.options import ServerOptions
from ..doubles.realtime import RealtimeServer
from ..doubles.tones import tone
from .hearing import Hearing
from .tags import DOWN, SLICE_BYTES, UP, tagged
from .window import Window

TURN_S: Final = 6.0
REPLY_MS: Final = 3_000
GREETING_MS: Final = 1_000
DELTA_MS: Final = 200
_GOLDEN: Final = 0.618_034
"""Multiples of it, modulo 1, lie evenly however many there are."""

_APPEND: Final = "input_audio_buffer.append"
_DELTA: Final = '{"type":"response.output_audio.delta"'
_SOUND: Final = '"delta":"'


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    audio: bytes = b""


_decode = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.Encoder().encode


class _Talker:
    """Greets, then says something to each turn: sound whose slices have still to be stamped."""

    def answer(self, asked: Asked) -> list[Speech]:
        spoken = asked.caller is not None
        ms = REPLY_MS if spoken else GREETING_MS
        return [Speech(_BLANK[ms], "So many words are said in so much time.")]


_BLANK: Final = {ms: b"\x55" * (ms * 8) for ms in (REPLY_MS, GREETING_MS)}
"""One object for all sessions: each item of a conversation holds its sound."""


class _Session(Simulation):
    """One call's session. Its turns come by the clock, each call's at another moment."""

    def __init__(self, models: Models, server: RealtimeServer, websocket: WebSocket, number: int) -> None:
        super().__init__(server, take_socket(websocket))
        self._models = models
        self._server = server
        self._hearing = Hearing(UP)
        self._slices = 0
        first_s = TURN_S * (0.7 + number * _GOLDEN % 1)
        self._turn = self._loop.call_later(first_s, self._take_turn)

    def _received(self, frame: str | bytes) -> None:
        try:
            event = _decode(frame)
        except (msgspec.DecodeError, UnicodeError):
            event = _Event()
        if event.type == _APPEND:
            self._hearing.hear(event.audio, self._models.window)
        else:
            super()._received(frame)

    def send(self, frames: list[str]) -> None:
        super().send([self._stamped(frame) if frame.startswith(_DELTA) else frame for frame in frames])

    def _stamped(self, frame: str) -> str:
        head, _, sound = frame.partition(_SOUND)
        now_ns = time.monotonic_ns()
        call, window = self._hearing.call, self._models.window
        slices = []
        for _ in range(size_bytes(sound[: sound.index('"')]) // SLICE_BYTES):
            slices.append(tagged(DOWN, call, self._slices, now_ns))
            self._slices += 1
            window.leaves(now_ns)
        return f'{head}{_SOUND}{binascii.b2a_base64(b"".join(slices), newline=False).decode()}"}}'

    def _take_turn(self) -> None:
        if self.closed.done():
            return
        self._turn = self._loop.call_later(TURN_S, self._take_turn)
        if self._server.active is None:
            super()._received(_WORDS)
            for item in self._server.items.values():
                if item.role == "user":
                    item.sound = b""  # not needed again, and there are many


_WORDS: Final = _encode(
    {"type": _APPEND, "audio": binascii.b2a_base64(tone(200) + b"\xff" * (1_300 * 8), newline=False).decode()}
).decode()
"""What the voice detection of a session hears of its caller: a word, then silence for long enough."""


class Models:
    """A Realtime server for a load; `window` is what counts."""

    def __init__(self, speed: float) -> None:
        self.window = Window()
        self._options = ServerOptions(speed=speed, delta_bytes=(DELTA_MS * 8,))
        self._numbers = 0

    async def _session(self, websocket: WebSocket) -> None:
        if (model := await accepted(websocket)) is None:
            return
        self._numbers += 1
        server = RealtimeServer(_Talker(), self._options)
        session = _Session(self, server, websocket, self._numbers)
        session.start(lambda now_ms: server.open(now_ms, model))
        await session.closed

    @contextlib.asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve while the block runs; gives the port."""
        app = Starlette(routes=[WebSocketRoute(path, self._session) for path in PATHS])
        async with serve_app(app, port, host) as listener:
            yield listener.sockets[0].getsockname()[1]
