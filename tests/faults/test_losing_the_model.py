"""The model's socket breaks in the middle of a call: the caller hardly notices, and nothing is said twice.

The story of an undisturbed call: greeting (answer 1) from 230 to 1730 ms, the caller speaks from 4000 to
4600, answer 2 is heard from 5322 to 6822.
"""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from bridge.doubles.agents import ToolCall
from bridge.doubles.options import Drop, ServerOptions
from bridge.doubles.phone import PhoneOptions

from .rig import NEVER, WORDS, Clerk, Plan, Rig, answer

GREETED = ("assistant", f"1 {WORDS}")
ASKED = ("user", "(1400 ms of speech)")
MOMENTS = {
    "before the greeting": 100,
    "in the greeting": 700,
    "while silent": 3_000,
    "in the caller's words": 4_300,
    "before the turn is over": 4_900,
    "before the answer": 5_200,
    "in the answer": 5_600,
}


def lost(at_ms: int, code: int = 1006, **rig: object) -> Rig:
    call = Rig(**rig)  # type: ignore[arg-type]
    call.says(4_000)
    call.loses(at_ms, code)
    return call


@pytest.mark.parametrize("at_ms", MOMENTS.values(), ids=MOMENTS)
def test_whenever_it_is_lost_the_gap_is_one_dial_long_and_the_caller_is_answered(at_ms: int) -> None:
    rig = lost(at_ms).play(15_000)
    assert rig.call.stats.gaps_ms == [30]
    assert rig.notes == ["the model was lost: 1006"]
    assert rig.story()[-1] == f"answer {len(rig.agent.asked)}", "the last thing heard is an answer, and whole"
    assert rig.ended is None


def test_before_the_greeting_was_heard_it_is_given_once() -> None:
    rig = lost(100).play(8_000)
    assert rig.story() == ["answer 2", "answer 3"]
    assert rig.agent.greetings == [1, 2]


def test_in_the_greeting_the_model_goes_on_and_does_not_greet_again() -> None:
    rig = lost(700).play(8_000)
    assert rig.story() == ["answer 1 (450 ms)", "answer 2", "answer 3"]
    assert rig.agent.greetings == [1]
    assert rig.told() == [("assistant", "1 alfa bravo")]


def test_while_silent_the_caller_hears_nothing_of_it() -> None:
    rig = lost(3_000).play(8_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert rig.told() == [GREETED]
    assert rig.agent.greetings == [1]


def test_in_the_callers_words_the_next_model_hears_them_from_their_beginning() -> None:
    rig = lost(4_300).play(8_000)
    assert rig.story() == ["answer 1", "answer 2"]
    caller = rig.agent.asked[-1].caller
    assert caller is not None
    assert caller.sound.count(0x10) == 600 * 8


def test_before_the_turn_is_over_the_next_model_hears_it_whole() -> None:
    rig = lost(4_900).play(8_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert [asked.reason for asked in rig.agent.asked] == ["client", "turn"]


def test_before_the_answer_it_is_answered_once() -> None:
    """The turn was transcribed by then: nobody needs to hear it again."""
    rig = lost(5_220, server=ServerOptions(transcription_ms=(50,))).play(8_000)
    assert rig.story() == ["answer 1", "answer 3"]
    assert rig.told() == [GREETED, ASKED]
    assert [asked.reason for asked in rig.agent.asked] == ["client", "turn", "client"]


def test_in_the_answer_it_is_cut_and_the_next_model_goes_on_where_it_was_heard() -> None:
    rig = lost(5_600).play(8_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "answer 3"]
    assert rig.told() == [GREETED, ASKED, ("assistant", "2 alfa bravo")]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1015])
def test_with_whatever_word_it_goes_another_one_comes(code: int) -> None:
    rig = lost(5_600, code).play(8_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "answer 3"]
    assert rig.notes == [f"the model was lost: {code}"]


@pytest.mark.parametrize("code", [1008, 3000, 4000])
def test_a_close_that_says_that_we_are_wrong_is_the_end_in_words(code: int) -> None:
    rig = lost(5_600, code).play(12_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "apology"]
    assert rig.notes[0] == f"upstream refused: {code}"
    assert (rig.reason, rig.dialled) == (m.Reason.UPSTREAM_REFUSED, [0])


# --- heard truth


