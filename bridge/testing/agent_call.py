"""The programmer's side of a call in virtual time: an agent with its tools and handler beside the rehearsal.

User code runs on an event loop whose clock is the call's: it runs until everybody waits, and is woken when
the call comes to the moment that a task waits for. `asyncio.sleep(60)` takes no time, and no thread is
involved: sync tools are called in place.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any, Final

from bridge.agents.agent import Agent, roster
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.loop import SameLoop
from bridge.agents.tools import AnyTool
from bridge.ops.logs import summary

from ..core import messages as m
from ..core.call import Call
from ..doubles.options import ServerOptions
from ..doubles.phone import Phone
from .call_loop import CallLoop
from .scripted_call import ScriptedCall

STAND_IN: Final = "embedded"
AFTER_MS: Final = 60_000
"""What user code still does after a call is given so long; then its tasks are cancelled."""


class _Way:
    """What the agent's side knows of the call: where its wishes go, and who wants the caller's sound."""

    def __init__(self, call: AgentCall) -> None:
        self.tap: Any = None
        self.detours = True
        self._call = call

    def keep_keys(self, _detour_id: str, keys: str) -> None:
        self._call.rehearsal.keys.append(keys)

    def feed(self, event: m.Event) -> None:
        self._call.rehearsal.feed(event)


@dataclass(frozen=True, slots=True)
class TimedTools(AgentConfigs):
    """Tools take as many milliseconds of the call as `tool_ms` says, on top of what they wait for."""

    _: KW_ONLY
    tool_ms: Mapping[str, int] = field(default_factory=dict)

    def tools(self, agent: Agent, known: Mapping[str, Agent] = MappingProxyType({})) -> dict[str, AnyTool]:
        tools = AgentConfigs.tools(self, agent, known)
        return {name: _taking(one, self.tool_ms.get(name, 0)) for name, one in tools.items()}

    def call(self, agent: Agent, *, placed: bool = False) -> m.CallConfig:
        """As ever. Raises ValueError for a name in `tool_ms` that no tool of these agents has."""
        everybody = roster(agent)
        known = {name for one in everybody.values() for name in self.tools(one, everybody)}
        for name in sorted(self.tool_ms.keys() - known):
            raise ValueError(
                f"tool_ms: there is no tool {name!r}; there is {', '.join(sorted(known)) or 'none'}"
            )
        return AgentConfigs.call(self, agent, placed=placed)


def _taking(tool: AnyTool, ms: int) -> AnyTool:
    if not ms:
        return tool
    slow = copy.copy(tool)

    async def function(*args: Any, **given: Any) -> Any:
        await asyncio.sleep(ms / 1000)
        result = tool.function(*args, **given)
        return await result if inspect.isawaitable(result) else result

    slow.function = function
    return slow


class AgentCall(ScriptedCall):
    """A call that an agent answers."""

    def __init__(
        self,
        agent: Agent,
        configs: AgentConfigs,
        phone: Phone,
        options: ServerOptions,
        *,
        fields: Mapping[str, str],
        **scripted: Any,
    ) -> None:
        self.loop = CallLoop()
        self._sid = phone.frames.call_sid
        self._escaped: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _loop, context: self._escaped.append(context))
        self.side: UserSide
        try:
            config = self.loop.complete(self._prepare(agent, configs, fields))
        except BaseException:
            self.loop.close()
            raise
        # Whatever time a resolver took, it took while the phone rang.
        self._rang_ms = self.loop.now_ms
        super().__init__(config, phone, options, **scripted)
        self.rehearsal.beside = self
        way = _Way(self)
        self._later(self.side.attach, self._sid, way, fields)
        self._way = way

    async def _prepare(self, agent: Agent, configs: AgentConfigs, fields: Mapping[str, str]) -> m.CallConfig:
        self.side = UserSide(agent, configs, upstream=STAND_IN, loops=[SameLoop()])
        found = await self.side.prepare(self._sid, fields)
        if isinstance(found, m.CallConfig):
            return found
        raise RuntimeError(f"there is no call: its resolver turned it away, {found}")

    # --- beside the rehearsal ----------------------------------------------------------------------------

    @property
    def deadline_ms(self) -> int | None:
        """When user code wants to go on."""
        due_ms = self.loop.deadline_ms
        return None if due_ms is None else due_ms - self._rang_ms

    def wake(self, now_ms: int) -> None:
        self.loop.wake(now_ms + self._rang_ms)

    def heard(self, event: m.CallerAudio) -> None:
        """A frame of the caller's, for user code that asked for them."""
        if self._way.tap is not None:
            self._later(self._way.tap, event)

    def _observe(self, action: m.Action, now_ms: int) -> None:
        self._later(self.side.call_did, self._sid, action, now_ms)
        if isinstance(action, m.Ended):
            self._later(self._over, action, self.rehearsal.call)

    def _over(self, ended: m.Ended, call: Call) -> None:
        self.side.call_ended(self._sid, ended, call.stats)
        self.side.summarise(self._sid, summary(ended.reason, call.stats, detail=ended.detail))

    def _later(self, function: Any, *args: Any) -> None:
        """On the loop, at this moment."""
        self.loop.call_soon(function, *args)
        self.loop.soon()

    # --- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hangs up, lets user code come to its end, and raises what escaped from it."""
        try:
            if not self.loop.blocked:
                super().close()
                self.wait(0)
                self._finish()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.soon()
            self.loop.wake(self.loop.now_ms)
            self.loop.close()
        if self._escaped and not self.loop.blocked:
            raise RuntimeError(f"user code left this behind: {self._escaped}")

    def _finish(self) -> None:
        """User code goes on until it waits for nothing more, polls, or has had its time."""
        until_ms = self.loop.now_ms + AFTER_MS
        while (due_ms := self.loop.deadline_ms) is not None and due_ms <= until_ms and not self.loop.polls:
            self.loop.wake(due_ms)
