"""The upstream leg: one session after another, and how often a lost or refused one is dialled again."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .due import NEVER
from .messages import CallConfig, Capabilities, DialFailed, VendorPlan

USUAL = VendorPlan()

FATAL_STATUS = frozenset({401, 403, 404})
"""The vendor answers an upgrade so where the key, the region or the model is wrong."""
WITHOUT_CODE = ("", "refused")
"""The code of a refusal whose body is no error of the vendor's."""
FATAL_CODES = frozenset({
    "invalid_api_key", "account_deactivated", "insufficient_quota", "credit_balance_exhausted",
    "billing_hard_limit_reached", "model_not_found", "beta_api_shape_disabled", "bad_url",
})  # fmt: skip
"""Codes (or types) after which another attempt would only cost time: the account, the model or we ourselves
are wrong."""
LATE = "no session in time"
"""The code of a dial that did not become a session."""
FULL = "as many sessions as we may have"
"""The code of a dial that we have not tried: with that vendor we have enough open."""
REFUSED = "upstream refused"
"""What a `Noted` says when a status or a code shows that no session would fare any better: for the next half
a minute the shell need not try for any call."""
FIRST_DELAY_MS = 200
MOST_RETRY_AFTER_MS = 2_000
RENEW_PERCENT, RENEW_MS = 17, 600_000
"""The rest of a session's life when the next one is dialled: this share of it, and at most this time."""
FORCED_PERCENT, FORCED_MS = 4, 120_000
"""The same, when the next one takes over whether the moment is quiet or not."""
SHORTEST_LIFE_MS, LONGEST_LIFE_MS = 5_000, 86_400_000
"""What else an `expires_at` says is that one of two clocks is wrong."""
FAILOVERS = 2
"""Times that a call goes on with another vendor, at the most; never back."""
REDIAL_MS = 1_200
"""What the vendor has to be there again, where another one stands ready."""
REDIALS = 2
"""Times that it is dialled for that."""
RECOVERIES = 5
RECOVERIES_WITHIN_MS = 60_000


class Leg(enum.Enum):
    """How far one upstream session has come."""

    NONE = "not dialled"
    DIALLING = "dialling"
    CONFIGURING = "configuring"
    READY = "ready"
    CLOSED = "closed"


def is_fatal(status: int, code: str, can: Capabilities | None = None) -> bool:
    """Whether another attempt would only cost time. 0 for no status, empty for no code; `can` names the codes
    of that vendor.

    400 means that only where the vendor says what was wrong. Balancers and proxies answer so too.
    """
    named = status == 400 and code not in WITHOUT_CODE
    return (
        named
        or status in FATAL_STATUS
        or code in FATAL_CODES
        or (can is not None and code in can.fatal_codes)
    )


