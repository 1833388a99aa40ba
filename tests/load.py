"""Two hundred calls' worth of load, in processes of its own: `python -m tests.load models`, then `bridge`
with the models' URL, then `phones` with the webhook's and a count. Each prints JSON when it has something to
tell.

Every caller says something that nobody else says: 600 ms of bytes that only their number makes. The models
are parrots. So each caller is to hear the greeting and its own words, to the byte, and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import sys
import time
from collections import Counter
from typing import Any

import msgspec

from bridge.doubles.agents import Parrot
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import marked
from bridge.ops.event_loop import run
from bridge.server import service
from bridge.server.routes import create_app
from bridge.simulators.carrier import CarrierSimulator, WebhookFailed
from bridge.simulators.servers import EmbeddedUpstream, Simulation
from bridge.sockets.dial import DialError
from tests.calls import TOKEN, Log, settings_at

GREETING = marked(1, 300)
SPEECH_BYTES = 600 * 8
LOUD = bytes(byte for byte in range(0x02, 0x30))
"""Samples that any voice detection takes for speech; neither silence nor the greeting is made of them."""
PIECE_BYTES = 8
"""So long a piece of one's own words is in nobody else's."""
PER_SECOND = 40
"""Calls that come in each second."""
PATIENCE_MS = 40_000


def speech(number: int) -> bytes:
    """What the caller of that number says, and no other."""
    return bytes(random.Random(number).choices(LOUD, k=SPEECH_BYTES))


async def models() -> None:
    """Parrots for as many sessions as are asked for, until this process is ended."""
    parrot = Parrot(GREETING)
    options = ServerOptions(latency_ms=50, speed=10)
    async with EmbeddedUpstream(lambda: RealtimeServer(parrot, options), keep=False).serve() as url:
        _say(url=url)
        await asyncio.Event().wait()


async def bridge(models_url: str) -> None:
    """The bridge as it is served, but for the watch over its loop: that would turn calls away from a machine
    that has other things to do, and this is about whose sound it is. Says at SIGTERM how its calls ended.
    """
    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = settings_at(base, disclosure=False, max_calls=1_000)
    log = Log()
    registry = service.make_registry(settings, upstream_url=models_url, observers=(log,))
    silent = msgspec.structs.replace(settings.call_config(), phrases={}, stalled_ms=PATIENCE_MS)
    registry._making.config = lambda _fields: silent
    async with service.serving(create_app(settings, registry), sock):
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
        _say(base=base)
        await asked.wait()
        _say(left=len(registry), ended=Counter(ended.reason.value for ended, _ in log.ended.values()))


async def phones(url: str, count: int) -> None:
    """So many calls; nobody hangs up before all have heard what they wait for (or waited long enough)."""
    began_s = time.monotonic()
    lateness = Lateness()
    calls = await asyncio.gather(*(_call(url, number) for number in range(count)))
    await asyncio.gather(*(_speak(call, number) for number, call in enumerate(calls)))
    for call in calls:
        while not _content(call) and time.monotonic() - began_s < PATIENCE_MS / 1000:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.1)
    alive = sum(not call.closed.done() for call in calls)
    for call in calls:
        call.send(_phone(call).hang_up(call.now_ms()))
    await asyncio.wait([call.closed for call in calls], timeout=20)
    late_ms = lateness.most_ms()
    heard = [_phone(call).heard for call in calls]
    own = [GREETING + speech(number) for number in range(count)]
    whole = [_sound(sound) == mine for sound, mine in zip(heard, own, strict=True)]
    first_ms = sorted(_phone(call).heard_spans[0].at_ms for call in calls if _phone(call).heard_spans)
    _say(
        calls=count,
        alive_at_once=alive,
        whole=sum(whole),
        foreign=[number for number in range(count) if not _made_of(_sound(heard[number]), own[number])],
        cleared=sum(len(_phone(call).cleared) for call in calls),
        refused=sum(_phone(call).refused.total() for call in calls),
        closed=sum(call.closed.done() for call in calls),
        with_gaps=sum(speech(number) not in sound for number, sound in enumerate(heard)),
        first_sound_ms={"p50": first_ms[len(first_ms) // 2], "max": first_ms[-1]} if first_ms else None,
        late_ms=late_ms,
        cpu_s=round(time.process_time(), 2),
    )


class Lateness:
    """How long this process was kept from what it wanted to do: its share in what is wrong with the sound."""

    def __init__(self) -> None:
        self._most_s = 0.0
        self._task = asyncio.create_task(self._watch())

    def most_ms(self) -> int:
        """The longest so far; ends the watch."""
        self._task.cancel()
        return int(self._most_s * 1000)

    async def _watch(self) -> None:
        while True:
            due_s = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            self._most_s = max(self._most_s, time.monotonic() - due_s)


async def _call(url: str, number: int) -> Simulation:
    await asyncio.sleep(number / PER_SECOND)
    options = PhoneOptions(first_media_ms=100 + number % 20)
    for attempt in itertools.count():
        handset = CarrierSimulator(
            call_sid=f"CA{attempt:08x}{number:024x}", auth_token=TOKEN, options=options
        )
        try:
            return await handset.call(url)
        except (DialError, WebhookFailed):
            # A handshake may take 3 s and no longer, and this machine may have other things to do.
            if attempt == 10:
                raise
            await asyncio.sleep(1)
    raise AssertionError


async def _speak(call: Simulation, number: int) -> None:
    """When the greeting was heard; not all of them at the same moment."""
    await asyncio.sleep(number / PER_SECOND / 5)
    while _phone(call).played_bytes < len(GREETING) and not call.closed.done():  # noqa: ASYNC110  no event tells
        await asyncio.sleep(0.1)
    call.send(_phone(call).say(speech(number), call.now_ms()))


def _phone(call: Simulation) -> Phone:
    assert isinstance(call.machine, Phone)
    return call.machine


def _content(call: Simulation) -> bool:
    # A turn begins 300 ms before its first word, and the parrot repeats all of it.
    return _phone(call).played_bytes >= len(GREETING) + 300 * 8 + SPEECH_BYTES


def _sound(heard: bytes) -> bytes:
    return heard.replace(b"\xff", b"")


def _made_of(sound: bytes, own: bytes) -> bool:
    """Whether a sound holds nothing but pieces of one's own, in their order: a frame may be lost on a machine
    that is too busy, but none may come from another call.
    """
    at = 0
    while sound:
        found = own.find(sound[:PIECE_BYTES], at)
        if found < 0:
            return False
        size = next(
            (n for n, (one, mine) in enumerate(zip(sound, own[found:], strict=False)) if one != mine), None
        )
        size = min(len(sound), len(own) - found) if size is None else size
        sound, at = sound[size:], found + size
    return True


def _say(**what: Any) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


WORK = {"models": models, "bridge": bridge, "phones": lambda url, count: phones(url, int(count))}

if __name__ == "__main__":
    run(WORK[sys.argv[1]](*sys.argv[2:]))  # type: ignore[operator]
