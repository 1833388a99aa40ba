"""What is written of a call: little, nothing secret, and enough to tell every byte."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from functools import cache
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import messages as m
from bridge.recording import Header, Recorder, Recording, Step, mask, mask_parameters, replay
from bridge.recording.header import header_line, read_header
from bridge.recording.sound import elide_sound, expand_sound, silence
from tests.gate import STREAM, Gate

SOUND = bytes(range(200)) * 8


def recorder(sound: bool = False, **header: Any) -> tuple[Recorder, list[str]]:
    lines: list[str] = []
    header = {"carrier": "twilio", "upstream": "openai"} | header
    return Recorder(lines.append, Header(**header), sound), lines


def steps(lines: list[str]) -> list[Step]:
    return list(Recording(lines).steps())


# --- the header ------------------------------------------------------------------------------------------


def test_the_header_comes_at_once_and_is_read_back() -> None:
    config = m.CallConfig(
        session=m.SessionConfig(instructions="Be kind.", tools=({"type": "function", "name": "look"},)),
        phrases={"filler": m.Sound(b64encode(SOUND).decode(), len(SOUND), "One moment.")},
    )
    header = Header(
        carrier="twilio",
        upstream="openai",
        config=config,
        at="2026-07-14 03:12:09 UTC",
        versions={"bridge": "1"},
    )
    lines: list[str] = []
    Recorder(lines.append, header, sound=True)
    assert len(lines) == 1
    read = Recording(lines).header
    assert (read.config, read.at, read.versions) == (config, "2026-07-14 03:12:09 UTC", {"bridge": "1"})
    assert (read.sound, read.format) == (True, 1)


def test_a_phrase_is_a_size_in_the_header_and_silence_of_that_size_in_a_replay() -> None:
    phrase = m.Sound(b64encode(SOUND).decode(), len(SOUND), "One moment.")
    _, lines = recorder(config=m.CallConfig(phrases={"filler": phrase}))
    assert '"audio":"<1600>"' in lines[0]
    read = Recording(lines).header.config.phrases["filler"]
    assert read == m.Sound(silence(1600), 1600, "One moment.")


def test_no_secret_and_no_number_of_the_parameters_is_written() -> None:
    parameters = {
        "token": "abc",
        "Api_Key": "def",
        "from": "+15550001234",
        "note": "ask %2B15550001234",
        "lang": "en",
    }
    _, lines = recorder(parameters=parameters)
    assert mask_parameters(parameters) == {"from": "+…", "note": "ask +…", "lang": "en"}
    assert Recording(lines).header.parameters == mask_parameters(parameters)


def test_masked_numbers_keep_nothing_of_their_digits() -> None:
    assert mask("call +15550001234 or +155500012") == "call +… or +…"
    assert mask("at +5 degrees, room 15550001234") == "at +5 degrees, room 15550001234"


# --- what came in ----------------------------------------------------------------------------------------


def test_a_burst_of_a_model_is_no_endless_line() -> None:
    written, lines = recorder()
    frame = (
        '{"type":"response.output_audio_transcript.delta","response_id":"r","item_id":"i","delta":"word "}'
    )
    for _ in range(2_000):
        written.came(5, "upstream", frame, 1)
    written.close()
    assert max(map(len, lines)) < 10_000
    assert sum(step.door == "upstream" for step in steps(lines)) == 2_000


def test_a_start_is_written_without_token_and_numbers() -> None:
    gate = Gate()
    frame = (
        '{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC1","streamSid":"MZ1","callSid":"CA1",'
        '"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},'
        '"customParameters":{"token":"s3cret","from":"+15550001234"}},"streamSid":"MZ1"}'
    )
    gate.recorder.came(0, "carrier", frame)
    text = "\n".join(gate.close())
    assert '"event":"start"' in text
    assert "s3cret" not in text
    assert "5550001234" not in text


def test_a_refused_start_leaves_what_was_said_of_it_and_not_its_token() -> None:
    written, lines = recorder()
    parameters = '{"customParameters":{"token":"s3cret"},"x":"+15550001234"}'
    frame = f'{{"event":"start","start":{parameters},"streamSid":"MZ1"}}'
    written.came(3, "carrier", frame)
    (step,) = steps(lines)
    assert isinstance(step.event, m.FrameRefused)
    assert step.event.why.startswith("start not as documented")
    assert "5550001234" not in lines[1]


def media(number: int, sound: bytes = SOUND[:160], stamp_ms: int | None = None) -> str:
    """The caller's frame of that number, as Twilio writes it."""
    return (
        f'{{"event":"media","sequenceNumber":"{number + 2}","media":{{"track":"inbound",'
        f'"chunk":"{number + 1}",'
        f'"timestamp":"{100 + 20 * number if stamp_ms is None else stamp_ms}",'
        f'"payload":"{b64encode(sound).decode()}"}},"streamSid":"{STREAM}"}}'
    )


