"""The gate of a call: what comes in, in which order, and what leaves. Sockets are in memory, time is ours."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.carriers import Twilio
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.callee import Callee
from bridge.core.caller_audio import CallerAudioBuffer
from bridge.core.mailbox_message import MailboxMessage
from bridge.core.pacer import GRANT_BYTES
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.recording import Header, Recorder, replay
from bridge.runner import BACKLOG_MS, LOOK_S, OUTBOX_BYTES, Runner
from bridge.sockets.dial import DialError
from bridge.sockets.frames import Message
from bridge.sockets.held import HeldSound
from bridge.sockets.stream import OnClose, OnFrame
from bridge.upstreams import Dial, OpenAI
from bridge.upstreams.realtime import Realtime
from tests.agents.virtual_time import VirtualLoop, run

CALL, ACCOUNT, STREAM = f"CA{1:032x}", f"AC{1:032x}", f"MZ{1:032x}"
LOUD, QUIET = b"\x10" * 160, b"\xff" * 160


# --- time --------------------------------------------------------------------------------------------------


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    """Runs that to its end; nothing may escape into the loop, and no task be left on it."""

    async def main() -> None:
        await work
        await asyncio.sleep(0.001)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


pytestmark = pytest.mark.runs_with(function=in_virtual_time)


# --- sockets -----------------------------------------------------------------------------------------------


class FakeSocket:
    """A leg in memory. `answer` is called with each frame before `send` returns, as a real write may."""

    gave_up = False

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.writes: list[int] = []
        """How many frames went out in each."""
        self.codes: list[int] = []
        self.outbox_bytes = 0
        self.answer: Callable[[Message], None] = lambda _frame: None
        self.says: OnFrame
        self.ends: OnClose

    def start(self, on_frame: OnFrame, on_close: OnClose) -> None:
        self.says, self.ends = on_frame, on_close

    def send(self, frame: Message, *more: Message) -> None:
        self.writes.append(1 + len(more))
        for one in (frame, *more):
            self.sent.append(one)
            self.answer(one)

    def close(self, code: int = 1000, reason: str = "") -> None:
        if not self.codes:
            asyncio.get_running_loop().call_later(0.001, self.ends, code, reason)
            self.codes.append(code)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(frame) for frame in self.sent]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if kind in (event.get("type"), event.get("event"))]

    @property
    def sound_ms(self) -> int:
        return sum(len(event["media"]["payload"]) * 3 // 4 // 8 for event in self.of("media"))


class Notes:
    """A recorder that writes everything down as it is told: (ms, what, what of it)."""

    def __init__(self) -> None:
        self.all: list[tuple[int, str, Any]] = []
        self.closed = 0

    def came(self, now_ms: int, door: str, frame: Message, epoch: int = 0) -> None:
        self.all.append((now_ms, f"came {door} {epoch}", frame))

    def happened(self, now_ms: int, event: m.Event) -> None:
        self.all.append((now_ms, "happened", event))

    def went(self, now_ms: int, door: str, frame: Message, epoch: int = 0) -> None:
        self.all.append((now_ms, f"went {door} {epoch}", frame))

    def dropped(self, now_ms: int, door: str, frame: Message, epoch: int = 0) -> None:
        self.all.append((now_ms, f"dropped {door} {epoch}", frame))

    def decided(self, now_ms: int, action: m.Action) -> None:
        self.all.append((now_ms, "decided", action))

    def close(self) -> None:
        self.closed += 1

    def of(self, what: str) -> list[Any]:
        return [thing for _, noted, thing in self.all if noted.startswith(what)]


class Table:
    """One call on its gate, with both sockets in hand."""

    def __init__(
        self,
        call: Any = None,
        *,
        held: HeldSound | None = None,
        recorder: Recorder | None = None,
        runner: type[Runner] = Runner,
        **config: Any,
    ) -> None:
        self.call = Call(m.CallConfig(**config)) if call is None else call
        self.notes = Notes()
        self.told: list[tuple[int, m.Action]] = []
        self.carrier = FakeSocket()
        self.models: list[FakeSocket] = []
        self.dialled: list[Dial] = []
        self.refuse: list[Exception] = []
        self.dial_s = 0.0
        self.frames = CarrierFrames(CALL, ACCOUNT, STREAM)
        self.runner = runner(
            self.call,
            Twilio(),
            OpenAI,
            self.dial,
            observe=lambda action, now_ms: self.told.append((now_ms, action)),
            recorder=recorder or self.notes,
            held=held or HeldSound(),
        )

    async def dial(self, dialled: Dial) -> FakeSocket:
        self.dialled.append(dialled)
        await asyncio.sleep(self.dial_s)
        if self.refuse:
            raise self.refuse.pop(0)
        self.models.append(FakeSocket())
        return self.models[-1]

    async def ends(self) -> None:
        """The caller hangs up."""
        self.carrier.says(self.frames.stop())
        await self.runner.closed

    def start(self) -> None:
        """The carrier's stream begins, and is proven."""
        self.runner.attach(self.carrier, [self.frames.start({})])
        self.runner.feed(m.Admitted())

    def model(self, kind: str, number: int = -1, **fields: Any) -> None:
        self.models[number].says(json.dumps({"type": kind, "event_id": "event_1", **fields}))

    def configure(self, number: int = -1) -> None:
        pcmu = {"type": "audio/pcmu"}
        tree = {"type": "realtime", "audio": {"input": {"format": pcmu}, "output": {"format": pcmu}}}
        self.model("session.created", number, session={"id": "sess_1"})
        self.model("session.updated", number, session=tree)

    async def live(self) -> None:
        """Both legs are up, nothing is said yet."""
        self.start()
        await asyncio.sleep(self.dial_s + 0.001)
        self.configure()

    def hears(self, sound: bytes = LOUD, at_ms: int = 100) -> None:
        self.carrier.says(self.frames.media(sound, at_ms))

    def speaks(self, ms: int, item: str = "item_1", number: int = -1) -> None:
        ids = {"response_id": "resp_1", "item_id": item, "output_index": 0, "content_index": 0}
        self.model("response.output_audio.delta", number, **ids, delta=b64encode(b"\x01" * 8 * ms).decode())

    def happens(self, what: str, at_ms: int) -> None:
        """One of the things that a call may meet, by its name."""
        match what:
            case "quiet" | "loud" | "gap":
                self.hears(QUIET if what == "quiet" else LOUD, at_ms)
            case "empty":
                self.hears(b"", at_ms)
            case "bad":
                self.carrier.says(self.frames.media(LOUD, at_ms).replace("payload", "load"))
            case "garbage":
                self.carrier.says(self.frames.media(LOUD, at_ms).replace("EBAQ", "!*!*"))
            case "key":
                self.carrier.says(self.frames.dtmf("5"))
            case "mark":
                self.carrier.says(self.frames.mark("1"))
            case "full" | "room":
                self.models[-1].outbox_bytes = OUTBOX_BYTES + 1 if what == "full" else 0
            case "says":
                self.speaks(200)
            case "speech":
                self.model("input_audio_buffer.speech_started", item_id="item_u")

    @property
    def ended(self) -> list[m.Ended]:
        return [action for _, action in self.told if isinstance(action, m.Ended)]


