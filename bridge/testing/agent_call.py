"""The programmer's side of a call in virtual time: an agent with its tools and handler beside the rehearsal.

User code runs on an event loop whose clock is the call's: it runs until everybody waits, and is woken when
the call comes to the moment that a task waits for. `asyncio.sleep(60)` takes no time, and no thread is
involved: sync tools are called in place.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import math
import selectors
from collections.abc import Coroutine, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

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
from .scripted_call import ScriptedCall

STAND_IN = "embedded"
_Result = TypeVar("_Result")


class _Selector(selectors.SelectSelector):
    """Never waits: when there is nothing to do but wait, it says so."""

    loop: CallLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout != 0:
            self.loop.waits(timeout)
        return ready


class CallLoop(asyncio.SelectorEventLoop):
    """An event loop by the clock of a call. `deadline_ms` is when a task on it wants to go on."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now_ms = 0
        self.deadline_ms: int | None = None
        super().__init__(selector)

    def time(self) -> float:
        return self.now_ms / 1000

    def waits(self, timeout_s: float | None) -> None:
        """No task can go on before this."""
        self.deadline_ms = None if timeout_s is None else self.now_ms + math.ceil(timeout_s * 1000 - 1e-6)
        self.stop()

    def wake(self, now_ms: int) -> None:
        """Run what can run at this moment."""
        self.now_ms = max(self.now_ms, now_ms)
        self.run_forever()

    def complete(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run this to its end, in no time at all. Raises RuntimeError if it waits for something that is not
        here.
        """
        task = self.create_task(work)
        self.wake(self.now_ms)
        while not task.done():
            if self.deadline_ms is None:
                raise RuntimeError("the agent's resolver waits for something that never comes")
            self.wake(self.deadline_ms)
        return task.result()


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
        self.loop.deadline_ms = self.loop.now_ms

    # --- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hangs up, lets user code come to its end, and raises what escaped from it."""
        super().close()
        self.wait(0)
        while self.loop.deadline_ms is not None and self.deadline_ms is not None:
            self.wake(self.deadline_ms)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.wake(self.loop.now_ms)
        self.loop.close()
        if self._escaped:
            raise RuntimeError(f"user code left this behind: {self._escaped}")
