"""The sound of a recorded call on two channels, held against what the phone on the line heard."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from bridge.core import messages as m
from bridge.doubles.agents import Asked, Speech
from bridge.doubles.phone import PhoneOptions
from bridge.errors import ConfigError
from bridge.recording import replay
from bridge.recording.channels import channels
from bridge.recording.silencing import silenced
from bridge.testing.call import begin
from bridge.testing.scripted_call import ScriptedCall

MS = 8
"""Bytes of a millisecond."""
LOUD = bytes(0x80 | letter & 0x3F for letter in range(256))


class Talker:
    """A model of many words, each byte of which can be told from the others around it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def answer(self, _asked: Asked) -> Sequence[Speech]:
        return [Speech(noise(self._random, self._random.randint(2_000, 6_000)), "and so on")]


def noise(chance: random.Random, ms: int) -> bytes:
    return chance.randbytes(ms * MS).translate(LOUD)


def spoken_over(seed: int, phone: PhoneOptions, turns: int = 4, *, sound: bool = True) -> ScriptedCall:
    """A call in which the caller asks and then speaks into every answer."""
    chance = random.Random(seed)
    call = begin(mind=Talker(seed), recording={"sound": sound}, phone=phone)
    call.at(500)
    for _ in range(turns):
        call.caller.interrupts(noise(chance, chance.randint(300, 700)), words="tell me more")
        call.wait(chance.randint(2_000, 4_500))
    call.wait(8_000)
    call.caller.hangs_up()
    return call.wait(100)


def detours(call: ScriptedCall, seed: int) -> ScriptedCall:
    """The caller asks for a target twice and comes back each time, after 3 s and after 20 s."""
    chance = random.Random(seed)
    call.returns("busy", after_ms=3_000).returns("no_answer", after_ms=20_000).at(500)
    for number in range(2):
        call.caller.says(noise(chance, 600), words="put me through")
        call.wait(3_000)
        call.wish(m.Detour(f"{number:032}", name="billing"))
        call.wait(32_000)
    call.caller.says(noise(chance, 700), words="thank you")
    call.wait(9_000)
    call.caller.hangs_up()
    return call.wait(100)


def around(middle_ms: int, spread_ms: int, seed: int) -> Iterator[int]:
    chance = random.Random(seed)
    while True:
        yield middle_ms + chance.randint(-spread_ms, spread_ms)


def shift_ms(ours: bytes, theirs: bytes, most_ms: int = 200) -> int:
    """By how much theirs comes later."""
    left = (np.frombuffer(ours, np.uint8) != 0xFF).astype(float)
    right = (np.frombuffer(theirs, np.uint8) != 0xFF).astype(float)
    size = min(len(left), len(right)) - most_ms * MS
    return max(range(most_ms), key=lambda ms: float(left[:size] @ right[ms * MS : ms * MS + size]))