@pytest.mark.parametrize("at_ms", range(5_322, 6_822, 149))
def test_the_next_model_is_told_what_was_heard_to_the_millisecond(at_ms: int) -> None:
    rig = lost(at_ms).play(9_000)
    [spoken] = [spoken for spoken in rig.log(m.Spoken) if spoken.item_id == "item_3"]
    heard_ms = rig.heard_ms(2)
    assert spoken.heard_ms == heard_ms == at_ms - 5_322
    words = [words for role, words in rig.told() if role == "assistant" and words.startswith("2")]
    expected = f"2 {WORDS}"[: len(f"2 {WORDS}") * heard_ms // 1_500]
    assert words in ([expected.rstrip()], [expected.rpartition(" ")[0]], [] if not expected else [expected])


@pytest.mark.parametrize("delay_ms", [0, 40, 120])
def test_and_so_it_is_over_a_line_that_delays(delay_ms: int) -> None:
    """The clear takes as long as the sound did: what is heard is what had been sent so much earlier."""
    options = PhoneOptions(delay_out_ms=delay_ms, delay_back_ms=delay_ms)
    rig = lost(6_000, options=options).play(9_000)
    [spoken] = [spoken for spoken in rig.log(m.Spoken) if spoken.item_id == "item_3"]
    assert abs(spoken.heard_ms - rig.heard_ms(2)) <= 1


def test_the_restored_conversation_is_the_heard_one_also_after_a_barge_in() -> None:
    rig = Rig()
    rig.says(4_000)
    rig.says(5_700)
    rig.loses(9_500)
    rig.play(12_000)
    cut = next(words for role, words in rig.told() if words.startswith("2"))
    heard_ms = rig.heard_ms(2)
    assert 0 < heard_ms < 1_000
    assert f"2 {WORDS}".startswith(cut)
    assert abs(len(cut) - len(f"2 {WORDS}") * heard_ms / 1_500) <= len(" foxtrot")


# --- again and again


def test_lost_twice_in_one_answer() -> None:
    rig = lost(5_600)
    rig.loses(5_900)
    rig.play(9_000)
    assert rig.story()[0] == "answer 1"
    assert rig.story()[-1] == "answer 4"
    assert rig.call.stats.recoveries == 2


def test_lost_six_times_in_a_minute_is_the_end_in_words() -> None:
    rig = Rig()
    for number in range(6):
        rig.loses(3_000 + 2_000 * number)
    rig.play(20_000)
    assert rig.story()[-1] == "apology"
    assert (rig.call.stats.recoveries, rig.reason) == (5, m.Reason.UPSTREAM_LOST)


def test_lost_while_the_new_one_is_being_configured() -> None:
    rig = lost(5_600, dials=[ServerOptions(), ServerOptions(withhold=frozenset({"session.updated"}))])
    rig.loses(5_700, 1011)
    rig.play(10_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "answer 3"]
    assert len(rig.dialled) == 3


def test_lost_and_refused_twice_the_caller_hears_the_answer_a_moment_later() -> None:
    rig = lost(5_600, dials=[ServerOptions(), *[m.DialFailed(1, 503, "overloaded")] * 2]).play(10_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "answer 3"]
    assert len(rig.dialled) == 4


def test_lost_for_good_the_caller_is_told() -> None:
    rig = lost(5_600, dials=[ServerOptions(), *[m.DialFailed(1, 503, "overloaded")] * 3]).play(12_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "apology"]
    assert (rig.reason, rig.intent) == (m.Reason.UPSTREAM_LOST, "ended")


def test_lost_and_a_black_hole_in_its_place_for_three_seconds() -> None:
    rig = lost(5_600, dials=[ServerOptions(), NEVER]).play(14_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "filler", "answer 3"]


def test_who_speaks_while_nobody_is_there_is_kept_waiting_with_a_word_and_answered() -> None:
    rig = Rig(dials=[ServerOptions(), NEVER])
    rig.loses(3_000)
    rig.says(3_200)
    rig.play(12_000)
    assert rig.story() == ["answer 1", "filler", "answer 2"]
    caller = rig.agent.asked[-1].caller
    assert caller is not None
    assert caller.sound.count(0x10) == 600 * 8


def test_who_speaks_for_longer_than_is_kept_is_asked_by_the_model_not_left_alone() -> None:
    rig = Rig(dials=[ServerOptions(), NEVER], kept_audio_ms=1_000)
    rig.loses(3_000)
    rig.says(3_100, 2_500)
    rig.play(14_000)
    assert rig.story()[-1] == "answer 2"


# --- in the middle of other things


def looking_up(**rig: object) -> Rig:
    """The model says a word and calls a tool, which takes a second, from 5322 on."""
    plan: Plan = {2: [answer(2, 400, last=False), ToolCall("look_up", {"table": 4}, "call_a")]}
    call = Rig(Clerk(plan), **rig)  # type: ignore[arg-type]
    call.says(4_000)
    call.answers_tools(1_000)
    return call


@pytest.mark.parametrize("at_ms", [5_410, 5_500, 5_900, 6_350])
def test_a_tool_runs_once_whenever_the_model_is_lost(at_ms: int) -> None:
    rig = looking_up()
    rig.loses(at_ms)
    rig.play(12_000)
    assert rig.tools == ["look_up"]
    assert rig.told()[-2:] == [("function_call", "look_up"), ("function_call_output", "result of look_up")]
    assert rig.story()[-1] == "answer 3"


def test_a_tool_that_ends_while_nobody_is_there_is_told_to_the_next_one() -> None:
    rig = looking_up(dials=[ServerOptions(), NEVER])
    rig.loses(5_600)
    rig.play(14_000)
    assert rig.tools == ["look_up"]
    assert rig.told()[-1] == ("function_call_output", "result of look_up")
    assert rig.story()[-1] == "answer 3"


def test_a_tool_that_the_next_model_asks_for_again_while_it_runs_is_not_run_again() -> None:
    again = ToolCall("look_up", {"table": 4}, "call_b")
    plan: Plan = {2: [answer(2, 400, last=False), ToolCall("look_up", {"table": 4}, "call_a")], 3: [again]}
    rig = Rig(Clerk(plan))
    rig.says(4_000)
    rig.answers_tools(3_000)
    rig.loses(5_900)
    rig.says(6_200)
    rig.play(14_000)
    assert rig.tools == ["look_up"]
    assert rig.told()[-1] == ("function_call_output", "result of look_up")
    assert rig.story()[-1] == "answer 4"


def test_a_call_cut_off_in_the_middle_of_its_arguments_does_not_run() -> None:
    plan: Plan = {2: [answer(2, 400, last=False), ToolCall("look_up", {"table": 4}, "call_a", ms=1_000)]}
    rig = Rig(Clerk(plan))
    rig.says(4_000)
    rig.loses(5_800)
    rig.play(12_000)
    assert rig.tools == []
    assert rig.story()[-1] == "answer 3"


def test_what_a_handler_wanted_said_is_said_by_the_next_one() -> None:
    rig = Rig()
    rig.does(3_000, m.Say("say-1", "Your table is ready."))
    rig.loses(3_100)
    rig.play(8_000)
    assert rig.story() == ["answer 1", "answer 3"]
    [heard] = rig.log(m.Heard)
    assert (heard.say_id, heard.cut) == ("say-1", False)


def test_a_sound_of_ours_plays_on() -> None:
    rig = Rig(greeting=None)
    rig.does(1_000, m.Play("hold", rig.call.config.phrases["disclosure"]))
    rig.loses(1_500)
    rig.play(6_000)
    assert rig.story() == ["disclosure"]


def test_lost_in_its_goodbye_a_phrase_says_it() -> None:
    rig = Rig()
    rig.does(3_000, m.Say("bye", "Goodbye."), m.HangUp())
    rig.loses(3_100)
    rig.play(8_000)
    assert rig.story() == ["answer 1", "goodbye"]
    assert (rig.reason, rig.intent) == (m.Reason.WE_HUNG_UP, "ended")


def test_a_goodbye_that_is_on_its_way_is_heard_though_the_model_is_lost() -> None:
    rig = Rig()
    rig.does(3_000, m.Say("bye", "Goodbye."), m.HangUp())
    rig.loses(3_900)
    rig.play(8_000)
    assert rig.story() == ["answer 1", "answer 2"]


def test_a_hang_up_wished_for_while_nobody_is_there_comes_with_its_goodbye() -> None:
    rig = Rig()
    rig.loses(3_000)
    rig.does(3_010, m.Say("bye", "Goodbye."), m.HangUp())
    rig.play(8_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert rig.reason is m.Reason.WE_HUNG_UP


def test_a_model_that_always_drops_after_its_first_word_is_given_up_in_words() -> None:
    drops = ServerOptions(drops=(Drop("response.output_audio.delta", 3),))
    rig = Rig(server=drops).play(20_000)
    assert rig.story()[-1] == "apology"
    assert rig.call.stats.recoveries == 5
