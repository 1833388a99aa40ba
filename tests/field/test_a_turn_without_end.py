"""A model that takes the caller to be speaking for ever: our own ear knows better, and ends the turn.

Reported of other bridges: hold music, a street, a dog or a lost event keep a turn open, and the call is dead
from then on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from bridge import Agent
from bridge.codecs.g711 import rms
from bridge.core import messages as m
from bridge.doubles.agents import Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import murmur
from bridge.testing.call import begin
from tests.codecs.lines import dog, louder, mixed, music, noise, voice

LOW_MS, AUTO_MS, HIGH_MS = 9_500, 5_500, 3_500
BEGINS_MS = 2_000
HISS = noise(60, -62)
IN_FULL = pytest.mark.hostile
"""A minute of call and more: `make hostile` plays them. `tests/core/test_turn_bounds.py` has the same bounds
without sound."""
GLANCES_MS = 160
"""An edge of loudness is known a glance late, and a wake-up may be due at the next frame."""


class Stuck:
    """Voice detection that takes everything for speech once it has heard any."""

    def __init__(self) -> None:
        self.speech = False

    def is_speech(self, buf: bytes, sample_rate: int) -> bool:  # noqa: ARG002  webrtcvad's own
        self.speech |= rms(buf) > 1_000
        return self.speech


def stuck(sound: bytes, agent: Agent | None = None, *, words: str = "Hello?", **options: Any) -> Any:
    """A call whose caller makes this sound from 2 s on, over a line that hisses otherwise."""
    agent = agent or Agent("Answer.", greeting="")
    call = begin(agent, model=ServerOptions(delta_bytes=(1_600,), detector=Stuck(), **options))
    plan(call)
    call.caller.says(HISS[: BEGINS_MS * 8] + sound + HISS, words=words)
    return call


def plan(call: Any) -> None:
    for _ in range(9):
        call.model.answers(Speech(murmur("Let me see."), "Let me see."))


def log(call: Any, *kinds: type[Any]) -> list[tuple[int, Any]]:
    return [(at_ms, action) for at_ms, action in call.rehearsal.said if isinstance(action, kinds)]


def notes(call: Any) -> list[str]:
    """Label and code of what was noted."""
    return [f"{note.what}: {note.detail.partition(':')[0]}" for _, note in log(call, m.Noted)]


def committed_ms(call: Any) -> list[int]:
    return [at_ms for at_ms, _ in log(call, m.CommitAudio)]


# --- our ear is quiet ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["hiss", "street", "zero", "other zero"])
def test_a_turn_that_the_model_does_not_end_is_answered(line: str) -> None:
    """Noise, comfort noise and both zeros of mu-law are quiet, as loud as the line is."""
    call = begin(Agent("Answer.", greeting=""), model=ServerOptions(delta_bytes=(1_600,), detector=Stuck()))
    plan(call)
    after = {
        "hiss": HISS,
        "street": noise(60, -36),
        "zero": b"\xff\xfe" * 240_000,
        "other zero": b"\x7f" * 480_000,
    }
    before = after[line][: BEGINS_MS * 8]
    said = mixed(voice(1.5), noise(2, -36)) if line == "street" else voice(1.5)
    call.caller.says(before + said + after[line])
    call.at(BEGINS_MS + 1_500 + 1_500 + GLANCES_MS + 1_000)
    asked_ms = log(call, m.CreateResponse)[0][0]
    assert committed_ms(call) == [asked_ms]
    assert 1_250 <= asked_ms - BEGINS_MS - 1_500 <= 1_500 + GLANCES_MS
    assert notes(call) == ["turn without end: quiet_ear"]
    assert call.caller.longest_silence_ms(BEGINS_MS + 1_500, call.now_ms) <= 2_000
    assert [spoken.heard for _, spoken in log(call, m.Spoken)]
    call.close()


@pytest.mark.parametrize(
    ("detection", "quiet_ms"),
    [
        ({"type": "server_vad", "silence_duration_ms": 200}, 1_500),
        ({"type": "server_vad", "silence_duration_ms": 2_000}, 3_000),
        ({"type": "semantic_vad", "eagerness": "low"}, LOW_MS),
        ({"type": "semantic_vad", "eagerness": "medium"}, AUTO_MS),
        ({"type": "semantic_vad"}, AUTO_MS),
        ({"type": "semantic_vad", "eagerness": "high"}, HIGH_MS),
    ],
)
def test_the_vendor_has_as_long_as_it_may_wait_on_purpose(detection: dict[str, Any], quiet_ms: int) -> None:
    call = stuck(voice(1.0), Agent("Answer.", greeting="", turn_detection=detection))
    call.at(BEGINS_MS + 1_000 + quiet_ms + 500)
    (at_ms,) = committed_ms(call)
    assert -250 <= at_ms - BEGINS_MS - 1_000 - quiet_ms <= GLANCES_MS
    call.close()


@IN_FULL
def test_a_vendor_that_ends_its_turns_never_meets_a_bound() -> None:
    call = begin(Agent("Answer.", greeting=""))
    said = voice(4.0) + HISS[:16_000]
    call.caller.says(said * 8)
    call.at(60_000)
    assert committed_ms(call) == []
    assert notes(call) == []
    assert len(log(call, m.Turn)) >= 8
    call.close()


@IN_FULL
def test_what_the_caller_says_next_is_heard_though_the_model_is_stuck_for_good() -> None:
    """It has told us once that speech began, and tells nothing more."""
    events = frozenset({"input_audio_buffer.speech_stopped"})
    call = stuck(voice(1.0) + HISS[:64_000] + voice(1.0) + HISS[:80_000] + voice(1.0), withhold=events)
    call.at(BEGINS_MS + 26_000)
    assert [(at_ms - BEGINS_MS) // 1_000 for at_ms in committed_ms(call)] == [2, 11, 22]
    assert len(log(call, m.Spoken)) == 3
    call.close()


def test_a_handler_gets_the_turn_and_answers_it() -> None:
    heard: list[str] = []

    async def handler(session: Any) -> None:
        async for one in session.input():
            heard.append(one.text)
            await session.say("I see.")

    call = stuck(voice(1.0), Agent(handler=handler), words="I have a question.")
    call.at(9_000)
    assert heard == ["I have a question."]
    assert len(log(call, m.CreateResponse)) == 1
    call.close()


def test_a_flicker_is_one_turn() -> None:
    """The model takes back and says again that the caller speaks, and our ear hears nothing of it."""
    call = begin(Agent("Answer.", greeting=""), model=ServerOptions(delta_bytes=(1_600,)))
    plan(call)
    call.model.behaves(withhold=frozenset({"response.created", "input_audio_buffer.speech_stopped"}))
    call.caller.says(HISS[:16_000] + voice(0.8) + HISS)
    call.at(BEGINS_MS + 1_400)
    call.model.behaves(withhold=frozenset())
    for at_ms, kind in zip(range(3_450, 9_000, 150), itertools.cycle(("started", "stopped")), strict=False):
        call.at(at_ms)
        call.model.sends(f"input_audio_buffer.speech_{kind}", item_id=f"u{at_ms}")
    asks = log(call, m.CreateResponse)
    assert len(asks) == 1
    assert log(call, m.Cut) == []
    assert call.caller.longest_silence_ms(BEGINS_MS + 800, asks[0][0] + 1_000) <= 2_000
    call.close()


# --- our ear hears a voice ----------------------------------------------------------------------------------

VOICES: dict[str, Callable[[], bytes]] = {
    "80 s without a stop": lambda: voice(80),
    "on a street": lambda: mixed(voice(80), noise(80, -36)),
    "a television": lambda: mixed(louder(voice(80), -14), music(80, -50)),
    "a dog": lambda: dog(80),
}


@IN_FULL
@pytest.mark.parametrize("sound", VOICES)
def test_no_bound_acts_while_our_ear_hears_a_voice(sound: str) -> None:
    before = noise(10, -36) if sound == "on a street" else HISS[:80_000]
    after = noise(4, -36) if sound == "on a street" else HISS[:32_000]
    call = begin(Agent("Answer.", greeting=""), model=ServerOptions(delta_bytes=(1_600,), detector=Stuck()))
    call.caller.says(before + VOICES[sound]() + after)
    call.at(90_000)
    assert log(call, m.CommitAudio, m.ForgetAudio, m.CreateResponse) == []
    call.wait(2_000)
    assert len(committed_ms(call)) == 1
    item = next(iter(call.model.items.values()))
    assert item.audio_ms > 80_000, "nothing of it is lost"
    call.close()


@IN_FULL
def test_after_90_seconds_a_voice_is_answered_all_the_same() -> None:
    call = stuck(voice(100))
    call.at(BEGINS_MS + 95_000)
    (at_ms,) = committed_ms(call)
    assert 90_000 <= at_ms - BEGINS_MS <= 90_500
    assert notes(call) == ["turn without end: longest_turn"]
    call.close()


@IN_FULL
def test_words_hold_a_turn_open_that_our_ear_does_not_hear() -> None:
    call = stuck(voice(0.6))
    for at_ms in (3_000, 6_000, 12_000):
        call.at(at_ms)
        kind = "conversation.item.input_audio_transcription.delta"
        call.model.sends(kind, item_id="item_0", content_index=0, delta=" and")
    call.at(25_000)
    (asked_ms,) = committed_ms(call)
    assert 22_000 <= asked_ms <= 22_100
    call.close()


# --- sound without words ------------------------------------------------------------------------------------


@IN_FULL
@pytest.mark.parametrize("sound", ["music", "a tone", "a tone in words that are none"])
def test_sound_without_words_is_cleared_and_asked_about_once(sound: str) -> None:
    call = stuck(music(60) if sound == "music" else b"\x10\x90" * 240_000)
    call.at(BEGINS_MS + 20_000)
    if "words" in sound:
        call.model.sends(
            "conversation.item.input_audio_transcription.delta", item_id="i", content_index=0, delta="[Music]"
        )
    call.at(BEGINS_MS + 24_500)
    assert log(call, m.CommitAudio, m.ForgetAudio) == []
    call.at(BEGINS_MS + 49_000)
    (cleared_ms,) = [at_ms for at_ms, _ in log(call, m.ForgetAudio)]
    assert 25_000 <= cleared_ms - BEGINS_MS <= 25_500
    (heard,) = [heard for _, heard in log(call, m.Heard)]
    assert "still there" in heard.text
    assert committed_ms(call) == []
    assert log(call, m.CreateResponse) == []
    assert notes(call) == ["turn without end: no_words"]
    call.close()


def on_hold(**options: Any) -> Any:
    """A call that is on hold since about 53 s, with music until 70 s."""
    call = stuck(music(68), words="[Music]", **options)
    call.at(60_000)
    assert notes(call)[-1] == "on hold: on_hold"
    return call


@IN_FULL
def test_the_second_time_the_caller_is_on_hold_and_nothing_is_said() -> None:
    call = on_hold()
    said = len(log(call, m.PlayAudio))
    call.at(120_000)
    assert len(log(call, m.PlayAudio)) == said
    assert log(call, m.CreateResponse) == []
    call.close()


@IN_FULL
def test_a_caller_on_hold_is_not_nudged_out_of_the_call() -> None:
    agent = Agent("Answer.", greeting="", nudge_ms=3_000, nudges=1)
    call = on_hold(agent=agent)
    call.at(115_000)
    assert call.rehearsal.ended is None
    assert len(log(call, m.Heard)) == 1
    call.close()


@IN_FULL
def test_words_end_it_and_are_answered() -> None:
    call = stuck(music(68) + HISS[:80_000] + voice(1.0), words="[Music]")
    call.words.append("Hello, are you there?")
    call.at(75_000)
    assert "on hold: words" not in notes(call)
    call.at(86_000)
    assert notes(call)[-1] == "on hold: words"
    assert log(call, m.CreateResponse)[0][0] >= 82_000
    assert [spoken.heard for _, spoken in log(call, m.Spoken)]
    call.close()


@IN_FULL
def test_without_a_transcription_a_voice_ends_it() -> None:
    agent = Agent("Answer.", greeting="", transcription="off")
    call = stuck(music(68) + HISS[:80_000] + voice(1.0), agent)
    call.at(86_000)
    assert notes(call)[-1] == "on hold: words"
    assert log(call, m.CreateResponse)[0][0] >= 82_000
    call.close()


@IN_FULL
def test_it_ends_by_itself() -> None:
    agent = Agent("Answer.", greeting="", hold_ms=20_000)
    call = on_hold(agent=agent)
    call.at(80_000)
    assert notes(call)[-1] == "on hold: hold_over"
    call.close()


# --- fields of the agent ------------------------------------------------------------------------------------


@IN_FULL
def test_each_bound_is_a_field_of_the_agent() -> None:
    agent = Agent("Answer.", greeting="", quiet_turn_ms=600, wordless_ms=12_000)
    call = stuck(voice(1.0), agent)
    call.at(4_500)
    (at_ms,) = committed_ms(call)
    assert 3_500 <= at_ms <= 3_800
    call.close()
    call = stuck(music(30), agent)
    call.at(20_000)
    (cleared_ms,) = [at_ms for at_ms, _ in log(call, m.ForgetAudio)]
    assert cleared_ms - BEGINS_MS < 16_000
    call.close()
    call = stuck(voice(30), agent.replace(longest_turn_ms=20_000))
    call.at(BEGINS_MS + 21_000)
    assert notes(call) == ["turn without end: longest_turn"]
    call.close()


@IN_FULL
def test_a_bound_of_0_never_acts() -> None:
    call = stuck(
        voice(1.0) + music(60),
        Agent("Answer.", greeting="", quiet_turn_ms=0, wordless_ms=0, longest_turn_ms=0),
    )
    call.at(110_000)
    assert log(call, m.CommitAudio, m.ForgetAudio, m.CreateResponse) == []
    call.close()
