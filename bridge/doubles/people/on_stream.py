"""A person whose call is a stream."""

from __future__ import annotations

from collections.abc import Callable

from ..phone import DIGITS, Phone
from .person import Person


class OnStream(Phone):
    """The carrier's end of a stream with a person on the line: they hear what is played, and answer it."""

    person: Person
    acted: Callable[[], bool]

    def start(self, now_ms: int) -> list[str]:
        self.person.audible_keys = False
        return super().start(now_ms)

    def _next_sound(self, at_ms: int) -> bytes:  # noqa: ARG002  frames come early or late, sound does not
        # What plays up to now is certain only up to the frame before: a `clear` may still come.
        end_ms = (self.started_ms or 0) + self.options.first_media_ms + (self._frame_index - 1) * 20
        return self.person.exchange(self._playout.heard_between(end_ms - 20, end_ms))

    def _send_media(self, at_ms: int, out: list[str]) -> None:
        super()._send_media(at_ms, out)
        out += [self.frames.dtmf(key) for key in self.person.keys if key in DIGITS]
        self.person.keys.clear()
        self.acted()
