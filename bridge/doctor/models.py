"""Whether each model that a call may speak with takes our key and our configuration."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from bridge.agents.agent import Agent
from bridge.agents.config import AgentConfigs
from bridge.agents.mcp import FillingSocket
from bridge.core import messages as m
from bridge.core.config import VendorPlan
from bridge.doctor.http import Answer, Unreachable, ask
from bridge.doctor.shutdowns import model_url, shutdown_date, warning
from bridge.errors import ConfigError, UpstreamError
from bridge.server.model_dial import proof_for
from bridge.settings.settings import Settings
from bridge.settings.vendors import proved_by
from bridge.sockets.dial import DialError, Socket, dial
from bridge.upstreams import REHEARSALS, UPSTREAMS, Dial, Upstream, Vendor, events_of, frames_of
from bridge.upstreams.regions import region_of

SESSION_S: Final = 10.0
OTHER_API: Final = (
    "see that the address is that of the vendor's realtime API, and no proxy answers in its place"
)
UNREACHED: Final = ("timeout", "unreachable", "tls", "proxy")
"""Codes of a `DialError` without an answer of the model's server."""
FAILOVER: Final = "its entry in BRIDGE_FAILOVER (or the agent's failover)"
DEPRECATIONS: Final = "developers.openai.com/api/docs/deprecations"


async def examine(settings: Settings, configs: AgentConfigs, agent: Agent) -> list[tuple[str, str]]:
    """What is found of each upstream, in the order in which a call would have them, and what to do about it:
    "" where nothing is wrong.
    """
    if settings.upstream in REHEARSALS and settings.upstream_url is None:
        answers = "a parrot" if settings.upstream == "parrot" else "the scripted front desk"
        return [(f"none, this is a rehearsal: {answers} answers and costs nothing", "")]
    plans = plans_of(settings, configs, agent)
    limited = settings.max_call_cost is not None or settings.max_day_cost is not None
    found = [*configs.unpriced(agent, settings.upstream)] if limited else []
    for plan in plans:
        found += await _one(settings, configs, agent, plan, alone=len(plans) == 1)
    return found


def plans_of(settings: Settings, configs: AgentConfigs, agent: Agent) -> tuple[VendorPlan, ...]:
    """The vendors that a call of that agent may speak with, the first one first."""
    return (VendorPlan(settings.upstream), *configs.call(agent).failover)


async def _one(
    settings: Settings, configs: AgentConfigs, agent: Agent, plan: VendorPlan, *, alone: bool
) -> list[tuple[str, str]]:
    name, config = plan.name, plan.dress(configs.session(agent))
    vendor, named = UPSTREAMS[name], FAILOVER if plan.model else None
    try:
        adapter = vendor(1, plan.url or settings.vendor_url(name))
        dialled = adapter.dial(config)
    except ConfigError as error:
        return [(f"{name} does not suit the agent: {error}", "mend it where the agent is declared")]
    host = urlsplit(dialled.url).hostname or ""
    which = name if alone else f"{name} ({config.model}, {host})"
    models = configs.models(agent) if alone else [config.model]
    found = await _dates(settings, dialled, models) if name not in REHEARSALS else []
    try:
        headers = {**dialled.headers, **await proof_for(settings, dialled)}
        socket: Socket = await dial(dialled.url, headers)
    except DialError as error:
        verb = "cannot be reached" if error.code in UNREACHED else "refuses us"
        cure = cure_of_dial(error, vendor, proved_by(settings, vendor.key, dialled.url), named)
        return [*found, (f"{which} {verb}: {error}", cure)]
    socket = FillingSocket(socket, configs.vault) if configs.vault else socket
    fault = await _configured(socket, adapter, config, vendor, named)
    if fault is not None:
        return [*found, (fault[0] if alone else f"{which}: {fault[0]}", fault[1])]
    told = f"{name} takes our key and our configuration of {config.model}"
    if name != "openai" or not alone:  # to whom a caller's words go, and where
        region = region_of(host)
        where = f"region {region}" if region else "region not told by this address"
        told += f" ({vendor.company}, {host}); {where}"
    return [*found, (told, "")]


