"""A simulated call from dialling to its end: the caller's way through a server's TwiML."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.doubles.people.person import Person
from bridge.doubles.phone import Phone

from .carrier import CarrierSimulator
from .leg import Leg
from .network import Network
from .steps import Kind, Order, Step
from .verbs import VERBS

__all__ = ["Kind", "Order", "PhoneCall", "Step"]


class PhoneCall(Leg):
    """One call of one handset. `place(url)` dials and returns when the call is over.

    `targets` are what becomes of those who are dialled and have no phone, by number, in the words of
    `DialCallStatus`; everybody else picks up and talks for `talk_s`. `pace` shortens what only takes time
    (`<Pause>`, `<Say>`, a talk); streams run in real time. A `person` lives through the call by a script;
    without one the handset's `speech` is what the caller says.
    """

    def __init__(
        self,
        handset: CarrierSimulator,
        targets: Mapping[str, str] | None = None,
        pace: float = 1.0,
        talk_s: float = 1.0,
        *,
        person: Person | None = None,
        network: Network | None = None,
    ) -> None:
        super().__init__(handset, network or Network(VERBS, pace=pace, talk_s=talk_s))
        self.pace = pace
        self.targets = targets or {}
        if person is not None:
            self.give(person)

    async def place(self, url: str, *, method: str = "POST") -> list[Step]:
        """Dial; the call's steps, when it is over. A bad answer is a step too, not an exception."""
        network = self.network
        if isinstance(network, Network):
            network.add(self)
            network.public_url, network.dialled_url = self.handset.public_url, url
        self.status = "ringing"
        await self.run_from(url, method=method, ended_as="failed")
        if isinstance(network, Network):
            await network.postman.all_delivered()
        return self.steps

    def sound(self) -> tuple[bytes, bytes]:
        """The call's sound from dialling on, µ-law: what the caller said, and what they heard of streams."""
        said, heard = b"", b""
        for at_ms, simulation in self.streams:
            if isinstance(simulation.machine, Phone):
                left, right = simulation.machine.recording()
                said = said.ljust(at_ms * 8, b"\xff") + left
                heard = heard.ljust(at_ms * 8, b"\xff") + right
        return said, heard
