"""What the registry of calls is given: how a call is made, what all calls of the process share, and who is
told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bridge.agents.calls import UserSide
from bridge.carriers import Carrier
from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.ops.health import Health
from bridge.ops.metrics import Metrics
from bridge.runner import Recorder
from bridge.runner.pulse import Pulse
from bridge.server.call_control import CallControl
from bridge.server.fleet import Fleet
from bridge.server.outbound.service import Outbound
from bridge.server.routing.router import Router
from bridge.server.store import EmbeddedStore, Store
from bridge.server.traces import Traces
from bridge.server.verification import Verification
from bridge.server.workers.worker import Worker
from bridge.sockets.dial import Socket
from bridge.sounds.phrases import Phrases
from bridge.upstreams import Dial, Upstream


class Observer(Protocol):
    """An observer of calls: logs, metrics, the intent journal, the programmer's side.

    All are told synchronously on the loop that carries the audio, so none may block. `call_ended` comes when
    it is known what the call has cost, which may be a second after `call_did` told the `Ended`.
    """

    def call_began(self, call_sid: str, /) -> None: ...
    def call_did(self, call_sid: str, action: m.Action, now_ms: int, /) -> None: ...
    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats, /) -> None: ...


@dataclass(slots=True)
class CallFactory:
    """How a call is made: its configuration from the webhook's fields, the phrases of a language, its
    adapters, the way to the model, its recorder.
    """

    config: Callable[[Mapping[str, str]], m.CallConfig]
    carrier: Callable[[], Carrier]
    vendor: Callable[[int], Upstream]
    dial: Callable[[Dial], Awaitable[Socket]]
    recorder: Callable[[str, m.CallConfig], Recorder | None] = lambda _call_sid, _config: None
    phrases: Callable[[str | None], dict[str, m.Sound]] = field(default_factory=lambda: Phrases().sounds)


@dataclass(slots=True)
class Services:
    """What all calls of the process share. `tool_finished(call_sid, call_id)` is told of tools' results,
    `keep_keys(detour_id, keys)` which keys a detour is to press: the core does not know them. `outbound` is
    None where calls out are off. `detours`: whether callers who leave their stream can come back to it; those
    of the calls in `one_way` cannot, for the TwiML of their stream is not ours and asks nothing after it.
    `machines` are the names of those that serve the same calls and are alive.
    `pulse` knows whether calls may be another machine's by now, and `fleet` which are. `worker` is None in a
    process that has no siblings.
    """

    store: Store
    control: CallControl
    health: Health = field(default_factory=Health)
    metrics: Metrics = field(default_factory=Metrics)
    verification: Verification = field(default_factory=lambda: Verification(None, Metrics()))
    users: UserSide | None = None
    outbound: Outbound | None = None
    router: Router = field(default_factory=Router.alone)
    tool_finished: Callable[[str, str], None] = lambda _call_sid, _call_id: None
    detours: bool = False
    one_way: set[str] = field(default_factory=set)
    worker: Worker | None = None
    keep_keys: Callable[[str, str], None] = lambda _detour_id, _keys: None
    machines: Callable[[], Collection[str]] = tuple
    pulse: Pulse = field(default_factory=Pulse)
    fleet: Fleet = field(default_factory=Fleet)
    traces: Traces | None = None


def alone() -> Services:
    """Those of a process that shares nothing."""
    store = EmbeddedStore(None)
    return Services(store=store, control=CallControl(store.intents))
