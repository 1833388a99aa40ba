"""Limits that end a call politely: minutes, money, tools, silence. Says when; the call says how."""

from __future__ import annotations

from dataclasses import dataclass

from .due import NEVER
from .messages import Limits, Usage

_MODALITIES = ("text", "audio", "image")


def cost_micro_usd(usage: Usage, prices: dict[str, float]) -> int:
    """Millionths of a US dollar for this usage. `prices` are USD per million tokens by the names of `Usage`'s
    fields; a missing price counts nothing.

    Realtime costs guide: cached tokens are a subset of the input count and have a price of their own.
    """
    total = 0.0
    for modality in _MODALITIES:
        cached = getattr(usage, f"cached_{modality}")
        fresh = max(0, getattr(usage, f"{modality}_in") - cached)
        total += fresh * prices.get(f"{modality}_in", 0.0) + cached * prices.get(f"cached_{modality}", 0.0)
    for modality in ("text", "audio"):
        total += getattr(usage, f"{modality}_out") * prices.get(f"{modality}_out", 0.0)
    return round(total)


@dataclass(slots=True)
class Silence:
    """Neither side speaks since `since_ms`; None while one does."""

    since_ms: int | None = None
    due_ms: int = NEVER
    """When user code is told."""
    nudge_due_ms: int = NEVER
    """When the caller is asked whether they are there."""
    nudges: int = 0
    """Asked since the caller last said or pressed something."""

    def over(self) -> None:
        """If neither side goes on, it begins anew."""
        self.since_ms, self.due_ms, self.nudge_due_ms = None, NEVER, NEVER


class LimitWatch:
    """One call's limits. `due_ms` is when the goodbye must begin for the last word to be heard in time."""

    __slots__ = ("_limits", "began_ms", "due_ms")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.began_ms: int | None = None
        self.due_ms = NEVER

    def begin(self, now_ms: int, lasted_ms: int = 0) -> None:
        """The call begins, or one that began elsewhere goes on."""
        self.began_ms = now_ms - lasted_ms
        self.watch()

    def watch(self) -> None:
        """The goodbye may begin from now on, or again."""
        if self.began_ms is not None:
            self.due_ms = self.began_ms + max(0, self._limits.call_ms - self._limits.goodbye_ms)

    def exceeded(self, cost: int) -> str | None:
        """That the limit of money is reached, in words; None while there is room."""
        limits = self._limits
        if limits.cost_micro_usd is not None and cost + limits.goodbye_micro_usd >= limits.cost_micro_usd:
            return f"the call has cost {cost / 1e6:.2f} USD"
        return None
