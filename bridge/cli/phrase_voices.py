"""Voices that say phrases: the model's own, over the Realtime websocket, or one of this machine."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from bridge.codecs.level import level_dbfs
from bridge.core import messages as m
from bridge.errors import BridgeError, ConfigError
from bridge.sockets.transport import WebSocketTransport
from bridge.upstreams import UPSTREAMS, Dial, Upstream, events_of, frames_of

TRIES: Final = 3
"""A model may say something else, or something more."""
ANSWER_S: Final = 30.0
FRAME_BYTES: Final = 160
_SILENT_DBFS: Final = -50
_END: Final = b"\xff" * 2 * FRAME_BYTES
_LOCAL: Final = {"en": "en-us", "fr": "fr-fr", "zh": "cmn"}
"""espeak-ng's names of voices, where they are not the language's."""


class NotSaid(BridgeError):
    """The voice said something else than the phrase. `heard` is what."""


class ModelVoice:
    """A session with the model, in which it reads out what it is given."""

    def __init__(self, transport: WebSocketTransport, adapter: Upstream) -> None:
        self._transport = transport
        self._adapter = adapter
        self._events = transport.events()
        self._asked = 0

    async def configure(self, config: m.SessionConfig) -> None:
        """Raises NotSaid where the vendor refuses the session."""
        await self._send(m.ConfigureSession(config))
        async for event in self._until(lambda event: isinstance(event, m.SessionUpdated)):
            if isinstance(event, m.UpstreamFaulted):
                raise NotSaid(f"the vendor refuses the session: {event.code or event.message}")

    async def pcmu(self, words: str) -> bytes:
        """The words as µ-law. Raises NotSaid when the model said others, three times over."""
        heard = ""
        for _ in range(TRIES):
            sound, heard = await self._said(words)
            if sound and _letters(heard) == _letters(words):
                return trimmed(sound)
        raise NotSaid(f"it was to say “{words}”, and said “{heard}”")

    async def _said(self, words: str) -> tuple[bytes, str]:
        self._asked += 1
        wish = f'Say exactly this and nothing else: "{words}"'
        await self._send(m.CreateResponse(f"phrase:{self._asked}", wish))
        sound, text = bytearray(), ""
        async for event in self._until(lambda event: isinstance(event, m.ResponseDone)):
            match event:
                case m.AudioDelta(audio=audio):
                    sound += b64decode(audio)
                case m.TextDelta(text=more):
                    text += more
                case m.UpstreamFaulted():
                    raise NotSaid(f"the vendor refuses it: {event.code or event.message}")
                case m.ResponseDone(status=status, why=why) if status != "completed":
                    raise NotSaid(f"the response ended as {status}{f', {why}' if why else ''}")
        return bytes(sound), text

    async def _send(self, command: m.UpstreamCommand) -> None:
        for frame in frames_of(self._adapter.write(command)):
            await self._transport.send(str(frame))

    async def _until(self, last: Callable[[object], bool]) -> AsyncIterator[Any]:
        """What comes, up to the event that is the last."""
        async with asyncio.timeout(ANSWER_S):
            async for frame in self._events:
                for event in events_of(self._adapter.parse(frame)):
                    yield event
                    if last(event):
                        return
        raise NotSaid("the connection to the model was lost")


@asynccontextmanager
async def model_voice(
    upstream: str,
    url: str | None,
    headers: Callable[[Dial], Awaitable[dict[str, str]]],
    config: m.SessionConfig,
) -> AsyncIterator[ModelVoice]:
    """The model's voice while the block runs. `headers` are those that prove who we are, by the vendor's way
    of being shown a key.
    """
    adapter = UPSTREAMS[upstream](1, url)
    dialled = adapter.dial(config)
    transport = WebSocketTransport(url=dialled.url, headers={**dialled.headers, **await headers(dialled)})
    await transport.connect()
    if transport.last_error is not None:
        raise transport.last_error
    try:
        voice = ModelVoice(transport, adapter)
        await voice.configure(config)
        yield voice
    finally:
        await transport.close()


def local_pcmu(language: str) -> tuple[str, Callable[[str], bytes]]:
    """A voice of this machine for that language: its name, and what makes the sound of words. Raises
    ConfigError if it has none.
    """
    from bridge.simulators.espeak import EspeakVoice  # loads a library

    try:
        voice = EspeakVoice(_LOCAL.get(language, language))
    except (ImportError, OSError, RuntimeError) as error:
        cure = "pip install espeakng-loader, or set OPENAI_API_KEY for the model's voice"
        raise ConfigError(f"there is no voice for {language!r} on this machine ({error}): {cure}") from error
    return voice.name, lambda words: trimmed(voice.pcmu(words))


def trimmed(sound: bytes) -> bytes:
    """Without the silence around it, in whole frames of 20 ms, and 40 ms of silence at the end."""
    sound += b"\xff" * (-len(sound) % FRAME_BYTES)
    frames = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]
    loud = [number for number, frame in enumerate(frames) if level_dbfs(frame) > _SILENT_DBFS]
    return b"".join(frames[loud[0] : loud[-1] + 1]) + _END if loud else b""


def _letters(words: str) -> str:
    """What two spellings of the same words have in common."""
    return "".join(letter for letter in words.casefold() if letter.isalnum())
