"""A few hundred streams that nobody should send; `python -m tests.fuzz.arrivals 50000` sends more."""

from __future__ import annotations

import pytest

from bridge.sockets.stream import StreamSocket
from tests.fuzz.arrivals import fuzz


def test_nothing_escapes_from_a_stream_before_it_is_let_in_and_nothing_is_kept_of_it() -> None:
    result = fuzz(200)
    assert result.kept_bytes < 100_000
    assert {"let in, closed", "refused, closed", "refused, we gave up", "gone, closed"} <= result.ends.keys()


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it what comes behind the `start` would be lost."""
    monkeypatch.setattr(StreamSocket, "hold", lambda _self: None)
    with pytest.raises(AssertionError):
        fuzz(200)
