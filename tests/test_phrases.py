"""`phonebridge phrases`: what is said without a model, made by a Realtime server or a voice that is here."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bridge import Agent, sounds
from bridge.cli import app, phrases
from bridge.cli.phrase_voices import trimmed
from bridge.doubles.agents import Asked, Failure, Output, Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone
from bridge.doubles.wishes import said_exactly
from bridge.doubles.xai import xai_options
from bridge.errors import BridgeError, ConfigError
from bridge.settings.settings import load_settings
from bridge.simulators.servers import EmbeddedUpstream

WORDS = {"disclosure": "You speak with a machine.", "filler": "One moment, please."}
SILENT = b"\xff" * 800


@pytest.fixture(autouse=True)
def _without_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "BRIDGE_UPSTREAM", "BRIDGE_AGENT", "BRIDGE_PHRASES", "BRIDGE_LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


class Reader:
    """A model that reads out what it is given, or says `instead` for as many times as there are."""

    def __init__(self, *instead: Output) -> None:
        self.instead = list(instead)
        self.sessions: list[dict[str, object]] = []

    def answer(self, asked: Asked) -> list[Output]:
        self.sessions.append(dict(asked.session))
        words = said_exactly(str(asked.request.get("instructions")))
        assert words is not None
        if self.instead:
            return [self.instead.pop(0)]
        return [Speech(SILENT + tone(len(words) * 10, 300) + SILENT, words)]


def made(
    reader: Reader,
    folder: Path,
    told: io.StringIO,
    *,
    agent: Agent | None = None,
    upstream: str = "openai",
    options_of: Callable[..., ServerOptions] = ServerOptions,
) -> None:
    """The model of a server says the words; `told` gets what the command tells meanwhile."""
    console = Console(width=200, file=told)

    async def main() -> None:
        options = options_of(speed=math.inf, latency_ms=0)
        async with EmbeddedUpstream(lambda: RealtimeServer(reader, options)).serve() as url:
            settings = load_settings(
                demo=True,
                insecure=True,
                env_file=None,
                upstream_url=url,
                upstream="" if upstream == "openai" else upstream,
                openai_api_key="sk-" + "0" * 40,
                xai_api_key="xai-" + "0" * 40,
            )
            assert phrases._upstream(settings) == upstream
            config = phrases.reading(settings, agent, None)
            await phrases._by_model(settings, upstream, config, WORDS, folder, console)

    folder.mkdir(parents=True)
    asyncio.run(main())


def test_a_model_says_them_in_the_voice_of_the_agent(tmp_path: Path) -> None:
    reader = Reader()
    place = tmp_path / "own" / "en"
    told = io.StringIO()
    made(reader, place, told, agent=Agent("Be kind.", voice="cedar", speed=1.1))
    assert json.loads((place / "texts.json").read_text(encoding="utf-8")) == WORDS
    audio = reader.sessions[0]["audio"]
    assert isinstance(audio, dict)
    assert (audio["output"]["voice"], audio["output"]["speed"]) == ("cedar", 1.1)
    assert audio["output"]["format"]["type"] == "audio/pcmu"
    assert "Be kind" not in str(reader.sessions[0]["instructions"])
    assert "One moment, please." in told.getvalue()
    config = load_settings(
        demo=True, insecure=True, env_file=None, phrases=str(tmp_path / "own")
    ).call_config()
    assert config.disclosure == "disclosure"
    sound = config.phrases["disclosure"]
    assert sound.text == WORDS["disclosure"]
    words_ms = len(WORDS["disclosure"]) * 10
    assert sound.size_bytes == 8 * (math.ceil(words_ms / 20) * 20 + 40), "without the silence around it"
    assert base64.b64decode(sound.audio) == (place / "disclosure.ulaw").read_bytes()


def test_a_model_of_another_vendors_says_them_too(tmp_path: Path) -> None:
    reader = Reader()
    made(reader, tmp_path / "en", io.StringIO(), upstream="xai", options_of=xai_options)
    assert len(reader.sessions) == len(WORDS)
    assert (tmp_path / "en" / "disclosure.ulaw").is_file()


def test_a_model_that_says_something_else_is_asked_again(tmp_path: Path) -> None:
    reader = Reader(Speech(tone(200), "Of course! You speak with a machine."))
    made(reader, tmp_path / "en", io.StringIO())
    assert len(reader.sessions) == 3
    assert (tmp_path / "en" / "disclosure.ulaw").is_file()


@pytest.mark.parametrize(
    ("instead", "told"),
    [
        ([Speech(tone(200), "I cannot say that.")] * 3, "and said “I cannot say that.”"),
        ([Failure("server_error")], "the response ended as failed, server_error"),
    ],
)
def test_what_a_model_will_not_say_is_named_and_the_others_are_made(
    instead: list[Output], told: str, tmp_path: Path
) -> None:
    written = io.StringIO()
    with pytest.raises(BridgeError, match="not made: disclosure; `--only` tries one again"):
        made(Reader(*instead), tmp_path / "en", written)
    assert told in written.getvalue()
    assert not (tmp_path / "en" / "disclosure.ulaw").exists()
    assert json.loads((tmp_path / "en" / "texts.json").read_text()) == {"filler": WORDS["filler"]}


class Machine:
    """A voice of this machine."""

    asked: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.name = f"machine {name}"

    def pcmu(self, sentence: str) -> bytes:
        self.asked.append(sentence)
        return tone(100, 300)


def test_without_a_key_a_voice_of_this_machine_says_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.simulators.espeak.EspeakVoice", Machine)
    result = CliRunner().invoke(app, ["phrases", "make", "own", "--language", "fr-CA"])
    assert result.exit_code == 0, result.output
    assert "by machine fr-fr, of this machine" in result.output
    assert "BRIDGE_PHRASES=own" in result.output
    texts = json.loads((tmp_path / "own" / "fr" / "texts.json").read_text(encoding="utf-8"))
    assert texts == {name: sounds.text(name, "fr") for name in sounds.phrase_names("fr")}
    settings = load_settings(demo=True, insecure=True, env_file=None, phrases="own", language="fr")
    assert settings.call_config().phrases["consent"].text == texts["consent"]


def test_words_of_ones_own_are_said_and_those_that_are_missing_are_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.simulators.espeak.EspeakVoice", Machine)
    (tmp_path / "own" / "en").mkdir(parents=True)
    (tmp_path / "own" / "en" / "texts.json").write_text('{"filler": "Just a second."}', encoding="utf-8")
    (tmp_path / "own" / "en" / "filler.wav").write_bytes(b"an earlier one")
    Machine.asked.clear()
    result = CliRunner().invoke(app, ["phrases", "make", "own", "--only", "filler", "--only", "goodbye"])
    assert result.exit_code == 0, result.output
    assert sorted(Machine.asked) == ["Just a second.", sounds.text("goodbye")]
    assert sorted(path.name for path in (tmp_path / "own" / "en").iterdir()) == [
        "filler.ulaw",
        "goodbye.ulaw",
        "texts.json",
    ]


@pytest.mark.parametrize(
    ("arguments", "texts", "told"),
    [
        (["--only", "apologie"], None, "there is no phrase 'apologie'; there is apology, busy"),
        (["--language", "sv"], None, "there are no words in 'sv': write "),
        ([], "[]", "is no JSON object of words by name"),
        ([], '{"../x": "y"}', "'../x' is no name of a phrase"),
        ([], "{", "can't be read"),
    ],
)
def test_what_cannot_be_made_says_what_to_do(
    arguments: list[str], texts: str | None, told: str, tmp_path: Path
) -> None:
    if texts is not None:
        (tmp_path / "own" / "en").mkdir(parents=True)
        (tmp_path / "own" / "en" / "texts.json").write_text(texts, encoding="utf-8")
    result = CliRunner().invoke(app, ["phrases", "make", "own", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)


def test_a_machine_without_a_voice_names_both_ways_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_name: str) -> None:
        raise ImportError("no such package")

    monkeypatch.setattr("bridge.simulators.espeak.EspeakVoice", none)
    result = CliRunner().invoke(app, ["phrases", "make", "own"])
    assert isinstance(result.exception, ConfigError)
    assert "pip install espeakng-loader, or set OPENAI_API_KEY" in str(result.exception)


def test_the_list_has_every_phrase_with_its_words() -> None:
    result = CliRunner().invoke(app, ["phrases", "list", "--language", "de"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for name in sounds.phrase_names("de"):
        assert name in result.output
        assert sounds.text(name, "de") in result.output
    assert "(no words)" in result.output


@pytest.mark.parametrize("sound", [b"", SILENT])
def test_nothing_is_left_of_silence(sound: bytes) -> None:
    assert trimmed(sound) == b""
