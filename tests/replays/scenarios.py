"""The calls that `tests/replays/*.call.jsonl` were made of, each named after what it shows.

`scripts/make_replays.py` plays them anew, after a wanted change. Each says itself what must have come of it,
so that no recording shows something else than its name.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from bridge.core import messages as m
from bridge.doubles.agents import Failure, Pause, ToolCall
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.doubles.tones import tone
from bridge.testing.call import begin, tool_call, usual_config
from bridge.testing.scripted_call import ScriptedCall
from tests.codecs.lines import voice

SCENARIOS: dict[str, Callable[[], ScriptedCall]] = {}

STORY = "Once upon a time there was a parrot who repeated everything that anybody ever said to it."


def scenario(function: Callable[[], ScriptedCall]) -> Callable[[], ScriptedCall]:
    """Enters it under its name, with hyphens. Whoever still is on the phone at its end hangs up."""

    def whole() -> ScriptedCall:
        call = function()
        call.close()
        return call

    SCENARIOS[function.__name__.replace("_", "-")] = whole
    return whole


def session(**fields: Any) -> m.SessionConfig:
    return m.SessionConfig(transcription="gpt-4o-mini-transcribe", **fields)


# --- the caller speaks over the model -----------------------------------------------------------------------


@scenario
def greeting_heard() -> ScriptedCall:
    call = begin(greeting="Hello, how can I help you?", ring=True, dial_ms=120)
    call.at(5_000).expect.heard_text("Hello, how can I help you?").cleared(0).truth()
    return call


@scenario
def barge_in_one_item() -> ScriptedCall:
    call = begin()
    call.at(1_000).model.speaks(STORY, speed=5)
    call.at(1_640).caller.interrupts("Wait!")
    call.model.answers("Yes?")
    call.wait(2_500).expect.truncated("item_1", 600).barge_ins(1).heard_text("Yes?").said("Wait!").truth()
    return call


@scenario
def barge_in_two_items() -> ScriptedCall:
    call = begin()
    call.at(1_000).model.speaks("The first sentence is heard.", ms=1_000)
    call.model.speaks("The second one is cut in two.", ms=2_000)
    call.model.speaks("Of the third one nothing is heard.", ms=2_000)
    call.at(2_700).caller.interrupts()
    call.wait(1_500)
    call.expect.uncut("item_1").truncated("item_2", 700).deleted("item_3").barge_ins(1).truth()
    return call


@scenario
def barge_in_before_a_word() -> ScriptedCall:
    call = begin()
    call.at(1_000).model.speaks("Nobody hears this.", ms=1_000)
    call.caller.interrupts()
    call.wait(1_500).expect.deleted("item_1").truth()
    return call


@scenario
def spoke_right_after_the_last_word() -> ScriptedCall:
    """All was heard, though the last mark is still on its way back: nothing is cut, and nothing truncated."""
    call = begin(phone=PhoneOptions(delay_out_ms=60, delay_back_ms=60))
    call.at(500).model.speaks("Any questions?", ms=1_000)
    call.at(1_540).caller.interrupts("Yes.")
    call.wait(1_000).expect.barge_ins(0).truth()
    return call


@scenario
def barge_in_twice() -> ScriptedCall:
    call = begin()
    call.at(500).model.speaks(STORY, ms=6_000)
    call.at(1_500).caller.interrupts("No.")
    call.model.answers(STORY)
    call.wait(2_300).caller.interrupts("No, no.")
    call.model.answers("I am sorry.")
    call.wait(3_000).expect.barge_ins(2).cleared(2).heard_text("I am sorry.").truth()
    return call


@scenario
def barge_in_at_a_fraction_of_a_millisecond() -> ScriptedCall:
    """Deltas of 7 and 803 bytes: what was heard is whole milliseconds, rounded down."""
    call = begin(model=ServerOptions(delta_bytes=(7, 803), speed=8.0))
    call.at(1_000).model.speaks(STORY, ms=3_003, speed=8)
    call.at(1_777).caller.interrupts()
    call.wait(1_000).expect.barge_ins(1).truth(within_ms=1)
    return call


@scenario
def heard_to_its_end_after_odd_deltas() -> ScriptedCall:
    call = begin(model=ServerOptions(delta_bytes=(1, 60_000, 13)))
    call.at(500).model.speaks("Whole.", ms=1_111)
    call.wait(2_500).expect.uncut("item_1").cleared(0).truth()
    return call


@scenario
def late_deltas() -> ScriptedCall:
    call = begin(model=ServerOptions(late_deltas=4, cancel_ms=120, delta_bytes=(1_600,)))
    call.at(1_000).model.speaks(STORY, ms=12_000, speed=4)
    call.at(2_050).caller.interrupts()
    call.wait(2_000).expect.truncated("item_1", 1_000).cleared().cancelled(0).truth()
    return call


@scenario
def response_already_done() -> ScriptedCall:
    """All of it was sent long ago, so there is nothing to cancel, and all the more to truncate."""
    call = begin()
    call.at(500).model.speaks(STORY, ms=6_000)
    call.at(5_900).caller.interrupts()
    call.wait(1_000).expect.truncated("item_1", 5_400).cancelled(0).truth()
    return call


@scenario
def cancelled_before_it_was_noticed() -> ScriptedCall:
    """Compatible servers say `response.done` before `speech_started`."""
    call = begin(model=ServerOptions(done_first=True, delta_bytes=(1_600,)))
    call.at(500).model.speaks(STORY, ms=8_000, speed=3)
    call.at(1_566).caller.interrupts()
    call.wait(1_500).expect.truncated("item_1", 1_000).cancelled(0).truth()
    return call


@scenario
def vendor_does_not_interrupt() -> ScriptedCall:
    """Where its voice detection leaves responses alone, the cancel is ours: after the clear, and once."""
    config = session(turn_detection=m.ServerVad(interrupt_response=False))
    call = begin(config=usual_config(session=config), model=ServerOptions(delta_bytes=(1_600,)))
    call.at(500).model.speaks(STORY, ms=12_000, speed=3)
    call.at(1_566).caller.interrupts()
    call.wait(1_500).expect.truncated("item_1", 1_000).cancelled(1).cleared().truth()
    return call


@scenario
def mm_hm_does_not_cut() -> ScriptedCall:
    detection = m.ServerVad(interrupt_response=False, create_response=False, silence_duration_ms=200)
    config = usual_config(session=session(turn_detection=detection), backchannel_ms=700)
    call = begin(config=config)
    call.at(500).model.speaks("This goes on and on and on.", ms=3_000)
    call.at(1_500).caller.interrupts("mm-hm", ms=200)
    call.at(5_000).expect.uncut("item_1").cleared(0).barge_ins(0).truth()
    return call


@scenario
def more_than_mm_hm_cuts() -> ScriptedCall:
    detection = m.ServerVad(interrupt_response=False, create_response=False, silence_duration_ms=200)
    config = usual_config(session=session(turn_detection=detection), backchannel_ms=700)
    call = begin(config=config)
    call.at(500).model.speaks("This goes on and on and on.", ms=3_000)
    call.at(1_500).caller.interrupts("Now listen to me", ms=1_500)
    call.at(5_000).expect.truncated("item_1", 1_700).barge_ins(1).truth()
    return call


@scenario
def handler_interrupts() -> ScriptedCall:
    call = begin(model=ServerOptions(delta_bytes=(1_600,)))
    call.at(500).model.speaks(STORY, ms=12_000, speed=3)
    call.at(1_566).wish(m.Interrupt())
    call.wait(1_000).expect.truncated("item_1", 1_000).cancelled(1).truth()
    return call


# --- marks, and a carrier that is far away ------------------------------------------------------------------


@scenario
def marks_late_by_60_plus_minus_30_ms() -> ScriptedCall:
    chance = random.Random(7)
    ways = [chance.randint(30, 90) for _ in range(400)], [chance.randint(30, 90) for _ in range(400)]
    call = begin(phone=PhoneOptions(delay_out_ms=ways[0], delay_back_ms=ways[1]))
    for number in range(3):
        call.model.answers("An answer that nobody cuts.", Pause(number))
        call.caller.says("Go on.")
        call.wait(3_500)
    call.model.speaks(STORY, ms=5_000)
    call.wait(1_700).caller.interrupts("Stop.")
    call.wait(1_500).expect.barge_ins(1).truth(within_ms=45)
    return call


@scenario
def echoes_of_a_clear_meet_the_next_answer() -> ScriptedCall:
    """Marks that a clear returned come back while the next answer plays already: they mean nothing."""
    call = begin(phone=PhoneOptions(clear_echo_ms=1_500))
    call.at(500).model.speaks(STORY, ms=6_000)
    call.at(1_200).caller.interrupts(ms=100)
    call.model.answers(STORY)
    call.wait(1_350).caller.interrupts()
    call.wait(1_500).expect.barge_ins(2).truncated("item_1", 700).truth()
    return call


@scenario
def marks_that_come_twice() -> ScriptedCall:
    call = begin(phone=PhoneOptions(echoes_per_mark=2))
    call.at(500).model.speaks(STORY, ms=3_000)
    call.at(2_000).caller.interrupts()
    call.wait(1_000).expect.truncated("item_1", 1_500).truth()
    return call


@scenario
def marks_that_never_come() -> ScriptedCall:
    """The goodbye is drained by the clock: nobody hangs on the line for ever."""
    call = begin(phone=PhoneOptions(echoes_per_mark=0))
    call.at(500).model.speaks("Goodbye then.", ms=1_500)
    call.wish(m.HangUp("said goodbye"))
    call.at(10_000).expect.ended(m.Reason.WE_HUNG_UP)
    return call


@scenario
def starved_line() -> ScriptedCall:
    """The model is slower than its speech: the line falls silent in between, and begins anew."""
    call = begin(model=ServerOptions(delta_bytes=(1_600,)))
    call.at(500).model.speaks(STORY, ms=3_000, speed=0.5)
    call.at(3_330).caller.interrupts()
    call.wait(1_000).expect.barge_ins(1).truth()
    return call


# --- the model is lost --------------------------------------------------------------------------------------


@scenario
def model_lost_mid_speech() -> ScriptedCall:
    call = begin(dial_ms=150)
    call.at(1_000).model.speaks(STORY, ms=6_000)
    call.at(2_500).model.is_lost()
    call.model.answers("Where was I?")
    call.at(6_000).expect.recovered().cleared().barge_ins(0).told("The line to you was interrupted")
    call.expect.heard_text("Where was I?").going_on()
    return call


@scenario
def model_lost_while_an_answer_is_owed() -> ScriptedCall:
    call = begin(dial_ms=900)
    call.at(1_000).caller.says("What time is it?")
    call.at(2_560).model.is_lost(1011)
    call.model.answers("It is late.")
    call.at(9_000).expect.recovered().heard_text("It is late.").played("filler").going_on()
    return call


@scenario
def model_unreachable() -> ScriptedCall:
    call = begin(dial_ms=100, ring=True)
    return _without_a_model(call)


def _without_a_model(call: ScriptedCall) -> ScriptedCall:
    call.at(2_000).model.reachable = False
    call.model.is_lost()
    call.at(12_000).expect.played("apology").ended(m.Reason.UPSTREAM_LOST)
    return call


@scenario
def model_unreachable_with_a_fallback() -> ScriptedCall:
    call = _without_a_model(begin(dial_ms=100, fallback="front desk"))
    call.expect.transferred("front desk")
    return call


@scenario
def responses_that_fail() -> ScriptedCall:
    """One is asked for again; after two in a row the caller hears an apology."""
    call = begin(greeting="Hello!")
    call.at(1_500).caller.says("Are you there?")
    call.model.answers(Failure())
    call.model.answers(Failure())
    call.at(12_000).expect.played("apology").ended(m.Reason.UPSTREAM_LOST)
    return call


@scenario
def session_renewed_in_a_quiet_moment() -> ScriptedCall:
    call = begin(accepted_at_s=0, renew_ms=3_000, renew_forced_ms=60_000, dial_ms=50)
    call.at(1_000).model.speaks("This is remembered.", ms=1_000)
    call.at(2_900).model.speaks("This is not cut.", ms=1_500)
    call.at(6_000).expect.uncut("item_2").noted("session renewed").told("This is remembered.").cleared(0)
    return call


# --- our own sounds -----------------------------------------------------------------------------------------


@scenario
def disclosure_not_cut() -> ScriptedCall:
    call = begin(disclosure="disclosure", greeting="Hello!")
    call.at(700).caller.interrupts("Hey, hello, is somebody there?", ms=900)
    call.at(1_500).wish(m.Interrupt())
    call.at(5_500).expect.played("disclosure")
    call.expect.heard_text("You are speaking with an automated assistant.")
    assert [heard.cut for heard in call.rehearsal.log(m.Heard)] == [False]
    return call


@scenario
def sound_of_ours_cut() -> ScriptedCall:
    call = begin()
    phrase = usual_config().phrases["apology"]
    call.at(500).wish(m.Play("news", phrase))
    call.at(2_000).caller.interrupts()
    call.wait(1_000).expect.played("news").cleared()
    return call


@scenario
def said_while_the_model_speaks() -> ScriptedCall:
    call = begin(model=ServerOptions(delta_bytes=(1_600,)))
    call.at(500).model.speaks("I am speaking already.", ms=3_000, speed=2)
    call.at(700).wish(m.Say("say:1", "And this comes after it."))
    call.at(7_000).expect.uncut("item_1").heard_text("And this comes after it.").truth()
    return call


# --- tools --------------------------------------------------------------------------------------------------


@scenario
def tool_filler() -> ScriptedCall:
    call = begin()
    call.at(1_000).caller.says("Where is my order?")
    call.model.answers("Let me see.", tool_call("find_order", number=5))
    call.model.answers("It is on its way.")
    call.at(8_000).wish(m.ToolFinished("call_1", '{"state": "on its way"}'))
    call.at(11_000).expect.tool_called("find_order", number=5).played("filler").tool_answered("on its way")
    call.expect.heard_text("It is on its way.").truth()
    return call


@scenario
def two_tools_one_answer() -> ScriptedCall:
    call = begin()
    call.at(500).caller.says("Both, please.")
    call.model.answers(tool_call("one"), tool_call("two"))
    call.model.answers("Here are both.")
    call.at(2_500).wish(m.ToolFinished("call_2", "2"))
    call.at(3_000).wish(m.ToolFinished("call_1", "1"))
    call.at(6_000).expect.tool_called("one").tool_called("two").heard_text("Here are both.")
    assert len(call.rehearsal.log(m.CreateResponse)) == 1
    return call


@scenario
def tool_cut_off_by_the_caller() -> ScriptedCall:
    """A call that was not written to its end must not run."""
    call = begin()
    call.at(500).caller.says("Book it.")
    call.model.answers(ToolCall("book", {"seats": 4, "name": "somebody with a long name"}, ms=2_000))
    call.at(2_600).caller.interrupts("No, wait!")
    call.at(5_000)
    assert not call.rehearsal.log(m.ToolWanted)
    return call


@scenario
def tool_that_gives_no_answer() -> ScriptedCall:
    tools = (m.ToolConfig("slow", deadline_ms=3_000),)
    call = begin(config=usual_config(session=session(tool_configs=tools)))
    call.model.calls("slow")
    call.model.answers("I could not find out.")
    call.at(8_000).wish(m.ToolFinished("call_1", "too late"))
    call.at(9_000).expect.tool_answered("gave no answer in time").heard_text("I could not find out.")
    call.expect.noted("a tool gave no answer")
    return call


# --- the end ------------------------------------------------------------------------------------------------


@scenario
def goodbye_heard_to_its_end() -> ScriptedCall:
    call = begin()
    call.at(500).model.speaks("Goodbye, and thank you for calling.", ms=2_000)
    call.at(600).wish(m.HangUp())
    call.at(9_000).expect.uncut("item_1").ended(m.Reason.WE_HUNG_UP).truth()
    return call


@scenario
def goodbye_taken_back() -> ScriptedCall:
    call = begin()
    call.at(500).model.speaks("Goodbye, and thank you for calling.", ms=2_000)
    call.at(600).wish(m.HangUp())
    call.at(1_500).caller.interrupts("One more thing!")
    call.model.answers("Of course.")
    call.at(6_000).expect.truncated("item_1", 1_000).heard_text("Of course.").going_on().truth()
    return call


@scenario
def transfer_after_the_last_word() -> ScriptedCall:
    call = begin()
    call.at(500).model.speaks("I am putting you through.", ms=1_500)
    call.at(550).wish(m.Transfer("front desk"))
    call.at(6_000).expect.uncut("item_1").transferred("front desk").ended(m.Reason.TRANSFERRED).truth()
    return call


BILLING = m.Detour("d" * 32, name="billing")


def put_through(call: ScriptedCall, wish: m.Detour = BILLING) -> ScriptedCall:
    """The model says that it does, and it is done."""
    call.at(500).model.speaks("I am putting you through.", ms=1_500)
    call.at(550).wish(wish)
    return call


@scenario
def transfer_to_a_busy_target_and_back() -> ScriptedCall:
    call = put_through(begin().returns("busy", after_ms=3_000))
    call.model.answers("The line is busy. What else can I do?")
    call.at(12_000).expect.transferred("billing").outcomes("busy").recovered(0).going_on()
    call.expect.heard_text("The line is busy. What else can I do?").truth()
    return call


@scenario
def transfer_accepted_and_over() -> ScriptedCall:
    """The model's session is let go 15 s after the target has accepted."""
    call = put_through(begin().returns("connected", after_ms=60_000, talk_s=50))
    call.at(70_000).expect.outcomes("connected").ended(m.Reason.TRANSFERRED).noted("session parked")
    return call


