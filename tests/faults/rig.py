"""A call that goes wrong, in virtual time: real core and adapters, doubles at both ends, and what was heard.

Every sound has bytes of its own, so what the phone played can be read like a script: `story()` tells it in
words. `longest_silence_while_owed()` holds it against the promise of two seconds, by loudness: sound of full
length that cannot be heard is silence. Neither asks the core.
"""

from __future__ import annotations

import itertools
import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, TypeAlias

from bridge.carriers.twilio import Twilio
from bridge.codecs.audible import is_audible_block
from bridge.core import messages as m
from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.faults import Fault
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.testing.virtual_call import VirtualCall

Plan: TypeAlias = dict[int, Sequence[Output]]
"""Outputs of single responses, by number."""
CALLER: Final = b"\x10"
"""What the caller's voice is made of; loud to any voice detection."""
STOP: Final = 0x55
"""The last millisecond of each answer of the model's: when it was heard, the answer was whole."""
LENGTHS_MS: Final = {
    "apology": 900,
    "disclosure": 1_000,
    "filler": 600,
    "goodbye": 800,
    "restored": 700,
    "still_there": 500,
    "working": 610,
}
PHRASE_BYTES: Final = {name: 0x61 + number for number, name in enumerate(LENGTHS_MS)}
WORDS: Final = "alfa bravo charlie delta echo foxtrot golf hotel india juliett"
MOST_SILENCE_MS: Final = 2_000
NEVER: Final = ServerOptions(withhold=frozenset({"session.created", "conversation.created"}))
"""A server that takes the socket and says nothing."""
_NUMBERS: Final = bytes(byte & 0x7F for byte in range(256))
SILENCE: Final = 0x7F
"""The number of silence, which is 0xFF or 0x7F on the wire."""
BLOCK_MS: Final = 20
_GO_ON: Final = PHRASE_BYTES["restored"]


def voiced(number: int, ms: int) -> bytes:
    """Sound that is known again and can be heard: byte `number` in turn with the one of the other sign."""
    return bytes([number, number | 0x80]) * (4 * ms)


def numbers(heard: bytes) -> bytes:
    """The number of each millisecond of sound."""
    return heard[::8].translate(_NUMBERS)


def phrases(*without: str) -> dict[str, m.Sound]:
    """Each spoken phrase as a sound with a number of its own, and words."""
    return {
        name: m.Sound(b64encode(voiced(PHRASE_BYTES[name], ms)).decode(), 8 * ms, f"({name})")
        for name, ms in LENGTHS_MS.items()
        if name not in without
    }


def answer(number: int, ms: int = 1_500, *, last: bool = True) -> Speech:
    """Ten words and a number, spread over `ms`; not `last` where the caller's answer is still to come."""
    sound = voiced(number, ms - 1) + voiced(STOP if last else number, 1)
    return Speech(sound, f"{number} {WORDS}")


