"""Who answers: a prompt, tools and perhaps a handler, declared once and used for many calls.

Whatever cannot work is refused where it is declared, or when the server starts; never in the middle of a
call.

Over 400 lines: one line for each thing that an agent may decide, with its check and what is said of it.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from bridge.agents import machines
from bridge.agents.guardrails import Guardrail
from bridge.agents.importing import imported
from bridge.agents.loop import is_async
from bridge.agents.machines import OnMachine
from bridge.agents.mcp import McpServer
from bridge.agents.session import Session
from bridge.agents.tool_names import hand_off_names
from bridge.agents.tools import AnyTool, Tool
from bridge.agents.transport_socket import MakeTransport
from bridge.agents.turn_detection import turn_detection
from bridge.agents.turned_away import TurnedAway
from bridge.core.messages import ServerVad, TurnDetection
from bridge.errors import ConfigError
from bridge.upstreams import UPSTREAMS

TRANSPORTS: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(UPSTREAMS, ("websocket",))
"""The matrix: which provider can be spoken to over what. A pair that is not in it is refused."""

MODALITIES: Final = ("audio", "text")
SPEED: Final = (0.25, 1.5)


@dataclass(frozen=True, slots=True)
class Approval:
    """A tool call that needs a human's approval. `server` is the MCP server's label, "" for a local tool."""

    name: str
    arguments: Mapping[str, Any]
    server: str = ""


Fields: TypeAlias = Mapping[str, str]
Handler: TypeAlias = Callable[[Session], Awaitable[None]]
Resolved: TypeAlias = "Agent | Mapping[str, Any] | TurnedAway | None"
Resolver: TypeAlias = Callable[[Fields], "Resolved | Awaitable[Resolved]"]
Approve: TypeAlias = Callable[[Session, Approval], "bool | Awaitable[bool]"]
OnEnd: TypeAlias = Callable[[Mapping[str, Any]], "object | Awaitable[object]"]


@dataclass(frozen=True, eq=False)
class Agent:
    """What answers a call: a prompt, tools, perhaps a handler. One agent serves any number of calls and never
    changes. None in a field that is also a setting (model, voice, instructions, greeting, language,
    transcription) takes the setting's value.

    - `provider`: openai or embedded; None for BRIDGE_UPSTREAM's. `transport`: websocket, or a function that
      gets the `Dial` (URL with the model, no key) and returns the `RealtimeTransport` of one session. A call
      with a second session calls it again.
    - `instructions`: in place of blank ones a sentence is sent, or the vendor's own persona would answer.
    - `backend_model`: with `gpt-live` and `azure-live`, the model that does what the voice hands over, and
      calls the tools; None for BRIDGE_BACKEND_MODEL's. `delegate`: the name of a tool that takes such work in
      words instead, as its argument `request`; the other tools are not used then.
    - `greeting`: the model's first sentence; "" for no greeting. With a handler the default is no greeting.
      With `greeting_interruptible=False` the caller's voice does not stop it; what they say is heard when it
      is over. A noise in which there are no words never costs the greeting.
    - `language`: the caller's, as in "de" or "pt-BR", for transcription and for words without a model.
    - `transcription`: a model that writes down the caller's words; "off" for none.
    - `turn_detection`: see `bridge.turn_detection`. None needs a handler that ends turns with
      `session.commit()`. `noise_reduction`: near_field, far_field.
    - `backchannel_ms`: a caller who speaks over the model for less than this ("mm-hm") does not interrupt it.
      A real interruption then takes effect later, by this and by `silence_duration_ms`: make that short too.
    - `tools`: made by `@tool`, or `McpServer`s. `handoffs`: agents, or names of agents reachable from here,
      that the model can hand the conversation to. `description`: what other agents' models read of this one.
    - `guardrails`: checks on the model's words. `approve(session, approval)` is asked before tools that need
      approval, and has 60 s.
    - `handler(session)`: answers the caller instead of the model; when it returns, the bridge hangs up. It
      may block without delaying any call's sound, unless it keeps the interpreter's lock (see `tool`). Calls
      are spread over BRIDGE_HANDLER_LOOPS event loops, and one stays on its loop: a handler that blocks
      delays the calls there. Async clients belong to a loop, so make them in the call, or one for each loop.
    - `resolver(fields)`: called while the phone rings, async or not, with the webhook's fields (From, To and
      custom parameters). It returns another agent, a mapping of fields to change for this call, or None; or
      `Refuse`, `Forward` or `Voicemail`, and then no model is dialled. If it raises or takes longer than
      `resolver_ms`, the call goes on with this agent as it is, unless BRIDGE_RESOLVER_FAILS says otherwise.
    - `reads_keys`: tools read all keys of the call (`Session.digits`), and the model gets none, whichever
      agent it is. Without it, the model gets the keys pressed while no `digits()` waits (BRIDGE_DTMF).
    - A turn that the model does not end is ended here. `quiet_turn_ms`: after so much silence by our own ear,
      None for as long as `turn_detection` may wait and a margin (1,500 for the default). `words_ms`: but not
      sooner than this after words of that turn. `longest_turn_ms`: in any case. `wordless_ms`: sound that no
      voice makes (hold music, a tone) is cleared after this and the caller is asked once whether they are
      there; the next time they are on hold: nothing is said until words come, for `hold_ms`. 0: never.
    - `silence_ms`: a handler's input gets a `Silence` each time this has passed without a voice. `nudge_ms`:
      the model asks a silent caller whether they are there, `nudges` times, then says goodbye.
      `wait_ms`: a caller who has waited this long for one answer goes to BRIDGE_FALLBACK, or the call ends.
    - `failover`: with which vendors calls that begin with this agent go on where the model is out, as in
      BRIDGE_FAILOVER; [] for none, None for what that setting says.
    - `turn_audio`: turns carry their sound. `on_end(summary)` is called with the summary of each call.
    - `on_voicemail(message)` is called with each message that a caller has left in a `Voicemail` box: `from`,
      `to`, `call_sid`, `account_sid`, `recording_sid`, `recording_url`, and `seconds`.
      `on_notice(notice)` is called with what other systems are told of calls (docs/guides/notices.md): of
      every kind, with or without BRIDGE_NOTICES. Only that of the server's own agent is.
    - Of calls that we place: the greeting waits until a person has said something, or until
      `greet_after_ms` of silence; with `speak_first` it does not. `on_machine`: what is done if a machine has
      answered for certain: "hang_up", "voicemail" (leave a message), or "talk" (it is never asked who has
      answered); or an async function of the session and a `MachineAnswer` that returns one of them, None for
      "hang_up". None leaves a message where there is one, and else hangs up. `voicemail`: the message: words
      that the model says, or the Path of a WAV or µ-law file. `screening`: the sentence for an assistant that
      asks who calls and why; without it the model finds words. The model gets the tool `report_answer`.
    - `routes`: which agent answers which number, of the agent that the service is started with: rows like
      those of BRIDGE_ROUTES, or a mapping like the whole of it; an `agent` in it may be an `Agent`.
    - `extra`: further fields of session.update in the vendor's words, except formats.
    - `tags`, `metadata`: your own. They appear in the session and in turns and are sent nowhere.

    Raises ConfigError for settings that cannot work.
    """

    instructions: str | None = None
    _: KW_ONLY
    name: str = "agent"
    description: str = ""
    provider: str | None = None
    transport: str | MakeTransport = "websocket"
    model: str | None = None
    voice: str | None = None
    backend_model: str | None = None
    delegate: str = ""
    language: str | None = None
    greeting: str | None = None
    greeting_interruptible: bool = True
    transcription: str | None = None
    modalities: Sequence[str] = MODALITIES
    turn_detection: TurnDetection | Mapping[str, Any] | None = field(default_factory=ServerVad)
    backchannel_ms: int = 0
    noise_reduction: str | None = None
    speed: float | None = None
    tools: Sequence[AnyTool | McpServer] = ()
    tool_choice: str | Mapping[str, Any] = "auto"
    max_output_tokens: int | str = "inf"
    extra: Mapping[str, Any] = field(default_factory=dict)
    handoffs: Sequence[Agent | str] = ()
    guardrails: Sequence[Guardrail] = ()
    approve: Approve | None = None
    handler: Handler | None = None
    resolver: Resolver | None = None
    resolver_ms: int = 2_000
    on_end: OnEnd | None = None
    on_voicemail: OnEnd | None = None
    routes: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    on_notice: OnEnd | None = None
    reads_keys: bool = False
    quiet_turn_ms: int | None = None
    words_ms: int = 10_000
    longest_turn_ms: int = 90_000
    wordless_ms: int = 25_000
    hold_ms: int = 600_000
    silence_ms: int | None = None
    nudge_ms: int = 0
    nudges: int = 2
    wait_ms: int = 60_000
    failover: Sequence[str] | None = None
    turn_audio: bool = False
    on_machine: str | OnMachine | None = None
    voicemail: str | Path | None = None
    screening: str | None = None
    speak_first: bool = False
    greet_after_ms: int = 1_800
    tags: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            what = check(value)
            if what is not None:
                raise ConfigError(f"agent {self.name}: {name} is {what}, not {value!r}")
        self._check_pair()
        self._set("turn_detection", turn_detection(self.turn_detection))
        for name in ("modalities", "tools", "handoffs", "guardrails", "tags"):
            self._set(name, tuple(getattr(self, name)))
        self._set("metadata", MappingProxyType(dict(self.metadata)))
        self._check_tools()
        machines.check(self)

    def replace(self, **changes: Any) -> Agent:
        """The same agent with some fields changed. Raises TypeError for an unknown field."""
        return dataclasses.replace(self, **changes)

    def answered_by(self, handler: Handler) -> Agent:
        """The same agent with this handler; for use as a decorator."""
        return self.replace(handler=handler)

    def functions(self) -> tuple[AnyTool, ...]:
        """The tools that run in this process, without those for handing off."""
        return tuple(one for one in self.tools if isinstance(one, Tool))

    def servers(self) -> tuple[McpServer, ...]:
        """The MCP servers, whose tools the vendor runs."""
        return tuple(one for one in self.tools if isinstance(one, McpServer))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # as dataclasses do themselves in a frozen one

    def _check_pair(self) -> None:
        known = sorted({transport for pair in TRANSPORTS.values() for transport in pair})
        providers = [self.provider] if self.provider is not None else list(TRANSPORTS)
        if self.provider is not None and self.provider not in TRANSPORTS:
            raise ConfigError(
                f"agent {self.name}: provider is one of {', '.join(TRANSPORTS)}, not {self.provider!r}"
            )
        if callable(self.transport):
            return
        if not any(self.transport in TRANSPORTS[provider] for provider in providers):
            pair = f"{self.provider or 'any provider'} over {self.transport!r}"
            raise ConfigError(f"agent {self.name}: {pair} is not supported; there is {', '.join(known)}")

    def _check_tools(self) -> None:
        for one in self.tools:
            if callable(one) and not isinstance(one, Tool):
                raise ConfigError(
                    f"agent {self.name}: {getattr(one, '__name__', one)!r} is a function; put @tool above it"
                )
            if not isinstance(one, Tool | McpServer):
                raise ConfigError(f"agent {self.name}: {one!r} is no tool")
        names = [one.name for one in self.functions()]
        others = [one if isinstance(one, str) else one.name for one in self.handoffs]
        for other in others:
            if others.count(other) > 1:
                raise ConfigError(f"agent {self.name} hands off to {other!r} twice")
        names += hand_off_names(others)
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"agent {self.name}: two tools are called {name}")
        if self.approve is None:
            waiting = [one.name for one in self.functions() if one.needs_approval]
            waiting += [one.label for one in self.servers() if one.require_approval != "never"]
            if waiting:
                raise ConfigError(
                    f"agent {self.name}: {waiting[0]} needs approval, and there is no `approve`"
                )


def roster(agent: Agent, known: Mapping[str, Agent] = MappingProxyType({})) -> dict[str, Agent]:
    """Every agent the conversation can be handed to, by name, the agent itself first. Raises ConfigError for
    a handoff to an unknown name, neither here nor among the `known`, and for two agents of one name.
    """
    found: dict[str, Agent] = {}
    waiting = [agent]
    while waiting:
        one = waiting.pop(0)
        if found.setdefault(one.name, one) is not one:
            raise ConfigError(f"two agents are called {one.name!r}: handoffs need names of their own")
        others = [other for other in one.handoffs if isinstance(other, Agent)]
        waiting += [other for other in others if found.get(other.name) is not other]
    everybody = {**known, **found}
    for one in found.values():
        for other in one.handoffs:
            if isinstance(other, str) and other not in everybody:
                raise ConfigError(f"agent {one.name} hands off to {other!r}; there is {', '.join(everybody)}")
    return found


def load_agent(where: str) -> Agent:
    """The agent that an import string names (`--agent module:attribute`), found from the current folder too.
    An async function is taken for a handler. Raises ConfigError that says what to do.
    """
    module_name, _, attribute = where.partition(":")
    if module_name.endswith(".py"):  # a path, as an editor completes it
        module_name = ".".join(Path(module_name).with_suffix("").parts)
    if not module_name or not attribute:
        raise ConfigError(f"an agent is named as module:attribute, as in my_agent:agent, not {where!r}")
    module = _imported(module_name)
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, dir(module), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{module_name} has no {attribute!r}{hint}")
    found = getattr(module, attribute)
    if isinstance(found, Agent):
        return found
    if inspect.iscoroutinefunction(found):
        return Agent(name=attribute, handler=found)
    raise ConfigError(f"{where} is a {type(found).__name__}; an Agent or an async handler is wanted")


HERE: Final = "agent:agent"
"""The agent that `phonebridge init` makes, and that is found without being named."""


def agent_here() -> str | None:
    """`agent:agent` if the current folder has an agent.py that sets a module-level `agent`, else None. It is
    read and not run.
    """
    try:
        source = Path("agent.py").read_bytes()
    except OSError:
        return None
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # it is said where, when it is imported
        return HERE if b"Agent" in source else None
    targets = [
        target
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return HERE if any(isinstance(one, ast.Name) and one.id == "agent" for one in targets) else None


def load_agent_here() -> Agent | None:
    """The agent of `agent_here`; None without one, or if it is no Agent. Raises ConfigError for a file that
    cannot be imported.
    """
    if agent_here() is None:
        return None
    found = getattr(_imported("agent"), "agent", None)
    return found if isinstance(found, Agent) else None


def _imported(name: str) -> Any:
    return imported(name, [one.name for one in dataclasses.fields(Agent)])


def _text(value: Any) -> str | None:
    return None if value is None or isinstance(value, str) else "text"


def _yes_or_no(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _noise_reduction(value: Any) -> str | None:
    return None if value in (None, "near_field", "far_field") else "near_field or far_field"


def _counts(least: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and value >= least else f"a whole number of at least {least}"

    return check


def _speed(value: Any) -> str | None:
    if value is None or (isinstance(value, int | float) and SPEED[0] <= value <= SPEED[1]):
        return None
    return f"a number from {SPEED[0]} to {SPEED[1]}"


def _tokens(value: Any) -> str | None:
    if value == "inf" or (type(value) is int and 1 <= value <= 4_096):
        return None
    return '1 to 4096, or "inf"'


def _modalities(value: Any) -> str | None:
    # API reference, session.output_modalities: audio or text, never both; audio always brings its transcript.
    fits = not isinstance(value, str) and "audio" in value and set(value) <= set(MODALITIES)
    return None if fits else "audio, or audio and text: this is a phone"


def _handler(value: Any) -> str | None:
    return None if value is None or is_async(value) else "an async function of one argument, the session"


def _callable(value: Any) -> str | None:
    return None if value is None or callable(value) else "a function"


def _texts(value: Any) -> str | None:
    fits = isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(text, str) for key, text in value.items()
    )
    return None if fits else "a mapping of text to text"


def _routes(value: Any) -> str | None:
    rows = isinstance(value, list | tuple) and all(isinstance(row, Mapping) for row in value)
    return (
        None if value is None or isinstance(value, Mapping) or rows else "rows, each a mapping, or a mapping"
    )


def _silence(value: Any) -> str | None:
    return None if value is None else _counts(1)(value)


def _of(kind: type | tuple[type, ...], what: str) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        fits = not isinstance(value, str) and isinstance(value, Sequence)
        return None if fits and all(isinstance(one, kind) for one in value) else what

    return check


_CHECKS: Final[dict[str, Callable[[Any], str | None]]] = {
    "name": lambda value: None if isinstance(value, str) and value.strip() else "text, and not empty",
    **dict.fromkeys(("instructions", "model", "voice", "language", "greeting", "transcription"), _text),
    **dict.fromkeys(("backend_model", "delegate"), _text),
    "noise_reduction": _noise_reduction,
    "modalities": _modalities,
    "backchannel_ms": _counts(0),
    "resolver_ms": _counts(1),
    "silence_ms": _silence,
    "quiet_turn_ms": lambda value: None if value is None else _counts(0)(value),
    **dict.fromkeys(("words_ms", "longest_turn_ms", "wordless_ms", "hold_ms"), _counts(0)),
    "nudge_ms": _counts(0),
    "nudges": _counts(0),
    "wait_ms": _counts(0),
    "speed": _speed,
    "max_output_tokens": _tokens,
    "handler": _handler,
    **dict.fromkeys(("approve", "resolver", "on_end", "on_voicemail", "on_notice"), _callable),
    **dict.fromkeys(("reads_keys", "greeting_interruptible", "speak_first"), _yes_or_no),
    "on_machine": machines.on_machine,
    "voicemail": machines.voicemail,
    "screening": machines.screening,
    "greet_after_ms": _counts(0),
    "handoffs": _of((Agent, str), "a list of agents and names"),
    "guardrails": _of(Guardrail, "a list of Guardrail"),
    "tags": _of(str, "a list of texts"),
    "failover": lambda value: None if value is None else _of(str, "a list of texts")(value),
    "tools": _of(object, "a list"),
    "metadata": _texts,
    "routes": _routes,
}
