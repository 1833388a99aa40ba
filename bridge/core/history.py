"""What a session is told of the conversation that it was not there for: as the caller heard it.

Some vendors take it item by item once the session is there, others with its configuration
(`Capabilities.history`).
"""

from __future__ import annotations

from . import messages as m
from . import responses
from .conversation import Conversation
from .messages import Phase, SnapshotItem
from .state import CallState
from .tool_results import RETURNED, short
from .toolbox import ToolCall
from .upstream_leg import UpstreamSession

RESTORED = (
    "The line to you was interrupted for a moment and is restored. Go on where you were; do not greet again. "
    "If the caller's last words are missing, ask them to say it again."
)
CUT_OFF = (
    "The call was cut off and has just been connected again. What was said before is not known to you. The "
    "caller was told that the line was interrupted and asked to go on; do not greet."
)
MEANWHILE = {"user": 'Meanwhile the caller said: "{}".', "assistant": 'Meanwhile you said: "{}".'}
"""To a session that was told the conversation before that, by who said it."""
UNKNOWN = '{"error": "the line was interrupted while this ran: whether it was done is not known"}'
"""The result of a tool whose process is gone. Not told at all, the model would call it again."""


def tell(call: CallState, epoch: int, note: str = RESTORED) -> None:
    """Put the conversation into a session that is there, and what became of the line (`note`), unless it has
    not even been greeted yet. Where it came with the configuration, what was said and done since then.
    """
    if call.up.can.history == "configure":
        call.out += since(call.playout.conversation, call.up)
        return
    call.out += call.playout.conversation.history(epoch)
    if note and not ungreeted(call):
        call.out.append(m.CreateItem(call.playout.conversation.new_id(), "system", note, epoch=epoch))


def with_configuration(call: CallState, session: UpstreamSession) -> tuple[SnapshotItem, ...]:
    """What a session is told in its configuration. () where there is nothing, or where it is told later."""
    if session.can.history != "configure":
        return ()
    config = call.config
    entries = finished(call.playout.conversation)
    session.told = {key: item.text for key, item in entries.items()}
    told = tuple(entries.values())
    note = RESTORED
    if call.phase is Phase.SETUP:
        note = config.returned or (CUT_OFF if config.resumed and config.carried is None else RESTORED)
    elif call.phase is Phase.AWAY:
        note = ""
    if not note or ungreeted(call) or not (told or config.resumed):
        return told
    return (*told, SnapshotItem("system", note))


def ungreeted(call: CallState) -> bool:
    """Whether the greeting is still to be asked for."""
    return responses.GREETING in call.playout.gate.waiting


def since(conversation: Conversation, session: UpstreamSession) -> list[m.Action]:
    """What was said and done after the session was configured with the conversation, as facts: while it was
    started, or stood ready to take over.
    """
    out: list[m.Action] = []
    for key, item in finished(conversation).items():
        before = session.told.get(key.removeprefix(f"{session.epoch}/"))  # `Conversation.retire` renames
        if before is None or (item.text != before and item.text.startswith(before)):
            text = fact(item, item.text[len(before or "") :].strip())
            out.append(m.TellModel("fact", text, f"item:{key}", epoch=session.epoch))
    return out


def fact(item: SnapshotItem, words: str) -> str:
    """An entry of the conversation as something to be known; `words` are those of its own that are new."""
    if item.arguments is not None:
        return RETURNED.format(item.name, item.arguments, short(item.output or ""))
    return MEANWHILE.get(item.role, "{}").format(words)


def finished(conversation: Conversation) -> dict[str, SnapshotItem]:
    """The conversation as plain values, each with its key, without tools that have no result yet."""
    entries = conversation.record()
    return {
        key: plain(entry)
        for key, entry in entries
        if not isinstance(entry, ToolCall) or entry.output is not None
    }


def plain(entry: tuple[str, str] | ToolCall) -> SnapshotItem:
    """An entry of `Conversation.record` as plain values."""
    if isinstance(entry, ToolCall):
        output = UNKNOWN if entry.output is None else entry.output
        return SnapshotItem(call_id=entry.call_id, name=entry.name, arguments=entry.arguments, output=output)
    return SnapshotItem(*entry)
