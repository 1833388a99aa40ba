"""A small world that is true to itself: a vendor's server and a carrier around one call, driven by bytes.

Each byte pair of a script is one thing that happens; whatever it says, the world stays consistent. The server
keeps its conversation, obeys our commands late or at once, cancels where it should and answers nonsense with
an error; the carrier plays to the byte and returns marks late, flushed ones too. Around every event the
invariants of an interruption are checked, against what a bystander on both wires could know.

A call of `bridge.testing` speaks to the core through the adapters, which send what a vendor can send. Here
the core's own messages come in any order, and no code of the bridge makes the yardstick.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from bridge.core import messages as m
from bridge.core import pacer
from bridge.core.call import Call

from .carrier import PER_MS, Carrier
from .conftest import SESSION, speech, truth

SIZES = (1, 7, 160, 803, 1_600, 1_600, 3_200, 8_000, 8_000, 64_000)
STEPS_MS = (0, 1, 20, 20, 100, 100, 350, 700, 3_000)
DELAYS_MS = (0, 20, 60, 60, 250)
BUSY = "conversation_already_has_active_response"


@dataclass
class ServerItem:
    """An item in the vendor's conversation."""

    response_id: str
    kind: str = "message"
    size_bytes: int = 0
    gone: bool = False


@dataclass
class Server:
    """The vendor's half, as the documentation has it; `events` are on their way to us, in order."""

    interrupts: bool
    names_creates: bool
    events: deque[m.Event] = field(default_factory=deque)
    commands: deque[m.Action] = field(default_factory=deque)
    items: dict[str, ServerItem] = field(default_factory=dict)
    active: str | None = None
    asides: list[str] = field(default_factory=list)
    item_id: str | None = None
    _count: int = 0

    def new(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def begin(self, tag: str = "") -> None:
        self.active = self.new("r")
        self.item_id = None
        self.events.append(m.ResponseStarted(self.active, tag))

    def add_item(self, response_id: str, kind: str = "message") -> str:
        item_id = self.new("i")
        self.items[item_id] = ServerItem(response_id, kind)
        self.events.append(m.ItemAdded(item_id, kind, "assistant", response_id=response_id))
        return item_id

    def sound(self, size_bytes: int) -> None:
        if self.active is not None:
            self.item_id = self.item_id or self.add_item(self.active)
            self.items[self.item_id].size_bytes += size_bytes
            self.events.append(self.delta(self.active, self.item_id, size_bytes))

    def delta(self, response_id: str, item_id: str, size_bytes: int) -> m.AudioDelta:
        return m.AudioDelta(response_id, item_id, 0, f"{item_id} ", size_bytes)

    def end_item(self, told: bool = True) -> None:
        if self.active is not None and self.item_id is not None:
            if told:
                self.events.append(m.AudioDone(self.active, self.item_id))
            self.item_id = None

    def silent_item(self, number: int) -> None:
        if self.active is not None:
            self.end_item()
            item_id = self.add_item(self.active, ("function_call", "message")[number % 2])
            self.events.append(m.TextDelta(self.active, item_id, 0, "words", spoken=False))

    def end(self, status: str = "completed", why: str = "") -> None:
        if self.active is not None:
            self.end_item()
            self.events.append(m.ResponseDone(self.active, status, why))
            self.active = None

    def obey(self) -> None:
        """Read what we sent."""
        while self.commands:
            match self.commands.popleft():
                case m.CreateResponse() as create:
                    about = f"create:{create.tag}" if self.names_creates else ""
                    if self.active is None:
                        self.begin(create.tag)
                    else:
                        self.events.append(m.UpstreamFaulted(BUSY, about=about))
                case m.CancelResponse(response_id):
                    if response_id == self.active:
                        self.sound(160)
                        self.end("cancelled", "client_cancelled")
                    else:
                        self.events.append(m.UpstreamFaulted("response_cancel_not_active"))
                case m.TruncateItem(item_id, _, heard_ms):
                    item = self.items[item_id]
                    assert not item.gone
                    assert item.kind == "message"
                    assert 0 <= heard_ms <= item.size_bytes // PER_MS, "already shorter than that"
                case m.DeleteItem(item_id) if item_id not in self.items:
                    self.events.append(
                        m.UpstreamFaulted("item_delete_invalid_item_id", about=f"delete:{item_id}")
                    )
                case m.DeleteItem(item_id):
                    assert not self.items[item_id].gone
                    self.items[item_id].gone = True
                    self.events.append(m.ItemGone(item_id))


class World:
    """One call in it. `play(script)` lets things happen, `calm()` lets all of them end."""

    def __init__(self, setting: int, most_held_bytes: int = 1 << 40) -> None:
        delay_ms, back_ms = DELAYS_MS[setting % 5], DELAYS_MS[setting // 5 % 5]
        self.server = Server(interrupts=bool(setting & 1), names_creates=bool(setting & 2))
        self.carrier = Carrier(lambda: delay_ms, lambda: back_ms)
        config = m.CallConfig(
            media_gap_ms=10**9, stalled_ms=10**9, probe_ms=0, renew_ms=10**9, renew_forced_ms=10**9
        )
        self.call = Call(config)
        self.now_ms = 0
        self.full = False
        self.most_held_bytes, self.granted_bytes = most_held_bytes, pacer.GRANT_BYTES
        self.asked_for: list[str] = []
        self.told: Counter[str] = Counter()
        self.truths: list[m.Action] = []
        self.received: Counter[str] = Counter()
        self.ended_items: set[str] = set()
        self.responses: dict[str, str] = {}
        self.active: str | None = None
        self.asked: str | None = None
        self.cancelled: set[str] = set()
        self.settled: set[str] = set()
        self.discarded: set[str] = set()
        self.open_responses: set[str] = set()
        self.marks: dict[str, dict[str, int]] = {}
        self.flushed: list[str] = []
        self.playing = ""
        self.sent: Counter[str] = Counter()
        self.acked: Counter[str] = Counter()
        self._echoes: deque[tuple[int, str]] = deque()
        started = (m.Started("MZ1", "CA1", "AC1"), m.SessionCreated(), m.Admitted())
        for event in (*started, m.SessionUpdated(interrupts=self.server.interrupts)):
            self.feed(event)
        self.server.commands.clear()

    # --- things that happen -------------------------------------------------------------------------------

    def play(self, script: bytes) -> None:
        for what, how in zip(script[::2], script[1::2], strict=False):
            if what & 16:
                self.server.obey()
            self.happen(what % 16, how)

    def happen(self, what: int, how: int) -> None:
        server = self.server
        match what:
            case 0 | 1 | 2 | 3:
                self.deliver(1 + how % 6)
            case 4 | 5:
                self.until(self.now_ms + STEPS_MS[how % len(STEPS_MS)])
            case 6 | 7 | 8:
                if server.active is None:
                    server.begin()
                server.sound(SIZES[how % len(SIZES)])
            case 9:
                server.end_item(told=bool(how % 4))
                if how % 8 == 7:
                    server.silent_item(how // 8)
            case 10:
                server.end("incomplete" if how % 8 == 7 else "completed")
            case 11 | 12:
                self.caller_speaks(how)
            case 13:
                self.wish(how)
            case 14 if how & 64:
                self.full = not self.full
                self.feed(m.OutboxFull(self.full))
            case 14:
                self.odd_mark(how)
            case _:
                self.aside(how)

    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.server.events))):
            self.feed(self.server.events.popleft())

    def caller_speaks(self, how: int) -> None:
        """Either order of the two events; now and then one of them is missing, or the first comes twice."""
        server = self.server
        events: list[m.Event] = [m.SpeechStarted(), m.SpeechStopped()]
        if server.interrupts and server.active is not None:
            server.end_item(told=bool(how & 1))
            done = m.ResponseDone(server.active, "cancelled", "turn_detected")
            late = server.delta(server.active, server.add_item(server.active), 160)
            server.items[late.item_id].size_bytes = 160
            server.active = None
            events = [  # type: ignore[assignment]
                [m.SpeechStarted(), late, done, m.SpeechStopped()],
                [late, done, m.SpeechStarted(), m.SpeechStopped()],
                [done],
                [m.SpeechStarted(), done, m.SpeechStopped()],
            ][how // 2 % 4]
        elif how & 64:
            events.insert(0, m.SpeechStarted())
        server.events.extend(events)

    def wish(self, how: int) -> None:
        say_id = f"say-{len(self.asked_for)}"
        wishes: list[m.Event] = [
            m.Say(say_id, "Hello."),
            m.Respond(say_id),
            m.Play(say_id, speech(900), protected=False),
            m.Play(say_id, speech(700), protected=True),
            m.Interrupt(),
        ]
        event = wishes[how % 5]
        if how % 5 != 4:
            self.asked_for.append(say_id)
        self.feed(event)

    def odd_mark(self, how: int) -> None:
        """An echo of a flushed mark, an old one again, or nobody's: it changes nothing."""
        names = ["nobody's", *self.flushed[-3:]]
        acked = self.call.playout.line.ledger.acked
        actions = self.feed(m.MarkReached(names[how % len(names)]))
        assert [action for action in actions if not isinstance(action, m.PlayAudio | m.SendMark)] == []
        assert self.call.playout.line.ledger.acked == acked

    def aside(self, how: int) -> None:
        server = self.server
        response_id = server.new("aside")
        item_id = server.add_item(response_id)
        server.events.append(m.ResponseStarted(response_id, "summary", aside=True))
        server.events.append(server.delta(response_id, item_id, SIZES[how % len(SIZES)]))
        server.events.append(m.ResponseDone(response_id))
        self.discarded.add(response_id)
        self.responses[item_id] = response_id

    def calm(self) -> None:
        """Everybody finishes what was begun."""
        self.full = False
        self.feed(m.OutboxFull(False))
        for _ in range(50):
            self.server.obey()
            self.server.end()
            self.deliver(len(self.server.events))
            self.until(self.now_ms + 20_000)
            if not self.server.events and not self.server.commands and self.call.playout.line.quiet:
                return

    # --- the carrier and the clock ------------------------------------------------------------------------

    def until(self, now_ms: int) -> None:
        while True:
            self._echoes += self.carrier.echoes(now_ms)
            echo_ms = self._echoes[0][0] if self._echoes else now_ms + 1
            wake_ms = self.call.deadline_ms
            if wake_ms is not None and wake_ms < echo_ms and wake_ms <= now_ms:
                self.now_ms = max(self.now_ms, wake_ms)
                self.feed(m.WakeUp())
            elif echo_ms <= now_ms:
                self.now_ms = max(self.now_ms, echo_ms)
                self.feed(m.MarkReached(self._echoes.popleft()[1]))
            else:
                break
        self.now_ms = now_ms

    # --- the invariants -----------------------------------------------------------------------------------

    def feed(self, event: m.Event) -> list[m.Action]:
        again = isinstance(event, m.SpeechStarted)
        cuts = again or isinstance(event, m.Interrupt)
        cuts |= isinstance(event, m.ResponseDone) and event.why == "turn_detected"
        self._know(event)
        if cuts:
            self._discard()
        if isinstance(event, m.ResponseDone):
            self.open_responses.discard(event.response_id)
        actions = self.call.receive(event, self.now_ms)
        for action in actions:
            if isinstance(action, m.HoldSound) and not self._grant(action.size_bytes):
                actions += self.call.receive(m.HoldRefused(self.granted_bytes), self.now_ms)
        for action in actions:
            self._check(action)
        settled = (action for action in actions if isinstance(action, m.TruncateItem | m.DeleteItem))
        self._settle([action for action in settled if action.item_id in self.server.items])
        self.truths += truth(actions)
        if again:  # I7: a second start of speech finds nothing left to cut
            assert truth(self.call.receive(event, self.now_ms)) == []
        return actions

    def _grant(self, size_bytes: int) -> bool:
        if size_bytes > max(self.most_held_bytes, self.granted_bytes):
            return False
        self.granted_bytes = size_bytes
        return True

    def _know(self, event: m.Event) -> None:
        """What a bystander learns from an event on its way to us."""
        match event:
            case m.AudioDelta():
                self.received[event.item_id] += event.size_bytes
                self.responses[event.item_id] = event.response_id
            case m.AudioDone():
                self.ended_items.add(event.item_id)
            case m.ResponseStarted() if not event.aside:
                self.active = event.response_id
                self.open_responses.add(event.response_id)
                if event.tag == self.asked:
                    self.asked = None
            case m.ResponseDone():
                if self.active == event.response_id:
                    self.active = None
                if event.why == "turn_detected":
                    return  # broken off: more of it was to come
                owned = (item_id for item_id, own in self.responses.items() if own == event.response_id)
                self.ended_items.update(owned)
            case m.UpstreamFaulted(code) if code == BUSY:
                self.asked = None
            case m.MarkReached(name):
                for item_id, position in self.marks.pop(name, {}).items():
                    self.acked[item_id] = max(self.acked[item_id], position)

    def _discard(self) -> None:
        """The caller shall hear no more of what is active or not yet played."""
        if self.active is not None:
            self.discarded.add(self.active)
        for item_id, response_id in self.responses.items():
            if self.acked[item_id] < self.received[item_id] and response_id not in self.open_responses:
                continue  # over for the model: no further sound of it can come anyway
            if response_id in self.open_responses:
                self.discarded.add(response_id)

    def _check(self, action: m.Action) -> None:
        if isinstance(action, m.Spoken | m.Heard):
            self._told(action)
        if isinstance(action, SESSION):
            return
        match action:
            case m.PlayAudio(audio, size_bytes):
                assert not self.full
                # A long delta comes in pieces, and only the first has the name.
                item_id = audio.partition(" ")[0] if " " in audio else "ours" if audio else self.playing
                self.playing = item_id
                assert self.responses.get(item_id) not in self.discarded, "I4: sound of a discarded response"
                self.sent[item_id] += size_bytes
                assert item_id == "ours" or self.sent[item_id] <= self.received[item_id]
                self.carrier.play(item_id, size_bytes, self.now_ms)
            case m.SendMark(name):
                assert name not in self.marks
                self.marks[name] = dict(self.sent)
                self.carrier.mark(name, self.now_ms)
            case m.ClearPlayout():
                self.flushed += self.marks
                self.marks.clear()
                self.carrier.clear(self.now_ms)
            case m.CancelResponse(response_id):
                assert response_id == self.active, "I6: cancel only what is active"
                assert response_id not in self.cancelled, "I6: and once"
                self.cancelled.add(response_id)
                self.server.commands.append(action)
            case m.CreateResponse(tag):
                assert self.active is None, "I8: none while one is active"
                assert self.asked is None, "I8: none while another is unanswered"
                self.asked = tag
                self.server.commands.append(action)
            case m.TruncateItem() | m.DeleteItem():
                self.server.commands.append(action)

    def _settle(self, actions: list[m.TruncateItem | m.DeleteItem]) -> None:
        for action in actions:
            item_id = action.item_id
            assert item_id not in self.settled, "I2: one truncate or delete an item"
            self.settled.add(item_id)
            received = self.received[item_id]
            assert received, "I3: no sound, nothing to settle"
            whole = item_id in self.ended_items and self.acked[item_id] >= received
            assert not whole or received < PER_MS, "I3: it was heard to its end"
            heard_ms = action.heard_ms if isinstance(action, m.TruncateItem) else 0
            assert type(heard_ms) is int
            assert 0 <= heard_ms <= received // PER_MS, "I1"
            truly_ms = self.carrier.heard_bytes(item_id) / PER_MS
            assert abs(heard_ms - truly_ms) <= 2, f"heard truth: {heard_ms} told, {truly_ms} heard"

    def _told(self, action: m.Spoken | m.Heard) -> None:
        key = action.item_id if isinstance(action, m.Spoken) else action.say_id
        self.told[key] += 1
        assert self.told[key] == 1, f"{key} is told twice"
        if isinstance(action, m.Spoken):
            assert 0 <= action.heard_ms <= self.received[key] // PER_MS

    def at_rest(self) -> None:
        """When all has ended: nothing is kept for what is over, and everything was told."""
        line = self.call.playout.line
        assert line.quiet
        assert line.spans == {}, "I9: spans go with their end marks"
        assert not line.ledger._runs
        assert not line.ledger._marks
        assert self.call.playout.gate.idle
        assert {tag for tag in self.asked_for if not self.told[tag]} == set(), "who asked was answered"
        for item_id, received in self.received.items():
            if self.responses[item_id].startswith("aside") or received < PER_MS:
                continue
            assert self.told[item_id] or item_id in self.settled, "every item was told of or taken back"
            heard = self.carrier.heard_bytes(item_id)
            assert heard == received or item_id in self.settled, (
                "heard truth: else the model believes in more"
            )
