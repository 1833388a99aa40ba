"""A call that was asked for by REST, from its place in the queue to its end.

https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.codecs.dtmf import dialled
from bridge.doubles.people.detection import DetectionOptions

from .detecting import detection_of, tell_verdict, verdict_of
from .leg import Leg
from .network import Network
from .phones import SecondPhone
from .ringing import ring
from .status_callbacks import StatusCallback
from .steps import Kind, Order

TIMEOUT_S: Final = 60
TIME_LIMIT_S: Final = 14_400
INITIATED_MS: Final = (300, 500)
"""From the answer to the POST until the call is `initiated`."""


@dataclass(frozen=True)
class Placement:
    """What `Calls.create` wishes, beyond who calls whom."""

    url: str | None
    twiml: str | None
    method: str = "POST"
    timeout_s: float = TIMEOUT_S
    time_limit_s: float = TIME_LIMIT_S
    send_digits: str = ""
    detection: DetectionOptions | None = None
    detects_aside: bool = False
    """`AsyncAmd`: the document does not wait for the verdict."""
    verdict_url: str | None = None
    verdict_method: str = "POST"
    fallback: tuple[str, str] | None = None
    """Where the document is when that one fails, and the method."""

    @classmethod
    def of(cls, form: Mapping[str, Sequence[str]]) -> Placement:
        """From a form that was found good."""
        given = {name: values[-1] for name, values in form.items()}
        mode = given.get("MachineDetection")
        # Twilio, `SendDigits`: "the `MachineDetection` parameter is disabled".
        detects = mode is not None and "SendDigits" not in given
        return cls(
            url=given.get("Url"),
            twiml=given.get("Twiml"),
            method=given.get("Method", "POST"),
            timeout_s=float(given.get("Timeout", TIMEOUT_S)),
            time_limit_s=float(given.get("TimeLimit", TIME_LIMIT_S)),
            send_digits=given.get("SendDigits", ""),
            detection=detection_of(given, "MachineDetection") if detects else None,
            detects_aside=given.get("AsyncAmd") == "true",
            verdict_url=given.get("AsyncAmdStatusCallback"),
            verdict_method=given.get("AsyncAmdStatusCallbackMethod", "POST"),
            fallback=fallback_of(given),
        )


def fallback_of(given: Mapping[str, str]) -> tuple[str, str] | None:
    """The fallback of a form, None without one."""
    url = given.get("FallbackUrl")
    return (url, given.get("FallbackMethod", "POST")) if url else None


def subscription(form: Mapping[str, Sequence[str]]) -> list[StatusCallback]:
    """Who is told of the statuses."""
    url = form.get("StatusCallback", [""])[-1]
    if not url:
        return []
    events = [event for value in form.get("StatusCallbackEvent", ["completed"]) for event in value.split()]
    return [StatusCallback(url, frozenset(events), form.get("StatusCallbackMethod", ["POST"])[-1])]


async def live(network: Network, leg: Leg, phone: SecondPhone, placement: Placement, queue_ms: int) -> None:
    """The call's whole life."""
    initiated_ms = queue_ms + network.rng.randint(*INITIATED_MS)
    if not await ring(leg, phone, placement.timeout_s, initiated_ms=initiated_ms):
        return
    leg.fallback = placement.fallback
    limit = network.keep(_limited(leg, placement.time_limit_s))
    fields: dict[str, str] = {}
    if placement.detection is not None:
        verdict = verdict_of(leg, phone, placement.detection)
        if placement.detects_aside:
            tell_verdict(leg, verdict, placement.verdict_url, placement.verdict_method)
        else:
            fields = {"CallSid": leg.sid, "AccountSid": leg.handset.account_sid, **await verdict}
    if placement.send_digits:
        await leg.play(dialled(placement.send_digits))
    if placement.url is None:
        await leg.run((ET.fromstring(placement.twiml or "<Response />"), ""))  # noqa: S314  checked before
    else:
        await leg.run_from(placement.url, fields, method=placement.method)
    limit.cancel()


async def _limited(leg: Leg, limit_s: float) -> None:
    await leg.network.clock.sleep(limit_s * 1000)
    leg.order(Order(Kind.TIME_LIMIT))
