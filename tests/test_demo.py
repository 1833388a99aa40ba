"""The commands as a person runs them: the demo, a phone, and a Realtime server for anybody's client.

The demo's own call takes twenty seconds. It is placed first, and looked at last.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import time
import wave
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from openai import AsyncOpenAI
from typer.testing import CliRunner

from bridge.cli import _complain as complain
from bridge.cli import app
from bridge.codecs.g711 import pcm_to_pcmu, pcmu_to_pcm
from bridge.errors import ConfigError
from bridge.sounds import demo_text, load_demo
from tests.calls import COMMAND, ROOT, command, only, served

SENTENCE = slice(2 * 8_000, int(4.52 * 8_000))
"""Where the bundled caller says its first one (bridge/sounds/SOUNDS.md)."""
SHORT = slice(int(13.6 * 8_000), int(14.38 * 8_000))
"""And "Make that eight", for calls that need not be long."""


@dataclass
class Run:
    """A command under way."""

    folder: Path
    process: subprocess.Popen[str]
    began_s: float

    def ended(self) -> tuple[int, str, str]:
        """Its exit code and what it wrote, to either side, when it is over."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def run(*arguments: str, folder: Path, **environment: str) -> Run:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=only(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Run(folder, process, time.monotonic())


@pytest.fixture(scope="module", autouse=True)
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Run]]:
    """The demo itself with `--json`, and one with a file of the user's own, under way during other tests."""
    folder = tmp_path_factory.mktemp("demo")
    speech_wav(folder / "mine.wav")
    runs = (
        run("demo", "--json", folder=folder),
        run("demo", "--audio", "mine.wav", "--out", "out.wav", folder=folder),
    )
    yield runs
    for one in runs:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def channels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Both channels of a stereo WAV at 8 kHz, between -1 and 1."""
    with wave.open(str(path)) as source:
        assert (source.getnchannels(), source.getsampwidth(), source.getframerate()) == (2, 2, 8_000)
        samples = np.frombuffer(source.readframes(source.getnframes()), "<i2") / 32_768
    return samples[0::2], samples[1::2]


def likeness(sound: np.ndarray, part: np.ndarray) -> tuple[float, int]:
    """How much the most similar place in a sound is like that part (1 is the same), and where it is."""
    size = 1 << (len(sound) + len(part)).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(part, size))
    products = np.fft.irfft(spectrum, size)[: len(sound) - len(part) + 1]
    so_far = np.concatenate([[0.0], np.cumsum(sound**2)])
    energy = (so_far[len(part) :] - so_far[: -len(part)])[: len(products)]
    alike = products / np.sqrt(np.maximum(energy, 1e-9) * np.sum(part**2))
    return float(alike.max()), int(alike.argmax())


def heard(pcmu: bytes) -> np.ndarray:
    return np.frombuffer(pcmu_to_pcm(pcmu), "<i2") / 32_768


def speech_wav(path: Path) -> None:
    """A user's file: 16 kHz, stereo, on the left a sentence of the bundled caller's, noise on the right."""
    said = heard(load_demo("caller"))[SHORT]
    left = np.interp(np.arange(2 * len(said)) / 2, np.arange(len(said)), said)
    right = np.random.default_rng(1).uniform(-0.5, 0.5, len(left))
    samples = (np.stack([left, right], axis=1) * 32_767).astype("<i2")
    with wave.open(str(path), "wb") as sink:
        sink.setnchannels(2)
        sink.setsampwidth(2)
        sink.setframerate(16_000)
        sink.writeframes(samples.tobytes())


# --- help --------------------------------------------------------------------------------------------------

COMMANDS = sorted(one.name or "" for one in [*app.registered_commands, *app.registered_groups])  # type: ignore[attr-defined]


def test_each_command_is_told_in_one_line() -> None:
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).output
    listed = told.partition("Commands")[2].splitlines()[1:-1]
    assert sorted(line.strip("│ ").split()[0] for line in listed if line.startswith("│")) == COMMANDS


def test_paragraphs_of_help_are_filled_on_a_narrow_terminal() -> None:
    for words in (["fork"], ["call"], ["bench", "load"]):
        narrow = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
        told = CliRunner().invoke(app, [*words, "--help"], env=narrow).output
        prose = [line.strip() for line in told.partition("╭")[0].splitlines()]
        for line, following in itertools.pairwise(prose):
            assert not line or not following or len(f"{line} {following.split()[0]}") > 78, (words, line)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert f"{name} " in result.output


# --- mistakes are one line ---------------------------------------------------------------------------------

ANYBODY = {"TWILIO_AUTH_TOKEN": "x" * 32, "PUBLIC_URL": "https://voice.example.com", "OPENAI_API_KEY": "sk-x"}
MISTAKES = {
    "demo --audio nobody.wav": "nobody.wav can't be read: No such file or directory",
    "demo --audio notes[/x].txt": "notes[/x].txt can't be read as sound: file does not start with RIFF",
    "demo --out nowhere/call.wav": "nowhere/call.wav can't be written: there is no folder nowhere",
    "phone voice.example.com --audio a.ulaw --out b.wav": "voice.example.com cannot be called",
    "phone http://127.0.0.1:9/ --digits 12x": "12x cannot be pressed: x is no key of a phone",
}


def test_a_call_that_was_turned_away_leaves_the_wav_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def turned_away(*_: object) -> tuple[dict[str, object], tuple[bytes, bytes]]:
        return {"seconds": 3.6, "heard_ms": 0, "broken": "nothing was heard"}, (b"", b"")

    monkeypatch.setattr("bridge.cli.phone._call", turned_away)
    (tmp_path / "call.wav").write_bytes(b"the call before")
    out = ["--out", str(tmp_path / "call.wav")]
    done = CliRunner().invoke(app, ["phone", "http://127.0.0.1:9/", *out, "--json"])
    assert (done.exit_code, json.loads(done.stdout)["wav"]) == (1, None)
    assert (tmp_path / "call.wav").read_bytes() == b"the call before"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.ulaw").write_bytes(b"\xff" * 160)
    (tmp_path / "notes[").mkdir()
    (tmp_path / "notes[" / "x].txt").write_text("buy milk")
    return tmp_path


@pytest.mark.parametrize("arguments", MISTAKES)
def test_wrong_use_is_one_readable_line(
    arguments: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    mistake = CliRunner().invoke(app, arguments.split()).exception
    assert isinstance(mistake, ConfigError)
    complain(mistake)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("phonebridge: ")
    assert MISTAKES[arguments] in line


def test_wrong_use_exits_with_2(folder: Path) -> None:
    arguments = ("serve", "--port", "1", "--host", "192.0.2.1")
    code, out, err = run(*arguments, folder=folder, **ANYBODY).ended()
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("phonebridge: 192.0.2.1:1 cannot be listened on")


def test_a_server_that_is_not_there_is_a_failure_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.ulaw").write_bytes(b"\xff" * 160)
    options = ["--audio", "a.ulaw", "--out", "b.wav"]
    code, out, err = run("phone", "http://127.0.0.1:9/incoming-call", *options, folder=tmp_path).ended()
    assert (code, len(err.splitlines()), out.count("\n")) == (1, 1, 1)
    assert "nothing listens there; is `phonebridge serve` running, at this port?" in err
    assert "asked" in out


# --- a phone, against a server of its own ------------------------------------------------------------------


@pytest.mark.hostile
def test_two_phones_call_a_server(tmp_path: Path) -> None:
    """One posts the webhook and follows it, the other goes straight to the stream."""
    said = load_demo("caller")[SHORT]
    (tmp_path / "said.ulaw").write_bytes(b"\xff" * 14_400 + said)

    async def main() -> list[tuple[int, str, str]]:
        async with served(BRIDGE_INSECURE="1", BRIDGE_UPSTREAM="parrot") as bridge:
            stream = f"ws{bridge.base.removeprefix('http')}/media-stream"
            options = ["--audio", "said.ulaw", "--tail", "1", "--json"]
            phones = [
                run("phone", f"{bridge.base}/incoming-call", *options, "--out", "1.wav", folder=tmp_path),
                run("phone", stream, *options, "--out", "2.wav", folder=tmp_path),
            ]
            results = await asyncio.gather(*(asyncio.to_thread(phone.ended) for phone in phones))
            bridge.process.terminate()
            assert await bridge.ended(2) == 0
            return results

    for code, out, err in asyncio.run(main()):
        assert code == 0
        assert "the caller hung up" in err or "heard" in err  # the story, while the report goes to stdout
        account = json.loads(out)
        assert (account["ended_by"], account["refused"], account["clears"]) == ("the caller", {}, 0)
        assert account["heard_ms"] > 1_520 + 780
        _, right = channels(tmp_path / account["wav"])
        assert likeness(right, heard(load_demo("greeting")))[0] > 0.99
        assert likeness(right, heard(said))[0] > 0.99


# --- somebody else's client at our Realtime server ---------------------------------------------------------


def test_the_upstream_answers_the_vendor_s_own_client() -> None:
    said = load_demo("caller")[SENTENCE]
    pcmu = {"format": {"type": "audio/pcmu"}}

    async def main() -> bytes:
        server = await command("upstream", "--port", "0")
        assert server.stdout is not None
        try:
            async with asyncio.timeout(20):
                ready = (await server.stdout.readline()).decode().split()
                base = ready[1].removesuffix("/realtime?model=parrot")
                async with (
                    AsyncOpenAI(api_key="none", websocket_base_url=base) as client,
                    client.realtime.connect(
                        model="parrot",
                        websocket_connection_options={"proxy": None},  # type: ignore[typeddict-unknown-key]
                    ) as connection,
                ):
                    await connection.session.update(
                        session={"type": "realtime", "audio": {"input": pcmu, "output": pcmu}}  # type: ignore[arg-type, misc]
                    )
                    await connection.input_audio_buffer.append(
                        audio=b64encode(b"\xff" * 4_000 + said + b"\xff" * 8_000).decode()
                    )
                    answer = b""
                    async for event in connection:
                        if event.type == "response.output_audio.delta":
                            answer += b64decode(event.delta)
                        assert event.type != "error"
                        if event.type == "response.done":
                            return answer
        finally:
            server.terminate()
            await server.communicate()
        raise AssertionError("the session ended without an answer")

    assert said in asyncio.run(main())


@pytest.mark.hostile
def test_an_agent_for_gpt_live_is_rehearsed_against_the_double_as_a_process(tmp_path: Path) -> None:
    """Two processes and a phone, no key: it greets in the agent's words, and calls its tool."""
    (tmp_path / "agent.py").write_text(
        "from bridge import Agent, hang_up\n"
        'agent = Agent("Be brief.", tools=[hang_up], greeting="Good morning.")\n'
    )

    async def main() -> str:
        server = await command("upstream", "--dialect", "gpt-live", "--port", "0")
        assert server.stdout is not None
        try:
            await server.stdout.readline()
            told = (await server.stdout.readline()).decode().split()
            settings = dict(one.split("=", 1) for one in told if one.startswith("BRIDGE_"))
            assert settings["BRIDGE_UPSTREAM"] == "gpt-live"
            async with served(tmp_path, BRIDGE_INSECURE="1", **settings) as bridge:
                says = ["--says", "goodbye"]
                phone = run("phone", f"{bridge.base}/incoming-call", *says, folder=tmp_path)
                _, out, err = await asyncio.to_thread(phone.ended)
                return out + err
        finally:
            server.terminate()
            await server.communicate()

    told = asyncio.run(main())
    for words in ("Good morning.", "“Goodbye.”", "ended by  the server"):
        assert words in told, told


