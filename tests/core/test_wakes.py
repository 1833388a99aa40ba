"""What is due is a field of the object whose rule it is: the call wakes for each of them, and acts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bridge.core import wakes
from bridge.core.call import Call
from bridge.core.detours import UnderWay
from bridge.core.due import NEVER
from bridge.core.messages import CallConfig, Phase, Reason, ToolCalled
from bridge.core.messages.detour import Detour, DetourKind, DetourState
from bridge.core.state import Ending
from bridge.core.upstream_leg import Leg, UpstreamSession

SOON_MS = 7


def live() -> Call:
    """A call that has everything that something can be due of, and nothing is due."""
    call = Call(CallConfig())
    call.phase = Phase.LIVE
    call.up = call.playout.session = UpstreamSession(1, Leg.DIALLING)
    call.spare = UpstreamSession(2, Leg.DIALLING)
    call.dialling.begin(0)
    call.ending = Ending(Reason.WE_HUNG_UP, "", NEVER)
    tools = call.playout.conversation.tools
    tool = tools.called(ToolCalled("r1", "item_1", "call_1", "look_up", "{}"))
    assert tool is not None
    tools.wait_until(NEVER, tool)
    return call


def fields(holder: Any) -> list[str]:
    return sorted({*getattr(holder, "__dict__", ()), *getattr(type(holder), "__slots__", ())})


def owners(holder: Any, path: str, seen: list[Any]) -> Iterator[tuple[str, Any]]:
    """Every object of the call, once, by its path."""
    yield path, holder
    for name in fields(holder):
        part = getattr(holder, name, None)
        module = type(part).__module__
        state = module.startswith("bridge.core.") and ".messages" not in module and ".config" not in module
        if state and not any(part is one for one in seen):
            seen.append(part)
            yield from owners(part, f"{path}.{name}", seen)


def dues(call: Call) -> dict[str, Any]:
    """The path of every field `…due_ms` and its owner."""
    found: dict[str, Any] = {}
    for path, owner in owners(call, "call", [call, call.playout.session, call.spare]):
        found |= {f"{path}.{name}": owner for name in fields(owner) if name.endswith("due_ms")}
    session = {f"call.up.{name}": call.up for name in fields(call.up) if name.endswith("due_ms")}
    return found | session | {"call.spare.due_ms": call.spare}  # the others of a spare act when it takes over


def test_each_rule_has_its_field() -> None:
    assert len(dues(live())) == len(wakes.DUE) - 1  # the times of a detour are in the detour


@pytest.mark.parametrize("path", dues(live()))
def test_the_call_wakes_for_it_and_one_rule_acts(path: str) -> None:
    call = live()
    assert call.next_due_ms() is None
    setattr(dues(call)[path], path.rpartition(".")[2], SOON_MS)
    assert call.next_due_ms() == SOON_MS
    assert [due_ms(call) for due_ms, _ in wakes.DUE].count(SOON_MS) == 1


def test_it_wakes_for_a_detour_and_for_the_line() -> None:
    call = live()
    call.detours.under_way = UnderWay(Detour("0" * 32, DetourKind.HOLD), DetourState.AWAY, due_ms=SOON_MS)
    assert call.next_due_ms() == SOON_MS
    call.playout.line.deadline_ms = SOON_MS - 1
    assert call.next_due_ms() == SOON_MS - 1


@pytest.mark.parametrize("path", dues(live()))
def test_what_was_due_is_over_or_put_off(path: str) -> None:
    """Else the call would wake again and again."""
    call = live()
    setattr(dues(call)[path], path.rpartition(".")[2], SOON_MS)
    wakes.wake(call, SOON_MS)
    call._settle(SOON_MS)
    assert call.phase is Phase.ENDED or (call.next_due_ms() or NEVER) > SOON_MS