def append(sound: bytes = SOUND[:160]) -> str:
    return f'{{"type":"input_audio_buffer.append","audio":"{b64encode(sound).decode()}"}}'


def test_the_callers_frames_become_one_line_a_second() -> None:
    written, lines = recorder()
    for frame in range(501):
        written.came(100 + 20 * frame, "carrier", media(frame))
        written.went(100 + 20 * frame, "upstream", append(), 1)
    written.close()
    assert len(lines) == 3 + 10 + 1
    assert lines[4] == '{"t":1120,"run":"' + " ".join(["0", *["20"] * 49]) + '"}'
    assert [step.frame for step in steps(lines)] == [media(frame, b"\xff" * 160) for frame in range(501)]


def test_a_frame_in_a_run_comes_back_as_it_was() -> None:
    written, lines = recorder(sound=True)
    frames = []
    for number, stamp_ms in enumerate((100, 121, 139, 139, 300, 290)):
        sound = bytes([number]) * (160 if number < 4 else 80)
        frames.append(media(number, sound, stamp_ms))
        written.came(100 + 20 * number, "carrier", frames[-1])
        written.went(100 + 20 * number, "upstream", append(sound), 1)
    written.close()
    assert '"run":"0@21 20@18 20@0 20m80@161 20m80@-10"' in lines[3]
    read = steps(lines)
    assert [step.frame for step in read] == frames
    assert [output.frame for step in read for output in step.outputs][-1] == append(bytes([5]) * 80)


@pytest.mark.parametrize("size_bytes", [158, 159, 160, 161, 162])
def test_sizes_that_base64_texts_of_one_length_have_are_told_apart(size_bytes: int) -> None:
    written, lines = recorder()
    for number in range(2):
        written.came(number, "carrier", media(number, SOUND[:size_bytes]))
        written.went(number, "upstream", append(SOUND[:size_bytes]), 1)
    written.close()
    assert [step.frame for step in steps(lines)] == [media(n, b"\xff" * size_bytes) for n in range(2)]


def test_a_frame_that_is_not_the_next_one_stands_whole() -> None:
    gate = Gate()
    gate.begin()
    for frame in range(4):
        gate.media(100 + 20 * frame)
    gate._sequence += 1
    gate.media(200)
    gate.media(220)
    whole = [line for line in gate.close() if '"event":"media"' in line]
    assert [json.loads(line)["frame"]["sequenceNumber"] for line in whole] == ["2", "7"]


def test_sound_nobody_took_is_written_as_such() -> None:
    gate = Gate()
    gate.start(0)
    for frame in range(4):
        gate.media(100 + 20 * frame)
    assert '{"t":120,"run":"0- 20- 20-"}' in gate.close()


def test_a_delta_is_a_size_and_the_mark_behind_it_a_number() -> None:
    gate = Gate()
    gate.begin()
    gate.response(10, "resp_1")
    gate.item(10, "item_1", "resp_1")
    for delta in range(3):
        gate.delta(20 + delta, "item_1", "resp_1", SOUND)
        gate.words(20 + delta, "item_1", "resp_1", f' wörd{delta}\\"')
    gate.delta(30, "item_1", "resp_1", bytes([1]) * 160)
    for name in ("1", "2", "3"):
        gate.echo(50, name)
    lines = gate.close()
    words = '" w\\u00f6rd1\\\\\\"'
    assert any(
        line.startswith(f'{{"t":21,"run":"0d1600+2 0t 1d1600+3 0t 8d160","words":[{words}') for line in lines
    )
    assert '{"t":50,"run":"0k2 0k3"}' in lines
    deltas = [step for step in steps(lines) if 'audio.delta"' in str(step.frame)]
    assert [len(json.loads(str(step.frame))["delta"]) for step in deltas] == [2136, 2136, 2136, 216]


