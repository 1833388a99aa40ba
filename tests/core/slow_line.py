"""A call, the network to its carrier and a phone, in virtual time: the network may stand still.

What was written and not read lies in the kernel, then in the outbox. The carrier plays to the byte
(`carrier.py`), and its echoes come back even while it reads nothing. The shell's part is played here too: it
tells the call when the outbox is full, and how much sound may be held.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter, deque
from itertools import pairwise
from typing import Any

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.pacer import GRANT_BYTES

from .carrier import Carrier

KERNEL_BYTES = 131_072
FULL_BYTES, ROOM_BYTES = 32_768, 16_384
MOST_BYTES = 65_536
TICK_MS = 10


def made(number: int, size_bytes: int) -> str:
    """So many bytes of the item of that number, as base64: they are all that number."""
    return b64encode(bytes([number]) * size_bytes).decode()


_NUMBERS = {made(number, 1)[:2]: str(number) for number in range(1, 4)}


class SlowLine:
    """`config` is the call's. `pauses` are times in ms, from and to, in which the phone reads nothing."""

    def __init__(
        self,
        *pauses: tuple[int, int],
        echoes: bool = True,
        way_ms: int = 30,
        most_held_bytes: int = 1 << 40,
        **config: Any,
    ) -> None:
        usual = {"media_gap_ms": 10**9, "probe_ms": 0, "renew_ms": 10**9, "renew_forced_ms": 10**9}
        self.call = Call(m.CallConfig(**{**usual, **config}))
        self.carrier = Carrier(lambda: way_ms, lambda: way_ms)
        self.pauses, self.echoing = pauses, echoes
        self.most_held_bytes = most_held_bytes
        self.now_ms = 0
        self.said: list[tuple[int, m.Action]] = []
        self.written: Counter[int] = Counter()
        self.peak_held_bytes = self.held_bytes = GRANT_BYTES
        self.unread: deque[tuple[int, m.Action]] = deque()
        self.unread_bytes = 0
        self.full = False
        self._echoes: deque[tuple[int, str]] = deque()
        for event in (
            m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.SessionUpdated(), m.Admitted()
        ):  # fmt: skip
            self.feed(event)

    # --- what happens

    def feed(self, *events: m.Event) -> list[m.Action]:
        done: list[m.Action] = []
        for event in events:
            pending = [event]
            while pending:
                actions = self.call.receive(pending.pop(0), self.now_ms)
                done += actions
                for action in actions:
                    self.said.append((self.now_ms, action))
                    pending += self._carry_out(action)
                self._read()
                assert self.outbox_bytes <= MOST_BYTES
                if self.outbox_bytes > FULL_BYTES and not self.full:
                    self.full = True
                    pending.append(m.OutboxFull(True))
        return done

    def delta(self, item_id: str, number: int, size_bytes: int, response_id: str = "r1") -> None:
        self.feed(m.AudioDelta(response_id, item_id, 0, made(number, size_bytes), size_bytes))

    def says(self, seconds: float, speed: float = 0, size_bytes: int = 4_000, done: bool = True) -> None:
        """Response r1 with one item, "A": at once, or `speed` times faster than it is played."""
        self.feed(m.ResponseStarted("r1"))
        began_ms, left_bytes, made_bytes = self.now_ms, round(seconds * 8_000), 0
        while left_bytes:
            piece = min(size_bytes, left_bytes)
            if speed:
                self.until(began_ms + round(made_bytes / 8 / speed))
            self.delta("A", 1, piece)
            left_bytes -= piece
            made_bytes += piece
        if done:
            self.feed(m.AudioDone("r1", "A"), m.ResponseDone("r1"))

    def until(self, now_ms: int) -> None:
        while self.now_ms < now_ms:
            wake_ms = self.call.deadline_ms
            if wake_ms is not None and wake_ms <= self.now_ms:
                self.feed(m.WakeUp())
                continue
            self.now_ms = min(now_ms, self.now_ms + TICK_MS, max(self.now_ms, wake_ms or now_ms))
            self._tick()
        if self.call.deadline_ms is not None and self.call.deadline_ms <= now_ms:
            self.feed(m.WakeUp())

    # --- what came of it

    def of(self, kind: Any) -> list[Any]:
        return [action for _, action in self.said if isinstance(action, kind)]

    def heard_ms(self, number: int) -> float:
        return self.carrier.heard_bytes(str(number)) / 8

    def heard_by_now_ms(self, number: int) -> float:
        return self.carrier.heard_bytes(str(number), self.now_ms) / 8

    def longest_gap_ms(self, from_ms: int = 0) -> float:
        """The longest silence between two pieces of sound."""
        played = [(start, end) for _, start, end in self.carrier._played if start >= from_ms * 8]
        return max((after[0] - before[1] for before, after in pairwise(played)), default=0) / 8

    # --- shell, network and phone

    @property
    def outbox_bytes(self) -> int:
        return max(0, self.unread_bytes - KERNEL_BYTES)

    def _carry_out(self, action: m.Action) -> list[m.Event]:
        match action:
            case m.PlayAudio(audio, size_bytes):
                assert len(audio) == -(-size_bytes // 3) * 4, "a piece that is base64 by itself"
                self._write(action, len(audio) + 100)
            case m.SendMark() | m.ClearPlayout():
                self._write(action, 100)
            case m.HoldSound(size_bytes):
                if size_bytes > max(self.most_held_bytes, self.held_bytes):
                    return [m.HoldRefused(self.held_bytes)]
                self.held_bytes = size_bytes
                self.peak_held_bytes = max(self.peak_held_bytes, size_bytes)
        return []

    def _write(self, action: m.Action, size_bytes: int) -> None:
        self.unread.append((size_bytes, action))
        self.unread_bytes += size_bytes

    @property
    def _paused(self) -> bool:
        return any(start <= self.now_ms < end for start, end in self.pauses)

    def _read(self) -> None:
        while self.unread and not self._paused:
            size_bytes, action = self.unread.popleft()
            self.unread_bytes -= size_bytes
            match action:
                case m.PlayAudio(audio, size_bytes):
                    self.carrier.play(_NUMBERS.get(audio[:2], "ours"), size_bytes, self.now_ms)
                case m.SendMark(name):
                    self.carrier.mark(name, self.now_ms)
                case m.ClearPlayout():
                    self.carrier.clear(self.now_ms)

    def _tick(self) -> None:
        self._read()
        if self.echoing:
            self._echoes += self.carrier.echoes(self.now_ms)
            while self._echoes and self._echoes[0][0] <= self.now_ms:
                self.feed(m.MarkReached(self._echoes.popleft()[1]))
        if self.full and self.outbox_bytes <= ROOM_BYTES:
            self.full = False
            self.feed(m.OutboxFull(False))