# --- one after the other -----------------------------------------------------------------------------------


async def test_a_write_that_calls_back_before_it_returns() -> None:
    """The echo comes from within the send of its mark: the delta that is being fed is finished first."""

    table = Table()
    await table.live()

    def echo(frame: Message) -> None:
        event = json.loads(frame)
        if event["event"] == "mark":
            table.carrier.says(table.frames.mark(event["mark"]["name"]))

    table.carrier.answer = echo
    table.speaks(500)
    order = [what for _, what, _ in table.notes.all if "er 0" in what or "came" in what][-4:]
    assert order == ["came upstream 1", "went carrier 0", "went carrier 0", "came carrier 0"]
    assert table.call.playout.line.ledger.claimed == 500 * 8
    await table.ends()


async def test_a_piece_of_sound_and_its_mark_leave_in_one_write() -> None:
    """One segment instead of two; and sound without a mark behind it does not wait for the next one."""

    table = Table()
    await table.live()
    table.carrier.writes.clear()
    for _ in range(5):
        table.speaks(50)
    kinds = [event["event"] for event in table.carrier.events][-6:]
    assert kinds.count("media") + kinds.count("mark") == 6
    assert sum(table.carrier.writes) == len(table.carrier.of("media")) + kinds.count("mark")
    assert len(table.carrier.writes) == len(table.carrier.of("media")) == 5
    await table.ends()