# --- the demo ----------------------------------------------------------------------------------------------


def test_a_demo_with_a_file_of_the_user_s_own_told_to_a_person(demos: tuple[Run, Run]) -> None:
    code, out, err = demos[1].ended()
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= 80
    for told in (
        r" +[0-9.]+ s +answered: phone and model can hear each other",
        rf" +[0-9.]+ s +model +“{demo_text('greeting')}” heard to the end, 1.52 s",
        r" +[0-9.]+ s +caller +begins to speak",
        r" +answered after  [0-9]+ ms",
        r" +turns  1, answered in [0-9]+ ms",
        r" +ended  after [0-9.]+ s: the caller hung up",
        r" +listen  out.wav .*",
    ):
        assert sum(bool(re.fullmatch(told, line)) for line in lines) == 1, told
    left, right = channels(demos[1].folder / "out.wav")
    said = heard(load_demo("caller"))[SHORT]
    assert likeness(left, said)[0] > 0.95
    assert likeness(right, said)[0] > 0.95


def test_the_demo(demos: tuple[Run, Run]) -> None:
    """No key, no question: exit 0 within a minute, an account, and a WAV in which the parrot speaks."""
    code, out, err = demos[0].ended()
    assert code == 0
    assert time.monotonic() - demos[0].began_s < 60
    account = json.loads(out)

    assert 0 < account["answered_after_ms"] < account["first_audio_after_ms"] < 2_000
    assert account["turns"] == 4
    assert len(account["answered_in_ms"]) == 4
    [barge_in] = account["barge_ins"]
    assert abs(barge_in["heard_ms"] - barge_in["truncated_ms"]) <= 20
    assert 500 < barge_in["heard_ms"] < 2_500
    assert barge_in["unheard_ms"] > 500
    assert account["ended"] == "the caller hung up"
    assert 18_000 < account["ended_after_ms"] < 25_000
    assert account["phone"]["refused"] == {}

    caller = heard(load_demo("caller"))
    left, right = channels(demos[0].folder / account["wav"])
    assert abs(len(left) / 8 - account["ended_after_ms"]) < 500
    said, at_left = likeness(left, caller[SENTENCE])
    echoed, at_right = likeness(right, caller[SENTENCE])
    assert (said > 0.99, echoed > 0.99) == (True, True)
    assert 2_000 < (at_right - at_left) / 8 < 4_000  # said first, repeated then
    assert likeness(right, heard(load_demo("greeting")))[0] > 0.99
    # The README shows what it prints. Only numbers may differ.
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    assert without_numbers(err) == without_numbers(shown)
    # It is in real time, so the caller's words are where the caller says them.
    assert abs(at_left - SENTENCE.start) < 8_000


def without_numbers(told: str) -> list[str]:
    return [re.sub(r"[0-9.]+", "#", " ".join(line.split())) for line in told.splitlines()]


def test_the_likeness_can_tell_sounds_apart() -> None:
    caller = heard(load_demo("caller"))
    assert likeness(caller, caller[SENTENCE]) == (pytest.approx(1), SENTENCE.start)
    assert likeness(heard(load_demo("greeting") * 3), caller[SENTENCE])[0] < 0.5
    assert likeness(caller, heard(pcm_to_pcmu(b"\x00\x40" * 8_000)))[0] < 0.5
