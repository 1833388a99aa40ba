"""What is written down: a line a thing, of which call, without secrets, and never at the caller's expense."""

from __future__ import annotations

import base64
import io
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.messages import Reason, Usage
from bridge.core.stats import BargeIn, Stats
from bridge.ops import logs
from bridge.ops.logs import REPEAT_S, Logs, Seldom, configure, note, summary
from bridge.ops.metrics import Metrics
from bridge.ops.otel_names import trace_id
from bridge.ops.redaction import Mask
from bridge.ops.reports import Reports
from tests.hand_clock import Clock

CALL = "CA" + "1" * 32
TOKEN = "0123456789abcdef0123456789abcdef"

Write = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    """A logger that nothing else listens to."""
    logger = logging.getLogger("bridge.tested")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def lines(ours: logging.Logger, say: Callable[[logging.Logger], None], **how: Any) -> list[dict[str, Any]]:
    """What is written, as JSON, when this is said."""
    return [json.loads(line) for line in text(ours, say, **how).splitlines()]


def text(ours: logging.Logger, say: Callable[[logging.Logger], None], **how: Any) -> str:
    stream = io.StringIO()
    handler = Logs(stream, **how)
    ours.handlers = [handler]
    say(ours)
    handler.close()
    return stream.getvalue()


# -- a line


def test_a_line_is_a_json_object_with_the_call_it_is_about(ours: logging.Logger) -> None:
    (line,) = lines(ours, lambda log: log.warning("upstream lost: %s", "1006", extra={"call_sid": CALL}))
    at = line.pop("at")
    assert line == {
        "level": "warning",
        "call_sid": CALL,
        "trace_id": f"{trace_id(CALL):032x}",
        "from": "bridge.tested",
        "message": "upstream lost: 1006",
    }
    assert abs(time.time() - __import__("datetime").datetime.fromisoformat(at).timestamp()) < 5
    assert at[-6:] == "+00:00"


def test_a_line_of_no_call_says_so(ours: logging.Logger) -> None:
    (line,) = lines(ours, lambda log: log.info("listening"))
    assert line["call_sid"] is None


def test_fields_stand_beside_the_message_and_never_in_its_place(ours: logging.Logger) -> None:
    (line,) = lines(
        ours, lambda log: note(log, logging.INFO, "turn", CALL, turns=3, level="x", deep={"a": [1, "b"]})
    )
    assert (line["message"], line["level"], line["turns"], line["deep"]) == (
        "turn",
        "info",
        3,
        {"a": [1, "b"]},
    )


def test_a_note_below_the_level_costs_nothing(ours: logging.Logger) -> None:
    ours.setLevel(logging.WARNING)
    assert lines(ours, lambda log: note(log, logging.INFO, "turn")) == []


def test_a_stack_is_in_the_line_of_its_error(ours: logging.Logger) -> None:
    def fail(log: logging.Logger) -> None:
        try:
            {}["account"]  # type: ignore[index]
        except KeyError:
            log.exception("tool failed")

    (line,) = lines(ours, fail)
    assert line["message"] == "tool failed"
    assert line["stack"].startswith("Traceback (most recent call last)")
    assert "test_logs.py" in line["stack"]
    assert line["stack"].rstrip().endswith("KeyError: 'account'")


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Loop(dict[str, Any]):
    pass


def endless() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    return loop


@pytest.mark.parametrize(
    "say",
    [
        lambda log: log.info("%d calls", "many"),
        lambda log: log.info("two %s %s", *["one"]),
        lambda log: log.info("%s", Unshowable()),
        lambda log: note(log, logging.INFO, "odd", value=Unshowable()),
        lambda log: note(log, logging.INFO, "odd", value={Unshowable(): object()}),
        lambda log: note(log, logging.INFO, "odd", value=float("nan"), more=2**80, raw=b"\xff"),
        lambda log: note(log, logging.INFO, "odd \ud800", value="\udfff"),
        lambda log: note(log, logging.INFO, "odd", value=endless()),
        lambda log: log.info("odd", extra={"fields": "a text", "call_sid": 7}),
        lambda log: log.info("a" * 1_000_000),
    ],
)
def test_nothing_that_is_logged_stops_the_log(
    ours: logging.Logger, say: Callable[[logging.Logger], None]
) -> None:
    def both(log: logging.Logger) -> None:
        say(log)
        log.info("and on")

    written = lines(ours, both)
    assert len(written) == 2
    assert written[-1]["message"] == "and on"
    assert len(json.dumps(written[0])) < 6_000


# -- the same again


