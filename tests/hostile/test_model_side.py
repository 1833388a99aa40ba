"""A model turned hostile, against a real server: garbage, floods, huge and endless things, and what answers
at its address instead of it. The caller hears an answer or an end in time, and the bridge's loop stands still
for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from .kit import Bridge, Model, Phone, Session, bridge, free_port, tone

pytestmark = pytest.mark.hostile

MOST_SILENCE_S = 2.1
LATE_S = "0.2"
"""A beat of the bridge's loop that is later than that was heard by other calls."""
AGENT = """
from bridge.agents.agent import Agent
from bridge.agents.tools import tool

@tool
def look_up(what: str) -> str:
    '''Look something up.'''
    return what

agent = Agent("Be kind.", greeting="Hello.", tools=[look_up])
"""
TOKENS = '{"input_token_details":{"text_tokens":1' + "0" * 40 + "}}"
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
RAW = (
    "", "null", "[]", "{", '{"type":5}', '{"type":"response.done","response":[]}', "\x00", "[" * 100_000,
    '{"type":"error","error":"x"}', '{"a":' * 50_000, b"\x00\xff", '{"type":"\\ud800"}', "1e999999",
    '{"type":"session.updated","session":{"audio":[]}}', "-" * 10_000,
    '{"type":"response.done","response":{"id":"r","usage":' + TOKENS + "}}",
    '{"type":"' + TRANSCRIBED + '","item_id":"u","transcript":"x","usage":{"seconds":1e308}}',
)  # fmt: skip


async def flood(session: Session, length: int, make: Callable[[int], dict[str, Any]]) -> None:
    """So many events, and then an answer."""
    await session.turn_ends()
    for number in range(length):
        await session.socket.send(json.dumps(make(number)))
    await session.answer(tone(1.0))


async def garbage(session: Session) -> None:
    await session.turn_ends()
    for frame in RAW:
        await session.socket.send(frame)
    await session.answer(tone(1.0))


async def tool_calls(session: Session, length: int, arguments: str = '{"what":"a"}') -> None:
    await session.turn_ends()
    response_id = await session.begin()
    for number in range(length):
        item = {"id": f"fc_{number}", "type": "function_call", "status": "completed", "name": "look_up"}
        item |= {"call_id": f"call_{number}", "arguments": arguments}
        await session.tell("response.output_item.done", response_id=response_id, output_index=0, item=item)
    await session.done(response_id)


async def deltas_without_end(session: Session) -> None:
    await session.turn_ends()
    response_id = await session.begin()
    await session.item(response_id, "item_long")
    for _ in range(1_000):  # an hour
        await session.delta(response_id, "item_long", tone(4.0))


async def tiny_deltas(session: Session) -> None:
    """Each of another item of one response."""
    await session.turn_ends()
    response_id = await session.begin()
    for number in range(5_000):
        await session.delta(response_id, f"item_{number}", tone(0.02)[:8])
    await session.done(response_id)
    await session.answer(tone(1.0))


def added(number: int, **fields: Any) -> dict[str, Any]:
    item = {"id": f"item_{number}", "type": "message", "role": "assistant", "content": [], **fields}
    return {"type": "conversation.item.added", "item": item}


def failed(number: int) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "x", "code": f"code_{number}", "message": "no"}}


def letter(_number: int) -> dict[str, Any]:
    ids = {"response_id": "resp_9", "item_id": "item_9", "content_index": 0}
    return {"type": "response.output_audio_transcript.delta", **ids, "delta": "x"}


def limits(_number: int) -> dict[str, Any]:
    return {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "remaining": 1}]}


def long_id(number: int) -> dict[str, Any]:
    ids = {"response_id": "r" * 1_000_000, "item_id": f"{number}" * 1_000_000}
    return {"type": "response.output_audio.delta", **ids, "delta": b64encode(tone(0.1)).decode()}


async def cancelled(session: Session, why: str) -> None:
    """The vendor ends its response by itself, and says nothing more until it is asked."""
    await session.turn_ends()
    response_id = await session.begin()
    await asyncio.sleep(0.2)
    await session.done(response_id, "cancelled", status_details={"type": "cancelled", "reason": why})


