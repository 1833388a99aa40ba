"""The programmer's side of all calls, seen from the audio loop: an agent, its calls, and the way across.

`UserSide` lives on the loop that carries the audio. It never waits there for user code and never runs any:
events go over to the call's user loop and commands come back, each as one posted message.

Over 400 lines: all crossings stand in one file, so that one reading shows which thread runs what.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, get_args

from bridge.agents import hooks
from bridge.agents.agent import Agent, roster
from bridge.agents.call import UserCall
from bridge.agents.calling_out import AgentsOut, told
from bridge.agents.config import AgentConfigs
from bridge.agents.loop import Late, OwnedLoop, UserLoop, run
from bridge.agents.loops import CallLoop, UserLoops, cross
from bridge.agents.mcp import FillingSocket
from bridge.agents.placed import is_placed
from bridge.agents.prices import Bill
from bridge.agents.tool_runner import log_failure
from bridge.agents.tools import error_text
from bridge.agents.transport_socket import carry
from bridge.agents.turned_away import Forward, Refuse, TurnedAway, Voicemail
from bridge.agents.user_code import CALL_SID
from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.errors import ConfigError
from bridge.sockets.dial import Socket
from bridge.upstreams import Dial

logger = logging.getLogger("bridge.user")

SESSION_EVENTS: Final = get_args(m.SessionEvent)
MOST_PREPARED: Final = 1_000
"""Calls whose agent was resolved and whose stream has not come; the oldest are forgotten."""
MOST_WAITING: Final = 10_000
"""Events of one call that may wait for a user loop that is blocked; beyond that, only what is awaited."""
WAITED_FOR: Final = (m.CallBegan, m.ToolWanted, m.Heard, m.HangUpCancelled, m.DetourEnded, m.Ended)
MOST_REMARKS: Final = 64
RESOLVE_GRACE_S: Final = 0.25
"""A user loop that is blocked can't even say that a resolver is late; the audio loop waits no longer."""


def _nowhere(_number: str) -> None:
    raise ConfigError("there is no do-not-call file here (BRIDGE_DO_NOT_CALL)")


class Runner(Protocol):
    """What of `bridge.runner.Runner` is used here. `tap` is called with each frame of the caller's, on the
    audio loop; None to stop.
    """

    tap: Callable[[m.CallerAudio], None] | None

    @property
    def detours(self) -> bool: ...
    def feed(self, event: m.Event) -> None: ...
    def keep_keys(self, detour_id: str, keys: str) -> None: ...


class Answerer(NamedTuple):
    """An agent that answers a call before any resolver is asked, and how it becomes a configuration there."""

    agent: Agent
    configs: AgentConfigs


@dataclass(slots=True)
class Prepared:
    """A call that may come: which agent has it, with which configurations, on which loop, and
    whether we have placed it.
    """

    agent: Agent
    loop: CallLoop
    configs: AgentConfigs
    placed: bool = False


class Attachment:
    """One call's way across. `tell` takes what the core says; made and used on the audio loop."""

    def __init__(
        self, side: UserSide, call_sid: str, prepared: Prepared, runner: Runner, fields: Mapping[str, str]
    ) -> None:
        self.loop = prepared.loop
        self.opt_out, self.enter = side.opt_out, side.enter
        self._audio_loop = asyncio.get_running_loop()
        self._runner = runner
        self._call: UserCall | None = None
        self._waiting: deque[m.SessionEvent] = deque()
        self._secret = False
        self.detours = runner.detours
        self.loop.post(self._make, side, call_sid, prepared, dict(fields))

    def tell(self, event: m.SessionEvent) -> None:
        """The core has said this. Returns at once."""
        if len(self._waiting) < MOST_WAITING or isinstance(event, WAITED_FOR):
            self._waiting.append(event)
            self.loop.post(self._take)

    async def run_if(self, tool: m.ToolWanted, asking: Awaitable[bool]) -> None:
        """The core wants that tool; it is started if the answer is yes. Otherwise it has failed."""
        if await asking:
            self.tell(tool)
        else:
            self._feed(m.ToolFinished(tool.call_id, error_text("It could not be run.")))

    def summarise(self, summary: Mapping[str, Any]) -> None:
        """The call is summed up, for `on_end`. Returns at once."""
        self.loop.post(self._told, summary)

    # --- on the user loop --------------------------------------------------------------------------------

    def _make(self, side: UserSide, call_sid: str, prepared: Prepared, fields: Mapping[str, str]) -> None:
        agent, configs = prepared.agent, prepared.configs
        config = configs.session(agent, roster(agent))
        today = dt.datetime.now(dt.UTC).date()
        bill = Bill(configs.prices, config.model, config.transcription, today, configs.vendor)
        self._call = UserCall(
            call_sid,
            agent,
            fields,
            self,
            configs=configs,
            loop=self.loop,
            bill=bill,
            vet=functools.partial(side.vet, configs),
        )

    def _take(self) -> None:
        event = self._waiting.popleft()
        if self._call is not None:
            self._call.take(event)

    def _told(self, summary: Mapping[str, Any]) -> None:
        if self._call is not None:
            self._call.told(summary)

    def _hear(self, audio: str) -> None:
        if self._call is not None:
            self._call.session.hear(audio)

    def post(self, command: m.SessionCommand) -> None:
        """A wish of user code, to the core. Returns at once; nothing happens once the audio loop is gone."""
        cross(self._audio_loop, self._feed, command)

    def keep_keys(self, detour_id: str, keys: str) -> None:
        """The keys of a detour, which the core is not told. Comes before the wish."""
        cross(self._audio_loop, self._runner.keep_keys, detour_id, keys)

    def tap(self) -> None:
        """User code wants the caller's sound from now on."""
        cross(self._audio_loop, self._set_tap)

    # --- on the audio loop -------------------------------------------------------------------------------

    def _feed(self, command: m.SessionCommand) -> None:
        if isinstance(command, m.ReadKeys):
            self._secret = command.on and command.secret
        self._runner.feed(command)

    def _set_tap(self) -> None:
        self._runner.tap = self._frame

    def _frame(self, event: m.CallerAudio) -> None:
        if self._secret:
            return
        self.loop.post(self._hear, event.audio)


