"""The bundled sounds: what is said, that it sounds like a phone call, and that SOUNDS.md tells the truth."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest

from bridge import sounds
from bridge.codecs import PCMU
from bridge.codecs.audible import is_audible_block
from bridge.codecs.g711 import pcmu_to_pcm, rms
from bridge.codecs.level import level_dbfs
from bridge.errors import ConfigError

FOLDER = Path(sounds.__file__).parent
NOTE = (FOLDER / "SOUNDS.md").read_text(encoding="utf-8")
PHRASES = (
    "apology",
    "busy",
    "consent",
    "disclosure",
    "filler",
    "filler_2",
    "filler_3",
    "goodbye",
    "restored",
    "still_there",
    "unreached",
    "working",
)
OTHERS = [language for language in sounds.LANGUAGES if language != "en"]
EVERY_SOUND = {
    **{f"en/{name}": (sounds.load(name), sounds.text(name)) for name in PHRASES},
    **{f"demo/{name}": (sounds.load_demo(name), sounds.demo_text(name)) for name in ("caller", "greeting")},
}
every_sound = pytest.mark.parametrize(("sound", "words"), EVERY_SOUND.values(), ids=EVERY_SOUND)
SPEECH_DBFS = -40
CALLER_SPEAKS_MS = [(2_000, 4_520), (8_800, 11_800), (13_600, 14_380), (16_900, 17_420)]


def frames(sound: bytes) -> list[bytes]:
    return [sound[at : at + 160] for at in range(0, len(sound), 160)]


def spoken_ms(sound: bytes, pause_ms: int) -> list[tuple[int, int]]:
    """From when until when somebody speaks; shorter pauses belong to the speech."""
    spans: list[tuple[int, int]] = []
    for number, frame in enumerate(frames(sound)):
        if level_dbfs(frame) < SPEECH_DBFS:
            continue
        start, end = number * 20, number * 20 + 20
        if spans and start - spans[-1][1] < pause_ms:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


# -- what there is


def test_the_phrases_are_these_and_each_has_its_file_and_words() -> None:
    assert sounds.phrase_names() == PHRASES
    assert {path.stem for path in (FOLDER / "en").glob("*.ulaw")} == set(PHRASES)
    assert {path.stem for path in (FOLDER / "demo").glob("*.ulaw")} == {"caller", "greeting"}
    for name in PHRASES:
        assert sounds.load(name) == (FOLDER / "en" / f"{name}.ulaw").read_bytes()


@pytest.mark.parametrize(
    "ask", [sounds.load, sounds.text, sounds.load_demo, sounds.demo_text], ids=lambda ask: ask.__name__
)
@pytest.mark.parametrize("name", ["nothing", "", "../en/filler", "texts.json"])
def test_another_name_is_refused_and_the_names_are_told(ask: object, name: str) -> None:
    assert callable(ask)
    with pytest.raises(ConfigError, match=r"only (apology, busy|caller, greeting)"):
        ask(name)


def test_another_language_is_refused() -> None:
    for ask in (sounds.phrase_names, lambda language: sounds.load("filler", language)):
        with pytest.raises(ConfigError, match="no bundled phrases in language 'tlh'"):
            ask("tlh")


def test_all_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.ulaw")) < 3_200_000


@pytest.mark.parametrize("language", sounds.LANGUAGES)
def test_every_language_has_every_phrase_in_words_of_its_own(language: str) -> None:
    assert sounds.phrase_names(language) == PHRASES
    assert {path.stem for path in (FOLDER / language).glob("*.ulaw")} == set(PHRASES)
    words = [sounds.text(name, language) for name in PHRASES]
    assert len(set(words)) == len(words)
    if language != "en":
        assert set(words).isdisjoint(sounds.text(name) for name in PHRASES)


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_sounds_like_english(language: str) -> None:
    for name in PHRASES:
        sound = sounds.load(name, language)
        assert len(sound) % 160 == 0
        assert 700 <= PCMU.duration_ms(len(sound)) <= 6_500, name
        assert abs(speech_dbfs(sound) + 20) < 0.5, name
        assert f"{name} {len(sound) / 8_000:.2f} s" in NOTE
    for name in ("filler", "still_there", "working"):
        assert PCMU.duration_ms(len(sounds.load(name, language))) <= 1_900


def test_the_waiting_sound_is_quiet_and_short_and_can_be_heard() -> None:
    sound = sounds.waiting()
    assert len(sound) == 3_200
    assert -38 < level_dbfs(sound) < -30
    assert is_audible_block(sound[640:800])


@pytest.mark.parametrize(
    ("name", "at_most_ms"),
    [("filler", 1_400), ("still_there", 1_400), ("working", 1_400), ("disclosure", 2_400)],
)
def test_what_interrupts_a_call_is_short(name: str, at_most_ms: int) -> None:
    assert PCMU.duration_ms(len(sounds.load(name))) <= at_most_ms


# -- how it sounds


@every_sound
def test_the_length_is_whole_frames_and_that_of_spoken_words(sound: bytes, words: str) -> None:
    assert len(sound) % 160 == 0
    speech_ms = sum(end - start for start, end in spoken_ms(sound, pause_ms=1_000))
    assert 45 <= speech_ms / len(words) <= 90, "milliseconds a letter"


def speech_dbfs(sound: bytes) -> float:
    speech = [rms(pcmu_to_pcm(frame)) ** 2 for frame in frames(sound) if level_dbfs(frame) >= SPEECH_DBFS]
    return 10 * math.log10(sum(speech) / len(speech) / 32_768**2)


@every_sound
def test_the_speech_level_is_minus_20_dbfs_and_nothing_is_clipped(sound: bytes, words: str) -> None:
    assert abs(speech_dbfs(sound) + 20) < 0.5, words
    assert max(abs(sample) for sample in memoryview(pcmu_to_pcm(sound)).cast("h")) < 29_200, "-1 dBFS"


@every_sound
def test_it_fades_in_and_ends_in_silence(sound: bytes, words: str) -> None:
    assert rms(pcmu_to_pcm(sound[:8])) < 100, f"a click before {words!r}"
    silent_bytes = len(sound) - len(sound.rstrip(PCMU.silent_sample))
    assert PCMU.duration_ms(silent_bytes) in (
        range(400, 500) if sound == sounds.load_demo("caller") else range(20, 45)
    )


# -- the demo's caller


def test_the_caller_speaks_when_the_note_says() -> None:
    caller = sounds.load_demo("caller")
    spoken = spoken_ms(caller, pause_ms=300)
    assert len(spoken) == len(CALLER_SPEAKS_MS), "a pause of 300 ms within a sentence could end a turn"
    for (start, end), (told_start, told_end) in zip(spoken, CALLER_SPEAKS_MS, strict=True):
        assert told_start <= start <= told_start + 40
        assert told_end - 40 <= end <= told_end
    for start, end in CALLER_SPEAKS_MS:
        assert f"| {start / 1_000:.2f} s | {end / 1_000:.2f} s |" in NOTE
    for (_, end), (start, _) in pairwise(CALLER_SPEAKS_MS):
        assert not caller[(end + 20) * 8 : start * 8].strip(b"\xff"), "digital silence in between"


def test_the_parrot_has_room_to_answer_and_is_interrupted_once() -> None:
    waits_ms, before_ms, thinks_ms = 500, 300, 100
    first, second, third, goodbye = CALLER_SPEAKS_MS

    def repeats(turn: tuple[int, int]) -> tuple[int, int]:
        began = turn[1] + waits_ms + thinks_ms
        return began, began + before_ms + turn[1] - turn[0] + waits_ms

    assert PCMU.duration_ms(len(sounds.load_demo("greeting"))) + 400 < first[0]
    assert repeats(first)[1] + 300 < second[0]
    assert repeats(second)[0] + 1_200 == third[0]
    assert repeats(third)[1] + 300 < goodbye[0]


# -- the note


@every_sound
def test_the_note_has_the_length_and_the_words(
    sound: bytes, words: str, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    shown = "the caller's side of a call, below" if name == "demo/caller" else words
    assert f"| `{name}` | {len(sound) / 8_000:.2f} s | {shown} |" in NOTE


def test_the_note_has_the_command_for_every_sentence() -> None:
    said = dict(re.findall(r'^say ("\$tmp/\d"|\S+)\s+\S+ \d+ \S+ "(.*)"$', NOTE, flags=re.MULTILINE))
    caller = [said.pop(f'"$tmp/{number}"') for number in range(1, 5)]
    assert " ".join(caller) == sounds.demo_text("caller")
    assert said == {
        f"{name}.ulaw": words for name, (_, words) in EVERY_SOUND.items() if name != "demo/caller"
    }
