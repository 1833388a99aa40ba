"""Measures barge-ins of a server: truth against claim, in milliseconds.

The truth is what the phone played of each item until the clear took effect there. The claim is what the model
believes: the truncation it was told, nothing of an item that was deleted, else all that it had sent; after a
lost session, the words of it that the next one is told.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.servers import EmbeddedUpstream, Simulation

from ..doubles.phone import Phone
from ..doubles.realtime import RealtimeServer
from ..doubles.tones import marked, tone
from ..errors import BridgeError
from .cases import SHORT, WORD_MS, Case, Script, name_of

POLL_S: Final = 0.01
SETTLED_MS: Final = 600
"""After a silence this long, greeting and disclosure are over."""
PATIENCE_MS: Final = 12_000
TAIL_MS: Final = 1_500
"""From the barge-in until all is told; a lost model is dialled anew within it."""
STAGGER_S: Final = 0.06


@dataclass(slots=True)
class Measured:
    """One call. `error_ms` is claim less truth of the item that is worst; None where nothing came of it, and
    `outcome` says why. `stop_ms` is how long the caller still heard the model after it had noticed them.
    """

    case: str
    outcome: str = ""
    error_ms: int | None = None
    stop_ms: int | None = None
    truth_ms: dict[str, int] = field(default_factory=dict)
    claim_ms: dict[str, int | None] = field(default_factory=dict)


class Bench:
    """The scripted model behind a server, and calls to that server. `handset` makes the phone of each call.
    `upstream` has to be served while it measures.
    """

    def __init__(self, handset: Callable[[], CarrierSimulator], seed: int = 1) -> None:
        self.upstream = EmbeddedUpstream(self._session)
        self._handset = handset
        self._chance = random.Random(seed)  # noqa: S311  the same calls each time
        self._numbers = itertools.cycle(range(1, SHORT))
        self._case: Case

    def _session(self) -> RealtimeServer:
        return RealtimeServer(Script(self._case, self._numbers), self._case.server())

    async def measure(self, url: str, case: Case, calls: int) -> list[Measured]:
        """So many calls to this server at once. Never raises for what it does."""
        self._case = case
        self.upstream.sessions.clear()
        seeds = [self._chance.randrange(2**32) for _ in range(calls)]
        return list(
            await asyncio.gather(*(self._one(url, case, seed, number) for number, seed in enumerate(seeds)))
        )

    async def _one(self, url: str, case: Case, seed: int, number: int) -> Measured:
        await asyncio.sleep(number * STAGGER_S)
        handset = self._handset()
        handset.options = case.phone(seed)
        measured = Measured(case.name)
        try:
            line = await handset.call(url)
        except (BridgeError, OSError) as error:
            measured.outcome = str(error)
            return measured
        try:
            measured.outcome = await self._call(case, random.Random(seed), line, measured)  # noqa: S311
        finally:
            if not line.closed.done():
                line.send(_phone(line).hang_up(line.now_ms()))
            await asyncio.wait([line.closed], timeout=2)
        return measured

    async def _call(self, case: Case, chance: random.Random, line: Simulation, measured: Measured) -> str:
        """The call itself; returns what came of it, in words."""
        phone = _phone(line)
        if not await _quiet(line):
            return _gone(line) or "the server never stopped talking"
        _say(line, 500)
        session = await self._reply_heard(line)
        if session is None:
            return _gone(line) or "the reply was never heard"
        if not await _rest_said(session):
            return "the model's next response could not begin"
        await asyncio.sleep(chance.randint(*case.after_ms) / 1000)
        cleared = len(phone.cleared)
        began_ms = session.loop_ms(session.now_ms())
        if case.cut:
            session.send(_server(session).drop(1006, session.now_ms()))
        else:
            turns = len(_server(session).speech_started_ms)
            _say(line, 700)
            if not await _until(lambda: len(_server(session).speech_started_ms) > turns, PATIENCE_MS):
                return _gone(line) or "the caller's voice never reached the model"
            began_ms = session.loop_ms(_server(session).speech_started_ms[-1])
        await asyncio.sleep(TAIL_MS / 1000)
        if len(phone.cleared) > cleared:
            measured.stop_ms = line.loop_ms(phone.cleared[cleared].at_ms) - began_ms
        return self._compare(case, line, session, measured)

    def _compare(self, case: Case, line: Simulation, session: Simulation, measured: Measured) -> str:
        phone, server = _phone(line), _server(session)
        phone.wake(line.now_ms())
        script: Any = server.agent
        heard = phone.heard
        for number in script.numbers:
            sound = marked(number, 1)[:1]
            item = next((item for item in server.conversation.ever.values() if item.sound[:1] == sound), None)
            if item is None:
                continue  # the model was cut off before it
            name = name_of(number)
            measured.truth_ms[name] = heard.count(sound) // 8
            if case.cut:
                measured.claim_ms[name] = self._restored_ms(name, session)
            elif item.id in server.deleted:
                measured.claim_ms[name] = 0
            elif item.truncated_ms is not None:
                measured.claim_ms[name] = item.truncated_ms
            else:
                measured.claim_ms[name] = item.sent_bytes // item.bytes_per_ms
        if not any(measured.truth_ms.values()):
            return "the caller heard nothing of the reply"
        if None in measured.claim_ms.values():
            return "the model was not had back, or not told what it had said"
        errors = [(claim or 0) - measured.truth_ms[name] for name, claim in measured.claim_ms.items()]
        measured.error_ms = max(errors, key=abs)
        told = case.cut or server.truncations or server.deleted
        return "told" if told else "the model was told nothing"

    def _restored_ms(self, name: str, lost: Simulation) -> int | None:
        """How much of that item a later session was told, in ms by its words; None where it was not."""
        word = re.compile(rf"\b{name}\d\d\b")
        later = self.upstream.sessions[self.upstream.sessions.index(lost) + 1 :]
        told = [len(word.findall(item.text)) for one in later for item in _server(one).items.values()]
        return max(told) * WORD_MS if any(told) else None

    async def _reply_heard(self, line: Simulation) -> Simulation | None:
        """The session whose reply this phone hears; None if it never hears one."""
        phone = _phone(line)
        found: list[Simulation] = []

        def heard() -> bool:
            phone.wake(line.now_ms())
            recent = phone.heard[-200 * 8 :]
            found[:] = [
                one
                for one in self.upstream.sessions
                for number in _numbers(one)[:1]
                if recent.count(marked(number, 1)[:1]) > 8
            ]
            return bool(found)

        return found[0] if await _until(heard, PATIENCE_MS) else None


def _phone(line: Simulation) -> Phone:
    machine: Any = line.machine
    phone: Phone = machine
    return phone


def _server(session: Simulation) -> RealtimeServer:
    machine: Any = session.machine
    server: RealtimeServer = machine
    return server


def _numbers(session: Simulation) -> list[int]:
    script: Any = _server(session).agent
    numbers: list[int] = script.numbers
    return numbers


async def _rest_said(session: Simulation) -> bool:
    """The model says what is left of its reply, each part as a response of its own that nothing asked for;
    False if one could not begin.
    """
    server = _server(session)
    script: Any = server.agent
    while script.replies:
        if not await _until(lambda: server.active is None, PATIENCE_MS):
            return False
        session.send(server.receive('{"type":"response.create"}', session.now_ms()))
    return True


def _gone(line: Simulation) -> str:
    """How the server ended the call, in words; empty while it goes on."""
    if not line.closed.done():
        return ""
    code, reason = line.closed.result()
    return f"the server ended the call: {code} {reason}".strip()


def _say(line: Simulation, ms: int) -> None:
    line.send(_phone(line).say(tone(ms), line.now_ms()))


async def _quiet(line: Simulation) -> bool:
    """Wait until neither side has spoken for a while; False if that never happens, or the call is over."""
    quiet_ms = 0

    def settled() -> bool:
        nonlocal quiet_ms
        if _phone(line).playing(line.now_ms()):
            quiet_ms = line.now_ms()
        return line.closed.done() or line.now_ms() - quiet_ms >= SETTLED_MS

    return await _until(settled, PATIENCE_MS) and not line.closed.done()


async def _until(condition: Callable[[], bool], patience_ms: int) -> bool:
    due_s = asyncio.get_running_loop().time() + patience_ms / 1000
    while not condition():
        if asyncio.get_running_loop().time() > due_s:
            return False
        await asyncio.sleep(POLL_S)
    return True
