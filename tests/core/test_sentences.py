"""Words heard, where the vendor says at which moment of the sound each sentence begins (xAI)."""

from __future__ import annotations

import pytest

from bridge.core.conversation import Conversation
from bridge.core.ledger import Span
from bridge.core.messages import TextDelta
from bridge.core.sentences import SentenceStarts

SAID = (("One two. ", 0), ("Three four.", 1_800))


def starts() -> SentenceStarts:
    made, characters = SentenceStarts(), 0
    for words, start_ms in SAID:
        made.add(characters, start_ms)
        characters += len(words)
    return made


@pytest.mark.parametrize(
    ("heard_ms", "characters"),
    [(0, 0), (900, 4), (1_799, 8), (1_800, 9), (2_350, 14), (2_900, 20)],
)
def test_each_sentence_is_spread_from_its_start_to_the_next(heard_ms: int, characters: int) -> None:
    assert starts().heard(8 * heard_ms, 8 * 2_900, 20) == characters


def test_a_sentence_whose_sound_has_not_begun_is_not_heard() -> None:
    """All words come first: what has been received ends before the second sentence."""
    assert starts().heard(8 * 1_500, 8 * 1_500, 20) <= 9


def test_times_that_run_backwards_do_not_count() -> None:
    made = SentenceStarts()
    for characters, start_ms in ((0, 500), (5, 200), (9, -3), (12, 1_000)):
        made.add(characters, start_ms)
    assert made.heard(0, 16_000, 20) == 0
    assert made.heard(8 * 1_000, 16_000, 20) == 12
    assert made.heard(16_000, 16_000, 20) == 20


# Words of 200 ms each, after 800 ms of silence; the last sentence ends at 2,900 ms.
TOLD = (("one two three four five. ", 800), ("six seven eight nine ten.", 1_900))


def heard(heard_ms: int, *, told: bool) -> int:
    """How many words the item is said to be heard of."""
    conversation = Conversation()
    for text, start_ms in TOLD:
        conversation.words(TextDelta("r", "i", 0, text, start_ms=start_ms if told else None))
    item = conversation.item("i")
    item.received_bytes = 8 * 2_900
    item.parts[0] = Span("i", heard_bytes=8 * heard_ms)
    return len(item.heard().split())


@pytest.mark.parametrize("heard_ms", range(300, 2_900, 100))
def test_words_heard_are_right_within_one(heard_ms: int) -> None:
    first, second = (max(0, min(5, (heard_ms - start_ms) // 200)) for _, start_ms in TOLD)
    assert abs(heard(heard_ms, told=True) - (first + second)) <= 1


def test_spread_over_the_whole_item_they_would_not_be() -> None:
    assert heard(800, told=True) == 0
    assert heard(800, told=False) == 3
    assert heard(2_900, told=True) == heard(2_900, told=False) == 10
