"""Settings of traces: to which collector, by OpenTelemetry's own names, and what goes along."""

from typing import Annotated

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings

from bridge.settings.values import Wrong, read_by

TRACES_PATH = "/v1/traces"


def address(text: str) -> str:
    """An http:// or https:// address."""
    if not text.startswith(("http://", "https://")):
        raise Wrong("is no http address", "write it like http://localhost:4318")
    return text


class TracingSettings(BaseSettings):
    """Without an address there are no traces. OpenTelemetry's other variables are read from the environment
    by its SDK.
    """

    otel_endpoint: Annotated[str | None, read_by(address)] = Field(
        None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    otel_traces_endpoint: Annotated[str | None, read_by(address)] = Field(
        None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    )
    otel_headers: SecretStr | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_HEADERS")
    otel_content: bool = Field(False, validation_alias="BRIDGE_OTEL_CONTENT")
    otel_felt_ms: PositiveInt = Field(2_000, validation_alias="BRIDGE_OTEL_FELT_MS")

    @property
    def traces_url(self) -> str | None:
        """Where traces are sent. OTLP exporter specification: the path is added to the address of all
        signals, and not to that of traces.
        """
        if self.otel_traces_endpoint is not None or self.otel_endpoint is None:
            return self.otel_traces_endpoint
        return self.otel_endpoint.rstrip("/") + TRACES_PATH

    def _tracing_secrets(self) -> tuple[SecretStr, ...]:
        """What of these may stand in no log."""
        return () if self.otel_headers is None else (self.otel_headers,)