def test_late_sound_that_was_not_played_is_written_as_such() -> None:
    gate = Gate()
    gate.begin()
    gate.response(10, "resp_1")
    gate.item(10, "item_1", "resp_1")
    gate.delta(20, "item_1", "resp_1", SOUND)
    gate.caller_speaks(120)
    for late in range(3):
        gate.delta(130 + late, "item_1", "resp_1", SOUND)
    assert '{"t":130,"run":"0d1600- 1d1600- 1d1600-"}' in gate.close()


def test_a_frame_that_was_refused_is_no_step_of_a_run() -> None:
    written, lines = recorder()
    frames = [
        media(0),
        media(1),
        media(2).replace(b64encode(SOUND[:160]).decode(), "B" * 215 + "!"),
        media(3),
    ]
    for number, frame in enumerate(frames):
        written.came(number, "carrier", frame)
    for number in range(3):
        delta = f'{{"type":"response.output_audio.delta","delta":"{"A" * 63}{"A!A"[number]}"}}'
        written.came(10 + number, "upstream", delta, 1)
        frames.append(delta)
    written.close()
    assert sum('"run"' in line for line in lines) == 3
    kept = [frame.replace(b64encode(SOUND[:160]).decode(), silence(160)) for frame in frames]
    assert [step.frame for step in steps(lines)] == [frame.replace("A" * 64, "/" * 64) for frame in kept]


@pytest.mark.parametrize("words", ["\\q", "\x01", "\u2028", "no end", "\\u12", "\ud800"])
def test_words_that_do_not_fit_a_run_stand_whole(words: str) -> None:
    written, lines = recorder()
    frames = [
        f'{{"type":"response.output_audio_transcript.delta","delta":"{text}"}}'
        for text in ("first", words, "last")
    ]
    frames[1] = frames[1][:-2] if words == "no end" else frames[1]
    for number, frame in enumerate(frames):
        written.came(number, "upstream", frame, 1)
    written.close()
    assert [step.frame for step in steps(lines)] == [frame.replace("\ud800", "?") for frame in frames]
    assert sum('"run"' in line for line in lines) == 1


@pytest.mark.parametrize(
    "frame",
    [
        media(1).replace('"chunk":"2"', '"chunk":"3"'),
        media(1).replace('"timestamp":"120"', '"timestamp":"0120"'),
        media(1).replace('"timestamp":"120"', '"timestamp":"soon"'),
        media(1).replace('"timestamp":"120"', f'"timestamp":"{"9" * 20}"'),
        media(1, b""),
        media(1, SOUND[:20]),
        media(1).replace("MZ0", "MZ1"),
        media(1).replace('"payload"', '"sound"'),
    ],
)
def test_a_frame_that_differs_in_more_than_numbers_stands_whole(frame: str) -> None:
    written, lines = recorder()
    written.came(0, "carrier", media(0))
    written.came(20, "carrier", frame)
    written.close()
    assert not any('"run"' in line for line in lines)
    assert steps(lines)[1].frame == expand_sound(elide_sound(frame, "carrier") or "", "carrier")


def test_whatever_went_out_comes_back() -> None:
    written, lines = recorder()
    written.came(0, "carrier", media(0))
    frames: list[str | bytes] = [
        b"\x00\xff",
        '{"event":"mark","mark":{"name":"not a number"}}',
        '{"event":"mark"}',
        '{"event":"media"}',
        "no JSON",
    ]
    for frame in frames:
        written.went(0, "carrier", frame)
    written.went(0, "upstream", '{"type":"input_audio_buffer.append"}', 1)
    written.close()
    (step,) = steps(lines)
    assert [output.frame for output in step.outputs] == [*frames, '{"type":"input_audio_buffer.append"}']


