"""Finished calls: who may see them, how they are found, heard and kept."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from bridge import cli
from bridge.codecs.g711 import pcmu_to_pcm
from bridge.codecs.wav import stereo_of
from bridge.errors import ConfigError
from bridge.recording.channels import channels
from bridge.server import service
from bridge.server.console.finished import Busy, Finished, folders
from bridge.server.console.readers import Reader
from bridge.server.console.recorded_reader import Orders
from bridge.server.routing.table import Account, Route, RoutingTable
from tests.picture.calls import busy, titled
from tests.test_outcomes import lines_of, off_by

from .test_sign_in import UPSTREAM, client, settings, sign_in

HEARD = "20261129T140300Z-00000009"
OFF = "20261128T140300Z-00000001"
REAL = Reader.ask
HOSTILE = "<img src=x onerror=alert(1)></script>"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process of its own does is done in this one: it takes a second to start."""
    orders = Orders()
    monkeypatch.setattr(Reader, "ask", lambda _self, **order: orders.do(order))


@pytest.fixture(scope="module")
def heard() -> list[str]:
    """A call whose sound was recorded."""
    return [line.replace("Stop, I want number 0.", HOSTILE) for line in busy(3, sound=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, heard: list[str]) -> Path:
    tmp_path = tmp_path_factory.mktemp("finished")
    made = tmp_path / "recordings"
    made.mkdir()
    off = titled(off_by(160, lines_of("barge-in-two-items")), at="2026-11-28T14:03:00+00:00")
    for name, lines in ((HEARD, heard), (OFF, off)):
        (made / f"{name}.call.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (made / "20261127T000000Z-torn.call.jsonl").write_text("{", encoding="utf-8")
    (tmp_path / "secret.call.jsonl").write_text("\n".join([*off, ""]), encoding="utf-8")
    (made / "20261126T000000Z-link.call.jsonl").symlink_to(tmp_path / "secret.call.jsonl")
    return made


@pytest.fixture(scope="module")
def browser(folder: Path) -> Any:
    with client(settings(recordings=str(folder))) as browser:
        assert sign_in(browser).status_code == 200
        yield browser


PATHS = (
    "",
    f"/{HEARD}",
    f"/{HEARD}/sound.wav",
    f"/{HEARD}/peaks",
    f"/{HEARD}/recording",
    f"/{HEARD}/picture",
    f"/{HEARD}/test?at_ms=5000",
)


def test_what_was_said_needs_the_right_that_everything_here_needs(folder: Path) -> None:
    def asked(browser: TestClient, **headers: str) -> set[int]:
        return {browser.get(f"/console/finished{path}", headers=headers).status_code for path in PATHS}

    with client(settings(recordings=str(folder))) as browser:
        assert asked(browser) == {401}
        sign_in(browser)
        assert asked(browser) == {200}
        assert asked(browser, host="evil.example") == {403}
        assert asked(browser, origin="https://evil.example") == {403}
    with client(settings(recordings=str(folder), console_token=None)) as browser:
        other = browser.get("/no-such-path").content
        for path in PATHS:
            ours = browser.get(f"/console/finished{path}")
            assert (ours.status_code, ours.content) == (404, other)


def test_calls_are_listed_newest_first_and_searched(browser: TestClient) -> None:
    found = browser.get("/console/finished").json()
    assert [row["name"] for row in found["rows"]] == [HEARD, OFF, "20261127T000000Z-torn"]
    assert (found["after"], found["of"]) == ("", 3)
    first, second, torn = found["rows"]
    assert (first["caller"], first["agent"], first["sound"], first["barge_ins"]) == ("+1…34", "desk", True, 1)
    assert (second["error_ms"], second["off"]) == (160, True)
    assert "truncated" in torn["unreadable"]

    def names(**wanted: str) -> list[str]:
        return [row["name"] for row in browser.get("/console/finished", params=wanted).json()["rows"]]

    assert names(off="1") == [OFF]
    assert names(until="2026-11-28", words="+1…34") == [OFF]
    assert names(after=OFF) == ["20261127T000000Z-torn"]


def cut_ms(browser: TestClient) -> float:
    return float(browser.get(f"/console/finished/{HEARD}").json()["chart"]["cuts"][0])


@pytest.mark.parametrize("should", ["", "no-cut"])
def test_a_moment_becomes_a_test_that_holds_no_word(
    browser: TestClient, should: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """The page gets what the command makes, to the byte."""
    at_ms = round(cut_ms(browser))
    given = {"at_ms": str(at_ms), **({"should": should} if should else {})}
    made = browser.get(f"/console/finished/{HEARD}/test", params=given).json()
    assert "item_" in made["about"]
    texts = {one["name"]: one["text"] for one in made["files"]}
    assert [name.endswith(".call.jsonl") for name in texts] == [True, False]
    assert not [word for word in ("onerror", "parrot") if word in str(texts)]
    words = shlex.split(made["command"])
    assert words[:2] == ["phonebridge", "make-test"]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, [*words[1:], "--dir", str(folder)])
    assert result.exit_code == 0, result.output
    written = {one.name: one.read_text(encoding="utf-8") for one in (tmp_path / "tests/calls").iterdir()}
    assert written == texts


def test_what_can_be_no_test_is_told_in_words(browser: TestClient) -> None:
    base = f"/console/finished/{HEARD}/test"
    for query, why in [
        ("", "milliseconds"),
        ("?at_ms=-1", "milliseconds"),
        ("?at_ms=999999999", "nothing"),
        ("?at_ms=5000&should=magic", "--should wants"),
        ("?at_ms=3900&should=words+hello", "--keep-words"),
    ]:
        answered = browser.get(f"{base}{query}")
        assert (answered.status_code, why in answered.json()["error"]) == (422, True), answered.text
    assert browser.get(f"/console/finished/{OFF}/test?at_ms=2700").status_code == 422
    assert browser.get("/console/finished/none/test?at_ms=2700").status_code == 404


def test_a_call_has_its_panes_and_its_lanes(browser: TestClient) -> None:
    call = browser.get(f"/console/finished/{HEARD}").json()
    caller = [line for line in call["words"] if line["who"] == "caller"]
    assert caller[0]["text"] == HOSTILE
    cut = next(line for line in call["words"] if line["state"] == "cut")
    assert 0 < cut["heard"] < len(cut["text"])
    assert cut["heard_ms"] == 2_700
    assert cut["made_ms"] == 5_000
    assert call["chart"]["lanes"][0][0] == "caller speaks"
    assert call["tool_calls"][0]["state"] == "done"
    assert call["end_ms"] == call["chart"]["end"]
    assert "cost" in call
    for turn in call["turns"]:
        assert turn["parts"][-1][2] == turn["felt_ms"]
    assert call["turns"]


def test_what_is_hidden_of_a_live_call_is_hidden_of_one_that_is_over(tmp_path: Path) -> None:
    """In its panes, its lanes and its picture; the recording itself is kept as it lies there."""
    given = r"{\"cardNumber\":\"4242-planted\",\"half\":\"\\ud800\"}"
    answered = r"{\"otp\":\"planted-otp\",\"call\":\"+15550107777\"}"
    text = "\n".join([*lines_of("tool-filler"), ""])
    for before, after in ((r"{\"state\": \"on its way\"}", answered), (r"{\"number\": 5}", given)):
        assert before in text
        text = text.replace(before, after)
    otherwise = text.replace("planted-otp", "planted", 1)
    keys = "\n".join([*lines_of("keys-become-words"), ""])
    for name, recorded in (("a", text), ("b", otherwise), ("k", keys)):
        (tmp_path / f"{name}.call.jsonl").write_text(recorded, encoding="utf-8")
    with client(settings(recordings=str(tmp_path))) as browser:
        sign_in(browser)
        found = {path: browser.get(f"/console/finished/{path}") for path in (
            "a", "a/picture", "a/picture?keep=1", "b", "b/picture", "k", "k/picture"
        )}  # fmt: skip
    for answer in found.values():
        assert answer.status_code == 200
        for secret in ("planted", "5550107777", "key 4", "key 2", ">4 2<"):
            assert secret not in answer.text
    assert "cardNumber" in str(found["a"].json()["tool_calls"])
    assert "decides otherwise" in found["b/picture"].text
    assert "key •" in str(found["k"].json()["chart"])


@pytest.mark.parametrize(
    "name",
    [
        "..%2fsecret", "%2e%2e%2fsecret", "..%5csecret", "secret", "20261126T000000Z-link", "%00",
        "x" * 5_000, f"{HEARD}.call.jsonl", "%2fetc%2fpasswd",
    ],
)  # fmt: skip
def test_no_name_leads_out_of_the_folder(browser: TestClient, name: str) -> None:
    for what in ("", "/recording", "/sound.wav", "/picture"):
        found = browser.get(f"/console/finished/{name}{what}")
        assert found.status_code == 404, found.text[:200]
        assert "item_" not in found.text


def test_the_sound_is_that_of_the_call_in_ranges_too(browser: TestClient, heard: list[str]) -> None:
    both = channels(heard)
    wav = stereo_of(both.caller, both.heard)
    whole = browser.get(f"/console/finished/{HEARD}/sound.wav")
    assert (whole.content, whole.headers["accept-ranges"]) == (wav, "bytes")
    for asked, start, end in (
        ("100-199", 100, 199),
        ("-50", len(wav) - 50, len(wav) - 1),
        ("90-", 90, len(wav) - 1),
    ):
        part = browser.get(f"/console/finished/{HEARD}/sound.wav", headers={"range": f"bytes={asked}"})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {start}-{end}/{len(wav)}"
        assert part.content == wav[start : end + 1]
    past = browser.get(f"/console/finished/{HEARD}/sound.wav", headers={"range": f"bytes={len(wav)}-"})
    assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{len(wav)}")
    for odd in ("bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5"):
        assert browser.get(f"/console/finished/{HEARD}/sound.wav", headers={"range": odd}).status_code == 200


def test_peaks_are_as_loud_as_the_sound(browser: TestClient, heard: list[str]) -> None:
    both = channels(heard)
    peaks = browser.get(f"/console/finished/{HEARD}/peaks").content
    assert len(peaks) == 2_000
    for drawn, track in ((peaks[:1_000], both.caller), (peaks[1_000:], both.heard)):
        loud = np.abs(np.frombuffer(pcmu_to_pcm(track), "<i2").astype(int))
        assert max(drawn) == loud.max() * 255 // 32_768
        quarter = len(loud) // 4
        assert max(drawn[:250]) == loud[:quarter].max() * 255 // 32_768


def test_without_sound_it_says_what_keeps_it(browser: TestClient) -> None:
    found = browser.get(f"/console/finished/{OFF}/sound.wav")
    assert found.status_code == 422
    assert "BRIDGE_RECORD_AUDIO" in found.json()["error"]
    torn = browser.get("/console/finished/20261127T000000Z-torn")
    assert (torn.status_code, "no recording" in torn.json()["error"]) == (422, True)


def test_the_recording_is_kept_as_it_lies_there(browser: TestClient, folder: Path) -> None:
    found = browser.get(f"/console/finished/{HEARD}/recording")
    assert found.content == (folder / f"{HEARD}.call.jsonl").read_bytes()
    assert f'attachment; filename="{HEARD}.call.jsonl"' in found.headers["content-disposition"]
    assert found.headers["x-content-type-options"] == "nosniff"


def test_the_picture_is_a_document_of_its_own_where_nothing_else_runs(browser: TestClient) -> None:
    first, second = (browser.get(f"/console/finished/{HEARD}/picture") for _ in range(2))
    policy = first.headers["content-security-policy"]
    (nonce,) = set(re.findall(r"'nonce-([\w-]+)'", policy))
    assert nonce not in second.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "unsafe" not in first.text
    tags = re.findall(r"<(?:script|style)(?![^>]*application/json)[^>]*>", first.text)
    assert len(tags) == 2
    assert all(f'nonce="{nonce}"' in tag for tag in tags)
    assert HOSTILE not in first.text
    assert "<img" not in first.text
    assert "style=" not in first.text
    kept = browser.get(f"/console/finished/{HEARD}/picture", params={"keep": "1"})
    assert kept.headers["content-disposition"] == f'attachment; filename="{HEARD}.html"'
    assert "data:audio/wav" in kept.text


def test_what_draws_the_lanes_is_served_and_no_other_file(browser: TestClient) -> None:
    for name, kind in (("chart.js", "javascript"), ("shapes.js", "javascript"), ("chart.css", "css")):
        assert kind in browser.get(f"/console/picture/{name}").headers["content-type"]
    for name in ("page.py", "..%2fchart.js", "page.html", "x"):
        assert browser.get(f"/console/picture/{name}").status_code == 404


class At:
    """A reader that does this."""

    def __init__(self, work: Callable[[], bytes]) -> None:
        self.ask = work


class Registry:
    """As much of one as `Finished` asks for its room."""

    def __init__(self, calls: int, p99_s: float) -> None:
        self.calls = calls
        lag = type("Lag", (), {"p99_s": p99_s})()
        self.services = type("Services", (), {"health": type("Health", (), {"lag": lag})()})()

    def __len__(self) -> int:
        return self.calls


@pytest.mark.parametrize(("calls", "p99_s", "waits"), [(1, 0.011, True), (1, 0.009, False), (0, 0.5, False)])
def test_while_calls_are_late_recordings_wait(calls: int, p99_s: float, waits: bool) -> None:
    async def ask() -> Any:
        finished = Finished(settings(), Registry(calls, p99_s), object())  # type: ignore[arg-type]
        reader: Any = At(lambda: b"7")
        return await finished._ask(reader)

    if waits:
        with pytest.raises(Busy, match="calls come first"):
            asyncio.run(ask())
    else:
        assert asyncio.run(ask()) == b"7"


def test_two_at_once_and_a_few_more_wait() -> None:
    running, most = 0, 0

    def work() -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert started.wait(5)
        running -= 1
        return b""

    async def ask() -> list[Any]:
        finished = Finished(settings(), Registry(0, 0.0), object())  # type: ignore[arg-type]
        reader: Any = At(work)
        asked = [asyncio.ensure_future(finished._ask(reader)) for _ in range(9)]
        await asyncio.sleep(0.05)
        started.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    started = threading.Event()
    found = asyncio.run(ask())
    assert most == 2
    assert [one for one in found if isinstance(one, Busy)] == [found[-1]]


def test_recordings_of_a_row_are_found_too(tmp_path: Path) -> None:
    account, own = Account(None), tmp_path / "own"
    rows = [Route("+15550001111", account, recordings=own), Route("+1555*", account, recordings=False)]
    registry = service.make_registry(settings(), upstream_url=UPSTREAM)
    registry.services.router.table = RoutingTable(rows, Route("*", account))
    assert folders(settings(), registry) == {own}
    assert folders(settings(recordings=str(tmp_path)), registry) == {own, tmp_path}


@pytest.mark.hostile  # a second for each start of the process
def test_a_process_of_its_own_reads_and_one_that_dies_is_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    reader = Reader()
    path = str(folder / f"{HEARD}.call.jsonl")
    try:
        assert REAL(reader, do="find", folders=[str(folder)], name=HEARD) == path.encode()
        process = reader._process
        assert process is not None
        assert process.pid != os.getpid()
        assert len(REAL(reader, do="peaks", path=path)) == 2_000
        with pytest.raises(ConfigError, match="no recording"):
            REAL(reader, do="call", path=str(folder / "20261127T000000Z-torn.call.jsonl"))
        assert reader._process is process, "what is wrong with a recording does not end it"
        process.kill()
        process.wait()
        with pytest.raises(ConfigError, match="try again"):
            REAL(reader, do="peaks", path=path)
        assert len(REAL(reader, do="peaks", path=path)) == 2_000
        environment = Path(f"/proc/{reader._process.pid}/environ").read_bytes()  # type: ignore[union-attr]
        assert b"OPENAI_API_KEY" not in environment
    finally:
        reader.close()
