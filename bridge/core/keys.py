"""The keys that a caller presses: who reads them, and whether a recording may hold them.

A key has one reader, who is known when it is pressed: the model, to whom it is words, or user code.
"""

from __future__ import annotations

from dataclasses import dataclass

from .due import NEVER
from .messages import CallConfig, ReadKeys, Reconfigure


@dataclass(slots=True)
class KeySeries:
    """Keys that become words to the model together, when none has followed until `due_ms`. `number` counts
    such series.
    """

    keys: str = ""
    number: int = 0
    due_ms: int = NEVER


class Keys:
    """Follows the `ReadKeys` and `Reconfigure` of one call."""

    __slots__ = ("_agent", "_config", "_reading")

    def __init__(self, config: CallConfig) -> None:
        self._config = config
        self._agent = config.agent
        self._reading = ReadKeys(on=False)

    def read(self, event: ReadKeys | Reconfigure) -> None:
        """User code waits for keys now, or no longer; or another agent is in force."""
        if isinstance(event, ReadKeys):
            self._reading = event
        else:
            self._agent = event.config.agent or self._config.agent

    @property
    def words(self) -> bool:
        """Whether a key pressed now becomes words for the model."""
        user_code = self._agent.handler or self._agent.reads_keys or self._reading.on
        return self._config.digits != "event" and not user_code

    @property
    def hidden(self) -> bool:
        """Whether a key pressed now is the handler's, so that nothing may be written down but that there was
        one. What became words is part of what was said.
        """
        return not self.words and not (self._reading.on and self._reading.clear)

    @property
    def secret(self) -> bool:
        """Whether the caller's sound may hold what they would otherwise press."""
        return self._reading.on and self._reading.secret
