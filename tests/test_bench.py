"""The bench holds what a server tells its model against what its callers heard; and it can tell a bad one."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import time
from typing import Any, ClassVar

import pytest
from rich.console import Console
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from typer.testing import CliRunner

from bridge import cli
from bridge.bench.barge_in import Bench, Measured
from bridge.bench.cases import CASES, SHORT, WORD_MS, Case, Script, name_of, words_of
from bridge.bench.figures import figures, spread, table
from bridge.doubles.agents import Asked, Speech
from bridge.doubles.items import Item
from bridge.errors import ConfigError
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.servers import Simulation, serve_app
from bridge.sockets.dial import Socket
from tests.shortest_bridge import PCMU, ShortestBridge

CASE = {case.name: case for case in CASES}


# --- a server that knows nothing of what was heard ----------------------------------------------------------


class Naive(ShortestBridge):
    """It clears at a barge-in, and of what was heard it tells the model nothing."""

    audio: ClassVar[dict[str, Any]] = {
        "input": PCMU | {"turn_detection": {"type": "server_vad"}},
        "output": PCMU,
    }

    def answers(self, event: dict[str, Any], phone: Socket, stream: dict[str, str]) -> None:
        if event["type"] == "input_audio_buffer.speech_started":
            phone.send(json.dumps({"event": "clear", **stream}))


def measured_of(case: str, calls: int) -> list[Measured]:
    """Calls to the naive server."""

    async def main() -> list[Measured]:
        bench = Bench(CarrierSimulator)
        async with bench.upstream.serve() as url, serve_app(Naive(url).app()) as listener:
            port = listener.sockets[0].getsockname()[1]
            return await bench.measure(f"ws://127.0.0.1:{port}/stream", CASE[case], calls)

    return asyncio.run(main())


def test_a_server_that_tells_the_model_nothing_is_found_out() -> None:
    measured = measured_of("two items queued", 2)
    assert [one.outcome for one in measured] == ["the model was told nothing"] * 2
    for one in measured:
        first, second = one.truth_ms
        assert (one.truth_ms[first], one.claim_ms[first]) == (1_500, 1_500)
        assert 300 <= one.truth_ms[second] <= 3_000
        assert one.claim_ms[second] == 4_000
        assert one.error_ms == 4_000 - one.truth_ms[second]
        assert one.stop_ms is not None
        assert 0 <= one.stop_ms <= 200
    found = figures(CASE["two items queued"], measured)
    assert (found["calls"], found["told"]) == (2, 0)
    assert found["claimed_too_much_ms"] >= 1_000


@pytest.mark.hostile
def test_a_second_response_is_queued_behind_one_that_is_over() -> None:
    measured = measured_of("two responses queued", 2)
    for one in measured:
        first, second = one.truth_ms
        assert (one.truth_ms[first], one.claim_ms[first]) == (1_500, 1_500)
        assert 300 <= one.truth_ms[second] <= 3_000
        assert (one.outcome, one.claim_ms[second]) == ("the model was told nothing", 4_000)


def test_a_server_that_ends_the_call_is_told_as_such() -> None:
    async def ends(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(1011, "no")

    async def main() -> list[Measured]:
        bench = Bench(CarrierSimulator)
        app = Starlette(routes=[WebSocketRoute("/stream", ends)])
        async with bench.upstream.serve(), serve_app(app) as listener:
            port = listener.sockets[0].getsockname()[1]
            return await bench.measure(f"ws://127.0.0.1:{port}/stream", CASE["one item"], 2)

    began_s = time.monotonic()
    measured = asyncio.run(main())
    assert [one.outcome for one in measured] == ["the server ended the call: 1011 no"] * 2
    assert time.monotonic() - began_s < 5
    assert figures(CASE["one item"], measured)["told"] == 0


def test_what_comes_after_something_is_never_measured_before_it() -> None:
    """Two machines, born within one millisecond, on the clock they share."""

    async def main() -> None:
        nothing: Any = None
        first = Simulation(nothing, nothing)
        born_s = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - born_s < 0.0005:
            pass
        second = Simulation(nothing, nothing)
        for _ in range(5_000):
            moments = [one.loop_ms(one.now_ms()) for one in (first, second, first)]
            assert moments == sorted(moments)

    asyncio.run(main())


# --- ours ---------------------------------------------------------------------------------------------------


@pytest.mark.hostile
@pytest.mark.alone
def test_our_own_server_is_near_the_truth() -> None:
    result = CliRunner().invoke(
        cli.app, ["bench", "barge-in", "--calls", "2", "--case", "two items queued", "--json"]
    )
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert (found["case"], found["calls"], found["told"]) == ("two items queued", 2, 2)
    assert found["error_ms"]["max"] <= 100, "a busy machine may be late"
    assert found["stop_ms"]["max"] <= 300


# --- figures ------------------------------------------------------------------------------------------------


def test_figures_of_a_case() -> None:
    measured = [
        Measured("one item", "told", -20, 5),
        Measured("one item", "told", 30, 9),
        Measured("one item", "the reply was never heard"),
    ]
    found = figures(CASE["one item"], measured)
    assert found["told"] == 2
    assert found["error_ms"] == {"p50": 20, "p95": 30, "p99": 30, "max": 30}
    assert found["claimed_too_much_ms"] == 30
    assert found["stop_ms"] == {"p50": 5, "p95": 9, "p99": 9, "max": 9}
    assert found["otherwise"] == {"the reply was never heard": 1}
    assert len(found["each"]) == 3
    assert "the reply was never heard" in str(table([found], "x").caption)
    nothing = figures(CASE["one item"], [Measured("one item", "refused")])
    assert (nothing["error_ms"], nothing["claimed_too_much_ms"]) == (None, None)
    assert table([nothing], "x").row_count == 1


def test_the_table_fits_a_terminal() -> None:
    """Also with the longest name and figures of ten seconds."""
    found = [figures(case, [Measured(case.name, "told", 10_000, 12_345)] * 100) for case in CASE.values()]
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table(found, "what the model was told, against what the caller heard"))
    told = console.export_text()
    assert max(len(line.rstrip()) for line in told.splitlines()) <= 80
    assert told.count("10,000") == 4 * len(found)
    assert told.count("12,345") == 3 * len(found)
    names = " ".join(line[:10].strip() for line in told.splitlines()[4:])
    assert all(case.name in " ".join(names.split()) for case in CASE.values())


@pytest.mark.parametrize(
    ("values", "found"),
    [([], None), ([3], (3, 3, 3, 3)), (range(1, 101), (50, 95, 99, 100)), ([2, 1], (1, 2, 2, 2))],
)
def test_a_spread(values: Any, found: tuple[int, ...] | None) -> None:
    assert spread(list(values)) == (found and dict(zip(("p50", "p95", "p99", "max"), found, strict=True)))


# --- the script ---------------------------------------------------------------------------------------------


def test_the_model_replies_to_the_callers_first_words_once() -> None:
    script = Script(CASE["two items queued"], itertools.count(7))

    def answer(*items: Item, reason: Any = "turn") -> list[Any]:
        return script.answer(Asked(0, reason, items, {}, {}))

    caller = Item("item_1", "message", {"role": "user", "content": []}, sound=b"\x20" * 800)
    typed = Item("item_0", "message", {"role": "user", "content": []})
    short = [Speech(answer(reason="client")[0].sound, "Yes?")]
    assert answer(typed, reason="client") == short
    reply = answer(caller)
    assert [len(speech.sound) // 8 for speech in reply] == [1_500, 4_000]
    assert [set(speech.sound) for speech in reply] == [{7}, {8}]
    assert answer(caller) == short


def test_words_tell_whose_they_are_and_how_far() -> None:
    assert words_of(27, 300) == "bb01 bb02 bb03"
    assert len({name_of(number) for number in range(1, SHORT)}) == SHORT - 1
    for case in CASES:
        for ms in case.reply_ms:
            assert ms // WORD_MS < 100, "two digits"


def test_a_case_far_away_has_ways_of_its_own_for_each_call() -> None:
    case: Case = CASE["marks late by 60 ± 30 ms"]
    first, second = case.phone(1), case.phone(2)
    assert first.delay_out_ms != second.delay_out_ms
    assert case.phone(1) == first
    assert isinstance(first.delay_out_ms, list)
    assert (min(first.delay_out_ms), max(first.delay_out_ms)) == (30, 90)
    assert CASE["one item"].phone(1).delay_out_ms == 0


# --- the command --------------------------------------------------------------------------------------------


def test_a_case_that_there_is_not() -> None:
    result = CliRunner().invoke(cli.app, ["bench", "barge-in", "--case", "none"])
    assert isinstance(result.exception, ConfigError)
    assert "there is 'one item', 'two items queued'" in str(result.exception)


def test_a_server_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ws://127.0.0.1:9/stream", "--calls", "1", "--case", "one item", "--upstream-port", "0"]
    monkeypatch.setattr("sys.argv", ["phonebridge", "bench", "barge-in", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "nothing could be measured" in capsys.readouterr().err
