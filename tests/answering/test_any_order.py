"""Whatever is heard, said, reported and decided, in any order: the call neither fails nor spins, and leaves
one message at most.
"""

from __future__ import annotations

import random
from base64 import b64encode
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.due import NEVER
from bridge.core.mailbox_message import MOST_BYTES, MailboxMessage
from tests.core.conftest import speech

KINDS = list(m.AnswerKind)
VERDICTS = ("human", "machine_start", "machine_end_beep", "machine_end_silence", "fax", "unknown", "other")


def event(chance: random.Random, number: int) -> Any:
    item = f"u{number}"
    return chance.choice([
        m.CallerVoice(True),
        m.CallerVoice(False),
        m.CallerVoice(True, steady=True),
        m.CallerTone(1_000, 80),
        m.CallerTone(1_000, chance.choice([60, 400, 3_000]), over=True, quiet_ms=chance.choice([0, 200])),
        m.AnswerWords(chance.choice(KINDS), chance.random() < 0.7, chance.random() < 0.3),
        m.MachineVerdict(chance.choice(VERDICTS), 100),
        m.ReportAnswer(chance.choice(KINDS)),
        m.DecideMachine(chance.choice(["hang_up", "voicemail", "talk", "else"])),
        m.SpeechStarted(item),
        m.SpeechStopped(item),
        m.TurnCommitted(item),
        m.CallerTranscribed(item, chance.choice(["", "Hello?"])),
        m.ResponseStarted(f"r{number}", chance.choice(["greeting", ""])),
        m.ResponseStarted(f"r{number}", "voicemail", aside=True),
        m.AudioDelta(f"r{number - 1}", f"i{number - 1}", 0, "AAAA", 3),
        m.ResponseDone(f"r{number - 1}"),
        m.Play(f"p{number}", speech(500)),
        m.Say(f"s{number}", "Hello."),
        m.UpstreamClosed(1006),
    ])  # fmt: skip


def played(seed: int) -> list[m.Action]:
    chance = random.Random(seed)
    phrases = {"voicemail": speech(2_000, "Call us.")} if seed % 2 else {}
    rules = m.AnswerRules(
        on_machine=chance.choice(["hang_up", "voicemail", "ask"]), message="" if phrases else "Call us.",
        screening=chance.choice(["", "It is us."]), speak_first=chance.random() < 0.2,
    )  # fmt: skip
    config = m.CallConfig(outbound=rules, phrases=phrases, greeting="Hello.", media_gap_ms=10**9, marks=False)
    call, now_ms, told = Call(config), 0, []
    begin = (m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.Admitted(), m.SessionUpdated())
    for one in (*begin, *(event(chance, number) for number in range(1, 60))):
        told += call.receive(one, now_ms)
        until_ms, woken = now_ms + chance.choice([0, 20, 80, 300, 600, 1_600, 4_000, 11_000]), 0
        while call.deadline_ms is not None and call.deadline_ms <= min(until_ms, NEVER - 1):
            woken = woken + 1 if call.deadline_ms <= now_ms else 0
            assert woken < 50, "it is woken again and again"
            now_ms = max(now_ms, call.deadline_ms)
            told += call.receive(m.WakeUp(), now_ms)
        now_ms = until_ms
    return told


@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 3_000), marks=pytest.mark.hostile)])
def test_in_any_order(seeds: range) -> None:
    for seed in seeds:
        told = played(seed)
        left = [one for one in told if isinstance(one, m.MessageLeft)]
        assert len(left) <= 1, seed
        assert len(told) < 2_000, seed


def test_a_message_without_end_is_bounded() -> None:
    rules = m.AnswerRules(on_machine="voicemail", message="Call us.")
    message = MailboxMessage(m.CallConfig(outbound=rules))
    assert message.request("", 1) is not None
    assert message.request("", 1) is None, "once a session"
    message.began("r1", "voicemail")
    second = m.AudioDelta("r1", "i1", 0, b64encode(bytes(8_000)).decode(), 8_000)
    for _ in range(600):
        message.delta(second)
    message.done("r1", "completed")
    assert message.sound is not None
    assert message.sound.size_bytes == MOST_BYTES
