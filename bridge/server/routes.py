"""The routes: webhooks that are answered with TwiML, a websocket that carries the call, what operators ask
for, and pages. A webhook's route comes from `Proof.webhook`, so that none is answered unproven.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Route

from bridge.server import hold_sound
from bridge.server.admission import Admission
from bridge.server.after_stream import AfterStream
from bridge.server.api_keys import ApiKeys
from bridge.server.calls import CallRegistry
from bridge.server.calls_api import CallsApi
from bridge.server.console import Console
from bridge.server.detour_control import DetourControl
from bridge.server.detour_return import DetourReturn
from bridge.server.detour_routes import DetourRoutes
from bridge.server.incoming_call import IncomingCall
from bridge.server.keyed import Keyed
from bridge.server.media_stream import MediaStream
from bridge.server.operators import OperatorRoutes
from bridge.server.outbound.service import Outbound
from bridge.server.outbound_routes import OutboundWebhooks
from bridge.server.own_streams import OwnStreams
from bridge.server.pages import Softphone
from bridge.server.proof import Proof, Webhook
from bridge.server.stream_route import StreamRoute
from bridge.server.voicemail import VoicemailBox
from bridge.settings.settings import Settings


def outbound_routes(
    settings: Settings, admission: Admission, outbound: Outbound | None, detours: DetourRoutes
) -> list[Route]:
    """Of calls that we place: the carrier's callbacks, and what programs ask where they have keys. Where none
    are placed, the status of those that come in.
    """
    if outbound is None:
        return [admission.proof.webhook("/call-status", detours.status)]
    callbacks = OutboundWebhooks(admission, outbound.calls, detours).routes()
    if not settings.api_keys:
        return callbacks
    keyed = Keyed(ApiKeys(settings.api_keys), admission.proof, "a request about a call")
    fleet = admission.registry.services.fleet
    return [*callbacks, *CallsApi(outbound.calls, keyed, outbound.transcript, fleet).routes()]


def create_app(
    settings: Settings, registry: CallRegistry, awake: Callable[[], None] = lambda: None
) -> Starlette:
    """The application around the calls."""
    services = registry.services
    streams = StreamRoute.of(settings, "" if services.worker is None else services.worker.name)
    proof = Proof(settings, services.metrics, awake, services.router, streams)
    admission = Admission(settings, registry, proof)
    detour_control = DetourControl(settings, registry)
    detour_return = DetourReturn(admission, detour_control)
    detours = DetourRoutes(admission, detour_control, detour_return)
    after_stream = AfterStream(admission, detour_return)
    own_streams = OwnStreams(settings, registry, proof)
    incoming: Webhook = IncomingCall(admission).webhook
    if services.traces is not None:
        incoming = services.traces.webhook(incoming)
    operators = OperatorRoutes(registry, proof, own_streams if settings.api_keys else None)
    app = Starlette(
        routes=[
            proof.webhook("/incoming-call", incoming),
            *MediaStream(admission, own_streams.tokens).routes(),
            proof.webhook("/after-stream", after_stream.webhook),
            proof.webhook("/stream-status", after_stream.status),
            proof.webhook("/voicemail", VoicemailBox(admission).webhook),
            *detours.routes(),
            hold_sound.route(),
            *operators.routes(),
            *outbound_routes(settings, admission, registry.services.outbound, detours),
            *Softphone(settings, registry, proof.peers, awake).routes(),
            *Console(settings, registry, proof.peers, awake).routes(),
        ]
    )
    # Its redirects go to the address that a request's `Host` names, over http; and none of our paths ends so.
    app.router.redirect_slashes = False
    app.state.registry = registry
    app.state.says = operators.says
    return app
