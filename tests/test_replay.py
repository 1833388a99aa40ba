"""A recorded call replays exactly; and when something has changed, the replay says what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.carriers import Twilio
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.errors import ConfigError, ReplayMismatch
from bridge.recording import Difference, Parts, Recording, describe, replay
from tests.gate import STREAM, Gate

SOUND = bytes(range(160)) * 10  # 200 ms, and no silence


def barge_in(sound: bool = False) -> list[str]:
    """The model speaks for two seconds, the caller falls in at 620 ms of it."""
    gate = Gate(sound=sound)
    gate.begin(0)
    gate.response(900, "resp_1")
    gate.item(900, "item_1", "resp_1")
    for _ in range(10):
        gate.delta(1000, "item_1", "resp_1", SOUND)
        gate.words(1000, "item_1", "resp_1", ' said "so"')
    for frame in range(31):
        gate.media(1000 + 20 * frame, bytes([frame]) * 160)
        if frame in (13, 23):  # the marks after 200 and 400 ms, 60 ms late
            gate.echo(1000 + 20 * frame, gate.marks.popleft())
    gate.caller_speaks(1620)
    for frame in range(50):
        gate.media(1640 + 20 * frame)
    gate.response_done(2700, "resp_1", "cancelled")
    gate.stop(3000)
    return gate.close()


def changed(lines: list[str], old: str, new: str) -> list[str]:
    """The recording with one word of it changed, once."""
    at = next(number for number, line in enumerate(lines) if old in line)
    return [*lines[:at], lines[at].replace(old, new, 1), *lines[at + 1 :]]


def found(lines: list[str], **how: Any) -> Difference:
    difference = replay(lines, **how).difference
    assert difference is not None
    return difference


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_a_call_replays_exactly(sound: bool, strict: bool) -> None:
    result = replay(barge_in(sound), strict=strict)
    assert result.difference is None
    assert (result.ended, result.torn, result.truncated) == (True, False, None)
    assert result.end_ms == 3000
    result.check()


@pytest.mark.parametrize("sound", [False, True])
def test_what_is_written_again_is_the_recording(sound: bool) -> None:
    lines = barge_in(sound)
    assert replay(lines).outputs == lines


# --- it can fail -----------------------------------------------------------------------------------------


def test_a_truncate_at_another_millisecond_is_a_difference_with_the_ledger_as_it_was() -> None:
    lines = barge_in()
    difference = found(changed(lines, '"audio_end_ms":620', '"audio_end_ms":640'))
    assert difference.t_ms == 1620
    assert '"audio_end_ms":640' in (difference.expected or "")
    assert '"audio_end_ms":620' in (difference.got or "")
    assert (difference.playout.position_bytes, difference.playout.bytes_per_ms) == (620 * 8, 8)
    assert lines[difference.line - 1].startswith('{"to":"upstream"')


def test_a_difference_is_told_in_words() -> None:
    words = describe(found(changed(barge_in(), '"audio_end_ms":620', '"audio_end_ms":640')))
    first, expected, got, ledger, empty, *around = words.split("\n")
    assert "1,620 ms into the call, after upstream" in first
    assert "speech_started" in first
    assert expected.startswith("  expected  upstream {")
    assert got.startswith("  got       upstream {")
    assert "4,960 of" in ledger
    assert "(620 of" in ledger
    assert empty == ""
    assert len(around) == 7
    assert around[3].startswith(">")


def test_a_clear_that_is_missing_is_a_difference() -> None:
    lines = barge_in()
    clear = next(line for line in lines if '"event":"clear"' in line)
    difference = found([line for line in lines if line != clear])
    assert '"event":"clear"' in (difference.got or "")


def test_an_action_too_many_is_a_difference() -> None:
    lines = barge_in()
    at = next(number for number, line in enumerate(lines) if '"Cut"' in line)
    difference = found([*lines[: at + 1], lines[at], *lines[at + 1 :]])
    assert "Cut" in (difference.expected or "")


def test_nothing_where_something_was_expected_is_told_so() -> None:
    lines = barge_in()
    at = max(number for number, line in enumerate(lines) if line.startswith('{"t"'))
    cut = '{"to":"session","action":{"is":"Cut","item_id":"item_9","heard_ms":1}}'
    lines[at:at] = ['{"t":2990,"event":{"is":"FramesDropped","frames":1}}', cut]
    difference = found(lines)
    assert (difference.line, difference.got) == (at + 2, None)
    assert "got       nothing more" in describe(difference)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Bears no truth: only `strict` looks.
        ('"is":"CallerSpoke","speaking":true', '"is":"CallerSpoke","speaking":false'),
        ('"payload":"<1600>"}}}', '"payload":"<1598>"}}}'),
        ('"mark":{"name":"1"}', '"mark":{"name":"4711"}'),
        ('"is":"CallBegan"', '"is":"DigitHeard","digit":"1"'),
    ],
)
def test_strict_sees_every_byte_and_the_default_what_bears_the_truth(old: str, new: str) -> None:
    lines = changed(barge_in(), old, new)
    found(lines, strict=True)
    assert replay(lines).difference is None


def test_how_a_frame_is_spelt_matters_to_strict_alone() -> None:
    lines = changed(
        barge_in(),
        '"item_id":"item_1","content_index":0,"audio_end_ms"',
        '"content_index":0,"item_id":"item_1","audio_end_ms"',
    )
    found(lines, strict=True)
    assert replay(lines).difference is None


def test_kept_sound_is_compared_to_the_byte() -> None:
    lines = barge_in(sound=True)
    at = next(n for n, line in enumerate(lines) if line.startswith('{"to":"carrier"') and "media" in line)
    assert "AAEC" in lines[at]
    lines[at] = lines[at].replace("AAEC", "AAED", 1)
    found(lines, strict=True)
    assert replay(lines).difference is None


def test_binary_frames_and_lost_ones_are_told_in_words() -> None:
    gate = Gate()
    gate.begin()
    gate.upstream(10, b"\x00\xff")
    lines = gate.close()
    at = next(number for number, line in enumerate(lines) if '"binary"' in line)
    dropped = '{"dropped":"upstream","frame":{"type":"input_audio_buffer.append","audio":"<160>"}}'
    difference = found([*lines[: at + 1], dropped, *lines[at + 1 :]], strict=True)
    assert difference.after == "a binary frame of the upstream"
    assert difference.expected is not None
    binary = '{"to":"upstream","binary":"AP8="}'
    words = describe(found([*lines[: at + 1], binary, *lines[at + 1 :]], strict=True))
    assert "expected  upstream b'\\x00\\xff'" in words


def test_a_frame_of_another_session_is_a_difference() -> None:
    lines = barge_in()
    at = next(number for number, line in enumerate(lines) if "conversation.item.truncate" in line)
    lines[at] = f'{lines[at][:-1]},"epoch":2}}'
    found(lines)
    found(lines, strict=True)


def test_check_raises_what_differs() -> None:
    with pytest.raises(ReplayMismatch) as caught:
        replay(changed(barge_in(), '"audio_end_ms":620', '"audio_end_ms":640')).check()
    assert caught.value.expected != caught.value.got


def test_a_step_inside_of_a_run_is_named() -> None:
    lines = barge_in()
    at = max(number for number, line in enumerate(lines) if '"run"' in line)
    run = json.loads(lines[at])
    run["run"] = run["run"].replace("20 20 20", "20 20- 20", 1)
    lines[at] = json.dumps(run, separators=(",", ":"))
    difference = found(lines, strict=True)
    assert (difference.line, difference.expected) == (at + 1, None)
    assert "of the line)" in difference.after


# --- mutants ---------------------------------------------------------------------------------------------


class LateEar(Call):
    """Learns 20 ms too late that the caller speaks."""

    def receive(self, event: m.Event, now_ms: int) -> list[m.Action]:
        return super().receive(event, now_ms + 20 * isinstance(event, m.SpeechStarted))


class Broken(Call):
    def receive(self, event: m.Event, now_ms: int) -> list[m.Action]:
        if isinstance(event, m.SpeechStarted):
            raise KeyError("item_1")
        return super().receive(event, now_ms)


class TwoSpaces(Twilio):
    def write(self, command: m.CarrierCommand) -> str:
        return super().write(command).replace(",", ",  ")


def test_a_core_that_is_late_is_found() -> None:
    assert found(barge_in(), parts=Parts(call=LateEar)).t_ms == 1620


def test_a_core_that_raises_is_found_with_what_it_raised() -> None:
    difference = found(barge_in(), parts=Parts(call=Broken))
    assert difference.got == "KeyError raised: 'item_1'"
    assert isinstance(difference.error, KeyError)


def test_a_call_that_broke_differs_until_it_is_mended() -> None:
    lines = barge_in()
    broke = replay(lines, parts=Parts(call=Broken)).outputs
    assert "speech_started" in broke[-2]
    assert broke == [*lines[: len(broke) - 1], '{"end":true}']
    assert "KeyError" in describe(found(broke, parts=Parts(call=Broken)))
    assert found(broke).expected is None


def test_an_adapter_that_writes_otherwise_is_found_by_strict() -> None:
    parts = Parts(carriers={"twilio": TwoSpaces})
    found(barge_in(), parts=parts, strict=True)
    assert replay(barge_in(), parts=parts).difference is None


def test_what_was_accepted_replays() -> None:
    changed_core = Parts(call=LateEar)
    accepted = replay(barge_in(), parts=changed_core).outputs
    assert accepted != barge_in()
    assert replay(accepted, parts=changed_core, strict=True).difference is None
    found(accepted)


# --- what became of commands -----------------------------------------------------------------------------


def test_audio_held_back_for_a_slow_upstream_goes_or_is_lost_as_it_was() -> None:
    gate = Gate()
    gate.begin()
    for frame in range(40):
        gate.slow = 10 <= frame < 20 or frame >= 35
        gate.media(100 + 20 * frame)
    gate.happens(1000, m.FramesDropped(5))
    gate.stop(1010)
    lines = gate.close()
    assert sum('"dropped"' in line for line in lines) >= 1
    result = replay(lines, strict=True)
    assert result.difference is None
    assert result.outputs == lines


def test_a_lost_frame_that_was_never_held_is_a_difference() -> None:
    lines = barge_in()
    at = next(number for number, line in enumerate(lines) if '"run"' in line)
    append = '{"type":"input_audio_buffer.append","audio":"<160>"}'
    lines.insert(at + 1, f'{{"dropped":"upstream","frame":{append}}}')
    assert found(lines, strict=True).got is None


def test_a_command_for_an_upstream_that_is_not_there_is_no_frame() -> None:
    gate = Gate()
    gate.start(0)
    gate.happens(0, m.Admitted())
    gate.configured(10)
    gate.happens(20, m.UpstreamClosed(1006, "gone", 1))
    gate.happens(30, m.AddText("Still there?"))
    gate.stop(1000)
    lines = gate.close()
    assert replay(lines, strict=True).difference is None


def test_what_user_code_sends_may_be_no_json() -> None:
    gate = Gate()
    gate.begin()
    gate.happens(10, m.SendRaw("not JSON"))
    lines = gate.close()
    for strict in (True, False):
        assert replay(lines, strict=strict).difference is None
        assert '"not JSON!"' in str(
            found(changed(lines, '"text":"not JSON"', '"text":"not JSON!"'), strict=strict)
        )


# --- how a recording ends --------------------------------------------------------------------------------


def test_a_killed_process_leaves_a_recording_up_to_its_last_whole_line() -> None:
    lines = barge_in()
    for cut in (4, len(lines) // 2, len(lines) - 3):
        result = replay([*lines[:cut], lines[cut][:-7]], strict=True)
        assert (result.difference, result.torn, result.ended) == (None, True, False)
        whole = replay(lines[:cut], strict=True)
        assert (whole.difference, whole.torn, whole.ended) == (None, False, False)
        assert whole.outputs[:cut] == lines[:cut]  # and what else followed from the last step


def test_a_truncated_recording_says_why() -> None:
    lines = [*barge_in()[:12], '{"truncated":"disk full"}']
    result = replay(lines, strict=True)
    assert (result.difference, result.truncated, result.ended) == (None, "disk full", False)
    assert result.outputs == lines


def test_lines_may_still_have_their_ends() -> None:
    lines = barge_in()
    assert replay([f"{line}\n" for line in lines] + ["\n"], strict=True).difference is None
    assert replay("\n".join(lines).splitlines(), strict=True).difference is None


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "no recording"),
        (["{}"], "no recording"),
        (["not JSON"], "no recording"),
        (['{"format":2}'], "has format 2, and this phonebridge reads 1: a newer phonebridge wrote it"),
        (['{"format":0}'], "has format 0, and this phonebridge reads 1: record the call again"),
        (['{"format":1}'], "the header of this recording can't be read"),
        (
            ['{"format":1,"carrier":"pigeon","upstream":"openai"}'],
            "'pigeon', which this phonebridge does not",
        ),
        (
            ['{"format":1,"carrier":"twilio","upstream":"pigeon"}'],
            "'pigeon', which this phonebridge does not",
        ),
    ],
)
def test_what_is_no_recording_of_ours_is_refused_in_a_sentence(lines: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        replay(lines)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"t":1}',
        '{"end":false}',
        '{"t":1,"from":"window","frame":{}}',
        '{"t":1,"from":"carrier"}',
        '{"t":1,"from":"carrier","frame":{"payload":"<99999999999>"}}',
        '{"to":"carrier","frame":{}}',
        '{"t":1,"run":"20 twenty"}',
        '{"t":1,"run":"20"}',
        '{"t":1,"run":"20k1"}',
        '{"t":1,"run":"20d160"}',
        '{"t":1,"run":"20t","words":["a"]}',
        '{"t":1,"event":{"is":"Nothing"}}',
    ],
)
def test_a_line_that_is_not_of_a_recording_is_named(line: str) -> None:
    header = barge_in()[0]
    with pytest.raises(ConfigError, match="line 2 "):
        replay([header, line, '{"end":true}'])


def test_an_output_needs_a_frame_or_an_action() -> None:
    lines = barge_in()
    with pytest.raises(ConfigError, match=r"line 4 .*neither"):
        replay([*lines[:3], '{"to":"carrier"}', *lines[3:]])


def test_a_run_needs_its_sound_where_sound_is_kept() -> None:
    lines = barge_in(sound=True)
    at = next(number for number, line in enumerate(lines) if '"run"' in line)
    run = json.loads(lines[at])
    lines[at] = json.dumps({"t": run["t"], "run": run["run"]})
    with pytest.raises(ConfigError, match="less sound than steps"):
        replay(lines)


# --- any call is a test ----------------------------------------------------------------------------------

SIZES = st.sampled_from([160, 160, 160, 1, 30, 35, 36, 80, 161, 800])
SOUNDS = st.builds(lambda size, byte: bytes([byte]) * size, SIZES, st.integers(0, 255))
TEXTS = st.text(max_size=12) | st.sampled_from(["<160>", '"', "\\", "\u2028", '\\"audio":"', "a\nb", "\x85"])
KINDS = [
    *["media"] * 8, *["delta"] * 6, "words", "words", *["echo"] * 4, "echo_old", "speaks", "speaks", "stops",
    "respond", "respond", "item", "audio_done", "done", "digit", "say", "play", "protected", "text",
    "interrupt", "tool", "tool_done", "pass_on", "mute", "unmute", "slow", "fast", "garbage",
    "upstream_garbage",
    "upstream_gone", "configured", "dial_failed", "reconfigure", "hang_up", "carrier_gone",
]  # fmt: skip
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 400), SOUNDS, TEXTS, st.integers(0, 3)), max_size=60
)
PHRASE = m.Sound("A" * 3000 + "AAA=", 2252, "One moment.")


class Chaos:
    """Drives a gate by the numbers it is given; whatever they are, it is some call."""

    def __init__(self, sound: bool) -> None:
        config = m.CallConfig(greeting="Hello", phrases={"apology": PHRASE, "filler": PHRASE}, jitter_seed=7)
        self.gate = Gate(config, sound)
        self.gate.begin(0)
        self.now_ms = 0
        self.responses = 0
        self.items = 0
        self.echoed: list[str] = []

    def step(self, kind: str, gap_ms: int, sound: bytes, text: str, number: int) -> None:  # noqa: C901
        gate = self.gate
        self.now_ms = now_ms = max(self.now_ms + gap_ms // 4, gate.now_ms)
        epoch = max(gate.upstreams, default=1) - (number == 3)
        response = f"resp_{self.responses - (number == 2)}"
        item = f"item_{self.items - (number == 1)}"
        match kind:
            case "media":
                for frame in range(1 + 4 * number):
                    gate.media(now_ms + 20 * frame, sound, None if number else gap_ms)
            case "delta":
                gate.delta(now_ms, item, response, sound * (1 + 3 * number), epoch)
            case "words":
                gate.words(now_ms, item, response, text, epoch)
            case "echo" if gate.marks:
                self.echoed.append(gate.marks.popleft())
                gate.echo(now_ms, self.echoed[-1])
            case "echo_old":
                gate.echo(now_ms, self.echoed[-1] if self.echoed else "never sent")
            case "speaks":
                gate.caller_speaks(now_ms, epoch)
            case "stops":
                gate.caller_stops(now_ms, epoch)
            case "respond":
                self.responses += 1
                tag = text if number == 1 else "greeting" if number == 2 else None
                gate.response(now_ms, f"resp_{self.responses}", epoch, tag)
                self.step("item", 0, sound, text, 0)
            case "item":
                self.items += 1
                gate.item(now_ms, f"item_{self.items}", response, epoch)
            case "audio_done":
                gate.audio_done(now_ms, item, response, epoch)
            case "done":
                gate.response_done(now_ms, response, ["completed", "cancelled", "failed"][number % 3], epoch)
            case "digit":
                gate.digit(now_ms, "0123456789*#"[gap_ms % 12])
            case "say":
                gate.happens(now_ms, m.Say(f"say_{gap_ms}", text))
            case "play":
                gate.happens(now_ms, m.Play(f"play_{gap_ms}", PHRASE))
            case "protected":
                gate.happens(now_ms, m.Play(f"play_{gap_ms}", PHRASE, protected=True))
            case "text":
                gate.happens(now_ms, m.AddText(text))
            case "interrupt":
                gate.happens(now_ms, m.Interrupt())
            case "tool":
                call = {"id": f"tool_{gap_ms}", "type": "function_call", "call_id": f"call_{gap_ms}"}
                call |= {"name": "look", "arguments": text, "status": "completed"}
                gate.event(now_ms, "response.output_item.done", epoch, response_id=response, item=call)
            case "tool_done":
                gate.happens(now_ms, m.ToolFinished(f"call_{gap_ms}", text))
            case "pass_on":
                gate.happens(
                    now_ms, m.SendRaw(text if number else json.dumps({"audio": "A" * 64, "t": text}))
                )
            case "mute":
                gate.happens(now_ms, m.Mute(on=True))
            case "unmute":
                gate.happens(now_ms, m.Mute(on=False))
            case "slow":
                gate.slow = True
            case "fast":
                gate.slow = False
            case "garbage":
                sid = "" if number == 1 else STREAM
                media = {"payload": [text, "A" * 64, "QUJD", "/" * 60 + text][number], "track": "inbound"}
                bad = [
                    text,
                    text.encode(errors="replace"),
                    "[" * 50,
                    json.dumps({"event": "media", "streamSid": sid, "media": media}),
                ]
                gate.carrier(now_ms, bad[gap_ms % 4])  # type: ignore[arg-type]
            case "upstream_garbage":
                half = {"type": "response.output_audio.delta", "delta": "A" * 60 + text}
                gate.upstream(
                    now_ms,
                    [text, json.dumps(half, indent=number or None), b"\x00\xff", "{}"][gap_ms % 4],  # type: ignore[arg-type]
                    epoch,
                )
            case "upstream_gone":
                gate.happens(now_ms, m.UpstreamClosed(1006, text, epoch))
            case "configured":
                gate.configured(now_ms, epoch)
            case "dial_failed":
                gate.happens(now_ms, m.DialFailed(epoch, 503, text))
            case "reconfigure":
                gate.happens(now_ms, m.Reconfigure(m.SessionConfig(instructions=text)))
            case "hang_up" if gap_ms > 300:
                gate.happens(now_ms, m.HangUp(text))
            case "carrier_gone" if gap_ms > 380:
                gate.happens(now_ms, m.CarrierClosed(1006, text))


CHAOS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], report_multiple_bugs=False
)


def check_replay(steps: list[tuple[str, int, bytes, str, int]], sound: bool) -> None:
    chaos = Chaos(sound)
    for step in steps:
        chaos.step(*step)
    lines = chaos.gate.close()
    for strict in (True, False):
        result = replay(lines, strict=strict)
        assert result.difference is None, describe(result.difference)
    assert result.outputs == lines
    assert all(len(line.splitlines()) == 1 for line in lines)
    # What was sent is what the recording has of it, in order, whatever was left out of it.
    if sound:
        outputs = [output for step in Recording(lines).steps() for output in step.outputs]
        frames = [output.frame for output in outputs if output.frame is not None and not output.dropped]
        assert frames == [frame for _, _, frame in chaos.gate.sent]


test_any_call_replays = CHAOS(given(STEPS, st.booleans())(check_replay))
test_a_thousand_calls_replay = pytest.mark.hostile(
    settings(CHAOS, max_examples=1_000)(given(STEPS, st.booleans())(check_replay))
)
