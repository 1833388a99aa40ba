"""`phonebridge recordings`: listing, exporting and deleting calls of a folder."""

from __future__ import annotations

import json
import re
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.codecs.g711 import pcmu_to_pcm
from bridge.core import messages as m
from bridge.errors import ConfigError
from bridge.recording.header import Header, header_line
from bridge.testing.call import begin
from bridge.testing.scripted_call import ScriptedCall

CALL = f"CA{1:032x}"
NAME = "20261129T140000Z-00000001"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "calls"
    made.mkdir()
    monkeypatch.setenv("BRIDGE_RECORDINGS", str(made))
    return made


def a_call(folder: Path, name: str = NAME, *, sound: bool = True) -> ScriptedCall:
    """An answer that the caller cuts off after a second, and one that they hear out."""
    call = begin(recording={"sound": sound}).at(500)
    call.model.speaks("We are open <from> nine to five & longer on Sundays.", 6_000)
    call.wait(1_000)
    call.caller.interrupts(words="Only on Sundays?")
    call.model.answers("On Sundays we are closed.")
    call.wait(6_000)
    call.caller.hangs_up()
    call.wait(50)
    (folder / f"{name}.call.jsonl").write_text("\n".join([*call.lines, ""]))
    return call


def run(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["recordings", *arguments])
    assert result.exit_code == status, result.output
    return result


def test_it_says_which_agent_and_model_it_was(folder: Path) -> None:
    session = m.SessionConfig(agent=m.AgentRules("desk"))
    header = Header(carrier="twilio", upstream="openai", config=m.CallConfig(session=session))
    (folder / f"{NAME}.call.jsonl").write_text(header_line(header, sound=False) + "\n")
    (listed,) = json.loads(run("ls", "--json").stdout)
    assert (listed["agent"], listed["model"]) == ("desk", "gpt-realtime-2.1")


def test_a_folder_is_listed(folder: Path) -> None:
    a_call(folder)
    a_call(folder, "20261129T150000Z-00000001", sound=False)
    (folder / "torn.call.jsonl").write_text("{")
    (folder / "nested.call.jsonl").write_text('{"x":' * 100_000)
    first, second = json.loads(run("ls", "--json").stdout)
    assert (first["name"], first["call_sid"], first["sound"]) == (NAME, CALL, True)
    assert first["end"] == "the caller hung up"
    assert 7_400 < first["duration_ms"] < 7_700
    assert second["sound"] is False
    assert NAME in run("ls").stdout


def test_a_list_can_be_read_on_eighty_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    a_call(folder)
    lines = run("ls").stdout.splitlines()
    (at,) = [at for at, line in enumerate(lines) if NAME in line]
    assert "the caller" in lines[at]
    assert "kB" in lines[at]
    assert len([line for line in lines[at:] if line.strip()]) <= 2
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("by", [CALL, NAME, "00000001", f"calls/{NAME}.call.jsonl"])
def test_a_wav_has_both_channels_as_the_phone_had_them(folder: Path, by: str) -> None:
    call = a_call(folder)
    run("export", by, "--as", "wav", "--out", "out.wav")
    with wave.open("out.wav") as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8_000)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    heard = np.frombuffer(pcmu_to_pcm(call.phone.heard), "<i2")
    size = min(len(heard), len(both))
    assert np.count_nonzero(heard) > 8_000
    assert np.array_equal(both[:size, 1], heard[:size])


