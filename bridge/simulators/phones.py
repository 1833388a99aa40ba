"""Phones that are called: who answers, after how long, and what they do then.

    phone = carrier.phone("+15550003333", "human", answers_after_ms=2_000, presses="1")
    carrier.phone("+15550004444", "busy")
    carrier.phone("+15550005555", "machine", greeting=sound, beep_ms=400)
    …
    await phone.answered()
    phone.say(speech)
    phone.heard        # µ-law from the answer on, 8 bytes a millisecond
    phone.pressed      # [(at_ms, "1")]
    phone.mailbox      # what a machine recorded after its beep

`as_` is one of `AS`. All times are the network's: a `pace` of 0.01 makes them a hundred times as fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bridge.doubles.people import scripts
from bridge.doubles.people.person import Person, Script
from bridge.doubles.people.words import spoken

from .leg import Leg


class Refusal(NamedTuple):
    """How a call that is not answered ends: the call's status, the SIP code, and what takes time before."""

    status: str
    sip_code: int
    rings: bool = False


REFUSALS: Final = {
    "busy": Refusal("busy", 486),
    "declines": Refusal("no-answer", 603, rings=True),
    "unreachable": Refusal("no-answer", 480),
    "invalid": Refusal("failed", 404),
    "failed": Refusal("failed", 503),
}
AS: Final = ("human", "silent", "machine", "screening", "ivr", "no_answer", *REFUSALS)
GREETING: Final = (
    "You have reached the voicemail of a simulated person. Please leave a message after the tone."
)
SCREENING: Final = "Please say your name and why you are calling, and I will see if this person is available."
MENU: Final = "For opening hours press 1. For a person press 2."


@dataclass(eq=False)
class SecondPhone:
    """One number's phone. Sounds are µ-law or words, which become tones that carry them."""

    number: str
    as_: str = "human"
    answers_after_ms: int = 2_000
    """Of ringing. A phone that declines does so after this, too."""
    says: str | bytes = "Hello?"
    presses: str = ""
    """Keys, pressed half a second after the person has heard something."""
    presses_after_ms: int = 500
    hangs_up_after_ms: int | None = None
    """After the answer."""
    greeting: str | bytes = GREETING
    beep_hz: int = 1_000
    beep_ms: int = 400
    beep_dbfs: int = -15
    menu: Mapping[str, str | bytes] = field(
        default_factory=lambda: {"1": "We open at nine.", "2": "Hold on."}
    )
    takes_screened_call: bool = True
    reads_ms: int = 5_000
    """How long the person reads the words that a screening assistant wrote down."""
    verdict: tuple[int, str] | None = None
    """What machine detection says, and how long after the answer; None to judge by this phone's sound."""
    script: Callable[[], Script] | None = None
    """A script of your own, made for each call."""
    rings_after_ms: int = 1_500
    """From being dialled to the first ring; a phone that refuses does so then."""
    ends_as: Refusal | None = None
    """A refusal of your own."""
    legs: list[Leg] = field(default_factory=list)
    """Each time it was called, the latest last."""

    def __post_init__(self) -> None:
        if self.as_ not in AS:
            raise ValueError(f"a phone answers as one of {', '.join(AS)}, not {self.as_!r}")

    @property
    def refusal(self) -> Refusal | None:
        """How it refuses the call; None if it answers, or rings until the caller gives up."""
        return self.ends_as or REFUSALS.get(self.as_)

    def person(self) -> Person:
        """The person, or the machine, that answers one call."""
        return Person(self._script() if self.script is None else self.script())

    def _script(self) -> Script:
        match self.as_:
            case "silent":
                return scripts.human(
                    b"", presses=self.presses, presses_after_ms=self.presses_after_ms,
                    hangs_up_after_ms=self.hangs_up_after_ms,
                )  # fmt: skip
            case "machine":
                return scripts.voicemail(
                    sound_of(self.greeting), beep_hz=self.beep_hz, beep_ms=self.beep_ms,
                    beep_dbfs=self.beep_dbfs,
                )  # fmt: skip
            case "screening":
                prompt = SCREENING if self.greeting == GREETING else self.greeting
                hello = sound_of(self.says) if self.takes_screened_call else None
                refusal = sound_of("The person you are calling is not available.")
                return scripts.screening(sound_of(prompt), hello, reads_ms=self.reads_ms, refusal=refusal)
            case "ivr":
                prompt = MENU if self.greeting == GREETING else self.greeting
                menu = {keys: sound_of(said) for keys, said in self.menu.items()}
                return scripts.ivr(sound_of(prompt), menu, wrong=sound_of("Please try again."))
            case _:
                return scripts.human(
                    sound_of(self.says), presses=self.presses, presses_after_ms=self.presses_after_ms,
                    hangs_up_after_ms=self.hangs_up_after_ms,
                )  # fmt: skip

    # --- the latest call ------------------------------------------------------------------------------------

    @property
    def leg(self) -> Leg:
        """The latest call. Raises IndexError before the first."""
        return self.legs[-1]

    @property
    def heard(self) -> bytes:
        """What was heard from the answer on, µ-law."""
        return bytes(self.leg.person.heard)

    @property
    def said(self) -> bytes:
        """What was said, of the same length."""
        return bytes(self.leg.person.said)

    @property
    def pressed(self) -> list[tuple[int, str]]:
        return self.leg.person.pressed

    @property
    def decoded(self) -> str:
        """The keys that were heard as tones."""
        return self.leg.person.decoded

    @property
    def mailbox(self) -> bytes:
        """What a machine has recorded since its beep, µ-law."""
        return bytes(self.leg.person.mailbox)

    def say(self, sound: str | bytes) -> None:
        """Speak, after what is being said."""
        self.leg.say(sound_of(sound))

    def press(self, keys: str) -> None:
        self.leg.press(keys)

    def hang_up(self) -> None:
        self.leg.hang_up()

    async def answered(self, calls: int = 1, *, within_s: float = 10.0) -> Leg:
        """The leg, once this phone was answered `calls` times. Raises TimeoutError after real seconds."""
        async with asyncio.timeout(within_s):
            while sum(leg.answered_ms is not None for leg in self.legs) < calls:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return self.leg

    async def over(self, *, within_s: float = 10.0) -> Leg:
        """The leg, once the latest call is over. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not self.legs:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await self.leg.ended.wait()
        return self.leg


def sound_of(said: str | bytes) -> bytes:
    """Words as tones that carry them; sound as it is."""
    return said if isinstance(said, bytes) else spoken(said)
