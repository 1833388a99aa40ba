"""What a listener gets is what a phone has played: no sooner, and nothing that was cut off."""

from __future__ import annotations

import random
from base64 import b64encode

import pytest

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.ledger import Span
from bridge.server.console.listening import HeardSound


class Phone:
    """Plays 8 bytes a millisecond as they come; an oracle without a ledger."""

    def __init__(self) -> None:
        self.queued = self.played = b""

    def advance(self, lasted_ms: int) -> None:
        self.played += self.queued[: 8 * lasted_ms]
        self.queued = self.queued[8 * lasted_ms :]


@pytest.mark.parametrize("seed", range(6))
def test_in_any_order_of_sound_clears_and_looks(seed: int) -> None:
    dice = random.Random(seed)
    call, phone = Call(m.CallConfig(marks=False)), Phone()
    ledger = call.playout.line.ledger
    heard, listened, now_ms = HeardSound(call), b"", 0
    for number in range(400):
        match dice.choice("psccllllwwww"):
            case "p":
                sound = dice.randbytes(dice.randint(1, 900))
                ledger.send(Span(f"item {number}"), len(sound), now_ms)
                heard.sent(m.PlayAudio(b64encode(sound).decode(), len(sound)))
                phone.queued += sound
            case "c" if number % 3 == 0 and ledger.clear(now_ms):
                heard.sent(m.ClearPlayout())
                phone.queued = b""
            case "s" if ledger.clear(now_ms):
                phone.queued = b""  # and no clear goes out, as when the stream is another one
            case "l":
                listened += heard.take(now_ms)
                assert listened == phone.played
            case "w":
                lasted_ms = dice.randint(1, 60)
                now_ms += lasted_ms
                phone.advance(lasted_ms)
    assert len(phone.played) > 4_000
