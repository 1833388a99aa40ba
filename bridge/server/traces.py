"""Traces of calls, as the settings ask for them: the exporter, the observer, and the webhook's span."""

from __future__ import annotations

import functools
import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response

from bridge.agents.calls import UserSide
from bridge.core.call import Call
from bridge.errors import ConfigError
from bridge.ops.metrics import Metrics
from bridge.ops.otel import Exporter, Tracing, header_pairs, is_wanted
from bridge.ops.redaction import Mask
from bridge.server.proof import Fields, Webhook
from bridge.settings.settings import Settings

if TYPE_CHECKING:
    from bridge.server.calls import CallRegistry

logger = logging.getLogger(__name__)

PROVIDERS: Final = {"openai": "openai", "azure": "azure.ai.openai", "xai": "x_ai"}
"""By the names of `UPSTREAMS`, as the conventions for generative AI call them; others keep ours."""


class Traces:
    """Those of one service. Where none are wanted it does nothing, and the SDK is not imported."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.observers: tuple[Tracing, ...] = ()
        self._exporter: Exporter | None = None
        url = settings.traces_url
        if not is_wanted(url):
            return
        headers = settings.otel_headers
        try:
            exporter = self._exporter = Exporter(
                url,
                None if headers is None else header_pairs(headers.get_secret_value()),
                instance=settings.machine,
                version=version("phonebridge"),
                outcome=metrics.spans,
            )
        except ConfigError as error:  # a platform may set the variable for all that runs on it
            logger.warning("there are no traces: %s", error)
            return
        tracing = Tracing(
            exporter,
            provider=PROVIDERS.get(settings.upstream, settings.upstream),
            budget_ms=settings.otel_felt_ms,
            content=settings.otel_content,
            mask=Mask(settings.unspeakable()),
        )
        exporter.tick = tracing.flush
        self.observers = (tracing,)

    def attach(self, registry: CallRegistry, users: UserSide | None) -> None:
        """The calls, their webhooks, and the user code that runs for them."""
        registry.services.traces = self
        registry.observers = (*registry.observers, *self.observers)
        for tracing in self.observers:
            tracing.find = functools.partial(_call, registry)
            if users is not None:
                users.enter = tracing.enter

    def webhook(self, answer: Webhook) -> Webhook:
        """The same, with a span of its own. Its request is proven to be the carrier's."""
        if not self.observers:
            return answer
        (tracing,) = self.observers

        async def traced(request: Request, form: Fields) -> Response:
            answered = tracing.webhook(form.get("CallSid", ""), request.headers.get("traceparent", ""))
            response = await answer(request, form)
            answered(response.status_code, b"<Stream" not in bytes(response.body))
            return response

        return traced

    def start(self) -> None:
        """Begin to send. Idempotent."""
        if self._exporter is not None:
            self._exporter.start()

    def close(self) -> None:
        """Send what is left, two seconds long at most."""
        if self._exporter is not None:
            self._exporter.close()


def _call(registry: CallRegistry, call_sid: str) -> Call | None:
    runner = registry.runner(call_sid)
    return None if runner is None else runner.call
