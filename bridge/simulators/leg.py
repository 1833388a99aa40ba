"""One leg of a call in the simulated network: who is on it, what it lives through, which document it follows.

A leg does what the carrier does around a stream: it fetches documents, follows their verbs (`verbs`), opens
streams and reports on them, asks actions what comes next, lets itself be ended or sent on by REST. `steps`
tell what the person would have lived through.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn, Protocol

from bridge.doubles.carrier_frames import SILENT_FRAME
from bridge.doubles.people.mixing import mixed
from bridge.doubles.people.on_stream import OnStream
from bridge.doubles.people.person import Person
from bridge.doubles.phone import Phone
from bridge.simulators.carrier import CarrierSimulator, WebhookFailed
from bridge.simulators.clock import Clock
from bridge.simulators.servers import Simulation
from bridge.simulators.steps import FINAL, CallOver, Kind, Order, Step

MOST_DOCUMENTS: Final = 10
"""Twilio, "Error 11215": this many documents in a row, with nothing lasting between them, and it gives up."""
LASTING_MS: Final = 1_000
_UNANSWERED: Final = frozenset({"Reject", "Pause", "Redirect"})
"""Verbs that leave a call that rings ringing."""
Document = tuple[ET.Element, str]
"""A document and the URL it came from."""
Verb = Callable[["Leg", ET.Element, str], Awaitable[Document | None]]
"""What a verb does: the document that follows, or None for the verb after it."""


class Exchange(Protocol):
    """What a leg needs of its network."""

    clock: Clock
    verbs: Mapping[str, Verb]

    def voice(self, words: str) -> bytes: ...
    def asks(self, verb: str, kind: Kind) -> bool: ...
    def asked(self, leg: Leg, url: str, fields: Mapping[str, str]) -> None: ...
    def deliver(
        self,
        leg: Leg,
        url: str,
        form: Mapping[str, str],
        *,
        method: str = "POST",
        event: str = "",
        bare: bool = False,
    ) -> None: ...
    def reach(self, url: str) -> str: ...


class Subscription(Protocol):
    """Who is told of a leg's statuses."""

    def status(self, leg: Leg, status: str) -> None: ...


