"""`<Enqueue>` and `<Leave>`: waiting, with a document that is asked again each time it ends.

https://www.twilio.com/docs/voice/twiml/enqueue
"""

from __future__ import annotations

import asyncio
import urllib.parse
import xml.etree.ElementTree as ET
from typing import Any

from ..leg import Document, Leg
from ..network import network_of
from ..queues import Place
from ..steps import Kind


class LeftQueue(Exception):
    """`<Leave>` was said."""


async def enqueue(leg: Leg, verb: ET.Element, at: str) -> Document | None:
    """Wait until the wait document says `<Leave>`, or another leg takes this one; then ask the action."""
    name = "".join(verb.itertext()).strip()
    queue = network_of(leg).queues.of(name)
    leg.note(Kind.QUEUED, name)
    if len(queue.places) >= int(verb.get("maxQueueSize", 100)):
        return await leg.after(verb, at, {"QueueResult": "queue-full", "QueueTime": "0"})
    place = queue.enter(leg, leg.network.clock.now_ms)
    leg.leaving = lambda: {
        **_told(leg, place), "QueueResult": "redirected" if leg.left_by is Kind.SENT_ON_BY_REST else "hangup",
    }  # fmt: skip
    waiting = asyncio.ensure_future(_waited(leg, verb, at, place))
    taken = asyncio.ensure_future(place.taken.wait())
    ends: set[asyncio.Future[Any]] = {waiting, taken}
    result = "leave"
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if place.taken.is_set():
            result = "bridged"
            waiting.cancel()
            await place.talk_over.wait()
        else:
            waiting.result()
    except LeftQueue:
        pass
    finally:
        for end in ends:
            end.cancel()
        await asyncio.wait(ends)
        queue.leave(place)
    leg.leaving = None
    return await leg.after(verb, at, {**_told(leg, place), "QueueResult": result})


async def leave(leg: Leg, verb: ET.Element, at: str) -> Document | None:  # noqa: ARG001
    """Out of the queue; outside of one it is passed over."""
    if network_of(leg).queues.holding(leg):
        raise LeftQueue
    return None


async def take(leg: Leg, verb: ET.Element, noun: ET.Element, at: str) -> Document | None:
    """`<Dial><Queue>`: talk with the caller who has waited longest; wait for one if the queue is empty."""
    queue = network_of(leg).queues.of("".join(noun.itertext()).strip())
    leg.leaving = lambda: {"DialCallStatus": "answered"}
    while (place := queue.take()) is None:
        await leg.network.clock.sleep(100)
    other = place.leg
    leg.bridges.append((leg.now_ms(), other))
    leg.partners.add(other)
    other.partners.add(leg)
    try:
        await other.ended.wait()
    finally:
        leg.partners.discard(other)
        other.partners.discard(leg)
        place.talk_over.set()
    leg.leaving = None
    return await leg.after(verb, at, {"DialCallStatus": "answered"})


async def _waited(leg: Leg, verb: ET.Element, at: str, place: Place) -> None:
    wait_url = verb.get("waitUrl")
    method = verb.get("waitUrlMethod", "POST")
    while True:
        if wait_url is None:
            await leg.network.clock.sleep(1_000)
            continue
        fields = {
            **_told(leg, place),
            "QueuePosition": str(place.queue.places.index(place) + 1),
            "CurrentQueueSize": str(len(place.queue.places)),
            "AvgQueueTime": "0",
        }
        document: Document | None = await leg.fetch(urllib.parse.urljoin(at, wait_url), fields, method=method)
        began_ms = leg.network.clock.now_ms
        while document is not None:
            document = await leg.perform(document)
        if leg.network.clock.now_ms == began_ms:
            await leg.network.clock.sleep(1_000)  # a document without sound is not asked for all the time


def _told(leg: Leg, place: Place) -> dict[str, str]:
    time_s = (leg.network.clock.now_ms - place.since_ms) // 1000
    return {"QueueSid": place.queue.sid, "QueueTime": str(time_s)}
