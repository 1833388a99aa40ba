"""The caller leaves the stream on purpose and comes back to the same session, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.detours import MOST, became

from .conftest import LiveCall, delta, frame, new_call, only, speech, truth

ID = "d" * 32
BILLING = m.Detour(ID, name="billing")
WARM = m.Detour(ID, name="billing", mode=m.TransferMode.WARM)
BUSY = m.DetourResult(m.TransferOutcome.BUSY, rang_ms=2_000)
GIVEN_UP = m.SnapshotItem(
    "system", "transfer to billing: it was given up, because the line to the caller broke off"
)
CONNECTED = m.DetourResult(m.TransferOutcome.CONNECTED, talk_ms=95_000, accepted=True)
NEXT_STREAM = m.Started("MZ2", "CA1", "AC1")


def talked(call: LiveCall, now_ms: int = 0) -> None:
    """The caller asked for something, and heard the model's answer: "One moment", one second long."""
    call.speaks(now_ms, m.SpeechStarted(), m.SpeechStopped(), m.CallerTranscribed("u1", "Billing, please"))
    call.speaks(now_ms, m.ResponseStarted("r1"), m.TextDelta("r1", "A", 0, "One moment"), delta("A", 1_000))
    call.speaks(now_ms, m.AudioDone("r1", "A"), m.ResponseDone("r1"))


def gone(call: LiveCall, wish: m.Detour = BILLING, now_ms: int = 1_100) -> list[m.Action]:
    """The caller is away: what the last word of ours led to."""
    talked(call)
    call.at(500, wish)
    left = call.echo(now_ms)
    call.at(now_ms + 300, m.WentAway(wish.detour_id))
    return left


def says(call: LiveCall, now_ms: int, response_id: str, tag: str = "") -> list[m.Action]:
    """The model says something of 300 ms, and it is heard."""
    call.speaks(now_ms, m.ResponseStarted(response_id, tag), delta(response_id, 300, response=response_id))
    call.speaks(now_ms, m.AudioDone(response_id, response_id), m.ResponseDone(response_id))
    return call.echo(now_ms + 400)


def ended(call: LiveCall) -> list[m.DetourResult]:
    return [action.result for action in only(m.DetourEnded, call.actions)]


def outcomes(call: LiveCall) -> list[str]:
    return [result.outcome.value for result in ended(call)]


def notes(actions: list[m.Action]) -> list[str]:
    """What the model is told as the system."""
    return [item.text for item in only(m.CreateItem, actions) if item.role == "system"]


# --- leaving ------------------------------------------------------------------------------------------------


def test_the_stream_closes_when_the_last_word_was_heard_and_all_else_stays(live_call: Any) -> None:
    call = live_call()
    talked(call)
    assert only(m.LeaveStream, call.at(500, BILLING)) == []
    left = call.echo(1_100)
    assert left[-2:] == [m.NoteIntent(f"detour:{ID}"), m.LeaveStream(ID, BILLING)]
    assert m.ForgetAudio() in left
    assert not only(m.CloseUpstream, left)
    assert not only(m.Ended, left)


def test_a_caller_who_has_heard_nothing_is_told_before(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.SpeechStarted(), m.SpeechStopped(), m.CallerTranscribed("u1", "Billing"))
    call.speaks(0, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "transfer", "{}"))
    call.at(10, m.ResponseDone("r1"))
    [asked] = only(m.CreateResponse, call.at(20, m.Detour(ID, name="billing", call_id="call_1")))
    assert "billing" in asked.instructions
    call.speaks(100, m.ResponseStarted("r2", asked.tag), delta("B", 800, response="r2"))
    call.speaks(100, m.AudioDone("r2", "B"), m.ResponseDone("r2"))
    assert only(m.LeaveStream, call.echo(950)) != []


def test_keys_go_into_a_menu_that_speaks_and_nothing_is_said_before(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.SpeechStarted())
    keys = m.Detour(ID, m.DetourKind.KEYS)
    assert only(m.LeaveStream, call.at(100, keys)) == [m.LeaveStream(ID, keys)]


