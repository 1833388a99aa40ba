"""Scripts for `Person`: who answers, in the order in which they speak and listen."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from ..tones import tone
from .person import Ask, HangUp, Listen, Press, Record, Say, Script, StopRecording, Wait, Wish

LIFTED_MS: Final = 300
"""From lifting the receiver to the first word."""


def human(
    hello: bytes, *, presses: str = "", presses_after_ms: int = 500, hangs_up_after_ms: int | None = None
) -> Script:
    """Says hello. Then presses the keys, `presses_after_ms` after the other side has spoken. Without keys, or
    if nothing was said, hangs up `hangs_up_after_ms` after the answer; None: never.
    """
    told_ms = LIFTED_MS + len(hello) // 8
    yield Wait(LIFTED_MS)
    yield Say(hello)
    if presses and (yield Listen(quiet_ms=0, least_ms=200)):
        yield Wait(presses_after_ms)
        yield Press(presses)
    elif hangs_up_after_ms is not None:
        yield Wait(max(0, hangs_up_after_ms - told_ms))
        yield HangUp()


def converses(hello: bytes, turns: Sequence[bytes | str], *, tail_ms: int = 4_000) -> Script:
    """Says hello, and takes its next turn whenever the other side has finished: sound, or keys to press.
    Speaks on where nothing is heard at all for eight seconds. Hangs up when it has no more to say and nothing
    was heard for `tail_ms`.
    """
    yield Wait(LIFTED_MS)
    yield Say(hello)
    for turn in turns:
        yield from _hears_out(1_000, 8_000)
        yield Press(turn) if isinstance(turn, str) else Say(turn)
    yield from _hears_out(tail_ms, max(tail_ms, 8_000))
    yield HangUp()


def _hears_out(quiet_ms: int, unanswered_ms: int) -> Generator[Wish, Any, bool]:
    """Until the other side has been quiet for `quiet_ms`, however long it spoke; False if it did not."""
    if not (yield Listen(quiet_ms=0, timeout_ms=unanswered_ms)):
        return False
    yield Listen(quiet_ms=quiet_ms, least_ms=0)
    return True


def leaves(after_ms: int) -> Script:
    """Silent, and gone after that long."""
    yield Wait(after_ms)
    yield HangUp()


def voicemail(
    greeting: bytes,
    *,
    beep_hz: int = 1_000,
    beep_ms: int = 400,
    beep_dbfs: int = -15,
    pause_ms: int = 300,
    most_ms: int = 60_000,
    quiet_ms: int = 10_000,
) -> Script:
    """A greeting, a beep, and a mailbox that records until it is full, or nothing is said for `quiet_ms`."""
    yield Wait(200)
    yield Say(greeting)
    yield Wait(pause_ms)
    if beep_ms:
        yield Say(tone(beep_ms, beep_hz, beep_dbfs))
    yield Record()
    yield Listen(quiet_ms=quiet_ms, least_ms=20, timeout_ms=most_ms)
    yield StopRecording()
    yield HangUp()


def screening(prompt: bytes, hello: bytes | None, *, reads_ms: int = 5_000, refusal: bytes = b"") -> Script:
    """An assistant asks for name and reason, and shows the answer; the person takes the call with `hello`, or
    lets it be refused.
    """
    yield Wait(200)
    yield Say(prompt)
    yield Listen(quiet_ms=800, timeout_ms=15_000)
    yield Wait(reads_ms)
    if hello is None:
        yield Say(refusal)
        yield HangUp()
    else:
        yield Say(hello)


def ivr(prompt: bytes, menu: Mapping[str, bytes], *, wrong: bytes = b"", times: int = 3) -> Script:
    """A menu that hears keys: what it says to each, and after `times` wrong ones it hangs up. The last thing
    said to a key that is in the menu ends the menu.
    """
    longest = max(map(len, menu), default=1)
    for _ in range(times):
        yield Wait(200)
        keys: str = yield Ask(prompt, longest, 8_000)
        if keys in menu:
            yield Say(menu[keys])
            return
        yield Say(wrong)
    yield HangUp()
