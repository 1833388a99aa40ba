"""One call in virtual time, told step by step: what caller and model do, and when.

Nothing happens but what the script says and what follows from it. The caller is silent; the model answers
with what was planned for it, says what it is asked to say, and else has nothing to say.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from base64 import b64decode
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bridge.agents.clips import sound_of
from bridge.codecs.audible import is_audible_block
from bridge.testing.away import Ending
from bridge.testing.virtual_call import VirtualCall

from ..core import messages as m
from ..doubles.agents import Agent, Asked, Failure, Output, Speech, ToolCall
from ..doubles.items import Item
from ..doubles.options import ServerOptions
from ..doubles.phone import Phone
from ..doubles.realtime import RealtimeServer
from ..doubles.tones import LETTER_MS, marked, tone
from ..recording import Header, Recorder
from ..recording.facts import facts_of
from .expectations import Aside, Expect
from .mailbox import Mailbox, beep_of, greeting_of

UPSTREAM: Final = "openai"
_FRAME_MS: Final = 20
_NOTICED_FRAMES: Final = 2
"""Of speech, until the model's server takes it for speech (`ServerOptions.min_speech_ms`)."""
_WISH: Final = re.compile(r'\b[Ss]ay(?: exactly this and nothing else)?: "(.*)"\s*\Z', re.DOTALL)
_GOODBYE: Final = "Say goodbye"
_NO_ANSWER: Final = "the script of the model has no answer left"
_PLAN: Final = 'plan one with model.answers("…")'


class Mind:
    """What the model says: what is put into its mouth now, what it is asked to say, what was planned. Another
    mind answers all but the first by itself.
    """

    def __init__(self, clock: Callable[[], int], other: Agent | None = None) -> None:
        self._other = other
        self.now: list[Output] | None = None
        self.planned: deque[list[Output]] = deque()
        self.silences: list[Aside] = []
        """Where an answer was owed and the script had none."""
        self._clock = clock
        self._speeches = 0

    def answer(self, asked: Asked) -> Sequence[Output]:
        said, self.now = self.now, None
        if said is not None:
            return said
        if self._other is not None:
            return self._other.answer(asked)
        instructions = str(asked.request.get("instructions") or "")
        wish = _WISH.search(instructions)
        if wish is not None:
            return [self.speech(wish[1])]
        if self.planned:
            return self.planned.popleft()
        if _GOODBYE in instructions:
            return [self.speech("Goodbye.")]
        if asked.reason != "idle":
            self.silences.append((self._clock(), f"{_NO_ANSWER} {_owed(asked)}: {_PLAN}"))
        return []

    def speech(self, words: str, ms: int | None = None) -> Speech:
        """Sound of one byte that no other speech of this call has: so what was heard of it can be counted."""
        self._speeches += 1
        return Speech(marked(self._speeches, len(words) * LETTER_MS if ms is None else ms), words)


def _owed(asked: Asked) -> str:
    """What the model was to answer."""
    if asked.reason == "turn":
        return "to the caller's turn"
    return "to a tool's result" if asked.tool_output is not None else "when it is asked for one"


