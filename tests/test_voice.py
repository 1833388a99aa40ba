"""Local voices: a sentence at a time, beside the loop, as loud as speech; and what stands in for one."""

from __future__ import annotations

import threading

import pytest

from bridge.codecs.caption import caption_of
from bridge.codecs.level import level_dbfs
from bridge.doubles.agents import Rendering, Scripted, Speech
from bridge.doubles.tones import murmur
from bridge.simulators import espeak
from bridge.simulators.voice import Sentences, Speaker, Tones, local_voice
from tests.doubles.conftest import AT_ONCE, phone_client

TEXT = "Good day. Which day, please? We are open."


class Slow:
    """A voice that speaks when it is told to."""

    name = "slow"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.gate = threading.Event()

    def pcmu(self, sentence: str) -> bytes:
        self.gate.wait(5)
        self.said.append(sentence)
        if sentence == "Fail.":
            raise RuntimeError("hoarse")
        return b"\x11" * (80 * len(sentence))


def made(speech: Speech) -> Sentences:
    assert isinstance(speech.sound, Sentences)
    return speech.sound


def until_made(sound: Rendering, index: int = 0) -> bytes:
    for _ in range(500):
        if (one := sound.sound(index)) is not None:
            return one
        threading.Event().wait(0.002)
    raise AssertionError("it was never made")


def test_a_text_is_spoken_sentence_by_sentence_and_nobody_waits_for_it() -> None:
    voice = Slow()
    speaker = Speaker(voice)
    sound = made(speaker(TEXT))
    assert list(sound.sentences) == ["Good day.", "Which day, please?", "We are open."]
    assert [sound.sound(index) for index in range(3)] == [None] * 3
    voice.gate.set()
    first = until_made(sound)
    assert len(first) % 160 == 0
    assert caption_of(first) == "Good day."
    assert until_made(made(speaker("Good day."))) == first
    until_made(sound, 2)
    assert voice.said.count("Good day.") == 1
    speaker.close()


def test_a_sentence_that_the_voice_fails_at_is_tones(caplog: pytest.LogCaptureFixture) -> None:
    voice = Slow()
    voice.gate.set()
    speaker = Speaker(voice)
    assert until_made(made(speaker("Fail."))) == murmur("Fail.")
    assert "slow failed at a sentence" in caplog.text
    speaker.close()


class ByHand:
    """A rendering whose sentences are given one by one."""

    def __init__(self) -> None:
        self.sentences = ("One two.", "Three four.")
        self.sounds: list[bytes] = []

    def sound(self, index: int) -> bytes | None:
        return self.sounds[index] if index < len(self.sounds) else None


def test_the_server_streams_what_is_made_and_waits_for_the_rest() -> None:
    sound = ByHand()
    client = phone_client(Scripted([Speech(sound, "One two. Three four.")]), **AT_ONCE)
    client.responds()
    client.until(100)
    assert client.audio("item_1") == b""
    sound.sounds.append(b"\x11" * 1_600)
    client.until(200)
    assert client.audio("item_1") == b"\x11" * 1_600
    told = "".join(event["delta"] for event in client.of("response.output_audio_transcript.delta"))
    assert told == "One two. "
    assert client.of("response.done") == []
    sound.sounds.append(b"\x22" * 800)
    client.until(300)
    assert client.audio("item_1") == b"\x11" * 1_600 + b"\x22" * 800
    item = client.last("response.done")["response"]["output"][0]
    assert (item["status"], item["content"][0]["transcript"]) == ("completed", "One two. Three four.")
    assert client.server.items["item_1"].audio_ms == 300


def test_a_response_that_waits_for_its_sound_can_be_cancelled() -> None:
    client = phone_client(Scripted([Speech(ByHand(), "One two. Three four.")]), **AT_ONCE)
    client.responds()
    client.until(50)
    client.now("response.cancel")
    assert client.last("response.done")["response"]["status"] == "cancelled"


def test_without_the_extra_there_are_tones(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ImportError("no espeakng_loader")

    monkeypatch.setattr(espeak.EspeakVoice, "_engine", None)
    monkeypatch.setattr("importlib.import_module", missing)
    assert isinstance(local_voice(), Tones)
    assert Tones().pcmu("Hello") == murmur("Hello")


def test_espeak_speaks_as_loud_as_people_do() -> None:
    pytest.importorskip("espeakng_loader")
    voice = espeak.EspeakVoice()
    hello = voice.pcmu("Hello. What can I do for you?")
    assert 1_000 < len(hello) // 8 < 4_000
    assert -22 <= level_dbfs(hello) <= -19
    assert voice.pcmu("") == voice.pcmu("\0") == b""
    assert voice.pcmu("Yes.") != voice.pcmu("No.")
    with pytest.raises(RuntimeError, match="no voice 'nobody'"):
        espeak.EspeakVoice("nobody")
    assert 1_000 < len(voice.pcmu("Hello. What can I do for you?")) // 8 < 4_000
