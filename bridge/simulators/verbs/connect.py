"""`<Connect><Stream>`: the call's sound goes to a websocket, and the websocket's into the call."""

from __future__ import annotations

import asyncio
import urllib.parse
import xml.etree.ElementTree as ET

from bridge.doubles.phone import Phone
from bridge.sockets.dial import DialError

from ..carrier import WebhookFailed
from ..leg import Document, Leg
from ..network import network_of
from ..servers import Simulation
from ..steps import Kind


async def connect(leg: Leg, verb: ET.Element, at: str) -> Document | None:
    """Open the stream; the action when it is over."""
    stream = verb.find("Stream")
    if stream is None:
        raise WebhookFailed(f"{at} says <Connect> without <Stream>")
    parameters = {p.get("name", ""): p.get("value", "") for p in stream.iterfind("Parameter")}
    url = leg.network.reach(urllib.parse.urljoin(at, stream.get("url", "")))
    sid = f"MZ{len(leg.streams) + 1:032x}"
    leg.leaving, leg.left_by = dict, None
    if leg.streams:
        await leg.network.clock.sleep(network_of(leg).behaviour.seam_ms)
    try:
        # Callers speak on, whether a stream is there or not.
        spoken_ms = leg.now_ms() - leg.streams[0][0] if leg.streams else 0
        simulation = await leg.handset.open(url, parameters, stream_sid=sid, spoken_ms=spoken_ms)
    except DialError as error:
        leg.note(Kind.STREAM_REFUSED, str(error))
        _tell(leg, stream, at, sid, StreamEvent="stream-error", StreamError=f"31920 {error}")
    else:
        leg.streams.append((leg.note(Kind.STREAM, url), simulation))
        _tell(leg, stream, at, sid, StreamEvent="stream-started")
        leg.streaming.set()
        try:
            await asyncio.wait({simulation.closed})
        finally:
            network_of(leg).leaves(leg)
            code, reason = await _closed(simulation)
            leg.streaming.clear()
            leg.person.audible_keys = True
            leg.note(Kind.STREAM_OVER, f"{code} {reason}".rstrip())
            _tell(leg, stream, at, sid, StreamEvent="stream-stopped")
            leg.network.clock.wake()
    leg.leaving = None
    return await leg.after(verb, at, {})


async def _closed(simulation: Simulation) -> tuple[int, str]:
    """How the stream was closed. However a call leaves its stream, Twilio says `stop` and closes."""
    machine = simulation.machine
    if not simulation.closed.done() and isinstance(machine, Phone):
        simulation.send(machine.hang_up(simulation.now_ms()))
    return await simulation.closed


def _tell(leg: Leg, stream: ET.Element, at: str, sid: str, **fields: str) -> None:
    """The status callback; its answer is ignored."""
    callback = stream.get("statusCallback")
    if callback is not None:
        leg.tell(urllib.parse.urljoin(at, callback), {"StreamSid": sid, "StreamName": sid, **fields})
