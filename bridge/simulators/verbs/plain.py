"""Verbs that need only the leg itself."""

from __future__ import annotations

import urllib.parse
import xml.etree.ElementTree as ET
from typing import Final

from bridge.codecs.dtmf import dialled

from ..carrier import WebhookFailed
from ..leg import Document, Leg
from ..sounds_of_urls import fetched_sound
from ..steps import Kind

ENDLESS: Final = 1_000
"""`loop="0"` is for ever; the leg leaves before that."""


def words_of(verb: ET.Element) -> str:
    """The text of `<Say>`."""
    return " ".join("".join(verb.itertext()).split())


async def say(leg: Leg, verb: ET.Element, at: str) -> Document | None:  # noqa: ARG001
    """Words, as the network's voice says them."""
    words = words_of(verb)
    leg.note(Kind.SAID, words)
    for _ in range(int(verb.get("loop", "1")) or ENDLESS):
        await leg.play(leg.network.voice(words))
    return None


async def play(leg: Leg, verb: ET.Element, at: str) -> Document | None:
    """A sound that is fetched, or keys as tones."""
    digits = verb.get("digits")
    if digits is not None:
        leg.note(Kind.PLAYED, f"keys {digits}")
        try:
            sound = dialled(digits)
        except ValueError as error:
            raise WebhookFailed(f"{at} says <Play digits>: {error}") from error
        await leg.play(sound)
        return None
    url = urllib.parse.urljoin(at, words_of(verb))
    leg.note(Kind.PLAYED, url)
    sound = await fetched_sound(leg.network.reach(url))
    for _ in range(int(verb.get("loop", "1")) or ENDLESS):
        await leg.play(sound)
    return None


async def pause(leg: Leg, verb: ET.Element, at: str) -> Document | None:  # noqa: ARG001
    """Silence; a call that rings goes on ringing."""
    seconds = float(verb.get("length", "1"))
    leg.note(Kind.PAUSE, f"{seconds:g} s")
    await leg.network.clock.sleep(seconds * 1000)
    return None


async def redirect(leg: Leg, verb: ET.Element, at: str) -> Document | None:
    """Another document."""
    url = urllib.parse.urljoin(at, words_of(verb))
    return await leg.fetch(url, method=verb.get("method", "POST"))


async def reject(leg: Leg, verb: ET.Element, at: str) -> Document | None:  # noqa: ARG001
    """Not answered, where it is the first verb."""
    reason = verb.get("reason", "rejected")
    if leg.status == "ringing":
        # Twilio, "<Reject>": "busy" is a busy signal, else "not in service"; the status is `busy` or
        # `no-answer`, and nothing is billed.
        leg.finish("busy" if reason == "busy" else "no-answer")
    return leg.end(Kind.REJECTED, reason)


async def hangup(leg: Leg, verb: ET.Element, at: str) -> Document | None:  # noqa: ARG001
    """The end."""
    return leg.end(Kind.HUNG_UP)
