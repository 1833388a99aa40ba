"""A call as its two peers would send it, frame by frame, made beforehand: every measurement has the same
work.

A turn lasts four seconds: the caller speaks for one, the model answers with three, of which the first second
brings all. So 200 frames of the caller stand beside 15 deltas of 200 ms, their marks' echoes, ten pieces of
transcript and what surrounds them; every fourth answer is interrupted. That is also what the load generator
of the figures in README.md plays.
"""

from __future__ import annotations

import heapq
import json
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import Any, NamedTuple

from bridge.carriers import Carrier, Twilio
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.upstreams import OpenAI

TURN_MS = 4_000
ANSWER_AT_MS = 1_000
SILENT_AT_MS = 600
"""A caller who pauses: the model takes them to have finished after some silence."""
DELTAS, DELTA_MS, WORDS = 15, 200, 10
INTERRUPTED_AT_MS = 2_500
"""In a turn: the answer has been playing for a second and a half."""
CONFIG = m.CallConfig(session=m.SessionConfig(instructions="You are a helpful assistant."))
STREAM = f"MZ{1:032x}"


class Input(NamedTuple):
    """Something that comes in: a frame of the `carrier` or the `upstream`, or an `event` of the shell."""

    at_ms: int
    door: str
    frame: str
    event: m.Event | None = None


def sound(size_bytes: int, seed: int) -> str:
    """Base64 text of something that is not silence."""
    return b64encode(bytes((seed * 31 + at * 7) % 251 for at in range(size_bytes))).decode()


# --- what the carrier sends ----------------------------------------------------------------------------


def start() -> Iterator[str]:
    """The carrier's first two frames."""
    yield _json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    body = {
        "accountSid": f"AC{1:032x}",
        "streamSid": STREAM,
        "callSid": f"CA{1:032x}",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {},
    }
    yield _json({"event": "start", "sequenceNumber": "1", "start": body, "streamSid": STREAM})


def media(number: int, *, quiet: bool = False) -> str:
    """The caller's n-th frame, counted from 0."""
    part = {"track": "inbound", "chunk": str(number + 1), "timestamp": str(120 + 20 * number)}
    part["payload"] = b64encode(b"\xff" * 160).decode() if quiet else sound(160, number)
    frame = {"event": "media", "sequenceNumber": str(number + 2), "media": part, "streamSid": STREAM}
    return _json(frame)


def echo(name: str) -> str:
    """A mark that was reached."""
    return _json({"event": "mark", "sequenceNumber": "7", "streamSid": STREAM, "mark": {"name": name}})


# --- what the model's server sends ---------------------------------------------------------------------


def configured() -> Iterator[str]:
    """A session that is, and then has, what was asked for."""
    yield _event("session.created", session={"id": "sess_1", "type": "realtime"})
    pcmu = {"type": "audio/pcmu"}
    audio = {"input": {"format": pcmu}, "output": {"format": pcmu, "voice": "marin"}}
    session = {"type": "realtime", "output_modalities": ["audio"], "audio": audio}
    yield _event("session.updated", session=session)


def speech_started(turn: int) -> str:
    """The caller is heard to speak."""
    return _event("input_audio_buffer.speech_started", audio_start_ms=0, item_id=f"item_u{turn:06}")


