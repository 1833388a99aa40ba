"""Keys that user code reads: it has them, and nobody else keeps them."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.inputs import Digit
from bridge.agents.session import Session
from bridge.agents.tools import tool
from bridge.core import messages as m
from bridge.doubles.agents import ToolCall
from bridge.picture import tell
from bridge.recording import Recording, replay
from bridge.recording.masking import masked
from bridge.testing import ScriptedCall, begin
from tests.agents.obedient import Obedient
from tests.long_form import some_of

CARD = "4111222233334444"


def recorded(
    agent: Agent,
    script: Callable[[ScriptedCall], Any],
    mind: Any = None,
    *,
    rule: str = "event",
    **recording: bool,
) -> list[str]:
    """The recording of a call in which the caller does this."""
    live = begin(agent, mind=mind or Obedient(), digits=rule, phrases={}, recording=recording)
    live.wait(500)
    script(live)
    live.close()
    return live.lines


def replays(lines: list[str]) -> None:
    """Exactly, and it can be drawn."""
    for strict in (False, True):
        replay(lines, strict=strict).check()
    assert replay(lines).outputs == lines
    tell(lines)
    replay(masked(lines), strict=True).check()


def press(live: ScriptedCall, keys: str) -> None:
    for key in keys:
        live.caller.presses(key)
        live.wait(100)


def keys_in(lines: list[str]) -> str:
    """Those of the carrier's frames, and of what the session was told."""
    found = ""
    for line in map(json.loads, lines[1:]):
        found += line.get("frame", {}).get("dtmf", {}).get("digit", "")
        assert line.get("action", {}).get("digit", "") in ("", found[-1:])
    return found


@pytest.mark.parametrize(
    ("rule", "early"),
    some_of(((rule, early) for early in (0, 7, 17) for rule in ("event", "text", "interrupt")), every=4),
)
def test_what_a_handler_reads_is_recorded_as_a_key_and_no_more(rule: str, early: int) -> None:
    """Also those that were pressed before it asked, whatever BRIDGE_DTMF says."""
    read: list[str] = []

    async def handler(session: Session) -> None:
        await asyncio.sleep(4)
        read.append(await session.digits(max=16))
        await session.input()

    def script(live: ScriptedCall) -> None:
        press(live, f"{CARD}#"[:early])
        live.wait(4_000 - early * 100)
        press(live, f"{CARD}#"[early:])
        live.wait(4_000)
        assert live.model.told("conversation.item.create") == []

    lines = recorded(Agent(handler=handler), script, rule=rule)
    assert read == [CARD]
    assert keys_in(lines) == "•" * 17
    replays(lines)


def test_iterating_over_the_input_reads_keys_too() -> None:
    read: list[str] = []

    async def handler(session: Session) -> None:
        read.extend([one.digit async for one in session.input() if isinstance(one, Digit)])

    lines = recorded(Agent(handler=handler), lambda live: press(live, "12*#"))
    assert (read, keys_in(lines)) == (["1", "2", "*", "#"], "••••")
    replays(lines)


@pytest.mark.parametrize(
    ("secret", "keys", "found"), [(False, False, "42"), (None, True, "42"), (None, False, "••")]
)
def test_who_wants_them_recorded_says_so(secret: bool | None, keys: bool, found: str) -> None:
    async def handler(session: Session) -> None:
        await session.digits(max=2, secret=secret)
        await session.input()

    lines = recorded(Agent(handler=handler), lambda live: press(live, "42"), keys=keys)
    assert keys_in(lines) == found
    replays(lines)


@pytest.mark.parametrize("rule", ["text", "interrupt"])
def test_keys_that_a_tool_waits_for_are_no_words(rule: str) -> None:
    read: list[str] = []

    @tool
    async def ask_pin(session: Session) -> str:
        """Ask for the PIN."""
        read.append(await session.digits(max=4, timeout_ms=20_000, secret=True))
        return "asked"

    def script(live: ScriptedCall) -> None:
        live.caller.says("My card, please.")
        live.until(lambda: live.rehearsal.log(m.ToolWanted))
        live.wait(1_000)
        press(live, "1234")
        live.wait(3_000)
        words = [
            item for item in live.model.told("conversation.item.create") if item["item"]["type"] == "message"
        ]
        assert words == []
        press(live, "56")
        live.wait(4_000)

    mind = Obedient(outputs=[ToolCall("ask_pin", {})])
    lines = recorded(Agent(tools=[ask_pin]), script, mind, rule=rule)
    assert read == ["1234"]
    assert keys_in(lines) == "••••56"
    assert any("pressed 5 6 on the keypad" in line for line in lines)
    assert not any("5 6" in line or '"digit":"5"' in line for line in masked(lines))
    replays(lines)