def test_a_caller_who_speaks_before_they_leave_stays(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.at(500, BILLING)
    spoken = call.at(600, m.SpeechStarted())
    assert outcomes(call) == ["interrupted"]
    assert m.ClearPlayout() in spoken
    assert not only(m.HangUpCancelled, call.actions)
    assert not only(m.NoteIntent, call.actions)
    call.speaks(900, m.SpeechStopped(), m.ResponseStarted("r2"), delta("B", 300, response="r2"))
    assert only(m.PlayAudio, call.actions)[-1].size_bytes == 2_400, "the call goes on"
    call.until(60_000)
    assert not only(m.LeaveStream, call.actions)


def test_a_model_that_never_says_its_last_word_holds_nobody_back(live_call: Any) -> None:
    call = live_call()
    call.at(0, BILLING)
    call.until(20_000)
    assert only(m.LeaveStream, call.actions) != []


# --- away ---------------------------------------------------------------------------------------------------


def test_nothing_is_said_or_appended_or_asked_while_they_are_away(live_call: Any) -> None:
    rules = m.AgentRules(nudge_ms=5_000, silence_ms=3_000)
    filler = {"filler": speech(400), "apology": speech(400), "still_there": speech(400)}
    call = live_call(session=m.SessionConfig(agent=rules), phrases=filler)
    gone(call)
    before = len(call.actions)
    call.at(1_500, m.Say("say:1", "Are you still there?"))
    call.at(2_000, m.Play("play:1", speech(500)))
    call.at(2_100, m.SpeechStarted("u9"))
    call.at(2_200, m.ResponseStarted("r9"))
    call.at(2_300, delta("Z", 500, response="r9"))
    call.until(60_000)
    news = call.actions[before:]
    assert news == [m.CancelResponse("r9")]


def test_tools_go_on_and_their_results_are_there_on_return(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.SpeechStarted(), m.SpeechStopped(), m.CallerTranscribed("u1", "Book, then billing"))
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 200), m.ToolCalled("r1", "f1", "c1", "book", "{}"))
    call.speaks(0, m.AudioDone("r1", "A"), m.ResponseDone("r1"), BILLING)
    assert only(m.LeaveStream, call.echo(300)) != []
    call.at(400, m.WentAway(ID))
    [result] = only(m.CreateItem, call.at(2_000, m.ToolFinished("c1", "booked")))
    assert (result.call_id, result.output) == ("c1", "booked")
    call.at(3_000, m.Returned(ID, BUSY))
    assert len(only(m.CreateResponse, call.at(3_500, NEXT_STREAM))) == 1


def test_a_session_that_is_away_for_long_is_parked_and_dialled_when_they_come_back(live_call: Any) -> None:
    call = live_call(detour_keep_ms=30_000)
    gone(call)
    assert only(m.CloseUpstream, call.until(31_099)) == []
    assert only(m.CloseUpstream, call.until(31_100)) == [m.CloseUpstream()]
    assert only(m.DialUpstream, call.at(40_000, m.Returned(ID, BUSY))) == [m.DialUpstream(2)]
    call.at(40_700, NEXT_STREAM)
    assert outcomes(call) == ["busy"]
    call.at(40_800, m.SessionCreated(epoch=2))
    ready = call.at(40_900, m.SessionUpdated(epoch=2))
    assert [item.text for item in only(m.CreateItem, ready)] == [
        "Billing, please",
        "One moment",
        *notes(ready),
    ]
    [note] = notes(ready)
    assert note.startswith("transfer to billing: the line is busy")
    assert len(only(m.CreateResponse, ready)) == 1


def test_a_target_who_has_accepted_lets_the_session_go_sooner(live_call: Any) -> None:
    call = live_call()
    gone(call)
    call.at(5_000, m.LegState(ID, m.LegStep.ACCEPTED))
    assert only(m.CloseUpstream, call.until(19_999)) == []
    assert only(m.CloseUpstream, call.until(20_000)) == [m.CloseUpstream()]


def test_a_session_that_is_lost_meanwhile_is_dialled_on_return_only(live_call: Any) -> None:
    call = live_call()
    gone(call)
    assert only(m.DialUpstream, call.at(3_000, m.UpstreamClosed(1006))) == []
    call.until(10_000)
    assert only(m.DialUpstream, call.at(10_000, m.Returned(ID, BUSY))) == [m.DialUpstream(2)]


def test_an_old_session_is_renewed_unheard(live_call: Any) -> None:
    call = live_call(renew_ms=10_000, detour_keep_ms=100_000)
    gone(call)
    assert only(m.DialUpstream, call.until(10_000)) == [m.DialUpstream(2)]
    call.at(10_100, m.SessionCreated(epoch=2))
    swapped = call.at(10_200, m.SessionUpdated(epoch=2))
    assert m.CloseUpstream(1) in swapped
    assert notes(swapped) == []
    call.at(12_000, m.Returned(ID, BUSY))
    assert len(notes(call.at(12_500, NEXT_STREAM))) == 1


