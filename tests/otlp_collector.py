"""A collector of traces: an HTTP server that reads OTLP with the published protobuf types, and refuses what
is no valid trace.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Seen(NamedTuple):
    """One span as it came over the wire; ids in hexadecimal, `parent` "" for none."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    error: str | None
    links: tuple[tuple[str, str], ...]
    resource: dict[str, Any]

    @property
    def ms(self) -> int:
        return round((self.end_ns - self.start_ns) / 1_000_000)


class Collector:
    """What came so far. `status` is what the next requests get; `stall` holds them while it is set; with
    `garbage` the answer is no HTTP.
    """

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.requests = 0
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.garbage = False
        self.released = threading.Event()
        self.released.set()
        self.port = 0
        self.came = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def until(self, start: str, times: int = 1, seconds: float = 10.0) -> list[Seen]:
        """All spans, once so many with names that begin like this have come, or that time is over."""
        with self.came:
            self.came.wait_for(lambda: len(self.named(start)) >= times, seconds)
            return list(self.spans)

    def named(self, start: str) -> list[Seen]:
        return [span for span in self.spans if span.name.startswith(start)]

    def take(self, path: str, kind: str, body: bytes) -> None:
        assert (path, kind) == ("/v1/traces", "application/x-protobuf")
        request = ExportTraceServiceRequest.FromString(body)
        seen = []
        for resource in request.resource_spans:
            about = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                assert scope.scope.name
                seen += [_seen(span, about) for span in scope.spans]
        with self.came:
            self.spans += seen
            self.came.notify_all()


def _seen(span: Any, resource: dict[str, Any]) -> Seen:
    assert len(span.trace_id) == 16
    assert any(span.trace_id)
    assert len(span.span_id) == 8
    assert any(span.span_id)
    assert len(span.parent_span_id) in (0, 8)
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
    return Seen(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _values(span.attributes),
        span.status.message if span.status.code == 2 else None,
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    found = {}
    for pair in attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found


@contextmanager
def collector() -> Iterator[Collector]:
    """One that listens while the block runs."""
    seen = Collector()

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.requests += 1
            seen.headers.append({name.lower(): value for name, value in self.headers.items()})
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.released.wait(30)
            if seen.garbage:
                self.wfile.write(b"\x00\xffno http at all\r\n\r\n")
                self.close_connection = True
                return
            if seen.status == 200:
                seen.take(self.path, self.headers["Content-Type"], body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(seen.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    server.daemon_threads = True
    seen.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        seen.released.set()
        server.shutdown()
        server.server_close()
