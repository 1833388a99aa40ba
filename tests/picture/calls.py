"""Calls to be drawn, with much in them."""

from __future__ import annotations

import json

from bridge.core import messages as m
from bridge.testing.call import begin
from bridge.testing.scripted_call import ScriptedCall

FAILED = '{"error": "the stock system does not answer"}'


def busy(turns: int, *, sound: bool = False) -> list[str]:
    """The recording of a call with a barge-in every third turn, tools that fail and others that do not, a
    model that is lost, and keys. A turn is about seven seconds.
    """
    call = begin(recording={"sound": sound}).at(300)
    for number in range(turns):
        _free(call)
        call.model.speaks(f"Answer number {number}, and it goes on for a while, to be cut off.", 5_000)
        call.wait(5_600 if number % 3 else 2_700)
        if number % 3 == 0:
            call.caller.interrupts(words=f"Stop, I want number {number}.")
            call.wait(2_500)
        if number % 5 == 2:
            _tool(call, number)
        if number == 4:
            call.model.is_lost()
            call.caller.presses("42")
            call.wait(3_000)
        call.wait(1_200)
    call.wait(5_000)
    call.caller.hangs_up()
    call.wait(50)
    return titled(call.lines)


def titled(lines: list[str], *, caller: str = "+1…34", at: str = "2026-11-29T14:03:00+00:00") -> list[str]:
    """The recording with what a header says of a real call."""
    header = json.loads(lines[0])
    header |= {"at": at, "caller": caller}
    header["config"]["session"]["agent"] = {"name": "desk"}
    return [json.dumps(header), *lines[1:]]


def _free(call: ScriptedCall) -> None:
    call.until(lambda: call.model.server.active is None)


def _tool(call: ScriptedCall, number: int) -> None:
    _free(call)
    call.model.calls("find_order", number=str(number))
    call.wait(40 if number % 2 else 1_200)
    wanted = call.rehearsal.log(m.ToolWanted)[-1]
    call.rehearsal.feed(m.ToolFinished(wanted.call_id, FAILED if number % 2 else '{"state": "on its way"}'))
    call.wait(3_000)
