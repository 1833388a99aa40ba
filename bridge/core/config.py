"""How a call is configured, its limits, and the snapshot from which another process goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from .capabilities import Capabilities

HIDDEN_KEY: Final = "•"
"""What stands in a recording for a key that a handler read: one whose value is not known."""


class Sound(msgspec.Struct, frozen=True, gc=False):
    """Bundled speech: base64 text of carrier audio, its length, and the words it holds (for the
    conversation's record).
    """

    audio: str
    size_bytes: int
    text: str = ""


class ServerVad(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="server_vad"):
    """Turn detection by loudness; silence of `silence_duration_ms` ends a turn. Defaults are the vendor's."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


class SemanticVad(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="semantic_vad"):
    """Turn detection by meaning; `eagerness` low, medium, high or auto."""

    eagerness: str = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection: TypeAlias = ServerVad | SemanticVad


class ToolConfig(msgspec.Struct, frozen=True, gc=False):
    """How the core treats one tool of a session; the model does not see it. A tool without one has these
    defaults.

    `filler` names the phrase that is played when this tool's answer is owed for `filler_after_ms` (None: this
    tool is never covered by one). `deadline_ms` is when `ToolFinished` is due at the latest, approval by a
    human included: past it and a grace of half a second the core answers the model itself with an error
    result, and what still comes is dropped. That only happens when user code blocks its own loop.
    """

    name: str
    filler: str | None = "filler"
    filler_after_ms: int = 1_500
    deadline_ms: int = 10_000
    approval_ms: int = 0
    """Of `deadline_ms`: what a human has to approve it."""


class TurnBounds(msgspec.Struct, frozen=True, gc=False):
    """How long a turn may stay open that the model does not end. Each 0: for ever.

    - `quiet_ms`: after so much silence in our own ear the turn is committed and answered.
    - `words_ms`: but not sooner than this after the last words that came of the turn.
    - `longest_ms`: whatever we hear, a turn is committed and answered after this.
    - `wordless_ms`: a turn is cleared after this long of sound that is no voice's and has no words.
    - `hold_ms`: how long the caller may be on hold.
    """

    quiet_ms: int = 1_500
    words_ms: int = 10_000
    longest_ms: int = 90_000
    wordless_ms: int = 25_000
    hold_ms: int = 600_000


class AgentRules(msgspec.Struct, frozen=True, gc=False):
    """How the core treats the caller while this agent is in force; the model does not see it.

    - `name`: the agent's, by which another process finds it.
    - `handler`: a handler answers the caller. The core asks for no response of its own accord, except for the
      results of tools that were called in a response which the handler let the model give.
    - `silence_ms`: after so much silence of both sides there is a `CallerSilent`; None: never.
    - `backchannel_ms`: 0: whatever the caller says interrupts, as the vendor hears it. Else caller speech of
      which we are told within this many ms that it ended ("mm-hm", while we speak) neither interrupts nor is
      answered; the session then has `interrupt_response` and `create_response` off, and the core interrupts
      and asks for responses. The vendor tells an end `silence_duration_ms` late, so this is more than that.
    - `running_words`: tell the session door each piece of the model's text as it comes (`TranscriptDelta`).
    - `reads_keys`: tools read the caller's keys, and the model is told of none.
    - `wait_ms`: what a caller waits for one answer at most, a human's approval not included; then they are
      sent to `CallConfig.fallback`, or the call ends. 0: as long as it takes.
    - `turn_bounds`: when a turn ends that the model does not end; None, as in recordings from before they
      were: never.
    - `nudge_ms`: a silent caller is asked `nudges` times whether they are there, then the call ends; 0 never
      asks.
    """

    name: str = ""
    handler: bool = False
    silence_ms: int | None = None
    backchannel_ms: int = 0
    running_words: bool = False
    reads_keys: bool = False
    turn_bounds: TurnBounds | None = None
    nudge_ms: int = 0
    nudges: int = 2
    wait_ms: int = 60_000


class SessionConfig(msgspec.Struct, frozen=True, gc=False):
    """All that the agent in force decides: what we ask of a model, and the rules of the call meanwhile.

    It is one value, which follows every update, hand-off, renewal, loss and hand-over to another process.
    `voice` and `model` are the call's: the vendor refuses to change them. Formats are not here: they are the
    bridge's, µ-law both ways. A `voice` of "" is the one that the vendor has by itself.

    `agent` is missing in recordings from before it existed: then the fields of `CallConfig` say the same.
    `backend` is the model that does what a duplex model hands over, "" for a usual one; `delegate` names the
    tool that takes such work in words instead, "" where the backend calls the tools.
    `unset` names fields that an earlier configuration of this call had and this one has not, so that a
    session in use is told their defaults: names of fields here, or `extra.` and a path in the vendor's words.
    """

    model: str = "gpt-realtime-2.1"
    voice: str = "marin"
    instructions: str = ""
    turn_detection: TurnDetection | None = ServerVad()
    transcription: str | None = None
    language: str | None = None
    noise_reduction: str | None = None
    speed: float | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    max_output_tokens: int | str = "inf"
    extra: dict[str, Any] = {}
    tool_configs: tuple[ToolConfig, ...] = ()
    backend: str = ""
    delegate: str = ""
    agent: AgentRules | UnsetType = UNSET
    unset: tuple[str, ...] | UnsetType = UNSET

    def after(self, before: SessionConfig) -> SessionConfig:
        """The same configuration, to follow `before` in one call: `unset` holds what `before` leaves
        behind.
        """
        had = [name for name in _OPTIONAL if getattr(before, name) is not None]
        had += [f"extra.{path}" for path in _paths(before.extra)]
        if getattr(before.turn_detection, "idle_timeout_ms", None) is not None:
            had.append(IDLE_TIMEOUT)
        unset = tuple(dict.fromkeys((*(before.unset or ()), *had)))
        return msgspec.structs.replace(self, unset=unset or UNSET)


IDLE_TIMEOUT: Final = "turn_detection.idle_timeout_ms"
_OPTIONAL: Final = ("transcription", "noise_reduction", "speed")
"""Fields that are left out of a session.update where they are None."""


def _paths(extra: dict[str, Any]) -> Iterator[str]:
    """The fields of a session that these are, each as its path with dots."""
    for name, value in extra.items():
        if name != "audio":
            yield name
            continue
        yield from (f"audio.{half}.{field}" for half, fields in value.items() for field in fields)


class SnapshotItem(msgspec.Struct, frozen=True, gc=False):
    """One thing of a conversation: words of `role` (user, assistant as far as they were heard, system), or,
    where `arguments` are given, a tool's call with its result.
    """

    role: str = ""
    text: str = ""
    call_id: str = ""
    name: str = ""
    arguments: str | None = None
    output: str | None = None


class EchoSeen(msgspec.Struct, frozen=True, gc=False):
    """What a call has learnt of the carrier's echoes: how late they usually are, and on how many looks that
    rests.
    """

    late_ms: float
    looks: float


class CallSnapshot(msgspec.Struct, frozen=True, gc=False):
    """What a call takes along to the process that goes on with it: plain values, no sound, no secret.

    `Call.carried(now_ms)` tells it at any moment, `HandedOver` at the last; `CallConfig.carried` takes it in.
    `owed`: the caller waits for an answer. `disclosed`: they have heard the disclosure to its end. `session`
    is the configuration that was in force, `lasted_ms`, `cost_micro_usd` and `tools` are what the limits have
    counted.
    """

    items: tuple[SnapshotItem, ...] = ()
    owed: bool = False
    disclosed: bool = False
    session: SessionConfig | None = None
    lasted_ms: int = 0
    cost_micro_usd: int = 0
    tools: int = 0
    detours: int = 0
    """How many the call has had."""
    away: str = ""
    """The detour it is in, as the model is told of it: `transfer to billing`."""
    ring_s: int = 0
    """How long its target rings."""
    turns: int = 0
    """How many the caller has had."""
    vendors: tuple[VendorPlan, ...] = ()
    """Those that it has gone on with. The last has it now, and has it in the next process too, whatever is
    named there."""
    began_at_s: int = 0
    """When the call was accepted by the first process that had it; of the epoch."""


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What one call may take: it ends politely, `goodbye_ms` (or `goodbye_micro_usd`) before the limit.

    Money is in millionths of a US dollar. `nudge_ms` and `nudges` hold if `SessionConfig.agent` is missing.
    """

    call_ms: int = 3_600_000
    goodbye_ms: int = 15_000
    cost_micro_usd: int | None = None
    goodbye_micro_usd: int = 20_000
    tools: int = 200
    nudge_ms: int = 0
    nudges: int = 2


class AnswerRules(msgspec.Struct, frozen=True, gc=False):
    """How a call that we placed begins: until it is known who has answered, and if it is a machine.

    - `on_machine`: hang_up, voicemail (leave `message`), ask (user code is told `MachineFound` and decides),
      or talk: it is never asked who has answered.
    - `message`: what a mailbox is told, made by the model; unless it is recorded: as the phrase `voicemail`.
    - `screening`: what an assistant is told that asks who calls and why; "": the model finds words.
    - `speak_first`: the greeting does not wait for a voice.
    - `greet_after_ms`: a person who picks up and says nothing is greeted after this.
    """

    on_machine: str = "hang_up"
    message: str = ""
    screening: str = ""
    speak_first: bool = False
    greet_after_ms: int = 1_800


class VendorPlan(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One vendor that a call may have its sessions with. `name` is that of the table of upstreams, "" for the
    one that the call begins with. Where `model`, `voice` or `transcription` ("off" for none) is not empty it
    takes the place of the session's. `voices` are its voices by the session's, and `voice` is for those that
    are not among them; None is whatever the vendor has by itself. `prices` are as in `CallConfig`.
    """

    name: str = ""
    capabilities: Capabilities = Capabilities()
    model: str = ""
    voice: str | None = ""
    transcription: str = ""
    prices: dict[str, float] = {}
    url: str = ""
    """Where its sessions are to be had; "" for the vendor's own address."""
    voices: dict[str, str] = {}
    transcribes: bool = False
    """Whether its transcription is asked for where the session has none: the words of the vendor that the
    call begins with come by themselves."""

    def transcription_of(self, session: SessionConfig) -> str | None:
        """What writes down the caller's words in a session that is configured so; None for nothing."""
        if self.transcription == "off" or (session.transcription is None and not self.transcribes):
            return None
        return self.transcription or session.transcription

    @property
    def place(self) -> tuple[str, str, str]:
        """A call that has left it does not come back to it."""
        return self.name, self.model, self.url

    def dress(self, session: SessionConfig) -> SessionConfig:
        """That configuration, for this vendor."""
        voice = self.voices.get(session.voice, self.voice)
        named = {"model": self.model, "voice": voice}
        ours: dict[str, str | None] = {name: value for name, value in named.items() if value}
        if voice is None:
            ours["voice"] = ""
        if (transcription := self.transcription_of(session)) != session.transcription:
            ours["transcription"] = transcription
        return msgspec.structs.replace(session, **ours) if ours else session


class CallConfig(msgspec.Struct, frozen=True, gc=False):
    """Everything a call needs to know before it begins; stands in the recording's header, so it holds no
    secret.
    """

    session: SessionConfig = SessionConfig()
    capabilities: Capabilities = Capabilities()
    """Of the vendor whose sessions the call begins with."""
    failover: tuple[VendorPlan, ...] = ()
    """With whom the call goes on where that vendor is out, in this order."""
    greeting: str | None = None
    greeting_interruptible: bool = True
    bytes_per_ms: int = 8
    marks: bool = True
    auto_cancels: bool = True
    phrases: dict[str, Sound] = {}
    kept_audio_ms: int = 5_000
    unclaimed_ms: int = 15_000
    media_gap_ms: int = 5_000
    drain_slack_ms: int = 2_000
    playout_lead_ms: int = 5_000
    """How far the model's sound may run ahead, at the carrier, of what has been played; the rest waits in the
    core. 0: as far as it comes."""
    unplayed_ms: int = 30_000
    """Sound that the carrier has not played for this long cannot be heard, and the call ends."""
    handler: bool = False
    silence_ms: int | None = None
    backchannel_ms: int = 0
    running_words: bool = False
    turn_bounds: TurnBounds | None = None
    """These five hold where `session.agent` is missing; see `AgentRules`."""
    disclosure: str = ""
    """The phrase that is played first and cannot be cut; caller audio goes upstream only after it."""
    fallback: str = ""
    """Transfer target for the day nothing works, by name."""
    digits: str = "event"
    """Keys go to user code as `DigitHeard`. With `text` or `interrupt` they go to the model as text instead,
    unless user code reads them: a handler answers the caller, `reads_keys`, or `ReadKeys` is on. With
    `interrupt` the first key cuts what is being said."""
    digits_gap_ms: int = 3_000
    """Without a further key before a row of them is over, unless `#` has ended it."""
    limits: Limits = Limits()
    prices: dict[str, float] = {}
    """US dollars, by the names that `bridge.core.limits.Spending` knows."""
    jitter_seed: int = 0
    accepted_at_s: int = 0
    """Unix time at 0 ms of the call's clock. 0: unknown, and no session's `expires_at` says anything."""
    carried: CallSnapshot | None = None
    """The call was begun elsewhere: it goes on with this conversation, without greeting; the disclosure is
    played only if it was not heard."""
    echoes: EchoSeen | None = None
    """What is known already of the carrier's echoes; then no mark is sent to learn it. A piece of a recorded
    call has it: its line is the line of the whole call."""
    resumed: bool = False
    """The caller heard that the call broke off: they are told so (phrase `restored`), and not greeted.
    Without `carried` nothing is known of what was said."""
    returned: str = ""
    """The caller comes back from a transfer: what came of it, as the model is told. They are told too, and
    not greeted."""
    outbound: AnswerRules | None = None
    """We placed this call. None: the caller did."""
    dial_attempts: int = 3
    dial_total_ms: int = 6_000
    session_ms: int = 3_000
    """From dialling to a configured session; then the attempt counts as failed."""
    filler_dial_ms: int = 700
    filler_ms: int = 1_500
    stalled_ms: int = 8_000
    """An answer owed for this long without a word from the model, or a turn of the caller's to which no
    response has begun: its session is taken for dead."""
    probe_ms: int = 1_000
    """What a model that has fallen silent has for a sign of life, when asked for one; then its session is
    taken for dead. 0 where the vendor has no answer to a `Probe`: none is sent."""
    renew_ms: int = 3_000_000
    renew_forced_ms: int = 3_480_000
    """Age at which a session is replaced in a quiet moment, and at any, where the vendor does not say when it
    ends it."""
    renew_again_ms: int = 60_000
    detour_keep_ms: int = 120_000
    """How long the model's session is kept while the caller is away."""
    detour_let_go_ms: int = 15_000
    """The same, after a target has accepted them."""

    @property
    def agent(self) -> AgentRules:
        """The rules that the call begins with, or goes on with."""
        carried = self.carried.session if self.carried is not None else None
        return (carried or self.session).agent or self.session.agent or self._declared

    @property
    def _declared(self) -> AgentRules:
        """As headers from before `SessionConfig.agent` say it."""
        return AgentRules(
            handler=self.handler,
            silence_ms=self.silence_ms,
            backchannel_ms=self.backchannel_ms,
            running_words=self.running_words,
            turn_bounds=self.turn_bounds,
            nudge_ms=self.limits.nudge_ms,
            nudges=self.limits.nudges,
        )