@scenario
def transfer_interrupted() -> ScriptedCall:
    call = put_through(begin())
    call.model.answers("Of course. What else?")
    call.at(1_200).caller.interrupts("No, wait!")
    call.at(8_000).expect.outcomes("interrupted").heard_text("Of course. What else?").going_on().truth()
    return call


@scenario
def transfer_warm_to_nobody() -> ScriptedCall:
    """The caller stays with the model, which says so while it rings, and when nobody is there."""
    wish = m.Detour("d" * 32, name="billing", mode=m.TransferMode.WARM)
    call = put_through(begin().returns("no_answer", after_ms=25_000), wish)
    for words in ("I call them now.", "It still rings.", "Nobody is there."):
        call.model.answers(words)
    call.at(34_000).expect.outcomes("no_answer").heard_text("Nobody is there.").going_on().truth()
    return call


@scenario
def session_parked_and_dialled_anew() -> ScriptedCall:
    """A caller who is away for longer than the model is kept comes back to the same conversation."""
    call = put_through(begin(detour_keep_ms=10_000).returns("returned", after_ms=40_000))
    call.model.answers("There you are again.")
    call.at(60_000).expect.outcomes("returned").recovered(1).heard_text("There you are again.").going_on()
    return call


@scenario
def caller_hangs_up_mid_speech() -> ScriptedCall:
    call = begin()
    call.at(500).model.speaks(STORY, ms=5_000)
    call.at(2_000).caller.hangs_up()
    call.expect.ended(m.Reason.CALLER_HUNG_UP).cleared(0)
    return call


