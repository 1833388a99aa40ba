"""A disclosure is heard to its end: alone on the line, whatever the caller and the model do meanwhile."""

from __future__ import annotations

from typing import Any

from bridge.core import messages as m

from .conftest import LiveCall, delta, frame, legs, new_call, only, phone, speech, truth


def disclosing(call: LiveCall, now_ms: int = 0, ms: int = 1_000) -> list[m.Action]:
    return call.at(now_ms, m.Play("notice", speech(ms, letter="P"), protected=True))


def played(call: LiveCall) -> list[str]:
    """All sound that went out so far, by its first letter (model sound has none)."""
    return [action.audio[:1] for action in only(m.PlayAudio, call.actions)]


def test_it_is_played_in_slices_alone(live_call: Any) -> None:
    call = live_call()
    assert phone(disclosing(call)) == [
        m.PlayAudio("P" * 2_560, 1_920),
        m.SendMark("1"),
        m.PlayAudio("P" * 2_560, 1_920),
        m.SendMark("2"),
    ]
    call.until(1_000)
    assert played(call) == ["P"] * 5
    assert only(m.Heard, call.echo(1_100)) == [m.Heard("notice", 1_000, cut=False)]


def test_model_audio_waits_behind_it_and_then_goes_out_in_order(live_call: Any) -> None:
    call = live_call()
    disclosing(call)
    speech_of_the_model = (m.ResponseStarted("r1"), delta("A", 250), delta("A", 50), m.AudioDone("r1", "A"))
    assert phone(call.speaks(100, *speech_of_the_model, delta("B", 100), m.ResponseDone("r1"))) == []
    call.until(900)
    assert played(call) == ["P"] * 5
    assert phone(call.echo(1_060)) == [
        m.PlayAudio("", 2_000),
        m.SendMark("6"),
        m.PlayAudio("", 400),
        m.SendMark("7"),
        m.PlayAudio("", 800),
        m.SendMark("8"),
    ]
    assert [spoken.item_id for spoken in only(m.Spoken, call.echo(1_500))] == ["A", "B"]


def test_it_starts_only_when_the_line_is_empty(live_call: Any) -> None:
    """So that a clear never has to spare a part of the carrier's buffer."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 600), m.ResponseDone("r1"))
    assert phone(disclosing(call, 100)) == []
    assert phone(call.until(600)) == []
    assert phone(call.echo(660))[0] == m.PlayAudio("P" * 2_560, 1_920)


def test_a_caller_who_speaks_over_it_is_not_spared_a_word(live_call: Any) -> None:
    call = live_call()
    disclosing(call)
    actions = call.at(300, m.SpeechStarted())
    assert (phone(actions), truth(actions)) == ([], [])
    call.until(1_000)
    assert played(call) == ["P"] * 5
    assert only(m.Heard, call.echo(1_060)) == [m.Heard("notice", 1_000, cut=False)]


def test_a_barge_in_drops_what_waits_and_its_items_are_deleted(live_call: Any) -> None:
    call = live_call()
    disclosing(call)
    call.speaks(100, m.ResponseStarted("r1"), delta("A", 400), delta("B", 100))
    assert truth(call.at(300, m.SpeechStarted())) == [m.DeleteItem("A"), m.DeleteItem("B")]
    assert legs(call.speaks(350, delta("B", 200), m.ResponseDone("r1", "cancelled"))) == []
    call.until(1_000)
    call.echo(1_060)
    assert played(call) == ["P"] * 5
    call.speaks(2_000, m.ResponseStarted("r2"), delta("C", 100, response="r2"))
    assert played(call)[-1] == ""


def test_what_it_cut_in_two_is_truncated_at_what_was_heard(live_call: Any) -> None:
    """The first half of the item had been heard when the notice began, the second waits behind it."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 400))
    call.echo(460)
    disclosing(call, 500)
    call.at(600, delta("A", 400))
    assert truth(call.at(700, m.SpeechStarted())) == [m.TruncateItem("A", 0, 400)]


def test_a_barge_in_before_it_starts_clears_the_way_for_it(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 3_000), m.ResponseDone("r1"))
    disclosing(call, 100)
    actions = call.at(1_000, m.SpeechStarted())
    assert truth(actions) == [m.ClearPlayout(), m.TruncateItem("A", 0, 1_000)]
    assert phone(actions)[:2] == [m.ClearPlayout(), m.PlayAudio("P" * 2_560, 1_920)]


def test_two_of_them_follow_each_other(live_call: Any) -> None:
    call = live_call()
    disclosing(call)
    call.at(10, m.Play("second", speech(240, letter="Q"), protected=True))
    call.until(1_000)
    assert played(call) == ["P"] * 5
    assert phone(call.echo(1_060)) == [m.PlayAudio("Q" * 2_560, 1_920), m.SendMark("6")]
    assert only(m.Heard, call.echo(1_400)) == [m.Heard("second", 240, cut=False)]


def test_one_without_sound_is_over_at_once(live_call: Any) -> None:
    """A phrase file may be empty; the call must not stop for it."""
    call = live_call()
    assert disclosing(call, ms=0) == [m.Heard("notice", 0, cut=False)]
    call.speaks(10, m.ResponseStarted("r1"), delta("A", 100))
    assert played(call) == [""]


def test_the_disclosure_comes_first_and_the_caller_is_heard_after_it() -> None:
    call = new_call(disclosure="notice", phrases={"notice": speech(500, letter="P")}, greeting="Hello.")
    call.speaks(0, m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.SessionUpdated())
    actions = call.at(100, m.Admitted())
    assert only(m.PlayAudio, actions)
    assert only(m.CreateResponse, actions)
    assert call.at(120, frame(0)) == []
    call.speaks(300, m.ResponseStarted("r1", tag="greeting"), delta("A", 400))
    call.until(600)
    assert played(call) == ["P"] * 3
    after = call.echo(660)
    assert m.AppendAudio("frame 0", 160) in after
    assert phone(after) == [m.PlayAudio("", 3_200), m.SendMark("4")]
    assert call.at(680, frame(1)) == [m.AppendAudio("frame 1", 160)]


def test_hanging_up_waits_for_it(live_call: Any) -> None:
    call = live_call()
    disclosing(call)
    call.at(100, m.HangUp())
    assert only(m.Ended, call.until(1_000)) == []
    assert call.echo(1_060)[-1] == m.Ended(m.Reason.WE_HUNG_UP)


def test_a_protected_greeting_without_a_word_is_asked_for_again(live_call: Any) -> None:
    call = live_call(greeting="Hello.", greeting_interruptible=False)
    call.at(100, m.ResponseStarted("r1", tag="greeting"))
    again = only(m.CreateResponse, call.at(200, m.ResponseDone("r1")))
    assert [create.tag for create in again] == ["greeting"]
    assert legs(call.at(300, frame(1))) == [], "the caller is not heard until it was said"
    call.speaks(400, m.ResponseStarted("r2", tag="greeting"), delta("A", 400, response="r2"))
    call.speaks(400, m.AudioDone("r2", "A"), m.ResponseDone("r2"))
    call.echo(900)
    assert only(m.AppendAudio, call.at(920, frame(2)))
