"""Which sockets the Realtime server lets in, and what it tells those that it refuses after the upgrade.

"Connect with WebSocket": the model stands in the URL. Azure has paths of its own, where the model is the name
of a deployment, and clients with a base URL of their own add `/realtime` to whatever that is.

https://developers.openai.com/api/docs/guides/realtime-websocket
https://learn.microsoft.com/azure/ai-foundry/openai/how-to/realtime-audio-websockets
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from .faults import Fault

PATHS: Final = ("/v1/realtime", "/realtime", "/openai/v1/realtime", "/openai/realtime")
"""Where it answers: the vendor's own path, without a prefix, and Azure's two."""

_BETA_HEADER: Final = "realtime=v1"
_BETA_SUBPROTOCOL: Final = "openai-beta.realtime-v1"


class Refusal(NamedTuple):
    """The frames to send, with no `session.created` before them; then the close code and its reason."""

    frames: list[str]
    code: int
    reason: str


def refusal(
    query: Mapping[str, str], headers: Mapping[str, str], subprotocols: Sequence[str] = ()
) -> Refusal | None:
    """Why this request gets no session; None when it gets one."""
    if _BETA_HEADER in headers.get("openai-beta", "") or _BETA_SUBPROTOCOL in subprotocols:
        return beta_refusal()
    model = model_of(query)
    if query.get("intent") == "transcription":
        if model:
            message = "You must not provide a model parameter for transcription sessions."
        else:  # the vendor has these sessions
            message = "This server has no transcription sessions."
        return _refusal("invalid_model", message, 4000)
    if not model:
        return _refusal("missing_model", "You must provide a model parameter.", 4000)
    return None


def model_of(query: Mapping[str, str]) -> str:
    """The model that the URL asks for; empty when it names none."""
    return query.get("model") or query.get("deployment") or ""


def beta_refusal() -> Refusal:
    """What a client that asks for the beta gets."""
    message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
    return _refusal("beta_api_shape_disabled", message, 4000)


def _refusal(code: str, message: str, close_code: int) -> Refusal:
    fault = Fault(code, message)
    frame = json.dumps({"type": "error", "event_id": "event_1", "error": fault.body(None)})
    return Refusal([frame], close_code, f"{fault.kind}.{code}")
