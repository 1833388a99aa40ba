"""The calls of this process among those of the others: who has which, and what is written down of them.

A process without a shared store is a fleet of one: nothing is asked, and nothing waits. Where the store is
away, this machine decides by what it knows itself.

Over 400 lines: the doors of a call (webhook, stream, after it) ask here one after another, and what the first
has learnt is what the next decides by.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from bridge.core import messages as m
from bridge.ops.store_metrics import StoreMetrics
from bridge.runner import Runner
from bridge.runner.pulse import Pulse
from bridge.server.store import Store
from bridge.server.store.claims import (
    After,
    AfterAnswer,
    ClaimAnswer,
    Known,
    Limit,
    Machine,
    Process,
    Ring,
    Status,
    StoreError,
)
from bridge.server.store.commands import Commands, EmbeddedCommands, NoAnswer
from bridge.server.store.intents import DETOUR, ENDED, HANDOVER
from bridge.server.store.sealing import Clear
from bridge.server.store.shared_claims import AFTER_STREAM_MS, START_MS, SharedClaims
from bridge.server.store.shared_records import SharedRecords
from bridge.server.store.socket_commands import SocketCommands
from bridge.server.store.store_link import ANSWER_MS
from bridge.server.stream_names import StreamNames

from .gates import GATES, Asked, Gate, gate_of
from .heartbeat import Heartbeat
from .machine_commands import MachineCommands, Refused
from .moves import Moves
from .registry import ANOTHER, Calls
from .writes import Writes

logger = logging.getLogger(__name__)

_DETOUR_ID: Final = re.compile("[0-9a-f]{32}")
BREAKER: Final = "upstream breaker"
"""The reason of a machine whose model refuses it."""
READ_S: Final = 0.1
"""Until what the kernel had of the streams has been read."""
SOUND_S: Final = 2.0
"""A carrier that sent sound this lately still has the call here, as far as a machine alone can know."""


class Fleet:
    """`shared` is None for a process that stands alone. `whole` is the limit of all calls, `limits(call_sid)`
    are those of its groups; `said` is what this process says of itself that does not change; `commands` is
    the way to the others, and `self.commands` asks and answers. `belongs_to` gives it the calls, which it
    observes. Lives on their loop.
    """

    def __init__(
        self,
        shared: SharedClaims | None = None,
        names: StreamNames | None = None,
        *,
        limits: Callable[[str], tuple[Limit, ...]] = lambda _call_sid: (),
        whole: Limit | None = None,
        said: Status | None = None,
        commands: Commands | None = None,
        watch: StoreMetrics | None = None,
    ) -> None:
        self.shared = shared
        self.records: SharedRecords | None = None
        """What the others know of detours and calls out; None for a machine that stands alone."""
        self._watch = watch
        if watch is not None:
            watch.watch_machines(lambda: len(self.machines))
        self._store: Store
        self._pulse: Pulse
        self._names = names or StreamNames((b"",))
        self._limits = limits
        self._whole = whole or Limit()
        self.said = said or Status()
        self.elsewhere = True
        """Whether the others are on other machines, and no workers of this one."""
        self._calls: Calls
        self._moves = Moves()
        self._epochs: dict[str, int] = {}  # of calls that an answer after their stream is being decided for
        self._writes = None if shared is None else Writes(shared, self._moves)
        self._tasks: set[asyncio.Task[None]] = set()
        self.heartbeat = None if shared is None else Heartbeat(shared, self._obey)
        sealing = Clear() if shared is None or isinstance(commands, SocketCommands) else shared.sealing
        self.commands = MachineCommands(self.machine, commands or EmbeddedCommands(), sealing=sealing)
        self._obeying: asyncio.Task[None] | None = None
        self.began: list[Callable[[], Awaitable[None]]] = []
        """What to ask the others before this machine serves."""

    @classmethod
    def alone(cls, machine: str) -> Fleet:
        """Of a machine that shares nothing, by its name."""
        fleet = cls()
        fleet.commands.machine = machine
        return fleet

    def belongs_to(self, calls: Calls, store: Store, pulse: Pulse) -> None:
        """These are its calls, what this machine keeps of them, and the beat of their loop."""
        self._calls, self._store, self._pulse = calls, store, pulse
        if self._writes is not None:
            self._writes.belongs_to(calls, store)
        if self.shared is not None:
            self.shared.lost, self.shared.status = self._is_lost, self.status
            self.commands.ops["forget"] = self._forgets
            store.intents.told = self._intended
            self.records = SharedRecords(self.shared, store)

    async def open(self) -> None:
        """Begin. Raises StoreError where the store says that the settings are wrong."""
        if self.shared is not None and self.heartbeat is not None and not self.heartbeat.beats:
            self._pulse.start(self._ask_whose)
            await self.heartbeat.start()
            self._obey()
            await asyncio.gather(*(ask() for ask in self.began))

    def hurry(self) -> None:
        """Something about this process has changed that the others should know at once."""
        if self.heartbeat is not None:
            self.heartbeat.hurry()

    async def close(self) -> None:
        """Write what waits, and give the lease back."""
        self._pulse.close()
        if self._obeying is not None:
            self._obeying.cancel()
        await self.commands.close()
        if self.shared is not None and self.heartbeat is not None:
            if self._writes is not None:
                await self._writes.close()
            self.heartbeat.close()
            await self.shared.close()

    # --- what all machines know --------------------------------------------------------------------------

    @property
    def machine(self) -> str:
        """The name of this machine; empty for one that stands alone."""
        return "" if self.shared is None else self.shared.process.machine

    def wall_s(self) -> float:
        """Seconds since 1970, the same on all machines: what one has stamped another may age."""
        return time.time() if self.shared is None else self.shared.wall_s()

    @property
    def machines(self) -> Collection[str]:
        """The names of those that are alive."""
        latest = None if self.shared is None else self.shared.latest
        return () if latest is None else tuple(one.process.machine for one in latest.machines)

    async def others_now(self) -> list[str]:
        """The names of the other machines that are alive, as the store says now; as of the last beat where it
        does not answer.
        """
        shared = self.shared
        found = (
            None if shared is None else await shared.link.ask("machines", ANSWER_MS, shared.claims.machines)
        )
        names = self.machines if found is None else [one.process.machine for one in found if one.live]
        return [name for name in names if name != self.machine]

    @property
    def reasons(self) -> list[str]:
        """Why no call may come in on any machine, as of the last answers: `full`, `money`."""
        shared, whole = self.shared, self._whole
        if shared is None:
            return []
        full = whole.most_calls is not None and shared.known_calls >= whole.most_calls
        found = ["full"] if full else []
        if whole.most_micro_usd is not None and shared.day_micro_usd >= whole.most_micro_usd:
            found.append("money")
        return found

    @property
    def notes(self) -> list[str]:
        """What is amiss and keeps no call away: `store away`."""
        return [] if self.shared is None or self.shared.up else ["store away"]

    @property
    def others_have_room(self) -> bool:
        """Whether another machine is alive, stays, and could take a call now."""
        return any(one.status.calls < one.status.capacity for one in self._others_that_stay())

    @property
    def has_successor(self) -> bool:
        """Whether another process may have the calls of this one: it is not known that none stays."""
        shared = self.shared
        knows = shared is not None and self.elsewhere and shared.latest is not None and not shared.is_stale
        return not knows or bool(self._others_that_stay())

    def _others_that_stay(self) -> list[Machine]:
        machines = () if self.shared is None or self.shared.latest is None else self.shared.latest.machines
        return [one for one in machines if one.process.machine != self.machine and not one.status.draining]

    def better_elsewhere(self, reasons: Sequence[str]) -> list[str]:
        """Those of the reasons for which the carrier should ask another machine. Where all are as this one
        is, none is better: calls that are resumed have to come somewhere.
        """
        if self.shared is None or not self.elsewhere:
            return [*reasons]
        everywhere = ("money", BREAKER) if self.others_have_room else ("money", BREAKER, "full")
        return [reason for reason in reasons if reason not in everywhere]

    def status(self) -> Status:
        """What this process says of itself."""
        calls = self._calls
        return replace(self.said, calls=len(calls), capacity=calls.max_calls, draining=calls.draining)

    def address(self, machine: str) -> str:
        """Where that machine alone is reached, as it said last; empty where that is not known."""
        latest = None if self.shared is None else self.shared.latest
        machines = () if latest is None else latest.machines
        return next((one.status.address for one in machines if one.process.machine == machine), "")

    @property
    def moves(self) -> list[dict[str, object]]:
        """The latest calls that came from other machines, the last one at the end."""
        return list(self._moves.recent)

    def _obey(self) -> None:
        """Answer the others' commands, under the name that this machine has now."""
        if self._obeying is not None:
            self._obeying.cancel()
        self.commands.machine = self.machine
        self._obeying = asyncio.ensure_future(self.commands.obey())

    # --- a call comes in ---------------------------------------------------------------------------------

    async def ring(self, call_sid: str, account_sid: str) -> Ring | None:
        """The webhook of a new call. None: decide alone."""
        if self.shared is None:
            return None
        return await self.shared.ring(call_sid, self._names.name(call_sid, 1), _digest(account_sid))

    async def claim(
        self, call_sid: str, account_sid: str, stream: int, *, goes_on: bool, cut_off: bool = False
    ) -> Gate | None:
        """A stream has come with a token that was found right: the call is this machine's from now on.
        Returns why it is not. A call that `goes_on`, and that is not here, is learnt about meanwhile;
        `cut_off` says that its stream before was lost.
        """
        shared = self.shared
        if shared is None:
            return None
        learning = self._learnt(call_sid, START_MS) if goes_on else asyncio.sleep(0)
        found, known = await asyncio.gather(
            shared.claim(
                call_sid,
                self._names.name(call_sid, stream),
                account=_digest(account_sid),
                stream=stream,
                limits=(self._whole, *self._limits(call_sid)),
                day=shared.spent().day,
            ),
            learning,
        )
        if found is None:
            return self._full_alone(call_sid) if stream == 1 and not goes_on else None
        if found.answer is ClaimAnswer.TOOK:
            how = "crash" if cut_off else "handover"
            asked_ms = known.resumed_ms[-1] if known is not None and known.resumed_ms else None
            asked_s = 0.0 if asked_ms is None else time.time() - shared.local_s(asked_ms)
            self._moves.came(call_sid, found.owner, self.machine, how, asked_s=asked_s)
            if self._watch is not None:
                self._watch.handed_over(how)
        if found.answer.owned and found.warm not in (None, shared.process):
            self._dialled_twice(call_sid, found.warm)
        return gate_of(found)

    def _full_alone(self, call_sid: str) -> Gate | None:
        """The store does not say whether there is room: by what it said last, and the calls that are here."""
        shared, most = self.shared, self._whole.most_calls
        if shared is None or most is None or shared.known_calls <= most:
            return None
        shared.end(call_sid, keep=False)
        return GATES[ClaimAnswer.FULL]

    def _dialled_twice(self, call_sid: str, warm: Process | None) -> None:
        """Another process has dialled the call's model, too."""
        if self._watch is not None:
            self._watch.second_dial()
        if warm is not None and warm.machine != self.machine:
            self._run(self._forget(warm.machine, call_sid))

    async def _forget(self, machine: str, call_sid: str) -> None:
        """The call that rings there has come here: its model need not wait any more."""
        with suppress(NoAnswer, Refused, StoreError):
            await self.commands.ask(machine, "forget", call_sid=call_sid, by=self.machine)

    async def _forgets(self, wanted: Mapping[str, Any]) -> bool:
        """What another machine asks by that. False for a call that does not wait here."""
        call_sid = str(wanted["call_sid"])
        waits = self._calls.waits_for(call_sid)
        if waits:
            self._calls.let_go(call_sid, by=str(wanted.get("by") or ANOTHER))
        return waits

    async def turned_away(self, call_sid: str, stream: int) -> None:
        """The stream got no call after all. One that goes on is handed over: the carrier asks what follows,
        and this has nothing to do with how the call is. To be awaited before the stream is closed.
        """
        if self.shared is not None:
            if stream > 1:
                await self.shared.hand_over(call_sid, HANDOVER, None)
            self.shared.end(call_sid, keep=True)

    async def wait_s(self, account_sid: str, every_s: float) -> float:
        """How long a call out has to wait yet, for all machines place one each `every_s` for that account; 0
        takes the place. Where the store is away each machine keeps its own distance.
        """
        if self.shared is None:
            return 0.0
        wait_ms = await self.shared.pace(_digest(account_sid), round(every_s * 1000), 1)
        return (wait_ms or 0) / 1000

    # --- a stream is over --------------------------------------------------------------------------------

    async def after(self, call_sid: str, account_sid: str, stream: int) -> Asked:
        """The carrier asks what comes after that stream: learn what the others know of it. A call that is
        known to be over needs no asking.
        """
        shared = self.shared
        if shared is None or self._store.intents.peek(call_sid) == ENDED:
            return Asked()
        ahead = shared.is_ahead(call_sid)
        name, fresh = (self._names.name(call_sid, number) for number in (stream, stream + 1))
        found, known, _ = await asyncio.gather(
            shared.after(call_sid, name, fresh, _digest(account_sid), draining=self._calls.draining),
            shared.look(call_sid),
            self._learn_placed(call_sid),
        )
        if found is None:
            return Asked()
        if found.answer is AfterAnswer.OLD:
            return Asked("a later stream of the call has begun on another machine")
        self._epochs[call_sid] = found.epoch
        if known is not None:
            if not ahead:
                self._learn(call_sid, known, found)
            await self.learn_detour(known.intent.removeprefix(DETOUR))
        self._moves.asked(call_sid)
        dialled = "" if found.machine == self.machine else found.machine
        return Asked(again=found.answer is AfterAnswer.AGAIN, machine=dialled)

    def decided(self, call_sid: str) -> None:
        """What comes after the stream is decided."""
        self._epochs.pop(call_sid, None)

    async def learn(self, call_sid: str) -> None:
        """What the others have written of a call that is not here, a quarter of a second long at most."""
        if self.shared is not None:
            await self._learnt(call_sid)

    async def learn_detour(self, detour_id: str) -> None:
        """What the others know of that detour."""
        if self.records is not None and _DETOUR_ID.fullmatch(detour_id):
            await self.records.learn_detour(detour_id)

    async def learn_call_out(self, ref: str) -> None:
        """What the others know of that call out."""
        if self.records is not None and ref:
            await self.records.learn_call_out(ref)

    async def learn_request(self, key: str, idem: str) -> bool:
        """What the others know of what was asked for with that idempotency key. False while another machine
        is answering the same request.
        """
        return self.records is None or await self.records.learn_request(key, idem)

    def request_refused(self, key: str, idem: str) -> None:
        """No call was written for that request."""
        if self.records is not None:
            self.records.request_refused(key, idem)

    async def _learnt(self, call_sid: str, within_ms: int = AFTER_STREAM_MS) -> Known | None:
        if self.shared is None or self.shared.is_ahead(call_sid):
            return None  # what this machine knows is not written yet
        known, _ = await asyncio.gather(self.shared.look(call_sid, within_ms), self._learn_placed(call_sid))
        if known is not None:
            self._learn(call_sid, known, None)
        return known

    async def _learn_placed(self, call_sid: str) -> None:
        """Whether the call was placed, and for what: a record of another machine's."""
        if self.records is not None and self._store.calls_out.of_call(call_sid) is None:
            await self.records.learn_call(call_sid)

    def _learn(self, call_sid: str, known: Known, after: After | None) -> None:
        shared = self.shared
        if shared is None or (not known.epoch and not known.intent):
            return  # the store has never had it, or has lost it: the journal knows more
        resumed_s = [shared.local_s(at_ms) for at_ms in known.resumed_ms]
        if after is not None:
            resumed_s = resumed_s[: after.resumes]  # this time is counted when it is decided
        self._store.intents.learn(
            call_sid, known.intent or None, streams=known.streams, resumed_s=resumed_s, returns=known.returns
        )
        conversation = shared.conversation(call_sid, known)
        if conversation is not None:
            self._store.conversations.keep(call_sid, conversation)

    @property
    def observer(self) -> Writes | None:
        """What observes the calls; None for a machine that stands alone."""
        return self._writes

    def before_close(self, call_sid: str, ended: m.Ended) -> Awaitable[object] | None:
        """What to await before the carrier's socket is closed: then the carrier asks any machine."""
        return None if self._writes is None else self._writes.before_close(call_sid, ended)

    async def written(self, call_sids: Iterable[str]) -> None:
        """Wait until it is written what was said in those of the calls that are being handed over. The loop
        has its turn in any case.
        """
        await asyncio.sleep(0)
        if self._writes is not None:
            await self._writes.written(call_sids)

    def _intended(self, call_sid: str, intent: str, returns: int) -> None:
        # A hand-over is written with what was said, by `Writes`: one without the other misleads who goes on.
        if self.shared is not None and intent != HANDOVER:
            self.shared.note(call_sid, intent, returns, epoch=self._epochs.get(call_sid))

    def stream_began(self, call_sid: str, runner: Runner) -> None:
        """The call has its stream; the first sound of one that has come from elsewhere is waited for."""
        self._moves.began(call_sid, runner, self._store.conversations.find(call_sid))

    # --- whose is it? ------------------------------------------------------------------------------------

    def doubt(self, call_sid: str) -> Awaitable[bool] | None:
        """What to await before anything is done for the call: `is_ours`; None where the lease is fresh."""
        return self.is_ours(call_sid) if self.shared is not None and self.shared.is_stale else None

    async def is_ours(self, call_sid: str) -> bool:
        """Whether a call that this machine carries is its own, as far as is known: asked of the store where
        that has said nothing for as long as a lease lasts.
        """
        shared = self.shared
        if shared is None or not shared.is_stale:
            return True
        found = await shared.check()
        runner = self._calls.runner(call_sid)
        return runner is not None and (found is not None or runner.carrier_silent_s < SOUND_S)

    def _ask_whose(self) -> None:
        self._run(self._whose())

    async def _whose(self) -> None:
        """The process stood still: each call that is another machine's by now ends, and the rest goes on."""
        shared = self.shared
        try:
            if shared is not None and await shared.check() is None:
                await asyncio.sleep(READ_S)
                for call_sid in list(shared.held):
                    runner = self._calls.runner(call_sid)
                    if runner is not None and not runner.carrier_is_open:
                        self._is_lost(call_sid, "")
        finally:
            self._pulse.settle()

    def _is_lost(self, call_sid: str, owner: str) -> None:
        runner = self._calls.runner(call_sid)
        if runner is not None:
            about = {"call_sid": call_sid}
            logger.warning(
                "the call is another machine's by now (%s)", owner or "which, is not known", extra=about
            )
            runner.taken_over(owner or ANOTHER)

    def _run(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _digest(account_sid: str) -> str:
    return hashlib.blake2b(account_sid.encode(errors="replace"), digest_size=8).hexdigest()
