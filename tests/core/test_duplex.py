"""The duplex ledger: what of a stream that never pauses goes out, how late it is, and how much was heard.

D1 to D15 are the vectors of the reference; each number in them was reckoned by hand.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core import messages as m
from bridge.core.duplex import DuplexStream
from bridge.core.words import TimedText, TimedWords, cut, joined

from .duplex_line import PER_MS, SparseLine, Stream, WholeLine, played


def stretches(line: SparseLine) -> list[tuple[int, int, int]]:
    """Each segment: when it began on the line, and from where to where in the stream, in ms."""
    return [(at_ms, segment.begin // PER_MS, segment.end // PER_MS) for at_ms, segment, _ in line.began]


# --- the vectors


def test_d1_silence_stays_here_but_for_a_little_on_both_sides() -> None:
    line, stream = SparseLine(), Stream((1_000, 2_000))
    came = iter(stream)
    heard = {}
    for at_ms, sound in came:
        for asked_ms in (2_059, 2_060, 2_500, 3_060, 3_300):
            if at_ms - 100 <= asked_ms < at_ms:
                heard[asked_ms] = line.heard_ms(asked_ms)
                everything_ms = line.stream.received // PER_MS
        line.delta(at_ms, sound)
    assert stretches(line) == [(2_000, 940, 2_240)]
    assert line.sent_ms == line.stream.sent // PER_MS == 1_300
    assert line.stream.skipped // PER_MS == 2_700
    assert heard == {2_059: 999, 2_060: 1_000, 2_500: 1_440, 3_060: 2_000, 3_300: everything_ms}


@pytest.mark.parametrize("early_ms", [0, 200])
def test_d2_words_are_cut_where_the_sound_was(early_ms: int) -> None:
    words, line = TimedWords(), SparseLine()
    for number, word in enumerate((" Hello", " there,", " how", " are", " you?")):
        start_ms = 1_000 + 200 * number - early_ms
        words.add(TimedText(word, start_ms, start_ms + 200))
    played(line, Stream((1_000, 2_000)), until_ms=2_500)
    (_, segment, _), heard_ms = line.began[0], line.heard_ms()
    words.begun(segment.onset // PER_MS)
    assert words.apart_ms == -early_ms
    said = words.between(segment.begin // PER_MS, segment.end // PER_MS + 1_000)
    assert joined(said) == "Hello there, how are you?"
    assert cut(said, lambda middle_ms: middle_ms <= heard_ms) == "Hello there,"
    if early_ms:  # what a reader of the labels alone would believe
        labels = [one.shifted(-early_ms) for one in said]
        assert cut(labels, lambda middle_ms: middle_ms <= heard_ms) == "Hello there, how"


def test_d3_a_queue_that_never_pauses_is_as_long_as_the_longest_stall() -> None:
    line = WholeLine()
    played(line, Stream(stalls=((2_000, 300), (4_000, 600), (6_000, 400)), ms=8_000))
    assert [line.lags[at_ms] for at_ms in (1_900, 2_300, 4_600, 6_400, 8_900)] == [100, 400, 700, 700, 700]


def test_d4_and_each_sound_of_ours_adds_its_whole_length() -> None:
    line, ours = WholeLine(), {3_000: 4_000, 9_000: 1_500, 12_000: 1_200}
    for at_ms, sound in Stream(ms=16_000):
        line.delta(at_ms, sound)
        if at_ms in ours:
            line.ours(f"phrase:{at_ms}", ours[at_ms])
    assert (line.lags[8_900], line.lags[16_900]) == (4_100, 6_800)


def test_d5_a_sound_of_ours_delays_nothing_once_it_is_over() -> None:
    line = SparseLine()
    for at_ms, sound in Stream((1_000, 2_000), (10_000, 13_000), ms=15_000):
        line.delta(at_ms, sound)
        if at_ms == 5_000:
            line.ours("phrase", 4_000)
    assert [at_ms for at_ms, _, _ in line.began] == [2_000, 11_000]
    assert max(lag for at_ms, lag in line.lags.items() if at_ms >= 9_500) <= 160


def test_d6_stalls_in_silence_delay_nothing() -> None:
    line = SparseLine()
    stalls = ((3_000, 300), (6_000, 600), (9_000, 400))
    played(line, Stream((1_000, 2_000), (10_000, 13_000), stalls=stalls, ms=15_000))
    assert [at_ms for at_ms, _, _ in line.began] == [2_000, 11_000]
    assert line.lags[11_000] == 160
    assert line.sent_ms == 4_600


def paused(pause_ms: int, stalls: tuple[tuple[int, int], ...], until_ms: int) -> tuple[int, int]:
    """Speech with a stall in it, a pause, speech: how long a pause the caller hears, and how late the line
    is then, right after a delta that is all speech.
    """
    line = SparseLine()
    again_ms = until_ms + pause_ms
    played(line, Stream((1_000, until_ms), (again_ms, again_ms + 2_000), stalls=stalls, ms=again_ms + 2_000))
    sent = sum(segment.span.sent_bytes for _, segment, _ in line.began)
    loud_ms = until_ms - 1_000 + 2_000
    return sent // PER_MS - loud_ms - 60, line.lags[again_ms + 1_000 + 500 - again_ms % 100]


@pytest.mark.parametrize(
    ("pause_ms", "heard_ms", "lag_ms"),
    [(100, 100, 700), (140, 120, 680), (200, 120, 620), (300, 120, 520), (700, 160, 160)],
)
def test_d7_pauses_are_shortened_until_the_line_has_caught_up(
    pause_ms: int, heard_ms: int, lag_ms: int
) -> None:
    assert paused(pause_ms, ((4_000, 600),), 5_000) == (heard_ms, lag_ms)


def test_d7_the_line_is_dry_while_the_stall_lasts() -> None:
    line = SparseLine()
    played(line, Stream((1_000, 5_000), stalls=((4_000, 600),), ms=5_000))
    assert (line.before[4_600], line.lags[4_600]) == (0, 700)
    assert line.lags[3_900] == 160, "so it ran dry at 4,060"


@pytest.mark.parametrize(
    ("pause_ms", "heard_ms", "lag_ms"), [(100, 40, 1_140), (200, 40, 1_040), (400, 40, 840), (1_000, 40, 240)]
)
def test_d8_and_shortened_more_where_the_line_is_very_late(pause_ms: int, heard_ms: int, lag_ms: int) -> None:
    assert paused(pause_ms, ((4_000, 1_100),), 6_000) == (heard_ms, lag_ms)


def test_d9_a_model_that_stops_for_the_caller_is_cut_once() -> None:
    line, clears = SparseLine(), list[int]()
    for at_ms, sound in Stream((1_000, 5_000), stalls=((4_000, 600),), ms=6_000):
        line.delta(at_ms, sound)
        voice_ago_ms = 0 if 5_800 <= at_ms < 6_300 else 10_000
        if line.stream.yields(voice_ago_ms, line.of):
            assert (line.lag_ms, line.stream.waiting_ms(line.of)) == (620, 500)
            clears.append(at_ms)
            (segment,) = line.cut()
            assert line.heard_ms() == 4_500
            assert (segment.begin + segment.span.heard_bytes) // PER_MS == 4_500
    assert clears == [6_100]
    assert line.out.count(m.ClearPlayout()) == 1


def test_d10_one_that_has_said_all_is_not() -> None:
    line = SparseLine()
    for at_ms, sound in Stream((1_000, 5_000), ms=6_000):
        line.delta(at_ms, sound)
        assert not line.stream.yields(0 if 5_800 <= at_ms < 6_300 else 10_000, line.of)
        if at_ms == 6_100:
            assert line.heard_ms() == 5_040
    assert m.ClearPlayout() not in line.out


def test_d11_a_hush_drops_what_still_comes() -> None:
    line, over_ms = SparseLine(), list[int]()
    for at_ms, sound in Stream((1_000, 2_000), (2_600, 3_000)):
        line.delta(at_ms, sound)
        if at_ms == 2_500:
            waiting_ms = line.stream.waiting_ms(line.of)
            assert waiting_ms == 160
            (segment,) = line.cut()
            line.stream.hush()
            lost = segment
        if 2_500 <= at_ms < 3_100:
            assert line.heard_ms() == 1_440
        if at_ms >= 2_500 and line.stream.silent:
            over_ms.append(at_ms)
    assert waiting_ms + line.stream.dropped_ms == 560
    assert over_ms[0] == 3_100
    assert line.out.count(m.ClearPlayout()) == 1
    assert lost.span.heard_bytes // PER_MS == 500
    assert stretches(line)[1:] == [(3_600, 2_540, 3_240)], "what comes after it is heard"


@pytest.mark.virtual
def test_d12_twenty_minutes_of_stalls_leave_no_lag() -> None:
    chance = Random(20)
    speech, at_ms, ms = [], 1_000, 1_200_000
    while at_ms < ms - 20_000:
        end_ms = at_ms + chance.randrange(4_000, 9_000, 20)
        while at_ms < end_ms:
            said_ms = chance.randrange(400, 1_600, 20)
            speech.append((at_ms, at_ms + said_ms))
            at_ms += said_ms + chance.randrange(100, 300, 20)
        at_ms += chance.randrange(4_000, 9_000, 20)
    stalls = [(20_000 + 38_000 * number, chance.randrange(200, 601, 100)) for number in range(29)]
    stream = Stream(*speech, stalls=[*stalls, (1_150_000, 600)], ms=ms)
    whole, sparse = WholeLine(), SparseLine()
    played(whole, stream)
    played(sparse, stream)
    assert whole.lags[max(whole.lags)] == 700
    late = sum(lag > 260 for lag in sparse.lags.values())
    assert late <= 0.04 * len(sparse.lags)
    assert sparse.lags[max(sparse.lags)] <= 160
    assert 0.4 <= sparse.sent_ms / whole.sent_ms <= 0.6


def test_d13_what_was_sent_of_a_lost_session_plays_and_counts() -> None:
    line = SparseLine()
    played(line, Stream((1_000, 5_000), stalls=((3_000, 400),)), until_ms=3_400)
    first = line.stream
    assert line.lag_ms == 500
    line.stream = DuplexStream(2)  # the next session begins at 0
    line.delta(3_500, Stream((0, 100), ms=100).sound)
    (_, old, _), (_, new, _) = line.began
    assert (new.begin, new.span.item_id) == (0, "live:2:1")
    assert line.of(new.span) == 0
    line.until(3_900)
    assert line.of(old.span) == old.span.received_bytes
    assert first.heard(line.of) == first.received
    line.until(4_000)
    assert line.of(new.span) == new.span.received_bytes == 800


# --- what always holds


RUNS = st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(
    runs=RUNS,
    stalls=st.lists(st.tuples(st.integers(1_000, 20_000), st.integers(100, 1_500)), max_size=4),
    ours=st.dictionaries(st.integers(10, 200), st.integers(200, 6_000), max_size=3),
    acts=st.dictionaries(st.integers(10, 200), st.sampled_from(["hush", "yield"]), max_size=4),
)
def test_invariants(
    runs: list[tuple[bool, int]],
    stalls: list[tuple[int, int]],
    ours: dict[int, int],
    acts: dict[int, str],
) -> None:
    """Of any stream, on any line, whatever is played or cut between."""
    speech, at_ms = [], 0
    for is_loud, blocks in runs:
        if is_loud:
            speech.append((at_ms, at_ms + 20 * blocks))
        at_ms += 20 * blocks
    line, heard, lost = SparseLine(), 0, 0
    stream = line.stream
    spoken_ms = sum(end - start for start, end in speech)
    for number, (now_ms, sound) in enumerate(sorted(Stream(*speech, stalls=stalls, ms=at_ms))):
        line.delta(now_ms, sound)
        if number in ours:
            line.ours(f"phrase:{number}", ours[number])
        if number in acts:
            pending = stream.waiting_ms(line.of)
            clears = line.out.count(m.ClearPlayout())
            busy = line.ledger.sent > line.ledger.position(now_ms)
            if acts[number] == "hush" or stream.yields(0, line.of):
                line.cut()
                lost += pending
                assert line.out.count(m.ClearPlayout()) - clears == int(busy)
                if acts[number] == "hush":
                    stream.hush()
        now = stream.heard(line.of)
        assert heard <= now <= stream.received
        heard = now
    line.until(line.now_ms + 60_000)
    assert stream.sent + stream.skipped == stream.received == at_ms * PER_MS
    assert stream.sent == sum(segment.span.received_bytes for _, segment, _ in line.began)
    for (_, one, at), (_, other, later) in zip(line.began, line.began[1:], strict=False):
        assert one.end <= other.begin
        assert at <= later
    # Every loud byte was heard, or is accounted for as unheard.
    loud_sent = sum(end - start for _, one, _ in line.began for start, end in one.loud) // PER_MS
    assert loud_sent + stream.dropped_ms == spoken_ms
    if "hush" not in acts.values() and sum(ours.values()) <= 3_000:
        assert stream.dropped_ms == 0


def test_a_line_that_is_late_catches_up_in_a_pause() -> None:
    """The lag is at most the longest stall or sound of ours, and gone after a pause as long as it."""
    for stall_ms in range(100, 1_600, 300):
        line = SparseLine()
        speech = ((1_000, 4_000), (4_500 + stall_ms, 8_000 + stall_ms))
        played(line, Stream(*speech, stalls=((3_000, stall_ms),), ms=9_000 + stall_ms))
        assert max(line.lags.values()) <= stall_ms + 160
        assert line.lags[8_000 + stall_ms] <= 160


def test_words_that_were_not_said_move_nothing() -> None:
    """A fragment tells words and no time: what was heard is reckoned from sound alone."""
    line, words = SparseLine(), TimedWords()
    played(line, Stream((1_000, 2_000)), until_ms=2_500)
    heard = line.heard_ms()
    words.add(TimedText(" Yes.", 90_000, 90_200))
    assert line.heard_ms() == heard


def test_sound_that_waits_for_too_long_is_dropped_and_counted() -> None:
    """A sound of ours of 8 s, while the model speaks all the time."""
    line = SparseLine()
    for at_ms, sound in Stream((1_000, 14_000), ms=16_000):
        line.delta(at_ms, sound)
        if at_ms == 3_000:
            line.ours("phrase", 8_000)
    assert line.stream.dropped_ms > 0
    assert max(line.lags.values()) <= 8_000 + 4_200
    heard_ms = sum(end - start for _, one, _ in line.began for start, end in one.loud) // PER_MS
    assert heard_ms + line.stream.dropped_ms == 13_000
    assert line.began[0][1].dropped_to > line.began[0][1].end


def test_a_hush_of_a_model_that_goes_on_ends_by_itself() -> None:
    line = SparseLine()
    for at_ms, sound in Stream((1_000, 6_000), ms=6_000):
        line.delta(at_ms, sound)
        if at_ms == 2_500:
            line.cut()
            line.stream.hush()
    assert line.stream.dropped_ms == 1_500
    assert stretches(line)[1][0] == 4_100


# --- words


def test_a_word_that_was_not_heard_to_its_end_is_left_out() -> None:
    fragments = [TimedText(" Fun", 0, 200), TimedText("da", 200, 400), TimedText("mental", 400, 600)]
    assert cut(fragments, lambda middle_ms: middle_ms < 350) == ""
    assert cut(fragments, lambda _: True) == "Fundamental"
    fragments = [TimedText(" Good", 0, 200), TimedText(" mor", 200, 400), TimedText("ning", 400, 600)]
    assert cut(fragments, lambda middle_ms: middle_ms < 350) == "Good"
    han = [TimedText("你好", 0, 200), TimedText("世界", 200, 400)]
    assert cut(han, lambda middle_ms: middle_ms < 150) == "你好"


def test_words_come_in_any_order_and_before_their_sound() -> None:
    words = TimedWords()
    words.add(TimedText(" two", 1_200, 1_400))
    words.add(TimedText(" one", 1_000, 1_200))
    words.add(TimedText(" later", 5_000, 5_200))
    words.begun(1_100)
    assert words.apart_ms == -100
    assert joined(words.take(1_500)) == "one two"
    words.ended(1_500)
    words.begun(5_100)
    assert words.apart_ms == -100
    assert joined(words.take(5_500)) == "later"
    assert words.take(90_000) == []


def test_words_that_come_late_begin_no_utterance() -> None:
    """The first fragment of the second utterance, and not the late last one of the first."""
    words = TimedWords()
    words.add(TimedText(" one", 1_000, 1_200))
    words.begun(1_000)
    words.ended(1_500)
    words.begun(4_000)
    words.add(TimedText(" two", 1_200, 1_400))
    words.add(TimedText(" three", 4_000, 4_200))
    assert words.apart_ms == 0


def test_how_far_labels_are_is_the_middle_of_what_was_seen() -> None:
    words = TimedWords()
    for number, off_ms in enumerate((-100, -100, 900, -120, -80)):
        start_ms = 10_000 * number
        words.add(TimedText(" word", start_ms + off_ms, start_ms + off_ms + 200))
        words.begun(start_ms)
        words.ended(start_ms + 2_000)
    assert words.apart_ms == -100
    one = TimedWords()
    one.add(TimedText(" word", 90_000, 90_200))
    one.begun(1_000)
    assert one.apart_ms == 1_000
