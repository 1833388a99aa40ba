"""The keys that a caller presses: who reads them, and whether a recording may hold them.

A key has one reader, who is known when it is pressed: the model, to whom it is words, or user code.
"""

from __future__ import annotations

from .messages import CallConfig, ReadKeys


class Keys:
    """Follows the `ReadKeys` of one call."""

    __slots__ = ("_may_be_words", "_reading")

    def __init__(self, config: CallConfig) -> None:
        self._may_be_words = config.digits != "event" and not (config.handler or config.reads_keys)
        self._reading = ReadKeys(on=False)

    def read(self, event: ReadKeys) -> None:
        """User code waits for keys now, or no longer."""
        self._reading = event

    @property
    def words(self) -> bool:
        """Whether a key pressed now becomes words for the model."""
        return self._may_be_words and not self._reading.on

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
