"""A live call as a handler sees it: what the caller does comes out of it, what we want goes in.

A session belongs to its call's user loop (`loops.py`); use it there only. It knows no socket: each wish is a
message to the core, and each answer a message from it.

Over 400 lines: what a handler may do is one class, and its docstrings are its manual.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from bridge.agents.caller_input import Input
from bridge.agents.clips import sound_of
from bridge.agents.detours import Detours, give_up
from bridge.agents.inputs import Digit, Happening, Outgoing, Said, Silence, Turn
from bridge.agents.leaving import Leaving
from bridge.agents.placed import context, is_placed
from bridge.agents.prices import Bill, Cost
from bridge.agents.queues import Feed, TurnAudio
from bridge.core import messages as m
from bridge.core.failover import FAILED_OVER

if TYPE_CHECKING:
    from bridge.agents.agent import Agent

_OUTBOX: Final = 200
_AUDIO_FRAMES: Final = 500
_ROLES: Final = ("user", "system")


class Bridge(Protocol):
    """What a session stands on (`user_side`)."""

    def post(self, command: m.SessionCommand) -> None: ...
    def reconfiguration(self, agent: Agent) -> m.Reconfigure: ...
    def in_force(self, agent: Agent) -> None: ...
    def roster(self) -> Mapping[str, Agent]: ...
    def tap(self) -> None: ...
    def keep_keys(self, detour_id: str, keys: str) -> None: ...
    async def call(self, tool: object, arguments: Mapping[str, Any]) -> Any: ...
    async def opt_out(self, number: str) -> None: ...


class Session(Leaving):
    """One live call, for a handler or a tool.

    `call_sid` is the carrier's name for it. `fields` is what the webhook brought (From, To, the parameters of
    the stream), `metadata` what the agent's resolver made of them. `transfers` are the names that `transfer`
    knows. Every method that acts raises CallEnded once the call is over.
    """

    def __init__(
        self,
        call_sid: str,
        agent: Agent,
        fields: Mapping[str, str],
        bridge: Bridge,
        *,
        bill: Bill,
        digits_gap_ms: int,
        transfers: Collection[str] = (),
        detours: bool = False,
    ) -> None:
        self.call_sid = call_sid
        self.fields = MappingProxyType(dict(fields))
        self.transfers = tuple(transfers)
        self._detours = Detours(bridge, self.transfers, possible=detours)
        self._leaving: list[asyncio.Future[bool]] = []
        self._agent = agent
        self._bridge = bridge
        self._bill = bill
        self._digits_gap_ms = digits_gap_ms
        self._input: Feed[Happening] = Feed()
        self._watchers: list[Feed[m.SessionEvent]] = []
        self._listeners: list[Feed[bytes]] = []
        self._said: dict[str, asyncio.Future[Said]] = {}
        self._outbox: deque[Outgoing] = deque(maxlen=_OUTBOX)
        self._reading: list[bool | None] = []
        self._ended: m.Ended | None = None
        self._count = 0
        self._turns: TurnAudio | None = None
        self._answered_by = ""
        self._set_agent(agent)

    # --- what it is --------------------------------------------------------------------------------------

    @property
    def agent(self) -> Agent:
        """The agent in force: the call's first one, or the one that the conversation was handed off to."""
        return self._agent

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata of the agent in force, as the resolver left it for this call."""
        return self._agent.metadata

    @property
    def context(self) -> Mapping[str, str]:
        """What the placer of a call said about it (`bridge.call(…, context=…)`); empty for one that came in.
        Such a call has `direction` "outbound" among its fields, and the person is `To`.
        """
        return MappingProxyType(context(self.fields))

    @property
    def cost(self) -> Cost:
        """What the call has cost so far, in US dollars; `complete` is false where a price or the vendor's
        figures are missing.
        """
        return self._bill.cost

    @property
    def usage(self) -> m.Usage:
        """The tokens of all responses so far."""
        return self._bill.usage

    @property
    def outbox(self) -> tuple[Outgoing, ...]:
        """What was said and played through this session, oldest first, with what the caller heard of it; the
        last 200.
        """
        return tuple(self._outbox)

    @property
    def answered_by(self) -> str:
        """Who has answered a call that we placed, as far as it is known now: human, voicemail, screening,
        ivr, unavailable, fax, machine or silence; "" while it is not, and for a call that came in.
        """
        return self._answered_by

    # --- listening ---------------------------------------------------------------------------------------

    def input(self) -> Input:
        """What the caller does, to iterate over, or to await the next turn. See `Input`.

        Everything since the call began waits here until it is taken, at most 1,000 entries.
        """
        return Input(self._input, self.check)

    async def digits(
        self,
        max: int = 1,  # noqa: A002
        timeout_ms: int = 5_000,
        end: str = "#",
        *,
        gap_ms: int | None = None,
        secret: bool | None = None,
    ) -> str:
        """Up to `max` keys, including those that user code was given earlier and has not taken yet.

        Returns when `max` keys are there, when a key of `end` was pressed (it is left out; "" for no such
        key), when no first key came within `timeout_ms`, or no further one within `gap_ms` of the last
        (BRIDGE_DTMF_GAP_MS, 3 s, or `timeout_ms` if that is less): then the keys so far, perhaps "".
        Meanwhile turns and silences wait for `input`, and the model gets no keys. Raises CallEnded.

        A key has one reader, settled when it is pressed: user code if the agent has a handler or
        `reads_keys=True`, with BRIDGE_DTMF=event, or while this waits; else the model, and this never returns
        it. Callers type ahead: an agent with a tool that asks for a PIN needs `reads_keys=True`.

        Recordings, logs and metrics hold no key that user code reads, only that there was one (`•`). With
        `secret=True` the model moreover gets silence instead of the caller's sound until this returns, and
        that sound is neither recorded nor given to `audio()`: they may say what they press. `secret=False`
        leaves the keys that come meanwhile in the recording, as BRIDGE_RECORD_KEYS does for all.
        """
        gap_ms = min(self._digits_gap_ms, timeout_ms) if gap_ms is None else gap_ms
        if max < 1 or timeout_ms < 0 or gap_ms < 0:
            raise ValueError("digits() waits for one key or more, and not for a negative time")
        pressed = ""
        self._reading.append(secret)
        self._tell_reading()
        try:
            while len(pressed) < max:
                key = await self._key(gap_ms if pressed else timeout_ms)
                if key is None or key in end:
                    break
                pressed += key
        finally:
            self._reading.remove(secret)
            self._tell_reading()
        return pressed

    def _tell_reading(self) -> None:
        """Who waits for keys now: the strictest wish of several counts."""
        if self._ended is None:
            on, wishes = bool(self._reading), self._reading
            clear = on and all(wish is False for wish in wishes)
            self._bridge.post(m.ReadKeys(on, secret=any(wishes), clear=clear))

    async def _key(self, timeout_ms: int) -> str | None:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while (digit := self._input.take_one(Digit)) is None:
                    self.check()
                    await self._input.changed()
        except TimeoutError:
            return None
        return digit.digit

    def events(self) -> Feed[m.SessionEvent]:
        """Everything that happens from now on until the end of the call, as `SessionEvent`s; `Ended` is
        the last. At most 1,000 wait, then the oldest are dropped.
        """
        return self._watch(Feed(), self._watchers)

    def audio(self) -> Feed[bytes]:
        """The caller's sound from now on in µ-law, a frame of mostly 160 bytes every 20 ms, until the end of
        the call. At most 10 s wait, then the oldest frames are dropped: late sound is worse than no sound.
        """
        feed: Feed[bytes] = self._watch(Feed(_AUDIO_FRAMES), self._listeners)
        if self._ended is None:
            self._bridge.tap()
        return feed

    def _watch(self, feed: Feed[Any], watchers: list[Feed[Any]]) -> Feed[Any]:
        if self._ended is None:
            watchers.append(feed)
        else:
            feed.close()
        return feed

    # --- speaking ----------------------------------------------------------------------------------------

    async def say(
        self, text: str, *, interruptible: bool = True, metadata: Mapping[str, str] | None = None
    ) -> Said:
        """Let the model say these words. Returns when the caller has heard them, or cut them short.

        Works while the model speaks: it is said after that. What was heard of it stands in the conversation.
        With `interruptible=False` the caller's voice does not stop it. `metadata` is kept in `outbox`. Raises
        ValueError for no words, CallEnded.
        """
        if not text.strip():
            raise ValueError("say() needs words")
        say_id = self._next("say")
        return await self._utter(m.Say(say_id, text, interruptible), "speech", text, metadata)

    async def respond(self, instructions: str = "") -> Said:
        """Let the model answer as it sees fit, with `instructions` for this answer only. Returns when the
        caller has heard it, or cut it short. Raises CallEnded.
        """
        say_id = self._next("respond")
        return await self._utter(m.Respond(say_id, instructions), "response", "", None)

    async def play(self, sound: bytes | str | Path, text: str = "", *, interruptible: bool = True) -> Said:
        """Play recorded sound, given as a WAV file, its bytes, or raw µ-law. `text` is what is said in it, so
        that the model knows. Returns when the caller has heard it, or cut it short.

        Raises ValueError for a sound that cannot be played, OSError for a file that cannot be read,
        CallEnded.
        """
        self.check()
        made = sound_of(sound, text)
        say_id = self._next("play")
        return await self._utter(m.Play(say_id, made, not interruptible), "sound", text, None)

    def interrupt(self) -> None:
        """Stop what is being said, as if the caller had begun to speak. Raises CallEnded."""
        self._post(m.Interrupt())

    def add_text(self, text: str, role: str = "user") -> None:
        """Put words into the model's conversation without asking for an answer. `role` is user or system.
        Raises ValueError for another role, CallEnded.
        """
        if role not in _ROLES:
            raise ValueError(f"the role of added text is user or system, not {role!r}")
        self._post(m.AddText(text, role))

    async def _utter(
        self, command: m.Say | m.Respond | m.Play, kind: str, text: str, metadata: Mapping[str, str] | None
    ) -> Said:
        self._post(command)
        heard: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._said[command.say_id] = heard
        self._outbox.append(Outgoing(command.say_id, kind, text, MappingProxyType(dict(metadata or {}))))
        return await heard

    # --- the call itself ---------------------------------------------------------------------------------

    def mute(self, on: bool = True) -> None:
        """From now on the model gets silence instead of the caller's sound; `on=False` ends that. `audio()`
        still gives the sound. Raises CallEnded.
        """
        self._post(m.Mute(on))

    def report_answer(self, kind: str) -> None:
        """Say who has answered a call that we placed, one of the names of `answered_by`: one signal among
        others. Nothing happens in a call that came in, or when a person has answered twice. Raises ValueError
        for another name, CallEnded.
        """
        self._post(m.ReportAnswer(m.AnswerKind(kind)))

    def commit(self) -> None:
        """End the caller's turn here, for an agent with `turn_detection=None` (push-to-talk): what they said
        since the last turn, or since `clear_input`, is a turn, which `input` gives. Answer it with `respond`.
        Raises CallEnded.
        """
        self._post(m.CommitTurn())

    def clear_input(self) -> None:
        """Forget what the caller has said since their last turn ended; the next turn begins here. Raises
        CallEnded.
        """
        self._post(m.ClearTurn())

    def update(self, **changes: Any) -> None:
        """Change the agent for the rest of this call, any field of `Agent`: instructions, tools,
        turn_detection, silence_ms, guardrails and all others; responses asked for after this speak with the
        new ones, and a field set back to its default is so for the model too. `voice` and `model` stay as
        they were when the call began, because the vendor cannot change them; `greeting`, `resolver`,
        `provider` and `transport` had their time before.

        Raises ConfigError for values that cannot work, TypeError for an unknown field, CallEnded.
        """
        self.become(self._agent.replace(**changes))

    def become(self, agent: Agent | str) -> None:
        """Hand the conversation off to another agent, or to one by its name. All that an agent decides is
        the new one's from here on, defaults included; voice, model and conversation stay. If it has a handler
        of its own, that handler answers the caller now, and the one before is cancelled; if it has none, the
        model answers, and a handler that runs on no longer ends the call when it returns.

        Raises ValueError for an unknown name, ConfigError for what cannot work, CallEnded.
        """
        if isinstance(agent, str):
            roster = self._bridge.roster()
            if agent not in roster:
                raise ValueError(f"there is no agent {agent!r}; known are {', '.join(roster)}")
            agent = roster[agent]
        self.check()
        self._post(self._bridge.reconfiguration(agent))
        self.go_on_as(agent)

    async def call(self, tool: object, /, **arguments: Any) -> Any:
        """Run a tool, given itself or by name, as if the model had called it, but without asking for
        approval. Its deadline holds, and a sync tool runs in the pool. Returns its result. Raises ValueError
        for an unknown name or wrong arguments, TimeoutError past its deadline, what the tool raises, and
        CallEnded.
        """
        self.check()
        return await self._bridge.call(tool, arguments)

    async def stop_calling(self) -> None:
        """Never call this person again: their number goes into the do-not-call file (BRIDGE_DO_NOT_CALL), and
        is on the disk when this returns. Raises ValueError if the carrier told no number of theirs, OSError
        if the file cannot be written.
        """
        number = self.fields.get("To" if is_placed(self.fields) else "From", "")
        if not number.startswith("+"):
            raise ValueError("the carrier has told no number of the person on the line")
        await self._bridge.opt_out(number)

    def send_vendor_event(self, event: Mapping[str, Any]) -> None:
        """Send a client event to the model in the vendor's own words, for what has no method here. It is sent
        unchanged. Raises TypeError for what JSON has no word for, CallEnded.
        """
        self._post(m.SendRaw(json.dumps(dict(event))))

    def _post(self, command: m.SessionCommand) -> None:
        self.check()
        self._bridge.post(command)

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{kind}:{self._count}"

    # --- for the bridge alone ----------------------------------------------------------------------------

    def go_on_as(self, agent: Agent) -> None:
        """Put this agent in force. Only the bridge calls it from outside."""
        self._set_agent(agent)
        self._bridge.in_force(agent)

    def _set_agent(self, agent: Agent) -> None:
        self._agent = agent
        if not agent.turn_audio:
            self._turns = None
        elif self._turns is None:
            self._turns = TurnAudio()
            self._bridge.tap()

    def take(self, event: m.SessionEvent) -> None:
        """Deliver an event of the call; only the bridge calls this, on the user loop."""
        for feed in self._watchers:
            feed.put(event)
        match event:
            case m.Turn():
                self._bill.transcription(event.seconds, event.usage)
                self._input.put(self._turn_of(event))
            case m.DigitHeard(words=False):
                self._input.put(Digit(event.digit))
            case m.Answered():
                self._answered_by = event.by.value
            case m.CallerSilent():
                self._input.put(Silence(event.ms))
            case m.Heard():
                self._heard(event)
            case m.ResponseEnded():
                self._bill.response(event.usage)
            case m.SecondsBilled():
                self._bill.seconds(event.seconds)
            case m.Noted(what=what) if what == FAILED_OVER:
                self._bill.elsewhere()
            case m.CallerSpoke() if self._turns is not None:
                self._turns.spoke(event.speaking, event.item_id)
            case m.HangUpCancelled():
                self._left(False)
            case m.DetourMoved() | m.DetourEnded():
                self._detours.take(event)
            case m.Ended():
                self._end(event)

    def hear(self, audio: str) -> None:
        """Deliver a frame of the caller's sound, as base64; only the bridge calls this, on the user loop."""
        raw = b64decode(audio)
        for feed in self._listeners:
            feed.put(raw)
        if self._turns is not None:
            self._turns.hear(raw)

    def _turn_of(self, event: m.Turn) -> Turn:
        audio = self._turns.of(event.item_id) if self._turns is not None else b""
        return Turn(event.text, event.item_id, audio, metadata=self.metadata)

    def _heard(self, event: m.Heard) -> None:
        said = Said(event.heard_ms, event.cut, event.text)
        for at, outgoing in enumerate(self._outbox):
            if outgoing.say_id == event.say_id:
                self._outbox[at] = replace(outgoing, said=said)
        waiting = self._said.pop(event.say_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(said)

    def _end(self, event: m.Ended) -> None:
        self._ended = event
        self._left(True)
        self._detours.close(event)
        waiting, self._said = self._said, {}
        give_up(waiting, event)
        feeds: list[Feed[Any]] = [self._input, *self._watchers, *self._listeners]
        for feed in feeds:
            feed.close()
