"""A stream's name says which stream of which call it is, to whoever has our key, and to nobody else."""

from __future__ import annotations

import pytest

from bridge.server.stream_names import StreamNames

CALL, OTHER = "CA" + "1" * 32, "CA" + "2" * 32
NAMES = StreamNames([b"a key"])


def test_a_name_is_read_by_its_key_and_for_its_call() -> None:
    for number in (1, 2, 17, 9_999):
        assert NAMES.number(NAMES.name(CALL, number), CALL) == number
        assert NAMES.number(NAMES.name(CALL, number), OTHER) is None
        assert StreamNames([b"another"]).number(NAMES.name(CALL, number), CALL) is None
        assert StreamNames([b"a key", b"newer"]).number(NAMES.name(CALL, number), CALL) == number


def test_it_needs_no_escape_in_a_url() -> None:
    assert all(letter.isalnum() or letter in "-_" for letter in NAMES.name(CALL, 1))


@pytest.mark.parametrize(
    "name", ["", "1", "-", "1-", "x-y", "1-é", "²-abcdefabcdef", "99999-abcdefabcdef", "-1-abcdefabcdef"]
)
def test_what_is_no_name_has_no_number(name: str) -> None:
    assert NAMES.number(name, CALL) is None


def test_no_letter_of_it_can_be_left_out_or_changed() -> None:
    name = NAMES.name(CALL, 1)
    for place in range(len(name)):
        assert NAMES.number(name[:place], CALL) is None
        assert NAMES.number(name[:place] + "~" + name[place + 1 :], CALL) is None
    assert NAMES.number("2" + name[1:], CALL) is None
