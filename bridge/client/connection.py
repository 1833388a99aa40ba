"""The connection of a `RealtimeModel`: connecting, closing, events that come in, listeners."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from bridge.client.config import SessionOptions, audio_format, laid_over
from bridge.client.core import ModelCore
from bridge.client.events import (
    Audio,
    AudioInterrupted,
    ConnectionChanged,
    ConnectionState,
    Failed,
    ModelEvent,
)
from bridge.client.events_in import receive
from bridge.client.playback import Tracker
from bridge.codecs import PCM_24K
from bridge.core.messages import SessionConfig
from bridge.core.vendor_errors import PROMPT_OBJECTS
from bridge.errors import AlreadyConnected, BridgeError, ConfigError, NotConnected
from bridge.sockets.transport import Key, RealtimeTransport, WebSocketTransport

logger = logging.getLogger(__name__)

Listener: TypeAlias = Callable[[ModelEvent], "Awaitable[object] | None"]
Playback: TypeAlias = 'Literal["clock", "marks"] | Tracker'
USER_AGENT: Final = "phonebridge"
DEFAULTS: Final = SessionOptions(
    modalities=("audio",), voice=SessionConfig().voice, input_format=PCM_24K, output_format=PCM_24K
)
"""What is asked for at connect where the options say nothing."""


class ModelLink:
    """The connection half of `RealtimeModel`."""

    def __init__(  # noqa: PLR0913  each is a wish of its own, and none is positional
        self,
        *,
        url: str | None = None,
        model: str | None = None,
        call_id: str | None = None,
        api_key: Key = None,
        headers: Mapping[str, str] | None = None,
        options: SessionOptions | None = None,
        playback: Playback = "clock",
        transport: Callable[[], RealtimeTransport] | None = None,
        transport_options: Mapping[str, Any] = MappingProxyType({}),
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.state = ConnectionState.DISCONNECTED
        self.muted = False
        """While it is, the server gets silence in the place of what `send_audio` is given."""
        self._where = {"url": url, "model": model, "call_id": call_id, "api_key": api_key}
        self._headers = headers
        self._options = options or SessionOptions()
        self._playback = playback
        self._make = transport
        self._transport_options = dict(transport_options)
        self._clock = clock
        self._listeners: list[Listener] = []
        self._core: ModelCore | None = None
        self._transport: RealtimeTransport | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pending: deque[str | ModelEvent] = deque()
        self._draining = False
        self._settling: asyncio.Task[None] | None = None

    # --- listeners ---------------------------------------------------------------------------------------

    def add_listener(self, listener: Listener) -> None:
        """Call this function, async or not, with every event from now on. Idempotent."""
        if listener not in self._listeners:
            self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Stop calling this function. Ignored if it is no listener."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    # --- the connection ----------------------------------------------------------------------------------

    async def connect(
        self,
        *,
        url: str | None = None,
        model: str | None = None,
        call_id: str | None = None,
        api_key: Key = None,
        options: SessionOptions | None = None,
    ) -> None:
        """Connect and ask for the session; what is given here goes before what the model was made with.

        Returns once the handshake is over. Raises AlreadyConnected while there is a connection or one is
        being made, ConfigError for settings that cannot work, and what the transport says where the handshake
        fails.
        """
        if self.state is not ConnectionState.DISCONNECTED or self._task is not None:
            raise AlreadyConnected
        given = {"url": url, "model": model, "call_id": call_id, "api_key": api_key}
        options = options or self._options
        tree = laid_over(DEFAULTS.tree(), options.tree())
        if tree.get("prompt"):
            logger.warning("session.prompt is sent: %s", PROMPT_OBJECTS)
        transport = self._made({**self._where, **{k: v for k, v in given.items() if v is not None}})
        core, self._transport = self._new_core(options), transport
        await self._change(ConnectionState.CONNECTING)
        await self._shake_hands(transport)
        self._core = core
        self._task = asyncio.get_running_loop().create_task(self._listen(core, transport), name="model")
        await self._change(ConnectionState.CONNECTED)
        core.configure(tree)
        await self._drain()

    async def _shake_hands(self, transport: RealtimeTransport) -> None:
        try:
            await transport.connect()
            error = getattr(transport, "last_error", None)
            if error is not None:
                raise error
            if self._transport is not transport:
                raise NotConnected  # it was closed meanwhile
        except BaseException as error:
            self._transport = None
            await transport.close()
            if isinstance(error, BridgeError):
                await self._emit(Failed(error, "connecting"))
            await self._change(ConnectionState.DISCONNECTED)
            raise

    async def ensure_connected(self) -> None:
        """Connect, unless there is a connection."""
        if self.state is not ConnectionState.CONNECTED:
            await self.connect()

    async def close(self) -> None:
        """End the connection and wait until it is gone. Idempotent."""
        task, transport = self._task, self._transport
        self._task = self._transport = None
        self._forget()
        if transport is not None:
            await transport.close()
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._change(ConnectionState.DISCONNECTED)

    def _made(self, where: dict[str, Any]) -> RealtimeTransport:
        if where["call_id"] is not None and where["model"] is not None:
            raise ConfigError("a call is joined as it is: give call_id or model, not both")
        if self._make is not None:
            return self._make()
        headers = {"User-Agent": USER_AGENT} if self._headers is None else dict(self._headers)
        key = None
        if self._headers is None:
            key = where["api_key"] or os.environ.get("OPENAI_API_KEY")
            if key is None:
                raise ConfigError("a key is wanted: api_key, or OPENAI_API_KEY; or headers that need none")
        return WebSocketTransport(**{**where, "api_key": key}, headers=headers, **self._transport_options)

    def _new_core(self, options: SessionOptions) -> ModelCore:
        tracker = None if isinstance(self._playback, str) else self._playback
        audio = audio_format(options.output_format)
        core = ModelCore(tracker, marks=self._playback == "marks", audio=audio or PCM_24K)
        if isinstance(options.tracing, str | Mapping) or options.tracing is None:
            core.tracing = options.tracing
        return core

    async def _listen(self, core: ModelCore, transport: RealtimeTransport) -> None:
        error: Exception | None = None
        try:
            async for frame in transport.events():
                try:
                    receive(core, frame, self._now_ms())
                except Exception as broken:  # one frame must not end the conversation, whatever it did
                    logger.exception("an internal invariant was broken")
                    core.out.append(Failed(broken, "reading a frame"))
                await self._drain()
        except Exception as failed:  # noqa: BLE001  a transport may be anybody's
            error = failed
        what = "in the transport" if error is not None else "closed unexpectedly"
        error = error or getattr(transport, "last_error", None)
        if self._transport is transport:
            if error is not None:
                await self._emit(Failed(error, what))
            self._task = None
            await self.close()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._core = self._timer = None
        self._pending.clear()

    async def _change(self, state: ConnectionState) -> None:
        if self.state is not state:
            self.state = state
            await self._emit(ConnectionChanged(state))

    # --- the one way out ---------------------------------------------------------------------------------

    def _connected(self) -> ModelCore:
        if self._core is None:
            raise NotConnected
        return self._core

    async def _drain(self) -> None:
        """Send and tell what was decided, in its order. A caller that comes while it runs leaves its part to
        it: so a listener may ask for anything, and waits for nothing.
        """
        core, transport = self._core, self._transport
        if core is None or transport is None:
            return
        self._pending += core.drain()
        self._arm()
        if self._draining:
            return
        self._draining = True
        try:
            while self._pending:
                one = self._pending.popleft()
                if isinstance(one, str):
                    await self._put(transport, one)
                else:
                    await self._tell(one)
        finally:
            self._draining = False

    async def _put(self, transport: RealtimeTransport, frame: str) -> None:
        try:
            await transport.send(frame)
        except NotConnected:
            logger.info("not sent: the connection has just ended")  # its events end too, and say why

    async def on_audio(self, audio: Audio) -> None:
        """Sound has come. A subclass may take it here; this tells the listeners."""
        await self._emit(audio)

    async def on_interrupted(self, interrupted: AudioInterrupted) -> None:
        """Sound was cut. A subclass may stop its player here; this tells the listeners."""
        await self._emit(interrupted)

    async def _tell(self, event: ModelEvent) -> None:
        match event:
            case Audio():
                await self.on_audio(event)
            case AudioInterrupted():
                await self.on_interrupted(event)
            case _:
                await self._emit(event)

    async def _emit(self, event: ModelEvent) -> None:
        for listener in list(self._listeners):
            try:
                told = listener(event)
                if inspect.isawaitable(told):
                    await told
            except Exception as error:
                logger.exception("a listener failed")
                if not isinstance(event, Failed):
                    await self._emit(Failed(error, "in a listener"))

    # --- time --------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return int((self._clock or asyncio.get_running_loop().time)() * 1000)

    def _arm(self) -> None:
        """Without marks the clock says when something was played to its end."""
        due_ms = None if self._core is None else self._core.playout.line.deadline_ms
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if due_ms is not None and self._clock is None and self._playback == "clock":
            self._timer = asyncio.get_running_loop().call_at(due_ms / 1000 + 0.001, self._settle)

    def _settle(self) -> None:
        core = self._core
        if core is not None:
            core.playout.settle(self._now_ms())
            core.act()
            self._settling = asyncio.get_running_loop().create_task(self._drain(), name="played")
