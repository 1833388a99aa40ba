"""Asking the carrier whether a call is what its webhook says, before anything is said or billed.

A signature proves that the carrier made a request, at some time. Whether the call goes on, only the carrier
knows. It is asked while the model is dialled, for a second at most: that is a second of ringing when its API
is down, and a fifth of one otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Literal

from bridge.ops.metrics import Metrics
from bridge.server.twilio_rest import CarrierRest, Standing

logger = logging.getLogger(__name__)

Mode = Literal["auto", "always", "off"]

OVER: Final = "ended"
FOREIGN: Final = "account"
REPLAYED: Final = "replay"
UNVERIFIED: Final = "unverified"


def refusal(standing: Standing, mode: Mode, *, remembered: bool) -> str | None:
    """Why a call of that standing is refused, one of the gates of `metrics`; None if it is let in.
    `remembered` says that its stream was given out before.
    """
    match standing:
        case Standing.GOES_ON:
            return None
        case Standing.OVER:
            return OVER
        case Standing.FOREIGN:
            return FOREIGN
    if mode == "always":
        return UNVERIFIED
    return REPLAYED if remembered else None


class Verification:
    """Asks about calls, once at a time about each. `rest` None is for calls that no carrier has."""

    def __init__(self, rest: CarrierRest | None, metrics: Metrics, mode: Mode = "auto") -> None:
        self._rest = rest
        self._metrics = metrics
        self._mode: Mode = mode
        self._asking: dict[str, asyncio.Task[Standing]] = {}

    async def refusal(self, call_sid: str, account_sid: str, *, remembered: bool = False) -> str | None:
        """As above, for this call now. Returns within a second, never raises."""
        if self._rest is None or self._mode == "off":
            return None
        standing = await self._standing(self._rest, call_sid, account_sid)
        refused = refusal(standing, self._mode, remembered=remembered)
        if refused is None and standing is not Standing.GOES_ON:
            self._metrics.unverified(standing.name.lower())
            logger.warning("the call is let in unverified: %s", standing.value, extra={"call_sid": call_sid})
        return refused

    async def _standing(self, rest: CarrierRest, call_sid: str, account_sid: str) -> Standing:
        asking = self._asking.get(call_sid)
        if asking is None:
            asking = asyncio.create_task(rest.standing(call_sid, account_sid), name="standing")
            self._asking[call_sid] = asking
            asking.add_done_callback(lambda _asked: self._asking.pop(call_sid, None))
        return await asyncio.shield(asking)
