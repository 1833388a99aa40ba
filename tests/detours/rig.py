"""A service, a caller with ears, a target with a phone, and a model that keeps what it was asked."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.codecs.g711 import pcmu_to_pcm, rms
from bridge.core import messages as m
from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.phone import Phone
from bridge.doubles.tones import tone
from bridge.simulators.phone import PhoneCall
from tests.detours.test_documents import T
from tests.door.rig import TRANSFERS, Door, until

BILLING = f"{TRANSFERS},billing={T}"
LOUD_RMS = 200
"""Of 16-bit samples in 20 ms: about -44 dBFS."""
FRAME_BYTES = 160


@dataclass
class Mind:
    """Says a word for each response, and keeps what it could know then."""

    known: list[str] = field(default_factory=list)
    ms: int = 400

    def answer(self, asked: Asked) -> Sequence[Output]:
        told = [str(item.text) for item in asked.items]
        self.known.append("\n".join([*told, str(asked.request.get("instructions") or "")]))
        return [Speech(tone(self.ms), f"Word {len(self.known)}.")]


def heard(call: PhoneCall, stream: int) -> bytes:
    """What the caller heard of a stream, µ-law, from its start on."""
    machine = call.streams[stream][1].machine
    assert isinstance(machine, Phone)
    return machine.recording()[1]


def loud_ms(sound: bytes, after_ms: int = 0) -> int | None:
    """When something loud is heard first, not before `after_ms`; None if nothing is."""
    for at in range(after_ms * 8 // FRAME_BYTES * FRAME_BYTES, len(sound), FRAME_BYTES):
        if rms(pcmu_to_pcm(sound[at : at + FRAME_BYTES])) >= LOUD_RMS:
            return at // 8
    return None


async def hears_a_word(call: PhoneCall, stream: int, after_ms: int = 0, within_ms: int = 2_000) -> None:
    """The caller hears something loud on that stream within that time."""
    await until(lambda: len(call.streams) > stream, 10)
    await until(
        lambda: len(heard(call, stream)) >= (after_ms + within_ms) * 8 or _is_loud(call, stream, after_ms)
    )
    found = loud_ms(heard(call, stream), after_ms)
    assert found is not None, f"silence for {within_ms} ms"
    assert found - after_ms <= within_ms


def _is_loud(call: PhoneCall, stream: int, after_ms: int) -> bool:
    return loud_ms(heard(call, stream), after_ms) is not None


def wish(name: str = "billing", **more: Any) -> m.Detour:
    return m.Detour(secrets.token_hex(16), name=name, brief="Ann Lee, about an invoice.", **more)


def feed(house: Door, call: PhoneCall, event: m.Event) -> None:
    runner = house.service.registry.runner(call.handset.call_sid)
    assert runner is not None
    runner.feed(event)


def ended(house: Door, call: PhoneCall) -> list[m.DetourEnded]:
    """What the session was told of its detours."""
    did = house.log.did.get(call.handset.call_sid, [])
    return [action for action in did if isinstance(action, m.DetourEnded)]


async def greeted(call: PhoneCall) -> None:
    """The caller is through, and has heard the greeting."""
    await until(lambda: call.streaming.is_set() and len(heard(call, 0)) > 0 and _is_loud(call, 0, 0))
    await asyncio.sleep(0.6)


async def greeted_call(house: Door) -> PhoneCall:
    """A caller who says nothing has called, and has heard the greeting."""
    call = house.dial(house.caller())
    await greeted(call)
    return call


async def sent_on(house: Door, call: PhoneCall, detour: m.Detour, seconds: float) -> None:
    """The caller is sent on, the target takes the call, and the two talk for that long."""
    feed(house, call, detour)
    await until(lambda: call.bridges, 10)
    await passes(house, seconds)


async def passes(house: Door, seconds: float) -> None:
    """So much of the network's time."""
    clock = house.api.network.clock
    until_ms = clock.now_ms + seconds * 1000
    await until(lambda: clock.now_ms >= until_ms, 15)
