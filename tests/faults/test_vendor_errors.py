"""What the vendor says is wrong, and what a caller notices of it: mostly nothing."""

from __future__ import annotations

import pytest

from bridge.core import messages as m
from bridge.core.upstream_leg import FATAL_CODES
from bridge.core.vendor_errors import PROMPT_OBJECTS
from bridge.doubles.agents import Failure, Incomplete
from bridge.doubles.options import ServerOptions

from .rig import Clerk, Rig, answer

BENIGN = [
    "response_cancel_not_active",
    "item_truncate_invalid_item_id",
    "item_delete_invalid_item_id",
    "item_retrieve_invalid_item_id",
    "item_not_found",
    "unsupported_content_type",
    "input_audio_buffer_commit_empty",
]
LOGGED = [
    "invalid_value",
    "missing_required_parameter",
    "unknown_parameter",
    "invalid_type",
    "invalid_json",
    "invalid_event",
    "item_create_duplicate_item_id",
    "cannot_update_voice",
    "rate_limit_exceeded",
    "server_error",
    "a_code_that_nobody_has_ever_seen",
]


def told(code: str, at_ms: int = 5_600, **rig: object) -> Rig:
    """An error event in the middle of answer 2."""
    call = Rig(**rig)  # type: ignore[arg-type]
    call.says(4_000)
    call.faults(at_ms, code)
    return call


@pytest.mark.parametrize("code", BENIGN)
def test_an_error_of_a_lost_race_is_not_even_logged(code: str) -> None:
    rig = told(code).play(9_000)
    assert (rig.story(), rig.notes) == (["answer 1", "answer 2"], [])
    assert rig.call.stats.faults == {code: 1}


@pytest.mark.parametrize("code", LOGGED)
def test_any_other_error_is_logged_and_survived(code: str) -> None:
    rig = told(code).play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert rig.notes == [f"upstream error: {code}  so be it"]


@pytest.mark.parametrize("code", sorted(FATAL_CODES))
def test_an_account_that_is_refused_in_the_middle_of_a_call_ends_it_in_words(code: str) -> None:
    rig = told(code).play(12_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "apology"]
    assert rig.notes[0] == f"upstream refused: {code}"
    assert rig.reason is m.Reason.UPSTREAM_REFUSED


def test_the_word_may_stand_in_the_type() -> None:
    rig = Rig()
    rig.faults(3_000, "", kind="insufficient_quota")
    rig.play(8_000)
    assert (rig.story(), rig.notes[0]) == (["answer 1", "apology"], "upstream refused: insufficient_quota")


def test_a_session_that_has_expired_is_replaced_before_it_is_closed() -> None:
    rig = Rig(server=ServerOptions(expires_after_ms=5_570))
    rig.says(4_000)
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2 (278 ms)", "answer 3"]
    assert rig.notes == ["the model was lost: session_expired"]
    assert len(rig.dialled) == 2


# --- requests for a response that are refused


@pytest.mark.parametrize("code", ["invalid_value", "unknown_parameter", "a_code_that_nobody_has_ever_seen"])
def test_a_greeting_that_is_refused_is_asked_for_in_plainer_words(code: str) -> None:
    rig = Rig(moods=[("response.create", code)]).play(6_000)
    assert rig.story() == ["answer 1"]
    assert rig.notes == [f"upstream error: {code}  not now"]


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "server_error"])
def test_a_greeting_that_could_not_be_made_just_now_is_asked_for_again(code: str) -> None:
    rig = Rig(moods=[("response.create", code)]).play(6_000)
    assert rig.story() == ["answer 1"]
    assert rig.agent.greetings == [1], "in the same words"


def test_requests_that_are_always_refused_end_in_words() -> None:
    rig = Rig(server=ServerOptions(refuse={"response.create": "invalid_value"})).play(10_000)
    assert rig.story() == ["apology"]
    assert rig.notes[-1].endswith("responses are refused: invalid_value")


@pytest.mark.parametrize("echoes", [True, False])
def test_a_request_that_met_another_response_is_made_again_after_it(echoes: bool) -> None:
    """Of which we did not know yet."""
    server = ServerOptions(echo_create_id=echoes, withhold=frozenset({"response.created"}))
    rig = Rig(greeting=None, server=server)
    rig.says(4_000)
    rig.does(5_500, m.Respond("say-1"))
    rig.play(12_000)
    assert rig.story() == ["answer 1", "answer 2"]


# --- responses that come to nothing


def test_a_response_that_failed_is_asked_for_once_more() -> None:
    rig = Rig(Clerk({2: [Failure()]}))
    rig.says(4_000)
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 3"]
    assert rig.notes == ["response failed: server_error"]


