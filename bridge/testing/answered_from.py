"""An agent whose tools answer from a recording: no function of the user's that does something is run, unless
that is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from bridge.agents.agent import Agent, roster
from bridge.agents.loop import is_async
from bridge.agents.tool_schema import Signature
from bridge.agents.tools import (
    AnyTool,
    Silent,
    hang_up,
    report_answer,
    stop_calling,
    transfer,
    transfer_among,
)
from bridge.errors import ConfigError

from ..recording.caller_script import ToolAnswer
from .call_loop import CallLoop

Answer = Callable[[str, str], ToolAnswer]
"""A tool's name and its arguments, as JSON, to what it answered."""


_OURS: Final = (transfer, stop_calling, report_answer)
"""Never done: they put real people through, or off."""


def run_for_real(tool: AnyTool) -> bool:
    """Whether a call with live tools runs it: not where a person has to approve of it, for there is none."""
    return not tool.needs_approval and tool not in (hang_up, *_OURS)


def tools_of(agent: Agent) -> list[AnyTool]:
    """The tools of the agent and of those that it hands off to, but for MCP servers."""
    return [one for each in roster(agent).values() for one in each.functions()]


def answered_from(
    agent: Agent, answer: Answer, transfers: Collection[str] = (), *, live: bool = False
) -> Agent:
    """The agent with its tools answered by `answer`: what the model is shown of them stays, and arguments
    that do not fit are refused as ever. So are those of agents that it hands off to. Its hooks, its resolver
    and its human who approves are left out, and so are MCP servers, whose tools the vendor would run.
    Hanging up is done. `transfers` are the targets that it knows. With `live` the agent's own functions run,
    for real, but for those that a person has to approve of.

    Raises ConfigError for an agent with a handler: that is code of the user's which would run.
    """
    if agent.handler is not None:
        raise ConfigError(
            f"agent {agent.name} has a handler, which would do in a shadow call what it does in a real one"
        )
    tools = [
        one
        if one is hang_up
        else _live(one)
        if live and run_for_real(one)
        else _answered(transfer_among(tuple(transfers)) if one is transfer else one, answer)
        for one in agent.functions()
    ]
    handoffs = [
        answered_from(one, answer, transfers, live=live) if isinstance(one, Agent) else one
        for one in agent.handoffs
    ]
    return agent.replace(
        tools=tools,
        handoffs=handoffs,
        approve=None,
        resolver=None,
        on_end=None,
        on_voicemail=None,
        on_notice=None,
        routes=None,
        on_machine=None if callable(agent.on_machine) else agent.on_machine,
    )


class _AsSent(Signature):
    """The signature of a tool whose function takes what the model has sent, after the usual checks."""

    def __init__(self, real: Signature) -> None:
        self.schema, self.description = real.schema, real.description
        self.session_parameter = None
        self._real = real

    def arguments(self, text: str) -> dict[str, Any]:
        self._real.arguments(text)
        return {"arguments": text}


def _answered(tool: AnyTool, answer: Answer) -> AnyTool:
    recorded = copy.copy(tool)

    async def function(arguments: str) -> str:
        found = answer(tool.name, arguments)
        if found.ms:
            await asyncio.sleep(found.ms / 1000)
        if found.output is None:
            return Silent("")
        return found.output if found.respond else Silent(found.output)

    recorded.function = function
    recorded.signature = _AsSent(tool.signature)
    recorded.needs_approval = False
    return recorded


def _live(tool: AnyTool) -> AnyTool:
    """The tool itself. A sync function runs in a thread. It takes as much of the call's time as of ours."""
    live = copy.copy(tool)

    async def function(**given: Any) -> Any:
        loop = asyncio.get_running_loop()
        ahead_s = time.monotonic() - loop.time()
        with _outside(loop, ahead_s):
            if is_async(tool.function):
                result = await tool.function(**given)
            else:
                result = await asyncio.to_thread(tool.function, **given)
                result = await result if inspect.isawaitable(result) else result
        await asyncio.sleep(max(0.0, time.monotonic() - loop.time() - ahead_s))
        return result

    live.function = function
    return live


@contextlib.contextmanager
def _outside(loop: asyncio.AbstractEventLoop, ahead_s: float) -> Iterator[None]:
    """A call's loop in virtual time waits for threads and sockets too."""
    waiting = loop.outside if isinstance(loop, CallLoop) else []
    waiting.append(ahead_s)
    try:
        yield
    finally:
        waiting.remove(ahead_s)
