"""Writes docs/api.md from the source: each public name with its signature, docstring and methods.

Run it after a change of the public API; tests/checklist/test_api.py compares the page with the source.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"

CHAPTERS: dict[str, tuple[str, dict[str, str]]] = {
    "Answering calls": (
        "An `Agent` answers calls; `phonebridge serve --agent module:attribute` or `create_app` serve it.",
        {
            "agents/agent": "Agent Approval load_agent",
            "agents/session": "Session",
            "agents/caller_input": "Input",
            "agents/inputs": "Turn Digit Silence Said Outgoing",
            "agents/queues": "Feed",
            "agents/prices": "Cost",
            "agents/tools": "tool Tool ToolError hang_up transfer hand_off_to stop_calling",
            "agents/guardrails": "Guardrail",
            "agents/mcp": "McpServer",
            "agents/turn_detection": "turn_detection",
            "agents/turned_away": "Refuse Forward Voicemail",
            "agents/detours": "TransferResult",
            "agents/machines": "MachineAnswer",
            "core/config": "ServerVad SemanticVad",
            "server/service": "create_app",
            "settings/settings": "Settings load_settings",
            "sockets/uvicorn": "UVICORN_PROTOCOLS",
        },
    ),
    "Events of a call": (
        "`Session.events()` gives these, in order; `SessionEvent` is any of them.",
        {
            "core/messages/session": (
                "CallBegan CallerSpoke CallerTurn DigitHeard CallerSilent ToolWanted TranscriptDelta "
                "ResponseEnded SecondsBilled Spoken Cut Heard HangUpCancelled Noted Ended SessionEvent"
            ),
            "core/messages/answered": "Answered AnswerKind Beep MessageLeft MachineFound",
            "core/messages/detour": (
                "DetourMoved DetourEnded DetourKind DetourState DetourResult TransferOutcome LegStep"
            ),
            "core/messages/upstream": "VendorNote",
            "core/messages/usage": "Usage",
            "core/messages/base": "Reason",
        },
    ),
    "Calls that we place": (
        "`await call(…)` asks for one; see docs/guides/call-somebody.md.",
        {
            "server/outbound/api": "call",
            "server/outbound/handles": "PlacedCall CallStatus CallResult",
        },
    ),
    "Transports": (
        "The connection that carries calls works alone too; any object with its four methods can replace it.",
        {
            "sockets/transport": "RealtimeTransport WebSocketTransport MemoryTransport",
            "agents/transport_socket": "MakeTransport",
            "upstreams/dial": "Dial",
            "sockets/dial": "Socket DialError dial",
            "sockets/limits": "Limits",
        },
    ),
    "A client without a phone": (
        "`RealtimeModel` holds the same conversation without a call. Its listeners get `ModelEvent`s.",
        {
            "client/model": "RealtimeModel",
            "client/config": "SessionOptions audio_format",
            "codecs/__init__": "AudioFormat",
            "client/playback": "Tracker Playing PlaybackTracker",
            "client/events": (
                "ConnectionState Phase ConnectionChanged RawEvent Failed SessionInForce Audio "
                "AudioInterrupted MarkWanted Part Item ItemUpdated Idled ResponseTraced ModelEvent"
            ),
            "core/messages/upstream": (
                "SpeechStarted SpeechStopped TurnCommitted ItemGone CallerTranscribed ResponseStarted "
                "AudioDone TextDelta ToolCalled ResponseDone UpstreamFaulted"
            ),
        },
    ),
    "Calls as tests": (
        "The pytest plugin: its fixture `calls()` gives a `Caller`, a `Model`, the clock and an `Expect`.",
        {
            "testing/scripted_call": "Caller Model",
            "testing/expectations": "Expect",
            "testing/call": "begin tool_call",
        },
    ),
    "Simulated callers": (
        "Scenarios and minds that are written in Python, for `phonebridge callers run`.",
        {
            "experiments/scenario": "Scenario CallerTable Expect",
            "experiments/callers_mind": "Heard",
            "doubles/people/caller": "Say Press HangUp",
        },
    ),
    "Errors": (
        "Every error raised on purpose is a `BridgeError`.",
        {
            "errors": (
                "BridgeError ConfigError SignatureError ProtocolError CarrierError UpstreamError "
                "NotConnected AlreadyConnected ConnectionLost CallRefused CallEnded HandlerError "
                "ReplayMismatch BrokenInvariant"
            ),
        },
    ),
}
PACKAGE_OF = {"Calls as tests": "testing", "Simulated callers": "experiments"}
"""Chapters whose names are not imported from `bridge` itself."""
WRITTEN_AS = {"CallerTurn": "Turn"}
"""Public names that differ from the definition's."""
BASE_OF = {
    "RealtimeModel": ("client/connection", "ModelLink"),
    "Session": ("agents/leaving", "Leaving"),
    "Settings": ("settings/tracing", "TracingSettings"),
}
"""Classes whose methods are spread over two files; readers get them in one list."""
DESCRIBED_BY = {
    "PlaybackTracker": ("client/playback", "Tracker"),
    "WebSocketTransport": ("sockets/transport", "RealtimeTransport"),
    "MemoryTransport": ("sockets/transport", "RealtimeTransport"),
}
"""Protocols that document the methods of the classes that implement them."""
HIDDEN_FIELDS = ("_", "epoch:")
"""`epoch` numbers the upstream sessions of a call, for the bridge's own use."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    """The whole document."""
    lines = ["# The public API", ""]
    lines += [
        "Import these names from `bridge`, those of tests from `bridge.testing`, those of simulated callers",
        "from `bridge.experiments`; nothing deeper is API.",
    ]
    lines += ["This page is made by `scripts/make_api_docs.py`; a test compares it with the source."]
    for chapter, (about, modules) in CHAPTERS.items():
        lines += ["", f"## {chapter}", "", about]
        for module, names in modules.items():
            room = PACKAGE_OF.get(chapter)
            package = f"bridge.{room}" if room else "bridge"
            for name in names.split():
                lines += ["", f"### `{package}.{name}`", "", *entry(module, name)]
    return "\n".join(lines) + "\n"


def definitions(module: str) -> dict[str, list[ast.stmt]]:
    """What a module defines, by name; a function with overloads more than once, the function itself last."""
    tree = ast.parse((ROOT / "bridge" / f"{module}.py").read_text(encoding="utf-8"))
    found: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        if isinstance(node, Definition):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = [node]
    return found


def entry(module: str, name: str) -> list[str]:
    """Its signature, or those of its overloads, its docstring, and a line for each public method."""
    nodes = definitions(module)[WRITTEN_AS.get(name, name)]
    shown = nodes[:-1] or nodes
    last = nodes[-1]
    if isinstance(last, ast.AnnAssign):
        return ["```python", *assigned(last), "```"]
    base = definitions(BASE_OF[name][0])[BASE_OF[name][1]][-1] if name in BASE_OF else None
    more = list(members(base)) if isinstance(base, ast.ClassDef) else []
    lines = ["```python", *(line for node in shown for line in signatures(node, name, more)), "```"]
    if isinstance(last, Definition) and (said := ast.get_docstring(last)):
        lines += ["", said.replace("``", "`")]
    if isinstance(last, ast.ClassDef):
        bullets = [f"- `{one.name}`: {sentence(one, name)}" for one in methods([*more, *members(last)])]
        lines += ["", *bullets] if bullets else []
    return lines


def members(node: ast.ClassDef) -> Iterator[ast.stmt]:
    """What of a class is public: fields, properties, methods and `__init__`."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            if part.name == "__init__" or not part.name.startswith("_"):
                yield part
        elif isinstance(part, ast.AnnAssign | ast.Assign) and not ast.unparse(part).startswith(HIDDEN_FIELDS):
            yield part


