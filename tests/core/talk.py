"""A random conversation at the core's doors: a caller who talks, makes noise or says nothing, tools that take
their time, sessions that are lost or renewed, agents that change; and a server that has a mind of its own.

The server keeps the configuration as the vendor does (the double's `Session`, which none of our adapter's
code made), answers turns by itself or loses them, answers what it is asked for, and now and then refuses,
fails, cancels, or says nothing that can be heard. Around everything that is done, `Talk` holds the rules:

- each debt is paid once, by a response that the caller heard, or closed with a reason;
- nothing is asked while the caller speaks, while a response is active or before a change of configuration is
  settled;
- the fields in force are those of the agent in force.

It stands at the core's doors, as `world` does and for its reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.model_commands import RETRY
from bridge.doubles.session import Session
from bridge.upstreams.openai import session_tree

from .conftest import LiveCall, delta

BUSY = "conversation_already_has_active_response"
FRAME_MS = 500
STEPS_MS = (20, 100, 300, 700, 1_500, 4_000)
ENDS = (
    *[("completed", "")] * 6,
    ("cancelled", "turn_detected"),
    ("cancelled", "client_cancelled"),
    ("incomplete", "max_output_tokens"),
    ("failed", "server_error"),
)
TOOL = {"type": "function", "name": "look_up", "description": "", "parameters": {"type": "object"}}
AGENTS = (
    m.SessionConfig(instructions="You are A."),
    m.SessionConfig(instructions="You are B.", tools=(TOOL,), transcription="gpt-transcribe", language="de"),
    m.SessionConfig(instructions="You are C.", noise_reduction="near_field", speed=1.25, tool_choice="none"),
    m.SessionConfig(instructions="", max_output_tokens=900, turn_detection=m.SemanticVad("low")),
    m.SessionConfig(
        instructions="You are E.",
        turn_detection=m.ServerVad(idle_timeout_ms=9_000),
        extra={"truncation": "disabled", "include": ["item.input_audio_transcription.logprobs"]},
    ),
    m.SessionConfig(tools=(TOOL,), tool_choice="required", extra={"parallel_tool_calls": False}),
)
AGAIN = ("continued", "greeting", "restored", "retry")
"""Keys of debts of which there may be several, one after the other."""
MODEL = m.SessionConfig().model


def session() -> Session:
    """As the vendor begins one."""
    made = Session(MODEL, {})
    made.tree |= {"instructions": "", "parallel_tool_calls": True, "include": []}
    return made


@dataclass
class Server:
    """One upstream session. `due` are tags of responses that it has not begun, `unsettled` the changes of
    configuration that it has not answered.
    """

    epoch: int
    active: str = ""
    due: list[str] = field(default_factory=list)
    unsettled: int = 0
    session: Session = field(default_factory=session)
    remote: list[str] = field(default_factory=list)
    """Calls of MCP tools that are not over."""


class Talk:
    """One such call. `play` lets things happen, `calm` lets all of them end."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.responds = self.random.random() < 0.8
        renew_ms = self.random.choice((9_000, 10**9))
        config = m.CallConfig(
            session=AGENTS[0],
            greeting=self.random.choice((None, "Hello.")),
            probe_ms=0,
            media_gap_ms=10**9,
            stalled_ms=10**9,
            renew_ms=renew_ms,
            renew_forced_ms=renew_ms * 3,
        )
        self.call = LiveCall(Call(config))
        self.wanted = AGENTS[0]
        self.servers: dict[int, Server] = {}
        self.speaking = False
        self.hears = 0
        """The session that was told that the caller speaks."""
        self.tools: list[str] = []
        self.count = 0
        self.asked: list[str] = []
        self.heard: set[str] = set()
        self.became: Counter[str] = Counter()
        self.seen = 0
        self.feed(m.Started("MZ1", "CA1", "AC1"), m.Admitted())

    @property
    def server(self) -> Server:
        return self.servers[self.call.call.up.epoch]

    def new(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    # --- what is done about it ----------------------------------------------------------------------------

    def feed(self, *events: m.Event) -> None:
        for event in events:
            self.look(self.call.at(self.call.now_ms, event))
        if self.speaking and self.hears != self.call.call.up.epoch and self.call.call.playout.ready:
            self.starts()

    def starts(self) -> None:
        """The session in use notices that the caller speaks, and cancels what it was saying."""
        self.hears = self.call.call.up.epoch
        self.say(m.SpeechStarted())
        if self.server.active:
            self.end("cancelled", "turn_detected")

    def say(self, *events: Any) -> None:
        """The session in use says this."""
        for event in events:
            self.feed(msgspec.structs.replace(event, epoch=self.call.call.up.epoch))

    def look(self, done: list[m.Action]) -> None:
        for action in done:
            match action:
                case m.DialUpstream(epoch):
                    self.servers[epoch] = Server(epoch)
                    self.feed(m.SessionCreated(epoch))
                case m.ConfigureSession(config, again, epoch):
                    server = self.servers[epoch]
                    server.session.update(session_tree(config, again), has_spoken=again)
                    server.unsettled += 1
                    if not again or epoch != self.call.call.up.epoch:
                        self.settle(server)
                case m.CreateResponse():
                    server = self.servers[action.epoch]
                    assert not self.speaking, "asked while the caller speaks"
                    assert not server.active, "asked while a response is active"
                    assert not server.unsettled, "asked before the agent in force was in force"
                    owed = {debt.tag for debt in self.call.call.playout.debts.open.values()}
                    unheard = action.tag in self.call.call.playout.utterances  # it sounded, and was lost
                    assert unheard or action.tag in owed | {RETRY}, "asked for what nobody is owed"
                    server.due.append(action.tag)
                    self.asked.append(action.tag)
                case m.CancelResponse(response_id):
                    if self.servers[action.epoch].active == response_id:
                        self.end("cancelled", "client_cancelled")
                case m.ToolWanted():
                    self.tools.append(action.call_id)
                case m.Ended():
                    raise AssertionError(f"the call ended: {action}")
        self.ledger()

    def settle(self, server: Server) -> None:
        """All changes that were asked for so far are answered."""
        count, server.unsettled = server.unsettled, 0
        for _ in range(count):
            self.feed(m.SessionUpdated(server.epoch, responds=self.responds))
        if server.epoch == self.call.call.up.epoch:
            self.in_force(server)

    def in_force(self, server: Server) -> None:
        fresh = session()
        fresh.update(session_tree(self.wanted, again=False), has_spoken=False)
        assert server.session.tree == fresh.tree, "the fields in force are the agent's"

    def ledger(self) -> None:
        debts = self.call.call.playout.debts
        fresh, self.seen = debts.count - self.seen, debts.count
        for closed in [*debts.closed][len(debts.closed) - fresh :]:
            assert bool(closed.paid_by) != bool(closed.reason), "paid, or named unpaid"
            assert not closed.paid_by or closed.paid_by in self.heard, "paid by what was heard"
            self.became[closed.key] += 1

    # --- what happens -------------------------------------------------------------------------------------

    def play(self, steps: int) -> None:
        for _ in range(steps):
            self.happen()

    def happen(self) -> None:
        random, server = self.random, self.server
        if server.unsettled and random.random() < 0.5:
            self.settle(server)
        happening = random.choices(
            (self.wait, self.turn, self.noise, self.respond, self.finish, self.end, self.wish, self.change),
            (6, 4, 1, 8, 3, 3, 1, 1),
        )[0]
        happening()
        if random.random() < 0.06:
            random.choice((self.lose, self.meet, self.cut, self.remote))()

    def wait(self, ms: int = 0) -> None:
        until_ms = self.call.now_ms + (ms or self.random.choice(STEPS_MS))
        while self.call.now_ms < until_ms:
            step_ms = min(FRAME_MS, until_ms - self.call.now_ms)
            self.clock(self.call.now_ms + step_ms)
            self.feed(m.CallerAudio("caller" * step_ms, 8 * step_ms, at_ms=self.call.now_ms))
        self.look(self.call.echo(until_ms))

    def clock(self, until_ms: int) -> None:
        while (due_ms := self.call.call.deadline_ms) is not None and due_ms <= until_ms:
            self.look(self.call.until(due_ms))
        self.call.until(until_ms)

    def turn(self) -> None:
        """The caller begins a turn, or ends one."""
        if not self.speaking:
            self.feed(m.CallerVoice(True))
            self.speaking = True
            self.starts()
            return
        self.feed(m.CallerVoice(False))
        self.speaking = False
        item_id = self.new("u")
        self.say(m.SpeechStopped(item_id), m.TurnCommitted(item_id))
        if self.responds and self.random.random() < 0.8:
            self.server.due.append("")

    def noise(self) -> None:
        """The server takes something for speech: of it comes a turn without words, or nothing."""
        if self.speaking:
            return
        if self.server.active and self.random.random() < 0.5:
            self.end("cancelled", "turn_detected")
            return
        self.say(m.SpeechStarted())
        if self.server.active:
            self.end("cancelled", "turn_detected")
        self.say(m.SpeechStopped())

    def respond(self) -> None:
        """The server begins a response, or goes on with it."""
        server, random = self.server, self.random
        if not server.active:
            if not server.due:
                return
            server.active = self.new("r")
            self.say(m.ResponseStarted(server.active, server.due.pop(0)))
        if server.active and (sound := random.random()) < 0.7:
            self.sound(audible=sound < 0.6, commentary=random.random() < 0.1)
        elif server.active:
            call = m.ToolCalled(server.active, self.new("f"), self.new("call_"), "t", str(self.count))
            self.say(call)

    def sound(self, *, audible: bool = True, commentary: bool = False) -> None:
        server, item_id = self.server, self.new("i")
        item = m.ItemAdded(item_id, "message", "assistant", response_id=server.active, commentary=commentary)
        self.feed(m.ModelVoice(audible))
        if audible and not commentary:
            self.heard.add(server.active)
        sound = delta(item_id, self.random.choice((200, 200, 2_000)), response=server.active)
        self.say(item, sound, m.AudioDone(server.active, item_id))

    def finish(self) -> None:
        """A tool's result, whether an answer is wanted or not."""
        random, server = self.random, self.server
        if server.remote and random.random() < 0.5:
            over = random.choice(("completed", "failed"))
            self.say(m.VendorNote(f"response.mcp_call.{over}", "", server.remote.pop(0)))
        elif self.tools:
            call_id = self.tools.pop(random.randrange(len(self.tools)))
            self.feed(m.ToolFinished(call_id, "42", respond=random.random() < 0.8))

    def end(self, status: str = "", why: str = "") -> None:
        """The active response is over."""
        server = self.server
        if not server.active:
            return
        if not status:
            status, why = self.random.choice(ENDS)
            if status == "failed" and self.call.call.failures:
                status, why = "completed", ""  # a second one in a row ends the call
        ended, server.active = server.active, ""
        self.say(m.ResponseDone(ended, status, why))

    def wish(self) -> None:
        say_id = self.new("say-")
        self.feed(m.Say(say_id, "Hello.") if self.random.random() < 0.5 else m.Respond(say_id))

    def change(self) -> None:
        """An update of the agent, or another one."""
        self.wanted = self.random.choice(AGENTS)
        self.feed(m.Reconfigure(self.wanted))

    def lose(self) -> None:
        if self.call.call.stats.recoveries < 4:  # one more in a minute ends the call
            self.say(m.UpstreamClosed(1006))

    def meet(self) -> None:
        """Our request meets a response that the server has begun by itself."""
        server = self.server
        asked = [tag for tag in server.due if tag]
        if server.active or not asked:
            return
        server.due.remove(asked[0])
        server.active = self.new("r")
        events = [m.ResponseStarted(server.active), m.UpstreamFaulted(BUSY, about=f"create:{asked[0]}")]
        self.random.shuffle(events)
        self.say(*events)

    def cut(self) -> None:
        self.feed(m.Interrupt())

    def remote(self) -> None:
        if self.server.active:
            item_id = self.new("mcp_")
            self.server.remote.append(item_id)
            self.say(m.VendorNote("response.mcp_call.in_progress", "", item_id))

    def calm(self) -> None:
        """The caller is silent, tools finish and the server answers all that it is asked."""
        if self.speaking:
            self.turn()
        for _ in range(40):
            server = self.server
            if server.unsettled:
                self.settle(server)
            if not server.active and server.due:
                server.active = self.new("r")
                self.say(m.ResponseStarted(server.active, server.due.pop(0)))
            if server.active:
                self.sound()
                self.end("completed")
            while self.tools:
                self.feed(m.ToolFinished(self.tools.pop(), "42"))
            while server.remote:
                self.say(m.VendorNote("response.mcp_call.completed", "", server.remote.pop()))
            self.wait(1_000)
            if not self.call.call.playout.debts.open and not server.due and not server.active:
                break
        assert list(self.call.call.playout.debts.open) == [], "a debt is never dropped"
        asked = len(self.asked)
        self.wait(12_000)
        assert {*self.asked[asked:]} <= {"restored"}, (
            "asked though nothing is owed, but by a renewal that cut"
        )
        twice = [key for key, times in self.became.items() if times > 1 and key not in AGAIN]
        assert twice == [], "nor paid twice"
        self.in_force(self.server)