async def _dates(settings: Settings, dialled: Dial, models: list[str]) -> list[tuple[str, str]]:
    """Whether one of them is shut down soon. Without an answer of the vendor's, by what is announced."""
    today, found = dt.datetime.now(dt.UTC).date(), []
    for model in models:
        url, told = model_url(dialled.url, model), {}
        if url is not None:
            answer = await _asked(settings, dialled, url)
            told = answer.json() if answer.status == 200 else {}
        if (warned := warning(model, shutdown_date(model, told), today)) is not None:
            cure = "name another model (BRIDGE_MODEL, BRIDGE_TRANSCRIBE, or the agent's own)"
            found.append((warned, f"{cure}: {DEPRECATIONS}"))
    return found


def cure_of_dial(error: DialError, vendor: Vendor, key: str, named: str | None = None) -> str:
    """What to do about a dial that failed. `key`: where the key is set; `named`: where model and address are,
    None for settings of their own.
    """
    if error.code == "no key":
        return f"set {vendor.key}; a further resource of Azure's has its key in BRIDGE_FAILOVER_KEYS"
    if error.code == "token":
        return "see that the function of BRIDGE_AZURE_TOKEN returns a token, within three seconds"
    place = named or ("BRIDGE_UPSTREAM_URL" if vendor.url else "AZURE_OPENAI_ENDPOINT")
    model = named or "BRIDGE_MODEL"
    match error.status:
        case 401 | 403:
            return f"copy the key anew ({key}), and see that its project may use realtime models"
        case 404 | 400:
            kind = "realtime model" if vendor.url else "deployment of a realtime model"
            where = "at the vendor's address" if vendor.url else "in the resource at that address"
            return f"see that {model} names a {kind}, {where}{'' if named else f' ({place})'}"
        case 429:
            return "see the account's billing and limits at the vendor's"
    if error.code == "tls":
        return f"install the certificates of your platform (ca-certificates), or mend {place}"
    return f"let this machine reach it, or mend {place}"


async def _configured(
    socket: Socket, adapter: Upstream, config: m.SessionConfig, vendor: Vendor, named: str | None
) -> tuple[str, str] | None:
    """What is wrong with our configuration, and the cure; None if the model takes it."""
    said: asyncio.Future[tuple[str, str] | None] = asyncio.get_running_loop().create_future()

    def settle(fault: tuple[str, str] | None) -> None:
        if not said.done():
            said.set_result(fault)

    def configure() -> None:
        for frame in frames_of(adapter.write(m.ConfigureSession(config))):
            socket.send(frame)

    def heard(frame: str | bytes) -> None:
        try:
            events = events_of(adapter.parse(frame))
        except UpstreamError as error:
            settle((f"it does not speak as {vendor.company} does ({error})", OTHER_API))
            return
        for event in events:
            if isinstance(event, m.SessionCreated) and vendor.capabilities.server_first:
                configure()
            elif isinstance(event, m.SessionUpdated | m.UpstreamFaulted):
                settle(_fault(event, named))

    def closed(code: int, reason: str) -> None:
        told = f"it closed with {code} {reason}".rstrip()
        settle((told, "see the vendor's status page, and the limits of the key"))

    socket.start(heard, closed)
    if not vendor.capabilities.server_first:
        configure()
    try:
        async with asyncio.timeout(SESSION_S):
            return await said
    except TimeoutError:
        return f"no session within {SESSION_S:g} s", "see the vendor's status page"
    finally:
        socket.close()


def _fault(event: m.SessionUpdated | m.UpstreamFaulted, named: str | None) -> tuple[str, str] | None:
    """What the answer to our configuration says is wrong, and the cure; None for nothing."""
    if isinstance(event, m.UpstreamFaulted):
        places = f"{f'{named}, ' if named else ''}the agent's fields or `extra`"
        cure = f"mend or leave out {event.param or 'what it names'} in {places}"
        return f"our configuration is refused: {event.code} {event.param}: {event.message}", cure
    if event.formats_ok:
        return None
    cure = "take another model: this one cannot speak G.711 µ-law"
    return "the audio formats in force are not the phone's", cure


async def _asked(settings: Settings, dialled: Dial, url: str) -> Answer:
    """The vendor's answer, with status 0 without an answer."""
    try:
        headers: Mapping[str, str] = await proof_for(settings, dialled)
        return await ask("GET", url, headers=headers)
    except (Unreachable, DialError):
        return Answer(0, b"")
