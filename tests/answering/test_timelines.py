"""Timelines of calls that we place, in virtual time: who answers, what they hear of us, and when."""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from tests.codecs.lines import mixed

from .callees import GREETING, MESSAGE, beep, placed, said, silence

BOBS = "Hi, you have reached Bob. Please leave a message after the tone."
MAILBOX = said(8_700) + silence(300) + beep(400)
"""A greeting of 8.7 s, and a tone that ends 9.4 s after its beginning."""


def test_a_person_is_greeted_half_a_second_after_their_first_word() -> None:
    callee = placed().says(300, said(600), "Hello?").verdict(2_400, "human").until(6_000)
    (at_ms, answered), *more = callee.told(m.Answered)
    assert (answered, more) == (m.Answered(m.AnswerKind.HUMAN, "ear", at_ms), [])
    assert 1_400 <= at_ms <= 1_560, "their word ends at 980 to 1,000"
    assert callee.asked == ["greeting"], "one greeting, and no other answer to the hello"
    assert callee.told(m.Spoken)[0][1].heard == GREETING
    assert callee.ended is None


def test_a_person_who_is_there_before_the_model_is_greeted_all_the_same() -> None:
    callee = placed(how={"dial_ms": 2_500}).says(300, said(600), "Hello?").until(7_000)
    assert callee.kinds == ["human"]
    assert callee.asked == ["greeting"]
    assert callee.told(m.Spoken)[0][1].heard == GREETING


@pytest.mark.hostile
def test_somebody_who_says_nothing_is_greeted_after_a_while() -> None:
    callee = placed(greet_after_ms=1_800).until(12_000)
    (asked_ms, _) = callee.told(m.CreateResponse)[0]
    assert asked_ms == 1_800
    assert callee.kinds == ["silence"]
    assert callee.ended is None


def test_a_message_begins_after_the_tone_and_is_whole_and_nothing_follows_it() -> None:
    callee = placed(recorded=True).says(200, MAILBOX, BOBS).verdict(10_300, "machine_end_beep").until(20_000)
    beep_over_ms = 200 + 9_400 + 80
    assert min(callee.sent_ms) >= beep_over_ms
    heard_ms = callee.loud_ms()
    assert beep_over_ms + 400 <= heard_ms[0] <= beep_over_ms + 800
    (_, found) = callee.told(m.Beep)[0]
    assert abs(found.at_ms - beep_over_ms) <= 20
    assert abs(found.hz - 1_000) <= 20
    assert callee.kinds == ["voicemail"]
    assert callee.left == [m.MessageLeft(3_000, 3_000, whole=True)]
    assert callee.ended == m.Ended(m.Reason.WE_HUNG_UP, "a message was left")
    assert callee.call.rehearsal.call.stats.message == "voicemail_left"
    assert callee.asked == [], "no response: no greeting, no goodbye"


@pytest.mark.hostile
def test_a_message_of_words_is_made_by_the_model_while_the_greeting_runs() -> None:
    callee = placed().says(200, MAILBOX, BOBS).until(20_000)
    [(asked_ms, create)] = callee.told(m.CreateResponse)
    assert (create.tag, create.aside, create.tool_choice) == ("voicemail", True, "none")
    assert MESSAGE in (create.instructions or "")
    assert asked_ms < 3_000, "when the first utterance is too long for a person's"
    assert callee.left == [m.MessageLeft(2_700, 2_700, whole=True)]
    assert ("assistant", MESSAGE) in callee.call.model.conversation, "heard-true: the model knows of it"


