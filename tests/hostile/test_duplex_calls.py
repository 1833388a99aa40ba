"""A hundred calls with a duplex model in which anything happens at any time, held against the phone.

The words that were heard are those whose middle the phone has played: it knows nothing of the ledger, and the
ledger nothing of it. At a cut the two may differ by one fragment.
"""

from __future__ import annotations

from base64 import b64encode
from random import Random

import pytest

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.handover import carried

from ..core.duplex_call import WORD_MS, DuplexCall

pytestmark = pytest.mark.virtual

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo")
PHRASES = {"filler": 400, "restored": 500, "apology": 500, "goodbye": 500}


def sound(ms: int, text: str) -> m.Sound:
    return m.Sound(b64encode(b"\x10\x90" * (4 * ms)).decode(), 8 * ms, text)


class Anything:
    """One call, and what happens in it by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Random(seed)
        self.call = DuplexCall(
            early_ms=chance.choice([0, 200, 600, 740]),
            labels_ms=chance.choice([-200, -100, 0, 100]),
            greeting=chance.choice([None, "Hello."]),
            phrases={name: sound(ms, name) for name, ms in PHRASES.items()},
            filler_ms=1_500,
            digits_gap_ms=500,
        ).ready()
        self.sounds = 0
        self.heard = (1, 0)

    def ms(self, most_ms: int = 1_500) -> int:
        return self.chance.randrange(100, most_ms, 20)

    def speaks(self) -> None:
        """The model, where it has been silent."""
        call, chance = self.call, self.chance
        if call.words and call.words[-1].start_ms + WORD_MS + 900 >= call.now_ms - call.began_ms:
            return
        count = chance.randrange(1, 14)
        words = (f"{chance.choice(WORDS)}{len(call.played) + number}" for number in range(count))
        call.speaks(" ".join(words), self.ms(600), pause_ms=chance.choice([0, 0, 100, 200, 400]))

    def loses(self) -> None:
        """The session is gone, and another one comes."""
        call = self.call
        call.streams = False
        call.feed(m.UpstreamClosed(1006, "", call.epoch))
        call.wait(self.ms())
        if call.call.up.epoch != call.epoch:
            call.session(call.call.up.epoch)

    def plays(self) -> None:
        self.sounds += 1
        ours = sound(self.ms(3_000), f"Sound {self.sounds}.")
        self.call.feed(m.Play(f"ours:{self.sounds}", ours, self.chance.random() < 0.2))

    def happens(self) -> None:
        call, chance = self.call, self.chance
        match chance.randrange(14):
            case 0 | 1 | 2 | 3:
                self.speaks()
            case 4 | 5:
                call.caller(self.ms())
            case 6:
                call.stall(self.ms(1_300))
            case 7:
                call.feed(m.Interrupt())
            case 8:
                self.plays()
            case 9:
                call.caller_words(" word", " after word?")
            case 10 if chance.random() < 0.4:
                self.loses()
            case 11:
                call.feed(m.Say(f"say:{call.now_ms}", "Hello you.", chance.random() < 0.8))
            case 12:
                call.feed(m.HangUp() if chance.random() < 0.2 else m.DigitPressed("1"))
            case 13:
                carried(call.call, call.now_ms)
        call.wait(self.ms())
        self.holds()

    def holds(self) -> None:
        """Every byte is accounted for, and what was heard stays heard."""
        duplex, ledger = self.call.call.playout.duplex, self.call.call.playout.line.ledger
        if duplex is None:
            return
        stream = duplex.stream
        heard = stream.heard(lambda span: ledger.heard_bytes(span, self.call.now_ms))
        assert self.heard <= (duplex.epoch, heard)
        assert heard <= stream.received == stream.sent + stream.skipped
        self.heard = (duplex.epoch, heard)


@pytest.mark.parametrize("seed", range(100))
def test_anything(seed: int) -> None:
    anything = Anything(seed)
    call = anything.call
    for _ in range(anything.chance.randrange(5, 30)):
        if call.call.phase is not m.Phase.ENDED:
            anything.happens()
    call.wait(20_000)
    spoken = call.all(m.Spoken)
    told, phone = [word for one in spoken for word in one.heard.split()], call.heard_by_phone().split()
    assert len(set(told) ^ set(phone)) <= sum(one.cut for one in spoken) + 1
    assert len(set(told)) == len(told), "no word is told twice"
    assert call.call.phase is m.Phase.ENDED or not call.call.playout.line.spans
    again = Call(call.call.config)
    did = [(at_ms, action) for at_ms, event in call.events for action in again.receive(event, at_ms)]
    assert did == call.did
