"""A simulated call from dialling to its end: the caller's way through a server's TwiML.

It does what the carrier does around a stream: fetches documents, follows their verbs, opens streams and
reports on them, asks the `<Connect action>` what comes next, lets itself be ended or sent on by REST
(`carrier_api`). `steps` tell what the caller would have lived through.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn

from bridge.doubles.phone import Phone
from bridge.simulators.carrier import CarrierSimulator, WebhookFailed
from bridge.simulators.servers import Simulation
from bridge.sockets.dial import DialError

MOST_DOCUMENTS: Final = 10
"""Twilio, "Error 11215": this many documents in a row, with nothing lasting between them, and it gives up."""
SAY_S: Final = 0.06
"""A letter of `<Say>`, spoken."""
_TALKED: Final = frozenset({"completed", "answered"})


class Kind(enum.StrEnum):
    """What a caller lives through, in one word."""

    ASKED = "asked"
    STREAM = "stream"
    STREAM_OVER = "stream over"
    STREAM_REFUSED = "stream refused"
    SAID = "said"
    PAUSE = "pause"
    DIALLED = "dialled"
    HUNG_UP = "hung up"
    ENDED_BY_REST = "ended by REST"
    SENT_ON_BY_REST = "sent on by REST"
    REJECTED = "rejected"
    CALLER_LEFT = "the caller hung up"
    FAILED = "failed"


class Step(NamedTuple):
    """One thing that happened to the caller, `at_ms` after they dialled."""

    at_ms: int
    kind: Kind
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What interrupts the verb that runs: the caller hangs up, or REST completes the call or redirects it."""

    kind: Kind
    document: ET.Element | None = None


class CallOver(Exception):
    """There is nothing more to follow."""


