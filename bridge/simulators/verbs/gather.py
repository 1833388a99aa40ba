"""`<Gather>`: keys, or words, while a prompt plays and for a while after it.

https://www.twilio.com/docs/voice/twiml/gather
"""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from typing import Any, Final

from bridge.codecs.caption import caption_of

from ..leg import Document, Leg
from ..steps import Kind

TIMEOUT_S: Final = 5.0
QUIET_MS: Final = 800
"""After so much silence spoken words are over."""
_EVERY_MS: Final = 100


async def gather(leg: Leg, verb: ET.Element, at: str) -> Document | None:
    """Ask the action with what was gathered; the next verb when that is nothing."""
    gathering = Gathering(leg, verb)
    leg.on_key = gathering.press
    prompting = asyncio.ensure_future(leg.perform((verb, at)))
    first: set[asyncio.Future[Any]] = {prompting, gathering.begun}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if prompting.done():
            prompting.result()
        elif verb.get("bargeIn", "true") == "true":
            prompting.cancel()
        fields = await gathering.result()
    finally:
        prompting.cancel()
        await asyncio.wait({prompting})
        leg.on_key = None
    leg.note(Kind.GATHERED, fields.get("Digits", fields.get("SpeechResult", "")))
    if not any(fields.values()) and verb.get("actionOnEmptyResult") != "true":
        return None
    # Twilio, "<Gather>", action: "If you don't provide an action parameter, Twilio will POST to the current
    # document's URL."
    return await leg.after(verb, at, fields) or await leg.fetch(at, fields)


class Gathering:
    """What comes of one `<Gather>`."""

    def __init__(self, leg: Leg, verb: ET.Element) -> None:
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done at the first key."""
        self._leg = leg
        self._inputs = verb.get("input", "dtmf").split()
        self._finish = verb.get("finishOnKey", "#")
        self._most = int(verb.get("numDigits", 0)) or None
        timeout = verb.get("timeout", str(TIMEOUT_S))
        self._timeout_ms = int(1000 * (TIMEOUT_S if timeout == "auto" else float(timeout)))
        self._digits = ""
        self._finished_on = ""
        self._pressed = asyncio.Event()
        self._spoken_from = len(leg.person.said)

    def press(self, key: str) -> None:
        """The person has pressed a key."""
        if "dtmf" not in self._inputs or self._finished_on or len(self._digits) == self._most:
            return
        if key in self._finish:
            self._finished_on = key
        else:
            self._digits += key
        if not self.begun.done():
            self.begun.set_result(None)
        self._pressed.set()

    async def result(self) -> dict[str, str]:
        """The action's fields, once it is all there or nothing more comes."""
        waited_ms = 0
        while not self._finished_on and (self._most is None or len(self._digits) < self._most):
            self._pressed.clear()
            await self._leg.network.clock.sleep(_EVERY_MS)
            waited_ms = 0 if self._pressed.is_set() else waited_ms + _EVERY_MS
            if words := self._words():
                return {"SpeechResult": words, "Confidence": "0.9"}
            if waited_ms >= self._timeout_ms and not self._speaking():
                break
        if self._inputs == ["speech"]:
            return {"SpeechResult": ""}
        finished = {"FinishedOnKey": self._finished_on} if self._finished_on else {}
        return {"Digits": self._digits, **finished}

    def _speaking(self) -> bool:
        return "speech" in self._inputs and bool(self._said()) and not self._words()

    def _words(self) -> str:
        """What was said, if the person has said something and is quiet now."""
        if "speech" not in self._inputs or self._digits:
            return ""
        said = self._said()
        quiet = said.endswith(b"\xff" * QUIET_MS * 8)
        return (caption_of(said) or "") if quiet else ""

    def _said(self) -> bytes:
        return bytes(self._leg.person.said[self._spoken_from :]).lstrip(b"\xff")
