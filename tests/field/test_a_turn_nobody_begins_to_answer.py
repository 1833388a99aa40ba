"""A turn of the caller's is answered, or covered, whatever else is under way or was never ended."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from bridge import Agent, Session, Turn, tool
from bridge.core import messages as m
from bridge.doubles.agents import Failure, Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import tone
from bridge.testing.call import begin, tool_call
from bridge.testing.scripted_call import ScriptedCall

MOST_SILENT_MS = 2_000


def answer(words: str = "We open at nine.", ms: int = 1_000) -> Speech:
    return Speech(tone(ms), words)


def times(call: Any, kind: type[Any], what: str = "") -> list[int]:
    return [at for at, action in call.rehearsal.said if type(action) is kind and what in str(action)]


# --- a response whose end is lost


class Deaf:
    """A vendor's voice detection that is left to the test."""

    def is_speech(self, buf: bytes, sample_rate: int) -> bool:  # noqa: ARG002
        return False


def never_ends(call: ScriptedCall, sound: bytes) -> None:
    """A response begins now, says something, and its `response.done` is lost."""
    fields = {"response_id": "resp_lost", "item_id": "item_lost", "output_index": 0, "content_index": 0}
    call.model.sends("response.created", response={"id": "resp_lost", "status": "in_progress", "output": []})
    for at in range(0, len(sound), 1_600):
        delta = b64encode(sound[at : at + 1_600]).decode()
        call.model.sends("response.output_audio.delta", **fields, delta=delta)


@pytest.mark.parametrize("sound_ms", [0, 800, 2_500])
def test_a_response_that_was_cut_and_never_ends_keeps_no_turn_waiting(sound_ms: int) -> None:
    """The vendor has cut it, does not say so, and does not answer the turn by itself."""
    call = begin(model=ServerOptions(delta_bytes=(1_600,), detector=Deaf()))
    call.at(500)
    never_ends(call, tone(sound_ms))
    call.model.answers(answer())
    call.at(2_000)
    call.caller.says("When do you open?", ms=400)
    call.at(2_050)
    call.model.sends("input_audio_buffer.speech_started", item_id="turn_1", audio_start_ms=1_900)
    call.at(2_900)
    call.model.sends("input_audio_buffer.speech_stopped", item_id="turn_1", audio_end_ms=2_900)
    call.model.sends("input_audio_buffer.committed", item_id="turn_1", previous_item_id=None)
    call.at(9_000)
    (asked_ms,) = times(call, m.CreateResponse)
    assert 2_900 + 2_000 <= asked_ms <= 2_900 + 3_200
    assert times(call, m.Spoken, "heard='We open at nine.'")
    assert len(call.rehearsal.servers) == 1
    assert call.caller.longest_silence_ms(2_400, asked_ms + 300) <= MOST_SILENT_MS


@pytest.mark.parametrize("calls", [False, True])
def test_an_answer_that_was_heard_whole_and_never_ends_is_over_after_eight_seconds(calls: bool) -> None:
    """Its items have ended, and `response.done` is lost. Nothing more is to come."""
    call = begin(model=ServerOptions(delta_bytes=(1_600,), withhold=frozenset({"response.done"})))
    call.model.answers(answer(), *([tool_call("note")] if calls else []))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    if calls:
        wanted = call.at(3_000).rehearsal.log(m.ToolWanted)[0]
        call.wish(m.ToolFinished(wanted.call_id, "noted", respond=False))
    call.at(40_000)
    assert len(call.rehearsal.servers) == 1
    (spoken_ms,) = times(call, m.Spoken)
    assert times(call, m.Heard)[-1] <= spoken_ms + 11_000
    assert call.rehearsal.call.playout.owed.since_ms is None


def test_the_result_of_a_tool_is_answered_though_the_response_that_called_it_never_ends() -> None:
    call = begin(model=ServerOptions(delta_bytes=(1_600,), withhold=frozenset({"response.done"})))
    call.model.answers(tool_call("look_up"))
    call.model.answers(answer())
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    wanted = call.at(3_000).rehearsal.log(m.ToolWanted)[0]
    call.wish(m.ToolFinished(wanted.call_id, "nine"))
    call.at(16_000)
    assert len(call.rehearsal.servers) == 1
    assert times(call, m.CreateResponse)[0] <= 13_000
    assert times(call, m.Spoken, "We open at nine.")


