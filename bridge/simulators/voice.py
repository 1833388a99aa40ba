"""Voices without a model: text in, µ-law out, a sentence at a time and beside the event loop.

A `Voice` makes the sound of one sentence, and may take its time: `Speaker` runs it on a thread and gives the
sound as it comes. Without a voice of this machine there are tones, a letter each.
"""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bridge.codecs.caption import MOST_BYTES, captioned
from bridge.doubles.agents import Speech
from bridge.doubles.tones import murmur
from bridge.errors import ConfigError

FRAME_BYTES: Final = 160
ESPEAK: Final = "espeak"
MOST_KEPT: Final = 200
"""Sentences that are kept, so that a greeting is made once."""
_ENDS: Final = re.compile(r"(?<=[.!?…])\s+")
_log = logging.getLogger("bridge.voice")


class Voice(Protocol):
    """Makes speech. `name` is for people."""

    name: str

    def pcmu(self, sentence: str) -> bytes:
        """One sentence as µ-law at 8 kHz, about -20 dBFS, in whole frames of 20 ms; b"" for nothing to say.
        May take its time; never called by two threads at once.
        """
        ...


class Tones:
    """A short tone for each letter: no voice, and it can be told from silence."""

    name = "tones"

    def pcmu(self, sentence: str) -> bytes:
        return murmur(sentence) if sentence else b""


@dataclass(frozen=True, slots=True)
class Sentences:
    """A `Rendering`: sentences whose sounds are being made."""

    sentences: Sequence[str]
    _made: Sequence[Future[bytes]]

    def sound(self, index: int) -> bytes | None:
        """The sound of a sentence, None while it is being made. What a voice fails at is tones."""
        made = self._made[index]
        if not made.done():
            return None
        if made.exception() is None:
            return made.result()
        return murmur(self.sentences[index])


class Speaker:
    """Speaks with a voice, one sentence after the other, on a thread of its own. `close` ends that.

    The sound carries its words (`codecs.caption`), so that a simulated phone can tell what was heard.
    """

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="voice")
        self._kept: OrderedDict[str, Future[bytes]] = OrderedDict()

    def __call__(self, text: str) -> Speech:
        """The text as speech in the making. Returns at once."""
        sentences = [one for one in _ENDS.split(text) if one] or [text]
        return Speech(Sentences(sentences, [self._made(one) for one in sentences]), text)

    def _made(self, sentence: str) -> Future[bytes]:
        made = self._kept.get(sentence)
        if made is None:
            self._kept[sentence] = made = self._pool.submit(self._make, sentence)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(sentence)
        return made

    def _make(self, sentence: str) -> bytes:
        try:
            sound = self.voice.pcmu(sentence)
        except Exception:
            _log.exception("the voice %s failed at a sentence", self.voice.name)
            raise
        sound += b"\xff" * (-len(sound) % FRAME_BYTES)
        return captioned(sound, sentence) if len(sentence.encode()) <= MOST_BYTES and sound else sound

    def close(self) -> None:
        """Make nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def local_voice(choice: str = ESPEAK) -> Voice:
    """The voice of BRIDGE_VOICE_FILE: `espeak`, or tones where espeak-ng (extra `demo`) is not installed;
    `espeak:en-gb+f3`; the path of a Piper voice, `voice.onnx`. Raises ConfigError where the voice that was
    named cannot be had.
    """
    from .espeak import EspeakVoice  # noqa: PLC0415  loads a library
    from .piper import PiperVoice  # noqa: PLC0415  the same

    engine, _, name = choice.partition(":")
    if engine != ESPEAK:
        if not choice.endswith(".onnx"):
            raise ConfigError(
                f"BRIDGE_VOICE_FILE is {choice}: write espeak, espeak:VOICE or a path/voice.onnx"
            )
        return PiperVoice(Path(choice).expanduser())
    try:
        return EspeakVoice(name or "en-us")
    except (ImportError, OSError, RuntimeError) as error:
        if name:
            cure = "pip install espeakng-loader" if isinstance(error, ImportError) else "name another"
            raise ConfigError(f"BRIDGE_VOICE_FILE is {choice}, and {error}: {cure}") from error
        _log.info("no espeak-ng here (%s): tones instead", error)
        return Tones()


def tell_of(voice: Voice, choice: str) -> None:
    """One line for the log: the voice, its size, how long a sentence takes. Makes one to find out."""
    began_s = time.monotonic()
    voice.pcmu("Hello, what can I do for you?")
    took_ms = (time.monotonic() - began_s) * 1000
    path = Path(choice).expanduser()
    size = f", {path.stat().st_size / 1e6:.0f} MB" if path.is_file() else ""
    _log.info("voice: %s%s, %.0f ms a sentence", voice.name, size, took_ms)
