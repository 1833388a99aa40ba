"""How often a conversation is written down."""

from __future__ import annotations

import asyncio
from typing import Any

from bridge.carriers.twilio import Twilio
from bridge.core import messages as m
from bridge.server.calls import CallRegistry
from bridge.server.services import CallFactory
from bridge.upstreams.openai import OpenAI
from tests.agents.virtual_time import run


def test_a_flood_of_turns_is_kept_once_a_second_and_its_last_state_always() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def never(_dial: Any) -> Any:
            await asyncio.Event().wait()

        making = CallFactory(
            config=lambda _fields: m.CallConfig(dial_total_ms=10**9, session_ms=10**9),
            carrier=Twilio,
            vendor=OpenAI,
            dial=never,
        )
        registry = CallRegistry(making)
        kept_s: list[float] = []
        registry.services.store.conversations.keep = lambda *_: kept_s.append(loop.time())  # type: ignore[method-assign]
        await registry.ring("CA1", {})
        entry = registry._entries["CA1"]

        def said(number: int) -> None:
            registry._did(entry, m.Turn(f"item_{number}", "yes"), number)

        for number in range(3):  # a conversation: each is kept as soon as it is said
            said(number)
            await asyncio.sleep(0.01)
        assert len(kept_s) == 3
        kept_s.clear()
        for number in range(1_000):
            said(number)
            await asyncio.sleep(0.01)
        last_s = loop.time()
        await asyncio.sleep(2)
        assert 10 <= len(kept_s) <= 14
        assert last_s - 0.01 <= kept_s[-1] <= last_s + 1
        await registry.shut_down()

    run(main())