def test_a_mark_with_another_name_than_ours_is_no_number() -> None:
    gate = Gate()
    gate.begin()
    gate.response(10, "resp_1")
    gate.item(10, "item_1", "resp_1")
    gate.delta(20, "item_1", "resp_1", SOUND)
    gate.delta(21, "item_1", "resp_1", SOUND)
    for number, name in enumerate(("1", "of somebody else", "2")):
        gate.echo(300 + number, name)
    lines = gate.close()
    assert [line for line in lines if "k2" in line] == ['{"t":302,"run":"0k2"}']
    written, lines = recorder()
    written.came(0, "upstream", '{"type":"response.output_audio.delta","delta":"' + "A" * 64 + '"}', 1)
    written.went(0, "carrier", '{"event":"media","media":{"payload":"' + "A" * 64 + '"}}')
    written.went(0, "carrier", '{"event":"mark","mark":{"name":"1"}}')
    written.came(1, "upstream", '{"type":"response.output_audio.delta","delta":"' + "B" * 64 + '"}', 1)
    written.went(1, "carrier", '{"event":"media","media":{"payload":"' + "B" * 64 + '"}}')
    written.went(1, "carrier", '{"event":"mark","mark":{"name":"last"}}')
    written.came(2, "upstream", '{"type":"response.output_audio.delta","delta":"' + "C" * 64 + '"}', 1)
    written.went(2, "carrier", '{"event":"media","media":{"payload":"' + "D" * 64 + '"}}')
    written.went(2, "carrier", b"")
    written.close()
    assert [len(step.outputs) for step in steps(lines)] == [2, 2, 2]


def test_with_sound_every_sample_is_kept() -> None:
    gate = Gate(sound=True)
    gate.begin()
    gate.response(10, "resp_1")
    gate.item(10, "item_1", "resp_1")
    for number in range(3):
        gate.delta(20 + number, "item_1", "resp_1", bytes([number]) * 800)
        gate.media(20 + number, bytes([100 + number]) * 160)
    text = "\n".join(gate.close())
    for sound in (*(bytes([n]) * 800 for n in range(3)), *(bytes([100 + n]) * 160 for n in range(3))):
        assert b64encode(sound).decode() in text
    assert replay(gate.lines, strict=True).difference is None


def test_a_muted_caller_costs_no_more_than_others() -> None:
    gate = Gate(sound=True)
    gate.begin()
    gate.media(0)
    gate.happens(10, m.Mute(on=True))
    for frame in range(4):
        gate.media(20 + 20 * frame)
    assert any(line.startswith('{"t":20,"run":"0~ 20~ 20~ 20~"') for line in gate.close())


def test_equal_lines_are_written_once() -> None:
    gate = Gate()
    gate.start(0)
    for frame in range(50):
        gate.media(20 * frame)
    gate.happens(1000, m.Admitted())
    gate.configured(1000)
    kept = '{"to":"upstream","frame":{"type":"input_audio_buffer.append","audio":"<160>"},"times":50}'
    assert kept in gate.close()


@pytest.mark.parametrize("sound", [False, True])
def test_sounds_and_words_of_the_session_door_come_back(sound: bool) -> None:
    written, lines = recorder(sound)
    audio = b64encode(SOUND).decode()
    events: list[m.Event] = [
        m.Play("p1", m.Sound(audio, 1600, "Hello"), protected=True),
        m.Play("p2", m.Sound("", 0)),
        m.Play("p3", m.Sound("not base64", 7)),
        m.SendRaw('{"type":"x","audio":"' + audio + '"}'),
        m.SendRaw('{"type":"x","audio":"<160>"}'),
        m.Say("s1", "two\nlines\u2028and a half"),
        m.ToolFinished("c1", '{"a":"<160>"}'),
        m.WakeUp(),
    ]
    for number, event in enumerate(events):
        written.happened(number, event)
    written.close()
    kept = audio if sound else silence(1600)
    events[0] = m.Play("p1", m.Sound(kept, 1600, "Hello"), protected=True)
    events[3] = m.SendRaw('{"type":"x","audio":"' + kept + '"}')
    assert [step.event for step in steps(lines)] == events
    assert (audio in "\n".join(lines)) == sound