def loudness(channel: NDArray[np.int16]) -> NDArray[np.float64]:
    """Root mean square of each 100 ms."""
    whole = channel[: len(channel) // 800 * 800].astype(np.float64).reshape(-1, 800)
    return np.asarray(np.sqrt(np.mean(whole**2, axis=1)))


def test_an_ogg_sounds_as_the_wav_and_is_smaller(folder: Path) -> None:
    a_call(folder)
    run("export", NAME, "--as", "wav", "--out", "out.wav")
    run("export", NAME, "--as", "ogg", "--out", "out.ogg")
    first = Path("out.ogg").read_bytes()
    assert first.startswith(b"OggS")
    assert b"OpusHead\x01\x02" in first[:100]  # RFC 7845: version 1, two channels
    assert len(first) * 4 < Path("out.wav").stat().st_size
    wav, wav_hz = soundfile.read("out.wav", dtype="int16")
    ogg, ogg_hz = soundfile.read("out.ogg", dtype="int16")
    assert wav_hz == ogg_hz == 8_000
    assert wav.shape[1] == ogg.shape[1] == 2
    assert abs(len(ogg) - len(wav)) < 800
    for channel in (
        0,
        1,
    ):  # each begins where it did; the scripted model's sound is a step, which Opus lets fade
        begins = [int(np.argmax(loudness(file[:, channel]) > 1_000)) for file in (wav, ogg)]
        assert begins[0] > 0
        assert abs(begins[1] - begins[0]) <= 1
    caller, other = loudness(wav[:, 0]), loudness(ogg[:, 1])
    size = min(len(caller), len(other))
    assert np.corrcoef(caller[:size], loudness(ogg[:, 0])[:size])[0, 1] > 0.95
    assert np.corrcoef(caller[:size], other[:size])[0, 1] < 0.5


def test_an_ogg_without_its_library_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_call(folder)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    result = CliRunner().invoke(app, ["recordings", "export", NAME, "--as", "ogg", "--out", "out.ogg"])
    assert isinstance(result.exception, ConfigError)
    assert "pip install soundfile" in str(result.exception)
    assert not Path("out.ogg").exists()


def test_captions_have_the_words_that_were_heard(folder: Path) -> None:
    a_call(folder)
    run("export", NAME, "--as", "vtt")
    captions = Path(f"{NAME}.vtt").read_text()
    assert captions.startswith("WEBVTT\n\n")
    assert "<v Agent>We are" in captions
    assert "&lt;from&gt;" not in captions  # cut off before
    assert "Sundays." not in captions
    assert "<v Caller>Only on Sundays?" in captions
    assert "<v Agent>On Sundays we are closed." in captions
    times = re.findall(r"(\d\d:\d\d:\d\d\.\d{3}) --> (\d\d:\d\d:\d\d\.\d{3})", captions)
    assert len(times) == 3
    assert all(start < end for start, end in times)


def a_transfer(folder: Path) -> ScriptedCall:
    """The target is busy; the caller comes back to a new session with the model, and interrupts it."""
    call = begin(recording={"sound": True}, detour_keep_ms=2_000).returns("busy", after_ms=6_000)
    call.at(500).model.speaks("I am putting you through.", ms=1_500)
    call.model.answers("The line is busy. What else can I do?")
    call.at(550).wish(m.Detour("d" * 32, name="billing"))
    call.at(10_000).caller.interrupts(words="Nothing, bye.")
    call.model.answers("Goodbye.")
    call.wait(6_000).caller.hangs_up()
    call.wait(50)
    (folder / f"{NAME}.call.jsonl").write_text("\n".join([*call.lines, ""]))
    return call


def test_a_wav_of_a_call_that_came_back_has_each_of_its_streams_at_its_time(folder: Path) -> None:
    call = a_transfer(folder)
    run("export", NAME, "--as", "wav", "--out", "out.wav")
    with wave.open("out.wav") as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)[:, 1]
    left = heard.copy()
    for phone in call.rehearsal.phones:
        start = (phone.started_ms or 0) * 8
        sound = np.frombuffer(pcmu_to_pcm(phone.heard), "<i2")[: len(heard) - start]
        assert np.count_nonzero(sound) > 8_000
        assert np.array_equal(heard[start : start + len(sound)], sound)
        left[start : start + len(sound)] = 0
    assert len(call.rehearsal.phones) == 2
    assert not np.count_nonzero(left)


def test_captions_of_a_call_that_came_back_have_what_was_heard_before_and_after(folder: Path) -> None:
    call = a_transfer(folder)
    run("export", NAME, "--as", "vtt")
    captions = Path(f"{NAME}.vtt").read_text()
    said = re.findall(r"> 00:00:(\d\d)\.\d+\n<v (\w+)>(.*)", captions)
    assert said == [
        ("02", "Agent", "I am putting you through."),
        ("10", "Agent", "The line is"),
        ("10", "Caller", "Nothing, bye."),
        ("11", "Agent", "Goodbye."),
    ]
    back_s = (call.rehearsal.phones[1].started_ms or 0) / 1_000
    assert 8 < back_s < float(re.findall(r"00:00:(\S+) -->", captions)[1])
    run("export", NAME, "--as", "json", "--out", "call.json")
    away = json.loads(Path("call.json").read_text())["transcript"][1]
    assert (away["who"], away["at_ms"], away["text"]) == ("away", 2_000, "transfer to billing: busy")