@dataclass(eq=False)
class PhoneCall:
    """One call of one handset. `place(url)` dials and returns when the call is over.

    `targets` are what becomes of those who are dialled, by number, in the words of `DialCallStatus`;
    everybody else picks up. `pace` shortens what only takes time (`<Pause>`, `<Say>`, a talk); streams run in
    real time.
    """

    handset: CarrierSimulator
    targets: Mapping[str, str] = field(default_factory=dict)
    pace: float = 1.0
    talk_s: float = 1.0
    steps: list[Step] = field(default_factory=list)
    streams: list[tuple[int, Simulation]] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    """Numbers that were dialled for this caller and picked up."""
    over: bool = False
    streaming: asyncio.Event = field(default_factory=asyncio.Event)
    _base: str = ""
    _began_s: float = 0.0
    _orders: asyncio.Queue[Order] = field(default_factory=asyncio.Queue)
    _told: set[asyncio.Task[None]] = field(default_factory=set)

    async def place(self, url: str) -> list[Step]:
        """Dial; the call's steps, when it is over. A bad answer is a step too, not an exception."""
        self._base, self._began_s = url, time.monotonic()
        try:
            document, at = await self._fetch(url, {"CallStatus": "ringing"})
            documents = 0
            while documents <= MOST_DOCUMENTS:
                streams, began_s = len(self.streams), time.monotonic()
                document, at = await self._follow(document, at)
                lasted = len(self.streams) > streams or time.monotonic() - began_s > self.pace
                documents = 0 if lasted else documents + 1
            self._note(Kind.FAILED, "11215: too many documents in a row")
        except CallOver:
            pass
        except WebhookFailed as error:
            self._note(Kind.FAILED, str(error))
        finally:
            self.over = True
        if self._told:
            await asyncio.wait(self._told)
        return self.steps

    def hang_up(self) -> None:
        """The caller has had enough."""
        self._orders.put_nowait(Order(Kind.CALLER_LEFT))

    def order(self, order: Order) -> None:
        """REST completes the call, or sends it to another document."""
        self._orders.put_nowait(order)

    @property
    def phone(self) -> Phone:
        """The phone of the latest stream."""
        machine = self.streams[-1][1].machine
        if not isinstance(machine, Phone):
            raise TypeError("a stream without a phone")
        return machine

    def sound(self) -> tuple[bytes, bytes]:
        """The call's sound from dialling on, µ-law: what the caller said, and what they heard of streams."""
        said, heard = b"", b""
        for at_ms, simulation in self.streams:
            if isinstance(simulation.machine, Phone):
                left, right = simulation.machine.recording()
                said = said.ljust(at_ms * 8, b"\xff") + left
                heard = heard.ljust(at_ms * 8, b"\xff") + right
        return said, heard

    # --- verbs -------------------------------------------------------------------------------------------

    async def _follow(self, document: ET.Element, at: str) -> tuple[ET.Element, str]:
        """Do what a document says; the next one, and where it came from. Raises CallOver."""
        if document.tag != "Response":
            raise WebhookFailed(f"{at} answered with <{document.tag}>, which is no TwiML")
        for verb in document:
            match verb.tag:
                case "Say":
                    words = " ".join("".join(verb.itertext()).split())
                    self._note(Kind.SAID, words)
                    following = await self._interrupted(asyncio.sleep(SAY_S * len(words) * self.pace), at)
                case "Pause":
                    seconds = float(verb.get("length", "1"))
                    self._note(Kind.PAUSE, f"{seconds:g} s")
                    following = await self._interrupted(asyncio.sleep(seconds * self.pace), at)
                case "Connect":
                    following = await self._connect(verb, at)
                case "Dial":
                    following = await self._dial(verb, at)
                case "Redirect":
                    url = "".join(verb.itertext()).strip()
                    following = await self._fetch(urllib.parse.urljoin(at, url))
                case "Reject":
                    self._end(Kind.REJECTED, verb.get("reason", "rejected"))
                case "Hangup":
                    self._end(Kind.HUNG_UP)
                case _:
                    raise WebhookFailed(f"{at} says <{verb.tag}>, which this phone does not know")
            if following is not None:
                return following
        return self._end(Kind.HUNG_UP, "nothing more to do")

    async def _connect(self, verb: ET.Element, at: str) -> tuple[ET.Element, str] | None:
        stream = verb.find("Stream")
        if stream is None:
            raise WebhookFailed(f"{at} says <Connect> without <Stream>")
        parameters = {p.get("name", ""): p.get("value", "") for p in stream.iterfind("Parameter")}
        url = self._reach(urllib.parse.urljoin(at, stream.get("url", "")))
        sid = f"MZ{len(self.streams) + 1:032x}"
        order = None
        try:
            # Callers speak on, whether a stream is there or not.
            spoken_ms = self._now_ms() - self.streams[0][0] if self.streams else 0
            simulation = await self.handset.open(url, parameters, stream_sid=sid, spoken_ms=spoken_ms)
        except DialError as error:
            self._note(Kind.STREAM_REFUSED, str(error))
            self._tell(stream, at, sid, StreamEvent="stream-error", StreamError=f"31920 {error}")
        else:
            self.streams.append((self._note(Kind.STREAM, url), simulation))
            self._tell(stream, at, sid, StreamEvent="stream-started")
            self.streaming.set()
            order = await self._until(simulation)
            self.streaming.clear()
            code, reason = await simulation.closed
            self._note(Kind.STREAM_OVER, f"{code} {reason}".rstrip())
            self._tell(stream, at, sid, StreamEvent="stream-stopped")
        action = verb.get("action")
        if order is not None:
            if order.kind is Kind.CALLER_LEFT and action is not None:
                await self._ask_for_nothing(urllib.parse.urljoin(at, action))
            return self._obey(order, at)
        if action is None:
            return None
        return await self._fetch(urllib.parse.urljoin(at, action))

    async def _until(self, simulation: Simulation) -> Order | None:
        """Wait until the stream is over; the order that ended it, None if the server closed it."""
        ordered = asyncio.ensure_future(self._orders.get())
        waiting: set[asyncio.Future[Any]] = {ordered, simulation.closed}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not ordered.done():
            ordered.cancel()
            return None
        # However a call leaves its stream, Twilio says `stop` and closes.
        machine = simulation.machine
        if isinstance(machine, Phone):
            simulation.send(machine.hang_up(simulation.now_ms()))
        await simulation.closed
        return ordered.result()

    async def _dial(self, verb: ET.Element, at: str) -> tuple[ET.Element, str] | None:
        number = "".join(verb.itertext()).strip()
        status = self.targets.get(number, "completed")
        self._note(Kind.DIALLED, f"{number}: {status}")
        if status in _TALKED:
            self.reached.append(number)
            following = await self._interrupted(asyncio.sleep(self.talk_s * self.pace), at)
            if following is not None:
                return following
        action = verb.get("action")
        if action is None:
            return None
        fields = {"DialCallStatus": status, "DialCallSid": f"CA{'d' * 32}"}
        return await self._fetch(urllib.parse.urljoin(at, action), fields)

    async def _interrupted(self, verb: Awaitable[Any], at: str) -> tuple[ET.Element, str] | None:
        """Let a verb take its time, unless an order comes first."""
        ordered = asyncio.ensure_future(self._orders.get())
        lasting = asyncio.ensure_future(verb)
        await asyncio.wait({ordered, lasting}, return_when=asyncio.FIRST_COMPLETED)
        lasting.cancel()
        if ordered.done():
            return self._obey(ordered.result(), at)
        ordered.cancel()
        return None

    def _obey(self, order: Order, at: str) -> tuple[ET.Element, str]:
        if order.document is None:
            self._end(order.kind)
        self._note(order.kind)
        return order.document, at

    # --- the carrier's requests --------------------------------------------------------------------------

    async def _fetch(self, url: str, fields: Mapping[str, str] | None = None) -> tuple[ET.Element, str]:
        """The document there, posted for: this carrier knows no `method`."""
        reached = self._reach(url)
        self._note(Kind.ASKED, urllib.parse.urlsplit(url).path)
        form = {"CallStatus": "in-progress", **(fields or {})}
        return await self.handset.webhook(reached, form), reached

    async def _ask_for_nothing(self, url: str) -> None:
        """The caller has left: the action is told, and its answer means nothing."""
        try:
            await self.handset.webhook(self._reach(url), {"CallStatus": "completed"})
        except WebhookFailed:
            return

    def _tell(self, stream: ET.Element, at: str, sid: str, **fields: str) -> None:
        """The status callback; its answer is ignored."""
        callback = stream.get("statusCallback")
        if callback is not None:
            url = self._reach(urllib.parse.urljoin(at, callback))
            task = asyncio.create_task(self._post(url, {"StreamSid": sid, "StreamName": sid, **fields}))
            self._told.add(task)
            task.add_done_callback(self._told.discard)

    async def _post(self, url: str, fields: dict[str, str]) -> None:
        with contextlib.suppress(WebhookFailed):  # undelivered is ignored
            await self.handset.post(url, {"CallStatus": "in-progress", **fields})

    def _reach(self, url: str) -> str:
        """Where a URL that the server made from its public name is: at the address that was dialled."""
        public, parts = self.handset.public_url, urllib.parse.urlsplit(url)
        if public is None or urllib.parse.urlsplit(public).netloc != parts.netloc:
            return url
        dialled = urllib.parse.urlsplit(self._base)
        plain = "ws" if parts.scheme in ("ws", "wss") else "http"
        scheme = f"{plain}s" if dialled.scheme in ("https", "wss") else plain
        return parts._replace(scheme=scheme, netloc=dialled.netloc).geturl()

    # --- the account -------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return int((time.monotonic() - self._began_s) * 1000)

    def _note(self, kind: Kind, detail: str = "") -> int:
        at_ms = self._now_ms()
        self.steps.append(Step(at_ms, kind, detail))
        return at_ms

    def _end(self, kind: Kind, detail: str = "") -> NoReturn:
        self._note(kind, detail)
        raise CallOver
