"""The carrier's side of things: marks, media, streams, and phones that nobody holds."""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from bridge.doubles.phone import PhoneOptions

from .rig import WORDS, Rig, longest_silence_while_owed, numbers

NO_ECHOES = "no echoes: the carrier returns no marks: what is heard goes by the clock"


def test_marks_that_never_come_back() -> None:
    rig = Rig(options=PhoneOptions(echoes_per_mark=0))
    rig.says(5_000)
    rig.play(10_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert rig.notes == [NO_ECHOES]
    assert [spoken.heard for spoken in rig.log(m.Spoken)] == [f"1 {WORDS}", f"2 {WORDS}"]


def test_marks_that_never_come_back_and_a_barge_in() -> None:
    rig = Rig(options=PhoneOptions(echoes_per_mark=0))
    rig.says(5_000)
    rig.says(6_700)
    rig.play(11_000)
    [cut] = rig.log(m.Cut)
    assert cut.heard_ms == rig.heard_ms(2)


def test_marks_that_never_come_back_and_a_hang_up() -> None:
    rig = Rig(options=PhoneOptions(echoes_per_mark=0))
    rig.does(3_000, m.Say("bye", "Goodbye."), m.HangUp())
    rig.play(10_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert rig.reason is m.Reason.WE_HUNG_UP


def test_marks_that_never_come_back_and_a_model_that_is_a_black_hole() -> None:
    rig = Rig(options=PhoneOptions(echoes_per_mark=0))
    rig.says(4_000)
    rig.stalls(3_000)
    rig.play(12_000)
    assert rig.story() == ["answer 1", "filler", "answer 2"]


def test_marks_that_come_twice() -> None:
    rig = Rig(options=PhoneOptions(echoes_per_mark=2))
    rig.says(4_000)
    rig.says(5_700)
    rig.play(10_000)
    [cut] = rig.log(m.Cut)
    assert cut.heard_ms == rig.heard_ms(2)
    assert rig.story()[-1] == "answer 3"


@pytest.mark.parametrize("delay_ms", [150, 300])
def test_a_phone_that_is_far_away(delay_ms: int) -> None:
    rig = Rig(options=PhoneOptions(delay_out_ms=delay_ms, delay_back_ms=delay_ms))
    rig.says(4_500)
    rig.stalls(4_400)
    rig.play(12_000)
    assert rig.story() == ["answer 1", "filler", "answer 2"]


def test_no_media_for_a_while_in_the_middle_of_a_word_is_padded_and_answered() -> None:
    rig = Rig()
    rig.says(4_000, 300)
    rig.at(4_320, lambda: rig.from_phone(rig.phone.withhold_media(3_000, rig.now_ms)))
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]


def test_no_media_for_five_seconds_ends_the_stream_and_not_the_call() -> None:
    """Without an intent: the carrier asks what comes next, and the call is resumed."""
    rig = Rig()
    rig.at(4_000, lambda: rig.from_phone(rig.phone.withhold_media(10_000, rig.now_ms)))
    rig.play(12_000)
    assert (rig.reason, rig.intent) == (m.Reason.NO_MEDIA, None)
    assert 8_980 <= rig.said[-1][0] <= 9_000


def test_the_caller_hangs_up() -> None:
    """`stop`, then the close: one end, told once."""
    rig = Rig()
    rig.at(800, lambda: rig.from_phone(rig.phone.hang_up(rig.now_ms)))
    rig.play(3_000)
    assert (rig.reason, rig.intent) == (m.Reason.CALLER_HUNG_UP, None)
    assert len(rig.log(m.Ended)) == 1
    assert rig.log(m.CloseUpstream) == [m.CloseUpstream(1)]


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011])
def test_the_carrier_closes_without_a_stop(code: int) -> None:
    rig = Rig()
    rig.at(800, lambda: rig.from_phone(rig.phone.drop(rig.now_ms, code=code)))
    rig.play(3_000)
    assert (rig.reason, rig.intent) == (m.Reason.CARRIER_LOST, None), "so the stream is opened again"
    assert rig.ended is not None
    assert rig.ended.detail == f"{code}, no stop"


def test_a_stream_that_is_never_opened_costs_nothing_but_a_connection() -> None:
    rig = Rig(unclaimed_ms=5_000)
    rig.feed(m.Ringing())
    rig.until(6_000)
    assert rig.reason is m.Reason.UNCLAIMED
    assert rig.agent.asked == []


def test_a_stranger_gets_nothing_however_long_they_wait() -> None:
    rig = Rig(disclosure="disclosure")
    rig.says(1_000)
    rig.start(admitted=False)
    rig.until(10_000)
    assert rig.story() == []
    assert [event["type"] for event in rig.server.log] == ["session.update"]


def test_a_phone_that_stops_reading_for_four_seconds_hears_on() -> None:
    rig = Rig()
    rig.says(4_000)
    rig.at(5_600, lambda: rig.from_phone(rig.phone.stall(rig.now_ms)))
    rig.at(9_600, lambda: rig.from_phone(rig.phone.resume(rig.now_ms)))
    rig.says(13_000)
    rig.start()
    rig.until(18_000)
    assert rig.story()[-1] == "answer 3"
    assert rig.ended is None


def test_a_phone_that_stops_reading_is_given_up_after_30_s() -> None:
    """The caller can hear nothing, whatever we do; but the carrier can be let ask what comes next."""
    rig = Rig()
    rig.says(4_000)
    rig.at(5_600, lambda: rig.from_phone(rig.phone.stall(rig.now_ms)))
    rig.says(8_000)
    rig.start()
    rig.until(60_000)
    assert (rig.reason, rig.intent) == (m.Reason.CARRIER_LOST, None)
    assert rig.ended is not None
    assert rig.ended.detail == "our sound has not been played for 30000 ms"
    assert 35_600 <= rig.said[-1][0] <= 39_500
    assert longest_silence_while_owed(rig.phone, rig.call.config) > 2_000


def test_a_newer_stream_takes_the_call_over_and_the_model_goes_on() -> None:
    rig = Rig()
    rig.says(4_000)
    rig.moves(6_000)
    rig.at(9_000, lambda: rig.from_phone(rig.phone.say(b"\x10" * 4_800, rig.now_ms)))
    rig.start()
    rig.until(13_000)
    assert rig.story() == ["answer 3", "answer 4"]
    assert numbers(rig.earlier.heard).count(2) == 6_000 - 5_322
    assert rig.server.truncations == {"item_3": 678}
    assert rig.notes == ["newer stream: the call goes on over it"]
    assert rig.dialled == [0]


def test_a_newer_stream_in_a_quiet_moment_is_nobodys_matter() -> None:
    rig = Rig()
    rig.moves(3_000)
    rig.at(4_000, lambda: rig.from_phone(rig.phone.say(b"\x10" * 4_800, rig.now_ms)))
    rig.start()
    rig.until(8_000)
    assert rig.story() == ["answer 2"]
    assert rig.agent.greetings == [1]


def test_frames_that_a_carrier_should_not_send_are_dropped() -> None:
    rig = Rig()
    rig.says(4_000)
    broken = ["{", '{"event":"media"}', '{"event":"mark","streamSid":"MZ9","mark":{"name":"1"}}', "[1]"]
    rig.at(5_500, lambda: rig.from_phone(broken))
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert sum(rig.call.stats.frames_refused.values()) == 4