async def test_sound_that_waits_for_its_mark_leaves_before_the_socket_closes() -> None:
    class Script:
        config = m.CallConfig()
        caller_audio = CallerAudioBuffer(config)
        callee = Callee(config, MailboxMessage(config))
        deadline_ms = None

        def receive(self, event: m.Event, _now_ms: int) -> list[m.Action]:
            last = [m.PlayAudio("AAAA", 3), m.CloseCarrier(), m.Ended(m.Reason.WE_HUNG_UP)]
            return last if isinstance(event, m.Stopped) else []  # type: ignore[return-value]

    table = Table(Script())
    table.start()
    closed_before: list[bool] = []
    table.carrier.answer = lambda _frame: closed_before.append(bool(table.carrier.codes))
    table.carrier.says(table.frames.stop())
    assert [event["event"] for event in table.carrier.events] == ["media"]
    assert closed_before == [False]
    await table.runner.closed
    assert table.carrier.codes == [1000]


async def test_sound_that_is_garbage_is_noticed_and_replays() -> None:
    """A frame that stands letter by letter is not read to its last letter; each 80 ms one is looked at."""

    header = Header(config=m.CallConfig(), carrier="twilio", upstream="openai")
    lines: list[str] = []
    table = Table(recorder=Recorder(lines.append, header))
    heard: list[m.CallerAudio] = []
    table.runner.tap = heard.append
    await table.live()
    table.hears(QUIET, 100)
    garbage = table.frames.media(LOUD, 120).replace("EBAQ", "!*!*")
    for _ in range(12):
        table.carrier.says(garbage)
    refused = table.call.stats.frames_refused
    assert refused == {"carrier: media whose payload is not base64": 9}, "all but the three before a look"
    table.hears(LOUD, 140)
    assert len(heard) == 1 + 3 + 1
    assert len(table.models[0].of("input_audio_buffer.append")) == 1 + 3 + 1
    await table.ends()
    replayed = replay(lines)
    assert replayed.ended
    assert replayed.difference is None


class Thorough(Runner):
    """Takes every frame of the carrier's through the gate itself."""

    def _on_caller_frame(self, frame: Message) -> None:
        self._process("carrier", self._parse, self._carrier.stream, frame)


SCRIPTED = (
    "loud",
    "quiet",
    "gap",
    "empty",
    "bad",
    "garbage",
    "key",
    "mark",
    "full",
    "room",
    "says",
    "speech",
    "late",
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("loud", "quiet", *SCRIPTED)), st.integers(1, 8)), max_size=30))
def test_the_fast_way_of_a_frame_does_what_the_gate_does(script: list[tuple[str, int]]) -> None:
    """Whatever comes, in any order: both write, record and tell the same, at the same times."""

    async def play(kind: type[Runner]) -> list[Any]:
        table = Table(runner=kind)
        await table.live()
        for what, times in script:
            for _ in range(times):
                await asyncio.sleep(1 if what == "late" else 0.02)
                table.happens(what, table.runner.now_ms() + (400 if what == "gap" else 0))
        table.carrier.says(table.frames.stop())
        await table.runner.closed
        return [table.notes.all, table.told, table.carrier.sent, [model.sent for model in table.models]]

    outcomes: list[list[Any]] = []
    for kind in (Runner, Thorough):

        async def main(kind: type[Runner] = kind) -> None:
            outcomes.append(await play(kind))

        in_virtual_time(main())
    assert outcomes[0] == outcomes[1]


async def test_a_frame_is_read_when_its_turn_has_come() -> None:
    """Adapters remember what they read, and a replay reads in the order of the recording."""

    read: list[str] = []

    class Script:
        config = m.CallConfig()
        caller_audio = CallerAudioBuffer(config)
        callee = Callee(config, MailboxMessage(config))
        deadline_ms = None

        def receive(self, event: m.Event, _now_ms: int) -> list[m.Action]:
            read.append(type(event).__name__)
            marks: list[m.Action] = [m.SendMark("1"), m.SendMark("2")]
            return marks if isinstance(event, m.Started) else []

    class Reading(Twilio):
        def parse(self, frame: Message) -> Any:
            read.append("read")
            return super().parse(frame)

    table = Table(Script())
    table.runner._carrier.adapter = Reading()
    table.carrier.answer = lambda _frame: table.carrier.says(table.frames.mark("1"))
    table.runner.attach(table.carrier, [])
    table.carrier.says(table.frames.start({}))
    assert read == ["read", "Started", "read", "MarkReached", "read", "MarkReached"]


