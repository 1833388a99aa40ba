"""Whatever turns, tools and cancels do: each debt is paid once or named unpaid.

The server here has a conversation of its own: it answers turns by itself (or loses them), answers what it is
asked for, calls tools, and now and then cancels or says nothing. While the caller speaks nothing is asked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.core import messages as m
from bridge.core.call import Call

from .conftest import LiveCall, delta, only

STEPS_MS = (20, 100, 300, 700, 1_500, 4_000)
ENDS = (
    ("completed", ""),
    ("completed", ""),
    ("completed", ""),
    ("cancelled", "turn_detected"),
    ("cancelled", "client_cancelled"),
    ("incomplete", "max_output_tokens"),
)


@dataclass
class Talk:
    """A call, its server and its tools. `due` are requests that the server has not begun to answer."""

    call: LiveCall
    speaking: bool = False
    active: str = ""
    epoch: int = 1
    due: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    count: int = 0
    heard: set[str] = field(default_factory=set)
    paid: Counter[str] = field(default_factory=Counter)
    seen: int = 0

    def feed(self, *events: m.Event) -> None:
        for event in events:
            said = self.call.at(self.call.now_ms, event)
            self.look(said)

    def look(self, said: list[m.Action]) -> None:
        for action in said:
            if isinstance(action, m.CreateResponse):
                assert not self.speaking, "asked while the caller speaks"
                assert not self.active, "asked while a response is active"
                self.due.append(action.tag)
            elif isinstance(action, m.ToolWanted):
                self.tools.append(action.call_id)
            elif isinstance(action, m.DialUpstream):
                self.active, self.epoch = "", action.epoch
                self.due.clear()
                self.feed(m.SessionCreated(self.epoch), m.SessionUpdated(self.epoch))
        self.ledger()

    def ledger(self) -> None:
        debts = self.call.call.playout.debts
        fresh = [*debts.closed][len(debts.closed) - (self._closed() - self.seen) :]
        self.seen = self._closed()
        for closed in fresh:
            assert bool(closed.paid_by) != bool(closed.reason), "paid or named unpaid"
            assert not closed.paid_by or closed.paid_by in self.heard, "paid by what was heard"
            self.paid[closed.key] += 1

    def _closed(self) -> int:
        return self.call.call.playout.debts.count

    def happen(self, what: int, how: int) -> None:
        match what % 8:
            case 0 | 1:
                self.wait(STEPS_MS[how % len(STEPS_MS)])
            case 2 if not self.speaking:
                self.speaking = True
                self.feed(m.SpeechStarted(epoch=self.epoch))
                if self.active:
                    self.end("cancelled", "turn_detected")
            case 2:
                self.speaking = False
                self.feed(m.SpeechStopped(epoch=self.epoch))
                if how % 4:
                    self.due.append("")
            case 3 | 4:
                self.respond(how)
            case 5 if self.tools:
                self.feed(m.ToolFinished(self.tools.pop(how % len(self.tools)), "42", respond=bool(how % 5)))
            case 6 if self.active:
                self.end(*ENDS[how % len(ENDS)])
            case 7:
                self.count += 1
                self.feed(m.Say(f"say-{self.count}", "Hello.") if how % 2 else m.Respond(f"say-{self.count}"))

    def respond(self, how: int) -> None:
        if not self.active and self.due:
            self.count += 1
            self.active = f"r{self.count}"
            self.feed(m.ResponseStarted(self.active, self.due.pop(0), epoch=self.epoch))
        if not self.active:
            return
        if how % 3 == 2:
            self.count += 1
            made = m.ToolCalled(self.active, f"f{self.count}", f"call_{self.count}", "t", f"{self.count}")
            self.feed(msgspec.structs.replace(made, epoch=self.epoch))
        else:
            self.heard.add(self.active)
            sound = delta(f"i{self.active}", 200, response=self.active)
            self.feed(msgspec.structs.replace(sound, epoch=self.epoch))

    def end(self, status: str = "completed", why: str = "") -> None:
        ended, self.active = self.active, ""
        self.feed(m.ResponseDone(ended, status, why, epoch=self.epoch))

    def wait(self, ms: int) -> None:
        until_ms = self.call.now_ms + ms
        while (due_ms := self.call.call.deadline_ms) is not None and due_ms <= until_ms:
            self.look(self.call.until(due_ms))
        self.call.until(until_ms)
        self.look(self.call.echo(until_ms))

    def calm(self) -> None:
        """The caller is silent, tools finish and the server answers all that it is asked."""
        if self.speaking:
            self.happen(2, 1)
        for _ in range(60):
            if self.active:
                self.respond(0)
                self.end()
            while self.tools:
                self.feed(m.ToolFinished(self.tools.pop(), "42"))
            self.respond(0)
            self.wait(1_000)


@settings(max_examples=150, deadline=None)
@given(script=st.binary(max_size=120), responds=st.booleans())
@example(script=bytes([2, 0, 2, 0, 3, 0, 7, 0, 6, 3]), responds=False)  # a wish waits, and a noise cuts
def test_each_debt_is_paid_once_or_named_unpaid(script: bytes, responds: bool) -> None:
    talk = Talk(LiveCall(Call(m.CallConfig(probe_ms=0, media_gap_ms=10**9, stalled_ms=10**9))))
    talk.feed(m.Started("MZ1", "CA1", "AC1"), m.SessionCreated())
    talk.feed(m.SessionUpdated(responds=responds), m.Admitted())
    for what, how in zip(script[::2], script[1::2], strict=False):
        talk.happen(what, how)
    talk.calm()
    assert list(talk.call.call.playout.debts.open) == []
    assert only(m.Ended, talk.call.actions) == []


def test_the_talk_itself_is_answered() -> None:
    talk: Any = Talk(LiveCall(Call(m.CallConfig(probe_ms=0, media_gap_ms=10**9))))
    talk.feed(m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.SessionUpdated(), m.Admitted())
    for what, how in ((2, 0), (0, 3), (2, 1), (3, 2), (6, 0), (5, 1)):
        talk.happen(what, how)
    talk.calm()
    assert talk.paid == {"turn:1": 1, "tools:call_2": 1}
    assert len(talk.heard) == 1
