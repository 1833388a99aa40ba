"""Two hundred calls' worth of load, in processes of its own: `python -m tests.load phones URL COUNT TOKEN`
and `python -m tests.load models`. Each prints one line of JSON when there is something to tell.

Every caller says something that nobody else says: 600 ms of bytes that only their number makes. The models
are parrots. So each caller is to hear the greeting and its own words, to the byte, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

from bridge.doubles.agents import Parrot
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import marked
from bridge.handset import Handset
from bridge.loops import run
from bridge.simulators import EmbeddedUpstream, Simulation

GREETING = marked(1, 300)
SPEECH_BYTES = 600 * 8
BEFORE_BYTES = 700 * 8
"""Silence before the caller speaks: the greeting is over by then."""
LOUD = bytes(byte for byte in range(0x02, 0x30))
"""Samples that any voice detection takes for speech; neither silence nor the greeting is made of them."""
PER_SECOND = 40
"""Calls that come in each second."""
PATIENCE_S = 30.0


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


async def phones(url: str, count: int, token: str) -> None:
    """So many calls; nobody hangs up before all have heard what they wait for (or waited long enough)."""
    began_s = time.monotonic()
    calls = await asyncio.gather(*(_call(url, number, token) for number in range(count)))
    for call in calls:
        while not _content(call) and time.monotonic() - began_s < PATIENCE_S:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.1)
    alive = sum(not call.closed.done() for call in calls)
    for call in calls:
        call.send(_phone(call).hang_up(call.now_ms()))
    await asyncio.wait([call.closed for call in calls], timeout=5)
    heard = [_phone(call).heard for call in calls]
    wrong = [number for number, sound in enumerate(heard) if _sound(sound) != GREETING + speech(number)]
    first_ms = sorted(_phone(call).heard_spans[0].at_ms for call in calls if _phone(call).heard_spans)
    _say(
        calls=count,
        alive_at_once=alive,
        wrong=wrong,
        cleared=sum(len(_phone(call).cleared) for call in calls),
        refused=sum(_phone(call).refused.total() for call in calls),
        closed=sum(call.closed.done() for call in calls),
        with_gaps=sum(speech(number) not in sound for number, sound in enumerate(heard)),
        first_sound_ms={"p50": first_ms[len(first_ms) // 2], "max": first_ms[-1]} if first_ms else None,
        cpu_s=round(time.process_time(), 2),
    )


async def _call(url: str, number: int, token: str) -> Simulation:
    await asyncio.sleep(number / PER_SECOND)
    options = PhoneOptions(first_media_ms=100 + number % 20)
    said = b"\xff" * BEFORE_BYTES + speech(number)
    handset = Handset(said, call_sid=f"CA{number:032x}", auth_token=token, options=options)
    return await handset.call(url)


def _phone(call: Simulation) -> Phone:
    assert isinstance(call.machine, Phone)
    return call.machine


def _content(call: Simulation) -> bool:
    # A turn begins 300 ms before its first word, and the parrot repeats all of it.
    return _phone(call).played_bytes >= len(GREETING) + 300 * 8 + SPEECH_BYTES


def _sound(heard: bytes) -> bytes:
    return heard.replace(b"\xff", b"")


def _say(**what: Any) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(models() if sys.argv[1] == "models" else phones(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
