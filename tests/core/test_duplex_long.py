"""Twenty minutes with a duplex model: thirty stalls of up to 800 ms and ten phrases of ours, in virtual time.

What the caller hears is told by a phone that knows nothing of the ledger: it plays what it was sent, byte by
byte, and each word has a sound of its own.
"""

from __future__ import annotations

from base64 import b64decode
from random import Random

from bridge.core.messages import PlayAudio
from bridge.core.words import TimedText, TimedWords

from .duplex_line import PER_MS, SparseLine, Stream, WholeLine

MS = 1_200_000
WORD_MS = 200
LABELS_MS = -150
"""So much earlier than their sound words are labelled."""


def sound_of(word: int) -> bytes:
    """Loud, and unlike any other's."""
    return bytes((word % 96, 0x80 + word // 96 % 96)) * (WORD_MS * PER_MS // 2)


def talk(chance: Random) -> tuple[list[int], list[tuple[int, int]]]:
    """When each word begins, in ms of the stream, and the silences between what the model says."""
    words, silences, at_ms = list[int](), list[tuple[int, int]](), 1_000
    while at_ms < MS - 20_000:
        for _ in range(chance.randrange(3, 9)):
            words += range(at_ms, at_ms + WORD_MS * chance.randrange(2, 9), WORD_MS)
            at_ms = words[-1] + WORD_MS + chance.randrange(100, 300, 20)
        silence_ms = chance.randrange(4_000, 9_000, 20)
        silences.append((words[-1] + WORD_MS, at_ms + silence_ms))
        at_ms += silence_ms
    return words, silences


class Phone:
    """Plays what comes at 8 bytes a millisecond, and knows when each byte of it was played."""

    def __init__(self) -> None:
        self.end_ms = 0.0
        self.words: dict[bytes, float] = {}
        """Of each word the middle of its sound, as it was played."""

    def play(self, sound: bytes, now_ms: int) -> None:
        self.end_ms = max(self.end_ms, float(now_ms))
        block_bytes = 20 * PER_MS
        for at in range(0, len(sound), block_bytes):
            block = sound[at : at + block_bytes]
            if block[:1] != b"\xff":
                self.words.setdefault(block[:2], self.end_ms + WORD_MS / 2)
            self.end_ms += len(block) / PER_MS


def test_twenty_minutes() -> None:
    chance = Random(7)
    words, silences = talk(chance)
    stream = Stream(ms=MS)
    sound = bytearray(stream.sound)
    for number, at_ms in enumerate(words):
        sound[at_ms * PER_MS : (at_ms + WORD_MS) * PER_MS] = sound_of(number)
    stream.sound = bytes(sound)
    stalls = [(at_ms, chance.randrange(200, 801, 100)) for at_ms in range(20_000, MS, 39_000)][:30]
    phrases = {at_ms: chance.randrange(1_000, 3_000, 20) for at_ms in range(45_000, MS - 5_000, 120_300)}
    assert len(stalls) == 30
    assert len(phrases) == 10

    whole, sparse, phone, timed = WholeLine(), SparseLine(), Phone(), TimedWords()
    asked = set(chance.sample(range(10_000, MS, 100), 200))
    unlabelled, utterances, told, ledger = list(enumerate(words)), 0, 0, 0
    played_ms = dict[int, int]()
    for at_ms, delta in Stream.__iter__(_stalled(stream, stalls)):
        while unlabelled and unlabelled[0][1] < at_ms - 500:  # its label comes 500 ms before its sound
            number, start_ms = unlabelled.pop(0)
            timed.add(TimedText(f" {number}", start_ms + LABELS_MS, start_ms + LABELS_MS + WORD_MS))
        for line in (whole, sparse):
            line.delta(at_ms, delta)
            if at_ms in phrases:
                line.ours(f"phrase:{at_ms}", phrases[at_ms])
                played_ms[at_ms] = at_ms + line.lag_ms  # in the end the sparse line's
        for one in sparse.out:
            if isinstance(one, PlayAudio):
                phone.play(b64decode(one.audio), at_ms)
        sparse.out.clear()
        if utterances and sparse.stream.segment is None:
            timed.ended(sparse.began[utterances - 1][1].end // PER_MS)
        for _, segment, _ in sparse.began[utterances:]:
            timed.begun(segment.onset // PER_MS)
        utterances = len(sparse.began)
        if at_ms in asked:  # what was heard, by the ledger and by the phone
            heard_ms = sparse.heard_ms()
            ledger += len(timed.take(heard_ms))
            ear = sum(middle_ms <= at_ms for middle_ms in phone.words.values())
            assert abs(ledger - ear) <= 1, (at_ms, ledger, ear)
            told += 1
    assert told >= 190
    assert sparse.stream.dropped_ms == 0
    assert len(phone.words) == len(words), "no word is lost"

    looked = 0
    for start_ms, end_ms in silences:
        by_ms = start_ms + 1_000 + 3_000
        for begun_ms, over_ms in played_ms.items():
            if begun_ms < end_ms + 1_000:  # a phrase in a silence is on the line as long as it lasts
                by_ms = max(by_ms, over_ms)
        lags = [lag for ms, lag in sparse.lags.items() if by_ms <= ms < end_ms + 1_000]
        assert max(lags, default=0) <= 160, (start_ms, end_ms)
        looked += bool(lags)
    assert looked >= 0.9 * len(silences)
    last = max(sparse.lags)
    assert sparse.lags[last] <= 160
    assert whole.lags[last] >= sum(phrases.values()), "without the trim all of them stay"


def _stalled(stream: Stream, stalls: list[tuple[int, int]]) -> Stream:
    late = Stream(stalls=stalls, ms=100)
    late.sound = stream.sound
    return late
