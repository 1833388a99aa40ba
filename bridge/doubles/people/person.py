"""A person, or a machine, on a phone line: µ-law goes in, as much µ-law comes out.

Time is sound: 8 bytes are a millisecond, and a script goes on exactly when what it waits for has been heard.
So the same script lives through the same call at any speed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple

from ...codecs.dtmf import KEY_MS, KEYS, KeyEar, key_tone
from ...codecs.level import level_dbfs
from ..carrier_frames import FRAME_BYTES, SILENT_FRAME

FRAME_MS: Final = 20
LOUD_DBFS: Final = -40
"""A frame above this holds a voice or a tone."""
KEY_EVERY_MS: Final = 200


class Say(NamedTuple):
    """Speak; the script goes on when the last byte is said."""

    sound: bytes


class Wait(NamedTuple):
    """Be silent for this long."""

    ms: int


class Press(NamedTuple):
    """Press keys, one every 200 ms."""

    keys: str


class Listen(NamedTuple):
    """Until the other side has spoken for `least_ms` and then been quiet for `quiet_ms`. The script gets
    True, or False when `timeout_ms` have gone by without that.
    """

    quiet_ms: int = 800
    least_ms: int = 100
    timeout_ms: int = 60_000


class Ask(NamedTuple):
    """Say this until that number of keys was heard as tones, which breaks it off, or for a while longer. The
    script gets the keys that came.
    """

    prompt: bytes
    keys: int = 1
    timeout_ms: int = 10_000


class Record(NamedTuple):
    """From here on what is heard is kept in `mailbox`; goes on at once."""


class StopRecording(NamedTuple):
    """The mailbox is full, or was stopped; goes on at once."""


class HangUp(NamedTuple):
    """Leave the call."""


Wish = Say | Wait | Press | Listen | Ask | Record | StopRecording | HangUp
Script = Generator[Wish, Any, None]


class Person:
    """Lives through one call by a script; when the script is over they stay on the line and are silent.

    `exchange` is called by whatever carries the sound. `keys` has what they pressed and has not been taken
    yet; `left` is set once they hang up.
    """

    def __init__(self, script: Script | None = None, *, audible_keys: bool = True) -> None:
        self.heard = bytearray()
        """All they heard, from the answer on."""
        self.said = bytearray()
        """All they said, of the same length."""
        self.pressed: list[tuple[int, str]] = []
        """When each key was pressed, in milliseconds from the answer."""
        self.keys: deque[str] = deque()
        self.left = False
        self.audible_keys = audible_keys
        """Whether a key is a tone in the sound too."""
        self.mailbox = bytearray()
        self.recorded_at_ms: int | None = None
        """When the recording began."""
        self.decoded = ""
        """All keys that were heard as tones."""
        self.overheard: Callable[[bytes], None] | None = None
        """Hears each frame that they say."""
        self._script = script
        self._wish: Wish | None = None
        self._mouth = bytearray()
        self._unpressed: deque[tuple[int, str]] = deque()
        self._began_ms = self._loud_ms = self._quiet_ms = 0
        self._recording = False
        self._ear = KeyEar()
        self._taken = 0

    @property
    def now_ms(self) -> int:
        """How long they are on the line."""
        return len(self.heard) // 8

    def exchange(self, heard: bytes) -> bytes:
        """Hear this; what was said meanwhile, of the same length. A whole number of frames of 160 bytes.

        Raises ValueError for half a frame.
        """
        if len(heard) % FRAME_BYTES:
            raise ValueError(f"{len(heard)} bytes are no whole number of frames")
        return b"".join(self._frame(heard[at : at + FRAME_BYTES]) for at in range(0, len(heard), FRAME_BYTES))

    def say(self, sound: bytes, *, instead: bool = False) -> None:
        """Speak as soon as what is being said is over; `instead` breaks that off."""
        if instead:
            self._mouth.clear()
        self._mouth += sound

    def press(self, keys: str) -> None:
        """Press keys, from now on. Raises ValueError for what is no key."""
        if wrong := set(keys) - set(KEYS):
            raise ValueError(f"{''.join(sorted(wrong))!r} is no key of a phone")
        first_ms = max(self.now_ms, self._unpressed[-1][0] + KEY_EVERY_MS if self._unpressed else 0)
        self._unpressed += [(first_ms + place * KEY_EVERY_MS, key) for place, key in enumerate(keys)]

    def hang_up(self) -> None:
        """Leave the call."""
        self.left = True

    # --- inside ---------------------------------------------------------------------------------------------

    def _frame(self, heard: bytes) -> bytes:
        self._go_on()
        while self._unpressed and self._unpressed[0][0] <= self.now_ms:
            _, key = self._unpressed.popleft()
            self.pressed.append((self.now_ms, key))
            self.keys.append(key)
            if self.audible_keys:
                self._mouth += key_tone(key, KEY_MS)
        said = bytes(self._mouth[:FRAME_BYTES]).ljust(FRAME_BYTES, b"\xff") if self._mouth else SILENT_FRAME
        del self._mouth[:FRAME_BYTES]
        self.heard += heard
        self.said += said
        self._hear(heard)
        if self.overheard is not None:
            self.overheard(said)
        return said

    def _hear(self, heard: bytes) -> None:
        if self._recording:
            self.mailbox += heard
        if heard == SILENT_FRAME:
            self._quiet_ms += FRAME_MS
            self._ear.rest()
            return
        if level_dbfs(heard) > LOUD_DBFS:
            self._loud_ms, self._quiet_ms = self._loud_ms + FRAME_MS, 0
        else:
            self._quiet_ms += FRAME_MS
        self.decoded += self._ear.hear(heard)

    def _go_on(self) -> None:
        """Take the script as far as it goes at this moment."""
        while self._script is not None and not self.left:
            if self._wish is None:
                result: Any = None
            else:
                done, result = self._granted(self._wish)
                if not done:
                    return
            try:
                self._wish = self._script.send(result)
            except StopIteration:
                self._script = self._wish = None
                return
            self._begin(self._wish)

    def _begin(self, wish: Wish) -> None:
        self._began_ms, self._loud_ms, self._quiet_ms = self.now_ms, 0, 0
        match wish:
            case Say(sound):
                self.say(sound)
            case Press(keys):
                self.press(keys)
            case Record():
                self._recording, self.recorded_at_ms = True, self.now_ms
            case StopRecording():
                self._recording = False
            case HangUp():
                self.hang_up()
            case Ask(prompt):
                self._taken = len(self.decoded)
                self.say(prompt)
            case _:
                pass

    def _granted(self, wish: Wish) -> tuple[bool, Any]:
        """Whether what the script waits for has come, and what it gets."""
        waited_ms = self.now_ms - self._began_ms
        match wish:
            case Say():
                return not self._mouth, None
            case Press():
                return not self._unpressed and not self._mouth, None
            case Wait(ms):
                return waited_ms >= ms, None
            case Listen(quiet_ms, least_ms, timeout_ms):
                heard = self._loud_ms >= least_ms and self._quiet_ms >= quiet_ms
                return heard or waited_ms >= timeout_ms, heard
            case Ask(prompt, wanted, timeout_ms):
                keys = self.decoded[self._taken :]
                if keys:
                    self._mouth.clear()
                return len(keys) >= wanted or waited_ms >= timeout_ms + len(prompt) // 8, keys
            case _:
                return True, None