def question(turn: int) -> Iterator[str]:
    """The caller has spoken, and an answer begins."""
    user, item, response = f"item_u{turn:06}", f"item_{turn:021}", f"resp_{turn:021}"
    yield _event("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id=user)
    yield _event("input_audio_buffer.committed", previous_item_id=None, item_id=user)
    spoken = {"id": user, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    yield _event("conversation.item.added", previous_item_id=None, item=spoken)
    body = {"id": response, "status": "in_progress", "conversation_id": "conv_1", "metadata": None}
    yield _event("response.created", response=body)
    answer = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    yield _event("response.output_item.added", response_id=response, output_index=0, item=answer)
    yield _event("conversation.item.added", previous_item_id=user, item=answer)
    part = {"type": "audio", "transcript": ""}
    yield _event("response.content_part.added", **_at(turn), part=part)


def delta(turn: int, number: int) -> str:
    """A piece of the answer's sound."""
    audio = sound(DELTA_MS * 8, turn + number)
    return _event("response.output_audio.delta", **_at(turn), delta=audio)


def words(turn: int) -> str:
    """A piece of the answer's text."""
    return _event("response.output_audio_transcript.delta", **_at(turn), delta=" and words")


def answered(turn: int) -> Iterator[str]:
    """The answer is whole."""
    item, response = f"item_{turn:021}", f"resp_{turn:021}"
    text = " and words" * WORDS
    part = {"type": "audio", "transcript": text}
    done = {"id": item, "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    yield _event("response.output_audio.done", **_at(turn))
    yield _event("response.output_audio_transcript.done", **_at(turn), transcript=text)
    yield _event("response.content_part.done", **_at(turn), part=part)
    yield _event("response.output_item.done", response_id=response, output_index=0, item=done)
    yield _event("conversation.item.done", previous_item_id=None, item=done)
    tokens = {"input_tokens": 90, "output_tokens": 70, "output_token_details": {"audio_tokens": 60}}
    body = {"id": response, "status": "completed", "output": [done], "usage": tokens}
    yield _event("response.done", response=body)
    yield _event("rate_limits.updated", rate_limits=[{"name": "tokens", "remaining": 149_984}])


def _at(turn: int) -> dict[str, Any]:
    ids = {"response_id": f"resp_{turn:021}", "item_id": f"item_{turn:021}"}
    return {**ids, "output_index": 0, "content_index": 0}


def _event(kind: str, **fields: Any) -> str:
    return _json({"type": kind, "event_id": "event_C1zKz0NCGVk4E2QNFR4SE", **fields})


def _json(frame: dict[str, Any]) -> str:
    return json.dumps(frame, separators=(",", ":"))


# --- the call ------------------------------------------------------------------------------------------


@cache
def scripted_call(turns: int, *, pauses: bool = False) -> tuple[Input, ...]:
    """All that comes in, in order. An echo comes 20 ms after what it stands behind was played, or would have
    been without the clear. A caller who `pauses` is quiet while the model is to be heard; else there is
    always sound, as from a street.
    """
    due: list[tuple[int, int, Input]] = []
    order = count()

    def plan(at_ms: int, door: str, frame: str, event: m.Event | None = None) -> None:
        heapq.heappush(due, (at_ms, next(order), Input(at_ms, door, frame, event)))

    for frame in start():
        plan(0, "carrier", frame)
    plan(0, "event", "", m.Admitted())
    for frame in configured():
        plan(0, "upstream", frame)
    for number in range(turns * TURN_MS // 20):
        quiet = pauses and 20 * number % TURN_MS >= SILENT_AT_MS
        plan(20 * number, "carrier", media(number, quiet=quiet))
    for turn in range(turns):
        for at_ms, frame in _turn(turn):
            plan(turn * TURN_MS + at_ms, "upstream", frame)

    call, carrier, upstream = new_call()
    inputs: list[Input] = []
    played_ms = 0
    while due:
        _, _, step = heapq.heappop(due)
        inputs.append(step)
        for action in receive(call, carrier, upstream, step):
            if isinstance(action, m.PlayAudio):
                played_ms = max(played_ms, step.at_ms) + action.size_bytes // 8
            elif isinstance(action, m.SendMark):
                plan(played_ms + 20, "carrier", echo(action.name))
            elif isinstance(action, m.ClearPlayout):
                played_ms = step.at_ms
    return tuple(inputs)


def _turn(turn: int) -> Iterator[tuple[int, str]]:
    if turn:
        yield 100, speech_started(turn)
    for frame in question(turn):
        yield ANSWER_AT_MS, frame
    for number in range(DELTAS):
        at_ms = ANSWER_AT_MS + number * 1_000 // DELTAS
        yield at_ms, delta(turn, number)
        if number % 3 != 2:
            yield at_ms, words(turn)
    for frame in answered(turn):
        yield ANSWER_AT_MS + 1_000, frame
    if turn % 4 == 3:
        yield INTERRUPTED_AT_MS, speech_started(turn)


def new_call() -> tuple[Call, Twilio, OpenAI]:
    """A call and its two adapters."""
    return Call(CONFIG), Twilio(), OpenAI(1)


def receive(call: Call, carrier: Carrier, upstream: OpenAI, step: Input) -> list[m.Action]:
    """What the runner does without sockets, clock and recording."""
    if step.event is not None:
        return call.receive(step.event, step.at_ms)
    event = (carrier if step.door == "carrier" else upstream).parse(step.frame)
    return [] if event is None else call.receive(event, step.at_ms)


def perform(carrier: Carrier, upstream: OpenAI, actions: list[m.Action]) -> None:
    """Writes the frames of what is to be sent."""
    for action in actions:
        if isinstance(action, m.CarrierCommand):
            carrier.write(action)
        elif isinstance(action, m.UpstreamCommand):
            upstream.write(action)
