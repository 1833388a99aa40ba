"""Ears beside the server: a turn is fed as it is spoken, and the answer waits for its words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bridge.doubles.agents import Later, Scripted, Speech
from bridge.doubles.front_desk.agent import FrontDesk
from bridge.doubles.front_desk.grammar import grammar
from bridge.doubles.front_desk.tools import tools_of
from tests.doubles.conftest import AT_ONCE, VOICE, phone_client, silence
from tests.doubles.front_desk.restaurant import TOOLS, function


class HeardLater:
    """Words that come when the test says so."""

    said: str | None = None

    def text(self) -> str | None:
        return self.said


class Listening:
    """Ears that keep what they are fed."""

    def __init__(self) -> None:
        self.tools: Sequence[Mapping[str, Any]] = ()
        self.turns: list[bytes] = []
        self.sound = b""
        self.words = HeardLater()
        self.closed = False

    def configure(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self.tools = tools

    def feed(self, pcmu: bytes) -> None:
        self.sound += pcmu

    def finish(self) -> HeardLater:
        self.turns.append(self.sound)
        self.sound, self.words = b"", HeardLater()
        return self.words

    def close(self) -> None:
        self.closed = True


def test_a_turn_is_fed_as_it_is_spoken_with_what_came_before_it() -> None:
    ears = Listening()
    client = phone_client(FrontDesk(), ears=ears, **AT_ONCE, session={"tools": TOOLS})
    assert ears.tools == TOOLS
    client.hears(silence(1_000) + VOICE[: 8 * 500])
    assert ears.turns == []
    assert ears.sound == silence(300) + VOICE[: 8 * 500]
    client.hears(VOICE[8 * 500 :] + silence(600))
    assert ears.turns == [silence(300) + VOICE + silence(500)] == [client.server.items["item_1"].sound]
    client.hears(VOICE + silence(600))
    assert len(ears.turns) == 2
    client.server.gone(client.now_ms)
    assert ears.closed


def test_a_turn_that_the_client_commits_is_heard_whole() -> None:
    ears = Listening()
    client = phone_client(FrontDesk(), detection=None, ears=ears, **AT_ONCE)
    client.hears(VOICE)
    client.now("input_audio_buffer.commit")
    assert ears.turns == [VOICE]


def test_the_answer_waits_for_the_words() -> None:
    ears = Listening()
    client = phone_client(FrontDesk(), ears=ears, **AT_ONCE, session={"tools": TOOLS})
    client.responds()
    client.hears(VOICE + silence(600))
    client.until(client.now_ms + 500)
    assert client.kinds().count("response.done") == 1
    ears.words.said = "how much is a haircut"
    client.until(client.now_ms + 10)
    [call] = client.last("response.done")["response"]["output"]
    assert (call["name"], call["arguments"]) == ("price", '{"service": "haircut"}')


def test_a_caller_who_speaks_on_is_answered_with_what_they_said_last() -> None:
    ears = Listening()
    client = phone_client(FrontDesk(), ears=ears, **AT_ONCE, session={"tools": TOOLS})
    client.responds()
    client.hears(VOICE + silence(600))
    first = ears.words
    client.hears(VOICE + silence(600))
    first.said, ears.words.said = "book a table for two", "on friday at nine"
    client.until(client.now_ms + 10)
    [said] = client.last("response.done")["response"]["output"]
    assert said["content"][0]["transcript"] == "Book: friday, 09:00, 2. Right?"


def test_outputs_that_are_decided_later_keep_their_order() -> None:
    decided: list[Any] = []
    later = Later(lambda: decided or None)
    client = phone_client(Scripted([[Speech(100, "One."), later, Speech(100, "Four.")]]), **AT_ONCE)
    client.responds()
    client.until(100)
    assert client.of("response.done") == []
    decided += [Speech(100, "Two."), Speech(100, "Three.")]
    client.until(200)
    told = [event["transcript"] for event in client.of("response.output_audio_transcript.done")]
    assert told == ["One.", "Two.", "Three.", "Four."]


# --- what can be heard -------------------------------------------------------------------------------------


def rules(text: str) -> dict[str, str]:
    return dict(re.findall(r"<(\w+)> = (.*?);", text.replace("\n", " ")))


def test_a_grammar_has_the_words_of_the_session_s_own_tools() -> None:
    found = rules(grammar(tools_of(TOOLS)))
    assert {"order", "status", "check", "track"} <= {*found["tool3"].split(" | ")}
    assert found["choice_tool4"] == "haircut | massage | manicure"
    assert found["choice_tool5"] == "sales | support | owner"
    used = {*re.findall(r"<(\w+)>", " ".join(found.values()))}
    assert used <= {*found}


@pytest.mark.parametrize("tools", [[], [function("hang_up", "End the call.")], TOOLS[:1], TOOLS[5:6]])
def test_a_grammar_of_any_tools_names_no_rule_that_it_lacks(tools: list[dict[str, Any]]) -> None:
    found = rules(grammar(tools_of(tools)))
    assert {*re.findall(r"<(\w+)>", " ".join(found.values()))} <= {*found}


def test_words_that_cannot_be_pronounced_are_left_out() -> None:
    pizza = [function("order_pizza", "Order a pizza.", kind=["margherita", "salami"])]
    text = grammar(tools_of(pizza), lambda word: word != "margherita")
    assert "margherita" not in text
    assert rules(text)["choice_tool0"] == "salami"
