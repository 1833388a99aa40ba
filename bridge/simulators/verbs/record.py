"""`<Record>`: what the person says, until they are silent, press a key, or it is long enough.

https://www.twilio.com/docs/voice/twiml/record
"""

from __future__ import annotations

import urllib.parse
import xml.etree.ElementTree as ET
from typing import Final

from bridge.doubles.tones import tone

from ..leg import Document, Leg
from ..network import network_of
from ..steps import Kind

TIMEOUT_S: Final = 5.0
MOST_S: Final = 3_600.0
BEEP_MS: Final = 500
_EVERY_MS: Final = 100


async def record(leg: Leg, verb: ET.Element, at: str) -> Document | None:
    """Ask the action with the recording; without an action the current document, again."""
    if verb.get("playBeep", "true") == "true":
        await leg.play(tone(BEEP_MS, 1_000))
    recording = Recording(leg, verb, at)
    leg.on_key = recording.press
    leg.leaving = lambda: recording.kept(digits="hangup")
    try:
        await recording.run()
    finally:
        leg.on_key = None
    leg.leaving = None
    if recording.is_silent and not network_of(leg).behaviour.asks_record_of_silence:
        recording.kept()
        return None
    fields = recording.kept()
    return await leg.after(verb, at, fields) or await leg.fetch(at, fields)


class Recording:
    """One recording. `kept` ends it."""

    def __init__(self, leg: Leg, verb: ET.Element, at: str) -> None:
        self._leg, self._verb, self._at = leg, verb, at
        self._from = len(leg.person.said)
        self._finish = verb.get("finishOnKey", "1234567890*#")
        self._key = ""

    def press(self, key: str) -> None:
        """The person has pressed a key."""
        if key in self._finish:
            self._key = key

    async def run(self) -> None:
        """Until it is over."""
        clock = self._leg.network.clock
        began_ms = clock.now_ms
        timeout_ms = int(1000 * float(self._verb.get("timeout", TIMEOUT_S)))
        most_ms = int(1000 * float(self._verb.get("maxLength", MOST_S)))
        while not self._key and clock.now_ms - began_ms < most_ms:
            await clock.sleep(_EVERY_MS)
            sound = self.sound
            if len(sound) >= timeout_ms * 8 and not sound[-timeout_ms * 8 :].strip(b"\xff"):
                return

    @property
    def sound(self) -> bytes:
        """What was said so far, µ-law."""
        return bytes(self._leg.person.said[self._from :])

    @property
    def is_silent(self) -> bool:
        return not self.sound.strip(b"\xff")

    def kept(self, *, digits: str | None = None) -> dict[str, str]:
        """Keep it; the action's fields. The status callback follows by itself."""
        leg, network = self._leg, network_of(self._leg)
        sid = f"RE{len(network.recordings) + 1:032x}"
        network.recordings[sid] = self.sound
        account = leg.handset.account_sid
        fields = {
            "RecordingUrl": f"{network.api_url}/2010-04-01/Accounts/{account}/Recordings/{sid}",
            "RecordingSid": sid,
            "RecordingDuration": str(round(len(self.sound) / 8_000)),
        }
        leg.note(Kind.RECORDED, f"{len(self.sound) / 8_000:.1f} s")
        callback = self._verb.get("recordingStatusCallback")
        if callback is not None:
            told = {
                **fields, "AccountSid": account, "CallSid": leg.sid, "RecordingStatus": "completed",
                "RecordingChannels": "1", "RecordingSource": "RecordVerb",
            }  # fmt: skip
            url = urllib.parse.urljoin(self._at, callback)
            method = self._verb.get("recordingStatusCallbackMethod", "POST")
            network.deliver(leg, url, told, method=method, event="recording", bare=True)
        return {**fields, "Digits": self._key if digits is None else digits}
