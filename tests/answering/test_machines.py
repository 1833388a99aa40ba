"""Forty mailboxes. In the recording of each the message lies whole and once, 400 to 800 ms after the tone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bridge.codecs.audible import is_audible_block
from bridge.core import messages as m
from tests.codecs.lines import mixed, music, noise

from .callees import Callee, beep, placed, said, silence

LEAVE = "Please leave a message after the tone."


@dataclass(frozen=True)
class Machine:
    greeting: bytes = said(5_000)
    words: str = "Hi, this is Bob. " + LEAVE
    hz: int = 1_000
    ms: int = 400
    dbfs: int = -15
    pause_ms: int = 300
    line: bytes = b""
    """What is on the line all the time."""
    then: bytes = b""
    """What follows the first tone: another one, at the end of which the recording begins."""
    verdict: tuple[int, str] | None = None

    @property
    def sound(self) -> bytes:
        whole = self.greeting + silence(self.pause_ms) + beep(self.ms, self.hz, self.dbfs) + self.then
        return mixed(whole, self.line) if self.line else whole


USUAL = Machine()
PAUSES = said(1_200) + silence(700) + said(1_900, 3.0) + silence(900) + said(2_500, 7.0)
MACHINES: dict[str, Machine] = {
    **{f"{hz} Hz": replace(USUAL, hz=hz) for hz in (350, 425, 480, 620, 800, 1_004, 1_400, 2_000, 2_600)},
    **{f"{ms} ms": replace(USUAL, ms=ms) for ms in (120, 150, 200, 250, 600, 800, 1_000, 1_500)},
    **{f"{dbfs} dBFS": replace(USUAL, dbfs=dbfs) for dbfs in (-6, -10, -25, -30, -35)},
    "no pause before the tone": replace(USUAL, pause_ms=0),
    "a second before the tone": replace(USUAL, pause_ms=1_000),
    "two seconds before the tone": replace(USUAL, pause_ms=2_000),
    "five seconds before the tone": replace(USUAL, pause_ms=5_000),
    "a greeting with pauses": replace(USUAL, greeting=PAUSES),
    "a greeting with pauses, no words": replace(USUAL, greeting=PAUSES, words=""),
    "no words": replace(USUAL, words=""),
    "another language": replace(USUAL, words="Bitte hinterlassen Sie eine Nachricht nach dem Signalton."),
    "a language that is not known": replace(USUAL, words="Jätä viesti äänimerkin jälkeen."),
    "a short greeting": replace(USUAL, greeting=said(1_600), words="Leave a message."),
    "a very short greeting, no words": replace(USUAL, greeting=said(900), words=""),
    "no greeting": replace(USUAL, greeting=silence(1_000), words=""),
    "a long greeting": replace(USUAL, greeting=said(22_000)),
    "a tone that dies away": replace(USUAL, then=b"".join(beep(20, dbfs=-15 - 3 * n) for n in range(1, 9))),
    "the carrier hears its tone before there is one": replace(USUAL, verdict=(2_500, "machine_end_beep")),
    "two tones": replace(USUAL, ms=200, then=silence(150) + beep(200)),
    "three tones": replace(USUAL, ms=150, then=silence(250) + beep(150) + silence(250) + beep(150)),
    "two tones, the second higher": replace(USUAL, ms=200, then=beep(300, 1_400)),
    "a noisy line": replace(USUAL, line=noise(40, -45)),
    "a hissing line": replace(USUAL, line=noise(40, -58)),
    "music under the greeting": replace(USUAL, greeting=mixed(said(6_000), music(6, -32))),
    "music with tones in it": replace(USUAL, greeting=music(3) + beep(250, 660) + music(2), words=LEAVE),
    "the carrier says so late": replace(USUAL, verdict=(7_600, "machine_end_beep")),
    "the carrier says so early": replace(USUAL, verdict=(3_000, "machine_start")),
    "the carrier takes it for a person": replace(USUAL, verdict=(2_000, "human")),
}


HEARD = said(3_000, 0.5).strip(b"\xff")
OFTEN = {name for at, name in enumerate(MACHINES) if at % 15 == 0}
"""These in each run; all of them with the attacks."""
EACH = [pytest.param(name, marks=() if name in OFTEN else pytest.mark.hostile) for name in MACHINES]


@pytest.mark.parametrize("name", EACH)
def test_the_message_lies_whole_and_once_after_the_tone(name: str) -> None:
    machine = MACHINES[name]
    callee = placed(recorded=True).says(200, machine.sound, machine.words)
    if machine.verdict is not None:
        callee.verdict(*machine.verdict)
    callee.until(45_000)
    assert callee.left == [m.MessageLeft(3_000, 3_000, whole=True)], callee.kinds
    assert callee.ended == m.Ended(m.Reason.WE_HUNG_UP, "a message was left")
    recorded = recording_of(callee, machine)
    first = next(at for at in range(0, len(recorded), 80) if is_audible_block(recorded[at : at + 80]))
    assert 400 <= first // 8 <= 800
    begin = recorded.find(HEARD[:800])
    assert recorded[begin:].startswith(HEARD), "whole, without a gap"
    assert recorded.count(HEARD[:800]) == 1, "once"


def recording_of(callee: Callee, machine: Machine) -> bytes:
    """What the mailbox was played from the end of its (last) tone on."""
    theirs, ours = callee.call.phone.recording()
    end = machine.sound[-800:]
    return ours[theirs.rfind(end) + len(end) :]


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("words", "waits_ms"), [("Hi, this is Bob. Leave a message.", 1_500), (LEAVE, 6_000)]
)
def test_a_mailbox_without_a_tone_gets_it_when_its_greeting_is_over(words: str, waits_ms: int) -> None:
    callee = placed(recorded=True).says(200, said(5_000), words).until(20_000)
    assert callee.left == [m.MessageLeft(3_000, 3_000, whole=True)]
    over_ms = 5_280
    assert over_ms + waits_ms - 100 <= callee.loud_ms()[0] <= over_ms + waits_ms + 400


@pytest.mark.hostile
def test_a_message_that_was_too_early_is_left_anew_at_the_tone() -> None:
    machine = replace(USUAL, pause_ms=8_000)
    callee = placed(recorded=True).says(200, machine.sound, machine.words).until(30_000)
    assert callee.left == [m.MessageLeft(3_000, 3_000, whole=True)]
    recorded = recording_of(callee, machine)
    first = next(at for at in range(0, len(recorded), 80) if is_audible_block(recorded[at : at + 80]))
    assert 400 <= first // 8 <= 800
    assert recorded[recorded.find(HEARD[:800]) :].startswith(HEARD)
    assert recorded.count(HEARD[:800]) == 1
