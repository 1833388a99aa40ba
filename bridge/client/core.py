"""What a `RealtimeModel` decides: frames come in, frames and events go out, in one list and its order.

There is no second bookkeeping here. The line, the ledger, the conversation and the gate of responses are
those of the calls (`core/playout.py`), the wire is theirs too (`upstreams/realtime.py`); what is here is the
way between them and a client's events. No clock and no socket: the time is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from bridge.client.config import AUTO
from bridge.client.events import AudioInterrupted, ItemUpdated, MarkWanted, ModelEvent
from bridge.client.items import normalised
from bridge.client.playback import ToldLedger, Tracker
from bridge.codecs import PCM_24K, AudioFormat
from bridge.core import messages as m
from bridge.core.debts import Kind
from bridge.core.ledger import Ledger
from bridge.core.line import Line
from bridge.core.messages import Action
from bridge.core.playout import Playout
from bridge.core.stats import Stats
from bridge.core.upstream_leg import Leg, UpstreamSession
from bridge.upstreams.realtime import Realtime

EPOCH: Final = 1


class ModelCore:
    """One connection's state. `out` collects what is to be done: a str is a frame to send, all else is told
    to the listeners.
    """

    def __init__(self, playback: Tracker | None, *, marks: bool, audio: AudioFormat = PCM_24K) -> None:
        self.out: list[str | ModelEvent] = []
        self.session: dict[str, Any] | None = None
        self.last_audio: tuple[str, int, int] | None = None
        """Item, part and time of the first sound of the item that came last."""
        self.listening = False
        self.adapter = Realtime(lambda config, _again: config.extra, EPOCH)
        self.tracing: Any = AUTO
        self.playback = playback
        self.marks = marks
        self.actions: list[Action] = []
        self.turn = 0
        self._asked = 0
        self.updates = 0
        self.bodies: dict[str, dict[str, Any]] = {}
        self.asked_ms: dict[str, int] = {}
        self.traces: dict[str, tuple[int | None, int, int | None]] = {}
        self.playout = self.mouth(audio)

    def mouth(self, audio: AudioFormat) -> Playout:
        self.audio = audio
        # Sound goes to the listeners as it comes: the player has it all.
        config = m.CallConfig(bytes_per_ms=audio.bytes_per_ms, marks=self.marks, playout_lead_ms=0)
        playout = Playout(config, Stats(), self.actions)
        if self.playback is not None:
            self.playback.set_format(audio)
            playout.line = Line(ToldLedger(audio.bytes_per_ms, self.playback.state))
        playout.session = UpstreamSession(EPOCH, Leg.READY)
        playout.ready = True
        return playout

    @property
    def ledger(self) -> Ledger:
        """What was played, and what of it was heard."""
        return self.playout.line.ledger

    def new_tag(self) -> str:
        """A name for a response that is going to be asked for."""
        self._asked += 1
        return f"ask:{self._asked}"

    def drain(self) -> list[str | ModelEvent]:
        """What is to be done now."""
        out, self.out = self.out, []
        return out

    # --- what is wanted ----------------------------------------------------------------------------------

    def configure(self, tree: dict[str, Any]) -> None:
        """Ask for this session. No response is asked for until that is in force or refused."""
        if len(tree) == 1:
            return
        self.updates += 1
        self.playout.gate.held = True
        self.actions.append(m.ConfigureSession(m.SessionConfig(extra=tree), epoch=EPOCH))
        self.act()

    def trace(self, wanted: Any, server: Any) -> None:
        """Turn tracing on or off, where the server does not do so already."""
        if wanted != server:
            self.configure({"type": "realtime", "tracing": wanted})

    def settled(self) -> None:
        self.updates = max(0, self.updates - 1)
        self.playout.gate.held = self.updates > 0

    def ask(self, tag: str, wish: m.CreateResponse | None, body: dict[str, Any] | None, now_ms: int) -> None:
        """Ask for a response as soon as there may be one; `body` is the `response` in the vendor's words."""
        self.asked_ms[tag] = now_ms
        if body:
            self.bodies[tag] = body
        if body and body.get("conversation") == "none":  # it may run beside another
            self.do(m.CreateResponse(tag, aside=True))
            return
        self.playout.gate.want(wish or m.CreateResponse(tag))
        self.act()

    def interrupt(self, now_ms: int, *, force: bool) -> None:
        """Stop what is being said: tell the player, cancel (with `force`, or where the server does not do so
        by itself), and tell the server what was heard.
        """
        line = self.playout.line
        self.playout.settle(now_ms)
        span = next(iter(line.spans.values()), None)
        stop = None
        if span is not None:
            heard_ms = line.ledger.heard_bytes(span, now_ms) // self.audio.bytes_per_ms
            stop = AudioInterrupted(span.item_id, span.part, heard_ms)
        before = len(self.actions)
        self.playout.interrupt(now_ms, ours=force, by_caller=not force)
        if stop is not None and any(isinstance(one, m.ClearPlayout) for one in self.actions[before:]):
            self.out.append(stop)
            if self.playback is not None:
                self.playback.interrupted()
        self.last_audio = None
        self.act()

    def cancel(self) -> bool:
        """Cancel the active response, once. Returns whether there was one."""
        active = self.playout.gate.active
        if active is None or self.playout.gate.cancelled == active:
            return False
        self.playout.gate.cancelled = active
        self.do(m.CancelResponse(active, EPOCH))
        return True

    def finished(self, call_id: str, output: str, respond: bool, now_ms: int) -> bool:
        """A tool's result: to the model, and (`respond`) a response about it once its batch is whole, unless
        the user's turn is to be answered first. Returns whether the model waited for it.
        """
        conversation = self.playout.conversation
        call = conversation.tools.finished(call_id, output)
        if call is None:
            return False
        self.do(*conversation.result(call, EPOCH))
        made = {"id": call.item_id, "type": "function_call", "status": "completed"}
        said = {"call_id": call_id, "name": call.name, "arguments": call.arguments, "output": output}
        self.out.append(ItemUpdated(normalised(made | said)))
        debts = self.playout.debts
        debts.result(call_id, wanted=respond)
        due = [debt for debt in debts.open.values() if debt.due]
        answered = self.listening or any(debt.kind is Kind.TURN for debt in due)
        if not answered and any(debt.tag == f"tool:{call_id}" for debt in due):
            self.ask(f"tool:{call_id}", None, None, now_ms)
        return True

    def do(self, *commands: Action) -> None:
        """Send these."""
        self.actions += commands
        self.act()

    def retrieve(self, item_id: str) -> None:
        event = {"type": "conversation.item.retrieve", "event_id": f"retrieve:{item_id}", "item_id": item_id}
        self.actions.append(m.SendVendorEvent(json.dumps(event), EPOCH))

    def act(self) -> None:
        """Turn what the core has decided into frames and events."""
        self.playout.next_response()
        actions = self.actions[:]
        self.actions.clear()
        self.out += self._written(actions)

    def _written(self, actions: Iterable[Action]) -> Iterable[str | ModelEvent]:
        for action in actions:
            match action:
                case m.SendMark(name):
                    if self.marks and self.playback is None:
                        yield MarkWanted(name)
                case m.Spoken() | m.Cut() | m.Heard() | m.Noted():
                    yield action
                case m.CreateResponse(tag) if tag in self.bodies:
                    yield self._with_body(self.adapter.write(action), self.bodies.pop(tag))
                case m.ConfigureSession() | m.AppendAudio() | m.CommitAudio() | m.ForgetAudio():
                    yield self.adapter.write(action)
                case m.CreateItem() | m.DeleteItem() | m.TruncateItem() | m.CreateResponse():
                    yield self.adapter.write(action)
                case m.CancelResponse() | m.SendVendorEvent():
                    yield self.adapter.write(action)

    @staticmethod
    def _with_body(frame: str, body: dict[str, Any]) -> str:
        event = json.loads(frame)
        metadata = {**(body.get("metadata") or {}), **event["response"].get("metadata", {})}
        event["response"] = {**event["response"], **body, "metadata": metadata}
        return json.dumps(event)