def test_the_same_line_is_written_once_and_then_counted(ours: logging.Logger) -> None:
    def flood(log: logging.Logger) -> None:
        for _ in range(500):
            log.warning("refused: no signature")
        log.warning("refused: another reason")

    written = lines(ours, flood, now=Clock(100.0))
    assert [(line["message"], line.get("repeated")) for line in written] == [
        ("refused: no signature", None),
        ("refused: another reason", None),
        ("refused: no signature", 499),
    ]


@pytest.mark.parametrize("other", ["call", "level", "fields"])
def test_what_differs_is_not_the_same(ours: logging.Logger, other: str) -> None:
    def twice(log: logging.Logger) -> None:
        note(log, logging.INFO, "lost", CALL, code=1)
        level = logging.WARNING if other == "level" else logging.INFO
        note(log, level, "lost", "CA2" if other == "call" else CALL, code=2 if other == "fields" else 1)

    assert len(lines(ours, twice)) == 2


def test_after_ten_seconds_it_is_written_again(ours: logging.Logger) -> None:
    clock = Clock(100.0)
    handler = Logs(stream := io.StringIO(), now=clock)
    ours.handlers = [handler]

    def written(count: int) -> list[tuple[str, int | None]]:
        deadline = time.monotonic() + 5
        while len(stream.getvalue().splitlines()) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        return [
            (line["message"], line.get("repeated"))
            for line in map(json.loads, stream.getvalue().splitlines())
        ]

    ours.info("lost")
    ours.info("lost")
    assert written(1) == [("lost", None)]
    ours.info("first")  # both before it have been seen when this is
    assert written(2) == [("lost", None), ("first", None)]
    clock.now_s += 9.9
    ours.info("lost")
    ours.info("second")
    assert len(written(3)) == 3
    clock.now_s += 0.1
    ours.info("lost")
    assert written(5) == [("lost", None), ("first", None), ("second", None), ("lost", 2), ("lost", None)]
    handler.close()


