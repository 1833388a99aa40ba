"""What the Realtime server refuses, and in which words.

Realtime API reference, "error": most errors are recoverable and the session stays open; an error that a
client event caused carries that event's id.
"""

from __future__ import annotations

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
