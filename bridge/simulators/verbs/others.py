"""Verbs that a bridge may say and that are done in part here, or refused with the reason."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from ..carrier import WebhookFailed
from ..leg import Document, Leg
from ..network import network_of
from ..steps import Kind
from .plain import words_of


async def refer(leg: Leg, verb: ET.Element, at: str) -> Document | None:
    """The person's own phone calls the target; only a leg by SIP can. Our leg ends when it was accepted."""
    if not leg.handset.caller.startswith(("sip:", "sips:")):
        raise WebhookFailed(f"13801: {at} says <Refer> on a call that did not come by SIP")
    target = words_of(verb)
    leg.note(Kind.REFERRED, target)
    answer = network_of(leg).behaviour.refer_answer
    fields = {"ReferCallStatus": "failure", "ReferSipResponseCode": "603"}
    if answer is not None:
        status, refer_code, notify_code = answer
        fields = {"ReferSipResponseCode": refer_code}
        if notify_code:
            fields |= {"ReferCallStatus": status, "NotifySipResponseCode": notify_code}
    return await leg.after(verb, at, fields)


async def pay(leg: Leg, verb: ET.Element, at: str) -> Document | None:  # noqa: ARG001
    """Refused: card data has no place in a simulation."""
    raise WebhookFailed(f"{at} says <Pay>: cards are not taken here, not even in a simulation")


async def start(leg: Leg, verb: ET.Element, at: str) -> Document | None:  # noqa: ARG001
    """A recording beside the call is noted; a stream beside it is refused."""
    if verb.find("Stream") is not None:
        raise WebhookFailed(f"{at} says <Start><Stream>: streams in one direction are not simulated")
    return None


async def stop(leg: Leg, verb: ET.Element, at: str) -> Document | None:  # noqa: ARG001
    """Of a recording."""
    return None
