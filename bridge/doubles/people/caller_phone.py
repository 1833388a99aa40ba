"""The phone of a simulated caller: they hear what it plays, and what they do goes out with its frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..carrier_frames import FRAME_BYTES
from ..phone import FRAME_MS, NO_PARAMETERS, Phone, PhoneOptions
from .caller import Act, CallerMachine, HangUp, Manner, Press, Say, Think

KEY_EVERY_MS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What happens to the caller's sound on its way. `loss` is the share of frames that never come, though
    the clock of their timestamps runs on; `chance` decides about each. `noise` is µ-law in whole frames that
    goes round and round where the caller is silent.
    """

    loss: float = 0.0
    chance: Callable[[], float] = lambda: 1.0
    noise: bytes = b""


class Said(NamedTuple):
    """When the caller spoke, in milliseconds of the phone's clock, by the frames that hold it."""

    start_ms: int
    end_ms: int
    words: str
    manner: Manner


class CallerPhone(Phone):
    """The carrier's end of a stream with a simulated caller on the line. `take` first.

    `voice` gives the sound of what they say; `think` is called when their mind is asked.
    """

    caller: CallerMachine

    def __init__(
        self,
        call_sid: str = f"CA{1:032x}",
        account_sid: str = f"AC{1:032x}",
        stream_sid: str = f"MZ{1:032x}",
        parameters: Mapping[str, str] | None = NO_PARAMETERS,
        speech: bytes = b"",
        options: PhoneOptions | None = None,
    ) -> None:
        super().__init__(call_sid, account_sid, stream_sid, parameters, speech, options)
        self.said: list[Said] = []
        self.pressed: list[tuple[int, str]] = []
        self.late_ms: list[int] = []
        """How late each frame was made."""
        self.lost = 0
        self.taken: dict[str, Any] = {}
        """What `take` was given: a phone of the same call takes the same."""
        self._heard_ms = 0
        self._noise_byte = 0
        self._digits: deque[tuple[int, str]] = deque()
        self._saying: tuple[int, Say] | None = None

    def take(
        self,
        caller: CallerMachine,
        voice: Callable[[Say], bytes],
        think: Callable[[CallerPhone, int], None],
        line: Line | None = None,
    ) -> CallerPhone:
        """Put a caller on the line; returns the phone."""
        self.caller = caller
        self._voice, self._think, self._line = voice, think, line or Line()
        self.taken = {"caller": caller, "voice": voice, "think": think, "line": line}
        return self

    def next_stream(self, parameters: Mapping[str, str]) -> CallerPhone:
        """As ever, with the same caller."""
        account, call, stream = self.frames.account_sid, self.frames.call_sid, self.frames.stream_sid
        number = int(stream.removeprefix("MZ"), 16) + 1
        following = CallerPhone(call, account, f"MZ{number:032x}", parameters, options=self.options)
        return following.take(**self.taken)

    def start(self, now_ms: int) -> list[str]:
        self._heard_ms = now_ms
        return super().start(now_ms)

    def wake(self, now_ms: int) -> list[str]:
        if self._live and self._media_due_ms <= now_ms:
            self.late_ms.append(now_ms - self._media_due_ms)
        return super().wake(now_ms)

    # --- inside ---------------------------------------------------------------------------------------------

    def _send_media(self, at_ms: int, out: list[str]) -> None:
        sent = len(out)
        super()._send_media(at_ms, out)
        if self._line.loss and self._line.chance() < self._line.loss:
            del out[sent:]
            self.lost += 1
        if self._saying is not None and not self.speaking:
            self._finished(at_ms)
        # What has been played up to now is certain: a clear takes effect from its moment on.
        heard = self._playout.heard_between(self._heard_ms, at_ms)
        self._heard_ms = at_ms
        for act in self.caller.hear(heard, at_ms, speaking=self.speaking):
            self._act(act, at_ms, out)
        while self._digits and self._digits[0][0] <= at_ms and self._live:
            _, digit = self._digits.popleft()
            self.pressed.append((at_ms, digit))
            out.append(self.frames.dtmf(digit))

    def _next_sound(self, at_ms: int) -> bytes:
        sound = super()._next_sound(at_ms)
        noise = self._line.noise
        if not noise or len(sound) == FRAME_BYTES:
            return sound
        start = self._noise_byte % len(noise)
        self._noise_byte += FRAME_BYTES
        return sound + noise[start + len(sound) : start + FRAME_BYTES]

    def _act(self, act: Act, at_ms: int, out: list[str]) -> None:
        match act:
            case Say():
                self._speech, self._spoken_bytes = self._voice(act), 0
                self._saying = (at_ms, act) if self._speech else None
            case Press(digits):
                self._digits += [(at_ms + n * KEY_EVERY_MS, digit) for n, digit in enumerate(digits)]
            case Think():
                self._think(self, at_ms)
            case HangUp():
                out.append(self.frames.stop())
                self.close = (1000, "")
                self._end(at_ms)

    def _finished(self, at_ms: int) -> None:
        if self._saying is not None:
            start_ms, say = self._saying
            self.said.append(Said(start_ms, at_ms, say.words, say.manner))
            self._saying = None

    def _end(self, now_ms: int) -> None:
        self._finished(now_ms)
        super()._end(now_ms)


def heard_of(phones: Sequence[Phone]) -> bytes:
    """What was heard over all streams of a call, µ-law, from 0 ms of the phones' clock on."""
    heard = b""
    for phone in phones:
        heard = heard.ljust((phone.started_ms or 0) * 8, b"\xff") + phone.heard
    return heard


def said_of(phones: Sequence[Phone]) -> bytes:
    """What the caller said, in the same way."""
    said = b""
    for phone in phones:
        said = said.ljust((phone.started_ms or 0) * 8, b"\xff") + phone.recording()[0]
    return said


__all__ = ["FRAME_MS", "CallerPhone", "Line", "Said", "heard_of", "said_of"]
