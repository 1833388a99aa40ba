"""What more cores are for: two workers hold nearly twice the calls of one process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.bench.load import Load, make_callers, serve_models
from bridge.bench.steps import judged, next_calls
from bridge.ops.cores import cores
from tests.hostile import kit

pytestmark = [pytest.mark.hostile, pytest.mark.long]

CORES = 4
"""Two for the workers, and one each for callers and models."""
LIMIT_MS = 20.0
GAIN = 1.8
BARE: dict[str, Any] = {
    "BRIDGE_INSECURE": "1", "TWILIO_AUTH_TOKEN": None, "TWILIO_ACCOUNT_SID": None, "PUBLIC_URL": None,
    "BRIDGE_RECORDINGS": None, "BRIDGE_JOURNAL": None, "BRIDGE_MAX_CALLS": "4000",
}  # fmt: skip


async def most_held(
    folder: Path, *arguments: str, first: int = 50, most: int = 4_000, seconds: float = 10.0
) -> int:
    """How many calls this server holds, to an eighth, by the sound that its callers and models hear. Skips
    where the limit is not the server's.
    """
    tried: dict[int, bool] = {}
    async with serve_models("127.0.0.1", 0, 3.0) as (models, port):
        model: Any = SimpleNamespace(url=f"ws://127.0.0.1:{port}/v1/realtime")
        async with kit.bridge(model, folder=folder, arguments=arguments, **BARE) as served:
            url = f"http://127.0.0.1:{served.port}/incoming-call"
            async with make_callers(url, None) as callers:
                load = Load(url, callers, models, lambda _words: None)
                while (calls := next_calls(tried, first, most)) is not None:
                    for _ in range(2):
                        verdict = judged(await load.step(calls, seconds, 3.0), LIMIT_MS)
                        if verdict.held:
                            break
                    if verdict.limit in ("bench", "machine"):
                        pytest.skip(f"{calls} calls with {arguments or 'one process'}: {verdict.words}")
                    tried[calls] = verdict.held
    return max((calls for calls, held in tried.items() if held), default=0)


def test_two_workers_hold_nearly_twice_the_calls_of_one_process(tmp_path: Path, record_property: Any) -> None:
    if cores() < CORES:
        pytest.skip(f"{cores()} cores; callers, models and two workers want {CORES} of their own")
    one = asyncio.run(most_held(tmp_path))
    two = asyncio.run(most_held(tmp_path, "--workers", "2"))
    record_property("calls", (one, two))
    assert two >= GAIN * one, (one, two)


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_calls_are_counted_that_a_server_holds(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """The measurement itself, with few calls."""
    assert asyncio.run(most_held(tmp_path, *arguments, first=4, most=8, seconds=2.0)) == 8