async def test_frames_that_mean_nothing_are_recorded_too() -> None:
    table = Table()
    await table.live()
    table.model("rate_limits.updated", rate_limits=[])
    table.carrier.says('{"event":"weather"}')
    assert [json.loads(frame) for frame in table.notes.of("came")[-2:]] == [
        {"type": "rate_limits.updated", "event_id": "event_1", "rate_limits": []},
        {"event": "weather"},
    ]
    await table.ends()


# --- time is an input --------------------------------------------------------------------------------------


async def test_wake_ups_are_recorded_as_inputs_at_their_time() -> None:
    table = Table(unclaimed_ms=1_500)
    table.runner.feed(m.Ringing())
    await table.runner.closed
    wakes = [(now_ms, thing) for now_ms, _, thing in table.notes.all if thing == m.WakeUp()]
    assert wakes[-1] == (1_500, m.WakeUp())
    assert table.notes.all[0] == (0, "happened", m.Ringing())
    assert table.notes.of("decided")[-1] == table.ended[0] == m.Ended(m.Reason.UNCLAIMED)
    assert table.notes.closed == 1


async def test_the_clock_never_runs_backwards_and_never_short_of_a_deadline() -> None:
    times: list[int] = []

    class Script:
        config = m.CallConfig()
        caller_audio = CallerAudioBuffer(config)
        callee = Callee(config, MailboxMessage(config))
        deadline_ms: int | None = 333

        def receive(self, event: m.Event, now_ms: int) -> list[m.Action]:
            times.append(now_ms)
            self.deadline_ms = None if isinstance(event, m.WakeUp) else 333
            return []

    table = Table(Script())
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    table.runner.feed(m.Ringing())
    await asyncio.sleep(0.2)
    table.runner.feed(m.Admitted())
    loop.now_s -= 0.1
    table.runner.feed(m.Admitted())
    loop.now_s += 0.1
    # Loops may fire a touch early: uvloop rounds to milliseconds.
    early = table.runner._timer
    assert early is not None
    loop.now_s += 0.1325
    early._run()
    early.cancel()
    assert times == [0, 200, 200, 333]


# --- sessions have numbers ---------------------------------------------------------------------------------


async def test_what_is_said_to_a_session_that_is_over_goes_nowhere() -> None:
    """A lost session is followed by another; each hears its own, and the recording says which."""

    table = Table()
    await table.live()
    table.hears(QUIET)
    assert len(table.models[0].of("input_audio_buffer.append")) == 1
    table.models[0].ends(1011, "gone")
    await asyncio.sleep(0.001)
    assert len(table.models) == 2
    table.hears(QUIET, at_ms=120)
    assert len(table.models[0].of("input_audio_buffer.append")) == 1
    table.configure()
    table.hears(QUIET, at_ms=140)
    assert len(table.models[1].of("input_audio_buffer.append")) == 2  # what was kept, and this one
    table.speaks(50, "item_9", number=0)  # a word of the dead
    assert table.carrier.of("media") == []
    epochs = {what for _, what, _ in table.notes.all if "upstream" in what}
    assert epochs == {"came upstream 1", "went upstream 1", "came upstream 2", "went upstream 2"}
    await table.ends()
    assert [model.codes for model in table.models] == [[], [1000]]


async def test_a_session_that_is_still_being_dialled_when_the_caller_leaves() -> None:
    table = Table()
    table.dial_s = 2.0
    table.start()
    await asyncio.sleep(0.5)
    await table.ends()
    assert (table.models, len(table.dialled)) == ([], 1)