class Clerk:
    """Says one thing after another, in whichever session: answer 1, answer 2, and so on.

    `plan` gives outputs for single responses, by number; every other one is an answer of `ms`.
    """

    def __init__(self, plan: Plan | None = None, ms: int = 1_500) -> None:
        self.plan = plan or {}
        self.ms = ms
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> Sequence[Output]:
        self.asked.append(asked)
        return self.plan.get(len(self.asked), (answer(len(self.asked), self.ms),))

    def whole_ms(self, number: int) -> int:
        """How long that answer is."""
        sounds = [output.sound for output in self.plan.get(number, ()) if isinstance(output, Speech)]
        lengths = [len(sound) // 8 for sound in sounds if isinstance(sound, bytes)]
        return lengths[0] if lengths else self.ms

    @property
    def greetings(self) -> list[int]:
        """Which of its responses were asked for as the greeting."""
        wishes = [asked.request.get("instructions") or "" for asked in self.asked]
        return [number for number, wish in enumerate(wishes, 1) if "Begin the call now" in wish]


class MoodyServer(RealtimeServer):
    """One that refuses client events of some types, once each, with a code; or with None does not answer."""

    def __init__(self, agent: Clerk, options: ServerOptions, moods: list[tuple[str, str | None]]) -> None:
        super().__init__(agent, options)
        self._moods = moods

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        event = json.loads(frame) if self._moods else {"type": ""}
        mood = next((mood for mood in self._moods if mood[0] == event["type"]), None)
        if mood is None:
            return super().receive(frame, now_ms)
        self._moods.remove(mood)
        if mood[1] is not None:
            self._refuse(Fault(mood[1], "not now"), event.get("event_id"))
        return self.wake(now_ms)


class Rig(VirtualCall):
    """One call. `dials` says what becomes of each attempt in turn; every later one succeeds. `moods` are
    those of its servers, all together: (type of client event, error code or None).

    What the runner does after a close is done here too: the end of a socket that we closed is told a moment
    later.
    """

    made: ClassVar[list[Rig]] = []
    """All of a test, for whoever wants to hold them against something."""

    def __init__(
        self,
        agent: Clerk | None = None,
        *,
        dials: Sequence[ServerOptions | m.DialFailed] = (),
        options: PhoneOptions | None = None,
        server: ServerOptions | None = None,
        moods: Sequence[tuple[str, str | None]] = (),
        dial_ms: int = 30,
        session: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.agent = agent or Clerk()
        self.moods = list(moods)
        self.outcomes: Iterator[ServerOptions | m.DialFailed] = itertools.chain(
            dials, itertools.repeat(server or ServerOptions())
        )
        config.setdefault("greeting", "Hello.")
        config.setdefault("phrases", phrases())
        config.setdefault("session", m.SessionConfig(**{"transcription": "whisper-1", **(session or {})}))
        phone = Phone(options=options or PhoneOptions())
        super().__init__(m.CallConfig(**config), phone, lambda: None, dial_ms=dial_ms)
        self.made.append(self)

    # --- what happens to it

    def says(self, at_ms: int, ms: int = 600) -> None:
        """The caller speaks from then on, for so long."""
        self.at(at_ms, lambda: self.from_phone(self.phone.say(CALLER * (8 * ms), self.now_ms)))

    def does(self, at_ms: int, *events: m.Event) -> None:
        """Something happens at the session door or to the shell."""

        def feed() -> None:
            for event in events:
                self.feed(event)

        self.at(at_ms, feed)

    def loses(self, at_ms: int, code: int = 1006) -> None:
        """The socket of the newest session breaks."""
        self.at(at_ms, lambda: self.from_server(self.server.drop(code, self.now_ms)))

    def stalls(self, at_ms: int) -> None:
        """The newest session neither reads nor writes from then on, and nobody is told."""
        self.at(at_ms, lambda: self.from_server(self.server.stall(self.now_ms)))

    def faults(
        self,
        at_ms: int,
        code: str,
        kind: str = "invalid_request_error",
        about: str = "",
        param: str | None = None,
    ) -> None:
        """The newest session sends an `error` event; `about` is the event id of ours that it answers."""
        error = {"type": kind, "code": code, "message": "so be it", "param": param, "event_id": about or None}
        frame = json.dumps({"type": "error", "event_id": "event_x", "error": error})
        self.at(at_ms, lambda: self.from_server([frame]))

    def answers_tools(self, after_ms: int = 100) -> None:
        """Each tool that is wanted gives its result so much later."""

        def observe(action: m.Action, now_ms: int) -> None:
            if isinstance(action, m.ToolWanted):
                self.does(now_ms + after_ms, m.ToolFinished(action.call_id, f"result of {action.name}"))

        self._observe = observe

    def moves(self, at_ms: int) -> None:
        """The carrier opens a newer stream for the same call; the older one is forgotten."""

        def move() -> None:
            self.phone.gone(self.now_ms)
            self.earlier = self.phone
            self._carrier = Twilio()
            self.phone = Phone(stream_sid=f"MZ{2:032x}")
            self.from_phone(self.phone.start(self.now_ms))

        self.at(at_ms, move)

    def play(self, until_ms: int) -> Rig:
        """The whole call up to then. Whatever happened in it: the caller never waited in silence for longer
        than was promised.
        """
        self.start()
        self.until(until_ms)
        self.phone.wake(self.now_ms)
        longest_ms = longest_silence_while_owed(self.phone, self.call.config)
        assert longest_ms <= MOST_SILENCE_MS, f"{longest_ms} ms of silence: {self.story()} {self.notes}"
        return self

    # --- what was heard

    def story(self) -> list[str]:
        """What the caller heard, in order; an answer or phrase that was cut short says how much of it."""
        return story(self.phone.heard, self.agent)

    def heard_ms(self, number: int) -> int:
        """How much the caller heard of that answer; its full stop not counted."""
        return numbers(self.phone.heard).count(number)

    @property
    def notes(self) -> list[str]:
        """What an operator finds in the log."""
        return [f"{note.what}: {note.detail}" for note in self.log(m.Noted)]

    @property
    def tools(self) -> list[str]:
        """The names of the tools that were run, one for each run."""
        return [wanted.name for wanted in self.log(m.ToolWanted)]

    @property
    def dialled(self) -> list[int]:
        """When the model was dialled."""
        return [at_ms for at_ms, action in self.said if isinstance(action, m.DialUpstream)]

    @property
    def intent(self) -> str | None:
        """The last intent that was noted."""
        noted = self.log(m.NoteIntent)
        return noted[-1].intent if noted else None

    @property
    def reason(self) -> m.Reason | None:
        """Why it ended, None while it lives."""
        return self.ended.reason if self.ended else None

    def told(self, session: int = -1) -> list[tuple[str, str]]:
        """What the model of a session was told of the conversation: (role, words), or (type, name or output);
        without the note that the line was restored.
        """
        told = []
        for event in self.servers[session].log:
            if event["type"] == "conversation.item.create":
                item = event["item"]
                if item["type"] == "message":
                    told.append((item["role"], "".join(part["text"] for part in item["content"])))
                else:
                    told.append((item["type"], item.get("name") or item.get("output")))
        return [(role, words) for role, words in told if role != "system"]

    # --- inside

    def _dialled(self, epoch: int, name: str) -> None:
        outcome = next(self.outcomes)
        if isinstance(outcome, m.DialFailed):
            self.feed(m.DialFailed(epoch, outcome.status, outcome.code, outcome.retry_after_ms))
            return
        self._new_server = lambda: MoodyServer(self.agent, outcome, self.moods)
        super()._dialled(epoch, name)

    def _do(self, action: m.Action) -> None:
        if isinstance(action, m.CloseUpstream) and action.epoch in self._sessions:
            self.does(self.now_ms + 20, m.UpstreamClosed(1000, "", action.epoch))
        super()._do(action)


def story(heard: bytes, agent: Clerk) -> list[str]:
    """What these sounds are, in order; one that was cut short says how much of it there is."""
    told: list[str] = []
    for value, run in itertools.groupby(numbers(heard).translate(None, bytes([SILENCE, STOP]))):
        ms = len(list(run))
        name = next((name for name, byte in PHRASE_BYTES.items() if byte == value), None)
        whole_ms = agent.whole_ms(value) - 1 if name is None else LENGTHS_MS[name]
        name = name or f"answer {value}"
        whole, ms = divmod(
            ms + 1, whole_ms
        )  # over sockets the last millisecond may be lost in a clock's ticks
        told += [name] * whole + [f"{name} ({ms - 1} ms)"] * (ms > 2)
    return told


def longest_silence_while_owed(phone: Phone, config: m.CallConfig) -> int:
    """Milliseconds, in whole blocks of 20: the longest that the caller heard nothing loud while they waited
    for us.

    They wait from admission until the greeting was heard to its full stop (where there is one to be given),
    and from the end of anything they say until an answer was, whatever becomes of the model meanwhile: an
    answer that broke off in the middle has not been given. A call that has ended owes nothing, nor one whose
    caller was asked to go on.
    """
    said, heard = (numbers(sound) for sound in phone.recording())
    audible = loud_ms(phone.recording()[1])
    longest = silent = 0
    before = config.carried or m.CallSnapshot()
    owed, talking = before.owed or config.resumed or (bool(config.greeting) and not before.items), False
    for at_ms, (theirs, ours) in enumerate(zip(said, heard, strict=True)):
        if theirs != SILENCE:
            owed, talking, silent = False, True, 0
            continue
        if talking:
            owed, talking = True, False
        silent = silent + 1 if owed and not audible[at_ms] else 0
        longest = max(longest, -(-silent // BLOCK_MS) * BLOCK_MS)
        if ours == STOP or (ours == _GO_ON and heard[at_ms + 1 : at_ms + 2] != bytes([_GO_ON])):
            owed = False
    return longest


def loud_ms(heard: bytes) -> list[bool]:
    """Of each millisecond, whether the block of 20 that it belongs to can be heard."""
    size_bytes = BLOCK_MS * 8
    blocks = [is_audible_block(heard[at : at + size_bytes]) for at in range(0, len(heard), size_bytes)]
    return [loud for loud in blocks for _ in range(BLOCK_MS)]
