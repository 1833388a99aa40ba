"""What goes wrong at the model's: survived, asked for again, or the end, as the error's code says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.core import messages as m
from bridge.core.responses import AGAIN_MS, REFUSED  # type: ignore[attr-defined]
from bridge.core.upstream_leg import FATAL_CODES
from bridge.core.vendor_errors import PROMPT_OBJECTS, WAIT_FOR

from .conftest import LiveCall, delta, legs, only, phone, speech

APOLOGY = {"apology": speech(400, letter="S")}


def asked(call: LiveCall, now_ms: int = 0) -> None:
    call.speaks(now_ms, m.SpeechStarted(), m.SpeechStopped())


def creates(actions: list[m.Action]) -> list[str]:
    return [create.tag for create in only(m.CreateResponse, actions)]


# --- error events -------------------------------------------------------------------------------------------


def test_where_no_session_would_be_any_better_the_call_ends(live_call: Any) -> None:
    """Some vendors put the word into the error's type."""
    for code in sorted(FATAL_CODES):
        for fault in (m.UpstreamFaulted(code, "sorry"), m.UpstreamFaulted("", "sorry", kind=code)):
            actions = live_call().at(0, fault)
            assert m.Noted(REFUSED, code) in actions
            assert actions[-1].reason is m.Reason.UPSTREAM_REFUSED


@pytest.mark.parametrize("code", ["invalid_value", "unknown_parameter", "never_heard_of"])
def test_an_error_of_ours_and_one_nobody_knows_are_noted_and_survived(live_call: Any, code: str) -> None:
    call = live_call()
    assert call.at(0, m.UpstreamFaulted(code, "so", param="p")) == [m.Noted("upstream error", f"{code} p so")]


PROMPT = [
    m.UpstreamFaulted("unknown_parameter", "so", param="session.prompt"),
    m.UpstreamFaulted("invalid_value", "so", param="session.prompt.id"),
    m.UpstreamFaulted("", "so", param="session.prompt.variables[0]"),
    m.UpstreamFaulted("invalid_value", "so", param="prompt"),
    m.UpstreamFaulted("unknown_parameter", "Unknown parameter: 'session.prompt'."),
    m.UpstreamFaulted("not_found", "Prompt with id 'pmpt_0123' not found."),
]
NO_PROMPT = [
    m.UpstreamFaulted("invalid_value", "so", param="session.audio.input.transcription.prompt"),
    m.UpstreamFaulted("unknown_parameter", "so", param="session.prompt_cache_key"),
    m.UpstreamFaulted("invalid_value", "a prompt too long", param="session.instructions"),
]


@pytest.mark.parametrize("fault", PROMPT)
def test_an_error_about_a_prompt_object_is_final_and_says_why(
    live_call: Any, fault: m.UpstreamFaulted
) -> None:
    """For this call only: another one may have an agent without."""
    actions = live_call().at(0, fault)
    assert actions[-1].reason is m.Reason.UPSTREAM_REFUSED
    assert PROMPT_OBJECTS in actions[-1].detail
    assert REFUSED not in {note.what for note in only(m.Noted, actions)}
    assert only(m.DialUpstream, actions) == []


@pytest.mark.parametrize("fault", NO_PROMPT)
def test_other_prompts_are_no_prompt_objects(live_call: Any, fault: m.UpstreamFaulted) -> None:
    [noted] = live_call().at(0, fault)
    assert (noted.what, PROMPT_OBJECTS in noted.detail) == ("upstream error", False)


def test_a_change_that_is_refused_for_its_prompt_object_does_not_end_the_call(live_call: Any) -> None:
    """Another agent was to take over: the one that there is goes on."""
    call = live_call()
    call.at(0, m.Reconfigure(m.SessionConfig(instructions="B")))
    [noted] = call.at(100, m.UpstreamFaulted("unknown_parameter", "so", param="session.prompt"))
    assert (noted.what, PROMPT_OBJECTS in noted.detail) == ("configuration refused", True)
    asked(call, 200)
    assert only(m.Ended, call.actions) == []


def test_a_session_that_has_expired_is_replaced(live_call: Any) -> None:
    call = live_call()
    expired = m.UpstreamFaulted("session_expired", "60 minutes")
    assert legs(call.at(0, expired)) == [m.CloseUpstream(1), m.DialUpstream(2)]
    assert call.at(10, m.UpstreamClosed(1001)) == []


def test_a_goodbye_on_the_line_is_played_to_its_end_whatever_the_error(live_call: Any) -> None:
    call = live_call(phrases=APOLOGY)
    call.speaks(
        0, m.ResponseStarted("r1"), delta("bye", 1_000), m.AudioDone("r1", "bye"), m.ResponseDone("r1")
    )
    call.at(100, m.HangUp())
    assert phone(call.at(500, m.UpstreamFaulted("insufficient_quota"))) == []
    assert call.echo(1_060)[-1] == m.Ended(m.Reason.WE_HUNG_UP)


