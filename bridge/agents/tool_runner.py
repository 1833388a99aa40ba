"""Running a tool for the model: its deadline, its failures, and what the model reads of both.

Whatever user code does here ends as a result: nothing it raises reaches the call. The log names the culprit
with its stack; the model hears no more than that it failed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.agents.agent import Approval, Approve
from bridge.agents.config import APPROVAL_MS
from bridge.agents.foreign_loops import CURE, is_of_another_loop
from bridge.agents.loop import Late, Loop, run
from bridge.agents.session import Session
from bridge.agents.tool_schema import WrongArguments
from bridge.agents.tools import AnyTool, Silent, ToolError, error_text, result_text
from bridge.errors import CallEnded, HandlerError

logger = logging.getLogger("bridge.user")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the model reads of a call, and whether it shall speak about it."""

    output: str
    respond: bool = True


class ToolRunner:
    """Runs the tools of one call, each as often as it is asked to: that a call id runs once is the caller's
    to see to.
    """

    def __init__(self, loop: Loop, session: Session) -> None:
        self._loop = loop
        self._session = session

    async def for_model(
        self, tools: Mapping[str, AnyTool], approve: Approve | None, name: str, arguments: str
    ) -> Outcome:
        """The model called a tool with these arguments. Never raises."""
        tool = tools.get(name)
        if tool is None:
            logger.warning("the model called a tool that there is not: %s", name)
            return Outcome(error_text(f"There is no tool {name!r}. There is: {', '.join(tools) or 'none'}."))
        try:
            given = tool.signature.arguments(arguments)
        except WrongArguments as error:
            logger.warning("the model called tool %s with arguments that do not fit", name)
            return Outcome(error_text(str(error)))
        if tool.needs_approval and not await self.approved(approve, Approval(name, given)):
            return Outcome(error_text("A human was asked and did not approve this."), tool.respond)
        return await self._outcome(tool, given)

    async def for_handler(self, tool: AnyTool, given: Mapping[str, Any]) -> Any:
        """A handler called a tool. Raises what the tool does, TimeoutError past its deadline, WrongArguments
        (a ValueError).
        """
        try:
            return await self._run(tool, tool.signature.bind(given))
        except Late as error:
            raise TimeoutError(f"tool {tool.name}: {error}") from None

    async def approved(self, approve: Approve | None, approval: Approval) -> bool:
        """Ask the agent's human. What raises or takes too long has not approved."""
        if approve is None:
            return False
        asking = functools.partial(approve, self._session, approval)
        try:
            return await run(self._loop, asking, APPROVAL_MS) is True
        except Late as error:
            logger.error("%s was not approved: %s; it is at:\n%s", approval.name, error, error.where)  # noqa: TRY400
        except CallEnded:
            pass
        except Exception as error:  # noqa: BLE001  user code
            log_failure(f"approve, asked for {approval.name},", error)
        return False

    async def _outcome(self, tool: AnyTool, given: Mapping[str, Any]) -> Outcome:
        try:
            result = await self._run(tool, given)
            return Outcome(result_text(result), tool.respond and not isinstance(result, Silent))
        except ToolError as error:
            return Outcome(error_text(str(error)), tool.respond)
        except CallEnded:
            return Outcome(error_text("The call is over."), respond=False)
        except Late as error:
            logger.error("tool %s: %s; it is at:\n%s", tool.name, error, error.where)  # noqa: TRY400
            return Outcome(error_text("It took too long and was given up. Tell the caller that it failed."))
        except Exception as error:  # noqa: BLE001  user code
            log_failure(f"tool {tool.name}", error)
            return Outcome(error_text("It failed. Tell the caller that it did not work."))

    async def _run(self, tool: AnyTool, given: Mapping[str, Any]) -> Any:
        wants = tool.signature.session_parameter
        filled = {**given, wants: self._session} if wants else given
        return await run(self._loop, functools.partial(tool.function, **filled), tool.deadline_ms)


def log_failure(who: str, error: Exception) -> None:
    """One line with the stack of what user code raised, as the cause of a HandlerError."""
    cure = f": {CURE}" if is_of_another_loop(error) else ""
    failure = HandlerError(f"{who} raised {type(error).__name__}{cure}")
    failure.__cause__ = error
    logger.error("%s", failure, exc_info=failure)