def test_long_captions_are_divided_at_words(folder: Path) -> None:
    call = begin(recording={"sound": False}).at(500)
    words = " ".join(f"word{number}" for number in range(60))
    call.model.speaks(words, 20_000)
    call.wait(21_000)
    call.caller.hangs_up()
    call.wait(50)
    (folder / "long.call.jsonl").write_text("\n".join([*call.lines, ""]))
    run("export", "long", "--as", "vtt")
    said = re.findall("<v Agent>(.*)", Path("long.vtt").read_text())
    assert len(said) == 3
    assert " ".join(said) == words


def test_json_has_what_was_generated_and_not_heard(folder: Path) -> None:
    a_call(folder)
    run("export", CALL, "--as", "json", "--out", "call.json")
    told = json.loads(Path("call.json").read_text())
    cut, asked, answer = told["transcript"]
    assert cut["generated"].startswith(cut["text"])
    assert (cut["who"], cut["cut_ms"]) == ("model", 1_000)
    assert asked["text"] == "Only on Sundays?"
    assert "generated" not in answer
    assert told["barge_ins"][0]["items"][0]["error_ms"] == 0


def test_sound_that_was_not_recorded_is_not_made_up(folder: Path) -> None:
    a_call(folder, sound=False)
    result = CliRunner().invoke(app, ["recordings", "export", CALL])
    assert "BRIDGE_RECORD_AUDIO=1" in str(result.exception)
    assert not Path(f"{NAME}.wav").exists()


def test_one_call_is_deleted_and_no_other(folder: Path) -> None:
    a_call(folder)
    other = "20261129T150000Z-10000001"
    a_call(folder, other)
    text = (folder / f"{other}.call.jsonl").read_text().replace(CALL, f"CA{'2' * 32}")
    (folder / f"{other}.call.jsonl").write_text(text)
    run("delete", "--call", CALL, "--yes")
    assert [path.name for path in folder.glob("*.call.jsonl")] == [f"{other}.call.jsonl"]
    assert all(CALL not in path.read_text() for path in folder.iterdir())
    assert len(json.loads((folder / "deletions.jsonl").read_text())["call_sha256"]) == 64


def test_a_held_recording_stays_and_the_command_fails(folder: Path) -> None:
    a_call(folder)
    (folder / f"{NAME}.hold").touch()
    assert "1 left" in run("delete", "--call", CALL, "--yes", status=1).output
    assert (folder / f"{NAME}.call.jsonl").exists()


def test_a_call_that_is_not_there_is_said(folder: Path) -> None:
    a_call(folder)
    result = CliRunner().invoke(app, ["recordings", "export", f"CA{'9' * 32}"])
    assert "recordings ls" in str(result.exception)


def test_a_masked_copy_beside_its_recording_is_no_second_call(folder: Path) -> None:
    a_call(folder)
    copied = CliRunner().invoke(app, ["replay", "--mask", str(folder / f"{NAME}.call.jsonl")])
    assert copied.exit_code == 0, copied.output
    (listed,) = json.loads(run("ls", "--json").stdout)
    assert (listed["name"], listed["copies"]) == (NAME, [f"{NAME}.masked"])
    assert run("ls").stdout.count(NAME) == 1
    assert "+mas" in run("ls").stdout
    run("export", CALL, "--as", "json")
    assert "nine to five" in Path(f"{NAME}.json").read_text()
    run("export", f"{NAME}.masked", "--as", "json")
    assert "nine to five" not in Path(f"{NAME}.masked.json").read_text()
    run("delete", "--call", CALL, "--yes")
    (left,) = json.loads(run("ls", "--json").stdout)
    assert left["name"] == f"{NAME}.masked", "nothing of the caller is in it: it stays, and is listed"
