"""What the Realtime server refuses, and in which words.

Realtime API reference, "error": most errors are recoverable and the session stays open; an error that a
client event caused carries that event's id.
"""

from __future__ import annotations

import json
from typing import Any


class Fault(Exception):
    """A client event that is refused; nothing of it is done. Code None stands for a server that gives none,
    and `names_event` False for one that does not echo the client's event id.
    """

    def __init__(
        self, code: str | None, message: str, param: str | None = None, *, names_event: bool = True
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.names_event = names_event
        self.kind = "invalid_request_error"

    def body(self, event_id: str | None) -> dict[str, Any]:
        """The `error` object of the event, with the id of the client event that caused it."""
        return {
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": event_id if self.names_event else None,
        }


def beta_refusal() -> tuple[list[str], int, str]:
    """What a client that asks for the beta gets after the upgrade: frames to send, then close code and
    reason.

    No `session.created` comes before it.
    """
    message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
    return _refusal("beta_api_shape_disabled", message, 4000)


def key_refusal() -> tuple[list[str], int, str]:
    """What a well-formed key that is wrong gets after the upgrade: frames to send, then close code and
    reason.
    """
    return _refusal("invalid_api_key", "Incorrect API key provided.", 3000)


def _refusal(code: str, message: str, close_code: int) -> tuple[list[str], int, str]:
    fault = Fault(code, message)
    frame = json.dumps({"type": "error", "event_id": "event_1", "error": fault.body(None)})
    return [frame], close_code, f"{fault.kind}.{code}"
