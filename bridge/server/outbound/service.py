"""All that a service needs for calls out: rules, calls, who places them, and what was said in them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.agents.agent import Agent
from bridge.agents.calling_out import AgentsOut
from bridge.agents.calls import UserSide
from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.errors import ConfigError
from bridge.ops.metrics import Metrics
from bridge.server.outbound import api
from bridge.server.outbound.calls import OutboundCalls
from bridge.server.outbound.do_not_call import DoNotCall
from bridge.server.outbound.local import LocalCalls
from bridge.server.outbound.placing import Placing
from bridge.server.outbound.record import Record, State
from bridge.server.outbound.rules import Rules
from bridge.server.store import Store
from bridge.server.twilio_rest import CarrierRest
from bridge.settings.settings import Settings

MOST_TRANSCRIPTS: Final = 1_000
MOST_LINES: Final = 400
MOST_CHARACTERS: Final = 2_000

Line = dict[str, str]


class Outbound:
    """Calls out. An `Observer` of all calls: it takes no notice of those that came in."""

    def __init__(
        self, settings: Settings, rest: CarrierRest, store: Store, metrics: Metrics, do_not_call: DoNotCall
    ) -> None:
        self.rules = Rules(settings, do_not_call)
        self.calls = OutboundCalls(settings, rest, store.calls_out, self.rules, metrics)
        self.calls.moved.append(self._moved)
        self.placing = Placing(self.calls, settings.public_url or "")
        self.agents = AgentsOut()
        self.source: LocalCalls | None = None
        self._users: UserSide | None = None
        self._transcripts: OrderedDict[str, list[Line]] = OrderedDict()

    def belongs_to(self, users: UserSide | None, full: Callable[[], str | None]) -> None:
        """Whose agents take the calls, and who says in a word why there can be none now."""
        self.calls.full = full
        self._users = users
        if users is not None:
            self.agents = users.out
            self.calls.knows_agent = users.knows

    def tell(self, status: Callable[[str, str, Mapping[str, Any]], None]) -> None:
        """Whom to tell that a call has come to another state: its request, the state, what a program sees."""

        def moved(before: Record, after: Record) -> None:
            if State(before.state).word != State(after.state).word:
                status(after.ref, State(after.state).word, after.told())

        self.calls.moved.append(moved)

    def start(self) -> None:
        """On the loop of the calls."""
        self.placing.start()
        loop = asyncio.get_running_loop()
        self.source = LocalCalls(self.calls, self.agents, loop, self.transcript, self._vet)
        api.serves(self.source, running=True)

    def _vet(self, agent: Agent) -> None:
        if self._users is None:
            raise ConfigError("this service has no agent of its own, and takes none for a call")
        self._users.vet_given(agent)

    def _moved(self, _before: Record, after: Record) -> None:
        if after.done:
            self.agents.forget(after.ref)

    def close(self) -> None:
        """Place no more; what waits is left to the next process."""
        if self.source is not None:
            api.serves(self.source, running=False)
        self.placing.close()
        self.calls.close()

    def fields(self, call_sid: str) -> Mapping[str, str]:
        """What is known of a call besides what the carrier says; nothing of one that came in."""
        return self.calls.fields(call_sid)

    def transcript(self, ref: str) -> list[Line]:
        """What was said in a call that this process had: lines of `who` and `said`, as heard."""
        return list(self._transcripts.get(ref, ()))

    # --- as an observer ----------------------------------------------------------------------------------

    def call_began(self, call_sid: str, /) -> None:
        """Nothing: the model is dialled, and the phone still rings."""

    def call_did(self, call_sid: str, action: m.Action, _now_ms: int, /) -> None:
        match action:
            case m.Turn(text=text) if text:
                self._said(call_sid, "person", text)
            case m.Spoken(heard=text) if text:
                self._said(call_sid, "agent", text)
            case m.Answered(by=kind):
                record = self.calls.store.of_call(call_sid)
                if record is not None and record.answered_by != kind.value:
                    self.calls.change(record, answered_by=kind.value)
            case m.MessageLeft(whole=whole):
                record = self.calls.store.of_call(call_sid)
                if record is not None:
                    self.calls.change(record, message="left" if whole else "partial")

    def call_ended(self, call_sid: str, _ended: m.Ended, stats: Stats, /) -> None:
        record = self.calls.store.of_call(call_sid)
        if record is not None:
            cost = record.cost_micro_usd + stats.cost_micro_usd  # a call may go on with another stream
            self.placing.stream_over(self.calls.change(record, cost_micro_usd=cost))

    def _said(self, call_sid: str, who: str, text: str) -> None:
        record = self.calls.store.of_call(call_sid)
        if record is None:
            return
        lines = self._transcripts.setdefault(record.ref, [])
        if len(lines) < MOST_LINES:
            lines.append({"who": who, "said": text[:MOST_CHARACTERS]})
        while len(self._transcripts) > MOST_TRANSCRIPTS:
            self._transcripts.popitem(last=False)
