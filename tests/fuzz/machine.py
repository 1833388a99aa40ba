"""What a peer's bad day may bring, and a caller, a model and a handler in between, in any order.

`Calls` is a hypothesis state machine over both legs: one call after another, each with its own frames
mutated, repeated, lost, delayed, crossed with ids of other things, and with sockets that close. `frames`
counts what came that no carrier and no model would send.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.core import messages as m
from bridge.doubles.agents import Incomplete, Parrot, Pause, Scripted, Speech, ToolCall
from bridge.doubles.front_desk.agent import FrontDesk
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.sockets.dial import DialError
from tests.carriers.mutations import any_json, paths, texts, with_one_thing_wrong
from tests.fuzz.wires import IDS, FuzzedCall, Wire
from tests.upstreams.wire_frames import FRAMES

DOCUMENTED: Final[dict[str, list[dict[str, Any]]]] = {
    "carrier": [
        line["frame"]
        for line in json.loads((Path(__file__).parents[1] / "carriers" / "wire" / "twilio.json").read_text())
    ],
    "upstream": FRAMES,
}
DOORS: Final = st.sampled_from(["carrier", "upstream"])
TOOL: Final = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}
TALK: Final = [
    [Speech(800, "Good day.")],
    [Speech(1_500, "One moment, I shall see."), ToolCall("look_up", ms=40)],
    [Pause(900), Speech(4_000, "It is as they say.")],
    [Speech(300, "It"), Incomplete()],
    [],
    [Speech(20_000, "Once upon a time there was a telephone.")],
]
AGENTS: Final = st.sampled_from([Parrot(), FrontDesk(), Scripted(TALK), Scripted(TALK[::-1])])  # type: ignore[arg-type]
SOUND: Final = m.Sound(b64encode(b"\x22" * 320).decode(), 320, "A sound of ours.")
PHRASES: Final = dict.fromkeys(
    ("filler", "apology", "goodbye", "restored", "still_there", "disclosure"), SOUND
)
OPTIONS: Final = st.sampled_from([
    ServerOptions(),
    ServerOptions(late_deltas=3, cancel_ms=100, strange=True),
    ServerOptions(done_first=True, echo_create_id=False, usage=False, speed=50),
    ServerOptions(coded_errors=False, delta_bytes=(1, 60_000, 3), transcription_ms=(900, 10)),
])  # fmt: skip
PHONES: Final = st.sampled_from([
    PhoneOptions(keep_sound=False),
    PhoneOptions(keep_sound=False, echoes_per_mark=0),
    PhoneOptions(keep_sound=False, echoes_per_mark=2, delay_out_ms=(20, 80, 0), delay_back_ms=60),
])  # fmt: skip
WISHES: Final = st.sampled_from([
    m.Say("say", "Hello."),
    m.Say("say", "Wait.", interruptible=False),
    m.Respond("answer", "Be brief."),
    m.AddText("They are in a hurry."),
    m.Play("sound", SOUND),
    m.Play("sound", SOUND, protected=True),
    m.Interrupt(),
    m.Mute(),
    m.Mute(on=False),
    m.Reconfigure(m.SessionConfig(instructions="Be kind.")),
    m.SendRaw('{"type":"input_audio_buffer.clear"}'),
    m.FramesDropped(2),
    m.BrokenOnPurpose("results of tools are withheld"),
    m.Moved("one", "two", "crash", 400, 3, 1),
    m.OperatorActed("listens"),
])  # fmt: skip
ENDS: Final = st.sampled_from([
    *[None] * 40, "stop", 1000, 1006, m.HangUp("enough"), m.Transfer("front desk"), m.HandOver(3_000),
    m.TakenOver("another"),
    m.HandlerFailed("ValueError"), m.ShutDown(),
])  # fmt: skip
KEPT: Final = 6_000
TIMES: Final = st.integers(1, 4)
CLOSES: Final = st.sampled_from(
    [*[1000, 1001, 1005, 1006, 1011, 1012, 1013, 1015, 4999] * 5, 1008, 3000, 4000]
)
NO_DIAL: Final = st.sampled_from([
    *[DialError("timeout", "no answer"), DialError("refused", "refused", 503, 0.5)] * 5,
    DialError("rate_limit_exceeded", "refused", 429, 30.0),
])  # fmt: skip


def configurations() -> st.SearchStrategy[m.CallConfig]:
    """Calls of all sorts, with renewals that come soon enough to be met."""
    session = m.SessionConfig(tools=(TOOL,), transcription="whisper-1")
    return st.builds(
        m.CallConfig,
        session=st.sampled_from([session, m.SessionConfig(turn_detection=None)]),
        greeting=st.sampled_from([None, "Hello."]),
        phrases=st.sampled_from([{}, PHRASES]),
        disclosure=st.sampled_from(["", "disclosure"]),
        handler=st.booleans(),
        backchannel_ms=st.sampled_from([0, 700]),
        digits=st.sampled_from(["event", "text", "interrupt"]),
        renew_ms=st.sampled_from([3_000, 3_000_000]),
        renew_forced_ms=st.sampled_from([8_000, 3_480_000]),
        renew_again_ms=st.just(1_000),
        running_words=st.booleans(),
        limits=st.sampled_from([m.Limits(), m.Limits(nudge_ms=4_000), m.Limits(call_ms=30_000)]),
    )


class Calls(RuleBasedStateMachine):
    """One call after another."""

    frames: ClassVar[Counter[str]] = Counter()
    """By leg: what came of it that nobody should send."""
    calls: ClassVar[int] = 0
    kept: ClassVar[list[tuple[str, str | bytes]]] = []
    """The first of them, for whoever wants to send them once more."""

    call: FuzzedCall

    @initialize(config=configurations(), agent=AGENTS, options=OPTIONS, phone=PHONES, live=st.integers(0, 7))
    def begin(self, config: Any, agent: Any, options: Any, phone: Any, live: int) -> None:
        type(self).calls += 1
        self.call = FuzzedCall(config, agent, options, phone)
        if live:  # else it only rings
            self.call.attach()
            self.call.pass_ms(200)

    @precondition(lambda self: self.call.over)
    @rule(config=configurations(), agent=AGENTS, options=OPTIONS, phone=PHONES)
    def the_next_one(self, config: Any, agent: Any, options: Any, phone: Any) -> None:
        self.teardown()
        self.begin(config, agent, options, phone, 1)

    # --- what peers should not do ------------------------------------------------------------------------

    @precondition(lambda self: not self.call.over)
    @rule(door=DOORS, times=TIMES, data=st.data())
    def one_thing_is_wrong_with_frames_of_theirs(self, door: str, times: int, data: st.DataObject) -> None:
        frames = with_one_thing_wrong(self._seen(door))
        for _ in range(times):
            self._says(door, data.draw(frames))

    @precondition(lambda self: not self.call.over)
    @rule(door=DOORS, frames=st.data(), times=TIMES)
    def one_thing_is_wrong_with_documented_ones(self, door: str, frames: st.DataObject, times: int) -> None:
        for _ in range(times):
            self._says(door, frames.draw(with_one_thing_wrong(DOCUMENTED[door])))

    @precondition(lambda self: not self.call.over)
    @rule(door=DOORS, numbers=st.lists(st.integers(0, 199), min_size=1, max_size=8))
    def frames_come_again_or_out_of_order(self, door: str, numbers: list[int]) -> None:
        seen = self._seen(door)
        for number in numbers:
            self._says(door, json.dumps(seen[number % len(seen)]))

    @precondition(lambda self: not self.call.over)
    @rule(
        door=DOORS, numbers=st.lists(st.integers(0, 199), min_size=1, max_size=8), choice=st.integers(0, 99)
    )
    def frames_speak_of_the_wrong_things(self, door: str, numbers: list[int], choice: int) -> None:
        frames = [*DOCUMENTED[door], *self._seen(door)]
        for number in numbers:
            frame = json.loads(json.dumps(frames[number % len(frames)]))
            for *way, last in list(paths(frame)):
                known = self.call.known.get(str(last), ()) if last in IDS else ()
                parent: Any = frame
                for name in way:
                    parent = parent[name]
                if known and isinstance(parent[last], str):
                    choice = (choice * 7 + 3) % 101
                    parent[last] = known[choice % len(known)]
            self._says(door, json.dumps(frame))

    @precondition(lambda self: not self.call.over)
    @rule(door=DOORS, frames=st.lists(st.binary(max_size=60) | any_json.map(json.dumps) | texts, max_size=4))
    def something_comes_that_is_no_frame(self, door: str, frames: list[str | bytes]) -> None:
        for frame in frames:
            self._says(door, frame)

    @precondition(lambda self: not self.call.over)
    @rule(door=DOORS, fate=st.sampled_from(["lost", "late", "twice"]))
    def their_next_frame_is(self, door: str, fate: str) -> None:
        wire = self._wire(door)
        if wire is not None:
            wire.fate = fate

    # --- what they may do --------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([0, 1, 19, 60, 200, 700, 2_000]))
    def time_passes(self, ms: int) -> None:
        self.call.pass_ms(ms)

    @precondition(lambda self: self.call.talks)
    @rule(ms=st.sampled_from([100, 700, 2_500]))
    def the_caller_speaks(self, ms: int) -> None:
        self.call.carrier.deliver(self.call.phone.say(b"\x10" * (8 * ms), self.call.now_ms))  # type: ignore[union-attr]
        self.call.pass_ms(ms // 2)

    @precondition(lambda self: self.call.talks)
    @rule(key=st.sampled_from("07*#"))
    def the_caller_presses(self, key: str) -> None:
        self.call.carrier.deliver(self.call.phone.press(key, self.call.now_ms))  # type: ignore[union-attr]

    @precondition(lambda self: self.call.talks)
    @rule(wish=WISHES)
    def the_handler_wishes(self, wish: m.Event) -> None:
        self.call.runner.feed(wish)

    @precondition(lambda self: self.call.talks and self.call.wanted)
    @rule()
    def a_tool_gives_its_result(self) -> None:
        self.call.runner.feed(m.ToolFinished(self.call.wanted.pop(0), "42"))

    @precondition(lambda self: not self.call.over and self.call.model is not None)
    @rule(code=CLOSES, refused=st.lists(NO_DIAL, max_size=2))
    def the_model_is_lost(self, code: int, refused: list[DialError]) -> None:
        self.call.next_dial = refused
        if self.call.model is not None:
            self.call.model.end(code)

    @precondition(lambda self: not self.call.over)
    @rule(stalls=st.booleans())
    def the_model_stalls(self, stalls: bool) -> None:
        wire = self.call.model
        if wire is not None:
            peer = wire.peer
            wire.deliver(peer.stall(self.call.now_ms) if stalls else peer.resume(self.call.now_ms))

    @precondition(lambda self: not self.call.over)
    @rule()
    def a_stream_is_opened(self) -> None:
        """The first, or a newer one of the same call."""
        self.call.attach()

    @precondition(lambda self: self.call.talks)
    @rule(how=ENDS)
    def it_may_end(self, how: m.Event | int | str | None) -> None:
        """Mostly it does not: there is more to find in the middle of a call."""
        if how == "stop":
            self.call.carrier.deliver(self.call.phone.hang_up(self.call.now_ms))  # type: ignore[union-attr]
        elif isinstance(how, int):
            self.call.carrier.end(how)  # type: ignore[union-attr]
        elif isinstance(how, m.Message):
            self.call.runner.feed(how)

    # --- what must hold ----------------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        if hasattr(self, "call"):
            self.call.check()
            self._blame()

    def teardown(self) -> None:
        if hasattr(self, "call"):
            self.call.finish()
            self._blame()
            del self.call

    # --- inside ------------------------------------------------------------------------------------------

    def _blame(self) -> None:
        if self.call.faults:
            raise AssertionError("\n".join(self.call.faults))

    def _wire(self, door: str) -> Wire | None:
        """The socket of that leg, if there is one just now."""
        if door == "upstream" and self.call.model is None:  # it is being dialled, perhaps
            self.call.pass_ms(300)
        return self.call.carrier if door == "carrier" else self.call.model

    def _seen(self, door: str) -> list[Any]:
        """What came there of the peer itself; what is documented, if nothing did."""
        wire = self._wire(door)
        return [json.loads(frame) for frame in wire.seen.values()] if wire else DOCUMENTED[door]

    def _says(self, door: str, frame: str | bytes) -> None:
        wire = self._wire(door)
        if wire is not None:
            type(self).frames[door] += 1
            if len(self.kept) < KEPT:
                self.kept.append((door, frame))
            wire.says(frame)
