"""`<Dial><Conference>`: a leg in a room."""

from __future__ import annotations

import asyncio
import urllib.parse
import xml.etree.ElementTree as ET
from typing import Any, Final

from ..carrier import WebhookFailed
from ..leg import Document, Leg
from ..network import network_of
from ..rooms import EVENTS, Member, Room
from ..steps import Kind

_REASONS: Final[dict[Kind | None, str]] = {
    Kind.SENT_ON_BY_REST: "participant_updated_via_api",
    Kind.ENDED_BY_REST: "participant_updated_via_api",
}


async def conference(leg: Leg, verb: ET.Element, noun: ET.Element, at: str) -> Document | None:
    """Stay in the room until the leg or the room leaves; then ask the action."""
    name = "".join(noun.itertext()).strip()
    room = network_of(leg).rooms.of(name, leg)
    label = noun.get("participantLabel", "")
    if label and room.labelled(label) is not None:
        raise WebhookFailed(f"16025: {at} says <Conference participantLabel={label!r}>, which is taken")
    if room.callback is None and (url := noun.get("statusCallback")) is not None:
        events = frozenset(noun.get("statusCallbackEvent", "").split()) & set(EVENTS)
        room.callback = urllib.parse.urljoin(at, url), noun.get("statusCallbackMethod", "POST"), events
    member = Member(
        leg, label, starts=noun.get("startConferenceOnEnter", "true") == "true",
        ends=noun.get("endConferenceOnExit") == "true", muted=noun.get("muted") == "true",
        beeps=noun.get("beep", "true") != "false",
    )  # fmt: skip
    leg.note(Kind.CONFERENCE, name)
    leg.leaving, leg.left_by = lambda: {"DialCallStatus": "answered"}, None
    star = asyncio.Event()
    if verb.get("hangupOnStar") == "true":
        leg.on_key = lambda key: star.set() if key == "*" else None
    room.join(member)
    try:
        await _in(room, member, noun, at, verb, star)
    finally:
        leg.on_key = None
        leg.loudspeaker.clear()
        room.leave(member, _REASONS.get(leg.left_by, member.reason))
    leg.leaving = None
    return await leg.after(verb, at, {"DialCallStatus": "answered"})


async def _in(
    room: Room, member: Member, noun: ET.Element, at: str, verb: ET.Element, star: asyncio.Event
) -> None:
    limit_s = float(verb.get("timeLimit", 14_400))
    works = [member.out.wait(), star.wait(), member.leg.network.clock.sleep(limit_s * 1000)]
    ends: set[asyncio.Future[Any]] = set(map(asyncio.ensure_future, works))
    waiting = asyncio.ensure_future(_until_it_starts(room, member, noun, at))
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in {*ends, waiting}:
            end.cancel()


async def _until_it_starts(room: Room, member: Member, noun: ET.Element, at: str) -> None:
    """The wait document, once: it does not loop."""
    wait_url, leg = noun.get("waitUrl"), member.leg
    if not wait_url or room.began.is_set():
        return
    document: Document | None = await leg.fetch(
        urllib.parse.urljoin(at, wait_url), {"ConferenceSid": room.sid, "FriendlyName": room.name},
        method=noun.get("waitMethod", "POST"),
    )  # fmt: skip
    began = asyncio.ensure_future(room.began.wait())
    while document is not None:
        playing = asyncio.ensure_future(leg.perform(document))
        await asyncio.wait({playing, began}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            playing.cancel()
            break
        document = playing.result()
    began.cancel()
