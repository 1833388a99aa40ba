"""Whatever one model sends without end: its cost grows with its length and no faster, and little of it is
kept.

Measured in process time, the same flood at two lengths. What is not linear costs 64 times as much at eight
times the length; the bound is three times what a straight line allows.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.errors import ProtocolError
from bridge.upstreams import OpenAI

pytestmark = pytest.mark.hostile

SIZES = pytest.mark.parametrize("short", [250, pytest.param(1_000, marks=pytest.mark.long)])
"""Of the shorter flood; the longer one is eight times as long."""
KEPT_MB = 4.0
LARGE = ("items with long words", "words of items without end", "tool calls with long arguments", "long ids")
"""Floods of which a short time would fill more memory than they may."""

Event = dict[str, Any]
Flood = Callable[[int], Iterator[Event]]


def created(name: object, **fields: Any) -> Event:
    return {"type": "response.created", "response": {"id": f"resp_{name}", **fields}}


def done(name: object, **fields: Any) -> Event:
    return {"type": "response.done", "response": {"id": f"resp_{name}", "status": "completed", **fields}}


def delta(response: object, item: object, sound: str = "AAAA") -> Event:
    ids = {"response_id": f"resp_{response}", "item_id": f"item_{item}", "content_index": 0}
    return {"type": "response.output_audio.delta", **ids, "delta": sound}


def words(response: object, item: object, text: str) -> Event:
    return {**delta(response, item, text), "type": "response.output_audio_transcript.delta"}


def sound_ends(response: object, item: object) -> Event:
    return {**delta(response, item), "type": "response.output_audio.done"}


def item_done(number: int, **fields: Any) -> Event:
    item = {"id": f"item_{number}", "status": "completed", **fields}
    return {"type": "response.output_item.done", "response_id": "resp_1", "item": item}


def tool_call(number: int, arguments: str = "{}") -> Event:
    call = {"call_id": f"call_{number}", "name": "look_up", "arguments": arguments}
    return item_done(number, type="function_call", **call)


def item_added(number: int, kind: str = "conversation.item.added", **fields: Any) -> Event:
    item = {"id": f"item_{number}", "type": "message", "role": "assistant", "content": [], **fields}
    return {"type": kind, "response_id": "resp_1", "item": item}


def started(number: int) -> Event:
    return {"type": "input_audio_buffer.speech_started", "item_id": f"user_{number}", "audio_start_ms": 1}


def stopped(number: int) -> Event:
    return {"type": "input_audio_buffer.speech_stopped", "item_id": f"user_{number}", "audio_end_ms": 1}


def committed(number: int) -> Event:
    return {"type": "input_audio_buffer.committed", "item_id": f"user_{number}"}


def each(make: Callable[[int], Event | list[Event]], first: list[Event] | None = None) -> Flood:
    def flood(length: int) -> Iterator[Event]:
        yield from first or []
        for number in range(length):
            made = make(number)
            yield from made if isinstance(made, list) else [made]

    return flood


FLOODS: dict[str, Flood] = {
    "tool calls": each(tool_call, [created(1)]),
    "the same tool call": each(lambda number: tool_call(number, '{"a": 1}'), [created(1)]),
    "one tool call again and again": each(lambda _number: tool_call(1), [created(1)]),
    "tool calls with long arguments": each(lambda number: tool_call(number, "x" * 70_000), [created(1)]),
    "items": each(item_added),
    "items with long words": each(
        lambda number: item_added(number, content=[{"type": "text", "text": "word " * 2_000}])
    ),
    "items that never come": each(lambda number: item_added(number, "response.output_item.added")),
    "items that go": each(lambda number: {"type": "conversation.item.deleted", "item_id": f"item_{number}"}),
    "words in single letters": each(lambda _number: words(1, 1, "x"), [created(1)]),
    "words of items without end": each(lambda number: words(1, number, "x" * 1_000), [created(1)]),
    "words of two items in turn": each(lambda number: words(1, number % 2, "x"), [created(1)]),
    "responses": each(created),
    "responses with a tag": each(lambda number: created(number, metadata={"tag": f"tag_{number}"})),
    "responses beside": each(lambda number: created(number, conversation_id=None, metadata={"a": "b"})),
    "responses that end": each(lambda number: [created(number), done(number)]),
    "ends of unknown responses": each(lambda number: done(number, status="cancelled")),
    "responses that fail and nobody waits": each(lambda number: done(number, status="failed")),
    "errors": each(lambda number: {"type": "error", "error": {"code": f"code_{number}", "message": "no"}}),
    "frames that are refused": each(lambda number: {"type": "response.done", "response": [number]}),
    "unknown events": each(lambda number: {"type": f"invented.{number}"}),
    "rate limits": each(lambda _number: {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens"}]}),
    "turns": each(lambda number: [started(number), stopped(number), committed(number)]),
    "turns that only start": each(started),
    "turns that only stop": each(stopped),
    "turns that are only committed": each(committed),
    "transcripts": each(
        lambda number: {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": f"user_{number}", "transcript": "word " * 100,
        }
    ),
    "sessions that differ": each(
        lambda number: {"type": "session.updated", "session": {"audio": {"output": {"speed": number}}}}
    ),
    "approvals": each(
        lambda number: item_done(number, type="mcp_approval_request", name="x", arguments="{}")
    ),
    "lists of tools": each(lambda number: {"type": "mcp_list_tools.completed", "item_id": f"item_{number}"}),
    "long ids": each(lambda number: delta(f"{number}" * 200, number)),
}  # fmt: skip
SOUNDS: dict[str, Flood] = {
    "one sample at a time": each(lambda _number: delta(1, 1), [created(1)]),
    "two items in turn": each(lambda number: delta(1, number % 2), [created(1)]),
    "an item a sample": each(lambda number: [delta(1, number), sound_ends(1, number)], [created(1)]),
    "a response a sample": each(
        lambda number: [created(number), delta(number, number), done(number)]
    ),
}  # fmt: skip


class Stage:
    """A call whose legs are up. The carrier echoes nothing and tools never return."""

    def __init__(self) -> None:
        config = m.CallConfig(
            media_gap_ms=10_000_000, probe_ms=0, stalled_ms=10_000_000, digits="text",
            limits=m.Limits(tools=100_000), session=m.SessionConfig(transcription="whisper-1"),
        )  # fmt: skip
        self.call = Call(config)
        self.model = OpenAI(1)
        self.now_ms = 0
        for event in (m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.SessionUpdated(), m.Admitted()):
            self.call.receive(event, 0)

    def hear(self, event: Event) -> list[m.Action]:
        """As the gate does it; a thousand frames a second."""
        self.now_ms += 1
        while (due_ms := self.call.deadline_ms) is not None and due_ms <= self.now_ms:
            self.call.receive(m.WakeUp(), self.now_ms)
        try:
            said: m.Event | None = self.model.parse(json.dumps(event))
        except ProtocolError as error:
            said = m.FrameRefused("upstream", str(error))
        return [] if said is None else self.call.receive(said, self.now_ms)


def cost_s(flood: Flood, length: int) -> float:
    """Of the whole flood, and of the call's end after it."""
    stage = Stage()
    began_s = time.process_time()
    for event in flood(length):
        stage.hear(event)
    stage.call.carried(stage.now_ms)
    stage.call.receive(m.Stopped(), stage.now_ms)
    return time.process_time() - began_s