class Caller:
    """The simulated caller."""

    def __init__(self, call: ScriptedCall) -> None:
        self._call = call

    def says(self, what: str | Path | bytes = "", ms: int | None = None, *, words: str | None = None) -> None:
        """Speak from the next frame on. `what` is a sound (a `.wav` or `.ulaw` file, or bytes of one), or
        words: then a tone stands for them, 60 ms a letter or `ms` long. `words` is what a transcription
        finds.
        """
        sound, heard = self._call.sound(what, ms)
        self._call.words.append(heard if words is None else words)
        call = self._call
        call.rehearsal.from_phone(call.phone.say(sound, call.now_ms))

    def is_a_mailbox(
        self,
        greeting: str | Path | bytes,
        *,
        words: str | None = None,
        pause_ms: int = 300,
        beep_hz: int = 1_000,
        beep_ms: int = 400,
        beep_dbfs: int = -15,
    ) -> Mailbox:
        """Answer with this greeting and a tone, as a mailbox does; what it records then, it tells. `greeting`
        and `words` are as in `says`; `beep_ms=0` is for a mailbox without a tone.
        """
        sound, said = greeting_of(self._call, greeting, pause_ms)
        beep = beep_of(beep_hz, beep_ms, beep_dbfs)
        self.says(sound + beep, words=said if words is None else words)
        return Mailbox(self._call, sound, beep)

    def interrupts(self, what: str | Path | bytes = "", ms: int = 400, *, words: str | None = None) -> None:
        """Speak over the model, which notices it now."""
        call = self._call
        stamp_ms = call.now_ms - (call.phone.started_ms or 0)
        frame = tone(_FRAME_MS * 3)[_FRAME_MS * 8 : _FRAME_MS * 16]
        frames = [call.phone.frames.media(frame, stamp_ms) for _ in range(_NOTICED_FRAMES)]
        self.says(what, ms, words=words)
        call.rehearsal.from_phone(frames)

    def presses(self, digits: str) -> None:
        """Press these keys, all at once."""
        for digit in digits:
            self._call.rehearsal.from_phone(self._call.phone.press(digit, self._call.now_ms))

    def hangs_up(self) -> None:
        """Hang up now."""
        self._call.rehearsal.from_phone(self._call.phone.hang_up(self._call.now_ms))

    def is_lost(self, code: int = 1006) -> None:
        """Lose the carrier's socket without a stop event."""
        self._call.rehearsal.from_phone(self._call.phone.drop(self._call.now_ms, code=code))

    @property
    def heard_ms(self) -> int:
        """How much sound the caller has heard, in all."""
        self._call.settle()
        return sum(phone.played_bytes for phone in self._call.rehearsal.phones) // 8

    def longest_silence_ms(self, since_ms: int, until_ms: int) -> int:
        """The longest time between those moments in which the caller heard nothing, by loudness, in steps of
        20 ms.
        """
        self._call.settle()
        phones, silent_ms, most_ms = self._call.rehearsal.phones, 0, 0
        for at_ms in range(since_ms, until_ms, _FRAME_MS):
            phone = next((one for one in reversed(phones) if (one.started_ms or 0) <= at_ms), phones[0])
            from_ms = at_ms - (phone.started_ms or 0)
            block = phone.heard[from_ms * 8 : (from_ms + _FRAME_MS) * 8]
            whole = len(block) == _FRAME_MS * 8
            silent_ms = 0 if whole and is_audible_block(block) else silent_ms + _FRAME_MS
            most_ms = max(most_ms, silent_ms)
        return most_ms


class Model:
    """The simulated model behind the upstream websocket."""

    def __init__(self, call: ScriptedCall, mind: Mind, options: ServerOptions) -> None:
        self._call = call
        self._mind = mind
        self.options = options
        self.reachable = True
        """Set it to False to refuse new sessions."""

    def speaks(self, words: str = "", ms: int | None = None, *, speed: float = math.inf) -> None:
        """Begin a response now, as after a turn. Its sound comes at once, or `speed` times faster than it
        sounds. `ms` is its length; the default is 60 ms a letter.
        """
        self._says_now([self._mind.speech(words, ms)], speed)

    def calls(self, tool: str, /, **arguments: Any) -> None:
        """Call a tool: while the caller speaks as the answer to that turn, else now."""
        self._answers_or_says([ToolCall(tool, arguments)])

    def fails(self, code: str | None = "server_error") -> None:
        """Fail: while the caller speaks where that turn is to be answered, else in a response of now."""
        self._answers_or_says([Failure(code)])

    def answers(self, *outputs: str | Output) -> None:
        """Plan the answer to the next turn. Outputs are words or `bridge.testing.tool_call(…)`."""
        self._mind.planned.append(
            [self._mind.speech(output) if isinstance(output, str) else output for output in outputs]
        )

    def behaves(self, **options: Any) -> None:
        """Change the server's behaviour from now on, by fields of its `ServerOptions`."""
        self.options = dataclasses.replace(self.options, **options)
        for server in self._call.rehearsal.servers[-1:]:
            server.options = self.options

    def sends(self, kind: str, /, **fields: Any) -> None:
        """Send any server event, as the vendor spells it."""
        frame = json.dumps({"type": kind, "event_id": f"event_sent_{self._call.now_ms}", **fields})
        self._call.rehearsal.from_server([frame])

    def is_lost(self, code: int = 1006) -> None:
        """Lose the socket of the model's session."""
        self._call.rehearsal.lose_model(code)

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The client events of this type that the newest session received, oldest first."""
        return [event for event in self.server.log if event["type"] == kind]

    @property
    def items(self) -> Mapping[str, Item]:
        """The items of the model's conversation, by item id."""
        return self.server.items

    @property
    def conversation(self) -> list[tuple[str, str]]:
        """The items in words: role (or type) and text (or arguments, or output) of each, in order."""
        return [(item.role or item.type, item.text) for item in self.items.values()]

    @property
    def server(self) -> RealtimeServer:
        """The server double of the newest session. Raises LookupError before there is one."""
        if not self._call.rehearsal.servers:
            raise LookupError("the model has not been dialled yet")
        return self._call.rehearsal.server

    def _answers_or_says(self, outputs: list[Output]) -> None:
        if self._call.phone.speaking or self.server.hears_a_turn:
            self._mind.planned.append(outputs)
        else:
            self._says_now(outputs)

    def _says_now(self, outputs: list[Output], speed: float = math.inf) -> None:
        server = self.server
        if server.active is not None:
            raise ValueError("the model is speaking already; let time pass until its response is done")
        self._mind.now = outputs
        server.options = dataclasses.replace(self.options, latency_ms=0, speed=speed)
        frames = server.receive('{"type":"response.create"}', self._call.now_ms)
        server.options = self.options
        self._call.rehearsal.from_server(frames)


