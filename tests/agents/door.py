"""A scripted stand-in for the core's session door: tests say what the core would, and see what was wished.

In a call of `bridge.testing` the core answers each wish by its rules. Here a test says what comes back, at
any moment and in any order: what the programmer's side does of it is its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bridge.agents.agent import Agent
from bridge.agents.calls import Attachment, UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.loop import SameLoop
from bridge.agents.session import Session
from bridge.core import messages as m

Wish = TypeVar("Wish", bound=m.Message)
CALL = "CA1"


class Door:
    """One call by an agent, with nobody behind it. `wishes` are the commands that came, in order."""

    def __init__(
        self,
        agent: Agent,
        *,
        base: m.CallConfig | None = None,
        transfers: tuple[str, ...] = (),
        fields: Mapping[str, str] | None = None,
        detours: bool = False,
    ) -> None:
        self.wishes: list[m.Message] = []
        self._wished = asyncio.Event()
        self.tap: Callable[[m.CallerAudio], None] | None = None
        self.detours = detours
        self.keys: list[tuple[str, str]] = []
        self.side = UserSide(
            agent, AgentConfigs(base or m.CallConfig(), transfers), upstream="embedded", loops=[SameLoop()]
        )
        self._fields = dict(fields or {})
        self._attachment: Attachment | None = None

    async def begin(self) -> Door:
        """The phone rings, the call begins."""
        config = await self.side.prepare(CALL, self._fields)
        assert isinstance(config, m.CallConfig)
        self.config = config
        self._attachment = self.side.attach(CALL, self, self._fields)
        self.tell(m.CallBegan())
        await settled()
        return self

    def feed(self, event: m.Event) -> None:
        """What the runner's gate would take."""
        assert isinstance(event, m.SessionCommand)
        self.wishes.append(event)
        self._wished.set()

    def keep_keys(self, detour_id: str, keys: str) -> None:
        self.keys.append((detour_id, keys))

    def tell(self, *events: m.SessionEvent) -> None:
        """The core says this."""
        for event in events:
            self.side.call_did(CALL, event, 0)

    def end(self, reason: m.Reason = m.Reason.CALLER_HUNG_UP) -> None:
        ended = m.Ended(reason)
        self.tell(ended)
        self.side.call_ended(CALL, ended, None)  # type: ignore[arg-type]  # it does not look at them

    @property
    def session(self) -> Session:
        assert self._attachment is not None
        call = self._attachment._call
        assert call is not None
        return call.session

    def wished(self, kind: type[Wish]) -> list[Wish]:
        return [wish for wish in self.wishes if isinstance(wish, kind)]

    async def next(self, kind: type[Wish]) -> Wish:
        """The next wish of that kind, taken off the list with those before it."""
        async with asyncio.timeout(120):
            while True:
                for index, wish in enumerate(self.wishes):
                    if isinstance(wish, kind):
                        del self.wishes[: index + 1]
                        return wish
                self._wished.clear()
                await self._wished.wait()

    async def call_tool(self, name: str, arguments: str = "{}", call_id: str = "call_1") -> m.ToolFinished:
        """The model calls a tool; what comes back."""
        self.tell(m.ToolWanted(call_id, name, arguments))
        return await self.next(m.ToolFinished)


async def settled(rounds: int = 20) -> None:
    """Let everything that is due now be done."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def heard(say: Any, text: str = "", ms: int = 1_000, *, cut: bool = False) -> m.Heard:
    return m.Heard(say.say_id, ms, cut, text)