def grows_straight(cost: Callable[[int], float], short: int) -> bool:
    """Whether eight times as much costs about eight times as much; a busy machine gets a second look."""
    return any(cost(8 * short) <= 3 * 8 * min(cost(short), cost(short)) for _ in range(3))


@SIZES
@pytest.mark.parametrize("name", FLOODS | SOUNDS)
def test_a_flood_costs_what_its_messages_cost(name: str, short: int) -> None:
    flood = (FLOODS | SOUNDS)[name]
    assert grows_straight(lambda length: cost_s(flood, length), short)


@pytest.mark.parametrize(
    "name", [name if name in LARGE else pytest.param(name, marks=pytest.mark.long) for name in FLOODS]
)
def test_little_of_a_flood_is_kept(name: str) -> None:
    stage = Stage()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for event in FLOODS[name](4_000):
            stage.hear(event)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 1e6 < (KEPT_MB if "tool" not in name else 4 * KEPT_MB)


@SIZES
def test_results_of_tools_cost_what_they_are(short: int) -> None:
    def cost(length: int) -> float:
        stage = Stage()
        stage.hear(created(1))
        for number in range(length):
            stage.hear(tool_call(number))
        began_s = time.process_time()
        for number in range(length):
            stage.call.receive(m.ToolFinished(f"call_{number}", "42"), stage.now_ms)
        return time.process_time() - began_s

    assert grows_straight(cost, short)


def test_keys_without_end_are_few_words() -> None:
    stage = Stage()
    for _ in range(8_000):
        stage.call.receive(m.DigitPressed("5"), stage.now_ms)
    assert len(stage.call.key_series.keys) == 64
