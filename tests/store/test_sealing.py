"""What was said is a secret of the service's machines."""

from __future__ import annotations

import logging

import pytest

from bridge.server.store.sealing import Clear, KeyRing, Withheld

pytest.importorskip("cryptography")

OLD, NEW = bytes(32), bytes(range(32))
PLACE, WORDS = "t:CA1", b"my number is 4711"


def test_a_record_can_be_read_where_it_was_put() -> None:
    ring = KeyRing([NEW])
    sealed = ring.seal(PLACE, WORDS)
    assert sealed is not None
    assert ring.open(PLACE, sealed) == WORDS
    assert WORDS not in sealed
    assert len(sealed) == len(WORDS) + 2 + 12 + 16
    assert ring.seal(PLACE, WORDS) != sealed


def test_nothing_else_can_be_read(caplog: pytest.LogCaptureFixture) -> None:
    told: list[None] = []
    ring = KeyRing([NEW], lambda: told.append(None))
    sealed = ring.seal(PLACE, WORDS)
    assert sealed is not None
    wrong = [b"", b"\x01", sealed[:-1], sealed[:5], b"\x02" + sealed[1:], sealed + b"x"]
    wrong += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    with caplog.at_level(logging.INFO):
        assert [ring.open(PLACE, one) for one in wrong] == [None] * len(wrong)
        assert ring.open("t:CA2", sealed) is None
        assert KeyRing([OLD]).open(PLACE, sealed) is None
    assert len(told) == len(wrong) + 1
    assert len(caplog.messages) == 2  # a line for each ring
    assert "4711" not in caplog.text


def test_keys_rotate() -> None:
    before, both, after = KeyRing([OLD]), KeyRing([OLD, NEW]), KeyRing([NEW])
    first, second = before.seal(PLACE, WORDS), both.seal(PLACE, WORDS)
    assert first is not None
    assert second is not None
    assert both.open(PLACE, first) == WORDS
    assert after.open(PLACE, first) is None
    assert after.open(PLACE, second) == WORDS


def test_without_a_key_nothing_is_stored(caplog: pytest.LogCaptureFixture) -> None:
    sealing = Withheld()
    assert [one.partition(":")[0] for one in caplog.messages] == ["BRIDGE_STORE_KEY is not set"]
    assert sealing.seal(PLACE, WORDS) is None
    assert sealing.open(PLACE, WORDS) is None


def test_in_memory_nothing_is_encrypted() -> None:
    assert Clear().seal(PLACE, WORDS) == Clear().open(PLACE, WORDS) == WORDS
