"""Where a session's time goes by with the sound that it is sent: sound is always sent, at the pace of the
clock."""

from __future__ import annotations

from itertools import pairwise

from bridge.core import messages as m
from bridge.core.caller_audio import silence

from .live_session import LiveSession

QUIET = silence(160)


def appended(call: LiveSession) -> list[tuple[int, str]]:
    return [(at_ms, one.audio) for at_ms, one in call.said if isinstance(one, m.AppendAudio)]


def test_frames_go_up_as_they_are_and_nothing_beside_them() -> None:
    call = LiveSession()
    call.until(2_000)
    call.said.clear()
    call.until(4_000)
    assert [audio for _, audio in appended(call)] == [f"f{number}" for number in range(51, 151)]


def test_a_carrier_that_sends_nothing_for_a_second_costs_45_frames_of_silence() -> None:
    call = LiveSession()
    call.until(2_000)
    call.said.clear()
    call.frames = False
    call.until(2_990)
    call.frames = True
    call.until(3_200)
    sent = appended(call)
    quiet = [at_ms for at_ms, audio in sent if audio == QUIET]
    assert quiet == list(range(2_100, 3_000, 20))
    assert len(quiet) == 45
    assert [at_ms for at_ms, audio in sent if audio != QUIET] == list(range(3_000, 3_201, 20))


def test_as_much_sound_goes_up_as_time_goes_by() -> None:
    call = LiveSession()
    for second in range(1, 31):
        call.frames = second % 10 != 5
        call.until(1_000 + 1_000 * second)
    sent_ms = sum(one.size_bytes for one in call.of(m.AppendAudio)) // 8
    assert abs(sent_ms - 30_000) <= 600


def test_a_wake_up_that_is_late_is_not_made_up_for() -> None:
    call = LiveSession()
    call.until(2_000)
    call.frames = False
    call.now_ms = 5_000
    call.said.clear()
    call.feed(m.WakeUp())
    call.until(5_100)
    assert 5 <= len(appended(call)) <= 6


def test_a_muted_caller_is_silence() -> None:
    call = LiveSession()
    call.feed(m.Mute(on=True))
    call.said.clear()
    call.until(2_000)
    assert {audio for _, audio in appended(call)} == {QUIET}


def test_while_a_disclosure_plays_silence_goes_up() -> None:
    phrase = m.Sound("A" * 32_000, 24_000)
    call = LiveSession(phrases={"disclosure": phrase}, disclosure="disclosure", marks=False)
    call.until(2_000)
    sent = appended(call)
    assert {audio for _, audio in sent} == {QUIET}
    assert len(sent) >= 48


def lost_and_back(*, spoke: bool) -> LiveSession:
    """The session is lost for a second, at 3,000 ms; perhaps the caller speaks meanwhile, for 600 ms."""
    call = LiveSession()
    call.until(3_000)
    call.feed(m.UpstreamClosed(1006, "", 1))
    call.streams = False
    call.until(3_200)
    call.speaks(spoke)
    call.until(3_800)
    call.speaks(False)
    call.until(4_000)
    call.feed(m.UpstreamOpened(2), m.SessionCreated(2, "live_2"), m.SessionUpdated(2))
    call.streams = True
    call.said.clear()
    return call


def test_what_the_caller_said_meanwhile_goes_up_at_the_pace_of_the_clock() -> None:
    call = lost_and_back(spoke=True)
    call.until(7_000)
    sent = appended(call)
    assert all(later - sooner >= 10 for (sooner, _), (later, _) in pairwise(sent))
    words = [audio for _, audio in sent if audio != QUIET]
    assert words == sorted(words, key=lambda name: int(name[1:]))
    # What was said while no session listened is there, from its beginning on.
    assert {f"f{number}" for number in range((3_220 - 1_000) // 20, (3_800 - 1_000) // 20)} <= set(words)
    # The silence behind it is left out: what the caller says now is late no more.
    assert call.call.caller_audio.open
    assert sent[-1][1] == f"f{(7_000 - 1_000) // 20}"


def test_silence_that_was_kept_is_not_sent() -> None:
    call = lost_and_back(spoke=False)
    call.until(4_100)
    assert appended(call)[0][1] == f"f{(4_020 - 1_000) // 20}"


def test_a_stream_that_stops_is_a_lost_session() -> None:
    call = LiveSession()
    call.until(3_000)
    call.streams = False
    call.until(4_400)
    assert not call.of(m.CloseUpstream)
    call.until(4_600)
    assert [one.epoch for one in call.of(m.DialUpstream)] == [1, 2]


def test_a_stall_of_our_own_is_none_of_the_vendors() -> None:
    call = LiveSession()
    call.until(3_000)
    call.now_ms = 6_000
    call.feed(m.WakeUp())
    assert not call.of(m.CloseUpstream)
    call.until(9_000)
    assert not call.of(m.CloseUpstream)
