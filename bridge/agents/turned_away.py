"""What a resolver may answer instead of an agent: the call is refused, sent on, or given a voicemail box,
before a model is dialled.

https://www.twilio.com/docs/voice/twiml/reject: only <Reject>, as the first verb, leaves a call unanswered and
unbilled.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal, TypeAlias, get_args

from bridge.errors import ConfigError

Reason = Literal["rejected", "busy"]

MOST_CHARACTERS: Final = 4_096
"""Of a sentence that the carrier says."""
LEAST_S: Final = 5
MOST_S: Final = 3_600
"""Of a message: Twilio, "<Record>", `maxLength`: an hour is what the carrier takes by default."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The caller gets no answer. `rejected`: the carrier says that the number is not in service; `busy`: they
    hear a busy tone. Neither is billed. With `say` the call is answered, and billed: they hear these words,
    at most 4,096 characters, and it ends.

    Raises ConfigError for another reason, and for words that cannot be said.
    """

    reason: Reason = "rejected"
    _: KW_ONLY
    say: str | None = None

    def __post_init__(self) -> None:
        if self.reason not in get_args(Reason):
            raise ConfigError(f"Refuse is for one of {', '.join(get_args(Reason))}, not {self.reason!r}")
        if self.say is None:
            return
        words: object = self.say
        if not isinstance(words, str) or not words.strip() or len(words) > MOST_CHARACTERS:
            raise ConfigError(f"Refuse says a text of at most {MOST_CHARACTERS} characters, and not none")
        if self.reason != "rejected":
            raise ConfigError("Refuse either says something, which answers the call, or has a reason")


@dataclass(frozen=True, slots=True)
class Forward:
    """The call goes to a configured target (BRIDGE_TRANSFERS), by its name. The caller hears it ring, and the
    call is billed from the moment the target answers. Where they do not answer, the fallback or an apology
    follows.
    """

    name: str

    def __post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, str) or not name:
            raise ConfigError("Forward names a target of BRIDGE_TRANSFERS")


@dataclass(frozen=True, slots=True)
class Voicemail:
    """The caller hears `prompt` and a beep, and leaves a message of at most `max_s` seconds (5 to 3,600),
    which the carrier keeps. No model is dialled; the carrier bills the call and the recording. `prompt` is a
    text of at most 4,096 characters that the carrier says, or the https address of a sound that it plays.
    The agent's `on_voicemail` is told where the message is.

    Raises ConfigError for what cannot be said, and for another length.
    """

    prompt: str
    max_s: int = 120

    def __post_init__(self) -> None:
        prompt, seconds = _any(self.prompt), _any(self.max_s)
        if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > MOST_CHARACTERS:
            raise ConfigError(f"Voicemail has a prompt of at most {MOST_CHARACTERS} characters, and not none")
        if self.is_sound and any(character.isspace() for character in prompt):
            raise ConfigError("Voicemail's prompt is an address with a space in it; write it as one word")
        if type(seconds) is not int or not LEAST_S <= seconds <= MOST_S:
            raise ConfigError(f"Voicemail takes a message of {LEAST_S} to {MOST_S} seconds")

    @property
    def is_sound(self) -> bool:
        """Whether the prompt is the address of a sound."""
        return self.prompt.startswith("https://")


def _any(value: object) -> object:
    """It, as what a programmer has passed: of any type."""
    return value


TurnedAway: TypeAlias = Refuse | Forward | Voicemail
