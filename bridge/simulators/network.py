"""The simulated telephone network: legs, phones, rooms, and the time that they share.

Every delay comes from one seed. `CarrierApi` is its REST half; a `PhoneCall` that was not added to one has a
network of its own.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
import urllib.parse
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bridge.doubles.people.words import spoken

from .carrier import CarrierSimulator, WebhookFailed
from .clock import Clock
from .leg import Leg, Verb
from .phones import Refusal, SecondPhone
from .queues import Queues
from .rooms import Rooms
from .status_callbacks import Deliveries, Letter, Postman
from .steps import Kind, Order


class Request(NamedTuple):
    """A request to the server: when, about which leg, where, and its form without the ids."""

    at_ms: int
    call_sid: str
    url: str
    fields: Mapping[str, str]


_TALKED: Final = frozenset({"completed", "answered"})
_SIP_CODES: Final = {"busy": 486, "no-answer": 487, "failed": 404, "canceled": 487}
_LEFT_BY: Final = {Kind.CALLER_LEFT, Kind.ENDED_BY_REST}


@dataclass
class Behaviour:
    """What a carrier may do one way or the other: what is not known of the real one, and what accounts differ
    in.
    """

    calls_per_s: float | None = None
    """How many calls of an account leave the queue in a second; None for all of them at once."""
    seam_ms: int = 0
    """How long a call is between two streams; 730 has been seen."""
    listed_after_ms: int = 0
    """How old a call is before lists have it: they are "eventually consistent"."""
    completed_before_close: bool = False
    """Whether a call that its person or REST ends is told to be completed before its stream closes."""
    tells_bridged: bool = True
    """Whether a `<Dial>`'s action gets DialBridged."""
    asks_connect_on_redirect: bool = False
    """Whether a `<Connect>`'s action is asked when REST sends the call elsewhere."""
    asks_dial_when_caller_leaves: bool = True
    """Whether a `<Dial>`'s action is asked when its caller hangs up."""
    asks_record_of_silence: bool = True
    """Whether a `<Record>` of nothing but silence asks its action."""
    refer_answer: tuple[str, str, str] | None = ("success", "202", "200")
    """What a `<Refer>` gets: ReferCallStatus, ReferSipResponseCode, NotifySipResponseCode; None if it is
    refused, and "" as the last where no NOTIFY comes.
    """