def test_a_silent_process_still_tells_what_it_counted(ours: logging.Logger) -> None:
    clock = Clock(100.0)
    handler = Logs(stream := io.StringIO(), now=clock)
    ours.handlers = [handler]

    def written(count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 5
        while stream.getvalue().count("\n") < count and time.monotonic() < deadline:
            time.sleep(0.005)
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    for message in ("lost", "lost", "lost", "last"):
        ours.info(message)
    assert len(written(2)) == 2
    clock.now_s += 10
    assert (written(3)[2]["message"], written(3)[2]["repeated"]) == ("lost", 2)
    handler.close()


def test_many_different_lines_are_remembered_in_bounds(ours: logging.Logger) -> None:
    def many(log: logging.Logger) -> None:
        log.info("first")
        log.info("first")
        for n in range(1_100):
            log.info("line %d", n)

    written = lines(ours, many, now=Clock(100.0))
    assert [line["message"] for line in written].count("first") == 2
    assert next(line for line in written if line.get("repeated"))["message"] == "first"


# -- never at the caller's expense


class Stuck(io.StringIO):
    """A pipe that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, _text: str) -> int:
        self.let_go.wait(10)
        return 0


def test_a_pipe_that_nobody_reads_holds_nobody_up(
    ours: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "QUEUE_LINES", 100)
    monkeypatch.setattr(logs, "_CLOSE_S", 0.05)
    stream = Stuck()
    handler = Logs(stream)
    ours.handlers = [handler]
    slowest_s = 0.0
    for n in range(1_000):
        began_s = time.perf_counter()
        ours.info("line %d", n)
        slowest_s = max(slowest_s, time.perf_counter() - began_s)
    assert slowest_s < 0.1
    assert handler.dropped >= 1_000 - 100 - 1
    handler.close()
    stream.let_go.set()


def test_lines_lost_are_told(ours: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "QUEUE_LINES", 2)
    stream = io.StringIO()
    handler = Logs(stream)
    gate = threading.Event()
    real = handler._take
    monkeypatch.setattr(handler, "_take", lambda line, now_s: (gate.wait(5), real(line, now_s)))
    ours.handlers = [handler]
    for n in range(10):
        ours.info("line %d", n)
    gate.set()
    handler.close()
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [line["message"] for line in written if line["level"] == "warning"]
    assert len(written) - len(told) + sum(int(message.split()[0]) for message in told) == 10


def test_an_output_that_is_gone_is_no_error(ours: logging.Logger) -> None:
    stream = io.StringIO()
    handler = Logs(stream)
    ours.handlers = [handler]
    stream.close()
    ours.info("to nobody")
    handler.close()
    assert handler.dropped == 0


def test_what_was_logged_last_is_written_when_the_process_ends() -> None:
    program = (
        "import logging; from bridge.ops.logs import configure; configure('info');"
        "logging.getLogger('bridge.x').info('going'); logging.getLogger('y').info('not ours');"
        "logging.getLogger('y').warning('theirs'); raise SystemExit(3)"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["going", "theirs"]
    assert done.stderr == ""


def test_configuring_again_replaces_what_was_configured() -> None:
    root = logging.getLogger()
    level = root.level, logging.getLogger("bridge").level
    first, second = io.StringIO(), io.StringIO()
    configure(stream=first)
    handler = configure("debug", stream=second, hidden=[TOKEN])
    try:
        logging.getLogger("bridge.x").debug("once, %s", TOKEN)
    finally:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(level[0])
        logging.getLogger("bridge").setLevel(level[1])
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["message"] == "once, [hidden]"


# -- secrets and numbers


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"the token {TOKEN}!", "the token [hidden]!"),
        ("url=%3Fa%2Fb%20secret", "url=[hidden]"),
        ("call +15550001111 now", "call +… now"),
        ("From=%2B15550001111&To=x", "From=+…&To=x"),
        ("+1 (555) 000-1111", "+…"),
        ("tel:+442071838750", "tel:+…"),
        ("from 15550001111", "from +…"),
        ("5550001111 called", "+… called"),
        ("Authorization: Bearer sk-proj-abcdefgh12345678", "Authorization: Bearer [hidden]"),
        ("key sk-proj-abcdefgh12345678", "key sk-[hidden]"),
        (f"Basic {base64.b64encode(b'AC1:secret-token').decode()}", "Basic [hidden]"),
        ("signature RSOYDt4T1cUTdK1PDd93/VVr8B8= is wrong", "signature [signature] is wrong"),
        ("x" * 39 + "1" * 5, "<44 characters>"),
    ],
)
def test_secrets_and_numbers_are_taken_out(said: str, shown: str) -> None:
    assert Mask([TOKEN, "?a/b secret", "abc", ""]).text(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        CALL,
        "MZ" + "f" * 32,
        "item_DkE4vXoRxJ2Rq1lZ9yQ0a is cut at 620 ms",
        "abc and a basic plan",
        "took 1234.567 ms, 200 calls, HTTP 503, code 20404",
        "2026-11-20T14:15:02.123+00:00",
        "/usr/lib/python3.11/site-packages/starlette/routing.py:735 in handle",
        "test_a_function_with_a_very_long_name_that_is_no_key_at_all",
        "127.0.0.1:50500",
        "+1 turn, +20 ms",
    ],
)
def test_what_is_no_secret_is_left_alone(said: str) -> None:
    assert Mask([TOKEN, "abc", ""]).text(said) == said


def test_they_are_taken_out_of_every_part_of_a_line(ours: logging.Logger) -> None:
    def leak(log: logging.Logger) -> None:
        try:
            raise ValueError(f"bad header {TOKEN} for +15550001111")
        except ValueError:
            log.exception(
                "it was %s",
                TOKEN,
                extra={"fields": {TOKEN: [{"to": "+15550001111"}, TOKEN]}, "call_sid": TOKEN},
            )

    for readable in (False, True):
        written = text(ours, leak, hidden=[TOKEN], readable=readable)
        assert "ValueError" in written
        assert TOKEN not in written
        assert "5550001111" not in written


# -- for a person


def test_a_person_reads_lines(ours: logging.Logger) -> None:
    def say(log: logging.Logger) -> None:
        note(log, logging.INFO, "call ended", CALL, turns=3)
        log.warning("no call")

    first, second = text(ours, say, readable=True).splitlines()
    assert first[12:] == " info    …111111 call ended turns=3"
    assert second[12:] == " warning no call"
    assert first[2] == first[5] == ":"


def test_levels_have_colours_where_there_are_any(ours: logging.Logger) -> None:
    assert "\033[33mwarning\033[0m" in text(ours, lambda log: log.warning("x"), readable=True, colours=True)
    assert "\033" not in text(ours, lambda log: log.warning("x"), readable=True)


def test_a_peer_s_words_cannot_paint_the_screen(ours: logging.Logger) -> None:
    evil = "a\x1b[2K\r\x9bline\nsecond\u2028"
    written = text(ours, lambda log: log.warning("said %s", evil), readable=True)
    assert written.count("\n") == 1
    assert not any(sign in written for sign in ("\x1b", "\r", "\x9b", "\u2028"))
    (line,) = lines(ours, lambda log: log.warning("said %s", evil))
    assert line["message"] == f"said {evil}"


# -- the summary


def test_a_call_in_its_summary() -> None:
    stats = Stats(
        started_ms=900,
        ready_ms=700,
        began_ms=1_000,
        first_audio_ms=1_400,
        ended_ms=61_000,
        turns=4,
        responses=5,
        barge_ins=[BargeIn(5_000, "i1", 620, 2_000), BargeIn(9_000, "i2", 300, 300)],
        turn_latencies_ms=[500, 700, 400, 900],
        frames_in=3_000,
        heard_bytes=160_000,
        frames_dropped=2,
        faults={"rate_limit": 1},
        cuts_untold={"": 1, "xai": 2},
        recoveries=1,
        failovers=["the first -> xai"],
        gaps_ms=[840],
        tools=2,
        detours=[
            m.DetourEnded(
                "d" * 32,
                m.DetourKind.TRANSFER,
                "billing",
                m.DetourResult(m.TransferOutcome.CONNECTED, 4_000, 30_500, raw={"DialCallSid": "CA1"}),
            )
        ],
        usage=Usage(text_in=10, audio_in=900, audio_out=400),
        usage_missing=1,
        transcribed_s=12.34567,
        cost_micro_usd=12_345,
    )
    assert summary(Reason.TRANSFERRED, stats, detail="billing") == {
        "reason": "transferred",
        "ended": "the call was sent on (billing)",
        "duration_ms": 61_000,
        "talked_ms": 60_000,
        "set_up_ms": 100,
        "first_audio_ms": 500,
        "answered_by": "",
        "message_left": "",
        "turns": 4,
        "responses": 5,
        "turn_latency_ms": {"p50": 500, "p95": 900, "max": 900},
        "barge_ins": 2,
        "cut_ms": 1_380,
        "cuts_not_told": 3,
        "recoveries": 1,
        "failovers": ["the first -> xai"],
        "gap_ms": {"p50": 840, "p95": 840, "max": 840},
        "tools": 2,
        "detours": [
            {"kind": "transfer", "target": "billing", "outcome": "connected", "rang_s": 4.0, "talk_s": 30.5}
        ],
        "frames_in": 3_000,
        "frames_dropped": 2,
        "frames_refused": {},
        "faults": {"rate_limit": 1},
        "heard_s": 20.0,
        "tokens": {"text_in": 10, "audio_in": 900, "audio_out": 400},
        "responses_without_usage": 1,
        "transcribed_s": 12.346,
        "cost_usd": 0.012345,
        "cost_incomplete": False,
    }


def test_a_call_that_never_began_has_a_summary_too() -> None:
    fields = summary(Reason.UNCLAIMED, Stats())
    assert fields["ended"] == "the carrier never opened its stream"
    assert (fields["talked_ms"], fields["turn_latency_ms"], fields["tokens"]) == (None, None, {})
    json.dumps(fields)


# --- what a peer can send without end ----------------------------------------------------------------------


def test_of_a_kind_one_line_is_logged_in_ten_seconds_with_a_count_of_the_rest(ours: logging.Logger) -> None:
    def say(logger: logging.Logger) -> None:
        seldom = Seldom(logger)
        for number in range(20_000):
            seldom.log("error", logging.WARNING, "upstream error: code_%d", number, call_sid=CALL)
        seldom.log("another kind", logging.WARNING, "something else")

    written = [(line["message"], line["call_sid"], line.get("repeated")) for line in lines(ours, say)]
    assert written == [
        ("upstream error: code_0", CALL, None),
        ("something else", None, None),
        ("upstream error: code_0", CALL, 19_999),
    ]


def test_after_ten_seconds_there_is_another_line_of_the_kind(ours: logging.Logger) -> None:
    def say(logger: logging.Logger) -> None:
        clock = Clock(100.0)
        seldom = Seldom(logger, clock)
        for step_s in (0.0, REPEAT_S - 0.1, 0.1, 1.0, REPEAT_S):
            clock.now_s += step_s
            seldom.log("kind", logging.WARNING, "at %s", round(clock.now_s, 1))

    first = [line["message"] for line in lines(ours, say) if "repeated" not in line]
    assert first == ["at 100.0", "at 110.0", "at 121.0"]


def test_errors_of_a_model_are_one_line_a_call_whatever_their_code(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports(Metrics())
    for call in ("CA1", "CA2"):
        for number in range(1_000):
            reports.call_did(call, m.Noted("upstream error", f"code_{number}"), number)
    assert caplog.messages == ["upstream error: code_0"] * 2


def test_what_is_counted_costs_no_line_and_its_kinds_no_memory(ours: logging.Logger) -> None:
    def say(logger: logging.Logger) -> None:
        seldom = Seldom(logger)
        for number in range(5_000):
            seldom.log(number, logging.WARNING, "one of many kinds")
        assert len(seldom._kinds) <= 1_000

    lines(ours, say)
