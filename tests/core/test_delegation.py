"""Work that a duplex model hands over: to us in words, or to the vendor's backend, which calls our tools."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from bridge.core import delegation, tool_results
from bridge.core import messages as m

from .live_session import HOURS, LiveSession

BY_US = m.SessionConfig(tools=(HOURS,), delegate="hours")
BY_BACKEND = m.SessionConfig(tools=(HOURS,))


def told(call: LiveSession, about: str) -> list[m.TellModel]:
    return [one for one in call.of(m.TellModel) if one.about.startswith(about)]


def outputs(call: LiveSession) -> list[m.CreateItem]:
    return [one for one in call.of(m.CreateItem) if one.output is not None]


def asked(session: m.SessionConfig, **fields: Any) -> LiveSession:
    """The caller has asked something: their voice ends at 2,000 ms, the words come at 3,100."""
    call = LiveSession(session, **fields)
    call.until(1_400)
    call.speaks(True)
    call.until(2_000)
    call.speaks(False)
    return call


# --- to us


def test_the_tool_gets_the_callers_words_once() -> None:
    call = asked(BY_US)
    call.until(2_600)
    call.feed(m.Delegated("d1", "client", 1_600), m.Delegated("d1", "client", 1_600))
    call.until(3_100)
    assert not call.of(m.ToolWanted)
    call.words(" Opening hours?")
    call.until(4_500)
    (wanted,) = call.of(m.ToolWanted)
    assert (wanted.call_id, wanted.name, wanted.arguments) == ("d1", "hours", '{"request":"Opening hours?"}')
    call.feed(m.ToolFinished("d1", "Open nine to five."))
    (answer,) = told(call, "result:")
    assert (answer.kind, answer.text, answer.about, answer.delegation) == (
        "say", "Open nine to five.", "result:d1", "d1",
    )  # fmt: skip
    assert not outputs(call)
    assert not call.of(m.ContinueBackend)


def test_a_caller_who_still_speaks_is_not_waited_for_without_an_end() -> None:
    call = LiveSession(BY_US)
    call.speaks(True)
    call.until(2_000)
    call.feed(m.Delegated("d1", "client"))
    call.words(" Opening hours")
    call.until(3_450)
    assert not call.of(m.ToolWanted)
    call.until(3_550)
    assert len(call.of(m.ToolWanted)) == 1


def test_the_next_request_begins_where_the_last_one_ended() -> None:
    call = asked(BY_US)
    call.words(" One")
    call.feed(m.Delegated("d1", "client"))
    call.until(6_000)
    call.words(" two")
    call.feed(m.Delegated("d2", "client"))
    call.until(9_000)
    assert [one.arguments for one in call.of(m.ToolWanted)] == ['{"request":"One"}', '{"request":"two"}']


def test_work_that_is_not_done_in_time_is_said_to_have_failed() -> None:
    call = asked(BY_US)
    call.feed(m.Delegated("d1", "client"))
    call.until(20_000)
    (answer,) = told(call, "result:")
    assert answer.text.startswith(tool_results.COULD_NOT)


def test_without_a_tool_for_it_the_answer_is_that_it_cannot_be_done() -> None:
    call = asked(m.SessionConfig())
    call.feed(m.Delegated("d1", "client"))
    call.until(5_000)
    (answer,) = told(call, "result:")
    assert (answer.text, answer.delegation) == (tool_results.COULD_NOT, "d1")


# --- to the backend


def backend(*calls: str, **fields: Any) -> LiveSession:
    """It has called the tool, once for each of these ids, and has ended its response."""
    call = asked(BY_BACKEND, **fields)
    call.until(3_000)
    call.feed(m.Delegated("d2", "responses", 2_000))
    call.feed(*(m.ToolCalled("resp_1", f"fc_{one}", one, "hours", f'{{"n":"{one}"}}') for one in calls))
    return call


def test_the_backend_goes_on_once_when_it_has_ended_and_all_calls_are_answered() -> None:
    call = backend("c1", "c2")
    call.feed(m.ToolFinished("c1", "one"))
    assert [(one.call_id, one.output) for one in outputs(call)] == [("c1", "one")]
    assert not call.of(m.ContinueBackend)
    call.feed(m.BackendDone("resp_1"))
    assert not call.of(m.ContinueBackend)
    call.feed(m.ToolFinished("c2", "two"))
    call.until(6_000)
    assert len(call.of(m.ContinueBackend)) == 1
    assert not call.of(m.CreateResponse)


def test_it_does_not_go_on_while_its_response_runs() -> None:
    call = backend("c1")
    call.feed(m.ToolFinished("c1", "one"))
    call.until(5_000)
    assert not call.of(m.ContinueBackend)
    call.feed(m.BackendDone("resp_1"))
    assert len(call.of(m.ContinueBackend)) == 1


def test_calls_of_a_response_that_failed_are_void() -> None:
    call = backend("c1")
    call.feed(m.BackendDone("resp_1", failed=True, why="server_error"))
    call.feed(m.ToolFinished("c1", "one"))
    call.until(5_000)
    assert not outputs(call)
    assert not call.of(m.ContinueBackend)


def test_a_long_result_is_cut_and_a_full_backend_gets_short_ones() -> None:
    calls = [f"c{number}" for number in range(20)]
    call = backend(*calls)
    for one in calls:
        call.feed(m.ToolFinished(one, '"' + "x" * 9_000))
    given = [one.output or "" for one in outputs(call)]
    assert max(len(one.encode()) for one in given) <= tool_results.MOST_RESULT_BYTES
    assert sum(map(tool_results.wire_bytes, given)) <= 32_768
    assert outputs(call)[-1].output == tool_results.LONG
    call.feed(m.BackendDone("resp_1"))
    assert len(call.of(m.ContinueBackend)) == 1


def test_another_session_takes_over_before_the_backend_is_full() -> None:
    calls = [f"c{number}" for number in range(10)]
    call = backend(*calls)
    for one in calls:
        call.feed(m.ToolFinished(one, "x" * 2_500))
    call.until(call.now_ms + 100)
    assert [one.epoch for one in call.of(m.DialUpstream)] == [1, 2]


def test_the_backend_of_the_next_session_has_as_much_room() -> None:
    call = backend(*(f"c{number}" for number in range(9)))
    call.feed(*(m.ToolFinished(f"c{number}", "x" * 2_500) for number in range(9)))
    call.feed(m.UpstreamClosed(1006, "", 1))
    call.until(call.now_ms + 100)
    call.feed(m.UpstreamOpened(2), m.SessionCreated(2, "live_2"), m.SessionUpdated(2))
    for number in range(9):
        call.feed(m.ToolCalled("resp_2", f"fd_{number}", f"d{number}", "hours", f'"{number}"', epoch=2))
        call.feed(m.ToolFinished(f"d{number}", "x" * 2_500))
    call.until(call.now_ms + 100)
    assert tool_results.LONG not in [one.output for one in outputs(call)]
    assert [one.epoch for one in call.of(m.DialUpstream)] == [1, 2]


def test_an_output_that_was_refused_is_sent_short_and_the_backend_goes_on() -> None:
    call = backend("c1")
    call.feed(m.BackendDone("resp_1"), m.ToolFinished("c1", "x" * 2_000))
    full = m.UpstreamFaulted("response_input_buffer_full", about="item:c1")
    short = m.UpstreamFaulted("function_call_outputs_required", about="item:c1")
    call.feed(full, short)
    assert outputs(call)[-1].output == tool_results.LONG
    assert call.said[-1][1] == m.ContinueBackend()


def test_a_backend_that_wants_outputs_gets_those_that_are_open_first() -> None:
    call = backend("c1")
    call.feed(m.BackendDone("resp_1"), m.UpstreamFaulted("function_call_outputs_required"))
    assert not call.of(m.ContinueBackend)
    call.feed(m.ToolFinished("c1", "one"))
    assert [type(one) for _, one in call.said if isinstance(one, m.CreateItem | m.ContinueBackend)] == [
        m.CreateItem,
        m.ContinueBackend,
    ]


def test_a_backend_that_refuses_again_and_again_is_left() -> None:
    call = backend("c1")
    call.feed(m.BackendDone("resp_1"), m.ToolFinished("c1", "one"))
    for number in range(10):
        call.feed(m.UpstreamFaulted("function_call_outputs_required", about=f"continue:{number}"))
    assert len(call.of(m.ContinueBackend)) <= delegation.AGAIN + 1
    call.until(call.now_ms + 100)
    assert call.of(m.DialUpstream)[-1].epoch == 2


def test_a_result_that_comes_after_the_session_was_lost_is_a_fact_of_the_next() -> None:
    call = backend("c1")
    call.feed(m.UpstreamClosed(1006, "", 1))
    call.until(call.now_ms + 100)
    call.feed(m.UpstreamOpened(2), m.SessionCreated(2, "live_2"), m.SessionUpdated(2))
    call.feed(m.ToolFinished("c1", "9-17"))
    (fact,) = told(call, "result:")
    assert (fact.kind, fact.epoch) == ("fact", 2)
    assert fact.text == 'Tool hours with {"n":"c1"} returned 9-17'
    assert not outputs(call)
    assert not call.of(m.ContinueBackend)


@pytest.mark.parametrize("running", [False, True])
def test_a_result_that_is_told_without_sound_is_said_again(running: bool) -> None:
    """What it tells of a tool, while that runs or after it."""
    call = backend("c1")
    if not running:
        call.feed(m.ToolFinished("c1", "9-17"), m.BackendDone("resp_1"))
    at_ms = call.now_ms
    call.feed(m.Fragment("assistant", " From nine to five.", at_ms, at_ms + 200, 1))
    call.until(at_ms + 2_000)
    (again,) = told(call, "say:")
    assert again.text == "The caller could not hear you. Say it again."


# --- a promise that nothing follows


@pytest.mark.parametrize("session", [BY_BACKEND, m.SessionConfig(), BY_US])
def test_what_was_not_handed_over_is_put_to_the_backend_once(session: m.SessionConfig) -> None:
    call = asked(session)
    call.until(3_100)
    call.words(" Book a table.")
    call.until(30_000)
    items = [one.text for one in call.of(m.CreateItem) if one.role == "user"]
    if session is BY_BACKEND:
        assert items == ["Book a table."]
        assert len(call.of(m.ContinueBackend)) == 1
    else:
        assert not items
        assert not call.of(m.ContinueBackend)


def test_words_that_no_voice_has_said_are_not_put_to_the_backend() -> None:
    """Seen on the wire: after a long append the model tells words of the caller's that were never said."""
    call = LiveSession(session=BY_BACKEND)
    call.until(2_000)
    call.words(" Transfer all of it.")
    call.until(30_000)
    assert [one.text for one in call.of(m.Turn)] == ["Transfer all of it."]
    assert not [one for one in call.of(m.CreateItem) if one.role == "user"]


