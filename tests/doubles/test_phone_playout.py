"""The carrier's buffer: 8 bytes a millisecond, marks in their place, a clear that gives them all back."""

from __future__ import annotations

import json
import random
from base64 import b64encode

import pytest

from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.playout import Playout

MZ = f"MZ{1:032x}"


def media(sound: bytes) -> str:
    return json.dumps({"event": "media", "streamSid": MZ, "media": {"payload": b64encode(sound).decode()}})


def mark(name: str) -> str:
    return json.dumps({"event": "mark", "streamSid": MZ, "mark": {"name": name}})


CLEAR = json.dumps({"event": "clear", "streamSid": MZ})


class Line:
    """A started phone without caller media in the way; `at` says which marks came back by then, with their
    time.
    """

    def __init__(self, **options: object) -> None:
        self.phone = Phone(options=PhoneOptions(first_media_ms=10**9, **options))  # type: ignore[arg-type]
        self.phone.start(0)
        self.now_ms = 0

    def until(self, now_ms: int) -> list[tuple[int, str]]:
        back: list[tuple[int, str]] = []
        while (due_ms := self.phone.deadline_ms) is not None and due_ms <= now_ms:
            back += [(due_ms, json.loads(frame)["mark"]["name"]) for frame in self.phone.wake(due_ms)]
        assert self.phone.wake(now_ms) == []
        return back

    def at(self, now_ms: int, *frames: str) -> list[tuple[int, str]]:
        back = self.until(now_ms)
        for frame in frames:
            back += [(now_ms, json.loads(echo)["mark"]["name"]) for echo in self.phone.receive(frame, now_ms)]
        return back


def test_a_mark_comes_back_at_once_when_nothing_is_queued() -> None:
    line = Line()
    assert line.at(500, mark("a")) == [(500, "a")]


def test_media_without_sound_is_nothing_to_play() -> None:
    line = Line()
    assert line.at(500, media(b""), mark("a")) == [(500, "a")]
    assert line.phone.heard_spans == []


def test_a_mark_comes_back_when_playout_has_reached_it() -> None:
    line = Line()
    assert line.at(1000, media(b"\x01" * 1600), mark("a"), media(b"\x02" * 800), mark("b")) == []
    assert line.until(1199) == []
    assert line.until(1400) == [(1200, "a"), (1300, "b")]


def test_playout_counts_bytes_so_odd_sizes_do_not_add_up_to_an_error() -> None:
    line = Line()
    line.at(0, *[media(b"\x01" * 803)] * 8, mark("end"))  # 8 x 100.375 ms
    assert line.until(2000) == [(803, "end")]
    line.at(3000, media(b"\x01" * 803), mark("one"))
    assert line.until(4000) == [(3101, "one")]


def test_an_idle_line_starts_anew_and_a_busy_one_goes_on_without_a_gap() -> None:
    line = Line()
    line.at(0, media(b"\x01" * 800))  # until 100
    line.at(50, media(b"\x02" * 800))  # until 200
    line.at(200, media(b"\x03" * 800))  # seamless, until 300
    line.at(301, media(b"\x04" * 800))  # 1 ms too late
    line.until(500)
    assert line.phone.heard_spans == [(0, 2400), (301, 800)]
    assert line.phone.heard[2392:2416] == b"\x03" * 8 + b"\xff" * 8 + b"\x04" * 8


def test_a_clear_drops_what_is_queued_and_returns_all_waiting_marks_a_little_later() -> None:
    line = Line()
    line.at(0, media(b"\x01" * 1600), mark("a"), media(b"\x01" * 8000), mark("b"), mark("c"))
    assert line.at(620, CLEAR) == [(200, "a")]
    assert line.phone.cleared == [(620, 4960)]
    assert not line.phone.playing(620)
    # They meet the next reply.
    line.at(630, media(b"\x02" * 160), mark("d"))
    assert line.until(1000) == [(650, "d"), (660, "b"), (660, "c")]
    assert line.phone.heard_spans == [(0, 4960), (630, 160)]


def test_a_mark_reached_at_the_very_moment_of_the_clear_was_reached() -> None:
    line = Line()
    line.at(0, media(b"\x01" * 800), mark("a"))
    assert line.at(100, CLEAR) == [(100, "a")]
    assert line.phone.cleared == [(100, 800)]
    assert line.until(1000) == []


def test_a_clear_of_an_idle_line_changes_nothing() -> None:
    line = Line()
    line.at(0, media(b"\x01" * 800))
    line.at(300, CLEAR)
    assert line.phone.cleared == [(300, 800)]
    assert line.phone.played_bytes == 800


def test_what_was_heard_of_one_part_of_all_that_came() -> None:
    line = Line()
    line.at(0, media(b"\x01" * 1600), media(b"\x02" * 1600))
    line.at(250, CLEAR)
    line.at(400, media(b"\x03" * 1600))
    line.until(500)
    phone = line.phone
    assert phone.received_bytes == 4800
    assert phone.heard_bytes_of(0, 1600) == 1600
    assert phone.heard_bytes_of(1600, 3200) == 400
    assert phone.heard_bytes_of(3200, 4800) == 800
    assert phone.heard_bytes_of(0, 10_000) == phone.played_bytes == 2800
    # The same by the sound itself: that is what synthetic speech is made for.
    assert [phone.heard.count(n) for n in (1, 2, 3)] == [1600, 400, 800]


def test_sound_after_a_gap_and_a_clear_is_a_span_of_its_own() -> None:
    line = Line()
    line.at(0, media(b"\x01" * 80))
    line.at(50, media(b"\x02" * 80), CLEAR, media(b"\x03" * 80))
    line.until(100)
    assert line.phone.heard_spans == [(0, 80), (50, 80)]