@pytest.mark.parametrize(
    "late", [m.Stopped(), m.CarrierClosed(1006), m.DigitPressed("5"), m.MarkReached("1"), m.Interrupt()]
)
def test_what_is_still_said_of_the_stream_that_was_left_means_nothing(live_call: Any, late: m.Event) -> None:
    """A caller who has hung up is known by what the carrier asks next."""
    call = live_call()
    gone(call)
    assert call.at(1_500, late) == []
    call.at(3_000, m.Returned(ID, BUSY))
    call.at(3_500, NEXT_STREAM)
    assert outcomes(call) == ["busy"]


# --- back ---------------------------------------------------------------------------------------------------


def test_the_same_session_is_told_once_what_happened_and_speaks(live_call: Any) -> None:
    call = live_call()
    gone(call)
    assert only(m.DialUpstream, call.at(3_000, m.Returned(ID, BUSY))) == []
    back = call.at(3_800, NEXT_STREAM)
    [note] = notes(back)
    assert note.startswith("transfer to billing: the line is busy.")
    assert [asked.tag for asked in only(m.CreateResponse, back)] == ["returned"]
    assert ended(call) == [BUSY]
    call.at(4_000, m.ResponseStarted("r2", "returned"))
    assert only(m.PlayAudio, call.at(4_100, delta("B", 200, response="r2"))) != []
    assert call.at(4_200, frame(0)) == [m.AppendAudio("frame 0", 160)]


def test_what_was_wished_meanwhile_is_done_now(live_call: Any) -> None:
    call = live_call()
    gone(call)
    call.at(2_000, m.HangUp("the handler returned"))
    call.at(3_000, m.Returned(ID, BUSY))
    [asked] = only(m.CreateResponse, call.at(3_800, NEXT_STREAM))
    call.speaks(4_000, m.ResponseStarted("r2", asked.tag), delta("B", 300, response="r2"))
    call.speaks(4_100, m.AudioDone("r2", "B"), m.ResponseDone("r2"))
    assert only(m.Ended, call.echo(4_400)) == [m.Ended(m.Reason.WE_HUNG_UP, "the handler returned")]


def test_a_transfer_by_a_tool_waits_a_moment_for_its_result_and_asks_once(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.SpeechStarted(), m.SpeechStopped(), m.CallerTranscribed("u1", "Billing"))
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 300), m.AudioDone("r1", "A"))
    call.speaks(0, m.ToolCalled("r1", "f1", "c1", "transfer", "{}"), m.ResponseDone("r1"))
    call.at(10, m.Detour(ID, name="billing", call_id="c1"))
    call.echo(400)
    call.at(500, m.WentAway(ID))
    assert call.until(29_000) == [], "the tool's deadline is none of a detour's"
    call.at(29_000, m.Returned(ID, BUSY))
    assert only(m.CreateResponse, call.at(30_000, NEXT_STREAM)) == []
    finished = call.at(30_010, m.ToolFinished("c1", '{"outcome": "busy"}'))
    assert [type(action) for action in finished] == [m.CreateItem, m.CreateResponse]
    call.speaks(30_100, m.ResponseStarted("r2", "returned"), delta("B", 300, response="r2"))
    call.speaks(30_100, m.AudioDone("r2", "B"), m.ResponseDone("r2"))
    call.echo(30_500)
    call.until(33_000)
    assert len(only(m.CreateResponse, call.actions)) == 1


def test_keys_are_followed_by_listening(live_call: Any) -> None:
    call = live_call()
    call.at(100, m.Detour(ID, m.DetourKind.KEYS))
    call.at(200, m.WentAway(ID))
    back = call.at(3_000, NEXT_STREAM)
    assert outcomes(call) == ["sent"]
    assert only(m.CreateResponse, back) == []
    call.until(9_000)
    assert only(m.CreateResponse, call.actions) == []


def test_a_hold_ends_when_user_code_says_so(live_call: Any) -> None:
    call = live_call()
    gone(call, m.Detour(ID, m.DetourKind.HOLD, "jazz"))
    assert call.at(9_000, m.EndDetour()) == [m.BringBack(ID)]
    call.at(11_000, m.Returned(ID, m.DetourResult(m.TransferOutcome.HELD)))
    call.at(11_500, NEXT_STREAM)
    assert outcomes(call) == ["held"]