def test_one_that_had_not_been_said_is_said_by_a_phrase(live_call: Any) -> None:
    call = live_call(phrases={**APOLOGY, "goodbye": speech(240, letter="G")})
    call.speaks(0, m.Say("say-1", "Goodbye."), m.HangUp())
    sound = phone(call.at(500, m.UpstreamFaulted("insufficient_quota")))
    assert [action.audio[0] for action in only(m.PlayAudio, sound)] == ["G"]
    assert call.echo(800)[-1] == m.Ended(m.Reason.WE_HUNG_UP)


# --- responses that fail ------------------------------------------------------------------------------------


def test_one_that_failed_is_asked_for_again_at_once(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    assert creates(call.at(100, m.ResponseDone("r1", "failed", "server_error"))) == ["retry"]


@pytest.mark.parametrize("code", sorted(WAIT_FOR))
def test_one_that_failed_because_it_was_too_much_is_asked_for_again_in_a_moment(
    live_call: Any, code: str
) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    assert creates(call.at(100, m.ResponseDone("r1", "failed", code))) == []
    assert creates(call.until(100 + AGAIN_MS - 1)) == []
    assert creates(call.until(100 + AGAIN_MS)) == ["retry"]


def test_one_that_failed_for_good_is_the_end(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    actions = call.at(100, m.ResponseDone("r1", "failed", "insufficient_quota"))
    assert m.Noted(REFUSED, "insufficient_quota") in actions
    assert actions[-1] == m.Ended(m.Reason.UPSTREAM_LOST, "responses fail: insufficient_quota")


def test_one_that_was_talked_over_may_fail(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.SpeechStarted())
    assert creates(call.at(100, m.ResponseDone("r1", "failed", "server_error"))) == []


def test_an_answer_without_a_word_is_asked_for_again(live_call: Any) -> None:
    call = live_call()
    asked(call)
    call.at(50, m.ResponseStarted("r1"))
    assert creates(call.at(500, m.ResponseDone("r1"))) == ["retry"]


@pytest.mark.parametrize("phrases", [{}, {"restored": speech(240, letter="R")}], ids=["no phrase", "phrase"])
def test_after_two_without_a_word_the_caller_is_asked_to_go_on(
    live_call: Any, phrases: dict[str, m.Sound]
) -> None:
    call = live_call(phrases=phrases)
    asked(call)
    call.speaks(50, m.ResponseStarted("r1"), m.ResponseDone("r1"), m.ResponseStarted("r2", tag="retry"))
    actions = call.at(600, m.ResponseDone("r2"))
    assert [action.audio[0] for action in only(m.PlayAudio, actions)] == ["R"] * len(phrases)
    assert creates(actions) == []
    assert only(m.Ended, actions) == []


@pytest.mark.parametrize(
    "made",
    [
        (m.ToolCalled("r1", "f1", "call_1", "look_up", "{}"),),
        (delta("A", 200),),
        (m.Respond("say-1"),),
    ],
    ids=["a tool", "sound", "another is asked for"],
)
def test_one_that_did_something_is_not(live_call: Any, made: tuple[m.Event, ...]) -> None:
    call = live_call()
    asked(call)
    call.speaks(50, m.ResponseStarted("r1"), *made)
    assert "retry" not in creates(call.at(500, m.ResponseDone("r1")))


# --- requests that are refused ------------------------------------------------------------------------------


def refused(code: str, tag: str) -> m.UpstreamFaulted:
    return m.UpstreamFaulted(code, "no", f"create:{tag}")


def test_a_vendor_that_says_when_is_asked_then(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    assert creates(call.at(100, m.ResponseDone("r1", "failed", "rate_limit_exceeded", retry_ms=2_500))) == []
    assert creates(call.until(2_599)) == []
    assert creates(call.until(2_600)) == ["retry"]


def test_waits_that_a_vendor_asks_for_add_up_to_ten_seconds(live_call: Any) -> None:
    call = live_call()
    for number in range(4):
        call.at(2_500 * number, m.ResponseStarted(f"r{number}", "retry" if number else ""))
        refused = m.ResponseDone(f"r{number}", "failed", "rate_limit_exceeded", retry_ms=2_500)
        call.at(2_500 * number, refused)
        assert call.until(2_500 * (number + 1))
    call.at(10_000, m.ResponseStarted("r4", "retry"))
    call.at(10_000, m.ResponseDone("r4", "failed", "rate_limit_exceeded", retry_ms=2_500))
    assert creates(call.until(10_000 + AGAIN_MS)) == ["retry"]
    call.at(11_100, m.ResponseStarted("r5", "retry"))
    actions = call.at(11_100, m.ResponseDone("r5", "failed", "rate_limit_exceeded", retry_ms=2_500))
    assert [ended.reason for ended in only(m.Ended, actions)] == [m.Reason.UPSTREAM_LOST]


def test_a_request_that_is_refused_for_a_while_goes_again_then(live_call: Any) -> None:
    call = live_call()
    [asked_for] = only(m.CreateResponse, call.at(0, m.Say("say-1", "Hello.")))
    fault = msgspec.structs.replace(refused("rate_limit_exceeded", "say-1"), retry_ms=3_000)
    assert legs(call.at(50, fault)) == []
    assert only(m.CreateResponse, call.until(3_049)) == []
    assert only(m.CreateResponse, call.until(3_050)) == [asked_for]


def test_a_wish_of_the_handlers_that_is_refused_is_answered(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Say("say-1", "Hello."))
    actions = call.at(50, refused("invalid_value", "say-1"))
    assert only(m.Heard, actions) == [m.Heard("say-1", 0, cut=True)]
    assert creates(actions) == []


def test_one_that_was_too_much_just_now_is_asked_for_again_in_a_moment(live_call: Any) -> None:
    call = live_call()
    [asked_for] = only(m.CreateResponse, call.at(0, m.Say("say-1", "Hello.")))
    assert legs(call.at(50, refused("rate_limit_exceeded", "say-1"))) == []
    assert only(m.CreateResponse, call.until(50 + AGAIN_MS)) == [asked_for]
    assert only(m.Heard, call.actions) == []


def test_one_that_the_server_could_not_take_is_asked_for_again_at_once(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Say("say-1", "Hello."))
    assert creates(call.at(50, refused("server_error", "say-1"))) == ["say-1"]


def test_refused_twice_is_the_end(live_call: Any) -> None:
    call = live_call(phrases=APOLOGY)
    call.at(0, m.Say("say-1", "Hello."))
    call.at(50, refused("server_error", "say-1"))
    call.at(100, refused("server_error", "say-1"))
    call.until(500)
    assert call.echo(600)[-1] == m.Ended(m.Reason.UPSTREAM_LOST, "responses are refused: server_error")


def test_what_the_call_itself_owes_is_asked_for_once_more_in_other_words(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.SessionUpdated(responds=False))
    asked(call, 100)
    assert creates(call.actions) == ["turn:1"]
    assert creates(call.at(150, refused("invalid_value", "turn:1"))) == ["retry"]
    assert call.at(200, refused("invalid_value", "retry"))[-1] == m.Ended(
        m.Reason.UPSTREAM_LOST, "responses are refused: invalid_value"
    )


def test_what_was_talked_over_is_refused_in_peace(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Say("say-1", "Hello."), m.SpeechStarted())
    assert creates(call.at(50, refused("server_error", "say-1"))) == []
    assert creates(call.at(60, m.Say("say-2", "Hello."))) == [], "the caller speaks"
    assert creates(call.at(70, m.SpeechStopped())) == ["say-2"]


# --- lists of MCP tools


FAILED_LIST = m.VendorNote("mcp_list_tools.failed", "{}", "mcpl_1", why="crm: http_error: 424")


def test_a_failed_list_of_mcp_tools_is_noted(live_call: Any) -> None:
    call = live_call()
    noted = m.Noted("no tools of an MCP server", "crm: http_error: 424")
    assert call.at(100, FAILED_LIST) == [FAILED_LIST, noted]
    assert only(m.Ended, call.actions) == []


def test_so_is_that_of_a_session_which_is_to_take_over(live_call: Any) -> None:
    call = live_call(renew_ms=1_000)
    call.speaks(1_100, m.SessionCreated(2))
    noted = m.Noted("no tools of an MCP server", "crm: http_error: 424")
    assert call.at(1_200, msgspec.structs.replace(FAILED_LIST, epoch=2)) == [noted]


def test_a_transcription_that_fails_each_turn_is_told_once(live_call: Any) -> None:
    """Azure, with a name that is no deployment: the words name the item, so they differ each time."""
    call = live_call()
    for number in range(3):
        why = f"DeploymentNotFound: Input transcription failed for item 'item_{number}'."
        call.at(number * 1_000, m.CallerTranscribed(f"item_{number}", "", failed=True, why=why))
    noted = [one for one in only(m.Noted, call.actions) if one.what == "no transcript"]
    assert [one.detail.partition(":")[0] for one in noted] == ["DeploymentNotFound"]