@dataclass(eq=False)
class Leg:
    """One leg. `handset` has its ids and signs its requests; `person` speaks and listens on it."""

    handset: CarrierSimulator
    network: Exchange
    person: Person = field(default_factory=Person)
    status: str = "queued"
    sip_code: int | None = None
    steps: list[Step] = field(default_factory=list)
    streams: list[tuple[int, Simulation]] = field(default_factory=list)
    streaming: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False
    callbacks: list[Subscription] = field(default_factory=list)
    partners: set[Leg] = field(default_factory=set)
    """Whom this leg hears."""
    bridges: list[tuple[int, Leg]] = field(default_factory=list)
    """When it was joined with which leg, by `<Dial>`."""
    muted: bool = False
    loudspeaker: bytearray = field(default_factory=bytearray)
    """What the network plays into the leg."""
    on_key: Callable[[str], None] | None = None
    """Who wants the keys that are pressed; without one they are lost."""
    leaving: Callable[[], dict[str, str]] | None = None
    """What the verb's action is told if the leg leaves the verb now; None while it would not be asked."""
    left_by: Kind | None = None
    """What made the leg leave the last verb that it left."""
    targets: Mapping[str, str] = field(default_factory=dict)
    """What becomes of those who are dialled and have no phone, in the words of `DialCallStatus`."""
    reached: list[str] = field(default_factory=list)
    """Numbers that were dialled for this leg and picked up."""
    answered_by: str | None = None
    began_s: float = 0.0
    """On the clock of `time.monotonic`."""
    began_ms: int = 0
    answered_ms: int | None = None
    ended_ms: int | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    fallback: tuple[str, str] | None = None
    """Asked once, when a document cannot be had: URL and method."""
    queue_ms: int = 0
    """How long it was to wait before it was placed."""
    _said: bytes = SILENT_FRAME
    _asked_url: str = ""
    _documents: int = 0
    _orders: asyncio.Queue[Order] = field(default_factory=asyncio.Queue)

    def give(self, person: Person) -> Leg:
        """A person has picked up."""
        self.person = person
        self.handset.make = partial(_on_stream, self)
        return self

    # --- from outside ---------------------------------------------------------------------------------------

    @property
    def sid(self) -> str:
        return self.handset.call_sid

    def hang_up(self) -> None:
        """The person has had enough."""
        self.order(Order(Kind.CALLER_LEFT))

    def order(self, order: Order) -> None:
        """Interrupt whatever runs."""
        self._orders.put_nowait(order)

    def say(self, sound: bytes) -> None:
        """The person speaks, into a stream or to the other person on the line."""
        if self.streaming.is_set() and not isinstance(self.phone, OnStream):
            simulation = self.streams[-1][1]
            simulation.send(self.phone.say(sound, simulation.now_ms()))
        else:
            self.person.say(sound)

    def press(self, keys: str) -> None:
        """The person presses keys."""
        if self.streaming.is_set() and not isinstance(self.phone, OnStream):
            simulation = self.streams[-1][1]
            for key in keys:
                simulation.send(self.phone.press(key, simulation.now_ms()))
        else:
            self.person.press(keys)

    @property
    def phone(self) -> Phone:
        """The phone of the latest stream."""
        machine = self.streams[-1][1].machine
        if not isinstance(machine, Phone):
            raise TypeError("a stream without a phone")
        return machine

    @property
    def duration_s(self) -> int:
        """Seconds between answer and end, or until now."""
        if self.answered_ms is None:
            return 0
        end_ms = self.network.clock.now_ms if self.ended_ms is None else self.ended_ms
        return max(1, round((end_ms - self.answered_ms) / 1000))

    # --- its life -------------------------------------------------------------------------------------------

    async def run(self, document: Document, *, whisper: bool = False) -> bool:
        """Follow documents to the end of the call. False when it is over; of a `whisper`, True when its
        document has ended and the leg is still there.
        """
        following: Document | None = document
        while following is not None:
            try:
                following = await self._next_document(following, whisper=whisper)
                if following is None:
                    return True
            except CallOver:
                following = None
            except WebhookFailed as error:
                self.note(Kind.FAILED, str(error))
                following = await self._fallen_back()
        self.finish("completed")
        return False

    async def run_from(
        self,
        url: str,
        fields: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        ended_as: str = "completed",
    ) -> None:
        """The same from a URL on. A leg that gets no document there is over, with that status."""
        document: Document | None
        try:
            document = await self.fetch(url, fields, method=method)
        except WebhookFailed as error:
            self.note(Kind.FAILED, str(error))
            document = await self._fallen_back()
        if document is None:
            self.finish(ended_as)
        else:
            await self.run(document)

    async def _next_document(self, document: Document, *, whisper: bool) -> Document | None:
        streams, began_ms = len(self.streams), self.network.clock.now_ms
        following = await self._follow(document)
        if following is None:
            return None if whisper else self.end(Kind.HUNG_UP, "nothing more to do")
        lasted = len(self.streams) > streams or self.network.clock.now_ms - began_ms > LASTING_MS
        self._documents = 0 if lasted else self._documents + 1
        if self._documents > MOST_DOCUMENTS:
            self.end(Kind.FAILED, "11215: too many documents in a row")
        return following

    async def _fallen_back(self) -> Document | None:
        """The document of the fallback URL, which is asked once; None without one."""
        fallback, self.fallback = self.fallback, None
        if fallback is None:
            return None
        url, method = fallback
        error = {"ErrorCode": "11200", "ErrorUrl": self._asked_url}
        try:
            return await self.fetch(url, error, method=method)
        except WebhookFailed as failed:
            self.note(Kind.FAILED, str(failed))
            return None

    async def _follow(self, document: Document) -> Document | None:
        """Do what a document says; the next one, or None at its end. Raises CallOver."""
        element, at = document
        if element.tag != "Response":
            raise WebhookFailed(f"{at} answered with <{element.tag}>, which is no TwiML")
        for verb in element:
            do = self._verb(verb, at)
            if verb.tag not in _UNANSWERED and self.status == "ringing":
                self.become("in-progress")
            following = await self._interruptible(do(self, verb, at), verb, at)
            if following is not None:
                return following
        return None

    async def perform(self, document: Document) -> Document | None:
        """Do what a document says inside of another verb, which is what gets interrupted; the next one, or
        None at its end.
        """
        element, at = document
        for verb in element:
            following = await self._verb(verb, at)(self, verb, at)
            if following is not None:
                return following
        return None

    def _verb(self, verb: ET.Element, at: str) -> Verb:
        do = self.network.verbs.get(verb.tag)
        if do is None:
            raise WebhookFailed(f"{at} says <{verb.tag}>, which this phone does not know")
        return do

    async def _interruptible(
        self, running: Awaitable[Document | None], verb: ET.Element, at: str
    ) -> Document | None:
        """Let a verb take its time, unless an order comes first."""
        ordered = asyncio.ensure_future(self._orders.get())
        lasting = asyncio.ensure_future(running)
        try:
            await asyncio.wait({ordered, lasting}, return_when=asyncio.FIRST_COMPLETED)
            if lasting.done():
                if ordered.done():
                    self.order(ordered.result())
                following: Document | None = lasting.result()
                return following
            self.left_by = ordered.result().kind
        finally:
            ordered.cancel()
            lasting.cancel()
            await asyncio.wait({lasting})
        leaving, self.leaving = self.leaving, None
        action = verb.get("action")
        order = ordered.result()
        if action is not None and leaving is not None and self.network.asks(verb.tag, order.kind):
            await self._ask_for_nothing(urllib.parse.urljoin(at, action), leaving(), order)
        return await self.obey(order, at)

    async def obey(self, order: Order, at: str) -> Document:
        """Where an order leads. Raises CallOver where it leads nowhere."""
        if order.url is not None:
            self.note(order.kind)
            return await self.fetch(order.url, method=order.method)
        if order.document is None:
            self.end(order.kind)
        self.note(order.kind)
        return order.document, at

    async def next_order(self) -> Order:
        """The next order, for a leg that follows no document."""
        return await self._orders.get()

    def become(self, status: str, sip_code: int | None = None) -> None:
        """The call's status from now on; its subscribers are told."""
        self.status, self.sip_code = status, sip_code
        now_ms = self.network.clock.now_ms
        if status == "in-progress":
            self.answered_ms = now_ms
            self.network.clock.wake()
        if status in FINAL:
            self.ended_ms = now_ms
        for callback in self.callbacks:
            callback.status(self, status)

    def finish(self, status: str, sip_code: int | None = None) -> None:
        """The leg is over."""
        if self.over:
            return
        self.over = True
        self.partners.clear()
        if self.status not in FINAL:
            self.become(status, 200 if sip_code is None and status == "completed" else sip_code)
        self.ended.set()

    # --- sound ----------------------------------------------------------------------------------------------

    @property
    def on_line(self) -> bool:
        """Whether the network carries this leg's sound at the moment; a stream carries its own."""
        return self.status == "in-progress" and not self.over and not self.streaming.is_set()

    def hears(self) -> bytes:
        """The next 20 ms for the person."""
        frames = [leg.spoken for leg in self.partners if not leg.muted]
        if self.loudspeaker:
            frames.append(bytes(self.loudspeaker[:160]).ljust(160, b"\xff"))
            del self.loudspeaker[:160]
        return mixed(frames)

    @property
    def spoken(self) -> bytes:
        """The person's latest 20 ms."""
        return self._said

    def exchange(self, heard: bytes) -> bool:
        """The person hears 20 ms and says 20 ms; whether they did something else too."""
        self._said = self.person.exchange(heard)
        return self.acted()

    def acted(self) -> bool:
        """Pass on what the person did with their hands."""
        person, happened = self.person, bool(self.person.keys)
        while person.keys:
            key = person.keys.popleft()
            if self.on_key is not None:
                self.on_key(key)
        if person.left and not self.over:
            person.left = False
            self.hang_up()
            happened = True
        return happened

    async def play(self, sound: bytes) -> None:
        """Play a sound to its end; nothing more of it when this is cancelled."""
        self.loudspeaker += sound
        try:
            await self.network.clock.sleep(len(sound) // 8)
        finally:
            self.loudspeaker.clear()

    # --- the carrier's requests -----------------------------------------------------------------------------

    async def fetch(
        self, url: str, fields: Mapping[str, str] | None = None, *, method: str = "POST"
    ) -> Document:
        """The document there. Raises WebhookFailed."""
        reached = self.network.reach(url)
        self.note(Kind.ASKED, urllib.parse.urlsplit(url).path)
        form = {"CallStatus": self._told_status, **(fields or {})}
        self._asked_url = url
        self.network.asked(self, url, form)
        with self.network.clock.held():
            return await self.handset.webhook(reached, form, method), reached

    async def after(self, verb: ET.Element, at: str, fields: Mapping[str, str]) -> Document | None:
        """What a verb's action says comes next; None without one."""
        action = verb.get("action")
        if action is None:
            return None
        method = verb.get("method", "POST")
        return await self.fetch(urllib.parse.urljoin(at, action), fields, method=method)

    async def _ask_for_nothing(self, url: str, fields: Mapping[str, str], order: Order) -> None:
        """The leg has left the verb: its action is told, and the answer means nothing."""
        redirected = order.document is not None or order.url is not None
        form = {"CallStatus": "in-progress" if redirected else "completed", **fields}
        self.network.asked(self, url, form)
        with contextlib.suppress(WebhookFailed), self.network.clock.held():
            await self.handset.post(self.network.reach(url), form)

    def tell(self, url: str, fields: Mapping[str, str]) -> None:
        """A callback whose answer is ignored."""
        form = {"CallStatus": "in-progress", **fields}
        self.network.deliver(self, url, form)

    @property
    def _told_status(self) -> str:
        return "in-progress" if self.status == "queued" else self.status

    # --- the account ----------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Real milliseconds since it began, whatever the network's pace is: streams are real time."""
        return int((time.monotonic() - self.began_s) * 1000)

    def note(self, kind: Kind, detail: str = "") -> int:
        at_ms = self.now_ms()
        self.steps.append(Step(at_ms, kind, detail))
        return at_ms

    def end(self, kind: Kind, detail: str = "") -> NoReturn:
        self.note(kind, detail)
        raise CallOver


def _on_stream(leg: Leg, *given: Any, **options: Any) -> OnStream:
    phone = OnStream(*given, **options)
    phone.person, phone.acted = leg.person, leg.acted
    return phone
