"""A phone call on one side, a realtime speech model on the other: carries the sound, knows what was heard.

To read it: `core/messages/` (the vocabulary), `core/ledger.py` (what was sent, is queued and was heard),
`core/call.py` (one call as a pure object), `carriers/twilio.py` (wire frames in and out of it), `runner.py`
(two sockets, one clock, one gate).

The names below are for programs that use it. They are looked up when they are first asked for, so that
importing a part of the package loads that part only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .agents.agent import Agent, Approval, load_agent
    from .agents.guardrails import Guardrail
    from .agents.inputs import Digit, Outgoing, Said, Silence, Turn
    from .agents.mcp import McpServer
    from .agents.session import Session
    from .agents.tools import ToolError, hang_up, tool, transfer
    from .errors import BridgeError, CallEnded, ConfigError, HandlerError
    from .server.service import create_app
    from .settings.settings import Settings, load_settings

_PLACES: Final = {
    "agents.agent": ("Agent", "Approval", "load_agent"),
    "agents.guardrails": ("Guardrail",),
    "agents.inputs": ("Digit", "Outgoing", "Said", "Silence", "Turn"),
    "agents.mcp": ("McpServer",),
    "agents.session": ("Session",),
    "agents.tools": ("ToolError", "hang_up", "tool", "transfer"),
    "errors": ("BridgeError", "CallEnded", "ConfigError", "HandlerError"),
    "server.service": ("create_app",),
    "settings.settings": ("Settings", "load_settings"),
}
_PLACE_OF: Final = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "Agent",
    "Approval",
    "BridgeError",
    "CallEnded",
    "ConfigError",
    "Digit",
    "Guardrail",
    "HandlerError",
    "McpServer",
    "Outgoing",
    "Said",
    "Session",
    "Settings",
    "Silence",
    "ToolError",
    "Turn",
    "create_app",
    "hang_up",
    "load_agent",
    "load_settings",
    "tool",
    "transfer",
]


def __getattr__(name: str) -> Any:
    place = _PLACE_OF.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{place}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
