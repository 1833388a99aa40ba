"""Words of a duplex model that come behind their sound: what was said is told once they are there."""

from __future__ import annotations

from . import messages as m
from . import model_commands
from .duplex_session import DuplexSession, TimedItem
from .messages import Action
from .state import CallState


def settle(call: CallState, duplex: DuplexSession) -> None:
    """The rule at the end of every event: `Spoken` waits for the words of its utterance."""
    held = [item.item_id for item in _spoken(call, duplex)]
    if held:
        call.out[:] = [one for one in call.out if _about(one) not in held]
    tell(call, duplex)


def _spoken(call: CallState, duplex: DuplexSession) -> list[TimedItem]:
    """The utterances of which more words are waited for, and which were to be told now."""
    found = list[TimedItem]()
    for action in call.out:
        if type(action) is m.Spoken and (duplex.untold or duplex.words.late_ms or not action.generated):
            item = call.playout.conversation.item(action.item_id)
            if isinstance(item, TimedItem) and (duplex.untold or duplex.awaits_words(item)):
                found.append(item)
                duplex.untold.append(item)
    return found


def _about(action: Action) -> str:
    """The item that the action tells of, or "" for none."""
    if type(action) is m.Spoken:
        return action.item_id
    return action.about.removeprefix(model_commands.LOST) if type(action) is m.TellModel else ""


def tell(call: CallState, duplex: DuplexSession, *, lost: bool = False) -> None:
    """Tell what was held back and is not waited for any longer: nothing is where no more comes (`lost`)."""
    per_ms = call.config.bytes_per_ms
    while duplex.untold and (lost or not duplex.awaits_words(duplex.untold[0])):
        item = duplex.untold.pop(0)
        said, heard = item.said(), item.heard() if item.cut else item.said()
        call.out.append(m.Spoken(item.item_id, said, heard, item.heard_bytes // per_ms, cut=item.cut))
        if item.cut and not lost and call.playout.ready:
            call.out += model_commands.cut(call.up, item, item.segment.span, per_ms)
