"""What a model can do besides talk: functions with a schema, a deadline, and words while the caller waits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, ParamSpec, TypeVar, overload

from pydantic_core import to_json

from bridge.agents.session import Session
from bridge.agents.tool_names import hand_off_names
from bridge.agents.tool_schema import Signature
from bridge.core.messages import ToolConfig
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.agents.agent import Agent

P = ParamSpec("P")
R = TypeVar("R")

DEADLINE_MS: Final = 10_000
LONGEST_TRANSFER_MS: Final = 4_000_000
"""A ringing target, and an hour of talk: the result of a transfer is what came of it."""
MOST_RESULT_BYTES: Final = 16 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ToolError(Exception):
    """Raised by a tool to tell the model, in these words, why there is no result. What else a tool raises
    reaches the log only; the model then hears no more than that it failed.
    """


class Tool(Generic[P, R]):
    """A function that the model can call. Made by `@tool`; calling it calls the function."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        deadline_ms: int = DEADLINE_MS,
        filler: str | None = "filler",
        filler_after_ms: int = 1_500,
        needs_approval: bool = False,
        respond: bool = True,
    ) -> None:
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", ""))
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"tool {self.name!r}: a name has 1 to 64 of A-Z, a-z, 0-9, _ and -")
        if deadline_ms <= 0 or filler_after_ms < 0:
            raise ConfigError(f"tool {self.name}: deadline_ms is above 0, filler_after_ms not below it")
        self.signature = Signature(function, self.name)
        self.description: str = description or self.signature.description
        if not self.description:
            raise ConfigError(f"tool {self.name}: without a docstring the model cannot know what it is for")
        self.deadline_ms = deadline_ms
        self.filler = filler
        self.filler_after_ms = filler_after_ms
        self.needs_approval = needs_approval
        self.respond = respond
        self.__doc__ = self.description

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    def wire(self) -> dict[str, Any]:
        """The tool as the model gets it. API reference, session.update: a function tool has no `strict`."""
        parameters = self.signature.schema
        return {
            "type": "function", "name": self.name, "description": self.description, "parameters": parameters,
        }  # fmt: skip

    def config(self, approval_ms: int = 0) -> ToolConfig:
        """The tool as the bridge's core gets it. `approval_ms` is the time a human has to approve a call."""
        approval_ms = approval_ms if self.needs_approval else 0
        due_ms = self.deadline_ms + approval_ms
        return ToolConfig(self.name, self.filler, self.filler_after_ms, due_ms, approval_ms)


AnyTool = Tool[Any, Any]


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    deadline_ms: int = DEADLINE_MS,
    filler: str | None = "filler",
    filler_after_ms: int = 1_500,
    needs_approval: bool = False,
    respond: bool = True,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Let the model call this function, async or sync: `@tool`, or `@tool(deadline_ms=3_000)`.

    Its hints make the schema, its docstring the description; a parameter annotated `Session` gets the call's
    session, whose methods are for async tools: a sync one runs in a thread and may only look at what it is
    (`fields`, `metadata`). It returns text, or anything JSON can hold; the model reads at most 16 KiB of it.

    It may block without delaying any call's sound. The exception is one long call into C that keeps the
    interpreter's lock (a regular expression that backtracks): it stops every call of the process. Run that in
    a process of its own, as `examples/own_process.py` does.

    `deadline_ms` after which the model is told that it failed. `filler` names the phrase played when its
    answer has been owed for `filler_after_ms`; then NAME_2 and NAME_3, ever more rarely, with a quiet sound
    in between. "waiting" is that sound from the start, and words after 15 s; None is for nothing. With
    `needs_approval` the agent's `approve` is asked first. With `respond=False` the model does not speak about
    the result. Raises ConfigError if the model could not call it: no docstring, an argument without a hint, a
    type that JSON has no word for.
    """
    if function is not None:
        return Tool(function, **options)
    return lambda decorated: Tool(decorated, **options)


def result_text(result: object) -> str:
    """A tool's result as the model reads it: text as it is, None as "done", else JSON. Cut at 16 KiB, and
    then it says so.
    """
    if result is None:
        return "done"
    text = result if isinstance(result, str) else to_json(result, fallback=str).decode()
    size_bytes = len(text.encode(errors="replace"))
    if size_bytes <= MOST_RESULT_BYTES:
        return text
    note = f" … (cut: the result had {size_bytes:,} bytes)"
    kept = text.encode(errors="replace")[: MOST_RESULT_BYTES - len(note.encode())]
    return kept.decode(errors="ignore") + note


class Silent(str):
    """A tool's result that the model does not speak about."""

    __slots__ = ()