def test_what_has_no_word_in_json_is_no_reason_to_lose_a_call() -> None:
    written, lines = recorder(config=m.CallConfig(session=m.SessionConfig(extra={"x": object()})))
    written.happened(0, m.Say("s1", "half a pair \ud800"))
    written.came(0, "upstream", '{"half":"\ud800"}', 1)
    written.decided(0, m.Noted("\ud800"))
    assert [step.event for step in steps(lines)] == [m.Say("s1", "half a pair ?"), None]


def test_nothing_is_written_after_the_end() -> None:
    written, lines = recorder()
    written.close()
    written.happened(1, m.WakeUp())
    written.close()
    assert lines[1:] == ['{"end":true}']


def test_what_leaves_later_than_its_cause_says_when() -> None:
    written, lines = recorder()
    written.happened(10, m.Admitted())
    written.went(30, "upstream", '{"type":"x"}', 2)
    written.close()
    assert lines[2] == '{"t":30,"to":"upstream","frame":{"type":"x"},"epoch":2}'
    (step,) = steps(lines)
    assert [(output.late_ms, output.epoch) for output in step.outputs] == [(30, 2)]


# --- any frame -------------------------------------------------------------------------------------------

ODD = [
    "",
    "{}",
    "{",
    '{"a":\n1}',
    '{"a":1}}',
    '{"a":"\u2028"}',
    '{"event":"media"}',
    '{"event":"media","media":{"payload":"<160>"}}',
    '{"type":"response.output_audio.delta","delta":"<160>"}',
    '{"type":"response.output_audio.delta","delta" : "' + "A" * 64 + '"}',
    '{"type":"response.output_audio.delta","delta":"' + "A" * 64,
    '{"type":"response.output_text.delta","delta":"' + "A" * 64 + '"}',
    '{"audio":{"audio":"' + "A" * 64 + '"},"delta":7,"audio":"' + "B" * 64 + '"}',
    '{"event":"mark","sequenceNumber":"x","mark":{"name":"y"}}',
    '{"sequenceNumber":"' + "9" * 40 + '"}',
    '"event":"media""sequenceNumber":"1""chunk":"1""timestamp":"1""payload":"A"' * 50,
    "[" * 2_000,
    "x" * 70_000,
]
FRAMES = (
    st.sampled_from(ODD) | st.text(max_size=40) | st.builds(json.dumps, st.dictionaries(st.text(), st.text()))
)


@given(
    st.lists(st.tuples(st.sampled_from(["carrier", "upstream"]), FRAMES | st.binary(max_size=40))),
    st.booleans(),
)
def test_whatever_comes_in_is_written_and_read_back(
    frames: list[tuple[str, str | bytes]], sound: bool
) -> None:
    written, lines = recorder(sound)
    for number, (door, frame) in enumerate(frames):
        written.came(number, door, frame, 0 if door == "carrier" else 1)
    written.close()
    assert all(len(line.splitlines()) == 1 for line in lines)
    read = steps(lines)
    assert [step.t_ms for step in read] == list(range(len(frames)))
    for step, (door, frame) in zip(read, frames, strict=True):
        if step.event is None and door == "upstream":
            kept = (
                frame
                if sound or isinstance(frame, bytes)
                else expand_sound(elide_sound(frame, door) or "", door)
            )
            assert step.frame == (kept or frame)


