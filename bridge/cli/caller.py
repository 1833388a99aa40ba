"""A caller by script: says the next turn when an answer is over, and hangs up after the last."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.codecs.caption import caption_of

if TYPE_CHECKING:
    from ..doubles.phone import Phone

QUIET_MS: Final = 1_000
"""Silence after which an answer is over."""
UNANSWERED_MS: Final = 8_000
"""Without any answer the caller speaks on."""
MOST_S: Final = 60.0
"""After the caller's last word, whatever is still played."""
_LEAST_MS: Final = 40

Tell = Callable[[int, str, str], None]


class Spoken(NamedTuple):
    """A turn of words: its sound, and the words."""

    sound: bytes
    words: str


class Pressed(NamedTuple):
    """A turn of keys."""

    keys: str


class Caller:
    """Looked at every 50 ms, while a stream is up. `spoken_s` of speech began with the call; `turns` follow
    it one by one. `tell(at_ms, who, what)` gets each line of the story, in milliseconds of the call.
    """

    def __init__(
        self,
        spoken_s: float,
        tail_s: float,
        turns: Sequence[Spoken | Pressed] = (),
        tell: Tell = lambda _at_ms, _who, _what: None,
    ) -> None:
        self._turns = deque(turns)
        self._scripted = bool(turns)
        self._spoken_ms = int(spoken_s * 1000)
        self._tail_ms = int(tail_s * 1000)
        self._tell = tell
        self._stream: Any = None
        self._began_ms = 0
        """When the stream that is looked at began, in milliseconds of the call."""
        self._heard_ms = 0
        """When something of the other side was heard last."""
        self._told_bytes = 0
        self._quiet = True
        self.leaves = False
        """Whether it is to hang up at once."""

    def look(self, simulation: Any, began_ms: int = 0) -> bool:
        """Do what is due; whether it is time to hang up. A call may have several streams, one after another:
        this one began at `began_ms` of the call, and its sound and its time begin anew.
        """
        phone: Phone = simulation.machine
        if self._stream is not simulation:
            if self._stream is not None:
                self._spoken_ms = self._heard_ms = self._told_bytes = 0
                self._quiet = True
            self._stream, self._began_ms = simulation, began_ms
        now_ms = int(simulation.now_ms())
        if self.leaves:
            return True
        if phone.playing(now_ms):
            self._heard_ms, self._quiet = now_ms, False
        elif not self._quiet:
            self.told(simulation)
        last_ms = max(self._spoken_ms, self._heard_ms)
        answered = self._heard_ms > self._spoken_ms
        if self._turns:
            if now_ms >= last_ms + (QUIET_MS if answered else UNANSWERED_MS):
                self._say(simulation, self._turns.popleft(), now_ms)
            return False
        tail_ms = self._tail_ms if answered or not self._scripted else max(self._tail_ms, UNANSWERED_MS)
        return now_ms >= min(last_ms + tail_ms, self._spoken_ms + int(MOST_S * 1000))

    def leave(self) -> None:
        """Hang up as soon as looked at."""
        self.leaves = True

    def told(self, simulation: Any) -> None:
        """Tell what was heard since the last time."""
        phone: Phone = simulation.machine
        heard = phone.heard
        self._quiet = True
        words = caption_of(heard[self._told_bytes :]) or ""
        size = len(heard[self._told_bytes :].strip(b"\xff")) // 8
        self._told_bytes = len(heard)
        if size >= _LEAST_MS:
            quoted = f"“{words}” " if words else ""
            self._tell(self._began_ms + int(simulation.now_ms()), "heard", f"{quoted}{size / 1000:.2f} s")

    def _say(self, simulation: Any, turn: Spoken | Pressed, now_ms: int) -> None:
        phone: Phone = simulation.machine
        if isinstance(turn, Pressed):
            self._spoken_ms = now_ms
            self._tell(self._began_ms + now_ms, "caller", f"presses {' '.join(turn.keys)}")
            for key in turn.keys:
                simulation.send(phone.press(key, now_ms))
            return
        self._spoken_ms = now_ms + len(turn.sound) // 8
        self._tell(self._began_ms + now_ms, "caller", f"“{turn.words}”")
        simulation.send(phone.say(turn.sound, now_ms))
