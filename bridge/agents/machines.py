"""How an agent treats the answer to a call that it placed: a person's, an assistant's, a mailbox's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bridge.agents.clips import sound_of
from bridge.agents.loop import is_async
from bridge.core.messages import AnswerRules, Sound
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.agents.agent import Agent
    from bridge.agents.session import Session

ACTIONS: Final = ("hang_up", "voicemail", "talk")
MOST_SCREENING_CHARACTERS: Final = 160
"""Of a sentence that takes no more than eight seconds."""
MOST_MESSAGE_CHARACTERS: Final = 2_000
_FILES: Final = (".wav", ".ulaw")


@dataclass(frozen=True, slots=True)
class MachineAnswer:
    """A machine has answered. `kind` is voicemail, unavailable, fax or machine; `beep` whether its tone was
    heard; `transcript` what it has said, as far as that was written down; `at_ms` when it was known.
    """

    kind: str
    beep: bool
    transcript: str
    at_ms: int


OnMachine: TypeAlias = "Callable[[Session, MachineAnswer], Awaitable[str | None]]"


def on_machine(value: Any) -> str | None:
    """What is wrong with it, None for nothing."""
    if value is None or value in ACTIONS or is_async(value):
        return None
    return f"one of {', '.join(ACTIONS)}, or an async function of the session and the answer"


def voicemail(value: Any) -> str | None:
    """The same of a message."""
    if value is None or isinstance(value, Path):
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > MOST_MESSAGE_CHARACTERS:
        return f"text of at most {MOST_MESSAGE_CHARACTERS:,} characters, or the Path of a sound"
    return "a Path, if it is a file" if value.lower().endswith(_FILES) else None


def screening(value: Any) -> str | None:
    """The same of the sentence for an assistant."""
    if value is None or (isinstance(value, str) and len(value) <= MOST_SCREENING_CHARACTERS):
        return None
    return f"a sentence of at most {MOST_SCREENING_CHARACTERS} characters, which takes eight seconds"


def check(agent: Agent) -> None:
    """Raises ConfigError for an agent that cannot leave the message that it declares."""
    if agent.on_machine == "voicemail" and agent.voicemail is None:
        raise ConfigError(f'agent {agent.name}: on_machine="voicemail" needs the message: voicemail=…')
    message_sound(agent)


def message_sound(agent: Agent) -> Sound | None:
    """The recorded message; None for one that the model says. Raises ConfigError for what is no sound."""
    if not isinstance(agent.voicemail, Path):
        return None
    try:
        return sound_of(agent.voicemail)
    except (OSError, ValueError) as error:
        raise ConfigError(f"agent {agent.name}: voicemail {agent.voicemail}: {error}") from error


def answer_rules(agent: Agent) -> AnswerRules:
    """How a call that this agent places begins, as the core has it."""
    action = agent.on_machine
    if action is None:
        action = "hang_up" if agent.voicemail is None else "voicemail"
    return AnswerRules(
        on_machine=action if isinstance(action, str) else "ask",
        message=agent.voicemail if isinstance(agent.voicemail, str) else "",
        screening=agent.screening or "",
        speak_first=agent.speak_first,
        greet_after_ms=agent.greet_after_ms,
    )