def test_who_spoke_first_stops_when_it_is_a_machine_and_says_no_more() -> None:
    callee = placed(recorded=True, speak_first=True).says(200, MAILBOX, BOBS).until(9_500)
    [(clear_ms, _)] = callee.told(m.ClearPlayout)
    assert clear_ms <= 2_800
    [(cut_ms, cut)] = callee.told(m.TruncateItem)
    assert cut_ms == clear_ms
    _, heard_bytes = callee.call.phone.cleared[0]
    assert abs(cut.heard_ms - heard_bytes // 8) <= 45
    assert callee.asked == ["greeting"], "and no response until the message"
    assert callee.until(20_000).left == [m.MessageLeft(3_000, 3_000, whole=True)]


@pytest.mark.parametrize(
    "pause_ms",
    [pytest.param(ms, marks=() if ms == 700 else pytest.mark.hostile) for ms in (150, 350, 500, 700, 900)],
)
def test_a_greeting_that_goes_on_after_a_tone_gets_one_whole_message_at_its_end(pause_ms: int) -> None:
    greeting = said(3_800) + beep(150) + silence(pause_ms)
    rest_ms = 200 + len(greeting) // 8 + 80
    callee = placed(recorded=True).says(200, greeting + said(4_000, 6.0) + silence(300) + beep(400), BOBS)
    callee.until(20_000)
    over_ms = rest_ms + 4_700
    assert callee.left == [m.MessageLeft(3_000, 3_000, whole=True)]
    early = [at_ms for at_ms in callee.loud_ms() if at_ms < over_ms]
    assert max(early, default=0) <= rest_ms + 200, "stopped within 200 ms of the voice"
    late = [at_ms for at_ms in callee.loud_ms() if at_ms >= over_ms]
    assert over_ms + 400 <= late[0] <= over_ms + 800


def test_an_assistant_gets_one_sentence_and_the_person_who_comes_a_greeting() -> None:
    sentence = "This is Ann of Miller and Sons, about your order."
    callee = placed(screening=sentence, how={"model": None})
    callee.says(200, said(4_000), "Hi, if you record your name and reason for calling, I will see.")
    callee.says(12_000, said(600, 9.0), "Hello?").until(12_400)
    assert callee.kinds == ["screening"]
    spoken = [one.heard for _, one in callee.told(m.Spoken)]
    assert spoken == [sentence], "and no nudge after it"
    assert callee.until(18_000).kinds == ["screening", "human"]
    asked = [(at_ms, one.tag) for at_ms, one in callee.told(m.CreateResponse) if not one.aside]
    assert [tag for _, tag in asked] == ["screening:1", "greeting"]
    assert 4_600 <= asked[0][0] <= 5_200
    assert asked[1][0] >= 12_600
    assert callee.left == []
    assert callee.ended is None


ASKS = "Hi, if you record your name and reason for calling, I'll see if this person is available."


@pytest.mark.parametrize(
    "ringing",
    [
        pytest.param(mixed(beep(1_500, 440, -20), beep(1_500, 480, -20)), id="two tones"),
        pytest.param(beep(1_000, 425, -20), id="one tone", marks=pytest.mark.hostile),
        pytest.param(b"", id="silence", marks=pytest.mark.hostile),
    ],
)
def test_who_comes_after_please_hold_is_greeted_and_ringing_is_not(ringing: bytes) -> None:
    callee = placed(recorded=True).says(300, said(4_500), ASKS)
    callee.says(11_000, said(1_500, 6.0), "Thanks. Please stay on the line.")
    for at_ms in (14_000, 19_000) if ringing else ():
        callee.says(at_ms, ringing)
    callee.says(26_000, said(600, 9.0), "Hello?").until(32_000)
    assert callee.kinds == ["screening", "human"]
    greeted = [at_ms for at_ms, one in callee.told(m.CreateResponse) if one.tag == "greeting"]
    assert 26_600 <= greeted[0] <= 28_500
    assert callee.left == []
    assert callee.ended is None


@pytest.mark.hostile
def test_who_comes_after_please_hold_and_says_what_nobody_knows_is_greeted() -> None:
    callee = placed(recorded=True).says(300, said(4_500), ASKS)
    callee.says(11_000, said(1_500, 6.0), "Thanks. Please stay on the line.")
    callee.says(20_000, said(900, 9.0), "Bob Baker here.").until(26_000)
    assert callee.kinds == ["screening", "human"]
    assert "greeting" in callee.asked


@pytest.mark.parametrize("pause_ms", [200, pytest.param(900, marks=pytest.mark.hostile)])
def test_an_assistant_with_a_tone_is_no_mailbox(pause_ms: int) -> None:
    callee = placed(recorded=True).says(300, said(4_500) + silence(pause_ms) + beep(200), ASKS)
    callee.says(15_000, said(600, 9.0), "Hello?").until(20_000)
    assert "screening" in callee.kinds
    assert callee.kinds[-1] == "human"
    assert not [left for left in callee.left if left.whole]
    heard = [one.heard_ms for _, one in callee.told(m.Heard) if one.say_id == "voicemail"]
    assert sum(heard) <= 500
    assert "screening:1" in callee.asked
    assert callee.ended is None


@pytest.mark.hostile
def test_an_assistant_whose_person_does_not_come_is_hung_up_on_after_a_minute() -> None:
    callee = placed().says(200, said(4_000), "Please say your name and the reason for your call.")
    callee.says(9_000, said(900, 5.0), "Thanks. Please hold while I connect you.").until(80_000)
    assert callee.kinds == ["screening"]
    assert callee.ended == m.Ended(m.Reason.WE_HUNG_UP, "screened")
    assert 60_000 <= callee.told(m.Ended)[0][0] <= 68_000
    assert callee.call.rehearsal.call.stats.message == "screened"


def test_a_person_of_two_turns_stays_one_whatever_the_carrier_says() -> None:
    callee = placed()
    callee.call.model.answers("Is this a good time?")
    callee.call.model.answers("It is about your order, which is ready and waits for you.")
    callee.says(300, said(600), "Hello?").says(5_000, said(1_200, 4.0), "Yes, that is me.")
    callee.says(9_000, said(1_200, 6.0), "Sure, go ahead.").verdict(10_900, "machine_end_silence").until(
        20_000
    )
    assert callee.told(m.ClearPlayout) == []
    assert m.Noted("machine detection", "machine_end_silence after 10900 ms") in callee.call.rehearsal.log(
        m.Noted
    )
    assert callee.kinds == ["human"]
    assert not callee.call.rehearsal.call.callee.open
    assert callee.ended is None


def test_a_verdict_after_the_end_changes_nothing() -> None:
    callee = placed().says(300, said(600), "Hello?").until(5_000)
    callee.call.caller.hangs_up()
    before = len(callee.call.rehearsal.said)
    callee.call.rehearsal.feed(m.MachineVerdict("machine_end_silence", 7_000))
    assert callee.call.rehearsal.said[before:] == []


def test_a_person_who_is_taken_for_a_machine_interrupts_the_message() -> None:
    """A tone that was no mailbox's, and silence after it; then they speak."""
    callee = placed(recorded=True).says(200, silence(200) + beep(300, 800), "")
    callee.says(2_200, said(2_000, 4.0), "Hello? Who is this?").until(8_000)
    spoke_ms = 2_200 + 80
    assert callee.loud_ms(), "it had begun"
    (clear_ms, _) = callee.told(m.ClearPlayout)[0]
    assert spoke_ms <= clear_ms <= spoke_ms + 500
    [left] = callee.left
    assert not left.whole
    assert left.heard_ms < 1_500
    assert callee.kinds == ["voicemail", "human"]
    assert "interrupted" in callee.asked
    assert callee.ended is None


@pytest.mark.hostile
def test_a_mailbox_that_ends_the_call_has_a_part_of_the_message() -> None:
    callee = placed(recorded=True).says(200, MAILBOX, BOBS).until(11_500)
    callee.call.caller.hangs_up()
    [left] = callee.left
    assert not left.whole
    assert 0 < left.heard_ms < 3_000
    assert callee.call.rehearsal.call.stats.message == "message_partial"
    assert isinstance(callee.call.rehearsal.said[-1][1], m.Ended)


@pytest.mark.hostile
def test_hanging_up_needs_more_than_one_signal() -> None:
    """A long utterance and the carrier's verdict on it are one signal, told twice."""
    callee = placed(on_machine="hang_up").says(200, said(5_000), "").verdict(4_000, "machine_end_other")
    assert callee.until(14_000).ended is None


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("words", "verdict"), [(BOBS, None), ("You have reached Bob.", "machine_end_silence"), (None, "beep")]
)
def test_two_signals_that_agree_hang_up(words: str | None, verdict: str | None) -> None:
    sound = said(5_000) + (beep() if verdict == "beep" else b"")
    callee = placed(on_machine="hang_up").says(200, sound, words or "")
    if verdict not in (None, "beep"):
        callee.verdict(6_500, verdict)
    callee.until(20_000)
    assert callee.ended is not None
    assert callee.ended.reason is m.Reason.WE_HUNG_UP
    assert callee.ended.detail == "answered by voicemail"
    assert callee.sent_ms == []


