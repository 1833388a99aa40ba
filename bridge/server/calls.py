"""The registry: every call of this process, from the first ring to the last socket.

A call exists from its webhook on: the model is dialled while the phone still rings, and the carrier's stream
claims the waiting call by its CallSid. A stream without a webhook (another people's simulator, a call resumed
here) gets a call of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from bridge.agents.placed import is_placed
from bridge.agents.turned_away import Refuse, TurnedAway
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.upstream_leg import REFUSED
from bridge.ops.health import LATE
from bridge.ops.recent import Pace
from bridge.runner import Runner
from bridge.server.call_control import HURRY_S
from bridge.server.fleet.registry import ANOTHER
from bridge.server.going_on import RESUMED, RETURNED, goes_on, said_at_first, words_of_return
from bridge.server.services import CallFactory, Observer, Services, alone
from bridge.server.store.intents import DETOUR, HANDOVER, TRANSFER, opens_a_stream
from bridge.server.taps import Tap, Taps

logger = logging.getLogger(__name__)

SILENT_S: Final = 1.0
"""A stream without a frame for this long is dead: the carrier sends fifty a second."""
MOST_WAITED_S: Final = 2.0
"""For frames that were on their way when the carrier said that their stream is over."""
_LOOK_S: Final = 0.05
MOST_TOLD: Final = 16
WITHHELD: Final = '{"error": "The tool could not be reached."}'
"""What the model reads instead of a result that is withheld."""
PLACED_MS: Final = 75_000
"""How long the model of a call that we placed waits for the answer: phones ring for a minute."""
MOST_AWAY: Final = 4
"""Times the calls that may be here, with those that are on a detour and so cost neither sound nor a model."""
MAX_WAITING: Final = 50
"""Calls that may wait, dialled, for a carrier that has not opened its stream yet."""


@dataclass(slots=True, eq=False)
class _Entry:
    call_sid: str
    account_sid: str
    fields: Mapping[str, str]
    runner: Runner = field(init=False)
    taps: Taps = field(init=False)
    claimed: bool = False
    ended: bool = False
    unbilled: m.Ended | None = None
    """Its end, until it is known what it has cost."""
    dirty: bool = False
    keeping: Pace = field(default_factory=lambda: Pace(asyncio.get_running_loop().time))
    placed: bool = False
    settling: asyncio.Task[bool] | None = None
    told: set[m.Noted] = field(default_factory=set)
    withholds_results: bool = False
    forgotten: bool = False
    """It rang here and was had elsewhere: what becomes of it here says nothing about the call."""


class CallRegistry:
    """All calls of the process by CallSid. Lives on one event loop."""

    def __init__(
        self,
        making: CallFactory,
        *,
        max_calls: int = 200,
        observers: tuple[Observer, ...] = (),
        services: Services | None = None,
    ) -> None:
        self.max_calls = max_calls
        self.observers = observers
        self.services = services or alone()
        self.running_words: Callable[[str], bool] = lambda _call_sid: False
        """Which new calls tell their observers each piece of the model's words as it comes."""
        self.draining = False
        self._making = making
        self._entries: dict[str, _Entry] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self.services.fleet.belongs_to(self, self.services.store, self.services.pulse)

    def __len__(self) -> int:
        return len(self._entries)

    # --- may a call come in? -----------------------------------------------------------------------------

    @property
    def reasons(self) -> list[str]:
        """Why no call may come in now, the weightiest first: `own_reasons`, those of all machines, and those
        of `Health`.
        """
        return [*self.own_reasons, *self.services.fleet.reasons, *self.services.health.reasons()]

    @property
    def own_reasons(self) -> list[str]:
        """`draining` and `full`, if they are true."""
        found = ["draining"] if self.draining else []
        here = sum(not entry.runner.away for entry in self._entries.values())
        if here >= self.max_calls or len(self._entries) >= MOST_AWAY * self.max_calls:
            found.append("full")
        return found

    @property
    def refusal(self) -> str | None:
        """The first of the reasons; None when a call may come in. A loop that is late turns no caller away
        while no other call is on the line that could suffer from it.
        """
        alone = not any(entry.claimed for entry in self._entries.values())
        return next((reason for reason in self.reasons if reason != LATE or not alone), None)

    # --- calls come in -----------------------------------------------------------------------------------

    def waits_for(self, call_sid: str) -> bool:
        """Whether that call has rung here and its stream has not come yet."""
        entry = self._living(call_sid)
        return entry is not None and not entry.claimed

    async def ring(self, call_sid: str, fields: Mapping[str, str]) -> TurnedAway | None:
        """The webhook came: resolve the agent and dial the model while the phone rings. A retried webhook
        finds the call waiting already. Returns what the resolver says instead of an agent, and then nothing
        is dialled.
        """
        fields = self.let_go_of_stale(call_sid, self._known(call_sid, fields))
        if self._living(call_sid) is not None:
            return None
        if self.services.router.ring(call_sid, fields) is None:
            return Refuse()  # no agent of another account's answers it
        turned_away = await self._resolve(call_sid, fields)
        if turned_away is not None:
            return turned_away
        placed = is_placed(fields)  # these ring for long, and are paced by who places them
        waiting = sum(not entry.claimed and not entry.placed for entry in self._entries.values())
        if self._living(call_sid) is not None:  # the same webhook has come again meanwhile
            self._forget_prepared(call_sid)
        elif placed or waiting < MAX_WAITING:
            self._make(call_sid, fields).runner.feed(m.Ringing())
        return None

    def let_go_of_stale(self, call_sid: str, fields: Mapping[str, str]) -> dict[str, str]:
        """A call that has rung here, was had by another process and goes on here: the one that waits since it
        rang knows nothing of what was said there, and may greet. Returns the fields, with what the webhook
        said of the one that is let go: the next one is to `prepare`.
        """
        entry = self._living(call_sid)
        if entry is None or entry.claimed or not goes_on(fields):
            return {**fields}
        if entry.runner.call.config.carried == self.services.store.conversations.find(call_sid):
            return {**fields}
        self.let_go(call_sid, by=ANOTHER)
        return {**said_at_first(entry.fields), **fields}

    async def prepare(self, call_sid: str, fields: Mapping[str, str]) -> TurnedAway | None:
        """Let a new call's agent be resolved. Returns at once for one that is known already."""
        users = self.services.users
        if self.services.router.ring(call_sid, fields) is None:
            return Refuse()
        if users is None or self._living(call_sid) is not None or users.is_prepared(call_sid):
            return None
        return await self._resolve(call_sid, self._known(call_sid, fields))

    def _known(self, call_sid: str, fields: Mapping[str, str]) -> Mapping[str, str]:
        """The fields, with what we know ourselves of a call that we placed."""
        outbound = self.services.outbound
        return fields if outbound is None else {**fields, **outbound.fields(call_sid)}

    async def _resolve(self, call_sid: str, fields: Mapping[str, str]) -> TurnedAway | None:
        users = self.services.users
        if users is None:
            return None
        found = await users.prepare(call_sid, fields, goes_on=goes_on(fields))
        return None if isinstance(found, m.CallConfig) else found

    def _forget_prepared(self, call_sid: str) -> None:
        if self.services.users is not None:
            self.services.users.forget(call_sid)

    def claim(
        self,
        call_sid: str,
        account_sid: str,
        fields: Mapping[str, str],
        *,
        stream: int = 1,
        proven: bool = False,
    ) -> Runner | str:
        """The carrier's stream has started: the waiting call, or a new one. A word instead, one of the gates
        of `metrics`, if none may come in now, or if the call has a stream already; of two that are `proven`
        the newer is right. `stream` is its number in the call.
        """
        fields = self._known(call_sid, fields)
        entry, intents = self._living(call_sid), self.services.control.intents
        if entry is not None and entry.claimed:
            if not proven and not entry.runner.away:
                return "duplicate"
            if entry.runner.away or intents.peek(call_sid) is None:
                intents.began(call_sid, stream)
            return entry.runner  # which takes the newer one
        if entry is None and proven and not opens_a_stream(intents.peek(call_sid)):
            self._forget_prepared(call_sid)
            return "ended"  # before its stream came, and `/after-stream` says so
        # One that goes on, says its token, was let in before: it has no other place.
        refusal = self.refusal if self.draining or stream == 1 else None
        if entry is None and refusal is not None:
            self._forget_prepared(call_sid)
            return refusal
        entry = entry or self._make(call_sid, fields)
        entry.claimed = True
        entry.account_sid = account_sid
        intents.began(call_sid, stream)
        self.services.fleet.stream_began(call_sid, entry.runner)
        return entry.runner

    async def stream_is_over(self, call_sid: str) -> bool:
        """Whether no stream of this call lives here. Waits, two seconds at most, for one that is falling
        silent; one that has is closed, and its call waits for the next.
        """
        entry = self._living(call_sid)
        if entry is None or not entry.claimed or entry.runner.away:
            return True
        if entry.settling is None or entry.settling.done():
            entry.settling = asyncio.create_task(self._settled(entry), name="settling")
        return await asyncio.shield(entry.settling)

    async def _settled(self, entry: _Entry) -> bool:
        waited_s = 0.0
        while not entry.ended and entry.runner.carrier_silent_s < SILENT_S:
            if waited_s >= MOST_WAITED_S:
                return False
            await asyncio.sleep(_LOOK_S)
            waited_s += _LOOK_S
        if not entry.ended:
            entry.runner.part_with_carrier()
        return True

    def let_go(self, call_sid: str, by: str = "") -> None:
        """No stream of this call is to come any more: end what waits for one here. `by` is the machine that
        has it instead.
        """
        entry = self._living(call_sid)
        if entry is not None and entry.runner.away:
            return  # its detour says what comes
        if entry is not None and entry.claimed:
            entry.runner.feed(m.CarrierClosed(1006, "another stream was not to come"))
        elif entry is not None:
            entry.forgotten = True
            entry.runner.feed(m.TakenOver(by) if by else m.CarrierClosed(1006, "no stream is to come"))

    def language(self, call_sid: str) -> str | None:
        """The language that this call is in, here or before it came here: ISO 639-1, or with its region where
        it is still the agent's own. None where neither call nor agent has one.
        """
        users, runner = self.services.users, self.runner(call_sid)
        carried = None if runner is not None else self.services.store.conversations.find(call_sid)
        session = carried.session if carried is not None else None
        if runner is not None:
            session = runner.call.playout.config
        own = None if users is None else users.language(call_sid)
        if session is None or session.language == (own and own.partition("-")[0].lower()):
            return own
        return session.language

    def runner(self, call_sid: str) -> Runner | None:
        """The call of that id, while it lives."""
        entry = self._entries.get(call_sid)
        return entry.runner if entry else None

    def taps(self, call_sid: str) -> Taps | None:
        """All that hear the caller of a call that lives here."""
        entry = self._living(call_sid)
        return None if entry is None else entry.taps

    def call_sids(self) -> list[str]:
        """Those of all calls that live here."""
        return [call_sid for call_sid, entry in self._entries.items() if not entry.ended]

    def fields(self, call_sid: str) -> Mapping[str, str]:
        """What the webhook said of a call that lives here; nothing of others."""
        entry = self._living(call_sid)
        return {} if entry is None else {**entry.fields, "AccountSid": entry.account_sid}

    def feed(self, call_sid: str, event: m.Event) -> bool:
        """Give an event of the shell's to a call, and return whether it lives here."""
        entry = self._living(call_sid)
        if entry is not None:
            entry.runner.feed(event)
        return entry is not None

    def tell(self, call_sid: str, event: m.Noted) -> None:
        """Something about a call that came another way than by its legs. The same again means nothing."""
        entry = self._living(call_sid)
        if entry is not None and event not in entry.told and len(entry.told) < MOST_TOLD:
            entry.told.add(event)
            self._did(entry, event, entry.runner.now_ms())

    def withhold_results(self, call_sid: str) -> None:
        """From now on every tool of this call fails, for the model, to hear what follows. Idempotent."""
        entry = self._living(call_sid)
        if entry is not None and not entry.withholds_results:
            entry.withholds_results = True
            entry.runner.feed(m.BrokenOnPurpose("results of tools are withheld"))

    # --- calls end ---------------------------------------------------------------------------------------

    async def drained(self, timeout_s: float) -> bool:
        """Wait until no call is left; False if some still are after `timeout_s`."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def shut_down(self, timeout_s: float = 1.0) -> None:
        """End every call politely, at once, and wait for the sockets to go."""
        self.draining = True
        self.services.control.before_close_s = HURRY_S
        for entry in list(self._entries.values()):
            entry.forgotten = not entry.claimed
            entry.runner.feed(m.ShutDown())
        await self.drained(timeout_s)

    # --- inside ------------------------------------------------------------------------------------------

    def _living(self, call_sid: str) -> _Entry | None:
        entry = self._entries.get(call_sid)
        return None if entry is None or entry.ended else entry

    def _make(self, call_sid: str, fields: Mapping[str, str]) -> _Entry:
        making, services = self._making, self.services
        config = self._config(call_sid, fields)
        entry = _Entry(call_sid, fields.get("AccountSid", ""), dict(fields))
        entry.placed = is_placed(fields)
        runner = entry.runner = Runner(
            Call(config),
            making.carrier(),
            making.vendor,
            making.dial if services.users is None else services.users.dialler(call_sid, making.dial),
            observe=lambda action, now_ms: self._did(entry, action, now_ms),
            recorder=making.recorder(call_sid, config),
            pulse=services.pulse,
        )
        entry.taps, runner.call_sid = Taps(runner), call_sid
        runner.before_close = lambda ended: services.control.before_close(call_sid, entry.account_sid, ended)
        self._entries[call_sid] = entry
        self._empty.clear()
        runner.closed.add_done_callback(lambda _closed: self._gone(entry))
        if services.users is not None:
            services.users.attach(call_sid, _Wishes(entry, services), fields)
        for observer in self.observers:
            observer.call_began(call_sid)
        return entry

    def _config(self, call_sid: str, fields: Mapping[str, str]) -> m.CallConfig:
        users = self.services.users
        config = self._making.config(fields) if users is None else users.config(call_sid)
        # So that calls which lose the model together do not all dial again at the same moment.
        seed = int.from_bytes(hashlib.blake2b(call_sid.encode(errors="replace"), digest_size=3).digest())
        config = msgspec.structs.replace(config, jitter_seed=seed, accepted_at_s=int(time.time()))
        if self.running_words(call_sid):
            spoken_rules = msgspec.structs.replace(config.agent, running_words=True)
            session = msgspec.structs.replace(config.session, agent=spoken_rules)
            config = msgspec.structs.replace(config, session=session)
        if is_placed(fields):
            rules = config.outbound or m.AnswerRules()
            config = msgspec.structs.replace(config, outbound=rules, unclaimed_ms=PLACED_MS)
        if not goes_on(fields):
            return config
        carried = self.services.store.conversations.find(call_sid)
        if carried is not None and carried.session is not None:
            spoken = self._making.phrases(carried.session.language)
            config = msgspec.structs.replace(config, phrases=spoken)
        if RETURNED in fields:
            words = words_of_return(fields[RETURNED], self.services.control.intents.peek(call_sid), carried)
            return msgspec.structs.replace(config, carried=carried, returned=words)
        cut_off = carried is None or fields[RESUMED] != HANDOVER
        return msgspec.structs.replace(config, carried=carried, resumed=cut_off)

    def _did(self, entry: _Entry, action: m.Action, now_ms: int) -> None:
        call_sid, services = entry.call_sid, self.services
        ended = isinstance(action, m.Ended) and not entry.ended
        match action:
            case m.NoteIntent() if not entry.forgotten and (entry.claimed or action.intent != HANDOVER):
                services.control.note(call_sid, action.intent)
            case m.Noted() if action.what == REFUSED and entry.runner.call.dialling.alone:
                services.health.breaker.refused(action.detail)
            case m.HandedOver() if entry.claimed:
                services.store.conversations.keep(call_sid, action.carried)
            case m.Turn() | m.Spoken() | m.DetourMoved() | m.LeaveStream() | m.DetourEnded():
                self._dirty(entry)
            case m.ClearPlayout():
                services.metrics.barge_in_stopped(entry.runner.since_gate_s)
            case m.Ended() if ended:
                entry.ended = True
                if action.reason is not m.Reason.TAKEN_OVER:
                    services.control.ended(call_sid, action)
                    self._settle(entry, action.reason)
                entry.unbilled = action
        for observer in self.observers:
            observer.call_did(call_sid, action, now_ms)
        if isinstance(action, m.BillClosed) or (isinstance(action, m.Ended) and not action.unbilled):
            self._billed(entry)

    def _billed(self, entry: _Entry) -> None:
        """The call is over, and what it has cost is known. Idempotent."""
        ended, entry.unbilled = entry.unbilled, None
        if ended is not None:
            stats = entry.runner.call.stats
            self.services.health.money.spend(stats.cost_micro_usd)
            for observer in self.observers:
                observer.call_ended(entry.call_sid, ended, stats)

    def _dirty(self, entry: _Entry) -> None:
        """Something was said. Kept when the event that runs is through: until then the core is not to be
        asked. A flood of turns is kept once a second, so a killed process loses its last second.
        """
        if not entry.dirty:
            entry.dirty = True
            asyncio.get_running_loop().call_later(entry.keeping.due_s(), self._keep, entry)

    def _keep(self, entry: _Entry) -> None:
        entry.dirty = False
        if not entry.ended:
            entry.keeping.done()
            runner = entry.runner
            self.services.store.conversations.keep(entry.call_sid, runner.call.carried(runner.now_ms()))

    def _settle(self, entry: _Entry, reason: m.Reason) -> None:
        """The call is over here. What was said is needed only if it may go on elsewhere, or come back from a
        transfer; of a call whose stream never came here, another process knows.
        """
        if entry.forgotten or not entry.claimed:
            return
        intent = self.services.control.intents.peek(entry.call_sid)
        if intent is not None and intent.startswith(DETOUR) and reason is not m.Reason.CALLER_HUNG_UP:
            return  # kept when it left its stream, and with it where it is
        sent_on = intent is not None and intent.startswith(TRANSFER)
        if intent is None or (sent_on and reason is not m.Reason.CALLER_HUNG_UP):
            runner = entry.runner
            self.services.store.conversations.keep(entry.call_sid, runner.call.carried(runner.now_ms()))
        elif intent != HANDOVER:
            self.services.store.conversations.forget(entry.call_sid)

    def _gone(self, entry: _Entry) -> None:
        self._billed(entry)  # else only a broken call comes to this
        if self._entries.get(entry.call_sid) is entry:
            del self._entries[entry.call_sid]
            self.services.one_way.discard(entry.call_sid)
        if not self._entries:
            self._empty.set()


class _Wishes:
    """A runner as the user side sees it: what is wished goes in, and how long tools took is noted."""

    def __init__(self, entry: _Entry, services: Services) -> None:
        self._entry = entry
        self._tool_finished = services.tool_finished
        self._keep_keys = services.keep_keys
        self.detours = services.detours and entry.call_sid not in services.one_way

    @property
    def tap(self) -> Tap | None:
        return self._entry.taps.user

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._entry.taps.user = tap

    def keep_keys(self, detour_id: str, keys: str) -> None:
        self._keep_keys(detour_id, keys)

    def feed(self, event: m.Event) -> None:
        if isinstance(event, m.ToolFinished):
            self._tool_finished(self._entry.call_sid, event.call_id)
            if self._entry.withholds_results:
                event = msgspec.structs.replace(event, output=WITHHELD)
        self._entry.runner.feed(event)
