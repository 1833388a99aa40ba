"""Machine detection of a leg that was answered.

https://www.twilio.com/docs/voice/answering-machine-detection
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from bridge.doubles.people.detection import DetectionOptions, Detector

from .leg import Leg
from .network import network_of
from .phones import SecondPhone


def detection_of(given: Mapping[str, str], prefix: str) -> DetectionOptions:
    """Machine detection's parameters, of REST (`MachineDetection…`) or of a noun (`machineDetection…`)."""
    return DetectionOptions(
        waits_for_end=given.get(prefix) == "DetectMessageEnd",
        timeout_ms=int(given.get(f"{prefix}Timeout", 30)) * 1_000,
        speech_threshold_ms=int(given.get(f"{prefix}SpeechThreshold", 2_400)),
        speech_end_threshold_ms=int(given.get(f"{prefix}SpeechEndThreshold", 1_200)),
        silence_timeout_ms=int(given.get(f"{prefix}SilenceTimeout", 5_000)),
    )


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


def tell_verdict(
    leg: Leg, verdict: Coroutine[Any, Any, dict[str, str]], url: str | None, method: str = "POST"
) -> None:
    """Wait for the verdict beside the call, and post it if there is a URL."""

    async def told() -> None:
        fields = {"CallSid": leg.sid, "AccountSid": leg.handset.account_sid, **await verdict}
        if url is not None:
            network_of(leg).deliver(leg, url, fields, method=method, event="amd", bare=True)

    network_of(leg).keep(told())
