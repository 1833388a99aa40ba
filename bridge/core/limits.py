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
    return round(_of_tokens(usage, prices))


def _of_tokens(usage: Usage, prices: dict[str, float], what: str = "") -> float:
    """`what` stands before the names of prices that are not the model's own."""
    total = 0.0
    for modality in _MODALITIES:
        cached = getattr(usage, f"cached_{modality}")
        fresh = max(0, getattr(usage, f"{modality}_in") - cached)
        total += fresh * prices.get(f"{what}{modality}_in", 0.0)
        total += cached * prices.get(f"{what}cached_{modality}", 0.0)
    for modality in ("text", "audio"):
        total += getattr(usage, f"{modality}_out") * prices.get(f"{what}{modality}_out", 0.0)
    return total


@dataclass(slots=True)
class SessionSeconds:
    """One session of the model, where seconds are what is sold. `told_s` is the vendor's count, the last word
    if it is `final`.
    """

    began_ms: int | None = None
    ended_ms: int | None = None
    told_s: float = 0.0
    final: bool = False
    micro_usd_a_s: float = 0.0
    """While it is open."""
    micro_usd_a_told_s: float = 0.0
    """Of what the vendor has counted."""

    @property
    def unconfirmed(self) -> bool:
        """Whether only we know for how long it was open."""
        return self.began_ms is not None and not self.final

    def micro_usd(self, now_ms: int) -> float:
        """What it has cost by now."""
        return self.open_s(now_ms) * self.micro_usd_a_s + self.told_s * self.micro_usd_a_told_s

    def open_s(self, now_ms: int) -> float:
        """How long it is or was open, at least."""
        if self.final or self.began_ms is None:
            return self.told_s
        until_ms = now_ms if self.ended_ms is None else self.ended_ms
        return max(self.told_s, (until_ms - self.began_ms) / 1000)


class Spending:
    """What one call has cost here: added up as it is spent, at the prices of then.

    Prices are US dollars: for a million tokens by the names of `Usage`'s fields, those of a transcription
    with `transcription_` before them, of a backend with `backend_`; `transcription_minute` and
    `sound_second` for as much sound as the vendor bills; `session_minute` for as long as the session is open.
    A missing price counts nothing.
    """

    __slots__ = ("_prices", "_room_micro_usd", "_spent_micro_usd", "due_ms", "sessions", "unsettled")

    def __init__(self, limits: Limits, prices: dict[str, float], before_micro_usd: int = 0) -> None:
        self._prices = prices
        self._spent_micro_usd = 0.0
        self._room_micro_usd: int | None = None
        if limits.cost_micro_usd is not None:
            self._room_micro_usd = limits.cost_micro_usd - limits.goodbye_micro_usd - before_micro_usd
        self.sessions: dict[int, SessionSeconds] = {}
        """By epoch."""
        self.due_ms = NEVER
        """When an open session will have cost as much as it may."""
        self.unsettled = True
        """Whether something was spent since the cost was last looked at."""

    def use(self, prices: dict[str, float], now_ms: int) -> None:
        """From now on these are the prices: another vendor's. The sessions of the one before are over."""
        self.opened({}, now_ms)
        self._prices = prices
        self.unsettled = True

    def response(self, usage: Usage | None) -> None:
        """A response ended with this usage; None where there are no figures."""
        self.unsettled = True
        if usage is not None:
            self._spent_micro_usd += _of_tokens(usage, self._prices)

    def backend(self, usage: Usage | None) -> None:
        """A response of the backend's behind the model ended with this usage."""
        self.unsettled = True
        if usage is not None:
            self._spent_micro_usd += _of_tokens(usage, self._prices, "backend_")

    def transcription(self, seconds: float, usage: Usage | None) -> None:
        """A turn was transcribed; the vendor bills the tokens, or else the seconds."""
        self.unsettled = True
        if usage is not None:
            self._spent_micro_usd += _of_tokens(usage, self._prices, "transcription_")
        else:
            self._spent_micro_usd += 1e6 * seconds / 60 * self._prices.get("transcription_minute", 0.0)

    def seconds(self, epoch: int, total_s: float, *, final: bool = False) -> float:
        """The vendor says what it has counted in this session so far, all in all. Returns what is new."""
        self.unsettled = True
        session = self._session(epoch)
        before_s, session.told_s = session.told_s, max(session.told_s, total_s)
        session.final |= final
        return session.told_s - before_s

    def _session(self, epoch: int) -> SessionSeconds:
        """That session, at the prices of when it was first heard of."""
        session = self.sessions.get(epoch)
        if session is None:
            a_minute, a_second = (self._prices.get(name, 0.0) for name in ("session_minute", "sound_second"))
            session = SessionSeconds(micro_usd_a_s=1e6 * a_minute / 60, micro_usd_a_told_s=1e6 * a_second)
            self.sessions[epoch] = session
        return session

    @property
    def unconfirmed(self) -> int:
        """How many sessions there are of which the vendor has not said for how long they were open."""
        return sum(session.unconfirmed for session in self.sessions.values())

    def opened(self, open_since_ms: dict[int, int], now_ms: int) -> None:
        """These sessions are open now, by epoch, and since when; no others are."""
        for epoch, since_ms in open_since_ms.items():
            session = self._session(epoch)
            session.began_ms = since_ms if session.began_ms is None else session.began_ms
        for epoch, session in self.sessions.items():
            if epoch not in open_since_ms and session.ended_ms is None:
                session.ended_ms = now_ms

    def micro_usd(self, now_ms: int) -> int:
        """All that it has cost by now."""
        return round(self._spent_micro_usd + sum(one.micro_usd(now_ms) for one in self.sessions.values()))

    def exceeded(self, cost_micro_usd: int, before_micro_usd: int = 0) -> str | None:
        """That the limit is reached with this cost, in words; None while there is room."""
        if self._room_micro_usd is None or cost_micro_usd < self._room_micro_usd:
            return None
        return f"the call has cost {(before_micro_usd + cost_micro_usd) / 1e6:.2f} USD"

    def watch(self, cost_micro_usd: int, now_ms: int) -> None:
        """Set `due_ms`, by what it has cost now and by the sessions that are open."""
        open_now = sum(
            session.began_ms is not None and session.ended_ms is None for session in self.sessions.values()
        )
        micro_usd_a_ms = open_now * self._prices.get("session_minute", 0.0) * 1e6 / 60_000
        if self._room_micro_usd is None or not micro_usd_a_ms:
            self.due_ms = NEVER
            return
        left_micro_usd = self._room_micro_usd - cost_micro_usd
        # One more for the rounding: woken too early, it would be woken again for nothing.
        self.due_ms = NEVER if left_micro_usd <= 0 else now_ms + int(left_micro_usd / micro_usd_a_ms) + 1


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
