"""A call that was asked for by REST, from its place in the queue to its end.

https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource
"""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bridge.codecs.dtmf import dialled
from bridge.doubles.people.detection import DetectionOptions, Detector

from .leg import Leg
from .network import Network, network_of
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


def detection_of(given: Mapping[str, str], prefix: str) -> DetectionOptions:
    """Machine detection's parameters, of REST (`MachineDetection…`) or of a noun (`machineDetection…`)."""
    return DetectionOptions(
        waits_for_end=given.get(prefix) == "DetectMessageEnd",
        timeout_ms=int(given.get(f"{prefix}Timeout", 30)) * 1_000,
        speech_threshold_ms=int(given.get(f"{prefix}SpeechThreshold", 2_400)),
        speech_end_threshold_ms=int(given.get(f"{prefix}SpeechEndThreshold", 1_200)),
        silence_timeout_ms=int(given.get(f"{prefix}SilenceTimeout", 5_000)),
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
            network.keep(_told_aside(leg, verdict, placement))
        else:
            fields = {"CallSid": leg.sid, "AccountSid": leg.handset.account_sid, **await verdict}
    if placement.send_digits:
        await leg.play(dialled(placement.send_digits))
    if placement.url is None:
        await leg.run((ET.fromstring(placement.twiml or "<Response />"), ""))  # noqa: S314  checked before
    else:
        await leg.run_from(placement.url, fields, method=placement.method)
    limit.cancel()


async def verdict_of(leg: Leg, phone: SecondPhone, options: DetectionOptions) -> dict[str, str]:
    """Machine detection's one verdict, as the fields of a request: scripted by the phone, or by its sound.
    What the call says later is not asked: it may come after the end.
    """
    if phone.verdict is not None:
        at_ms, answered_by = phone.verdict
        await leg.network.clock.sleep(at_ms)
    else:
        at_ms, answered_by = await _judged(leg, options)
    leg.answered_by = answered_by
    return {"AnsweredBy": answered_by, "MachineDetectionDuration": str(at_ms)}


async def _judged(leg: Leg, options: DetectionOptions) -> tuple[int, str]:
    detector = Detector(options)
    judged: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def hear(frame: bytes) -> None:
        verdict = detector.hear(frame)
        if verdict is not None and not judged.done():
            judged.set_result(verdict)

    leg.person.overheard = hear
    ended = asyncio.ensure_future(leg.ended.wait())
    waiting: set[asyncio.Future[Any]] = {judged, ended}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        leg.person.overheard = None
    return detector.at_ms, judged.result() if judged.done() else "unknown"


async def _told_aside(leg: Leg, verdict: Awaitable[dict[str, str]], placement: Placement) -> None:
    fields = {"CallSid": leg.sid, "AccountSid": leg.handset.account_sid, **await verdict}
    if placement.verdict_url is not None:
        network_of(leg).deliver(
            leg, placement.verdict_url, fields, method=placement.verdict_method, event="amd", bare=True
        )


async def _limited(leg: Leg, limit_s: float) -> None:
    await leg.network.clock.sleep(limit_s * 1000)
    leg.order(Order(Kind.TIME_LIMIT))
