from __future__ import annotations

from prometheus_client import CollectorRegistry

from bridge.ops.metrics import Metrics
from bridge.ops.store_metrics import StoreMetrics
from bridge.server.store.store_link import StoreWatch


def test_the_series_of_the_store() -> None:
    registry = CollectorRegistry()
    watch = StoreMetrics(registry)
    observer: StoreWatch = watch
    watch.watch_machines(lambda: 3)
    observer.store_up(True)
    observer.store_answered("claim", 0.003)
    observer.store_answered("a new one", 0.003)
    for kind in ("oom", "oom", "a new one"):
        observer.store_failed(kind)
    observer.store_ghost()
    observer.store_restored()
    watch.second_dial()
    watch.handed_over("crash")

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"phonebridge_store_{name}", labels)

    assert value("up") == 1
    assert value("machines") == 3
    assert value("seconds_count", op="claim") == value("seconds_count", op="other") == 1
    assert value("seconds_bucket", op="claim", le="0.002") == 0
    assert (value("errors_total", kind="oom"), value("errors_total", kind="other")) == (2, 1)
    assert value("errors_total", kind="timeout") == 0
    assert value("ghosts_total") == value("restored_total") == value("second_dials_total") == 1
    assert (value("handed_over_total", how="crash"), value("handed_over_total", how="handover")) == (1, 0)
    observer.store_up(False)
    assert value("up") == 0


def test_a_process_alone_has_none_of_them() -> None:
    assert b"phonebridge_store" not in Metrics().render()[0]
