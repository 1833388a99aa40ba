"""Which worker a request belongs to, by nothing but its bytes and what the workers have said."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bridge.ops.cores import cores
from bridge.ops.merged_metrics import counted, merged
from bridge.server.store import EmbeddedStore
from bridge.server.store.detours import DetourRecord
from bridge.server.stream_route import StreamRoute
from bridge.server.workers.siblings import Siblings

MINE, THEIRS, UNKNOWN = (f"CA{number:032x}" for number in (1, 2, 3))
DETOUR = "d" * 32


@pytest.fixture
def siblings() -> Siblings:
    """Worker 1 of three, of which 3 is draining: it has one call, 2 and 3 have two each."""
    found = Siblings("1", Path("/doors"), lambda _name, _owned: None)
    found.are({"1": False, "2": False, "3": True})
    found.call_began(MINE)
    for worker, name in (("2", THEIRS), ("2", "CA2b"), ("3", "CA3a"), ("3", "CA3b")):
        found.owns(worker, name, owned=True)
    found.store = EmbeddedStore(None)
    found.store.detours.begin(DetourRecord(detour_id=DETOUR, call_sid=THEIRS, since_ms=0))
    return found


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nCookie: a={THEIRS}\r\n\r\n".encode()


def post(path: str) -> bytes:
    return get(path).replace(b"GET", b"POST")


@pytest.mark.parametrize(
    ("head", "body", "door"),
    [
        (get("/media-stream/2"), b"", "/doors/2"),
        (get("/media-stream/machine-3"), b"", "/doors/3"),
        (get("/media-stream/1"), b"", None),
        (get("/media-stream/9"), b"", None),
        (get("/media-stream"), b"", None),
        (post("/after-stream?stream=1-x"), f"AccountSid=AC1&CallSid={THEIRS}".encode(), "/doors/2"),
        (post("/after-stream?stream=1-x"), f"CallSid={MINE}".encode(), None),
        (get(f"/call-status?CallSid={THEIRS}"), b"", "/doors/2"),
        (post("/call-status"), f"CallSid={UNKNOWN}&ParentCallSid={THEIRS}".encode(), "/doors/2"),
        (post("/stream-status"), b"CallSid=CA3a", "/doors/3"),
        (post(f"/detour/{DETOUR}/whisper"), f"CallSid={UNKNOWN}".encode(), "/doors/2"),
        (post(f"/console/calls/{THEIRS}/mute"), b"{}", "/doors/2"),
        (get(f"/console/calls/{THEIRS}/audio"), b"", "/doors/2"),
        (get(f"/phone/events?call={THEIRS}"), b"", "/doors/2"),
        (post("/phone/faults"), f'{{"call": "{THEIRS}"}}'.encode(), "/doors/2"),
        (get("/healthz"), b"", None),
        (b"nonsense", b"", None),
        (post("/incoming-call"), f"CallSid={UNKNOWN}".encode(), None),
    ],
)
def test_a_request_belongs_to_the_worker_that_has_its_call(
    siblings: Siblings, head: bytes, body: bytes, door: str | None
) -> None:
    assert siblings.door_of(head, body) == door


def test_a_stream_finds_a_worker_that_has_begun_and_is_not_told_of_yet(tmp_path: Path) -> None:
    """It may have answered a webhook a moment ago; elsewhere the stream would dial the model again."""
    siblings = Siblings("1", tmp_path, lambda _name, _owned: None)
    siblings.are({"1": False})
    assert siblings.door_of(get("/media-stream/4"), b"") is None
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(siblings.door("4"))
        assert siblings.door_of(get("/media-stream/4"), b"") == siblings.door("4")
        assert siblings.door_of(get("/media-stream/-"), b"") is None


def test_new_calls_go_to_the_worker_with_the_fewest_and_not_to_one_that_drains(siblings: Siblings) -> None:
    """Those that were sent on a moment ago count, though nothing is known of them yet."""
    asked = [siblings.door_of(post("/incoming-call"), f"CallSid=CA{n:032x}".encode()) for n in range(9, 14)]
    assert asked == [None, None, "/doors/2", None, "/doors/2"]


def test_a_worker_that_drains_keeps_its_calls_and_passes_everything_else_on(siblings: Siblings) -> None:
    siblings.draining = True
    assert siblings.door_of(post("/after-stream"), f"CallSid={MINE}".encode()) is None
    assert siblings.door_of(post("/incoming-call"), f"CallSid={UNKNOWN}".encode()) == "/doors/2"
    assert siblings.door_of(get("/readyz"), b"") == "/doors/2"
    siblings.are({"1": True, "2": True})
    assert siblings.door_of(get("/readyz"), b"") is None, "nobody takes calls: it answers as it can"


def test_what_a_dead_worker_had_belongs_to_whoever_is_freest(siblings: Siblings) -> None:
    siblings.are({"1": False, "3": True})
    assert siblings.door_of(post("/after-stream"), f"CallSid={THEIRS}".encode()) is None
    assert siblings.door_of(get("/media-stream/2"), b"") is None


def test_a_stream_names_its_worker_beside_the_machine() -> None:
    alone = StreamRoute("none", "host-2", "", "2")
    assert alone.url("https://x") == "wss://x/media-stream/2"
    fly = StreamRoute("fly", "host-2", "", "2")
    assert fly.url("https://x") == "wss://x/media-stream/host-2"
    assert fly.is_here("host-1")
    assert not fly.is_here("other-1")
    assert fly.elsewhere("other-1", {}, ["other-1"]) == "instance=other;timeout=800ms;fallback=prefer_self"


A = """\
# HELP phonebridge_calls_total Calls
# TYPE phonebridge_calls_total counter
phonebridge_calls_total{reason="a"} 2.0
# HELP phonebridge_calls_created Calls
# TYPE phonebridge_calls_created gauge
phonebridge_calls_created{reason="a"} 1.7e+09
# HELP phonebridge_lag_seconds Lag
# TYPE phonebridge_lag_seconds histogram
phonebridge_lag_seconds_bucket{le="1.0"} 1.0
phonebridge_lag_seconds_bucket{le="+Inf"} 2.0
phonebridge_lag_seconds_count 2.0
phonebridge_lag_seconds_sum 3.5
# HELP phonebridge_calls_active Now
# TYPE phonebridge_calls_active gauge
phonebridge_calls_active 4.0
"""


def test_counters_and_buckets_are_added_up_and_gauges_say_whose_they_are() -> None:
    gone = counted([A, A])
    assert "calls_active" not in gone
    text = merged({"1": A, "2": A, "": gone})[0].decode()
    for line in (
        'phonebridge_calls_total{reason="a"} 8.0',
        'phonebridge_lag_seconds_bucket{le="1.0"} 4.0',
        'phonebridge_lag_seconds_bucket{le="+Inf"} 8.0',
        "phonebridge_lag_seconds_count 8.0",
        "phonebridge_lag_seconds_sum 14.0",
        'phonebridge_calls_active{worker="1"} 4.0',
        'phonebridge_calls_active{worker="2"} 4.0',
        "phonebridge_workers 2.0",
    ):
        assert line in text.splitlines()
    assert "_created" not in text  # when a process began to count is no sum
    assert merged({"1": A}, "application/openmetrics-text; version=1.0.0")[0].endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu.max": "nonsense"}, 8),
        ({"system.slice/phone.service/cpu.max": "200000 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_auto_is_what_the_container_has_time_for(files: dict[str, str], found: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    (tmp_path / "own").write_text("0::/system.slice/phone.service\n")
    assert cores(tmp_path, tmp_path / "own", lambda: 8) == found
