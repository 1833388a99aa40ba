"""Nothing breaks and nothing comes: a black hole, a model that thinks for too long, an answer that stops."""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from bridge.doubles.agents import Pause, ToolCall
from bridge.doubles.options import ServerOptions

from .rig import Clerk, Plan, Rig, answer

NO_SIGN = "the model was lost: it gives no sign of life"
NO_WORD = "the model was lost: it owes an answer and says nothing"
MOMENTS = {
    "before the greeting": 100,
    "in the greeting": 400,
    "while silent": 3_000,
    "in the caller's words": 4_300,
    "before the turn is over": 4_900,
    "before the answer": 5_200,
    "in the answer": 5_500,
}


def stalled(at_ms: int, **config: object) -> Rig:
    rig = Rig(**config)  # type: ignore[arg-type]
    rig.says(4_000)
    rig.stalls(at_ms)
    return rig


@pytest.mark.parametrize("at_ms", MOMENTS.values(), ids=MOMENTS)
def test_a_black_hole_at_any_moment_is_noticed_covered_and_replaced(at_ms: int) -> None:
    rig = stalled(at_ms).play(20_000)
    assert rig.notes == [NO_SIGN]
    assert rig.story()[-1] == f"answer {len(rig.agent.asked)}"
    assert rig.ended is None
    assert len(rig.agent.greetings) <= 1 + (at_ms < 230)


def test_a_black_hole_while_silent_is_noticed_when_the_caller_speaks_into_it() -> None:
    rig = stalled(3_000).play(12_000)
    assert rig.story() == ["answer 1", "filler", "answer 2"]
    assert rig.dialled == [0, 6_500], "0.9 s after the caller's last word we ask, a second later we know"
    caller = rig.agent.asked[-1].caller
    assert caller is not None
    assert caller.sound.count(0x10) == 600 * 8, "and the next one hears all they said"


def test_a_black_hole_that_nobody_speaks_into_is_nobodys_matter() -> None:
    rig = Rig()
    rig.stalls(3_000)
    rig.play(20_000)
    assert (rig.story(), rig.notes) == (["answer 1"], [])


def test_a_noise_that_a_living_model_does_not_take_for_speech_is_no_reason_to_say_anything() -> None:
    rig = Rig(server=ServerOptions(min_speech_ms=5_000))
    rig.at(3_000, lambda: rig.from_phone(rig.phone.say(b"\x10" * 2_400, rig.now_ms)))
    rig.start()
    rig.until(12_000)
    assert (rig.story(), rig.notes, rig.dialled) == (["answer 1"], [], [0])


def test_a_server_that_wakes_up_again_in_time_is_left_in_peace() -> None:
    rig = stalled(5_200)
    rig.at(6_200, lambda: rig.from_server(rig.server.resume(rig.now_ms)))
    rig.play(12_000)
    assert (rig.notes, rig.dialled) == ([], [0])
    assert rig.story() == ["answer 1", "answer 2"]


def test_a_model_that_thinks_for_four_seconds_is_covered() -> None:
    rig = Rig(Clerk({2: [Pause(4_000), answer(2)]}))
    rig.says(4_000)
    rig.play(14_000)
    assert rig.story() == ["answer 1", "filler", "filler", "answer 2"]
    assert rig.notes == []


def test_a_model_that_thinks_for_ever_is_replaced() -> None:
    rig = Rig(Clerk({2: [Pause(60_000), answer(2)]}))
    rig.says(4_000)
    rig.play(45_000)
    assert set(rig.story()[1:-1]) == {"filler"}
    assert rig.story()[-1] == "answer 3"
    assert rig.notes == [NO_WORD]


def test_an_answer_that_stops_in_the_middle_is_covered_and_goes_on() -> None:
    rig = Rig(Clerk({2: [answer(2, last=False), Pause(6_000), answer(2)]}))
    rig.says(4_000)
    rig.play(18_000)
    assert rig.story() == ["answer 1", "answer 2", "filler", "filler", "answer 2"]


def test_a_response_that_never_begins_though_it_was_asked_for() -> None:
    """The model lives, and has lost our request: what it owes, the next one gives."""
    rig = Rig(greeting=None, moods=[("response.create", None)])
    rig.does(1_000, m.Respond("say-1"))
    rig.play(16_000)
    assert rig.notes == [NO_WORD]
    assert set(rig.story()[:-1]) == {"filler"}
    assert rig.story()[-1] == "answer 1"
    assert 9_000 <= rig.dialled[1] <= 11_000


