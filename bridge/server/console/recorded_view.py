"""A finished call as the console's page shows it: read from its recording. Blocks; made in a thread."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from bridge.codecs.g711 import pcmu_to_pcm
from bridge.ops.recorded_index import Listed
from bridge.picture import Story
from bridge.picture.chart import chart
from bridge.picture.facts import facts, headline
from bridge.picture.lanes import Line as Said
from bridge.recording.channels import Channels
from bridge.recording.make_test import MadeTest
from bridge.recording.printable import printable_json

from . import hidden
from .call_view import waterfall
from .messages import Cost, Line, Tool, Turn

PEAKS: Final = 1_000
"""Of each channel."""
_WHO: Final = {"model": "agent", "keys": "caller", "away": "note"}
_LOUDEST: Final = 32_768


def row(one: Listed) -> dict[str, Any]:
    """A call in the list of finished ones. A recording that cannot be read has `unreadable`, in words."""
    found, came = one.recorded, one.outcome
    if found is None or came is None:
        return {"name": one.name, "unreadable": one.unreadable}
    return {
        "name": one.name,
        "at": found.at,
        "caller": found.caller,
        "agent": found.agent,
        "model": found.model,
        "duration_ms": found.duration_ms,
        "end": found.end,
        "barge_ins": came.barge_ins,
        "error_ms": came.largest_error_ms,
        "off": one.off,
        "tools": came.tools,
        "tools_failed": came.tools_failed,
        "faults": [hidden.plain(fault) for fault in came.faults],
        "torn": came.torn,
        "sound": found.sound,
        "size_bytes": found.size_bytes,
    }


def view(one: Listed, story: Story) -> dict[str, Any]:
    """The whole call: what its panes show, as of a live one, and the lanes of the picture."""
    usage, stats = story.stats.usage, story.stats
    tokens = {name: value for name in usage.__struct_fields__ if (value := getattr(usage, name))}
    return {
        **row(one),
        "headline": headline(story, one.name),
        "facts": facts(story),
        "end_ms": story.end_ms,
        "chart": printable_json(chart(story)),
        "differs": None if story.difference is None else story.difference.t_ms,
        "words": msgspec.to_builtins(list(_words(story))),
        "turns": msgspec.to_builtins(_turns(story)),
        "tool_calls": msgspec.to_builtins(list(_tools(story))),
        "cost": msgspec.to_builtins(Cost(stats.cost_micro_usd or None, tokens, stats.transcribed_s, None)),
    }


def test(one: Listed, made: MadeTest, should: str) -> dict[str, Any]:
    """A test of a moment: what it is about, the command that makes the same, and both files."""
    wished = ["--should", should] if should else []
    words = ["phonebridge", "make-test", one.name, "--at", f"{made.mark.at_ms / 1000:g}", *wished]
    return {
        "at_ms": made.mark.at_ms,
        "about": made.mark.words,
        "expects": [one.code for one in made.assertions],
        "command": shlex.join(words),
        "files": [{"name": name, "text": text} for name, text in made.files().items()],
    }


def _words(story: Story) -> Iterator[Line]:
    for number, said in enumerate(story.talk):
        heard = said.heard or ""
        state = "said" if said.cut_ms is None else "cut" if said.cut_ms else "unheard"
        made_ms = said.made_ms or round((said.end_ms or said.at_ms) - said.at_ms)
        yield Line(
            id=f"w{number}",
            who=_WHO.get(said.who, said.who),
            at_ms=round(said.at_ms),
            text=_text(said),
            heard=len(said.said) if said.cut_ms is None else len(heard) if said.said.startswith(heard) else 0,
            state="failed" if said.failed else state,
            heard_ms=made_ms if said.cut_ms is None else said.cut_ms,
            made_ms=made_ms,
        )


def _text(said: Said) -> str:
    if said.who == "keys":
        return f"pressed {' '.join('•' for _ in said.said.split())}"
    if said.who == "tool":
        return f"{said.said} → {'no answer' if said.heard is None else said.heard}"
    return said.said


def _turns(story: Story) -> list[Turn]:
    """The waterfalls, as of a live call."""
    return [turn for times in story.stats.turn_times if (turn := waterfall(times)) is not None]


def _tools(story: Story) -> Iterator[Tool]:
    for number, tool in enumerate(story.tools):
        state = "failed" if tool.failed else "running" if tool.answer is None else "done"
        yield Tool(
            f"x{number}", tool.name, tool.at_ms, tool.took_ms, state, tool.arguments, tool.answer or "", []
        )


def peaks(both: Channels) -> bytes:
    """The loudness of both channels, the caller's first: `PEAKS` bytes each, 255 for the loudest possible."""
    return b"".join(map(_peaks, (both.caller, both.heard)))


def _peaks(track: bytes) -> bytes:
    if not track:
        return bytes(PEAKS)
    loud = np.abs(np.frombuffer(pcmu_to_pcm(track), "<i2").astype(np.int32))
    edges = np.linspace(0, len(loud), PEAKS, endpoint=False).astype(np.int64)
    return (np.maximum.reduceat(loud, edges) * 255 // _LOUDEST).astype(np.uint8).tobytes()
