"""A call that is not at its beginning: what its fields say of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bridge.core import messages as m
from bridge.core.detours import became
from bridge.server.store.intents import HANDOVER, returned_words

RESUMED: Final = "resumed"
"""Among a call's fields: how the stream before this one came to its end, `handover` or `cut off`."""
RETURNED: Final = "returned"
"""The same, where the caller comes back from a transfer: what came of it, as in `no_answer`."""


def goes_on(fields: Mapping[str, str]) -> bool:
    """Whether this is not the beginning of a call."""
    return RESUMED in fields or RETURNED in fields


def said_at_first(fields: Mapping[str, str]) -> dict[str, str]:
    """What was said of the call itself, and not of how a stream of it came to its end."""
    return {name: value for name, value in fields.items() if name not in (RESUMED, RETURNED)}


def was_cut_off(fields: Mapping[str, str]) -> bool:
    """Whether the stream before this one was lost: `handover`, and a transfer, end it on purpose."""
    return RETURNED not in fields and fields.get(RESUMED) != HANDOVER


def words_of_return(outcome: str, intent: str | None, carried: m.CallSnapshot | None) -> str:
    """What the model is told of a caller who comes back, in the process that goes on with them."""
    known = next((one for one in m.TransferOutcome if one.value == outcome), None)
    if carried is None or not carried.away or known is None:
        return returned_words(outcome, intent)
    return became(carried.away, m.DetourResult(known), carried.ring_s)
