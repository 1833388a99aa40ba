"""What a handler sees of a detour: the wish, and what came of it as a value."""

from __future__ import annotations

import asyncio
import contextvars
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Protocol, Self

from bridge.agents.inputs import ENDED_BY
from bridge.core import messages as m
from bridge.errors import CallEnded

Mode = Literal["cold", "warm"]
After = Literal["hang_up", "return"]
TOOL_CALL: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("tool_call", default="")
"""The tool call of the model's that user code runs for; "" in a handler."""
BEGUN: Final = "begun"
"""The outcome of a transfer that was not waited for."""
MOST_KEYS: Final = 32
MOST_BRIEF_CHARACTERS: Final = 600
"""Of what a target hears of the caller: half a minute of speech."""
LONGEST_RING_S: Final = 60
_KEYS: Final = re.compile(rf"[0-9*#A-Dw]{{1,{MOST_KEYS}}}")
_ACCEPT: Final = re.compile(r"[0-9*#]?")
_GOOD: Final = (m.TransferOutcome.CONNECTED, m.TransferOutcome.SENT, m.TransferOutcome.HELD)


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What came of a transfer, of keys sent, or of a hold. True if it is what was wanted.

    `outcome` is one of connected, busy, no_answer, declined, voicemail, invalid, failed, dropped, returned,
    interrupted, caller_left, canceled, rest_failed, refused, lost; sent for keys, held for a hold; begun if
    it was not waited for. `target` is the configured name. `rang_s` and `talk_s` are in seconds, 0.0 where
    the carrier did not say. `accepted`: the target has pressed the key. `raw` is what the carrier said,
    without numbers and keys.
    """

    outcome: str
    target: str = ""
    rang_s: float = 0.0
    talk_s: float = 0.0
    sip_code: int = 0
    accepted: bool = False
    raw: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __bool__(self) -> bool:
        return self.outcome == BEGUN or any(self.outcome == good.value for good in _GOOD)

    @classmethod
    def of(cls, ended: m.DetourEnded) -> TransferResult:
        """As the core says it."""
        result = ended.result
        return cls(
            result.outcome.value,
            ended.name,
            result.rang_ms / 1000,
            result.talk_ms / 1000,
            result.sip_code,
            result.accepted,
            MappingProxyType(dict(result.raw)),
        )


def transfer_wish(
    name: str,
    *,
    mode: Mode,
    brief: str,
    accept: str,
    ring_s: int,
    after: After,
    min_talk_s: int,
) -> m.Detour:
    """Raises ValueError for what no carrier could do."""
    if _ACCEPT.fullmatch(accept) is None:
        raise ValueError('accept is the key by which a target takes the call, or "" for none')
    if not 1 <= ring_s <= LONGEST_RING_S:
        raise ValueError(f"a target rings for 1 to {LONGEST_RING_S} seconds")
    if min_talk_s < 0:
        raise ValueError("a talk lasts no negative time")
    return m.Detour(
        new_id(),
        name=name,
        mode=m.TransferMode(mode),
        brief=brief[:MOST_BRIEF_CHARACTERS],
        accept=accept,
        ring_s=ring_s,
        after=m.Afterwards(after),
        min_talk_s=min_talk_s,
        call_id=TOOL_CALL.get(),
    )


def new_id() -> str:
    """A detour's id: 32 random hex digits."""
    return secrets.token_hex(16)


class Way(Protocol):
    """Where wishes go, and the keys that the core is not told."""

    def post(self, command: m.SessionCommand) -> None: ...
    def keep_keys(self, detour_id: str, keys: str) -> None: ...


class Detours:
    """The detours of one session. `possible` is false where a caller who leaves the stream cannot come back:
    then nothing is begun.
    """

    def __init__(self, way: Way, targets: tuple[str, ...], *, possible: bool) -> None:
        self._way = way
        self.targets = targets
        self.possible = possible
        self._ends: dict[str, asyncio.Future[TransferResult]] = {}
        self._away: dict[str, asyncio.Future[None]] = {}

    def begin(self, wish: m.Detour) -> asyncio.Future[TransferResult]:
        """Wish for it; to be awaited for what comes of it."""
        end: asyncio.Future[TransferResult] = asyncio.get_running_loop().create_future()
        if self.possible:
            self._ends[wish.detour_id] = end
            self._way.post(wish)
        else:
            end.set_result(TransferResult("refused", wish.name, raw={"why": "this call has no detours"}))
        return end

    def press(self, keys: str) -> asyncio.Future[TransferResult]:
        """Wish for these keys to be pressed. Raises ValueError for what no phone can press."""
        wish = m.Detour(new_id(), m.DetourKind.KEYS, call_id=TOOL_CALL.get())
        if _KEYS.fullmatch(keys) is None:  # which are not repeated: they may be a secret
            raise ValueError(
                f"keys are 1 to {MOST_KEYS} of 0-9, *, #, A-D, and w for half a second of waiting"
            )
        if self.possible:
            self._way.keep_keys(wish.detour_id, keys)
        return self.begin(wish)

    async def gone(self, detour_id: str) -> None:
        """Wait until the caller is away, or never will be."""
        if detour_id in self._ends:
            away = self._away[detour_id] = asyncio.get_running_loop().create_future()
            await away

    def end(self, detour_id: str) -> None:
        """Wish for its end."""
        self._way.post(m.EndDetour(detour_id))

    def take(self, event: m.DetourMoved | m.DetourEnded) -> None:
        """The core says this of one of them."""
        if isinstance(event, m.DetourMoved):
            if event.state is m.DetourState.AWAY:
                self._went(event.detour_id)
            return
        self._went(event.detour_id)
        end = self._ends.pop(event.detour_id, None)
        if end is not None and not end.done():
            end.set_result(TransferResult.of(event))

    def _went(self, detour_id: str) -> None:
        away = self._away.pop(detour_id, None)
        if away is not None and not away.done():
            away.set_result(None)

    def close(self, event: m.Ended) -> None:
        """The call is over, here at least, and nothing was said of what is under way."""
        ends, self._ends = self._ends, {}
        for detour_id in list(self._away):
            self._went(detour_id)
        give_up(ends, event)


def give_up(waiting: Mapping[str, asyncio.Future[Any]], ended: m.Ended) -> None:
    """What these wait for does not come any more: the call is over."""
    for future in waiting.values():
        if not future.done():
            future.set_exception(CallEnded(ended.reason, ENDED_BY.get(ended.reason, "bridge")))
            future.exception()  # it may not be awaited


class Hold:
    """`async with session.hold(): …`: the caller hears music meanwhile. `result` says afterwards what came of
    it.
    """

    def __init__(self, detours: Detours, music: str) -> None:
        self._wish = m.Detour(new_id(), m.DetourKind.HOLD, music, call_id=TOOL_CALL.get())
        self._detours = detours
        self._end: asyncio.Future[TransferResult] | None = None
        self.result: TransferResult | None = None

    async def __aenter__(self) -> Self:
        self._end = self._detours.begin(self._wish)
        await self._detours.gone(self._wish.detour_id)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end is None:
            return
        if not self._end.done():
            self._detours.end(self._wish.detour_id)
        self.result = await self._end
