"""A call in virtual time: `call.at(ms, event)` says what came out, and every test reads as the call went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

import pytest

from bridge.codecs.voice import VoiceDetector
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.conversation import Item
from bridge.core.line import Line
from bridge.core.response_gate import ResponseGate

TRUTH = (m.ClearPlayout, m.CancelResponse, m.TruncateItem, m.DeleteItem)
PROBE = m.SendMark("probe1")
"""What a call sends first, to learn how long the ways are. Its echo brings the next one; here it has none."""
SOUND = (m.PlayAudio, m.SendMark, m.ClearPlayout)


def truth(actions: list[m.Action]) -> list[m.Action]:
    """The actions that bear the truth of what was heard: for the phone and for the model."""
    return [action for action in actions if isinstance(action, TRUTH)]


def phone(actions: list[m.Action]) -> list[m.Action]:
    """What of it went to the carrier."""
    return [action for action in actions if isinstance(action, SOUND)]


SESSION = get_args(m.SessionEvent)


def legs(actions: list[m.Action]) -> list[m.Action]:
    """What of it went to the carrier, to the model or to the shell: all but the news for the handler."""
    return [action for action in actions if not isinstance(action, SESSION)]


def only(kind: type[m.Message], actions: list[m.Action]) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]


def frame(number: int) -> m.CallerAudio:
    """The caller's frame of that number, 20 ms; the carrier's clock does not start at 0."""
    return m.CallerAudio(f"frame {number}", 160, at_ms=102 + 20 * number)


def speech(ms: int, text: str = "", letter: str = "A") -> m.Sound:
    """A sound of ours of that length. Its base64 text is one letter over and over, padded where it must."""
    size_bytes = ms * 8
    characters = -(-size_bytes // 3) * 4
    padding = -size_bytes % 3
    return m.Sound(letter * (characters - padding) + "=" * padding, size_bytes, text)


def delta(item_id: str, ms: int = 0, *, size_bytes: int | None = None, response: str = "r1") -> m.AudioDelta:
    """Model audio of that length; the sound itself does not matter to the core."""
    return m.AudioDelta(response, item_id, 0, "", ms * 8 if size_bytes is None else size_bytes)


@dataclass
class LiveCall:
    """One call and all it ever said, with the marks it sent still to be echoed."""

    call: Call
    now_ms: int = 0
    said: list[tuple[int, m.Action]] = field(default_factory=list)
    echoed: int = 0
    voice: VoiceDetector = field(default_factory=VoiceDetector)

    @property
    def line(self) -> Line:
        return self.call.playout.line

    @property
    def gate(self) -> ResponseGate:
        return self.call.playout.gate

    @property
    def items(self) -> dict[str, Item]:
        return self.call.playout.conversation.items

    @property
    def actions(self) -> list[m.Action]:
        """All that was ever done."""
        return [action for _, action in self.said]

    def at(self, now_ms: int, event: m.Event) -> list[m.Action]:
        """Feed one event; wake-ups that fell due before it are fed first, as the runner does."""
        assert now_ms >= self.now_ms, "a call's clock never runs backwards"
        while (due_ms := self.call.deadline_ms) is not None and due_ms <= now_ms:
            self.now_ms = max(due_ms, self.now_ms)
            self._feed(m.WakeUp())
        self.now_ms = now_ms
        return self._feed(event)

    def until(self, now_ms: int) -> list[m.Action]:
        """Nothing but the clock until then; returns what the wake-ups brought."""
        before = len(self.said)
        while (due_ms := self.call.deadline_ms) is not None and due_ms <= now_ms:
            self.now_ms = max(due_ms, self.now_ms)
            self._feed(m.WakeUp())
        self.now_ms = now_ms
        return [action for _, action in self.said[before:]]

    def _feed(self, event: m.Event) -> list[m.Action]:
        actions: list[m.Action] = []
        voice = self.voice
        if isinstance(event, m.CallerAudio) and voice.update(event.audio):
            # Told by the gate, as the runner does.
            actions += self.call.receive(m.CallerVoice(voice.loud, voice.steady), self.now_ms)
        actions += self.call.receive(event, self.now_ms)
        self.said += [(self.now_ms, action) for action in actions]
        return actions

    def echo(self, now_ms: int, count: int | None = None) -> list[m.Action]:
        """The carrier echoes the marks not echoed yet (the next `count` of them)."""
        marks = [action for _, action in self.said if isinstance(action, m.SendMark) and action != PROBE]
        names = [mark.name for mark in marks]
        due = names[self.echoed :] if count is None else names[self.echoed : self.echoed + count]
        self.echoed += len(due)
        return [action for name in due for action in self.at(now_ms, m.MarkReached(name))]

    def speaks(self, now_ms: int, *events: m.Event) -> list[m.Action]:
        """These events at the same millisecond; returns all that they brought."""
        return [action for event in events for action in self.at(now_ms, event)]


def new_call(**config: Any) -> LiveCall:
    """A call of which nothing has happened yet. Its model says what the test says, so nobody asks it for a
    sign of life.
    """
    return LiveCall(Call(m.CallConfig(**{"probe_ms": 0, **config})))


@pytest.fixture
def live_call() -> Any:
    """`live_call(**config)` gives a call whose legs are both up, at 0 ms."""

    def make(**config: Any) -> LiveCall:
        interrupts = config.pop("interrupts", True)
        call = LiveCall(Call(m.CallConfig(**{"media_gap_ms": 10_000_000, "probe_ms": 0, **config})))
        call.at(0, m.Started("MZ1", "CA1", "AC1"))
        call.at(0, m.SessionCreated())
        call.at(0, m.SessionUpdated(interrupts=interrupts))
        call.at(0, m.Admitted())
        return call

    return make