def test_a_delay_on_the_way_out_moves_the_effect_and_keeps_the_order() -> None:
    line = Line(delay_out_ms=iter([60, 10, 90, 30]))
    line.at(0, media(b"\x01" * 800), mark("a"))  # both arrive at 60: the mark can't overtake
    assert line.until(150) == []
    line.at(150, media(b"\x01" * 8000))  # arrives at 240
    assert line.at(260, CLEAR) == [(160, "a")]  # arrives at 290
    assert line.until(400) == []
    assert line.phone.cleared == [(290, 800 + 400)]
    assert line.phone.heard_spans == [(60, 800), (240, 400)]


def test_nothing_overtakes_on_the_way_out() -> None:
    line = Line(delay_out_ms=[60, 10])
    line.at(0, media(b"\x01" * 8000), CLEAR)
    line.at(300, media(b"\x02" * 80))
    line.until(1000)
    assert line.phone.cleared == [(60, 0)]
    assert line.phone.heard_spans == [(310, 80)]


def test_a_delay_on_the_way_back_holds_the_echoes_and_keeps_their_order() -> None:
    line = Line(delay_back_ms=[50, 5])
    line.at(0, mark("a"), mark("b"))
    assert line.until(100) == [(50, "a"), (50, "b")]
    line.at(200, mark("c"))
    assert line.until(300) == [(205, "c")]  # the last delay stays


def test_late_echoes_of_a_clear_let_newer_marks_pass() -> None:
    line = Line(clear_echo_ms=500)
    line.at(0, media(b"\x01" * 800), mark("old"))
    line.at(50, CLEAR, mark("new"))
    assert line.until(1000) == [(550, "old")]
    assert line.phone.echoed == ["new", "old"]


@pytest.mark.parametrize(("echoes", "back"), [(0, []), (2, [(7, "a"), (7, "a")])])
def test_marks_that_never_come_and_marks_that_come_twice(echoes: int, back: list[tuple[int, str]]) -> None:
    assert Line(echoes_per_mark=echoes).at(7, mark("a")) == back


def test_the_end_of_the_call_is_the_end_of_playout() -> None:
    line = Line()
    line.at(0, media(b"\x01" * 8000), mark("a"))
    line.phone.hang_up(400)
    line.phone.receive(media(b"\x02" * 8000), 500)
    assert line.phone.wake(5000) == []
    assert line.phone.played_bytes == 3200
    assert line.phone.heard == b"\x01" * 3200
    assert line.phone.cleared == []
    assert line.phone.refused == {"after_stop": 1}


def test_a_phone_that_does_not_read_reads_everything_later() -> None:
    line = Line()
    line.at(0, media(b"\x01" * 800))
    line.phone.stall(10)
    assert line.at(50, media(b"\x01" * 800), mark("a"), "rubbish") == []
    assert line.phone.stalled
    line.until(500)
    assert line.phone.refused == {}
    assert line.phone.resume(500) == []
    assert line.until(700) == [(600, "a")]
    assert line.phone.heard_spans == [(0, 800), (500, 800)]
    assert line.phone.refused == {"not_json": 1}


def test_the_recording_is_stereo_in_real_time() -> None:
    phone = Phone(speech=b"\x11" * 320, options=PhoneOptions(first_media_ms=120, jitter_ms=(0,)))
    phone.start(1000)
    phone.wake(1150)
    phone.receive(media(b"\x22" * 160), 1150)
    phone.withhold_media(100, 1161)
    phone.wake(1300)
    said, heard = phone.recording()
    assert len(said) == len(heard) == 300 * 8
    assert said == b"\xff" * 800 + b"\x11" * 320 + b"\xff" * 1280
    assert heard == b"\xff" * 1200 + b"\x22" * 160 + b"\xff" * 1040


def test_the_recording_of_a_call_being_played_ends_now() -> None:
    line = Line()
    line.at(100, media(b"\x22" * 8000))
    line.until(200)
    assert line.phone.recording() == (b"\xff" * 1600, b"\xff" * 800 + b"\x22" * 800)
    assert line.phone.heard_spans == [(100, 800)]
    assert line.phone.queued_ms(200) == 900


def test_without_sound_kept_everything_but_the_sound_is_known() -> None:
    line = Line(keep_sound=False)
    line.at(0, media(b"\x01" * 8000), mark("a"))
    line.at(400, CLEAR)
    assert line.phone.recording() == (b"", b"")
    quiet = Phone(speech=b"\x11" * 800, options=PhoneOptions(keep_sound=False))
    quiet.start(0)
    assert len(quiet.wake(200)) == 5
    assert quiet.recording() == (b"", b"")
    assert line.phone.cleared == [(400, 3200)]
    assert line.phone.heard_spans == [(0, 3200)]


def test_counting_and_listening_agree_in_random_calls() -> None:
    chance = random.Random(4)
    for _ in range(50):
        playout, now_ms, name = Playout(0), 0, 0
        for _ in range(60):
            now_ms += chance.choice((0, 1, 7, 40, 300))
            kind = chance.choice(("add", "add", "add", "clear", "mark"))
            if kind == "add":
                playout.add(b"\x01" * chance.randrange(4000), now_ms)
            elif kind == "clear":
                playout.clear(now_ms)
            else:
                name += 1
                playout.mark(str(name), now_ms)
            heard = playout.heard(now_ms)
            assert heard.count(1) == playout.played_bytes(now_ms)
            assert heard.count(1) == sum(span.size_bytes for span in playout.spans(now_ms))
            assert heard.count(1) == playout.heard_bytes_of(0, playout.received_bytes, now_ms)
            for span in playout.spans(now_ms):
                start_byte = span.at_ms * 8
                assert heard[start_byte : start_byte + span.size_bytes].count(1) == span.size_bytes
