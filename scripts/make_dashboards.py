"""Makes `deploy/monitoring/`: a Grafana dashboard and Prometheus alerts over the series of `/metrics`.

    python -m scripts.make_dashboards           writes both files
    python -m scripts.make_dashboards --check   says whether they are as they would be written

Grafana: "Dashboard JSON model"; Prometheus: "Alerting rules". Thresholds are where callers notice.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent.parent / "deploy" / "monitoring"
RATE: Final = "$__rate_interval"
PART: Final = "turn_part_seconds"


def quantile(share: float, series: str, window: str = RATE) -> str:
    """The quantile of a histogram, over all machines."""
    return f"histogram_quantile({share}, sum by (le) (rate(phonebridge_{series}_bucket[{window}])))"


def rate(series: str, by: str = "", window: str = RATE) -> str:
    """How many a second, over all machines."""
    return f"sum {f'by ({by}) ' if by else ''}(rate(phonebridge_{series}[{window}]))"


PANELS: Final[tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]] = (
    ("Calls now", "short", (("active", "sum(phonebridge_calls_active)"),)),
    ("Calls by how they ended", "cps", (("{{reason}}", rate("calls_total", "reason")),)),
    ("Turned away, by gate", "cps", (("{{gate}}", rate("rejects_total", "gate")),)),
    ("Set-up", "s", (("p50", quantile(0.5, "set_up_seconds")), ("p95", quantile(0.95, "set_up_seconds")))),
    ("First sound", "s", (("p95", quantile(0.95, "first_audio_seconds")),)),
    (
        "From the caller's last sound to the answer",
        "s",
        (("p50", quantile(0.5, "turn_latency_seconds")), ("p95", quantile(0.95, "turn_latency_seconds"))),
    ),
    (
        "Until the caller hears the answer",
        "s",
        (("p50", quantile(0.5, "turn_felt_seconds")), ("p95", quantile(0.95, "turn_felt_seconds"))),
    ),
    ("What a wait is made of, on average", "s", (
        ("{{part}}", f"{rate(f'{PART}_sum', 'part')} / {rate(f'{PART}_count', 'part')}"),)),
    ("Silence after a barge-in", "s", (("p99", quantile(0.99, "barge_in_stop_seconds")),)),
    ("Of interrupted answers, not heard", "s", (("p50", quantile(0.5, "truncated_seconds")),)),
    ("Model sessions replaced, per call", "percentunit", (
        ("share", f"{rate('recoveries_total')} / {rate('calls_total')}"),)),
    ("Gap until the next session", "s", (("p95", quantile(0.95, "gap_seconds")),)),
    ("Frames thrown away", "cps", (("{{reason}}", rate("frames_dropped_total", "reason")),)),
    ("Tools", "s", (("p95", quantile(0.95, "tool_seconds")),)),
    ("User code that holds its loop", "s", (("p99", quantile(0.99, "handler_loop_blocked_seconds")),)),
    ("Tokens", "cps", (("{{kind}}", rate("tokens_total", "kind")),)),
    ("Cost an hour", "currencyUSD", (("USD", f"3600 * {rate('cost_usd_total')}"),)),
    ("Cost a call", "currencyUSD", (("USD", f"{rate('cost_usd_total')} / {rate('calls_total')}"),)),
    ("Loop lag", "s", (("p99", quantile(0.99, "loop_lag_seconds")),)),
    ("Notices to other systems", "cps", (
        ("{{outcome}}", rate("notices_total", "outcome")), ("waiting", "sum(phonebridge_notices_waiting)"))),
)  # fmt: skip
"""Title, unit, and of each line its name and query."""

LOST: Final = f"{rate('recoveries_total', window='10m')} / {rate('calls_total', window='10m')}"
ALERTS: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("PhonebridgeGone", "absent(phonebridge_calls_active)", "2m", "no machine of phonebridge is scraped"),
    ("PhonebridgeLoopLag", f"{quantile(0.99, 'loop_lag_seconds', '5m')} > 0.02", "5m",
        "the loop that carries the sound is late by more than a frame: callers hear gaps"),
    ("PhonebridgeSlowAnswers", f"{quantile(0.95, 'turn_felt_seconds', '10m')} > 2", "10m",
        "one of twenty answers is heard after more than two seconds; the panel of parts says where it goes"),
    ("PhonebridgeModelLost", f"{LOST} > 0.05",
        "10m", "more than 5 in 100 calls lost their model session"),
    ("PhonebridgeFull", 'increase(phonebridge_rejects_total{gate="full"}[10m]) > 0', "1m",
        "callers are turned away because there is no room: raise BRIDGE_MAX_CALLS or add a machine"),
    ("PhonebridgeMoney", 'increase(phonebridge_rejects_total{gate="money"}[10m]) > 0', "1m",
        "callers are turned away because the day's money is spent (BRIDGE_MAX_DAY_COST)"),
    ("PhonebridgeStuckHandlers", "sum(phonebridge_handler_loops_stuck) > 0", "2m",
        "user code holds a loop of handlers; the log says where it is"),
    ("PhonebridgeNoticesStuck", "sum(phonebridge_notices_waiting) > 100", "15m",
        "a receiver of BRIDGE_NOTICES does not take its notices"),
)  # fmt: skip
"""Name, condition, how long it must hold, and what it means."""


def dashboard() -> dict[str, Any]:
    """The dashboard, three panels a row; the reader chooses the Prometheus."""
    width, height = 8, 7
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": title,
            "gridPos": {"x": number % 3 * width, "y": number // 3 * height, "w": width, "h": height},
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + line), "expr": query, "legendFormat": name}
                for line, (name, query) in enumerate(queries)
            ],
        }
        for number, (title, unit, queries) in enumerate(PANELS)
    ]
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": "phonebridge",
        "title": "phonebridge",
        "tags": ["phonebridge"],
        "timezone": "browser",
        "schemaVersion": 39,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source]},
        "panels": panels,
    }


def alerts() -> str:
    """YAML by hand: every value is a JSON string, which YAML reads as it is."""
    lines = ["groups:", "  - name: phonebridge", "    rules:"]
    for name, condition, lasts, means in ALERTS:
        lines += [
            f"      - alert: {name}",
            f"        expr: {json.dumps(condition)}",
            f"        for: {lasts}",
            "        annotations:",
            f"          summary: {json.dumps(means)}",
        ]
    return "\n".join([*lines, ""])


def files() -> dict[Path, str]:
    """What is written where."""
    return {
        FOLDER / "grafana.json": json.dumps(dashboard(), indent=1) + "\n",
        FOLDER / "alerts.yaml": alerts(),
    }


def main() -> int:
    """Write both files, or say which is stale."""
    if sys.argv[1:] == ["--check"]:
        stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
        print(
            "\n".join(f"{path.name} is stale: python -m scripts.make_dashboards" for path in stale)
            or "as made"
        )
        return bool(stale)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text)
        print(f"{path.name} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
