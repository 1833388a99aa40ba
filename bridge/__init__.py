"""A phone call on one side, a realtime speech model on the other: carries the sound, knows what was heard.

The names below are the whole public API: `from bridge import Agent, tool`. `bridge.testing` is the pytest
plugin. Deeper import paths may change in any release. A name is imported when it is first used, so that
importing a part of the package loads that part only.

To read the source, begin with docs/architecture.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .agents.agent import Agent, Approval, load_agent
    from .agents.caller_input import Input
    from .agents.detours import TransferResult
    from .agents.guardrails import Guardrail
    from .agents.inputs import Digit, Outgoing, Said, Silence, Turn
    from .agents.machines import MachineAnswer
    from .agents.mcp import McpServer
    from .agents.prices import Cost
    from .agents.queues import Feed
    from .agents.session import Session
    from .agents.tools import Tool, ToolError, hand_off_to, hang_up, stop_calling, tool, transfer
    from .agents.transport_socket import MakeTransport
    from .agents.turn_detection import turn_detection
    from .agents.turned_away import Forward, Refuse, Voicemail
    from .client.config import SessionOptions, audio_format
    from .client.events import (
        Audio,
        AudioInterrupted,
        ConnectionChanged,
        ConnectionState,
        Failed,
        Idled,
        Item,
        ItemUpdated,
        MarkWanted,
        ModelEvent,
        Part,
        Phase,
        RawEvent,
        ResponseTraced,
        SessionInForce,
    )
    from .client.model import RealtimeModel
    from .client.playback import PlaybackTracker, Playing, Tracker
    from .codecs import AudioFormat
    from .core.config import SemanticVad, ServerVad
    from .core.messages import (
        Answered,
        AnswerKind,
        AudioDone,
        Beep,
        CallBegan,
        CallerSilent,
        CallerSpoke,
        CallerTranscribed,
        Cut,
        DetourEnded,
        DetourKind,
        DetourMoved,
        DetourResult,
        DetourState,
        DigitHeard,
        Ended,
        HangUpCancelled,
        Heard,
        ItemGone,
        LegStep,
        MachineFound,
        MessageLeft,
        Noted,
        Reason,
        ResponseDone,
        ResponseEnded,
        ResponseStarted,
        SecondsBilled,
        SessionEvent,
        SpeechStarted,
        SpeechStopped,
        Spoken,
        TextDelta,
        ToolCalled,
        ToolWanted,
        TranscriptDelta,
        TransferOutcome,
        TurnCommitted,
        UpstreamFaulted,
        Usage,
        VendorNote,
    )
    from .core.messages import Turn as CallerTurn
    from .errors import (
        AlreadyConnected,
        BridgeError,
        BrokenInvariant,
        CallEnded,
        CallRefused,
        CarrierError,
        ConfigError,
        ConnectionLost,
        HandlerError,
        NotConnected,
        ProtocolError,
        ReplayMismatch,
        SignatureError,
        UpstreamError,
    )
    from .server.outbound.api import call
    from .server.outbound.handles import CallResult, CallStatus, PlacedCall
    from .server.service import create_app
    from .settings.settings import Settings, load_settings
    from .sockets.dial import DialError, Socket, dial
    from .sockets.limits import Limits
    from .sockets.transport import MemoryTransport, RealtimeTransport, WebSocketTransport
    from .sockets.uvicorn import UVICORN_PROTOCOLS
    from .upstreams import Dial

__version__: Final = "0.1.0"  # as in pyproject.toml: tests/test_exports.py compares them

_PLACES: Final = {  # each place and its names
    "agents.agent": "Agent Approval load_agent",
    "agents.caller_input": "Input",
    "agents.detours": "TransferResult",
    "agents.guardrails": "Guardrail",
    "agents.inputs": "Digit Outgoing Said Silence Turn",
    "agents.machines": "MachineAnswer",
    "agents.mcp": "McpServer",
    "agents.prices": "Cost",
    "agents.queues": "Feed",
    "agents.session": "Session",
    "agents.tools": "Tool ToolError hand_off_to hang_up stop_calling tool transfer",
    "agents.transport_socket": "MakeTransport",
    "agents.turn_detection": "turn_detection",
    "agents.turned_away": "Forward Refuse Voicemail",
    "client.config": "SessionOptions audio_format",
    "client.events": (
        "Audio AudioInterrupted ConnectionChanged ConnectionState Failed Idled Item ItemUpdated "
        "MarkWanted ModelEvent Part Phase RawEvent ResponseTraced SessionInForce"
    ),
    "client.model": "RealtimeModel",
    "client.playback": "PlaybackTracker Playing Tracker",
    "codecs": "AudioFormat",
    "core.config": "SemanticVad ServerVad",
    "core.messages": (
        "AnswerKind Answered AudioDone Beep CallBegan CallerSilent CallerSpoke CallerTranscribed Cut "
        "DetourEnded DetourKind DetourMoved DetourResult DetourState DigitHeard Ended HangUpCancelled "
        "Heard ItemGone LegStep MachineFound MessageLeft Noted Reason ResponseDone ResponseEnded "
        "ResponseStarted SecondsBilled SessionEvent SpeechStarted SpeechStopped Spoken TextDelta ToolCalled "
        "ToolWanted TranscriptDelta TransferOutcome TurnCommitted UpstreamFaulted Usage VendorNote"
    ),
    "errors": (
        "AlreadyConnected BridgeError BrokenInvariant CallEnded CallRefused CarrierError ConfigError "
        "ConnectionLost HandlerError NotConnected ProtocolError ReplayMismatch SignatureError UpstreamError"
    ),
    "server.outbound.api": "call",
    "server.outbound.handles": "CallResult CallStatus PlacedCall",
    "server.service": "create_app",
    "settings.settings": "Settings load_settings",
    "sockets.dial": "DialError Socket dial",
    "sockets.limits": "Limits",
    "sockets.transport": "MemoryTransport RealtimeTransport WebSocketTransport",
    "sockets.uvicorn": "UVICORN_PROTOCOLS",
    "upstreams": "Dial",
}
_PLACE_OF: Final = {
    **{name: (place, name) for place, names in _PLACES.items() for name in names.split()},
    "CallerTurn": ("core.messages", "Turn"),  # `Turn` is the one that a handler gets
}

__all__ = [
    "UVICORN_PROTOCOLS",
    "Agent",
    "AlreadyConnected",
    "AnswerKind",
    "Answered",
    "Approval",
    "Audio",
    "AudioDone",
    "AudioFormat",
    "AudioInterrupted",
    "Beep",
    "BridgeError",
    "BrokenInvariant",
    "CallBegan",
    "CallEnded",
    "CallRefused",
    "CallResult",
    "CallStatus",
    "CallerSilent",
    "CallerSpoke",
    "CallerTranscribed",
    "CallerTurn",
    "CarrierError",
    "ConfigError",
    "ConnectionChanged",
    "ConnectionLost",
    "ConnectionState",
    "Cost",
    "Cut",
    "DetourEnded",
    "DetourKind",
    "DetourMoved",
    "DetourResult",
    "DetourState",
    "Dial",
    "DialError",
    "Digit",
    "DigitHeard",
    "Ended",
    "Failed",
    "Feed",
    "Forward",
    "Guardrail",
    "HandlerError",
    "HangUpCancelled",
    "Heard",
    "Idled",
    "Input",
    "Item",
    "ItemGone",
    "ItemUpdated",
    "LegStep",
    "Limits",
    "MachineAnswer",
    "MachineFound",
    "MakeTransport",
    "MarkWanted",
    "McpServer",
    "MemoryTransport",
    "MessageLeft",
    "ModelEvent",
    "NotConnected",
    "Noted",
    "Outgoing",
    "Part",
    "Phase",
    "PlacedCall",
    "PlaybackTracker",
    "Playing",
    "ProtocolError",
    "RawEvent",
    "RealtimeModel",
    "RealtimeTransport",
    "Reason",
    "Refuse",
    "ReplayMismatch",
    "ResponseDone",
    "ResponseEnded",
    "ResponseStarted",
    "ResponseTraced",
    "Said",
    "SecondsBilled",
    "SemanticVad",
    "ServerVad",
    "Session",
    "SessionEvent",
    "SessionInForce",
    "SessionOptions",
    "Settings",
    "SignatureError",
    "Silence",
    "Socket",
    "SpeechStarted",
    "SpeechStopped",
    "Spoken",
    "TextDelta",
    "Tool",
    "ToolCalled",
    "ToolError",
    "ToolWanted",
    "Tracker",
    "TranscriptDelta",
    "TransferOutcome",
    "TransferResult",
    "Turn",
    "TurnCommitted",
    "UpstreamError",
    "UpstreamFaulted",
    "Usage",
    "VendorNote",
    "Voicemail",
    "WebSocketTransport",
    "__version__",
    "audio_format",
    "call",
    "create_app",
    "dial",
    "hand_off_to",
    "hang_up",
    "load_agent",
    "load_settings",
    "stop_calling",
    "tool",
    "transfer",
    "turn_detection",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, its_name = _PLACE_OF[name]
    found = getattr(import_module(f".{place}", __name__), its_name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
