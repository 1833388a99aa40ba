"""What of a call bears the truth: whatever decides what the caller heard, what the model is told, and how it
ended. A replay compares this by default, whatever else a change has moved.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bridge.core import messages as m

from .json_text import UNREADABLE
from .recorder import DOOR_OF

# Sound and marks may be cut and placed otherwise: the caller hears the same. What became of it is told by the
# events for the session; the rest of those are news.
_QUIET_COMMANDS: Final = (m.PlayAudio, m.SendMark, m.AppendAudio, m.HoldSound)
_TRUE_EVENTS: Final = (m.Cut, m.Heard, m.Spoken, m.Ended)
_QUIET_FRAMES: Final = ("media", "mark", "input_audio_buffer.append", "session.input_audio.append")


class _Kind(msgspec.Struct, gc=False):
    event: Any = None
    type: Any = None


_kind: Final = msgspec.json.Decoder(_Kind).decode


def bears_truth(kind: type[m.Message]) -> bool:
    """Whether a default replay compares actions of this kind."""
    return kind in _TRUE_EVENTS or (kind in DOOR_OF and kind not in _QUIET_COMMANDS)


def frame_bears_truth(frame: str | bytes) -> bool:
    """Whether a default replay compares what a frame was made of."""
    try:
        kind = _kind(frame)
    except UNREADABLE:
        return True
    return kind.event not in _QUIET_FRAMES and kind.type not in _QUIET_FRAMES


def truth_of(action: m.Action) -> Any:
    """What of a decision is compared: ids and numbers, not the words around them."""
    match action:
        case m.Spoken(item_id=item_id, heard_ms=heard_ms, cut=cut):
            return ("spoken", item_id, heard_ms, cut)
        case m.Heard(say_id=say_id, heard_ms=heard_ms, cut=cut):
            return ("heard", say_id, heard_ms, cut)
        case m.Ended(reason=reason):
            return ("ended", reason)
        case _:
            return action


def truth_of_frame(frame: str | bytes) -> Any:
    """What of a frame is compared: what it says, not how it is spelt."""
    try:
        return msgspec.json.decode(frame)
    except UNREADABLE:
        return frame
