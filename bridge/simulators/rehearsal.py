"""A model's place without a model: the front desk with ears and a voice, or the parrot where the model's name
says so.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from bridge.codecs.caption import caption_of
from bridge.doubles.agents import Asked, Output, Parrot, Speech
from bridge.doubles.front_desk.agent import FrontDesk
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.items import Item
from bridge.doubles.live_options import LiveOptions
from bridge.doubles.options import ServerOptions, said_so_long
from bridge.doubles.realtime import RealtimeServer
from bridge.sounds import demo_text, load_demo

from .ears import Turns, listening, speech_detector
from .recognisers import DESK, OFF
from .voice import ESPEAK, Speaker, Tones, local_voice, tell_of

PARROT: Final = "parrot"
"""The model name that gets the parrot, whatever else would answer."""


class Rehearsal:
    """A Realtime server's mind: `answers` says who answers, and so does a session whose model is `parrot`."""

    def __init__(self, parrot: Parrot, speak: Callable[[str], Speech], *, answers: str = "embedded") -> None:
        self._answers = answers
        self._parrot = parrot
        self._desk = FrontDesk(speak, caption_of)

    def answer(self, asked: Asked) -> Sequence[Output]:
        is_parrot = PARROT in (self._answers, asked.session.get("model"))
        return self._parrot.answer(asked) if is_parrot else self._desk.answer(asked)


def transcript(item: Item) -> str | None:
    """A caller's words: those that the sound carries, or that were made out; else how long they spoke."""
    heard = item.words.text() if item.words is not None else None
    return caption_of(item.sound) or heard or said_so_long(item)


@contextlib.asynccontextmanager
async def rehearsing(
    answers: str = "embedded",
    *,
    ears: str = DESK,
    voice: str = ESPEAK,
    turns: Turns | None = None,
    options: Callable[..., ServerOptions | LiveOptions] = ServerOptions,
) -> AsyncIterator[Callable[[], RealtimeServer | LiveServer]]:
    """What makes the server of each session, while the block runs. `answers`: embedded, which is the front
    desk, or parrot, which has neither ears nor a voice. Raises ConfigError for what was named (BRIDGE_EARS,
    BRIDGE_VOICE_FILE, BRIDGE_TURNS) and cannot be had. `options` makes those of another vendor's server.
    """
    repeats = answers == PARROT
    spoken = Tones() if repeats else local_voice(voice)
    if not repeats:
        tell_of(spoken, voice)
        speech_detector(turns)
    speaker = Speaker(spoken)
    mind = Rehearsal(Parrot(load_demo("greeting"), demo_text("greeting")), speaker, answers=answers)
    # The front desk has ears and a voice that take their time. The parrot has none, and takes a model's.
    given: dict[str, Any] = {} if repeats else {"latency_ms": 0}
    with contextlib.closing(speaker):
        async with listening(OFF if repeats else ears) as process:

            def server() -> RealtimeServer | LiveServer:
                made = options(
                    ears=None if process is None else process.session(),
                    detector=None if repeats else speech_detector(turns),
                    transcribe=transcript, created_at_s=int(time.time()), **given,
                )  # fmt: skip
                return LiveServer(mind, made) if isinstance(made, LiveOptions) else RealtimeServer(mind, made)

            yield server
