"""Writes docs/api.md from the source: each public name with its signature and its docstring.

Run it after a change of the public API; tests/checklist/test_api.py compares names and signatures.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"

CHAPTERS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "Answering calls": (
        "One object says who answers; `phonebridge serve --agent module:attribute` or `create_app` serve it.",
        {
            "agents/agent": ("Agent", "Approval", "load_agent"),
            "agents/session": ("Session",),
            "agents/inputs": ("Turn", "Digit", "Silence", "Said"),
            "agents/tools": ("tool", "Tool", "ToolError", "hand_off_to"),
            "agents/guardrails": ("Guardrail",),
            "agents/mcp": ("McpServer",),
            "agents/turn_detection": ("turn_detection",),
            "server/service": ("create_app",),
            "settings/settings": ("Settings", "load_settings"),
        },
    ),
    "A connection of its own": (
        "The connection that carries calls, for use without any. Whatever has these four methods will do.",
        {
            "sockets/transport": ("RealtimeTransport", "WebSocketTransport", "MemoryTransport"),
            "agents/transport_socket": ("MakeTransport",),
            "sockets/dial": ("Socket", "DialError", "dial"),
            "sockets/stream": ("Limits",),
        },
    ),
    "A client of its own": (
        "The same conversation without a phone. Listeners get these events and upstream messages.",
        {
            "client/model": ("RealtimeModel",),
            "client/connection": ("ModelLink",),
            "client/config": ("SessionOptions", "audio_format"),
            "client/playback": ("Tracker", "Playing", "PlaybackTracker"),
            "client/events": (
                "ConnectionState", "Phase", "ConnectionChanged", "RawEvent", "Failed", "SessionInForce",
                "Audio", "AudioInterrupted", "MarkWanted", "Part", "Item", "ItemUpdated", "Idled",
                "ResponseTraced",
            ),
            "core/messages/upstream": (
                "SpeechStarted", "SpeechStopped", "TurnCommitted", "ItemGone", "CallerTranscribed",
                "ResponseStarted", "AudioDone", "TextDelta", "ToolCalled", "ResponseDone", "UpstreamFaulted",
                "VendorNote", "Usage",
            ),
            "core/messages/session": ("Noted", "Spoken", "Cut", "Heard"),
            "core/config": ("ServerVad", "SemanticVad"),
        },
    ),
    "Calls as tests": (
        "The pytest plugin: the fixture `calls()` gives these three and `at`, the clock.",
        {"testing/scripted_call": ("Caller", "Model"), "testing/expectations": ("Expect",)},
    ),
    "What is raised": (
        "All of it is a `BridgeError`.",
        {
            "errors": (
                "BridgeError", "ConfigError", "SignatureError", "ProtocolError", "CarrierError",
                "UpstreamError", "NotConnected", "AlreadyConnected", "ConnectionLost", "CallEnded",
                "HandlerError", "ReplayMismatch", "BrokenInvariant",
            ),
        },
    ),
}  # fmt: skip

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    """The whole document."""
    lines = ["# The public API", ""]
    lines += [
        "Made by `scripts/make_api_docs.py` from the source; names and signatures are compared by a test."
    ]
    for chapter, (about, modules) in CHAPTERS.items():
        lines += ["", f"## {chapter}", "", about]
        for module, names in modules.items():
            found = definitions(module)
            for name in names:
                lines += ["", f"### `bridge.{module.replace('/', '.')}.{name}`", "", *entry(found[name])]
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


def entry(nodes: list[ast.stmt]) -> list[str]:
    """Its signature, or those of its overloads, and its docstring."""
    shown = nodes[:-1] or nodes
    lines = ["```python", *(line for node in shown for line in signatures(node)), "```"]
    last = nodes[-1]
    if isinstance(last, Definition) and (said := ast.get_docstring(last)):
        lines += ["", said]
    return lines


def signatures(node: ast.stmt) -> Iterator[str]:
    """The lines of its signature: of a class its fields and public methods too."""
    match node:
        case ast.ClassDef():
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            yield f"class {node.name}({bases})" if bases else f"class {node.name}"
            for part in node.body:
                if isinstance(part, ast.AnnAssign | ast.Assign) and not ast.unparse(part).startswith("_"):
                    yield f"    {ast.unparse(part)}"
                elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and (
                    part.name == "__init__" or not part.name.startswith("_")
                ):
                    kind = "property " if _is_property(part) else ""
                    yield f"    {kind}{_signature(part)}"
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield _signature(node)
        case _:
            yield ast.unparse(node)


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    return f"{word} {node.name}({ast.unparse(node.args)}){returns}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written\n")
