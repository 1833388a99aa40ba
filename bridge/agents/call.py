"""One call on the user loop: its session, its handler, its running tools, its guardrails.

Everything here runs on the user loop. What the core says comes in by `take`, in order; what is wished goes
out by `post`.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import msgspec

from bridge.agents import hooks
from bridge.agents.agent import Agent, Approval, Approve, Handler, roster
from bridge.agents.config import AgentConfigs
from bridge.agents.detours import TOOL_CALL
from bridge.agents.guardrails import Watched
from bridge.agents.loop import Late, Loop, run
from bridge.agents.machines import ACTIONS, MachineAnswer
from bridge.agents.prices import Bill
from bridge.agents.session import Session
from bridge.agents.tool_runner import ToolRunner, log_failure
from bridge.agents.tools import AnyTool, Tool
from bridge.agents.user_code import CALL_NUMBERS, CALL_SID
from bridge.core import messages as m
from bridge.errors import CallEnded

logger = logging.getLogger("bridge.user")

GRACE_S: Final = 5.0
"""How long a handler may take to finish after its call is over."""
CHECK_MS: Final = 5_000
"""How long a guardrail's check may take before it counts as passed."""
MOST_WATCHED: Final = 64
"""Responses under guardrails whose end has not come."""
MOST_APPROVALS: Final = 32
"""Approvals that a human is asked for at once, in one call; what is asked beyond is not approved."""
MCP_APPROVAL: Final = "mcp_approval_request"


class Way(Protocol):
    """The way back to the audio loop: all of it returns at once. `opt_out` is called on a thread of its own,
    with a number that is never to be called again.
    """

    opt_out: Callable[[str], None]
    enter: Callable[[str, str], None]
    """Called in each context of user code: with its call, and with its tool call or ""."""

    def post(self, command: m.SessionCommand) -> None:
        """A wish of user code, to the core."""

    def keep_keys(self, detour_id: str, keys: str) -> None:
        """What a detour is to press, which the core is not told."""

    @property
    def detours(self) -> bool:
        """Whether a caller who leaves the stream can come back."""

    def tap(self) -> None:
        """From now on the caller's sound shall come to the session."""


def _context(
    call_sid: str, fields: Mapping[str, str], enter: Callable[[str, str], None]
) -> contextvars.Context:
    """In which the user code of that call runs."""
    context = contextvars.copy_context()
    context.run(CALL_SID.set, call_sid)
    context.run(CALL_NUMBERS.set, frozenset(fields.get(name, "") for name in ("From", "To")))
    context.run(enter, call_sid, "")
    return context


