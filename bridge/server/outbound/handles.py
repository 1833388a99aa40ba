"""A call out as Python code sees it: its states as they come, and what became of it.

call = await bridge.call("+1555…", consent="order form, 2026-11-02", context={"name": "Ann"})
async for status in call:
print(status.state)
result = await call.done()
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bridge.agents.agent import Agent
from bridge.agents.user_code import CALL_NUMBERS, CALL_SID
from bridge.errors import CallRefused, ConfigError
from bridge.server.outbound.calls import Wanted
from bridge.server.outbound.record import MACHINES, new_ref

Told = Mapping[str, Any]
"""What is told of a call, as `GET /calls/{id}` tells it."""


class Source(Protocol):
    """Where calls are placed: in this process, or at a server. `place` raises CallRefused. `news` waits for
    something else than `seen`, {} for nothing yet; None where the call is known no longer.
    """

    async def place(self, wanted: Wanted, idem: str, agent: Agent | None = None) -> Told: ...
    async def check(self, wanted: Wanted) -> Told: ...
    async def news(self, ref: str, seen: Told) -> Told | None: ...
    async def cancel(self, ref: str) -> None: ...


@dataclass(frozen=True, slots=True)
class CallStatus:
    """How far a call is: `queued`, `placed`, `ringing`, `answered`, `done`. `told` has everything known."""

    state: str
    told: Told


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What became of a call.

    `outcome` is `completed`, `busy`, `no_answer`, `declined`, `invalid`, `failed`, `canceled` or `refused`;
    `reason` says more where there is more. `completed` says that it was answered, and `answered_by` by whom,
    as far as that was found out: `by_machine` is true for a machine of any kind. `message` is `left` or
    `partial` where one was left. `ring_ms` and `talk_s` are how long it rang and lasted, `sip_code` and
    `stir` the network's word, `cost` what the model has cost, in US dollars. `transcript` has lines of `who`
    and `said`, as heard. `stop` says that an operator has to change something before other calls can be
    placed.
    """

    ref: str
    outcome: str
    reason: str = ""
    answered_by: str = ""
    message: str = ""
    call_sid: str = ""
    sip_code: int = 0
    stir: str = ""
    ring_ms: int | None = None
    talk_s: int = 0
    cost: float = 0.0
    transcript: tuple[Mapping[str, str], ...] = ()
    stop: str = ""

    @property
    def by_machine(self) -> bool:
        """Whether a machine answered, as far as is known."""
        return self.answered_by.startswith(MACHINES)

    @classmethod
    def of(cls, told: Told) -> CallResult:
        """From what is told of a call that is done."""
        same = (
            "outcome",
            "reason",
            "answered_by",
            "message",
            "call_sid",
            "sip_code",
            "stir",
            "ring_ms",
            "stop",
        )
        given = {name: told[name] for name in (*same, "talk_s") if name in told}
        lines = tuple(told.get("transcript", ()))
        return cls(ref=told["id"], cost=told.get("cost_usd", 0.0), transcript=lines, **given)


class PlacedCall:
    """One call that was asked for. `ref` is its id. `async for status in call` gives each state as it comes,
    the present one first, until it is done; one that passes quickly may be left out.
    """

    def __init__(self, source: Source, told: Told) -> None:
        self.ref: str = told["id"]
        self._source = source
        self._told = told

    async def __aiter__(self) -> AsyncIterator[CallStatus]:
        seen = self._told
        yield CallStatus(seen["state"], seen)
        while seen["state"] != "done":
            before = seen["state"]
            seen = await self._next(seen)
            if seen["state"] != before:
                yield CallStatus(seen["state"], seen)

    async def done(self) -> CallResult:
        """Wait for its end: what became of it."""
        while self._told["state"] != "done":
            await self._next(self._told)
        return CallResult.of(self._told)

    async def cancel(self) -> None:
        """Take it back: it is not placed, or rings no longer, or is hung up. Idempotent."""
        await self._source.cancel(self.ref)

    async def _next(self, seen: Told) -> Told:
        told = await self._source.news(self.ref, seen)
        if told is None:
            told = {"id": self.ref, "state": "done", "outcome": "failed", "reason": "it is known no longer"}
        self._told = told
        return told


MOST_NUMBER: Final = 40


def check_within_a_call(to: str) -> None:
    """User code of a live call may only call the numbers of that call: what a model says, or a person on the
    line, is no number to call. Raises CallRefused.
    """
    if CALL_SID.get() and to not in CALL_NUMBERS.get():
        words = "code of a live call may call the numbers of that call only, as the carrier told them"
        raise CallRefused(422, "within_a_call", words)


async def call(
    to: str,
    *,
    agent: Agent | str | None = None,
    from_: str | None = None,
    context: Mapping[str, str] | None = None,
    consent: str = "",
    key: str | None = None,
    ring_s: int = 30,
    server: str | None = None,
    api_key: str | None = None,
) -> PlacedCall:
    """Ask for a call. Returns when it is written down, before the carrier is asked; raises CallRefused where a
    rule forbids it, with the rule's name.

    It is placed by the service that runs in this process (`phonebridge serve`, or `create_app` once it
    serves), from any of its threads and loops: then `agent` may be an Agent. With `server`, the address of
    a service, and `api_key`, one of its BRIDGE_API_KEYS, that one is asked; then `agent` is the name of one
    of its agents. Without either ConfigError is raised.

    `context` is what the agent shall know about the call; handlers read it in `session.context`. `consent`
    says how this person agreed to be called. `key` names the request: the same key gives the same call for a
    day, however often it is asked for; by default each is new.

    User code of a live call may call the numbers of that call (`From`, `To`) only.
    """
    check_within_a_call(to)
    source: Source
    if server is not None:
        from bridge.server.outbound.remote import RemoteCalls  # noqa: PLC0415  http.client, for a few

        if isinstance(agent, Agent):
            raise ConfigError("a server knows its agents by name: say agent='name'")
        source = RemoteCalls(server, api_key or "")
    else:
        source = here()
    wanted = Wanted(
        to=to,
        from_=from_ or "",
        agent=agent if isinstance(agent, str) else "",
        context=dict(context or {}),
        consent=consent,
        ring_s=ring_s,
    )
    given = agent if isinstance(agent, Agent) else None
    return PlacedCall(source, await source.place(wanted, key or new_ref(), given))


_HERE: list[Source] = []
"""The services of this process that place calls, the latest last."""


def here() -> Source:
    """The service of this process. Raises ConfigError if none runs."""
    if not _HERE:
        raise ConfigError(
            "no service of this process places calls: run this where `phonebridge serve` or create_app "
            "serves with BRIDGE_OUTBOUND=1, or name one by server= and api_key="
        )
    return _HERE[-1]


def serves(source: Source, running: bool) -> None:
    """A service of this process places calls from now on, or does so no longer."""
    if running and source not in _HERE:
        _HERE.append(source)
    elif not running and source in _HERE:
        _HERE.remove(source)
