"""Names, ids and rules of traces; `tests/hostile/test_traces.py` has them on the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.inprocess import HandClock, run, running_call, wire_bytes
from benchmarks.scripted import scripted_call
from bridge.core import messages as m
from bridge.doubles.options import ServerOptions
from bridge.ops import otel_names as names
from bridge.ops.metrics import Metrics
from bridge.ops.otel import header_pairs, is_wanted
from bridge.ops.otel_spans import Facts, call_spans, kept_because
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import load_settings
from bridge.testing.call import begin

SID = "CA" + "0" * 31 + "1"
TRACE = "f1d4275ab1c13055b77d4e69c7eba8ce"
FIRST_TURN = "f47cd26b295034d0"


def test_ids_follow_from_the_call() -> None:
    assert f"{names.trace_id(SID):032x}" == TRACE
    assert f"{names.span_id(SID, 'turn', 1):016x}" == FIRST_TURN


def test_a_snapshot_has_what_a_successor_needs() -> None:
    call = begin(accepted_at_s=1_000)
    assert call.rehearsal.call.carried(0).began_at_s == 1_000
    call = begin(accepted_at_s=2_000, carried=m.CallSnapshot(turns=3, began_at_s=1_000))
    carried = call.rehearsal.call.carried(0)
    assert (carried.turns, carried.began_at_s) == (3, 1_000)


@pytest.mark.parametrize(
    ("change", "why"),
    [({}, ""), ({"recoveries": 1}, "loss"), ({"frames_refused": {"carrier": 1}}, "refusal")],
)
def test_what_is_always_kept(change: dict[str, Any], why: str) -> None:
    stats = begin().rehearsal.call.stats
    for name, value in change.items():
        setattr(stats, name, value)
    assert kept_because(stats, m.Reason.CALLER_HUNG_UP, 2_000) == why


def test_a_slow_answer_is_kept() -> None:
    stats = begin().rehearsal.call.stats
    turn = stats.turn_ended(1_000, 1_500)
    assert turn is not None
    turn.heard_ms = 3_001
    assert kept_because(stats, m.Reason.WE_HUNG_UP, 2_000) == "felt"
    assert kept_because(stats, m.Reason.WE_HUNG_UP, 2_001) == ""


def test_where_traces_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(**environment: str) -> Any:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return load_settings(env_file=None, insecure=True)

    assert settings().traces_url is None
    both = settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318/")
    assert both.traces_url == "http://c:4318/v1/traces"
    own = settings(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://c/x", OTEL_EXPORTER_OTLP_ENDPOINT="http://d")
    assert own.traces_url == "http://c/x"
    with pytest.raises(WrongSettings, match="OTEL_EXPORTER_OTLP_ENDPOINT is no http address"):
        settings(OTEL_EXPORTER_OTLP_ENDPOINT="collector:4317")
    secret = settings(OTEL_EXPORTER_OTLP_HEADERS="x-key=a%20b, y=2")
    assert "x-key=a%20b, y=2" in secret.unspeakable()
    assert header_pairs("x-key=a%20b, Y=2,=,z") == {"x-key": "a b", "y": "2", "": ""}
    assert is_wanted("http://c")
    for name, value in (("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not is_wanted("http://c")


def test_what_became_of_spans_is_counted() -> None:
    metrics = Metrics()
    metrics.spans("exported", 7)
    text = metrics.render()[0].decode()
    assert 'phonebridge_spans_total{outcome="exported"} 7.0' in text
    assert 'phonebridge_spans_total{outcome="dropped"} 0.0' in text


def test_the_table_of_spans_stands_in_the_documents() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guides" / "traces.md").read_text()
    assert f"`phonebridge.semconv` is `{names.SEMCONV}`" in guide
    for span in names.SPANS:
        attributes = ", ".join(f"`{name}`" for name in span.attributes) or "–"
        assert f"| `{span.name}` | {span.kind} | {span.lasts} | {attributes} |" in guide


def test_only_names_of_the_table_are_used() -> None:
    call = begin(model=ServerOptions(delta_bytes=(1_600,)))
    call.at(1_000)
    call.caller.says("Hello", ms=500)
    call.model.answers("Hello.")
    call.at(4_000)
    core = call.rehearsal.call
    facts = Facts(SID, core.stats, agent="shop", model="m", provider="openai", content=True)
    table = {span.name.split(" {")[0]: span for span in names.SPANS}
    for made in call_spans(facts, m.Reason.CALLER_HUNG_UP, 0, "felt"):
        span = table[made.name.split()[0]]
        known = {one.replace("{part}", "x") for one in span.attributes}
        used = {
            "phonebridge.turn.x_ms" if one.endswith("_ms") and "turn." in one and "felt" not in one else one
            for one in made.attributes
        }
        assert used <= known
        assert made.kind == span.kind


def test_what_makes_a_trace_is_told_of_no_frame() -> None:
    """So a caller's frame costs the same with traces and without."""
    steps = scripted_call(1)
    told: list[m.Action] = []

    async def play() -> None:
        loop = cast("HandClock", asyncio.get_running_loop())
        loop.now_s = 0.0
        call = await running_call(observe=lambda action, _now_ms: told.append(action))
        for step in steps:
            loop.now_s = step.at_ms / 1000
            call.play(step, wire_bytes(step))
            if step.at_ms == 0:
                await asyncio.sleep(0)  # the upstream is dialled in a task

    run(play())
    frames = sum(step.frame.startswith('{"event":"media"') for step in steps)
    assert frames >= 200
    assert 0 < len(told) < 20
    assert not any(isinstance(action, m.AppendAudio | m.PlayAudio) for action in told)