class Network:
    """`pace` is how long a simulated second takes; streams are real time whatever it is."""

    def __init__(
        self, verbs: Mapping[str, Verb], *, pace: float = 1.0, seed: int = 0, talk_s: float = 1.0
    ) -> None:
        self.verbs = verbs
        self.clock = Clock(pace)
        self.rng = random.Random(seed)  # noqa: S311  delays, no secrets
        self.legs: dict[str, Leg] = {}
        self.phones: dict[str, SecondPhone] = {}
        self.anybody: SecondPhone | None = None
        """Answers every number that has no phone."""
        self.talk_s = talk_s
        """How long those talk who are dialled and have no phone here."""
        self.requests: list[Request] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.behaviour = Behaviour()
        self.deliveries = Deliveries()
        self.postman = Postman()
        self.public_url: str | None = None
        """What the server's URLs begin with, where that is not the address that is dialled."""
        self.dialled_url = ""
        self.speak: Callable[[str], bytes] = spoken
        """Makes the sound of `<Say>`."""
        self._turns_ms: dict[str, int] = {}
        self.caller_ids: set[str] = set()
        """Numbers that may be shown beside a call's own; empty for any."""
        self.recordings: dict[str, bytes] = {}
        """What `<Record>` kept, µ-law by RecordingSid."""
        self.api_url = ""
        """Where the REST API is, and recordings with it."""
        self.queues = Queues()
        self.rooms = Rooms()
        self.clock.move = self._move
        self.clock.busy = lambda: any(leg.on_line for leg in self.legs.values())

    def add(self, leg: Leg) -> Leg:
        """The leg exists from now on."""
        leg.network = self
        leg.began_ms, leg.began_s = self.clock.now_ms, time.monotonic()
        self.legs[leg.sid] = leg
        return leg

    def phone(self, number: str, as_: str = "human", **given: object) -> SecondPhone:
        """A phone that rings when the number is dialled; see `SecondPhone`. Instead of an older one."""
        phone = SecondPhone(number, as_, **given)  # type: ignore[arg-type]  # as SecondPhone's fields
        self.phones[number] = phone
        return phone

    def may_show(self, leg: Leg, caller_id: str) -> bool:
        """Whether a leg's `<Dial>` may show that number: the call's own two, or one of the account's."""
        own = {leg.handset.caller, leg.handset.called}
        return not self.caller_ids or caller_id in own or caller_id in self.caller_ids

    def queue_ms(self, account_sid: str) -> int:
        """How long the account's next call waits for its turn, at `calls_per_s`."""
        if self.behaviour.calls_per_s is None:
            return 0
        now_ms = self.clock.now_ms
        turn_ms = max(now_ms, self._turns_ms.get(account_sid, 0))
        self._turns_ms[account_sid] = turn_ms + int(1000 / self.behaviour.calls_per_s)
        return turn_ms - now_ms

    def leg_to(self, called: str, like: Leg, *, caller: str) -> Leg:
        """A leg that another one dials."""
        handset = CarrierSimulator(
            call_sid=f"CA{secrets.token_hex(16)}", account_sid=like.handset.account_sid, caller=caller,
            called=called, auth_token=like.handset.auth_token, public_url=like.handset.public_url,
            direction="outbound-dial", parent_call_sid=like.sid,
        )  # fmt: skip
        return self.add(Leg(handset, self))

    def phone_at(self, number: str) -> SecondPhone | None:
        """The phone of a number: its own, or the one that answers every number."""
        return self.phones.get(number) or self.anybody

    def phone_for(self, leg: Leg, number: str) -> SecondPhone:
        """The phone that a leg dials. At a number without a phone a person picks up and talks for `talk_s`,
        unless the leg's `targets` say otherwise.
        """
        phone = self.phone_at(number)
        if phone is not None:
            return phone
        status = leg.targets.get(number, "completed")
        if status in _TALKED:
            talk_ms = int(self.talk_s * 1000)
            return SecondPhone(
                number, "silent", answers_after_ms=0, rings_after_ms=0, hangs_up_after_ms=talk_ms
            )
        return SecondPhone(number, rings_after_ms=0, ends_as=Refusal(status, _SIP_CODES.get(status, 503)))

    def go_on(self, leg: Leg, order: Order, at: str) -> None:
        """A leg that REST has sent elsewhere follows its own documents from here on."""
        self.keep(self._gone_on(leg, order, at))

    @staticmethod
    async def _gone_on(leg: Leg, order: Order, at: str) -> None:
        try:
            document = await leg.obey(order, at)
        except WebhookFailed as error:
            leg.note(Kind.FAILED, str(error))
            leg.finish("completed")
        else:
            await leg.run(document)

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that goes on beside everything else."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Every leg ends, and nothing goes on."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def leaves(self, leg: Leg) -> None:
        """The leg is about to leave its stream, by `left_by`."""
        if self.behaviour.completed_before_close and leg.left_by in _LEFT_BY:
            leg.become("completed", 200)

    def asks(self, verb: str, kind: Kind) -> bool:
        """Whether a verb's action is asked although the leg has left the verb."""
        if kind in _LEFT_BY and verb == "Dial":
            return self.behaviour.asks_dial_when_caller_leaves and kind is Kind.CALLER_LEFT
        if verb == "Connect":
            return kind is Kind.CALLER_LEFT or (
                self.behaviour.asks_connect_on_redirect and kind is Kind.SENT_ON_BY_REST
            )
        return kind is not Kind.ENDED_BY_REST

    def asked(self, leg: Leg, url: str, fields: Mapping[str, str]) -> None:
        """Note a request."""
        self.requests.append(Request(self.clock.now_ms, leg.sid, url, fields))

    def deliver(
        self,
        leg: Leg,
        url: str,
        form: Mapping[str, str],
        *,
        method: str = "POST",
        event: str = "",
        bare: bool = False,
    ) -> None:
        """Send a callback, as `deliveries` wishes."""
        for late_ms in self.deliveries.arrivals_ms(event, self.rng):
            self.postman.send(Letter(leg, url, form, method, bare), late_ms)

    def voice(self, words: str) -> bytes:
        """The sound of `<Say>`."""
        return self.speak(words)

    def reach(self, url: str) -> str:
        """Where a URL that the server made from its public name is: at the address that was dialled."""
        parts = urllib.parse.urlsplit(url)
        if self.public_url is None or urllib.parse.urlsplit(self.public_url).netloc != parts.netloc:
            return url
        dialled = urllib.parse.urlsplit(self.dialled_url)
        plain = "ws" if parts.scheme in ("ws", "wss") else "http"
        scheme = f"{plain}s" if dialled.scheme in ("https", "wss") else plain
        return parts._replace(scheme=scheme, netloc=dialled.netloc).geturl()

    def _move(self) -> bool:
        """Everybody on the line hears what all others said in the 20 ms before."""
        legs = [leg for leg in self.legs.values() if leg.on_line]
        heard = [leg.hears() for leg in legs]
        acted = [leg.exchange(sound) for leg, sound in zip(legs, heard, strict=True)]
        return any(acted)


def network_of(leg: Leg) -> Network:
    """The network of a leg."""
    if not isinstance(leg.network, Network):
        raise TypeError("a leg of another network")
    return leg.network