def methods(parts: Iterable[ast.AST]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public methods among them; a class documents its `__init__`."""
    for part in parts:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and part.name != "__init__":
            yield part


def sentence(method: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> str:
    """The sentence its docstring begins with, or that of the protocol it implements."""
    said = ast.get_docstring(method)
    if said is None and owner in DESCRIBED_BY:
        module, protocol = DESCRIBED_BY[owner]
        (node,) = definitions(module)[protocol]
        same = (one for one in methods(ast.iter_child_nodes(node)) if one.name == method.name)
        said = ast.get_docstring(next(same))
    if said is None:
        raise SystemExit(f"{owner}.{method.name} is public and has no docstring")
    return re.split(r"(?<=\.)\s", " ".join(said.split()), maxsplit=1)[0]


def signatures(node: ast.stmt, name: str, more: Iterable[ast.stmt] = ()) -> Iterator[str]:
    """The lines of its signature, under its public name; of a class its fields and public methods too."""
    match node:
        case ast.ClassDef():
            bases = [ast.unparse(base) for base in node.bases]
            shown = ", ".join(base for base in bases if base not in ("Message", "ModelLink", "Leaving"))
            yield f"class {name}({shown})" if shown else f"class {name}"
            for part in [*more, *members(node)]:
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                    kind = "property " if _is_property(part) else ""
                    yield f"    {kind}{_signature(part)}"
                else:
                    yield f"    {public(ast.unparse(part))}"
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield _signature(node)
        case _:
            yield public(ast.unparse(node))


def assigned(node: ast.AnnAssign) -> Iterator[str]:
    """A name that is assigned: the members of a union, the value of an alias, the type of anything else."""
    name, annotation = ast.unparse(node.target), public(ast.unparse(node.annotation))
    value = "" if node.value is None else public(ast.unparse(node.value))
    match node.value:
        case ast.BinOp():
            yield f"{name} = " + value.replace(" | ", "\n    | ")
        case ast.Subscript():
            yield f"{name} = {value}"
        case _:
            yield f"{name}: {annotation}"


def public(text: str) -> str:
    """Source text without the alias under which a module imports the core's messages."""
    return re.sub(r"\bm\.(?=[A-Z])", "", text)


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    return public(f"{word} {node.name}({ast.unparse(node.args)}){returns}")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written\n")