def error_text(what: str) -> str:
    """A failure as the model reads it."""
    return json.dumps({"error": what}, ensure_ascii=False)


# --- built in -----------------------------------------------------------------------------------------------


async def _hang_up(session: Session) -> str:
    """End the phone call. Say goodbye first; then call this once, when the caller has nothing more to say."""
    await session.hang_up("the model said goodbye", wait=False)
    return "The call ends when the caller has heard your last word. Say nothing more."


hang_up: Final = Tool(_hang_up, name="hang_up", respond=False, filler=None)
"""A tool that lets the model end the call once its goodbye was heard."""


async def _stop_calling(session: Session) -> str:
    """Never call this person again. Call this when they ask not to be called; then say that it is done."""
    await session.stop_calling()
    return "They will not be called again. Say so, and goodbye."


stop_calling: Final = Tool(_stop_calling, name="stop_calling", filler=None)
"""A tool that lets the model write the person's number into the do-not-call file (BRIDGE_DO_NOT_CALL)."""


async def _report_answer(
    session: Session, kind: Literal["human", "voicemail", "screening", "ivr", "unavailable", "fax"]
) -> str:
    """Report who has answered this call, as soon as you notice that it is no person, or a person after all.
    voicemail: a mailbox's greeting; screening: an assistant asks who calls and why; ivr: a menu of keys;
    unavailable: a full mailbox, a number out of service; fax: a fax. Say nothing about it.
    """
    session.report_answer(kind)
    return "Noted. Say nothing until a person speaks."


report_answer: Final = Tool(_report_answer, name="report_answer", respond=False, filler=None)
"""The tool by which the model says who has answered: calls that we place have it by themselves."""


def transfer_among(names: Sequence[str]) -> AnyTool:
    """The tool that sends the caller to one of these configured targets, and to no other."""

    async def transfer_call(session: Session, target: str, about: str = "") -> dict[str, Any] | Silent:
        if not session.detours:
            await session.transfer(target, wait=False)
            return Silent("The caller is put through when they have heard your last word. Say nothing more.")
        result = await session.transfer(target, brief=about)
        return {"outcome": result.outcome, "target": target, "rang_s": result.rang_s, "talk_s": result.talk_s}

    transfer_call.__annotations__["target"] = Literal[tuple(names)] if names else str
    description = (
        "Put the caller through to another person. Tell them so first; then call this once, and say nothing "
        "more. `about` is what that person shall hear of the caller, in one sentence. If no one is reached, "
        "the caller is back with you, and the outcome says why."
    )
    return Tool(
        transfer_call, name="transfer", description=description, filler=None, deadline_ms=LONGEST_TRANSFER_MS
    )


transfer: Final = transfer_among(())
"""A tool that lets the model send the caller to a target of BRIDGE_TRANSFERS, by the target's name."""


def hand_off_to(agent: Agent, name: str = "") -> AnyTool:
    """The tool by which the model becomes another agent; `name` is that of the tool, by default made of the
    agent's.
    """

    async def hand_off(session: Session) -> str:
        session.become(agent.name)
        return f"You are {agent.name} now. Go on from here; do not greet again."

    description = f"Hand the conversation off to {agent.name}. {agent.description}".strip()
    [usual] = hand_off_names([agent.name])
    return Tool(hand_off, name=name or usual, description=description)