class UserSide:
    """All calls of one agent. An `Observer` of the registry; lives on the audio loop.

    For each call: `await prepare(call_sid, fields)` while the phone rings (its resolver runs), `config` for
    the configuration, `attach` once there is a runner. `loops` are those of user code, one by default. A
    call whose resolver fails is answered by the agent as it was declared, or turned away by `resolver_fails`.
    `routed(call_sid, agent)` is what answers a call to its number, given the agent that answers by default.
    Raises ConfigError, at once, for an agent that cannot work with this upstream.
    """

    def __init__(
        self,
        agent: Agent,
        configs: AgentConfigs,
        *,
        upstream: str,
        loops: Sequence[OwnedLoop] = (),
        resolver_fails: TurnedAway | None = None,
        routed: Callable[[str, Agent], Answerer] | None = None,
    ) -> None:
        configs.check(agent, upstream)
        self._audio_loop: asyncio.AbstractEventLoop | None = None
        self.agent = agent
        self.configs = configs
        self.loops = UserLoops(loops or (UserLoop(),), self._loops_of_calls)
        self.out = AgentsOut()
        self.opt_out: Callable[[str], None] = _nowhere
        """Called, on a thread of its own, with a number that is never to be called again."""
        self.enter: Callable[[str, str], None] = lambda _call_sid, _call_id: None
        """Called in each context of user code: with its call, and with the tool call or ""."""
        self.doubt: Callable[[str], Awaitable[bool] | None] = lambda _call_sid: None
        """Asked before a tool is started: None where the call is this process's, or what to await."""
        self._asking: set[asyncio.Task[None]] = set()
        self._upstream = upstream
        self._resolver_fails = resolver_fails
        self._routed = routed or (lambda _call_sid, usual: Answerer(usual, configs))
        self._prepared: dict[str, Prepared] = {}
        self._resolving: set[CallLoop] = set()
        self._attached: dict[str, Attachment] = {}
        self._remarked: set[str] = set()

    def replace(self, agent: Agent) -> None:
        """Let another agent answer the calls to come. Raises ConfigError for one that cannot work."""
        self.configs.check(agent, self._upstream)
        self.remark(agent)
        self.agent = agent

    def remark(self, agent: Agent, known: Mapping[str, Agent] = MappingProxyType({})) -> None:
        """Log what works today, of this agent, and may not tomorrow: once in the life of the process. `known`
        are those whom it may hand off to by name.
        """
        for remark in self.configs.remarks(agent, self._upstream, known):
            if remark not in self._remarked and len(self._remarked) < MOST_REMARKS:
                self._remarked.add(remark)
                logger.warning("%s", remark)

    def vet(self, configs: AgentConfigs, agent: Agent, known: Mapping[str, Agent]) -> None:
        """An agent that a call is handed to, or that was changed in it. Raises ConfigError for what cannot
        work.
        """
        configs.check_one(agent, known, self._upstream)
        self.remark(agent, known)

    def vet_given(self, agent: Agent) -> None:
        """An agent for one call that is to be placed. Raises ConfigError for what cannot work."""
        self.configs.check(agent, self._upstream)
        self.remark(agent)

    def start(self) -> None:
        """Start the user loops; on the audio loop."""
        self._audio_loop = asyncio.get_running_loop()
        self.loops.start()

    def close(self) -> None:
        """End the user loops and what still runs on them. Waits a second at most."""
        self.loops.close()

    def _loops_of_calls(self) -> list[CallLoop]:
        """Called from any thread. Of those that are prepared most begin at once, and some never."""
        return [*self._resolving.copy(), *(one.loop for one in self._attached.copy().values())]

    # --- before a call -----------------------------------------------------------------------------------

    async def prepare(
        self, call_sid: str, fields: Mapping[str, str], *, goes_on: bool = False
    ) -> m.CallConfig | TurnedAway:
        """The call's configuration, after its resolver, or why the call is turned away. Takes `resolver_ms`
        at most and never raises: errors are logged. A call that `goes_on` was let in before and is not turned
        away now.
        """
        prepared, found = self._declared(call_sid), None
        if is_placed(fields):
            agent = self.out.agent(self.agent, fields)
            if agent is None:
                return Refuse()
            prepared.agent = agent
        if prepared.agent.resolver is not None:
            found = await self._resolved(prepared, dict(fields))
        if isinstance(found, Agent):
            prepared.agent = found
        elif found is not None:
            if not goes_on:
                return found
            logger.info("the call goes on, whatever its resolver says now", extra={"call_sid": call_sid})
        prepared.agent = told(prepared.agent, fields, prepared.configs.base.session.instructions)
        prepared.placed = is_placed(fields)
        self._keep(call_sid, prepared)
        return prepared.configs.call(prepared.agent, placed=prepared.placed)

    def knows(self, name: str) -> bool:
        """Whether calls out can be placed with an agent of that name; "" is the service's own."""
        return self.out.knows(self.agent, name)

    def is_prepared(self, call_sid: str) -> bool:
        """Whether its agent was resolved, and waits for `attach`."""
        return call_sid in self._prepared

    def forget(self, call_sid: str) -> None:
        """A call that was prepared does not come."""
        self._prepared.pop(call_sid, None)

    def config(self, call_sid: str) -> m.CallConfig:
        """The configuration of a call that was prepared, or of any call by this agent."""
        prepared = self._prepared.get(call_sid)
        if prepared is not None:
            return prepared.configs.call(prepared.agent, placed=prepared.placed)
        routed = self._routed(call_sid, self.agent)
        return routed.configs.call(routed.agent)

    def language(self, call_sid: str) -> str | None:
        """The language of the agent that answers that call, before its resolver is asked."""
        return self._routed(call_sid, self.agent).agent.language

    def _declared(self, call_sid: str) -> Prepared:
        """How a call begins that no resolver was asked about."""
        agent, configs = self._routed(call_sid, self.agent)
        return Prepared(agent, self.loops.place(call_sid), configs)

    def _keep(self, call_sid: str, prepared: Prepared) -> Prepared:
        self._prepared[call_sid] = prepared
        while len(self._prepared) > MOST_PREPARED:
            del self._prepared[next(iter(self._prepared))]
        return prepared

    async def _resolved(self, prepared: Prepared, fields: Mapping[str, str]) -> Agent | TurnedAway | None:
        audio_loop, call_loop = asyncio.get_running_loop(), prepared.loop
        declared = Answerer(prepared.agent, prepared.configs)
        answer: asyncio.Future[Agent | TurnedAway | None] = audio_loop.create_future()

        def settle(found: Agent | TurnedAway | None) -> None:
            if not answer.done():
                answer.set_result(found)

        async def resolve() -> None:
            CALL_SID.set(call_loop.call_sid)
            cross(audio_loop, settle, await self._resolve(declared, fields, call_loop))

        begun: list[asyncio.Task[None]] = []
        self._resolving.add(call_loop)
        call_loop.post(lambda: begun.append(asyncio.get_running_loop().create_task(resolve())))
        try:
            return await asyncio.wait_for(answer, declared.agent.resolver_ms / 1000 + RESOLVE_GRACE_S)
        except TimeoutError:
            logger.error("no word of the resolver: something blocks the user loop")  # noqa: TRY400
            prepared.loop = self.loops.place(call_loop.call_sid)  # on the old one it would wait on
            return self._failed(declared)
        finally:
            self._resolving.discard(call_loop)

    async def _resolve(
        self, declared: Answerer, fields: Mapping[str, str], loop: CallLoop
    ) -> Agent | TurnedAway | None:
        """On the call's user loop. Never raises."""
        resolver = declared.agent.resolver or (lambda _fields: None)
        try:
            answer = await run(loop, functools.partial(resolver, fields), declared.agent.resolver_ms)
            return self._changed(declared, answer)
        except Late as error:
            logger.error("the resolver: %s; it is at:\n%s", error, error.where)  # noqa: TRY400
        except Exception as error:  # noqa: BLE001  user code
            log_failure("the resolver", error)
        return self._failed(declared)

    def _failed(self, declared: Answerer) -> TurnedAway | None:
        """What becomes of a call whose resolver fails: a fallback is that of the called number."""
        if not isinstance(self._resolver_fails, Forward):
            return self._resolver_fails
        fallback = declared.configs.base.fallback
        return Forward(fallback) if fallback else Refuse("busy")

    def _changed(self, declared: Answerer, resolved: object) -> Agent | TurnedAway | None:
        """What a resolver returned, mappings as an agent. Raises ConfigError or TypeError for what cannot
        work.
        """
        if resolved is None or isinstance(resolved, Refuse | Voicemail):
            return resolved
        if isinstance(resolved, Forward):
            if resolved.name not in declared.configs.transfers:
                have = ", ".join(declared.configs.transfers) or "none is configured"
                raise ConfigError(f"Forward names no target of BRIDGE_TRANSFERS; there is: {have}")
            return resolved
        if isinstance(resolved, Mapping):
            resolved = declared.agent.replace(**resolved)
        if not isinstance(resolved, Agent):
            kind = type(resolved).__name__
            raise ConfigError(
                f"a resolver returns an Agent, a mapping, Refuse, Forward, Voicemail or None, not {kind}"
            )
        declared.configs.check(resolved, self._upstream)
        self.remark(resolved)
        return resolved

    # --- during a call -----------------------------------------------------------------------------------

    def attach(self, call_sid: str, runner: Runner, fields: Mapping[str, str]) -> Attachment:
        """A call has its runner. To be called before anything is fed to it; from then on the call's session
        events are told to the user side, by `call_did` or the attachment's own `tell`.
        """
        prepared = self._prepared.pop(call_sid, None) or self._declared(call_sid)
        attachment = self._attached[call_sid] = Attachment(self, call_sid, prepared, runner, fields)
        return attachment

    def dialler(
        self, call_sid: str, dial: Callable[[Dial], Awaitable[Socket]]
    ) -> Callable[[Dial], Awaitable[Socket]]:
        """How this call comes to its model: by its agent's own transport if it has one, else by `dial`. To be
        asked before `attach`.
        """
        prepared = self._prepared.get(call_sid) or self._keep(call_sid, self._declared(call_sid))
        make = prepared.agent.transport
        if not callable(make):
            return dial

        async def carried(dialled: Dial) -> Socket:
            return self.with_secrets(await carry(make, dialled, prepared.loop))

        return carried

    def with_secrets(self, socket: Socket) -> Socket:
        """An upstream socket that puts the credentials of MCP servers in; the socket itself if there are
        none.
        """
        return FillingSocket(socket, self.configs.vault) if self.configs.vault else socket

    def call_began(self, call_sid: str) -> None:
        """Nothing: a call is known by `attach`."""

    def call_did(self, call_sid: str, action: m.Action, _now_ms: int) -> None:
        """The core has said something about this call; what is no session event is left to others."""
        attachment = self._attached.get(call_sid)
        if attachment is None or not isinstance(action, SESSION_EVENTS):
            return
        if isinstance(action, m.ToolWanted) and (asking := self.doubt(call_sid)) is not None:
            task = asyncio.ensure_future(attachment.run_if(action, asking))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            attachment.tell(action)

    def call_ended(self, call_sid: str, _ended: m.Ended, _stats: Stats) -> None:
        """The call is over. It is forgotten a moment later: the summary may come after us."""
        asyncio.get_running_loop().call_soon(self._forget, call_sid, self._attached.get(call_sid))

    def _forget(self, call_sid: str, attachment: Attachment | None) -> None:
        if self._attached.get(call_sid) is attachment:
            self._attached.pop(call_sid, None)

    def message_left(self, call_sid: str, message: Mapping[str, Any]) -> None:
        """A caller has left a message: the agent's `on_voicemail` is told."""
        hook = self._routed(call_sid, self.agent).agent.on_voicemail
        if hook is not None:
            loop = self.loops.place(call_sid)
            loop.post(hooks.start, loop, "on_voicemail", functools.partial(hook, message))

    def noticed(self, call_sid: str, notice: Mapping[str, Any]) -> None:
        """Other systems are told this of a call: so is the agent's `on_notice`. From any thread."""
        if self.agent.on_notice is not None and self._audio_loop is not None:
            cross(self._audio_loop, self._notice, call_sid, self.agent.on_notice, notice)

    def _notice(self, call_sid: str, hook: Callable[[Any], Any], notice: Mapping[str, Any]) -> None:
        loop = self.loops.place(call_sid)
        loop.post(hooks.start, loop, "on_notice", functools.partial(hook, notice))

    def summarise(self, call_sid: str, summary: Mapping[str, Any]) -> None:
        """The call is summed up: its agent's `on_end` is told."""
        attachment = self._attached.get(call_sid)
        if attachment is not None:
            attachment.summarise(summary)
