"""How often a machine writes down what is said in its calls, and what of it a crash would lose."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.server.fleet.moves import Moves
from bridge.server.fleet.writes import HEARD_S, WORDS_S, Writes
from tests.agents import virtual_time

pytestmark = pytest.mark.runs_with(function=virtual_time.run)
CALL = f"CA{1:032x}"
WORDS = m.Turn("item_1", "How late is it?")
HEARD = m.Spoken("item_2", "Noon.", "Noon.", 400, cut=False)


class Written:
    """A call whose conversation is what was said so far, and the store's side of it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.turns: list[list[str]] = []
        self.words_of: list[dict[str, Any]] = []
        self.refused: set[str] = set()
        self.writes = Writes(self, Moves())  # type: ignore[arg-type]
        self.writes.belongs_to(self, SimpleNamespace())  # type: ignore[arg-type]

    def runner(self, _call_sid: str) -> Any:
        call = SimpleNamespace(phase=m.Phase.LIVE, carried=lambda _now_ms: [*self.said])
        return SimpleNamespace(call=call, now_ms=lambda: 0)

    def turn(self, _call_sid: str, conversation: list[str]) -> None:
        self.turns.append(conversation)

    async def words(self, conversations: dict[str, Any]) -> set[str]:
        self.words_of.append(conversations)
        return self.refused & conversations.keys()

    async def did(self, action: m.Action, *said: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.said += said
        self.writes.call_did(CALL, action, 0)


async def test_a_turn_whose_answer_is_heard_soon_is_one_command() -> None:
    call = Written()
    await call.did(HEARD, "hello", after_s=1.0)
    for number in range(1, 4):
        await call.did(WORDS, f"words {number}", after_s=1.0)
        await call.did(HEARD, f"answer {number}", after_s=WORDS_S - 0.1)
    await asyncio.sleep(10)
    assert [written[-1] for written in call.turns] == ["hello", "answer 1", "answer 2", "answer 3"]
    assert call.words_of == []


async def test_what_was_heard_waits_for_nothing() -> None:
    call = Written()
    await call.did(WORDS, "words", after_s=0.0)
    await call.did(HEARD, "answer", after_s=0.5)
    await asyncio.sleep(HEARD_S + 0.01)
    assert call.turns == [["words", "answer"]]


async def test_words_are_written_before_an_answer_that_is_long() -> None:
    call = Written()
    await call.did(WORDS, "words", after_s=0.0)
    await asyncio.sleep(WORDS_S + 0.01)
    assert call.words_of == [{CALL: ["words"]}], "a crash while the answer plays loses that alone"
    assert call.turns == []
    await call.did(HEARD, "answer", after_s=8.0)
    await asyncio.sleep(1.0)
    assert call.turns == [["words", "answer"]]


async def test_words_of_all_calls_go_in_one_command() -> None:
    """However many callers wait, it is one each two seconds; words whose answer was heard are not in it."""
    call = Written()
    for number in range(30):
        call.writes.call_did(f"CA{number}", WORDS, 0)
    call.writes.call_did("CA7", HEARD, 0)
    await asyncio.sleep(WORDS_S + 0.01)
    [words] = call.words_of
    assert len(words) == 29
    assert "CA7" not in words
    for number in range(100):
        call.writes.call_did(f"CA{number % 30}", WORDS, 0)
        await asyncio.sleep(0.1)
    await asyncio.sleep(WORDS_S)
    assert len(call.words_of) <= 1 + 6
    assert len(call.turns) == 1


async def test_words_that_are_refused_are_written_as_a_turn() -> None:
    call = Written()
    call.refused = {CALL}
    await call.did(WORDS, "words", after_s=0.0)
    await asyncio.sleep(WORDS_S + HEARD_S + 0.01)
    assert call.turns == [["words"]]


async def test_an_answer_that_is_cut_is_written_before_the_words_that_cut_it() -> None:
    call = Written()
    await call.did(WORDS, "words", after_s=0.0)
    await call.did(HEARD, "half an answer", after_s=1.0)
    await call.did(WORDS, "more words", after_s=0.05)  # both are there when it is due
    await asyncio.sleep(10)
    assert call.turns == [["words", "half an answer", "more words"]]
