"""Looks for what would keep a real call from working, and says what to do about it.

Each check asks the world once: the settings, the agent, the model, our own server as the internet sees it,
the carrier's account. Nothing is changed, no call is placed, and what the model gets is a connection and its
configuration, which cost nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import SIGNATURE_HEADER, RequestValidator

from bridge.agents.agent import HERE, Agent, agent_here, load_agent, load_agent_here
from bridge.agents.config import AgentConfigs
from bridge.agents.prices import Prices
from bridge.doctor import canary, models, store
from bridge.doctor.collector import collector
from bridge.doctor.http import Answer, Unreachable, ask
from bridge.errors import ConfigError
from bridge.server.phone_numbers.numbers import PhoneNumber, plain
from bridge.server.routing.routing import Routing
from bridge.server.routing.rows import WrongTable
from bridge.server.twiml import Links
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import TWILIO_API, Settings
from bridge.settings.vendors import unkeyed
from bridge.sockets.dial import DialError, dial
from bridge.sockets.peers import LOOPBACK_ONLY
from bridge.upstreams import REHEARSALS, UPSTREAMS

DESCRIPTORS_A_CALL: Final = 3
SPARE_DESCRIPTORS: Final = 100
NUMBERS_SHOWN: Final = 5
REMARKED: Final = "change it, unless it is meant"


class Check(NamedTuple):
    """One look. `cure` is empty where nothing is wrong; `what` is a sentence either way, without a secret."""

    name: str
    what: str
    cure: str = ""

    @property
    def ok(self) -> bool:
        return not self.cure


@dataclass
class Doctor:
    """One examination. `checks` are in the order in which they were made."""

    settings: Settings
    checks: list[Check] = field(default_factory=list)

    async def examine(self) -> list[Check]:
        """Everything. What depends on something that was found broken is left out."""
        for remark in self.settings.remarks:
            self._found("settings", remark, REMARKED)
        self._ok("settings", "all can be read, and they fit together")
        self._machine()
        configs, agent = self._agent()
        looks: list[Awaitable[None]] = [self._account()]
        if self.settings.store is not None:
            looks.append(self._store())
        if agent is not None:
            looks.append(self._model(configs, agent))
        if self.settings.public_url is not None:
            looks.append(self._front_door(self.settings.public_url))
        else:
            self._ok("public url", "none: BRIDGE_INSECURE takes calls of this machine only")
        for look in looks:
            await look
        traces, cure = await collector(self.settings)
        if traces:
            self.checks.append(Check("traces", traces, cure))
        return self.checks

    async def canary(self) -> list[Check]:
        """The live API against our double of it, and nothing else."""
        if self.settings.upstream in REHEARSALS:
            self._found("canary", "a rehearsal has no live API", "set BRIDGE_UPSTREAM and its key")
            return self.checks
        configs, agent = self._agent()
        if agent is not None:
            for plan in models.plans_of(self.settings, configs, agent):
                for what, cure in await canary.examine(self.settings, plan, configs.session(agent)):
                    self._found("canary", what, cure)
        return self.checks

    def _ok(self, name: str, what: str) -> None:
        self.checks.append(Check(name, what))

    def _found(self, name: str, what: str, cure: str) -> None:
        self.checks.append(Check(name, what, cure))

    # --- this machine ------------------------------------------------------------------------------------

    def _machine(self) -> None:
        settings = self.settings
        for name, folder in (
            ("BRIDGE_RECORDINGS", settings.recordings),
            ("BRIDGE_JOURNAL", settings.journal and settings.journal.parent),
        ):
            if folder is None:
                continue
            existing = next(path for path in (folder, *folder.parents) if path.exists())
            if not os.access(existing, os.W_OK | os.X_OK):
                self._found(name, f"{folder} cannot be written", "let this user write there, or name another")
        needed = settings.max_calls * DESCRIPTORS_A_CALL + SPARE_DESCRIPTORS
        most = _descriptors()
        if most is not None and most < needed:
            what = f"{most} open files are allowed, and {settings.max_calls} calls take about {needed}"
            self._found("open files", what, f"ulimit -n {needed}, or set BRIDGE_MAX_CALLS lower")

    async def _store(self) -> None:
        for what, cure in await store.examine(self.settings):
            self._found(store.NAME, what, cure)

    # --- the agent and its model -------------------------------------------------------------------------

    def _agent(self) -> tuple[AgentConfigs, Agent | None]:
        settings = self.settings
        prices, vendor = Prices.load(settings.prices), UPSTREAMS[settings.upstream].prices
        configs = AgentConfigs(
            settings.call_config(),
            settings.transfers,
            prices,
            vendor=vendor,
            endpoint=settings.azure_endpoint,
            unkeyed=partial(unkeyed, settings),
        )
        try:
            if settings.agent is None:
                where, agent = HERE, load_agent_here() or Agent()
            else:
                where, agent = settings.agent, load_agent(settings.agent)
            configs.check(agent, settings.upstream)
        except ConfigError as error:
            self._found("agent", str(error), "mend it where the agent is declared (BRIDGE_AGENT)")
            return configs, None
        if settings.agent is not None or agent_here() is not None:
            self._ok("agent", f"{where} can be loaded, and suits {settings.upstream}")
        self._routes(configs, agent)
        for remark in configs.remarks(agent, settings.upstream):
            self._found("agent", remark, "leave `prompt` out of the agent's `extra`")
        return configs, agent

    def _routes(self, configs: AgentConfigs, agent: Agent) -> None:
        """The table of BRIDGE_ROUTES, with the files and agents that it names."""
        if self.settings.routes is None:
            return
        try:
            routing = Routing(self.settings, None, configs, agent)
        except WrongTable as error:
            for fault in error.faults:
                self._found("BRIDGE_ROUTES", f"{error.name}: {fault.where} {fault.what}", fault.cure)
        else:
            self._ok(
                "BRIDGE_ROUTES", f"{len(routing.router.table.routes)} rows can be read, with all they name"
            )

    async def _model(self, configs: AgentConfigs, agent: Agent) -> None:
        for what, cure in await models.examine(self.settings, configs, agent):
            self._found("model", what, cure)

    # --- our own server, from outside --------------------------------------------------------------------

    async def front_door(self, public_url: str) -> list[Check]:
        """Our own server alone, as the internet sees it at that address."""
        await self._front_door(public_url)
        return self.checks

    async def _front_door(self, public_url: str) -> None:
        links = Links.below(public_url)
        try:
            ready = await ask("GET", f"{public_url}/readyz")
        except Unreachable as error:
            self._found("public url", f"{public_url} cannot be reached: {error}", error.cure)
            return
        if not _is_ours(ready):
            what = f"{public_url}/readyz is answered with {ready.status}, and not by a phonebridge"
            cure = "let PUBLIC_URL, and the proxy behind it, lead to `phonebridge serve`"
            self._found("public url", what, cure)
            return
        self._ok("public url", f"{public_url} leads to a phonebridge")
        reasons = ready.json().get("reasons", [])
        if LOOPBACK_ONLY in reasons:
            what = "that server asks for no signature, and serves its own machine only"
            self._found("signature", what, "start it without BRIDGE_INSECURE")
            return
        if reasons:
            what = f"it takes no calls now: {', '.join(map(str, reasons))}"
            self._found("readiness", what, "see its log; `draining` passes when it is started again")
        if await self._signatures(links):
            await self._upgrade(links)

    async def _signatures(self, links: Links) -> bool:
        """Whether what the carrier signs is what arrives, and whether anybody else gets in."""
        url = links.stream_status
        ids = {"CallSid": f"CA{0:032x}", "AccountSid": self.settings.twilio_account_sid or f"AC{0:032x}"}
        form = {**ids, "StreamEvent": "doctor", "StreamError": ""}
        try:
            stranger = await ask("POST", url, form)
            if stranger.status < 300:
                what = "webhooks without a signature are let in"
                self._found("signature", what, "start that server without BRIDGE_INSECURE, at once")
                return False
            answers = [await ask("POST", url, form, self._signed(url, form, token)) for token in self._tokens]
        except Unreachable as error:
            self._found("signature", f"{url} cannot be reached: {error}", error.cure)
            return False
        passed = [answer.status < 300 for answer in answers]
        if all(passed):
            self._ok("signature", "a signed webhook arrives as it was signed, an unsigned one is refused")
            return True
        if any(passed):
            what = "the server there knows one of the two tokens of TWILIO_AUTH_TOKEN, not the other"
            self._found("signature", what, "start it again with both, until the rotation is done")
            return True
        what = f"a webhook signed with TWILIO_AUTH_TOKEN is answered with {answers[0].status}"
        cure = (
            "give that server this TWILIO_AUTH_TOKEN and this PUBLIC_URL; if it has them, the proxy between "
            "changes the path, the query or the form: let it pass them as they are"
        )
        self._found("signature", what, cure)
        return False

    async def _upgrade(self, links: Links) -> None:
        url = links.media_stream
        try:
            socket = await dial(url, self._signed(url, {}, self._tokens[0]))
        except DialError as error:
            cure = (
                "let the proxy pass websockets (HTTP/1.1, the headers Upgrade and Connection); on Heroku, "
                "Fly and ngrok that works as it is"
            )
            self._found("stream", f"{url} cannot be opened as a websocket: {error}", cure)
            return
        closed = asyncio.get_running_loop().create_future()
        socket.start(lambda _frame: None, lambda *end: closed.set_result(end))
        socket.close()
        await closed
        self._ok("stream", f"{url} can be opened as a websocket")

    @property
    def _tokens(self) -> list[str]:
        return [token.get_secret_value() for token in self.settings.twilio_auth_token]

    def _signed(self, url: str, form: Mapping[str, str], token: str) -> dict[str, str]:
        return {SIGNATURE_HEADER: RequestValidator(token).compute_signature(url, form)}

    # --- the carrier -------------------------------------------------------------------------------------

    async def _account(self) -> None:
        settings = self.settings
        if settings.rest_url is None or not self._tokens:
            self._ok("carrier", "not asked: calls of this machine only")
            return
        if settings.twilio_account_sid is None:
            what = "TWILIO_ACCOUNT_SID is not set, so the number's webhook cannot be looked at"
            self._found("carrier", what, "copy the account SID from Twilio's console")
            return
        numbers: list[Any] = []
        for place, token in enumerate(self._tokens):
            try:
                status, numbers = await asyncio.to_thread(self._numbers, token)
            except TwilioRestException as error:
                self._refused_by_carrier(error, place)
                return
            except (TwilioException, RequestException, ValueError) as error:
                what = f"Twilio's API cannot be asked: {type(error).__name__}"
                self._found("carrier", what, "let this machine reach https://api.twilio.com")
                return
            if status != "active":
                what = f"the account is {status}"
                self._found("carrier", what, "see Twilio's console: no call comes in before that is settled")
                return
        self._ok("carrier", "Twilio takes our account SID and our token")
        self._webhooks(numbers)

    def _refused_by_carrier(self, error: TwilioRestException, place: int) -> None:
        which = "" if len(self._tokens) == 1 else f", the {('first', 'second')[place]} one,"
        if error.status == 401:
            what = f"Twilio refuses TWILIO_AUTH_TOKEN{which} for this account"
            self._found("carrier", what, "copy the auth token that the console shows now: this one is stale")
        else:
            what = f"Twilio answers {error.status}, code {error.code}"
            self._found("carrier", what, "see https://www.twilio.com/docs/errors for that code")

    def _numbers(self, token: str) -> tuple[str, list[Any]]:
        """The account's state and its numbers. On a thread."""
        from twilio.rest import Client  # noqa: PLC0415  27 MB, and half a second

        settings = self.settings
        http = TwilioHttpClient(timeout=10)
        ours = settings.rest_url != TWILIO_API
        http.session.trust_env = not ours
        environment = {"TWILIO_ACCOUNT_SID": settings.twilio_account_sid} if ours else None
        client = Client(settings.twilio_account_sid, token, http_client=http, environment=environment)
        client.api.base_url = settings.rest_url
        try:
            account = client.api.v2010.accounts(settings.twilio_account_sid)
            return str(account.fetch().status), account.incoming_phone_numbers.list(limit=200)
        finally:
            http.session.close()

    def _webhooks(self, numbers: list[Any]) -> None:
        """Whether a number leads here. Numbers are told by their last two digits."""
        if not numbers:
            self._found("number", "the account has none", "buy one with voice in Twilio's console")
            return
        if self.settings.public_url is None:
            return
        ours = Links.below(self.settings.public_url).incoming_call
        known = [PhoneNumber.of(number) for number in numbers]
        here = [number for number in known if number.leads_here(ours)]
        if here:
            self._ok("number", f"{', '.join(map(_masked, here[:NUMBERS_SHOWN]))}: its webhook is {ours}")
            return
        for number in known[:NUMBERS_SHOWN]:
            what = f"{_masked(number)} does not lead here: {_elsewhere(number)}"
            cure = f"`phonebridge number set NUMBER` leads it to {ours}, and asks before it changes anything"
            self._found("number", what, cure)


def examine_wrong(error: WrongSettings) -> list[Check]:
    """What there is to say where the settings cannot be read."""
    found = [Check(one.name, f"{one.name} {one.what}", one.cure) for one in error.mistakes]
    return [*found, *(Check("settings", stranger, REMARKED) for stranger in error.strangers)]


def _descriptors() -> int | None:
    try:
        import resource  # noqa: PLC0415  not on Windows
    except ImportError:
        return None
    most, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if most == resource.RLIM_INFINITY else most


def _is_ours(answer: Answer) -> bool:
    return answer.status in (200, 503) and isinstance(answer.json().get("ready"), bool)


def _elsewhere(number: PhoneNumber) -> str:
    """What answers it."""
    if number.fields["trunk_sid"]:
        return "it belongs to a SIP trunk"
    if number.fields["voice_application_sid"]:
        return "a TwiML application answers it"
    return f"its webhook is {plain(number.fields['voice_url'])}"


def _masked(number: PhoneNumber) -> str:
    return f"the number …{number.number[-2:]}"