def test_the_caller_hears_of_it_even_if_the_handler_says_nothing(live_call: Any) -> None:
    call = live_call(session=m.SessionConfig(agent=m.AgentRules(handler=True)))
    gone(call)
    call.at(3_000, m.Returned(ID, BUSY))
    assert only(m.CreateResponse, call.at(3_500, NEXT_STREAM)) == []
    [asked] = only(m.CreateResponse, call.until(4_300))
    assert asked.tag == "returned"


def test_a_handler_that_says_it_itself_is_the_only_one(live_call: Any) -> None:
    call = live_call(session=m.SessionConfig(agent=m.AgentRules(handler=True)))
    gone(call)
    call.at(3_000, m.Returned(ID, BUSY))
    call.at(3_500, NEXT_STREAM)
    [asked] = only(m.CreateResponse, call.at(3_520, m.Say("say:1", "The line is busy.")))
    assert asked.tag == "say:1"
    call.speaks(3_600, m.ResponseStarted("r2", "say:1"), delta("B", 400, response="r2"))
    call.speaks(3_700, m.AudioDone("r2", "B"), m.ResponseDone("r2"))
    call.echo(4_100)
    call.until(9_000)
    assert [one.tag for one in only(m.CreateResponse, call.actions)] == ["say:1"]


# --- not back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (m.TransferOutcome.CONNECTED, m.Reason.TRANSFERRED),
        (m.TransferOutcome.CALLER_LEFT, m.Reason.CALLER_HUNG_UP),
        (m.TransferOutcome.LOST, m.Reason.CARRIER_LOST),
    ],
)
def test_a_call_that_does_not_come_back_ends(live_call: Any, outcome: Any, reason: Any) -> None:
    call = live_call()
    gone(call)
    call.at(95_000, m.DetourOver(ID, m.DetourResult(outcome)))
    assert outcomes(call) == [outcome.value]
    [end] = only(m.Ended, call.actions)
    assert end.reason is reason
    assert call.call.deadline_ms is None


