"""The caller's words with a duplex model: they come as fragments, and become turns of the conversation."""

from __future__ import annotations

from . import late_words
from . import messages as m
from .conversation import MOST_CHARACTERS
from .duplex_session import DuplexSession
from .state import CallState


def worded(call: CallState, duplex: DuplexSession, text: str, now_ms: int) -> None:
    """The words of a turn of the caller's are there. It stands where they began to speak, for the model may
    have answered already.
    """
    if not text:
        return
    if not duplex.turns:
        duplex.turn_begun()
    item_id = duplex.turns.popleft()
    item = call.playout.conversation.item(item_id)
    item.role, item.text, item.turns, item.ours = "user", text[:MOST_CHARACTERS], 1, True
    call.committed_turn = call.turn
    call.open_turn.worded(now_ms)
    call.caller_audio.answered()
    call.out.append(m.Turn(item_id, item.text))


def close(call: CallState, now_ms: int) -> None:
    """No more comes of what either side was saying: what has come of the caller's words is a turn."""
    if (duplex := call.playout.duplex) is not None:
        late_words.tell(call, duplex, lost=True)
        worded(call, duplex, duplex.caller_text.over(), now_ms)
