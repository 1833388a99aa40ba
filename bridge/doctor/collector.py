"""Whether the collector of traces takes them: it gets a request without a span."""

from __future__ import annotations

import asyncio

from bridge.errors import ConfigError
from bridge.ops.otel import Exporter, header_pairs, is_wanted
from bridge.settings.settings import Settings


async def collector(settings: Settings) -> tuple[str, str]:
    """What was found, and the cure: "" where nothing is wrong, both where no traces are wanted."""
    url, headers = settings.traces_url, settings.otel_headers
    if url is None or not is_wanted(url):
        return "", ""
    try:
        exporter = Exporter(url, None if headers is None else header_pairs(headers.get_secret_value()))
    except ConfigError as error:
        return f"{error}", "install the extra, or leave OTEL_EXPORTER_OTLP_ENDPOINT out"
    taken = await asyncio.to_thread(exporter.probe)
    exporter.close()
    if not taken:
        return f"the collector does not take traces at {url}", "start it, or mend address and headers"
    return f"the collector takes traces at {url}", ""