def test_a_carrier_that_does_not_ask_is_pushed_and_then_lost(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.at(500, BILLING)
    call.echo(1_100)
    assert call.until(6_100) == [m.Push(ID)]
    call.until(30_000)
    assert outcomes(call) == ["lost"]
    assert only(m.Ended, call.actions)[0].reason is m.Reason.CARRIER_LOST


def test_a_stream_that_never_comes_back_is_lost_after_15_s(live_call: Any) -> None:
    call = live_call()
    gone(call)
    call.at(3_000, m.Returned(ID, BUSY))
    assert only(m.Ended, call.until(17_999)) == []
    assert only(m.Ended, call.until(18_000)) != []
    assert outcomes(call) == ["busy"], "the first outcome stands"


def test_the_first_outcome_counts_and_no_word_about_another_detour(live_call: Any) -> None:
    call = live_call()
    gone(call)
    call.at(2_000, m.Returned("e" * 32, CONNECTED))
    call.at(3_000, m.Returned(ID, BUSY))
    call.at(3_300, m.Returned(ID, CONNECTED))
    call.at(3_800, NEXT_STREAM)
    call.at(4_000, m.DetourOver(ID, CONNECTED))
    call.at(4_000, m.WentAway(ID))
    assert ended(call) == [BUSY]
    assert not only(m.Ended, call.actions)


@pytest.mark.parametrize("wish", [WARM, BILLING], ids=["calling", "draining"])
def test_nobody_returns_who_has_not_left(live_call: Any, wish: m.Detour) -> None:
    call = live_call()
    talked(call)
    call.at(500, wish)
    before = len(call.actions)
    for early in (m.Returned(ID, BUSY), m.DetourOver(ID, CONNECTED), m.WentAway(ID)):
        call.at(600, early)
    assert call.actions[before:] == []
    assert outcomes(call) == []


# --- how many -----------------------------------------------------------------------------------------------


def test_one_at_a_time_and_five_a_call(live_call: Any) -> None:
    call = live_call()
    for number in range(MOST):
        wish, now_ms = m.Detour(f"{number}" * 32, name="billing", quiet=True), 10_000 * number
        call.at(now_ms, wish)
        call.at(now_ms, m.Detour("f" * 32, name="billing"))
        assert outcomes(call)[-1] == "refused"
        call.at(now_ms + 100, m.WentAway(wish.detour_id))
        call.at(now_ms + 3_000, m.Returned(wish.detour_id, BUSY))
        call.at(now_ms + 3_500, m.Started(f"MZ{number + 2}", "CA1", "AC1"))
        says(call, now_ms + 3_600, f"r{number}", "returned")
    call.at(60_000, m.Detour("9" * 32, name="billing"))
    assert outcomes(call) == ["refused", "busy"] * MOST + ["refused"]


# --- warm ---------------------------------------------------------------------------------------------------


def test_the_caller_stays_with_the_model_until_the_target_is_there(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.echo(1_100)
    assert m.PlaceLeg(ID, WARM) in call.at(1_200, WARM)
    says(call, 1_300, "r2", "detour")
    for at_ms, step in ((2_000, m.LegStep.RINGING), (8_000, m.LegStep.ANSWERED), (9_000, m.LegStep.ACCEPTED)):
        assert only(m.LeaveStream, call.at(at_ms, m.LegState(ID, step))) == []
    assert only(m.LeaveStream, call.at(9_500, m.LegState(ID, m.LegStep.IN_ROOM))) == [m.LeaveStream(ID, WARM)]


def test_while_it_rings_the_model_says_so_each_fifteen_seconds(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.echo(1_100)
    call.at(1_200, WARM)
    says(call, 1_300, "r2", "detour")
    [asked] = only(m.CreateResponse, call.until(16_300))
    assert "has not answered yet" in asked.instructions


def test_a_target_that_does_not_answer_costs_the_caller_nothing(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.echo(1_100)
    call.at(1_200, WARM)
    says(call, 1_300, "r2", "detour")
    result = m.DetourResult(m.TransferOutcome.NO_ANSWER, rang_ms=25_000, sip_code=487)
    said = call.at(14_000, m.LegState(ID, m.LegStep.ENDED, result))
    assert notes(said)[0].startswith("transfer to billing: nobody answered (25 s)")
    assert [one.tag for one in only(m.CreateResponse, said)] == ["returned"]
    assert ended(call) == [result]
    assert not only(m.LeaveStream, call.actions)


def test_a_caller_who_hangs_up_while_it_rings_takes_leg_b_along(live_call: Any) -> None:
    call = live_call()
    call.at(0, WARM)
    over = call.at(5_000, m.Stopped())
    assert m.CancelLeg(ID, "caller_left") in over
    assert outcomes(call) == ["caller_left"]
    assert isinstance(over[-1], m.Ended)


def test_a_leg_that_was_never_placed_is_a_cold_transfer(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.at(500, WARM)
    failed = m.DetourResult(m.TransferOutcome.REST_FAILED)
    call.at(700, m.LegState(ID, m.LegStep.ENDED, failed, cold_instead=True))
    assert only(m.LeaveStream, says(call, 800, "r2", "detour")) != []
    assert outcomes(call) == []


def test_a_caller_who_speaks_as_the_target_is_there_is_asked_once_more(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.at(500, WARM)
    says(call, 1_100, "r2", "detour")
    call.speaks(1_600, m.ResponseStarted("r4"), delta("D", 900, response="r4"))
    call.at(1_800, m.LegState(ID, m.LegStep.IN_ROOM))
    call.at(2_000, m.SpeechStarted())
    assert outcomes(call) == []
    call.speaks(3_000, m.ResponseDone("r4", "cancelled"), m.SpeechStopped())
    assert only(m.LeaveStream, says(call, 3_100, "r5")) != []


def test_a_target_does_not_wait_longer_than_fifteen_seconds(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.at(500, WARM)
    call.at(700, m.LegState(ID, m.LegStep.IN_ROOM))
    call.at(800, m.SpeechStarted())
    call.until(15_700)
    assert outcomes(call) == ["interrupted"]
    assert only(m.CancelLeg, call.actions) == [m.CancelLeg(ID, "interrupted")]


def test_a_warm_call_can_be_taken_back(live_call: Any) -> None:
    call = live_call()
    call.at(0, WARM)
    assert m.CancelLeg(ID) in call.at(3_000, m.EndDetour(ID))
    assert outcomes(call) == ["canceled"]


@pytest.mark.parametrize("call_id", ["", "call_1"], ids=["a handler", "a tool"])
def test_a_caller_who_waits_for_a_target_is_told_that_it_was_taken_back(call_id: str, live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.at(500, m.Detour(ID, name="billing", mode=m.TransferMode.WARM, call_id=call_id))
    says(call, 1_100, "r2", "detour")
    call.at(3_000, m.EndDetour(ID))
    call.until(5_000)
    assert only(m.CreateResponse, call.actions)[-1].tag == "returned"
    assert "transfer to billing: it was cancelled" in notes(call.actions)[-1]


def test_who_goes_on_with_a_call_knows_that_its_target_is_not_called_any_more(live_call: Any) -> None:
    """The line breaks while a target rings: the next stream of the call is a call of its own."""
    call = live_call()
    talked(call)
    call.at(500, WARM)
    assert call.call.carried(600).items[-1] == GIVEN_UP, "the process may be killed at any moment"
    call.at(1_000, m.CarrierClosed(1006))
    assert outcomes(call) == ["lost"]
    assert [item for item in call.call.carried(1_100).items if item.role == "system"] == [GIVEN_UP]


def test_a_process_that_goes_while_a_target_rings_leaves_a_word_for_the_caller(live_call: Any) -> None:
    call = live_call()
    talked(call)
    call.at(500, WARM)
    says(call, 1_100, "r2", "detour")
    call.at(3_000, m.HandOver(2_000))
    call.until(6_000)
    [handed] = only(m.HandedOver, call.actions)
    assert handed.carried.items[-1] == GIVEN_UP
    assert handed.carried.owed, "they wait for a target that nobody calls any more"
    assert only(m.CancelLeg, call.actions) == [m.CancelLeg(ID)]


# --- other processes, limits --------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [m.HandOver(60_000), m.ShutDown()], ids=["drain", "at once"])
def test_a_process_that_goes_leaves_the_detour_to_the_next(live_call: Any, word: m.Event) -> None:
    call = live_call()
    gone(call)
    left = call.at(5_000, word)
    [handed] = only(m.HandedOver, left)
    assert (handed.carried.away, handed.carried.ring_s, handed.carried.detours) == (
        "transfer to billing",
        25,
        1,
    )
    assert left[-1] == m.Ended(m.Reason.HANDED_OVER)
    assert only(m.NoteIntent, call.actions)[-1] == m.NoteIntent(f"detour:{ID}")
    assert outcomes(call) == []


def test_a_process_that_goes_while_the_last_word_is_heard_sends_the_caller_on_first(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 60_000), m.ResponseDone("r1"))
    call.at(500, BILLING)
    call.at(600, m.HandOver(2_000))
    call.until(4_000)
    assert only(m.LeaveStream, call.actions) != []
    assert only(m.NoteIntent, call.actions) == [m.NoteIntent(f"detour:{ID}")]
    [handed] = only(m.HandedOver, call.actions)
    assert handed.carried.away == "transfer to billing"


def test_the_limit_of_a_call_holds_when_the_caller_is_back(live_call: Any) -> None:
    call = live_call(limits=m.Limits(call_ms=60_000, goodbye_ms=15_000))
    gone(call)
    call.until(50_000)
    assert not only(m.Ended, call.actions)
    call.at(60_000, m.Returned(ID, BUSY))
    call.at(60_500, NEXT_STREAM)
    call.until(61_000)
    assert m.Noted("a limit was reached", "it has lasted as long as it may") in call.actions


def test_the_limit_of_a_call_ends_a_hold(live_call: Any) -> None:
    call = live_call(limits=m.Limits(call_ms=60_000, goodbye_ms=15_000))
    gone(call, m.Detour(ID, m.DetourKind.HOLD, "jazz"))
    assert only(m.BringBack, call.until(45_000)) == [m.BringBack(ID)]


def test_nothing_is_cut_by_leaving(live_call: Any) -> None:
    call = live_call()
    assert truth(gone(call)) == []


def test_a_process_that_dies_in_a_detour_leaves_conversation_and_place_to_the_next(live_call: Any) -> None:
    """What the journal has of the call at any moment: the caller hears no word about it."""
    phrases = {"restored": speech(300, "We were cut off.")}
    call = live_call(phrases=phrases)
    gone(call)
    carried = call.call.carried(5_000)
    following = new_call(
        carried=carried, returned=became(carried.away, BUSY, carried.ring_s), phrases=phrases
    )
    following.at(0, m.Started("MZ2", "CA1", "AC1"))
    following.speaks(100, m.SessionCreated(), m.Admitted())
    begun = following.at(100, m.SessionUpdated())
    assert [item.text for item in only(m.CreateItem, begun)] == [
        "Billing, please",
        "One moment",
        "transfer to billing: the line is busy",
    ]
    [asked] = only(m.CreateResponse, begun)
    assert asked.tag == "returned"
    assert not only(m.PlayAudio, following.actions), "no phrase about an interruption"
    assert following.call.detours.begun == 1
