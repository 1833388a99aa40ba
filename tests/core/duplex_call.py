"""A call with a duplex model, in virtual time: the model's stream on one side, a phone that plays to the byte
on the other.

The stream is silence unless the model `speaks`: then words of 200 ms each, a sound of its own for each of
them, labelled `labels_ms` off, the words `early_ms` before their sound. Nothing here reads the ledger.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from bridge.codecs import blocks
from bridge.codecs.audible import is_audible
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.upstreams.live import LIVE

from .carrier import PER_MS, Carrier

WORD_MS = 200
DELTA_MS = 100
FRAME_MS = 20
NEVER_SENT = (
    m.CancelResponse, m.TruncateItem, m.DeleteItem, m.CreateResponse, m.CommitAudio, m.CreateItem,
    m.ForgetAudio, m.Probe,
)  # fmt: skip


@dataclass
class Word:
    """Of the model's: its text, and where in the stream it lies."""

    text: str
    start_ms: int
    number: int
    level: bytes = b""
    """The samples of its sound, where it has none of its own."""

    @property
    def sound(self) -> bytes:
        """Loud, and unlike any other's."""
        if self.level:
            return self.level * (WORD_MS * PER_MS // len(self.level))
        return bytes((self.number % 96, 0x80 + self.number // 96 % 96)) * (WORD_MS * PER_MS // 2)


class DuplexCall:
    """`now_ms` is the call's time. Everything that was done is in `did`, as (when, action)."""

    def __init__(self, *, early_ms: int = 600, labels_ms: int = 0, **config: Any) -> None:
        self.call = Call(m.CallConfig(**{"capabilities": LIVE, "media_gap_ms": 10**9, **config}))
        self.phone = Carrier()
        self.now_ms = 0
        self.did: list[tuple[int, m.Action]] = []
        self.events: list[tuple[int, m.Event]] = []
        self.early_ms, self.labels_ms = early_ms, labels_ms
        self.epoch, self.began_ms, self.streams = 1, 0, True
        self.words: list[Word] = []
        self._told = 0
        self._numbers = 0
        self._kept: list[tuple[int, m.Event]] = []
        self.stalled_until_ms = 0
        self.voice: list[tuple[int, int]] = []
        self._loud = False
        self.played: dict[int, str] = {}

    def ready(self) -> DuplexCall:
        """The session and the phone are there."""
        self.feed(m.Started("MZ1", "CA1", "AC1"), m.Admitted())
        return self.session(1)

    def session(self, epoch: int) -> DuplexCall:
        """A session begins, and its stream with it."""
        self.epoch, self.began_ms, self.streams = epoch, self.now_ms, True
        self.words, self._told = [], 0
        self.feed(m.UpstreamOpened(epoch), m.SessionCreated(epoch), m.SessionUpdated(epoch))
        return self

    # --- what happens

    def speaks(self, text: str, in_ms: int = 0, *, pause_ms: int = 0, level: bytes = b"") -> None:
        """The model says these words from `in_ms` on, with so long a pause between them; as loud as the
        samples of `level`.
        """
        at_ms = self.now_ms + in_ms - self.began_ms
        at_ms -= at_ms % FRAME_MS
        for word in text.split():
            self._numbers += 1
            self.words.append(Word(f" {word}", at_ms, self._numbers, level))
            self.played[self._numbers] = word
            at_ms += WORD_MS + pause_ms

    def stops(self) -> None:
        """The model says no more of it, from now on."""
        now = self.now_ms - self.began_ms
        self.words = [word for word in self.words if word.start_ms < now]
        self._told = min(self._told, len(self.words))

    def caller(self, ms: int, in_ms: int = 0) -> None:
        """The caller's voice."""
        self.voice.append((self.now_ms + in_ms, self.now_ms + in_ms + ms))

    def caller_words(self, *texts: str) -> None:
        """What the model makes of it, now."""
        start_ms = self.now_ms - self.began_ms - 1_200
        for text in texts:
            self.feed(m.Fragment("user", text, start_ms, start_ms + WORD_MS, self.epoch))
            start_ms += WORD_MS

    def stall(self, ms: int) -> None:
        """Nothing of the model's comes for so long; then all at once."""
        self.stalled_until_ms = self.now_ms + ms

    # --- time

    def wait(self, ms: int) -> DuplexCall:
        until_ms = self.now_ms + ms
        while self.now_ms < until_ms and self.call.phase is not m.Phase.ENDED:
            self._tick()
        return self

    def _tick(self) -> None:
        self.now_ms += FRAME_MS
        if (due_ms := self.call.deadline_ms) is not None and due_ms <= self.now_ms:
            self.feed(m.WakeUp())
        for _, name in self.phone.echoes(self.now_ms):
            self.feed(m.MarkReached(name))
        self._hears()
        if self.streams and self.call.up.epoch == self.epoch:
            self._stream()

    def _hears(self) -> None:
        loud = any(start_ms < self.now_ms <= end_ms for start_ms, end_ms in self.voice)
        if loud is not self._loud:
            self._loud = loud
            self.feed(m.CallerVoice(loud))
        frame = m.CallerAudio(b64encode(b"\xff" * 160).decode(), 160, self.now_ms)
        self.feed(frame)

    def _stream(self) -> None:
        at_ms = self.now_ms - self.began_ms
        for word in self.words[self._told :]:
            if word.start_ms - self.early_ms > at_ms:
                break
            self._told += 1
            start_ms = word.start_ms + self.labels_ms
            self._comes(m.Fragment("assistant", word.text, start_ms, start_ms + WORD_MS, self.epoch))
        if at_ms % DELTA_MS == 0:
            audio = b64encode(self._sound(at_ms - DELTA_MS, at_ms)).decode()
            for run, size_bytes, is_loud in blocks.runs(audio):
                faint = is_loud and not is_audible(run)
                self._comes(m.StreamAudio(run, size_bytes, is_loud, self.epoch, faint))

    def _comes(self, event: m.Event) -> None:
        self._kept.append((self.now_ms, event))
        if self.now_ms >= self.stalled_until_ms:
            for _, one in self._kept:
                self.feed(one)
            self._kept.clear()

    def _sound(self, from_ms: int, to_ms: int) -> bytes:
        sound = bytearray(b"\xff" * ((to_ms - from_ms) * PER_MS))
        for word in self.words:
            start_ms, end_ms = max(word.start_ms, from_ms), min(word.start_ms + WORD_MS, to_ms)
            if start_ms < end_ms:
                cut = word.sound[: (end_ms - start_ms) * PER_MS]
                sound[(start_ms - from_ms) * PER_MS : (end_ms - from_ms) * PER_MS] = cut
        return bytes(sound)

    def feed(self, *events: m.Event) -> None:
        for event in events:
            self.events.append((self.now_ms, event))
            for action in self.call.receive(event, self.now_ms):
                self.did.append((self.now_ms, action))
                self._carry_out(action)

    def _carry_out(self, action: m.Action) -> None:
        assert not isinstance(action, NEVER_SENT), action
        match action:
            case m.PlayAudio(audio, size_bytes):
                sound = b64decode(audio)
                assert len(sound) == size_bytes
                for at in range(0, size_bytes, 160):
                    block = sound[at : at + 160]
                    number = 0 if block[0] > 0x60 else block[0] + 96 * (block[1] - 0x80)
                    self.phone.play(str(number), len(block), self.now_ms)
            case m.ClearPlayout():
                self.phone.clear(self.now_ms)
            case m.SendMark(name):
                self.phone.mark(name, self.now_ms)

    # --- what was to be seen

    def all(self, kind: type[Any]) -> list[Any]:
        """Every action of that kind, in order."""
        return [action for _, action in self.did if isinstance(action, kind)]

    def heard_by_phone(self) -> str:
        """The words whose middle was played by now."""
        heard = [
            word
            for number, word in self.played.items()
            if self.phone.heard_bytes(str(number), self.now_ms) >= WORD_MS * PER_MS // 2
        ]
        return " ".join(heard)

    def spoken(self) -> list[tuple[str, str]]:
        """Each `Spoken`: what was said, and what of it was heard."""
        return [(one.generated, one.heard) for one in self.all(m.Spoken)]
