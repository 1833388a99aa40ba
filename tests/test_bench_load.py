"""The bench raises the number of calls and says who set the limit, the server or the bench itself; and it can
tell a bad server.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
import threading
from collections import Counter
from socket import create_server
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from typer.testing import CliRunner
from websockets.sync.server import ServerConnection, serve

from benchmarks import workers
from bridge import cli
from bridge.bench.hearing import Hearing
from bridge.bench.load import Load, make_callers, serve_models
from bridge.bench.load_table import table
from bridge.bench.server_cpu import cpu_s, listening, machine_cpu_s
from bridge.bench.steps import Generator, Step, Verdict, Way, concluded, judged, next_calls
from bridge.bench.tags import DOWN, NOBODY, SLICE_BYTES, UP, TagReader, tagged
from bridge.bench.window import Times, Window
from bridge.errors import ConfigError
from bridge.simulators.servers import serve_app
from bridge.sockets.dial import Socket
from tests.shortest_bridge import ShortestBridge

SOUND = b"".join(tagged(UP, 7, number, 1_000 + number) for number in range(20))
NUMBERS = list(range(20))


# --- marks in the sound -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [1, 7, 80, 159, SLICE_BYTES, 161, 400, 1_600, len(SOUND)])
def test_slices_are_known_again_however_the_sound_was_cut(size_bytes: int) -> None:
    reader = TagReader(UP)
    tags = [
        tag for at in range(0, len(SOUND), size_bytes) for tag in reader.read(SOUND[at : at + size_bytes])
    ]
    assert [tag.number for tag in tags] == NUMBERS
    assert {tag.call for tag in tags} == {7}
    assert [tag.left_ns for tag in tags] == [1_000 + number for number in NUMBERS]


@pytest.mark.parametrize("size_bytes", [1, 50, SLICE_BYTES, 1_000])
def test_other_sound_between_them_is_passed_over(size_bytes: int) -> None:
    silence = b"\xff" * 333
    sound = silence + SOUND[:320] + silence + tagged(DOWN, 7, 99, 0) + SOUND[320:] + silence
    reader = TagReader(UP)
    found = [
        tag.number
        for at in range(0, len(sound), size_bytes)
        for tag in reader.read(sound[at : at + size_bytes])
    ]
    assert found == NUMBERS


def test_a_slice_is_a_frame_of_a_carrier() -> None:
    assert len(tagged(UP, 2**32 - 1, 2**32 - 1, 2**63)) == SLICE_BYTES == 160


# --- what is counted ----------------------------------------------------------------------------------------


def test_a_window_counts_by_when_it_left() -> None:
    window = Window(100, 200)
    for now_ns in (99, 100, 199, 200):
        window.leaves(now_ns)
        window.arrives(now_ns, now_ns + 2_000_000)
    window.was_due(50, 150)
    window.was_due(50, 250)
    told = window.figures()
    assert (told["sent"], told["came"], window.late.count) == (2, 2, 1)
    assert told["delay"] == {"p50_ms": 2.0, "p99_ms": 2.0, "max_ms": 2.0}


def test_percentiles_are_of_the_nearest_rank() -> None:
    times = Times()
    assert times.figures() == {"p50_ms": None, "p99_ms": None, "max_ms": None}
    for ms in range(1, 101):
        times.add(ms * 1_000_000)
    times.add(60_000_000_000)
    assert (times.percentile_ms(50), times.percentile_ms(99)) == (51.0, 100.0)
    assert times.percentile_ms(100) == 5_000.0, "all that is later counts as that"
    assert times.figures()["max_ms"] == 60_000.0


def test_a_frame_that_comes_twice_or_to_another_counts_once() -> None:
    window = Window(0, 2**63)
    hearing = Hearing(UP, 7)
    for call, number in ((7, 0), (7, 2), (7, 2), (7, 1), (8, 3), (NOBODY, 4), (7, 5)):
        hearing.hear(tagged(UP, call, number, 1), window)
    assert (window.came, window.disordered, window.foreign) == (4, 2, 1)


def test_the_first_slice_says_whose_session_it_is() -> None:
    hearing = Hearing(UP)
    hearing.hear(SOUND[:SLICE_BYTES], Window())
    assert hearing.call == 7


# --- whose limit it is --------------------------------------------------------------------------------------

GOOD = Way(1_000, 1_000, p50_ms=0.3, p99_ms=2.0, max_ms=4.0)
SLOW = Way(1_000, 1_000, p50_ms=9.0, p99_ms=35.0, max_ms=70.0)
EASY = Generator(0.2, 1.1)


def step(**fields: Any) -> Step:
    usual: dict[str, Any] = {"calls": 10, "live": 10, "up": GOOD, "down": GOOD, "server_cpu": 0.3}
    return Step(**{**usual, "callers": EASY, "models": EASY, **fields})


def test_a_step_that_was_held() -> None:
    assert judged(step(), 20) == Verdict(True, "held")
    assert judged(step(down=Way()), 20).held, "they have heard it before"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"up": SLOW}, "p99 up over 20 ms"),
        ({"down": SLOW}, "p99 down over 20 ms"),
        ({"up": Way(1_000, 990, p99_ms=2.0), "down": Way(500, 499, p99_ms=2.0)}, "11 frames lost"),
        ({"up": Way(1_000, 0)}, "no caller's sound was known again at the model: does the server transcode?"),
        ({"up": Way(1_000, 998, foreign=2, p99_ms=2.0)}, "2 frames came to another call"),
        ({"down": Way(1_000, 998, disordered=2, p99_ms=2.0)}, "2 frames came out of order"),
        ({"live": 7, "refused": {"busy": 2, "closed": 1}}, "3 of 10 calls missing: busy"),
        ({"live": 9}, "1 of 10 calls missing: no reason was given"),
        ({"unheard": 1}, "1 of 10 callers heard nothing of the model"),
    ],
)
def test_the_server_is_the_limit(fields: dict[str, Any], words: str) -> None:
    assert judged(step(**fields), 20) == Verdict(False, words, "server")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"callers": Generator(0.4, 7.31)}, "its callers were 7.3 ms late themselves"),
        ({"models": Generator(0.4, 7.31)}, "its models were 7.3 ms late themselves"),
        ({"callers": Generator(0.98, 1.0)}, "its callers used 98% of a core"),
        ({"models": Generator(1.0, 80.0)}, "its models used 100% of a core"),
    ],
)
def test_the_bench_is_the_limit_and_says_so(fields: dict[str, Any], why: str) -> None:
    assert judged(step(**fields, up=SLOW), 20) == Verdict(False, f"the bench is the limit: {why}", "bench")
    assert judged(step(**fields), 20) == Verdict(True, f"held, although {why}")


def test_other_programs_are_the_limit() -> None:
    busy = step(others_cpu=1.27, up=SLOW, callers=Generator(0.4, 80.0))
    why = "other programs used 1.3 cores"
    assert judged(busy, 20) == Verdict(False, f"the machine is busy: {why}", "machine")
    assert judged(step(others_cpu=1.27), 20) == Verdict(True, f"held, although {why}")
    assert judged(step(others_cpu=0.2), 20) == Verdict(True, "held")
    assert concluded([(busy, judged(busy, 20))]) == (
        f"Nothing is known of the server. At 10 the machine is busy: {why}, so this measured them."
    )


def test_the_limit_is_the_users() -> None:
    assert judged(step(up=SLOW), 40).held
    assert judged(step(), 1).words == "p99 up over 1 ms"


# --- which number comes next --------------------------------------------------------------------------------


@pytest.mark.parametrize("holds", [0, 1, 49, 50, 51, 137, 640, 4_999, 5_000, 9_999])
def test_the_search_finds_the_limit_to_an_eighth(holds: int) -> None:
    tried: dict[int, bool] = {}
    while (calls := next_calls(tried, 50, 5_000)) is not None:
        assert calls not in tried
        assert 1 <= calls <= 5_000
        tried[calls] = calls <= holds
    held = max((calls for calls, was_held in tried.items() if was_held), default=0)
    assert held <= holds
    assert held >= min(holds, 5_000) * 7 // 8 - 1
    assert len(tried) <= 13


def test_a_server_that_gave_callers_nothing_is_not_excused() -> None:
    mute = step(unheard=10, down=Way(), others_cpu=1.9, callers=Generator(1.0, 80.0))
    assert judged(mute, 20) == Verdict(False, "10 of 10 callers heard nothing of the model", "server")


def test_what_all_steps_say() -> None:
    ten, twenty = step(), step(calls=20, live=20, up=SLOW)
    held, failed = judged(ten, 20), judged(twenty, 20)
    assert concluded([(ten, held)]) == "It holds 10 calls, and perhaps more: no step went beyond."
    assert concluded([(twenty, failed), (ten, held)]) == "It holds 10 calls. At 20: p99 up over 20 ms."
    ours = judged(late := step(calls=20, live=20, up=SLOW, callers=Generator(1.0, 90.0)), 20)
    assert concluded([(ten, held), (late, ours)]).startswith(
        "It holds 10 calls at least. At 20 the bench was"
    )
    assert concluded([(late, ours)]).startswith("Nothing is known of the server.")
    assert table([(ten, held), (late, ours), (step(server_cpu=None, down=Way()), held)], "x").row_count == 3


@pytest.mark.parametrize("columns", [80, 60])
def test_the_table_fits_a_terminal(columns: int) -> None:
    """Also with the largest figures: nothing is cut off, and every figure is there."""
    slow = Way(p50_ms=1_234.5, p99_ms=12_345.6)
    large = step(calls=1_000, live=1_000, server_cpu=1.234, up=slow, down=slow, callers=Generator(1.0, 99.0))
    told = rendered(
        table([(large, judged(large, 20))], "delay of the sound, by the number of calls"), columns
    )
    if columns == 80:
        assert all(part in told for part in ("1,234.5", "12,345.6", "123%", "1,000"))
    assert max(map(len, told.splitlines())) <= columns


def rendered(made: Table, columns: int) -> str:
    console = Console(width=columns, file=io.StringIO(), record=True)
    console.print(made)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


# --- a server that loses sound ------------------------------------------------------------------------------


class Lossy(ShortestBridge):
    """A bridge that drops each tenth frame of its callers."""

    def __init__(self, upstream_url: str) -> None:
        super().__init__(upstream_url)
        self.frames: Counter[str] = Counter()

    def lets_pass(self, event: dict[str, Any], model: Socket) -> bool:
        self.frames[event["event"]] += 1
        if event["event"] == "start":
            model.send('{"type":"response.create"}')
        return bool(self.frames["media"] % 10)

    def answers(self, event: dict[str, Any], phone: Socket, stream: dict[str, str]) -> None:
        if event["type"] == "response.output_audio.delta":
            phone.send(json.dumps({"event": "mark", **stream, "mark": {"name": "m"}}))


def test_a_server_that_drops_frames_is_found_out() -> None:
    async def main() -> tuple[Step, list[str], Counter[str]]:
        words: list[str] = []
        async with serve_models("127.0.0.1", 0, 3.0) as (models, port):
            lossy = Lossy(f"ws://127.0.0.1:{port}/v1/realtime")
            async with serve_app(lossy.app()) as listener:
                url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/stream"
                async with make_callers(url, None) as callers:
                    load = Load(url, callers, models, words.append)
                    measured = await load.step(3, 1.0, 0.2)
                    fewer = await load.step(1, 0.2, 0.0)
                    assert (fewer.calls, fewer.live) == (1, 1)
        return measured, words, lossy.frames

    measured, words, frames = asyncio.run(main())
    assert (measured.calls, measured.live, measured.refused) == (3, 3, {})
    assert measured.up.sent > 0
    assert 0 < measured.up.lost < measured.up.sent / 2
    assert measured.down.lost == 0
    assert measured.up.disordered == measured.up.foreign == measured.down.foreign == 0
    assert not judged(measured, 1e9).held
    assert "3 calls: settling" in words
    assert frames["mark"] > 0, "a phone echoes what was played"


# --- the command --------------------------------------------------------------------------------------------


@pytest.mark.hostile
def test_our_own_server_loses_nothing() -> None:
    result = CliRunner().invoke(
        cli.app, ["bench", "load", "--calls", "2,4", "--seconds", "1", "--limit-ms", "1000", "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(one["calls"], one["live"]) for one in found["steps"]] == [(2, 2), (4, 4)]
    for one in found["steps"]:
        assert one["up"]["sent"] == one["up"]["came"] > 0
        assert one["up"]["lost"] == one["down"]["lost"] == 0
        assert one["up"]["p50_ms"] is not None
        assert one["verdict"]["held"]
        assert (one["server_cpu"] is not None) is sys.platform.startswith("linux")
    assert found["conclusion"] == "It holds 4 calls, and perhaps more: no step went beyond."


@pytest.mark.hostile
def test_the_table_names_the_steps() -> None:
    result = CliRunner().invoke(cli.app, ["bench", "load", "--calls", "1", "--seconds", "0.5"])
    assert result.exit_code == 0, result.output
    assert "(ms)" in result.stdout
    assert "1 calls" in result.stdout


@pytest.mark.parametrize("calls", ["", "ten", "10,,20", "0", "10,-1"])
def test_steps_that_are_none(calls: str) -> None:
    result = CliRunner().invoke(cli.app, ["bench", "load", "--calls", calls])
    assert isinstance(result.exception, ConfigError)


def test_a_server_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ws://127.0.0.1:9/stream", "--calls", "1,2", "--seconds", "0.1", "--upstream-port", "0"]
    monkeypatch.setattr("sys.argv", ["phonebridge", "bench", "load", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert "the model under test is at ws://127.0.0.1:" in said.out
    assert "not one call came about: 1 of 1 calls missing" in said.err


def complaint(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error of a bench that failed, its processes' included."""
    monkeypatch.setattr("sys.argv", ["phonebridge", "bench", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code
    (line,) = capfd.readouterr().err.splitlines()
    return line


@pytest.mark.hostile
@pytest.mark.parametrize("what", ["load", "barge-in"])
def test_a_bench_that_fails_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        asked = [what, "ws://127.0.0.1:9/stream", "--calls", "1", "--upstream-port", port]
        assert "cannot be listened on: Address already in use" in complaint(monkeypatch, capfd, *asked)
    assert "a port is 0 to 65535" in complaint(monkeypatch, capfd, *asked[:-1], "99999")


@pytest.mark.hostile
@pytest.mark.parametrize("does", ["nothing", "sends what no carrier takes"])
def test_a_server_that_gives_callers_nothing_is_never_held(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], does: str
) -> None:
    """Whatever else the machine is doing meanwhile."""

    def mute(connection: ServerConnection) -> None:
        for _ in connection:
            if does != "nothing":
                connection.send('{"event":"media","streamSid":"x","media":{"payload":7}}')

    with serve(mute, "127.0.0.1", 0, logger=logging.getLogger("mute")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        options = ["--calls", "2", "--seconds", "0.5", "--upstream-port", "0"]
        line = complaint(monkeypatch, capfd, "load", url, *options)
    assert "nothing could be measured: 2 of 2 callers heard nothing of the model" in line


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_the_servers_cpu_is_found_by_its_port() -> None:
    async def main() -> None:
        async with serve_app(Starlette()) as listener:
            port = listener.sockets[0].getsockname()[1]
            assert listening(f"http://127.0.0.1:{port}/incoming-call") == [os.getpid()]
            assert listening(f"ws://localhost:{port}/x") == [os.getpid()]
        assert listening(f"http://127.0.0.1:{port}/") == []
        assert listening("https://voice.example.com/incoming-call") == []

    asyncio.run(main())
    assert cpu_s([os.getpid()]) > 0
    assert cpu_s([]) == 0.0
    assert machine_cpu_s() > cpu_s([os.getpid()])


def test_where_not_one_call_came_about_the_bench_is_not_to_blame() -> None:
    step = Step(1, 0, callers=Generator(late_p99_ms=50.0), others_cpu=1.0, refused={"nobody is there": 1})
    assert judged(step, 20.0) == Verdict(False, "1 of 1 calls missing: nobody is there", "server")


# --- two workers beside one process -------------------------------------------------------------------------


def loaded(calls: int, cpu: float, p99_ms: float = 1.0, others: float = 0.1) -> Step:
    way = Way(sent=100, came=100, p50_ms=0.5, p99_ms=p99_ms)
    return Step(calls, calls, up=way, down=way, server_cpu=cpu, others_cpu=others)


@pytest.mark.parametrize(
    ("two", "spread", "wrong"),
    [
        (loaded(200, 0.52), 0.1, []),
        (loaded(200, 0.56), 0.1, ["CPU a call"]),
        (loaded(200, 0.48, p99_ms=2.5), 0.4, ["p99", "spread"]),
        (loaded(200, 0.48, others=0.9), 0.1, ["not measured"]),
        (loaded(200, 0.90), 0.1, ["not measured"]),
    ],
)
def test_what_a_second_worker_costs_is_told(two: Step, spread: float, wrong: list[str]) -> None:
    pairs = [workers.Pair(loaded(100, 0.25), two, spread)] * 5
    assert [words.partition(":")[0] for holds, words in workers.concluded(pairs) if not holds] == wrong