async def test_what_the_caller_says_while_the_model_is_dialled_is_kept() -> None:
    table = Table()
    table.dial_s = 1.0
    table.start()
    for number in range(10):
        table.hears(bytes([number]) * 160, at_ms=100 + 20 * number)
    await asyncio.sleep(1.001)
    table.configure()
    sent = [event["audio"] for event in table.models[0].of("input_audio_buffer.append")]
    assert sent == [b64encode(bytes([number]) * 160).decode() for number in range(10)]
    await table.ends()


def test_a_refused_dial_is_tried_again_and_one_that_breaks_ends_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        table = Table()
        table.refuse = [DialError("timeout", "no websocket within 3 s"), OverflowError("a bug")]
        table.start()
        await table.runner.closed
        assert len(table.dialled) == 2
        assert m.DialFailed(1, 0, "timeout", 0) in table.notes.of("happened")
        assert table.ended == [m.Ended(m.Reason.BROKEN, "OverflowError('a bug')")]
        assert table.carrier.codes == [1011]

    in_virtual_time(main())
    assert len(caplog.records) == 1


# --- bytes of a peer's that break their reader -------------------------------------------------------------


def breaks_reader(monkeypatch: pytest.MonkeyPatch, adapter: type[Realtime | Twilio]) -> None:
    """It was not written for one of its peer's frames."""
    parse = adapter.parse

    def broken(self: Any, frame: Message) -> Any:
        if "break it" in str(frame):
            raise ZeroDivisionError
        return parse(self, frame)

    monkeypatch.setattr(adapter, "parse", broken)


