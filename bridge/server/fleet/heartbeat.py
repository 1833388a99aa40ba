"""The lease of this machine, renewed every three seconds."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bridge.server.store.claims import Beat, Lease
from bridge.server.store.shared_claims import SharedClaims
from bridge.settings.fleet import MOST_MACHINE_CHARS

logger = logging.getLogger(__name__)

MOST_APART_S: Final = 2.0
"""Between the clock of this machine and that of the store. Streams go by the store's, files by this one."""
BEAT_S: Final = 3.0
"""Three of them may be lost before the lease ends."""


class Heartbeat:
    """Beats from `start` on. A name that another process has is not fought for: this one goes on under the
    name with a suffix: `renamed` is called.
    """

    def __init__(self, shared: SharedClaims, renamed: Callable[[], None] = lambda: None) -> None:
        self._shared, self._renamed = shared, renamed
        self._named = shared.process.machine
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._warned: set[str] = set()
        self._told_clock = False

    @property
    def beats(self) -> bool:
        """Whether it has been started."""
        return self._task is not None

    async def start(self) -> None:
        """Raises StoreError where the store says that the settings are wrong."""
        await self._shared.open()
        await self._beat()
        self._task = asyncio.get_running_loop().create_task(self._go_on(), name="heartbeat")

    def hurry(self) -> None:
        """Beat now."""
        self._now.set()

    def close(self) -> None:
        """Beat no more."""
        if self._task is not None:
            self._task.cancel()

    async def _go_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), BEAT_S)
            self._now.clear()
            try:
                await self._beat()
            except Exception:
                logger.exception("a heartbeat failed; the next one is due in %.0f s", BEAT_S)

    async def _beat(self) -> None:
        found = await self._shared.beat()
        if found is not None and found.lease is Lease.TAKEN:
            suffix = f"-{secrets.token_hex(2)}"
            name = self._named[: MOST_MACHINE_CHARS - len(suffix)] + suffix
            logger.error(
                "another process has the name of this machine, %s (BRIDGE_MACHINE), or had it seconds ago: "
                "this one is %s",
                self._named,
                name,
            )
            self._shared.rename(name)
            self._renamed()
            found = await self._shared.beat()
        if found is not None:
            self._compare_clocks(found.now_ms / 1000 - time.time())
            self._compare(found)

    def _compare_clocks(self, ahead_s: float) -> None:
        if abs(ahead_s) > MOST_APART_S and not self._told_clock:
            self._told_clock = True
            logger.warning(
                "the clock of this machine is %.0f s off that of the store: while the store is away, streams "
                "that another machine gave out may be refused; let NTP set it",
                abs(ahead_s),
            )

    def _compare(self, found: Beat) -> None:
        """Machines that do not agree on what has to be equal everywhere lose calls between them."""
        mine = self._shared.status().config
        for one in found.machines:
            if one.status.config != mine and one.process.machine not in self._warned:
                self._warned.add(one.process.machine)
                logger.error(
                    "machine %s has another PUBLIC_URL, TWILIO_AUTH_TOKEN, BRIDGE_STORE_KEY or "
                    "BRIDGE_TRANSFERS than this one: calls that move between them are lost",
                    one.process.machine,
                )
