"""What `doctor` says of a store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.doctor import store
from bridge.settings.settings import Settings
from tests.fault_proxy import FaultProxy
from tests.store.redis_server import RedisServer, free_port, needed

pytestmark = pytest.mark.redis

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def settings(url: str, **more: Any) -> Settings:
    return Settings(
        _env_file=None,
        public_url="https://voice.example.com",
        twilio_auth_token="an-invented-token-of-thirty-two-",
        openai_api_key="sk-invented",
        store=url,
        **{"store_key": KEY, **more},
    )


@pytest.fixture
def server() -> Iterator[RedisServer]:
    needed()
    if not RedisServer.can_start():
        pytest.skip("a server of the test's own is needed, and no redis-server is here")
    made = RedisServer(port=free_port()).start()
    yield made
    made.remove()


async def words(url: str, **more: Any) -> str:
    found = await store.examine(settings(url, **more))
    return "; ".join(what for what, cure in found if cure)


async def test_a_store_that_is_fit(server: RedisServer) -> None:
    ((what, cure),) = await store.examine(settings(server.tcp_url))
    assert cure == ""
    assert what.startswith("it answers within ")


async def test_one_that_is_not(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "without BRIDGE_STORE_KEY" in await words(server.tcp_url, store_key="")
    monkeypatch.setattr(store, "OLDEST", (99, 0))
    assert "its server is Redis" in await words(server.tcp_url)
    monkeypatch.undo()
    now_s = time.time
    monkeypatch.setattr(time, "time", lambda: now_s() + 3_600)
    assert "3600 s apart" in await words(server.tcp_url)
    monkeypatch.undo()
    async with FaultProxy(server.port).serve() as proxy:
        proxy.delay_s = 0.01
        assert "ms away" in await words(f"redis://127.0.0.1:{proxy.port}/0")
    password = RedisServer("--requirepass", "sesame", port=free_port()).start()
    try:
        told = await words(password.tcp_url.replace("://", "://:wrong@"))
        assert told == "it cannot be used: user or password is refused"
    finally:
        password.remove()
    server.kill()
    assert "it cannot be used" in await words(server.tcp_url)


async def test_a_policy_that_throws_calls_away() -> None:
    needed()
    lru = RedisServer("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", port=free_port()).start()
    try:
        assert "maxmemory-policy is allkeys-lru" in await words(lru.tcp_url)
    finally:
        lru.remove()
