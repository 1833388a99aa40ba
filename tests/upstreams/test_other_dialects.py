"""Servers that speak nearly the same: what they leave out, put elsewhere or say more than once.

The shapes are those that xAI and Azure were seen to send; ids and words are invented.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.upstreams.openai import session_tree
from bridge.upstreams.realtime import Realtime

RESPONSE = {"id": "resp_1", "object": "realtime.response", "status": "completed", "output": []}
TOKENS = {"input_tokens": 12, "input_token_details": {"text_tokens": 5, "audio_tokens": 7}}


@pytest.fixture
def model() -> Realtime:
    return Realtime(session_tree)


def parsed(model: Realtime, kind: str, **fields: Any) -> Any:
    return model.parse(json.dumps({"type": kind, "event_id": "event_1", **fields}))


# --- who made a response


def test_without_metadata_the_response_that_begins_is_the_one_asked_for(model: Realtime) -> None:
    model.write(m.CreateResponse("greeting"))
    response = {"id": "resp_1", "status": "in_progress"}
    assert parsed(model, "response.created", response=response) == m.ResponseStarted("resp_1", "greeting")


def test_without_metadata_what_nobody_asked_for_is_the_vendors(model: Realtime) -> None:
    response = {"id": "resp_1", "status": "in_progress"}
    assert parsed(model, "response.created", response=response) == m.ResponseStarted("resp_1")


def test_metadata_of_null_is_the_vendors_own_response(model: Realtime) -> None:
    model.write(m.CreateResponse("greeting"))
    response = {"id": "resp_1", "status": "in_progress", "metadata": None}
    assert parsed(model, "response.created", response=response).tag == ""


def test_an_aside_is_not_taken_for_the_answer(model: Realtime) -> None:
    model.write(m.CreateResponse("summary", aside=True))
    model.write(m.CreateResponse("turn:1"))
    response = {"id": "resp_1", "status": "in_progress"}
    assert parsed(model, "response.created", response=response).tag == "turn:1"


# --- usage


def test_usage_beside_the_response_is_read(model: Realtime) -> None:
    done = parsed(model, "response.done", response={**RESPONSE, "usage": {}}, usage=TOKENS)
    assert done.usage == m.Usage(text_in=5, audio_in=7)


@pytest.mark.parametrize("usage", [{}, None, [], "none", {"total_tokens": None}])
def test_usage_that_says_nothing_is_unknown_and_not_zero(model: Realtime, usage: object) -> None:
    assert parsed(model, "response.done", response={**RESPONSE, "usage": usage}).usage is None


def test_usage_of_zero_is_zero(model: Realtime) -> None:
    usage = {"input_tokens": 0, "output_tokens": 0}
    assert parsed(model, "response.done", response={**RESPONSE, "usage": usage}).usage == m.Usage()


# --- transcripts


def test_only_the_last_of_growing_transcripts_is_the_turn(model: Realtime) -> None:
    kind = "conversation.item.input_audio_transcription.completed"
    told = [
        ("Hello,", "in_progress"),
        ("Hello, my", "in_progress"),
        ("Hello, my name is Robin.", "completed"),
    ]
    events = [
        parsed(model, kind, item_id="item_1", transcript=words, status=status) for words, status in told
    ]
    assert [event and event.text for event in events] == [None, None, "Hello, my name is Robin."]


def test_a_transcription_that_failed_says_why(model: Realtime) -> None:
    kind = "conversation.item.input_audio_transcription.failed"
    error = {"type": "invalid_request_error", "code": "DeploymentNotFound", "message": "It does not exist."}
    failed = parsed(model, kind, item_id="item_1", error=error)
    assert (failed.failed, failed.why) == (True, "DeploymentNotFound: It does not exist.")
    assert parsed(model, kind, item_id="item_1", error=None).why == ""


# --- how long to wait


@pytest.mark.parametrize(
    ("words", "retry_ms"),
    [
        ("Rate limit reached on tokens per min. Please try again in 2.5s.", 2_500),
        ("Please try again in 20ms. Visit the page of limits.", 20),
        ("Please try again in 1m12s.", 72_000),
        ("Please try again in 2 seconds.", 2_000),
        ("Requests have exceeded the call rate limit. Please retry after 3 seconds.", 3_000),
        ("Please retry after 250 milliseconds.", 250),
        ("Please try again in 999999s.", 86_400_000),
        ("Please try again in 99999999999999999999s.", 0),
        ("Please try again later.", 0),
        ("", 0),
    ],
)
def test_a_rate_limit_says_when(model: Realtime, words: str, retry_ms: int) -> None:
    error = {"type": "tokens", "code": "rate_limit_exceeded", "message": words}
    failed = {**RESPONSE, "status": "failed", "status_details": {"type": "failed", "error": error}}
    assert parsed(model, "response.done", response=failed).retry_ms == retry_ms
    assert parsed(model, "error", error=error).retry_ms == retry_ms


def test_other_errors_name_no_time(model: Realtime) -> None:
    error = {"type": "server_error", "code": "server_error", "message": "Please try again in 3s."}
    assert parsed(model, "error", error=error).retry_ms == 0


@pytest.mark.parametrize("code", ["RateLimitReached", "too_many_requests", "429", 429, "TooManyRequests"])
def test_a_rate_limit_has_many_names(model: Realtime, code: Any) -> None:
    error = {"type": None, "code": code, "message": "Please retry after 2 seconds."}
    assert parsed(model, "error", error=error).retry_ms == 2_000


def test_a_limit_of_which_too_little_is_left_is_used_up(model: Realtime) -> None:
    limits = [
        {"name": "requests", "limit": 100, "remaining": 90, "reset_seconds": 60.0},
        {"name": "tokens", "limit": 40_000, "remaining": 37, "reset_seconds": 4.5},
    ]
    parsed(model, "rate_limits.updated", rate_limits=limits)
    error = {"type": "tokens", "code": "rate_limit_exceeded", "message": "Rate limit reached."}
    assert parsed(model, "error", error=error).retry_ms == 4_500


def test_where_the_refusal_names_no_time_the_limits_do(model: Realtime) -> None:
    limits = [
        {"name": "requests", "limit": 100, "remaining": 90, "reset_seconds": 60.0},
        {"name": "tokens", "limit": 40_000, "remaining": 0, "reset_seconds": 6.25},
    ]
    assert parsed(model, "rate_limits.updated", rate_limits=limits) is None
    error = {"type": "tokens", "code": "rate_limit_exceeded", "message": "Rate limit reached."}
    assert parsed(model, "error", error=error).retry_ms == 6_250


@pytest.mark.parametrize(
    "limits", [None, {}, [None], [{"remaining": 0, "reset_seconds": -5}], [{"remaining": 0}]]
)
def test_limits_of_any_shape_are_harmless(model: Realtime, limits: object) -> None:
    assert parsed(model, "rate_limits.updated", rate_limits=limits) is None
    error = {"code": "rate_limit_exceeded", "message": ""}
    assert parsed(model, "error", error=error).retry_ms == 0


# --- lists of MCP tools that fail


LISTED = {
    "id": "mcpl_1",
    "object": "realtime.item",
    "type": "mcp_list_tools",
    "server_label": "crm",
    "tools": [],
}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ({"type": "mcp_error", "code": "http_error", "message": "424"}, "http_error: 424"),
        ({"type": "protocol_error", "message": "bad handshake"}, "protocol_error: bad handshake"),
        ({"code": 502}, "502"),
        ("it did not answer", "it did not answer"),
        (None, "no reason given"),
        ({}, "no reason given"),
        ([1], "no reason given"),
    ],
)
def test_a_list_that_fails_is_told_with_its_label_and_code(model: Realtime, error: Any, why: str) -> None:
    parsed(model, "conversation.item.added", item=LISTED)
    failed = parsed(model, "mcp_list_tools.failed", item_id="mcpl_1", error=error)
    assert (failed.kind, failed.item_id, failed.why) == ("mcp_list_tools.failed", "mcpl_1", f"crm: {why}")


def test_a_code_that_comes_with_the_item_is_told_too(model: Realtime) -> None:
    item = {**LISTED, "error": {"type": "http_error", "code": 401, "message": "Unauthorized"}}
    done = parsed(model, "conversation.item.done", item=item)
    assert (done.kind, done.item_id, done.why) == ("mcp_list_tools", "mcpl_1", "crm: 401: Unauthorized")


def test_a_list_that_is_there_is_no_failure(model: Realtime) -> None:
    parsed(model, "conversation.item.added", item=LISTED)
    assert parsed(model, "mcp_list_tools.completed", item_id="mcpl_1").why == ""
    assert parsed(model, "conversation.item.done", item={**LISTED, "error": None}) is None


# --- errors without a code


@pytest.mark.parametrize("code", [None, "", "invalid_request_error"])
@pytest.mark.parametrize(
    ("message", "known"),
    [
        (
            "Conversation already has an active response in progress: resp_9. Wait until it is finished.",
            "conversation_already_has_active_response",
        ),
        ("conversation already has an active response", "conversation_already_has_active_response"),
        ("Cancellation failed: no active response found", "response_cancel_not_active"),
    ],
)
def test_an_error_is_known_by_its_sentence(model: Realtime, code: Any, message: str, known: str) -> None:
    error = {"type": "invalid_request_error", "code": code, "message": message}
    assert parsed(model, "error", error=error).code == known


def test_one_without_code_and_event_id_is_about_the_response_that_was_asked_for(model: Realtime) -> None:
    model.write(m.CreateResponse("greeting"))
    error = {"type": "invalid_request_error", "message": "Conversation already has an active response."}
    assert parsed(model, "error", error=error).about == "create:greeting"


def test_a_code_may_stand_in_the_type(model: Realtime) -> None:
    model.write(m.CreateResponse("greeting"))
    fault = parsed(model, "error", error={"type": "conversation_already_has_active_response", "code": None})
    assert (fault.code, fault.about) == ("conversation_already_has_active_response", "create:greeting")


@pytest.mark.parametrize("message", ["The model is not active.", "There is an active responsibility.", ""])
def test_another_sentence_stays_what_it_is(model: Realtime, message: str) -> None:
    assert parsed(model, "error", error={"type": "server_error", "message": message}).code == ""


# --- the words of an item


ITEM = {"id": "item_1", "type": "message", "role": "assistant", "status": "completed"}
PLACE = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
SAID = m.TextDelta("resp_1", "item_1", 0, "We open at nine.")


def words_of(model: Realtime, *kinds: str) -> list[Any]:
    """What is read of an item whose words come in events of these kinds."""
    content = [{"type": "output_audio", "transcript": SAID.text}]
    told: dict[str, dict[str, Any]] = {
        "response.output_audio_transcript.delta": {**PLACE, "delta": SAID.text},
        "response.output_audio_transcript.done": {**PLACE, "transcript": SAID.text},
        "response.audio_transcript.done": {**PLACE, "transcript": SAID.text},
        "response.output_item.done": {"response_id": "resp_1", "item": {**ITEM, "content": content}},
    }
    return [event for kind in kinds if (event := parsed(model, kind, **told[kind])) is not None]


@pytest.mark.parametrize(
    "kinds",
    [
        ("response.output_audio_transcript.done",),
        ("response.audio_transcript.done",),
        ("response.output_item.done",),
        ("response.output_audio_transcript.done", "response.output_item.done"),
        ("response.output_audio_transcript.delta", "response.output_audio_transcript.done"),
        ("response.output_audio_transcript.delta", "response.output_item.done", "response.output_item.done"),
    ],
)
def test_words_are_read_once_wherever_they_are(model: Realtime, kinds: tuple[str, ...]) -> None:
    assert words_of(model, *kinds) == [SAID]


def test_no_words_are_none(model: Realtime) -> None:
    assert parsed(model, "response.output_audio_transcript.done", **PLACE, transcript="") is None
    assert parsed(model, "response.output_audio_transcript.done", **PLACE) is None
    assert parsed(model, "response.output_item.done", response_id="resp_1", item=ITEM) is None
    assert words_of(model, "response.output_item.done") == [SAID]


def test_written_words_of_an_item_are_not_spoken(model: Realtime) -> None:
    item = {**ITEM, "content": [{"type": "output_text", "text": "Nine."}]}
    said = parsed(model, "response.output_item.done", response_id="resp_1", item=item)
    assert said == m.TextDelta("resp_1", "item_1", 0, "Nine.", spoken=False)


# --- the session in force


PHONE = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}}
WIDE = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcm"}}}


@pytest.mark.parametrize(
    ("told", "ok"),
    [
        ([{}], False),
        ([{"audio": {}}], False),
        ([{"audio": PHONE}], True),
        ([{"audio": PHONE}, {"instructions": "Be brief."}], True),
        ([{"audio": PHONE}, {"audio": {"output": {"speed": 1.2}}}], True),
        ([{"audio": PHONE}, {}, {"audio": WIDE}], False),
        ([{"audio": WIDE}, {}], False),
    ],
)
def test_an_update_that_tells_no_formats_has_not_changed_them(
    model: Realtime, told: list[dict[str, Any]], ok: bool
) -> None:
    """Some servers answer an update with what it changed."""
    assert [parsed(model, "session.updated", session=session).formats_ok for session in told][-1] is ok