def sounds(track: bytes, least_ms: int = 60) -> list[tuple[int, int]]:
    """Where there is sound: from, to, in ms; gaps shorter than `least_ms` are part of it."""
    loud = np.flatnonzero(np.frombuffer(track, np.uint8) != 0xFF)
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > least_ms * MS)
    starts = [loud[0], *loud[breaks + 1]]
    ends = [*loud[breaks], loud[-1]]
    return [(int(start) // MS, int(end + 1) // MS) for start, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("delay_ms", [0, 85])
def test_with_a_fixed_delay_nearly_every_byte_is_equal_at_one_shift(delay_ms: int) -> None:
    call = spoken_over(delay_ms, PhoneOptions(delay_out_ms=delay_ms, delay_back_ms=delay_ms))
    both = channels(call.lines)
    heard = call.phone.recording()[1]
    at = shift_ms(both.heard, heard) * MS
    size = min(len(both.heard), len(heard) - at)
    ours, theirs = (np.frombuffer(track, np.uint8) for track in (both.heard[:size], heard[at : at + size]))
    assert at == delay_ms * MS
    assert np.count_nonzero(theirs != 0xFF) > 6_000 * MS  # there is something to compare
    assert np.count_nonzero(ours != theirs) <= 0.001 * size
    assert len(both.caller) == len(both.heard)


def test_the_callers_channel_is_what_they_said_to_the_byte() -> None:
    chance = random.Random(5)
    call = begin(mind=Talker(5), recording={"sound": True})
    for _ in range(4):
        call.caller.says(noise(chance, chance.randint(400, 1_900)), words="and then")
        call.wait(chance.randint(4_000, 9_000))
    said, ours = call.phone.recording()[0], channels(call.lines).caller
    assert sounds(said, 1)[0][0] - sounds(ours, 1)[0][0] in range(-5, 6)
    assert ours.strip(b"\xff") == said.strip(b"\xff")


def test_under_jitter_each_cut_is_where_the_caller_heard_it() -> None:
    errors_ms: list[int] = []
    for seed in range(4):
        there, back = around(60, 30, seed), around(60, 30, seed + 100)
        call = spoken_over(seed, PhoneOptions(delay_out_ms=there, delay_back_ms=back))
        ours, theirs = sounds(channels(call.lines).heard), sounds(call.phone.recording()[1])
        assert len(ours) == len(theirs)
        errors_ms += [
            abs((mine[1] - mine[0]) - (real[1] - real[0])) for mine, real in zip(ours, theirs, strict=True)
        ]
    assert len(errors_ms) > 15
    assert np.percentile(errors_ms, 95) <= 50


@pytest.mark.parametrize("keep_ms", [60_000, 5_000])
def test_of_a_call_that_goes_away_and_comes_back_each_stream_has_its_time(keep_ms: int) -> None:
    """With the model's session kept, or dialled anew. While the caller is away both channels are silent."""
    call = detours(begin(mind=Talker(3), recording={"sound": True}, detour_keep_ms=keep_ms), 3)
    both = channels(call.lines)
    phones = [(phone, phone.started_ms or 0) for phone in call.rehearsal.phones]
    assert len(phones) == 3
    after = 0
    for phone, started_ms in phones:
        start = started_ms * MS
        assert both.heard[after:start].strip(b"\xff") == b""
        after = start + len(phone.heard)
        assert both.heard[start:after].ljust(len(phone.heard), b"\xff") == phone.heard
        assert sounds(phone.heard)
        said = phone.recording()[0]
        [(from_ms, to_ms)] = sounds(said)
        [ours] = [one for one in sounds(both.caller) if abs(one[0] - started_ms - from_ms) <= 5]
        assert ours[1] - ours[0] == to_ms - from_ms
        assert said.strip(b"\xff") in both.caller
    assert len(sounds(both.caller)) == 3


def test_what_a_stream_had_not_played_when_another_took_its_place_is_not_in_it() -> None:
    call = begin(mind=Talker(3), recording={"sound": True}).at(500)
    call.caller.says(noise(random.Random(1), 600), words="tell me")
    call.wait(3_000)
    call.rehearsal.hang_up_phone()
    call.rehearsal.reopen({})
    call.wait(15_000)
    before, after = call.rehearsal.phones
    started_ms = after.started_ms or 0
    [cut] = sounds(before.heard)
    assert cut[1] == started_ms  # they had more to hear
    assert sounds(channels(call.lines).heard) == [
        cut,
        *((from_ms + started_ms, to_ms + started_ms) for from_ms, to_ms in sounds(after.heard)),
    ]


def test_what_the_carrier_had_not_played_when_the_call_left_it_is_not_in_it() -> None:
    """Echoes come for 800 ms of sound, and then no more: the carrier stands still, which the ledger believes
    a second later.
    """
    echoes = PhoneOptions(delay_back_ms=(0 if number < 12 else 90_000 for number in range(1_000)))
    call = begin(recording={"sound": True}, phone=echoes).returns("busy", after_ms=9_000)
    call.at(500).model.speaks("I am putting you through.", ms=4_000)
    call.at(600).wish(m.Detour("1" * 32, name="billing"))
    call.wait(14_000)
    [heard] = sounds(channels(call.lines).heard)
    assert heard[0] == 500
    assert heard[1] - heard[0] < 2_000


def test_a_recording_without_sound_says_how_to_keep_it() -> None:
    call = begin().wait(1_000)
    with pytest.raises(ConfigError, match="BRIDGE_RECORD_AUDIO=1"):
        channels(call.lines)


def test_around_a_hidden_key_the_callers_channel_is_silent() -> None:
    call = begin(mind=Talker(1), recording={"sound": True})
    call.rehearsal.feed(m.ReadKeys(True))
    call.caller.says(noise(random.Random(3), 2_000), words="my number is")
    call.wait(1_000)
    call.caller.presses("4")
    call.wait(1_500)
    track = channels(call.lines).caller
    assert sounds(track, 150)[0][1] in range(795, 806)
    assert sounds(track, 150)[1][0] in range(1_195, 1_206)


@pytest.mark.parametrize("seed", range(2))
def test_a_recording_without_its_sound_is_what_would_have_been_recorded_without_it(seed: int) -> None:
    lines = list(silenced(spoken_over(seed, PhoneOptions()).lines))
    assert lines == spoken_over(seed, PhoneOptions(), sound=False).lines
    assert replay(lines, strict=True).difference is None
    assert list(silenced(lines)) == lines
