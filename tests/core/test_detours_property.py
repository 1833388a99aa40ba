"""A thousand random orders of all that carrier, target, caller and model may say: one outcome, once."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.call import Call

from .conftest import delta

KINDS = (m.DetourKind.TRANSFER, m.DetourKind.TRANSFER, m.DetourKind.KEYS, m.DetourKind.HOLD)
SOUNDS = (m.PlayAudio, m.SendMark)


class Chaos:
    """One call, and whatever may happen to it in any order. `seed` decides all of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        config = m.CallConfig(
            probe_ms=0, detour_keep_ms=self.random.choice((0, 5_000, 120_000)), media_gap_ms=10**9
        )
        self.call = Call(config)
        self.now_ms = self.streams = self.wishes = self.responses = 0
        self.open_stream = True
        self.said: list[m.Action] = []
        self.wished: list[str] = []
        self.marks: list[str] = []
        for event in (
            m.Started("MZ0", "CA1", "AC1"),
            m.SessionCreated(),
            m.SessionUpdated(),
            m.Admitted(),
        ):
            self.feed(event)

    def feed(self, event: m.Event) -> None:
        away = self.call.phase is m.Phase.AWAY
        actions = self.call.receive(event, self.now_ms)
        if away and self.call.phase is m.Phase.AWAY:
            assert not [one for one in actions if isinstance(one, (*SOUNDS, m.AppendAudio, m.CreateResponse))]
        for action in actions:
            match action:
                case m.SendMark(name):
                    self.marks.append(name)
                case m.LeaveStream():
                    self.open_stream = False
        self.said += actions

    def pass_ms(self, ms: int) -> None:
        until_ms = self.now_ms + ms
        while (due_ms := self.call.deadline_ms) is not None and due_ms <= until_ms:
            self.now_ms = max(due_ms, self.now_ms)
            self.feed(m.WakeUp())
        self.now_ms = until_ms

    def result(self) -> m.DetourResult:
        return m.DetourResult(self.random.choice(list(m.TransferOutcome)))

    def some_id(self) -> str:
        return self.random.choice(self.wished or ["none"]) if self.random.random() < 0.3 else self.last

    @property
    def last(self) -> str:
        return self.wished[-1] if self.wished else "none"

    def happen(self) -> None:  # noqa: C901  one case for each thing that may happen
        up = self.call.up.epoch
        which: Any = self.random.randrange(17)
        detour_id = self.some_id()
        match which:
            case 0 | 1:
                self.wishes += 1
                self.wished.append(f"{self.wishes:032x}")
                mode = self.random.choice(list(m.TransferMode))
                self.feed(m.Detour(self.last, self.random.choice(KINDS), "billing", mode))
            case 2:
                self.feed(m.EndDetour(self.random.choice(("", detour_id))))
            case 3 | 4:
                step = self.random.choice(list(m.LegStep))
                result = self.result() if step is m.LegStep.ENDED else None
                self.feed(m.LegState(detour_id, step, result, cold_instead=self.random.random() < 0.3))
            case 5 | 6:
                self.feed(m.WentAway(detour_id))
            case 7:
                self.feed(m.Returned(detour_id, self.result()))
            case 8:
                if self.random.random() < 0.3:
                    self.feed(m.DetourOver(detour_id, self.result()))
            case 9 | 10 if not self.open_stream:
                self.streams += 1
                self.open_stream = True
                self.feed(m.Started(f"MZ{self.streams}", "CA1", "AC1"))
            case 11 if self.open_stream:
                self.feed(m.SpeechStarted(epoch=up))
            case 12 if self.open_stream:
                self.feed(m.SpeechStopped(epoch=up))
            case 13:
                self.responses += 1
                name = f"r{self.responses}"
                asked = self.call.playout.gate.asked
                self.feed(m.ResponseStarted(name, asked.tag if asked else "", epoch=up))
                self.feed(delta(name, 200, response=name))
                self.feed(m.ResponseDone(name, epoch=up))
            case 14 if self.open_stream:
                marks, self.marks = self.marks, []
                for mark in marks:
                    self.feed(m.MarkReached(mark))
            case 15 if up:
                self.feed(m.SessionCreated(epoch=up))
                self.feed(m.SessionUpdated(epoch=up))
            case 16:
                rare = self.random.random()
                if rare < 0.15:
                    self.feed(m.UpstreamClosed(1006, epoch=up))
                elif rare < 0.2 and self.open_stream:
                    self.feed(m.Stopped())
                elif rare < 0.25:
                    self.feed(m.HangUp())
                elif rare < 0.28:
                    self.feed(m.Say(f"say:{self.now_ms}", "Hello"))
        self.pass_ms(self.random.choice((0, 1, 20, 300, 2_000, 20_000)))


@pytest.mark.parametrize("block", range(10))
def test_each_wish_has_one_outcome_once(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        chaos = Chaos(seed)
        for _ in range(25):
            chaos.happen()
        if chaos.call.phase is not m.Phase.ENDED:
            chaos.feed(m.Stopped() if chaos.call.phase is not m.Phase.AWAY else m.WakeUp())
        chaos.pass_ms(2 * 3_600_000)
        assert chaos.call.phase is m.Phase.ENDED, seed
        told = Counter(action.detour_id for action in chaos.said if isinstance(action, m.DetourEnded))
        before_the_end = [wish for wish in chaos.wished if wish in told]
        assert set(told.values()) <= {1}, seed
        assert before_the_end == chaos.wished[: len(before_the_end)], seed
        assert isinstance(chaos.said[-1], m.Ended), seed
        begun = [one.detour_id for one in chaos.said if isinstance(one, m.DetourMoved)]
        assert set(begun) <= set(told), seed
        placed = {one.detour_id for one in chaos.said if isinstance(one, m.PlaceLeg)}
        assert {one.detour_id for one in chaos.said if isinstance(one, m.CancelLeg)} <= placed | set(told), (
            seed
        )
