"""A tool with spans of its own: they hang below the tool's span in the trace of the call."""

from bridge import Agent, tool

try:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
except ImportError as error:
    raise SystemExit("pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http") from error

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # to OTEL_EXPORTER_OTLP_ENDPOINT
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("shop")


@tool
async def opening_hours(day: str) -> str:
    """When the shop is open on that day."""
    with tracer.start_as_current_span("database"):
        return f"{day}: nine to five"


agent = Agent("You work in a shop.", greeting="Hello!", tools=[opening_hours])
