"""response.create, its overrides, its clashes, its ends and what they cost."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.doubles.agents import Asked, Failure, Incomplete, Output, Scripted, Speech, ToolCall
from tests.doubles.conftest import AT_ONCE, error_of, phone_client, scripted, silence


class Curious:
    """Says one second each time and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> list[Output]:
        self.asked.append(asked)
        return [Speech(1000, "yes")]


def test_metadata_comes_back() -> None:
    client = scripted(Speech(100), **AT_ONCE)
    client.responds(metadata={"tag": "say-1"})
    assert client.last("response.created")["response"]["metadata"] == {"tag": "say-1"}
    assert client.last("response.done")["response"]["metadata"] == {"tag": "say-1"}
    client.responds()
    assert client.last("response.done")["response"]["metadata"] is None


@pytest.mark.parametrize(
    ("response", "code", "param"),
    [
        ({"metadata": {str(n): "" for n in range(17)}}, "invalid_value", "response.metadata"),
        ({"metadata": {"k" * 65: ""}}, "invalid_value", "response.metadata"),
        ({"metadata": {"k": "v" * 513}}, "invalid_value", "response.metadata[...]"),
        ({"modalities": ["text"]}, "unknown_parameter", "response.modalities"),
        ({"conversation": "new"}, "invalid_value", "response.conversation"),
        ({"input": [{"type": "item_reference", "id": "item_9"}]}, "item_not_found", "item_id"),
    ],
)
def test_a_bad_request_makes_no_response(response: dict[str, Any], code: str, param: str) -> None:
    client = scripted(Speech(100), **AT_ONCE)
    events = client.now("response.create", event_id="r1", response=response)
    assert error_of(events) == {"code": code, "param": param, "event_id": "r1"}
    assert client.responds()[0]["response"]["id"] == "resp_1"


def test_the_agent_knows_why_and_out_of_what(voice: bytes) -> None:
    agent = Curious()
    client = phone_client(agent, **AT_ONCE, session={"instructions": "Always."})
    client.responds(instructions="Once.")
    client.hears(voice + silence(600))
    first, second = agent.asked
    assert (first.number, first.reason, first.request) == (0, "client", {"instructions": "Once."})
    assert (first.caller, first.items) == (None, [])
    assert (second.number, second.reason, second.request) == (1, "turn", {})
    assert [item.role for item in second.items] == ["assistant", "user"]
    assert second.session["instructions"] == "Always."


def test_a_response_can_read_something_else_than_the_conversation(voice: bytes) -> None:
    agent = Curious()
    client = phone_client(agent, **AT_ONCE)
    client.hears(voice + silence(600))
    typed = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "sum up"}]}
    client.responds(input=[{"type": "item_reference", "id": "item_1"}, typed], conversation="none")
    assert [item.text or item.audio_ms for item in agent.asked[-1].items] == [1500, "sum up"]
    client.responds(input=[])
    assert agent.asked[-1].items == []


def test_out_of_band_stays_out_of_the_conversation_and_runs_beside_it(voice: bytes) -> None:
    client = scripted(Speech(5000), Speech(2000), latency_ms=0, speed=1)
    client.responds()
    client.until(500)
    client.responds(conversation="none", metadata={"topic": "side"})
    created = client.last("response.created")["response"]
    assert created["conversation_id"] is None
    assert created["metadata"] == {"topic": "side"}
    client.hears(voice)  # cancels the one in the conversation, not this one
    client.until(6000)
    ends = {done["response"]["id"]: done["response"]["status"] for done in client.of("response.done")}
    assert ends == {"resp_1": "cancelled", "resp_2": "completed"}
    added = [event["item"]["id"] for event in client.of("conversation.item.added")]
    (aside,) = client.of("response.done")[-1]["response"]["output"]
    assert aside["id"] not in added
    assert aside["id"] not in client.server.items


def test_one_response_at_a_time() -> None:
    client = scripted(Speech(5000), Speech(100))
    client.responds()
    events = client.now("response.create", event_id="r2")
    assert error_of(events) == {
        "code": "conversation_already_has_active_response",
        "param": None,
        "event_id": "r2",
    }
    assert "resp_1" in events[0]["error"]["message"]
    client.until(5000)
    assert client.kinds(client.now("response.create"))[0] == "response.created"


def test_older_servers_do_not_say_which_create_they_mean() -> None:
    client = scripted(Speech(5000), echo_create_id=False)
    client.responds()
    assert error_of(client.now("response.create", event_id="r2"))["event_id"] is None
    assert client.server.log[-1] == {"type": "response.create", "event_id": "r2"}