async def speech(session: Session, *kinds: str) -> None:
    """The caller has spoken, and the model tells no more of it than that, over and over."""
    for number in range(20):
        for kind in kinds:
            await session.tell(f"input_audio_buffer.speech_{kind}", item_id=f"user_{number}")
            await asyncio.sleep(0.12)
        await session.tell("rate_limits.updated", rate_limits=[])
        await asyncio.sleep(0.05)


def scenes(most: int = 20_000) -> dict[str, Callable[[Session], Awaitable[None]]]:
    """What a model does when the caller has spoken, by name; floods are up to `most` events long."""
    half = most // 2
    return {
        "garbage": garbage,
        "errors": lambda session: flood(session, most, failed),
        "items": lambda session: flood(session, most, added),
        "items with long words": lambda session: flood(
            session, 20, lambda number: added(number, content=[{"type": "text", "text": "word " * 10 * most}])
        ),
        "a transcript in single letters": lambda session: flood(session, most, letter),
        "rate limits": lambda session: flood(session, most, limits),
        "ids of a megabyte": lambda session: flood(session, 5, long_id),
        "a response cancelled over a noise": lambda session: cancelled(session, "turn_detected"),
        "speech that does not stop": speech,
        "speech that stops, and no turn": lambda session: speech(session, "stopped"),
        "speech in a flicker": lambda session: speech(session, "started", "stopped"),
        "refused frames": lambda session: flood(
            session, half, lambda number: {"type": "response.done", "response": [number]}
        ),
        "lists of tools": lambda session: flood(
            session, half, lambda number: {"type": "mcp_list_tools.completed", "item_id": f"item_{number}"}
        ),
        "tool calls": lambda session: tool_calls(session, half),
        "a tool call with 7 MB of arguments": lambda session: tool_calls(session, 1, "x" * (7 << 20)),
        "a tool call nested 100,000 deep": lambda session: tool_calls(session, 1, '{"what":' + "[" * 100_000),
        "deltas without end": deltas_without_end,
        "tiny deltas": tiny_deltas,
        "a response cancelled by the client, as it says": lambda session: cancelled(
            session, "client_cancelled"
        ),
    }


async def silence_s(
    served: Bridge, model: Model, scene: Callable[[Session], Awaitable[None]], seconds: float = 4.5
) -> float:
    """The longest the caller hears, from their last word until the last they hear of us."""
    model.on_turn = scene
    phone = await Phone(served).dial()
    await asyncio.sleep(1.5)
    await phone.talk(0.6)
    spoke_s = time.monotonic()
    await asyncio.sleep(seconds)
    ended_s = min(phone.closed_s or time.monotonic(), max((at_s for at_s, _ in phone.heard), default=spoke_s))
    longest_s = phone.longest_silence_s(spoke_s, max(ended_s, spoke_s + 0.1))
    heard = any(at_s > spoke_s for at_s, _ in phone.heard)
    await phone.hang_up()
    return longest_s if heard else float("inf")


async def late_beats(served: Bridge) -> float:
    """How often the bridge's loop was too late, by its own word."""
    _, text = await served.get("/metrics")
    within = re.search(rf'loop_lag_seconds_bucket\{{le="{LATE_S}"\}} (\S+)', text)
    every = re.search(r"loop_lag_seconds_count (\S+)", text)
    assert within is not None
    assert every is not None
    return float(every[1]) - float(within[1])


async def play(*played: Callable[[Session], Awaitable[None]]) -> None:
    model = Model()
    async with model, bridge(model, files={"mine.py": AGENT}, BRIDGE_AGENT="mine:agent") as served:
        other = await Phone(served).dial()
        await silence_s(served, model, garbage)  # what it costs once
        rss_mb = served.rss_mb
        for number, scene in enumerate(played):
            before = await late_beats(served)
            longest_s = await silence_s(served, model, scene)
            assert longest_s <= MOST_SILENCE_S, number
            assert await late_beats(served) - before == 0, number
            assert other.closed_s is None, number
        await other.hang_up()
        await unharmed(served, rss_mb)


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize("half", [0, 1])
def test_whatever_a_model_sends_its_caller_is_answered_and_nobody_else_hears_of_it(half: int) -> None:
    asyncio.run(play(*list(scenes().values())[half::2]))