class ScriptedCall:
    """A call and both its ends. Unpacks into `caller, model, at, expect`."""

    def __init__(
        self,
        config: m.CallConfig,
        phone: Phone,
        options: ServerOptions,
        *,
        folders: Sequence[Path] = (),
        dial_ms: int = 0,
        mind: Agent | None = None,
        recording: Mapping[str, bool] | None = None,
    ) -> None:
        scripted = Mind(lambda: self.now_ms, mind)
        self.words: list[str] = []
        """What the caller's next turns will be transcribed as."""
        options = dataclasses.replace(options, transcribe=self._transcript)
        self.config = config
        self.caller = Caller(self)
        self.model = Model(self, scripted, options)
        self.expect = Expect(
            lambda: self.rehearsal.said, self.truth, lambda: scripted.silences, lambda: facts_of(self.lines)
        )
        self.lines: list[str] = []
        """The recording of this call."""
        self._folders = folders
        self._mind = scripted
        header = Header(carrier="twilio", upstream=UPSTREAM, config=config)
        self.rehearsal = VirtualCall(
            config,
            phone,
            lambda: RealtimeServer(scripted, self.model.options) if self.model.reachable else None,
            dial_ms=dial_ms,
            recorder=Recorder(self.lines.append, header, **(recording or {})),
            observe=self._observe,
        )

    def __iter__(self) -> Iterator[Any]:
        return iter((self.caller, self.model, self.at, self.expect))

    @property
    def phone(self) -> Phone:
        """The phone, on the call's present stream."""
        return self.rehearsal.phone

    # --- time --------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.rehearsal.now_ms

    def at(self, now_ms: int) -> ScriptedCall:
        """Let time pass up to that moment of the call, with all that is due in it. Raises ValueError for a
        moment that is over.
        """
        if now_ms < self.now_ms:
            raise ValueError(f"it is {self.now_ms} ms already, and a call never runs backwards")
        self.rehearsal.until(now_ms)
        return self

    def wait(self, ms: int) -> ScriptedCall:
        """Let so much time pass."""
        return self.at(self.now_ms + ms)

    def until(self, condition: Callable[[], object], within_ms: int = 60_000) -> ScriptedCall:
        """Let time pass, 10 ms at a time, until the condition holds. Raises TimeoutError if that takes more
        than `within_ms`.
        """
        latest_ms = self.now_ms + within_ms
        while not condition():
            if self.now_ms >= latest_ms:
                raise TimeoutError(f"not within {within_ms} ms")
            self.wait(10)
        return self

    def until_over(self, within_ms: int = 120_000) -> ScriptedCall:
        """Let time pass until the call has ended. Raises TimeoutError if it does not within `within_ms`."""
        if self.rehearsal.run(self.now_ms + within_ms) is None:
            raise TimeoutError(f"the call goes on after {within_ms} ms")
        return self.wait(0)

    # --- doing -------------------------------------------------------------------------------------------

    def wish(self, command: m.SessionCommand) -> None:
        """What a handler wants, in the core's own words: `Say`, `Play`, `HangUp`, `Transfer` and so on."""
        self.rehearsal.feed(command)

    def returns(
        self, outcome: str = "busy", *, after_ms: int = 2_000, talk_s: float = 0.0, sip_code: int = 0
    ) -> ScriptedCall:
        """Plan what comes of the next transfer that nothing is planned for yet: an outcome of
        `TransferResult`, `after_ms` the target is called. Without a plan they talk, and the call is over.
        Raises ValueError for an outcome that there is not.
        """
        named = m.TransferOutcome(outcome)
        accepted = named in (m.TransferOutcome.CONNECTED, m.TransferOutcome.DROPPED)
        result = m.DetourResult(named, after_ms, round(talk_s * 1000), sip_code, accepted)
        self.rehearsal.elsewhere.planned.append(Ending(result, after_ms))
        return self

    def save(self, file: str | Path) -> Path:
        """Write what has happened so far as a recording, which replays exactly."""
        path = Path(file)
        path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        return path

    def close(self) -> None:
        """The test is over: so is the call."""
        if self.rehearsal.ended is None:
            self.caller.hangs_up()

    # --- what came of it ---------------------------------------------------------------------------------

    def truth(self) -> dict[str, tuple[int, int]]:
        """Of each item of the newest session that `Model.speaks` or `answers` made: what the model believes
        the caller heard, and what they did.
        """
        self.settle()
        server, heard_bytes = self.model.server, self._heard_bytes()
        return {
            item.id: (_believed_ms(server, item), heard_bytes[item.sound[0]] // 8)
            for item in server.conversation.ever.values()
            if item.role == "assistant" and len(set(item.sound)) == 1
        }

    @staticmethod
    def made_of(action: m.PlayAudio) -> int | None:
        """The byte that this sound is made of; None where it is of several, as a phrase is."""
        found = set(b64decode(action.audio))
        return found.pop() if len(found) == 1 else None

    def _heard_bytes(self) -> Counter[int | None]:
        """How much the caller heard of each speech, by the byte that it is made of."""
        heard_bytes: Counter[int | None] = Counter()
        start, phones = 0, iter(self.rehearsal.phones)
        phone = next(phones)
        for _, action in self.rehearsal.said:
            if isinstance(action, m.PlayAudio):
                end = start + action.size_bytes
                heard_bytes[self.made_of(action)] += phone.heard_bytes_of(start, end)
                start = end
            elif isinstance(action, m.LeaveStream):
                start, phone = 0, next(phones, phone)
        return heard_bytes

    # --- inside ------------------------------------------------------------------------------------------

    def sound(self, what: str | Path | bytes, ms: int | None) -> tuple[bytes, str]:
        """Something said: its sound, and its words as far as they are known."""
        if isinstance(what, str) and not what.lower().endswith((".wav", ".ulaw")):
            return tone(len(what) * LETTER_MS if ms is None else ms, 300), what
        given = what if isinstance(what, bytes) else self._file(Path(what))
        return b64decode(sound_of(given).audio), ""

    def settle(self) -> None:
        """The phone's own clock catches up."""
        self.rehearsal.from_phone(self.phone.wake(self.now_ms))

    def _file(self, path: Path) -> Path:
        """The file in the first of the folders that has it."""
        return next((found for folder in self._folders if (found := folder / path).is_file()), path)

    def _transcript(self, _item: Item) -> str:
        return self.words.pop(0) if self.words else ""

    def _observe(self, action: m.Action, now_ms: int) -> None:
        """An agent beside the call may want to know."""


def _believed_ms(server: RealtimeServer, item: Item) -> int:
    if item.id in server.deleted:
        return 0
    return item.sent_bytes // item.bytes_per_ms if item.truncated_ms is None else item.truncated_ms