def test_a_turn_that_gets_no_response_is_answered_by_the_next_model() -> None:
    deaf = {"audio": {"input": {"turn_detection": {"create_response": False}}}}
    rig = Rig(dials=[ServerOptions(impose=deaf)], session={"transcription": None})
    rig.says(4_000)
    rig.play(10_000)
    assert rig.story() == ["answer 1", "answer 2"], "it said that it would not: then we ask"


def test_sound_that_never_comes_though_responses_do() -> None:
    rig = Rig(dials=[ServerOptions(withhold=frozenset({"response.output_audio.delta"}))])
    rig.play(8_000)
    assert rig.story() == ["restored", "answer 3"], "silent twice: the next session answers"
    assert [note.partition(":")[0] for note in rig.notes] == ["inaudible", "inaudible", "the model was lost"]


def test_responses_that_never_end() -> None:
    rig = Rig(dials=[ServerOptions(withhold=frozenset({"response.done"}))])
    rig.says(4_000)
    rig.play(12_000)
    assert [told for told in rig.story() if told != "filler"] == ["answer 1", "answer 2"]


def test_a_server_that_has_lost_the_end_of_one_response_is_not_waited_for_after_the_next_ones() -> None:
    """It began another one: so that was over. What it has said whole from then on, it has said."""
    rig = Rig(dials=[ServerOptions(withhold=frozenset({"response.done"}))])
    rig.says(4_000)
    rig.says(12_000)
    rig.play(60_000)
    assert rig.story() == ["answer 1", "filler", "answer 2", "answer 3"]
    assert rig.dialled == [0]
    assert rig.notes == []


@pytest.mark.parametrize("withheld", ["response.created", "conversation.item.added", "rate_limits.updated"])
def test_an_event_that_never_comes_and_is_not_missed(withheld: str) -> None:
    rig = Rig(server=ServerOptions(withhold=frozenset({withheld})))
    rig.says(4_000)
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]


@pytest.mark.parametrize("withheld", ["speech_started", "speech_stopped", "committed"])
def test_a_word_about_the_callers_turn_that_never_comes(withheld: str) -> None:
    rig = Rig(server=ServerOptions(withhold=frozenset({f"input_audio_buffer.{withheld}"})))
    rig.says(4_000)
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]


# --- tools


def test_a_slow_tool_is_covered() -> None:
    plan: Plan = {2: [answer(2, 400, last=False), ToolCall("look_up", {}, "call_a")]}
    rig = Rig(Clerk(plan))
    rig.says(4_000)
    rig.answers_tools(5_000)
    rig.play(14_000)
    assert rig.story() == ["answer 1", "answer 2", "filler", "filler", "answer 3"]


def test_a_tool_with_words_of_its_own_is_covered_by_them() -> None:
    plan: Plan = {2: [answer(2, 400, last=False), ToolCall("look_up", {}, "call_a")]}
    words = (m.ToolConfig("look_up", filler="working", filler_after_ms=1_000),)
    rig = Rig(Clerk(plan), session={"tool_configs": words})
    rig.says(4_000)
    rig.answers_tools(2_500)
    rig.play(14_000)
    assert rig.story() == ["answer 1", "answer 2", "working", "answer 3"]


def test_a_tool_that_never_ends_is_ended() -> None:
    plan: Plan = {2: [answer(2, 400, last=False), ToolCall("look_up", {}, "call_a")]}
    rig = Rig(Clerk(plan))
    rig.says(4_000)
    rig.play(24_000)
    assert rig.story()[-1] == "answer 3"
    assert rig.notes == ["a tool gave no answer: look_up"]
    assert rig.told()[-1][0] == "function_call_output"


def test_a_black_hole_behind_a_tool_that_is_running() -> None:
    plan: Plan = {2: [answer(2, 400, last=False), ToolCall("look_up", {}, "call_a")]}
    rig = Rig(Clerk(plan))
    rig.says(4_000)
    rig.answers_tools(2_000)
    rig.stalls(5_700)
    rig.play(16_000)
    assert rig.tools == ["look_up"]
    assert rig.notes == [NO_SIGN]
    assert rig.story()[-1] == "answer 3"
