"""Calls that we place, and who answers them: sound and words on the clock of the one who answers."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bridge.codecs.audible import is_audible_block
from bridge.core import messages as m
from bridge.doubles.tones import tone
from bridge.testing import ScriptedCall, begin, usual_config
from tests.codecs.lines import voice

Notice = TypeVar("Notice", bound=m.Message)
GREETING = "Hello, this is Ann of Miller and Sons."
MESSAGE = "This is Ann. Please call me back before noon."
STREAM_MS = 100
"""From the call's clock to that of the one who answers: the doubles' first frame is of 102 to 122 ms."""


def said(ms: int, from_s: float = 0.0) -> bytes:
    """So much of a voice without a pause."""
    return voice(60.0)[int(from_s * 8_000) :][: ms * 8]


def silence(ms: int) -> bytes:
    return b"\xff" * (ms * 8)


def beep(ms: int = 400, hz: int = 1_000, dbfs: int = -15) -> bytes:
    return tone(ms, hz, dbfs)


@dataclass
class Callee:
    """Who answers. `says` plans what they say, at times of their own clock."""

    call: ScriptedCall
    said: bytearray = field(default_factory=bytearray)

    def says(self, at_ms: int, sound: bytes, words: str = "") -> Callee:
        call = self.call
        call.rehearsal.at(STREAM_MS + at_ms, lambda: call.caller.says(sound, words=words))
        return self

    def verdict(self, at_ms: int, answered_by: str) -> Callee:
        call = self.call
        call.rehearsal.at(at_ms, lambda: call.rehearsal.feed(m.MachineVerdict(answered_by, at_ms)))
        return self

    def until(self, at_ms: int) -> Callee:
        self.call.at(at_ms)
        return self

    def told(self, *kinds: type[Notice]) -> list[tuple[int, Notice]]:
        return [(at_ms, one) for at_ms, one in self.call.rehearsal.said if isinstance(one, kinds)]

    @property
    def kinds(self) -> list[str]:
        return [one.by.value for _, one in self.told(m.Answered)]

    @property
    def asked(self) -> list[str]:
        """The responses that were asked for, by their tags."""
        return [one.tag for _, one in self.told(m.CreateResponse)]

    @property
    def left(self) -> list[m.MessageLeft]:
        return [one for _, one in self.told(m.MessageLeft)]

    @property
    def ended(self) -> m.Ended | None:
        return self.call.rehearsal.ended

    @property
    def sent_ms(self) -> list[int]:
        """When sound of ours was sent."""
        return [at_ms for at_ms, _ in self.told(m.PlayAudio)]

    def loud_ms(self) -> list[int]:
        """When they heard us, by loudness, in steps of 20 ms of the call's clock."""
        self.call.settle()
        heard = self.call.phone.heard
        return [at // 8 for at in range(0, len(heard), 160) if is_audible_block(heard[at : at + 160])]


def sound(pcmu: bytes, words: str) -> m.Sound:
    return m.Sound(b64encode(pcmu).decode(), len(pcmu), words)


RECORDED = sound(said(3_000, 0.5), MESSAGE)


def placed(
    *, recorded: bool = False, greeting: str | None = GREETING, how: Any = None, **rules: Any
) -> Callee:
    """A call that we have placed, answered at 0 ms. The model makes the message, unless it is `recorded`:
    then it can be measured by loudness.
    """
    given = {"on_machine": "voicemail", "message": "" if recorded else MESSAGE, **rules}
    phrases = {**usual_config().phrases, **({"voicemail": RECORDED} if recorded else {})}
    return Callee(begin(outbound=m.AnswerRules(**given), greeting=greeting, phrases=phrases, **(how or {})))
