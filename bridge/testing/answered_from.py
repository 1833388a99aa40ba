"""An agent whose tools answer from a recording: no function of the user's that does something is run."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Collection
from typing import Any

from bridge.agents.agent import Agent
from bridge.agents.mcp import McpServer
from bridge.agents.tool_schema import Signature
from bridge.agents.tools import AnyTool, Silent, hang_up, transfer, transfer_among
from bridge.errors import ConfigError

from ..recording.caller_script import ToolAnswer

Answer = Callable[[str, str], ToolAnswer]
"""A tool's name and its arguments, as JSON, to what it answered."""


def answered_from(agent: Agent, answer: Answer, transfers: Collection[str] = ()) -> Agent:
    """The agent with its tools answered by `answer`: what the model is shown of them stays, and arguments
    that do not fit are refused as ever. So are those of agents that it hands off to. Its hooks, its resolver
    and its human who approves are left out, and so are MCP servers, whose tools the vendor would run.
    Hanging up is done. `transfers` are the targets that it knows.

    Raises ConfigError for an agent with a handler: that is code of the user's which would run.
    """
    if agent.handler is not None:
        raise ConfigError(
            f"agent {agent.name} has a handler, which would do in a shadow call what it does in a real one"
        )
    tools = [
        one
        if one is hang_up
        else _answered(transfer_among(tuple(transfers)) if one is transfer else one, answer)
        for one in agent.tools
        if not isinstance(one, McpServer)
    ]
    handoffs = [
        answered_from(one, answer, transfers) if isinstance(one, Agent) else one for one in agent.handoffs
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