class UserCall:
    """The programmer's side of one call. Made, and used, on the user loop."""

    def __init__(
        self,
        call_sid: str,
        agent: Agent,
        fields: Mapping[str, str],
        way: Way,
        *,
        configs: AgentConfigs,
        loop: Loop,
        bill: Bill,
        vet: Callable[[Agent, Mapping[str, Agent]], None],
    ) -> None:
        self._casting = configs
        self._loop = loop
        self._root = agent
        self._roster = roster(agent)
        self._language = configs.session(agent, self._roster).language
        self.post, self.tap, self.keep_keys, self._opt_out = way.post, way.tap, way.keep_keys, way.opt_out
        self._enter = way.enter
        self._context = _context(call_sid, fields, way.enter)
        self._handler: asyncio.Task[None] | None = None
        self._answers: Handler | None = None
        self._began = False
        self.session = Session(
            call_sid,
            agent,
            fields,
            self,
            bill=bill,
            transfers=configs.transfers,
            detours=way.detours,
            digits_gap_ms=configs.base.digits_gap_ms,
        )
        self._tools = ToolRunner(loop, self.session)
        self._vet = vet
        self._called: set[str] = set()
        self._approvals = 0
        self._watched: dict[str, list[Watched]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what a session stands on ------------------------------------------------------------------------

    def reconfiguration(self, agent: Agent) -> m.Reconfigure:
        config = self._configuration(agent)
        before, self._language = self._language, config.language
        if config.language == before:
            return m.Reconfigure(config)
        return m.Reconfigure(config, self._casting.phrases(config.language))

    def _configuration(self, agent: Agent) -> m.SessionConfig:
        everybody = {**self._roster, **roster(agent, self._roster)}
        self._vet(agent, everybody)
        config = self._casting.session(agent, everybody)
        self._roster = everybody
        return config

    def in_force(self, agent: Agent) -> None:
        if self._began:
            self._answer_by(agent.handler)

    def roster(self) -> Mapping[str, Agent]:
        return self._roster

    async def call(self, tool: object, arguments: Mapping[str, Any]) -> Any:
        if isinstance(tool, Tool):
            return await self._tools.for_handler(tool, arguments)
        tools = self._model_tools()
        if not isinstance(tool, str) or tool not in tools:
            raise ValueError(f"there is no tool {tool!r}; there is {', '.join(tools) or 'none'}")
        return await self._tools.for_handler(tools[tool], arguments)

    async def opt_out(self, number: str) -> None:
        await asyncio.to_thread(self._opt_out, number)

    def _model_tools(self) -> dict[str, AnyTool]:
        return self._casting.tools(self.session.agent, self._roster)

    # --- what the core says ------------------------------------------------------------------------------

    def take(self, event: m.SessionEvent) -> None:
        """The core has said this."""
        match event:
            case m.CallBegan(session=carried):
                if carried is not None:
                    self._go_on(carried)
                self._began = True
                self._answer_by(self.session.agent.handler)
            case m.ToolWanted():
                self._tool_wanted(event)
            case m.MachineFound():
                self._start(self._on_machine(event), "on_machine")
            case m.TranscriptDelta():
                self._saying(event)
            case m.ResponseEnded():
                self._response_ended(event)
            case m.VendorNote(kind=kind) if kind == MCP_APPROVAL:
                self._start(self._approve_mcp(event), "mcp approval")
            case m.Ended():
                self._watched.clear()
        self.session.take(event)
        if isinstance(event, m.Ended) and self._handler is not None:
            asyncio.get_running_loop().call_later(GRACE_S, self._handler.cancel)

    def told(self, summary: Mapping[str, Any]) -> None:
        """The call is over and summed up: `on_end`."""
        on_end = self.session.agent.on_end or self._root.on_end
        if on_end is not None:
            self._start(hooks.tell(self._loop, "on_end", functools.partial(on_end, summary)), "on_end")

    def _start(
        self, coroutine: Coroutine[Any, Any, None], name: str, context: contextvars.Context | None = None
    ) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine, name=name, context=context or self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _go_on(self, carried: m.SessionConfig) -> None:
        """The call began in another process, and this was in force there. An agent that is not known here
        gives way to the call's own; the model is told where that makes a difference.
        """
        rules = carried.agent
        if not rules:
            return  # from a process that did not say
        agent = self._roster.get(rules.name)
        if agent is None:
            logger.warning("the call was with agent %r, which is not known here", rules.name)
            agent = self._root
        else:
            agent = self._casting.as_carried(agent, carried, self._roster)
        self._language = carried.language
        change = self.reconfiguration(agent)
        self.session.go_on_as(agent)
        if msgspec.structs.replace(change.config, unset=carried.unset) != carried:
            self.post(change)

    # --- the handler -------------------------------------------------------------------------------------

    def _answer_by(self, handler: Handler | None) -> None:
        """The agent in force has this handler. One that runs and is another's is cancelled."""
        if handler is None:
            return
        if self._handler is not None and not self._handler.done():
            if self._answers is handler:
                return
            self._handler.cancel()
        self._answers = handler
        self._handler = self._start(self._handle(handler), "handler")

    async def _handle(self, handler: Handler) -> None:
        try:
            await run(self._loop, functools.partial(handler, self.session))
        except CallEnded:
            return
        except Exception as error:  # noqa: BLE001  user code
            log_failure("the handler", error)
            if self.session.agent.handler is handler:
                self.post(m.HandlerFailed(type(error).__name__))
            return
        if self.session.ended is None and self.session.agent.handler is handler:
            self.post(m.HangUp("the handler returned"))

    async def _on_machine(self, event: m.MachineFound) -> None:
        """A machine has answered: the agent's function decides. One that fails hangs up."""
        on_machine, action = self.session.agent.on_machine, "hang_up"
        if not callable(on_machine):
            on_machine = self._root.on_machine
        answer = MachineAnswer(event.kind.value, event.beep, event.transcript, event.at_ms)
        try:
            if callable(on_machine):
                action = await run(self._loop, functools.partial(on_machine, self.session, answer)) or action
            if action not in ACTIONS:
                logger.error("on_machine returns one of %s, not %r", ", ".join(ACTIONS), action)
        except CallEnded:
            return
        except Exception as error:  # noqa: BLE001  user code
            log_failure("on_machine", error)
        self.post(m.DecideMachine(action if action in ACTIONS else "hang_up"))

    # --- tools -------------------------------------------------------------------------------------------

    def _tool_wanted(self, event: m.ToolWanted) -> None:
        if event.call_id in self._called:
            return
        self._called.add(event.call_id)
        approve = self.session.agent.approve
        context = self._context.copy()
        context.run(TOOL_CALL.set, event.call_id)
        context.run(self._enter, self.session.call_sid, event.call_id)
        self._start(self._run_tool(event, self._model_tools(), approve), f"tool {event.name}", context)

    async def _run_tool(
        self, event: m.ToolWanted, tools: Mapping[str, AnyTool], approve: Approve | None
    ) -> None:
        outcome = await self._tools.for_model(tools, approve, event.name, event.arguments)
        self.post(m.ToolFinished(event.call_id, outcome.output, outcome.respond))

    async def _approve_mcp(self, event: m.VendorNote) -> None:
        """An MCP server's tool waits for a human. API reference: the answer is an item of its own kind."""
        try:
            asked = json.loads(event.body)
            given = json.loads(asked.get("arguments") or "{}")
            approval = Approval(str(asked["name"]), given, str(asked["server_label"]))
            request_id = str(asked["id"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            logger.warning("an MCP approval was asked for in a form that we do not know")
            return
        approve = False
        if self._approvals < MOST_APPROVALS:
            self._approvals += 1
            try:
                approve = await self._tools.approved(self.session.agent.approve, approval)
            finally:
                self._approvals -= 1
        item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
        self.post(m.SendRaw(json.dumps({"type": "conversation.item.create", "item": item})))

    # --- guardrails --------------------------------------------------------------------------------------

    def _saying(self, event: m.TranscriptDelta) -> None:
        guardrails = self.session.agent.guardrails
        if not guardrails:
            return
        if event.response_id not in self._watched:
            self._watched[event.response_id] = [Watched(one) for one in guardrails]
            if len(self._watched) > MOST_WATCHED:
                del self._watched[next(iter(self._watched))]
        for watched in self._watched[event.response_id]:
            if watched.said(event.text):
                self._start(self._check(watched, watched.text, event.response_id), "guardrail")

    def _response_ended(self, event: m.ResponseEnded) -> None:
        for watched in self._watched.pop(event.response_id, ()):
            if watched.ended():
                self._start(self._check(watched, watched.text, event.response_id), "guardrail")

    async def _check(self, watched: Watched, text: str, response_id: str) -> None:
        guardrail = watched.guardrail
        try:
            verdict = await run(self._loop, functools.partial(guardrail.check, text), CHECK_MS)
        except Late as error:
            logger.error("guardrail %s: %s; it is at:\n%s", guardrail.name, error, error.where)  # noqa: TRY400
            return
        except Exception as error:  # noqa: BLE001  user code
            log_failure(f"guardrail {guardrail.name}", error)
            return
        if not verdict or watched.tripped or self.session.ended is not None:
            return
        watched.tripped = True
        logger.warning("guardrail %s stopped an answer", guardrail.name)
        self.post(m.Interrupt(response_id))
        self.post(m.AddText(guardrail.words_for(verdict), "system"))
        self.post(m.Respond(f"guardrail:{response_id}"))
