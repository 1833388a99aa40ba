"""Calls and clients share one ledger, one conversation, one gate of responses and one dialect."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bridge.client.playback import PlaybackTracker, ToldLedger
from bridge.core.conversation import Conversation
from bridge.core.ledger import Ledger
from bridge.core.line import Line
from bridge.core.playout import Playout
from bridge.core.response_gate import ResponseGate
from bridge.upstreams.realtime import Realtime
from tests.checklist.stage import Stage, play
from tests.sources import parsed

pytestmark = pytest.mark.runs_with(function=play)

BRIDGE = Path(__file__).resolve().parents[2] / "bridge"


async def test_a_client_stands_on_the_objects_of_the_calls() -> None:
    for playback in ("clock", "marks", PlaybackTracker()):
        stage = Stage(playback=playback)
        await stage.begin()
        core = stage.model._core
        assert core is not None
        parts = (
            core.playout,
            core.playout.gate,
            core.playout.conversation,
            core.playout.line,
            core.adapter,
        )
        assert [type(part) for part in parts] == [Playout, ResponseGate, Conversation, Line, Realtime]
        assert type(core.ledger) is (Ledger if isinstance(playback, str) else ToldLedger)
        await stage.model.close()


def test_a_players_word_takes_the_place_of_the_clock_and_of_nothing_else() -> None:
    own = {name for name in vars(ToldLedger) if not name.startswith("_")}
    assert own == {"mark", "position", "settle"}
    assert issubclass(ToldLedger, Ledger)


def test_no_module_of_the_client_decides_what_to_truncate() -> None:
    modules = list((BRIDGE / "client").glob("*.py"))
    assert BRIDGE / "client" / "model.py" in modules
    for path in modules:
        tree = parsed(path)
        made = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not made & {"m.TruncateItem", "m.DeleteItem", "TruncateItem", "DeleteItem", "Ledger"}, path
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert "conversation.item.truncate" not in texts, path
        assert len(path.read_text(encoding="utf-8").splitlines()) < 300, path