@pytest.mark.parametrize("takes_ms", [300, 700, 1_100])
def test_a_handler_whose_response_never_ends_is_not_taken_for_one_that_listens(takes_ms: int) -> None:
    @tool
    async def look_up() -> str:
        """Look it up."""
        await asyncio.sleep(takes_ms / 1_000)
        return "nine"

    async def answers(session: Session) -> None:
        async for happening in session.input():
            if isinstance(happening, Turn):
                await session.respond()

    options = ServerOptions(delta_bytes=(1_600,), withhold=frozenset({"response.done"}))
    call = begin(Agent(handler=answers, tools=[look_up]), model=options)
    call.model.answers(tool_call("look_up"))
    call.model.answers(answer())
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    call.at(5_000)
    call.model.behaves(latency_ms=3_000)
    call.at(20_000).close()
    heard_ms = times(call, m.Spoken, "We open at nine.")[0]
    assert call.caller.longest_silence_ms(1_400, heard_ms) <= MOST_SILENT_MS


# --- a tool that is quiet, and a caller who is not


@tool(filler=None)
async def opening_hours(day: str) -> str:
    """Look up the opening hours."""
    await asyncio.sleep(6)
    return f"{day}: nine to five"


def looked_up() -> ScriptedCall:
    """The caller asked at 1 s, and the tool has been called."""
    call = begin(Agent("Be brief.", greeting="", tools=[opening_hours]))
    call.model.answers(tool_call("opening_hours", day="Monday"))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    return call.at(2_200)


@pytest.mark.parametrize("after_ms", [200, 600, 1_200])
def test_a_tool_without_a_filler_does_not_keep_a_new_turn_in_silence(after_ms: int) -> None:
    call = looked_up().wait(after_ms)
    call.model.behaves(latency_ms=3_500)
    call.model.answers(answer("One moment."))
    call.model.answers(answer())
    call.caller.says("Hello?", ms=400)
    call.at(14_000).close()
    stopped_ms = times(call, m.CallerSpoke, "speaking=False")[1]
    assert call.caller.longest_silence_ms(stopped_ms - 500, stopped_ms + 3_400) <= MOST_SILENT_MS


def test_a_tool_without_a_filler_stays_quiet_where_nothing_else_is_owed() -> None:
    call = looked_up().at(7_500)
    call.close()
    assert call.caller.heard_ms == 0


# --- a handler that has not been told yet


@pytest.mark.parametrize("transcription_ms", [4_500, 7_000, 60_000])
def test_a_handler_that_waits_for_the_words_is_covered_until_it_has_them(transcription_ms: int) -> None:
    async def answers(session: Session) -> None:
        async for happening in session.input():
            if isinstance(happening, Turn):
                await session.respond()

    options = ServerOptions(delta_bytes=(1_600,), transcription_ms=(transcription_ms,))
    call = begin(Agent(handler=answers), model=options)
    call.model.answers(answer())
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    call.at(14_000).close()
    asked_ms = times(call, m.CreateResponse)[0]
    assert call.caller.longest_silence_ms(1_400, asked_ms + 500) <= MOST_SILENT_MS


def test_the_answer_to_the_turn_before_does_not_end_the_wait_for_the_words_of_the_next() -> None:
    async def answers(session: Session) -> None:
        async for happening in session.input():
            if isinstance(happening, Turn):
                await session.respond()

    options = ServerOptions(delta_bytes=(1_600,), transcription_ms=(6_000, 7_900))
    call = begin(Agent(handler=answers), model=options)
    call.model.answers(answer())
    call.model.answers(answer("And on Sunday at ten."))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    call.at(4_000)
    call.caller.says("And on Sunday?", ms=400)
    call.at(16_000).close()
    first_ms, second_ms = times(call, m.CreateResponse)
    assert second_ms > first_ms + 4_000
    assert call.caller.longest_silence_ms(first_ms, second_ms + 500) <= MOST_SILENT_MS


# --- failures in a row


def test_an_answer_that_was_heard_and_cut_by_the_caller_is_no_failure() -> None:
    call = begin(model=ServerOptions(delta_bytes=(1_600,), speed=1))
    call.model.answers(Failure("server_error"))
    call.model.answers(answer(ms=4_000))
    call.model.answers(Failure("server_error"))
    call.model.answers(answer("At nine."))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    call.at(4_000)
    call.caller.interrupts("And on Sunday?", ms=400)
    call.at(12_000)
    assert call.rehearsal.ended is None
    assert not times(call, m.Noted, "the model is out")
    assert times(call, m.Spoken, "heard='At nine.'")