@pytest.mark.parametrize(
    ("rule", "ahead_s", "declared"),
    some_of(
        itertools.product(("text", "interrupt", "event"), (0.4, 1.4, 4.0), (True, False)),
        every=5,
    ),
)
def test_a_key_that_is_typed_ahead_of_a_tool_has_one_reader(
    rule: str, ahead_s: float, declared: bool
) -> None:
    """The tool, with nobody else told or shown; or the model, and then it is not in what the tool gets."""
    read: list[str] = []

    @tool
    async def ask_pin(session: Session) -> str:
        """Ask for the PIN."""
        await asyncio.sleep(ahead_s)
        read.append(await session.digits(max=4, timeout_ms=3_000, secret=True))
        return "asked"

    def script(live: ScriptedCall) -> None:
        live.caller.says("My card, please.")
        live.until(lambda: live.rehearsal.log(m.ToolWanted))
        press(live, "71")
        live.wait(int(1000 * ahead_s))
        press(live, "93")
        live.wait(8_000)

    mind = Obedient(outputs=[ToolCall("ask_pin", {})])
    lines = recorded(Agent(tools=[ask_pin], reads_keys=declared), script, mind, rule=rule)
    words = "" if declared or rule == "event" else "71"
    assert read == ["7193".removeprefix(words)]
    assert keys_in(lines) == words + "•" * (4 - len(words))
    assert any("on the keypad" in line for line in lines) == bool(words)
    assert any("pressed 7 1 on the keypad" in line for line in lines) == bool(words)
    replays(lines)


def test_one_agent_of_several_that_reads_keys_reads_them_all() -> None:
    desk = Agent(name="desk", description="Takes cards.", reads_keys=True)

    def script(live: ScriptedCall) -> None:
        press(live, "42")
        live.wait(4_000)
        assert live.model.told("conversation.item.create") == []

    lines = recorded(Agent(handoffs=[desk]), script, rule="interrupt")
    assert keys_in(lines) == "••"
    replays(lines)


@pytest.mark.parametrize("sound", [True, False])
def test_while_a_secret_is_read_the_caller_is_heard_by_nobody(sound: bool) -> None:
    tapped: list[tuple[float, bytes]] = []
    reading: list[float] = []

    async def handler(session: Session) -> None:
        loop = asyncio.get_running_loop()

        async def listen() -> None:
            async for frame in session.audio():
                tapped.append((loop.time(), frame))  # noqa: PERF401  a list would come with the end

        listening = asyncio.create_task(listen())
        await asyncio.sleep(3)
        reading.append(loop.time())
        await session.digits(max=1, timeout_ms=30_000, secret=True)
        reading.append(loop.time())
        await listening

    def script(live: ScriptedCall) -> None:
        live.wait(3_200)
        live.caller.says("four one one one, two two two two")
        live.wait(3_000)
        spoke.append(len(live.rehearsal.log(m.CallerSpoke)))
        live.caller.presses("4")
        live.wait(300)
        live.caller.says("and that is all of it")
        live.wait(3_000)
        spoke.append(len(live.rehearsal.log(m.CallerSpoke)))

    spoke: list[int] = []
    lines = recorded(Agent(handler=handler), script, sound=sound)
    began_s, over_s = reading
    assert not [at_s for at_s, _ in tapped if began_s + 0.05 < at_s < over_s]
    assert any(set(frame) != {0xFF} for at_s, frame in tapped if at_s > over_s)
    assert spoke == [0, 2]
    replays(lines)
    began_ms, over_ms = (json.loads(line)["t"] for line in lines if '"is":"ReadKeys"' in line)
    heard = {
        byte
        for step in Recording(lines).steps()
        for frame in (step.frame, *[output.frame for output in step.outputs])
        if began_ms < step.t_ms < over_ms and isinstance(frame, str)
        for found in re.findall(r'"(?:payload|audio)":"([^"]*)"', frame)
        for byte in b64decode(found)
    }
    assert heard == {0xFF}


def test_two_who_read_at_once_are_as_secret_as_the_stricter_one() -> None:
    async def handler(session: Session) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(session.digits(max=2, secret=False))
            both.create_task(session.digits(max=2, secret=True))
        await session.input()

    def told(lines: list[str]) -> list[tuple[bool, bool, bool]]:
        events = [line["event"] for line in map(json.loads, lines[1:]) if "event" in line]
        return [(one["on"], one["secret"], one["clear"]) for one in events if one["is"] == "ReadKeys"]

    lines = recorded(Agent(handler=handler), lambda live: live.wait(12_000))
    assert told(lines)[:2] == [(True, False, True), (True, True, False)]
    assert told(lines)[-1] == (False, False, False)
    replays(lines)


def test_who_stops_waiting_leaves_the_keys_to_the_model() -> None:
    async def handler(session: Session) -> None:
        try:
            async with asyncio.timeout(1):
                await session.digits(max=9, timeout_ms=60_000, secret=True)
        except TimeoutError:
            pass
        await session.input()

    lines = recorded(Agent(handler=handler), lambda live: live.wait(4_000))
    *_, last = [line["event"] for line in map(json.loads, lines[1:]) if "ReadKeys" in str(line)]
    assert last == {"is": "ReadKeys", "on": False, "secret": False, "clear": False}
