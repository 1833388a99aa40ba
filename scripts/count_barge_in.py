"""Counts the functions of the core that one barge-in passes, and the files they are in.

A scripted call, in virtual time: the model speaks, the caller begins to speak over it, and the one
`Call.receive` that decides what to do is profiled. docs/architecture.md quotes the result.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest.mock import patch

import bridge
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.testing import begin

CORE = Path(bridge.__file__).parent / "core"

ANONYMOUS = ("<genexpr>", "<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>")


def passed() -> Counter[tuple[str, str]]:
    """File and function, with the number of calls, of the `Call.receive` that takes `SpeechStarted`."""
    found: Counter[tuple[str, str]] = Counter()

    def on_call(frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        if event == "call" and counted(code):
            found[Path(code.co_filename).name, code.co_qualname] += 1

    receive = Call.receive

    def watched(call: Call, event: m.Event, now_ms: int) -> list[m.Action]:
        if not isinstance(event, m.SpeechStarted):
            return receive(call, event, now_ms)
        sys.setprofile(on_call)
        try:
            return receive(call, event, now_ms)
        finally:
            sys.setprofile(None)

    call = begin()
    call.at(1000)
    call.model.speaks("We are open from nine to five, every day of the week.", ms=2000)
    call.at(1620)
    with patch.object(Call, "receive", watched):
        call.caller.interrupts("And on Sundays?")
    call.expect.truncated("item_1", 620)  # it was a barge-in
    call.close()
    return found


def counted(code: CodeType) -> bool:
    """Whether it is a named function of the core; a comprehension belongs to the function around it."""
    return Path(code.co_filename).is_relative_to(CORE) and code.co_name not in ANONYMOUS


if __name__ == "__main__":
    found = passed()
    files = Counter(file for file, _ in found)
    for file, functions in files.most_common():
        sys.stdout.write(f"{functions:3} functions  bridge/core/{file}\n")
        if "--each" in sys.argv:
            names = sorted(name for where, name in found if where == file)
            sys.stdout.writelines(f"      {name}\n" for name in names)
    sys.stdout.write(f"{found.total()} calls, {len(found)} functions, {len(files)} files\n")