@scenario
def carrier_lost() -> ScriptedCall:
    call = begin()
    call.at(500).model.speaks(STORY, ms=5_000)
    call.at(2_000).caller.is_lost()
    call.expect.ended(m.Reason.CARRIER_LOST)
    return call


@scenario
def a_limit_and_its_goodbye() -> ScriptedCall:
    call = begin(limits=m.Limits(call_ms=8_000, goodbye_ms=5_000))
    call.at(500).model.speaks("We have eight seconds.", ms=1_000)
    call.at(9_000).expect.noted("a limit was reached").heard_text("Goodbye.").ended(m.Reason.LIMIT).truth()
    return call


# --- keys and silence ---------------------------------------------------------------------------------------


@scenario
def keys_become_words() -> ScriptedCall:
    call = begin(digits="interrupt")
    call.at(500).model.speaks("Please type your number, and then the hash key.", ms=3_000)
    call.at(1_500).caller.presses("4")
    call.at(1_800).caller.presses("2#")
    call.at(4_000).expect.pressed("42#").truncated("item_1", 1_000).told("The caller pressed 4 2 #").truth()
    return call


@scenario
def silent_caller() -> ScriptedCall:
    call = begin(limits=m.Limits(nudge_ms=2_000, nudges=1))
    call.at(500).model.speaks("Your turn.", ms=500)
    call.at(12_000).expect.played("nudge").ended(m.Reason.LIMIT)
    return call