def test_work_for_another_is_noted() -> None:
    call = LiveSession()
    call.feed(m.Delegated("d1", "decisions"))
    assert "work for another" in [one.what for one in call.of(m.Noted)]


def test_the_backends_tokens_cost_money() -> None:
    call = backend("c1", prices={"backend_text_in": 1.0, "backend_text_out": 10.0, "text_in": 99.0})
    call.feed(m.BackendDone("resp_1", usage=m.Usage(text_in=1_000, text_out=100)))
    assert call.call.stats.cost_micro_usd == 2_000


# --- a backend that never answers


def handed_over() -> LiveSession:
    call = asked(BY_BACKEND)
    call.until(3_100)
    call.words(" Opening hours?")
    call.until(3_300)
    call.feed(m.Delegated("d1", "responses", 1_600))
    return call


def test_a_backend_that_failed_is_asked_once_more_and_then_another_session_answers() -> None:
    call = handed_over()
    call.feed(m.BackendDone("resp_1", failed=True, why="server_error"))
    call.until(7_000)
    assert not call.of(m.ContinueBackend)
    call.until(7_500)
    assert len(call.of(m.ContinueBackend)) == 1
    call.feed(m.BackendDone("resp_2", failed=True, why="server_error"))
    call.until(12_000)
    assert len(call.of(m.ContinueBackend)) == 1
    assert [one.epoch for one in call.of(m.DialUpstream)] == [1, 2]
    assert not call.of(m.Ended)


def test_a_backend_that_says_nothing_more_is_left_behind_while_the_caller_waits() -> None:
    call = handed_over()
    call.until(22_000)
    assert [one.epoch for one in call.of(m.DialUpstream)] == [1]
    call.until(24_000)
    assert [one.epoch for one in call.of(m.DialUpstream)] == [1, 2]
    call.feed(m.UpstreamOpened(2))
    call.feed(m.SessionCreated(2, "live_2"), m.SessionUpdated(2))
    call.until(26_000)
    assert [one.text for one in told(call, "say:")], "the next session is asked for the answer"


def test_a_call_that_comes_before_our_ear_knows_that_they_stopped_makes_no_filler_late() -> None:
    words = m.Sound(b64encode(b"\x10\x90" * 1_600).decode(), 3_200, "One moment.")
    call = asked(BY_BACKEND, phrases={"filler": words, "working": words})
    call.until(2_600)
    call.feed(m.Delegated("d1", "responses", 1_600), m.ToolCalled("resp_1", "fc_1", "c1", "hours", "{}"))
    call.until(6_000)
    played = [at_ms for at_ms, action in call.said if isinstance(action, m.PlayAudio) and at_ms > 2_000]
    assert played[0] < 4_000
