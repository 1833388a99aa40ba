"""`bridge.call`: a call is asked for by Python code, in a service's own process or of a server elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.agents.agent import Agent
from bridge.agents.user_code import CALL_NUMBERS, CALL_SID
from bridge.errors import CallRefused, ConfigError
from bridge.server.outbound.calls import Wanted
from bridge.server.outbound.handles import PlacedCall, Source
from bridge.server.outbound.record import new_ref
from bridge.server.outbound.remote import RemoteCalls

_HERE: list[Source] = []
"""The services of this process that place calls, the latest last."""


async def call(  # noqa: PLR0913  each but the number is named
    to: str,
    *,
    agent: Agent | str | None = None,
    from_: str = "",
    context: Mapping[str, str] | None = None,
    consent: str = "",
    key: str | None = None,
    ring_s: int = 30,
    server: str | None = None,
    api_key: str = "",
) -> PlacedCall:
    """Ask for a call. Returns when it is written down, before the carrier is asked; raises CallRefused where
    a rule forbids it, with the rule's name.

    Without `server` it is placed by the service that runs in this process (`phonebridge serve`, or an
    application of `create_app` that serves), from any of its threads and loops; then `agent` may be an Agent.
    Raises ConfigError if none runs. With `server`, the address of a service, and `api_key`, one of its
    BRIDGE_API_KEYS, that one is asked, and `agent` names one of its agents.

    `context` is what the agent shall know of the call (`session.context`), `consent` how this person agreed
    to be called. `key` names the request: for a day the same key gives the same call; by default each is new.

    User code of a live call may call the numbers of that call only (`From`, `To`).
    """
    _check_within_a_call(to)
    name, given = (agent, None) if isinstance(agent, str) else ("", agent)
    source = here() if server is None else _elsewhere(server, api_key, given)
    wanted = Wanted(
        to=to, from_=from_, agent=name, context=dict(context or {}), consent=consent, ring_s=ring_s
    )
    return PlacedCall(source, await source.place(wanted, key or new_ref(), given))


def _check_within_a_call(to: str) -> None:
    """What a model says, or a person on the line, is no number to call. Raises CallRefused."""
    if CALL_SID.get() and to not in CALL_NUMBERS.get() - {""}:
        words = "code of a live call may call the numbers of that call only, as the carrier told them"
        raise CallRefused(422, "within_a_call", words)


def _elsewhere(server: str, api_key: str, given: Agent | None) -> Source:
    if given is not None:
        raise ConfigError("a server knows its agents by name: say agent='name'")
    return RemoteCalls(server, api_key)


def here() -> Source:
    """The service of this process. Raises ConfigError if none runs."""
    if not _HERE:
        raise ConfigError(
            "no service of this process places calls: run this where `phonebridge serve` or create_app "
            "serves with BRIDGE_OUTBOUND=1, or name one by server= and api_key="
        )
    return _HERE[-1]


def serves(source: Source, *, running: bool) -> None:
    """A service of this process places calls from now on, or does so no longer."""
    if running and source not in _HERE:
        _HERE.append(source)
    elif not running and source in _HERE:
        _HERE.remove(source)
