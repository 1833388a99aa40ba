"""What an operator's graphs are made of: every series, nobody's number, and one registry an application."""

from __future__ import annotations

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.core.messages import Reason, Usage
from bridge.core.stats import BargeIn, Stats
from bridge.core.turn_times import PARTS, TurnTimes
from bridge.ops.metrics import GATES, Metrics


def scraped(metrics: Metrics) -> dict[str, float]:
    """Every sample that does not say when it was made, by name and labels as they are written."""
    body, _ = metrics.render()
    samples = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                samples[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return samples


def changed(metrics: Metrics, before: dict[str, float]) -> dict[str, float]:
    """What differs from before, without the histograms' buckets."""
    now = scraped(metrics)
    return {name: value for name, value in now.items() if value != before[name] and "_bucket" not in name}


def busy_call() -> Stats:
    return Stats(
        started_ms=1_000,
        began_ms=1_250,
        first_audio_ms=1_500,
        ended_ms=60_000,
        turn_latencies_ms=[500, 700],
        turn_times=[
            TurnTimes(1, 2_000, 2_300, delta_ms=2_400, heard_ms=2_550, way_ms=50),
            TurnTimes(2, 9_000, 9_500),
        ],
        barge_ins=[BargeIn(5_000, "item_1", 620, 2_000)],
        frames_dropped=3,
        frames_refused={"carrier: no event at all": 1, "upstream: bad JSON": 1},
        late_bytes=321,
        cuts_untold={"": 1, "xai": 2},
        recoveries=2,
        gaps_ms=[900, 1_100],
        usage=Usage(text_in=10, audio_in=900, cached_audio=100, audio_out=400),
        cost_micro_usd=12_345,
    )


def test_a_call_from_ring_to_end() -> None:
    metrics = Metrics()
    before = scraped(metrics)
    metrics.call_started()
    assert changed(metrics, before) == {"phonebridge_calls_active": 1}
    metrics.call_ended(Reason.CALLER_HUNG_UP, busy_call())
    assert changed(metrics, before) == {
        "phonebridge_calls_total{reason=caller_hung_up}": 1,
        "phonebridge_set_up_seconds_count": 1,
        "phonebridge_set_up_seconds_sum": 0.25,
        "phonebridge_first_audio_seconds_count": 1,
        "phonebridge_first_audio_seconds_sum": 0.5,
        "phonebridge_turn_latency_seconds_count": 2,
        "phonebridge_turn_latency_seconds_sum": 1.2,
        "phonebridge_turn_felt_seconds_count": 1,
        "phonebridge_turn_felt_seconds_sum": 0.55,
        **{f"phonebridge_turn_part_seconds_count{{part={part}}}": 1 for part in PARTS},
        "phonebridge_turn_part_seconds_sum{part=endpointing}": 0.3,
        "phonebridge_turn_part_seconds_sum{part=model}": 0.1,
        "phonebridge_turn_part_seconds_sum{part=queue}": 0.1,
        "phonebridge_turn_part_seconds_sum{part=carrier}": 0.05,
        "phonebridge_truncated_seconds_count": 1,
        "phonebridge_truncated_seconds_sum": 1.38,
        "phonebridge_cuts_untold_total": 3,
        "phonebridge_recoveries_total": 2,
        "phonebridge_gap_seconds_count": 2,
        "phonebridge_gap_seconds_sum": 2.0,
        "phonebridge_frames_dropped_total{reason=late}": 3,
        "phonebridge_frames_dropped_total{reason=refused}": 2,
        "phonebridge_frames_dropped_total{reason=cut}": 3,
        "phonebridge_tokens_total{kind=text_in}": 10,
        "phonebridge_tokens_total{kind=audio_in}": 900,
        "phonebridge_tokens_total{kind=cached_audio}": 100,
        "phonebridge_tokens_total{kind=audio_out}": 400,
        "phonebridge_cost_usd_total": 0.012345,
    }


def test_a_call_that_never_began_has_no_latency() -> None:
    metrics = Metrics()
    before = scraped(metrics)
    metrics.call_started()
    metrics.call_ended(Reason.UNCLAIMED, Stats())
    assert changed(metrics, before) == {"phonebridge_calls_total{reason=unclaimed}": 1}


def test_what_happens_during_calls() -> None:
    metrics = Metrics()
    before = scraped(metrics)
    metrics.barge_in_stopped(0.002)
    metrics.tool_finished(1.5)
    metrics.loop_lag(0.004)
    metrics.rejected("signature")
    assert changed(metrics, before) == {
        "phonebridge_barge_in_stop_seconds_count": 1,
        "phonebridge_barge_in_stop_seconds_sum": 0.002,
        "phonebridge_tool_seconds_count": 1,
        "phonebridge_tool_seconds_sum": 1.5,
        "phonebridge_loop_lag_seconds_count": 1,
        "phonebridge_loop_lag_seconds_sum": 0.004,
        "phonebridge_rejects_total{gate=signature}": 1,
    }


@pytest.mark.parametrize("gate", ["+15550001111", "CA" + "1" * 32, "", "a gate with spaces"])
def test_a_label_is_never_an_id_or_a_number(gate: str) -> None:
    metrics = Metrics()
    before = scraped(metrics)
    metrics.rejected(gate)
    assert changed(metrics, before) == {"phonebridge_rejects_total{gate=other}": 1}


def test_no_call_adds_a_series() -> None:
    metrics = Metrics()
    before = scraped(metrics)
    for reason in Reason:
        metrics.call_started()
        metrics.call_ended(reason, busy_call())
    for gate in GATES:
        metrics.rejected(gate)
    assert scraped(metrics).keys() == before.keys()


def test_every_end_and_every_gate_is_there_from_the_start_at_zero() -> None:
    samples = scraped(Metrics())
    assert set(samples.values()) == {0.0}
    for reason in Reason:
        assert f"phonebridge_calls_total{{reason={reason.name.lower()}}}" in samples
    for gate in (*GATES, "other"):
        assert f"phonebridge_rejects_total{{gate={gate}}}" in samples


def test_two_applications_do_not_count_each_other_s_calls() -> None:
    one, other = Metrics(), Metrics()
    one.call_started()
    assert scraped(other)["phonebridge_calls_active"] == 0
    assert b"phonebridge" not in prometheus_client.generate_latest()


def test_a_scrape_gets_the_form_it_asks_for() -> None:
    metrics = Metrics()
    assert metrics.render()[1].startswith("text/plain")
    body, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
