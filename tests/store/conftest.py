from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.redis_server import ELSEWHERE, RedisServer, needed


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A server for tests that do it no harm."""
    needed()
    if ELSEWHERE is not None:
        yield ELSEWHERE
        return
    server = RedisServer().start()
    try:
        yield server.url
    finally:
        server.remove()
