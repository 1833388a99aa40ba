"""How long a refusal asks to wait, in the words of vendors."""

from __future__ import annotations

import pytest

from bridge.upstreams.retry_after import RetryAfter
from bridge.upstreams.server_events import Fault


@pytest.mark.parametrize(
    ("words", "ms"),
    [
        ("Please try again in 20ms.", 20),
        ("Please try again in 6.946s.", 6_946),
        ("Please try again in 1m2.5s.", 62_500),
        ("Please try again in 6m0s.", 360_000),
        ("Please try again in 20m.", 1_200_000),
        ("Please try again in 1h12m.", 4_320_000),
        ("Please try again in 1h12m3s.", 4_323_000),
        ("Please retry after 3 seconds.", 3_000),
        ("Please retry after 2 minutes.", 120_000),
        ("Please retry after 1 hour.", 3_600_000),
        ("Please try again in 5 bananas.", 0),
        ("Please try again in a while.", 0),
    ],
)
def test_the_time_is_read_whatever_its_unit(words: str, ms: int) -> None:
    fault = Fault(type="", code="rate_limit_exceeded", message=words)
    assert RetryAfter().of(fault) == ms