def test_two_that_failed_are_the_end_in_words() -> None:
    rig = Rig(Clerk({2: [Failure()], 3: [Failure()]}))
    rig.says(4_000)
    rig.play(12_000)
    assert rig.story() == ["answer 1", "apology"]
    assert (rig.reason, rig.intent) == (m.Reason.UPSTREAM_LOST, "ended")


def test_one_that_failed_in_the_middle_is_taken_up_again() -> None:
    rig = Rig(Clerk({2: [answer(2, last=False), Failure()]}))
    rig.says(4_000)
    rig.play(12_000)
    assert rig.story() == ["answer 1", "answer 2", "answer 3"]


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "inference_rate_limit_exceeded"])
def test_a_rate_limit_is_given_a_second(code: str) -> None:
    rig = Rig(Clerk({2: [Failure(code)]}))
    rig.says(4_000)
    rig.play(9_000)
    assert [told for told in rig.story() if told != "filler"] == ["answer 1", "answer 3"]


def test_a_response_that_failed_for_the_accounts_sake_is_the_end_at_once() -> None:
    rig = Rig(Clerk({2: [Failure("insufficient_quota")]}))
    rig.says(4_000)
    rig.play(12_000)
    assert rig.story() == ["answer 1", "apology"]
    assert "upstream refused: insufficient_quota" in rig.notes


@pytest.mark.parametrize("reason", ["content_filter", "max_output_tokens", None])
def test_a_response_that_is_broken_off_before_its_first_word_is_asked_for_once_more(
    reason: str | None,
) -> None:
    rig = Rig(Clerk({2: [Incomplete(reason)]}))  # type: ignore[arg-type]
    rig.says(4_000)
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 3"]


def test_a_response_that_is_broken_off_in_the_middle_stays_as_it_was_heard() -> None:
    rig = Rig(Clerk({2: [answer(2), Incomplete()]}))
    rig.says(4_000)
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert rig.notes == ["response incomplete: max_output_tokens"]


def test_a_response_without_a_word_is_asked_for_once_more() -> None:
    rig = Rig(Clerk({2: []}))
    rig.says(4_000)
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 3"]


def test_two_without_a_word_the_caller_is_asked_to_go_on() -> None:
    rig = Rig(Clerk({2: [], 3: []}))
    rig.says(4_000)
    rig.says(8_000)
    rig.play(13_000)
    assert rig.story() == ["answer 1", "restored", "answer 4"]


def test_a_turn_that_cannot_be_transcribed_is_answered_all_the_same() -> None:
    rig = Rig(server=ServerOptions(transcribe=lambda _item: None))
    rig.says(4_000)
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert [turn.text for turn in rig.log(m.Turn)] == [""]


def test_frames_that_are_no_json_and_events_as_they_should_not_be_are_dropped() -> None:
    rig = Rig()
    rig.says(4_000)
    broken = ["{", '{"type":"response.done"}', '{"type":"response.output_audio.delta","delta":5}', "[]"]
    rig.at(5_600, lambda: rig.from_server(broken))
    rig.play(9_000)
    assert rig.story() == ["answer 1", "answer 2"]
    assert sum(rig.call.stats.frames_refused.values()) == 4


def test_a_server_full_of_oddities_is_understood() -> None:
    rig = Rig(server=ServerOptions(strange=True, usage=False, rate_limits=False, late_deltas=3, cancel_ms=50))
    rig.says(4_000)
    rig.says(5_700)
    rig.play(12_000)
    assert rig.story()[0] == "answer 1"
    assert rig.story()[-1] == "answer 3"


def test_a_prompt_object_that_is_no_more_is_refused_in_words_at_once() -> None:
    """The error need not say what it answers: the session would be waited for, and dialled again."""
    rig = Rig(server=ServerOptions(withhold=frozenset({"session.updated"})))
    rig.faults(100, "unknown_parameter", param="session.prompt")
    rig.play(10_000)
    assert (rig.story(), rig.dialled) == (["apology"], [0])
    assert rig.reason is m.Reason.UPSTREAM_REFUSED
    why = f"unknown_parameter session.prompt: so be it ({PROMPT_OBJECTS})"
    assert rig.notes == [f"the model is out: the model refused our configuration: {why}"]


def test_a_prompt_object_that_ends_in_the_middle_of_a_call_is_not_asked_for_again() -> None:
    rig = told("invalid_value")
    rig.faults(5_700, "invalid_value", about="create:turn", param="session.prompt.id")
    rig.play(12_000)
    assert rig.reason is m.Reason.UPSTREAM_REFUSED
    assert rig.story()[-1] == "apology"
    assert [note for note in rig.notes if PROMPT_OBJECTS in note]