@pytest.mark.alone
async def test_a_little_of_each_flood_of_a_model_s() -> None:
    """Shorter ones, four calls at a time: each is answered, and the loop stands still for none of them."""

    model = Model()
    brief = list(scenes(4_000).items())
    async with model, bridge(model, files={"mine.py": AGENT}, BRIDGE_AGENT="mine:agent") as served:
        other = await Phone(served).dial()
        await silence_s(served, model, garbage, 1.5)  # what it costs once
        rss_mb = served.rss_mb
        for start in range(0, len(brief), 4):
            names, some = zip(*brief[start : start + 4], strict=True)
            before = await late_beats(served)
            longest_s = await at_once(served, model, some)
            assert max(longest_s) <= MOST_SILENCE_S, (names, longest_s)
            assert await late_beats(served) - before == 0, names
            assert other.closed_s is None, names
        await other.hang_up()
        await unharmed(served, rss_mb)


async def unharmed(served: Bridge, rss_mb: float) -> None:
    """What floods leave behind: little memory, a short log without a broken rule, recordings that replay."""
    await asyncio.sleep(1.0)
    assert served.rss_mb - rss_mb <= 40
    assert "internal invariant" not in served.log
    assert "Traceback" not in served.log
    assert len(served.log) < 100_000
    assert await served.replays() == ""


async def at_once(
    served: Bridge, model: Model, some: Sequence[Callable[[Session], Awaitable[None]]]
) -> list[float]:
    """`silence_s` of a call for each scene, half a second after each other."""

    async def one(number: int) -> float:
        await asyncio.sleep(0.5 * number)
        return await silence_s(served, model, by_call, 3.5)

    async def by_call(session: Session) -> None:
        await some[model.sessions.index(session) - first](session)

    first = len(model.sessions)
    return list(await asyncio.gather(*(one(number) for number in range(len(some)))))


# --- something else at its address -------------------------------------------------------------------------

ANSWERS = {
    "an ssh banner": (True, b"SSH-2.0-OpenSSH_9.2\r\n"),
    "noise": (True, bytes(range(256)) * 40_000),
    "a 408 before it was asked": (True, b"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n"),
    "a page without end": (
        False,
        b"HTTP/1.1 500 x\r\nContent-Length: 2000000000\r\n\r\n" + b"a" * 40_000_000,
    ),
    "a Retry-After that is no time": (
        False,
        b"HTTP/1.1 429 x\r\nRetry-After: 1e400\r\nContent-Length: 0\r\n\r\n",
    ),
    "a body that is nested without end": (
        False,
        b"HTTP/1.1 503 x\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
    ),
}


async def apologised_s(stack: contextlib.AsyncExitStack, early: bool, answer: bytes) -> Awaitable[float]:
    """A bridge whose model's address answers that. To await is to call it; returns how long the call lasts,
    and it must end in words.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if not early:
                await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            await reader.read(1)
        writer.close()

    nobody = Model()
    nobody.port = free_port()
    await stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", nobody.port))
    served = await stack.enter_async_context(bridge(nobody))

    async def call() -> float:
        phone, began_s = await Phone(served).dial(), time.monotonic()
        async with asyncio.timeout(12):
            while phone.closed_s is None:  # noqa: ASYNC110  another process closes it
                await asyncio.sleep(0.05)
        assert phone.longest_silence_s(began_s, phone.closed_s) <= MOST_SILENCE_S
        assert "internal invariant" not in served.log
        assert "the model could not be reached" in served.log
        await asyncio.sleep(0.5)
        assert await served.replays() == ""
        return phone.closed_s - began_s

    return call()


async def test_what_answers_instead_of_the_model_is_a_refused_dial_and_ends_in_words() -> None:
    async with contextlib.AsyncExitStack() as stack:
        calls = await asyncio.gather(*(apologised_s(stack, *answer) for answer in ANSWERS.values()))
        lasted_s = dict(zip(ANSWERS, await asyncio.gather(*calls), strict=True))
        assert max(lasted_s.values()) < 9, lasted_s