@pytest.mark.parametrize(
    ("door", "frame", "elided"),
    [
        ("carrier", '{"media":{"payload":"%s"}}', '{"media":{"payload":"<48>"}}'),
        ("carrier", '{"media":{"payload" : "%s"}}', '{"media":{"payload" : "<48>"}}'),
        ("upstream", '{"type":"input_audio_buffer.append","audio":"%s"}', None),
        ("upstream", '{"delta":"%s","type":"response.output_audio.delta"}', None),
        ("upstream", '{"delta":"%s","type":"response.audio.delta"}', None),
        ("upstream", '{"item":{"content":[{"type":"input_audio","audio":"%s"},{"audio":"%s"}]}}', None),
    ],
)
def test_sound_is_left_out_wherever_it_stands(door: str, frame: str, elided: str | None) -> None:
    text = frame.replace("%s", "A" * 64)
    shown = elide_sound(text, door)
    assert shown == (elided or frame.replace("%s", "<48>"))
    assert expand_sound(shown, door) == frame.replace("%s", "/" * 64)


@pytest.mark.parametrize(
    ("door", "frame"),
    [
        ("upstream", '{"type":"response.output_audio_transcript.delta","delta":"%s"}'),  # words may be long
        ("upstream", '{"type":"x","payload":"%s"}'),
        ("carrier", '{"media":{"payload":"%s!"}}'),
        ("carrier", '{"text":"\\"payload\\":\\"%s"}'),
        ("carrier", '{"payload":{"%s":1}}'),
        ("carrier", '{"payload":"%s'),
    ],
)
def test_what_is_no_sound_stays(door: str, frame: str) -> None:
    text = frame.replace("%s", "A" * 64)
    assert elide_sound(text, door) == text


def test_a_size_that_no_frame_has_is_not_put_back() -> None:
    with pytest.raises(ValueError, match="bytes of sound"):
        silence(1 << 40)


# --- what it costs ---------------------------------------------------------------------------------------


@cache
def ten_minutes() -> list[str]:
    """The model speaks every other ten seconds, in deltas of 140 ms with words between them."""
    gate = Gate(m.CallConfig(media_gap_ms=10_000_000))
    gate.begin()
    jitter_ms = (0, 2, -1, 3, -3, 1, 0, -2)
    response = item = ""
    echoes: list[tuple[int, str]] = []
    for frame in range(30_000):
        now_ms, phase = 100 + 20 * frame + frame % 3, frame % 1_000
        if phase == 0:
            response, item = f"resp_{frame:020}", f"item_{frame:020}"
            gate.caller_stops(now_ms)
            gate.response(now_ms, response)
            gate.item(now_ms, item, response)
        if phase < 500 and phase % 7 == 0:
            gate.delta(now_ms, item, response, SOUND[:1120])
        if phase < 500 and phase % 9 == 1:
            gate.words(now_ms, item, response, f" word{frame}")
        if phase == 500:
            gate.audio_done(now_ms, item, response)
            gate.response_done(now_ms, response)
        if phase == 950:
            gate.caller_speaks(now_ms)
        gate.media(now_ms, SOUND[:160], 100 + 20 * frame + jitter_ms[frame % 8])
        echoes += [(now_ms + 60, name) for name in gate.marks]
        gate.marks.clear()
        while echoes and echoes[0][0] <= now_ms:
            gate.echo(now_ms, echoes.pop(0)[1])
    gate.stop(600_100)
    return gate.close()


def test_ten_minutes_are_less_than_a_megabyte() -> None:
    lines = ten_minutes()
    assert sum(len(line) + 1 for line in lines) < 600_000
    assert replay(lines).outputs == lines


@pytest.mark.skipif("coverage" in sys.modules, reason="coverage would be what is measured")
def test_ten_minutes_replay_in_no_time() -> None:
    lines = ten_minutes()
    began_s = process_time()
    result = replay(lines)
    took_s = process_time() - began_s
    assert (result.difference, result.end_ms) == (None, 600_100)
    # 2,000 times as fast as the call on an idle machine; a busy one may take four times as long.
    assert result.end_ms / 1000 / took_s > 500


@pytest.mark.parametrize(
    ("number", "written"),
    [("+15550001234", "+1…34"), ("+441632960123", "+4…23"), ("client:+15550001234", "client:+…"), ("", "")],
)
def test_the_caller_stands_in_the_header_masked(number: str, written: str) -> None:
    line = header_line(Header(carrier="twilio", upstream="openai", caller=number), sound=False)
    assert read_header(line).caller == written
    assert header_line(read_header(line), sound=False) == line
