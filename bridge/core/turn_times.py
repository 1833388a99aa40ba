"""When what happened in one turn: from the caller's last word to the answer that they hear, in parts."""

from __future__ import annotations

from typing import Final

import msgspec

from .messages import Usage

PARTS: Final = ("endpointing", "asking", "model", "tools", "queue", "carrier")
"""Of the time that a caller waits, in the order in which they follow each other. `endpointing`: until the
turn is called over. `asking`: until the model begins a response. `model`: until its first sound, without
`tools`, which are the user's. `queue`: until what was said before has been played. `carrier`: the sound's way
to the caller, half of a mark's way there and back.
"""
MOST_OF_A_TURN: Final = 64
"""Responses and tools that are kept of one turn."""


class ResponseTimes(msgspec.Struct, gc=False):
    """One response of the model's."""

    response_id: str
    created_ms: int
    done_ms: int | None = None
    first_ms: int | None = None
    """Its first sound that can be heard."""
    status: str = ""
    usage: Usage | None = None


class ToolTimes(msgspec.Struct, gc=False):
    """One tool call of the model's."""

    call_id: str
    name: str
    wanted_ms: int
    finished_ms: int | None = None


class TurnTimes(msgspec.Struct, gc=False):
    """One turn of the caller's and its answer, in milliseconds of the call; None where it never came to that.

    `number` counts from 1; 0 is what there was before the caller's first turn, such as the greeting. Times of
    the caller's are those at which their sound reached us.
    """

    number: int = 0
    last_word_ms: int | None = None
    decided_ms: int | None = None
    """The turn was called over: by the model, or by us."""
    asked_ms: int | None = None
    """We asked for its response; None where the vendor answers by itself."""
    delta_ms: int | None = None
    """The first sound of the answer came from the model."""
    sent_ms: int | None = None
    """It went to the carrier; None where it had to wait here."""
    heard_ms: int | None = None
    """The caller hears it: an estimate, by `way_ms`."""
    cut_ms: int | None = None
    """The caller interrupted the answer."""
    way_ms: int = 0
    """Half of the way of a mark there and back."""
    way_known: bool = False
    """Whether a mark had come back by then; else `way_ms` is 0."""
    item_id: str = ""
    """The first item of the answer."""
    responses: list[ResponseTimes] = msgspec.field(default_factory=list)
    tools: list[ToolTimes] = msgspec.field(default_factory=list)

    @property
    def created_ms(self) -> int | None:
        """The model began the first response of this turn."""
        return self.responses[0].created_ms if self.responses else None

    @property
    def felt_ms(self) -> int | None:
        """How long the caller has waited: from their last word to the answer that they hear. None where they
        hear none.
        """
        if self.last_word_ms is None or self.heard_ms is None:
            return None
        return max(0, self.heard_ms - self.last_word_ms)

    @property
    def tool_ms(self) -> int:
        """How long tools of this turn ran, all in all; two at once count once."""
        return self._running_ms(0, max((tool.finished_ms or 0 for tool in self.tools), default=0))

    @property
    def usage(self) -> Usage:
        """The tokens of its responses, as far as they are known."""
        known = [one.usage for one in self.responses if one.usage is not None]
        names = Usage.__struct_fields__
        return Usage(*(sum(getattr(usage, name) for usage in known) for name in names))

    def parts(self) -> dict[str, int]:
        """By the names of `PARTS`, milliseconds that sum to `felt_ms`; {} where the caller heard nothing."""
        if self.last_word_ms is None or self.heard_ms is None:
            return {}
        end_ms = max(self.last_word_ms, self.heard_ms)
        ends = [self.last_word_ms]
        for at_ms in (self.decided_ms, self.created_ms, self.delta_ms, self.heard_ms - self.way_ms, end_ms):
            ends.append(min(end_ms, max(ends[-1], ends[-1] if at_ms is None else at_ms)))
        last_ms, decided_ms, created_ms, delta_ms, played_ms, heard_ms = ends
        tools_ms = self._running_ms(created_ms, delta_ms)
        return {
            "endpointing": decided_ms - last_ms,
            "asking": created_ms - decided_ms,
            "model": delta_ms - created_ms - tools_ms,
            "tools": tools_ms,
            "queue": played_ms - delta_ms,
            "carrier": heard_ms - played_ms,
        }

    def _running_ms(self, from_ms: int, to_ms: int) -> int:
        """For how long of that time a tool ran."""
        running_ms = 0
        for tool in self.tools:  # in the order they began
            end_ms = to_ms if tool.finished_ms is None else min(to_ms, tool.finished_ms)
            start_ms = max(from_ms, tool.wanted_ms)
            if end_ms > start_ms:
                running_ms += end_ms - start_ms
                from_ms = end_ms
        return running_ms
