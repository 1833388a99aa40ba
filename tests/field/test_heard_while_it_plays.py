"""An answer that cannot be heard is noticed while it plays: after 800 ms, not when its response is done."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import Agent, Session, Turn
from bridge.core import messages as m
from bridge.doubles.agents import Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import tone
from bridge.testing.call import begin, tool_call

QUIET = b"\xf0\x70" * 4  # 1 ms at -49 dBFS
SOFT = b"\xe0\x60" * 4  # 1 ms at -39 dBFS
SILENT = b"\xff" * 8
WORDS = "Hello, how can I help?"
MOST_SILENT_MS = 2_000


FASTER = ServerOptions().speed


def begun(agent: Any = None, *, speed: float = 1, **options: Any) -> Any:
    """A call whose caller has asked something, with a model whose sound comes as fast as it is played, or
    `FASTER`, as most come.
    """
    call = begin(agent, model=ServerOptions(delta_bytes=(1_600,), speed=speed, **options))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    return call


def times(call: Any, kind: type[Any], what: str = "") -> list[int]:
    return [at for at, action in call.rehearsal.said if type(action) is kind and what in str(action)]


@pytest.mark.parametrize(("sound", "length_ms"), [(QUIET, 2_000), (QUIET, 6_000), (SILENT, 20_000)])
def test_the_alarm_comes_when_800_ms_were_played(sound: bytes, length_ms: int) -> None:
    call = begun()
    call.model.answers(Speech(sound * length_ms, WORDS))
    call.model.answers("We open at nine.")
    call.at(9_000)
    played_ms, alarm_ms = times(call, m.PlayAudio)[0], times(call, m.Noted, "inaudible")[0]
    assert 800 <= alarm_ms - played_ms <= 820
    assert call.caller.longest_silence_ms(1_400, alarm_ms + 1_000) <= MOST_SILENT_MS
    said = [action for _, action in call.rehearsal.said if isinstance(action, m.Spoken)]
    assert [spoken.heard for spoken in said] == ["", "We open at nine."]
    assert times(call, m.Spoken)[1] <= alarm_ms + 3_500
    assert len(times(call, m.DeleteItem)) == 1
    assert not times(call, m.TruncateItem)
    assert call.rehearsal.ended is None


def test_pauses_in_an_answer_are_no_alarm() -> None:
    call = begun()
    call.model.answers(Speech(SOFT * 300 + SILENT * 500 + SOFT * 300 + SILENT * 900, WORDS))
    call.at(7_000)
    assert not times(call, m.Noted, "inaudible")


@pytest.mark.parametrize(("words", "ms"), [("Mm.", 300), ("Hello there.", 380), ("...", 2_000)])
def test_less_than_a_word_is_no_alarm(words: str, ms: int) -> None:
    call = begun(done_ms=4_000)
    call.model.answers(Speech(SILENT * ms, words))
    call.at(4_500)
    assert not times(call, m.Noted, "inaudible")


def test_a_voice_that_begins_late_is_no_alarm() -> None:
    call = begun()
    call.model.answers(Speech(SILENT * 700 + tone(1_500), WORDS))
    call.at(7_000)
    assert not times(call, m.Noted, "inaudible")
    assert [spoken.cut for _, spoken in call.rehearsal.said if isinstance(spoken, m.Spoken)] == [False]


@pytest.mark.parametrize("speed", [1.0, FASTER])
def test_what_a_tool_found_is_told_without_another_call(speed: float) -> None:
    call = begun(speed=speed)
    call.model.answers(tool_call("hours"))
    call.model.answers(Speech(QUIET * 5_000, "From nine to five."))
    call.model.answers("We open at nine.")
    call.at(2_500)
    wanted = next(action for _, action in call.rehearsal.said if isinstance(action, m.ToolWanted))
    call.wish(m.ToolFinished(wanted.call_id, '"nine"'))
    call.at(9_000)
    creates = [action for _, action in call.rehearsal.said if isinstance(action, m.CreateResponse)]
    assert [create.tool_choice for create in creates] == [None, "none"]
    assert len(times(call, m.ToolWanted)) == 1


@pytest.mark.parametrize(("speed", "ms"), [(1.0, 10_000), (FASTER, 1_000)])
def test_the_second_time_another_session_answers(speed: float, ms: int) -> None:
    call = begun(speed=speed)
    for _ in range(2):
        call.model.answers(Speech(SILENT * ms, "From nine to five."))
    call.model.answers("We open at nine.")
    call.at(15_000)
    noted = [action.what for _, action in call.rehearsal.said if isinstance(action, m.Noted)]
    assert noted[:3] == ["inaudible", "inaudible", "the model was lost"]
    assert len(call.rehearsal.servers) == 2
    assert call.caller.longest_silence_ms(1_400, 7_000) <= MOST_SILENT_MS
    assert times(call, m.Spoken, "'We open at nine.'")


def test_the_caller_who_speaks_meanwhile_is_answered() -> None:
    call = begun()
    call.model.answers(Speech(SILENT * 6_000, "From nine to five."))
    call.model.answers("We open at nine.")
    call.at(2_700)
    call.caller.says("Hello?", ms=500)
    call.at(9_000)
    assert times(call, m.Spoken, "heard='We open at nine.'")
    assert call.rehearsal.ended is None


@pytest.mark.parametrize("speed", [1.0, 20.0])
@pytest.mark.parametrize("how", ["say", "respond"])
def test_a_handlers_words_are_asked_for_again(
    how: str, speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []

    async def answers(session: Session) -> None:
        async for happening in session.input():
            if isinstance(happening, Turn):
                said = session.say("We open at nine.") if how == "say" else session.respond()
                heard.append(await said)

    call = begin(Agent(handler=answers), model=ServerOptions(delta_bytes=(1_600,), speed=speed))
    mind, mute = call._mind, iter([Speech(SILENT * 3_000, "We open at nine.")])
    monkeypatch.setattr(mind, "answer", lambda _: [next(mute, None) or mind.speech("We open at nine.")])
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    call.at(9_000).close()
    assert [(said.text, said.heard_ms, said.cut) for said in heard] == [("We open at nine.", 960, False)]
    assert len(times(call, m.Noted, "inaudible")) == 1


@pytest.mark.parametrize("ms", [600, 3_000])
def test_what_could_not_be_heard_is_not_told_to_the_next_session(ms: int) -> None:
    call = begun()
    for _ in range(2):
        call.model.answers(Speech(SILENT * ms, "From nine to five."))
    call.model.answers("We open at nine.")
    call.at(15_000)
    assert len(call.rehearsal.servers) == 2
    told = [action.text for _, action in call.rehearsal.said if isinstance(action, m.CreateItem)]
    assert "When do you open?" in told
    assert not [text for text in told if "From" in text]


def test_words_whose_sound_had_not_begun_are_not_told_to_the_next_session() -> None:
    """The transcript may run ahead of the sound; then the session is lost."""
    call = begun(words_ahead_ms=60_000)
    call.at(2_000)
    place = {"response_id": "resp_lost", "item_id": "item_lost", "output_index": 0, "content_index": 0}
    call.model.sends("response.created", response={"id": "resp_lost", "status": "in_progress", "output": []})
    call.model.sends("response.output_audio_transcript.delta", **place, delta="From nine to five.")
    call.model.is_lost()
    call.at(4_000)
    told = [action.text for _, action in call.rehearsal.said if isinstance(action, m.CreateItem)]
    assert not [text for text in told if "five" in text]
