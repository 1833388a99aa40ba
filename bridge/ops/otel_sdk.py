"""OpenTelemetry's SDK as we use it. Imported only where traces are wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from . import otel_names as names
from .otel_spans import Made

MS_NS: Final = 1_000_000


class _Ids(IdGenerator):
    """The ids of the span that is made next: they follow from the call's."""

    trace_id = span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Collector(SpanProcessor):
    """Keeps what has ended until it is taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        taken, self._spans = self._spans, []
        return taken


class Sdk:
    """Makes spans and sends them; all but `samples` and `enter` on one thread. `endpoint` is that for traces,
    or None for what the environment says; the environment also names the sampler, the service, time limits.
    """

    def __init__(
        self, endpoint: str | None, headers: Mapping[str, str] | None, instance: str, version: str
    ) -> None:
        own: dict[str, Any] = {names.SEMCONV_VERSION: names.SEMCONV, "service.version": version}
        told = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in told:
            own["service.name"] = "phonebridge"
        if instance:
            own["service.instance.id"] = instance
        resource = Resource.create(own)
        self._sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
        self._ids, self._ended = _Ids(), _Collector()
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False, id_generator=self._ids
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer(names.SCOPE, version)
        self._exporter = OTLPSpanExporter(endpoint=endpoint, headers=headers or None)

    def samples(self, trace_id: int) -> bool:
        """Whether the sampler of OTEL_TRACES_SAMPLER keeps this trace."""
        decision = self._sampler.should_sample(None, trace_id, names.CALL).decision
        return decision is Decision.RECORD_AND_SAMPLE

    def enter(self, trace_id: int, span_id: int, sampled: bool) -> None:
        """Make that span the parent of what begins in this context."""
        otel_context.attach(self._below(trace_id, span_id, sampled))

    def made(self, trace_id: int, base_ns: int, spans: Sequence[Made]) -> list[ReadableSpan]:
        """The spans of one trace; `base_ns` is when their 0 ms was."""
        for one in spans:
            self._ids.trace_id, self._ids.span_id = trace_id, one.span_id
            above = otel_context.Context()
            if one.parent_id is not None:
                above = self._below(trace_id, one.parent_id, True)
            links = []
            if one.link is not None:
                flags = TraceFlags(TraceFlags.SAMPLED)
                links.append(trace.Link(SpanContext(one.link.trace_id, one.link.span_id, True, flags)))
            span = self._tracer.start_span(
                one.name,
                context=above,
                kind=SpanKind[one.kind],
                attributes=dict(one.attributes),
                links=links,
                start_time=base_ns + one.start_ms * MS_NS,
                record_exception=False,
            )
            if one.failed is not None:
                span.set_status(Status(StatusCode.ERROR, one.failed))
            span.end(end_time=base_ns + one.end_ms * MS_NS)
        return self._ended.take()

    def export(self, spans: Sequence[ReadableSpan]) -> bool:
        """Send these; returns whether the collector took them."""
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is under way."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    @staticmethod
    def _below(trace_id: int, span_id: int, sampled: bool) -> otel_context.Context:
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        parent = NonRecordingSpan(SpanContext(trace_id, span_id, False, flags))
        return trace.set_span_in_context(parent, otel_context.Context())
