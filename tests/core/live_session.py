"""A call whose model listens and speaks at once, in virtual time: the core alone, told what its adapter would
tell it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.caller_audio import silence
from bridge.upstreams.live import LIVE

Kind = TypeVar("Kind", bound=m.Message)
HOURS = {"type": "function", "name": "hours", "parameters": {"type": "object"}}
STREAM = m.StreamAudio(silence(800), 800, loud=False)


class LiveSession:
    """Both legs are up at 1,000 ms, and a frame comes each 20 ms from there on, until `frames` is off. `said`
    has all that the core decided, with its time."""

    def __init__(
        self, session: m.SessionConfig | None = None, *, tools: str = "backend", **fields: Any
    ) -> None:
        can = msgspec.structs.replace(LIVE, tools=tools)
        config = m.CallConfig(session=session or m.SessionConfig(), capabilities=can, **fields)
        self.call = Call(config)
        self.said: list[tuple[int, m.Action]] = []
        self.now_ms = 0
        self.frames = self.streams = True
        self._frame = 0
        self.feed(m.Ringing(), m.UpstreamOpened(1), m.Started("MZ1", "CA1", "AC1"), m.Admitted())
        self.now_ms = 1_000
        self.feed(m.SessionCreated(1, "live_1"), m.SessionUpdated(1))

    def feed(self, *events: m.Event) -> list[m.Action]:
        """These happen now. Returns what came of it."""
        before = len(self.said)
        for event in events:
            self.said += [(self.now_ms, action) for action in self.call.receive(event, self.now_ms)]
        return [action for _, action in self.said[before:]]

    def until(self, now_ms: int) -> list[m.Action]:
        """Time passes. Returns what came of it."""
        before = len(self.said)
        while self.now_ms < now_ms:
            self.now_ms += 1
            if self.frames and self.now_ms % 20 == 0:
                self._frame += 1
                self.feed(m.CallerAudio(f"f{self._frame}", 160, at_ms=self.now_ms))
            if self.streams and self.now_ms % 100 == 0:
                self.feed(msgspec.structs.replace(STREAM, epoch=self.call.up.epoch))
            while self.call.deadline_ms is not None and self.call.deadline_ms <= self.now_ms:
                self.feed(m.WakeUp())
        return [action for _, action in self.said[before:]]

    def of(self, kind: type[Kind]) -> list[Kind]:
        """All that the core decided of that kind."""
        return [action for _, action in self.said if isinstance(action, kind)]

    def times(self, kind: type[m.Message]) -> list[int]:
        """When."""
        return [at_ms for at_ms, action in self.said if isinstance(action, kind)]

    def speaks(self, on: bool) -> None:
        """Our ear hears the caller from now on, or no longer."""
        self.feed(m.CallerVoice(on))

    def words(self, text: str) -> None:
        """The model tells words of the caller's."""
        self.feed(m.Fragment("user", text, self.now_ms, self.now_ms + 200, self.call.up.epoch))
