"""`<Dial>`: rings phones, lets the one that answers hear its whisper, and joins the two legs.

https://www.twilio.com/docs/voice/twiml/dial and /number
"""

from __future__ import annotations

import asyncio
import urllib.parse
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Final

from bridge.codecs.dtmf import dialled
from bridge.doubles.call_resource import is_called

from ..carrier import WebhookFailed
from ..detecting import detection_of, tell_verdict, verdict_of
from ..leg import Document, Leg
from ..network import network_of
from ..phones import SecondPhone
from ..ringing import ring
from ..status_callbacks import EVENTS, StatusCallback
from ..steps import Kind
from .conference import conference
from .queue import take

TIME_LIMIT_S: Final = 14_400
TIMEOUT_S: Final = 30
_PREFIXES: Final = {"Number": "", "Sip": "", "Client": "client:"}


async def dial(leg: Leg, verb: ET.Element, at: str) -> Document | None:
    """Ring, join, and ask the action what comes next."""
    if (noun := verb.find("Conference")) is not None:
        return await conference(leg, verb, noun, at)
    if (noun := verb.find("Queue")) is not None:
        return await take(leg, verb, noun, at)
    dialling = Dialling(leg, verb, at)
    leg.leaving = dialling.fields
    try:
        await dialling.run()
    finally:
        dialling.dismiss()
    leg.leaving = None
    return await leg.after(verb, at, dialling.fields())