@scenario
def frames_that_stop_in_mid_word() -> ScriptedCall:
    """Voice detection counts audio, not time: silence is put in, or the turn would never end."""
    call = begin()
    call.at(500).caller.says(ms=900, words="Hello?")
    call.at(1_000)
    call.rehearsal.from_phone(call.phone.withhold_media(3_000, call.now_ms))
    call.model.answers("Hello.")
    call.at(4_000).expect.said("Hello?").heard_text("Hello.")
    return call


# --- who answers a call that we place


def answers_us(sound: bytes, words: str, **rules: Any) -> ScriptedCall:
    outbound = m.AnswerRules(on_machine="voicemail", message="Please call Ann back.", **rules)
    call = begin(outbound=outbound, greeting="Hello, this is Ann.")
    call.at(200).caller.says(sound, words=words)
    return call


@scenario
def voicemail_left() -> ScriptedCall:
    greeting = voice(4.0) + b"\xff" * 2_400 + tone(400, 1_000)
    call = answers_us(greeting, "You have reached Bob. Please leave a message after the tone.")
    call.until_over()
    [left] = call.rehearsal.log(m.MessageLeft)
    assert left.whole
    assert [one.by.value for one in call.rehearsal.log(m.Answered)] == ["voicemail"]
    return call


@scenario
def screening_then_a_person() -> ScriptedCall:
    call = answers_us(
        voice(3.0), "Please say your name and the reason for your call.", screening="Ann, of Ann's."
    )
    call.at(9_000).caller.says(voice(0.6), words="Hello?")
    call.wait(5_000).expect.heard_text("Ann, of Ann's.").heard_text("Hello, this is Ann.")
    assert [one.by.value for one in call.rehearsal.log(m.Answered)] == ["screening", "human"]
    return call


@scenario
def machine_known_late() -> ScriptedCall:
    """A pause after the first words makes it seem a person; the carrier and the words know better."""
    call = answers_us(voice(0.9), "Hi.")
    call.wait(2_100)
    call.caller.says(voice(3.0) + b"\xff" * 2_400 + tone(400, 1_000), words="Leave a message after the tone.")
    call.at(5_000)
    call.rehearsal.feed(m.MachineVerdict("machine_end_other", 5_000))
    call.until_over()
    assert [one.by.value for one in call.rehearsal.log(m.Answered)] == ["human", "voicemail"]
    [left] = call.rehearsal.log(m.MessageLeft)
    assert left.whole
    call.truth()
    return call
