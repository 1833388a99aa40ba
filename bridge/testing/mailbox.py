"""A mailbox that answers a call of yours: its greeting, its tone, and what it records after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge.doubles.tones import tone

if TYPE_CHECKING:
    from .scripted_call import ScriptedCall

_QUIET: Final = bytes(range(0xEC, 0x100)) + bytes(range(0x6C, 0x80))
"""mu-law of magnitudes below -45 dBFS."""
_BYTES_PER_MS: Final = 8
_BLOCK_BYTES: Final = 80
_LEAST_SAMPLES: Final = 8


class Mailbox:
    """Plays `greeting`, then a tone. All times are of the call's clock; everything is measured by loudness,
    in steps of 10 ms, in what the mailbox was played.
    """

    def __init__(self, call: ScriptedCall, greeting: bytes, beep: bytes) -> None:
        self._call = call
        self._said = greeting + beep
        self._beep = beep

    @property
    def over_ms(self) -> int:
        """When the tone ended, or the greeting of a mailbox without one. Raises ValueError before that."""
        self._call.settle()
        said, _ = self._call.phone.recording()
        last = self._beep or self._said[-_BYTES_PER_MS * 200 :]
        at = said.rfind(last)
        if at < 0:
            raise ValueError("the greeting is not over yet")
        return (at + len(last)) // _BYTES_PER_MS

    def heard(self) -> bytes:
        """What it was played from its answer on, mu-law, silence where that was nothing."""
        self._call.settle()
        return self._call.phone.heard

    def recorded(self) -> bytes:
        """What it was played after its tone."""
        return self.heard()[self.over_ms * _BYTES_PER_MS :]

    @property
    def before_ms(self) -> int:
        """How much sound it was played before its tone had ended."""
        return _loud_ms(self.heard()[: self.over_ms * _BYTES_PER_MS])

    @property
    def after_ms(self) -> int | None:
        """How long after the tone the message begins; None without a message."""
        found = _first_loud(self.recorded())
        return None if found is None else found // _BYTES_PER_MS

    @property
    def message_ms(self) -> int:
        """From the first to the last sound after the tone; 0 without a message."""
        recorded = self.recorded()
        first, last = _first_loud(recorded), _first_loud(recorded[::-1])
        return 0 if first is None or last is None else (len(recorded) - last - first) // _BYTES_PER_MS


def greeting_of(call: ScriptedCall, greeting: str | Path | bytes, pause_ms: int) -> tuple[bytes, str]:
    """The sound of a greeting and its words; words alone are a low tone, 60 ms a letter."""
    sound, words = call.sound(greeting, None)
    return sound + b"\xff" * (pause_ms * _BYTES_PER_MS), words


def beep_of(hz: int, ms: int, dbfs: int) -> bytes:
    """The tone; none of 0 ms."""
    return tone(ms, hz, dbfs) if ms else b""


def _loud(block: bytes) -> bool:
    return len(block.translate(None, _QUIET)) >= _LEAST_SAMPLES


def _loud_ms(sound: bytes) -> int:
    blocks = (sound[at : at + _BLOCK_BYTES] for at in range(0, len(sound), _BLOCK_BYTES))
    return sum(map(_loud, blocks)) * _BLOCK_BYTES // _BYTES_PER_MS


def _first_loud(sound: bytes) -> int | None:
    starts = range(0, len(sound), _BLOCK_BYTES)
    return next((at for at in starts if _loud(sound[at : at + _BLOCK_BYTES])), None)
