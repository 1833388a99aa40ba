"""What anybody may ask for is made a few times, however often it is asked for."""

from __future__ import annotations

from bridge.ops.metrics import Metrics
from bridge.ops.recent import Recent
from tests.hand_clock import Clock


def test_once_a_second_and_a_few_times_in_a_row() -> None:
    clock, made = Clock(100.0), list[float]()

    def make() -> float:
        made.append(clock.now_s)
        return clock.now_s

    recent = Recent(make, clock)
    for _ in range(100):
        recent.get()
    assert len(made) == 5
    for _ in range(1_000):
        clock.now_s += 0.01
        assert clock.now_s - recent.get() <= 1.01
    assert len(made) == 15
    clock.now_s += 60
    for _ in range(3):  # whoever looks now and then sees what is
        clock.now_s += 0.001
        assert recent.get() == clock.now_s


def test_a_crowd_of_scrapes_costs_a_few_and_no_header_breaks_one() -> None:
    metrics = Metrics()
    headers = ("", "*/*", "application/openmetrics-text; version=" + "9" * 5_000, "text/plain; version=x.y")
    collected = []

    class Counted:
        def collect(self) -> list[object]:
            collected.append(self)
            return []

    metrics.registry.register(Counted())  # type: ignore[arg-type]
    collected.clear()
    for _ in range(200):
        for accept in headers:
            body, content_type = metrics.render(accept)
            assert b"phonebridge_calls_active" in body
            assert content_type.startswith(("text/plain", "application/openmetrics-text; version=1.0.0"))
    assert 2 <= len(collected) <= 14
