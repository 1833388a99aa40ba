"""How a tool's result reaches the model that wanted it."""

from __future__ import annotations

from typing import Final

from . import messages as m
from .delegated_work import Delegation
from .messages import Action
from .state import CallState
from .toolbox import ToolCall, failure

MOST_RESULT_BYTES: Final = 2_500
MOST_INPUT_BYTES: Final = 32_768 - 1_024
"""Of the backend's input, some of which stays for outputs that have to be short."""
ITEM_BYTES: Final = 120
"""Of an item, around its output."""
LONG: Final = '{"error": "the result was too long"}'
RETURNED: Final = "Tool {} with {} returned {}"
COULD_NOT: Final = "Tell the caller that this could not be done."


def of(call: CallState) -> Delegation:
    """That of the session in use. What was handed over in one that is gone is answered as a fact."""
    if call.delegation.epoch != call.up.epoch:
        call.delegation = Delegation(call.up.epoch, words=call.delegation.words)
    return call.delegation


def told(call: CallState, done: ToolCall) -> list[Action]:
    """What gives a tool's result to the model: items, or what answers the delegation that it is of. For a
    session that has not asked for it, it is a fact.
    """
    if call.up.can.tools == "function":
        return [*call.playout.conversation.result(done, call.up.epoch)]
    given, epoch, output = of(call), call.up.epoch, done.output or ""
    if done.epoch != epoch:
        done.epoch = epoch
        text = RETURNED.format(done.name, done.arguments, short(output))
        return [m.TellModel("fact", text, f"result:{done.call_id}", epoch=epoch)]
    if done.call_id in given.tasks:
        del given.tasks[done.call_id]
        wrong = failure(output)
        text = short(output) if wrong is None else f"{COULD_NOT} {wrong}"
        return [m.TellModel("say", text, f"result:{done.call_id}", done.call_id, epoch)]
    if given.calls.pop(done.call_id, None) is None:
        return []
    size_bytes = wire_bytes(short(output))
    fits = given.input_bytes + size_bytes <= MOST_INPUT_BYTES
    output = short(output) if fits else LONG
    given.input_bytes += wire_bytes(output)
    given.items, given.unread = given.items + 1, True
    return [m.CreateItem(done.call_id, call_id=done.call_id, output=output, epoch=epoch)]


def short(output: str) -> str:
    """A result as the backend takes it: its beginning, where it is long."""
    whole = output.encode()
    if len(whole) <= MOST_RESULT_BYTES:
        return output
    return whole[: MOST_RESULT_BYTES - 8].decode(errors="ignore") + " […]"


def wire_bytes(output: str) -> int:
    """About what it takes of the backend's input, as JSON in JSON."""
    return ITEM_BYTES + len(output.encode()) + output.count('"') + output.count("\\") + output.count("\n")