@dataclass(slots=True)
class UpstreamSession:
    """One upstream session of the call. `responds` and `interrupts` are what the vendor said is in force,
    `expires_ms` is when it ends the session, by the call's clock; None where it did not say.
    """

    epoch: int
    state: Leg = Leg.NONE
    plan: VendorPlan = USUAL
    interrupts: bool = True
    responds: bool = True
    ready_ms: int = 0
    expires_ms: int | None = None
    due_ms: int = NEVER
    """By when it must have become a session."""
    probe_due_ms: int = NEVER
    """By when it must have given the sign of life that it was asked for."""
    stream_due_ms: int = NEVER
    """By when sound must have come, from a session whose stream never pauses."""
    resume_due_ms: int = NEVER
    """Until when it may find a turn in what the caller said before it was there."""
    renew_due_ms: int = NEVER
    forced_due_ms: int = NEVER
    """When the next session is dialled, and when it takes over whether the moment is quiet or not."""
    told: dict[str, str] = field(default_factory=dict)
    """Of the conversation that it was configured with: the words by their key."""
    can: Capabilities = field(init=False)
    """What its vendor can do."""

    def __post_init__(self) -> None:
        self.can = self.plan.capabilities

    def close(self) -> None:
        """It is over, and with it all that it was to do."""
        self.state = Leg.CLOSED
        self.due_ms = self.probe_due_ms = self.resume_due_ms = self.stream_due_ms = NEVER
        self.renew_due_ms = self.forced_due_ms = NEVER

    def created(self, expires_at_s: int, config: CallConfig, now_ms: int) -> None:
        """The session is there; `expires_at_s` is the vendor's word, 0 for none."""
        expires_ms = 1000 * (expires_at_s - config.accepted_at_s)
        told = config.accepted_at_s and SHORTEST_LIFE_MS <= expires_ms - now_ms <= LONGEST_LIFE_MS
        self.expires_ms = expires_ms if told else None

    def renewals_ms(self, config: CallConfig, now_ms: int) -> tuple[int, int]:
        """When the next session is dialled, and when it takes over at the latest, by the call's clock."""
        if self.expires_ms is None:
            longest_ms = 1000 * self.can.session_s or LONGEST_LIFE_MS
            renew_ms = min(config.renew_ms, longest_ms * 5 // 6)
            return now_ms + renew_ms, now_ms + min(config.renew_forced_ms, longest_ms * 29 // 30)
        life_ms = self.expires_ms - now_ms
        renew_ms = min(RENEW_MS, life_ms * RENEW_PERCENT // 100)
        return self.expires_ms - renew_ms, self.expires_ms - min(FORCED_MS, life_ms * FORCED_PERCENT // 100)


class Dialling:
    """Counts attempts; the next one is at `due_ms`. The core has no chance in it, so the jitter comes from a
    seed in the call's configuration. And knows which vendor is dialled (`plan`), and which ones are left.
    """

    __slots__ = (
        "_attempts",
        "_began_ms",
        "_config",
        "_recovered_ms",
        "_seed",
        "due_ms",
        "lags_since_ms",
        "left",
        "limps",
        "out",
        "plan",
        "retried_ms",
        "since_ms",
        "vendors",
    )  # fmt: skip

    def __init__(self, config: CallConfig) -> None:
        self._config = config
        self.plan = VendorPlan(capabilities=config.capabilities)
        """The vendor that is dialled."""
        self.since_ms = 0
        """When the call went on with it."""
        self.vendors = () if config.carried is None else config.carried.vendors
        """Those that the call has gone on with, in this process or one before it; the last has it now."""
        self.plan = self.vendors[-1] if self.vendors else self.plan
        been = [plan.place for plan in self.vendors]
        self.left = [plan for plan in config.failover if plan.place not in been]
        """Those that may follow, the next one first."""
        self.retried_ms = 0
        """When another vendor may be tried because this one limps."""
        self.limps = ""
        """Why another one would do better, while this one is there."""
        self.lags_since_ms: int | None = None
        """Since when too much of its stream has waited on the line."""
        self.out: str | None = None
        """Why nothing more is to be had from it, until the next one is dialled."""
        self.due_ms = NEVER
        self._seed = config.jitter_seed
        self._attempts = 0
        self._began_ms = 0
        self._recovered_ms: list[int] = []

    @property
    def prices(self) -> dict[str, float]:
        """What the vendor that is dialled charges."""
        return self.plan.prices if self.plan.name else self._config.prices

    @property
    def next(self) -> VendorPlan | None:
        """The vendor that the call would go on with; None where there is none."""
        return self.left[0] if self.left and len(self.vendors) < FAILOVERS else None

    @property
    def alone(self) -> bool:
        """Whether the call has the vendor that it began with, and no other one is named."""
        return not self.vendors and not self._config.failover

    def go_to(self, plan: VendorPlan, now_ms: int) -> None:
        """From now on that vendor, one of those left, is dialled."""
        del self.left[: self.left.index(plan) + 1]
        self.plan, self.out, self.since_ms = plan, None, now_ms
        self.vendors = (*self.vendors, plan)

    def replace(self, plan: VendorPlan, by: VendorPlan) -> None:
        """A plan has turned out to be another one."""
        if self.plan is plan:
            self.plan = by
        self.vendors = tuple(by if one is plan else one for one in self.vendors)
        self.left = [by if one is plan else one for one in self.left]

    def begin(self, now_ms: int) -> None:
        """A new round of attempts begins with this one."""
        self._attempts, self._began_ms = 1, now_ms

    def attempt_ms(self, now_ms: int, *, hurried: bool = False) -> int:
        """What this attempt has until there must be a session."""
        longest_ms = REDIAL_MS if hurried else self._config.session_ms
        return min(longest_ms, max(0, self._began_ms + self._config.dial_total_ms - now_ms))

    def again_in_ms(self, event: DialFailed, now_ms: int) -> int | None:
        """How long to wait before the next attempt; None when there shall be none."""
        config = self._config
        if (
            is_fatal(event.status, event.code, self.plan.capabilities)
            or self._attempts >= (config.dial_attempts if self.next is None else REDIALS)
            or (self.next is not None and event.code in (LATE, FULL))
            or event.retry_after_ms > MOST_RETRY_AFTER_MS
        ):
            return None
        self._seed = (self._seed * 1_103_515_245 + 12_345) % 2**31
        delay_ms: int = FIRST_DELAY_MS << (self._attempts - 1)
        delay_ms = max(event.retry_after_ms, delay_ms // 2 + delay_ms * self._seed // 2**31)
        if now_ms + delay_ms - self._began_ms >= config.dial_total_ms:
            return None
        self._attempts += 1
        return delay_ms

    def recovered(self, now_ms: int) -> int:
        """How many sessions with this vendor were replaced within the last minute."""
        from_ms = max(now_ms - RECOVERIES_WITHIN_MS, self.since_ms)
        return sum(at_ms > from_ms for at_ms in self._recovered_ms)

    def may_recover(self, now_ms: int) -> bool:
        """Whether a session lost now may be replaced: at most 5 times a minute. Counts it if so."""
        recent = [at_ms for at_ms in self._recovered_ms if now_ms - at_ms < RECOVERIES_WITHIN_MS]
        self._recovered_ms = [*recent, now_ms]
        return len(recent) < RECOVERIES