@dataclass
class Dialling:
    """One `<Dial>` of numbers."""

    leg: Leg
    verb: ET.Element
    at: str
    legs: list[Leg] = field(default_factory=list)
    winner: Leg | None = None
    status: str = "canceled"
    bridged: bool = False
    redirected: bool = False

    def fields(self) -> dict[str, str]:
        """What the action is told."""
        told = self.winner or (self.legs[-1] if self.legs else None)
        fields = {"DialCallStatus": self.status}
        if told is not None:
            fields["DialCallSid"] = told.sid
            if told.handset.called.startswith(("sip:", "sips:")):
                fields |= {
                    "DialSipResponseCode": str(told.sip_code or 200),
                    "DialSipCallId": f"{told.sid}@sip",
                }
        if not self.redirected:
            fields["DialCallDuration"] = str(0 if self.winner is None else self.winner.duration_s)
        if network_of(self.leg).behaviour.tells_bridged:
            fields["DialBridged"] = str(self.bridged).lower()
        return fields

    async def run(self) -> None:
        """To the end of the talk, or until no phone is left to ring."""
        nouns = self._nouns()
        if self.verb.get("sequential") == "true":
            for noun in nouns:
                if await self._first_of([noun]):
                    break
        else:
            await self._first_of(nouns)
        if self.winner is not None:
            child, noun = self.winner, nouns[0] if len(nouns) == 1 else self._noun_of[self.winner]
            self.leg.reached.append(child.handset.called)
            if await self._whispered(child, noun):
                await self._talk(child)

    def dismiss(self) -> None:
        """Let go of every leg that is still there."""
        for child in self.legs:
            if not child.over and not (self.redirected and child is self.winner):
                child.note(Kind.DISMISSED)
                if child.answered_ms is None:
                    child.finish("canceled", 487)
                else:
                    child.finish("completed")
        self.leg.partners.clear()
        self.leg.on_key = None

    # --- ringing --------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        self._noun_of: dict[Leg, ET.Element] = {}

    def _nouns(self) -> list[ET.Element]:
        nouns = [noun for noun in self.verb if noun.tag in _PREFIXES]
        if not nouns:
            number = ET.Element("Number")
            number.text = "".join(self.verb.itertext())
            nouns = [number]
        if not all("".join(noun.itertext()).strip() for noun in nouns):
            raise WebhookFailed(f"{self.at} says <Dial> without a number")
        return nouns

    async def _first_of(self, nouns: list[ET.Element]) -> bool:
        """Ring all of them; whether one has answered, which then is the winner."""
        ringing = {asyncio.create_task(self._one(noun)) for noun in nouns}
        try:
            while ringing and self.winner is None:
                done, ringing = await asyncio.wait(ringing, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    child, status = task.result()
                    if status == "in-progress" and self.winner is None:
                        self.winner, self.status = child, "completed"
                    elif self.winner is None:
                        self.status = status
        finally:
            for task in ringing:
                task.cancel()
            for child in self.legs:
                if child is not self.winner and not child.over:
                    child.finish("canceled", 487)
        return self.winner is not None

    async def _one(self, noun: ET.Element) -> tuple[Leg, str]:
        """Ring one of them; its leg and status."""
        network, leg = network_of(self.leg), self.leg
        called = _PREFIXES[noun.tag] + "".join(noun.itertext()).strip()
        caller_id = self.verb.get("callerId", leg.handset.caller)
        child = network.leg_to(called, leg, caller=caller_id)
        self.legs.append(child)
        self._noun_of[child] = noun
        callback = noun.get("statusCallback")
        if callback is not None:
            events = frozenset(noun.get("statusCallbackEvent", "completed").split()) & set(EVENTS)
            url = urllib.parse.urljoin(self.at, callback)
            method = noun.get("statusCallbackMethod", "POST")
            child.callbacks.append(StatusCallback(url, events, method))
        phone = network.phone_for(leg, called.partition("?")[0])
        if not (is_called(caller_id) and network.may_show(leg, caller_id)):
            # "13214 Dial: Invalid caller ID"; an anonymous caller's cannot be shown on.
            leg.note(Kind.FAILED, f"13214: {caller_id} cannot be shown to {called}")
            child.finish("failed", 403)
            return child, child.status
        timeout_s = float(self.verb.get("timeout", TIMEOUT_S))
        if await ring(child, phone, timeout_s):
            self._detect(child, phone, noun)
            leg.note(Kind.DIALLED, f"{called}: {leg.targets.get(called, 'completed')}")
            return child, "in-progress"
        leg.note(Kind.DIALLED, f"{called}: {child.status}")
        return child, child.status

    def _detect(self, child: Leg, phone: SecondPhone, noun: ET.Element) -> None:
        """Machine detection of a noun is always aside."""
        url = noun.get("amdStatusCallback")
        if noun.get("machineDetection") is None or url is None:
            return
        options = detection_of(dict(noun.items()), "machineDetection")
        method = noun.get("amdStatusCallbackMethod", "POST")
        tell_verdict(child, verdict_of(child, phone, options), urllib.parse.urljoin(self.at, url), method)

    # --- once answered --------------------------------------------------------------------------------------

    async def _whispered(self, child: Leg, noun: ET.Element) -> bool:
        """Keys of an extension, and the whisper; whether the leg is to be joined after that."""
        if digits := noun.get("sendDigits"):
            await child.play(dialled(digits))
        url = noun.get("url")
        if url is None:
            return True
        try:
            whisper = await child.fetch(urllib.parse.urljoin(self.at, url), method=noun.get("method", "POST"))
        except WebhookFailed as error:
            child.note(Kind.FAILED, str(error))
            child.finish("completed")
            return False
        # Twilio, "<Number>", url: the legs are joined when the document ends without <Hangup>.
        return await child.run(whisper, whisper=True)

    async def _talk(self, child: Leg) -> None:
        """Join the legs until one of them leaves."""
        leg, self.bridged = self.leg, True
        leg.partners.add(child)
        child.partners.add(leg)
        leg.bridges.append((leg.now_ms(), child))
        star = asyncio.Event()
        if self.verb.get("hangupOnStar") == "true":
            leg.on_key = lambda key: star.set() if key == "*" else None
        limit_s = float(self.verb.get("timeLimit", TIME_LIMIT_S))
        ordered = asyncio.ensure_future(child.next_order())
        ends = {ordered, *map(asyncio.ensure_future, (leg.network.clock.sleep(limit_s * 1000), star.wait()))}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if not ordered.cancelled() and ordered.done():
            order = ordered.result()
            self.redirected = order.document is not None or order.url is not None
            if self.redirected:
                child.partners.discard(leg)
                network_of(leg).go_on(child, order, self.at)
            else:
                child.note(order.kind)
                child.finish("completed")