@pytest.mark.hostile
def test_unknown_never_ends_a_call() -> None:
    callee = placed(on_machine="hang_up").says(200, said(5_000), "").verdict(6_000, "unknown").until(30_000)
    assert callee.ended is None


@pytest.mark.hostile
def test_a_menu_is_answered_and_not_greeted() -> None:
    callee = placed()
    callee.says(200, said(5_000), "For sales, press one. For support, press two.").until(9_000)
    assert callee.kinds == ["ivr"]
    assert [tag for tag in callee.asked if tag != "voicemail"][:1] == ["menu"]
    assert callee.ended is None


@pytest.mark.hostile
def test_a_full_mailbox_is_hung_up_on_without_a_message() -> None:
    callee = (
        placed().says(200, said(5_000), "The mailbox is full and cannot accept any messages.").until(9_000)
    )
    assert callee.kinds == ["unavailable"]
    assert callee.left == []
    assert callee.ended == m.Ended(m.Reason.WE_HUNG_UP, "answered by unavailable")


def test_the_model_may_report_what_it_hears() -> None:
    callee = placed(on_machine="hang_up").says(300, said(900), "Hi, it is Bob.")
    callee.verdict(2_600, "machine_start").until(3_000)
    callee.call.wish(m.ReportAnswer(m.AnswerKind.VOICEMAIL))
    assert callee.ended == m.Ended(m.Reason.WE_HUNG_UP, "answered by voicemail")


def test_the_word_of_the_model_alone_ends_nothing() -> None:
    callee = placed().says(300, said(600), "Hello?").until(3_000)
    callee.call.wish(m.ReportAnswer(m.AnswerKind.VOICEMAIL))
    callee.says(6_000, said(900, 4.0), "Hello? Are you there?").until(14_000)
    assert callee.left == []
    assert callee.ended is None


def test_talk_switches_all_of_it_off() -> None:
    callee = placed(on_machine="talk").until(100)
    assert callee.asked == ["greeting"]
    assert not callee.call.rehearsal.call.callee.open
    [config] = [one for _, one in callee.told(m.ConfigureSession)]
    assert getattr(config.config.turn_detection, "create_response", False)


def test_an_inbound_call_asks_nothing() -> None:
    from bridge.testing import begin

    call = begin(greeting=GREETING)
    assert not call.rehearsal.call.callee.open
    assert [one.tag for one in call.rehearsal.log(m.CreateResponse)] == ["greeting"]
