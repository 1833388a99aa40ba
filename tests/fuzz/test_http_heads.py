"""A few hundred requests that nobody should send; `python -m tests.fuzz.http_heads 50000` sends more."""

from __future__ import annotations

import pytest

from bridge.sockets.http_protocol import BoundedHttpProtocol
from tests.fuzz.http_heads import fuzz


def test_nothing_escapes_from_a_request_and_nothing_is_kept_of_it() -> None:
    result = fuzz(300)
    # Memory is counted for the whole process: what another thread makes meanwhile is not made a second time,
    # and what requests leave behind is.
    assert result.kept_bytes < 100_000 or fuzz(300).kept_bytes < 100_000
    assert {200, 400, 403, 431} <= result.answers.keys()


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self: BoundedHttpProtocol, data: bytes) -> None:
        self._read_head(data)
        data.decode()

    monkeypatch.setattr(BoundedHttpProtocol, "data_received", careless)
    with pytest.raises(UnicodeDecodeError):
        fuzz(300)