def test_a_create_can_lose_the_race_against_voice_detection(voice: bytes) -> None:
    client = scripted(Speech(500), Speech(500))
    client.hears(voice + silence(500))
    assert client.kinds()[-2] == "response.created"
    assert error_of(client.now("response.create"))["code"] == "conversation_already_has_active_response"


def test_cancelling_can_name_an_out_of_band_response() -> None:
    client = scripted(Speech(5000), Speech(5000), speed=1)
    client.responds()
    client.responds(conversation="none")
    client.now("response.cancel", response_id="resp_2")
    assert client.last("response.done")["response"]["id"] == "resp_2"
    client.now("response.cancel")
    assert client.last("response.done")["response"]["id"] == "resp_1"
    assert client.server.deadline_ms == 3_600_000


def test_a_failed_response_says_why_and_costs_nothing() -> None:
    client = scripted([Failure("rate_limit_exceeded", "Slow down.")], **AT_ONCE)
    client.responds()
    response = client.last("response.done")["response"]
    assert (response["status"], response["usage"], response["output"]) == ("failed", None, [])
    assert response["status_details"] == {
        "type": "failed",
        "error": {"type": "server_error", "code": "rate_limit_exceeded", "message": "Slow down."},
    }
    assert client.server.usage == []


@pytest.mark.parametrize(("output", "status"), [(Failure(None), "failed"), (Incomplete(None), "incomplete")])
def test_details_can_be_missing(output: Output, status: str) -> None:
    client = scripted([output], **AT_ONCE)
    client.responds()
    response = client.last("response.done")["response"]
    assert (response["status"], response["status_details"]) == (status, None)


def test_a_token_budget_cuts_the_speech() -> None:
    client = scripted([Speech(1000, "one two three four"), Speech(1000)], **AT_ONCE)
    client.responds(max_output_tokens=12)  # 50 ms of sound a token
    response = client.last("response.done")["response"]
    assert response["status"] == "incomplete"
    assert response["status_details"]["reason"] == "max_output_tokens"
    (item,) = response["output"]
    assert item["status"] == "incomplete"
    assert client.server.items[item["id"]].audio_ms == 600


def test_usage_counts_both_sides_and_what_was_cached(voice: bytes) -> None:
    client = scripted(
        Speech(5000, "x" * 400), Speech(1000, "y" * 40), **AT_ONCE, session={"instructions": "z" * 4000}
    )
    client.responds()
    first = client.last("response.done")["response"]["usage"]
    assert first["input_token_details"]["text_tokens"] == 1000
    assert first["input_token_details"]["cached_tokens"] == 0
    assert first["output_token_details"] == {"text_tokens": 100, "audio_tokens": 100}
    client.hears(voice + silence(600))
    second = client.last("response.done")["response"]["usage"]
    details = second["input_token_details"]
    assert (details["text_tokens"], details["audio_tokens"]) == (1000 + 100, 100 + 15)
    assert details["cached_tokens_details"] == {"text_tokens": 960, "audio_tokens": 0, "image_tokens": 0}
    assert second["input_tokens"] == 1215
    assert second["total_tokens"] == second["input_tokens"] + second["output_tokens"]
    assert client.server.usage == [first, second]


def test_new_instructions_break_the_cache() -> None:
    client = scripted(Speech(100), Speech(100), **AT_ONCE, session={"instructions": "z" * 4000})
    client.responds()
    client.now("session.update", session={"type": "realtime", "instructions": "w" * 4000})
    client.responds()
    assert client.server.usage[1]["input_token_details"]["cached_tokens"] == 0


def test_truncated_speech_is_read_as_short_as_it_is() -> None:
    client = scripted(Speech(5000, "x" * 400), Speech(100), **AT_ONCE, session={"instructions": ""})
    client.responds()
    client.now("conversation.item.truncate", item_id="item_1", content_index=0, audio_end_ms=1000)
    client.responds()
    details = client.server.usage[1]["input_token_details"]
    assert (details["text_tokens"], details["audio_tokens"]) == (0, 20)


def test_usage_can_be_null() -> None:
    client = scripted(Speech(100), **AT_ONCE, usage=False)
    client.responds()
    assert client.last("response.done")["response"]["usage"] is None
    assert len(client.server.usage) == 1


def test_a_tool_s_result_comes_back_as_an_item() -> None:
    client = phone_client(Scripted([ToolCall("f", {"a": 1}), Speech(100)]), **AT_ONCE)
    client.responds()
    call = client.last("response.output_item.done")["item"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "42"}
    assert client.kinds(client.now("conversation.item.create", item=output)) == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    unknown = {"type": "function_call_output", "call_id": "call_99", "output": "42"}
    error = error_of(client.now("conversation.item.create", item=unknown, event_id="o"))
    assert error == {"code": "invalid_tool_call_id", "param": "item.call_id", "event_id": "o"}