def test_a_frame_that_breaks_its_reader_costs_the_upstream_session_and_not_the_call(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        breaks_reader(monkeypatch, Realtime)
        table = Table()
        await table.live()
        table.models[0].says('{"type": "break it"}')
        await asyncio.sleep(1.0)
        assert table.models[0].codes == [1011]
        table.configure(1)
        table.hears()
        assert len(table.models[1].of("input_audio_buffer.append")) == 1
        assert table.ended == []
        assert table.call.stats.frames_refused == {"upstream: unreadable": 1}
        table.carrier.says(table.frames.stop())
        await table.runner.closed

    in_virtual_time(main())
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_frame_that_breaks_its_reader_costs_the_carrier_its_stream(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/after-stream` opens it again."""

    async def main() -> None:
        breaks_reader(monkeypatch, Twilio)
        table = Table()
        await table.live()
        table.carrier.says('{"event": "break it"}')
        await table.runner.closed
        assert [ended.reason for ended in table.ended] == [m.Reason.CARRIER_LOST]
        assert table.carrier.codes == [1011]

    in_virtual_time(main())
    assert [record.exc_info is not None for record in caplog.records] == [True]


# --- a bug of ours -----------------------------------------------------------------------------------------

APOLOGY = m.Sound(b64encode(b"\x22" * 8_000).decode(), 8_000, "Sorry.")


def breaks(table: Table, at: type[m.Message]) -> None:
    """From here on the core raises when such an event comes."""
    receive, caller_frame = table.call.receive, table.call.caller_frame

    def broken(event: m.Event, now_ms: int) -> list[m.Action]:
        if isinstance(event, at):
            raise ZeroDivisionError("a bug")
        return receive(event, now_ms)

    def broken_frame(frame: m.CallerAudio, now_ms: int) -> str | Sequence[m.AppendAudio]:
        if at is m.CallerAudio:
            raise ZeroDivisionError("a bug")
        return caller_frame(frame, now_ms)

    table.call.receive = broken  # type: ignore[method-assign]
    table.call.caller_frame = broken_frame  # type: ignore[method-assign]


def test_a_bug_in_the_core_ends_that_call_only_with_an_apology(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        table, other = Table(phrases={"apology": APOLOGY}), Table()
        await table.live()
        await other.live()
        table.speaks(500)
        breaks(table, m.DigitPressed)
        table.carrier.says(table.frames.dtmf("5"))
        table.hears()
        table.speaks(50)
        assert [event["event"] for event in table.carrier.events[-2:]] == ["clear", "media"]
        assert table.carrier.of("media")[-1]["media"]["payload"] == APOLOGY.audio
        assert table.models[0].codes == [1000]
        assert table.notes.closed == 1
        await asyncio.sleep(0.9)
        assert table.carrier.codes == []
        await table.runner.closed
        assert table.carrier.codes == [1011]
        assert table.ended == [m.Ended(m.Reason.BROKEN, "ZeroDivisionError('a bug')")]

        other.hears()
        assert other.models[0].of("input_audio_buffer.append")
        other.carrier.says(other.frames.stop())
        await other.runner.closed

    in_virtual_time(main())
    assert len(caplog.records) == 1


async def test_a_stream_that_we_gave_up_ends_the_call_and_says_why() -> None:
    """Its socket had an outbox that is full, or no reader for ten seconds."""

    table = Table()
    await table.live()
    table.carrier.gave_up = True
    table.carrier.ends(1006, "outbox full")
    await table.runner.closed
    noted = m.Noted("the carrier was given up", "outbox full")
    assert noted in [action for _, action in table.told]
    assert table.ended == [m.Ended(m.Reason.CARRIER_GIVEN_UP, "outbox full")]


@pytest.mark.parametrize("at", [m.Started, m.CallerAudio, m.WakeUp, m.AudioDelta, m.CarrierClosed])
async def test_wherever_it_breaks_both_sockets_are_closed(at: type[m.Message]) -> None:
    table = Table(media_gap_ms=400)
    breaks(table, at)
    table.start()
    await asyncio.sleep(0.001)
    if table.models and not table.ended:
        table.configure()
        table.hears()
        table.speaks(20)
    if at is m.CarrierClosed:
        table.carrier.ends(1006, "")
    await asyncio.wait_for(table.runner.closed, 5)
    assert [ended.reason for ended in table.ended] == [m.Reason.BROKEN]
    assert all(model.codes == [1000] for model in table.models)


async def test_a_shut_down_does_not_wait_for_the_apology() -> None:
    table = Table(phrases={"apology": APOLOGY})
    await table.live()
    breaks(table, m.DigitPressed)
    table.carrier.says(table.frames.dtmf("5"))
    assert table.carrier.codes == []
    table.runner.feed(m.ShutDown())
    assert table.carrier.codes == [1011]
    await table.runner.closed
    await asyncio.sleep(2)


async def test_an_observer_that_raises_ends_the_call_too() -> None:
    """At the end itself, too: nobody would close the caller's socket otherwise."""

    table = Table()
    await table.live()

    def raises(_action: m.Action, _now_ms: int) -> None:
        raise ZeroDivisionError

    table.runner._observe = raises
    table.carrier.says(table.frames.stop())
    await asyncio.wait_for(table.runner.closed, 5)
    assert table.carrier.codes
    assert table.models[0].codes == [1000]


async def test_what_a_stalled_model_says_comes_later_in_its_order() -> None:
    table = Table()
    await table.live()
    table.model("response.created", response={"id": "resp_1"})
    table.runner.stall_upstream(500)
    table.runner.stall_upstream(9_000)  # it is stalled already
    table.speaks(100)
    table.speaks(60)
    await asyncio.sleep(0.4)
    assert table.carrier.sound_ms == 0
    await asyncio.sleep(0.11)
    assert table.carrier.sound_ms == 160
    made = [one for one in table.notes.of("happened") if isinstance(one, m.BrokenOnPurpose)]
    assert made == [m.BrokenOnPurpose("the model is stalled for 500 ms")]
    told = [action for _, action in table.told if isinstance(action, m.Noted)]
    assert m.Noted("broken on purpose", "the model is stalled for 500 ms") in told
    await table.ends()


# --- an upstream that does not take what it is sent --------------------------------------------------------


async def test_a_slow_upstream_loses_the_oldest_sound_and_it_is_counted() -> None:
    table = Table()
    await table.live()
    model = table.models[0]
    table.hears(bytes([1]) * 160, at_ms=100)
    model.outbox_bytes = OUTBOX_BYTES + 1
    for number in range(2, 42):  # 800 ms
        table.hears(bytes([number]) * 160, at_ms=80 + 20 * number)
    assert len(model.of("input_audio_buffer.append")) == 1
    assert table.call.stats.frames_dropped == 40 - BACKLOG_MS // 20
    assert len(table.notes.of("dropped upstream 1")) == 15
    model.outbox_bytes = 0
    table.hears(bytes([42]) * 160, at_ms=920)
    sent = [event["audio"] for event in model.of("input_audio_buffer.append")]
    expected = [1, *range(17, 43)]
    assert sent == [b64encode(bytes([number]) * 160).decode() for number in expected]
    # Each that had to wait was noted as a decision first, and once more when it left or was thrown away.
    waited = [thing for thing in table.notes.of("decided") if isinstance(thing, m.AppendAudio)]
    assert len(waited) == 41
    assert len(table.notes.of("dropped")) + len(table.notes.of("went upstream 1")) >= 41
    assert m.FramesDropped(1) in table.notes.of("happened")
    await table.ends()


async def test_what_a_write_calls_back_with_waits_until_all_that_was_kept_is_sent() -> None:
    table = Table()
    await table.live()
    model = table.models[0]
    model.outbox_bytes = OUTBOX_BYTES + 1
    for number in range(3):
        table.hears(at_ms=100 + 20 * number)
    model.outbox_bytes = 0
    model.answer = lambda _frame: table.model("input_audio_buffer.cleared")
    table.notes.all.clear()
    table.hears(at_ms=160)
    legs = [what for _, what, _ in table.notes.all if what.endswith("upstream 1")]
    assert legs == ["went upstream 1"] * 4 + ["came upstream 1"] * 4
    await table.ends()


async def test_an_outbox_that_empties_in_between_lets_all_of_it_go() -> None:
    table = Table()
    await table.live()
    model = table.models[0]
    for number in range(60):
        model.outbox_bytes = OUTBOX_BYTES + 1 if number % 20 < 15 else 0
        table.hears(bytes([number]) * 160, at_ms=100 + 20 * number)
    sent = [event["audio"] for event in model.of("input_audio_buffer.append")]
    assert sent == [b64encode(bytes([number]) * 160).decode() for number in range(60)]
    assert table.call.stats.frames_dropped == 0
    await table.ends()


# --- a carrier that does not take what it is sent ----------------------------------------------------------


class SlowSocket(FakeSocket):
    """The network takes nothing while it is `stuck`."""

    stuck = False
    most_bytes = 0

    def send(self, frame: Message, *more: Message) -> None:
        super().send(frame, *more)
        if self.stuck:
            self.outbox_bytes += sum(len(one) for one in (frame, *more))
            self.most_bytes = max(self.most_bytes, self.outbox_bytes)


LONG: dict[str, Any] = {"probe_ms": 0, "media_gap_ms": 10**9, "unplayed_ms": 10**9}


@pytest.mark.parametrize("delta_ms", [20, 480, 3_000, 60_000])
async def test_an_outbox_that_fills_holds_sound_back_until_it_has_room(delta_ms: int) -> None:
    table = Table(**LONG, playout_lead_ms=10_000)
    table.carrier = carrier = SlowSocket()
    await table.live()
    carrier.stuck = True
    for _ in range(60_000 // delta_ms):
        table.speaks(delta_ms)
    await asyncio.sleep(1)
    assert OUTBOX_BYTES < carrier.most_bytes <= 65_536
    assert table.notes.of("happened").count(m.OutboxFull(True)) == 1
    before = len(carrier.sent)
    await asyncio.sleep(5)
    assert len(carrier.sent) == before
    carrier.stuck, carrier.outbox_bytes = False, 0
    await asyncio.sleep(LOOK_S * 2)
    assert table.notes.of("happened").count(m.OutboxFull(False)) == 1
    assert len(carrier.sent) > before
    await asyncio.sleep(70)
    assert carrier.sound_ms == 60_000
    await table.ends()


async def test_a_newer_stream_has_an_outbox_of_its_own() -> None:
    table = Table(**LONG)
    table.carrier = slow = SlowSocket()
    await table.live()
    slow.stuck = True
    for _ in range(40):
        table.speaks(1_000)
    assert m.OutboxFull(True) in table.notes.of("happened")
    newer = SlowSocket()
    other = CarrierFrames(CALL, ACCOUNT, f"MZ{2:032x}")
    table.runner.attach(newer, [other.start({})])
    table.model("response.created", response={"id": "resp_2", "status": "in_progress", "output": []})
    ids = {"response_id": "resp_2", "item_id": "item_2", "output_index": 0, "content_index": 0}
    table.model("response.output_audio.delta", **ids, delta=b64encode(b"\x02" * 8_000).decode())  # type: ignore[arg-type]
    assert newer.sound_ms == 1_000
    newer.says(other.stop())
    await table.runner.closed


async def test_a_call_that_ends_while_its_outbox_is_full_leaves_nobody_looking() -> None:
    table = Table(**LONG)
    table.carrier = slow = SlowSocket()
    await table.live()
    slow.stuck = True
    for _ in range(40):
        table.speaks(1_000)
    await table.ends()
    await asyncio.sleep(1)
    assert table.notes.of("happened").count(m.OutboxFull(False)) == 0


async def test_calls_share_the_memory_for_sound_that_waits() -> None:
    """Two calls and room for one long answer: the second one's counts as cut where the room ended."""

    held = HeldSound(process_bytes=16 * GRANT_BYTES)
    tables = [Table(held=held, **LONG) for _ in range(2)]
    for table in tables:
        await table.live()
        for _ in range(300):
            table.speaks(1_000)
        assert held.granted_bytes <= 16 * GRANT_BYTES
    first, second = tables
    assert first.notes.of("happened").count(m.HoldRefused(GRANT_BYTES)) == 0
    [refused] = [event for event in second.notes.of("happened") if isinstance(event, m.HoldRefused)]
    assert refused.limit_bytes == 16 * GRANT_BYTES - 13 * GRANT_BYTES
    noted = [action.what for _, action in second.told if isinstance(action, m.Noted)]
    assert noted.count("an answer was cut") == 1
    await asyncio.sleep(100)
    assert second.carrier.sound_ms < 80_000 < first.carrier.sound_ms
    for table in tables:
        table.carrier.says(table.frames.stop())
        await table.runner.closed
    assert held.granted_bytes == 0


@pytest.mark.parametrize("sound", [True, False])
def test_a_long_answer_replays_exactly_whatever_the_network_did(sound: bool) -> None:
    """Odd deltas, an outbox that fills, memory that runs out, and a caller who has had enough."""
    lines: list[str] = []

    async def main() -> None:
        config = m.CallConfig(**LONG)
        header = Header(carrier="twilio", upstream="openai", config=config)
        table = Table(
            Call(config),
            held=HeldSound(call_bytes=4 * GRANT_BYTES),
            recorder=Recorder(lines.append, header, sound),
        )
        table.carrier = carrier = SlowSocket()
        await table.live()
        created = {"id": "resp_1", "status": "in_progress", "output": []}
        table.model("response.created", response=created)
        carrier.stuck = True
        ids = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        for size_bytes in (1, 100_003, *[7_681] * 150):
            raw = bytes(number % 251 for number in range(size_bytes))
            table.model("response.output_audio.delta", **ids, delta=b64encode(raw).decode())  # type: ignore[arg-type]
        await asyncio.sleep(3)
        carrier.stuck, carrier.outbox_bytes = False, 0
        await asyncio.sleep(10)
        table.model("input_audio_buffer.speech_started", item_id="item_2", audio_start_ms=0)
        table.model("response.done", response={**created, "status": "cancelled"})
        await asyncio.sleep(1)
        carrier.says(table.frames.stop())
        await table.runner.closed

    in_virtual_time(main())
    recorded = "\n".join(lines)
    for what in ("OutboxFull", "HoldSound", "HoldRefused", "an answer was cut", '"clear"', "truncate"):
        assert what in recorded
    replayed = replay(lines, strict=True)
    assert replayed.difference is None
    assert replayed.ended
    assert replayed.outputs == lines


def test_one_call_holds_sixteen_megabytes_and_no_more() -> None:
    held = HeldSound()
    call = object.__new__(Runner)
    held.open(call)
    assert held.ask(call, 61 * GRANT_BYTES) == 61 * GRANT_BYTES
    assert held.ask(call, 62 * GRANT_BYTES) == 61 * GRANT_BYTES
    assert held.ask(call, GRANT_BYTES) == held.granted_bytes == GRANT_BYTES
    others = [object.__new__(Runner) for _ in range(40)]
    for other in others:
        held.open(other)
    for other in others:
        held.ask(other, 61 * GRANT_BYTES)
    assert 490_000_000 < held.granted_bytes <= 512_000_000
    del call, other, others
    assert held.granted_bytes == 0
