"""A phone that waits to be called: by a server's REST requests, or by its `<Dial>` for another caller."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from bridge.codecs.caption import caption_of

from .interrupt import Interrupt

if TYPE_CHECKING:
    from bridge.simulators.phones import SecondPhone

    from .caller import Pressed, Spoken, Tell


class AnswerAs(enum.StrEnum):
    """Who answers."""

    HUMAN = "human"
    MACHINE = "machine"
    BUSY = "busy"
    NOBODY = "nobody"


_AS: Final = {AnswerAs.NOBODY: "no_answer"}
HELLO: Final = "Hello?"
EVERY_NUMBER: Final = "*"
_LEAST_MS: Final = 40


def answering(who: AnswerAs, turns: Sequence[Spoken | Pressed] = (), tail_s: float = 4.0) -> SecondPhone:
    """A phone for every number. A human says hello, then turn after turn, and hangs up `tail_s` after the
    last word; a machine plays its greeting, in the first turn's words if there is one, and records.
    """
    from bridge.codecs.caption import captioned
    from bridge.doubles.people import scripts
    from bridge.simulators.phones import GREETING, SecondPhone
    from bridge.simulators.voice import local_voice

    from .caller import Spoken

    phone = SecondPhone(EVERY_NUMBER, _AS.get(who, who.value))
    voice = local_voice() if who in (AnswerAs.HUMAN, AnswerAs.MACHINE) else None
    if who is AnswerAs.MACHINE and voice is not None:
        spoken = [turn.sound for turn in turns if isinstance(turn, Spoken)]
        phone.greeting = spoken[0] if spoken else captioned(voice.pcmu(GREETING), GREETING)
    if who is AnswerAs.HUMAN and voice is not None:
        hello = captioned(voice.pcmu(HELLO), HELLO)
        said = [turn.sound if isinstance(turn, Spoken) else turn.keys for turn in turns]
        phone.script = lambda: scripts.converses(hello, said, tail_ms=int(tail_s * 1000))
    return phone


async def wait_for_call(
    phone: SecondPhone, token: str | None, api_port: int | None, tell: Tell, interrupt: Interrupt
) -> tuple[dict[str, Any], tuple[bytes, bytes]]:
    """Serve the carrier's API until one call has been placed by it and is over. What can be told of it, and
    what the phone said and heard.
    """
    from bridge.simulators.rest_api import CarrierApi

    carrier = CarrierApi(None if token is None else (token,))
    carrier.network.anybody = phone
    left = asyncio.Event()
    interrupt.calls(left.set)
    async with carrier.serve(api_port or 0) as url:
        tell(0, "", f"waiting to be called: BRIDGE_TWILIO_API_URL={url}")
        story = _Story(phone, tell)
        while not left.is_set() and not story.over:
            await asyncio.wait([asyncio.ensure_future(left.wait())], timeout=0.05)
            story.look()
        if phone.legs and not phone.leg.over:
            phone.hang_up()
            await phone.over(within_s=5)
        await carrier.network.postman.all_delivered()
        story.look()
    return _account(phone)


class _Story:
    """Tells a call while it goes on."""

    def __init__(self, phone: SecondPhone, tell: Tell) -> None:
        self._phone = phone
        self._tell = tell
        self._status = ""
        self._steps = self._heard = self._said = self._pressed = 0

    @property
    def over(self) -> bool:
        return bool(self._phone.legs) and self._phone.leg.over

    def look(self) -> None:
        """Tell what is new."""
        if not self._phone.legs:
            return
        leg = self._phone.leg
        now_ms = leg.now_ms()
        if leg.status != self._status:
            self._status = leg.status
            self._tell(now_ms, "", f"{leg.status}  {leg.handset.caller} calls {leg.handset.called}")
        for step in leg.steps[self._steps :]:
            self._tell(step.at_ms, "", "  ".join(filter(None, (step.kind.value, step.detail))))
        self._steps = len(leg.steps)
        pressed = leg.person.pressed[self._pressed :]
        if pressed:
            self._tell(now_ms, "callee", f"presses {' '.join(key for _, key in pressed)}")
        self._pressed += len(pressed)
        self._said = self._told("callee", bytes(leg.person.said), self._said, now_ms)
        self._heard = self._told("heard", bytes(leg.person.heard), self._heard, now_ms)

    def _told(self, who: str, sound: bytes, told: int, now_ms: int) -> int:
        """Tell what was said since, once it is over: after a second of silence, or at the end."""
        new = sound[told:]
        spoken = new.strip(b"\xff")
        quiet = len(new) - len(new.rstrip(b"\xff")) >= 8_000
        if len(spoken) // 8 < _LEAST_MS or not (quiet or self.over):
            return told
        words = caption_of(new)
        self._tell(now_ms, who, f"{f'“{words}” ' if words else ''}{len(spoken) / 8_000:.2f} s")
        return len(sound)


def _account(phone: SecondPhone) -> tuple[dict[str, Any], tuple[bytes, bytes]]:
    if not phone.legs:
        return {"status": "not called", "broken": "no call came"}, (b"", b"")
    leg = phone.leg
    heard_ms = len(phone.heard.replace(b"\xff", b"")) // 8
    # A caller who finds a machine may hang up without a word.
    wanted = phone.as_ == AnswerAs.HUMAN
    account = {
        "steps": [[step.at_ms, step.kind.value, step.detail] for step in leg.steps],
        "status": leg.status,
        "sip_code": leg.sip_code,
        "seconds": round(len(phone.heard) / 8_000, 2),
        "heard_ms": heard_ms,
        "mailbox_ms": len(phone.mailbox) // 8,
        "broken": "nothing was heard" if wanted and not heard_ms else "",
    }
    return account, (phone.said, phone.heard)
